//! The audit log: who did what, when and from where, as `GET users/<pk>/events/` returns it and as
//! it is stored.

use serde_json::{Value, json};

use crate::contract::{FORBIDDEN, NO_USER, NOT_FOUND};
use crate::support::{Answer, PASSWORD, TestServer, User};

fn events(server: &TestServer, user: &User, path: &str) -> Vec<Value> {
    let answer = server.get(path, Some(&user.access));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["results"].as_array().unwrap().clone()
}

/// The names of a user's events, oldest first.
fn names(server: &TestServer, user: &User) -> Vec<String> {
    let mut names: Vec<String> = events(server, user, "users/me/events/?page_size=100")
        .iter()
        .map(|event| event["event"].as_str().unwrap().to_owned())
        .collect();
    names.reverse();
    names
}

fn sign_in_again(server: &TestServer, user: &User, password: &str) -> User {
    let pair = server.sign_in(&user.email, password);
    assert_eq!(pair.status, 200, "{}", pair.body);
    User {
        access: pair.text("access"),
        refresh: pair.text("refresh"),
        ..user.clone()
    }
}

#[test]
fn a_user_sees_what_happened_and_from_where() {
    let server = TestServer::start_behind_proxy();
    server.user("user@example.com");
    server.advance_seconds(60);
    let answer = server.request(
        "POST",
        "/api/v1/accounts/token/",
        &[
            ("content-type", "application/json"),
            ("x-forwarded-for", "2001:db8::7"),
            ("user-agent", "A browser"),
        ],
        json!({"email": "user@example.com", "password": PASSWORD}).to_string(),
    );
    let answer = server.get("users/me/events/", Some(&answer.text("access")));
    answer.assert(
        200,
        r#"{"count":3,"next":null,"previous":null,"results":[{"id":3,"event":"sign_in","created_at":"2024-12-03T12:01:00Z","actor":"user","actor_id":1,"ip":"2001:db8::7","user_agent":"A browser","detail":"","reason":"","count":1,"last_at":"2024-12-03T12:01:00Z"},{"id":2,"event":"sign_up_confirmed","created_at":"2024-12-03T12:00:00Z","actor":"user","actor_id":1,"ip":"127.0.0.1","user_agent":"ureq/USER_AGENT","detail":"","reason":"","count":1,"last_at":"2024-12-03T12:00:00Z"},{"id":1,"event":"sign_up","created_at":"2024-12-03T12:00:00Z","actor":"unknown","actor_id":null,"ip":"127.0.0.1","user_agent":"ureq/USER_AGENT","detail":"","reason":"","count":1,"last_at":"2024-12-03T12:00:00Z"}]}"#
            .replace("ureq/USER_AGENT", &user_agent(&answer))
            .as_str(),
    );
}

/// The user agent of the test client.
fn user_agent(answer: &Answer) -> String {
    let agent = &answer.json()["results"][1]["user_agent"];
    assert!(agent.as_str().unwrap().starts_with("ureq/"), "{agent}");
    agent.as_str().unwrap().to_owned()
}

