//! Requests from pages of other origins: CORS, and posts that browsers send without asking.

use serde_json::json;

use crate::contract::FORBIDDEN;
use crate::support::{Answer, TestServer};

const PAGE: &str = "https://app.example";
const PATH: &str = "/api/v1/accounts/token/";

fn server() -> TestServer {
    TestServer::start_with(|config| {
        config.server.cors_origins = vec![PAGE.parse().unwrap()];
        config.server.cors_headers = vec!["X-Trace-Id".parse().unwrap()];
    })
}

/// Signs in with these headers and a wrong password.
fn sign_in(server: &TestServer, headers: &[(&str, &str)]) -> Answer {
    let body = json!({"email": "nobody@example.com", "password": "wrong"}).to_string();
    let all: Vec<(&str, &str)> = headers
        .iter()
        .copied()
        .chain([("content-type", "application/json")])
        .collect();
    server.request("POST", PATH, &all, body)
}

#[test]
fn configured_origin_may_send_and_read() {
    let server = server();
    let preflight = server.request(
        "OPTIONS",
        PATH,
        &[
            ("origin", PAGE),
            ("access-control-request-method", "POST"),
            (
                "access-control-request-headers",
                "authorization,content-type,x-trace-id",
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
            "authorization, content-type, x-trace-id",
        ),
        ("access-control-max-age", "86400"),
        ("vary", "origin"),
    ] {
        assert_eq!(preflight.header(name), Some(value), "{name}");
    }
    let answer = sign_in(
        &server,
        &[("origin", PAGE), ("sec-fetch-site", "cross-site")],
    );
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
    assert_eq!(
        answer.header("access-control-expose-headers"),
        Some("retry-after, x-request-id")
    );
    assert_eq!(answer.header("access-control-allow-credentials"), None);
}

#[test]
fn other_origins_may_not_read() {
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

#[test]
fn cross_site_posts_are_refused() {
    let server = server();
    for headers in [
        &[("origin", "https://evil.example")][..],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[
            ("origin", "https://evil.example"),
            ("sec-fetch-site", "same-site"),
        ],
    ] {
        sign_in(&server, headers).assert(403, FORBIDDEN);
    }
    // The plain form that a browser posts for any page changes nothing.
    let form = "email=victim%40example.com&password=correct-horse-battery\
                &confirm_password=correct-horse-battery";
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("origin", "https://evil.example"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
    ];
    let answer = server.request("POST", "/api/v1/accounts/users/", &headers, form);
    answer.assert(403, FORBIDDEN);
    assert_eq!(server.db_number("SELECT count(*) FROM users"), 0);
}

#[test]
fn own_pages_and_programs_may_post() {
    let server = server();
    let own = format!("http://{}", server.address());
    for headers in [
        &[][..],
        &[("origin", &*own)],
        &[("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "none")],
        &[("origin", &*own), ("sec-fetch-site", "same-origin")],
    ] {
        assert_eq!(sign_in(&server, headers).status, 401, "{headers:?}");
    }
    // The token is judged before the origin, and reading is for everybody.
    let path = "/api/v1/accounts/users/me/";
    let foreign = [("origin", "https://evil.example")];
    assert_eq!(server.request("DELETE", path, &foreign, "").status, 401);
    assert_eq!(server.request("GET", "/healthz", &foreign, "").status, 200);
}

#[test]
fn keys_and_discovery_answer_any_origin() {
    for server in [server(), TestServer::start()] {
        for path in ["jwks.json", "openid-configuration"] {
            let path = format!("/.well-known/{path}");
            for headers in [&[][..], &[("origin", "https://any.example")]] {
                let answer = server.request("GET", &path, headers, "");
                assert_eq!(answer.status, 200);
                assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
                assert_eq!(answer.header("vary"), None);
            }
            let preflight = [
                ("origin", "https://any.example"),
                ("access-control-request-method", "GET"),
            ];
            let answer = server.request("OPTIONS", &path, &preflight, "");
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
            assert_eq!(
                answer.header("access-control-allow-methods"),
                Some("GET, HEAD, OPTIONS")
            );
        }
    }
}
