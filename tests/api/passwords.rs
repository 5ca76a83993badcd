//! `password/`: choosing a new password by a code that was mailed, or by knowing the present one.

use accounts_server::config::IpNetwork;
use serde_json::{Value, json};

use crate::contract::{
    BAD_TOKEN, EMAIL_SENT, EMAIL_TAKEN, INVALID_OTP, NO_TOKEN, UNKNOWN_CREDENTIALS,
};
use crate::support::{Answer, PASSWORD, TestServer, User, at_once, sign_up_with};

const NEW: &str = "another-Passw0rd";
const RESET: &str = r#"{"msg":"Password reset successfully!"}"#;
const CHANGED: &str = r#"{"msg":"Password changed successfully!","access":""#;
const WRONG: &str = r#"{"current_password":["Invalid password."]}"#;
const REQUIRED: &str = "This field is required.";

fn reset(server: &TestServer, email: &str) -> Answer {
    server.post("password/reset/", &json!({"email": email}))
}

/// Asks for a code and gives the one that was mailed.
#[track_caller]
fn reset_code(server: &TestServer, email: &str) -> String {
    let before = codes_sent(server, email);
    reset(server, email).assert(200, EMAIL_SENT);
    assert_eq!(codes_sent(server, email), before + 1, "mails to {email}");
    server.otp(email)
}

/// How many mails with a code went to an address.
fn codes_sent(server: &TestServer, email: &str) -> usize {
    server
        .mails(email)
        .iter()
        .filter(|mail| mail.otp.is_some())
        .count()
}

fn confirm_body(email: &str, otp: &str, password: &str) -> Value {
    json!({"email": email, "otp": otp, "password": password, "confirm_password": password})
}

fn confirm(server: &TestServer, email: &str, otp: &str, password: &str) -> Answer {
    server.post(
        "password/reset/confirm/",
        &confirm_body(email, otp, password),
    )
}

fn confirm_from(server: &TestServer, client: &str, email: &str, otp: &str) -> Answer {
    server.post_from(
        client,
        "password/reset/confirm/",
        &confirm_body(email, otp, NEW),
    )
}

fn change(server: &TestServer, user: &User, current: &str, password: &str) -> Answer {
    server.api(
        "POST",
        "password/change/",
        Some(&user.access),
        &json!({"current_password": current, "password": password, "confirm_password": password}),
    )
}

/// The account with the token pair of a password change.
#[track_caller]
fn assert_changed(user: &User, answer: &Answer) -> User {
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.starts_with(CHANGED), "{}", answer.body);
    User {
        access: answer.text("access"),
        refresh: answer.text("refresh"),
        ..user.clone()
    }
}

/// Another session of the same account.
#[track_caller]
fn sign_in_again(server: &TestServer, user: &User, password: &str) -> User {
    let pair = server.sign_in(&user.email, password);
    assert_eq!(pair.status, 200, "{}", pair.body);
    User {
        access: pair.text("access"),
        refresh: pair.text("refresh"),
        ..user.clone()
    }
}

/// A code that is none of those that were mailed to an address.
fn wrong_code(server: &TestServer, email: &str) -> String {
    let known: Vec<String> = server
        .mails(email)
        .into_iter()
        .filter_map(|m| m.otp)
        .collect();
    (100_000..1_000_000)
        .map(|n| n.to_string())
        .find(|code| !known.contains(code))
        .unwrap()
}

#[test]
fn reset_sets_a_password_and_revokes_all_sessions() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let other = sign_in_again(&server, &user, PASSWORD);
    let stranger = server.user("stranger@example.com");

    let otp = reset_code(&server, "user@example.com");
    let mail = &server.mails("user@example.com")[0];
    assert_eq!(mail.to, "user@example.com");
    assert!(mail.subject.contains("password reset"), "{}", mail.subject);
    assert!(mail.text.contains(&otp), "{}", mail.text);
    let page = "http://localhost:8000/account/reset/confirm/?token=";
    assert!(
        mail.link
            .as_ref()
            .is_some_and(|link| link.starts_with(page)),
        "{:?}",
        mail.link
    );
    // Asking alone changes nothing.
    assert_eq!(server.get("users/me/", Some(&user.access)).status, 200);
    assert_eq!(server.sign_in(&user.email, PASSWORD).status, 200);

    confirm(&server, "user@example.com", &otp, NEW).assert(200, RESET);
    server.assert_ended(&user);
    server.assert_ended(&other);
    server
        .sign_in(&user.email, PASSWORD)
        .assert(401, UNKNOWN_CREDENTIALS);
    let again = sign_in_again(&server, &user, NEW);
    assert_eq!(server.get("users/me/", Some(&again.access)).status, 200);
    // Nobody else is affected.
    assert_eq!(server.get("users/me/", Some(&stranger.access)).status, 200);
    assert_eq!(server.sign_in(&stranger.email, PASSWORD).status, 200);
    server
        .sign_in(&stranger.email, NEW)
        .assert(401, UNKNOWN_CREDENTIALS);
}

