//! `/o/token/` and `/o/userinfo/`: how OAuth clients get tokens, what these say, and when they end.

use std::time::Duration;

use accounts_server::config::FactorRequirement;
use accounts_server::domain::SigningAlgorithm;
use serde_json::{Value, json};

use crate::applications::{VERIFIER, challenge};
use crate::browser::Browser;
use crate::contract::{BAD_TOKEN, DEAD_TOKEN};
use crate::relying_party::{OTHER_REDIRECT, RelyingParty, signed_in};
use crate::support::{PASSWORD, TestServer, at_once, claims};

/// Asserts an error of RFC 6749 that no cache may keep.
#[track_caller]
fn assert_error(answer: &crate::support::Answer, status: u16, error: &str) {
    assert_eq!(
        (answer.status, answer.text("error")),
        (status, error.to_owned()),
        "{}",
        answer.body
    );
    assert!(!answer.text("error_description").is_empty());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("pragma"), Some("no-cache"));
}

#[test]
fn code_is_exchanged_for_tokens() {
    let server = TestServer::start();
    let app = RelyingParty::register(&server, "shop", |_| {});
    let user = server.user("ann@example.com");
    let mut browser = signed_in(&server, &user);
    let code = app.code_with(&mut browser, "openid email", Some("n-0S6"));
    server.advance_seconds(5);
    let answer = app.exchange(&code);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("pragma"), Some("no-cache"));
    let tokens = answer.json();
    let names: Vec<_> = tokens.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        [
            "access_token",
            "token_type",
            "expires_in",
            "scope",
            "id_token",
            "refresh_token"
        ]
    );
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 300);
    assert_eq!(tokens["scope"], "openid email");

    let now = server.clock_seconds();
    let id_token = claims(tokens["id_token"].as_str().unwrap());
    for (name, value) in [
        ("iss", json!("http://localhost:8000")),
        ("sub", json!(user.id.to_string())),
        ("aud", json!("shop")),
        ("azp", json!("shop")),
        ("iat", json!(now)),
        ("exp", json!(now + 300)),
        ("auth_time", json!(now - 5)),
        ("nonce", json!("n-0S6")),
        ("amr", json!(["pwd"])),
        ("email", json!("ann@example.com")),
        ("email_verified", json!(true)),
    ] {
        assert_eq!(id_token[name], value, "{name}");
    }
    assert!(id_token["at_hash"].is_string());
    let access = claims(tokens["access_token"].as_str().unwrap());
    for (name, value) in [
        ("iss", json!("http://localhost:8000")),
        ("sub", json!(user.id.to_string())),
        ("aud", json!("shop")),
        ("client_id", json!("shop")),
        ("scope", json!("openid email")),
        ("exp", json!(now + 300)),
        ("sid", id_token["sid"].clone()),
    ] {
        assert_eq!(access[name], value, "{name}");
    }
    // What is about the user is in ID tokens alone.
    assert_eq!(access["email"], Value::Null);
}

