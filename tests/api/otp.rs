//! `otp/verify/` and `otp/resend/`: what a code does, how long it lives, and how many wrong tries it survives.

use serde_json::json;

use crate::contract::{EMAIL_SENT, EMAIL_VERIFIED, INVALID_OTP, UNKNOWN_CREDENTIALS};
use crate::support::{Answer, PASSWORD, TestServer, User, at_once};

const EMAIL: &str = "user@example.com";

fn verify(server: &TestServer, email: &str, otp: &str) -> Answer {
    server.post("otp/verify/", &json!({"email": email, "otp": otp}))
}

fn verify_from(server: &TestServer, client: &str, email: &str, otp: &str) -> Answer {
    server.post_from(client, "otp/verify/", &json!({"email": email, "otp": otp}))
}

fn verify_as(server: &TestServer, token: &str, email: &str, otp: &str) -> Answer {
    server.api(
        "POST",
        "otp/verify/",
        Some(token),
        &json!({"email": email, "otp": otp}),
    )
}

/// Asks for the code again and gives the number of mails that it brought.
#[track_caller]
fn resend(server: &TestServer, email: &str) -> usize {
    let before = server.mails(email).len();
    server
        .post("otp/resend/", &json!({"email": email}))
        .assert(200, EMAIL_SENT);
    server.mails(email).len() - before
}

/// A code that was never mailed to the address.
fn wrong_code(server: &TestServer, email: &str) -> String {
    let mailed: Vec<_> = server
        .mails(email)
        .into_iter()
        .filter_map(|mail| mail.otp)
        .collect();
    (0..1_000_000)
        .map(|n| format!("{n:06}"))
        .find(|code| !mailed.contains(code))
        .unwrap()
}

/// Tries wrong codes from one client.
#[track_caller]
fn fail(server: &TestServer, client: &str, email: &str, times: usize) {
    let wrong = wrong_code(server, email);
    for _ in 0..times {
        verify_from(server, client, email, &wrong).assert(400, INVALID_OTP);
    }
}

/// Tries a wrong code `times` times, five from each of as many networks as that takes.
#[track_caller]
fn fail_from_everywhere(server: &TestServer, email: &str, times: usize) {
    for n in 0..times {
        fail(server, &format!("198.51.100.{}", n / 5), email, 1);
    }
}

