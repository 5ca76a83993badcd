//! Mail delivery: what is stored with its cause is delivered once, whatever happens to the mail server.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use serde_json::json;

use crate::smtp::{Fault, SmtpSink};
use crate::support::{PASSWORD, TestServer};

const WAITING: &str = "accounts_mail_queue_length";
const DELIVERED: &str = "accounts_mails_total{fate=\"delivered\"}";
const POSTPONED: &str = "accounts_mails_total{fate=\"postponed\"}";
const GIVEN_UP: &str = "accounts_mails_total{fate=\"given_up\"}";
const EXPIRED: &str = "accounts_mails_total{fate=\"expired\"}";

/// An address without a listener.
fn closed_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

#[track_caller]
fn sign_up(server: &TestServer, email: &str) {
    let answer = server.sign_up(email);
    assert_eq!(answer.status, 201, "{}", answer.body);
}

#[track_caller]
fn confirm_with(server: &TestServer, email: &str, code: &str) {
    let answer = server.post("otp/verify/", &json!({"email": email, "otp": code}));
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[test]
fn connection_is_reused() {
    let sink = SmtpSink::start();
    let server = TestServer::start_with_smtp(&sink.url());
    sign_up(&server, "ann@example.com");
    let mail = sink.wait_for_mail_to("ann@example.com");
    assert_eq!(mail.from, "accounts@localhost");
    assert_eq!(mail.header("Auto-Submitted"), Some("auto-generated"));
    assert_eq!(mail.header("Date"), Some("Tue, 03 Dec 2024 12:00:00 +0000"));
    confirm_with(&server, "ann@example.com", &mail.code());
    server.wait_for_metric(WAITING, 0);

    for number in 0..5 {
        let to = format!("user{number}@example.com");
        sign_up(&server, &to);
        let next = sink.wait_for_mail_to(&to);
        assert_ne!(mail.header("Message-ID"), next.header("Message-ID"));
        server.wait_for_metric(DELIVERED, 2 + number);
    }
    assert_eq!(sink.mails().len(), 6);
    // The first mail may precede the end of the probe, whose connection it then cannot use.
    assert!(sink.connections() <= 2, "{:?}", sink.commands());
}

#[test]
fn mails_wait_for_a_server_that_is_down() {
    let address = closed_address();
    let server = TestServer::start_with_smtp(&format!("smtp://{address}"));
    for number in 0..20 {
        sign_up(&server, &format!("user{number}@example.com"));
    }
    assert_eq!(server.metric(WAITING), 20);
    let sink = SmtpSink::start_on(address);
    sink.wait_for(20);
    server.wait_for_metric(WAITING, 0);
    for number in 0..20 {
        let to = format!("user{number}@example.com");
        let mails = sink.mails_to(&to);
        assert_eq!(mails.len(), 1, "{to}");
        confirm_with(&server, &to, &mails[0].code());
    }
}

#[test]
fn queued_mails_survive_a_restart() {
    let address = closed_address();
    let mut server = TestServer::start_with_smtp(&format!("smtp://{address}"));
    sign_up(&server, "ann@example.com");
    server.restart();
    let sink = SmtpSink::start_on(address);
    let mail = sink.wait_for_mail_to("ann@example.com");
    confirm_with(&server, "ann@example.com", &mail.code());
    server.restart();
    sign_up(&server, "bob@example.com");
    sink.wait_for_mail_to("bob@example.com");
    assert_eq!(sink.mails().len(), 2);
}

#[test]
fn greylisting_delays_one_mail_only() {
    let sink = SmtpSink::start();
    let later = Fault::Say("RCPT", "450 4.2.0 greylisted, come back later");
    sink.fail("slow@example.com", 2, later);
    let server = TestServer::start_with_smtp(&sink.url());
    sign_up(&server, "slow@example.com");
    server.wait_for_metric(POSTPONED, 1);
    sign_up(&server, "fast@example.com");
    sink.wait_for_mail_to("fast@example.com");

    // The first pause is ten seconds, a fifth more or less; the second one twice as long.
    server.advance_seconds(7);
    assert_eq!(server.metric(POSTPONED), 1);
    server.advance_seconds(5);
    server.wait_for_metric(POSTPONED, 2);
    server.advance_seconds(15);
    assert_eq!(sink.mails_to("slow@example.com").len(), 0);
    server.advance_seconds(9);
    let mail = sink.wait_for_mail_to("slow@example.com");
    confirm_with(&server, "slow@example.com", &mail.code());
    server.wait_for_metric(DELIVERED, 2);
    assert_eq!(sink.mails().len(), 2);
}

#[test]
fn late_code_names_its_remaining_lifetime() {
    let sink = SmtpSink::start();
    sink.fail("slow@example.com", 1, Fault::Say("RCPT", "451 later"));
    let server = TestServer::start_with_smtp(&sink.url());
    sign_up(&server, "fast@example.com");
    let mail = sink.wait_for_mail_to("fast@example.com");
    assert!(mail.message.contains("10 minutes"), "{}", mail.message);
    sign_up(&server, "slow@example.com");
    server.wait_for_metric(POSTPONED, 1);
    server.advance_seconds(4 * 60);
    let mail = sink.wait_for_mail_to("slow@example.com");
    assert!(mail.message.contains("6 minutes"), "{}", mail.message);
    assert!(!mail.message.contains("10 minutes"), "{}", mail.message);
}

#[test]
fn stalled_recipient_delays_no_other() {
    let sink = SmtpSink::start();
    for number in 0..2 {
        sink.fail(&format!("stall{number}@example.com"), 1, Fault::Stall);
    }
    let mut server = TestServer::start_with(|config| {
        config.mail.transport = Some(accounts_server::config::MailTransportKind::Smtp);
        config.mail.smtp_url = accounts_server::config::Secret::new(sink.url());
        config.server.shutdown_seconds = 0;
    });
    for number in 0..2 {
        sign_up(&server, &format!("stall{number}@example.com"));
    }
    sink.wait_for_command("RCPT TO:<stall", 2);
    for number in 0..10 {
        sign_up(&server, &format!("user{number}@example.com"));
    }
    assert_eq!(sink.wait_for(10).len(), 10);
    // Deliveries in flight when the server stopped are repeated at its next start.
    server.restart();
    sink.wait_for_mail_to("stall0@example.com");
    sink.wait_for_mail_to("stall1@example.com");
    // Ends the stalled connections.
    drop(sink);
}

#[test]
fn refused_recipient_is_given_up_at_once() {
    let sink = SmtpSink::start();
    sink.fail(
        "no@example.com",
        9,
        Fault::Say("RCPT", "550 5.1.1 no such user"),
    );
    sink.fail(
        "spam@example.com",
        9,
        Fault::Say(".", "554 5.7.1 looks bad"),
    );
    let server = TestServer::start_with_smtp(&sink.url());
    sign_up(&server, "no@example.com");
    sign_up(&server, "spam@example.com");
    server.wait_for_metric(GIVEN_UP, 2);
    server.wait_for_metric(WAITING, 0);
    server.advance(Duration::from_hours(1));
    sign_up(&server, "yes@example.com");
    sink.wait_for_mail_to("yes@example.com");
    let tries = |to: &str| {
        let commands = sink.commands();
        commands.iter().filter(|line| line.contains(to)).count()
    };
    assert_eq!((tries("no@example.com"), tries("spam@example.com")), (1, 1));
    // A client can ask again; the response never depends on the delivery.
    let answer = server.post("otp/resend/", &json!({"email": "no@example.com"}));
    answer.assert(200, r#"{"msg":"Email sent successfully!"}"#);
    server.wait_for_metric(GIVEN_UP, 3);
}

#[test]
fn broken_connection_delays_the_mail_only() {
    let sink = SmtpSink::start();
    sink.fail("ann@example.com", 1, Fault::HangUp);
    let server = TestServer::start_with_smtp(&sink.url());
    sign_up(&server, "ann@example.com");
    server.wait_for_metric(POSTPONED, 1);
    server.advance_seconds(12);
    let mail = sink.wait_for_mail_to("ann@example.com");
    confirm_with(&server, "ann@example.com", &mail.code());
    server.wait_for_metric(WAITING, 0);
    assert_eq!(sink.mails().len(), 1);
}

#[test]
fn unacknowledged_mail_arrives_twice_with_the_same_id() {
    let sink = SmtpSink::start();
    sink.fail("ann@example.com", 1, Fault::HangUpAfter);
    let server = TestServer::start_with_smtp(&sink.url());
    sign_up(&server, "ann@example.com");
    server.wait_for_metric(POSTPONED, 1);
    server.advance_seconds(12);
    server.wait_for_metric(DELIVERED, 1);
    let mails = sink.mails_to("ann@example.com");
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0].message, mails[1].message);
    confirm_with(&server, "ann@example.com", &mails[1].code());
}