#[test]
fn tokens_without_openid_have_no_id_token() {
    let server = TestServer::start();
    let app = RelyingParty::register(&server, "shop", |_| {});
    let mut browser = signed_in(&server, &server.user("ann@example.com"));
    let tokens = app.sign_in(&mut browser, "email");
    assert_eq!(tokens.get("id_token"), None);
    let answer = server.request(
        "GET",
        "/o/userinfo/",
        &[("authorization", &bearer(&tokens))],
        "",
    );
    assert_error(&answer, 403, "insufficient_scope");
    assert_eq!(
        answer.header("www-authenticate"),
        Some(r#"Bearer realm="oauth", error="insufficient_scope", scope="openid""#)
    );
}

fn bearer(tokens: &Value) -> String {
    format!("Bearer {}", tokens["access_token"].as_str().unwrap())
}

fn user_info(server: &TestServer, tokens: &Value) -> crate::support::Answer {
    server.request(
        "GET",
        "/o/userinfo/",
        &[("authorization", &bearer(tokens))],
        "",
    )
}

/// Asserts that neither token of a session is accepted.
#[track_caller]
fn assert_ended(app: &RelyingParty<'_>, tokens: &Value) {
    assert_error(&user_info(app.server, tokens), 401, "invalid_token");
    assert_error(&app.refresh(tokens), 400, "invalid_grant");
}

#[test]
fn code_is_bound_to_client_redirect_uri_and_verifier() {
    let server = TestServer::start();
    let app = RelyingParty::register(&server, "shop", |_| {});
    let other = RelyingParty::register(&server, "other", |_| {});
    let mut browser = signed_in(&server, &server.user("ann@example.com"));
    let code = app.code(&mut browser, "openid");
    let wrong_verifier = VERIFIER.replace('d', "e");
    for (change, error) in [
        (&[("redirect_uri", OTHER_REDIRECT)][..], "invalid_grant"),
        (
            &[("redirect_uri", "https://shop.example/callback/")],
            "invalid_grant",
        ),
        (
            &[("redirect_uri", "https://shop.example/Callback")],
            "invalid_grant",
        ),
        (
            &[("redirect_uri", "https://shop.example/callback?a=b")],
            "invalid_grant",
        ),
        (&[("redirect_uri", "")], "invalid_request"),
        (&[("code_verifier", &wrong_verifier)], "invalid_grant"),
        (&[("code_verifier", &VERIFIER[1..])], "invalid_grant"),
        (&[("code_verifier", "short")], "invalid_grant"),
        (&[("code_verifier", "")], "invalid_request"),
        (&[("code", "unknown")], "invalid_grant"),
        (&[("code", "")], "invalid_request"),
    ] {
        let answer = app.exchange_with(&code, change);
        assert_error(&answer, 400, error);
    }
    assert_error(&other.exchange(&code), 400, "invalid_grant");
    // The challenge itself does not do, as it would with the method `plain`.
    let challenge = challenge(VERIFIER);
    let answer = app.exchange_with(&code, &[("code_verifier", &challenge)]);
    assert_error(&answer, 400, "invalid_grant");
    // None of them has used it up.
    assert_eq!(app.exchange(&code).status, 200);
}

#[test]
fn code_expires_after_a_minute() {
    let server = TestServer::start();
    let app = RelyingParty::register(&server, "shop", |_| {});
    let mut browser = signed_in(&server, &server.user("ann@example.com"));
    let (first, second) = (
        app.code(&mut browser, "openid"),
        app.code(&mut browser, "openid"),
    );
    server.advance_seconds(59);
    assert_eq!(app.exchange(&first).status, 200);
    server.advance_seconds(1);
    assert_error(&app.exchange(&second), 400, "invalid_grant");
}

#[test]
fn code_that_comes_twice_ends_its_session() {
    let server = TestServer::start();
    let app = RelyingParty::register(&server, "shop", |_| {});
    let mut browser = signed_in(&server, &server.user("ann@example.com"));
    let other = app.sign_in(&mut browser, "openid");
    let code = app.code(&mut browser, "openid");
    let tokens = app.exchange(&code).json();
    assert_eq!(user_info(&server, &tokens).status, 200);
    assert_error(&app.exchange(&code), 400, "invalid_grant");
    assert_ended(&app, &tokens);
    assert_eq!(user_info(&server, &other).status, 200);
    let reused = "SELECT count(*) FROM events WHERE event = 'token_reused' AND detail = 'shop'";
    assert_eq!(server.db_number(reused), 1);
    // Long after, and by somebody who has not the verifier.
    server.advance(Duration::from_hours(1));
    let wrong = [(
        "code_verifier",
        "wrong-verifier-wrong-verifier-wrong-verifier",
    )];
    assert_error(&app.exchange_with(&code, &wrong), 400, "invalid_grant");
    assert_eq!(server.db_number(reused), 1);
}

#[test]
fn one_of_parallel_exchanges_wins() {
    let server = TestServer::start();
    let app = RelyingParty::register(&server, "shop", |_| {});
    let mut browser = signed_in(&server, &server.user("ann@example.com"));
    let code = app.code(&mut browser, "openid");
    let answers = at_once(16, |_| app.exchange(&code));
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!((won.len(), lost.len()), (1, 15));
    for answer in lost {
        assert_error(answer, 400, "invalid_grant");
    }
    // Which of them was the thief is unknown.
    assert_ended(&app, &won[0].json());
}

#[test]
fn code_needs_what_it_was_issued_for() {
    let server = TestServer::start();
    let app = RelyingParty::register(&server, "shop", |_| {});
    let staff = server.staff("staff@example.com");
    let user = server.user("ann@example.com");
    let code = |browser: &mut Browser<'_>| app.code(browser, "openid offline_access");

    // Signed out of the browser before the exchange.
    let mut browser = signed_in(&server, &user);
    let ended = code(&mut browser);
    sign_out(&mut browser);
    assert_error(&app.exchange(&ended), 400, "invalid_grant");

    // Staff alone, and a second factor, by a change of the client.
    let mut browser = signed_in(&server, &user);
    let pending = code(&mut browser);
    for setting in ["is_staff_only", "requires_mfa"] {
        app.set(&format!("{setting} = TRUE"));
        assert_error(&app.exchange(&pending), 400, "invalid_grant");
        app.set(&format!("{setting} = FALSE"));
    }
    // Deactivated.
    let activate = |is_active| {
        let answer = server.patch(&user.path(), &staff, &json!({"is_active": is_active}));
        assert_eq!(answer.status, 200);
    };
    activate(false);
    assert_error(&app.exchange(&pending), 400, "invalid_grant");
    activate(true);
    assert_error(&app.exchange(&pending), 400, "invalid_grant");
}

fn sign_out(browser: &mut Browser<'_>) {
    let token = browser.token("/account/");
    let answer = browser.post("/account/sign-out/", &[("form_token", &token)]);
    assert_eq!(answer.status, 303);
}

#[test]
fn refresh_token_rotates() {
    let server = TestServer::start();
    let app = RelyingParty::register(&server, "shop", |_| {});
    let mut browser = signed_in(&server, &server.user("ann@example.com"));
    let first = app.sign_in(&mut browser, "openid profile");
    server.advance_seconds(100);
    let answer = app.refresh(&first);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let second = answer.json();
    assert_eq!(second["scope"], "openid profile");
    let ids = [&first, &second].map(|tokens| claims(tokens["id_token"].as_str().unwrap()));
    for name in ["iss", "sub", "aud", "sid", "auth_time"] {
        assert_eq!(ids[0][name], ids[1][name], "{name}");
    }
    assert_eq!(ids[1]["nonce"], Value::Null);
    assert_eq!(
        ids[1]["iat"].as_i64().unwrap() - ids[0]["iat"].as_i64().unwrap(),
        100
    );
    // Within the grace all repeats get the same successor.
    let repeated = app.refresh(&first).json();
    let jti = |tokens: &Value| claims(tokens["refresh_token"].as_str().unwrap())["jti"].clone();
    assert_eq!(jti(&second), jti(&repeated));
    assert_ne!(jti(&first), jti(&second));
    assert_eq!(user_info(&server, &second).status, 200);
    // After it, a repeat is theft.
    server.advance_seconds(10);
    assert_error(&app.refresh(&first), 400, "invalid_grant");
    assert_ended(&app, &second);
    let reused = "SELECT count(*) FROM events WHERE event = 'token_reused' AND detail = 'shop'";
    assert_eq!(server.db_number(reused), 1);
}

#[test]
fn parallel_refreshes_get_one_successor() {
    let server = TestServer::start();
    let app = RelyingParty::register(&server, "shop", |_| {});
    let mut browser = signed_in(&server, &server.user("ann@example.com"));
    let tokens = app.sign_in(&mut browser, "openid");
    let answers = at_once(16, |_| app.refresh(&tokens));
    let mut ids: Vec<_> = answers
        .iter()
        .map(|answer| claims(&answer.text("refresh_token"))["jti"].to_string())
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 1);
    // Without a grace, one of them wins.
    let server = TestServer::start_with(|config| config.tokens.reuse_grace_seconds = 0);
    let app = RelyingParty::register(&server, "shop", |_| {});
    let mut browser = signed_in(&server, &server.user("ann@example.com"));
    let tokens = app.sign_in(&mut browser, "openid");
    let answers = at_once(16, |_| app.refresh(&tokens));
    assert_eq!(
        answers.iter().filter(|answer| answer.status == 200).count(),
        1
    );
}

