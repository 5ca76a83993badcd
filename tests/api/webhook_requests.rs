//! What receivers of webhooks get, and what hostile URLs and answers lead to, through a real server.

use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::receiver::{Exchange, Received, Receiver, certificate};
use crate::support::{START, TestServer, User};

const UNREACHABLE: &str = r#"{"url":["This address is not reachable from here."]}"#;

/// Adds a webhook for sign-ups.
#[track_caller]
fn add(server: &TestServer, staff: &User, url: &str) -> Value {
    let body = json!({"url": url, "events": ["user.created"]});
    let answer = server.api("POST", "webhooks/", Some(&staff.access), &body);
    assert_eq!(answer.status, 201, "{url}: {}", answer.body);
    answer.json()
}

/// The newest delivery of a webhook, once it has been attempted.
#[track_caller]
fn attempted(server: &TestServer, staff: &User, webhook: &Value) -> Value {
    let path = format!("webhooks/{}/deliveries/", webhook["id"]);
    for _ in 0..6_000 {
        let list = server.get(&path, Some(&staff.access)).json();
        let newest = &list["results"][0];
        if newest["status"]
            .as_str()
            .is_some_and(|status| status != "pending")
        {
            return newest.clone();
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("nothing was attempted for {webhook}");
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap().to_owned()
}

/// Whether a message has a signature by this secret (`v1`).
fn is_signed_with(received: &Received, secret: &str) -> bool {
    let key = BASE64
        .decode(secret.strip_prefix("whsec_").unwrap())
        .unwrap();
    signatures(received, "v1,").iter().any(|signature| {
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(&signed_bytes(received));
        mac.verify_slice(signature).is_ok()
    })
}

/// Whether a message has a signature by this key (`v1a`).
fn is_signed_by(received: &Received, public_key: &str) -> bool {
    let key = BASE64
        .decode(public_key.strip_prefix("whpk_").unwrap())
        .unwrap();
    signatures(received, "v1a,").iter().any(|signature| {
        let key = UnparsedPublicKey::new(&ED25519, &key);
        key.verify(&signed_bytes(received), signature).is_ok()
    })
}

fn signatures(received: &Received, version: &str) -> Vec<Vec<u8>> {
    let header = received.header("webhook-signature").unwrap();
    let found = header
        .split(' ')
        .filter_map(|text| text.strip_prefix(version));
    found.map(|text| BASE64.decode(text).unwrap()).collect()
}

fn signed_bytes(received: &Received) -> Vec<u8> {
    let id = received.header("webhook-id").unwrap();
    let timestamp = received.header("webhook-timestamp").unwrap();
    [format!("{id}.{timestamp}.").as_bytes(), &received.body].concat()
}

#[test]
fn message_is_signed_in_both_ways_and_with_both_secrets_for_a_day() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    let receiver = Receiver::accepting();
    let first = add(&server, &staff, &receiver.url("/hooks/T0?key=x"));
    server.sign_up("ann@example.com");
    let received = receiver.wait_for(1)[0].clone();
    assert!(
        received
            .head
            .starts_with("POST /hooks/T0?key=x HTTP/1.1\r\n")
    );
    assert_eq!(received.header("content-type"), Some("application/json"));
    assert!(received.header("webhook-id").unwrap().starts_with("msg_"));
    assert!(!received.header("webhook-id").unwrap().contains('.'));
    let sent_at = (START / 1000).to_string();
    assert_eq!(received.header("webhook-timestamp"), Some(&*sent_at));
    assert_eq!(received.json()["type"], "user.created");
    let (secret, key) = (text(&first, "secret"), text(&first, "public_key"));
    assert!(is_signed_with(&received, &secret) && is_signed_by(&received, &key));
    assert_eq!(signatures(&received, "v1,").len(), 1);

    let path = format!("webhooks/{}/rotate-secret/", first["id"]);
    let rotated = server
        .api("POST", &path, Some(&staff.access), &json!({}))
        .json();
    let (new_secret, new_key) = (text(&rotated, "secret"), text(&rotated, "public_key"));
    server.sign_up("bob@example.com");
    let received = receiver.wait_for(2)[1].clone();
    for secret in [&secret, &new_secret] {
        assert!(is_signed_with(&received, secret), "{}", received.head);
    }
    for key in [&key, &new_key] {
        assert!(is_signed_by(&received, key), "{}", received.head);
    }

    server.advance(Duration::from_hours(24));
    server.sign_up("cem@example.com");
    let received = receiver.wait_for(3)[2].clone();
    assert!(is_signed_with(&received, &new_secret) && !is_signed_with(&received, &secret));
    assert!(is_signed_by(&received, &new_key) && !is_signed_by(&received, &key));
}

#[test]
fn urls_into_this_network_are_refused_with_one_text() {
    let server = TestServer::start_with(|config| config.webhooks.allow_networks.clear());
    let staff = server.staff("staff@example.com");
    let receiver = Receiver::accepting();
    let port = receiver.port();
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "localhost",
        "LOCALHOST.",
        "0.0.0.0",
        "[::]",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "169.254.169.254",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        // A name without an address is refused alike.
        "nothing.invalid",
    ] {
        for scheme in ["http", "https"] {
            let body = json!({"url": format!("{scheme}://{host}:{port}/"), "events": ["*"]});
            let answer = server.api("POST", "webhooks/", Some(&staff.access), &body);
            assert_eq!((answer.status, &*answer.body), (400, UNREACHABLE), "{body}");
        }
    }
    let plain = json!({"url": "http://8.8.8.8/", "events": ["*"]});
    let answer = server.api("POST", "webhooks/", Some(&staff.access), &plain);
    answer.assert(400, UNREACHABLE);
    assert_eq!(receiver.connections(), 0);
}

