//! `/o/authorize/`: signing in to an application with the account.

use accounts_server::config::FactorRequirement;
use accounts_server::domain::{Scope, Scopes};
use accounts_server::store::RedeemOutcome;
use serde_json::json;

use crate::applications::{
    CALLBACK, answered_at, id_token, led_to, parameters, path, query, redeem, redirected, register,
    register_as, started, unescaped, waiting,
};
use crate::browser::{Browser, assert_leads_to};
use crate::factors::App;
use crate::support::{Answer, PASSWORD, TestServer, at_once};

/// A server with the client `app` and the account `ann@example.com`.
fn prepared() -> TestServer {
    let server = TestServer::start();
    register(&server, |_| {});
    server.user("ann@example.com");
    server
}

fn signed_in(server: &TestServer) -> Browser<'_> {
    let mut browser = Browser::new(server);
    assert_eq!(browser.sign_in("ann@example.com").status, 303);
    browser
}

/// The code of an error that is sent to the client `app`.
#[track_caller]
fn error_of(answer: &Answer) -> String {
    let map = redirected(answer);
    assert!(!map.contains_key("code"), "{map:?}");
    assert!(!map["error_description"].is_empty());
    map["error"].clone()
}

/// Asserts that nothing on a page leads to another server.
#[track_caller]
fn assert_no_way_out(answer: &Answer) {
    for start in [
        "href=\"http",
        "href=\"//",
        "http-equiv",
        "action=",
        "src=\"http",
    ] {
        assert!(!answer.body.contains(start), "{start} in {}", answer.body);
    }
}

fn codes(server: &TestServer) -> i64 {
    server.db_number("SELECT count(*) FROM authorization_codes")
}

#[test]
fn signing_in_to_an_application_asks_once() {
    let server = prepared();
    let mut browser = Browser::new(&server);
    // Somebody who is not signed in does that first, and comes back.
    let asked = browser.get(&path(&[("login_hint", Some("ann@example.com"))]));
    let at = asked.header("location").unwrap().to_owned();
    let next = at
        .strip_prefix("/account/sign-in/?next=%2Fo%2Fauthorize%2F")
        .and_then(|rest| rest.strip_suffix("%2F&email=ann%40example.com"))
        .unwrap_or_else(|| panic!("{at}"));
    let next = format!("/o/authorize/{next}/");
    let page = browser.get(&at);
    assert!(page.body.contains("value=\"ann@example.com\""));
    let token = page.hidden("form_token").unwrap().to_owned();
    let signed = browser.post(
        "/account/sign-in/",
        &[
            ("form_token", &token),
            ("next", &next),
            ("email", "ann@example.com"),
            ("password", PASSWORD),
        ],
    );
    assert_leads_to(&signed, &next);

    let page = browser.get(&next);
    assert_eq!(page.status, 200);
    for text in [
        "Sign in to The app",
        "app.example",
        "ann@example.com",
        "your email address",
        "Allow",
    ] {
        assert!(page.body.contains(text), "{text} in {}", page.body);
    }
    assert!(
        !page.body.contains("phone"),
        "what is not asked for is not there"
    );
    assert_eq!(codes(&server), 0);
    let answer = browser.decide(&next, "allow");
    // Chromium holds form-action against redirects of the application, so a page leads on.
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.contains("form-action 'self'"), "{policy}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("referrer-policy"), Some("same-origin"));
    let map = answered_at(&led_to(&answer), CALLBACK);
    let keys: Vec<_> = map.keys().map(String::as_str).collect();
    assert_eq!(keys, ["code", "iss", "state"]);
    assert_eq!(map["state"], "a state");
    assert_eq!(map["iss"], "http://localhost:8000");
    assert_eq!(map["code"].len(), 43);
    let stored = server.db_blob("SELECT code_hash FROM authorization_codes");
    assert_ne!(stored, map["code"].as_bytes(), "its hash is stored");

    // What was allowed is remembered, also for less.
    for scope in ["openid email", "email"] {
        let again = browser.get(&path(&[("scope", Some(scope))]));
        assert_eq!(again.header("cache-control"), Some("no-store"));
        assert_eq!(again.header("referrer-policy"), Some("no-referrer"));
        let other = redirected(&again);
        assert_ne!(other["code"], map["code"]);
        assert!(matches!(
            redeem(&server, &other["code"]),
            RedeemOutcome::Started { .. }
        ));
    }
    // More is asked for again.
    let more = browser.get(&path(&[("scope", Some("openid email phone"))]));
    let page = browser.get(&waiting(&more));
    assert!(page.body.contains("your phone number"));
    let events = server.db_number("SELECT count(*) FROM events WHERE event = 'consent_granted'");
    assert_eq!(events, 1);
}

