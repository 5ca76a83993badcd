//! Tokens: signing in, keeping a session going, ending it, and what a token says and proves.

use std::time::Duration;

use accounts_server::domain::SigningAlgorithm;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::contract::{BAD_TOKEN, DEAD_TOKEN, NO_TOKEN, UNKNOWN_CREDENTIALS, UNVERIFIED};
use crate::support::{Answer, PASSWORD, START, TestServer, User, at_once};

const CHALLENGE: &str = r#"Bearer realm="api""#;

fn refresh(server: &TestServer, token: &str) -> Answer {
    server.post("token/refresh/", &json!({"refresh": token}))
}

fn verify(server: &TestServer, token: &str) -> Answer {
    server.post("token/verify/", &json!({"token": token}))
}

fn blacklist(server: &TestServer, token: &str) -> Answer {
    server.post("token/blacklist/", &json!({"refresh": token}))
}

fn me(server: &TestServer, access: &str) -> Answer {
    server.get("users/me/", Some(access))
}

/// Another session of somebody who is signed in already.
#[track_caller]
fn sign_in_again(server: &TestServer, user: &User) -> User {
    let pair = server.sign_in(&user.email, PASSWORD);
    assert_eq!(pair.status, 200, "{}", pair.body);
    user.with_pair(&pair)
}

/// Asserts an answer with a pair and nothing else, and gives its tokens: access, refresh.
#[track_caller]
fn pair_of(answer: &Answer) -> (String, String) {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let (access, refresh) = (answer.text("access"), answer.text("refresh"));
    answer.assert(
        200,
        &format!(r#"{{"access":"{access}","refresh":"{refresh}"}}"#),
    );
    (access, refresh)
}

/// Asserts that both tokens of a session are dead.
#[track_caller]
fn assert_ended(server: &TestServer, user: &User) {
    me(server, &user.access).assert(401, BAD_TOKEN);
    verify(server, &user.access).assert(401, DEAD_TOKEN);
    verify(server, &user.refresh).assert(401, DEAD_TOKEN);
    refresh(server, &user.refresh).assert(401, DEAD_TOKEN);
}

/// Asserts that the access token of a session is taken.
#[track_caller]
fn assert_alive(server: &TestServer, user: &User) {
    let answer = me(server, &user.access);
    assert_eq!(answer.status, 200, "{}", answer.body);
    verify(server, &user.access).assert(200, "{}");
}

/// The header (0) or the claims (1) of a token.
fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn claim(token: &str, name: &str) -> Value {
    part(token, 1)[name].clone()
}

/// A token put together by hand.
fn forge(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// A P-256 key pair that does not belong to the server.
fn foreign_key() -> EcdsaKeyPair {
    let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap()
}

/// The base64url coordinates of its public key.
fn coordinates(key: &EcdsaKeyPair) -> (String, String) {
    let point = &key.public_key().as_ref()[1..];
    let (x, y) = point.split_at(32);
    (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y))
}

/// The only published key.
fn published_key(server: &TestServer) -> Value {
    let answer = server.request("GET", "/.well-known/jwks.json", &[], "");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let keys = answer.json()["keys"].as_array().unwrap().clone();
    assert_eq!(keys.len(), 1, "{}", answer.body);
    keys[0].clone()
}

#[test]
fn sign_in_returns_a_working_pair() {
    let server = TestServer::start();
    let user = server.user("User@example.com");
    for email in [
        "User@example.com",
        "user@EXAMPLE.com",
        "  uSER@example.com ",
    ] {
        let answer = server.sign_in(email, PASSWORD);
        let (access, refresh_token) = pair_of(&answer);
        let profile = me(&server, &access);
        assert_eq!(
            (profile.status, profile.json()["id"].as_i64()),
            (200, Some(user.id)),
            "{email}"
        );
        assert_eq!(refresh(&server, &refresh_token).status, 200, "{email}");
    }
}

#[test]
fn failed_sign_in_reveals_nothing() {
    let server = TestServer::start();
    server.user("user@example.com");
    let blanks = " ".repeat(8);
    for (email, password) in [
        ("user@example.com", "another-Passw0rd"),
        ("user@example.com", "Securepassword123"),
        ("user@example.com", "securepassword123 "),
        ("user@example.com", " securepassword123"),
        ("user@example.com", blanks.as_str()),
        ("user@example.com", "x"),
        ("nobody@example.com", PASSWORD),
        ("user", PASSWORD),
        ("@", PASSWORD),
        ("user@", PASSWORD),
        ("user@example.com@example.com", PASSWORD),
        ("user@example.com'--", PASSWORD),
        ("user@exam ple.com", PASSWORD),
    ] {
        let answer = server.sign_in(email, password);
        assert_eq!(
            (answer.status, &*answer.body),
            (401, UNKNOWN_CREDENTIALS),
            "{email} {password:?}"
        );
        assert_eq!(
            answer.header("www-authenticate"),
            Some(CHALLENGE),
            "{email} {password:?}"
        );
    }
    let long = format!("{}@example.com", "a".repeat(400));
    server
        .sign_in(&long, PASSWORD)
        .assert(401, UNKNOWN_CREDENTIALS);
    server
        .sign_in("user@example.com", &"p".repeat(10_000))
        .assert(401, UNKNOWN_CREDENTIALS);
}

#[test]
fn an_address_that_was_never_verified_cannot_sign_in() {
    let server = TestServer::start();
    server.sign_up("user@example.com");
    let answer = server.sign_in("USER@example.com", PASSWORD);
    answer.assert(401, UNVERIFIED);
    assert_eq!(answer.header("www-authenticate"), Some(CHALLENGE));
    server
        .sign_in("user@example.com", "another-Passw0rd")
        .assert(401, UNKNOWN_CREDENTIALS);
    assert_eq!(server.db_number("SELECT count(*) FROM sessions"), 0);
}

#[test]
fn sign_in_fields_are_validated() {
    let server = TestServer::start();
    let required = "This field is required.";
    let blank = "This field may not be blank.";
    let not_null = "This field may not be null.";
    for (body, expected) in [
        (
            json!({}),
            json!({"email": [required], "password": [required]}),
        ),
        (
            json!({"email": "user@example.com"}),
            json!({"password": [required]}),
        ),
        (json!({"password": PASSWORD}), json!({"email": [required]})),
        (
            json!({"email": "", "password": ""}),
            json!({"email": [blank], "password": [blank]}),
        ),
        (
            json!({"email": " \t", "password": "x"}),
            json!({"email": [blank]}),
        ),
        (
            json!({"email": null, "password": null}),
            json!({"email": [not_null], "password": [not_null]}),
        ),
        (
            json!({"email": "user@example.com", "password": true}),
            json!({"password": ["Not a valid string."]}),
        ),
        (
            json!({"email": "user@example.com", "password": ["x"]}),
            json!({"password": ["Not a valid string."]}),
        ),
    ] {
        let answer = server.post("token/", &body);
        assert_eq!((answer.status, answer.json()), (400, expected), "{body}");
    }
}

#[test]
fn a_deactivated_account_is_locked_out_at_once() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    server.sign_up("unverified@example.com");
    assert_alive(&server, &user);
    server.db_execute("UPDATE users SET is_active = FALSE");
    assert_ended(&server, &user);
    blacklist(&server, "x").assert(401, DEAD_TOKEN);
    server
        .sign_in("user@example.com", PASSWORD)
        .assert(401, UNKNOWN_CREDENTIALS);
    server
        .sign_in("user@example.com", "another-Passw0rd")
        .assert(401, UNKNOWN_CREDENTIALS);
    server
        .sign_in("unverified@example.com", PASSWORD)
        .assert(401, UNKNOWN_CREDENTIALS);
}

