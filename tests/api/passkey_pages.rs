//! Passkeys on the account pages: the options that a script fetches, and the forms of their answers.

use serde_json::{Value, json};

use crate::browser::{Browser, assert_leads_to};
use crate::device::Authenticator;
use crate::support::{Answer, PASSWORD, TestServer};

const EMAIL: &str = "user@example.com";
const ORIGIN: &str = "http://localhost:8000";
const SIGN_IN: &str = "/account/sign-in/";
const SECURITY: &str = "/account/security/";
const PASSKEYS: &str = "/account/security/passkeys/";
const OPTIONS: &str = "/account/passkeys/options/";

/// A browser in which an account is signed in.
fn signed_in<'a>(server: &'a TestServer, email: &str) -> Browser<'a> {
    server.user(email);
    let mut browser = Browser::new(server);
    assert_eq!(browser.sign_in(email).status, 303);
    browser
}

/// Sends a form with the token of a page.
#[track_caller]
fn send(browser: &mut Browser<'_>, page: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    let token = browser.token(page);
    let mut all = vec![("form_token", token.as_str())];
    all.extend_from_slice(fields);
    browser.post(path, &all)
}

/// The options that a script asks for on a page.
#[track_caller]
fn options(browser: &mut Browser<'_>, page: &str, purpose: &str) -> Value {
    let answer = send(browser, page, OPTIONS, &[("for", purpose)]);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

/// Adds a passkey. Returns the page that follows.
#[track_caller]
fn add(browser: &mut Browser<'_>, device: &mut Authenticator, name: &str) -> Answer {
    let options = options(browser, PASSKEYS, "register");
    let credential = device.create(&options).to_string();
    let fields = [("credential", credential.as_str()), ("name", name)];
    send(browser, PASSKEYS, PASSKEYS, &fields)
}

/// The answer of a passkey to the options of a page, as fields of a form.
#[track_caller]
fn answer(
    browser: &mut Browser<'_>,
    device: &mut Authenticator,
    page: &str,
    purpose: &str,
) -> (String, String) {
    let options = options(browser, page, purpose);
    let session = options["session_id"].as_str().unwrap_or_default();
    (device.get(&options).to_string(), session.to_owned())
}

/// Signs in with a passkey.
fn sign_in(browser: &mut Browser<'_>, device: &mut Authenticator, next: &str) -> Answer {
    let (credential, session) = answer(browser, device, SIGN_IN, "sign-in");
    let fields = [
        ("email", ""),
        ("password", ""),
        ("credential", credential.as_str()),
        ("session_id", session.as_str()),
        ("next", next),
    ];
    send(browser, SIGN_IN, SIGN_IN, &fields)
}

#[test]
fn passkey_is_added_and_signs_in() {
    let server = TestServer::start();
    let mut browser = signed_in(&server, EMAIL);
    let mut device = Authenticator::at(ORIGIN);
    let codes = add(&mut browser, &mut device, "Work laptop");
    assert_eq!(codes.status, 200, "{}", codes.body);
    assert_eq!(codes.body.matches("<li><code>").count(), 10);
    let page = browser.get(SECURITY);
    assert!(page.body.contains("Work laptop"), "{}", page.body);
    // A second one brings no codes.
    let added = add(&mut browser, &mut Authenticator::at(ORIGIN), "Phone");
    assert_leads_to(&added, SECURITY);

    let mut other = Browser::new(&server);
    let answer = sign_in(&mut other, &mut device, "/account/profile/");
    assert_leads_to(&answer, "/account/profile/");
    // A passkey is two factors.
    assert_eq!(other.get(PASSKEYS).status, 200);
    assert_eq!(
        server.db_number("SELECT count(*) FROM events WHERE event = 'passkey_added'"),
        2
    );
}

#[test]
fn passkey_that_is_not_accepted_signs_nobody_in() {
    let server = TestServer::start();
    let mut browser = signed_in(&server, EMAIL);
    let mut device = Authenticator::at(ORIGIN);
    add(&mut browser, &mut device, "Phone");
    let mut other = Browser::new(&server);
    let (credential, session) = answer(&mut other, &mut device, SIGN_IN, "sign-in");
    for (credential, session) in [
        (credential.as_str(), "another"),
        ("{}", session.as_str()),
        ("nonsense", session.as_str()),
    ] {
        let fields = [("credential", credential), ("session_id", session)];
        let refused = send(&mut other, SIGN_IN, SIGN_IN, &fields);
        assert_eq!(refused.status, 400, "{credential}: {}", refused.body);
        assert!(
            refused.body.contains("does not work here"),
            "{}",
            refused.body
        );
    }
    assert_eq!(other.get(SECURITY).status, 303);
}

#[test]
fn passkey_is_the_second_step_after_a_password() {
    let server = TestServer::start();
    let mut browser = signed_in(&server, EMAIL);
    let mut device = Authenticator::at(ORIGIN);
    add(&mut browser, &mut device, "Phone");

    let mut other = Browser::new(&server);
    let step = "/account/second-factor/?next=%2Faccount%2F&passkey=1";
    let fields = [
        ("email", EMAIL),
        ("password", PASSWORD),
        ("next", "/account/"),
    ];
    assert_leads_to(&send(&mut other, SIGN_IN, SIGN_IN, &fields), step);
    let page = other.get(step);
    assert!(
        page.body.contains("data-passkey=\"second-step\""),
        "{}",
        page.body
    );
    let (credential, _) = answer(&mut other, &mut device, step, "second-step");
    let wrong = [("credential", "{}"), ("has_passkey", "yes")];
    let refused = send(&mut other, step, "/account/second-factor/", &wrong);
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert!(refused.body.contains("data-passkey"), "{}", refused.body);
    let fields = [("code", ""), ("credential", credential.as_str())];
    let done = send(&mut other, step, "/account/second-factor/", &fields);
    assert_leads_to(&done, "/account/");
    assert_eq!(other.get(SECURITY).status, 200);
}

#[test]
fn form_that_waits_goes_on_after_a_passkey() {
    let server = TestServer::start();
    let mut browser = signed_in(&server, EMAIL);
    let mut device = Authenticator::at(ORIGIN);
    add(&mut browser, &mut device, "Phone");
    server.advance_seconds(601);
    let path = "/account/email/";
    let asked = send(
        &mut browser,
        SECURITY,
        path,
        &[("email", "new@example.com")],
    );
    assert_eq!(asked.status, 403, "{}", asked.body);
    assert_eq!(asked.hidden("email"), Some("new@example.com"));
    assert_eq!(asked.hidden("reauthentication_credential"), Some(""));
    let (credential, session) = answer(&mut browser, &mut device, SECURITY, "sign-in");
    let fields = [
        ("email", "new@example.com"),
        ("reauthentication_code", ""),
        ("reauthentication_credential", credential.as_str()),
        ("reauthentication_session_id", session.as_str()),
    ];
    assert_eq!(send(&mut browser, SECURITY, path, &fields).status, 303);
    assert!(!server.mails("new@example.com").is_empty());

    // The page that asks before another page.
    server.advance_seconds(601);
    let ask = "/account/reauthenticate/?next=%2Faccount%2Fsecurity%2Fpasskeys%2F";
    assert_leads_to(&browser.get(PASSKEYS), ask);
    let (credential, session) = answer(&mut browser, &mut device, ask, "sign-in");
    let fields = [
        ("credential", credential.as_str()),
        ("session_id", session.as_str()),
        ("next", PASSKEYS),
    ];
    let done = send(&mut browser, ask, "/account/reauthenticate/", &fields);
    assert_leads_to(&done, PASSKEYS);
    assert_eq!(browser.get(PASSKEYS).status, 200);
}

#[test]
fn options_are_for_pages_of_ours() {
    let server = TestServer::start();
    let mut browser = signed_in(&server, EMAIL);
    assert_eq!(browser.post(OPTIONS, &[("for", "register")]).status, 403);
    let unknown = send(&mut browser, SECURITY, OPTIONS, &[("for", "anything")]);
    assert_eq!(unknown.status, 404);
    let no_ticket = send(&mut browser, SECURITY, OPTIONS, &[("for", "second-step")]);
    assert_eq!(no_ticket.status, 401, "{}", no_ticket.body);
    server.advance_seconds(601);
    let late = send(&mut browser, SECURITY, OPTIONS, &[("for", "register")]);
    assert_eq!(late.status, 403, "{}", late.body);
    let mut stranger = Browser::new(&server);
    let nobody = send(&mut stranger, SIGN_IN, OPTIONS, &[("for", "register")]);
    assert_eq!(nobody.status, 303, "{}", nobody.body);
}

#[test]
fn passkeys_are_named_and_removed_but_not_the_last_way_in() {
    let server = TestServer::start();
    let mut browser = signed_in(&server, EMAIL);
    let mut device = Authenticator::at(ORIGIN);
    add(&mut browser, &mut device, "Phone");
    let id = server.db_text("SELECT id FROM passkeys");
    let rename = format!("{PASSKEYS}rename/");
    let fields = [("id", id.as_str()), ("name", "<b>Old</b> phone")];
    assert_leads_to(&send(&mut browser, SECURITY, &rename, &fields), SECURITY);
    let page = browser.get(SECURITY);
    assert!(page.body.contains("&lt;b&gt;Old"), "{}", page.body);
    let blank = send(
        &mut browser,
        SECURITY,
        &rename,
        &[("id", &id), ("name", " ")],
    );
    assert_eq!(blank.status, 400, "{}", blank.body);
    let gone = send(
        &mut browser,
        SECURITY,
        &rename,
        &[("id", "x"), ("name", "y")],
    );
    assert_leads_to(&gone, SECURITY);

    let remove = format!("{PASSKEYS}remove/");
    let password = server.db_text("SELECT password_hash FROM users");
    server.db_execute("UPDATE users SET password_hash = '!'");
    let refused = send(&mut browser, SECURITY, &remove, &[("id", &id)]);
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert!(
        refused.body.contains("only way to sign in"),
        "{}",
        refused.body
    );
    server.db_execute(&format!("UPDATE users SET password_hash = '{password}'"));
    let removed = send(&mut browser, SECURITY, &remove, &[("id", &id)]);
    assert_leads_to(&removed, SECURITY);
    assert_eq!(server.db_number("SELECT count(*) FROM passkeys"), 0);
}

#[test]
fn passkey_is_offered_once_in_a_browser_that_can_keep_one() {
    let server = TestServer::start();
    server.user(EMAIL);
    let offer = "/account/passkeys/offer/?next=%2Faccount%2F";
    let fields = [
        ("email", EMAIL),
        ("password", PASSWORD),
        ("next", "/account/"),
    ];
    let able = [fields.as_slice(), &[("can_keep_passkey", "yes")]].concat();

    let mut plain = Browser::new(&server);
    assert_leads_to(&send(&mut plain, SIGN_IN, SIGN_IN, &fields), "/account/");

    let mut browser = Browser::new(&server);
    assert_leads_to(&send(&mut browser, SIGN_IN, SIGN_IN, &able), offer);
    let page = browser.get(offer);
    assert!(page.body.contains("Not now"), "{}", page.body);
    assert!(page.body.contains("href=\"/account/\""), "{}", page.body);
    send(&mut browser, SECURITY, "/account/sign-out/", &[]);
    assert_leads_to(&send(&mut browser, SIGN_IN, SIGN_IN, &able), "/account/");

    // Accepted, it leads on after the recovery codes; afterwards there is nothing to offer.
    let mut other = Browser::new(&server);
    send(&mut other, SIGN_IN, SIGN_IN, &able);
    let mut device = Authenticator::at(ORIGIN);
    let options = options(&mut other, offer, "register");
    let credential = device.create(&options).to_string();
    let fields = [
        ("credential", credential.as_str()),
        ("name", "Phone"),
        ("next", "/account/data/"),
    ];
    let codes = send(&mut other, offer, PASSKEYS, &fields);
    assert!(
        codes.body.contains("href=\"/account/data/\""),
        "{}",
        codes.body
    );
    assert_leads_to(&other.get(offer), "/account/");
    assert_eq!(json!(options["rp"]["id"]), json!("localhost"));
}

#[test]
fn passkey_meets_a_requirement_of_a_second_factor() {
    let server = TestServer::start_with(|config| {
        config.mfa.required_for = accounts_server::config::FactorRequirement::Everyone;
    });
    let mut browser = signed_in(&server, EMAIL);
    assert_leads_to(&browser.get("/account/profile/"), SECURITY);
    let mut device = Authenticator::at(ORIGIN);
    add(&mut browser, &mut device, "Phone");
    assert_eq!(browser.get("/account/profile/").status, 200);
}

#[test]
fn data_download_lists_passkeys() {
    let server = TestServer::start();
    let mut browser = signed_in(&server, EMAIL);
    let mut device = Authenticator::at(ORIGIN);
    assert_eq!(add(&mut browser, &mut device, "Phone").status, 200);
    let page = "/account/data/";
    let answer = send(&mut browser, page, "/account/data/download/", &[]);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let passkeys = answer.json()["passkeys"].clone();
    let mut names: Vec<_> = passkeys[0].as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["created_at", "last_used_at", "name"]);
    assert_eq!(passkeys[0]["name"], "Phone");
    assert!(passkeys[0]["created_at"].is_string(), "{passkeys}");
}
