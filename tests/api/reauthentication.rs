//! Recent authentication: `auth_time` and `amr` of tokens, and `reauthenticate/`.

use std::time::Duration;

use accounts_server::config::EmailChangeRule;
use serde_json::{Value, json};

use crate::support::{Answer, PASSWORD, TestServer, User, claims};

const REQUIRED: &str = r#"{"detail":"Please sign in again to do this.","code":"reauthentication_required","methods":["password"]}"#;

fn auth_time(token: &str) -> i64 {
    claims(token)["auth_time"].as_i64().unwrap()
}

fn reauthenticate(server: &TestServer, user: &User, body: &Value) -> Answer {
    server.api("POST", "reauthenticate/", Some(&user.access), body)
}

fn refresh(server: &TestServer, user: &User) -> User {
    let pair = server.post("token/refresh/", &json!({"refresh": user.refresh}));
    assert_eq!(pair.status, 200, "{}", pair.body);
    User {
        access: pair.text("access"),
        refresh: pair.text("refresh"),
        ..user.clone()
    }
}

/// A server on which a change of one's own address wants recent authentication.
fn strict() -> TestServer {
    TestServer::start_with(|config| config.accounts.email_change = EmailChangeRule::Recent)
}

fn change_email(server: &TestServer, user: &User, email: &str) -> Answer {
    server.patch("users/me/", user, &json!({"email": email}))
}

#[test]
fn password_gives_an_access_token_of_the_same_session() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let before = claims(&user.access);
    server.advance_seconds(120);
    let answer = reauthenticate(&server, &user, &json!({"password": PASSWORD}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let keys: Vec<String> = answer.json().as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["access"]);
    let after = claims(&answer.text("access"));
    assert_eq!(after["sid"], before["sid"]);
    assert_ne!(after["jti"], before["jti"]);
    assert_eq!(
        auth_time(&answer.text("access")),
        auth_time(&user.access) + 120
    );
    assert_eq!(after["amr"], json!(["pwd"]));
    // The refresh token goes on, and its next pair knows the new time.
    let next = refresh(&server, &user);
    assert_eq!(
        auth_time(&next.access),
        after["auth_time"].as_i64().unwrap()
    );
    assert_eq!(claims(&next.refresh)["auth_time"], Value::Null);
}

#[test]
fn wrong_or_absent_password_changes_nothing() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    server.advance_seconds(60);
    reauthenticate(&server, &user, &json!({"password": "wrong"}))
        .assert(400, r#"{"password":["Invalid password."]}"#);
    reauthenticate(&server, &user, &json!({}))
        .assert(400, r#"{"password":["This field is required."]}"#);
    server
        .post("reauthenticate/", &json!({"password": PASSWORD}))
        .assert(
            401,
            r#"{"detail":"Authentication credentials were not provided."}"#,
        );
    let next = refresh(&server, &user);
    assert_eq!(auth_time(&next.access), auth_time(&user.access));
}

#[test]
fn wrong_passwords_are_limited_as_sign_ins() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = true);
    let user = server.user("user@example.com");
    for _ in 0..5 {
        let answer = reauthenticate(&server, &user, &json!({"password": "wrong"}));
        assert_eq!(answer.status, 400, "{}", answer.body);
    }
    reauthenticate(&server, &user, &json!({"password": "wrong"})).assert_throttled(1);
    reauthenticate(&server, &user, &json!({"password": PASSWORD})).assert_throttled(1);
    server.advance_seconds(1);
    let right = reauthenticate(&server, &user, &json!({"password": PASSWORD}));
    assert_eq!(right.status, 200, "{}", right.body);
    // A success forgets the failures of its session.
    for _ in 0..5 {
        let answer = reauthenticate(&server, &user, &json!({"password": "wrong"}));
        assert_eq!(answer.status, 400, "{}", answer.body);
    }
}

#[test]
fn sessions_say_when_and_how_their_owner_authenticated() {
    let server = TestServer::start();
    server.sign_up("user@example.com");
    let confirmed = server.confirm("user@example.com");
    let access = confirmed.text("access");
    assert_eq!(claims(&access)["amr"], json!(["otp"]));
    server.advance_seconds(60);
    let signed_in = server.sign_in("user@example.com", PASSWORD);
    assert_eq!(claims(&signed_in.text("access"))["amr"], json!(["pwd"]));
    let sessions = server.get("sessions/", Some(&access)).json();
    let keys: Vec<&String> = sessions[0].as_object().unwrap().keys().collect();
    assert_eq!(
        keys[keys.len() - 3..],
        ["authenticated_at", "amr", "client_name"]
    );
    for (index, amr) in [(0, "pwd"), (1, "otp")] {
        assert_eq!(sessions[index]["amr"], json!([amr]));
        assert_eq!(
            sessions[index]["authenticated_at"],
            sessions[index]["created_at"]
        );
    }
}

#[test]
fn refresh_keeps_the_time_of_authentication() {
    let server = strict();
    let user = server.user("user@example.com");
    server.advance(Duration::from_mins(9));
    let next = refresh(&server, &user);
    assert_eq!(auth_time(&next.access), auth_time(&user.access));
    server.advance(Duration::from_mins(1));
    change_email(&server, &next, "new@example.com").assert(403, REQUIRED);
}

