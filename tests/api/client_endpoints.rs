//! What OAuth clients ask: discovery, authentication, revocation, introspection, errors, pages of
//! other origins, limits.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::relying_party::{ORIGIN, RelyingParty, SECRET, basic, signed_in};
use crate::support::{Answer, PASSWORD, TestServer, claims};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[track_caller]
fn assert_error(answer: &Answer, status: u16, error: &str) {
    assert_eq!(
        (answer.status, answer.text("error")),
        (status, error.to_owned()),
        "{}",
        answer.body
    );
}

#[test]
fn discovery_describes_this_provider() {
    let server = TestServer::start_with(|config| config.tokens.issuer = "accounts".into());
    let [openid, oauth] = ["openid-configuration", "oauth-authorization-server"].map(|name| {
        let answer = server.request("GET", &format!("/.well-known/{name}"), &[], "");
        assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        answer
    });
    assert_eq!(openid.body, oauth.body);
    let metadata = openid.json();
    // Clients compare the issuer with the URL that they asked: it is not that of the account API.
    assert_eq!(metadata["issuer"], "http://localhost:8000");
    for (name, path) in [
        ("authorization_endpoint", "/o/authorize/"),
        ("token_endpoint", "/o/token/"),
        ("userinfo_endpoint", "/o/userinfo/"),
        ("jwks_uri", "/.well-known/jwks.json"),
        ("revocation_endpoint", "/o/revoke_token/"),
        ("introspection_endpoint", "/o/introspect/"),
        ("end_session_endpoint", "/o/logout/"),
    ] {
        assert_eq!(metadata[name], format!("http://localhost:8000{path}"));
        // Each of them is there.
        assert_eq!(
            server.request("OPTIONS", path, &[], "").status,
            200,
            "{path}"
        );
    }
    for (name, values) in [
        ("response_types_supported", json!(["code"])),
        ("response_modes_supported", json!(["query", "form_post"])),
        (
            "grant_types_supported",
            json!(["authorization_code", "refresh_token"]),
        ),
        ("code_challenge_methods_supported", json!(["S256"])),
        ("subject_types_supported", json!(["public"])),
        (
            "authorization_response_iss_parameter_supported",
            json!(true),
        ),
        ("request_parameter_supported", json!(false)),
        // Its default would be true.
        ("request_uri_parameter_supported", json!(false)),
        (
            "ui_locales_supported",
            json!(["en", "de", "es", "fr", "it", "pt-BR"]),
        ),
    ] {
        assert_eq!(metadata[name], values, "{name}");
    }
}

/// Asks for tokens with these headers and parameters, and a code that nobody has.
fn ask(server: &TestServer, headers: &[(&str, &str)], credentials: &[(&str, &str)]) -> Answer {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token");
    form.append_pair("refresh_token", "x");
    form.extend_pairs(credentials);
    let headers: Vec<_> = headers.iter().copied().chain([FORM]).collect();
    server.request("POST", "/o/token/", &headers, form.finish())
}