#[test]
fn foreign_refresh_tokens_are_refused() {
    let server = TestServer::start();
    let app = RelyingParty::register(&server, "shop", |_| {});
    let other = RelyingParty::register(&server, "other", |_| {});
    let user = server.user("ann@example.com");
    let mut browser = signed_in(&server, &user);
    let tokens = app.sign_in(&mut browser, "openid");
    for token in [
        tokens["access_token"].as_str().unwrap(),
        tokens["id_token"].as_str().unwrap(),
        &user.refresh,
        &user.access,
        "x",
        &changed(tokens["refresh_token"].as_str().unwrap()),
    ] {
        let answer = app.refresh_with(token, &[]);
        assert_error(&answer, 400, "invalid_grant");
    }
    let stolen = other.refresh_with(tokens["refresh_token"].as_str().unwrap(), &[]);
    assert_error(&stolen, 400, "invalid_grant");
    // None of this has used it up.
    assert_eq!(app.refresh(&tokens).status, 200);
}

/// A token with another signature.
fn changed(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let reversed: String = signature.chars().rev().collect();
    format!("{signed}.{reversed}")
}

#[test]
fn refresh_asks_for_account_client_and_consent() {
    let server = TestServer::start();
    let app = RelyingParty::register(&server, "shop", |settings| settings.requires_consent = true);
    let user = server.user("ann@example.com");
    let mut browser = signed_in(&server, &user);
    let sign_in = |browser: &mut Browser<'_>| app.sign_in(browser, "openid email offline_access");

    // What can change back is refused without ending the session.
    let tokens = sign_in(&mut browser);
    for (change, back) in [
        ("is_staff_only = TRUE", "is_staff_only = FALSE"),
        ("requires_mfa = TRUE", "requires_mfa = FALSE"),
        (
            "scopes = 'openid email'",
            "scopes = 'openid email offline_access'",
        ),
    ] {
        app.set(change);
        assert_error(&app.refresh(&tokens), 400, "invalid_grant");
        app.set(back);
    }
    // The user allows less than before.
    server.db_execute("UPDATE oauth_grants SET scopes = 'openid'");
    assert_error(&app.refresh(&tokens), 400, "invalid_grant");
    server.db_execute("UPDATE oauth_grants SET scopes = 'openid email offline_access'");
    // Scopes that the client has lost are dropped.
    app.set("scopes = 'openid offline_access'");
    let fewer = app.refresh(&tokens).json();
    assert_eq!(fewer["scope"], "openid offline_access");
    assert_eq!(
        claims(fewer["id_token"].as_str().unwrap())["email"],
        Value::Null
    );
    assert_eq!(
        user_info(&server, &fewer).json(),
        json!({"sub": user.id.to_string()})
    );
    app.set("scopes = 'openid email offline_access'");

    // Without consent the session is over.
    server.db_execute("DELETE FROM oauth_grants");
    assert_error(&app.refresh(&fewer), 400, "invalid_grant");

    // A deactivated account, whose sessions have ended for good.
    let tokens = sign_in(&mut browser);
    let staff = server.staff("staff@example.com");
    for is_active in [false, true] {
        server.patch(&user.path(), &staff, &json!({"is_active": is_active}));
        assert_ended(&app, &tokens);
    }

    // A removed client does not even authenticate.
    let mut browser = signed_in(&server, &user);
    let tokens = sign_in(&mut browser);
    server.db_execute("PRAGMA foreign_keys = ON");
    app.remove();
    assert_error(&app.refresh(&tokens), 401, "invalid_client");
    assert_error(&user_info(&server, &tokens), 401, "invalid_token");
}