#[test]
fn tokens_of_a_deleted_account_are_invalid() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    server.db_execute("DELETE FROM users");
    assert_ended(&server, &user);
    server
        .sign_in("user@example.com", PASSWORD)
        .assert(401, UNKNOWN_CREDENTIALS);
}

#[test]
fn access_tokens_have_the_claims_of_rfc_9068() {
    let server = TestServer::start();
    let user = server.user("User@Example.com");
    let kid = published_key(&server)["kid"].clone();
    let (access, refresh_token) = pair_of(&server.sign_in("user@example.com", PASSWORD));
    assert_eq!(
        part(&access, 0),
        json!({"typ": "at+jwt", "alg": "ES256", "kid": kid})
    );
    let (jti, sid) = (claim(&access, "jti"), claim(&access, "sid"));
    assert!(
        jti.as_str().unwrap().len() >= 16 && sid.as_str().unwrap().len() >= 16,
        "{jti} {sid}"
    );
    let now = START / 1000;
    assert_eq!(
        part(&access, 1),
        json!({
            "iss": "http://localhost:8000", "sub": user.id.to_string(), "user_id": user.id, "token_type": "access",
            "jti": jti, "iat": now, "exp": now + 300, "sid": sid, "email": "User@example.com",
            "is_staff": false, "client_id": "accounts-server", "auth_time": now, "amr": ["pwd"],
        })
    );

    let claims = part(&refresh_token, 1);
    assert_ne!(
        part(&refresh_token, 0)["typ"],
        "at+jwt",
        "not an access token by its header alone"
    );
    assert_eq!(part(&refresh_token, 0)["alg"], "ES256");
    assert_eq!(claims["client_id"], Value::Null);
    assert_eq!(claims["token_type"], "refresh");
    assert_eq!(
        (&claims["iat"], &claims["exp"]),
        (&json!(now), &json!(now + 30 * 86_400))
    );
    assert_eq!(
        (&claims["sub"], &claims["user_id"]),
        (&json!(user.id.to_string()), &json!(user.id))
    );
    assert_eq!(claims["sid"], sid, "both belong to one session");
    assert_ne!(claims["jti"], jti);

    let again = sign_in_again(&server, &user);
    assert_ne!(claim(&again.access, "jti"), jti);
    assert_ne!(
        claim(&again.access, "sid"),
        sid,
        "each sign-in is a session of its own"
    );
    let staff = server.staff("staff@example.com");
    assert_eq!(claim(&staff.access, "is_staff"), true);
}

