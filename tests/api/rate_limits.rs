//! How often one network may do what attackers do often.

use serde_json::json;

use crate::support::{Answer, PASSWORD, TestServer, sign_up_body};

fn server() -> TestServer {
    TestServer::start_with(|config| {
        config.rate_limits.enabled = true;
        config.server.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
}

fn from(server: &TestServer, address: &str, path: &str, body: &serde_json::Value) -> Answer {
    server.request(
        "POST",
        &format!("/api/v1/accounts/{path}"),
        &[
            ("content-type", "application/json"),
            ("x-forwarded-for", address),
        ],
        body.to_string(),
    )
}

#[track_caller]
fn assert_throttled(answer: &Answer, seconds: u64) {
    let text = format!("Request was throttled. Expected available in {seconds} seconds.");
    answer.assert_json(429, &json!({ "detail": text }));
    assert_eq!(
        answer.header("retry-after"),
        Some(seconds.to_string().as_str())
    );
}

#[test]
fn failed_sign_ins_are_limited_and_others_are_not() {
    let server = server();
    server.user("user@example.com");
    let wrong = json!({"email": "user@example.com", "password": "wrong"});
    let right = json!({"email": "user@example.com", "password": PASSWORD});
    for _ in 0..30 {
        assert_eq!(from(&server, "192.0.2.1", "token/", &right).status, 200);
    }
    for _ in 0..20 {
        assert_eq!(from(&server, "192.0.2.1", "token/", &wrong).status, 401);
    }
    assert_throttled(&from(&server, "192.0.2.1", "token/", &wrong), 300);
    // The owner somewhere else is not held up, and the guesser's network only for a while.
    assert_eq!(from(&server, "192.0.2.2", "token/", &right).status, 200);
    server.advance_seconds(300);
    assert_eq!(from(&server, "192.0.2.1", "token/", &right).status, 200);
}

#[test]
fn sign_ups_codes_and_resets_are_limited() {
    let server = server();
    for (path, most, seconds, status) in [
        ("users/", 20, 3600, 201),
        ("otp/verify/", 30, 600, 400),
        ("password/reset/", 20, 600, 200),
    ] {
        for number in 0..=most {
            let mut body = sign_up_body(&format!("user{number}@example.com"));
            body["otp"] = json!("000000");
            // Addresses of one IPv6 network count as one.
            let answer = from(&server, &format!("2001:db8::{number}"), path, &body);
            if number < most {
                assert_eq!(answer.status, status, "{path} {number}: {}", answer.body);
            } else {
                assert_throttled(&answer, seconds);
            }
        }
        let body = sign_up_body("other@example.com");
        let mut body = body;
        body["otp"] = json!("000000");
        let answer = from(&server, "2001:db8:0:1::1", path, &body);
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
    }
}

#[test]
fn a_refused_sign_up_costs_nothing() {
    let server = server();
    for _ in 0..30 {
        let answer = from(&server, "192.0.2.1", "users/", &json!({}));
        assert_eq!(answer.status, 400);
    }
    let body = sign_up_body("user@example.com");
    assert_eq!(from(&server, "192.0.2.1", "users/", &body).status, 201);
}