#[test]
fn clients_authenticate_in_three_ways() {
    let server = TestServer::start();
    RelyingParty::register(&server, "shop", |_| {});
    RelyingParty::register_public(&server, "phone");
    let encoded = basic("shop", SECRET);
    // As many libraries write it: without form-encoding, or without padding.
    let raw = format!("Basic {}", STANDARD.encode(format!("shop:{SECRET}")));
    let unpadded = raw.trim_end_matches('=').replace("Basic", "bAsIc");
    let nobody = basic("phone", "");
    let authorization = |value| [("authorization", value)];
    // Authenticated, they learn that the token is none.
    for answer in [
        ask(&server, &authorization(&*encoded), &[]),
        ask(&server, &authorization(&*raw), &[]),
        ask(&server, &authorization(&*unpadded), &[]),
        ask(&server, &authorization(&*encoded), &[("client_id", "shop")]),
        ask(
            &server,
            &[],
            &[("client_id", "shop"), ("client_secret", SECRET)],
        ),
        ask(&server, &[], &[("client_id", "phone")]),
        ask(
            &server,
            &[],
            &[("client_id", "phone"), ("client_secret", "")],
        ),
        ask(&server, &authorization(&*nobody), &[]),
    ] {
        assert_error(&answer, 400, "invalid_grant");
    }
    let wrong = basic("shop", &SECRET.replace('a', "b"));
    let unknown = basic("unknown", SECRET);
    let with_secret = basic("phone", SECRET);
    for answer in [
        ask(&server, &authorization(&*wrong), &[]),
        ask(&server, &authorization(&*unknown), &[]),
        ask(&server, &authorization(&*with_secret), &[]),
        ask(&server, &authorization("Basic x"), &[]),
        ask(&server, &authorization("Basic"), &[]),
        ask(
            &server,
            &authorization("Bearer x"),
            &[("client_id", "phone")],
        ),
        ask(&server, &[], &[]),
        ask(&server, &[], &[("client_id", "shop")]),
        ask(
            &server,
            &[],
            &[("client_id", "shop"), ("client_secret", "x")],
        ),
        ask(
            &server,
            &[],
            &[("client_id", "phone"), ("client_secret", SECRET)],
        ),
        ask(&server, &[], &[("client_id", "accounts-server")]),
        ask(&server, &[], &[("client_id", "a b")]),
    ] {
        assert_error(&answer, 401, "invalid_client");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Basic "), "{challenge}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    // Several ways at once: a proxy in front may look at another one.
    for answer in [
        ask(
            &server,
            &authorization(&*encoded),
            &[("client_secret", SECRET)],
        ),
        ask(
            &server,
            &authorization(&*encoded),
            &[("client_id", "phone")],
        ),
        ask(
            &server,
            &[("authorization", &encoded), ("authorization", &encoded)],
            &[],
        ),
    ] {
        assert_error(&answer, 400, "invalid_request");
    }
}

#[test]
fn requests_have_the_form_of_the_rfc() {
    let server = TestServer::start();
    let app = RelyingParty::register(&server, "shop", |_| {});
    let authorization = basic("shop", SECRET);
    let json_body = json!({"grant_type": "refresh_token", "refresh_token": "x"}).to_string();
    let multipart =
        "--b\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\nx\r\n--b--\r\n";
    for path in ["/o/token/", "/o/revoke_token/", "/o/introspect/"] {
        for (content_type, body) in [
            ("application/json", &*json_body),
            ("multipart/form-data; boundary=b", multipart),
            ("text/plain", "token=x"),
            (FORM.1, "token=x&token=y"),
            (FORM.1, "grant_type=refresh_token&grant_type=refresh_token"),
            (FORM.1, "token=%ff"),
            (FORM.1, ""),
        ] {
            let headers = [
                ("authorization", &*authorization),
                ("content-type", content_type),
            ];
            let answer = server.request("POST", path, &headers, body);
            assert_error(&answer, 400, "invalid_request");
        }
        // A query is not read.
        let query = format!("{path}?token=x&grant_type=refresh_token&client_id=shop");
        assert_error(&app.post(&query, &[]), 400, "invalid_request");
        for method in ["GET", "PUT", "DELETE"] {
            let answer = server.request(method, path, &[], "");
            assert_error(&answer, 405, "invalid_request");
            assert_eq!(answer.header("allow"), Some("POST, OPTIONS"));
        }
    }
    for grant in ["password", "client_credentials", "implicit", "x"] {
        let answer = app.post("/o/token/", &[("grant_type", grant)]);
        assert_error(&answer, 400, "unsupported_grant_type");
    }
    let large = [("authorization", &*authorization), FORM];
    let answer = server.request("POST", "/o/token/", &large, "x".repeat(2 * 1024 * 1024));
    assert_error(&answer, 413, "invalid_request");
}

#[test]
fn token_is_revoked_by_its_own_client_alone() {
    let server = TestServer::start();
    let app = RelyingParty::register(&server, "shop", |_| {});
    let other = RelyingParty::register(&server, "other", |_| {});
    let phone = RelyingParty::register_public(&server, "phone");
    let user = server.user("ann@example.com");
    let mut browser = signed_in(&server, &user);
    let revoke = |app: &RelyingParty<'_>, token: &Value| {
        let answer = app.post("/o/revoke_token/", &[("token", token.as_str().unwrap())]);
        answer.assert(200, "{}");
    };
    let is_live = |tokens: &Value| {
        let header = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
        let answer = server.request("GET", "/o/userinfo/", &[("authorization", &header)], "");
        answer.status == 200
    };
    for name in ["refresh_token", "access_token"] {
        for app in [app, phone] {
            let kept = app.sign_in(&mut browser, "openid");
            let tokens = app.sign_in(&mut browser, "openid offline_access");
            revoke(&other, &tokens[name]);
            assert!(is_live(&tokens));
            revoke(&app, &tokens[name]);
            assert!(!is_live(&tokens));
            assert_error(&app.refresh(&tokens), 400, "invalid_grant");
            // Again, and never one too many.
            revoke(&app, &tokens[name]);
            assert!(is_live(&kept));
        }
    }
    // A used refresh token signs out as well.
    let tokens = app.sign_in(&mut browser, "openid");
    let next = app.refresh(&tokens).json();
    revoke(&app, &tokens["refresh_token"]);
    assert!(!is_live(&next));
    revoke(&app, &json!("unknown"));
    assert_error(&app.post("/o/revoke_token/", &[]), 400, "invalid_request");
    // The browser, and the account's own sessions, are another matter.
    assert_eq!(browser.get("/account/").status, 200);
    assert_eq!(server.get("users/me/", Some(&user.access)).status, 200);
    let ended = "SELECT count(*) FROM events WHERE event = 'sign_out'";
    assert_eq!(server.db_number(ended), 5);
}

