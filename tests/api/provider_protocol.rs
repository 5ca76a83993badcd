//! The protocol of an external sign-in from outside: what begins, what comes back, and what attackers
//! put in between.

use std::sync::Arc;
use std::time::Duration;

use accounts_server::accounts::{
    self, AccountError, BrowserOutcome, BrowserPurpose, BrowserSession, Client, FinishedBrowser,
    SessionKind,
};
use accounts_server::app::App;
use accounts_server::domain::{IdTokenAlgorithm, ProviderKind};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::contract::{UNKNOWN_CREDENTIALS, UNVERIFIED};
use crate::external::{
    APP, INVALID_CODE, Site, VERIFIER, begin, begin_query, callback, challenge, parameter, path_of,
    redeem,
};
use crate::fake_provider::{Authorized, Endpoint, FakeProvider, Fault, Signature};
use crate::support::{Answer, PASSWORD, TestServer, at_once};

const OVERLOADED: &str = r#"{"detail":"Service temporarily unavailable, try again later."}"#;
const INVALID_TOKEN: &str = r#"{"id_token":["Invalid or expired token."]}"#;
const AUDIENCE: &str = "com.example.app";

fn requests(site: &Site) -> i64 {
    site.server
        .db_number("SELECT count(*) FROM provider_requests")
}

#[test]
fn browser_comes_back_to_the_app_with_a_code_and_its_state() {
    let site = Site::new();
    let authorized = site.provider.authorize(&site.begin());
    let answer = callback(&site.server, &authorized);
    assert_eq!(answer.status, 303);
    let location = answer.header("location").unwrap().to_owned();
    assert!(location.starts_with(&format!("{APP}?code=")), "{location}");
    assert_eq!(parameter(&location, "state"), "of the app");
    // It is our code and not the provider's, and no token.
    let code = parameter(&location, "code");
    assert_ne!(code, authorized.field("code"));
    assert_eq!(code.len(), 43);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    // The provider was not asked yet, and neither secret is readable in the database.
    assert_eq!(site.provider.count("/token"), 0);
    let file = std::fs::read(site.server.dir().join("users.db-wal")).unwrap();
    let state = authorized.field("state").to_owned();
    for secret in [&code, &state, &authorized.field("code").to_owned()] {
        let found = file
            .windows(secret.len())
            .any(|bytes| bytes == secret.as_bytes());
        assert!(!found, "{secret}");
    }
    assert_eq!(redeem(&site.server, "it", &code, VERIFIER).status, 200);
    assert_eq!(requests(&site), 0);
    // An app that gave no state gets none.
    let query = &begin_query(VERIFIER)[..2];
    let url = begin(&site.server, "it", query).text("authorization_url");
    let answer = callback(&site.server, &site.provider.authorize(&url));
    let location = answer.header("location").unwrap();
    assert_eq!(parameter(location, "state"), "");
}

#[test]
fn refusals_of_the_provider_reach_the_app() {
    let site = Site::new();
    let denied = site.provider.deny(&site.begin());
    let answer = callback(&site.server, &denied);
    assert_eq!(answer.status, 303);
    assert_eq!(
        answer.header("location"),
        Some(&*format!("{APP}?error=access_denied&state=of+the+app"))
    );
    assert_eq!(callback(&site.server, &denied).status, 400);
    for (error, reported) in [
        ("server_error", "temporarily_unavailable"),
        ("login_required", "access_denied"),
        ("something else", "access_denied"),
    ] {
        let mut denied = site.provider.deny(&site.begin());
        error.clone_into(&mut denied.fields[0].1);
        let answer = callback(&site.server, &denied);
        let location = answer.header("location").unwrap();
        assert_eq!(parameter(location, "error"), reported, "{error}");
    }
    assert_eq!(requests(&site), 0);
}

