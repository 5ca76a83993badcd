//! Request bodies: JSON and both kinds of forms on every endpoint, and invalid bodies.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::contract::{EMAIL_SENT, FORBIDDEN, NO_TOKEN, NO_USER, NOT_FOUND, TOO_LARGE};
use crate::support::{Answer, PASSWORD, TestServer, User, sign_up_body};

const MIB: usize = 1024 * 1024;
const JSON: &str = "application/json";
const URLENCODED: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=BoUnD";

/// The encodings of a flat body.
#[derive(Clone, Copy, Debug)]
enum Encoding {
    Json,
    UrlEncoded,
    Multipart,
}

impl Encoding {
    const ALL: [Self; 3] = [Self::Json, Self::UrlEncoded, Self::Multipart];

    fn content_type(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::UrlEncoded => URLENCODED,
            Self::Multipart => MULTIPART,
        }
    }

    fn body(self, fields: &[(&str, &str)]) -> Vec<u8> {
        match self {
            Self::Json => {
                let object: serde_json::Map<String, Value> = fields
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), json!(value)))
                    .collect();
                Value::Object(object).to_string().into()
            }
            Self::UrlEncoded => form_urlencoded::Serializer::new(String::new())
                .extend_pairs(fields)
                .finish()
                .into(),
            Self::Multipart => {
                let parts: Vec<Part> = fields
                    .iter()
                    .map(|(name, value)| (*name, None, value.as_bytes()))
                    .collect();
                multipart(&parts)
            }
        }
    }
}

/// A part of a form: its name, its file name if it is a file, its content.
type Part<'a> = (&'a str, Option<&'a str>, &'a [u8]);

fn multipart(parts: &[Part]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file_name, content) in parts {
        body.extend(format!("--BoUnD\r\nContent-Disposition: form-data; name=\"{name}\"").bytes());
        if let Some(file_name) = file_name {
            body.extend(format!("; filename=\"{file_name}\"\r\nContent-Type: text/plain").bytes());
        }
        body.extend(b"\r\n\r\n");
        body.extend(*content);
        body.extend(b"\r\n");
    }
    body.extend(b"--BoUnD--\r\n");
    body
}

fn post(server: &TestServer, path: &str, content_type: &str, body: impl AsRef<[u8]>) -> Answer {
    let path = format!("/api/v1/accounts/{path}");
    server.request("POST", &path, &[("content-type", content_type)], body)
}

fn patch(server: &TestServer, user: &User, content_type: &str, body: impl AsRef<[u8]>) -> Answer {
    server.request(
        "PATCH",
        &format!("/api/v1/accounts/{}", user.path()),
        &[
            ("content-type", content_type),
            ("authorization", &format!("Bearer {}", user.access)),
        ],
        body,
    )
}

/// Every endpoint with a body, and its required fields.
const ENDPOINTS: [(&str, &str, &[&str]); 8] = [
    ("POST", "users/", &["email", "password", "confirm_password"]),
    ("PATCH", "users/me/", &[]),
    ("POST", "otp/verify/", &["email", "otp"]),
    ("POST", "otp/resend/", &["email"]),
    ("POST", "token/", &["email", "password"]),
    ("POST", "token/refresh/", &["refresh"]),
    ("POST", "token/verify/", &["token"]),
    ("POST", "token/blacklist/", &["refresh"]),
];

/// Sends a body to every endpoint, with a user's token where one is needed.
fn everywhere(
    server: &TestServer,
    user: &User,
    content_type: Option<&str>,
    body: &[u8],
) -> Vec<(&'static str, Answer)> {
    ENDPOINTS
        .iter()
        .map(|&(method, path, _)| {
            let authorization = format!("Bearer {}", user.access);
            let mut headers = Vec::new();
            if let Some(content_type) = content_type {
                headers.push(("content-type", content_type));
            }
            if method == "PATCH" {
                headers.push(("authorization", &authorization));
            }
            let path_from_root = format!("/api/v1/accounts/{path}");
            (
                path,
                server.request(method, &path_from_root, &headers, body),
            )
        })
        .collect()
}