#[test]
fn connection_limit_of_the_mail_server_costs_no_mail() {
    let sink = SmtpSink::start();
    // It closes a connection after a number of mails, and says so at the next one.
    sink.fail(
        "user1@example.com",
        1,
        Fault::Say("RCPT", "421 4.7.0 too many mails, closing"),
    );
    let server = TestServer::start_with_smtp(&sink.url());
    for number in 0..3 {
        let to = format!("user{number}@example.com");
        sign_up(&server, &to);
        sink.wait_for_mail_to(&to);
    }
    server.wait_for_metric(DELIVERED, 3);
    assert_eq!((server.metric(GIVEN_UP), server.metric(POSTPONED)), (0, 0));
    assert_eq!(sink.mails().len(), 3);
}

#[test]
fn expired_code_is_not_mailed() {
    let address = closed_address();
    let server = TestServer::start_with_smtp(&format!("smtp://{address}"));
    sign_up(&server, "ann@example.com");
    server.advance(Duration::from_mins(11));
    // A try in flight ends before the mail server starts.
    server.wait_for_metric(EXPIRED, 1);
    server.post("otp/resend/", &json!({"email": "ann@example.com"}));
    let sink = SmtpSink::start_on(address);
    let mail = sink.wait_for_mail_to("ann@example.com");
    server.wait_for_metric(WAITING, 0);
    confirm_with(&server, "ann@example.com", &mail.code());
    assert_eq!(sink.mails().len(), 1);

    // A second try would succeed, but comes too late.
    sink.fail("bob@example.com", 1, Fault::Say("RCPT", "450 4.2.0 later"));
    let expired = server.metric(EXPIRED);
    sign_up(&server, "bob@example.com");
    server.wait_for_metric(POSTPONED, 1);
    server.advance(Duration::from_mins(11));
    server.wait_for_metric(EXPIRED, expired + 1);
    server.wait_for_metric(WAITING, 0);
    assert!(sink.mails_to("bob@example.com").is_empty());
}