#[test]
fn everything_in_the_life_of_an_account_is_there() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    assert_eq!(server.sign_in("user@example.com", "wrong").status, 401);
    let second = sign_in_again(&server, &user, PASSWORD);
    // Entries about changes have the names of the fields, not their values. Without a change there
    // is none.
    server.patch(
        &user.path(),
        &user,
        &json!({"first_name": "Ada", "phone": "+441234567"}),
    );
    server.patch(&user.path(), &user, &json!({"first_name": "Ada"}));
    server.patch(&user.path(), &user, &json!({"email": "new@example.com"}));
    let otp = server.otp("new@example.com");
    let confirmed = server.api(
        "POST",
        "otp/verify/",
        Some(&user.access),
        &json!({"email": "new@example.com", "otp": otp}),
    );
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    server.api("DELETE", "sessions/", Some(&user.access), &json!({}));
    assert_eq!(server.get("users/me/", Some(&second.access)).status, 401);
    let change = |current: &str| {
        let body = json!({
            "current_password": current, "password": "another-pass-77", "confirm_password": "another-pass-77",
        });
        server.api("POST", "password/change/", Some(&user.access), &body)
    };
    assert_eq!(change("wrong").status, 400);
    assert_eq!(change(PASSWORD).status, 200);
    assert_eq!(server.get("users/me/", Some(&user.access)).status, 401);
    server.post("password/reset/", &json!({"email": "new@example.com"}));
    let reset = |otp: &str| {
        let body = json!({
            "email": "new@example.com", "otp": otp, "password": "third-pass-78", "confirm_password": "third-pass-78",
        });
        server.post("password/reset/confirm/", &body)
    };
    let otp = server.otp("new@example.com");
    assert_eq!(reset("abcdef").status, 400);
    assert_eq!(reset(&otp).status, 200);
    let user = User {
        email: "new@example.com".into(),
        ..user
    };
    let user = sign_in_again(&server, &user, "third-pass-78");
    let other = sign_in_again(&server, &user, "third-pass-78");
    server.post("token/blacklist/", &json!({"refresh": other.refresh}));
    let stolen = sign_in_again(&server, &user, "third-pass-78");
    for _ in 0..2 {
        server.post("token/refresh/", &json!({"refresh": stolen.refresh}));
        server.advance_seconds(11);
    }
    assert_eq!(
        names(&server, &user),
        [
            "sign_up",
            "sign_up_confirmed",
            "sign_in_failed",
            "sign_in",
            "profile_changed",
            "email_change_requested",
            "email_changed",
            "sessions_revoked",
            "password_check_failed",
            "password_changed",
            "password_reset_requested",
            "otp_failed",
            "password_reset",
            "sign_in",
            "sign_in",
            "sign_out",
            "sign_in",
            "token_reused",
        ]
    );
    let changed = events(&server, &user, "users/me/events/?page_size=100")
        .into_iter()
        .find(|event| event["event"] == "profile_changed")
        .unwrap();
    assert_eq!(changed["detail"], "first_name, phone");
}

#[test]
fn the_log_holds_no_secret_and_no_address_of_mail() {
    let server = TestServer::start();
    let user = server.user("person@example.com");
    server.sign_in("person@example.com", "a-wrong-password");
    server.sign_in("somebody.else@example.com", "a-wrong-password");
    server.patch(
        &user.path(),
        &user,
        &json!({"email": "other@example.com", "first_name": "Zoe"}),
    );
    let otp = server.otp("other@example.com");
    server.post("password/reset/", &json!({"email": "person@example.com"}));
    server.post(
        "otp/verify/",
        &json!({"email": "person@example.com", "otp": "000000"}),
    );
    let everything = server.db_text(
        "SELECT string_agg(concat_ws('|', event, operator, ip, user_agent, detail), ',') FROM events",
    );
    for secret in ["@", "password-", PASSWORD, "Zoe", &otp, "000000"] {
        assert!(!everything.contains(secret), "{secret} in {everything}");
    }
    assert!(everything.contains("sign_in_failed"), "{everything}");
}

#[test]
fn who_may_see_it() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let other = server.user("other@example.com");
    let staff = server.staff("staff@example.com");
    let path = format!("users/{}/events/", user.id);
    assert_eq!(server.get(&path, None).status, 401);
    server
        .get(&path, Some(&other.access))
        .assert(403, FORBIDDEN);
    server
        .get("users/99/events/", Some(&other.access))
        .assert(403, FORBIDDEN);
    server
        .get("users/99/events/", Some(&staff.access))
        .assert(404, NO_USER);
    server
        .get("users/abc/events/", Some(&staff.access))
        .assert(404, NOT_FOUND);
    assert_eq!(events(&server, &staff, &path).len(), 2);
    server
        .api("POST", "users/me/events/", Some(&user.access), &json!({}))
        .assert(405, r#"{"detail":"Method \"POST\" not allowed."}"#);
}

