//! `sessions/`: listing the devices on which a user is signed in, and signing them out.

use serde_json::{Value, json};

use crate::contract::{BAD_TOKEN, DEAD_TOKEN, NO_TOKEN, NOT_FOUND};
use crate::support::{Answer, PASSWORD, TestServer, User};

/// Signs in on a device behind a proxy.
#[track_caller]
fn sign_in_on(server: &TestServer, user: &User, client: &str, device: &str) -> User {
    let pair = server.request(
        "POST",
        "/api/v1/accounts/token/",
        &[
            ("content-type", "application/json"),
            ("user-agent", device),
            ("x-forwarded-for", client),
        ],
        json!({"email": user.email, "password": PASSWORD}).to_string(),
    );
    assert_eq!(pair.status, 200, "{}", pair.body);
    User {
        access: pair.text("access"),
        refresh: pair.text("refresh"),
        ..user.clone()
    }
}

fn list(server: &TestServer, user: &User) -> Vec<Value> {
    let answer = server.get("sessions/", Some(&user.access));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json().as_array().unwrap().clone()
}

fn values(sessions: &[Value], key: &str) -> Vec<String> {
    sessions
        .iter()
        .map(|session| session[key].as_str().unwrap().to_owned())
        .collect()
}

/// The id of the session that a token belongs to.
fn current(server: &TestServer, user: &User) -> String {
    let sessions = list(server, user);
    let current: Vec<&Value> = sessions
        .iter()
        .filter(|session| session["current"] == true)
        .collect();
    assert_eq!(current.len(), 1, "{sessions:?}");
    current[0]["id"].as_str().unwrap().to_owned()
}

fn end(server: &TestServer, user: &User, id: &str) -> Answer {
    let path = format!("sessions/{id}/");
    server.api("DELETE", &path, Some(&user.access), &json!({}))
}

#[track_caller]
fn assert_ended(server: &TestServer, user: &User) {
    server
        .get("users/me/", Some(&user.access))
        .assert(401, BAD_TOKEN);
    server
        .post("token/refresh/", &json!({"refresh": user.refresh}))
        .assert(401, DEAD_TOKEN);
    for token in [&user.access, &user.refresh] {
        server
            .post("token/verify/", &json!({"token": token}))
            .assert(401, DEAD_TOKEN);
    }
}

#[track_caller]
fn assert_alive(server: &TestServer, user: &User) {
    assert_eq!(server.get("users/me/", Some(&user.access)).status, 200);
    for token in [&user.access, &user.refresh] {
        server
            .post("token/verify/", &json!({"token": token}))
            .assert(200, "{}");
    }
}

/// Asserts `204` without a body and without headers that describe one.
#[track_caller]
fn assert_no_content(answer: &Answer) {
    answer.assert(204, "");
    assert_eq!(answer.header("content-type"), None);
}

#[test]
fn sessions_are_listed_newest_first() {
    let server = TestServer::start_behind_proxy();
    let user = server.user("user@example.com");
    server.user("other@example.com");
    server.advance_seconds(10);
    let phone = sign_in_on(&server, &user, "192.0.2.7", "Phone/1.0");
    server.advance_seconds(10);
    let laptop = sign_in_on(&server, &user, "2001:db8::1", "Laptop \"2\" <b>");

    let sessions = list(&server, &phone);
    assert_eq!(
        values(&sessions, "created_at"),
        [
            "2024-12-03T12:00:20Z",
            "2024-12-03T12:00:10Z",
            "2024-12-03T12:00:00Z"
        ]
    );
    assert_eq!(
        values(&sessions, "ip"),
        ["2001:db8::1", "192.0.2.7", "127.0.0.1"]
    );
    assert_eq!(
        values(&sessions, "user_agent")[..2],
        ["Laptop \"2\" <b>", "Phone/1.0"]
    );
    let id = sessions[1]["id"].as_str().unwrap();
    let line = format!(
        r#"{{"id":"{id}","created_at":"2024-12-03T12:00:10Z","last_used_at":"2024-12-03T12:00:10Z","ip":"192.0.2.7","user_agent":"Phone/1.0","current":true,"authenticated_at":"2024-12-03T12:00:10Z","amr":["pwd"],"client_name":null}}"#
    );
    let answer = server.get("sessions/", Some(&phone.access));
    assert!(answer.body.contains(&line), "{}", answer.body);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(current(&server, &phone), id);
    assert_ne!(current(&server, &laptop), id);
    assert_eq!(current(&server, &user), sessions[2]["id"]);
}