#[test]
fn replaced_or_used_code_is_not_mailed() {
    let address = closed_address();
    let server = TestServer::start_with_smtp(&format!("smtp://{address}"));
    sign_up(&server, "ann@example.com");
    server.post("otp/resend/", &json!({"email": "ann@example.com"}));
    sign_up(&server, "bob@example.com");
    server.confirm("bob@example.com");
    assert_eq!(server.metric(WAITING), 1);
    let sink = SmtpSink::start_on(address);
    let mail = sink.wait_for_mail_to("ann@example.com");
    confirm_with(&server, "ann@example.com", &mail.code());
    server.wait_for_metric(WAITING, 0);
    assert_eq!(sink.mails().len(), 1);
}

#[test]
fn files_contain_no_code() {
    let address = closed_address();
    let mut server = TestServer::start_with_smtp(&format!("smtp://{address}"));
    sign_up(&server, "ann@example.com");
    let code = server.otp("ann@example.com");
    let stored = |server: &TestServer| -> Vec<u8> {
        ["users.db", "users.db-wal"]
            .iter()
            .filter_map(|name| std::fs::read(server.dir().join(name)).ok())
            .flatten()
            .collect()
    };
    let holds = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).any(|w| w == what);
    let sealed: Vec<u8> = server.db_blob("SELECT content FROM mails");
    let waiting = stored(&server);
    assert!(holds(&waiting, &sealed), "it is queued, sealed");
    assert!(!holds(&waiting, code.as_bytes()));

    let sink = SmtpSink::start_on(address);
    assert_eq!(sink.wait_for_mail_to("ann@example.com").code(), code);
    server.wait_for_metric(WAITING, 0);
    // Deleted mails are wiped from the disk when the server ends or is idle for a minute.
    server.restart();
    let delivered = stored(&server);
    assert!(!holds(&delivered, &sealed), "it is wiped");
    assert!(!holds(&delivered, code.as_bytes()));
}

#[test]
fn new_password_is_notified() {
    let sink = SmtpSink::start();
    let server = TestServer::start_with_smtp(&sink.url());
    let ann = server.user("ann@example.com");
    let other = "another-password-9";
    let body = json!({"current_password": PASSWORD, "password": other, "confirm_password": other});
    let answer = server.api("POST", "password/change/", Some(&ann.access), &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let notice = &server.mails("ann@example.com")[0];
    assert_eq!((&notice.otp, &notice.link), (&None, &None));
    assert!(notice.text.contains("127.0.0.1"), "{}", notice.text);

    server.post("password/reset/", &json!({"email": "ann@example.com"}));
    let code = server.otp("ann@example.com");
    let body = json!({"email": "ann@example.com", "otp": code, "password": PASSWORD,
                      "confirm_password": PASSWORD});
    assert_eq!(server.post("password/reset/confirm/", &body).status, 200);
    // The sign-up, the change, the reset, and its completion.
    assert_eq!(server.mails("ann@example.com").len(), 4);
    assert_eq!(sink.wait_for(4).len(), 4);
}

#[test]
fn refused_credentials_lose_no_mail() {
    let sink = SmtpSink::start();
    sink.fail(
        "ann@example.com",
        1,
        Fault::Say("RCPT", "530 5.7.0 sign in first"),
    );
    let server = TestServer::start_with_smtp(&sink.url());
    sign_up(&server, "ann@example.com");
    sink.wait_for_mail_to("ann@example.com");
    server.wait_for_metric(DELIVERED, 1);
    assert_eq!((server.metric(GIVEN_UP), server.metric(POSTPONED)), (0, 0));
}