#[test]
fn refresh_wants_the_factor_of_the_settings() {
    let server = TestServer::start();
    let app = RelyingParty::register(&server, "shop", |_| {});
    let mut browser = signed_in(&server, &server.user("ann@example.com"));
    let tokens = app.sign_in(&mut browser, "openid");
    server
        .reload(|config| config.mfa.required_for = FactorRequirement::Everyone)
        .unwrap();
    assert_error(&app.refresh(&tokens), 400, "invalid_grant");
    server.reload(|_| {}).unwrap();
    assert_eq!(app.refresh(&tokens).status, 200);
}

#[test]
fn refresh_narrows_scopes_but_widens_none() {
    let server = TestServer::start();
    let app = RelyingParty::register(&server, "shop", |_| {});
    let mut browser = signed_in(&server, &server.user("ann@example.com"));
    let tokens = app.sign_in(&mut browser, "openid email");
    let token = tokens["refresh_token"].as_str().unwrap();
    for scope in ["openid email phone", "profile", "groups", " "] {
        let answer = app.refresh_with(token, &[("scope", scope)]);
        assert_error(&answer, 400, "invalid_scope");
    }
    let narrow = app.refresh_with(token, &[("scope", "openid")]).json();
    assert_eq!(narrow["scope"], "openid");
    let info = user_info(&server, &narrow).json();
    assert_eq!(info["email"], Value::Null);
    // The session has kept them.
    let whole = app.refresh(&narrow).json();
    assert_eq!(whole["scope"], "openid email");
    assert_eq!(
        user_info(&server, &whole).json()["email"],
        "ann@example.com"
    );
}