#[test]
fn a_wrong_client_or_redirect_uri_is_shown_here_and_nothing_goes_there() {
    let server = prepared();
    register_as(
        &server,
        "native",
        &["http://127.0.0.1/cb", "com.example.app:/cb"],
        |_| {},
    );
    let mut browser = signed_in(&server);
    let app = |uri: &'static str| ("app", Some(uri));
    let cases = [
        ("", Some(CALLBACK)),
        ("unknown", Some(CALLBACK)),
        ("APP", Some(CALLBACK)),
        ("app' OR '1'='1", Some(CALLBACK)),
        ("app", None),
        app(""),
        app("https://app.example/cb/"),
        app("https://app.example/CB"),
        app("https://APP.example/cb"),
        app("HTTPS://app.example/cb"),
        app("http://app.example/cb"),
        app("https://app.example:443/cb"),
        app("https://app.example:8443/cb"),
        app("https://user@app.example/cb"),
        app("https://app.example@evil.example/cb"),
        app("https://app.example.evil.example/cb"),
        app("https://evil.example/cb"),
        app("https://sub.app.example/cb"),
        app("https://app.example/cb/../evil"),
        app("https://app.example/x/../cb"),
        app("https://app.example/%63b"),
        app("https://app.example//cb"),
        app("https://app.example/cb.evil"),
        app("https://app.example/cb?x=1"),
        app("https://app.example/cb#x"),
        app("https://app.example/cb "),
        app(" https://app.example/cb"),
        app("https://app.example\\cb"),
        app("https:\\\\app.example/cb"),
        app("//app.example/cb"),
        app("/cb"),
        app("javascript:alert(1)"),
        app("data:text/html,x"),
        app("http://127.0.0.1/cb"),
        app("https://app.example/cb,https://evil.example/cb"),
        ("native", Some("http://localhost/cb")),
        ("native", Some("http://127.0.0.1.evil.example/cb")),
        ("native", Some("http://127.0.0.2/cb")),
        ("native", Some("https://127.0.0.1/cb")),
        ("native", Some("http://127.0.0.1:99999/cb")),
        ("native", Some("http://127.0.0.1:80@evil.example/cb")),
        ("native", Some("com.example.app:/cb/")),
        ("native", Some("com.example.app://cb")),
    ];
    for (client, uri) in cases {
        let changes = [("client_id", Some(client)), ("redirect_uri", uri)];
        let pairs = parameters(&changes);
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        for answer in [
            browser.get(&path(&changes)),
            browser.post_with("/o/authorize/", &[("sec-fetch-site", "cross-site")], &pairs),
        ] {
            assert_eq!(answer.status, 400, "{client} {uri:?}: {}", answer.body);
            assert_eq!(answer.header("location"), None, "{client} {uri:?}");
            assert!(answer.body.contains("For its operator"), "{}", answer.body);
            assert_no_way_out(&answer);
        }
    }
    for twice in [
        "client_id=app",
        "redirect_uri=https%3A%2F%2Fapp.example%2Fcb",
    ] {
        let answer = browser.get(&format!("{}&{twice}", path(&[])));
        assert_eq!(answer.status, 400);
        assert_eq!(answer.header("location"), None);
    }
    let kept = "SELECT count(*) FROM authorization_requests";
    assert_eq!((codes(&server), server.db_number(kept)), (0, 0));
}

