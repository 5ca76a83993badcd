//! Signing in with other providers on the account pages, without a browser: where each button and each
//! answer of a provider leads.

use std::time::Duration;

use accounts_server::domain::ProviderKind;
use serde_json::{Value, json};

use crate::browser::{Browser, assert_leads_to};
use crate::factor_pages::enroll;
use crate::fake_provider::{Authorized, CLIENT_SECRET, Endpoint, FakeProvider, Fault};
use crate::support::{Answer, PASSWORD, TestServer, at_once};

const ADA: &str = "ada@example.com";

/// A provider that is trusted for addresses, and a server that signs people in with it.
macro_rules! company {
    ($provider:ident, $server:ident) => {
        company!($provider, $server, |_| {});
    };
    ($provider:ident, $server:ident, $change:expr) => {
        let $provider = FakeProvider::start(ProviderKind::Oidc);
        let $server = TestServer::start_with(|config| {
            let mut settings = $provider.settings("company");
            settings.trust_email = true;
            config.social_providers = vec![settings];
            $change(config);
        });
        $provider.use_clock($server.clock.clone());
    };
}

/// Sends a button's form, and returns the URL to which its page leads on.
#[track_caller]
fn begin(browser: &mut Browser<'_>, page: &str, action: &str, next: &str) -> String {
    let token = browser.token(page);
    let fields = [
        ("form_token", &*token),
        ("provider", "company"),
        ("next", next),
    ];
    link_of(&browser.post(action, &fields))
}

/// The URL to which a page leads on.
#[track_caller]
fn link_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let start = "<meta http-equiv=\"refresh\" content=\"0;url=";
    let (_, rest) = answer.body.split_once(start).expect("a page that leads on");
    let url = rest.split('"').next().unwrap();
    assert!(
        answer.body.contains(&format!("href=\"{url}\"")),
        "a link too"
    );
    plain(url)
}

/// A text without the references of HTML.
fn plain(text: &str) -> String {
    text.replace("&#x2f;", "/")
        .replace("&#x27;", "'")
        .replace("&amp;", "&")
}

/// Goes to the provider from the sign-in page.
#[track_caller]
fn leave(browser: &mut Browser<'_>, next: &str) -> String {
    begin(browser, "/account/sign-in/", "/account/external/", next)
}

/// Comes back from the provider, and returns what the page says that finishes it.
#[track_caller]
fn come_back(browser: &mut Browser<'_>, answer: &Authorized) -> Answer {
    let url = answer.url();
    let path = url
        .strip_prefix("http://localhost:8000")
        .expect("our callback");
    let answer = browser.get(path);
    assert_eq!(answer.status, 303, "{}", answer.body);
    let path = answer.header("location").unwrap().to_owned();
    assert!(
        path.starts_with("/account/external/company/?state="),
        "{path}"
    );
    browser.get(&path)
}

/// Signs in with the provider.
#[track_caller]
fn enter(browser: &mut Browser<'_>, provider: &FakeProvider, next: &str) -> Answer {
    let url = leave(browser, next);
    come_back(browser, &provider.authorize(&url))
}

/// The title of a page.
#[track_caller]
fn title(answer: &Answer) -> &str {
    let (_, rest) = answer.body.split_once("<h1>").expect("a page");
    rest.split("</h1>").next().unwrap()
}

fn number_of_identities(server: &TestServer) -> i64 {
    server.db_number("SELECT count(*) FROM identities")
}

