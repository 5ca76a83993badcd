//! The mail queue across crashes: a killed server delivers what is queued after its next start.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};

use crate::smtp::{Fault, SmtpSink};
use crate::support::{Running, folder, run};

/// Concurrent deliveries: at most as many are repeated after a crash.
const MAX_CONCURRENT: usize = 4;

/// An address without a listener.
fn closed_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

fn start(dir: &std::path::Path, mail_server: SocketAddr) -> Running {
    let url = format!("smtp://{mail_server}");
    Running::start_with(
        dir,
        &[
            "--db",
            "users.db",
            "--passwords-bcrypt-cost",
            "4",
            "--rate-limits-enabled",
            "false",
            "--mail-smtp-url",
            &url,
        ],
    )
}

fn sign_up_all(server: &Running, count: usize) {
    for number in 0..count {
        let (status, body) = server.sign_up(&format!("user{number}@example.com"));
        assert_eq!(status, 201, "{body}");
    }
}

/// The number of mails of each recipient.
fn counts(sink: &SmtpSink) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for mail in sink.mails() {
        *counts.entry(mail.to).or_default() += 1;
    }
    counts
}

#[test]
fn thousand_waiting_mails_arrive_once_each() {
    let dir = folder();
    let address = closed_address();
    let server = start(dir.path(), address);
    sign_up_all(&server, 1_000);
    let sink = SmtpSink::start_on(address);
    sink.wait_for(1_000);
    let outcome = server.terminate();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let counts = counts(&sink);
    assert_eq!(counts.len(), 1_000);
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
}

#[test]
fn queued_mail_survives_crash() {
    let dir = folder();
    let address = closed_address();
    let server = start(dir.path(), address);
    sign_up_all(&server, 300);
    let sink = SmtpSink::start_on(address);
    let mut kills = 0;
    let mut server = server;
    // Repeated kills during deliveries.
    for arrived in [20, 80, 140, 200] {
        sink.wait_for(arrived);
        server.kill();
        kills += 1;
        server = start(dir.path(), address);
    }
    let all: Vec<String> = (0..300).map(|n| format!("user{n}@example.com")).collect();
    for to in &all {
        sink.wait_for_mail_to(to);
    }
    assert_eq!(server.terminate().code, Some(0));
    let counts = counts(&sink);
    assert_eq!(counts.len(), all.len());
    let twice = counts.values().filter(|count| **count > 1).count();
    assert!(
        twice <= kills * MAX_CONCURRENT && counts.values().all(|count| *count <= kills),
        "{counts:?}"
    );
    // Copies have the same Message-ID.
    let ids: std::collections::BTreeSet<_> = sink
        .mails()
        .iter()
        .map(|mail| mail.header("Message-ID").unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), all.len());
}

#[test]
fn refusal_is_logged_with_the_reply_and_without_the_address() {
    let dir = folder();
    let sink = SmtpSink::start();
    let words = "550 5.1.1 <ann@example.com> is unknown here";
    sink.fail("ann@example.com", 1, Fault::Say("RCPT", words));
    let server = start(dir.path(), sink.address());
    server.sign_up("ann@example.com");
    let line = server.wait_for_log("given up");
    assert!(line.contains("user 1: mail 1 given up: smtp: "), "{line}");
    assert!(line.contains("is unknown here"), "{line}");
    assert!(!line.contains("ann@"), "{line}");
}

#[test]
fn unreachable_mail_server_is_a_warning_at_start() {
    let dir = folder();
    let address = closed_address();
    let server = start(dir.path(), address);
    let line = server.wait_for_log("mail cannot be delivered at present");
    assert!(line.contains(&address.to_string()), "{line}");
    assert_eq!(
        server
            .request("GET", "/healthz", None, &serde_json::Value::Null)
            .0,
        200
    );
}

#[test]
fn password_set_on_the_command_line_is_notified_by_the_server() {
    let dir = folder();
    let sink = SmtpSink::start();
    let server = start(dir.path(), sink.address());
    crate::support::create_user(dir.path(), "ann@example.com", &[]);
    let outcome = crate::support::run_with_input(
        dir.path(),
        &[
            "--db",
            "users.db",
            "user",
            "set-password",
            "ann@example.com",
            "--password-stdin",
        ],
        "another-password-9\n",
    );
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    sink.wait_for_mail_to("ann@example.com");
    drop(server);
}

#[test]
fn test_mail_shows_the_session() {
    let dir = folder();
    let sink = SmtpSink::start();
    let url = format!("smtp://joe:hunter2@{}", sink.address());
    let outcome = run(
        dir.path(),
        &["--mail-smtp-url", &url, "mail", "test", "ann@example.com"],
    );
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    for step in [
        &format!(
            "connected to {}, which calls itself sink.example",
            sink.address()
        ),
        "signed in as joe: 235 2.7.0 welcome",
        "MAIL FROM: 250 2.1.0 fine",
        "RCPT TO: 250",
        "DATA: 250 2.0.0 taken",
    ] {
        assert!(outcome.stderr.contains(step), "{step:?} in {outcome:?}");
    }
    assert!(
        outcome
            .stdout
            .contains("the email to ann@example.com was accepted (smtp)")
    );
    assert!(!outcome.stderr.contains("hunter2"), "{outcome:?}");
    assert_eq!(sink.mails_to("ann@example.com").len(), 1);
    assert_eq!(
        crate::support::names_in(dir.path()),
        [""; 0],
        "no database is created"
    );

    sink.fail(
        "bob@example.com",
        1,
        Fault::Say("RCPT", "550 5.1.1 unknown"),
    );
    let outcome = run(
        dir.path(),
        &["--mail-smtp-url", &url, "mail", "test", "bob@example.com"],
    );
    outcome.assert_refused(1, &["550", "unknown"]);
    let closed = format!("smtp://{}", closed_address());
    let outcome = run(
        dir.path(),
        &["--mail-smtp-url", &closed, "mail", "test", "a@b.example"],
    );
    outcome.assert_refused(1, &["mail server 127.0.0.1:", "Connection refused"]);
    run(dir.path(), &["mail", "test", "nobody"])
        .assert_refused(1, &["\"nobody\" is not an email address"]);
}