#[test]
fn posted_answer_leads_to_a_get_of_ours() {
    let site = Site::of(ProviderKind::Apple, |_| {}, |_| {});
    let url = site.begin();
    let authorized = site.provider.authorize(&url);
    let path = path_of(&authorized.redirect_uri).to_owned();
    let post = |form: &str| {
        let kind = ("content-type", "application/x-www-form-urlencoded");
        site.server.request("POST", &path, &[kind], form)
    };
    let posted = post(&authorized.form());
    assert_eq!(posted.status, 303, "{}", posted.body);
    let location = posted.header("location").unwrap().to_owned();
    let state = authorized.field("state");
    assert_eq!(location, format!("{path}?state={state}"));
    // It was only stored; posted once more it changes nothing.
    assert_eq!(post(&authorized.form()).status, 400);
    assert_eq!(post("state=unknown&code=x").status, 400);
    assert_eq!(post("code=x").status, 400);
    let answer = site.server.request("GET", &location, &[], "");
    assert_eq!(answer.status, 303, "{}", answer.body);
    let code = parameter(answer.header("location").unwrap(), "code");
    let pair = redeem(&site.server, "it", &code, VERIFIER);
    assert_eq!(pair.status, 200, "{}", pair.body);
    // The name came with the form alone.
    let me = site
        .server
        .get("users/me/", Some(&pair.text("access")))
        .json();
    assert_eq!(
        (&me["first_name"], &me["last_name"]),
        (&json!("Ada"), &json!("Lovelace"))
    );
    // The way on is open once.
    assert_eq!(site.server.request("GET", &location, &[], "").status, 400);
    // Without an answer there is nothing to go on with.
    let state = &site.provider.request_of(&site.begin())["state"];
    let empty = format!("{path}?state={state}");
    assert_eq!(site.server.request("GET", &empty, &[], "").status, 400);
}

#[test]
fn state_counts_once_for_its_provider_and_ten_minutes() {
    let other = FakeProvider::start(ProviderKind::Oidc);
    let mut settings = other.settings("other");
    settings.trust_email = true;
    let site = Site::with(|_| {}, |config| config.social_providers.push(settings));
    other.use_clock(site.server.clock.clone());
    // The answer of one provider does not do at the callback of another.
    let authorized = site.provider.authorize(&site.begin());
    let elsewhere = Authorized {
        redirect_uri: authorized.redirect_uri.replace("/o/it/", "/o/other/"),
        ..authorized.clone()
    };
    assert_eq!(callback(&site.server, &elsewhere).status, 400);
    let unknown = Authorized {
        redirect_uri: authorized.redirect_uri.replace("/o/it/", "/o/x/"),
        ..authorized.clone()
    };
    assert_eq!(callback(&site.server, &unknown).status, 404);
    let code = site.come_back(&authorized);
    // Nor does a code at another provider; it is used up then.
    redeem(&site.server, "other", &code, VERIFIER).assert(400, INVALID_CODE);
    redeem(&site.server, "it", &code, VERIFIER).assert(400, INVALID_CODE);
    assert_eq!(callback(&site.server, &authorized).status, 400);
    // A code that another provider has issued is refused by this one.
    let foreign = other
        .authorize(&begin(&site.server, "other", &begin_query(VERIFIER)).text("authorization_url"));
    let mut mixed = site.provider.authorize(&site.begin());
    mixed.fields[0].1 = foreign.field("code").to_owned();
    let code = site.come_back(&mixed);
    redeem(&site.server, "it", &code, VERIFIER).assert(400, INVALID_CODE);

    let authorized = site.provider.authorize(&site.begin());
    site.server.advance(Duration::from_mins(10));
    assert_eq!(callback(&site.server, &authorized).status, 400);
    for state in ["", "unknown", "\u{0}"] {
        let mut wrong = authorized.clone();
        state.clone_into(&mut wrong.fields[1].1);
        assert_eq!(callback(&site.server, &wrong).status, 400, "{state:?}");
    }
    assert_eq!(site.server.db_number("SELECT count(*) FROM users"), 0);
}

