//! Rules for every path: slashes, methods, headers, connections; and the paths outside of accounts.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use accounts_server::config::PublicUrl;
use serde_json::{Value, json};

use crate::contract::{NO_TOKEN, NOT_FOUND};
use crate::support::{Answer, TestServer, User};

/// The fixed paths with their conventional trailing slash, their methods, and whether all methods
/// require a token.
///
/// Listing users requires staff rights, so the caller is staff and has the id 1.
const PATHS: &[(&str, &str, bool)] = &[
    ("/api/v1/accounts/users/", "GET, POST, HEAD, OPTIONS", false),
    (
        "/api/v1/accounts/users/1/",
        "GET, PATCH, DELETE, HEAD, OPTIONS",
        true,
    ),
    (
        "/api/v1/accounts/users/me/",
        "GET, PATCH, DELETE, HEAD, OPTIONS",
        true,
    ),
    ("/api/v1/accounts/otp/verify/", "POST, OPTIONS", false),
    ("/api/v1/accounts/otp/resend/", "POST, OPTIONS", false),
    ("/api/v1/accounts/token/", "POST, OPTIONS", false),
    ("/api/v1/accounts/token/refresh/", "POST, OPTIONS", false),
    ("/api/v1/accounts/token/verify/", "POST, OPTIONS", false),
    ("/api/v1/accounts/token/blacklist/", "POST, OPTIONS", false),
    ("/api/v1/accounts/password/reset/", "POST, OPTIONS", false),
    (
        "/api/v1/accounts/password/reset/confirm/",
        "POST, OPTIONS",
        false,
    ),
    ("/api/v1/accounts/password/change/", "POST, OPTIONS", true),
    (
        "/api/v1/accounts/sessions/",
        "GET, DELETE, HEAD, OPTIONS",
        true,
    ),
    ("/.well-known/jwks.json", "GET, HEAD, OPTIONS", false),
    (
        "/.well-known/openid-configuration",
        "GET, HEAD, OPTIONS",
        false,
    ),
    ("/healthz", "GET, HEAD, OPTIONS", false),
    ("/dev/mail/", "GET, HEAD, OPTIONS", false),
];

const METHODS: &[&str] = &[
    "GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW", "get",
];

/// The path with and without its trailing slash.
fn spellings(path: &str) -> [String; 2] {
    let bare = path.trim_end_matches('/');
    [bare.to_owned(), format!("{bare}/")]
}

fn takes(allow: &str, method: &str) -> bool {
    allow.split(", ").any(|allowed| allowed == method)
}

/// Sends a request with the token of a user, if there is one.
fn ask(server: &TestServer, method: &str, path: &str, user: Option<&User>) -> Answer {
    let authorization = user.map(|user| format!("Bearer {}", user.access));
    let headers: Vec<(&str, &str)> = authorization
        .iter()
        .map(|value| ("authorization", value.as_str()))
        .collect();
    server.request(method, path, &headers, "")
}

/// The head and the body of a raw answer.
fn parts(raw: &str) -> (&str, &str) {
    raw.split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no end of the header in {raw:?}"))
}

/// The value of a header in a raw head.
fn raw_header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(value))
}

#[test]
fn paths_work_with_and_without_trailing_slash() {
    let server = TestServer::start();
    let user = server.staff("user@example.com");
    for (path, allow, _) in PATHS {
        for spelling in spellings(path) {
            let method = if takes(allow, "GET") { "GET" } else { "POST" };
            let answer = ask(&server, method, &spelling, Some(&user));
            // An empty body lacks the required fields; a read needs no fields.
            let expected = if method == "GET" { 200 } else { 400 };
            assert_eq!(
                answer.status, expected,
                "{method} {spelling}: {}",
                answer.body
            );
            assert_eq!(answer.header("location"), None, "{spelling}");
        }
    }
}

