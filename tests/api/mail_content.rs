//! Mail content: languages, headers, and protection from injected text.

use serde_json::json;

use crate::smtp::SmtpSink;
use crate::support::{Answer, PASSWORD, TestServer};

/// A sign-up by a client that prefers languages.
fn sign_up_in(server: &TestServer, email: &str, accept_language: &str) -> Answer {
    let body = json!({"email": email, "password": PASSWORD, "confirm_password": PASSWORD});
    server.request(
        "POST",
        "/api/v1/accounts/users/",
        &[
            ("content-type", "application/json"),
            ("accept-language", accept_language),
        ],
        body.to_string(),
    )
}

#[track_caller]
fn subject(server: &TestServer, to: &str) -> String {
    server.mails(to)[0].subject.clone()
}

#[test]
fn language_of_the_sign_up_is_kept() {
    let server = TestServer::start();
    for (number, (accept, confirm, reset)) in [
        (
            "de-AT,de;q=0.9,en;q=0.8",
            "ist dein Bestätigungscode",
            "Zurücksetzen",
        ),
        (
            "nl, fr;q=0.7, *;q=0.5",
            "est votre code",
            "réinitialisation",
        ),
        ("pt", "é o seu código", "redefinir"),
        ("es-419", "es tu código", "restablecer"),
        ("IT", "è il tuo codice", "reimpostare"),
        ("de_DE", "ist dein Bestätigungscode", "Zurücksetzen"),
        ("pt_BR.UTF-8, en;q=0.5", "é o seu código", "redefinir"),
        ("", "is your confirmation code", "password reset"),
        (
            "tlh, xx;q=nonsense, \u{fffd}",
            "is your confirmation code",
            "password reset",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let email = format!("user{number}@example.com");
        let answer = sign_up_in(&server, &email, accept);
        assert_eq!(answer.status, 201, "{}", answer.body);
        assert!(subject(&server, &email).contains(confirm), "{accept}");
        assert_eq!(server.confirm(&email).status, 200);
        // A later request has no language of its own.
        server.post("password/reset/", &json!({"email": email}));
        assert!(subject(&server, &email).contains(reset), "{accept}");
    }
}

#[test]
fn confirmed_sign_up_decides_the_language() {
    let server = TestServer::start();
    sign_up_in(&server, "ann@example.com", "de");
    let german = server.otp("ann@example.com");
    sign_up_in(&server, "ann@example.com", "fr");
    assert!(subject(&server, "ann@example.com").contains("votre code"));
    let body = json!({"email": "ann@example.com", "otp": german});
    let pair = server.post("otp/verify/", &body);
    assert_eq!(pair.status, 200, "{}", pair.body);
    let change = json!({"email": "new@example.com"});
    let answer = server.api("PATCH", "users/me/", Some(&pair.text("access")), &change);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(subject(&server, "ann@example.com").contains("wurde geändert"));
    assert!(subject(&server, "new@example.com").contains("deine neue Adresse"));
}

#[test]
fn default_language_and_reply_to_are_settings() {
    let sink = SmtpSink::start();
    let url = sink.url();
    let server = TestServer::start_with(|config| {
        config.mail.transport = Some(accounts_server::config::MailTransportKind::Smtp);
        config.mail.smtp_url = accounts_server::config::Secret::new(url);
        config.mail.from = "Büro, \"Süd\" <accounts@example.org>".to_owned();
        config.mail.reply_to = "help@example.org".to_owned();
        config.mail.language = "it".to_owned();
    });
    server.sign_up("ann@example.com");
    let mail = sink.wait_for_mail_to("ann@example.com");
    assert_eq!(mail.header("Reply-To"), Some("help@example.org"));
    assert_eq!(mail.header("Auto-Submitted"), Some("auto-generated"));
    assert!(
        mail.header("Subject").unwrap().starts_with(&mail.code()),
        "{mail:?}"
    );
    assert!(
        mail.header("From")
            .unwrap()
            .ends_with("<accounts@example.org>")
    );
    assert!(mail.message.is_ascii());
    assert!(
        server.mails("ann@example.com")[0]
            .text
            .starts_with("Büro, \"Süd\"\n\nConferma")
    );
}

/// The headers of a message on a line each, their names in order.
fn header_names(message: &str) -> Vec<&str> {
    message
        .lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| !line.starts_with([' ', '\t']))
        .map(|line| line.split(':').next().unwrap())
        .collect()
}

