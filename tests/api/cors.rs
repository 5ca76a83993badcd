//! Requests from pages of other origins.

use serde_json::json;

use crate::support::TestServer;

const PAGE: &str = "https://app.example";
const PATH: &str = "/api/v1/accounts/token/";

fn server() -> TestServer {
    TestServer::start_with(|config| {
        config.server.cors_origins = vec![PAGE.parse().unwrap()];
    })
}

#[test]
fn a_page_of_an_allowed_origin_may_ask_and_read() {
    let server = server();
    let preflight = server.request(
        "OPTIONS",
        PATH,
        &[
            ("origin", PAGE),
            ("access-control-request-method", "POST"),
            (
                "access-control-request-headers",
                "authorization,content-type",
            ),
        ],
        "",
    );
    assert_eq!(preflight.status, 200);
    for (name, value) in [
        ("access-control-allow-origin", PAGE),
        ("access-control-allow-methods", "POST, OPTIONS"),
        (
            "access-control-allow-headers",
            "authorization, content-type",
        ),
        ("access-control-max-age", "86400"),
        ("vary", "origin"),
    ] {
        assert_eq!(preflight.header(name), Some(value), "{name}");
    }
    let body = json!({"email": "nobody@example.com", "password": "wrong"}).to_string();
    let headers = [("origin", PAGE), ("content-type", "application/json")];
    let answer = server.request("POST", PATH, &headers, body);
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
    assert_eq!(
        answer.header("access-control-expose-headers"),
        Some("retry-after, x-request-id")
    );
    assert_eq!(answer.header("access-control-allow-credentials"), None);
}

#[test]
fn nobody_else_may() {
    let open = server();
    let closed = TestServer::start();
    for (server, origin) in [
        (&open, "https://app.example.evil.example"),
        (&open, "http://app.example"),
        (&open, "https://app.example:8443"),
        (&open, "null"),
        (&closed, PAGE),
    ] {
        for method in ["OPTIONS", "POST"] {
            let headers = [
                ("origin", origin),
                ("access-control-request-method", "POST"),
            ];
            let answer = server.request(method, PATH, &headers, "");
            assert_eq!(
                answer.header("access-control-allow-origin"),
                None,
                "{method} {origin}"
            );
        }
    }
}
