//! Second factors: authenticator apps, recovery codes, and the second step of a sign-in.

use accounts_server::clock::Clock;
use accounts_server::config::{FactorRequirement, IpNetwork};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use data_encoding::BASE32_NOPAD;
use serde_json::{Value, json};

use crate::authenticator::{self, STEP};
use crate::contract::{BAD_TOKEN, DEAD_TOKEN, FORBIDDEN, NO_TOKEN, NO_USER, UNKNOWN_CREDENTIALS};
use crate::support::{Answer, PASSWORD, TestServer, User, at_once, claims};

const EMAIL: &str = "user@example.com";
const INVALID_CODE: &str = r#"{"code":["Invalid code."]}"#;
const NOT_ENABLED: &str = r#"{"detail":"MFA is not enabled."}"#;
const ALREADY_ENABLED: &str =
    r#"{"detail":"MFA is already enabled. Deactivate it before activating again."}"#;
const SETUP_REQUIRED: &str =
    r#"{"detail":"Set up two-factor authentication first.","code":"mfa_setup_required"}"#;
const RECENT_FACTOR: &str = r#"{"detail":"Please sign in again to do this.","code":"reauthentication_required","methods":["totp","recovery_code"]}"#;

/// An authenticator app.
#[derive(Clone)]
pub struct App {
    secret: Vec<u8>,
    pub recovery_codes: Vec<String>,
}

impl App {
    /// An app that was given a secret in base 32.
    pub fn of(secret: &str) -> Self {
        Self {
            secret: BASE32_NOPAD.decode(secret.as_bytes()).unwrap(),
            recovery_codes: Vec::new(),
        }
    }

    fn code_at(&self, step: i64) -> String {
        authenticator::code(&self.secret, step.unsigned_abs())
    }

    /// The code that the app shows now.
    pub fn code(&self, server: &TestServer) -> String {
        self.code_at(step(server))
    }

    /// The code of the next step, so that none is shown twice.
    fn next_code(&self, server: &TestServer) -> String {
        server.advance_seconds(STEP);
        self.code(server)
    }

    /// A code that is not one of the accepted steps.
    pub fn wrong_code(&self, server: &TestServer) -> String {
        let right: Vec<_> = (-1..=1).map(|n| self.code_at(step(server) + n)).collect();
        let mut codes = (0..).map(|n| format!("{n:06}"));
        codes.find(|code| !right.contains(code)).unwrap()
    }
}

fn step(server: &TestServer) -> i64 {
    server.clock.now().unix_seconds() / 30
}

fn start_totp(server: &TestServer, user: &User) -> Answer {
    server.get("mfa/totp/activate/", Some(&user.access))
}

fn activate(server: &TestServer, user: &User, token: &str, code: &str) -> Answer {
    let body = json!({"activation_token": token, "code": code});
    server.api("POST", "mfa/totp/activate/", Some(&user.access), &body)
}

/// Enrolls an app. The user's tokens are those of a refresh afterwards, which know of the factor.
#[track_caller]
pub fn enroll(server: &TestServer, user: &mut User) -> App {
    let started = start_totp(server, user);
    assert_eq!(started.status, 200, "{}", started.body);
    let mut app = App::of(&started.text("secret"));
    let code = app.code(server);
    let activated = activate(server, user, &started.text("activation_token"), &code);
    assert_eq!(activated.status, 200, "{}", activated.body);
    app.recovery_codes =
        serde_json::from_value(activated.json()["recovery_codes"].clone()).unwrap();
    assert_eq!(app.recovery_codes.len(), 10);
    *user = refreshed(server, user);
    app
}

pub fn refreshed(server: &TestServer, user: &User) -> User {
    let pair = server.post("token/refresh/", &json!({"refresh": user.refresh}));
    assert_eq!(pair.status, 200, "{}", pair.body);
    user.with_pair(&pair)
}

/// The ticket of a sign-in with the password alone.
#[track_caller]
pub fn ticket(server: &TestServer, email: &str) -> String {
    let answer = server.sign_in(email, PASSWORD);
    assert_eq!(answer.status, 401, "{}", answer.body);
    answer.text("ephemeral_token")
}

fn verify(server: &TestServer, ticket: &str, code: &str) -> Answer {
    server.post(
        "mfa/verify/",
        &json!({"ephemeral_token": ticket, "code": code}),
    )
}

/// A sign-in with the code in the same request.
fn sign_in(server: &TestServer, email: &str, code: &str) -> Answer {
    let body = json!({"email": email, "password": PASSWORD, "code": code});
    server.post("token/", &body)
}