#[test]
fn a_wrong_request_is_answered_to_the_client() {
    let server = prepared();
    let mut browser = signed_in(&server);
    let long = "x".repeat(43);
    for (changes, error) in [
        (&[("response_type", None)][..], "invalid_request"),
        (
            &[("response_type", Some("token"))],
            "unsupported_response_type",
        ),
        (
            &[("response_type", Some("id_token"))],
            "unsupported_response_type",
        ),
        (
            &[("response_type", Some("code id_token"))],
            "unsupported_response_type",
        ),
        (
            &[("response_type", Some("code token"))],
            "unsupported_response_type",
        ),
        (
            &[("response_type", Some("none"))],
            "unsupported_response_type",
        ),
        (
            &[("response_type", Some("CODE"))],
            "unsupported_response_type",
        ),
        (&[("scope", None)], "invalid_scope"),
        (&[("scope", Some("admin"))], "invalid_scope"),
        (&[("code_challenge", None)], "invalid_request"),
        (
            &[("code_challenge", None), ("code_challenge_method", None)],
            "invalid_request",
        ),
        (&[("code_challenge_method", None)], "invalid_request"),
        (
            &[("code_challenge_method", Some("plain"))],
            "invalid_request",
        ),
        (&[("code_challenge", Some("short"))], "invalid_request"),
        (
            &[
                ("code_challenge", Some(&long)),
                ("code_challenge_method", Some("S512")),
            ],
            "invalid_request",
        ),
        (&[("prompt", Some("none login"))], "invalid_request"),
        (&[("prompt", Some("create"))], "invalid_request"),
        (&[("max_age", Some("-1"))], "invalid_request"),
        (&[("max_age", Some("soon"))], "invalid_request"),
        (&[("response_mode", Some("fragment"))], "invalid_request"),
        (&[("response_mode", Some("web_message"))], "invalid_request"),
        (
            &[("request", Some("eyJhbGciOiJub25lIn0.e30."))],
            "request_not_supported",
        ),
        (
            &[("request_uri", Some("https://evil.example/r"))],
            "request_uri_not_supported",
        ),
        (
            &[("registration", Some("{}"))],
            "registration_not_supported",
        ),
    ] {
        let answer = browser.get(&path(changes));
        let map = redirected(&answer);
        assert_eq!(map["error"], error, "{changes:?}");
        assert_eq!(map["state"], "a state", "{changes:?}");
        assert!(!map.contains_key("code"));
    }
    for (twice, has_state) in [
        ("scope=openid", true),
        ("nonce=x", true),
        ("response_type=code", true),
        ("code_challenge_method=S256", true),
        ("state=x", false),
    ] {
        let answer = browser.get(&format!("{}&{twice}", path(&[])));
        let map = redirected(&answer);
        assert_eq!(map["error"], "invalid_request", "{twice}");
        assert_eq!(map.contains_key("state"), has_state, "{twice}");
    }
    // What nobody knows is ignored (RFC 6749, section 3.1).
    let answer = browser.get(&format!(
        "{}&x=1&x=2&claims=%7B%7D&display=touch",
        path(&[])
    ));
    waiting(&answer);
    let answer = browser.get(&path(&[("state", Some(&"s".repeat(9_000)))]));
    assert_eq!(answer.status, 400);
    assert_eq!(codes(&server), 0);
}

#[test]
fn unknown_scopes_are_ignored_and_those_of_the_client_are_the_most() {
    let server = TestServer::start();
    register(&server, |client| {
        client.scopes = Scopes::of(&[Scope::Openid, Scope::Email]);
    });
    server.user("ann@example.com");
    let mut browser = signed_in(&server);
    let code = browser.allow(&[("scope", Some("openid groups phone email"))]);
    let RedeemOutcome::Started { session, nonce, .. } = redeem(&server, &code) else {
        panic!("not started");
    };
    assert_eq!(session.scopes.to_string(), "openid email");
    assert_eq!(nonce.as_deref(), Some("a nonce"));
}

#[test]
fn without_prompt_nobody_is_asked() {
    let server = prepared();
    let none = [("prompt", Some("none"))];
    let mut browser = Browser::new(&server);
    assert_eq!(error_of(&browser.get(&path(&none))), "login_required");
    let mut browser = signed_in(&server);
    assert_eq!(error_of(&browser.get(&path(&none))), "consent_required");
    browser.allow(&[]);
    assert_eq!(redirected(&browser.get(&path(&none)))["code"].len(), 43);
    server.advance_seconds(61);
    let old = [("prompt", Some("none")), ("max_age", Some("60"))];
    assert_eq!(error_of(&browser.get(&path(&old))), "login_required");
    let old = [("prompt", Some("none")), ("max_age", Some("62"))];
    assert_eq!(redirected(&browser.get(&path(&old)))["code"].len(), 43);
    // A hint that is not an ID token of this server names nobody.
    let hint = [("prompt", Some("none")), ("id_token_hint", Some("a.b.c"))];
    assert_eq!(error_of(&browser.get(&path(&hint))), "login_required");
    let kept = "SELECT count(*) FROM authorization_requests WHERE parameters LIKE '%prompt=none%'";
    assert_eq!(server.db_number(kept), 0);
}

