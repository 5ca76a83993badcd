//! `/o/logout/`: signing out on behalf of an application.

use accounts_server::domain::{ClientSettings, RedirectUri};
use accounts_server::store::RedeemOutcome;

use crate::applications::{id_token, led_to, redeem, register, started, waiting};
use crate::browser::{Browser, assert_leads_to};
use crate::support::TestServer;

const BYE: &str = "https://app.example/bye";

fn with_bye(client: &mut ClientSettings) {
    client.post_logout_redirect_uris = vec![RedirectUri::parse(BYE).unwrap()];
}

fn prepared() -> TestServer {
    let server = TestServer::start();
    register(&server, with_bye);
    server.user("ann@example.com");
    server
}

fn sessions(server: &TestServer) -> i64 {
    server.db_number(
        "SELECT count(*) FROM sessions WHERE secret_hash IS NOT NULL OR client_id IS NOT NULL",
    )
}

#[test]
fn without_a_hint_the_user_is_asked() {
    let server = prepared();
    let mut browser = Browser::new(&server);
    browser.sign_in("ann@example.com");
    let code = browser.allow(&[]);
    assert!(matches!(
        redeem(&server, &code),
        RedeemOutcome::Started { .. }
    ));
    assert_eq!(sessions(&server), 2);
    let path = format!(
        "/o/logout/?client_id=app&post_logout_redirect_uri={}&state=a+b",
        "https%3A%2F%2Fapp.example%2Fbye"
    );
    let at = waiting(&browser.get(&path));
    let page = browser.get(&at);
    assert!(page.body.contains("The app") && page.body.contains("ann@example.com"));
    assert_eq!(sessions(&server), 2, "nothing happens by itself");
    let forged = browser.post_with(
        &at,
        &[("sec-fetch-site", "cross-site")],
        &[("action", "sign_out")],
    );
    assert_eq!(forged.status, 403);
    assert_leads_to(&browser.decide(&at, "stay"), "/account/");
    assert_eq!(sessions(&server), 2);
    let done = browser.decide(&at, "sign_out");
    assert_eq!(led_to(&done), format!("{BYE}?state=a+b"));
    assert_eq!(sessions(&server), 0);
    assert!(browser.cookies.iter().all(|(name, _)| name != "session"));
    // Nobody is signed in, so there is nothing to ask.
    let again = browser.get(&path);
    assert_leads_to(&again, &format!("{BYE}?state=a+b"));
    assert_leads_to(&browser.get("/o/logout/"), "/account/sign-in/");
}

#[test]
fn browsers_are_sent_to_registered_uris_alone() {
    let server = prepared();
    let mut browser = Browser::new(&server);
    browser.sign_in("ann@example.com");
    for query in [
        "client_id=app&post_logout_redirect_uri=https://evil.example/",
        "client_id=app&post_logout_redirect_uri=https://app.example/bye/",
        "client_id=app&post_logout_redirect_uri=https://app.example/bye%3Fx",
        "client_id=app&post_logout_redirect_uri=https://app.example/cb",
        "client_id=app&post_logout_redirect_uri=javascript:alert(1)",
        "client_id=unknown&post_logout_redirect_uri=https://app.example/bye",
        "post_logout_redirect_uri=https://app.example/bye",
        "client_id=app&client_id=app",
        "client_id=app&state=a&state=b",
        "id_token_hint=a.b.c&client_id=app&post_logout_redirect_uri=https://app.example/bye",
    ] {
        let posted = server.request(
            "POST",
            "/o/logout/",
            &[("content-type", "application/x-www-form-urlencoded")],
            query,
        );
        for answer in [browser.get(&format!("/o/logout/?{query}")), posted] {
            assert_eq!(answer.status, 400, "{query}: {}", answer.body);
            assert_eq!(answer.header("location"), None, "{query}");
            assert!(!answer.body.contains("href=\"http"), "{query}");
            assert!(!answer.body.contains("http-equiv"), "{query}");
        }
    }
    assert_eq!(sessions(&server), 1);
}