#[test]
fn issuer_audience_and_lifetimes_are_configurable() {
    let server = TestServer::start_with(|config| {
        config.tokens.issuer = "https://accounts.example.com".into();
        config.tokens.audience = "shop".into();
        config.tokens.access_minutes = 2;
        config.tokens.refresh_days = 1;
    });
    let user = server.user("user@example.com");
    let now = START / 1000;
    assert_eq!(claim(&user.access, "iss"), "https://accounts.example.com");
    assert_eq!(claim(&user.access, "aud"), "shop");
    assert_eq!(claim(&user.access, "exp"), now + 120);
    assert_eq!(claim(&user.refresh, "exp"), now + 86_400);
    assert_alive(&server, &user);
}

#[test]
fn refresh_returns_another_pair_of_the_same_session() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    server.advance_seconds(100);
    let (access, refresh_token) = pair_of(&refresh(&server, &user.refresh));
    assert_ne!((&access, &refresh_token), (&user.access, &user.refresh));
    let now = START / 1000 + 100;
    for (token, life) in [(&access, 300), (&refresh_token, 30 * 86_400)] {
        assert_eq!(claim(token, "sid"), claim(&user.access, "sid"));
        assert_eq!(claim(token, "iat"), now);
        assert_eq!(claim(token, "exp"), now + life);
    }
    assert_ne!(claim(&refresh_token, "jti"), claim(&user.refresh, "jti"));
    assert_eq!(me(&server, &access).status, 200);
    assert_eq!(
        me(&server, &user.access).status,
        200,
        "access tokens go on until they expire"
    );
    assert_eq!(server.db_number("SELECT count(*) FROM sessions"), 1);
}

#[test]
fn session_lives_as_long_as_it_is_refreshed() {
    let server = TestServer::start_with(|config| config.tokens.session_days = 0);
    let mut user = server.user("user@example.com");
    for _ in 0..4 {
        server.advance_seconds(29 * 86_400);
        let pair = refresh(&server, &user.refresh);
        user = user.with_pair(&pair);
        assert_alive(&server, &user);
    }
}

#[test]
fn repeated_refresh_within_grace_returns_same_successor() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let first = user.with_pair(&refresh(&server, &user.refresh));
    server.advance_seconds(9);
    verify(&server, &user.refresh).assert(200, "{}");
    let second = user.with_pair(&refresh(&server, &user.refresh));
    for claimed in ["jti", "sid"] {
        let of = |user: &User| claim(&user.refresh, claimed);
        assert_eq!(of(&first), of(&second), "{claimed}");
    }
    assert_alive(&server, &first);
    assert_alive(&server, &second);
    assert_eq!(server.db_number("SELECT count(*) FROM refresh_tokens"), 2);
    // Both may use the successor within its own grace.
    server.advance_seconds(60);
    let third = first.with_pair(&refresh(&server, &first.refresh));
    let fourth = second.with_pair(&refresh(&server, &second.refresh));
    assert_eq!(claim(&third.refresh, "jti"), claim(&fourth.refresh, "jti"));
    assert_alive(&server, &fourth);
    assert_eq!(server.db_number("SELECT count(*) FROM sessions"), 1);
}

#[test]
fn theft_within_grace_is_noticed_at_next_refresh() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let owner = user.with_pair(&refresh(&server, &user.refresh));
    let thief = user.with_pair(&refresh(&server, &user.refresh));
    server.advance_seconds(60);
    let owner = owner.with_pair(&refresh(&server, &owner.refresh));
    assert_alive(&server, &owner);
    server.advance_seconds(60);
    refresh(&server, &thief.refresh).assert(401, DEAD_TOKEN);
    assert_ended(&server, &owner);
}

#[test]
fn session_ends_after_its_maximum_age() {
    let server = TestServer::start_with(|config| {
        config.tokens.session_days = 2;
        config.tokens.staff_session_hours = 3;
    });
    let user = server.user("user@example.com");
    let mut newest = user.clone();
    // The access token lives for five minutes, so the last one before the end is cut short.
    for hours in [24, 23] {
        server.advance_seconds(hours * 3600);
        newest = user.with_pair(&refresh(&server, &newest.refresh));
    }
    server.advance_seconds(3600 - 60);
    newest = user.with_pair(&refresh(&server, &newest.refresh));
    let exp = |token: &str| claim(token, "exp").as_i64().unwrap();
    assert_eq!(exp(&newest.access), exp(&newest.refresh));
    server.advance_seconds(59);
    assert_alive(&server, &newest);
    server.advance_seconds(1);
    assert_ended(&server, &newest);

    let staff = server.staff("staff@example.com");
    server.advance_seconds(3 * 3600 - 1);
    let refreshed = staff.with_pair(&refresh(&server, &staff.refresh));
    assert_alive(&server, &refreshed);
    server.advance_seconds(1);
    assert_ended(&server, &refreshed);
}

#[test]
fn promotion_shortens_running_sessions() {
    let server = TestServer::start_with(|config| config.tokens.staff_session_hours = 1);
    let user = server.user("user@example.com");
    server.advance_seconds(2 * 3600);
    verify(&server, &user.refresh).assert(200, "{}");
    server.db_execute("UPDATE users SET is_staff = TRUE WHERE id = 1");
    verify(&server, &user.refresh).assert(401, DEAD_TOKEN);
    assert_ended(&server, &user);
}

