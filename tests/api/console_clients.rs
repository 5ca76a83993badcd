//! OAuth clients in the console.

use crate::browser::{Browser, assert_leads_to};
use crate::support::TestServer;

const URI: &str = "https://app.example.com/cb";

const NEW: &str = "/console/new-client/";

const HOME: &str = "/console/clients/app/";

/// A server with a staff account, a browser in which it is signed in, and a form token.
fn staff_browser(server: &TestServer) -> (Browser<'_>, String) {
    server.staff("root@example.com");
    let mut browser = Browser::new(server);
    browser.sign_in("root@example.com");
    let token = browser.token(NEW);
    (browser, token)
}

/// The fields of a form about a client, as a browser sends them.
fn fields<'a>(token: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![
        ("form_token", token),
        ("name", "<b>App</b>"),
        ("redirect_uris", URI),
        ("post_logout_redirect_uris", ""),
        ("scopes", "openid"),
        ("scopes", "email"),
        ("id_token_alg", "ES256"),
        ("access_minutes", "5"),
        ("refresh_days", "30"),
        ("session_days", "365"),
    ];
    for (name, value) in more {
        fields.retain(|(known, _)| known != name);
        fields.push((name, value));
    }
    fields
}

fn add(browser: &mut Browser<'_>, token: &str) -> String {
    let more = [("id", "app"), ("public", "false"), ("consent", "true")];
    let page = browser.post(NEW, &fields(token, &more));
    assert_eq!(page.status, 200, "{}", page.body);
    page.body
}

/// The secret on a page that shows one.
fn secret(page: &str) -> &str {
    let after = page.split_once("id=\"secret\"><li><code>").unwrap().1;
    after.split_once('<').unwrap().0
}

#[test]
fn client_is_added_and_its_secret_shown_once() {
    let server = TestServer::start();
    let (mut browser, token) = staff_browser(&server);
    let empty = browser.get("/console/clients/");
    assert!(empty.body.contains("No clients yet."), "{}", empty.body);
    let page = add(&mut browser, &token);
    let secret = secret(&page);
    assert_eq!(secret.len(), 43, "{page}");
    let stored = server.db_text(
        "SELECT concat_ws('|', id, name, redirect_uris, scopes, requires_consent, id_token_alg, \
         access_minutes, refresh_days, session_days, is_staff_only, requires_mfa, is_from_file) \
         FROM oauth_clients",
    );
    assert_eq!(
        stored,
        format!("app|<b>App</b>|{URI}|openid email|1|ES256|5|30|365|0|0|0")
    );
    let kept = format!("SELECT count(*) FROM oauth_clients WHERE secret_hash = '{secret}'");
    assert_eq!(server.db_number(&kept), 0);
    for path in ["/console/clients/", HOME] {
        let page = browser.get(path).body;
        assert!(
            page.contains(URI) && page.contains("&lt;b&gt;App"),
            "{page}"
        );
        assert!(!page.contains(secret), "{page}");
    }
    // A reload of the answer adds no second one.
    let more = [("id", "app"), ("public", "false")];
    let again = browser.post(NEW, &fields(&token, &more));
    assert_eq!(again.status, 400);
    let complaint = "There is already a client with this ID.";
    assert!(again.body.contains(complaint), "{}", again.body);
    // A public one has no secret, and gets an id where none is chosen.
    let more = [
        ("id", ""),
        ("public", "true"),
        (
            "redirect_uris",
            "com.example.app:/cb\r\nhttp://127.0.0.1/cb",
        ),
    ];
    let public = browser.post(NEW, &fields(&token, &more));
    assert_eq!(public.status, 200, "{}", public.body);
    assert!(!public.body.contains("id=\"secret\""), "{}", public.body);
    let stored = "SELECT concat(length(id), redirect_uris, secret_hash IS NULL, requires_consent) \
                  FROM oauth_clients WHERE id != 'app'";
    let expected = "32com.example.app:/cb\nhttp://127.0.0.1/cb10";
    assert_eq!(server.db_text(stored), expected);
    let list = browser.get("/console/clients/").body;
    assert!(!list.contains("No consent"), "it always asks: {list}");
}

#[test]
fn wrong_forms_keep_what_was_typed() {
    let server = TestServer::start();
    let (mut browser, token) = staff_browser(&server);
    let address = "One of these addresses can&#39;t be used.";
    for (field, value, complaint) in [
        ("name", "", "Please fill this in."),
        ("redirect_uris", "", "Please fill this in."),
        ("redirect_uris", "javascript:alert(1)", address),
        ("redirect_uris", "http://app.example.com/cb", address),
        (
            "post_logout_redirect_uris",
            "https://*.example.com/",
            address,
        ),
        ("scopes", "", "Please choose at least one."),
        ("scopes", "groups", "Please choose one of the options."),
        ("id_token_alg", "none", "Please choose one of the options."),
        ("access_minutes", "0", "Enter at least 1."),
        ("refresh_days", "366", "Enter at most 365."),
        ("session_days", "a", "Enter a whole number."),
        ("id", "a b", "Use 1 to 100 letters"),
    ] {
        let more = [("id", "other"), ("consent", "true"), (field, value)];
        let page = browser.post(NEW, &fields(&token, &more));
        assert_eq!(page.status, 400, "{field}: {}", page.body);
        assert!(page.body.contains(complaint), "{field}: {}", page.body);
        let kept = "name=\"consent\" value=\"true\" checked";
        assert!(page.body.contains(kept), "{field}: {}", page.body);
    }
    assert_eq!(server.db_number("SELECT count(*) FROM oauth_clients"), 0);
}