#[test]
fn reset_request_reveals_nothing() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    server.sign_up("gone@example.com");
    server.db_execute("UPDATE users SET is_active = FALSE WHERE email = 'gone@example.com'");
    let changed = server.patch("users/me/", &user, &json!({"email": "new@example.com"}));
    assert_eq!(changed.status, 200, "{}", changed.body);
    for email in [
        "nobody@example.com",
        // A new address that nobody has confirmed is not the account's own yet.
        "new@example.com",
        "gone@example.com",
    ] {
        let before = server.mails(email).len();
        reset(&server, email).assert(200, EMAIL_SENT);
        assert_eq!(server.mails(email).len(), before, "mails to {email}");
    }
    assert_eq!(codes_sent(&server, "user@example.com"), 1, "of the sign-up");
    // The last confirmed address is the one that counts.
    reset_code(&server, "user@example.com");
}

#[test]
fn reset_code_goes_to_the_stored_address() {
    let server = TestServer::start();
    server.user("User@Example.com");
    reset(&server, "  uSER@EXAMPLE.COM ").assert(200, EMAIL_SENT);
    assert_eq!(server.mails("user@example.com")[0].to, "User@example.com");
    let otp = server.otp("user@example.com");
    confirm(&server, " USER@example.COM", &otp, NEW).assert(200, RESET);
    assert_eq!(server.sign_in("user@example.com", NEW).status, 200);
}

#[test]
fn reset_verifies_a_never_verified_account() {
    let server = TestServer::start();
    assert_eq!(server.sign_up("user@example.com").status, 201);
    let sign_up_otp = server.otp("user@example.com");
    let otp = reset_code(&server, "user@example.com");
    confirm(&server, "user@example.com", &otp, NEW).assert(200, RESET);
    let pair = server.sign_in("user@example.com", NEW);
    assert_eq!(pair.status, 200, "{}", pair.body);
    server
        .sign_in("user@example.com", PASSWORD)
        .assert(401, UNKNOWN_CREDENTIALS);
    // Whose sign-up it was is unknown: no field of it is kept.
    let profile = server.get("users/me/", Some(&pair.text("access")));
    assert_eq!((profile.status, &*profile.text("first_name")), (200, ""));
    // The pending sign-ups are gone, so no other password comes back.
    server
        .post(
            "otp/verify/",
            &json!({"email": "user@example.com", "otp": sign_up_otp}),
        )
        .assert(400, INVALID_OTP);
    server.sign_up("user@example.com").assert(400, EMAIL_TAKEN);
}

#[test]
fn reset_during_an_address_change_uses_the_confirmed_address() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    server.patch("users/me/", &user, &json!({"email": "new@example.com"}));
    let otp = reset_code(&server, "user@example.com");
    confirm(&server, "new@example.com", &otp, NEW).assert(400, INVALID_OTP);
    confirm(&server, "user@example.com", &otp, NEW).assert(200, RESET);
    // The reset drops the pending address.
    assert_eq!(server.sign_in("user@example.com", NEW).status, 200);
    server
        .sign_in("new@example.com", NEW)
        .assert(401, UNKNOWN_CREDENTIALS);
}

#[test]
fn confirmed_change_ends_reset_codes_of_the_former_address() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    server.patch("users/me/", &user, &json!({"email": "new@example.com"}));
    let otp = reset_code(&server, "user@example.com");
    let body = json!({"email": "new@example.com", "otp": server.otp("new@example.com")});
    let confirmed = server.api("POST", "otp/verify/", Some(&user.access), &body);
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    for email in ["user@example.com", "new@example.com"] {
        confirm(&server, email, &otp, NEW).assert(400, INVALID_OTP);
    }
}