#[test]
fn grace_period_starts_at_the_first_use() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let first = user.with_pair(&refresh(&server, &user.refresh));
    server.advance_seconds(6);
    assert_eq!(refresh(&server, &user.refresh).status, 200);
    server.advance_seconds(6);
    refresh(&server, &user.refresh).assert(401, DEAD_TOKEN);
    assert_ended(&server, &first);
}

#[test]
fn reuse_after_the_grace_period_revokes_its_session_only() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let other = sign_in_again(&server, &user);
    let stranger = server.user("stranger@example.com");
    let rotated = user.with_pair(&refresh(&server, &user.refresh));
    server.advance_seconds(11);
    verify(&server, &user.refresh).assert(401, DEAD_TOKEN);
    assert_alive(&server, &rotated);
    let answer = refresh(&server, &user.refresh);
    answer.assert(401, DEAD_TOKEN);
    assert_eq!(answer.header("www-authenticate"), Some(CHALLENGE));
    assert_ended(&server, &rotated);
    me(&server, &user.access).assert(401, BAD_TOKEN);
    assert_alive(&server, &other);
    assert_alive(&server, &stranger);
    assert_eq!(refresh(&server, &other.refresh).status, 200);
    assert_alive(&server, &sign_in_again(&server, &user));
}

#[test]
fn stored_refresh_tokens_per_session_are_bounded() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let rows = |which: &str| {
        server.db_number(&format!(
            "SELECT count(*) FROM refresh_tokens WHERE {which}"
        ))
    };
    let mut newest = user.clone();
    for _ in 0..50 {
        newest = user.with_pair(&refresh(&server, &user.refresh));
    }
    assert_eq!((rows("true"), rows("used_at IS NULL")), (2, 1));
    // A client that refreshes without pause.
    let mut before = newest.clone();
    for _ in 0..150 {
        before = newest.clone();
        newest = user.with_pair(&refresh(&server, &newest.refresh));
    }
    assert_eq!(rows("true"), 100);
    assert_alive(&server, &newest);
    // What was used long ago counts as used, with a row or without.
    server.advance_seconds(60);
    refresh(&server, &before.refresh).assert(401, DEAD_TOKEN);
    assert_ended(&server, &newest);
}

#[test]
fn reuse_is_detected_at_any_time() {
    for days in [1, 29] {
        let server = TestServer::start();
        let user = server.user("user@example.com");
        let mut newest = user.with_pair(&refresh(&server, &user.refresh));
        for _ in 0..days {
            server.advance_seconds(86_400);
            newest = user.with_pair(&refresh(&server, &newest.refresh));
        }
        assert_alive(&server, &newest);
        refresh(&server, &user.refresh).assert(401, DEAD_TOKEN);
        assert_ended(&server, &newest);
    }
}

#[test]
fn refresh_token_without_grace_works_once() {
    let server = TestServer::start_with(|config| config.tokens.reuse_grace_seconds = 0);
    let user = server.user("user@example.com");
    let rotated = user.with_pair(&refresh(&server, &user.refresh));
    assert_alive(&server, &rotated);
    verify(&server, &user.refresh).assert(401, DEAD_TOKEN);
    refresh(&server, &user.refresh).assert(401, DEAD_TOKEN);
    assert_ended(&server, &rotated);
}

#[test]
fn concurrent_refreshes_within_grace_all_succeed() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let answers = at_once(10, |_| refresh(&server, &user.refresh));
    let mut tokens: Vec<String> = Vec::new();
    for answer in &answers {
        let next = user.with_pair(answer);
        assert_eq!(claim(&next.access, "sid"), claim(&user.access, "sid"));
        assert_alive(&server, &next);
        verify(&server, &next.refresh).assert(200, "{}");
        tokens.push(claim(&next.refresh, "jti").to_string());
    }
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 1, "all get the same successor");
    assert_eq!(server.db_number("SELECT count(*) FROM sessions"), 1);
}

#[test]
fn concurrent_refreshes_without_grace_revoke_the_session() {
    let server = TestServer::start_with(|config| config.tokens.reuse_grace_seconds = 0);
    let user = server.user("user@example.com");
    let other = sign_in_again(&server, &user);
    let answers = at_once(10, |_| refresh(&server, &user.refresh));
    let (good, bad): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!(good.len(), 1, "{answers:?}");
    for answer in bad {
        answer.assert(401, DEAD_TOKEN);
    }
    assert_ended(&server, &user.with_pair(good[0]));
    assert_alive(&server, &other);
}

#[test]
fn tokens_expire_to_the_second() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    server.advance(Duration::from_millis(299_999));
    assert_alive(&server, &user);
    server.advance(Duration::from_millis(1));
    me(&server, &user.access).assert(401, BAD_TOKEN);
    verify(&server, &user.access).assert(401, DEAD_TOKEN);
    verify(&server, &user.refresh).assert(200, "{}");
    server.advance_seconds(30 * 86_400 - 301);
    verify(&server, &user.refresh).assert(200, "{}");
    server.advance_seconds(1);
    assert_ended(&server, &user);

    let late = sign_in_again(&server, &user);
    server.advance_seconds(30 * 86_400 - 1);
    assert_eq!(
        refresh(&server, &late.refresh).status,
        200,
        "good until its last second"
    );
}