#[test]
fn session_ends_with_the_browser_session() {
    let server = TestServer::start();
    let app = RelyingParty::register(&server, "shop", |_| {});
    let user = server.user("ann@example.com");
    let mut browser = signed_in(&server, &user);
    let bound = app.sign_in(&mut browser, "openid");
    let offline = app.sign_in(&mut browser, "openid offline_access");
    sign_out(&mut browser);
    assert_ended(&app, &bound);
    assert_eq!(user_info(&server, &offline).status, 200);
    assert_eq!(app.refresh(&offline).status, 200);
}

#[test]
fn session_ends_after_its_lifetime() {
    let server = TestServer::start();
    let app = RelyingParty::register(&server, "shop", |settings| {
        settings.session_days = 10;
        settings.refresh_days = 7;
    });
    let user = server.user("ann@example.com");
    let mut browser = signed_in(&server, &user);
    let unused = app.sign_in(&mut browser, "openid offline_access");
    let mut tokens = app.sign_in(&mut browser, "openid offline_access");
    let day = Duration::from_hours(24);
    for _ in 0..2 {
        server.advance(day * 4);
        tokens = app.refresh(&tokens).json();
    }
    // A refresh token that nobody uses expires; no token outlives its session.
    assert_error(&app.refresh(&unused), 400, "invalid_grant");
    let expires = claims(tokens["refresh_token"].as_str().unwrap())["exp"].as_i64();
    assert_eq!(expires, Some(server.clock_seconds() + 2 * 24 * 3600));
    server.advance(day * 2);
    assert_ended(&app, &tokens);
}