#[test]
fn a_hint_of_another_account_asks_to_sign_in_with_it() {
    let server = prepared();
    server.user("bob@example.com");
    let mut bob = Browser::new(&server);
    bob.sign_in("bob@example.com");
    let session = started(redeem(&server, &bob.allow(&[])));
    let of_bob = id_token(&server, "app", &session);
    register_as(&server, "other", &[CALLBACK], |_| {});
    let of_other = id_token(&server, "other", &session);
    let mut browser = signed_in(&server);
    browser.allow(&[]);
    let hint = ("id_token_hint", Some(of_bob.as_str()));
    let none = browser.get(&path(&[hint, ("prompt", Some("none"))]));
    assert_eq!(error_of(&none), "login_required");
    let at = waiting(&browser.get(&path(&[hint])));
    let page = browser.get(&at);
    assert!(page.body.contains("another account"), "{}", page.body);
    assert!(!page.body.contains("value=\"allow\""), "{}", page.body);
    // A form that is made by hand changes nothing.
    let answer = browser.decide(&at, "allow");
    assert_eq!(answer.status, 200);
    assert!(!answer.body.contains("code="), "{}", answer.body);
    let switched = browser.decide(&at, "switch");
    assert!(
        switched
            .header("location")
            .unwrap()
            .starts_with("/account/sign-in/")
    );
    browser.sign_in("bob@example.com");
    assert!(redirected(&browser.get(&at)).contains_key("code"));
    // For the account that is named it is as without a hint, also after the token has expired.
    server.advance_seconds(3600);
    let none = bob.get(&path(&[hint, ("prompt", Some("none"))]));
    assert!(redirected(&none).contains_key("code"));
    // The token of another client names nobody.
    let hint = ("id_token_hint", Some(of_other.as_str()));
    let none = bob.get(&path(&[hint, ("prompt", Some("none"))]));
    assert_eq!(error_of(&none), "login_required");
}

#[test]
fn a_client_can_ask_to_authenticate_again() {
    let server = prepared();
    let mut browser = signed_in(&server);
    browser.allow(&[]);
    server.advance_seconds(100);
    for (name, value) in [("prompt", "login"), ("max_age", "99"), ("max_age", "0")] {
        server.advance_seconds(100);
        let asked = browser.get(&path(&[(name, Some(value))]));
        let to = asked.header("location").unwrap().to_owned();
        let next = to
            .strip_prefix("/account/reauthenticate/?next=%2Fo%2Fauthorize%2F")
            .and_then(|rest| rest.strip_suffix("%2F"))
            .unwrap_or_else(|| panic!("{to}"));
        let next = format!("/o/authorize/{next}/");
        // Going around it leads there again.
        server.advance_seconds(1);
        assert_leads_to(&browser.get(&next), &to);
        let token = browser.token(&to);
        let done = browser.post(
            "/account/reauthenticate/",
            &[
                ("form_token", &token),
                ("next", &next),
                ("password", PASSWORD),
            ],
        );
        assert_leads_to(&done, &next);
        assert_eq!(
            redirected(&browser.get(&next))["code"].len(),
            43,
            "{name}={value}"
        );
        // One code for one request: who is still there later has not authenticated for another.
        let again = browser.get(&next);
        assert_eq!((again.status, again.header("location")), (400, None));
    }
    let enough = browser.get(&path(&[("max_age", Some("100"))]));
    assert_eq!(redirected(&enough)["code"].len(), 43);
}

#[test]
fn a_client_can_ask_for_consent_and_for_the_choice_of_an_account() {
    let server = prepared();
    server.user("bob@example.com");
    let mut browser = signed_in(&server);
    browser.allow(&[]);
    let at = waiting(&browser.get(&path(&[("prompt", Some("consent"))])));
    assert!(browser.get(&at).body.contains("Allow"));
    let answer = browser.decide(&at, "allow");
    assert!(answered_at(&led_to(&answer), CALLBACK).contains_key("code"));

    server.advance_seconds(10);
    let at = waiting(&browser.get(&path(&[("prompt", Some("select_account"))])));
    let page = browser.get(&at);
    assert!(page.body.contains("Use another account") && page.body.contains("Continue"));
    assert!(
        !page.body.contains("your email address"),
        "it is allowed already"
    );
    let answer = browser.decide(&at, "allow");
    assert!(answered_at(&led_to(&answer), CALLBACK).contains_key("code"));

    // Another account signs in, and is asked for its own consent.
    let at = waiting(&browser.get(&path(&[("prompt", Some("select_account"))])));
    let switched = browser.decide(&at, "switch");
    let to = switched.header("location").unwrap().to_owned();
    assert!(
        to.starts_with("/account/sign-in/?next=%2Fo%2Fauthorize%2F"),
        "{to}"
    );
    server.advance_seconds(10);
    assert_eq!(browser.sign_in("bob@example.com").status, 303);
    let page = browser.get(&at);
    assert!(page.body.contains("bob@example.com") && page.body.contains("Allow"));
    let answer = browser.decide(&at, "allow");
    assert!(answered_at(&led_to(&answer), CALLBACK).contains_key("code"));
}