#[test]
fn unknown_path_is_404_in_json() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for path in [
        "/",
        "/api",
        "/api/v1/",
        "/api/v1/accounts/",
        "/api/v1/accounts/user/",
        "/api/v1/accounts/users/1/x/",
        "/api/v1/accounts/users/me/me/",
        "/api/v1/accounts/token/refresh/x/",
        "/api/v2/accounts/users/",
        "/api/v1/accounts/USERS/",
        "/API/v1/accounts/users/",
        "/Healthz",
        "/healthz/x",
        "/healthz.json",
        "/.well-known/",
        "/.well-known/jwks",
        "/dev/",
        "/admin/",
        "/favicon.ico",
        // Additional slashes.
        "//",
        "//healthz",
        "/healthz//",
        "/api//v1/accounts/users/",
        "/api/v1/accounts//users/",
        "/api/v1/accounts/users//",
        "/api/v1/accounts/users//1/",
        "/api/v1/accounts/users/1//",
        "/./healthz",
        "/api/v1/accounts/users/%2e%2e/users/",
        "/%2fhealthz",
        // Invalid escapes.
        "/healthz%00",
        "/healthz%",
        "/healthz%zz",
        "/%ff",
        "/healthz%20",
        "/health%C5%BA",
    ] {
        for method in METHODS.iter().chain(&["OPTIONS"]) {
            for user in [None, Some(&user)] {
                let answer = raw_ask(&server, method, path, user);
                assert!(
                    answer.starts_with("HTTP/1.1 404 "),
                    "{method} {path}: {answer}"
                );
                let (head, body) = parts(&answer);
                assert_eq!(body, NOT_FOUND, "{method} {path}");
                assert_eq!(
                    raw_header(head, "content-type"),
                    Some("application/json"),
                    "{method} {path}"
                );
            }
        }
    }
}

/// Like [`ask`], with the path sent verbatim.
fn raw_ask(server: &TestServer, method: &str, path: &str, user: Option<&User>) -> String {
    let authorization = user
        .map(|user| format!("Authorization: Bearer {}\r\n", user.access))
        .unwrap_or_default();
    server.raw(format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{authorization}Connection: close\r\n\r\n"
    ))
}

#[test]
fn paths_are_percent_decoded() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for path in [
        "/%68ealthz",
        "/api/v1/accounts/%75sers/%31/",
        "/api/v1/%61ccounts/users/%6De",
        "/%2Ewell-known/jwks%2ejson",
        "/healthz?",
        "/healthz?x=1&y=%zz",
        "/api/v1/accounts/users/1/?format=xml",
        "/api/v1/accounts/users/me?x",
    ] {
        let answer = raw_ask(&server, "GET", path, Some(&user));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
    }
}

