//! Requests that two readers may understand differently: a proxy in front, and the server.

use serde_json::json;

use crate::support::{PASSWORD, TestServer};

/// How many answers there are in what came back.
fn answers(raw: &str) -> usize {
    raw.matches("HTTP/1.1 ").count()
}

#[test]
fn conflicting_lengths_smuggle_no_request() {
    let server = TestServer::start();
    let hidden = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for (lengths, body) in [
        (
            "Content-Length: 4\r\nTransfer-Encoding: chunked",
            "0\r\n\r\n",
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 4",
            "0\r\n\r\n",
        ),
        ("Content-Length: 0\r\nContent-Length: 70", ""),
        ("Content-Length: 70\r\nContent-Length: 0", ""),
        ("Content-Length: 0, 70", ""),
        ("Content-Length: +0", ""),
        ("Content-Length: -1", ""),
        ("Content-Length: 0x0", ""),
        ("Content-Length: 99999999999999999999999", ""),
        ("Content-Length : 0", ""),
        ("Content-Length: 0\r\n : 0", ""),
        ("Content-Length:\r\n 0", ""),
        ("Transfer-Encoding: identity", ""),
        ("Transfer-Encoding: xchunked", ""),
        ("Transfer-Encoding: chunked, identity", ""),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            "",
        ),
        ("Transfer-Encoding : chunked", "0\r\n\r\n"),
        ("Transfer-Encoding:\u{b}chunked", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "0x0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "-0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "fffffffffffffffff\r\n\r\n"),
        ("Transfer-Encoding: chunked", "1\r\nab\r\n0\r\n\r\n"),
    ] {
        let raw = server.raw(format!(
            "POST /api/v1/accounts/otp/resend/ HTTP/1.1\r\nHost: localhost\r\n{lengths}\r\n\r\n{body}{hidden}"
        ));
        assert!(answers(&raw) <= 1, "{lengths:?} {body:?}: {raw}");
        assert!(!raw.contains(r#"{"status":"ok"}"#), "{lengths:?}: {raw}");
    }
    // HTTP/1.0 knows no chunks.
    let raw = server.raw(format!(
        "POST /api/v1/accounts/otp/resend/ HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\n\r\n{hidden}"
    ));
    assert!(
        raw.starts_with("HTTP/1.1 400 ") && answers(&raw) == 1,
        "{raw}"
    );
    assert_eq!(server.request("GET", "/healthz", &[], "").status, 200);
}

#[test]
fn request_has_exactly_one_host() {
    let server = TestServer::start();
    for (version, hosts, status) in [
        ("1.1", "Host: localhost\r\n", "200"),
        ("1.0", "", "200"),
        ("1.0", "Host: localhost\r\n", "200"),
        ("1.1", "", "400"),
        ("1.1", "Host: localhost\r\nHost: example.com\r\n", "400"),
        ("1.1", "Host: localhost\r\nhost: localhost\r\n", "400"),
        ("1.0", "Host: localhost\r\nHost: example.com\r\n", "400"),
    ] {
        let raw = server.raw(format!(
            "GET /healthz HTTP/{version}\r\n{hosts}Connection: close\r\n\r\n"
        ));
        let line = format!("HTTP/{version} {status} ");
        assert!(raw.starts_with(&line), "{version} {hosts:?}: {raw}");
        if status == "400" {
            let expected = r#"{"detail":"A request has to have one Host header."}"#;
            assert!(raw.ends_with(expected), "{version} {hosts:?}: {raw}");
        }
    }
}

#[test]
fn two_authorization_headers_are_refused() {
    let server = TestServer::start();
    let (one, other) = (
        server.user("one@example.com"),
        server.user("other@example.com"),
    );
    for (first, second) in [
        (
            format!("Bearer {}", one.access),
            format!("Bearer {}", other.access),
        ),
        (format!("Bearer {}", one.access), "Basic YTpi".into()),
        ("Basic YTpi".into(), format!("Bearer {}", one.access)),
    ] {
        let raw = server.raw(format!(
            "GET /api/v1/accounts/users/me/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: {first}\r\n\
             Authorization: {second}\r\nConnection: close\r\n\r\n"
        ));
        assert!(raw.starts_with("HTTP/1.1 401 "), "{raw}");
        assert!(raw.contains("token_not_valid"), "{raw}");
    }
}

#[test]
fn similar_paths_do_not_match() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for path in [
        "//healthz",
        "/healthz//",
        "/./healthz",
        "/nowhere/../healthz",
        "/nowhere/%2e%2e/healthz",
        "/healthz/.",
        "/healthz;x=1",
        "/healthz%3Bx",
        "/healthz%00",
        "/healthz%20",
        "/%20healthz",
        "/%2Fhealthz",
        "/healthz%3F",
        "/healthz%252F",
        "/Healthz",
        "/api//v1/accounts/users/me/",
        "/api/v1/accounts/users/me;/",
        "/api/v1/accounts/users/me/../2/",
        "/api/v1/accounts/users/%31%00/",
        "/api/v1/accounts/users/1%2e0/",
        "/api/v1/accounts/users/\u{ff11}/",
        "/\\healthz",
    ] {
        let raw = server.raw(format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            user.access
        ));
        assert!(
            raw.starts_with("HTTP/1.1 404 ") || raw.starts_with("HTTP/1.1 400 "),
            "{path}: {raw}"
        );
    }
}