#[test]
fn blacklisting_ends_its_session_only() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let other = sign_in_again(&server, &user);
    blacklist(&server, &user.refresh).assert(200, "{}");
    assert_ended(&server, &user);
    blacklist(&server, &user.refresh).assert(401, DEAD_TOKEN);
    assert_alive(&server, &other);
    assert_eq!(refresh(&server, &other.refresh).status, 200);
    assert_alive(&server, &sign_in_again(&server, &user));
}

#[test]
fn blacklisting_a_used_token_ends_its_successors() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let rotated = user.with_pair(&refresh(&server, &user.refresh));
    blacklist(&server, &rotated.refresh).assert(200, "{}");
    assert_ended(&server, &rotated);
    assert_ended(&server, &user);
}

#[test]
fn token_types_are_not_interchangeable() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    refresh(&server, &user.access).assert(401, DEAD_TOKEN);
    blacklist(&server, &user.access).assert(401, DEAD_TOKEN);
    me(&server, &user.refresh).assert(401, BAD_TOKEN);
    verify(&server, &user.access).assert(200, "{}");
    verify(&server, &user.refresh).assert(200, "{}");
    assert_alive(&server, &user);
    assert_eq!(refresh(&server, &user.refresh).status, 200);
}

#[test]
fn token_fields_are_validated() {
    let server = TestServer::start();
    for (path, field) in [
        ("token/refresh/", "refresh"),
        ("token/verify/", "token"),
        ("token/blacklist/", "refresh"),
    ] {
        for (body, message) in [
            (json!({}), "This field is required."),
            (json!({"other": "x"}), "This field is required."),
            (json!({field: null}), "This field may not be null."),
            (json!({field: ""}), "This field may not be blank."),
            (json!({field: "  "}), "This field may not be blank."),
            (json!({field: ["x"]}), "Not a valid string."),
            (json!({field: true}), "Not a valid string."),
        ] {
            let answer = server.post(path, &body);
            assert_eq!(
                (answer.status, answer.json()),
                (400, json!({field: [message]})),
                "{path} {body}"
            );
        }
        for token in [
            "x",
            "a.b.c",
            "...",
            "a.b",
            "1",
            "é.é.é",
            &"a".repeat(100_000),
        ] {
            let answer = server.post(path, &json!({field: token}));
            assert_eq!(
                (answer.status, &*answer.body),
                (401, DEAD_TOKEN),
                "{path} {}",
                &token[..1]
            );
            assert_eq!(answer.header("www-authenticate"), Some(CHALLENGE), "{path}");
        }
        let number = server.post(path, &json!({field: 5}));
        assert_eq!(
            (number.status, &*number.body),
            (401, DEAD_TOKEN),
            "a number is taken as text"
        );
    }
}

#[test]
fn the_published_key_verifies_tokens() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let answer = server.request("GET", "/.well-known/jwks.json", &[], "");
    let key = published_key(&server);
    let member = |name: &str| key[name].as_str().unwrap();
    let (x, y, kid) = (member("x"), member("y"), member("kid"));
    answer.assert(
        200,
        &format!(
            r#"{{"keys":[{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}","kid":"{kid}","alg":"ES256","use":"sig"}}]}}"#
        ),
    );
    assert_eq!(answer.header("content-type"), Some("application/json"));

    let mut validation = Validation::new(Algorithm::ES256);
    validation.validate_exp = false; // The tests' time is long past.
    validation.set_issuer(&["http://localhost:8000"]);
    let decoding_key = DecodingKey::from_ec_components(x, y).unwrap();
    for token in [&user.access, &user.refresh] {
        let checked = jsonwebtoken::decode::<Value>(token, &decoding_key, &validation).unwrap();
        assert_eq!(checked.header.kid.as_deref(), Some(kid));
        assert_eq!(checked.claims["user_id"], user.id);
    }
    let (x, y) = coordinates(&foreign_key());
    let foreign = DecodingKey::from_ec_components(&x, &y).unwrap();
    assert!(jsonwebtoken::decode::<Value>(&user.access, &foreign, &validation).is_err());
}