#[test]
fn new_account_by_a_provider_leads_to_the_page_that_was_asked_for() {
    company!(provider, server);
    let mut browser = Browser::new(&server);
    let page = browser.get("/account/sign-up/?next=%2Fo%2Fauthorize%2F%3Fa%3Db");
    assert!(page.body.contains("Continue with Company"), "{}", page.body);
    assert_eq!(
        page.hidden("next").map(plain),
        Some("/o/authorize/?a=b".to_owned())
    );
    let url = leave(&mut browser, "/o/authorize/?a=b");
    let answer = come_back(&mut browser, &provider.authorize(&url));
    assert_leads_to(&answer, "/o/authorize/?a=b");
    let set = answer.headers("set-cookie").join("\n");
    assert!(set.contains("HttpOnly; SameSite=Lax"), "{set}");
    let page = browser.get("/account/connections/");
    assert!(page.body.contains(ADA), "{}", page.body);
    assert!(!page.body.contains("No longer offered"), "{}", page.body);
    assert_eq!(browser.get("/account/").status, 200);
    // Signed in already, nobody is sent anywhere.
    assert_leads_to(&browser.get("/account/sign-in/"), "/account/");
}

#[test]
fn button_from_elsewhere_leads_nowhere() {
    company!(provider, server);
    let mut browser = Browser::new(&server);
    let token = browser.token("/account/sign-in/");
    let fields = [("form_token", &*token), ("provider", "company")];
    let elsewhere = [("sec-fetch-site", "cross-site")];
    let answer = browser.post_with("/account/external/", &elsewhere, &fields);
    assert_eq!(answer.status, 403);
    let answer = browser.post("/account/external/", &fields[1..]);
    assert_eq!(answer.status, 403);
    assert_eq!(
        server.db_number("SELECT count(*) FROM provider_requests"),
        0
    );
    let unknown = [("form_token", &*token), ("provider", "nobody")];
    assert_eq!(browser.post("/account/external/", &unknown).status, 404);
    // `next` leads to pages of ours alone.
    let answer = enter(&mut browser, &provider, "//evil.example/");
    assert_leads_to(&answer, "/account/");
}

#[test]
fn answer_counts_in_the_browser_that_was_sent_alone_and_once() {
    company!(provider, server);
    let mut attacker = Browser::new(&server);
    let url = leave(&mut attacker, "");
    let answer = provider.authorize(&url);
    // Somebody else gets the link with the attacker's answer (login CSRF).
    let mut victim = Browser::new(&server);
    leave(&mut victim, "");
    let page = come_back(&mut victim, &answer);
    assert_eq!((page.status, title(&page)), (400, "Please start again"));
    assert_eq!(victim.get("/account/").status, 303, "not signed in");
    assert_eq!(number_of_identities(&server), 0);
    // The same without any cookie, with an unknown state, and of another provider.
    let mut stranger = Browser::new(&server);
    let state = answer.field("state");
    for path in [
        format!("/account/external/company/?state={state}"),
        "/account/external/company/?state=x".to_owned(),
        "/account/external/company/".to_owned(),
    ] {
        assert_eq!(stranger.get(&path).status, 400, "{path}");
    }
    let path = format!("/account/external/nobody/?state={state}");
    assert_eq!(attacker.get(&path).status, 404);
    // In its own browser it counts, once however often it comes.
    let cookies = attacker.cookie_header();
    let path = format!("/account/external/company/?state={state}");
    let signed_in = at_once(16, |_| {
        let headers = [("cookie", &*cookies), ("accept", "text/html")];
        server.request("GET", &path, &headers, "").status
    });
    let successes = signed_in.iter().filter(|status| **status == 303).count();
    assert_eq!(successes, 1, "{signed_in:?}");
    assert_eq!(server.db_number("SELECT count(*) FROM sessions"), 1);
}

#[test]
fn requests_in_two_tabs_are_both_finished() {
    company!(provider, server);
    let mut browser = Browser::new(&server);
    let first = leave(&mut browser, "/account/profile/");
    let second = leave(&mut browser, "/account/sessions/");
    let answer = come_back(&mut browser, &provider.authorize(&first));
    assert_leads_to(&answer, "/account/profile/");
    let answer = come_back(&mut browser, &provider.authorize(&second));
    assert_leads_to(&answer, "/account/sessions/");
}