#[test]
fn wrong_method_is_405_with_allow() {
    let server = TestServer::start();
    let user = server.staff("user@example.com");
    for (path, allow, wants_token) in PATHS {
        for spelling in spellings(path) {
            for method in METHODS.iter().filter(|method| !takes(allow, method)) {
                let answer = ask(&server, method, &spelling, Some(&user));
                let expected = format!(r#"{{"detail":"Method \"{method}\" not allowed."}}"#);
                assert_eq!(
                    (answer.status, &*answer.body),
                    (405, &*expected),
                    "{method} {spelling}"
                );
                assert_eq!(answer.header("allow"), Some(*allow), "{method} {spelling}");
                assert_eq!(answer.header("content-type"), Some("application/json"));

                let answer = ask(&server, method, &spelling, None);
                if *wants_token {
                    assert_eq!(
                        (answer.status, &*answer.body),
                        (401, NO_TOKEN),
                        "{method} {spelling}"
                    );
                } else {
                    assert_eq!(
                        (answer.status, &*answer.body),
                        (405, &*expected),
                        "{method} {spelling}"
                    );
                }
            }
        }
    }
}

#[test]
fn options_needs_no_token() {
    let server = TestServer::start();
    for (path, allow, _) in PATHS {
        for spelling in spellings(path) {
            for authorization in ["", "Bearer nonsense", "Bearer"] {
                let headers = [("authorization", authorization)];
                let answer = server.request("OPTIONS", &spelling, &headers, "");
                assert_eq!(
                    answer.status, 200,
                    "{spelling} {authorization}: {}",
                    answer.body
                );
                assert_eq!(answer.header("allow"), Some(*allow), "{spelling}");
                assert_eq!(
                    answer.header("content-type"),
                    Some("application/json"),
                    "{spelling}"
                );
                let body = answer.json();
                assert!(!body["name"].as_str().unwrap().is_empty(), "{body}");
                assert_eq!(body["renders"], json!(["application/json"]), "{spelling}");
                assert_eq!(
                    body["parses"],
                    json!([
                        "application/json",
                        "application/x-www-form-urlencoded",
                        "multipart/form-data"
                    ]),
                    "{spelling}"
                );
            }
        }
    }
    // The response does not reveal which accounts exist.
    let server = TestServer::start();
    server.user("user@example.com");
    for pk in ["1", "2", "0", "me"] {
        let answer = server.request("OPTIONS", &format!("/api/v1/accounts/users/{pk}/"), &[], "");
        assert_eq!(answer.status, 200, "{pk}");
    }
}

#[test]
fn head_is_get_without_body() {
    let server = TestServer::start();
    let user = server.staff("user@example.com");
    for (path, allow, wants_token) in PATHS {
        for spelling in spellings(path) {
            let get = raw_ask(&server, "GET", &spelling, Some(&user));
            let head = raw_ask(&server, "HEAD", &spelling, Some(&user));
            let ((get, _), (head, body)) = (parts(&get), parts(&head));
            assert_eq!(body, "", "{spelling}");
            assert_eq!(head.lines().next(), get.lines().next(), "{spelling}");
            if takes(allow, "GET") {
                assert!(head.starts_with("HTTP/1.1 200 "), "{spelling}: {head}");
            } else {
                assert!(head.starts_with("HTTP/1.1 405 "), "{spelling}: {head}");
            }
            for name in [
                "content-type",
                "allow",
                "cache-control",
                "x-content-type-options",
                "www-authenticate",
            ] {
                assert_eq!(
                    raw_header(head, name),
                    raw_header(get, name),
                    "{spelling} {name}"
                );
            }
            if takes(allow, "GET") {
                assert_eq!(
                    raw_header(head, "content-length"),
                    raw_header(get, "content-length"),
                    "{spelling}"
                );
            }

            let answer = raw_ask(&server, "HEAD", &spelling, None);
            let (head, body) = parts(&answer);
            assert_eq!(body, "", "{spelling}");
            if *wants_token {
                assert!(head.starts_with("HTTP/1.1 401 "), "{spelling}: {head}");
                assert_eq!(
                    raw_header(head, "www-authenticate"),
                    Some(r#"Bearer realm="api""#)
                );
            }
        }
    }
}

#[test]
fn answers_are_json_for_any_accept() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for accept in [
        "text/html",
        "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
        "image/png",
        "x",
        "*/*;q=0",
        "",
    ] {
        for (method, path, authorization, status) in [
            ("GET", "/healthz", "", 200),
            ("GET", "/.well-known/jwks.json", "", 200),
            (
                "GET",
                "/api/v1/accounts/users/me/",
                user.access.as_str(),
                200,
            ),
            ("OPTIONS", "/api/v1/accounts/users/me/", "", 200),
            ("POST", "/api/v1/accounts/users/", "", 400),
            ("GET", "/api/v1/accounts/users/me/", "", 401),
            (
                "GET",
                "/api/v1/accounts/users/9/",
                user.access.as_str(),
                403,
            ),
            ("GET", "/nowhere", "", 404),
            ("PUT", "/api/v1/accounts/users/", "", 405),
        ] {
            let bearer = format!("Bearer {authorization}");
            let mut headers = vec![("accept", accept)];
            if !authorization.is_empty() {
                headers.push(("authorization", &bearer));
            }
            let answer = server.request(method, path, &headers, "");
            assert_eq!(answer.status, status, "{method} {path} {accept}");
            assert_eq!(
                answer.header("content-type"),
                Some("application/json"),
                "{method} {path} {accept}"
            );
            answer.json();
        }
    }
}

#[test]
fn open_paths_ignore_tokens() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let ours = format!("Bearer {}", user.access);
    for authorization in [
        "Bearer nonsense",
        "Bearer",
        "Bearer a b",
        "Basic x",
        "x",
        "",
        &ours,
    ] {
        let headers = [
            ("authorization", authorization),
            ("content-type", "application/json"),
        ];
        for (path, allow, _) in PATHS.iter().filter(|(_, _, wants_token)| !wants_token) {
            let method = if takes(allow, "POST") { "POST" } else { "GET" };
            let with = server.request(method, path, &headers, "");
            let without = server.request(method, path, &[], "");
            assert_eq!(
                (with.status, with.body),
                (without.status, without.body),
                "{path} {authorization}"
            );
            assert_eq!(
                with.headers.get("www-authenticate"),
                None,
                "{path} {authorization}"
            );
        }
        let body =
            json!({"email": "user@example.com", "password": crate::support::PASSWORD}).to_string();
        let answer = server.request("POST", "/api/v1/accounts/token/", &headers, &body);
        assert_eq!(answer.status, 200, "{authorization}: {}", answer.body);
        let body = json!({"refresh": answer.text("refresh")}).to_string();
        let answer = server.request("POST", "/api/v1/accounts/token/refresh/", &headers, &body);
        assert_eq!(answer.status, 200, "{authorization}: {}", answer.body);
    }
}