#[test]
fn answer_that_names_another_issuer_is_refused() {
    let site = Site::new();
    site.provider
        .change(|behaviour| behaviour.names_issuer = true);
    assert_eq!(site.sign_in().status, 200);
    let mut wrong = site.provider.authorize(&site.begin());
    wrong.fields[2].1 = "https://evil.example".to_owned();
    let code = site.come_back(&wrong);
    redeem(&site.server, "it", &code, VERIFIER).assert(400, INVALID_CODE);
    let mut without = site.provider.authorize(&site.begin());
    without.fields.truncate(2);
    let code = site.come_back(&without);
    redeem(&site.server, "it", &code, VERIFIER).assert(400, INVALID_CODE);
}

#[test]
fn code_counts_once_for_its_verifier_and_a_minute() {
    let site = Site::new();
    let code = site.code();
    assert_eq!(redeem(&site.server, "it", &code, VERIFIER).status, 200);
    redeem(&site.server, "it", &code, VERIFIER).assert(400, INVALID_CODE);
    // A client that has the code and not the verifier ends it.
    let code = site.code();
    let other = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    redeem(&site.server, "it", &code, other).assert(400, INVALID_CODE);
    redeem(&site.server, "it", &code, VERIFIER).assert(400, INVALID_CODE);
    let code = site.code();
    redeem(&site.server, "it", &code, &challenge(VERIFIER)).assert(400, INVALID_CODE);
    let code = site.code();
    site.server.advance(Duration::from_mins(1));
    redeem(&site.server, "it", &code, VERIFIER).assert(400, INVALID_CODE);
    let code = site.code();
    site.server.advance(Duration::from_secs(59));
    assert_eq!(redeem(&site.server, "it", &code, VERIFIER).status, 200);
}

#[test]
fn of_many_that_show_a_code_one_signs_in() {
    let site = Site::new();
    let code = site.code();
    let answers = at_once(16, |_| redeem(&site.server, "it", &code, VERIFIER).status);
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1);
    assert_eq!(answers.iter().filter(|status| **status == 400).count(), 15);
    assert_eq!(site.provider.count("/token"), 1);
    // The same of answers to one state.
    let authorized = site.provider.authorize(&site.begin());
    let answers = at_once(16, |_| callback(&site.server, &authorized).status);
    assert_eq!(answers.iter().filter(|status| **status == 303).count(), 1);
    // Sixteen apps of somebody new make one account.
    site.be("new", "new@example.com", true);
    let codes: Vec<String> = (0..16).map(|_| site.code()).collect();
    let answers = at_once(16, |number| {
        redeem(&site.server, "it", &codes[number], VERIFIER).status
    });
    assert_eq!(answers, [200; 16]);
    let count = "SELECT count(*) FROM users WHERE email_key = 'new@example.com'";
    assert_eq!(site.server.db_number(count), 1);
}

#[test]
fn victim_cannot_be_signed_in_as_the_attacker() {
    // Login CSRF: the attacker's code in the victim's app, which has a verifier of its own.
    let site = Site::new();
    let attackers = "attackers-verifier-of-forty-three-characters";
    let url = begin(&site.server, "it", &begin_query(attackers)).text("authorization_url");
    let code = site.come_back(&site.provider.authorize(&url));
    redeem(&site.server, "it", &code, VERIFIER).assert(400, INVALID_CODE);
    assert_eq!(site.server.db_number("SELECT count(*) FROM sessions"), 0);
}