#[test]
fn forged_tokens_are_refused() {
    let server = TestServer::start();
    let victim = server.user("victim@example.com");
    let key = published_key(&server);
    let (x, kid) = (key["x"].as_str().unwrap().to_owned(), key["kid"].clone());
    let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    let public = [&[4], &coordinate("x")[..], &coordinate("y")].concat();
    let mallory = foreign_key();
    let by_mallory = |data: &[u8]| {
        let signature = mallory.sign(&SystemRandom::new(), data).unwrap();
        signature.as_ref().to_vec()
    };
    let hmac = |secret: &[u8], data: &[u8]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(data);
        mac.finalize().into_bytes().to_vec()
    };
    let (mallorys_x, mallorys_y) = coordinates(&mallory);
    let der = [
        &[
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
            0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ][..],
        &public,
    ]
    .concat();

    for (token, typ) in [(&victim.access, "at+jwt"), (&victim.refresh, "rt+jwt")] {
        let claims = part(token, 1);
        let header = json!({"typ": typ, "alg": "ES256", "kid": kid});
        let (head, rest) = token.split_once('.').unwrap();
        let (body, signature) = rest.split_once('.').unwrap();
        let altered = |name: &str, value: Value| {
            let mut claims = claims.clone();
            claims[name] = value;
            format!(
                "{head}.{}.{signature}",
                URL_SAFE_NO_PAD.encode(claims.to_string())
            )
        };
        let with_alg = |alg: &str| json!({"typ": typ, "alg": alg, "kid": kid});
        let forged = [
            (
                "another key's signature",
                forge(&header, &claims, by_mallory),
            ),
            ("no signature", format!("{head}.{body}.")),
            ("no signature at all", format!("{head}.{body}")),
            (
                "a signature of nothing",
                forge(&header, &claims, |_| vec![0; 64]),
            ),
            ("another id", altered("user_id", json!(2))),
            ("another expiry", altered("exp", json!(9_999_999_999_i64))),
            ("another kind", altered("token_type", json!("access"))),
            ("another kind", altered("token_type", json!("refresh"))),
            (
                "alg none",
                forge(&with_alg("none"), &claims, |_| Vec::new()),
            ),
            (
                "alg None",
                forge(&with_alg("None"), &claims, |_| Vec::new()),
            ),
            (
                "alg none, our signature",
                forge(&with_alg("none"), &claims, |_| {
                    URL_SAFE_NO_PAD.decode(signature).unwrap()
                }),
            ),
            (
                "HS256 with the raw public key",
                forge(&with_alg("HS256"), &claims, |data| hmac(&public, data)),
            ),
            (
                "HS256 with the published key",
                forge(&with_alg("HS256"), &claims, |data| hmac(x.as_bytes(), data)),
            ),
            (
                "HS256 with the public key in DER",
                forge(&with_alg("HS256"), &claims, |data| hmac(&der, data)),
            ),
            (
                "HS256 with nothing",
                forge(&with_alg("HS256"), &claims, |data| hmac(b"", data)),
            ),
            ("EdDSA", forge(&with_alg("EdDSA"), &claims, |_| vec![0; 64])),
            ("RS256", forge(&with_alg("RS256"), &claims, by_mallory)),
            ("ES384", forge(&with_alg("ES384"), &claims, by_mallory)),
            (
                "no key id",
                forge(&json!({"typ": typ, "alg": "ES256"}), &claims, by_mallory),
            ),
            (
                "an unknown key id",
                forge(
                    &json!({"typ": typ, "alg": "ES256", "kid": "x"}),
                    &claims,
                    by_mallory,
                ),
            ),
            (
                "a key of its own",
                forge(
                    &json!({
                        "typ": typ, "alg": "ES256", "kid": kid,
                        "jwk": {"kty": "EC", "crv": "P-256", "x": mallorys_x, "y": mallorys_y},
                    }),
                    &claims,
                    by_mallory,
                ),
            ),
            ("blanks inside", token.replace('.', " .")),
            ("something behind it", format!("{token}.x")),
            ("padding", format!("{token}==")),
        ];
        for (what, token) in forged.iter().filter(|(_, forged)| forged != token) {
            let answer = verify(&server, token);
            assert_eq!((answer.status, &*answer.body), (401, DEAD_TOKEN), "{what}");
            let answer = refresh(&server, token);
            assert_eq!((answer.status, &*answer.body), (401, DEAD_TOKEN), "{what}");
            let answer = me(&server, token);
            assert_eq!((answer.status, &*answer.body), (401, BAD_TOKEN), "{what}");
        }
    }
    assert_alive(&server, &victim);
    assert_eq!(
        refresh(&server, &victim.refresh).status,
        200,
        "forgeries end no session"
    );
}

#[test]
fn token_of_another_server_is_refused() {
    let (ours, theirs) = (TestServer::start(), TestServer::start());
    let user = ours.user("user@example.com");
    let foreign = theirs.user("user@example.com");
    assert_eq!(user.id, foreign.id);
    assert_ended(&ours, &foreign);
    assert_alive(&ours, &user);
    assert_alive(&theirs, &foreign);
}

#[test]
fn signed_token_needs_a_live_session() {
    let server = TestServer::start();
    let victim = server.user("victim@example.com");
    let user = server.user("user@example.com");
    let key = server.db_signing_key();
    let kid = published_key(&server)["kid"].as_str().unwrap().to_owned();
    let sign = |claims: &Value, typ: &str| {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some(typ.into());
        header.kid = Some(kid.clone());
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_ec_der(&key)).unwrap()
    };
    let claims = part(&user.access, 1);
    let altered = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };
    assert_eq!(
        me(&server, &sign(&claims, "at+jwt")).status,
        200,
        "the unchanged claims are valid"
    );
    for (what, token) in [
        (
            "another account",
            sign(&altered("user_id", json!(victim.id)), "at+jwt"),
        ),
        (
            "an unknown session",
            sign(&altered("sid", json!("unknown")), "at+jwt"),
        ),
        ("the header of another kind", sign(&claims, "rt+jwt")),
        ("the header of any kind", sign(&claims, "JWT")),
        (
            "the claim of another kind",
            sign(&altered("token_type", json!("refresh")), "at+jwt"),
        ),
        ("no expiry", sign(&altered("exp", Value::Null), "at+jwt")),
        (
            "an expiry in the past",
            sign(&altered("exp", json!(START / 1000)), "at+jwt"),
        ),
        (
            "no issue time",
            sign(&altered("iat", Value::Null), "at+jwt"),
        ),
        (
            "an issue time in the future",
            sign(&altered("iat", json!(START / 1000 + 61)), "at+jwt"),
        ),
    ] {
        let answer = me(&server, &token);
        assert_eq!((answer.status, &*answer.body), (401, BAD_TOKEN), "{what}");
    }
}

