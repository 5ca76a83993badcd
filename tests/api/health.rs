//! What tells whether the server is well.

use crate::support::TestServer;

#[test]
fn a_server_that_is_well_says_so() {
    let server = TestServer::start();
    for path in ["/healthz", "/healthz/", "/readyz", "/readyz/"] {
        server
            .request("GET", path, &[], "")
            .assert(200, r#"{"status":"ok"}"#);
    }
}

#[test]
fn a_database_that_is_held_by_somebody_else_is_not_ready() {
    let server = TestServer::start_with(|config| config.database.busy_timeout_ms = 1);
    let other = rusqlite::Connection::open(server.dir().join("users.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = server.request("GET", "/readyz", &[], "");
    answer.assert(
        503,
        r#"{"detail":"Service temporarily unavailable, try again later."}"#,
    );
    assert_eq!(answer.header("retry-after"), Some("5"));
    server
        .request("GET", "/healthz", &[], "")
        .assert(200, r#"{"status":"ok"}"#);
    other.execute_batch("ROLLBACK").unwrap();
    server
        .request("GET", "/readyz", &[], "")
        .assert(200, r#"{"status":"ok"}"#);
}

#[test]
fn figures_are_for_programs_on_this_machine() {
    let server = TestServer::start();
    server.request("GET", "/healthz", &[], "");
    server.request("GET", "/healthz", &[], "");
    server.request("BREW", "/nowhere", &[], "");
    let answer = server.request("GET", "/metrics", &[], "");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    for line in [
        "accounts_mail_queue_length 0",
        r#"accounts_http_requests_total{route="/healthz",method="GET",status="200"} 2"#,
        r#"accounts_http_request_duration_seconds_count{route="/healthz",method="GET"} 2"#,
        "accounts_hash_queue_length 0",
        "accounts_connections 1",
        r#"accounts_http_requests_total{route="none",method="other",status="404"} 1"#,
    ] {
        assert!(
            answer.body.lines().any(|known| known == line),
            "{line}\n{}",
            answer.body
        );
    }
    for header in ["x-forwarded-for", "forwarded", "x-real-ip", "via"] {
        server
            .request("GET", "/metrics", &[(header, "203.0.113.7")], "")
            .assert(404, r#"{"detail":"Not found."}"#);
    }
}