#[test]
fn forged_id_tokens_sign_nobody_in() {
    let site = Site::new();
    for signature in [
        Signature::None,
        Signature::PublicKeyAsSecret,
        Signature::OtherKey,
        Signature::OtherClaims,
    ] {
        site.provider
            .change(|behaviour| behaviour.signature = signature);
        let answer = site.sign_in();
        assert_eq!(answer.status, 400, "{signature:?}: {}", answer.body);
    }
    site.provider
        .change(|behaviour| behaviour.signature = Signature::Right);
    for (claim, value) in [
        ("iss", json!("https://evil.example")),
        ("aud", json!("another")),
        ("nonce", json!("another")),
        ("exp", json!(1_700_000_000)),
        ("sub", json!("")),
    ] {
        site.provider.change(|behaviour| {
            behaviour.claims.clear();
            behaviour.claims.insert(claim.to_owned(), value);
        });
        let answer = site.sign_in();
        assert_eq!(answer.status, 400, "{claim}: {}", answer.body);
    }
    // Another algorithm than that of the settings.
    site.provider.change(|behaviour| {
        behaviour.claims.clear();
        behaviour.algorithm = IdTokenAlgorithm::Es256;
    });
    assert_ne!(site.sign_in().status, 200);
    assert_eq!(site.server.db_number("SELECT count(*) FROM users"), 0);
}

#[test]
fn provider_that_is_down_is_a_503_and_nothing_else_suffers() {
    let down = || Fault::Answer("500 Internal Server Error", "{}".to_owned());
    let site = Site::new();
    site.provider
        .change(|behaviour| drop(behaviour.faults.insert(Endpoint::Discovery, down())));
    let answer = begin(&site.server, "it", &begin_query(VERIFIER));
    answer.assert(503, OVERLOADED);
    assert!(answer.header("retry-after").is_some());
    assert_eq!(requests(&site), 0);
    let user = site.server.user("user@example.com");
    assert_eq!(site.server.sign_in(&user.email, PASSWORD).status, 200);
    assert_eq!(site.server.get("providers/", None).status, 200);
    // At the last step, too; and another client's secret is the operator's fault.
    let site = Site::new();
    let code = site.code();
    site.provider
        .change(|behaviour| drop(behaviour.faults.insert(Endpoint::Token, down())));
    redeem(&site.server, "it", &code, VERIFIER).assert(503, OVERLOADED);
    redeem(&site.server, "it", &code, VERIFIER).assert(400, INVALID_CODE);
    site.provider.change(|behaviour| behaviour.faults.clear());
    assert_eq!(site.sign_in().status, 200);
}

#[test]
fn github_needs_a_verified_primary_address() {
    let site = Site::of(ProviderKind::Github, |_| {}, |_| {});
    let user = site.signed_in();
    assert_eq!(user.email, "ada@example.com");
    site.provider.change(|behaviour| {
        "77".clone_into(&mut behaviour.subject);
        behaviour.emails =
            json!([{"email": "bob@example.com", "primary": true, "verified": false}]);
    });
    let answer = site.sign_in();
    assert_ne!(answer.status, 200, "{}", answer.body);
    assert_eq!(site.server.db_number("SELECT count(*) FROM identities"), 1);
    let native = json!({"id_token": "a.b.c", "nonce": "n"});
    site.server
        .post("o/it/token/", &native)
        .assert(400, INVALID_TOKEN);
}

fn native(site: &Site, token: &str, nonce: &str) -> Answer {
    let body = json!({"id_token": token, "nonce": nonce});
    site.server.post("o/it/token/", &body)
}

fn site_for_apps() -> Site {
    Site::with(
        |settings| settings.audiences = vec![AUDIENCE.to_owned()],
        |_| {},
    )
}

#[test]
fn id_token_of_an_app_counts_once() {
    let site = site_for_apps();
    let token = site.provider.id_token(AUDIENCE, "n-1");
    let pair = native(&site, &token, "n-1");
    assert_eq!(pair.status, 200, "{}", pair.body);
    native(&site, &token, "n-1").assert(400, INVALID_TOKEN);
    // The nonce may be in it as a hash.
    let hashed = data_encoding::HEXLOWER.encode(&Sha256::digest("n-2"));
    let token = site.provider.id_token(AUDIENCE, &hashed);
    assert_eq!(native(&site, &token, "n-2").status, 200);
    // Of sixteen that show one, one signs in.
    let token = site.provider.id_token(AUDIENCE, "n-3");
    let answers = at_once(16, |_| native(&site, &token, "n-3").status);
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1);
    assert_eq!(answers.iter().filter(|status| **status == 400).count(), 15);
    // Also after a restart, and with another signature of the same text.
    let mut site = site;
    let token = site.provider.id_token(AUDIENCE, "n-4");
    assert_eq!(native(&site, &token, "n-4").status, 200);
    site.server.restart();
    native(&site, &token, "n-4").assert(400, INVALID_TOKEN);
}