#[test]
fn address_change_wants_recent_authentication_by_setting() {
    let server = strict();
    let user = server.user("user@example.com");
    server.advance(Duration::from_mins(10));
    let user = refresh(&server, &user);
    change_email(&server, &user, "new@example.com").assert(403, REQUIRED);
    assert!(server.mails("new@example.com").is_empty());
    // A request that leaves the address as it is needs nothing.
    let unchanged = json!({"email": "user@example.com", "first_name": "Ann"});
    assert_eq!(server.patch("users/me/", &user, &unchanged).status, 200);
    let answer = reauthenticate(&server, &user, &json!({"password": PASSWORD}));
    let recent = User {
        access: answer.text("access"),
        ..user
    };
    let changed = change_email(&server, &recent, "new@example.com");
    assert_eq!(changed.status, 200, "{}", changed.body);
}

#[test]
fn address_change_needs_a_token_alone_by_default() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    server.advance(Duration::from_mins(10));
    let user = refresh(&server, &user);
    assert_eq!(change_email(&server, &user, "new@example.com").status, 200);
}

#[test]
fn older_tokens_gain_nothing_by_reauthentication() {
    let server = strict();
    let user = server.user("user@example.com");
    server.advance(Duration::from_mins(10));
    let thief = refresh(&server, &user);
    let answer = reauthenticate(&server, &thief, &json!({"password": PASSWORD}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    change_email(&server, &thief, "thief@example.com").assert(403, REQUIRED);
}

fn request_otp(server: &TestServer, user: &User) -> Answer {
    server.api(
        "POST",
        "reauthenticate/otp/",
        Some(&user.access),
        &json!({}),
    )
}

/// A user without a password.
fn passwordless(server: &TestServer) -> User {
    let user = server.user("user@example.com");
    server.db_execute("UPDATE users SET password_hash = '!'");
    user
}

#[test]
fn account_without_a_password_authenticates_by_a_mailed_code() {
    let server = strict();
    let user = passwordless(&server);
    server.advance(Duration::from_mins(10));
    let user = refresh(&server, &user);
    change_email(&server, &user, "new@example.com")
        .assert(403, &REQUIRED.replace("password\"]", "otp\"]"));
    request_otp(&server, &user).assert(200, r#"{"msg":"Email sent successfully!"}"#);
    reauthenticate(&server, &user, &json!({"password": PASSWORD}))
        .assert(400, r#"{"otp":["This field is required."]}"#);
    let otp = server.otp("user@example.com");
    let again = reauthenticate(&server, &user, &json!({"otp": otp}));
    assert_eq!(again.status, 200, "{}", again.body);
    assert_eq!(claims(&again.text("access"))["amr"], json!(["otp"]));
    // It works once.
    reauthenticate(&server, &user, &json!({"otp": otp}))
        .assert(400, r#"{"otp":["Invalid or expired OTP."]}"#);
    let recent = User {
        access: again.text("access"),
        ..user
    };
    assert_eq!(
        change_email(&server, &recent, "new@example.com").status,
        200
    );
}

#[test]
fn code_is_for_accounts_without_a_password_only() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    request_otp(&server, &user).assert(400, r#"{"password":["This field is required."]}"#);
    server.post("reauthenticate/otp/", &json!({})).assert(
        401,
        r#"{"detail":"Authentication credentials were not provided."}"#,
    );
}

#[test]
fn code_is_valid_for_this_purpose_and_this_account_only() {
    let server = TestServer::start();
    let user = passwordless(&server);
    let other = server.user("other@example.com");
    server.db_execute("UPDATE users SET password_hash = '!'");
    request_otp(&server, &user);
    let otp = server.otp("user@example.com");
    reauthenticate(&server, &other, &json!({"otp": otp}))
        .assert(400, r#"{"otp":["Invalid or expired OTP."]}"#);
    let reset = json!({"email": "user@example.com", "otp": otp, "password": "betterpassword456",
        "confirm_password": "betterpassword456"});
    server
        .post("password/reset/confirm/", &reset)
        .assert(400, r#"{"otp":["Invalid or expired OTP."]}"#);
    server.advance(Duration::from_mins(10));
    let user = refresh(&server, &user);
    reauthenticate(&server, &user, &json!({"otp": otp}))
        .assert(400, r#"{"otp":["Invalid or expired OTP."]}"#);
}

#[test]
fn wrong_codes_and_mails_are_limited() {
    let server = TestServer::start_with_mail_limits();
    let user = passwordless(&server);
    server.advance_seconds(60);
    assert_eq!(request_otp(&server, &user).status, 200);
    request_otp(&server, &user).assert_throttled(60);
    let otp = server.otp("user@example.com");
    let wrong = if otp == "000000" { "000001" } else { "000000" };
    for _ in 0..5 {
        let answer = reauthenticate(&server, &user, &json!({"otp": wrong}));
        assert_eq!(answer.status, 400, "{}", answer.body);
    }
    // The code is dead for this network.
    reauthenticate(&server, &user, &json!({"otp": otp}))
        .assert(400, r#"{"otp":["Invalid or expired OTP."]}"#);
}

#[test]
fn changed_password_counts_as_authentication() {
    let server = strict();
    let user = server.user("user@example.com");
    server.advance(Duration::from_mins(10));
    let body = json!({"current_password": PASSWORD, "password": "betterpassword456",
        "confirm_password": "betterpassword456"});
    let user = refresh(&server, &user);
    let changed = server.api("POST", "password/change/", Some(&user.access), &body);
    let user = User {
        access: changed.text("access"),
        ..user
    };
    assert_eq!(change_email(&server, &user, "new@example.com").status, 200);
}

#[test]
fn reauthentication_of_an_ended_session_is_refused() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    server.post("token/blacklist/", &json!({"refresh": user.refresh}));
    reauthenticate(&server, &user, &json!({"password": PASSWORD})).assert(
        401,
        r#"{"detail":"Given token not valid for any token type","code":"token_not_valid"}"#,
    );
}