#[test]
fn password_change_drops_a_pending_address() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    server.patch("users/me/", &user, &json!({"email": "new@example.com"}));
    let otp = server.otp("new@example.com");
    let change = json!({
        "current_password": PASSWORD, "password": NEW, "confirm_password": NEW,
    });
    let answer = server.api("POST", "password/change/", Some(&user.access), &change);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let pair = server.sign_in("user@example.com", NEW);
    let body = json!({"email": "new@example.com", "otp": otp});
    let confirmed = server.api("POST", "otp/verify/", Some(&pair.text("access")), &body);
    confirmed.assert(400, INVALID_OTP);
    let profile = server.get("users/me/", Some(&pair.text("access")));
    assert_eq!(profile.text("email"), "user@example.com");
}

#[test]
fn invalid_codes_get_the_same_response() {
    let server = TestServer::start();
    server.user("user@example.com");
    server.user("other@example.com");
    server.sign_up("waiting@example.com");
    let sign_up_otp = server.otp("waiting@example.com");
    let others = reset_code(&server, "other@example.com");
    let replaced = reset_code(&server, "user@example.com");
    let otp = reset_code(&server, "user@example.com");
    for (email, code) in [
        ("user@example.com", wrong_code(&server, "user@example.com")),
        ("user@example.com", replaced),
        ("user@example.com", "12345".to_owned()),
        ("user@example.com", "no code".to_owned()),
        ("nobody@example.com", otp.clone()),
        ("waiting@example.com", sign_up_otp),
    ] {
        confirm(&server, email, &code, NEW).assert(400, INVALID_OTP);
    }
    if others != otp {
        confirm(&server, "other@example.com", &otp, NEW).assert(400, INVALID_OTP);
    }
    confirm(&server, "user@example.com", &otp, NEW).assert(200, RESET);
    // Used up.
    confirm(&server, "user@example.com", &otp, "third-Passw0rd").assert(400, INVALID_OTP);
    assert_eq!(server.sign_in("user@example.com", NEW).status, 200);
    confirm(&server, "other@example.com", &others, NEW).assert(200, RESET);
}

#[test]
fn code_is_valid_for_its_purpose_only() {
    let server = TestServer::start();
    server.sign_up("user@example.com");
    let sign_up_otp = server.otp("user@example.com");
    let otp = loop {
        // Two codes for different purposes may have the same digits.
        let otp = reset_code(&server, "user@example.com");
        if otp != sign_up_otp {
            break otp;
        }
    };
    confirm(&server, "user@example.com", &sign_up_otp, NEW).assert(400, INVALID_OTP);
    server
        .post(
            "otp/verify/",
            &json!({"email": "user@example.com", "otp": otp}),
        )
        .assert(400, INVALID_OTP);
    confirm(&server, "user@example.com", &otp, NEW).assert(200, RESET);

    let user = sign_in_again(
        &server,
        &User {
            id: 1,
            email: "user@example.com".to_owned(),
            access: String::new(),
            refresh: String::new(),
        },
        NEW,
    );
    server.patch("users/me/", &user, &json!({"email": "new@example.com"}));
    let change_otp = server.otp("new@example.com");
    confirm(&server, "new@example.com", &change_otp, PASSWORD).assert(400, INVALID_OTP);
    assert_eq!(server.sign_in("user@example.com", NEW).status, 200);
}

#[test]
fn code_expires_after_ten_minutes() {
    let server = TestServer::start();
    server.user("user@example.com");
    let otp = reset_code(&server, "user@example.com");
    server.advance_seconds(599);
    confirm(&server, "user@example.com", &otp, NEW).assert(200, RESET);
    let otp = reset_code(&server, "user@example.com");
    server.advance_seconds(600);
    confirm(&server, "user@example.com", &otp, PASSWORD).assert(400, INVALID_OTP);
    assert_eq!(server.sign_in("user@example.com", NEW).status, 200);
}

#[test]
fn code_works_once_under_concurrency() {
    let server = TestServer::start();
    server.user("user@example.com");
    let otp = reset_code(&server, "user@example.com");
    let passwords: Vec<String> = (0..8).map(|n| format!("another-Passw0rd-{n}")).collect();
    let answers = at_once(passwords.len(), |n| {
        confirm(&server, "user@example.com", &otp, &passwords[n])
    });
    let right: Vec<usize> = (0..answers.len())
        .filter(|n| answers[*n].status == 200)
        .collect();
    assert_eq!(right.len(), 1, "{answers:?}");
    for (n, password) in passwords.iter().enumerate() {
        if n == right[0] {
            answers[n].assert(200, RESET);
            assert_eq!(server.sign_in("user@example.com", password).status, 200);
        } else {
            answers[n].assert(400, INVALID_OTP);
            server
                .sign_in("user@example.com", password)
                .assert(401, UNKNOWN_CREDENTIALS);
        }
    }
}