#[test]
fn wrong_id_tokens_of_apps_are_refused() {
    let site = site_for_apps();
    for (audience, in_token, shown) in [
        ("another", "n", "n"),
        ("accounts", "n", "n"),
        (AUDIENCE, "n", "m"),
        (AUDIENCE, "", "n"),
    ] {
        let token = site.provider.id_token(audience, in_token);
        native(&site, &token, shown).assert(400, INVALID_TOKEN);
    }
    native(&site, "not.a.token", "n").assert(400, INVALID_TOKEN);
    native(&site, "", "").assert(
        400,
        r#"{"id_token":["This field may not be blank."],"nonce":["This field may not be blank."]}"#,
    );
    let token = site.provider.id_token(AUDIENCE, "n");
    site.server.advance(Duration::from_secs(5 * 60 + 61));
    native(&site, &token, "n").assert(400, INVALID_TOKEN);
    for signature in [
        Signature::None,
        Signature::PublicKeyAsSecret,
        Signature::OtherClaims,
    ] {
        site.provider
            .change(|behaviour| behaviour.signature = signature);
        let token = site.provider.id_token(AUDIENCE, "n");
        native(&site, &token, "n").assert(400, INVALID_TOKEN);
    }
    // Without audiences in the settings there are no such sign-ins.
    let site = Site::new();
    let token = site.provider.id_token("accounts", "n");
    native(&site, &token, "n").assert(400, INVALID_TOKEN);
    assert_eq!(site.server.db_number("SELECT count(*) FROM users"), 0);
}

#[test]
fn id_token_of_an_app_follows_the_rules_of_accounts() {
    let site = site_for_apps();
    site.server.user("ada@example.com");
    let token = site.provider.id_token(AUDIENCE, "n-1");
    let answer = native(&site, &token, "n-1");
    assert_eq!(answer.status, 401);
    assert_eq!(answer.json()["code"], "account_exists");
    // It is used up, whatever came of it.
    native(&site, &token, "n-1").assert(400, INVALID_TOKEN);
    site.be("bob", "bob@example.com", false);
    let token = site.provider.id_token(AUDIENCE, "n-2");
    let answer = native(&site, &token, "n-2");
    assert_eq!(answer.json()["code"], "email_not_verified");
    assert_ne!(answer.body, UNVERIFIED);
}

/// A browser of the account pages.
fn browser() -> Client {
    Client {
        ip: "127.0.0.1".parse().unwrap(),
        user_agent: "browser".to_owned(),
        accept_language: "de".to_owned(),
        session_kind: SessionKind::Browser,
    }
}

/// A browser request to the provider `it`: where it is sent, and its cookie.
async fn start(app: &App, purpose: BrowserPurpose<'_>) -> (String, String) {
    let client = browser();
    let end = ("/account/", "de");
    let started = accounts::start_in_browser(app, "it", purpose, None, end, &client);
    let started = started.await.unwrap();
    (started.authorization_url, started.cookie)
}

async fn finish(
    app: &Arc<App>,
    state: &str,
    cookie: &str,
    session: Option<&BrowserSession>,
) -> Result<FinishedBrowser, AccountError> {
    accounts::finish_in_browser(app, "it", (state, cookie), session, &browser()).await
}

/// Follows the answer of the provider, and returns the state with which the page is requested.
#[track_caller]
fn led_to_page(server: &TestServer, authorized: &Authorized) -> String {
    let answer = callback(server, authorized);
    assert_eq!(answer.status, 303, "{}", answer.body);
    let location = answer.header("location").unwrap();
    assert!(
        location.starts_with("/account/external/it/?state="),
        "{location}"
    );
    parameter(location, "state")
}

