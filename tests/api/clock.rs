//! A clock that jumps: what was done while it was wrong does no harm once it is right again.

use std::time::Duration;

use serde_json::json;

use crate::smtp::{Fault, SmtpSink};
use crate::support::{PASSWORD, TestServer};

/// A year, by which clocks without a battery are wrong at times.
const YEAR: Duration = Duration::from_hours(365 * 24);

#[test]
fn mails_asked_for_in_the_future_block_none_in_the_present() {
    let server = TestServer::start_with_mail_limits();
    server.user("user@example.com");
    server.advance(YEAR);
    let reset = json!({"email": "user@example.com"});
    assert_eq!(server.post("password/reset/", &reset).status, 200);
    let before = server.mails("user@example.com").len();
    server.turn_back(YEAR);
    server.advance(Duration::from_mins(2));
    assert_eq!(server.post("password/reset/", &reset).status, 200);
    assert_eq!(server.mails("user@example.com").len(), before + 1);
}

#[test]
fn without_a_pause_no_mail_waits_for_a_later_one() {
    let server = TestServer::start();
    for _ in 0..3 {
        // As when two ask at one time, and the later of them is served first.
        assert_eq!(server.sign_up("user@example.com").status, 201);
        server.turn_back(Duration::from_secs(1));
    }
    assert_eq!(server.mails("user@example.com").len(), 3);
}

#[test]
fn wrong_tries_of_the_future_count_no_more() {
    let server = TestServer::start();
    let id = server.sign_up("user@example.com").json()["data"]["id"].clone();
    let otp = server.otp("user@example.com");
    let future = server.db_number("SELECT created_at FROM users") + 1000 * 3600 * 24 * 365;
    for _ in 0..100 {
        server.db_execute(&format!(
            "INSERT INTO otp_failures (user_id, address_hash, failed_at) VALUES ({id}, x'', {future})"
        ));
    }
    let code = json!({"email": "user@example.com", "otp": otp});
    assert_eq!(server.post("otp/verify/", &code).status, 200);
}

#[test]
fn a_mail_of_the_future_is_delivered_in_the_present() {
    let sink = SmtpSink::start();
    sink.fail("user@example.com", 1, Fault::Say("RCPT", "451 later"));
    let server = TestServer::start_with_smtp(&sink.url());
    assert_eq!(server.sign_up("user@example.com").status, 201);
    server.wait_for_metric("accounts_mails_total{fate=\"postponed\"}", 1);
    // As it is when the clock was a year ahead at that moment.
    let year = YEAR.as_millis();
    server.db_execute(&format!(
        "UPDATE deliveries SET next_try_at = next_try_at + {year}"
    ));
    server.wake_mail();
    sink.wait_for_mail_to("user@example.com");
}

#[test]
fn sign_ins_and_codes_work_before_and_after_a_clock_jump() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    server.turn_back(YEAR);
    // A token from the future is refused, as its real age is unknown.
    assert_eq!(server.get("users/me/", Some(&user.access)).status, 401);
    let again = server.sign_in("user@example.com", PASSWORD);
    assert_eq!(again.status, 200);
    let refresh = json!({"refresh": again.json()["refresh"]});
    assert_eq!(server.post("token/refresh/", &refresh).status, 200);
    assert_eq!(server.sign_up("new@example.com").status, 201);
    let code = json!({"email": "new@example.com", "otp": server.otp("new@example.com")});
    assert_eq!(server.post("otp/verify/", &code).status, 200);
    server.advance(YEAR);
    // Five minutes, and no more, is what an access token lives, whichever way the clock went.
    assert_eq!(server.get("users/me/", Some(&user.access)).status, 200);
    server.advance(Duration::from_mins(6));
    assert_eq!(server.get("users/me/", Some(&user.access)).status, 401);
    assert_eq!(
        server.get("users/me/", Some(&again.text("access"))).status,
        401
    );
}