#[test]
fn wrong_tries_are_counted_by_network_and_code() {
    let server = TestServer::start_behind_proxy();
    server.user("user@example.com");
    let otp = reset_code(&server, "user@example.com");
    let wrong = wrong_code(&server, "user@example.com");
    for _ in 0..5 {
        confirm_from(&server, "192.0.2.1", "user@example.com", &wrong).assert(400, INVALID_OTP);
    }
    // Dead for that network and no other; that it tries on costs nobody anything.
    for _ in 0..25 {
        confirm_from(&server, "192.0.2.1", "user@example.com", &otp).assert(400, INVALID_OTP);
    }
    confirm_from(&server, "192.0.2.2", "user@example.com", &otp).assert(200, RESET);

    let otp = reset_code(&server, "user@example.com");
    let wrong = wrong_code(&server, "user@example.com");
    for n in 0..25 {
        confirm_from(
            &server,
            &format!("198.51.100.{n}"),
            "user@example.com",
            &wrong,
        )
        .assert(400, INVALID_OTP);
    }
    confirm_from(&server, "192.0.2.2", "user@example.com", &otp).assert(400, INVALID_OTP);
}

#[test]
fn four_wrong_tries_are_forgiven() {
    let server = TestServer::start();
    server.user("user@example.com");
    let otp = reset_code(&server, "user@example.com");
    let wrong = wrong_code(&server, "user@example.com");
    for _ in 0..4 {
        confirm(&server, "user@example.com", &wrong, NEW).assert(400, INVALID_OTP);
    }
    confirm(&server, "user@example.com", &otp, NEW).assert(200, RESET);
}

#[test]
fn refused_password_uses_up_neither_code_nor_try() {
    let server = TestServer::start();
    server.user("user@example.com");
    let otp = reset_code(&server, "user@example.com");
    for _ in 0..6 {
        confirm(&server, "user@example.com", &otp, "short").assert(
            400,
            r#"{"password":["This password is too short. It must contain at least 8 characters."]}"#,
        );
        server
            .post(
                "password/reset/confirm/",
                &json!({"email": "user@example.com", "otp": otp, "password": NEW, "confirm_password": PASSWORD}),
            )
            .assert(
                400,
                r#"{"confirm_password":["The two password fields didn't match."]}"#,
            );
    }
    confirm(&server, "user@example.com", &otp, NEW).assert(200, RESET);
}