#[test]
fn headers_cannot_change_mail_links() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let token = format!("Bearer {}", user.access);
    let headers = [
        ("content-type", "application/json"),
        ("authorization", &*token),
        ("host", "evil.example.net"),
        ("x-forwarded-host", "evil.example.net"),
        ("x-forwarded-proto", "gopher"),
        ("forwarded", "host=evil.example.net;proto=gopher"),
        ("referer", "https://evil.example.net/"),
        ("origin", "https://evil.example.net"),
    ];
    let body = json!({"email": "new@example.com"}).to_string();
    let answer = server.request("PATCH", "/api/v1/accounts/users/me/", &headers, body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let body =
        json!({"email": "other@example.com", "password": PASSWORD, "confirm_password": PASSWORD});
    let answer = server.request(
        "POST",
        "/api/v1/accounts/users/",
        &headers,
        body.to_string(),
    );
    assert_eq!(answer.status, 201, "{}", answer.body);
    for to in ["user@example.com", "new@example.com", "other@example.com"] {
        let mail = server.mails(to).remove(0);
        for text in [&mail.text, &mail.html] {
            assert!(!text.contains("evil") && !text.contains("gopher"), "{text}");
        }
    }
    let link = server.mails("user@example.com").remove(0).link.unwrap();
    assert!(
        link.starts_with("http://localhost:8000/account/undo/"),
        "{link}"
    );
}

#[test]
fn last_duplicate_json_member_counts() {
    let server = TestServer::start();
    server.user("user@example.com");
    for (body, status) in [
        (
            format!(
                r#"{{"email": "user@example.com", "password": "no", "password": "{PASSWORD}"}}"#
            ),
            200,
        ),
        (
            format!(
                r#"{{"email": "user@example.com", "password": "{PASSWORD}", "password": "no"}}"#
            ),
            401,
        ),
        // The same name by an escape; another one by a letter that only looks the same or a NUL.
        (
            format!(
                r#"{{"email": "user@example.com", "password": "{PASSWORD}", "p\u0061ssword": "no"}}"#
            ),
            401,
        ),
        (
            format!(
                r#"{{"email": "user@example.com", "password": "{PASSWORD}", "p\u0430ssword": "no"}}"#
            ),
            200,
        ),
        (
            format!(
                r#"{{"email": "user@example.com", "password": "{PASSWORD}", "password\u0000": "no"}}"#
            ),
            200,
        ),
    ] {
        let headers = [("content-type", "application/json")];
        let answer = server.request("POST", "/api/v1/accounts/token/", &headers, body.clone());
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
    }
}