fn sign_up_as(server: &TestServer, email: &str, password: &str) -> String {
    let body = json!({"email": email, "password": password, "confirm_password": password});
    let answer = server.post("users/", &body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    server.otp(email)
}

/// A signed-in account that has asked for a new address, and the code for it.
fn change_address(server: &TestServer, from: &str, to: &str) -> (User, String) {
    let user = server.user(from);
    let answer = server.patch(&user.path(), &user, &json!({"email": to}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    (user, server.otp(to))
}

#[test]
fn right_code_verifies_and_signs_in() {
    let server = TestServer::start();
    server.sign_up(EMAIL);
    let answer = server.confirm(EMAIL);
    let (access, refresh) = (answer.text("access"), answer.text("refresh"));
    answer.assert(
        200,
        &format!(
            r#"{{"msg":"Email verified successfully!","access":"{access}","refresh":"{refresh}"}}"#
        ),
    );
    assert_eq!(server.get("users/me/", Some(&access)).text("email"), EMAIL);
    assert_eq!(
        server
            .post("token/refresh/", &json!({"refresh": refresh}))
            .status,
        200
    );
    assert_eq!(server.sign_in(EMAIL, PASSWORD).status, 200);
}

#[test]
fn address_case_and_blanks_are_ignored() {
    let server = TestServer::start();
    server.sign_up("Some.User@example.com");
    let otp = server.otp("some.user@example.com");
    let answer = verify(&server, " SOME.user@EXAMPLE.com ", &format!(" {otp}\n"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        server
            .get("users/me/", Some(&answer.text("access")))
            .text("email"),
        "Some.User@example.com"
    );
}

#[test]
fn code_as_a_json_number_is_accepted() {
    let server = TestServer::start();
    // A number cannot begin with a zero, so a code that does is of no use here.
    let (email, number) = (0..)
        .map(|n| format!("user{n}@example.com"))
        .find_map(|email| {
            server.sign_up(&email);
            let otp = server.otp(&email);
            (!otp.starts_with('0')).then(|| (email, otp.parse::<u32>().unwrap()))
        })
        .unwrap();
    let answer = server.post("otp/verify/", &json!({"email": email, "otp": number}));
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[test]
fn invalid_codes_get_the_same_response() {
    let server = TestServer::start();
    server.sign_up(EMAIL);
    let otp = server.otp(EMAIL);
    let wrong = wrong_code(&server, EMAIL);
    // Fewer than five tries, so that the code is still good afterwards.
    for (what, typed) in [
        ("another code", &*wrong),
        ("too short", &otp[..5]),
        ("no digits", "abcdef"),
    ] {
        let answer = verify(&server, EMAIL, typed);
        assert_eq!((answer.status, &*answer.body), (400, INVALID_OTP), "{what}");
    }
    verify(&server, "nobody@example.com", &otp).assert(400, INVALID_OTP);
    assert_eq!(verify(&server, EMAIL, &otp).status, 200);
    verify(&server, EMAIL, &otp).assert(400, INVALID_OTP);

    server.sign_up("late@example.com");
    let late = server.otp("late@example.com");
    server.advance_seconds(600);
    verify(&server, "late@example.com", &late).assert(400, INVALID_OTP);
}

#[test]
fn malformed_code_is_a_wrong_code() {
    let server = TestServer::start_behind_proxy();
    server.sign_up(EMAIL);
    let otp = server.otp(EMAIL);
    let full_width: String = otp
        .chars()
        .map(|digit| char::from_u32(digit as u32 + 0xff10 - 0x30).unwrap())
        .collect();
    for (n, typed) in [
        &*format!("{otp}0"),
        &*format!("0{otp}"),
        &*format!("+{otp}"),
        &*format!("{}.{}", &otp[..3], &otp[3..]),
        &*format!("{} {}", &otp[..3], &otp[3..]),
        &*full_width,
        "-12345",
        "1e5",
        "0x1234",
        &*"1".repeat(5000),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = verify_from(&server, &format!("203.0.113.{}", n / 4), EMAIL, typed);
        assert_eq!(
            (answer.status, &*answer.body),
            (400, INVALID_OTP),
            "{typed}"
        );
    }
    assert_eq!(verify(&server, EMAIL, &otp).status, 200);
}

#[test]
fn code_is_valid_for_its_address_only() {
    let server = TestServer::start();
    server.sign_up("alice@example.com");
    server.sign_up("bob@example.com");
    let (alices, bobs) = (
        server.otp("alice@example.com"),
        server.otp("bob@example.com"),
    );
    if alices != bobs {
        verify(&server, "alice@example.com", &bobs).assert(400, INVALID_OTP);
        verify(&server, "bob@example.com", &alices).assert(400, INVALID_OTP);
    }
    assert_eq!(verify(&server, "alice@example.com", &alices).status, 200);
    assert_eq!(verify(&server, "bob@example.com", &bobs).status, 200);
}

#[test]
fn code_works_once_under_concurrency() {
    let server = TestServer::start();
    server.sign_up(EMAIL);
    let otp = server.otp(EMAIL);
    let answers = at_once(10, |_| verify(&server, EMAIL, &otp));
    assert_eq!(
        answers.iter().filter(|answer| answer.status == 200).count(),
        1
    );
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.assert(400, INVALID_OTP);
    }
}

#[test]
fn code_expires_after_ten_minutes() {
    let server = TestServer::start();
    server.sign_up("early@example.com");
    server.sign_up("late@example.com");
    let (early, late) = (
        server.otp("early@example.com"),
        server.otp("late@example.com"),
    );
    server.advance_seconds(599);
    assert_eq!(verify(&server, "early@example.com", &early).status, 200);
    server.advance_seconds(1);
    verify(&server, "late@example.com", &late).assert(400, INVALID_OTP);
    // The sign-up itself is still there: its code can be had again.
    assert_eq!(resend(&server, "late@example.com"), 1);
    assert_eq!(server.confirm("late@example.com").status, 200);
}

#[test]
fn code_lifetime_is_configurable() {
    let server = TestServer::start_with(|config| config.otp.minutes = 2);
    server.sign_up("early@example.com");
    server.sign_up("late@example.com");
    server.advance_seconds(119);
    assert_eq!(server.confirm("early@example.com").status, 200);
    server.advance_seconds(1);
    server.confirm("late@example.com").assert(400, INVALID_OTP);
}

#[test]
fn foreign_token_does_not_matter_for_a_sign_up() {
    let server = TestServer::start();
    let alice = server.user("alice@example.com");
    for (email, token) in [
        ("b@example.com", &*alice.access),
        ("c@example.com", "nonsense"),
    ] {
        server.sign_up(email);
        let answer = verify_as(&server, token, email, &server.otp(email));
        assert_eq!(answer.status, 200, "{}", answer.body);
        let profile = server.get("users/me/", Some(&answer.text("access")));
        assert_eq!(profile.text("email"), email);
    }
}

#[test]
fn code_of_a_deactivated_account_is_invalid() {
    let server = TestServer::start();
    server.sign_up(EMAIL);
    server.db_execute("UPDATE users SET is_active = FALSE");
    server.confirm(EMAIL).assert(400, INVALID_OTP);
    assert_eq!(resend(&server, EMAIL), 0);
}

#[test]
fn codes_and_expiry_survive_a_restart() {
    let mut server = TestServer::start();
    server.sign_up("early@example.com");
    server.sign_up("late@example.com");
    let (early, late) = (
        server.otp("early@example.com"),
        server.otp("late@example.com"),
    );
    server.advance_seconds(300);
    server.restart();
    assert_eq!(verify(&server, "early@example.com", &early).status, 200);
    verify(&server, "early@example.com", &early).assert(400, INVALID_OTP);
    server.advance_seconds(300);
    verify(&server, "late@example.com", &late).assert(400, INVALID_OTP);
}

// Wrong tries.

#[test]
fn four_wrong_tries_are_forgiven() {
    let server = TestServer::start_behind_proxy();
    server.sign_up(EMAIL);
    let otp = server.otp(EMAIL);
    fail(&server, "203.0.113.7", EMAIL, 4);
    assert_eq!(verify_from(&server, "203.0.113.7", EMAIL, &otp).status, 200);
}

#[test]
fn after_five_wrong_tries_a_code_is_dead_for_that_network() {
    let server = TestServer::start_behind_proxy();
    server.sign_up(EMAIL);
    let otp = server.otp(EMAIL);
    fail(&server, "203.0.113.7", EMAIL, 5);
    verify_from(&server, "203.0.113.7", EMAIL, &otp).assert(400, INVALID_OTP);
    // An IPv4 address written as IPv6 does not avoid it.
    verify_from(&server, "::ffff:203.0.113.7", EMAIL, &otp).assert(400, INVALID_OTP);
    assert_eq!(verify_from(&server, "203.0.113.8", EMAIL, &otp).status, 200);
}

#[test]
fn a_client_cannot_name_its_own_network() {
    // Nobody is trusted here, so all of these are one client.
    let server = TestServer::start();
    server.sign_up(EMAIL);
    let otp = server.otp(EMAIL);
    for n in 0..5 {
        fail(&server, &format!("203.0.113.{n}"), EMAIL, 1);
    }
    verify_from(&server, "203.0.113.77", EMAIL, &otp).assert(400, INVALID_OTP);
}

#[test]
fn ipv6_network_is_a_64() {
    let server = TestServer::start_behind_proxy();
    server.sign_up(EMAIL);
    let otp = server.otp(EMAIL);
    for client in [
        "2001:db8:1:2::1",
        "2001:db8:1:2::2",
        "2001:db8:1:2:8000::",
        "2001:db8:1:2:1:2:3:4",
        "2001:db8:1:2::",
    ] {
        fail(&server, client, EMAIL, 1);
    }
    verify_from(&server, "2001:db8:1:2:ffff:ffff:ffff:ffff", EMAIL, &otp).assert(400, INVALID_OTP);
    assert_eq!(
        verify_from(&server, "2001:db8:1:3::1", EMAIL, &otp).status,
        200
    );
}

#[test]
fn after_25_wrong_tries_a_code_is_dead_for_all() {
    for (tries, status) in [(24, 200), (25, 400)] {
        let server = TestServer::start_behind_proxy();
        server.sign_up(EMAIL);
        let otp = server.otp(EMAIL);
        fail_from_everywhere(&server, EMAIL, tries);
        let answer = verify_from(&server, "203.0.113.7", EMAIL, &otp);
        assert_eq!(answer.status, status, "after {tries}: {}", answer.body);
        if status == 400 {
            answer.assert(400, INVALID_OTP);
            assert_eq!(resend(&server, EMAIL), 1);
            let fresh = server.otp(EMAIL);
            assert_eq!(
                verify_from(&server, "203.0.113.7", EMAIL, &fresh).status,
                200
            );
        }
    }
}

#[test]
fn tries_of_a_blocked_network_count_for_no_other() {
    let server = TestServer::start_behind_proxy();
    server.sign_up(EMAIL);
    let otp = server.otp(EMAIL);
    // Enough to use up the code's tries and the account's, if they counted.
    fail(&server, "203.0.113.7", EMAIL, 110);
    verify_from(&server, "203.0.113.7", EMAIL, &otp).assert(400, INVALID_OTP);
    assert_eq!(verify_from(&server, "203.0.113.8", EMAIL, &otp).status, 200);
}

#[test]
fn concurrent_wrong_tries_are_all_counted() {
    let server = TestServer::start_behind_proxy();
    server.sign_up(EMAIL);
    let otp = server.otp(EMAIL);
    let wrong = wrong_code(&server, EMAIL);
    for answer in at_once(20, |_| verify_from(&server, "203.0.113.7", EMAIL, &wrong)) {
        answer.assert(400, INVALID_OTP);
    }
    verify_from(&server, "203.0.113.7", EMAIL, &otp).assert(400, INVALID_OTP);
    assert_eq!(verify_from(&server, "203.0.113.8", EMAIL, &otp).status, 200);
}

#[test]
fn blocked_network_can_try_the_next_code() {
    let server = TestServer::start_behind_proxy();
    server.sign_up(EMAIL);
    fail(&server, "203.0.113.7", EMAIL, 5);
    assert_eq!(resend(&server, EMAIL), 1);
    fail(&server, "203.0.113.7", EMAIL, 4);
    let fresh = server.otp(EMAIL);
    assert_eq!(
        verify_from(&server, "203.0.113.7", EMAIL, &fresh).status,
        200
    );
}

#[test]
fn account_accepts_100_wrong_tries_a_day_over_all_codes() {
    for (last, status) in [(24, 200), (25, 400)] {
        let server = TestServer::start_behind_proxy();
        server.sign_up(EMAIL);
        for _ in 0..3 {
            fail_from_everywhere(&server, EMAIL, 25);
            assert_eq!(resend(&server, EMAIL), 1);
        }
        fail_from_everywhere(&server, EMAIL, last);
        assert_eq!(resend(&server, EMAIL), 1);
        let fresh = server.otp(EMAIL);
        let answer = verify_from(&server, "203.0.113.7", EMAIL, &fresh);
        assert_eq!(
            answer.status,
            status,
            "after {} tries: {}",
            75 + last,
            answer.body
        );
        if status == 400 {
            answer.assert(400, INVALID_OTP);
        }
    }
}

#[test]
fn daily_limit_ends_after_a_day() {
    let mut server = TestServer::start_behind_proxy();
    server.sign_up(EMAIL);
    for _ in 0..4 {
        fail_from_everywhere(&server, EMAIL, 25);
        assert_eq!(resend(&server, EMAIL), 1);
    }
    server.restart();
    server.advance_seconds(24 * 60 * 60 - 1);
    assert_eq!(resend(&server, EMAIL), 1);
    let otp = server.otp(EMAIL);
    verify(&server, EMAIL, &otp).assert(400, INVALID_OTP);
    server.advance_seconds(1);
    assert_eq!(verify(&server, EMAIL, &otp).status, 200);
}

#[test]
fn daily_limit_is_per_account() {
    let server = TestServer::start_behind_proxy();
    server.sign_up(EMAIL);
    server.sign_up("other@example.com");
    for _ in 0..4 {
        fail_from_everywhere(&server, EMAIL, 25);
        resend(&server, EMAIL);
    }
    server.confirm(EMAIL).assert(400, INVALID_OTP);
    assert_eq!(server.confirm("other@example.com").status, 200);
}

#[test]
fn wrong_try_counts_for_every_pending_sign_up_and_once_for_the_account() {
    let server = TestServer::start_behind_proxy();
    let older = sign_up_as(&server, EMAIL, "password-of-number-1");
    let newer = sign_up_as(&server, EMAIL, "password-of-number-2");
    fail(&server, "203.0.113.7", EMAIL, 5);
    for otp in [&older, &newer] {
        verify_from(&server, "203.0.113.7", EMAIL, otp).assert(400, INVALID_OTP);
    }
    fail_from_everywhere(&server, EMAIL, 20);
    for otp in [&older, &newer] {
        verify_from(&server, "203.0.113.8", EMAIL, otp).assert(400, INVALID_OTP);
    }
    // 25 tries so far; 74 more leave the account one.
    for tries in [25, 25, 24] {
        assert_eq!(resend(&server, EMAIL), 1);
        fail_from_everywhere(&server, EMAIL, tries);
    }
    assert_eq!(resend(&server, EMAIL), 1);
    assert_eq!(server.confirm(EMAIL).status, 200);
}

#[test]
fn wrong_try_counts_survive_a_restart() {
    let mut server = TestServer::start_behind_proxy();
    server.sign_up(EMAIL);
    let otp = server.otp(EMAIL);
    fail(&server, "203.0.113.7", EMAIL, 4);
    let wrong = wrong_code(&server, EMAIL);
    server.restart();
    verify_from(&server, "203.0.113.7", EMAIL, &wrong).assert(400, INVALID_OTP);
    verify_from(&server, "203.0.113.7", EMAIL, &otp).assert(400, INVALID_OTP);

    // 5 tries so far; with 20 more from elsewhere the code is dead for all.
    for n in 0..20 {
        verify_from(&server, &format!("198.51.100.{}", n / 5), EMAIL, &wrong)
            .assert(400, INVALID_OTP);
    }
    server.restart();
    verify_from(&server, "203.0.113.8", EMAIL, &otp).assert(400, INVALID_OTP);
}

#[test]
fn daily_count_survives_a_restart() {
    let mut server = TestServer::start_behind_proxy();
    server.sign_up(EMAIL);
    for _ in 0..4 {
        fail_from_everywhere(&server, EMAIL, 25);
        server.restart();
        assert_eq!(resend(&server, EMAIL), 1);
    }
    server.confirm(EMAIL).assert(400, INVALID_OTP);
}

// Once more.

#[test]
fn a_resent_code_replaces_the_one_it_repeats() {
    let server = TestServer::start();
    server.sign_up(EMAIL);
    let first = server.otp(EMAIL);
    assert_eq!(resend(&server, "USER@example.com"), 1);
    let second = server.otp(EMAIL);
    assert_ne!(first, second);
    verify(&server, EMAIL, &first).assert(400, INVALID_OTP);
    assert_eq!(verify(&server, EMAIL, &second).status, 200);
}

#[test]
fn resent_code_has_a_new_expiry() {
    let server = TestServer::start();
    server.sign_up("early@example.com");
    server.sign_up("late@example.com");
    server.advance_seconds(500);
    assert_eq!(resend(&server, "early@example.com"), 1);
    assert_eq!(resend(&server, "late@example.com"), 1);
    server.advance_seconds(599);
    assert_eq!(server.confirm("early@example.com").status, 200);
    server.advance_seconds(1);
    server.confirm("late@example.com").assert(400, INVALID_OTP);
}

#[test]
fn resend_repeats_the_newest_of_several_sign_ups() {
    for chosen in ["older", "resent"] {
        let server = TestServer::start();
        let older = sign_up_as(&server, EMAIL, "password-of-older");
        let newer = sign_up_as(&server, EMAIL, "password-of-newer");
        assert_eq!(resend(&server, EMAIL), 1);
        let resent = server.otp(EMAIL);
        verify(&server, EMAIL, &newer).assert(400, INVALID_OTP);
        let (otp, password, other) = match chosen {
            "older" => (&older, "password-of-older", "password-of-newer"),
            _ => (&resent, "password-of-newer", "password-of-older"),
        };
        // The address is contested, so the password comes along.
        let body = json!({"email": EMAIL, "otp": otp, "password": password});
        let answer = server.post("otp/verify/", &body);
        assert_eq!(answer.status, 200, "{chosen}: {}", answer.body);
        assert_eq!(server.sign_in(EMAIL, password).status, 200, "{chosen}");
        server
            .sign_in(EMAIL, other)
            .assert(401, UNKNOWN_CREDENTIALS);
    }
}

#[test]
fn mail_goes_to_the_address_as_typed() {
    let server = TestServer::start();
    server.sign_up("Some.User@example.com");
    assert_eq!(resend(&server, "some.USER@EXAMPLE.com"), 1);
    assert_eq!(
        server.mails("some.user@example.com")[0].to,
        "Some.User@example.com"
    );
}

#[test]
fn resend_without_a_pending_code_is_silent() {
    let server = TestServer::start();
    assert_eq!(resend(&server, "nobody@example.com"), 0);
    server.user("verified@example.com");
    assert_eq!(resend(&server, "verified@example.com"), 0);
    change_address(&server, "old@example.com", "new@example.com");
    assert_eq!(resend(&server, "old@example.com"), 0);
}

#[test]
fn throttled_resend_keeps_the_old_code_valid() {
    let server = TestServer::start_with_mail_limits();
    server.sign_up(EMAIL);
    let otp = server.otp(EMAIL);
    assert_eq!(resend(&server, EMAIL), 0);
    server.advance_seconds(59);
    assert_eq!(resend(&server, EMAIL), 0);
    assert_eq!(verify(&server, EMAIL, &otp).status, 200);
}

#[test]
fn code_can_be_resent_after_a_minute() {
    let server = TestServer::start_with_mail_limits();
    server.sign_up(EMAIL);
    server.advance_seconds(60);
    assert_eq!(resend(&server, EMAIL), 1);
    assert_eq!(resend(&server, EMAIL), 0);
    server.sign_up(EMAIL).assert_throttled(60);
    assert_eq!(server.confirm(EMAIL).status, 200);
}

#[test]
fn sign_ups_and_resends_share_the_mails_of_an_hour() {
    let server = TestServer::start_with_mail_limits();
    server.sign_up(EMAIL);
    for n in 1..4 {
        server.advance_seconds(60);
        assert_eq!(resend(&server, EMAIL), 1, "mail {n}");
    }
    let last = server.otp(EMAIL);
    server.advance_seconds(60);
    assert_eq!(resend(&server, EMAIL), 0);
    server.sign_up(EMAIL).assert_throttled(3360);
    assert_eq!(verify(&server, EMAIL, &last).status, 200);
}

#[test]
fn concurrent_resends_send_one_mail() {
    let server = TestServer::start_with_mail_limits();
    server.sign_up(EMAIL);
    server.advance_seconds(60);
    for answer in at_once(10, |_| server.post("otp/resend/", &json!({"email": EMAIL}))) {
        answer.assert(200, EMAIL_SENT);
    }
    assert_eq!(server.mails(EMAIL).len(), 2);
    assert_eq!(server.confirm(EMAIL).status, 200);
}

// The code of an address change.

#[test]
fn change_code_needs_the_owners_token() {
    let server = TestServer::start();
    let (alice, otp) = change_address(&server, "alice@example.com", "new@example.com");
    let mallory = server.user("mallory@example.com");
    verify(&server, "new@example.com", &otp).assert(400, INVALID_OTP);
    for (what, token) in [
        ("another account", &*mallory.access),
        ("no token", "nonsense"),
        ("a refresh token", &*alice.refresh),
    ] {
        let answer = verify_as(&server, token, "new@example.com", &otp);
        assert_eq!((answer.status, &*answer.body), (400, INVALID_OTP), "{what}");
    }
    verify_as(&server, &alice.access, "alice@example.com", &otp).assert(400, INVALID_OTP);
    verify_as(&server, &alice.access, "NEW@example.com", &otp).assert(200, EMAIL_VERIFIED);
    verify_as(&server, &alice.access, "new@example.com", &otp).assert(400, INVALID_OTP);
    assert_eq!(
        server.get("users/me/", Some(&alice.access)).text("email"),
        "new@example.com"
    );
    assert_eq!(server.sign_in("new@example.com", PASSWORD).status, 200);
    server
        .sign_in("alice@example.com", PASSWORD)
        .assert(401, UNKNOWN_CREDENTIALS);
}

#[test]
fn staff_cannot_confirm_another_users_address() {
    let server = TestServer::start();
    let (alice, otp) = change_address(&server, "alice@example.com", "new@example.com");
    let staff = server.staff("staff@example.com");
    verify_as(&server, &staff.access, "new@example.com", &otp).assert(400, INVALID_OTP);
    verify_as(&server, &alice.access, "new@example.com", &otp).assert(200, EMAIL_VERIFIED);
}

#[test]
fn change_code_works_with_any_live_session_of_the_owner() {
    let server = TestServer::start();
    let (alice, otp) = change_address(&server, "alice@example.com", "new@example.com");
    server.advance_seconds(599);
    verify_as(&server, &alice.access, "new@example.com", &otp).assert(400, INVALID_OTP);
    let access = server.sign_in("alice@example.com", PASSWORD).text("access");
    verify_as(&server, &access, "new@example.com", &otp).assert(200, EMAIL_VERIFIED);
}

#[test]
fn change_code_expires_after_ten_minutes() {
    let server = TestServer::start();
    let (_, otp) = change_address(&server, "alice@example.com", "new@example.com");
    server.advance_seconds(600);
    let access = server.sign_in("alice@example.com", PASSWORD).text("access");
    verify_as(&server, &access, "new@example.com", &otp).assert(400, INVALID_OTP);
}

#[test]
fn change_code_can_be_resent() {
    let server = TestServer::start();
    let (alice, first) = change_address(&server, "alice@example.com", "new@example.com");
    assert_eq!(resend(&server, "new@example.com"), 1);
    let second = server.otp("new@example.com");
    assert_ne!(first, second);
    verify_as(&server, &alice.access, "new@example.com", &first).assert(400, INVALID_OTP);
    verify(&server, "new@example.com", &second).assert(400, INVALID_OTP);
    verify_as(&server, &alice.access, "new@example.com", &second).assert(200, EMAIL_VERIFIED);
}

#[test]
fn wrong_change_codes_are_counted_by_network() {
    let server = TestServer::start_behind_proxy();
    let (alice, otp) = change_address(&server, "alice@example.com", "new@example.com");
    let authorization = format!("Bearer {}", alice.access);
    let verify_from = |client: &str, otp: &str| {
        server.request(
            "POST",
            "/api/v1/accounts/otp/verify/",
            &[
                ("content-type", "application/json"),
                ("authorization", &authorization),
                ("x-forwarded-for", client),
            ],
            json!({"email": "new@example.com", "otp": otp}).to_string(),
        )
    };
    let wrong = wrong_code(&server, "new@example.com");
    for _ in 0..5 {
        verify_from("203.0.113.7", &wrong).assert(400, INVALID_OTP);
    }
    verify_from("203.0.113.7", &otp).assert(400, INVALID_OTP);
    verify_from("203.0.113.8", &otp).assert(200, EMAIL_VERIFIED);
}

#[test]
fn code_is_valid_for_its_purpose_only() {
    let server = TestServer::start();
    // Somebody signs up with an address, and an account takes it over before it is confirmed.
    let strangers = sign_up_as(&server, "new@example.com", "password-of-stranger");
    let (alice, alices) = change_address(&server, "alice@example.com", "new@example.com");
    assert_ne!(strangers, alices);
    verify(&server, "new@example.com", &strangers).assert(400, INVALID_OTP);
    verify_as(&server, &alice.access, "new@example.com", &strangers).assert(400, INVALID_OTP);
    verify(&server, "new@example.com", &alices).assert(400, INVALID_OTP);
    verify_as(&server, &alice.access, "new@example.com", &alices).assert(200, EMAIL_VERIFIED);
}

// Bad input.

#[test]
fn malformed_fields_are_reported() {
    let server = TestServer::start();
    for (path, body, expected) in [
        (
            "otp/verify/",
            json!({}),
            json!({"email": ["This field is required."], "otp": ["This field is required."]}),
        ),
        (
            "otp/verify/",
            json!({"email": "nonsense", "otp": "  "}),
            json!({"email": ["Enter a valid email address."], "otp": ["This field may not be blank."]}),
        ),
        (
            "otp/resend/",
            json!({}),
            json!({"email": ["This field is required."]}),
        ),
        (
            "otp/resend/",
            json!({"email": "nonsense"}),
            json!({"email": ["Enter a valid email address."]}),
        ),
    ] {
        let answer = server.post(path, &body);
        assert_eq!(
            (answer.status, answer.json()),
            (400, expected),
            "{path} {body}"
        );
    }
}

/// The bound that docs/SECURITY.md states: whatever a guesser does within a day, 100 wrong codes are compared with those of
/// an address, over resends, restarts and accounts that are removed and created again.
#[test]
fn daily_limit_survives_deletion_of_the_account() {
    let mut server = TestServer::start_behind_proxy();
    let thief = server.user("thief@example.com");
    let mut tries = 0;
    for round in 0..8 {
        server.sign_up(EMAIL);
        for _ in 0..2 {
            fail_from_everywhere(&server, EMAIL, 25);
            tries += 25;
            resend(&server, EMAIL);
        }
        // Another account can take an unconfirmed address; the never-verified account is deleted.
        let answer = server.patch(&thief.path(), &thief, &json!({"email": EMAIL}));
        assert_eq!(answer.status, 200, "{}", answer.body);
        let back = json!({"email": "thief@example.com"});
        assert_eq!(server.patch(&thief.path(), &thief, &back).status, 200);
        if round % 3 == 0 {
            server.restart();
        }
    }
    assert_eq!(tries, 400);
    assert_eq!(server.db_number("SELECT count(*) FROM otp_failures"), 100);
    server.sign_up(EMAIL);
    server.confirm(EMAIL).assert(400, INVALID_OTP);
    server.advance_seconds(24 * 60 * 60);
    server.sign_up(EMAIL);
    assert_eq!(server.confirm(EMAIL).status, 200);
}

#[test]
fn link_confirms_a_sign_up_and_an_address_change() {
    let server = TestServer::start_with(|config| {
        config.mail.confirm_url = "https://app.example.com/confirm".to_owned();
    });
    let token = |email: &str| {
        let link = server.mails(email)[0].link.clone().unwrap();
        let token = link.strip_prefix("https://app.example.com/confirm?token=");
        json!({"token": token.unwrap()})
    };
    let invalid = r#"{"token":["Invalid or expired token."]}"#;
    server.sign_up(EMAIL);
    let first = token(EMAIL);
    assert_eq!(resend(&server, EMAIL), 1);
    let second = token(EMAIL);
    let confirmed = server.post("otp/verify/", &first);
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    for used in [&first, &second] {
        server.post("otp/verify/", used).assert(400, invalid);
    }
    let (alice, _) = change_address(&server, "alice@example.com", "new@example.com");
    let change = token("new@example.com");
    // The owner of a mistyped address gains nothing.
    server.post("otp/verify/", &change).assert(400, invalid);
    let other = server.user("other@example.com");
    let verify = |user: &User| server.api("POST", "otp/verify/", Some(&user.access), &change);
    verify(&other).assert(400, invalid);
    verify(&alice).assert(200, EMAIL_VERIFIED);
    verify(&alice).assert(400, invalid);
}
