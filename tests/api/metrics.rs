//! `/metrics`: what is counted, and that the files in `contrib` name existing metrics only.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{PASSWORD, TestServer};

fn action(action: &str, outcome: &str) -> String {
    format!("accounts_actions_total{{action=\"{action}\",outcome=\"{outcome}\"}}")
}

#[test]
fn actions_are_counted_by_outcome() {
    let server = TestServer::start();
    // There before anything has happened, so that the first failure is a rise.
    for (name, outcome) in [
        ("sign_up", "done"),
        ("sign_in", "wrong_password"),
        ("deletion", "failed"),
    ] {
        assert_eq!(server.metric(&action(name, outcome)), 0, "{name} {outcome}");
    }
    let email = "user@example.com";
    let sign_in = |password: &str| {
        let body = json!({"email": email, "password": password});
        server.post("token/", &body)
    };
    assert_eq!(server.sign_up("no address").status, 400);
    assert_eq!(server.sign_up(email).status, 201);
    assert_eq!(sign_in(PASSWORD).status, 401);
    let code = server.otp(email);
    let wrong = if code == "000000" { "111111" } else { "000000" };
    let confirm = |otp: &str| server.post("otp/verify/", &json!({"email": email, "otp": otp}));
    assert_eq!(confirm(wrong).status, 400);
    let pair = confirm(&code);
    assert_eq!(pair.status, 200);
    assert_eq!(sign_in("not my password").status, 401);
    assert_eq!(sign_in(PASSWORD).status, 200);
    let refresh = json!({"refresh": pair.text("refresh")});
    let renewed = server.post("token/refresh/", &refresh);
    assert_eq!(renewed.status, 200);
    assert_eq!(
        server
            .post("token/refresh/", &json!({"refresh": "x"}))
            .status,
        401
    );
    let access = renewed.text("access");
    let delete = |password: &str| {
        let body = json!({"password": password});
        server.api("DELETE", "users/me/", Some(&access), &body)
    };
    assert_eq!(delete("not my password").status, 400);
    assert_eq!(delete(PASSWORD).status, 204);
    assert_eq!(delete(PASSWORD).status, 401);
    for (name, outcome, count) in [
        ("sign_up", "invalid", 1),
        ("sign_up", "done", 1),
        ("sign_in", "not_verified", 1),
        ("confirmation", "wrong_code", 1),
        ("confirmation", "done", 1),
        ("sign_in", "wrong_password", 1),
        ("sign_in", "done", 1),
        ("refresh", "done", 1),
        ("refresh", "bad_token", 1),
        ("deletion", "wrong_password", 1),
        ("deletion", "done", 1),
        ("deletion", "bad_token", 1),
    ] {
        assert_eq!(
            server.metric(&action(name, outcome)),
            count,
            "{name} {outcome}"
        );
    }
}

#[test]
fn throttled_actions_are_counted() {
    let server = TestServer::start_with(|config| {
        config.rate_limits.enabled = true;
        config.rate_limits.failed_sign_ins = 1;
    });
    let body = json!({"email": "user@example.com", "password": "x"});
    for status in [401, 429, 429] {
        assert_eq!(server.post("token/", &body).status, status);
    }
    assert_eq!(server.metric(&action("sign_in", "throttled")), 2);
}

#[test]
fn database_size_and_commit_times_are_exported() {
    let server = TestServer::start_with(|config| config.database.busy_timeout_ms = 1);
    let path = server.dir().join("users.db");
    let commits = "accounts_database_commit_duration_seconds_count ";
    let before = server.metric(commits);
    let written = server.metric("accounts_database_writes_total ");
    let user = server.user("user@example.com");
    assert!(server.metric(commits) > before);
    assert!(server.metric("accounts_database_writes_total ") > written);
    assert_eq!(server.metric("accounts_database_queue_length "), 0);
    // The log is written to before the file, and both may grow between two looks.
    let size = server.metric("accounts_database_size_bytes ");
    assert!((4096..=path.metadata().unwrap().len()).contains(&size));
    assert!(server.metric("accounts_database_log_size_bytes ") > 0);

    let failures = "accounts_database_commit_failures_total ";
    assert_eq!(server.metric(failures), 0);
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let name = json!({"first_name": "Ada"});
    assert_eq!(server.patch("users/me/", &user, &name).status, 503);
    // A worker of the server itself may have tried as well.
    assert!(server.metric(failures) >= 1);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(server.patch("users/me/", &user, &name).status, 200);
}

#[test]
fn metrics_work_without_the_database() {
    let server = TestServer::start_with(|config| config.database.busy_timeout_ms = 1);
    let other = rusqlite::Connection::open(server.dir().join("users.db")).unwrap();
    other
        .execute_batch("DROP TABLE deliveries; CREATE TABLE deliveries (id INTEGER PRIMARY KEY);")
        .unwrap();
    let answer = server.request("GET", "/metrics", &[], "");
    assert_eq!(answer.status, 200);
    assert!(!answer.body.contains("accounts_mail_queue_length"));
    assert!(answer.body.contains("accounts_database_size_bytes"));
}

fn contrib(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib");
    fs::read_to_string(path.join(name)).unwrap()
}

/// The names of metrics in an expression.
fn names_in(expression: &str) -> impl Iterator<Item = &str> {
    expression
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("accounts_") || word.starts_with("process_"))
}

/// All texts under a key, at any depth.
fn texts<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| texts(value, key, found)),
        Value::Object(members) => {
            found.extend(members.get(key).and_then(Value::as_str));
            members.values().for_each(|value| texts(value, key, found));
        }
        _ => {}
    }
}

#[test]
fn dashboard_and_alerts_use_existing_metrics() {
    let dir = tempfile::tempdir().unwrap();
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(dir.path().join("cert.pem"), key.cert.pem()).unwrap();
    fs::write(dir.path().join("key.pem"), key.signing_key.serialize_pem()).unwrap();
    // All that there can be: with encryption, the end of the certificate, too.
    let server = TestServer::start_with(|config| {
        config.tls.cert = Some(dir.path().join("cert.pem"));
        config.tls.key = Some(dir.path().join("key.pem"));
        config.metrics.listen = Some("127.0.0.1:0".parse().unwrap());
    });
    let page = || {
        let mut stream = TcpStream::connect(server.metrics_address().unwrap()).unwrap();
        let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    // A request is counted once it is answered.
    page();
    let page = page();
    let there: BTreeSet<&str> = page
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();

    let dashboard: Value = serde_json::from_str(&contrib("grafana-dashboard.json")).unwrap();
    let mut expressions = Vec::new();
    texts(&dashboard, "expr", &mut expressions);
    texts(&dashboard, "definition", &mut expressions);
    assert!(expressions.len() > 40, "{expressions:?}");
    let alerts = contrib("prometheus-alerts.yml");
    expressions.extend(alerts.lines().filter(|line| !line.contains("summary:")));
    let wanted: BTreeSet<&str> = expressions.iter().copied().flat_map(names_in).collect();
    assert!(wanted.len() > 20, "{wanted:?}");
    let missing: Vec<_> = wanted.difference(&there).collect();
    assert!(missing.is_empty(), "{missing:?} are not in\n{page}");
}