#[test]
fn similarity_errors_need_the_code() {
    let server = TestServer::start();
    server.post(
        "users/",
        &sign_up_with(
            "user@example.com",
            &json!({"first_name": "Maximiliane", "last_name": "Featherstone"}),
        ),
    );
    assert_eq!(server.confirm("user@example.com").status, 200);
    let otp = reset_code(&server, "user@example.com");
    let wrong = wrong_code(&server, "user@example.com");
    for (password, attribute) in [
        ("maximiliane1", "first name"),
        ("featherstone1", "last name"),
    ] {
        confirm(&server, "user@example.com", &wrong, password).assert(400, INVALID_OTP);
        for _ in 0..6 {
            confirm(&server, "user@example.com", &otp, password).assert(
                400,
                &format!(r#"{{"password":["The password is too similar to the {attribute}."]}}"#),
            );
        }
    }
    // The address was in the request, so the answer can name it at once.
    for otp in [&wrong, &otp] {
        confirm(&server, "user@example.com", otp, "user@example.com").assert(
            400,
            r#"{"password":["The password is too similar to the email."]}"#,
        );
    }
    confirm(&server, "user@example.com", &otp, NEW).assert(200, RESET);
}

#[test]
fn one_mail_a_minute_and_four_an_hour_for_one_network() {
    let server = TestServer::start_with_mail_limits();
    server.user("user@example.com");
    // The mail of the sign-up a moment ago was for another purpose.
    let otp = reset_code(&server, "user@example.com");
    reset(&server, "user@example.com").assert(200, EMAIL_SENT);
    server.advance_seconds(59);
    reset(&server, "user@example.com").assert(200, EMAIL_SENT);
    assert_eq!(codes_sent(&server, "user@example.com"), 2);
    confirm(&server, "user@example.com", &otp, NEW).assert(200, RESET);
    server.advance_seconds(1);
    let mut otp = String::new();
    for _ in 1..4 {
        otp = reset_code(&server, "user@example.com");
        server.advance_seconds(60);
    }
    for _ in 0..3 {
        reset(&server, "user@example.com").assert(200, EMAIL_SENT);
    }
    assert_eq!(codes_sent(&server, "user@example.com"), 5);
    confirm(&server, "user@example.com", &otp, PASSWORD).assert(200, RESET);
    // An hour after the first of them there is room for one more.
    server.advance_seconds(3600 - 60 * 4);
    reset_code(&server, "user@example.com");
}

#[test]
fn concurrent_requests_send_one_mail() {
    let server = TestServer::start_with_mail_limits();
    server.user("user@example.com");
    for answer in at_once(8, |_| reset(&server, "user@example.com")) {
        answer.assert(200, EMAIL_SENT);
    }
    assert_eq!(codes_sent(&server, "user@example.com"), 2);
}

#[test]
fn deactivated_account_cannot_be_reset() {
    let server = TestServer::start();
    server.user("user@example.com");
    let otp = reset_code(&server, "user@example.com");
    server.db_execute("UPDATE users SET is_active = FALSE");
    confirm(&server, "user@example.com", &otp, NEW).assert(400, INVALID_OTP);
    reset(&server, "user@example.com").assert(200, EMAIL_SENT);
    assert_eq!(codes_sent(&server, "user@example.com"), 2);
    server.db_execute("UPDATE users SET is_active = TRUE");
    assert_eq!(server.sign_in("user@example.com", PASSWORD).status, 200);
}

#[test]
fn reset_code_survives_a_restart() {
    let mut server = TestServer::start();
    server.user("user@example.com");
    let otp = reset_code(&server, "user@example.com");
    server.restart();
    confirm(&server, "user@example.com", &otp, NEW).assert(200, RESET);
    server.restart();
    assert_eq!(server.sign_in("user@example.com", NEW).status, 200);
    confirm(&server, "user@example.com", &otp, PASSWORD).assert(400, INVALID_OTP);
}

#[test]
fn invalid_fields_of_a_reset_request_are_reported() {
    let server = TestServer::start();
    for (body, expected) in [
        (json!({}), json!({"email": [REQUIRED]})),
        (
            json!({"email": null}),
            json!({"email": ["This field may not be null."]}),
        ),
        (
            json!({"email": " "}),
            json!({"email": ["This field may not be blank."]}),
        ),
        (
            json!({"email": "no address"}),
            json!({"email": ["Enter a valid email address."]}),
        ),
        (
            json!({"email": true}),
            json!({"email": ["Enter a valid email address."]}),
        ),
    ] {
        let answer = server.post("password/reset/", &body);
        assert_eq!((answer.status, answer.json()), (400, expected), "{body}");
    }
}

#[test]
fn invalid_fields_of_a_reset_are_all_reported() {
    let server = TestServer::start();
    for (body, expected) in [
        (
            json!({}),
            json!({"email": [REQUIRED], "otp": [REQUIRED], "password": [REQUIRED], "confirm_password": [REQUIRED]}),
        ),
        (
            json!({"email": "x", "otp": null, "password": "", "confirm_password": []}),
            json!({
                "email": ["Enter a valid email address."],
                "otp": ["This field may not be null."],
                "password": ["This field may not be blank."],
                "confirm_password": ["Not a valid string."],
            }),
        ),
        (
            json!({"email": "user@example.com", "otp": " ", "password": "1234567", "confirm_password": "other"}),
            json!({
                "otp": ["This field may not be blank."],
                "password": [
                    "This password is too short. It must contain at least 8 characters.",
                    "This password is too common.",
                    "This password is entirely numeric.",
                ],
            }),
        ),
        (
            json!({"email": "user@example.com", "otp": "123456", "password": "a-B".repeat(43), "confirm_password": "a-B".repeat(43)}),
            json!({"password": ["Ensure this field has no more than 128 characters."]}),
        ),
    ] {
        let answer = server.post("password/reset/confirm/", &body);
        assert_eq!((answer.status, answer.json()), (400, expected), "{body}");
    }
}

#[test]
fn a_change_ends_every_other_session() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let others = [
        sign_in_again(&server, &user, PASSWORD),
        sign_in_again(&server, &user, PASSWORD),
    ];
    let stranger = server.user("stranger@example.com");
    let changed = assert_changed(&user, &change(&server, &user, PASSWORD, NEW));
    // A new session begins; every one before it ends, the asking one too.
    assert_eq!(server.get("users/me/", Some(&changed.access)).status, 200);
    let refreshed = server.post("token/refresh/", &json!({"refresh": changed.refresh}));
    assert_eq!(refreshed.status, 200, "{}", refreshed.body);
    assert_eq!(
        server.db_number("SELECT count(*) FROM sessions WHERE user_id = 1"),
        1
    );
    for other in others.iter().chain([&user]) {
        server.assert_ended(other);
    }
    assert_eq!(server.get("users/me/", Some(&stranger.access)).status, 200);
    server
        .sign_in(&user.email, PASSWORD)
        .assert(401, UNKNOWN_CREDENTIALS);
    assert_eq!(server.sign_in(&user.email, NEW).status, 200);
    assert_eq!(codes_sent(&server, &user.email), 1, "of the sign-up");
}