/// Writes a raw request and reads until the server closes the connection.
fn exchange(server: &TestServer, head: &str, body: impl IntoIterator<Item = Vec<u8>>) -> Answer {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream
        .set_write_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    for part in body {
        stream
            .write_all(&part)
            .expect("the server takes what the client goes on sending");
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let headers = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Answer {
        status,
        headers,
        body: body.to_owned(),
    }
}

fn head(method: &str, path: &str, headers: &str) -> String {
    format!(
        "{method} /api/v1/accounts/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"
    )
}

/// A chunk of a chunked body.
fn chunk(content: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", content.len()).into_bytes();
    chunk.extend(content);
    chunk.extend(b"\r\n");
    chunk
}

/// A sign-up padded with spaces to a length in bytes.
fn padded_sign_up(email: &str, length: usize) -> Vec<u8> {
    let mut body = sign_up_body(email).to_string().into_bytes();
    assert!(body.len() <= length);
    body.resize(length, b' ');
    body
}

#[test]
fn every_endpoint_accepts_every_encoding() {
    for encoding in Encoding::ALL {
        let server = TestServer::start();
        let post = |path: &str, fields: &[(&str, &str)]| {
            post(
                &server,
                path,
                encoding.content_type(),
                encoding.body(fields),
            )
        };
        let signed_up = post(
            "users/",
            &[
                ("email", "user+tag@example.com"),
                ("password", "p&ss=wörd 123"),
                ("confirm_password", "p&ss=wörd 123"),
                ("first_name", "Zoë & Co"),
                ("last_name", "100%"),
                ("phone", "+1 (234) 567-890"),
                ("gender", "F"),
                ("country", "FR"),
                ("birthday", "1990-01-01"),
            ],
        );
        signed_up.assert(
            201,
            concat!(
                r#"{"msg":"Email sent successfully!","data":{"id":1,"email":"user+tag@example.com","#,
                r#""first_name":"Zoë & Co","last_name":"100%","phone":"+1234567890","gender":"F","country":"FR","#,
                r#""created_at":"2024-12-03T12:00:00Z","updated_at":"2024-12-03T12:00:00Z"}}"#
            ),
        );
        let resent = post("otp/resend/", &[("email", "user+tag@example.com")]);
        resent.assert(200, EMAIL_SENT);
        assert_eq!(server.mails("user+tag@example.com").len(), 2);
        let otp = server.otp("user+tag@example.com");
        let verified = post(
            "otp/verify/",
            &[("email", "user+tag@example.com"), ("otp", &otp)],
        );
        assert_eq!(verified.status, 200, "{encoding:?}: {}", verified.body);
        let token = post(
            "token/",
            &[
                ("email", "user+tag@example.com"),
                ("password", "p&ss=wörd 123"),
            ],
        );
        assert_eq!(token.status, 200, "{encoding:?}: {}", token.body);
        let refreshed = post("token/refresh/", &[("refresh", &token.text("refresh"))]);
        assert_eq!(refreshed.status, 200, "{encoding:?}: {}", refreshed.body);
        let access = refreshed.text("access");
        post("token/verify/", &[("token", &access)]).assert(200, "{}");

        let user = User {
            id: 1,
            email: String::new(),
            access: access.clone(),
            refresh: String::new(),
        };
        let fields = [
            ("first_name", "Ann\nMarie"),
            ("address", "1 + 1; \"Main\" Street"),
            ("birthday", "2000-02-29"),
        ];
        patch(&server, &user, encoding.content_type(), encoding.body(&fields)).assert(
            200,
            concat!(
                r#"{"id":1,"email":"user+tag@example.com","first_name":"Ann\nMarie","last_name":"100%","#,
                r#""phone":"+1234567890","gender":"F","country":"FR","#,
                r#""created_at":"2024-12-03T12:00:00Z","updated_at":"2024-12-03T12:00:00Z","#,
                r#""address":"1 + 1; \"Main\" Street","birthday":"2000-02-29"}"#
            ),
        );
        post(
            "token/blacklist/",
            &[("refresh", &refreshed.text("refresh"))],
        )
        .assert(200, "{}");
        assert_eq!(
            server.get("users/me/", Some(&access)).status,
            401,
            "{encoding:?}"
        );
    }
}

#[test]
fn content_type_parameters_and_case_are_ignored() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let multipart = Encoding::Multipart.body(&[("first_name", "Zed")]);
    for (content_type, body) in [
        (
            "application/json; charset=utf-8",
            &br#"{"first_name":"Zed"}"#[..],
        ),
        (
            "application/json;charset=\"utf-8\"",
            br#"{"first_name":"Zed"}"#,
        ),
        (
            "APPLICATION/JSON; CHARSET=UTF-8",
            br#"{"first_name":"Zed"}"#,
        ),
        ("application/json;", br#"{"first_name":"Zed"}"#),
        ("application/json ;x=y", br#"{"first_name":"Zed"}"#),
        (
            "application/x-www-form-urlencoded; charset=utf-8",
            b"first_name=Zed",
        ),
        ("Application/X-WWW-Form-URLencoded", b"first_name=Zed"),
        ("multipart/form-data; boundary=BoUnD", &multipart),
        ("multipart/form-data; boundary=\"BoUnD\"", &multipart),
        (
            "multipart/form-data; charset=utf-8; boundary=BoUnD",
            &multipart,
        ),
    ] {
        server.patch(&user.path(), &user, &json!({"first_name": ""}));
        let answer = patch(&server, &user, content_type, body);
        assert_eq!(answer.status, 200, "{content_type}: {}", answer.body);
        assert_eq!(answer.text("first_name"), "Zed", "{content_type}");
    }
}

#[test]
fn empty_body_is_an_empty_object() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let unchanged = server.patch(&user.path(), &user, &json!({}));
    assert_eq!(unchanged.status, 200, "{}", unchanged.body);
    for content_type in [
        None,
        Some(JSON),
        Some(URLENCODED),
        Some(MULTIPART),
        Some("multipart/form-data"),
        Some("text/plain"),
    ] {
        let answers = everywhere(&server, &user, content_type, b"");
        for ((path, answer), (_, _, required)) in answers.iter().zip(ENDPOINTS) {
            if required.is_empty() {
                assert_eq!(answer.body, unchanged.body, "{path} {content_type:?}");
                continue;
            }
            let expected: serde_json::Map<String, Value> = required
                .iter()
                .map(|name| ((*name).to_owned(), json!(["This field is required."])))
                .collect();
            assert_eq!(
                (answer.status, answer.json()),
                (400, Value::Object(expected)),
                "{path} {content_type:?}"
            );
        }
    }
    for headers in [
        "",
        "Content-Length: 0\r\n",
        "Content-Type: text/plain\r\nContent-Length: 0\r\n",
    ] {
        let answer = exchange(&server, &head("POST", "otp/resend/", headers), []);
        answer.assert(400, r#"{"email":["This field is required."]}"#);
    }
    let answer = exchange(
        &server,
        &head("POST", "otp/resend/", "Transfer-Encoding: chunked\r\n"),
        [b"0\r\n\r\n".to_vec()],
    );
    answer.assert(400, r#"{"email":["This field is required."]}"#);
}

#[test]
fn chunked_body_is_accepted() {
    let server = TestServer::start();
    let body = sign_up_body("user@example.com").to_string();
    let mut chunks: Vec<Vec<u8>> = body.as_bytes().chunks(7).map(chunk).collect();
    chunks.push(b"0\r\n\r\n".to_vec());
    let headers = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
    let answer = exchange(&server, &head("POST", "users/", headers), chunks);
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(server.confirm("user@example.com").status, 200);
}

#[test]
fn other_content_types_are_415() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for content_type in [
        "text/plain",
        "text/plain; charset=utf-8",
        "Text/HTML",
        "application/xml",
        "application/octet-stream",
        "application/x-json",
        "application/json5",
        "application/merge-patch+json",
        "text/json",
        "json",
        "multipart/mixed; boundary=x",
        "application/json, text/plain",
        "image/png",
    ] {
        for (path, answer) in everywhere(
            &server,
            &user,
            Some(content_type),
            br#"{"first_name":"Zed"}"#,
        ) {
            let expected =
                format!(r#"{{"detail":"Unsupported media type \"{content_type}\" in request."}}"#);
            assert_eq!(
                (answer.status, &*answer.body),
                (415, &*expected),
                "{path} {content_type}"
            );
        }
    }
    assert_eq!(
        server
            .get("users/me/", Some(&user.access))
            .text("first_name"),
        ""
    );
    // A body without a content type.
    let answer = exchange(
        &server,
        &head("POST", "users/", "Content-Length: 2\r\n"),
        [b"{}".to_vec()],
    );
    answer.assert(
        415,
        r#"{"detail":"Unsupported media type \"\" in request."}"#,
    );
}

#[test]
fn malformed_json_is_a_parse_error() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for body in [
        &b"hello"[..],
        b"{",
        b"}",
        b" ",
        b"\n",
        b"{\"first_name\":\"a\"",
        b"{\"first_name\":\"a\",}",
        b"{'first_name':'a'}",
        b"{first_name:\"a\"}",
        b"{\"first_name\":\"a\"} x",
        b"{}{}",
        b"{\"first_name\":\"a\"/*x*/}",
        b"{\"first_name\":01}",
        b"{\"first_name\":+1}",
        b"{\"first_name\":.5}",
        b"{\"first_name\":5.}",
        b"{\"first_name\":0x1}",
        b"{\"first_name\":NaN}",
        b"{\"first_name\":-Infinity}",
        b"NaN",
        b"{\"first_name\":\"\\x\"}",
        b"{\"first_name\":\"\\u12\"}",
        b"{\"first_name\":\"a\nb\"}",
        b"{\"first_name\":\"a\0b\"}",
        b"{\"first_name\":tru}",
        b"[",
        b"\"x",
        b"\xef\xbb\xbf{\"first_name\":\"a\"}",
        b"\xff\xfe{\0}\0",
        b"\x0b{}",
        b"\xc2\xa0{}",
        b"first_name=Zed",
    ] {
        for (path, answer) in everywhere(&server, &user, Some(JSON), body) {
            let shown = String::from_utf8_lossy(body);
            assert_eq!(answer.status, 400, "{path} {shown}: {}", answer.body);
            let complaint = answer.json();
            assert_eq!(
                complaint.as_object().unwrap().len(),
                1,
                "{path} {shown}: {complaint}"
            );
            let detail = complaint["detail"].as_str().unwrap();
            assert!(
                detail.starts_with("JSON parse error - ")
                    && detail.len() > "JSON parse error - ".len(),
                "{path} {shown}: {detail}"
            );
        }
    }
    assert_eq!(
        server
            .get("users/me/", Some(&user.access))
            .text("first_name"),
        ""
    );
}

#[test]
fn json_other_than_an_object_is_named() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for (body, name) in [
        ("[]", "list"),
        (r#"[{"email": "user@example.com"}]"#, "list"),
        (r#""""#, "str"),
        (r#""text""#, "str"),
        ("5", "int"),
        ("-1", "int"),
        ("0", "int"),
        ("123456789012345678901234567890", "int"),
        ("1.5", "float"),
        ("1.0", "float"),
        ("1e5", "float"),
        ("true", "bool"),
        (" false ", "bool"),
    ] {
        for (path, answer) in everywhere(&server, &user, Some(JSON), body.as_bytes()) {
            let expected = format!(
                r#"{{"non_field_errors":["Invalid data. Expected a dictionary, but got {name}."]}}"#
            );
            assert_eq!(
                (answer.status, answer.body),
                (400, expected),
                "{path} {body}"
            );
        }
    }
    for body in ["null", " null\n"] {
        for (path, answer) in everywhere(&server, &user, Some(JSON), body.as_bytes()) {
            let expected = r#"{"non_field_errors":["No data provided"]}"#;
            assert_eq!(
                (answer.status, &*answer.body),
                (400, expected),
                "{path} {body}"
            );
        }
    }
}

#[test]
fn json_syntax_variants_are_accepted() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for (body, stored) in [
        (r#"{"first_name":"First","first_name":"Second"}"#, "Second"),
        (r#"{"first_name":true,"first_name":"Last"}"#, "Last"),
        (r#"{"first\u005fname":"Zed"}"#, "Zed"),
        (r#"{"first_name":"\u005a\u00eb\ud83d\ude00"}"#, "Zë😀"),
        ("\r\n\t {\"first_name\"\n:\t\"Zed\"} \r\n", "Zed"),
        (r#"{"first_name":"a\/b\\c\"d\ne"}"#, "a/b\\c\"d\ne"),
        (r#"{"a\u0000":1,"":2,"x":1e400,"first_name":"Zed"}"#, "Zed"),
        (
            r#"{"First_Name":"other","first_name ":"other","first_name":"Zed"}"#,
            "Zed",
        ),
    ] {
        let answer = patch(&server, &user, JSON, body);
        assert_eq!(answer.status, 200, "{body}: {}", answer.body);
        assert_eq!(answer.text("first_name"), stored, "{body}");
    }
    // Only the last value of a repeated key counts, even if it is invalid.
    let answer = patch(
        &server,
        &user,
        JSON,
        r#"{"first_name":"Right","first_name":null}"#,
    );
    answer.assert(400, r#"{"first_name":["This field may not be null."]}"#);
}

#[test]
fn invalid_utf_8_in_json_is_refused() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for text in [
        &b"\xff"[..],
        b"\xc3",
        b"\xe2\x82",
        b"\xed\xa0\x80",
        b"\xc0\xaf",
        b"\xf5\x80\x80\x80",
        b"caf\xe9",
    ] {
        let body = [&br#"{"first_name":""#[..], text, br#""}"#].concat();
        let answer = patch(&server, &user, JSON, &body);
        assert_eq!(answer.status, 400, "{text:x?}: {}", answer.body);
        assert!(
            answer.text("detail").starts_with("JSON parse error - "),
            "{text:x?}: {}",
            answer.body
        );
    }
    assert_eq!(
        server
            .get("users/me/", Some(&user.access))
            .text("first_name"),
        ""
    );
}

#[test]
fn lone_surrogate_is_a_field_error() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let refused = |code: &str| format!("Surrogate characters are not allowed: U+{code}.");
    for (escape, code) in [
        (r"\ud800", "D800"),
        (r"\uDC00x", "DC00"),
        (r"a\ud83db", "D83D"),
        (r"\ude00\ud83d", "DE00"),
        (r"\ud83d\ude00\udfff", "DFFF"),
    ] {
        let answer = patch(
            &server,
            &user,
            JSON,
            format!(
                r#"{{"first_name":"{escape}","address":"{escape}","birthday":"{escape}","unknown":"{escape}","{escape}":1}}"#
            ),
        );
        answer.assert(
            400,
            &json!({
                "first_name": [refused(code)],
                "address": [refused(code)],
                "birthday": ["Date has wrong format. Use one of these formats instead: YYYY-MM-DD."],
            })
            .to_string(),
        );
    }
    let answer = post(
        &server,
        "token/",
        JSON,
        r#"{"email":"\ud800","password":"\udc00"}"#,
    );
    answer.assert(
        400,
        &json!({"email": [refused("D800")], "password": [refused("DC00")]}).to_string(),
    );
    // All errors of a field are in the order of its checks, and lengths count characters.
    let answer = patch(
        &server,
        &user,
        JSON,
        format!(
            r#"{{"email":"\ud800","phone":"{}\u0000\ud800","first_name":"{}\ud800","gender":"\ud800"}}"#,
            "1".repeat(33),
            "a".repeat(149),
        ),
    );
    answer.assert(
        400,
        &json!({
            "email": [refused("D800"), "Enter a valid email address."],
            "first_name": [refused("D800")],
            "phone": [
                "Ensure this field has no more than 32 characters.",
                "Null characters are not allowed.",
                refused("D800"),
                "Enter a valid phone number.",
            ],
            "gender": ["\"\u{fffd}\" is not a valid choice."],
        })
        .to_string(),
    );
    // Unpaired surrogates are ignored in unknown fields, and a whole pair is one character.
    let answer = patch(
        &server,
        &user,
        JSON,
        r#"{"first_name":"\ud83d\ude00","unknown":"\ud800","\udc00":null}"#,
    );
    assert_eq!(answer.text("first_name"), "\u{1f600}");
}

#[test]
fn deep_nesting_is_refused() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for depth in [200, 5_000, 100_000, 500_000] {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let depth = depth.min(1_000_000 / (open.len() + close.len()));
            let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            for body in [
                deep.clone(),
                open.repeat(depth),
                format!(r#"{{"first_name":{deep}}}"#),
            ] {
                let answer = patch(&server, &user, JSON, &body);
                assert!(
                    [200, 400].contains(&answer.status),
                    "{depth} {open}: {} {}",
                    answer.status,
                    answer.body
                );
                assert_eq!(
                    server
                        .get("users/me/", Some(&user.access))
                        .text("first_name"),
                    ""
                );
            }
            let unknown = patch(&server, &user, JSON, format!(r#"{{"x":{deep}}}"#));
            assert!(
                [200, 400].contains(&unknown.status),
                "{depth} {open}: {}",
                unknown.body
            );
        }
    }
    let nested = format!(r#"{{"first_name":{}{}}}"#, "[".repeat(50), "]".repeat(50));
    patch(&server, &user, JSON, nested).assert(400, r#"{"first_name":["Not a valid string."]}"#);
}

#[test]
fn huge_integer_is_text() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let number = "9".repeat(150);
    let answer = patch(
        &server,
        &user,
        JSON,
        format!(r#"{{"first_name":{number}}}"#),
    );
    assert_eq!((answer.status, answer.text("first_name")), (200, number));
    let answer = patch(
        &server,
        &user,
        JSON,
        format!(r#"{{"first_name":{}}}"#, "9".repeat(151)),
    );
    answer.assert(
        400,
        r#"{"first_name":["Ensure this field has no more than 150 characters."]}"#,
    );
}

// Forms.

#[test]
fn empty_birthday_in_a_form_is_null() {
    for encoding in [Encoding::UrlEncoded, Encoding::Multipart] {
        let server = TestServer::start();
        let fields = [
            ("email", "user@example.com"),
            ("password", PASSWORD),
            ("confirm_password", PASSWORD),
            ("first_name", ""),
            ("gender", ""),
            ("phone", ""),
            ("birthday", ""),
        ];
        let answer = post(
            &server,
            "users/",
            encoding.content_type(),
            encoding.body(&fields),
        );
        assert_eq!(answer.status, 201, "{encoding:?}: {}", answer.body);
        let access = server.confirm("user@example.com").text("access");
        let user = User {
            id: 1,
            email: String::new(),
            access,
            refresh: String::new(),
        };
        let birthday =
            |user: &User| server.get("users/me/", Some(&user.access)).json()["birthday"].clone();
        assert_eq!(birthday(&user), Value::Null);
        server.patch(&user.path(), &user, &json!({"birthday": "1990-01-01"}));
        assert_eq!(birthday(&user), "1990-01-01");
        let answer = patch(
            &server,
            &user,
            encoding.content_type(),
            encoding.body(&[("birthday", "")]),
        );
        assert_eq!(answer.status, 200, "{encoding:?}: {}", answer.body);
        assert_eq!(answer.json()["birthday"], Value::Null);
        assert_eq!(birthday(&user), Value::Null);
        // In JSON the same value is an invalid date.
        let answer = server.patch(&user.path(), &user, &json!({"birthday": ""}));
        assert_eq!(answer.status, 400, "{}", answer.body);
    }
}

#[test]
fn form_changes_only_named_fields() {
    for encoding in [Encoding::UrlEncoded, Encoding::Multipart] {
        let server = TestServer::start();
        let user = server.user("user@example.com");
        let all = json!({"first_name": "John", "last_name": "Doe", "gender": "M", "birthday": "1990-01-01"});
        server.patch(&user.path(), &user, &all);
        let answer = patch(
            &server,
            &user,
            encoding.content_type(),
            encoding.body(&[("last_name", "")]),
        );
        assert_eq!(answer.status, 200, "{encoding:?}: {}", answer.body);
        let profile = server.get("users/me/", Some(&user.access)).json();
        for (field, value) in [
            ("first_name", "John"),
            ("last_name", ""),
            ("gender", "M"),
            ("birthday", "1990-01-01"),
        ] {
            assert_eq!(profile[field], value, "{encoding:?} {field}");
        }
    }
}

#[test]
fn form_values_are_text() {
    for encoding in [Encoding::UrlEncoded, Encoding::Multipart] {
        let server = TestServer::start();
        let user = server.user("user@example.com");
        for value in ["null", "true", "5", "[]", "\"Zed\"", "{\"a\":1}"] {
            let answer = patch(
                &server,
                &user,
                encoding.content_type(),
                encoding.body(&[("first_name", value)]),
            );
            assert_eq!(
                (answer.status, &*answer.text("first_name")),
                (200, value),
                "{encoding:?}"
            );
        }
        let fields = [
            ("gender", "null"),
            ("birthday", "null"),
            ("photo", "photo.jpg"),
            ("email", ""),
        ];
        patch(&server, &user, encoding.content_type(), encoding.body(&fields)).assert_json(
            400,
            &json!({
                "gender": ["\"null\" is not a valid choice."],
                "birthday": ["Date has wrong format. Use one of these formats instead: YYYY-MM-DD."],
                "photo": ["The submitted data was not a file. Check the encoding type on the form."],
                "email": ["This field may not be blank."],
            }),
        );
    }
}

#[test]
fn last_value_of_a_repeated_field_counts() {
    for encoding in [Encoding::UrlEncoded, Encoding::Multipart] {
        let server = TestServer::start();
        let user = server.user("user@example.com");
        let fields = [
            ("first_name", "A"),
            ("last_name", "x"),
            ("first_name", "B"),
            ("gender", "X"),
            ("gender", "M"),
        ];
        let answer = patch(
            &server,
            &user,
            encoding.content_type(),
            encoding.body(&fields),
        );
        assert_eq!(answer.status, 200, "{encoding:?}: {}", answer.body);
        assert_eq!(
            (answer.text("first_name"), answer.text("gender")),
            ("B".into(), "M".into())
        );
    }
}

#[test]
fn urlencoded_forms_are_decoded() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for (body, stored) in [
        ("first_name=a%2Bb+c%20d", "a+b c d"),
        ("first_name=Zo%C3%AB", "Zoë"),
        ("first_name=Zoë", "Zoë"),
        ("first%5Fname=Zed", "Zed"),
        ("&&first_name=Zed&&", "Zed"),
        ("first_name=a=b", "a=b"),
        ("first_name=a;gender=F", "a;gender=F"),
        ("first_name=%zz%4", "%zz%4"),
        ("first_name=+++", ""),
        ("first_name=Zed&first_name[]=x", "Zed"),
        ("first_name", ""),
    ] {
        let answer = patch(&server, &user, URLENCODED, body);
        assert_eq!(answer.status, 200, "{body}: {}", answer.body);
        assert_eq!(answer.text("first_name"), stored, "{body}");
    }
    patch(&server, &user, URLENCODED, "first_name=a%00b").assert(
        400,
        r#"{"first_name":["Null characters are not allowed."]}"#,
    );
}

/// Asserts the value of `first_name` from a form, or the error.
#[track_caller]
fn assert_first_name(
    server: &TestServer,
    user: &User,
    (content_type, body): (&str, &[u8]),
    expected: Result<&str, &str>,
) {
    server.patch(&user.path(), user, &json!({"first_name": "before"}));
    let answer = patch(server, user, content_type, body);
    let shown = String::from_utf8_lossy(body);
    let name = server
        .get("users/me/", Some(&user.access))
        .text("first_name");
    match expected {
        Ok(stored) => {
            assert_eq!(
                answer.status, 200,
                "{content_type} {shown}: {}",
                answer.body
            );
            assert_eq!(name, stored, "{content_type} {shown}");
        }
        Err(detail) => {
            assert_eq!(
                answer.status, 400,
                "{content_type} {shown}: {}",
                answer.body
            );
            let text = answer.text("detail");
            assert!(text.starts_with(detail), "{content_type} {shown}: {text}");
            assert_eq!(name, "before", "{content_type} {shown}");
        }
    }
}

#[test]
fn form_text_is_decoded_by_its_charset() {
    const FORM: &str = "Form parse error - ";
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for (charset, body, expected) in [
        ("", &b"first_name=%ff"[..], Err(FORM)),
        ("", b"first_name=Zo\xeb", Err(FORM)),
        ("", b"first_name=Zo%EB", Err(FORM)),
        ("", b"first%ffname=Zoe", Err(FORM)),
        ("; charset=UTF-8", b"first_name=Zo%C3%AB", Ok("Zoë")),
        ("; charset=\"utf-8\"", b"first_name=Zo%C3%AB", Ok("Zoë")),
        ("; charset=iso-8859-1", b"first_name=Zo%EB", Ok("Zoë")),
        (
            "; charset=iso-8859-1",
            b"first_name=Zo\xeb+B.",
            Ok("Zoë B."),
        ),
        (
            "; charset=windows-1251",
            b"first_name=%C8%E2%E0%ED",
            Ok("Иван"),
        ),
        ("; charset=shift_jis", b"first_name=%91%BE%98Y", Ok("太郎")),
        ("; charset=utf-8", b"first_name=Zo%EB", Err(FORM)),
        ("; charset=us-ascii", b"first_name=Zoe", Ok("Zoe")),
        ("; charset=nonsense", b"first_name=Zoe", Err(FORM)),
    ] {
        let content_type = format!("{URLENCODED}{charset}");
        assert_first_name(&server, &user, (&content_type, body), expected);
    }
}

#[test]
fn multipart_text_is_decoded_by_its_headers() {
    const FORM: &str = "Multipart form parse error - ";
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for (content_type, headers, content, expected) in [
        (MULTIPART, "", &b"Zo\xeb"[..], Err(FORM)),
        (MULTIPART, "", b"Zo\xc3\xab", Ok("Zoë")),
        (
            "multipart/form-data; charset=latin1; boundary=BoUnD",
            "",
            b"Zo\xeb",
            Ok("Zoë"),
        ),
        (
            "multipart/form-data; charset=latin1; boundary=BoUnD",
            "Content-Type: text/plain; charset=utf-8\r\n",
            b"Zo\xc3\xab",
            Ok("Zoë"),
        ),
        (
            MULTIPART,
            "Content-Type: text/plain; charset=windows-1251\r\n",
            b"\xc8\xe2\xe0\xed",
            Ok("Иван"),
        ),
        (
            MULTIPART,
            "Content-Type: text/plain; charset=utf-16le\r\n",
            b"Z\0o\0\xeb\0",
            Ok("Zoë"),
        ),
        (
            MULTIPART,
            "Content-Type: text/plain; charset=nonsense\r\n",
            b"Zoe",
            Err(FORM),
        ),
        (
            MULTIPART,
            "Content-Transfer-Encoding: base64\r\n",
            b"Wm\r\n/Dqw==",
            Ok("Zoë"),
        ),
        (
            MULTIPART,
            "content-transfer-encoding: BASE64\r\n",
            b"Wm/***",
            Err(FORM),
        ),
        (
            MULTIPART,
            "Content-Transfer-Encoding: quoted-printable\r\n",
            b"Zo=C3=\r\n=AB",
            Ok("Zoë"),
        ),
        (
            MULTIPART,
            "Content-Transfer-Encoding: quoted-printable\r\nContent-Type: text/plain; charset=ISO-8859-1\r\n",
            b"Zo=EB",
            Ok("Zoë"),
        ),
        (
            MULTIPART,
            "Content-Transfer-Encoding: quoted-printable\r\n",
            b"Zo=EB",
            Err(FORM),
        ),
        (
            MULTIPART,
            "Content-Transfer-Encoding: quoted-printable\r\n",
            b"Zo=G0",
            Err(FORM),
        ),
        (
            MULTIPART,
            "Content-Transfer-Encoding: 8bit\r\n",
            b"Zo\xc3\xab",
            Ok("Zoë"),
        ),
        (
            MULTIPART,
            "Content-Transfer-Encoding: x-uuencode\r\n",
            b"Zoe",
            Err(FORM),
        ),
    ] {
        let mut body = format!(
            "--BoUnD\r\nContent-Disposition: form-data; name=\"first_name\"\r\n{headers}\r\n"
        )
        .into_bytes();
        body.extend(content);
        body.extend(b"\r\n--BoUnD--\r\n");
        assert_first_name(&server, &user, (content_type, &body), expected);
    }
}

#[test]
fn undecodable_passwords_open_no_account() {
    let server = TestServer::start();
    for (number, escape) in ["%ff", "%fe"].iter().enumerate() {
        let body = format!(
            "email=user{number}@example.com&password=secret-password-{escape}\
             &confirm_password=secret-password-{escape}"
        );
        let answer = post(&server, "users/", URLENCODED, body);
        assert_eq!(answer.status, 400, "{}", answer.body);
    }
    assert_eq!(server.db_number("SELECT count(*) FROM users"), 0);
}

#[test]
fn files_are_decoded_by_their_transfer_encoding() {
    use base64::Engine as _;
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let png = include_bytes!("../../docs/docs-page.png");
    let text = base64::engine::general_purpose::STANDARD.encode(png);
    let mut body = b"--BoUnD\r\nContent-Disposition: form-data; name=\"photo\"; \
        filename=\"a.png\"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        .to_vec();
    for line in text.as_bytes().chunks(76) {
        body.extend(line);
        body.extend(b"\r\n");
    }
    body.extend(b"--BoUnD--\r\n");
    let answer = patch(&server, &user, MULTIPART, body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(
        answer.text("photo").contains("/media/photos/"),
        "{}",
        answer.body
    );
}

#[test]
fn file_is_no_text() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for (field, message) in [
        ("first_name", "Not a valid string."),
        ("last_name", "Not a valid string."),
        ("phone", "Not a valid string."),
        ("address", "Not a valid string."),
        ("email", "Enter a valid email address."),
        ("gender", "\"a.txt\" is not a valid choice."),
        ("country", "\"a.txt\" is not a valid choice."),
        (
            "birthday",
            "Date has wrong format. Use one of these formats instead: YYYY-MM-DD.",
        ),
    ] {
        let body = multipart(&[(field, Some("a.txt"), b"hello")]);
        let answer = patch(&server, &user, MULTIPART, body);
        let expected = json!({ field: [message] });
        assert_eq!((answer.status, answer.json()), (400, expected), "{field}");
    }
    // A file of an unknown field is ignored, and so is an empty file input of a browser.
    let body = multipart(&[
        ("other", Some("a.txt"), b"hello"),
        ("photo", Some(""), b""),
        ("first_name", None, b"Zed"),
    ]);
    let answer = patch(&server, &user, MULTIPART, body);
    assert_eq!((answer.status, &*answer.text("first_name")), (200, "Zed"));
    assert_eq!(answer.json().get("photo"), None, "{}", answer.body);
}

#[test]
fn multipart_variants_are_accepted() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for (body, stored) in [
        (
            "pre\r\n--BoUnD\r\nContent-Disposition: form-data; name=\"first_name\"\r\n\r\nZed\r\n--BoUnD--\r\nafter",
            "Zed",
        ),
        (
            "--BoUnD\r\nContent-Disposition: form-data; name=\"first_name\"\r\n\r\nZoë\r\n--BoUnD--\r\n",
            "Zoë",
        ),
        (
            "--BoUnD\r\ncontent-disposition: form-data; name=\"first_name\"\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nZed\r\n--BoUnD--",
            "Zed",
        ),
        (
            "--BoUnD\r\nContent-Disposition: form-data; name=first_name\r\n\r\nZed\r\n--BoUnD--\r\n",
            "Zed",
        ),
        (
            "--BoUnD\r\nContent-Disposition: form-data; name=\"first_name\"\r\n\r\n\r\n--BoUnD--\r\n",
            "",
        ),
    ] {
        server.patch(&user.path(), &user, &json!({"first_name": "before"}));
        let answer = patch(&server, &user, MULTIPART, body);
        assert_eq!(answer.status, 200, "{body}: {}", answer.body);
        assert_eq!(answer.text("first_name"), stored, "{body}");
    }
    let answer = patch(
        &server,
        &user,
        "multipart/form-data",
        multipart(&[("first_name", None, b"Zed")]),
    );
    answer.assert(
        400,
        r#"{"detail":"Multipart form parse error - Invalid boundary in multipart: None"}"#,
    );
    let nothing = patch(&server, &user, MULTIPART, multipart(&[]));
    assert_eq!(nothing.status, 200, "{}", nothing.body);
}

#[test]
fn form_with_too_many_fields_is_refused() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let names: Vec<String> = (0..1100).map(|n| format!("a{n}")).collect();
    let mut fields: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "1")).collect();
    fields.push(("first_name", "Zed"));
    for encoding in [Encoding::UrlEncoded, Encoding::Multipart] {
        let answer = patch(
            &server,
            &user,
            encoding.content_type(),
            encoding.body(&fields),
        );
        assert_eq!(answer.status, 400, "{encoding:?}: {}", answer.body);
        assert!(!answer.text("detail").is_empty());
        assert_eq!(
            server
                .get("users/me/", Some(&user.access))
                .text("first_name"),
            ""
        );
    }
}

// Large bodies.

#[test]
fn largest_body_is_one_mebibyte() {
    let server = TestServer::start();
    let answer = post(
        &server,
        "users/",
        JSON,
        padded_sign_up("user@example.com", MIB),
    );
    assert_eq!(answer.status, 201, "{}", answer.body);
    let answer = post(
        &server,
        "users/",
        JSON,
        padded_sign_up("other@example.com", MIB + 1),
    );
    answer.assert(413, TOO_LARGE);
    assert!(server.mails("other@example.com").is_empty());
}

#[test]
fn limit_applies_to_chunked_bodies() {
    let server = TestServer::start();
    for (email, length, status) in [
        ("user@example.com", MIB, 201),
        ("other@example.com", MIB + 1, 413),
    ] {
        let body = padded_sign_up(email, length);
        let mut chunks: Vec<Vec<u8>> = body.chunks(64 * 1024).map(chunk).collect();
        chunks.push(b"0\r\n\r\n".to_vec());
        let headers = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
        let answer = exchange(&server, &head("POST", "users/", headers), chunks);
        assert_eq!(answer.status, status, "{length}: {}", answer.body);
        if status == 413 {
            answer.assert(413, TOO_LARGE);
        }
    }
    assert!(server.mails("other@example.com").is_empty());
}

#[test]
fn client_still_sending_gets_its_answer() {
    let server = TestServer::start();
    let block = vec![b'x'; 64 * 1024];
    let blocks = 8 * MIB / block.len();
    let sized = format!(
        "Content-Type: application/json\r\nContent-Length: {}\r\n",
        8 * MIB
    );
    for (method, path, status, body) in [
        ("POST", "users/", 413, TOO_LARGE),
        ("POST", "token/", 413, TOO_LARGE),
        ("PATCH", "users/me/", 401, NO_TOKEN),
        (
            "PUT",
            "users/",
            405,
            r#"{"detail":"Method \"PUT\" not allowed."}"#,
        ),
        ("POST", "nowhere/", 404, NOT_FOUND),
    ] {
        let answer = exchange(
            &server,
            &head(method, path, &sized),
            vec![block.clone(); blocks],
        );
        assert_eq!(
            (answer.status, &*answer.body),
            (status, body),
            "{method} {path}"
        );

        let mut chunks = vec![chunk(&block); blocks];
        chunks.push(b"0\r\n\r\n".to_vec());
        let chunked = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
        let answer = exchange(&server, &head(method, path, chunked), chunks);
        assert_eq!(
            (answer.status, &*answer.body),
            (status, body),
            "{method} {path} in chunks"
        );
    }
    assert_eq!(server.sign_up("user@example.com").status, 201);
}

#[test]
fn answer_in_place_of_continue_closes_the_connection() {
    let server = TestServer::start();
    for (method, path, length, status) in [
        ("POST", "users/", 2 * MIB, 413),
        ("PATCH", "users/me/", 10, 401),
        ("PUT", "users/", 10, 405),
        ("POST", "nothing/", 10, 404),
    ] {
        let head = format!(
            "{method} /api/v1/accounts/{path} HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\
             Expect: 100-continue\r\n\r\n"
        );
        // Ends only because the server closes the connection.
        let answer = exchange(&server, &head, []);
        assert_eq!(answer.status, status, "{}", answer.body);
        assert_eq!(answer.headers["connection"], "close", "{method} {path}");
    }
}

#[test]
fn client_that_waits_is_told_to_continue() {
    let server = TestServer::start();
    let body = sign_up_body("user@example.com").to_string();
    let headers = format!(
        "Content-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n",
        body.len()
    );
    let answer = exchange(&server, &head("POST", "users/", &headers), [body.into()]);
    assert_eq!(answer.status, 100);
    assert!(answer.body.starts_with("HTTP/1.1 201 "), "{}", answer.body);
}

#[test]
fn right_and_size_are_checked_before_the_media_type() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let other = server.user("other@example.com");
    let large = vec![b'x'; 2 * MIB];
    for (_, answer) in everywhere(&server, &user, Some("text/plain"), &large) {
        answer.assert(413, TOO_LARGE);
    }
    let others = User {
        access: user.access.clone(),
        ..other
    };
    for body in [&large[..], b"x"] {
        let answer = patch(&server, &others, "text/plain", body);
        answer.assert(403, FORBIDDEN);
    }
    let staff = server.staff("staff@example.com");
    let missing = User { id: 4711, ..staff };
    for body in [&large[..], b"x"] {
        let answer = patch(&server, &missing, "text/plain", body);
        answer.assert(404, NO_USER);
    }
}

#[test]
fn body_limit_is_configurable() {
    let server = TestServer::start_with(|config| config.server.max_body_kib = 1);
    assert_eq!(
        post(
            &server,
            "users/",
            JSON,
            padded_sign_up("user@example.com", 1024)
        )
        .status,
        201
    );
    post(
        &server,
        "users/",
        JSON,
        padded_sign_up("other@example.com", 1025),
    )
    .assert(413, TOO_LARGE);
}