#[test]
fn user_text_adds_no_header_recipient_markup_or_link() {
    let sink = SmtpSink::start();
    let server = TestServer::start_with_smtp(&sink.url());
    let hostile = "Ann\r\nBcc: eve@evil.example\r\n\r\n<a href=\"https://evil.example\">click</a> https://evil.example {{ code }}";
    let mut addresses = vec![
        // Valid for Django; invalid addresses are refused before any mail.
        "ann@example.com".to_owned(),
        "\"<b>x</b>\"@example.com".to_owned(),
        "\"https://evil.example/\"@example.com".to_owned(),
        "\"a,b;c:d\"@example.com".to_owned(),
        "\"x>,<eve@evil.example\"@example.com".to_owned(),
        "www.evil.example/login@example.com".to_owned(),
        "{{code}}@example.com".to_owned(),
        "=?utf-8?b?wqE=?=@example.com".to_owned(),
    ];
    for (place, email) in addresses.clone().iter().enumerate() {
        let body = json!({
            "email": email, "password": PASSWORD, "confirm_password": PASSWORD,
            "first_name": hostile, "last_name": hostile, "address": hostile,
        });
        let answer = server.request(
            "POST",
            "/api/v1/accounts/users/",
            &[
                ("content-type", "application/json"),
                ("user-agent", "<a href=https://evil.example>x</a>"),
                ("accept-language", "../../etc/passwd, <b>, en"),
            ],
            body.to_string(),
        );
        assert_eq!(answer.status, 201, "{email}: {}", answer.body);
        assert_eq!(sink.wait_for(place + 1)[place].to, *email);
    }
    for (email, mail) in addresses.iter().zip(sink.mails()) {
        assert_eq!(
            header_names(&mail.message),
            [
                "Date",
                "Subject",
                "From",
                "To",
                "Message-ID",
                "Auto-Submitted",
                "MIME-Version",
                "Content-Type"
            ],
            "{email}"
        );
        // Only the To header contains text of the user.
        assert_eq!(mail.header("To"), Some(&**email));
        let rest = mail.message.replace(&format!("To: {email}\n"), "");
        // The link of the code leads to this server.
        let rest = rest.replace("http://localhost:8000/account/confirm/?token=", "");
        assert!(!rest.contains("evil") && !rest.contains("://"), "{rest}");
        assert!(!rest.contains("Bcc") && !rest.contains("{{"), "{rest}");
    }
    let commands = sink.commands();
    let recipients = commands.iter().filter(|line| line.starts_with("RCPT"));
    assert_eq!(recipients.count(), addresses.len(), "{commands:?}");

    // Nor does a new address in the notice to the previous one.
    let thief = server.user("owner@example.com");
    addresses.retain(|address| address != "ann@example.com");
    for (number, email) in addresses.iter().enumerate() {
        let email = email.replace("@example.com", &format!("@evil{number}.example"));
        let answer = server.patch(
            "users/me/",
            &thief,
            &json!({"email": email, "first_name": hostile}),
        );
        assert_eq!(answer.status, 200, "{}", answer.body);
        let notice = &server.mails("owner@example.com")[0];
        let link = notice.link.clone().unwrap();
        for part in [&notice.subject, &notice.text, &notice.html] {
            let part = part.replace(&link, "");
            assert!(!part.contains("://") && !part.contains("evil"), "{part}");
        }
        assert_eq!(notice.html.matches("<a ").count(), 1);
    }
}

#[test]
fn new_network_is_notified_if_enabled() {
    let server = TestServer::start_with(|config| {
        config.server.trusted_proxies =
            vec![accounts_server::config::IpNetwork::parse("127.0.0.1").unwrap()];
        config.mail.new_sign_in_notice = true;
    });
    let sign_in = |client: &str, password: &str| {
        let body = json!({"email": "ann@example.com", "password": password});
        server.post_from(client, "token/", &body).status
    };
    let notices = || {
        let mails = server.mails("ann@example.com");
        let is_notice = |subject: &str| subject == "New sign-in to your account";
        mails.iter().filter(|mail| is_notice(&mail.subject)).count()
    };
    server.user("ann@example.com");
    // The network of the confirmation is known; an IPv6 network is a /64.
    assert_eq!(sign_in("127.0.0.1", PASSWORD), 200);
    assert_eq!(sign_in("2001:db8:0:1::1", "wrong"), 401);
    assert_eq!(notices(), 0);
    assert_eq!(sign_in("2001:db8:0:1::1", PASSWORD), 200);
    assert_eq!(notices(), 1);
    assert_eq!(sign_in("2001:db8:0:1::2", PASSWORD), 200);
    assert_eq!(notices(), 1);
    server.advance_seconds(60);
    assert_eq!(sign_in("203.0.113.7", PASSWORD), 200);
    assert_eq!(sign_in("203.0.113.7", PASSWORD), 200);
    assert_eq!(notices(), 2);
    let notice = &server.mails("ann@example.com")[0];
    assert!(
        notice
            .text
            .contains("\n2024-12-03 12:01 UTC\nfrom the IP address 203.0.113.7\n"),
        "{}",
        notice.text
    );
    // A first sign-in has no earlier one to differ from.
    server.staff("root@example.com");
    assert!(server.mails("root@example.com").is_empty());
}

#[test]
fn new_network_is_notified_by_default_where_mail_is_configured() {
    let server = TestServer::start_behind_proxy();
    server.user("ann@example.com");
    let body = json!({"email": "ann@example.com", "password": PASSWORD});
    assert_eq!(server.post_from("203.0.113.7", "token/", &body).status, 200);
    assert_eq!(server.mails("ann@example.com").len(), 2);
}

#[test]
fn password_notice_names_time_and_network() {
    let server = TestServer::start_behind_proxy();
    let user = server.user("ann@example.com");
    server.advance_seconds(90);
    let other = "another-password-9";
    let body = json!({"current_password": PASSWORD, "password": other, "confirm_password": other});
    let answer = server.request(
        "POST",
        "/api/v1/accounts/password/change/",
        &[
            ("content-type", "application/json"),
            ("x-forwarded-for", "203.0.113.7"),
            ("authorization", &format!("Bearer {}", user.access)),
        ],
        body.to_string(),
    );
    assert_eq!(answer.status, 200, "{}", answer.body);
    let notice = &server.mails("ann@example.com")[0];
    assert_eq!(notice.subject, "Your password was changed");
    assert!(
        notice.text.contains(
            "\n2024-12-03 12:01 UTC\nfrom the IP address 203.0.113.7\n\nIf that was you, there is nothing to do.\n"
        ),
        "{}",
        notice.text
    );
    assert_eq!((&notice.otp, &notice.link), (&None, &None));
    // Refused passwords cause no notice.
    let access = server.sign_in("ann@example.com", other).text("access");
    let count = server.mails("ann@example.com").len();
    let body =
        json!({"current_password": "wrong", "password": PASSWORD, "confirm_password": PASSWORD});
    let answer = server.api("POST", "password/change/", Some(&access), &body);
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert_eq!(server.mails("ann@example.com").len(), count);
}