#[test]
fn change_needs_a_token() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let body = json!({"current_password": PASSWORD, "password": NEW, "confirm_password": NEW});
    server.post("password/change/", &body).assert(401, NO_TOKEN);
    for token in ["nonsense", &user.refresh] {
        let answer = server.api("POST", "password/change/", Some(token), &body);
        answer.assert(401, BAD_TOKEN);
        assert_eq!(
            answer.header("www-authenticate"),
            Some(r#"Bearer realm="api""#)
        );
    }
    assert_eq!(server.sign_in(&user.email, PASSWORD).status, 200);
}

#[test]
fn change_needs_the_current_password() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    server.user("other@example.com");
    for current in [NEW, "SECUREPASSWORD123", " securepassword123", "x"] {
        change(&server, &user, current, NEW).assert(400, WRONG);
    }
    assert_eq!(server.get("users/me/", Some(&user.access)).status, 200);
    assert_eq!(server.sign_in(&user.email, PASSWORD).status, 200);
    server
        .sign_in(&user.email, NEW)
        .assert(401, UNKNOWN_CREDENTIALS);
}

#[test]
fn staff_changes_no_password_but_its_own() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let staff = server.staff("staff@example.com");
    let changed = server.patch(
        &user.path(),
        &staff,
        &json!({"password": NEW, "confirm_password": NEW, "current_password": PASSWORD}),
    );
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(server.sign_in(&user.email, PASSWORD).status, 200);
    assert_eq!(server.sign_in(&staff.email, PASSWORD).status, 200);
    server
        .sign_in(&user.email, NEW)
        .assert(401, UNKNOWN_CREDENTIALS);
    assert_changed(&staff, &change(&server, &staff, PASSWORD, NEW));
    assert_eq!(server.sign_in(&staff.email, NEW).status, 200);
}

#[test]
fn invalid_fields_of_a_change_are_all_reported() {
    let server = TestServer::start();
    server.post(
        "users/",
        &sign_up_with("user@example.com", &json!({"first_name": "Maximiliane"})),
    );
    let access = server.confirm("user@example.com").text("access");
    for (body, expected) in [
        (
            json!({}),
            json!({"current_password": [REQUIRED], "password": [REQUIRED], "confirm_password": [REQUIRED]}),
        ),
        (
            json!({"current_password": null, "password": null, "confirm_password": ""}),
            json!({
                "current_password": ["This field may not be null."],
                "password": ["This field may not be null."],
                "confirm_password": ["This field may not be blank."],
            }),
        ),
        (
            json!({"current_password": "wrong", "password": "8250", "confirm_password": "other"}),
            json!({
                "current_password": ["Invalid password."],
                "password": [
                    "This password is too short. It must contain at least 8 characters.",
                    "This password is entirely numeric.",
                ],
            }),
        ),
        (
            json!({"current_password": PASSWORD, "password": "maximiliane1", "confirm_password": "maximiliane1"}),
            json!({"password": ["The password is too similar to the first name."]}),
        ),
        (
            json!({"current_password": PASSWORD, "password": NEW, "confirm_password": "another-passw0rd"}),
            json!({"confirm_password": ["The two password fields didn't match."]}),
        ),
        (
            json!({"current_password": PASSWORD, "password": NEW, "confirm_password": format!("{NEW} ")}),
            json!({"confirm_password": ["The two password fields didn't match."]}),
        ),
        (
            // Said once every single field is right.
            json!({"current_password": "wrong", "password": NEW, "confirm_password": "other"}),
            json!({"current_password": ["Invalid password."]}),
        ),
    ] {
        let answer = server.api("POST", "password/change/", Some(&access), &body);
        assert_eq!((answer.status, answer.json()), (400, expected), "{body}");
    }
    assert_eq!(server.sign_in("user@example.com", PASSWORD).status, 200);
}

