//! Mail delivery: what is stored with its cause is delivered once, whatever happens to the mail server.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use serde_json::json;

use crate::contract::EMAIL_SENT;
use crate::smtp::{Encryption, Fault, SmtpSink, certificate_for};
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
    answer.assert(200, EMAIL_SENT);
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
    let sealed: Vec<u8> = server.db_blob("SELECT content FROM deliveries");
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

/// Signs up and expects one copy of the mail, whatever the server replies.
#[track_caller]
fn assert_delivered_once(replies: &[(&'static str, &'static [u8])]) {
    let sink = SmtpSink::start();
    for (command, bytes) in replies {
        sink.reply(command, bytes);
    }
    let server = TestServer::start_with_smtp(&sink.url());
    sign_up(&server, "ann@example.com");
    server.wait_for_metric(DELIVERED, 1);
    server.wait_for_metric(WAITING, 0);
    server.advance(Duration::from_hours(1));
    sign_up(&server, "bob@example.com");
    server.wait_for_metric(DELIVERED, 2);
    assert_eq!(sink.mails().len(), 2, "{replies:?}");
    assert_eq!(
        (server.metric(GIVEN_UP), server.metric(POSTPONED)),
        (0, 0),
        "{replies:?}"
    );
}

#[test]
fn code_of_a_reply_alone_decides() {
    // Text in Latin-1, no text, and a line end without carriage return.
    assert_delivered_once(&[(".", b"250 Danke sch\xf6n\r\n")]);
    assert_delivered_once(&[
        ("MAIL", b"250\r\n"),
        ("RCPT", b"250\r\n"),
        (".", b"250\r\n"),
    ]);
    assert_delivered_once(&[
        ("RCPT", b"250 ok\n"),
        ("DATA", b"354\n"),
        (".", b"250-a\n250 b\n"),
    ]);
    assert_delivered_once(&[("RCPT", b"251 user not local; will forward\r\n")]);
    // A server of the time before EHLO.
    assert_delivered_once(&[("EHLO", b"502 5.5.1 unknown command\r\n")]);
    assert_delivered_once(&[("EHLO", b"500\r\n"), ("HELO", b"250\r\n")]);
}

#[test]
fn extension_keywords_ignore_case() {
    let sink = SmtpSink::start();
    sink.reply(
        "EHLO",
        b"250-sink\r\n250-size 1000\r\n250 auth=login plain\r\n",
    );
    let url = format!("smtp://joe:hunter2@{}", sink.address());
    let server = TestServer::start_with_smtp(&url);
    sign_up(&server, "ann@example.com");
    sink.wait_for_mail_to("ann@example.com");
    let commands = sink.commands();
    assert!(
        commands.iter().any(|line| line.starts_with("AUTH PLAIN ")),
        "{commands:?}"
    );
}

#[test]
fn data_before_tls_drops_the_connection_and_the_mail_waits() {
    let (config, pem) = certificate_for("localhost");
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, pem).unwrap();
    for (command, injected) in [
        // What an attacker on the path adds to the last reply in plain text, so that it answers the
        // commands inside TLS.
        (
            "STARTTLS",
            &b"220 go on\r\n250-x\r\n250 AUTH PLAIN\r\n235 a\r\n250 b\r\n250 c\r\n354 d\r\n250 e\r\n"[..],
        ),
        ("STARTTLS", b"220 go on\r\n2"),
        // Or to the reply before it.
        (
            "EHLO",
            b"250-x\r\n250 STARTTLS\r\n220 go on\r\n250 x\r\n235 a\r\n250 b\r\n250 c\r\n354 d\r\n250 e\r\n",
        ),
    ] {
        let sink = SmtpSink::start_encrypted(Encryption::StartTls(config.clone()));
        sink.reply(command, injected);
        let url = format!("smtp://joe:hunter2@localhost:{}?tls=required", sink.address().port());
        let server = TestServer::start_with(|config| {
            config.mail.transport = Some(accounts_server::config::MailTransportKind::Smtp);
            config.mail.smtp_url = accounts_server::config::Secret::new(url);
            config.mail.smtp_ca_file = Some(ca_file.clone());
        });
        sign_up(&server, "ann@example.com");
        sink.wait_for_command("EHLO", 2);
        assert_eq!(server.metric(WAITING), 1);
        assert_eq!((server.metric(DELIVERED), server.metric(GIVEN_UP)), (0, 0));
        assert!(!sink.commands().iter().any(|line| line.starts_with("AUTH")));
        // Without the attacker it goes out.
        sink.reply_as_usual();
        let mail = sink.wait_for_mail_to("ann@example.com");
        assert!(mail.was_encrypted);
        server.wait_for_metric(DELIVERED, 1);
    }
}

