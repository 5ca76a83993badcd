//! Mail over encrypted connections, and who may see the password of the mail server.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use rustls::ServerConfig;
use tempfile::TempDir;

use crate::smtp::{Encryption, SmtpSink, certificate_for};
use crate::support::{Outcome, Running, finish, folder, program};

type Wrap = fn(Arc<ServerConfig>) -> Encryption;

/// A mail server with a certificate for `name`, and a folder with that of its authority in `ca.pem`.
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

/// The user and password that a client signed in with.
fn login(sink: &SmtpSink) -> String {
    let commands = sink.commands();
    let plain = commands
        .iter()
        .find_map(|line| line.strip_prefix("AUTH PLAIN "))
        .unwrap_or_else(|| panic!("nobody signed in: {commands:?}"));
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(plain)
        .unwrap();
    String::from_utf8(decoded).unwrap().replace('\0', "/")
}

#[test]
fn starttls_and_smtps_encrypt_with_a_certificate_of_ones_own_authority() {
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

        // The server does so, too, over one connection for several mails.
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
fn a_certificate_that_proves_nothing_gets_neither_mail_nor_password() {
    let mail_server = |name: &str, wrap: Wrap, scheme: &str, query: &str| {
        let (sink, dir) = sink(name, wrap);
        let port = sink.address().port();
        let url = format!("{scheme}://joe:hunter2@localhost:{port}{query}");
        (sink, dir, url)
    };
    for (name, wrap, scheme, query, more, told) in [
        // An authority that nobody knows, a name that is another's, and both ways of encryption.
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
        for text in told {
            assert!(outcome.stderr.contains(text), "{text:?} in {outcome:?}");
        }
        assert!(sink.mails().is_empty());
        assert!(!sink.commands().iter().any(|line| line.starts_with("AUTH")));
    }
    // A server, or somebody on the way, that offers no encryption where it is required.
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
fn the_login_may_come_from_a_file_or_the_environment() {
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