#[test]
fn authorization_header_is_parsed_as_documented() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let access = &user.access;
    let ask = |value: &str| {
        server.request(
            "GET",
            "/api/v1/accounts/users/me/",
            &[("authorization", value)],
            "",
        )
    };
    for value in [
        format!("Bearer {access}"),
        format!("bearer {access}"),
        format!("BEARER {access}"),
        format!("bEaReR   {access}"),
    ] {
        assert_eq!(ask(&value).status, 200, "{value}");
    }
    for value in [
        "Bearer".to_owned(),
        "Bearer x".to_owned(),
        format!("Bearer {access} {access}"),
        format!("Bearer {access} x"),
        format!("Bearer \"{access}\""),
        format!("Bearer Bearer {access}"),
        format!("Bearer {access},"),
        format!("Bearer {}", &access[..access.len() - 1]),
        format!("Bearer {}", access.to_uppercase()),
    ] {
        let answer = ask(&value);
        assert_eq!((answer.status, &*answer.body), (401, BAD_TOKEN), "{value}");
        assert_eq!(
            answer.header("www-authenticate"),
            Some(CHALLENGE),
            "{value}"
        );
    }
    for value in [
        String::new(),
        "Basic dXNlcjpwYXNzd29yZA==".to_owned(),
        format!("Token {access}"),
        format!("JWT {access}"),
        access.clone(),
        format!("Bearer:{access}"),
    ] {
        let answer = ask(&value);
        assert_eq!((answer.status, &*answer.body), (401, NO_TOKEN), "{value}");
        assert_eq!(
            answer.header("www-authenticate"),
            Some(CHALLENGE),
            "{value}"
        );
    }
    let none = server.get("users/me/", None);
    none.assert(401, NO_TOKEN);
    assert_eq!(none.header("www-authenticate"), Some(CHALLENGE));
    assert_eq!(none.header("content-type"), Some("application/json"));
}

#[test]
fn non_ascii_authorization_is_invalid() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for value in [
        "Bearer é".to_owned(),
        format!("Bearer {}é", user.access),
        "Bearer \u{a0}".to_owned(),
    ] {
        let answer = server.raw(format!(
            "GET /api/v1/accounts/users/me/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: {value}\r\n\
             Connection: close\r\n\r\n"
        ));
        assert!(answer.starts_with("HTTP/1.1 401 "), "{value}: {answer}");
        assert!(answer.ends_with(BAD_TOKEN), "{value}: {answer}");
    }
}

#[test]
fn tokens_in_query_or_body_are_ignored() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let path = format!(
        "users/me/?access={0}&token={0}&access_token={0}",
        user.access
    );
    server.get(&path, None).assert(401, NO_TOKEN);
    let cookie = format!(
        "access={0}; token={0}; Authorization=Bearer {0}",
        user.access
    );
    server
        .request(
            "GET",
            "/api/v1/accounts/users/me/",
            &[("cookie", &cookie)],
            "",
        )
        .assert(401, NO_TOKEN);
    let body = json!({"access": user.access, "token": user.access, "first_name": "X"});
    server
        .api("PATCH", "users/me/", None, &body)
        .assert(401, NO_TOKEN);
}

#[test]
fn tokens_and_revocations_survive_a_restart() {
    let mut server = TestServer::start();
    let user = server.user("user@example.com");
    let ended = sign_in_again(&server, &user);
    let used = sign_in_again(&server, &user);
    blacklist(&server, &ended.refresh).assert(200, "{}");
    let next = used.with_pair(&refresh(&server, &used.refresh));
    let key = published_key(&server);
    server.restart();
    assert_eq!(published_key(&server), key);
    assert_alive(&server, &user);
    assert_ended(&server, &ended);
    assert_alive(&server, &next);
    let rotated = user.with_pair(&refresh(&server, &user.refresh));
    assert_alive(&server, &rotated);
    server.advance_seconds(11);
    server.restart();
    refresh(&server, &used.refresh).assert(401, DEAD_TOKEN);
    assert_ended(&server, &next);
    assert_alive(&server, &rotated);
}

#[test]
fn each_server_creates_its_own_key() {
    let keys = [TestServer::start(), TestServer::start()]
        .map(|server| published_key(&server)["x"].clone());
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn a_sign_in_replaces_no_other() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let sessions = at_once(10, |_| server.sign_in("user@example.com", PASSWORD));
    let mut sids: Vec<String> = sessions
        .iter()
        .map(|pair| {
            let session = user.with_pair(pair);
            assert_alive(&server, &session);
            claim(&session.access, "sid").as_str().unwrap().to_owned()
        })
        .collect();
    sids.sort();
    sids.dedup();
    assert_eq!(sids.len(), 10);
    assert_alive(&server, &user);
}