#[test]
fn who_does_not_allow_it_is_led_back() {
    let server = prepared();
    let mut browser = signed_in(&server);
    let at = waiting(&browser.get(&path(&[])));
    let answer = browser.decide(&at, "deny");
    let map = answered_at(&led_to(&answer), CALLBACK);
    assert_eq!(map["error"], "access_denied");
    assert_eq!(
        (map["state"].as_str(), map["iss"].as_str()),
        ("a state", "http://localhost:8000")
    );
    assert_eq!(codes(&server), 0);
    assert_eq!(server.db_number("SELECT count(*) FROM oauth_grants"), 0);
}

/// The fields of the form that posts an answer to the application.
fn posted(answer: &Answer) -> Vec<(String, String)> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let form = format!("<form method=\"post\" action=\"{CALLBACK}\" data-send>");
    let body = unescaped(&answer.body);
    let (_, rest) = body.split_once(&form).unwrap_or_else(|| panic!("{body}"));
    let (form, _) = rest.split_once("</form>").unwrap();
    assert!(form.contains("<button"), "it works without script");
    form.split("<input type=\"hidden\" name=\"")
        .skip(1)
        .map(|input| {
            let (name, rest) = input.split_once("\" value=\"").unwrap();
            (name.to_owned(), rest.split('"').next().unwrap().to_owned())
        })
        .collect()
}

