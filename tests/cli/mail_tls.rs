//! Encrypted connections to mail servers, and the secrecy of the password.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use rustls::ServerConfig;
use tempfile::TempDir;

use crate::smtp::{Encryption, SmtpSink, certificate_for, self_signed};
use crate::support::{Outcome, Running, finish, folder, program};

type Wrap = fn(Arc<ServerConfig>) -> Encryption;

/// A mail server with a certificate for `name`, and a directory with its authority's as `ca.pem`.
fn sink(name: &str, wrap: Wrap) -> (SmtpSink, TempDir) {
    let (config, pem) = certificate_for(name);
    let dir = folder();
    fs::write(dir.path().join("ca.pem"), pem).unwrap();
    (SmtpSink::start_encrypted(wrap(config)), dir)
}

fn send(dir: &Path, url: &str, more: &[&str], environment: &[(&str, &str)]) -> Outcome {
    let mut arguments = vec!["--mail-smtp-url", url];
    arguments.extend(more);
    arguments.extend(["mail", "test", "ann@example.com"]);
    let mut command = program(dir, &arguments);
    command.envs(environment.iter().copied());
    finish(command, "")
}

/// The user and password of a sign-in.
fn login(sink: &SmtpSink) -> String {
    let commands = sink.commands();
    let plain = commands
        .iter()
        .find_map(|line| line.strip_prefix("AUTH PLAIN "))
        .unwrap_or_else(|| panic!("no sign-in: {commands:?}"));
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(plain)
        .unwrap();
    String::from_utf8(decoded).unwrap().replace('\0', "/")
}

#[test]
fn starttls_and_smtps_accept_certificates_of_a_private_authority() {
    for (wrap, scheme, query, step) in [
        (
            Encryption::StartTls as Wrap,
            "smtp",
            "?tls=required",
            "STARTTLS: the connection is encrypted",
        ),
        (
            Encryption::StartTls,
            "smtp",
            "?tls=opportunistic",
            "STARTTLS: the connection is encrypted",
        ),
        (
            Encryption::Wrapped,
            "smtps",
            "",
            "which calls itself sink.example (TLS)",
        ),
    ] {
        let (sink, dir) = sink("localhost", wrap);
        let url = format!(
            "{scheme}://joe:hunter2@localhost:{}{query}",
            sink.address().port()
        );
        let outcome = send(dir.path(), &url, &["--mail-smtp-ca-file", "ca.pem"], &[]);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert!(outcome.stderr.contains(step), "{outcome:?}");
        let mail = sink.wait_for_mail_to("ann@example.com");
        assert!(mail.was_encrypted, "{mail:?}");
        assert_eq!(login(&sink), "/joe/hunter2");

        // So does the server, over one connection for several mails.
        let server = Running::start_with(
            dir.path(),
            &[
                "--db",
                "users.db",
                "--passwords-bcrypt-cost",
                "4",
                "--mail-smtp-url",
                &url,
                "--mail-smtp-ca-file",
                "ca.pem",
            ],
        );
        for to in ["bob@example.com", "eve@example.com"] {
            assert_eq!(server.sign_up(to).0, 201);
            assert!(sink.wait_for_mail_to(to).was_encrypted);
        }
        assert_eq!(server.terminate().code, Some(0));
    }
}