#[test]
fn introspection_tells_own_live_tokens_alone() {
    let server = TestServer::start();
    let app = RelyingParty::register(&server, "shop", |_| {});
    let other = RelyingParty::register(&server, "other", |_| {});
    let phone = RelyingParty::register_public(&server, "phone");
    let user = server.user("ann@example.com");
    let mut browser = signed_in(&server, &user);
    let tokens = app.sign_in(&mut browser, "openid email");
    let ask = |app: &RelyingParty<'_>, token: &Value| {
        app.post("/o/introspect/", &[("token", token.as_str().unwrap())])
    };
    let access = claims(tokens["access_token"].as_str().unwrap());
    ask(&app, &tokens["access_token"]).assert_json(
        200,
        &json!({
            "active": true, "scope": "openid email", "client_id": "shop",
            "username": "ann@example.com", "token_type": "Bearer", "exp": access["exp"],
            "iat": access["iat"], "sub": user.id.to_string(), "aud": "shop",
            "iss": "http://localhost:8000", "jti": access["jti"], "sid": access["sid"],
        }),
    );
    let refresh = ask(&app, &tokens["refresh_token"]).json();
    assert_eq!(refresh["active"], true);
    assert_eq!(refresh["token_type"], Value::Null);
    assert_eq!(refresh["sid"], access["sid"]);

    let inactive = r#"{"active":false}"#;
    for name in ["access_token", "refresh_token"] {
        ask(&other, &tokens[name]).assert(200, inactive);
        assert_error(&ask(&phone, &tokens[name]), 400, "unauthorized_client");
    }
    ask(&app, &json!("x")).assert(200, inactive);
    ask(&app, &tokens["id_token"]).assert(200, inactive);
    let wrong = RelyingParty {
        secret: Some("wrong"),
        ..app
    };
    assert_error(&ask(&wrong, &tokens["access_token"]), 401, "invalid_client");
    assert_error(&app.post("/o/introspect/", &[]), 400, "invalid_request");

    // Asking uses nothing up; using does, after the grace.
    let next = app.refresh(&tokens).json();
    assert_eq!(ask(&app, &tokens["refresh_token"]).json()["active"], true);
    server.advance_seconds(10);
    ask(&app, &tokens["refresh_token"]).assert(200, inactive);
    assert_eq!(ask(&app, &next["refresh_token"]).json()["active"], true);
    // The session of the token has ended, or the token.
    server.advance_seconds(290);
    ask(&app, &tokens["access_token"]).assert(200, inactive);
    app.post(
        "/o/revoke_token/",
        &[("token", next["refresh_token"].as_str().unwrap())],
    );
    for name in ["access_token", "refresh_token"] {
        ask(&app, &next[name]).assert(200, inactive);
    }
}