#[test]
fn passwords_are_not_trimmed() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let blank = "  another-Passw0rd\t";
    assert_changed(&user, &change(&server, &user, PASSWORD, blank));
    server
        .sign_in(&user.email, NEW)
        .assert(401, UNKNOWN_CREDENTIALS);
    assert_eq!(server.sign_in(&user.email, blank).status, 200);
    let otp = reset_code(&server, &user.email);
    let other = " securepassword123 ";
    confirm(&server, &user.email, &otp, other).assert(200, RESET);
    server
        .sign_in(&user.email, PASSWORD)
        .assert(401, UNKNOWN_CREDENTIALS);
    assert_eq!(server.sign_in(&user.email, other).status, 200);
}

#[test]
fn sign_in_racing_a_change_leaves_no_old_session() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let answers = at_once(9, |n| {
        if n == 0 {
            change(&server, &user, PASSWORD, NEW)
        } else {
            server.sign_in(&user.email, PASSWORD)
        }
    });
    let changed = assert_changed(&user, &answers[0]);
    for answer in &answers[1..] {
        if answer.status == 200 {
            server.assert_ended(&User {
                access: answer.text("access"),
                refresh: answer.text("refresh"),
                ..user.clone()
            });
        } else {
            answer.assert(401, UNKNOWN_CREDENTIALS);
        }
    }
    let sessions = server.get("sessions/", Some(&changed.access));
    assert_eq!(sessions.json().as_array().unwrap().len(), 1);
}

#[test]
fn one_of_concurrent_changes_succeeds() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let sessions: Vec<User> = (0..6)
        .map(|_| sign_in_again(&server, &user, PASSWORD))
        .collect();
    let passwords: Vec<String> = (0..6).map(|n| format!("another-Passw0rd-{n}")).collect();
    let answers = at_once(6, |n| {
        change(&server, &sessions[n], PASSWORD, &passwords[n])
    });
    let winner = answers.iter().position(|a| a.status == 200).unwrap();
    for (n, answer) in answers.iter().enumerate() {
        if n == winner {
            let changed = assert_changed(&sessions[n], answer);
            assert_eq!(server.sign_in(&user.email, &passwords[n]).status, 200);
            assert_eq!(server.get("users/me/", Some(&changed.access)).status, 200);
        } else {
            // Too late to know the current password, or to have a session at all.
            match answer.status {
                400 => answer.assert(400, WRONG),
                _ => answer.assert(401, BAD_TOKEN),
            }
            server
                .sign_in(&user.email, &passwords[n])
                .assert(401, UNKNOWN_CREDENTIALS);
            server.assert_ended(&sessions[n]);
        }
    }
}

