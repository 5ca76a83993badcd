//! The database is lost while the server runs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use super::proxy::{Proxy, free_port};
use super::{create_user_over, target};
use crate::client::Client;
use crate::support::{PASSWORD, Running, folder};
use crate::test_schema::TestSchema;

/// A server whose database is reached through a proxy.
fn start(dir: &std::path::Path, schema: &TestSchema) -> (Proxy, Running, String) {
    let (target, url) = target(schema, free_port());
    let port = url.split("127.0.0.1:").nth(1).unwrap();
    let port = port.split('/').next().unwrap().parse().unwrap();
    let proxy = Proxy::start(port, target);
    let arguments = [
        "--db",
        &url,
        "--passwords-bcrypt-cost",
        "4",
        "--rate-limits-enabled=false",
    ];
    let server = Running::start_with(dir, &arguments);
    (proxy, server, url)
}

/// Asserts that the service is unavailable, and says when to come back.
#[track_caller]
fn assert_unavailable(server: &Running, method: &str, path: &str, token: &str, body: &Value) {
    let request = http::Request::builder()
        .method(method)
        .uri(format!("http://{}{path}", server.address))
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {token}"));
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .new_agent();
    let answer = agent.run(request.body(body.to_string()).unwrap()).unwrap();
    assert_eq!(answer.status(), 503, "{method} {path}");
    let seconds = answer.headers().get("retry-after").unwrap();
    let seconds: u64 = seconds.to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
}

#[test]
fn outage_is_answered_and_ends_by_itself() {
    let Some(schema) = TestSchema::new() else {
        return;
    };
    let dir = folder();
    let (proxy, server, url) = start(dir.path(), &schema);
    create_user_over(dir.path(), &url, "ada@example.com");
    let token = server.sign_in("ada@example.com");
    let me = "/api/v1/accounts/users/me/";
    let status = |path: &str| server.request("GET", path, Some(&token), &json!({})).0;
    assert_eq!((status(me), status("/readyz")), (200, 200));

    proxy.cut();
    let nothing = json!({});
    assert_unavailable(&server, "GET", me, &token, &nothing);
    let name = json!({ "first_name": "Ada" });
    assert_unavailable(&server, "PATCH", me, &token, &name);
    let path = "/api/v1/accounts/users/";
    let new = json!({
        "email": "grace@example.com", "password": PASSWORD, "confirm_password": PASSWORD,
    });
    assert_unavailable(&server, "POST", path, &token, &new);
    let path = "/api/v1/accounts/token/";
    let pair = json!({ "email": "ada@example.com", "password": PASSWORD });
    assert_unavailable(&server, "POST", path, &token, &pair);
    assert_eq!((status("/readyz"), status("/healthz")), (503, 200));

    proxy.restore();
    server.wait_for_log("the database takes writes again");
    assert_eq!(status("/readyz"), 200);
    let (status, profile) = server.api("GET", "users/me/", Some(&token), &json!({}));
    assert_eq!(status, 200);
    assert_eq!(profile["first_name"], "", "what was refused was not done");
    assert_eq!(server.sign_up("grace@example.com").0, 201);
    server.terminate();
}

#[test]
fn broken_connections_leave_nothing_half_done() {
    let Some(schema) = TestSchema::new() else {
        return;
    };
    let dir = folder();
    let (proxy, server, _) = start(dir.path(), &schema);
    let answered = AtomicUsize::new(0);
    let client = Client::new(server.address);
    let sign_ups = |worker: usize| {
        let mut created = Vec::new();
        for number in 0..60 {
            let email = format!("user{worker}-{number}@example.com");
            let body = json!({
                "email": email, "password": PASSWORD, "confirm_password": PASSWORD,
            });
            let (status, body) = client.api("POST", "users/", None, &body).unwrap();
            assert!(status == 201 || status == 503, "{status} {body}");
            if status == 201 {
                created.push(email);
            }
            answered.fetch_add(1, Ordering::SeqCst);
        }
        created
    };
    let created: Vec<String> = thread::scope(|scope| {
        let sign_ups = &sign_ups;
        let workers: Vec<_> = (0..4)
            .map(|worker| scope.spawn(move || sign_ups(worker)))
            .collect();
        // Connections break in the midst of it, again and again.
        for round in 1..=5 {
            while answered.load(Ordering::SeqCst) < round * 25 {
                thread::yield_now();
            }
            proxy.cut();
            proxy.restore();
        }
        let created = workers.into_iter().map(|worker| worker.join().unwrap());
        created.flatten().collect()
    });
    assert!(!created.is_empty());
    let list = created.join("', '");
    let known = format!("SELECT count(*) FROM users WHERE email IN ('{list}')");
    let known = usize::try_from(schema.count(&known)).unwrap();
    assert_eq!(known, created.len());
    // A sign-up is an account, its pending sign-up, its code and its entry in the audit log.
    let whole = "(SELECT count(*) FROM sign_ups WHERE user_id = users.id) = 1 AND \
                 (SELECT count(*) FROM otps WHERE user_id = users.id) = 1 AND \
                 (SELECT count(*) FROM events WHERE user_id = users.id AND event = 'sign_up') = 1";
    let torn = format!("SELECT count(*) FROM users WHERE NOT ({whole})");
    assert_eq!(schema.count(&torn), 0);
    server.terminate();
}