#[test]
fn untrusted_certificate_gets_neither_mail_nor_password() {
    let mail_server = |name: &str, wrap: Wrap, scheme: &str, query: &str| {
        let (sink, dir) = sink(name, wrap);
        let port = sink.address().port();
        let url = format!("{scheme}://joe:hunter2@localhost:{port}{query}");
        (sink, dir, url)
    };
    for (name, wrap, scheme, query, more, expected) in [
        // An unknown authority and a wrong name, with both kinds of encryption.
        (
            "localhost",
            Encryption::Wrapped as Wrap,
            "smtps",
            "",
            &[][..],
            &["UnknownIssuer", "smtp_ca_file"][..],
        ),
        (
            "localhost",
            Encryption::StartTls,
            "smtp",
            "?tls=required",
            &[],
            &["UnknownIssuer", "smtp_ca_file"],
        ),
        (
            "mail.example.com",
            Encryption::Wrapped,
            "smtps",
            "",
            &["--mail-smtp-ca-file", "ca.pem"],
            &["not valid for name"],
        ),
    ] {
        let (sink, dir, url) = mail_server(name, wrap, scheme, query);
        let outcome = send(dir.path(), &url, more, &[]);
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        for text in expected {
            assert!(outcome.stderr.contains(text), "{text:?} in {outcome:?}");
        }
        assert!(sink.mails().is_empty());
        assert!(!sink.commands().iter().any(|line| line.starts_with("AUTH")));
    }
    // A server, or an attacker on the path, that offers no required encryption.
    let sink = SmtpSink::start();
    let url = format!("smtp://joe:hunter2@{}?tls=required", sink.address());
    let outcome = send(folder().path(), &url, &[], &[]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains("STARTTLS"), "{outcome:?}");
    let commands = sink.commands();
    assert!(
        commands
            .iter()
            .all(|line| line.starts_with("EHLO") || line == "QUIT"),
        "{commands:?}"
    );

    let outcome = send(
        folder().path(),
        &url,
        &["--mail-smtp-ca-file", "absent.pem"],
        &[],
    );
    outcome.assert_refused(1, &["[mail]", "absent.pem", "PEM"]);
}

#[test]
fn password_comes_from_file_or_environment() {
    let dir = folder();
    fs::write(dir.path().join("secret"), "from a file\n").unwrap();
    for (more, environment, expected) in [
        (
            &[
                "--mail-smtp-user",
                "joe",
                "--mail-smtp-password-file",
                "secret",
            ][..],
            &[][..],
            "/joe/from a file",
        ),
        (
            &[],
            &[
                ("ACCOUNTS_MAIL_SMTP_USER", "ann"),
                ("ACCOUNTS_MAIL_SMTP_PASSWORD", "from a variable"),
            ],
            "/ann/from a variable",
        ),
    ] {
        let sink = SmtpSink::start();
        let outcome = send(dir.path(), &sink.url(), more, environment);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert_eq!(login(&sink), expected);
        assert!(!outcome.stderr.contains("from a"), "{outcome:?}");
    }
    let more = [
        "--mail-smtp-user",
        "joe",
        "--mail-smtp-password-file",
        "absent",
    ];
    let outcome = send(dir.path(), "smtp://localhost", &more, &[]);
    outcome.assert_refused(1, &["[mail] smtp_password_file", "absent"]);
}

#[test]
fn self_signed_certificate_is_accepted_if_named() {
    let serve = |common_name: &str, san: Option<&str>| {
        let (config, pem) = self_signed(common_name, san);
        let dir = folder();
        fs::write(dir.path().join("own.pem"), pem).unwrap();
        (SmtpSink::start_encrypted(Encryption::Wrapped(config)), dir)
    };
    // As `openssl req -x509` makes it: CA:TRUE, the name in the subject, in the extension, or in both.
    for (common_name, san) in [
        ("localhost", Some("localhost")),
        ("Our mail server", Some("localhost")),
        ("localhost", None),
    ] {
        let (sink, dir) = serve(common_name, san);
        let url = format!("smtps://localhost:{}", sink.address().port());
        let outcome = send(dir.path(), &url, &["--mail-smtp-ca-file", "own.pem"], &[]);
        assert_eq!(outcome.code, Some(0), "{common_name} {san:?}: {outcome:?}");
        assert!(sink.wait_for_mail_to("ann@example.com").was_encrypted);

        // Without the file it is not trusted.
        let outcome = send(dir.path(), &url, &[], &[]);
        outcome.assert_refused(1, &["[mail] smtp_ca_file can name it"]);
    }
    // Nor for another name, nor another certificate with this name.
    for (common_name, san) in [
        ("localhost", Some("mail.example.com")),
        ("mail.example.com", None),
    ] {
        let (sink, dir) = serve(common_name, san);
        let url = format!("smtps://localhost:{}", sink.address().port());
        let outcome = send(dir.path(), &url, &["--mail-smtp-ca-file", "own.pem"], &[]);
        outcome.assert_refused(1, &["the certificate is for another name"]);
        assert!(sink.mails().is_empty());
    }
    let (sink, dir) = serve("localhost", Some("localhost"));
    let (_, other) = self_signed("localhost", Some("localhost"));
    fs::write(dir.path().join("own.pem"), other).unwrap();
    let url = format!("smtps://localhost:{}", sink.address().port());
    let outcome = send(dir.path(), &url, &["--mail-smtp-ca-file", "own.pem"], &[]);
    outcome.assert_refused(1, &["[mail] smtp_ca_file can name it"]);
    assert!(sink.mails().is_empty());

    fs::write(dir.path().join("empty.pem"), "no certificate\n").unwrap();
    let outcome = send(dir.path(), &url, &["--mail-smtp-ca-file", "empty.pem"], &[]);
    outcome.assert_refused(1, &["[mail]", "empty.pem", "BEGIN CERTIFICATE"]);
}