fn status(server: &TestServer, user: &User) -> Value {
    let answer = server.get("mfa/status/", Some(&user.access));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

fn reauthenticate(server: &TestServer, user: &User, body: &Value) -> Answer {
    server.api("POST", "reauthenticate/", Some(&user.access), body)
}

fn count(server: &TestServer, kind: &str) -> i64 {
    server.db_number(&format!(
        "SELECT count(*) FROM events WHERE event = '{kind}'"
    ))
}

#[test]
fn enrolment_shows_secret_and_picture() {
    let server = TestServer::start_with(|config| config.branding.name = "My App".into());
    let user = server.user(EMAIL);
    assert_eq!(
        status(&server, &user),
        json!({
            "mfa_enabled": false, "created_at": null, "last_used_at": null, "methods": [],
            "recovery_codes_left": 0, "required": false,
        })
    );
    let started = start_totp(&server, &user);
    let keys: Vec<_> = started
        .json()
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(
        keys,
        ["secret", "totp_url", "qr_code_data_uri", "activation_token"]
    );
    let secret = started.text("secret");
    assert_eq!(BASE32_NOPAD.decode(secret.as_bytes()).unwrap().len(), 20);
    assert_eq!(
        started.text("totp_url"),
        format!(
            "otpauth://totp/My%20App:user%40example%2Ecom?secret={secret}&issuer=My%20App\
             &algorithm=SHA1&digits=6&period=30"
        )
    );
    let picture = started.text("qr_code_data_uri");
    let svg = picture.strip_prefix("data:image/svg+xml;base64,").unwrap();
    assert!(STANDARD.decode(svg).unwrap().starts_with(b"<svg "));
    // Nothing is stored before the first code, and each start has a secret of its own.
    assert_eq!(server.db_number("SELECT count(*) FROM totp_devices"), 0);
    assert_ne!(start_totp(&server, &user).text("secret"), secret);
    assert_eq!(server.sign_in(EMAIL, PASSWORD).status, 200);
}

#[test]
fn first_factor_gives_recovery_codes_and_ends_other_sessions() {
    let server = TestServer::start();
    let mut user = server.user(EMAIL);
    let other = user.with_pair(&server.sign_in(EMAIL, PASSWORD));
    let app = enroll(&server, &mut user);
    for code in &app.recovery_codes {
        let (first, second) = code.split_once('-').unwrap();
        assert_eq!((first.len(), second.len()), (5, 5), "{code}");
    }
    server.assert_ended(&other);
    assert_eq!(server.get("users/me/", Some(&user.access)).status, 200);
    // The sign-up was confirmed by a mailed code, which is an `otp`, too.
    assert_eq!(claims(&user.access)["amr"], json!(["otp", "mfa"]));
    let status = status(&server, &user);
    assert_eq!(status["mfa_enabled"], true);
    assert_eq!(status["created_at"], "2024-12-03T12:00:00Z");
    assert_eq!(status["methods"], json!(["totp", "recovery_code"]));
    assert_eq!(status["recovery_codes_left"], 10);
    start_totp(&server, &user).assert(400, ALREADY_ENABLED);
    activate(&server, &user, "x", "123456").assert(400, ALREADY_ENABLED);
    assert_eq!(count(&server, "totp_activated"), 1);
    // The secret is encrypted, and of recovery codes only hashes are stored.
    let stored = server.db_blob("SELECT secret FROM totp_devices");
    assert!(!stored.windows(20).any(|part| part == app.secret));
    let hash = server.db_blob("SELECT code_hash FROM recovery_codes LIMIT 1");
    assert_eq!(hash.len(), 32);
}

#[test]
fn enrolment_wants_the_right_code_in_time() {
    let server = TestServer::start();
    let user = server.user(EMAIL);
    let stranger = server.user("stranger@example.com");
    let started = start_totp(&server, &user);
    let token = started.text("activation_token");
    let app = App::of(&started.text("secret"));
    activate(&server, &user, &token, &app.wrong_code(&server)).assert(400, INVALID_CODE);
    activate(&server, &user, &token, "abc").assert(400, INVALID_CODE);
    let dead = r#"{"activation_token":["Invalid or expired token."]}"#;
    activate(&server, &user, "forged", &app.code(&server)).assert(400, dead);
    activate(&server, &stranger, &token, &app.code(&server)).assert(400, dead);
    server.api("POST", "mfa/totp/activate/", Some(&user.access), &json!({})).assert(
        400,
        r#"{"activation_token":["This field is required."],"code":["This field is required."]}"#,
    );
    server.advance_seconds(600);
    let code = app.code(&server);
    let user = refreshed(&server, &user);
    // Ten minutes are also the limit of recent authentication.
    let again = reauthenticate(&server, &user, &json!({"password": PASSWORD}));
    let user = User {
        access: again.text("access"),
        ..user
    };
    activate(&server, &user, &token, &code).assert(400, dead);
    assert_eq!(server.db_number("SELECT count(*) FROM totp_devices"), 0);
}

#[test]
fn enrolment_wants_recent_authentication() {
    let server = TestServer::start();
    let user = server.user(EMAIL);
    let token = start_totp(&server, &user).text("activation_token");
    server.advance_seconds(600);
    let user = refreshed(&server, &user);
    let recent = r#"{"detail":"Please sign in again to do this.","code":"reauthentication_required","methods":["password"]}"#;
    start_totp(&server, &user).assert(403, recent);
    activate(&server, &user, &token, "123456").assert(403, recent);
    for (method, path) in [
        ("GET", "mfa/totp/activate/"),
        ("POST", "mfa/totp/activate/"),
        ("POST", "mfa/totp/deactivate/"),
        ("POST", "mfa/recovery-codes/regenerate/"),
        ("GET", "mfa/status/"),
    ] {
        let body = json!({});
        server.api(method, path, None, &body).assert(401, NO_TOKEN);
        server
            .api(method, path, Some("x"), &body)
            .assert(401, BAD_TOKEN);
    }
}

#[test]
fn password_alone_gives_a_ticket() {
    let server = TestServer::start();
    let mut user = server.user(EMAIL);
    let app = enroll(&server, &mut user);
    let sessions = server.db_number("SELECT count(*) FROM sessions");
    let answer = server.sign_in(EMAIL, PASSWORD);
    assert_eq!(answer.status, 401, "{}", answer.body);
    let keys: Vec<_> = answer.json().as_object().unwrap().keys().cloned().collect();
    let expected = [
        "detail",
        "code",
        "mfa_required",
        "ephemeral_token",
        "methods",
    ];
    assert_eq!(keys, expected);
    assert_eq!(
        answer.text("detail"),
        "Two-factor authentication is required."
    );
    assert_eq!(answer.text("code"), "mfa_required");
    assert_eq!(answer.json()["mfa_required"], true);
    assert_eq!(answer.json()["methods"], json!(["totp", "recovery_code"]));
    assert_eq!(server.db_number("SELECT count(*) FROM sessions"), sessions);
    let ticket = answer.text("ephemeral_token");
    assert!(ticket.len() >= 43, "{ticket}");
    let pair = verify(&server, &ticket, &app.next_code(&server));
    assert_eq!(pair.status, 200, "{}", pair.body);
    let user = user.with_pair(&pair);
    assert_eq!(claims(&user.access)["amr"], json!(["pwd", "otp", "mfa"]));
    assert_eq!(server.get("users/me/", Some(&user.access)).status, 200);
    assert_eq!(
        claims(&refreshed(&server, &user).access)["amr"],
        json!(["pwd", "otp", "mfa"])
    );
    // It is used up.
    verify(&server, &ticket, &app.next_code(&server)).assert(401, DEAD_TOKEN);
    // A wrong password tells nobody that there is a factor.
    server
        .sign_in(EMAIL, "wrong password")
        .assert(401, UNKNOWN_CREDENTIALS);
    server
        .sign_in("nobody@example.com", PASSWORD)
        .assert(401, UNKNOWN_CREDENTIALS);
}

#[test]
fn code_beside_the_password_signs_in_at_once() {
    let server = TestServer::start();
    let mut user = server.user(EMAIL);
    let other = server.user("other@example.com");
    let app = enroll(&server, &mut user);
    let pair = sign_in(&server, EMAIL, &app.next_code(&server));
    assert_eq!(pair.status, 200, "{}", pair.body);
    assert_eq!(
        claims(&pair.text("access"))["amr"],
        json!(["pwd", "otp", "mfa"])
    );
    // With blanks, as apps show it.
    let code = app.next_code(&server);
    let pair = sign_in(&server, EMAIL, &format!(" {} {} ", &code[..3], &code[3..]));
    assert_eq!(pair.status, 200, "{}", pair.body);
    sign_in(&server, EMAIL, &app.wrong_code(&server)).assert(400, INVALID_CODE);
    // An account without a factor ignores it.
    assert_eq!(sign_in(&server, &other.email, "123456").status, 200);
}

#[test]
fn code_counts_once_and_none_before_it() {
    let server = TestServer::start();
    let mut user = server.user(EMAIL);
    let app = enroll(&server, &mut user);
    // The code of the enrolment is used up, too.
    sign_in(&server, EMAIL, &app.code(&server)).assert(400, INVALID_CODE);
    server.advance_seconds(STEP * 4);
    let now = step(&server);
    let pair = sign_in(&server, EMAIL, &app.code_at(now + 1));
    assert_eq!(pair.status, 200, "{}", pair.body);
    for used in [now + 1, now, now - 1] {
        server.advance_seconds(0);
        let answer = verify(&server, &ticket(&server, EMAIL), &app.code_at(used));
        // A known network waits after a wrong code instead of being refused for good.
        assert!(matches!(answer.status, 400 | 429), "{}", answer.body);
    }
    server.advance_seconds(STEP * 4);
    for far in [-2, 2] {
        server.advance_seconds(STEP * 10);
        let code = app.code_at(step(&server) + far);
        verify(&server, &ticket(&server, EMAIL), &code).assert(400, INVALID_CODE);
    }
    server.advance_seconds(STEP * 10);
    let pair = sign_in(&server, EMAIL, &app.code_at(step(&server) - 1));
    assert_eq!(pair.status, 200, "{}", pair.body);
}

#[test]
fn one_of_many_simultaneous_uses_of_a_code_wins() {
    let server = TestServer::start();
    let mut user = server.user(EMAIL);
    let app = enroll(&server, &mut user);
    let tickets: Vec<_> = (0..16).map(|_| ticket(&server, EMAIL)).collect();
    let code = app.next_code(&server);
    let answers = at_once(16, |n| verify(&server, &tickets[n], &code).status);
    let winners = answers.iter().filter(|status| **status == 200);
    assert_eq!(winners.count(), 1, "{answers:?}");

    let tickets: Vec<_> = (0..16).map(|_| ticket(&server, EMAIL)).collect();
    let code = &app.recovery_codes[0];
    let answers = at_once(16, |n| verify(&server, &tickets[n], code).status);
    let winners = answers.iter().filter(|status| **status == 200);
    assert_eq!(winners.count(), 1, "{answers:?}");
}

#[test]
fn ticket_dies() {
    let server = TestServer::start();
    let mut user = server.user(EMAIL);
    let app = enroll(&server, &mut user);
    // After five minutes.
    let late = ticket(&server, EMAIL);
    server.advance_seconds(300);
    verify(&server, &late, &app.code(&server)).assert(401, DEAD_TOKEN);
    verify(&server, "forged", &app.code(&server)).assert(401, DEAD_TOKEN);
    // After five wrong codes: recovery codes, since those of the app make the network wait.
    let tried = ticket(&server, EMAIL);
    for _ in 0..5 {
        verify(&server, &tried, "AAAAA-AAAAA").assert(400, INVALID_CODE);
    }
    verify(&server, &tried, &app.code(&server)).assert(401, DEAD_TOKEN);
    // With a change of the factors.
    let user = user.with_pair(&sign_in(&server, EMAIL, &app.next_code(&server)));
    let before = ticket(&server, EMAIL);
    let codes = server.api(
        "POST",
        "mfa/recovery-codes/regenerate/",
        Some(&user.access),
        &json!({}),
    );
    assert_eq!(codes.status, 200, "{}", codes.body);
    verify(&server, &before, &app.next_code(&server)).assert(401, DEAD_TOKEN);
    // With a change of the password.
    let before = ticket(&server, EMAIL);
    let body = json!({"current_password": PASSWORD, "password": "another-Passw0rd", "confirm_password": "another-Passw0rd"});
    let changed = server.api("POST", "password/change/", Some(&user.access), &body);
    assert_eq!(changed.status, 200, "{}", changed.body);
    // The new session knows of the factor that the asking one had proven.
    assert!(
        claims(&changed.text("access"))["amr"]
            .as_array()
            .unwrap()
            .contains(&json!("mfa"))
    );
    verify(&server, &before, &app.next_code(&server)).assert(401, DEAD_TOKEN);
    // With a deactivation.
    let staff = server.staff("staff@example.com");
    let answer = server.sign_in(EMAIL, "another-Passw0rd");
    let before = answer.text("ephemeral_token");
    let off = server.patch(&user.path(), &staff, &json!({"is_active": false}));
    assert_eq!(off.status, 200, "{}", off.body);
    verify(&server, &before, &app.next_code(&server)).assert(401, DEAD_TOKEN);
    let on = server.patch(&user.path(), &staff, &json!({"is_active": true}));
    assert_eq!(on.status, 200, "{}", on.body);
}

#[test]
fn ticket_and_tries_survive_a_restart() {
    let mut server = TestServer::start();
    let mut user = server.user(EMAIL);
    let app = enroll(&server, &mut user);
    let ticket = ticket(&server, EMAIL);
    for _ in 0..4 {
        verify(&server, &ticket, "AAAAA-AAAAA").assert(400, INVALID_CODE);
    }
    server.restart();
    verify(&server, &ticket, "AAAAA-AAAAA").assert(400, INVALID_CODE);
    verify(&server, &ticket, &app.next_code(&server)).assert(401, DEAD_TOKEN);
}

#[test]
fn recovery_code_works_once_however_it_is_typed() {
    let server = TestServer::start();
    let mut user = server.user(EMAIL);
    let app = enroll(&server, &mut user);
    let code = &app.recovery_codes[3];
    let typed = format!(" {} ", code.to_lowercase().replace('-', " "));
    let pair = sign_in(&server, EMAIL, &typed);
    assert_eq!(pair.status, 200, "{}", pair.body);
    assert_eq!(claims(&pair.text("access"))["amr"], json!(["pwd", "mfa"]));
    sign_in(&server, EMAIL, code).assert(400, INVALID_CODE);
    assert_eq!(status(&server, &user)["recovery_codes_left"], 9);
    assert_eq!(count(&server, "recovery_code_used"), 1);
    // New codes void the old ones.
    let answer = server.api(
        "POST",
        "mfa/recovery-codes/regenerate/",
        Some(&user.access),
        &json!({}),
    );
    let codes: Vec<String> = serde_json::from_value(answer.json()["codes"].clone()).unwrap();
    assert_eq!(codes.len(), 10);
    assert_eq!(status(&server, &user)["recovery_codes_left"], 10);
    sign_in(&server, EMAIL, &app.recovery_codes[4]).assert(400, INVALID_CODE);
    assert_eq!(sign_in(&server, EMAIL, &codes[0]).status, 200);
    assert!(server.mails(EMAIL)[0].subject.contains("recovery codes"));
}

#[test]
fn known_network_waits_longer_after_each_wrong_code() {
    let server = TestServer::start();
    let mut user = server.user(EMAIL);
    let app = enroll(&server, &mut user);
    server.advance_seconds(STEP * 2);
    for wait in [1, 2, 4, 8] {
        let wrong = app.wrong_code(&server);
        verify(&server, &ticket(&server, EMAIL), &wrong).assert(400, INVALID_CODE);
        let throttled = verify(&server, &ticket(&server, EMAIL), &app.code(&server));
        assert_eq!(throttled.status, 429, "{}", throttled.body);
        assert_eq!(
            throttled.header("retry-after"),
            Some(wait.to_string().as_str())
        );
        // Recovery codes go on.
        server.advance_seconds(wait);
    }
    verify(&server, &ticket(&server, EMAIL), &app.wrong_code(&server)).assert(400, INVALID_CODE);
    let recovery = &app.recovery_codes[0];
    assert_eq!(
        verify(&server, &ticket(&server, EMAIL), recovery).status,
        200
    );
    // A success ends the waits.
    assert_eq!(sign_in(&server, EMAIL, &app.next_code(&server)).status, 200);
    verify(&server, &ticket(&server, EMAIL), &app.wrong_code(&server)).assert(400, INVALID_CODE);
    server.advance_seconds(1);
    assert_eq!(sign_in(&server, EMAIL, &app.next_code(&server)).status, 200);
}

#[test]
fn unknown_networks_share_twenty_wrong_codes_a_day() {
    let server = TestServer::start_with(|config| {
        config.server.trusted_proxies = vec![IpNetwork::parse("127.0.0.1").unwrap()];
    });
    let mut user = server.user(EMAIL);
    let app = enroll(&server, &mut user);
    server.advance_seconds(STEP * 2);
    let from = |network: usize, code: &str| {
        let body = json!({"email": EMAIL, "password": PASSWORD, "code": code});
        server.post_from(&format!("198.51.100.{network}"), "token/", &body)
    };
    for network in 0..20 {
        from(network, &app.wrong_code(&server)).assert(400, INVALID_CODE);
    }
    assert_eq!(from(77, &app.code(&server)).status, 429);
    // The owner's network is not shut out, and recovery codes work everywhere.
    assert_eq!(sign_in(&server, EMAIL, &app.code(&server)).status, 200);
    assert_eq!(from(78, &app.recovery_codes[0]).status, 200);
    server.advance_seconds(24 * 60 * 60);
    assert_eq!(from(79, &app.code(&server)).status, 200);
}

#[test]
fn account_with_a_factor_reauthenticates_with_it() {
    let server = TestServer::start();
    let mut user = server.user(EMAIL);
    let app = enroll(&server, &mut user);
    server.advance_seconds(601);
    let old = refreshed(&server, &user);
    let regenerate = |user: &User| {
        let path = "mfa/recovery-codes/regenerate/";
        server.api("POST", path, Some(&user.access), &json!({}))
    };
    regenerate(&old).assert(403, RECENT_FACTOR);
    reauthenticate(&server, &old, &json!({"password": PASSWORD}))
        .assert(400, r#"{"code":["This field is required."]}"#);
    reauthenticate(&server, &old, &json!({"code": app.wrong_code(&server)}))
        .assert(400, INVALID_CODE);
    server.advance_seconds(1);
    let answer = reauthenticate(&server, &old, &json!({"code": app.next_code(&server)}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let user = User {
        access: answer.text("access"),
        ..old.clone()
    };
    assert_eq!(regenerate(&user).status, 200);
    // The older token gains nothing.
    regenerate(&old).assert(403, RECENT_FACTOR);
}

#[test]
fn what_matters_wants_the_factor() {
    let server = TestServer::start();
    let mut user = server.user(EMAIL);
    let app = enroll(&server, &mut user);
    let pair = sign_in(&server, EMAIL, &app.next_code(&server));
    let fresh = user.with_pair(&pair);
    server.advance_seconds(601);
    let user = refreshed(&server, &fresh);
    let api =
        |method: &str, path: &str, body: Value| server.api(method, path, Some(&user.access), &body);
    api("PATCH", "users/me/", json!({"email": "new@example.com"})).assert(403, RECENT_FACTOR);
    let change = json!({"current_password": PASSWORD, "password": "another-Passw0rd", "confirm_password": "another-Passw0rd"});
    api("POST", "password/change/", change).assert(403, RECENT_FACTOR);
    api("DELETE", "sessions/", json!({})).assert(403, RECENT_FACTOR);
    api("DELETE", "users/me/", json!({"password": PASSWORD})).assert(403, RECENT_FACTOR);
    api("POST", "mfa/totp/deactivate/", json!({"code": "123456"})).assert(403, RECENT_FACTOR);
    // The rest goes on.
    assert_eq!(
        api("PATCH", "users/me/", json!({"first_name": "Ann"})).status,
        200
    );
    assert_eq!(api("GET", "sessions/", json!({})).status, 200);
}

#[test]
fn staff_with_a_factor_uses_it_for_changes_to_others() {
    let server = TestServer::start();
    let user = server.user(EMAIL);
    let mut staff = server.staff("staff@example.com");
    // Without a factor nothing is asked.
    server.advance_seconds(700);
    let old = refreshed(&server, &staff);
    assert_eq!(
        server
            .patch(&user.path(), &old, &json!({"first_name": "A"}))
            .status,
        200
    );
    staff = staff.with_pair(&server.sign_in("staff@example.com", PASSWORD));
    enroll(&server, &mut staff);
    assert_eq!(
        server
            .patch(&user.path(), &staff, &json!({"first_name": "B"}))
            .status,
        200
    );
    server.advance_seconds(601);
    let staff = refreshed(&server, &staff);
    server
        .patch(&user.path(), &staff, &json!({"first_name": "C"}))
        .assert(403, RECENT_FACTOR);
    server
        .api("DELETE", &user.path(), Some(&staff.access), &json!({}))
        .assert(403, RECENT_FACTOR);
    assert_eq!(
        server
            .patch("users/me/", &staff, &json!({"first_name": "D"}))
            .status,
        200
    );
    assert_eq!(server.get("users/", Some(&staff.access)).status, 200);
}

#[test]
fn deactivation_wants_a_code_and_takes_recovery_codes_along() {
    let server = TestServer::start();
    let mut user = server.user(EMAIL);
    let deactivate = |user: &User, body: Value| {
        server.api("POST", "mfa/totp/deactivate/", Some(&user.access), &body)
    };
    deactivate(&user, json!({"code": "123456"})).assert(400, NOT_ENABLED);
    server
        .api(
            "POST",
            "mfa/recovery-codes/regenerate/",
            Some(&user.access),
            &json!({}),
        )
        .assert(400, NOT_ENABLED);
    let app = enroll(&server, &mut user);
    deactivate(&user, json!({})).assert(400, r#"{"code":["This field is required."]}"#);
    deactivate(&user, json!({"code": app.wrong_code(&server)})).assert(400, INVALID_CODE);
    server.advance_seconds(1);
    deactivate(&user, json!({"code": app.next_code(&server)}))
        .assert(200, r#"{"detail":"TOTP has been deactivated."}"#);
    assert_eq!(status(&server, &user)["mfa_enabled"], false);
    assert_eq!(status(&server, &user)["recovery_codes_left"], 0);
    assert_eq!(server.sign_in(EMAIL, PASSWORD).status, 200);
    assert!(server.mails(EMAIL)[0].subject.contains("turned off"));
    // By a recovery code, too.
    let app = enroll(&server, &mut user);
    let answer = deactivate(&user, json!({"code": app.recovery_codes[0]}));
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[test]
fn staff_removes_the_factors_of_somebody_who_lost_them() {
    let server = TestServer::start();
    let mut user = server.user(EMAIL);
    let staff = server.staff("staff@example.com");
    enroll(&server, &mut user);
    let path = format!("users/{}/mfa/reset/", user.id);
    let reset =
        |token: Option<&str>, path: &str, body: Value| server.api("POST", path, token, &body);
    let reason = || json!({"reason": "Lost phone"});
    reset(None, &path, reason()).assert(401, NO_TOKEN);
    reset(Some(&user.access), &path, reason()).assert(403, FORBIDDEN);
    let token = Some(staff.access.as_str());
    reset(token, &path, json!({})).assert(400, r#"{"reason":["This field is required."]}"#);
    reset(token, "users/99/mfa/reset/", reason()).assert(404, NO_USER);
    let answer = reset(token, &path, reason());
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    server.assert_ended(&user);
    assert_eq!(server.sign_in(EMAIL, PASSWORD).status, 200);
    assert_eq!(
        server.db_text("SELECT reason FROM events WHERE event = 'factors_reset'"),
        "Lost phone"
    );
    assert!(server.mails(EMAIL)[0].subject.contains("turned off"));
    server.advance_seconds(601);
    let staff = refreshed(&server, &staff);
    let answer = reset(Some(&staff.access), &path, reason());
    assert_eq!(answer.status, 403, "{}", answer.body);
}

#[test]
fn mail_about_a_first_factor_undoes_it() {
    let server = TestServer::start();
    let mut user = server.user(EMAIL);
    let app = enroll(&server, &mut user);
    let mail = server.mails(EMAIL).remove(0);
    assert!(mail.subject.contains("turned on"), "{}", mail.subject);
    let link = mail.link.expect("the mail has a link");
    let path = link.replace("http://localhost:8000", "");
    let undone = server.request(
        "POST",
        &path,
        &[("content-type", "application/x-www-form-urlencoded")],
        "",
    );
    assert_eq!(undone.status, 200, "{}", undone.body);
    server.assert_ended(&user);
    assert_eq!(server.db_number("SELECT count(*) FROM totp_devices"), 0);
    assert_eq!(server.db_number("SELECT count(*) FROM recovery_codes"), 0);
    // A thief may have set it up with the password, which therefore still works; a reset is mailed.
    assert_eq!(server.sign_in(EMAIL, PASSWORD).status, 200);
    assert!(server.mails(EMAIL).iter().any(|mail| mail.otp.is_some()));
    // The code that is no longer asked for is ignored.
    assert_eq!(sign_in(&server, EMAIL, &app.next_code(&server)).status, 200);
}

#[test]
fn undo_asks_for_a_factor_that_is_older_than_the_link() {
    let server = TestServer::start();
    let mut user = server.user(EMAIL);
    let app = enroll(&server, &mut user);
    server.advance_seconds(60);
    let changed = server.patch("users/me/", &user, &json!({"email": "new@example.com"}));
    assert_eq!(changed.status, 200, "{}", changed.body);
    let mails = server.mails(EMAIL);
    let link = mails
        .iter()
        .find(|mail| mail.subject.contains("address"))
        .unwrap();
    let token = link
        .link
        .as_ref()
        .unwrap()
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap()
        .to_owned();
    let path = format!("email/undo/{token}/");
    server
        .post(&path, &json!({}))
        .assert(400, r#"{"code":["This field is required."]}"#);
    server
        .post(&path, &json!({"code": app.wrong_code(&server)}))
        .assert(400, INVALID_CODE);
    let page = server.request("GET", &format!("/account/undo/{token}/"), &[], "");
    assert!(page.body.contains("name=\"code\""), "{}", page.body);
    server.advance_seconds(1);
    server
        .post(&path, &json!({"code": app.next_code(&server)}))
        .assert(200, r#"{"msg":"Email change undone."}"#);
    // The factor stays, because its owner had it before.
    assert_eq!(server.db_number("SELECT count(*) FROM totp_devices"), 1);
}

#[test]
fn required_factor_has_to_be_set_up_first() {
    let server = TestServer::start_with(|config| {
        config.mfa.required_for = FactorRequirement::Staff;
    });
    let user = server.user(EMAIL);
    let mut staff = server.staff("staff@example.com");
    assert_eq!(server.get("users/me/", Some(&user.access)).status, 200);
    assert_eq!(
        server
            .patch("users/me/", &user, &json!({"first_name": "A"}))
            .status,
        200
    );
    assert_eq!(status(&server, &user)["required"], false);
    assert_eq!(status(&server, &staff)["required"], true);
    let get = |path: &str, staff: &User| server.get(path, Some(&staff.access));
    assert_eq!(get("users/me/", &staff).status, 200);
    assert_eq!(get(&staff.path(), &staff).status, 200);
    assert_eq!(get("sessions/", &staff).status, 200);
    get("users/", &staff).assert(403, SETUP_REQUIRED);
    get(&user.path(), &staff).assert(403, SETUP_REQUIRED);
    get("users/me/events/", &staff).assert(403, SETUP_REQUIRED);
    server
        .patch("users/me/", &staff, &json!({"first_name": "A"}))
        .assert(403, SETUP_REQUIRED);
    let answer = reauthenticate(&server, &staff, &json!({"password": PASSWORD}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    enroll(&server, &mut staff);
    assert_eq!(get("users/", &staff).status, 200);
    let out = server.post("token/blacklist/", &json!({"refresh": staff.refresh}));
    assert_eq!(out.status, 200, "{}", out.body);
}

#[test]
fn deleting_an_account_leaves_nothing_of_its_factors() {
    let server = TestServer::start();
    let mut user = server.user(EMAIL);
    let app = enroll(&server, &mut user);
    ticket(&server, EMAIL);
    sign_in(&server, EMAIL, &app.wrong_code(&server)).assert(400, INVALID_CODE);
    let deleted = server.api(
        "DELETE",
        "users/me/",
        Some(&user.access),
        &json!({"password": PASSWORD}),
    );
    assert_eq!(deleted.status, 204, "{}", deleted.body);
    for table in [
        "totp_devices",
        "recovery_codes",
        "factor_tickets",
        "factor_failures",
    ] {
        assert_eq!(
            server.db_number(&format!("SELECT count(*) FROM {table}")),
            0,
            "{table}"
        );
    }
}

#[test]
fn wrong_codes_count_as_failed_sign_ins_everywhere() {
    let start = || {
        TestServer::start_with(|config| {
            config.rate_limits.enabled = true;
            config.rate_limits.failed_sign_ins = 3;
        })
    };
    // While an app is enrolled.
    let server = start();
    let user = server.user(EMAIL);
    let token = start_totp(&server, &user).text("activation_token");
    for _ in 0..3 {
        activate(&server, &user, &token, "AAAAA-AAAAA").assert(400, INVALID_CODE);
    }
    assert_eq!(activate(&server, &user, &token, "AAAAA-AAAAA").status, 429);
    assert_eq!(server.sign_in(EMAIL, PASSWORD).status, 429);
    // And while it is removed.
    let server = start();
    let mut user = server.user(EMAIL);
    enroll(&server, &mut user);
    let path = "mfa/totp/deactivate/";
    let wrong = json!({"code": "AAAAA-AAAAA"});
    for _ in 0..3 {
        server
            .api("POST", path, Some(&user.access), &wrong)
            .assert(400, INVALID_CODE);
    }
    assert_eq!(
        server.api("POST", path, Some(&user.access), &wrong).status,
        429
    );
    assert_eq!(server.sign_in(EMAIL, PASSWORD).status, 429);
}