#[test]
fn answer_that_a_provider_posts_only_leads_to_a_page_of_ours() {
    let provider = FakeProvider::start(ProviderKind::Apple);
    let server = TestServer::start_with(|config| {
        config.social_providers = vec![provider.settings("company")];
    });
    provider.use_clock(server.clock.clone());
    let mut browser = Browser::new(&server);
    let url = leave(&mut browser, "/account/profile/");
    let answer = provider.authorize(&url);
    // The form comes from another site, so it brings no cookies along (`SameSite=Lax`).
    let callback = "/api/v1/accounts/o/company/callback/";
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("sec-fetch-site", "cross-site"),
        ("origin", "https://appleid.apple.com"),
    ];
    let posted = server.request("POST", callback, &headers, answer.form());
    let state: String = form_urlencoded::byte_serialize(answer.field("state").as_bytes()).collect();
    assert_leads_to(&posted, &format!("{callback}?state={state}"));
    assert!(posted.headers("set-cookie").is_empty());
    let finish = format!("/account/external/company/?state={state}");
    assert_leads_to(&browser.get(&format!("{callback}?state={state}")), &finish);
    assert_eq!(Browser::new(&server).get(&finish).status, 400);
    assert_leads_to(&browser.get(&finish), "/account/profile/");
}

#[test]
fn account_that_exists_is_connected_by_signing_in() {
    company!(provider, server);
    server.user(ADA);
    let mut browser = Browser::new(&server);
    let page = enter(&mut browser, &provider, "/account/profile/");
    assert_eq!(
        (page.status, title(&page)),
        (409, "You already have an account")
    );
    assert_eq!(number_of_identities(&server), 0);
    let complete = "/account/connections/complete/?next=%2Faccount%2Fprofile%2F";
    let next: String = form_urlencoded::byte_serialize(complete.as_bytes()).collect();
    let link = format!("/account/sign-in/?email=ada%40example.com&next={next}");
    let shown = plain(&page.body);
    assert!(shown.contains(&format!("href=\"{link}\"")), "{shown}");
    let token = browser.token(&link);
    let fields = [
        ("form_token", &*token),
        ("next", complete),
        ("email", ADA),
        ("password", PASSWORD),
        ("can_keep_passkey", "yes"),
    ];
    assert_leads_to(&browser.post("/account/sign-in/", &fields), complete);
    assert_leads_to(&browser.get(complete), "/account/profile/");
    let page = browser.get("/account/profile/");
    assert!(
        page.body.contains("The account is connected."),
        "{}",
        page.body
    );
    assert_eq!(number_of_identities(&server), 1);
    // Once more, nothing happens.
    assert_leads_to(&browser.get(complete), "/account/profile/");
    // From now on it signs in.
    let mut other = Browser::new(&server);
    assert_leads_to(&enter(&mut other, &provider, ""), "/account/");
}

#[test]
fn waiting_identity_is_for_its_account_alone_and_ten_minutes() {
    company!(provider, server);
    server.user(ADA);
    server.user("eve@example.com");
    let complete = "/account/connections/complete/";
    // Somebody signs in to another account.
    let mut browser = Browser::new(&server);
    enter(&mut browser, &provider, "");
    browser.sign_in("eve@example.com");
    let page = browser.get(complete);
    assert_eq!((page.status, title(&page)), (400, "Nothing was connected"));
    // Too late.
    let mut browser = Browser::new(&server);
    enter(&mut browser, &provider, "");
    server.advance(Duration::from_mins(11));
    browser.sign_in(ADA);
    assert_eq!(browser.get(complete).status, 400);
    assert_eq!(number_of_identities(&server), 0);
    // Who is not signed in is asked to, and comes back.
    let mut browser = Browser::new(&server);
    assert_leads_to(
        &browser.get(complete),
        "/account/sign-in/?next=%2Faccount%2Fconnections%2Fcomplete%2F",
    );
}