#[test]
fn a_posted_request_is_stored_and_continues_by_get() {
    let server = prepared();
    let mut browser = Browser::new(&server);
    browser.sign_in("ann@example.com");
    let fields = [
        ("client_id", "app"),
        ("post_logout_redirect_uri", BYE),
        ("state", "s"),
    ];
    let answer = browser.post_with("/o/logout/", &[("sec-fetch-site", "cross-site")], &fields);
    let at = waiting(&answer);
    assert_eq!(sessions(&server), 1);
    assert_eq!(browser.get(&at).status, 200);
    // A request to sign out is none to sign in.
    let other = at.replace("/o/logout/", "/o/authorize/");
    assert_eq!(browser.get(&other).status, 400);
    assert_eq!(
        led_to(&browser.decide(&at, "sign_out")),
        format!("{BYE}?state=s")
    );
    assert_eq!(sessions(&server), 0);
}

#[test]
fn a_hint_of_the_user_signs_out_at_once() {
    let server = prepared();
    server.user("bob@example.com");
    let mut browser = Browser::new(&server);
    browser.sign_in("ann@example.com");
    let offline = [("scope", Some("openid offline_access"))];
    let session = started(redeem(&server, &browser.allow(&offline)));
    let other = started(redeem(
        &server,
        &browser.allow(&[("scope", Some("openid phone"))]),
    ));
    let hint = id_token(&server, "app", &session);
    assert_eq!(sessions(&server), 3);
    let path = format!(
        "/o/logout/?id_token_hint={hint}&state=x&post_logout_redirect_uri=https://app.example/bye"
    );
    // Another user of this browser is asked, and their session is theirs.
    let mut bob = Browser::new(&server);
    bob.sign_in("bob@example.com");
    let at = waiting(&bob.get(&path));
    assert!(bob.get(&at).body.contains("bob@example.com"));
    assert_eq!(
        led_to(&bob.decide(&at, "sign_out")),
        format!("{BYE}?state=x")
    );
    assert_eq!(sessions(&server), 3);

    // The token may have expired.
    server.advance_seconds(3600);
    let done = browser.get(&path);
    assert_leads_to(&done, &format!("{BYE}?state=x"));
    assert!(browser.cookies.iter().all(|(name, _)| name != "session"));
    assert_eq!(sessions(&server), 0, "{other:?}");
    let sign_outs = "SELECT count(*) FROM events WHERE event = 'sign_out' AND detail = 'app'";
    assert_eq!(server.db_number(sign_outs), 1);
}

#[test]
fn a_hint_ends_the_session_of_the_client_where_nobody_is_signed_in() {
    let server = prepared();
    let mut browser = Browser::new(&server);
    browser.sign_in("ann@example.com");
    let offline = [("scope", Some("openid offline_access"))];
    let session = started(redeem(&server, &browser.allow(&offline)));
    let hint = id_token(&server, "app", &session);
    let token = browser.token("/account/");
    browser.post("/account/sign-out/", &[("form_token", &token)]);
    assert_eq!(sessions(&server), 1);
    let done = browser.get(&format!("/o/logout/?id_token_hint={hint}&client_id=app"));
    assert_leads_to(&done, "/account/sign-in/");
    assert_eq!(sessions(&server), 0);
    // A hint of one client does not count for another one.
    let wrong = browser.get(&format!("/o/logout/?id_token_hint={hint}&client_id=other"));
    assert_eq!(wrong.status, 400);
}

#[test]
fn a_sign_out_ends_the_sessions_of_all_applications_in_the_browser() {
    let server = prepared();
    let mut browser = Browser::new(&server);
    browser.sign_in("ann@example.com");
    started(redeem(&server, &browser.allow(&[])));
    let offline = [("scope", Some("openid offline_access"))];
    started(redeem(&server, &browser.allow(&offline)));
    assert_eq!(sessions(&server), 3);
    let token = browser.token("/account/");
    browser.post("/account/sign-out/", &[("form_token", &token)]);
    // With offline access a session outlives that of the browser.
    assert_eq!(sessions(&server), 1);
    let deactivated = server.staff("root@example.com");
    let answer = server.patch(
        "users/1/",
        &deactivated,
        &serde_json::json!({"is_active": false}),
    );
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        server.db_number("SELECT count(*) FROM sessions WHERE client_id IS NOT NULL"),
        0
    );
}