#[test]
fn session_lasts_no_longer_than_that_of_the_browser() {
    let server = TestServer::start_with(|config| config.tokens.staff_session_hours = 24);
    let app = RelyingParty::register(&server, "shop", |_| {});
    let staff = server.staff("staff@example.com");
    let mut browser = signed_in(&server, &staff);
    let bound = app.sign_in(&mut browser, "openid");
    let offline = app.sign_in(&mut browser, "openid offline_access");
    server.advance(Duration::from_hours(24) - Duration::from_mins(1));
    let late = app.refresh(&bound).json();
    assert_eq!(late["expires_in"], 60);
    server.advance(Duration::from_mins(1));
    assert_ended(&app, &late);
    // Staff's too outlives the browser session with this scope.
    assert_eq!(app.refresh(&offline).status, 200);
}

#[test]
fn password_change_and_reset_end_sessions_of_clients() {
    let server = TestServer::start();
    let app = RelyingParty::register(&server, "shop", |_| {});
    let user = server.user("ann@example.com");
    let mut browser = signed_in(&server, &user);
    let tokens = app.sign_in(&mut browser, "openid offline_access");
    let body = json!({"current_password": PASSWORD, "password": "another-passw0rd",
        "confirm_password": "another-passw0rd"});
    let answer = server.api("POST", "password/change/", Some(&user.access), &body);
    assert_eq!(answer.status, 200);
    assert_ended(&app, &tokens);
}