#[test]
fn unverified_address_is_confirmed_by_a_code_with_the_ticket() {
    company!(
        provider,
        server,
        |config: &mut accounts_server::config::Config| {
            config.social_providers[0].trust_email = false;
        }
    );
    let mut browser = Browser::new(&server);
    let answer = enter(&mut browser, &provider, "/account/profile/");
    let page = "/account/confirm/?email=ada%40example.com&next=%2Faccount%2Fprofile%2F";
    assert_leads_to(&answer, page);
    let token = browser.token(page);
    let otp = server.otp(ADA);
    let fields = [
        ("form_token", &*token),
        ("next", "/account/profile/"),
        ("email", ADA),
        ("otp", &*otp),
    ];
    assert_leads_to(
        &browser.post("/account/confirm/", &fields),
        "/account/profile/",
    );
    assert_eq!(number_of_identities(&server), 1);
    // The code alone, in another browser, proves the address and connects nothing.
    provider.change(|behaviour| {
        "another".clone_into(&mut behaviour.subject);
        behaviour
            .account
            .insert("email".into(), json!("bob@example.com"));
    });
    enter(&mut Browser::new(&server), &provider, "");
    let mut other = Browser::new(&server);
    let token = other.token("/account/confirm/");
    let otp = server.otp("bob@example.com");
    let fields = [
        ("form_token", &*token),
        ("email", "bob@example.com"),
        ("otp", &*otp),
    ];
    assert_leads_to(
        &other.post("/account/confirm/", &fields),
        "/account/reset/confirm/?email=bob%40example.com",
    );
    assert_eq!(number_of_identities(&server), 1);
}

#[test]
fn second_factor_is_asked_for_after_a_provider() {
    company!(provider, server);
    let mut browser = Browser::new(&server);
    enter(&mut browser, &provider, "");
    enroll(&server, &mut browser);
    let mut other = Browser::new(&server);
    let answer = enter(&mut other, &provider, "/account/profile/");
    assert_leads_to(
        &answer,
        "/account/second-factor/?next=%2Faccount%2Fprofile%2F",
    );
    assert_eq!(other.get("/account/").status, 303, "not signed in yet");
}

#[test]
fn pages_say_what_went_wrong() {
    company!(provider, server);
    let mut browser = Browser::new(&server);
    let url = leave(&mut browser, "/account/profile/");
    let page = come_back(&mut browser, &provider.deny(&url));
    assert_eq!((page.status, title(&page)), (403, "Sign-in cancelled"));
    assert!(
        page.body.contains("next=%2Faccount%2Fprofile%2F"),
        "{}",
        page.body
    );

    provider.change(|behaviour| drop(behaviour.account.remove("email")));
    let page = enter(&mut browser, &provider, "");
    assert_eq!(
        (page.status, title(&page)),
        (400, "No email address from Company")
    );

    provider.change(|behaviour| {
        let nonce = Value::from("of another request");
        behaviour.claims.insert("nonce".into(), nonce);
    });
    let page = enter(&mut browser, &provider, "");
    assert_eq!((page.status, title(&page)), (400, "That did not work"));

    provider.change(|behaviour| {
        let fault = Fault::Answer("500 Internal Server Error", String::new());
        behaviour.faults.insert(Endpoint::Token, fault);
    });
    let page = enter(&mut browser, &provider, "");
    assert_eq!(page.status, 503, "{}", page.body);
    assert!(title(&page).contains("be reached"), "{}", page.body);
    assert_eq!(number_of_identities(&server), 0);
    assert_eq!(browser.get("/account/").status, 303, "not signed in");
}

#[test]
fn provider_that_is_down_leaves_the_other_ways() {
    let provider = FakeProvider::start(ProviderKind::Oidc);
    provider.change(|behaviour| {
        behaviour.faults.insert(Endpoint::Discovery, Fault::Close);
    });
    let server = TestServer::start_with(|config| {
        config.social_providers = vec![provider.settings("company")];
    });
    server.user(ADA);
    let mut browser = Browser::new(&server);
    let token = browser.token("/account/sign-in/");
    let fields = [("form_token", &*token), ("provider", "company")];
    let page = browser.post("/account/external/", &fields);
    assert_eq!(page.status, 503);
    assert!(
        plain(&page.body).contains("href=\"/account/sign-in/"),
        "{}",
        page.body
    );
    assert_leads_to(&browser.sign_in(ADA), "/account/");
}