#[test]
fn refusals_for_the_operator_make_mails_wait() {
    for (command, reply, advice) in [
        (
            "RCPT",
            &b"553 5.7.1 <accounts@localhost>: Sender address rejected: not owned by user joe\r\n"
                [..],
            "set [mail] from",
        ),
        (
            "RCPT",
            b"504 5.5.2 <host>: Helo command rejected: need fully-qualified hostname\r\n",
            "set [server] public_url",
        ),
        (
            "RCPT",
            b"554 5.7.1 <ann@example.com>: Relay access denied\r\n",
            "does not relay",
        ),
        ("MAIL", b"550 5.1.0 address rejected\r\n", "set [mail] from"),
        (
            ".",
            b"554 Message rejected: Email address is not verified.\r\n",
            "set [mail] from",
        ),
    ] {
        let sink = SmtpSink::start();
        sink.reply(command, reply);
        let server = TestServer::start_with_smtp(&sink.url());
        sign_up(&server, "ann@example.com");
        server.wait_for_metric(POSTPONED, 1);
        assert_eq!(
            (server.metric(GIVEN_UP), server.metric(WAITING)),
            (0, 1),
            "{advice}"
        );
        let ready = server.request("GET", "/readyz", &[], String::new());
        assert_eq!(ready.status, 200, "{}", ready.body);
        assert!(
            ready.body.contains("degraded") && ready.body.contains(advice),
            "{}",
            ready.body
        );
        for private in ["ann@", "127.0.0.1", "rejected"] {
            assert!(!ready.body.contains(private), "{}", ready.body);
        }
        // The operator fixes it.
        sink.reply_as_usual();
        server.advance_seconds(12);
        let mail = sink.wait_for_mail_to("ann@example.com");
        confirm_with(&server, "ann@example.com", &mail.code());
        server.wait_for_metric(DELIVERED, 1);
        let ready = server.request("GET", "/readyz", &[], String::new());
        ready.assert(200, r#"{"status":"ok"}"#);
    }
}

#[test]
fn closing_reply_to_one_recipient_delays_that_one_only() {
    let sink = SmtpSink::start();
    sink.fail(
        "slow@example.com",
        2,
        Fault::Say("RCPT", "421 4.7.0 this one later"),
    );
    let server = TestServer::start_with_smtp(&sink.url());
    // Twice: on a connection that is kept, a first one is retried at once over a new one.
    sign_up(&server, "slow@example.com");
    server.wait_for_metric(POSTPONED, 1);
    sign_up(&server, "fast@example.com");
    sink.wait_for_mail_to("fast@example.com");
    server.wait_for_metric(DELIVERED, 1);
    server.advance_seconds(12);
    server.advance_seconds(24);
    sink.wait_for_mail_to("slow@example.com");
    assert_eq!(server.metric(GIVEN_UP), 0);
}

#[test]
fn helo_name_is_the_public_host_or_an_address_literal() {
    for (public_url, name) in [
        (None, "[127.0.0.1]"),
        (Some("https://id.example.org:8443/x"), "id.example.org"),
        (Some("http://203.0.113.7:8000"), "[203.0.113.7]"),
        (Some("http://[2001:db8::7]:8000"), "[IPv6:2001:db8::7]"),
        (Some("http://accounts:8000"), "[127.0.0.1]"),
    ] {
        let sink = SmtpSink::start();
        let url = sink.url();
        let server = TestServer::start_with(|config| {
            config.mail.transport = Some(accounts_server::config::MailTransportKind::Smtp);
            config.mail.smtp_url = accounts_server::config::Secret::new(url);
            if let Some(public_url) = public_url {
                config.server.public_url =
                    Some(accounts_server::config::PublicUrl::parse(public_url).unwrap());
            }
        });
        sign_up(&server, "ann@example.com");
        sink.wait_for_mail_to("ann@example.com");
        assert_eq!(sink.commands()[0], format!("EHLO {name}"));
    }
}