#[test]
fn user_info_gives_claims_by_scope_alone() {
    let server = TestServer::start();
    let app = RelyingParty::register(&server, "shop", |_| {});
    let user = server.user("ann@example.com");
    let mut browser = signed_in(&server, &user);
    // Nothing is filled in yet.
    let tokens = app.sign_in(&mut browser, "openid profile email phone address");
    let now = server.clock_seconds();
    assert_eq!(
        user_info(&server, &tokens).json(),
        json!({"sub": user.id.to_string(), "updated_at": now, "email": "ann@example.com",
            "email_verified": true})
    );
    let profile = json!({"first_name": "Ann", "last_name": "Lee", "phone": "+1 234 567 890",
        "gender": "F", "country": "US", "address": "1 Main Street", "birthday": "1990-01-31"});
    assert_eq!(server.patch("users/me/", &user, &profile).status, 200);
    server.db_execute("UPDATE users SET language = 'de', photo = 'face.jpg'");
    let sub = json!(user.id.to_string());
    for (scope, expected) in [
        ("openid", json!({"sub": sub})),
        (
            "openid profile",
            json!({"sub": sub, "name": "Ann Lee", "given_name": "Ann", "family_name": "Lee",
                "picture": "http://localhost:8000/media/photos/face.jpg", "gender": "female",
                "birthdate": "1990-01-31", "locale": "de", "updated_at": now}),
        ),
        (
            "openid email",
            json!({"sub": sub, "email": "ann@example.com", "email_verified": true}),
        ),
        (
            "openid phone",
            json!({"sub": sub, "phone_number": "+1234567890"}),
        ),
        (
            "openid address",
            json!({"sub": sub, "address": {"formatted": "1 Main Street", "country": "US"}}),
        ),
    ] {
        let tokens = app.sign_in(&mut browser, scope);
        let answer = user_info(&server, &tokens);
        assert_eq!(answer.json(), expected, "{scope}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        // ID tokens have what clients look for there, and nothing more.
        let id_token = claims(tokens["id_token"].as_str().unwrap());
        for name in [
            "name",
            "given_name",
            "family_name",
            "picture",
            "email",
            "email_verified",
        ] {
            assert_eq!(id_token.get(name), expected.get(name), "{scope} {name}");
        }
        for name in ["gender", "birthdate", "locale", "phone_number", "address"] {
            assert_eq!(id_token.get(name), None, "{scope} {name}");
        }
    }
}

#[test]
fn user_info_has_the_confirmed_address() {
    let server = TestServer::start();
    let app = RelyingParty::register(&server, "shop", |_| {});
    let user = server.user("ann@example.com");
    let mut browser = signed_in(&server, &user);
    let tokens = app.sign_in(&mut browser, "openid email");
    server.patch("users/me/", &user, &json!({"email": "new@example.com"}));
    let email = || user_info(&server, &tokens).json()["email"].clone();
    assert_eq!(email(), "ann@example.com");
    let body = json!({"email": "new@example.com", "otp": server.otp("new@example.com")});
    let confirmed = server.api("POST", "otp/verify/", Some(&user.access), &body);
    assert_eq!(confirmed.status, 200);
    assert_eq!(email(), "new@example.com");
}

#[test]
fn access_token_comes_by_header_or_form() {
    let server = TestServer::start();
    let app = RelyingParty::register(&server, "shop", |_| {});
    let user = server.user("ann@example.com");
    let mut browser = signed_in(&server, &user);
    let tokens = app.sign_in(&mut browser, "openid");
    let access = tokens["access_token"].as_str().unwrap();
    let header = bearer(&tokens);
    let expected = json!({"sub": user.id.to_string()});
    let form = ("content-type", "application/x-www-form-urlencoded");
    let body = format!("access_token={access}");
    let path = "/o/userinfo/";
    let authorization = ("authorization", header.as_str());
    for answer in [
        server.request("GET", path, &[authorization], ""),
        server.request("POST", path, &[authorization], ""),
        server.request("POST", path, &[authorization, form], ""),
        server.request("POST", path, &[form], &body),
        server.request("GET", "/o/userinfo", &[authorization], ""),
    ] {
        answer.assert_json(200, &expected);
    }
    let twice = server.request("POST", path, &[authorization, form], &body);
    assert_error(&twice, 400, "invalid_request");
    let json_body = server.request(
        "POST",
        path,
        &[("content-type", "application/json")],
        json!({"access_token": access}).to_string(),
    );
    assert_error(&json_body, 400, "invalid_request");
    // Not by a query, nor a cookie.
    let query = server.request("GET", &format!("{path}?access_token={access}"), &[], "");
    let cookie = browser.get(path);
    for answer in [query, cookie, server.request("POST", path, &[form], "")] {
        assert_error(&answer, 401, "invalid_token");
        assert_eq!(
            answer.header("www-authenticate"),
            Some(r#"Bearer realm="oauth""#)
        );
    }
    let expired_header = header.clone();
    server.advance_seconds(300);
    for wrong in [
        "Bearer",
        "Bearer x",
        "Bearer a b",
        &expired_header,
        &changed(&header),
    ] {
        let answer = server.request("GET", path, &[("authorization", wrong)], "");
        assert_error(&answer, 401, "invalid_token");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(
            challenge.contains(r#"error="invalid_token""#),
            "{challenge}"
        );
    }
}

#[test]
fn account_api_refuses_tokens_of_clients() {
    let server = TestServer::start();
    let app = RelyingParty::register(&server, "shop", |settings| {
        settings.id_token_alg = SigningAlgorithm::Es256;
    });
    let staff = server.staff("staff@example.com");
    let mut browser = signed_in(&server, &staff);
    let tokens = app.sign_in(&mut browser, "openid profile email offline_access");
    for name in ["access_token", "refresh_token", "id_token"] {
        let token = tokens[name].as_str().unwrap();
        for (method, path) in [
            ("GET", "users/me/"),
            ("PATCH", "users/me/"),
            ("DELETE", "users/me/"),
            ("GET", "users/"),
            ("GET", "events/"),
            ("GET", "sessions/"),
            ("DELETE", "sessions/"),
            ("POST", "password/change/"),
            ("POST", "reauthenticate/"),
            ("GET", "mfa/status/"),
            ("GET", "passkeys/"),
            ("GET", "webhooks/"),
            ("GET", "mails/"),
            ("GET", "invitations/"),
        ] {
            let answer = server.api(method, path, Some(token), &json!({}));
            answer.assert(401, BAD_TOKEN);
            let challenge = answer.header("www-authenticate");
            assert_eq!(challenge, Some(r#"Bearer realm="api""#), "{method} {path}");
        }
        server
            .post("token/refresh/", &json!({"refresh": token}))
            .assert(401, DEAD_TOKEN);
        server
            .post("token/verify/", &json!({"token": token}))
            .assert(401, DEAD_TOKEN);
        server
            .post("token/blacklist/", &json!({"refresh": token}))
            .assert(401, DEAD_TOKEN);
    }
    // They are valid where they belong.
    assert_eq!(user_info(&server, &tokens).status, 200);
    assert_eq!(app.refresh(&tokens).status, 200);
}

#[test]
fn endpoints_of_clients_refuse_tokens_of_the_account_api() {
    let server = TestServer::start();
    let app = RelyingParty::register(&server, "shop", |_| {});
    let user = server.user("ann@example.com");
    for token in [&user.access, &user.refresh] {
        let header = format!("Bearer {token}");
        let answer = server.request("GET", "/o/userinfo/", &[("authorization", &header)], "");
        assert_error(&answer, 401, "invalid_token");
        assert_error(&app.refresh_with(token, &[]), 400, "invalid_grant");
        let fields = [("token", token.as_str())];
        app.post("/o/introspect/", &fields)
            .assert(200, r#"{"active":false}"#);
        app.post("/o/revoke_token/", &fields).assert(200, "{}");
    }
    assert_eq!(server.get("users/me/", Some(&user.access)).status, 200);
    let refreshed = server.post("token/refresh/", &json!({"refresh": user.refresh}));
    assert_eq!(refreshed.status, 200);
}

#[test]
fn sessions_of_clients_evict_none_of_the_account() {
    let server = TestServer::start();
    let app = RelyingParty::register(&server, "shop", |_| {});
    let user = server.user("ann@example.com");
    let mut browser = signed_in(&server, &user);
    for _ in 0..99 {
        let signed_in = server.sign_in("ann@example.com", PASSWORD);
        assert_eq!(signed_in.status, 200);
    }
    // There are 101 with the browser's: the oldest without a live token went. Those of clients do
    // not count among them.
    let own = "SELECT count(*) FROM sessions WHERE client_id IS NULL";
    assert_eq!(server.db_number(own), 100);
    let tokens: Vec<_> = (0..25)
        .map(|_| {
            server.advance_seconds(1);
            app.sign_in(&mut browser, "openid")
        })
        .collect();
    assert_eq!(server.db_number(own), 100);
    let of_clients = "SELECT count(*) FROM sessions WHERE client_id IS NOT NULL";
    assert_eq!(server.db_number(of_clients), 20);
    assert_ended(&app, &tokens[0]);
    assert_eq!(user_info(&server, &tokens[24]).status, 200);
}

#[test]
fn every_algorithm_signs() {
    let server = TestServer::start();
    let user = server.user("ann@example.com");
    let mut browser = signed_in(&server, &user);
    for (id, algorithm) in [
        ("shop", SigningAlgorithm::Rs256),
        ("mail", SigningAlgorithm::Es256),
        ("news", SigningAlgorithm::EdDsa),
    ] {
        let app = RelyingParty::register(&server, id, |settings| settings.id_token_alg = algorithm);
        let tokens = app.sign_in(&mut browser, "openid");
        let header = crate::relying_party::header(tokens["id_token"].as_str().unwrap());
        assert_eq!(header["alg"], algorithm.as_str());
        let keys = server
            .request("GET", "/.well-known/jwks.json", &[], "")
            .json();
        let keys = keys["keys"].as_array().unwrap();
        assert!(
            keys.iter().any(|key| key["kid"] == header["kid"]),
            "{header}"
        );
        assert_eq!(user_info(&server, &tokens).status, 200);
        // Older keys verify on.
        server.rotate_keys(None);
        assert_eq!(user_info(&server, &tokens).status, 200);
        let next = app.refresh(&tokens).json();
        let next = crate::relying_party::header(next["id_token"].as_str().unwrap());
        assert_ne!(next["kid"], header["kid"]);
    }
}