#[test]
fn client_is_changed_its_secret_replaced_and_removed() {
    let server = TestServer::start();
    let (mut browser, token) = staff_browser(&server);
    let added = add(&mut browser, &token);
    let former = secret(&added).to_owned();
    let token = browser.token(HOME);
    // Boxes that are not checked are not sent.
    let more = [("access_minutes", "10"), ("require_mfa", "true")];
    assert_leads_to(&browser.post(HOME, &fields(&token, &more)), HOME);
    let stored = "SELECT concat_ws('|', access_minutes, requires_consent, requires_mfa) \
                  FROM oauth_clients";
    assert_eq!(server.db_text(stored), "10|0|1");
    let more = [
        ("redirect_uris", "https://a.example/#x"),
        ("scopes", "phone"),
    ];
    let wrong = browser.post(HOME, &fields(&token, &more));
    assert_eq!(wrong.status, 400);
    for kept in ["https://a.example/#x", "value=\"phone\" checked"] {
        assert!(wrong.body.contains(kept), "{}", wrong.body);
    }
    let rotated = browser.post(&format!("{HOME}rotate/"), &[("form_token", &token)]);
    assert_eq!(rotated.status, 200, "{}", rotated.body);
    assert_ne!(secret(&rotated.body), former);
    let remove = format!("{HOME}remove/");
    let empty = browser.post(&remove, &[("form_token", &token), ("reason", " ")]);
    assert_eq!(empty.status, 400, "{}", empty.body);
    let done = browser.post(&remove, &[("form_token", &token), ("reason", "moved")]);
    assert_leads_to(&done, "/console/clients/");
    assert_eq!(server.db_number("SELECT count(*) FROM oauth_clients"), 0);
    let log = server.db_text(
        "SELECT group_concat(event || ' ' || detail || ' ' || reason, '|') FROM \
         (SELECT * FROM events WHERE event LIKE 'client%' ORDER BY id)",
    );
    assert_eq!(
        log,
        "client_added app |client_changed app |client_secret_rotated app |client_removed app moved"
    );
    for path in [
        HOME,
        &remove,
        "/console/clients/../",
        "/console/clients/new/",
    ] {
        assert_eq!(browser.get(path).status, 404, "{path}");
    }
    let gone = browser.post(&remove, &[("form_token", &token), ("reason", "moved")]);
    assert_eq!(gone.status, 404);
}

#[test]
fn removal_ends_the_sessions_of_the_client() {
    let server = TestServer::start();
    let (mut browser, token) = staff_browser(&server);
    add(&mut browser, &token);
    let alice = server.user("alice@example.com");
    server.db_execute("UPDATE sessions SET client_id = 'app' WHERE user_id = 2");
    let page = browser.get(&format!("{HOME}remove/")).body;
    assert!(page.contains("1 session ends."), "{page}");
    let token = browser.token(HOME);
    let fields = [("form_token", token.as_str()), ("reason", "moved")];
    let done = browser.post(&format!("{HOME}remove/"), &fields);
    assert_leads_to(&done, "/console/clients/");
    let sessions = "SELECT count(*) FROM sessions WHERE user_id = 2";
    assert_eq!(server.db_number(sessions), 0);
    let me = server.get("users/me/", Some(&alice.access));
    assert_eq!(me.status, 401);
}

#[test]
fn clients_of_the_file_are_changed_there_alone() {
    let server = TestServer::start();
    let (mut browser, token) = staff_browser(&server);
    add(&mut browser, &token);
    let token = browser.token(HOME);
    server.db_execute("UPDATE oauth_clients SET is_from_file = 1");
    let page = browser.get(HOME).body;
    assert!(
        page.contains("Change it there.") && !page.contains("rotate/"),
        "{page}"
    );
    for (path, more) in [
        ("", &[("name", "Other")][..]),
        ("rotate/", &[]),
        ("remove/", &[("reason", "moved")]),
    ] {
        let page = browser.post(&format!("{HOME}{path}"), &fields(&token, more));
        assert_eq!(page.status, 400, "{path}: {}", page.body);
        assert!(page.body.contains("Change it there."), "{}", page.body);
    }
    let public = "UPDATE oauth_clients SET is_from_file = 0, secret_hash = NULL";
    server.db_execute(public);
    let page = browser.post(&format!("{HOME}rotate/"), &[("form_token", &token)]);
    assert!(page.body.contains("it has no secret"), "{}", page.body);
}

#[test]
fn every_page_of_a_client_renders_in_every_language() {
    let server = TestServer::start();
    let (mut browser, token) = staff_browser(&server);
    add(&mut browser, &token);
    for (change, path) in [
        ("is_staff_only = TRUE, requires_mfa = TRUE", "clients/app/"),
        (
            "secret_hash = NULL, requires_consent = FALSE, redirect_uris = 'http://[::1]/cb'",
            "clients/app/",
        ),
        ("is_from_file = 1", "clients/app/"),
        ("is_from_file = 0", "clients/app/remove/"),
        ("is_from_file = 0", "clients/"),
        ("is_from_file = 0", "new-client/"),
    ] {
        server.db_execute(&format!("UPDATE oauth_clients SET {change}"));
        for language in ["en", "de", "es", "fr", "it", "pt-BR"] {
            let page = browser.get(&format!("/console/{path}?lang={language}"));
            assert_eq!(page.status, 200, "{path} {language}: {}", page.body);
            assert!(!page.body.contains("console_clients."), "{}", page.body);
        }
    }
    // Somebody without rights sees nothing of it.
    server.user("alice@example.com");
    let mut alice = Browser::new(&server);
    alice.sign_in("alice@example.com");
    for path in [HOME, "/console/clients/", NEW] {
        assert_eq!(alice.get(path).status, 403, "{path}");
    }
}