#[test]
fn no_secret_is_stored_in_plain_text() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    server.sign_up("pending@example.com");
    let next = user.with_pair(&refresh(&server, &user.refresh));
    let secrets = [
        PASSWORD.to_owned(),
        server.otp("user@example.com"),
        server.otp("pending@example.com"),
        user.access,
        user.refresh,
        next.access,
        next.refresh,
    ];
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(server.dir()).unwrap() {
        let path = entry.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("users.db")
        {
            bytes.extend(std::fs::read(path).unwrap());
        }
    }
    let contains = |text: &str| {
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    assert!(contains("pending@example.com"), "these are the right files");
    for secret in secrets {
        assert!(!contains(&secret), "{secret}");
    }
}

#[test]
fn a_retired_key_is_removed_when_its_last_token_has_expired() {
    let mut server = TestServer::start_with(|config| config.tokens.refresh_days = 1);
    let user = server.user("user@example.com");
    server.rotate_keys(None);
    let kids = |server: &TestServer| {
        let set = server
            .request("GET", "/.well-known/jwks.json", &[], "")
            .json();
        set["keys"].as_array().unwrap().len()
    };
    assert_eq!(kids(&server), 2);
    // The old key still verifies its tokens, and the new one signs the next pair.
    assert_eq!(me(&server, &user.access).status, 200);
    let pair = refresh(&server, &user.refresh);
    assert_eq!(pair.status, 200, "{}", pair.body);
    assert_ne!(
        part(&pair.text("access"), 0)["kid"],
        part(&user.access, 0)["kid"]
    );
    // Expired rows are deleted at the start, and hourly.
    server.advance_seconds(86_400);
    server.restart();
    assert_eq!(kids(&server), 2);
    server.advance_seconds(3_601);
    server.restart();
    server.wait_for_number("SELECT count(*) FROM signing_keys", 1);
    server.advance_seconds(5);
    assert_eq!(kids(&server), 1);
}

/// The published keys by algorithm.
fn published_algorithms(server: &TestServer) -> Vec<String> {
    let answer = server.request("GET", "/.well-known/jwks.json", &[], "");
    let keys = answer.json()["keys"].as_array().unwrap().clone();
    keys.iter()
        .map(|key| key["alg"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn keys_of_several_algorithms_work_side_by_side() {
    let server = TestServer::start_with(|config| {
        config.tokens.algorithm = Some(SigningAlgorithm::EdDsa);
    });
    let user = server.user("user@example.com");
    assert_eq!(part(&user.access, 0)["alg"], "EdDSA");
    assert_eq!(published_algorithms(&server), ["EdDSA"]);

    // A changed setting rotates the keys, here at a reload.
    server.advance_seconds(1);
    let reloaded = server.reload(|config| config.tokens.algorithm = Some(SigningAlgorithm::Rs256));
    assert_eq!(reloaded.unwrap().changed, ["tokens.algorithm"]);
    let rs256 = sign_in_again(&server, &user);
    assert_eq!(part(&rs256.access, 0)["alg"], "RS256");
    let log = server.db_text("SELECT event FROM events WHERE operator = 'program'");
    assert_eq!(log, "keys_rotated");

    // Without the setting a rotation keeps the algorithm, unless another one is named.
    server
        .reload(|config| config.tokens.algorithm = None)
        .unwrap();
    assert_eq!(published_algorithms(&server), ["RS256", "EdDSA"]);
    server.advance_seconds(1);
    server.rotate_keys(Some(SigningAlgorithm::Es256));
    let es256 = sign_in_again(&server, &user);
    assert_eq!(part(&es256.access, 0)["alg"], "ES256");
    server.advance_seconds(1);
    server.rotate_keys(None);
    let again = sign_in_again(&server, &user);
    assert_eq!(part(&again.access, 0)["alg"], "ES256");
    assert_eq!(
        published_algorithms(&server),
        ["ES256", "ES256", "RS256", "EdDSA"]
    );

    for user in [&user, &rs256, &es256, &again] {
        assert_alive(&server, user);
        let next = refresh(&server, &user.refresh);
        assert_eq!(next.status, 200, "{}", next.body);
        assert_eq!(part(&next.text("access"), 0)["alg"], "ES256");
    }
}

#[test]
fn tokens_from_the_future_are_refused() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    server.turn_back(Duration::from_mins(1));
    assert_alive(&server, &user);
    // Another second, for tokens in the cache as well.
    server.turn_back(Duration::from_secs(1));
    me(&server, &user.access).assert(401, BAD_TOKEN);
    refresh(&server, &user.refresh).assert(401, DEAD_TOKEN);
    server.advance(Duration::from_secs(1));
    assert_alive(&server, &user);
}

#[test]
fn discovery_names_issuer_and_keys() {
    let path = "/.well-known/openid-configuration";
    let server = TestServer::start();
    let answer = server.request("GET", path, &[], "");
    let metadata = answer.json();
    assert_eq!(metadata["issuer"], "http://localhost:8000");
    assert_eq!(
        metadata["jwks_uri"],
        "http://localhost:8000/.well-known/jwks.json"
    );
}

#[test]
fn external_id_is_a_claim_of_access_tokens() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    assert_eq!(claim(&user.access, "external_id"), Value::Null);
    server.db_execute("UPDATE users SET external_id = 'auth0|60425d'");
    let pair = server.sign_in("user@example.com", PASSWORD);
    assert_eq!(claim(&pair.text("access"), "external_id"), "auth0|60425d");
    assert_eq!(claim(&pair.text("refresh"), "external_id"), Value::Null);
}