#[test]
fn identities_are_connected_and_disconnected() {
    company!(provider, server);
    server.user("grace@example.com");
    let mut browser = Browser::new(&server);
    browser.sign_in("grace@example.com");
    let connections = "/account/connections/";
    let connect = "/account/connections/connect/";
    let url = begin(&mut browser, connections, connect, "");
    let answer = come_back(&mut browser, &provider.authorize(&url));
    assert_leads_to(&answer, connections);
    let page = browser.get(connections);
    assert!(
        page.body.contains("The account is connected."),
        "{}",
        page.body
    );
    assert!(page.body.contains(ADA), "{}", page.body);
    // Another account cannot get it.
    server.user("eve@example.com");
    let mut eve = Browser::new(&server);
    eve.sign_in("eve@example.com");
    let url = begin(&mut eve, connections, connect, "");
    let page = come_back(&mut eve, &provider.authorize(&url));
    assert_eq!(
        (page.status, title(&page)),
        (400, "Connected to another account")
    );
    // What began in one session does not end in another.
    let url = begin(&mut eve, connections, connect, "");
    let answer = provider.authorize(&url);
    let token = eve.token("/account/");
    eve.post("/account/sign-out/", &[("form_token", &token)]);
    eve.sign_in("grace@example.com");
    let url = answer.url();
    let page = eve.get(url.strip_prefix("http://localhost:8000").unwrap());
    assert_eq!((page.status, title(&page)), (400, "Please start again"));
    // Disconnecting wants recent authentication, and keeps what was asked.
    let id = page_id(&browser.get(connections));
    let token = browser.token(connections);
    server.advance(Duration::from_hours(1));
    let disconnect = "/account/connections/disconnect/";
    let fields = [("form_token", &*token), ("id", &*id)];
    let asked = browser.post(disconnect, &fields);
    assert_eq!((asked.status, asked.hidden("id")), (403, Some(&*id)));
    assert_eq!(number_of_identities(&server), 1);
    let again = [
        fields[0],
        fields[1],
        ("reauthentication_password", PASSWORD),
    ];
    assert_leads_to(&browser.post(disconnect, &again), connections);
    assert_eq!(number_of_identities(&server), 0);
    // So does connecting.
    server.advance(Duration::from_hours(1));
    let fields = [("form_token", &*token), ("provider", "company")];
    let asked = browser.post(connect, &fields);
    assert_eq!(
        (asked.status, asked.hidden("provider")),
        (403, Some("company"))
    );
    let again = [
        fields[0],
        fields[1],
        ("reauthentication_password", PASSWORD),
    ];
    link_of(&browser.post(connect, &again));
}

/// The id in the form that disconnects an identity.
#[track_caller]
fn page_id(page: &Answer) -> String {
    let id = page.hidden("id").expect("an identity");
    id.to_owned()
}

#[test]
fn last_way_in_stays_connected() {
    company!(provider, server);
    let mut browser = Browser::new(&server);
    enter(&mut browser, &provider, "");
    let connections = "/account/connections/";
    let id = page_id(&browser.get(connections));
    let token = browser.token(connections);
    let fields = [("form_token", &*token), ("id", &*id)];
    let page = browser.post("/account/connections/disconnect/", &fields);
    assert_eq!(page.status, 400);
    assert!(page.body.contains("only way to sign in"), "{}", page.body);
    assert_eq!(number_of_identities(&server), 1);
}

