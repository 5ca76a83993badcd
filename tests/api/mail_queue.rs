//! The mail queue for staff: what it shows, retries and discards.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::smtp::{Fault, SmtpSink};
use crate::support::{TestServer, User};

const FORBIDDEN: &str = r#"{"detail":"You do not have permission to perform this action."}"#;
const NO_TOKEN: &str = r#"{"detail":"Authentication credentials were not provided."}"#;
const NOT_FOUND: &str = r#"{"detail":"Not found."}"#;
const WAITING: &str = "accounts_mail_queue_length";
const GIVEN_UP: &str = "accounts_mails_total{fate=\"given_up\"}";
const POSTPONED: &str = "accounts_mails_total{fate=\"postponed\"}";

fn list(server: &TestServer, staff: &User, query: &str) -> Vec<Value> {
    let answer = server.get(&format!("mails/{query}"), Some(&staff.access));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["results"].as_array().unwrap().clone()
}

/// A server whose mail server refuses one recipient for good and greylists another one.
fn with_failures() -> (TestServer, SmtpSink, User) {
    let sink = SmtpSink::start();
    let server = TestServer::start_with_smtp(&sink.url());
    let staff = server.staff("staff@example.com");
    let refused = "550 5.1.1 <no@example.com> is unknown here";
    sink.fail("no@example.com", 1, Fault::Say("RCPT", refused));
    let later = "450 4.2.0 <slow@example.com> greylisted";
    sink.fail("slow@example.com", 1, Fault::Say("RCPT", later));
    assert_eq!(server.sign_up("no@example.com").status, 201);
    server.wait_for_metric(GIVEN_UP, 1);
    assert_eq!(server.sign_up("slow@example.com").status, 201);
    server.wait_for_metric(POSTPONED, 1);
    server.wait_for_number("SELECT count(*) FROM deliveries WHERE claimed", 0);
    (server, sink, staff)
}

#[test]
fn staff_sees_why_mails_fail_and_nothing_of_what_they_say() {
    let (server, _sink, staff) = with_failures();
    let answer = server.get("mails/", Some(&staff.access));
    let page = answer.json();
    assert_eq!((&page["count"], &page["next"]), (&json!(2), &Value::Null));
    let mails = page["results"].as_array().unwrap();
    let [slow, refused] = &mails[..] else {
        panic!("{page}");
    };
    let keys: Vec<&String> = slow.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "id",
            "user_id",
            "recipient",
            "kind",
            "state",
            "reason",
            "tries",
            "created_at",
            "last_try_at",
            "next_try_at",
            "expires_at"
        ]
    );
    assert_eq!(
        (
            &slow["recipient"],
            &slow["kind"],
            &slow["state"],
            &slow["tries"]
        ),
        (
            &json!("slow@example.com"),
            &json!("sign_up"),
            &json!("waiting"),
            &json!(1)
        )
    );
    assert_eq!(slow["created_at"], "2024-12-03T12:00:00Z");
    assert_eq!(slow["last_try_at"], "2024-12-03T12:00:00Z");
    assert!(slow["next_try_at"].is_string(), "{slow}");
    assert_eq!(refused["state"], "failed");
    assert_eq!(refused["next_try_at"], Value::Null);
    assert_eq!(refused["expires_at"], "2024-12-03T12:10:00Z");
    assert!(
        refused["reason"]
            .as_str()
            .unwrap()
            .contains("is unknown here"),
        "{refused}"
    );
    // The recipient is masked where the mail server quotes it, and there is no code.
    let code = server.otp("no@example.com");
    for private in [code.as_str(), "<no@example.com>", "token="] {
        assert!(!answer.body.contains(private), "{}", answer.body);
    }
    for (query, recipients) in [
        ("?state=failed", &["no@example.com"][..]),
        ("?state=waiting", &["slow@example.com"]),
        ("?state=sending", &[]),
        ("?state=expired", &[]),
        ("?state=", &["slow@example.com", "no@example.com"]),
        ("?search=SLOW@", &["slow@example.com"]),
        ("?search=%25", &[]),
        ("?user=2", &["no@example.com"]),
        ("?user=2&state=waiting", &[]),
        ("?user=99999999999999999999", &[]),
        ("?search=example&page_size=1&page=2", &["no@example.com"]),
    ] {
        let found = list(&server, &staff, query);
        let found: Vec<_> = found
            .iter()
            .map(|mail| mail["recipient"].as_str().unwrap())
            .collect();
        assert_eq!(found, recipients, "{query}");
    }
    for (query, status, body) in [
        (
            "?state=sent&user=me",
            400,
            r#"{"state":["\"sent\" is not a valid choice."],"user":["A valid integer is required."]}"#,
        ),
        (
            "?search=%00",
            400,
            r#"{"detail":"Null characters are not allowed."}"#,
        ),
        ("?page=3", 404, r#"{"detail":"Invalid page."}"#),
    ] {
        let answer = server.get(&format!("mails/{query}"), Some(&staff.access));
        answer.assert(status, body);
    }
}