#[test]
fn what_staff_did_is_told_but_not_from_where() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let staff = server.staff("staff@example.com");
    server.patch(
        &user.path(),
        &staff,
        &json!({"is_staff": true, "last_name": "Byron"}),
    );
    server.patch(&user.path(), &staff, &json!({"is_staff": false}));
    let seen = events(&server, &user, "users/me/events/?page_size=3");
    let listed: Vec<_> = seen
        .iter()
        .map(|event| {
            (
                event["event"].as_str().unwrap(),
                event["actor"].as_str().unwrap(),
                event["actor_id"].as_i64(),
                event["ip"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        listed,
        [
            ("user_demoted", "staff", Some(staff.id), ""),
            ("user_promoted", "staff", Some(staff.id), ""),
            ("profile_changed", "staff", Some(staff.id), ""),
        ]
    );
    let seen = events(&server, &staff, &format!("users/{}/events/", user.id));
    assert_eq!(seen[0]["ip"], "127.0.0.1", "staff sees it");
    let made = events(&server, &staff, "users/me/events/?page=last");
    assert_eq!(made.last().unwrap()["event"], "user_created");
    assert_eq!(made.last().unwrap()["actor"], "administrator");
}

#[test]
fn reason_of_staff_is_kept_for_staff_alone() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let staff = server.staff("staff@example.com");
    let path = user.path();
    let change = json!({"is_active": false, "last_name": "Byron", "reason": " spam, ticket 7 "});
    assert_eq!(server.patch(&path, &staff, &change).status, 200);
    server.patch(&path, &staff, &json!({"is_active": true}));
    let log = format!("users/{}/events/?page_size=3", user.id);
    let reasons = |reader: &User| -> Vec<Value> {
        let seen = events(&server, reader, &log);
        seen.iter().map(|event| event["reason"].clone()).collect()
    };
    assert_eq!(reasons(&staff), ["", "spam, ticket 7", "spam, ticket 7"]);
    let user = sign_in_again(&server, &user, PASSWORD);
    assert_eq!(reasons(&user), ["", "", ""]);
    // From others it is ignored, as what only staff may set.
    let change = json!({"first_name": "Ada", "reason": 7});
    assert_eq!(server.patch("users/me/", &user, &change).status, 200);
    for (reason, complaint) in [
        (
            json!("x".repeat(201)),
            "Ensure this field has no more than 200 characters.",
        ),
        (json!([]), "Not a valid string."),
        (json!("a\0b"), "Null characters are not allowed."),
        (json!(null), "This field may not be null."),
    ] {
        let expected = json!({"reason": [complaint]});
        let change = json!({"is_staff": true, "reason": reason});
        server
            .patch(&path, &staff, &change)
            .assert_json(400, &expected);
    }
    // The reason of a deletion stays; those of before are forgotten with the person.
    let body = json!({"reason": "asked for it"});
    let answer = server.api("DELETE", &path, Some(&staff.access), &body);
    assert_eq!(answer.status, 204, "{}", answer.body);
    let left = format!(
        "SELECT string_agg(reason, ',') FROM events WHERE user_id = {} AND reason <> ''",
        user.id
    );
    assert_eq!(server.db_text(&left), "asked for it");
}

#[test]
fn it_comes_in_pages() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for _ in 0..5 {
        server.sign_in("user@example.com", "wrong");
    }
    let page = server
        .get("users/me/events/?page_size=3&page=2", Some(&user.access))
        .json();
    assert_eq!(page["count"], 7);
    let url = "http://localhost:8000/api/v1/accounts/users/me/events/";
    assert_eq!(page["next"], format!("{url}?page=3&page_size=3"));
    assert_eq!(page["previous"], format!("{url}?page_size=3"));
    assert_eq!(page["results"].as_array().unwrap().len(), 3);
    for wrong in ["0", "4", "x"] {
        server
            .get(
                &format!("users/me/events/?page_size=3&page={wrong}"),
                Some(&user.access),
            )
            .assert(404, r#"{"detail":"Invalid page."}"#);
    }
}

#[test]
fn of_a_deleted_account_its_number_is_left() {
    let server = TestServer::start_behind_proxy();
    let user = server.user("user@example.com");
    server.post_from(
        "203.0.113.77",
        "token/",
        &json!({"email": "user@example.com", "password": "wrong"}),
    );
    let gone = server.api(
        "DELETE",
        "users/me/",
        Some(&user.access),
        &json!({"password": PASSWORD}),
    );
    assert_eq!(gone.status, 204, "{}", gone.body);
    assert_eq!(
        server.db_number("SELECT count(*) FROM events WHERE user_id = 1"),
        4
    );
    let left = "SELECT count(*) FROM events WHERE ip <> '' OR user_agent <> '' OR detail <> ''";
    assert_eq!(server.db_number(left), 0);
    let last = "SELECT event FROM events ORDER BY id DESC LIMIT 1";
    assert_eq!(server.db_text(last), "user_deleted");
}

#[test]
fn failures_cannot_fill_the_disk_nor_hide_guesses_at_an_account() {
    let server = TestServer::start();
    server.user("user@example.com");
    for number in 0..120 {
        server.sign_in(&format!("nobody{number}@example.com"), "wrong");
    }
    server.sign_in("user@example.com", "wrong");
    let listed = |which: &str| {
        server.db_number(&format!(
            "SELECT count(*) FROM events WHERE event = 'sign_in_failed' AND user_id IS {which}"
        ))
    };
    // Per hour, 100 failures at unknown addresses are listed, and all are counted.
    assert_eq!((listed("NULL"), listed("NOT NULL")), (100, 1));
    let counted = "SELECT failures FROM failure_counts WHERE user_id = 0";
    assert_eq!(server.db_number(counted), 120);
    server.advance_seconds(3600);
    server.sign_in("nobody@example.com", "wrong");
    assert_eq!(listed("NULL"), 101);
}

fn sign_in_from(server: &TestServer, device: &str, email: &str, password: &str) -> u16 {
    let answer = server.request(
        "POST",
        "/api/v1/accounts/token/",
        &[("content-type", "application/json"), ("user-agent", device)],
        json!({"email": email, "password": password}).to_string(),
    );
    answer.status
}

#[test]
fn noise_at_one_account_hides_nothing_at_another() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let other = server.user("other@example.com");
    // Each failure looks different, so that none is folded.
    for number in 0..110 {
        let device = format!("Device {number}");
        assert_eq!(
            sign_in_from(&server, &device, "user@example.com", "wrong"),
            401
        );
    }
    let listed = |user: &User| {
        let of = format!("event = 'sign_in_failed' AND user_id = {}", user.id);
        server.db_number(&format!("SELECT sum(count) FROM events WHERE {of}"))
    };
    assert_eq!(server.sign_in("other@example.com", "wrong").status, 401);
    assert_eq!((listed(&user), listed(&other)), (110, 1));
    let entries = format!("SELECT count(*) FROM events WHERE user_id = {}", user.id);
    assert_eq!(server.db_number(&entries), 100);
    let unlisted = "SELECT sum(failures - listed) FROM failure_counts";
    assert_eq!(server.db_number(unlisted), 0);
}