#[test]
fn refreshing_is_use_and_tells_from_where() {
    let server = TestServer::start_behind_proxy();
    let user = server.user("user@example.com");
    let phone = sign_in_on(&server, &user, "192.0.2.7", "Phone/1.0");
    let id = current(&server, &phone);
    server.advance_seconds(240);
    // Reads alone do not update the time of the last use.
    assert_eq!(
        values(&list(&server, &phone), "last_used_at"),
        ["2024-12-03T12:00:00Z", "2024-12-03T12:00:00Z"]
    );
    let pair = server.request(
        "POST",
        "/api/v1/accounts/token/refresh/",
        &[
            ("content-type", "application/json"),
            ("user-agent", "Phone/2.0"),
            ("x-forwarded-for", "192.0.2.8"),
        ],
        json!({"refresh": phone.refresh}).to_string(),
    );
    let phone = User {
        access: pair.text("access"),
        refresh: pair.text("refresh"),
        ..phone
    };
    let sessions = list(&server, &phone);
    assert_eq!(sessions.len(), 2);
    let refreshed = sessions.iter().find(|session| session["id"] == id).unwrap();
    assert_eq!(
        *refreshed,
        json!({
            "id": id, "created_at": "2024-12-03T12:00:00Z", "last_used_at": "2024-12-03T12:04:00Z",
            "ip": "192.0.2.8", "user_agent": "Phone/2.0", "current": true,
            "authenticated_at": "2024-12-03T12:00:00Z", "amr": ["pwd"], "client_name": null,
        })
    );
}

#[test]
fn a_session_that_expired_is_not_listed() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    server.advance_seconds(20 * 86_400);
    let newer = sign_in_on(&server, &user, "127.0.0.1", "Newer");
    assert_eq!(list(&server, &newer).len(), 2);
    server.advance_seconds(10 * 86_400);
    let newest = sign_in_on(&server, &user, "127.0.0.1", "Newest");
    assert_eq!(
        values(&list(&server, &newest), "user_agent"),
        ["Newest", "Newer"]
    );
    assert_eq!(
        server
            .post("token/refresh/", &json!({"refresh": user.refresh}))
            .status,
        401
    );
}

#[test]
fn what_a_client_calls_itself_is_kept_in_part() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let phone = sign_in_on(&server, &user, "", &"x".repeat(10_000));
    let id = current(&server, &phone);
    let sessions = list(&server, &phone);
    let session = sessions.iter().find(|session| session["id"] == id).unwrap();
    let kept = session["user_agent"].as_str().unwrap();
    assert!(kept.len() < 1000 && kept.starts_with("xxx"), "{kept}");
}

#[test]
fn a_session_ends_at_once() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let phone = sign_in_on(&server, &user, "127.0.0.1", "Phone");
    let laptop = sign_in_on(&server, &user, "127.0.0.1", "Laptop");
    let id = current(&server, &phone);
    assert_alive(&server, &phone);
    assert_no_content(&end(&server, &laptop, &id));
    assert_ended(&server, &phone);
    assert_alive(&server, &laptop);
    assert_alive(&server, &user);
    assert_eq!(list(&server, &laptop).len(), 2);
    // The session is revoked, so there is nothing to delete.
    end(&server, &laptop, &id).assert(404, NOT_FOUND);
    // Users can also revoke the current session, which is signing out.
    let own = current(&server, &laptop);
    assert_no_content(&end(&server, &laptop, &own));
    assert_ended(&server, &laptop);
    assert_alive(&server, &user);
}

#[test]
fn among_many_readers_each_write_is_seen_by_the_next_request() {
    let server = TestServer::start();
    let readers: Vec<User> = (0..4)
        .map(|number| server.user(&format!("reader{number}@example.com")))
        .collect();
    let user = server.user("user@example.com");
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in &readers {
            scope.spawn(|| {
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    assert_eq!(server.get("users/me/", Some(&reader.access)).status, 200);
                }
            });
        }
        for round in 0..100 {
            // A write by another connection, as from a command or another program.
            server.db_execute(&format!(
                "UPDATE users SET first_name = 'Round {round}' WHERE id = {}",
                user.id
            ));
            let shown = server.get("users/me/", Some(&user.access));
            assert_eq!(shown.json()["first_name"], format!("Round {round}"));
            let name = json!({"last_name": format!("Turn {round}")});
            assert_eq!(server.patch("users/me/", &user, &name).status, 200);
            let shown = server.get("users/me/", Some(&user.access));
            assert_eq!(shown.json()["last_name"], format!("Turn {round}"));
        }
        server.db_execute(&format!("DELETE FROM sessions WHERE user_id = {}", user.id));
        server
            .get("users/me/", Some(&user.access))
            .assert(401, BAD_TOKEN);
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn nobody_ends_the_session_of_somebody_else() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let other = server.user("other@example.com");
    let staff = server.staff("staff@example.com");
    let id = current(&server, &user);
    for somebody in [&other, &staff] {
        end(&server, somebody, &id).assert(404, NOT_FOUND);
    }
    for id in [
        "0",
        "me",
        "unknown",
        "%25",
        "%00",
        "'",
        "..",
        "%F0%9F%A6%80",
        &"x".repeat(5000),
        &id.to_uppercase(),
    ] {
        if *id != current(&server, &user) {
            end(&server, &user, id).assert(404, NOT_FOUND);
        }
    }
    assert_alive(&server, &user);
    assert_eq!(list(&server, &user).len(), 1);
}

