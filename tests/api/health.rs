//! What tells whether the server is well.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::contract::NOT_FOUND;
use crate::support::TestServer;

#[test]
fn healthy_server_is_live_and_ready() {
    let server = TestServer::start();
    for path in ["/healthz", "/healthz/", "/readyz", "/readyz/"] {
        server
            .request("GET", path, &[], "")
            .assert(200, r#"{"status":"ok"}"#);
    }
}

#[test]
fn locked_database_is_not_ready() {
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
fn readiness_writes_at_most_once_a_second() {
    let server = TestServer::start();
    let ask = || {
        let answer = server.request("GET", "/readyz", &[], "");
        answer.assert(200, r#"{"status":"ok"}"#);
    };
    let written = || server.metric("accounts_database_writes_total ");
    ask();
    let before = written();
    for _ in 0..50 {
        ask();
    }
    // A worker of the server itself may have written, too.
    let after = written();
    assert!(after < before + 10, "{before} and {after}");
    for _ in 0..20 {
        server.clock.advance(Duration::from_secs(1));
        ask();
    }
    assert!(written() >= after + 20);
}

#[test]
fn metrics_are_for_local_programs() {
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
            .assert(404, NOT_FOUND);
    }
}

#[test]
fn metrics_listen_serves_metrics() {
    let server = TestServer::start_with(|config| {
        config.metrics.listen = Some("127.0.0.1:0".parse().unwrap());
    });
    let address = server.metrics_address().unwrap();
    let ask = |path: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 203.0.113.7\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    for path in ["/metrics", "/healthz", "/readyz"] {
        let answer = ask(path);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
    }
    for path in [
        "/api/v1/accounts/users/me/",
        "/dev/mail/",
        "/.well-known/jwks.json",
    ] {
        let answer = ask(path);
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
    server
        .request("GET", "/metrics", &[], "")
        .assert(404, NOT_FOUND);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.request("GET", path, &[], "").status, 200, "{path}");
    }
}

#[test]
fn delayed_mails_are_a_readiness_warning() {
    // Nobody listens there.
    let server = TestServer::start_with_smtp("smtp://127.0.0.1:1");
    let user = server.user("user@example.com");
    let changed = server.patch(&user.path(), &user, &json!({"email": "new@example.com"}));
    assert_eq!(changed.status, 200, "{}", changed.body);
    server.advance_seconds(11 * 60);
    let answer = server.request("GET", "/readyz", &[], "");
    assert_eq!(
        (answer.status, answer.text("status").as_str()),
        (200, "degraded")
    );
    let warning = answer.json()["warnings"][0].as_str().unwrap().to_owned();
    assert!(
        warning.contains("mails wait") && warning.contains("11 minutes"),
        "{warning}"
    );
    let strict = server.request("GET", "/readyz?strict", &[], "");
    strict.assert(
        503,
        r#"{"detail":"Service temporarily unavailable, try again later."}"#,
    );
    assert!(server.metric("accounts_mail_oldest_seconds ") >= 660);
}

#[test]
fn process_metrics_are_exported() {
    let server = TestServer::start();
    assert_eq!(server.metric("process_start_time_seconds "), 1_733_227_200);
    assert!(server.metric("process_resident_memory_bytes ") > 1_000_000);
    assert!(server.metric("process_open_fds ") > 3);
    assert!(server.metric("process_max_fds ") > 100);
}

#[test]
fn reloaded_settings_apply_to_the_next_request() {
    let server = TestServer::start();
    let origin = "https://app.example";
    let ask = || {
        let answer = server.request("GET", "/healthz", &[("origin", origin)], "");
        answer
            .header("access-control-allow-origin")
            .map(str::to_owned)
    };
    assert_eq!(ask(), None);
    let reloaded = server
        .reload(|config| {
            config.server.cors_origins = vec![origin.parse().unwrap()];
            config.server.listen = "127.0.0.1:1".parse().unwrap();
        })
        .unwrap();
    assert_eq!(reloaded.changed, ["server.cors_origins"]);
    assert_eq!(reloaded.need_restart, ["server.listen"]);
    assert_eq!(ask().as_deref(), Some(origin));
}