#[test]
fn common_mistakes_are_explained() {
    let plain = SmtpSink::start();
    let port = plain.address().port();
    let dir = folder();
    // smtps:// to a port with STARTTLS.
    let outcome = send(dir.path(), &format!("smtps://localhost:{port}"), &[], &[]);
    outcome.assert_refused(
        1,
        &["not encrypted from the first byte: write smtp:// for STARTTLS"],
    );
    // A sign-in that is offered with encryption only.
    plain.reply("EHLO", b"250-x\r\n250 STARTTLS\r\n");
    let url = format!("smtp://joe:hunter2@localhost:{port}");
    let outcome = send(dir.path(), &url, &[], &[]);
    outcome.assert_refused(1, &["offers no sign-in (AUTH)", "add ?tls=required"]);
    // No mechanism in common.
    plain.reply_as_usual();
    plain.reply("EHLO", b"250-x\r\n250 AUTH XOAUTH2 cram-md5\r\n");
    let outcome = send(dir.path(), &url, &[], &[]);
    outcome.assert_refused(1, &["XOAUTH2, CRAM-MD5", "PLAIN and LOGIN"]);
    // A wrong password.
    plain.reply_as_usual();
    plain.reply("AUTH", b"535 5.7.8 authentication failed\r\n");
    let outcome = send(dir.path(), &url, &[], &[]);
    outcome.assert_refused(
        1,
        &["535 5.7.8", "check [mail] smtp_user and smtp_password_file"],
    );
    assert!(plain.mails().is_empty());
}

#[test]
fn login_mechanism_is_supported() {
    let sink = SmtpSink::start();
    sink.reply("EHLO", b"250-x\r\n250 AUTH LOGIN\r\n");
    sink.reply("AUTH", b"334 VXNlcm5hbWU6\r\n");
    // The lines of user and password are commands of their own to this server.
    sink.reply("am9l", b"334 UGFzc3dvcmQ6\r\n");
    sink.reply("aHVudGVyMg==", b"235 2.7.0 welcome\r\n");
    let url = format!("smtp://joe:hunter2@{}", sink.address());
    let outcome = send(folder().path(), &url, &[], &[]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    sink.wait_for_mail_to("ann@example.com");
    assert!(!outcome.stderr.contains("aHVudGVyMg"), "{outcome:?}");
}

#[test]
fn check_reports_a_refused_sender() {
    let sink = SmtpSink::start();
    let url = sink.url();
    let check = || {
        let arguments = [
            "--db",
            "users.db",
            "--mail-from",
            "accounts@example.org",
            "--mail-smtp-url",
            &url,
            "check",
        ];
        finish(program(folder().path(), &arguments), "")
    };
    let outcome = check();
    assert!(
        outcome.stdout.contains("the mail server answers"),
        "{outcome:?}"
    );
    // Its sender need not exist as a recipient.
    sink.reply("RCPT", b"550 5.1.1 no such user\r\n");
    let outcome = check();
    assert!(
        outcome.stdout.contains("the mail server answers"),
        "{outcome:?}"
    );
    for reply in [
        &b"553 5.7.1 <accounts@localhost>: Sender address rejected: not owned\r\n"[..],
        b"504 5.5.2 <x>: Helo command rejected: need fully-qualified hostname\r\n",
    ] {
        sink.reply_as_usual();
        sink.reply("RCPT", reply);
        let outcome = check();
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        assert!(
            outcome.stdout.contains("the mail server refuses the "),
            "{outcome:?}"
        );
    }
    assert!(sink.mails().is_empty());
}
