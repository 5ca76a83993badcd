//! The whole audit log for staff: `GET events/`.

use serde_json::{Value, json};

use crate::support::{Answer, TestServer, User};

const FORBIDDEN: &str = r#"{"detail":"You do not have permission to perform this action."}"#;
const NO_TOKEN: &str = r#"{"detail":"Authentication credentials were not provided."}"#;

fn list(server: &TestServer, staff: &User, query: &str) -> Answer {
    server.get(&format!("events/{query}"), Some(&staff.access))
}

/// The kinds of the entries that a query returns, newest first.
#[track_caller]
fn kinds(server: &TestServer, staff: &User, query: &str) -> Vec<String> {
    let answer = list(server, staff, query);
    assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    let results = answer.json()["results"].as_array().unwrap().clone();
    let kinds = results.iter().map(|event| event["event"].as_str().unwrap());
    kinds.map(str::to_owned).collect()
}

/// A log with entries about a staff account, a user and nobody, a minute apart.
fn with_entries() -> (TestServer, User, User) {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    server.advance_seconds(60);
    let user = server.user("user@example.com");
    server.advance_seconds(60);
    assert_eq!(server.sign_in("nobody@example.com", "wrong").status, 401);
    let answer = server.patch(&user.path(), &staff, &json!({"is_active": false}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    (server, staff, user)
}

#[test]
fn staff_sees_the_whole_log() {
    let (server, staff, user) = with_entries();
    assert_eq!(
        kinds(&server, &staff, ""),
        [
            "user_deactivated",
            "sign_in_failed",
            "sign_up_confirmed",
            "sign_up",
            "sign_in",
            "user_created"
        ]
    );
    let answer = list(&server, &staff, "?page_size=2");
    let page = answer.json();
    assert_eq!(
        (&page["count"], &page["next"], &page["previous"]),
        (
            &json!(6),
            &json!("http://localhost:8000/api/v1/accounts/events/?page=2&page_size=2"),
            &Value::Null
        )
    );
    let deactivated = &page["results"][0];
    assert_eq!(
        (
            &deactivated["user_id"],
            &deactivated["actor"],
            &deactivated["actor_id"],
            &deactivated["created_at"],
            &deactivated["ip"],
            &deactivated["operator"],
        ),
        (
            &json!(user.id),
            &json!("staff"),
            &json!(staff.id),
            &json!("2024-12-03T12:02:00Z"),
            &json!("127.0.0.1"),
            &json!(""),
        )
    );
    let created = list(&server, &staff, "?page=last&page_size=5").json()["results"][0].clone();
    assert_eq!(
        (&created["event"], &created["actor"]),
        (&json!("user_created"), &json!("administrator"))
    );
    assert_ne!(
        created["operator"], "",
        "the system user who ran the command"
    );
}

#[test]
fn filters_combine() {
    let (server, staff, user) = with_entries();
    let about = format!("?user={}", user.id);
    let by_staff = format!("?actor={}", staff.id);
    let by_user = format!("?actor={}", user.id);
    let both = format!("?user={}&actor={}", user.id, staff.id);
    for (query, expected) in [
        (
            about.as_str(),
            &["user_deactivated", "sign_up_confirmed", "sign_up"][..],
        ),
        (&by_staff, &["user_deactivated", "sign_in"]),
        (&by_user, &["sign_up_confirmed"]),
        (&both, &["user_deactivated"]),
        ("?kind=sign_up", &["sign_up"]),
        ("?kind=sign_in,%20sign_up", &["sign_up", "sign_in"]),
        ("?kind=key_removed", &[]),
        (
            "?after=2024-12-03T12:02:00Z",
            &["user_deactivated", "sign_in_failed"],
        ),
        ("?before=2024-12-03T12:01:00Z", &["sign_in", "user_created"]),
        (
            "?after=2024-12-03T13:01:00%2B01:00&before=2024-12-03T12:02:00Z&kind=sign_up",
            &["sign_up"],
        ),
        ("?after=2024-12-04", &[]),
        ("?user=99", &[]),
        (
            "?user=&actor=&kind=&after=&before=&page_size=1",
            &["user_deactivated"],
        ),
    ] {
        assert_eq!(kinds(&server, &staff, query), expected, "{query}");
    }
}

#[test]
fn wrong_filters_are_refused_rather_than_ignored() {
    let (server, staff, _) = with_entries();
    list(&server, &staff, "?kind=sign_in,login&user=me&actor=1.5&after=yesterday&before=7").assert(
        400,
        concat!(
            r#"{"kind":["\"login\" is not a valid choice."],"user":["A valid integer is required."],"#,
            r#""actor":["A valid integer is required."],"#,
            r#""after":["Datetime has wrong format. Use one of these formats instead: "#,
            r#"YYYY-MM-DDThh:mm[:ss[.uuuuuu]][+HH:MM|-HH:MM|Z]."],"#,
            r#""before":["Datetime has wrong format. Use one of these formats instead: "#,
            r#"YYYY-MM-DDThh:mm[:ss[.uuuuuu]][+HH:MM|-HH:MM|Z]."]}"#
        ),
    );
    list(&server, &staff, "?page=99").assert(404, r#"{"detail":"Invalid page."}"#);
}

#[test]
fn the_log_is_for_staff_alone() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for query in ["", "?user=1", "?kind=nonsense", "?page=99"] {
        list(&server, &user, query).assert(403, FORBIDDEN);
        server
            .get(&format!("events/{query}"), None)
            .assert(401, NO_TOKEN);
    }
}