#[test]
fn all_other_sessions_end_at_once() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let others = [
        sign_in_on(&server, &user, "127.0.0.1", "Phone"),
        sign_in_on(&server, &user, "127.0.0.1", "Laptop"),
    ];
    let stranger = server.user("stranger@example.com");
    let answer = server.api("DELETE", "sessions/", Some(&user.access), &json!({}));
    assert_no_content(&answer);
    for other in &others {
        assert_ended(&server, other);
    }
    assert_alive(&server, &user);
    assert_alive(&server, &stranger);
    assert_eq!(list(&server, &user).len(), 1);
    // Without other sessions the request still succeeds.
    let answer = server.api("DELETE", "sessions/", Some(&user.access), &json!({}));
    assert_no_content(&answer);
    assert_alive(&server, &user);
}

#[test]
fn who_and_how() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let id = current(&server, &user);
    let one = format!("sessions/{id}/");
    for (path, allow, wrong) in [
        (
            "sessions/",
            "GET, DELETE, HEAD, OPTIONS",
            &["POST", "PUT", "PATCH"][..],
        ),
        (
            &one,
            "DELETE, OPTIONS",
            &["GET", "HEAD", "POST", "PUT", "PATCH"],
        ),
    ] {
        for method in ["GET", "DELETE", "POST"] {
            server
                .api(method, path, None, &json!({}))
                .assert(401, NO_TOKEN);
            server
                .api(method, path, Some("nonsense"), &json!({}))
                .assert(401, BAD_TOKEN);
        }
        for method in wrong {
            let answer = server.api(method, path, Some(&user.access), &json!({}));
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
            if *method != "HEAD" {
                let body = format!(r#"{{"detail":"Method \"{method}\" not allowed."}}"#);
                answer.assert(405, &body);
            }
        }
    }
    let head = server.api("HEAD", "sessions/", Some(&user.access), &json!({}));
    head.assert(200, "");
    let get = server.get("sessions", Some(&user.access));
    assert_eq!(get.status, 200, "without the slash");
    assert_eq!(
        head.header("content-length"),
        Some(&*get.body.len().to_string())
    );
    assert_alive(&server, &user);
}

#[test]
fn surplus_sessions_are_evicted_unused_ones_first() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let other = server.user("other@example.com");
    let count = "SELECT count(*) FROM sessions WHERE user_id = 1";
    let exists = |id: &str| {
        server.db_number(&format!("SELECT count(*) FROM sessions WHERE id = '{id}'")) == 1
    };
    // 98 sessions that were refreshed long ago, and a newer one that was never refreshed.
    server.db_execute(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 98) \
         INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at, ip, user_agent) \
         SELECT 'refreshed' || n, 1, n, n + 1, 4000000000000, '', '' \
         FROM numbers",
    );
    server.db_execute(
        "INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at, ip, user_agent) \
         SELECT 'unused', 1, created_at - 300000, created_at - 300000, \
         4000000000000, '', '' FROM sessions WHERE user_id = 1 ORDER BY created_at DESC LIMIT 1",
    );
    assert_eq!(server.db_number(count), 100);
    // A session that was never refreshed and whose access token has expired is evicted first.
    let second = sign_in_on(&server, &user, "127.0.0.1", "second");
    assert_eq!(server.db_number(count), 100);
    assert!(!exists("unused") && exists("refreshed1"));
    // Sessions with a live access token stay; the least recently used of the others is evicted.
    let third = sign_in_on(&server, &user, "127.0.0.1", "third");
    assert!(!exists("refreshed1") && exists("refreshed2"));
    for user in [&user, &second, &third, &other] {
        assert_eq!(server.get("users/me/", Some(&user.access)).status, 200);
    }
    let events = server.get("users/me/events/?page_size=2", Some(&third.access));
    let events = events.json();
    let revoked = events["results"]
        .as_array()
        .unwrap()
        .iter()
        .find(|event| event["event"] == "sessions_revoked")
        .unwrap();
    assert_eq!(
        (&revoked["detail"], &revoked["actor"]),
        (&json!("1"), &json!("user"))
    );
}

#[test]
fn no_operation_leaves_more_than_the_maximum() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for _ in 0..120 {
        let answer = server.sign_in(&user.email, PASSWORD);
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    assert_eq!(
        server.db_number("SELECT count(*) FROM sessions WHERE user_id = 1"),
        100
    );
}