#[track_caller]
fn secret(finished: Result<FinishedBrowser, AccountError>) -> String {
    match finished.map(|finished| finished.outcome) {
        Ok(Ok(BrowserOutcome::SignedIn(signed_in))) => signed_in.signed.into_secret().unwrap(),
        Ok(Err(error)) | Err(error) => panic!("{error:?}"),
        Ok(Ok(_)) => panic!("not signed in"),
    }
}

async fn session(app: &App, secret: &str) -> BrowserSession {
    let found = accounts::find_browser_session(app, &browser(), secret).await;
    found.unwrap().unwrap()
}

#[test]
fn page_is_finished_by_the_browser_that_began() {
    let site = Site::new();
    let (url, cookie) = site
        .server
        .run(async |app| start(&app, BrowserPurpose::SignIn).await);
    assert_eq!(site.provider.request_of(&url)["ui_locales"], "de");
    let authorized = site.provider.authorize(&url);
    // Before the answer has come, and in another browser, nothing is finished.
    let state = authorized.field("state").to_owned();
    let dead = |state: &str, cookie: &str| {
        let finished = site
            .server
            .run(async |app| finish(&app, state, cookie, None).await.map(|_| ()));
        assert!(
            matches!(finished, Err(AccountError::InvalidLink)),
            "{finished:?}"
        );
    };
    dead(&state, &cookie);
    assert_eq!(led_to_page(&site.server, &authorized), state);
    dead(&state, "another cookie");
    dead("another state", &cookie);
    let finished = site
        .server
        .run(async |app| finish(&app, &state, &cookie, None).await);
    assert_eq!(finished.as_ref().unwrap().next, "/account/");
    let secret = secret(finished);
    let user = site
        .server
        .run(async |app| session(&app, &secret).await.user().email.clone());
    assert_eq!(user, "ada@example.com");
    dead(&state, &cookie);
    // No code of an app redeems it.
    redeem(&site.server, "it", &state, VERIFIER).assert(400, INVALID_CODE);
}

#[test]
fn browser_learns_of_refusals_and_of_a_provider_that_is_down() {
    let site = Site::new();
    let fail = |authorized: &dyn Fn(&str) -> Authorized| {
        let (url, cookie) = site
            .server
            .run(async |app| start(&app, BrowserPurpose::SignIn).await);
        let state = led_to_page(&site.server, &authorized(&url));
        let finished = site
            .server
            .run(async |app| finish(&app, &state, &cookie, None).await);
        let finished = finished.unwrap();
        assert_eq!(finished.next, "/account/");
        match finished.outcome {
            Err(error) => error,
            Ok(_) => panic!("finished"),
        }
    };
    let denied = fail(&|url| site.provider.deny(url));
    assert!(matches!(denied, AccountError::ProviderDenied), "{denied:?}");
    let unavailable = fail(&|url| {
        let mut denied = site.provider.deny(url);
        "server_error".clone_into(&mut denied.fields[0].1);
        denied
    });
    assert!(
        matches!(unavailable, AccountError::Overloaded(_)),
        "{unavailable:?}"
    );
    site.provider.change(|behaviour| {
        drop(behaviour.faults.insert(Endpoint::Token, Fault::Close));
    });
    let down = fail(&|url| site.provider.authorize(url));
    assert!(matches!(down, AccountError::Overloaded(_)), "{down:?}");
    site.provider.change(|behaviour| {
        behaviour.faults.clear();
        behaviour.signature = Signature::None;
    });
    let forged = fail(&|url| site.provider.authorize(url));
    assert!(matches!(forged, AccountError::InvalidLink), "{forged:?}");
    site.provider
        .change(|behaviour| behaviour.signature = Signature::Right);
    site.server.user("ada@example.com");
    let exists = fail(&|url| site.provider.authorize(url));
    let AccountError::AccountExists { email, .. } = exists else {
        panic!("{exists:?}");
    };
    assert_eq!(email, "ada@example.com");
}