#[test]
fn pages_of_clients_may_read_their_answers() {
    // The origins of the account API are another matter.
    let server = TestServer::start_with(|config| {
        config.server.cors_origins = vec!["https://api.example".parse().unwrap()];
    });
    let app = RelyingParty::register_public(&server, "phone");
    let other = RelyingParty::register(&server, "other", |settings| {
        let uri = "https://other.example/callback";
        settings.redirect_uris = vec![accounts_server::domain::RedirectUri::parse(uri).unwrap()];
    });
    let mut browser = signed_in(&server, &server.user("ann@example.com"));
    let tokens = app.sign_in(&mut browser, "openid");
    let access = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let allowed = |answer: &Answer| {
        assert!(
            answer.header("vary").unwrap().contains("origin"),
            "{answer:?}"
        );
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        answer
            .header("access-control-allow-origin")
            .map(str::to_owned)
    };
    for path in [
        "/o/token/",
        "/o/revoke_token/",
        "/o/introspect/",
        "/o/userinfo/",
    ] {
        let preflight = |origin| {
            let headers = [
                ("origin", origin),
                ("access-control-request-method", "POST"),
            ];
            server.request("OPTIONS", path, &headers, "")
        };
        for origin in [ORIGIN, "https://other.example"] {
            let answer = preflight(origin);
            assert_eq!(answer.status, 200);
            assert_eq!(allowed(&answer).as_deref(), Some(origin));
            let headers = answer.header("access-control-allow-headers");
            assert_eq!(headers, Some("authorization, content-type"));
        }
        for origin in [
            "https://evil.example",
            "https://api.example",
            "null",
            "http://shop.example",
        ] {
            assert_eq!(allowed(&preflight(origin)), None, "{origin}");
        }
    }
    // Once the client is known, pages of others do not read its answers, errors neither.
    let from = |origin| [("origin", origin), ("sec-fetch-site", "cross-site")];
    for (origin, is_own) in [(ORIGIN, true), ("https://other.example", false)] {
        let expected = is_own.then(|| origin.to_owned());
        let refreshed = app.post_with(
            "/o/token/",
            &[("grant_type", "refresh_token"), ("refresh_token", "x")],
            &from(origin),
        );
        assert_error(&refreshed, 400, "invalid_grant");
        assert_eq!(allowed(&refreshed), expected);
        let headers = [("origin", origin), ("authorization", &*access)];
        let info = server.request("GET", "/o/userinfo/", &headers, "");
        assert_eq!(info.status, 200);
        assert_eq!(allowed(&info), expected);
        let revoked = app.post_with("/o/revoke_token/", &[("token", "x")], &from(origin));
        assert_eq!(allowed(&revoked), expected);
    }
    // The challenge of an expired token can be read, to get another one.
    server.advance_seconds(300);
    let headers = [("origin", ORIGIN), ("authorization", &*access)];
    let info = server.request("GET", "/o/userinfo/", &headers, "");
    assert_eq!(
        (info.status, allowed(&info).as_deref()),
        (401, Some(ORIGIN))
    );
    let exposed = info.header("access-control-expose-headers").unwrap();
    assert!(exposed.contains("www-authenticate"), "{exposed}");
    // Without an origin there is nothing to allow.
    assert_eq!(
        allowed(&other.post("/o/revoke_token/", &[("token", "x")])),
        None
    );
}

#[test]
fn endpoints_of_clients_read_no_cookie() {
    let server = TestServer::start();
    RelyingParty::register(&server, "shop", |_| {});
    let mut browser = signed_in(&server, &server.user("ann@example.com"));
    for path in ["/o/token/", "/o/revoke_token/", "/o/introspect/"] {
        let answer = browser.post(path, &[("client_id", "shop"), ("token", "x")]);
        assert_error(&answer, 401, "invalid_client");
        assert_eq!(answer.header("set-cookie"), None);
    }
}

#[test]
fn failures_are_limited_and_lock_nobody_out() {
    let server = TestServer::start_with(|config| {
        config.rate_limits.enabled = true;
        config.rate_limits.client_failures = 3;
    });
    let app = RelyingParty::register(&server, "shop", |_| {});
    let mut browser = signed_in(&server, &server.user("ann@example.com"));
    let tokens = app.sign_in(&mut browser, "openid");
    let wrong = RelyingParty {
        secret: Some("wrong"),
        ..app
    };
    for _ in 0..3 {
        assert_error(&wrong.refresh(&tokens), 401, "invalid_client");
    }
    let answer = wrong.refresh(&tokens);
    assert_error(&answer, 429, "temporarily_unavailable");
    assert_eq!(answer.header("retry-after"), Some("300"));
    assert_eq!(answer.header("www-authenticate"), None);
    // A client that has proven its secret does not guess, and its users share one network.
    assert_error(&app.exchange("x"), 400, "invalid_grant");
    assert_error(&app.refresh_with("x", &[]), 400, "invalid_grant");
    // What is right is served, and people sign in.
    let tokens = app.refresh(&tokens).json();
    assert!(tokens["access_token"].is_string());
    app.sign_in(&mut browser, "openid");
    assert_eq!(server.sign_in("ann@example.com", PASSWORD).status, 200);
    server.advance_seconds(300);
    assert_error(&app.exchange("x"), 400, "invalid_grant");
    // Failed sign-ins of people count elsewhere.
    for (outcome, count) in [
        ("done", 3),
        ("bad_token", 3),
        ("wrong_client", 3),
        ("throttled", 1),
    ] {
        let series =
            format!(r#"accounts_actions_total{{action="client_tokens",outcome="{outcome}"}}"#);
        assert_eq!(server.metric(&series), count, "{outcome}");
    }
}