#[test]
fn repeats_of_one_client_share_an_entry() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for _ in 0..20 {
        server.advance_seconds(60);
        assert_eq!(
            sign_in_from(&server, "Script", "user@example.com", PASSWORD),
            200
        );
    }
    assert_eq!(
        sign_in_from(&server, "Phone", "user@example.com", PASSWORD),
        200
    );
    let staff = server.staff("root@example.com");
    let listed = events(&server, &staff, &format!("users/{}/events/", user.id));
    let summary: Vec<_> = listed
        .iter()
        .filter(|event| event["event"] == "sign_in")
        .map(|event| {
            let device = event["user_agent"].as_str().unwrap();
            let last = event["last_at"].as_str().unwrap();
            (device, event["count"].as_u64().unwrap(), last)
        })
        .collect();
    // The first five have entries of their own, and the fifth counts the rest.
    assert_eq!(
        summary,
        [
            ("Phone", 1, "2024-12-03T12:20:00Z"),
            ("Script", 16, "2024-12-03T12:20:00Z"),
            ("Script", 1, "2024-12-03T12:04:00Z"),
            ("Script", 1, "2024-12-03T12:03:00Z"),
            ("Script", 1, "2024-12-03T12:02:00Z"),
            ("Script", 1, "2024-12-03T12:01:00Z"),
        ]
    );
    // An hour later it is news again.
    server.advance_seconds(3600);
    assert_eq!(
        sign_in_from(&server, "Script", "user@example.com", PASSWORD),
        200
    );
    let entries = "SELECT count(*) FROM events WHERE event = 'sign_in' AND user_id = 1";
    assert_eq!(server.db_number(entries), 7);
}