#[test]
fn answers_can_be_posted() {
    let server = prepared();
    let mut browser = signed_in(&server);
    let mode = ("response_mode", Some("form_post"));
    let at = waiting(&browser.get(&path(&[mode])));
    let consented = browser.decide(&at, "allow");
    let automatic = browser.get(&path(&[mode]));
    for answer in [consented, automatic] {
        let fields = posted(&answer);
        let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["code", "state", "iss"]);
        assert_eq!(fields[1].1, "a state");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            !policy.contains("form-action"),
            "the application may redirect on"
        );
        assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self';"));
        assert!(policy.contains("frame-ancestors 'none'"));
        assert_eq!(answer.header("referrer-policy"), Some("strict-origin"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let wrong = browser.get(&path(&[mode, ("response_type", Some("token"))]));
    assert_eq!(
        posted(&wrong)[0],
        ("error".to_owned(), "unsupported_response_type".to_owned())
    );
    // A state cannot break out of the page.
    let state = "\"><script>alert(1)</script>";
    let wrong = browser.get(&path(&[mode, ("scope", None), ("state", Some(state))]));
    assert!(!wrong.body.contains("<script>alert"), "{}", wrong.body);
}

#[test]
fn a_posted_request_is_stored_and_continues_by_get() {
    let server = prepared();
    let mut browser = signed_in(&server);
    browser.allow(&[]);
    let before = codes(&server);
    let pairs = parameters(&[]);
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let headers = [
        ("sec-fetch-site", "cross-site"),
        ("origin", "https://app.example"),
    ];
    let answer = browser.post_with("/o/authorize/", &headers, &pairs);
    let at = waiting(&answer);
    // A browser without cookies gets the same.
    let mut other = Browser::new(&server);
    waiting(&other.post_with("/o/authorize/", &headers, &pairs));
    assert_eq!(codes(&server), before);
    let stored = server.db_blob("SELECT id_hash FROM authorization_requests LIMIT 1");
    assert_eq!(stored.len(), 32);
    assert!(redirected(&browser.get(&at)).contains_key("code"));
    // It is a request of an application and not of another page, so both forms of the page exist.
    let wrong = browser.post_with("/o/authorize/", &headers, &pairs[..2]);
    assert_eq!(error_of(&wrong), "invalid_request");
    server.advance_seconds(3600);
    let late = browser.get(&at);
    assert_eq!(late.status, 400);
    assert!(late.body.contains("has expired"), "{}", late.body);
    server.clear_expired();
    assert_eq!(
        server.db_number("SELECT count(*) FROM authorization_requests"),
        0
    );
    for unknown in ["x", "..", "%2e%2e", &"a".repeat(500)] {
        let answer = browser.get(&format!("/o/authorize/{unknown}/"));
        assert_eq!(answer.status, 400, "{unknown}");
    }
}

#[test]
fn consent_is_given_in_this_browser_alone() {
    let server = prepared();
    server.user("eve@example.com");
    let mut eve = Browser::new(&server);
    eve.sign_in("eve@example.com");
    let at_eve = waiting(&eve.get(&path(&[])));
    let token_of_eve = eve.token(&at_eve);
    let mut browser = signed_in(&server);
    let at = waiting(&browser.get(&path(&[])));
    let token = browser.token(&at);
    for (headers, token) in [
        (("sec-fetch-site", "same-origin"), ""),
        (("sec-fetch-site", "same-origin"), "forged"),
        (("sec-fetch-site", "same-origin"), token_of_eve.as_str()),
        (("sec-fetch-site", "cross-site"), token.as_str()),
        (("sec-fetch-site", "same-site"), token.as_str()),
        (("origin", "https://app.example"), token.as_str()),
        (("origin", "null"), token.as_str()),
    ] {
        for at in [&at, &at_eve] {
            let fields = [("form_token", token), ("action", "allow")];
            let answer = browser.post_with(at, &[headers], &fields);
            assert_eq!(answer.status, 403, "{headers:?} {token}");
        }
    }
    assert_eq!(codes(&server), 0);
    // The form of an account does not count for another one that has signed in meanwhile.
    let secret = browser.cookies.clone();
    browser.cookies.clone_from(&eve.cookies);
    let answer = browser.post(&at, &[("form_token", &token), ("action", "allow")]);
    assert_eq!(answer.status, 403);
    browser.cookies = secret;
    // Nor does the address of a request without the cookie of a session.
    let mut other = Browser::new(&server);
    let to = other.get(&at);
    assert!(
        to.header("location")
            .unwrap()
            .starts_with("/account/sign-in/"),
        "{to:?}"
    );
    assert_eq!(server.db_number("SELECT count(*) FROM oauth_grants"), 0);
}

#[test]
fn pages_are_in_no_frame() {
    let server = prepared();
    let mut browser = signed_in(&server);
    let at = waiting(&browser.get(&path(&[])));
    let consent = browser.get(&at);
    let fault = browser.get("/o/authorize/");
    let leave = browser.decide(&at, "allow");
    let at = waiting(&browser.get("/o/logout/"));
    let sign_out = browser.get(&at);
    for answer in [consent, fault, leave, sign_out] {
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe-inline"), "{policy}");
    }
}

#[test]
fn many_at_once_get_codes_of_their_own() {
    let server = prepared();
    let mut browser = signed_in(&server);
    browser.allow(&[]);
    let browser = &browser;
    let mut codes = at_once(16, |_| {
        let cookies = browser.cookie_header();
        let answer = server.request("GET", &path(&[]), &[("cookie", &cookies)], "");
        redirected(&answer)["code"].clone()
    });
    codes.sort();
    codes.dedup();
    assert_eq!(codes.len(), 16);
    let winners = at_once(16, |_| redeem(&server, &codes[0]));
    let winners = winners
        .iter()
        .filter(|outcome| matches!(outcome, RedeemOutcome::Started { .. }));
    assert_eq!(winners.count(), 1);
}

#[test]
fn a_code_lives_for_a_minute_and_with_its_session() {
    let server = prepared();
    let mut browser = signed_in(&server);
    browser.allow(&[]);
    let mut code = || redirected(&browser.get(&path(&[])))["code"].clone();
    let (first, second, third) = (code(), code(), code());
    server.advance_seconds(59);
    assert!(matches!(
        redeem(&server, &first),
        RedeemOutcome::Started { .. }
    ));
    server.advance_seconds(1);
    assert_eq!(redeem(&server, &second), RedeemOutcome::Invalid);
    assert_eq!(redeem(&server, &third), RedeemOutcome::Invalid);
    let code = code();
    let token = browser.token("/account/");
    browser.post("/account/sign-out/", &[("form_token", &token)]);
    assert_eq!(redeem(&server, &code), RedeemOutcome::Invalid);
}

#[test]
fn a_session_of_an_application_is_one_of_the_account() {
    let server = prepared();
    let user = server.sign_in("ann@example.com", PASSWORD);
    let access = user.text("access");
    let mut browser = signed_in(&server);
    let code = browser.allow(&[("scope", Some("openid offline_access"))]);
    let RedeemOutcome::Started { session, .. } = redeem(&server, &code) else {
        panic!("not started");
    };
    let list = || server.get("sessions/", Some(&access)).json();
    let names: Vec<_> = list()
        .as_array()
        .unwrap()
        .iter()
        .filter(|session| !session["client_name"].is_null())
        .map(|session| (session["client_name"].clone(), session["current"].clone()))
        .collect();
    assert_eq!(names, [(json!("The app"), json!(false))]);
    let page = browser.get("/account/sessions/");
    assert!(
        page.body.contains("<strong>The app</strong>"),
        "{}",
        page.body
    );
    let token = browser.token("/account/data/");
    let data = browser.post("/account/data/download/", &[("form_token", &token)]);
    let applications = &data.json()["applications"];
    assert_eq!(applications[0]["name"], "The app");
    assert_eq!(
        applications[0]["scopes"],
        json!(["openid", "offline_access"])
    );
    let ended = server.api(
        "DELETE",
        &format!("sessions/{}/", session.id),
        Some(&access),
        &json!({}),
    );
    assert_eq!(ended.status, 204);
    assert_eq!(list().as_array().unwrap().len(), 3);
    let kinds = ["consent_granted", "client_signed_in"];
    for kind in kinds {
        let detail = format!("SELECT detail FROM events WHERE event = '{kind}'");
        assert_eq!(server.db_text(&detail), "app");
    }
}

#[test]
fn own_applications_need_no_consent() {
    let server = TestServer::start();
    register(&server, |client| client.requires_consent = false);
    server.user("ann@example.com");
    let mut browser = signed_in(&server);
    assert!(redirected(&browser.get(&path(&[]))).contains_key("code"));
    assert_eq!(server.db_number("SELECT count(*) FROM oauth_grants"), 0);
    let asked = browser.get(&path(&[("prompt", Some("consent"))]));
    waiting(&asked);
}

#[test]
fn apps_on_a_device_always_ask() {
    let server = TestServer::start();
    let uris = ["http://127.0.0.1/cb", "com.example.app:/cb", CALLBACK];
    register_as(&server, "app", &uris, |client| {
        client.requires_consent = false;
    });
    server.user("ann@example.com");
    let mut browser = signed_in(&server);
    for uri in ["http://127.0.0.1:4711/cb", "com.example.app:/cb"] {
        for _ in 0..2 {
            let changes = [("redirect_uri", Some(uri))];
            let at = waiting(&browser.get(&path(&changes)));
            let page = browser.get(&at);
            assert!(page.body.contains("an app on your device"), "{}", page.body);
            let answer = browser.decide(&at, "allow");
            assert!(answered_at(&led_to(&answer), uri).contains_key("code"));
            let none = [("redirect_uri", Some(uri)), ("prompt", Some("none"))];
            let refused = browser.get(&path(&none));
            let map = answered_at(refused.header("location").unwrap(), uri);
            assert_eq!(map["error"], "consent_required");
        }
    }
    assert!(redirected(&browser.get(&path(&[]))).contains_key("code"));
}

#[test]
fn staff_applications_are_for_staff() {
    let server = TestServer::start();
    register(&server, |client| {
        client.is_staff_only = true;
        client.requires_consent = false;
    });
    server.user("ann@example.com");
    server.staff("root@example.com");
    let mut browser = signed_in(&server);
    assert_eq!(error_of(&browser.get(&path(&[]))), "access_denied");
    let mut staff = Browser::new(&server);
    staff.sign_in("root@example.com");
    let code = redirected(&staff.get(&path(&[])))["code"].clone();
    server.db_execute("UPDATE users SET is_staff = FALSE WHERE email = 'root@example.com'");
    assert_eq!(redeem(&server, &code), RedeemOutcome::Invalid);
}

#[test]
fn a_second_factor_is_set_up_on_the_way() {
    for is_of_client in [true, false] {
        let server = TestServer::start_with(|config| {
            if !is_of_client {
                config.mfa.required_for = FactorRequirement::Everyone;
            }
        });
        register(&server, |client| {
            client.requires_mfa = is_of_client;
            client.requires_consent = false;
        });
        server.user("ann@example.com");
        let mut browser = signed_in(&server);
        let none = browser.get(&path(&[("prompt", Some("none"))]));
        assert_eq!(error_of(&none), "interaction_required");
        let at = waiting(&browser.get(&path(&[])));
        let page = browser.get(&at);
        assert_eq!(page.status, 403);
        assert!(
            page.body.contains("href=\"/account/security/\""),
            "{}",
            page.body
        );
        assert_eq!(codes(&server), 0);
        // The recovery codes lead on to the application.
        let page = browser.get("/account/security/totp/");
        let (_, rest) = page.body.split_once("<a class=\"secret\" href=\"").unwrap();
        let url = unescaped(rest.split('"').next().unwrap());
        let token = page.hidden("form_token").unwrap().to_owned();
        let activation = page.hidden("activation_token").unwrap().to_owned();
        let secret = url.split("secret=").nth(1).unwrap();
        let secret = secret.split('&').next().unwrap();
        let code = App::of(secret).code(&server);
        let done = browser.post(
            "/account/security/totp/",
            &[
                ("form_token", &token),
                ("activation_token", &activation),
                ("code", &code),
            ],
        );
        assert_eq!(done.status, 200, "{}", done.body);
        assert!(
            unescaped(&done.body).contains(&format!("href=\"{at}\"")),
            "{}",
            done.body
        );
        assert!(
            redirected(&browser.get(&at)).contains_key("code"),
            "{is_of_client}"
        );
    }
}

#[test]
fn sign_up_and_reset_lead_back_to_the_application() {
    let server = prepared();
    // By the code, in the same tab.
    let mut browser = Browser::new(&server);
    let to = browser
        .get(&path(&[]))
        .header("location")
        .unwrap()
        .to_owned();
    let page = browser.get(&to);
    let (_, rest) = page.body.split_once("/account/sign-up/?next=").unwrap();
    let next = unescaped(rest.split('"').next().unwrap());
    let page = browser.get(&format!("/account/sign-up/?next={next}"));
    let at = unescaped(page.hidden("next").unwrap());
    let token = page.hidden("form_token").unwrap().to_owned();
    let sign_up = browser.post(
        "/account/sign-up/",
        &[
            ("form_token", &token),
            ("next", &at),
            ("email", "new@example.com"),
            ("password", PASSWORD),
        ],
    );
    let confirm = sign_up.header("location").unwrap().to_owned();
    let page = browser.get(&confirm);
    let token = page.hidden("form_token").unwrap().to_owned();
    let next = unescaped(page.hidden("next").unwrap());
    assert_eq!(next, at);
    // By the link in the mail, which knows nothing of the application, in the same browser.
    let mail = server.mails("new@example.com").remove(0);
    let link = mail.text.split("token=").nth(1).unwrap();
    let link: String = link.chars().take_while(|c| !c.is_whitespace()).collect();
    let done = browser.post(
        "/account/confirm/",
        &[("form_token", &token), ("token", &link)],
    );
    assert_leads_to(&done, &at);
    assert_eq!(browser.get(&at).status, 200);

    let mut browser = Browser::new(&server);
    browser.get(&path(&[]));
    let token = browser.token("/account/reset/");
    browser.post(
        "/account/reset/",
        &[("form_token", &token), ("email", "ann@example.com")],
    );
    let token = browser.token("/account/reset/confirm/?email=ann%40example.com");
    let done = browser.post(
        "/account/reset/confirm/",
        &[
            ("form_token", &token),
            ("email", "ann@example.com"),
            ("otp", &server.otp("ann@example.com")),
            ("password", "another password 456"),
        ],
    );
    let to = done.header("location").unwrap();
    assert!(
        to.starts_with("/account/sign-in/?next=%2Fo%2Fauthorize%2F"),
        "{to}"
    );
}

#[test]
fn the_languages_of_the_client_are_a_hint() {
    let server = prepared();
    let mut browser = Browser::new(&server);
    let locales = ("ui_locales", Some("xx de-CH fr"));
    let to = browser
        .get(&path(&[locales]))
        .header("location")
        .unwrap()
        .to_owned();
    assert!(to.ends_with("&lang=de"), "{to}");
    assert_eq!(browser.sign_in("ann@example.com").status, 303);
    let at = waiting(&browser.get(&path(&[locales])));
    let page = browser.get(&at);
    assert!(page.body.contains("<html lang=\"de\""), "{}", page.body);
    // What was chosen here goes first.
    browser.cookies.push(("language".into(), "fr".into()));
    assert!(browser.get(&at).body.contains("<html lang=\"fr\""));
    let other = browser.get(&format!("{at}?lang=it"));
    assert!(other.body.contains("<html lang=\"it\""), "{}", other.body);
}

#[test]
fn requests_that_wait_are_limited_by_network() {
    let server = TestServer::start_with(|config| {
        config.rate_limits.enabled = true;
        config.rate_limits.authorization_requests = 2;
    });
    register(&server, |_| {});
    let mut browser = Browser::new(&server);
    for _ in 0..2 {
        assert_eq!(browser.get(&path(&[])).status, 303);
    }
    assert_eq!(browser.get(&path(&[])).status, 429);
    let pairs = query(&parameters(&[]));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(
        server.request("POST", "/o/authorize/", &form, pairs).status,
        429
    );
    // Who need not wait is not limited.
    assert_eq!(
        error_of(&browser.get(&path(&[("prompt", Some("none"))]))),
        "login_required"
    );
    assert_eq!(
        server.db_number("SELECT count(*) FROM authorization_requests"),
        2
    );
}

#[test]
fn without_pages_nobody_signs_in_to_applications() {
    let server = TestServer::start_with(|config| config.pages.enabled = false);
    register(&server, |_| {});
    let answer = server.request("GET", &path(&[]), &[], "");
    assert_eq!(answer.status, 404);
}