#[test]
fn browser_connects_and_authenticates_again_in_its_own_session() {
    let site = Site::new();
    let sign_in = || {
        let (url, cookie) = site
            .server
            .run(async |app| start(&app, BrowserPurpose::SignIn).await);
        let state = led_to_page(&site.server, &site.provider.authorize(&url));
        secret(
            site.server
                .run(async |app| finish(&app, &state, &cookie, None).await),
        )
    };
    let own = sign_in();
    let strange = sign_in();
    site.be("second", "second@example.com", true);
    let begin = |secret: &str, is_connection: bool| {
        let (url, cookie) = site.server.run(async |app| {
            let session = session(&app, secret).await;
            let purpose = match is_connection {
                true => BrowserPurpose::Connection(&session.caller),
                false => BrowserPurpose::Reauthentication(&session.caller),
            };
            start(&app, purpose).await
        });
        (site.provider.authorize(&url), cookie)
    };
    let end = |authorized: &Authorized, cookie: &str, secret: Option<&str>| {
        let state = led_to_page(&site.server, authorized);
        site.server.run(async |app| {
            let session = match secret {
                Some(secret) => Some(session(&app, secret).await),
                None => None,
            };
            let finished = finish(&app, &state, cookie, session.as_ref()).await;
            finished.unwrap().outcome
        })
    };
    // Another session of the same browser, or none, gets nothing.
    for other in [Some(strange.as_str()), None] {
        let (authorized, cookie) = begin(&own, true);
        let outcome = end(&authorized, &cookie, other);
        assert!(matches!(outcome, Err(AccountError::InvalidLink)));
    }
    let (authorized, cookie) = begin(&own, true);
    let outcome = end(&authorized, &cookie, Some(&own));
    let Ok(BrowserOutcome::Connected(identity)) = outcome else {
        panic!("not connected");
    };
    assert_eq!(identity.proven.subject, "second");

    // Authenticating again: the provider asks for it, and says when it was.
    site.server.advance(Duration::from_mins(11));
    let (authorized, cookie) = begin(&own, false);
    let Ok(BrowserOutcome::Reauthenticated(renewed)) = end(&authorized, &cookie, Some(&own)) else {
        panic!("not authenticated");
    };
    let is_recent = site.server.run(async |app| {
        let session = session(&app, &renewed).await;
        accounts::is_recent(&app, &session.caller)
    });
    assert!(is_recent);
    // Not by an older authentication there, none at all, or somebody else's identity.
    for claims in [
        json!({"auth_time": 1_733_227_200}),
        json!({"auth_time": null}),
        json!({"sub": "somebody else"}),
    ] {
        site.server.advance(Duration::from_mins(2));
        site.provider
            .change(|behaviour| behaviour.claims = claims.as_object().unwrap().clone());
        let (authorized, cookie) = begin(&renewed, false);
        let outcome = end(&authorized, &cookie, Some(&renewed));
        assert!(
            matches!(outcome, Err(AccountError::WrongIdentity)),
            "{claims}"
        );
    }
    site.provider.change(|behaviour| behaviour.claims.clear());
    // Nor where the account has a second factor.
    site.server.db_execute(
        "INSERT INTO totp_devices (user_id, device_id, secret, last_step, created_at) \
         SELECT id, 'd', x'00', 0, 0 FROM users",
    );
    let refused = site.server.run(async |app| {
        let session = session(&app, &renewed).await;
        let purpose = BrowserPurpose::Reauthentication(&session.caller);
        let client = browser();
        let started = accounts::start_in_browser(&app, "it", purpose, None, ("/", ""), &client);
        started.await.map(|_| ())
    });
    assert!(
        matches!(refused, Err(AccountError::WrongIdentity)),
        "{refused:?}"
    );
    site.server
        .sign_in("ada@example.com", PASSWORD)
        .assert(401, UNKNOWN_CREDENTIALS);
}