#[test]
fn invalid_urls_are_refused() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    for url in [
        "example.com",
        "//example.com",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http:127.0.0.1",
        "http://user@127.0.0.1/",
        "http://:secret@127.0.0.1/",
        "http://example.com@127.0.0.1/",
        "http://127.0.0.1\\@example.com/",
        "http://127.0.0.1/#top",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:65536/",
        "http://[fe80::1%25lo]/",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/\r\nHost: x",
        "http://a..b/",
        "http://256.0.0.1/",
    ] {
        let body = json!({"url": url, "events": ["*"]});
        let answer = server.api("POST", "webhooks/", Some(&staff.access), &body);
        let expected = r#"{"url":["Enter a valid URL."]}"#;
        assert_eq!((answer.status, &*answer.body), (400, expected), "{url:?}");
    }
}

#[test]
fn network_that_is_not_allowed_any_more_is_not_reached() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    let receiver = Receiver::accepting();
    let webhook = add(&server, &staff, &receiver.url("/"));
    server.sign_up("ann@example.com");
    receiver.wait_for(1);
    // As when the name of a receiver gets an address in this network.
    server
        .reload(|config| config.webhooks.allow_networks.clear())
        .unwrap();
    server.sign_up("bob@example.com");
    let path = format!("webhooks/{}/deliveries/?status=failed", webhook["id"]);
    while server.get(&path, Some(&staff.access)).json()["count"] == 0 {
        thread::sleep(Duration::from_millis(10));
    }
    let failed = attempted(&server, &staff, &webhook);
    assert_eq!(failed["reason"], "The address is not reachable from here.");
    assert_eq!(receiver.received().len(), 1);
}

#[test]
fn redirects_of_receivers_are_not_followed() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    let target = Receiver::accepting();
    let location = target.url("/");
    let receiver = Receiver::start(move |exchange| {
        let head = format!("HTTP/1.1 307 Elsewhere\r\nLocation: {location}\r\n");
        exchange.write(format!("{head}Content-Length: 0\r\n\r\n"));
    });
    let webhook = add(&server, &staff, &receiver.url("/"));
    server.sign_up("ann@example.com");
    let failed = attempted(&server, &staff, &webhook);
    assert_eq!(
        (&failed["status"], &failed["status_code"]),
        (&json!("failed"), &json!(307))
    );
    assert_eq!(target.connections(), 0);
}

