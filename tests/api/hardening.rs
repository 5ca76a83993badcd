//! What an attacker or bad luck tries beside the ordinary ways.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use crate::contract::{EMAIL_TAKEN, NOT_FOUND};
use crate::support::{PASSWORD, TestServer};

/// Reads what the server says until it closes the connection.
fn rest(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn rights_lost_while_the_body_arrives_are_lost() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    let other = server.staff("other@example.com");
    let user = server.user("user@example.com");
    let body = json!({"is_staff": true}).to_string();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head = format!(
        "PATCH /api/v1/accounts/{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
        user.path(),
        staff.access,
        body.len(),
        &body[..1]
    );
    stream.write_all(head.as_bytes()).unwrap();
    // The request is under way: another one on the same server is answered after it was started.
    let demoted = server.patch(&staff.path(), &other, &json!({"is_active": false}));
    assert_eq!(demoted.status, 200, "{}", demoted.body);
    stream.write_all(&body.as_bytes()[1..]).unwrap();
    let answer = rest(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert_eq!(
        server
            .db_number("SELECT count(*) FROM users WHERE is_staff AND email = 'user@example.com'"),
        0
    );
}

#[test]
fn ended_session_cannot_confirm_an_address() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let changed = server.patch("users/me/", &user, &json!({"email": "new@example.com"}));
    assert_eq!(changed.status, 200, "{}", changed.body);
    let code = server.otp("new@example.com");
    let body = json!({"email": "new@example.com", "otp": code}).to_string();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head = format!(
        "POST /api/v1/accounts/otp/verify/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Authorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
        user.access,
        body.len(),
        &body[..1]
    );
    stream.write_all(head.as_bytes()).unwrap();
    let ended = server.post("token/blacklist/", &json!({"refresh": user.refresh}));
    assert_eq!(ended.status, 200, "{}", ended.body);
    stream.write_all(&body.as_bytes()[1..]).unwrap();
    let answer = rest(&mut stream);
    assert!(
        answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.1 401 "),
        "{answer}"
    );
    let confirmed = "SELECT count(*) FROM users WHERE email = 'new@example.com'";
    assert_eq!(server.db_number(confirmed), 0);
}

#[test]
fn connect_method_is_answered() {
    let server = TestServer::start();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream
        .write_all(b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let answer = rest(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert!(answer.contains(NOT_FOUND), "{answer}");
}

#[test]
fn concurrent_right_passwords_are_no_guesses() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = true);
    server.user("user@example.com");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..40)
            .map(|_| scope.spawn(|| server.sign_in("user@example.com", PASSWORD).status))
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(statuses, [200; 40]);
}

#[test]
fn concurrent_guesses_are_limited_like_sequential_ones() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = true);
    server.user("user@example.com");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..40)
            .map(|_| scope.spawn(|| server.sign_in("user@example.com", "wrong").status))
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let answered = statuses.iter().filter(|status| **status == 401).count();
    let throttled = statuses.iter().filter(|status| **status == 429).count();
    // Five at one account, whatever is under way at the same moment.
    assert_eq!((answered, throttled), (5, 35), "{statuses:?}");
    assert_eq!(server.sign_in("user@example.com", PASSWORD).status, 429);
}

#[test]
fn stolen_token_cannot_guess_the_password() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = true);
    let user = server.user("user@example.com");
    let guess = json!({"current_password": "wrong", "password": "another-pass-77", "confirm_password": "another-pass-77"});
    for number in 0..5 {
        let answer = if number % 2 == 0 {
            server.api("POST", "password/change/", Some(&user.access), &guess)
        } else {
            server.api(
                "DELETE",
                "users/me/",
                Some(&user.access),
                &json!({"password": "wrong"}),
            )
        };
        assert_eq!(answer.status, 400, "{number}: {}", answer.body);
    }
    let answer = server.api("POST", "password/change/", Some(&user.access), &guess);
    assert_eq!(answer.status, 429);
    let answer = server.api(
        "DELETE",
        "users/me/",
        Some(&user.access),
        &json!({"password": PASSWORD}),
    );
    assert_eq!(answer.status, 429);
}

#[test]
fn both_spellings_of_a_domain_are_one_address() {
    let server = TestServer::start();
    server.user("user@bücher.example");
    let again = server.sign_up("User@xn--bcher-kva.example");
    again.assert(400, EMAIL_TAKEN);
    for spelling in [
        "user@bücher.example",
        "USER@BÜCHER.example",
        "user@xn--bcher-kva.example",
    ] {
        assert_eq!(server.sign_in(spelling, PASSWORD).status, 200, "{spelling}");
    }
}

#[test]
fn unknown_address_uses_no_limit() {
    let server = TestServer::start_with(|config| {
        config.otp.resend_seconds = 60;
        config.otp.mails_per_hour = 10;
    });
    for path in ["otp/resend/", "password/reset/"] {
        let answer = server.post(path, &json!({"email": "user@example.com"}));
        assert_eq!(answer.status, 200, "{path}");
    }
    assert_eq!(server.mails("user@example.com").len(), 0);
    assert_eq!(server.sign_up("user@example.com").status, 201);
    server.advance_seconds(1);
    assert_eq!(server.confirm("user@example.com").status, 200);
    server.post("password/reset/", &json!({"email": "user@example.com"}));
    assert_eq!(server.mails("user@example.com").len(), 2);
}