#[test]
fn different_clients_cannot_fill_the_log_of_an_account() {
    let server = TestServer::start();
    server.user("user@example.com");
    for number in 0..150 {
        let device = format!("Device {number}");
        assert_eq!(
            sign_in_from(&server, &device, "user@example.com", PASSWORD),
            200
        );
    }
    let entries = "SELECT count(*) FROM events WHERE user_id = 1";
    // A hundred, and one for the sessions that make room for others.
    assert_eq!(server.db_number(entries), 101);
    let times = "SELECT sum(count) FROM events WHERE event = 'sign_in'";
    assert_eq!(server.db_number(times), 150);
}

#[test]
fn notices_of_a_kind_are_five_a_day() {
    let server = TestServer::start_behind_proxy();
    server.user("user@example.com");
    let body = json!({"email": "user@example.com", "password": PASSWORD});
    for number in 0..12 {
        let answer = server.post_from(&format!("192.0.2.{number}"), "token/", &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let notices = |server: &TestServer| {
        let mails = server.mails("user@example.com");
        let is_notice = |mail: &&accounts_server::mail::InboxEntry| mail.otp.is_none();
        mails.iter().filter(is_notice).count()
    };
    assert_eq!(notices(&server), 4, "with the network of the sign-up, five");
    server.advance_seconds(86_400);
    let answer = server.post_from("198.51.100.1", "token/", &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(notices(&server), 5);
}

#[test]
fn changes_of_a_profile_cannot_fill_the_disk_and_all_that_changed_is_told() {
    let server = TestServer::start();
    let mut user = server.user("user@example.com");
    let staff = server.staff("root@example.com");
    let rename = |user: &User, name: &str| {
        let answer = server.patch("users/me/", user, &json!({ "first_name": name }));
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    let entries = "SELECT count(*) FROM events WHERE user_id = 1";
    for number in 0..150 {
        rename(&user, &format!("Ada {number}"));
    }
    assert_eq!(server.db_number(entries), 100);
    let phone = json!({"phone": "+4915112345678", "last_name": "King"});
    assert_eq!(server.patch("users/me/", &user, &phone).status, 200);
    // A change by another actor gets its own entry.
    let country = json!({"country": "DE"});
    assert_eq!(server.patch("users/1/", &staff, &country).status, 200);
    rename(&user, "Ada");
    assert_eq!(server.db_number(entries), 101);
    let last = events(&server, &user, "users/me/events/?page_size=2");
    let summary = |event: &Value| (event["actor"].clone(), event["detail"].clone());
    assert_eq!(summary(&last[0]), (json!("staff"), json!("country")));
    assert_eq!(
        summary(&last[1]),
        (json!("user"), json!("first_name, last_name, phone"))
    );
    // Other events get their own entries, and so do changes in the next hour.
    server.advance_seconds(3600);
    user = sign_in_again(&server, &user, PASSWORD);
    for name in ["Countess", "Ada"] {
        rename(&user, name);
    }
    assert_eq!(server.db_number(entries), 104);
}

#[test]
fn entries_are_kept_for_as_long_as_the_settings_say() {
    for (days, left) in [(1, 1), (0, 4)] {
        let mut server = TestServer::start_with(|config| config.audit.retention_days = days);
        server.user("user@example.com");
        server.sign_in("user@example.com", "wrong");
        server.advance_seconds(86_400);
        server.sign_in("user@example.com", PASSWORD);
        server.advance_seconds(1);
        // Expired rows are deleted at the start, and then hourly.
        server.restart();
        let entries = "SELECT count(*) FROM events";
        server.wait_for_number(entries, left);
        assert_eq!(
            server.db_text("SELECT event FROM events ORDER BY id DESC LIMIT 1"),
            "sign_in"
        );
    }
}