#[test]
fn refused_mail_can_be_retried_until_it_expires() {
    let (server, sink, staff) = with_failures();
    let id = list(&server, &staff, "?state=failed")[0]["id"]
        .as_i64()
        .unwrap();
    let retry = |id: &str| {
        server.api(
            "POST",
            &format!("mails/{id}/retry/"),
            Some(&staff.access),
            &json!({}),
        )
    };
    let answer = retry(&id.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["id"], id);
    let mail = sink.wait_for_mail_to("no@example.com");
    let body = json!({"email": "no@example.com", "otp": mail.code()});
    assert_eq!(server.post("otp/verify/", &body).status, 200);
    // A delivered mail is not kept.
    server.wait_for_metric(WAITING, 1);
    retry(&id.to_string()).assert(404, NOT_FOUND);

    // The code of the other one expires; nothing of what it said stays in the file.
    let slow = list(&server, &staff, "")[0]["id"].as_i64().unwrap();
    server.advance(Duration::from_mins(11));
    server.wait_for_number(
        "SELECT count(*) FROM deliveries WHERE length(content) = 0",
        1,
    );
    let staff = server.sign_in("staff@example.com", crate::support::PASSWORD);
    let access = staff.text("access");
    let answer = server.get("mails/?state=expired", Some(&access));
    assert_eq!(answer.json()["count"], 1, "{}", answer.body);
    let path = format!("mails/{slow}/retry/");
    server.api("POST", &path, Some(&access), &json!({})).assert(
        400,
        r#"{"detail":"The mail has expired and can no longer be sent."}"#,
    );
    // After a week it is gone.
    server.advance(Duration::from_hours(7 * 24));
    server.clear_expired();
    assert_eq!(server.db_number("SELECT count(*) FROM deliveries"), 0);
}

#[test]
fn discarded_mail_is_not_sent() {
    let (server, sink, staff) = with_failures();
    let id = list(&server, &staff, "?state=waiting")[0]["id"]
        .as_i64()
        .unwrap();
    let discard = || {
        let path = format!("mails/{id}/");
        server.api("DELETE", &path, Some(&staff.access), &json!({}))
    };
    discard().assert(204, "");
    discard().assert(404, NOT_FOUND);
    server.advance_seconds(60);
    assert!(sink.mails_to("slow@example.com").is_empty());
    // What staff did is in the audit log, with the kind of mail.
    let events = server
        .get("events/?kind=mail_discarded", Some(&staff.access))
        .json();
    let event = &events["results"][0];
    assert_eq!(
        (&event["actor_id"], &event["detail"], &event["user_id"]),
        (&json!(staff.id), &json!("sign_up"), &json!(3))
    );
}

#[test]
fn the_queue_is_for_staff_alone() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for (method, path) in [
        ("GET", "mails/"),
        ("GET", "mails/?page=99"),
        ("POST", "mails/1/retry/"),
        ("DELETE", "mails/1/"),
        ("DELETE", "mails/x/"),
    ] {
        let answer = server.api(method, path, Some(&user.access), &json!({}));
        answer.assert(403, FORBIDDEN);
        server
            .api(method, path, None, &json!({}))
            .assert(401, NO_TOKEN);
    }
    let staff = server.staff("staff@example.com");
    for id in ["0", "99", "-1", "x", "1.0", "99999999999999999999"] {
        let path = format!("mails/{id}/");
        let answer = server.api("DELETE", &path, Some(&staff.access), &json!({}));
        answer.assert(404, NOT_FOUND);
    }
}

#[test]
fn mails_of_a_server_that_is_down_say_so() {
    let address: SocketAddr = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let server = TestServer::start_with_smtp(&format!("smtp://{address}"));
    let staff = server.staff("staff@example.com");
    assert_eq!(server.sign_up("ann@example.com").status, 201);
    server.wait_for_number("SELECT count(*) FROM deliveries WHERE problem <> ''", 1);
    let mail = &list(&server, &staff, "?search=ann")[0];
    let reason = mail["reason"].as_str().unwrap();
    assert!(reason.contains(&address.to_string()), "{reason}");
    assert_eq!(mail["tries"], 0, "it says nothing about this mail");
}