#[test]
fn every_answer_has_security_headers_and_a_request_id() {
    let server = TestServer::start();
    let user = server.staff("user@example.com");
    let mut ids = HashSet::new();
    let mut asked = 0;
    for (path, _, _) in PATHS.iter().chain(&[("/nowhere", "", false)]) {
        for method in ["GET", "HEAD", "POST", "PUT", "OPTIONS"] {
            for user in [None, Some(&user)] {
                let answer = ask(&server, method, path, user);
                let what = format!("{method} {path} {}", answer.status);
                assert_eq!(
                    answer.header("x-content-type-options"),
                    Some("nosniff"),
                    "{what}"
                );
                let is_public = path.starts_with("/.well-known/")
                    && answer.status == 200
                    && method != "OPTIONS";
                let caching = if is_public {
                    "public, max-age=300"
                } else {
                    "no-store"
                };
                assert_eq!(answer.header("cache-control"), Some(caching), "{what}");
                assert_eq!(answer.header("server"), None, "{what}");
                assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{what}");
                assert_eq!(
                    answer.header("referrer-policy"),
                    Some("no-referrer"),
                    "{what}"
                );
                assert_eq!(
                    answer.header("content-security-policy"),
                    Some("default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
                    "{what}"
                );
                assert!(answer.header("permissions-policy").is_some(), "{what}");
                assert_eq!(answer.header("strict-transport-security"), None, "{what}");
                let id = answer
                    .header("x-request-id")
                    .unwrap_or_else(|| panic!("{what}: no id"));
                assert!(
                    id.len() >= 16 && id.bytes().all(|b| b.is_ascii_alphanumeric()),
                    "{what}: {id}"
                );
                ids.insert(id.to_owned());
                asked += 1;
            }
        }
    }
    assert_eq!(ids.len(), asked, "every request has an id of its own");
}

#[test]
fn https_url_sends_hsts() {
    let server = TestServer::start_with(|config| {
        config.server.public_url = PublicUrl::parse("https://accounts.example.com");
    });
    for path in ["/healthz", "/api/v1/accounts/users/me/", "/nowhere"] {
        let answer = server.request("GET", path, &[], "");
        assert_eq!(
            answer.header("strict-transport-security"),
            Some("max-age=31536000"),
            "{path}"
        );
    }
}

#[test]
fn client_cannot_choose_the_request_id() {
    let server = TestServer::start();
    let answer = server.request("GET", "/healthz", &[("x-request-id", "chosen")], "");
    assert_ne!(answer.header("x-request-id"), Some("chosen"));
}

#[test]
fn liveness() {
    let server = TestServer::start();
    for path in ["/healthz", "/healthz/"] {
        let answer = server.request("GET", path, &[], "");
        answer.assert(200, r#"{"status":"ok"}"#);
    }
}

#[test]
fn keep_alive_and_pipelining() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let first = format!(
        "GET /api/v1/accounts/users/me/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        user.access
    );
    // No handler reads the second request's body; it must not become part of the third request.
    let second = "POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x";
    let body = r#"{"email":"user@example.com"}"#;
    let third = format!(
        "POST /api/v1/accounts/otp/resend/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let last = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(second.rsplit_once("\r\n\r\n").unwrap().1.len(), 30);
    let answers = server.raw(format!("{first}{second}{third}{last}"));
    let statuses: Vec<&str> = answers
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|answer| answer.get(..3).unwrap_or_default())
        .collect();
    assert_eq!(statuses, ["200", "404", "200", "200"], "{answers}");
    assert!(answers.ends_with(r#"{"status":"ok"}"#), "{answers}");

    // Sequential requests, each after the response to the one before.
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_mins(1)))
        .unwrap();
    for _ in 0..3 {
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        while !answer.ends_with(r#"{"status":"ok"}"#) {
            let mut buffer = [0; 1024];
            let length = stream.read(&mut buffer).unwrap();
            assert!(length > 0, "the connection was closed after {answer:?}");
            answer.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[test]
fn malformed_http_is_refused() {
    let server = TestServer::start();
    for request in [
        "nonsense\r\n\r\n",
        "GET\r\n\r\n",
        "GET /healthz HTTP/9.9\r\n\r\n",
        "\u{16}\u{3}\u{1}\r\n\r\n",
    ] {
        let answer = server.raw(request);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
            "{request:?}: {answer}"
        );
    }
    assert_eq!(server.request("GET", "/healthz", &[], "").status, 200);
}

#[test]
fn unfinished_header_times_out() {
    let server = TestServer::start_with(|config| config.server.header_timeout_seconds = 1);
    for beginning in [
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n",
        "GET /heal",
        "",
    ] {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(3)))
            .unwrap();
        stream.write_all(beginning.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A timeout of the read is an error; the end of the connection is not.
        let read = stream.read_to_end(&mut answer);
        let is_cut = match &read {
            Ok(_) => true,
            Err(e) => e.kind() == std::io::ErrorKind::ConnectionReset,
        };
        assert!(is_cut, "{beginning:?}: {read:?}");
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408 "),
            "{beginning:?}: {answer}"
        );
    }
    assert_eq!(server.request("GET", "/healthz", &[], "").status, 200);
}

#[test]
fn inbox_lists_newest_mail_first() {
    let server = TestServer::start();
    server
        .request("GET", "/dev/mail/", &[], "")
        .assert(200, "[]");
    server.sign_up("First@example.com");
    server.advance_seconds(5);
    server.sign_up("second@example.com");
    server.advance_seconds(5);
    server.sign_up("first@example.com");

    let answer = server.request("GET", "/dev/mail/", &[], "");
    assert_eq!(answer.status, 200);
    let mails: Vec<Value> = answer.json().as_array().unwrap().clone();
    let seen: Vec<(&str, &str)> = mails
        .iter()
        .map(|mail| {
            (
                mail["to"].as_str().unwrap(),
                mail["created_at"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("first@example.com", "2024-12-03T12:00:10Z"),
            ("second@example.com", "2024-12-03T12:00:05Z"),
            ("First@example.com", "2024-12-03T12:00:00Z"),
        ]
    );
    for mail in &mails {
        let keys: Vec<&String> = mail.as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            [
                "id",
                "to",
                "from",
                "subject",
                "text",
                "html",
                "otp",
                "link",
                "created_at"
            ]
        );
        let otp = mail["otp"].as_str().unwrap();
        assert!(
            otp.len() == 6 && otp.bytes().all(|b| b.is_ascii_digit()),
            "{otp}"
        );
        for part in ["subject", "text", "html"] {
            assert!(mail[part].as_str().unwrap().contains(otp), "{part}");
        }
        let link = mail["link"].as_str().unwrap();
        assert!(link.contains("/account/confirm/?token="), "{link}");
        assert!(mail["from"].as_str().unwrap().contains('@'));
    }
    let ids: HashSet<String> = mails.iter().map(|mail| mail["id"].to_string()).collect();
    assert_eq!(ids.len(), 3);

    for (query, expected) in [
        ("to=first@example.com", 2),
        ("to=FIRST%40example.com", 2),
        ("to=second@example.com", 1),
        ("to=first", 0),
        ("to=nobody@example.com", 0),
        ("to=", 3),
        ("other=x", 3),
    ] {
        for path in ["/dev/mail/", "/dev/mail"] {
            let answer = server.request("GET", &format!("{path}?{query}"), &[], "");
            assert_eq!(answer.status, 200, "{query}");
            assert_eq!(answer.json().as_array().unwrap().len(), expected, "{query}");
        }
    }
    let newest = server
        .request("GET", "/dev/mail/?to=first@example.com", &[], "")
        .json();
    assert_eq!(newest[0], mails[0]);
    let otp = newest[0]["otp"].as_str().unwrap();
    let answer = server.post(
        "otp/verify/",
        &json!({"email": "first@example.com", "otp": otp}),
    );
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[test]
fn inbox_filter_accepts_plus_sign() {
    let server = TestServer::start();
    server.sign_up("user+tag@example.com");
    server.sign_up("user@example.com");
    for to in [
        "user+tag@example.com",
        "user%2Btag@example.com",
        "USER%2btag%40example.com",
        "%20user+tag@example.com%20",
    ] {
        let answer = server.request("GET", &format!("/dev/mail/?to={to}"), &[], "");
        let mails = answer.json();
        let mails = mails.as_array().unwrap();
        assert_eq!(mails.len(), 1, "{to}: {}", answer.body);
        assert_eq!(mails[0]["to"], "user+tag@example.com", "{to}");
    }
}

#[test]
fn inbox_needs_dev() {
    let server = TestServer::start_with(|config| config.dev = false);
    server.sign_up("user@example.com");
    for method in ["GET", "HEAD", "POST", "OPTIONS", "PUT"] {
        for path in ["/dev/mail/", "/dev/mail", "/dev/mail/?to=user@example.com"] {
            let answer = server.request(method, path, &[("accept", "text/html")], "");
            assert_eq!(answer.status, 404, "{method} {path}");
            if method != "HEAD" {
                answer.assert(404, NOT_FOUND);
            }
        }
    }
}

#[test]
fn inbox_is_for_local_clients_only() {
    let server = TestServer::start();
    server.sign_up("user@example.com");
    for host in [
        "localhost",
        "LocalHost:8000",
        "127.0.0.1",
        "127.0.0.1:80",
        "[::1]:8000",
    ] {
        let answer = server.request("GET", "/dev/mail/", &[("host", host)], "");
        assert_eq!(answer.status, 200, "{host}: {}", answer.body);
    }
    for host in [
        "example.com",
        "accounts.example.com:8000",
        "localhost.example.com",
        "127.0.0.1.example.com",
        "192.168.1.2",
        "0.0.0.0",
        "[::2]",
        "localhost@example.com",
    ] {
        let answer = server.request("GET", "/dev/mail/", &[("host", host)], "");
        assert_eq!((answer.status, &*answer.body), (404, NOT_FOUND), "{host}");
    }
    let hostless = server.raw("GET /dev/mail/ HTTP/1.0\r\n\r\n");
    assert!(hostless.contains(" 404 "), "{hostless}");
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("x-forwarded-host", "localhost"),
        ("x-forwarded-proto", "https"),
        ("via", "1.1 proxy"),
    ] {
        let headers = [("host", "localhost"), (name, value)];
        let answer = server.request("GET", "/dev/mail/", &headers, "");
        assert_eq!((answer.status, &*answer.body), (404, NOT_FOUND), "{name}");
    }
}

#[test]
fn browser_gets_inbox_page() {
    let server = TestServer::start();
    let accept = (
        "accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    );
    let empty = server.request("GET", "/dev/mail/", &[accept], "");
    assert_eq!(empty.status, 200);
    assert!(empty.body.starts_with("<!doctype html>"), "{}", empty.body);
    for (language, words) in [("de", "Noch keine E-Mail"), ("fr", "Aucun e-mail")] {
        let headers = [accept, ("accept-language", language)];
        let page = server.request("GET", "/dev/mail/", &headers, "");
        let tag = format!("<html lang=\"{language}\"");
        assert!(
            page.body.contains(words) && page.body.contains(&tag),
            "{}",
            page.body
        );
    }

    let address = r#""<b>&x"@example.com"#;
    assert_eq!(server.sign_up(address).status, 201);
    server.sign_up("user@example.com");
    let page = server.request("GET", "/dev/mail/", &[accept], "");
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    for to in [address, "user@example.com"] {
        assert!(page.body.contains(&server.otp(to)), "{to}: {}", page.body);
    }
    assert!(page.body.contains("&lt;b&gt;&amp;x"), "{}", page.body);
    assert!(!page.body.contains("<b>"), "{}", page.body);

    assert!(
        page.body.contains("type=\"search\" value=\"\""),
        "{}",
        page.body
    );
    let filtered = server.request("GET", "/dev/mail/?to=user@example.com", &[accept], "");
    assert!(filtered.body.contains("user@example.com") && !filtered.body.contains("&lt;b"));
    let json = server.request("GET", "/dev/mail/", &[("accept", "application/json")], "");
    assert_eq!(json.header("content-type"), Some("application/json"));
}