#[test]
fn breached_password_is_refused() {
    // The SHA-1 of "river-Boat-2291" between two others, as the list that is given out has them.
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("pwned.txt");
    let leaked = format!(
        "0000000000000000000000000000000000000001:7\r\n{SHA1_OF_LEAKED}:3\r\nFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF:1\r\n"
    );
    std::fs::write(&list, leaked).unwrap();
    let server = TestServer::start_with(|config| {
        config.passwords.breached_list = Some(list.clone());
    });
    let body = |password: &str| json!({"email": "user@example.com", "password": password, "confirm_password": password});
    server
        .post("users/", &body(LEAKED))
        .assert(400, r#"{"password":["This password is too common."]}"#);
    assert_eq!(server.post("users/", &body("river-Boat-2292")).status, 201);
}

const LEAKED: &str = "river-Boat-2291";
const SHA1_OF_LEAKED: &str = "4E1FA2DCB7A33C7966CF3927CEE34EC8CE5E5B31";

#[test]
fn strangers_cannot_use_up_the_mails_of_an_owner() {
    let server = TestServer::start_with(|config| {
        config.server.trusted_proxies = vec![IpNetwork::parse("127.0.0.1").unwrap()];
        config.otp.resend_seconds = 60;
        config.otp.mails_per_hour = 10;
        config.rate_limits.enabled = false;
    });
    let email = "user@example.com";
    server.user(email);
    let sign_in = json!({"email": email, "password": PASSWORD});
    assert_eq!(
        server.post_from("198.51.100.1", "token/", &sign_in).status,
        200
    );
    let sent_before = codes_sent(&server, email);
    let request = |client: &str| {
        server
            .post_from(client, "password/reset/", &json!({"email": email}))
            .assert(200, EMAIL_SENT);
        server.advance_seconds(60);
        codes_sent(&server, email) - sent_before
    };
    // One network gets four, another the next four, and then one more for each new one.
    for _ in 0..10 {
        request("203.0.113.1");
    }
    assert_eq!(request("203.0.113.1"), 4);
    for _ in 0..10 {
        request("203.0.113.2");
    }
    assert_eq!(request("203.0.113.2"), 8);
    assert_eq!(request("2001:db8:1:1::1"), 9);
    assert_eq!(request("2001:db8:1:2::1"), 9, "the same /48");
    // The owner's network has its reserve, and the code works.
    assert_eq!(request("198.51.100.1"), 10);
    assert_eq!(request("198.51.100.1"), 11);
    let otp = server.otp(email);
    confirm_from(&server, "198.51.100.1", email, &otp).assert(200, RESET);
}

/// The token in the link of the newest mail to an address.
fn link_token(server: &TestServer, email: &str) -> String {
    let link = server.mails(email)[0].link.clone().unwrap();
    link.strip_prefix("https://app.example.com/reset#")
        .unwrap()
        .to_owned()
}

fn confirm_by_link(server: &TestServer, token: &str, password: &str) -> Answer {
    let body = json!({"token": token, "password": password, "confirm_password": password});
    server.post("password/reset/confirm/", &body)
}

const INVALID_TOKEN: &str = r#"{"token":["Invalid or expired token."]}"#;

#[test]
fn link_resets_the_password_however_many_codes_were_wrong() {
    let server = TestServer::start_with(|config| {
        config.mail.reset_url = "https://app.example.com/reset#{token}".to_owned();
    });
    let email = "user@example.com";
    let user = server.user(email);
    server
        .post("password/reset/", &json!({"email": email}))
        .assert(200, EMAIL_SENT);
    let first = link_token(&server, email);
    assert_eq!(first.len(), 32, "128 bits in hexadecimal digits");
    let code = server.otp(email);
    for _ in 0..30 {
        let wrong = wrong_code(&server, email);
        confirm(&server, email, &wrong, NEW).assert(400, INVALID_OTP);
    }
    confirm(&server, email, &code, NEW).assert(400, INVALID_OTP);
    // A later mail replaces the code and not the link.
    server
        .post("password/reset/", &json!({"email": email}))
        .assert(200, EMAIL_SENT);
    let second = link_token(&server, email);
    assert_ne!(first, second);
    // A password that the rules refuse does not use the link up.
    assert_eq!(confirm_by_link(&server, &first, "12345678").status, 400);
    confirm_by_link(&server, &first, NEW).assert(200, RESET);
    server.assert_ended(&user);
    assert_eq!(server.sign_in(email, NEW).status, 200);
    // Success ends all of them.
    for token in [&*first, &*second, "nonsense", ""] {
        let answer = confirm_by_link(&server, token, PASSWORD);
        if token.is_empty() {
            assert_eq!(answer.status, 400, "{}", answer.body);
        } else {
            answer.assert(400, INVALID_TOKEN);
        }
    }
}

#[test]
fn reset_link_expires_and_ends_with_a_password_change() {
    let server = TestServer::start_with(|config| {
        config.mail.reset_url = "https://app.example.com/reset#{token}".to_owned();
    });
    let email = "user@example.com";
    let user = server.user(email);
    server
        .post("password/reset/", &json!({"email": email}))
        .assert(200, EMAIL_SENT);
    let expired = link_token(&server, email);
    server.advance_seconds(600);
    confirm_by_link(&server, &expired, NEW).assert(400, INVALID_TOKEN);
    server
        .post("password/reset/", &json!({"email": email}))
        .assert(200, EMAIL_SENT);
    let replaced = link_token(&server, email);
    server.advance_seconds(1);
    let user = sign_in_again(&server, &user, PASSWORD);
    assert_changed(&user, &change(&server, &user, PASSWORD, NEW));
    confirm_by_link(&server, &replaced, PASSWORD).assert(400, INVALID_TOKEN);
}