#[test]
fn certificates_of_receivers_are_verified() {
    let dir = tempfile::tempdir().unwrap();
    let (pem, good) = certificate(&["127.0.0.1"], |_| {});
    let (other_pem, other_name) = certificate(&["hooks.example"], |_| {});
    let (_, unknown) = certificate(&["127.0.0.1"], |_| {});
    let (expired_pem, expired) = certificate(&["127.0.0.1"], |params| {
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, pem + &other_pem + &expired_pem).unwrap();
    let server = TestServer::start_with(|config| config.webhooks.ca_file = Some(ca_file));
    let staff = server.staff("staff@example.com");
    let cases: Vec<_> = [
        (good, true),
        (other_name, false),
        (unknown, false),
        (expired, false),
    ]
    .into_iter()
    .map(|(tls, is_valid)| {
        let receiver = Receiver::start_encrypted(tls, |exchange| {
            exchange.answer("204 No Content", "");
        });
        let webhook = add(&server, &staff, &receiver.url("/"));
        (receiver, webhook, is_valid)
    })
    .collect();
    server.sign_up("ann@example.com");
    for (receiver, webhook, is_valid) in cases {
        let delivery = attempted(&server, &staff, &webhook);
        let (status, reason) = match is_valid {
            true => ("delivered", ""),
            false => (
                "failed",
                "The certificate or the encryption was not accepted.",
            ),
        };
        assert_eq!(
            (&delivery["status"], &delivery["reason"]),
            (&json!(status), &json!(reason))
        );
        assert_eq!(receiver.received().len(), usize::from(is_valid));
    }
}

#[test]
fn hostile_answers_are_bounded() {
    type Script = fn(&mut Exchange<'_>);
    const INVALID: &str = "The answer was not valid HTTP.";
    const CLOSED: &str = "The endpoint closed or refused the connection.";
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    let scripts: [(&str, Script, Option<u16>, &str); 9] = [
        (
            "10 MB",
            |exchange| {
                exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\r\n");
                while exchange.write("x".repeat(65_536)) {}
            },
            Some(200),
            "",
        ),
        (
            "body cut off",
            |exchange| {
                exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
                exchange.close();
            },
            Some(200),
            "",
        ),
        (
            "endless chunk",
            |exchange| {
                exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n");
                while exchange.write("x".repeat(65_536)) {}
            },
            Some(200),
            "",
        ),
        (
            "chunk size overflow",
            |exchange| {
                exchange.write(
                    "HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
                );
            },
            Some(500),
            "The endpoint answered 500.",
        ),
        (
            "two lengths",
            |exchange| {
                exchange
                    .write("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab");
            },
            None,
            INVALID,
        ),
        (
            "huge header",
            |exchange| {
                exchange.write(format!(
                    "HTTP/1.1 200 OK\r\nA: {}\r\n\r\n",
                    "b".repeat(20_000)
                ));
                exchange.close();
            },
            None,
            INVALID,
        ),
        (
            "endless headers",
            |exchange| {
                exchange.write("HTTP/1.1 200 OK\r\n");
                while exchange.write("A: b\r\n".repeat(100)) {}
            },
            None,
            INVALID,
        ),
        (
            "not HTTP",
            |exchange| {
                exchange.write("220 mail.example ESMTP\r\n");
            },
            None,
            INVALID,
        ),
        (
            "nothing",
            |exchange| {
                exchange.close();
            },
            None,
            CLOSED,
        ),
    ];
    let cases: Vec<_> = scripts
        .into_iter()
        .map(|(name, script, status, reason)| {
            let receiver = Receiver::start(script);
            let webhook = add(&server, &staff, &receiver.url("/"));
            (receiver, webhook, name, status, reason)
        })
        .collect();
    server.sign_up("ann@example.com");
    for (_receiver, webhook, name, status, reason) in cases {
        let delivery = attempted(&server, &staff, &webhook);
        assert_eq!(delivery["status_code"], json!(status), "{name}: {delivery}");
        assert_eq!(delivery["reason"], reason, "{name}: {delivery}");
        let is_delivered = status == Some(200);
        assert_eq!(delivery["status"] == "delivered", is_delivered, "{name}");
        assert!(text(&delivery, "answer").len() <= 512, "{name}");
    }
    // An answer is shown without what could control a terminal.
    let receiver = Receiver::start(|exchange| exchange.answer("400 No", "\x1b[2J\x07no\r\n"));
    let webhook = add(&server, &staff, &receiver.url("/"));
    server.sign_up("bob@example.com");
    let delivery = attempted(&server, &staff, &webhook);
    assert_eq!(delivery["answer"], "\u{fffd}[2J\u{fffd}no\u{fffd}\n");
}