#[test]
fn owner_authenticates_again_at_a_connected_provider() {
    company!(provider, server);
    let mut browser = Browser::new(&server);
    enter(&mut browser, &provider, "");
    server.advance(Duration::from_hours(1));
    let asked = "/account/reauthenticate/?next=%2Faccount%2Femail%2F";
    assert_leads_to(&browser.get("/account/email/"), asked);
    let again = "/account/reauthenticate/external/";
    let url = begin(&mut browser, asked, again, "/account/email/");
    let request = provider.request_of(&url);
    assert_eq!(request["prompt"], "login");
    let old = browser.secret().to_owned();
    let answer = come_back(&mut browser, &provider.authorize(&url));
    assert_leads_to(&answer, "/account/email/");
    assert_ne!(browser.secret(), old, "a new secret");
    assert_eq!(browser.get("/account/email/").status, 200);

    // Neither an older authentication there counts, nor another identity.
    server.advance(Duration::from_hours(1));
    let url = begin(&mut browser, asked, again, "/account/email/");
    provider.change(|behaviour| {
        behaviour.claims.insert("auth_time".into(), json!(1));
    });
    let page = come_back(&mut browser, &provider.authorize(&url));
    assert_eq!(
        (page.status, title(&page)),
        (403, "That was another account")
    );
    let url = begin(&mut browser, asked, again, "/account/email/");
    provider.change(|behaviour| {
        behaviour.claims.clear();
        "another".clone_into(&mut behaviour.subject);
    });
    let page = come_back(&mut browser, &provider.authorize(&url));
    assert_eq!(
        (page.status, title(&page)),
        (403, "That was another account")
    );
    assert_leads_to(&browser.get("/account/email/"), asked);
}

#[test]
fn account_without_a_password_sets_one_and_is_deleted_without() {
    company!(provider, server);
    let mut browser = Browser::new(&server);
    enter(&mut browser, &provider, "");
    for path in ["/account/password/", "/account/security/"] {
        let page = browser.get(path);
        assert!(
            page.body.contains("has no password"),
            "{path}: {}",
            page.body
        );
    }
    let token = browser.token("/account/password/");
    let fields = [("form_token", &*token), ("email", ADA)];
    assert_leads_to(
        &browser.post("/account/reset/", &fields),
        "/account/reset/confirm/?email=ada%40example.com",
    );
    assert_eq!(server.otp(ADA).len(), 6);
    let page = browser.get("/account/delete/");
    assert!(!page.body.contains("type=\"password\""), "{}", page.body);
    // Too late it wants to be sure again.
    server.advance(Duration::from_hours(1));
    let answer = browser.post("/account/delete/", &fields[..1]);
    assert_eq!(answer.status, 403);
    let url = begin(
        &mut browser,
        "/account/reauthenticate/",
        "/account/reauthenticate/external/",
        "/account/delete/",
    );
    come_back(&mut browser, &provider.authorize(&url));
    let answer = browser.post("/account/delete/", &fields[..1]);
    assert_leads_to(&answer, "/account/sign-in/");
    assert_eq!(server.db_number("SELECT count(*) FROM users"), 0);
}

#[test]
fn provider_that_the_settings_lost_is_still_named() {
    company!(provider, server);
    let mut browser = Browser::new(&server);
    enter(&mut browser, &provider, "");
    server
        .reload(|config| config.social_providers.clear())
        .unwrap();
    let page = browser.get("/account/connections/");
    assert!(page.body.contains("No longer offered"), "{}", page.body);
    assert!(page.body.contains("company"), "{}", page.body);
    let page = Browser::new(&server).get("/account/sign-in/");
    assert!(!page.body.contains("class=\"providers\""), "{}", page.body);
}

#[test]
fn console_shows_identities_and_providers_without_secrets() {
    company!(provider, server);
    enter(&mut Browser::new(&server), &provider, "");
    server.staff("root@example.com");
    let mut root = Browser::new(&server);
    root.sign_in("root@example.com");
    let id = server.db_number("SELECT user_id FROM identities");
    let page = root.get(&format!("/console/users/{id}/"));
    assert!(
        page.body.contains("<strong>Company</strong>"),
        "{}",
        page.body
    );
    let page = root.get("/console/settings/");
    assert!(page.body.contains("[[social.providers]]"), "{}", page.body);
    assert!(page.body.contains("oidc accounts"), "{}", page.body);
    assert!(!page.body.contains(CLIENT_SECRET), "{}", page.body);
}
