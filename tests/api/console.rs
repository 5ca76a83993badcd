//! The console over HTTP: who may come in, what changes, and what the audit log says about it.

use std::time::Duration;

use serde_json::json;

use crate::browser::{Browser, assert_leads_to};
use crate::support::{PASSWORD, TestServer, User};

/// The pages that need no account or object of their own.
const PAGES: &[&str] = &["/console/", "/console/keys/"];

/// The forms that change something, with their fields besides the token.
const FORMS: &[(&str, &[(&str, &str)])] = &[("/console/keys/rotate/", &[("reason", "test")])];

/// A server with a staff account, and a browser in which it is signed in.
macro_rules! staff_browser {
    ($server:ident, $root:ident, $browser:ident) => {
        let $server = TestServer::start();
        let $root: User = $server.staff("root@example.com");
        let mut $browser = Browser::new(&$server);
        $browser.sign_in("root@example.com");
    };
}

#[test]
fn console_is_for_staff() {
    staff_browser!(server, root, browser);
    server.user("alice@example.com");
    let mut alice = Browser::new(&server);
    alice.sign_in("alice@example.com");
    let mut nobody = Browser::new(&server);
    for path in PAGES {
        let page = browser.get(path);
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        let next = format!("/account/sign-in/?next={}", path.replace('/', "%2F"));
        assert_leads_to(&nobody.get(path), &next);
        let page = alice.get(path);
        assert_eq!(page.status, 403, "{path}");
        assert!(page.body.contains("have access"), "{}", page.body);
    }
    let token = alice.token("/account/");
    for (path, fields) in FORMS {
        let mut all = vec![("form_token", token.as_str())];
        all.extend_from_slice(fields);
        assert_eq!(alice.post(path, &all).status, 403, "{path}");
        assert_eq!(nobody.post(path, &all).status, 303, "{path}");
    }
    // Staff see the way in on their account page, others do not.
    assert!(browser.get("/account/").body.contains("href=\"/console/\""));
    assert!(!alice.get("/account/").body.contains("/console/"));
    let rotations = "SELECT count(*) FROM events WHERE event = 'keys_rotated'";
    assert_eq!(server.db_number(rotations), 0);
    assert!(root.id > 0);
}

#[test]
fn demoted_staff_is_out_at_the_next_click() {
    staff_browser!(server, root, browser);
    let other = server.staff("other@example.com");
    let token = browser.token("/console/keys/");
    server.patch(&root.path(), &other, &json!({"is_staff": false}));
    for path in PAGES {
        assert_eq!(browser.get(path).status, 403, "{path}");
    }
    for (path, fields) in FORMS {
        let mut all = vec![("form_token", token.as_str())];
        all.extend_from_slice(fields);
        assert_eq!(browser.post(path, &all).status, 403, "{path}");
    }
}

#[test]
fn forms_need_their_token_and_a_recent_password() {
    staff_browser!(server, root, browser);
    let token = browser.token("/console/keys/");
    for (path, fields) in FORMS {
        assert_eq!(browser.post(path, fields).status, 403, "{path}");
        let mut all = vec![("form_token", token.as_str())];
        all.extend_from_slice(fields);
        let page = browser.post_with(path, &[("sec-fetch-site", "cross-site")], &all);
        assert_eq!(page.status, 403, "{path}");
        assert!(page.body.contains("Nothing was changed"), "{}", page.body);
    }
    server.advance(Duration::from_secs(601));
    for (path, fields) in FORMS {
        let mut all = vec![("form_token", token.as_str())];
        all.extend_from_slice(fields);
        let page = browser.post(path, &all);
        assert_eq!(page.status, 403, "{path}");
        for (name, value) in *fields {
            assert_eq!(page.hidden(name), Some(*value), "{path}: {}", page.body);
        }
    }
    // The form goes on where the password is right.
    let fields = [
        ("form_token", token.as_str()),
        ("reason", "a leak"),
        ("reauthentication_password", PASSWORD),
    ];
    let answer = browser.post("/console/keys/rotate/", &fields);
    assert_leads_to(&answer, "/console/keys/");
    let entry = "SELECT count(*) FROM events WHERE event = 'keys_rotated'";
    assert_eq!(server.db_number(entry), 1);
    assert!(root.id > 0);
}

#[test]
fn keys_are_rotated_with_a_reason() {
    staff_browser!(server, root, browser);
    let token = browser.token("/console/keys/");
    let page = browser.post("/console/keys/rotate/", &[("form_token", &token)]);
    assert_eq!(page.status, 400);
    assert!(page.body.contains("id=\"reason-error\""), "{}", page.body);
    let long = "x".repeat(10_000);
    let fields = [("form_token", token.as_str()), ("reason", &long)];
    let page = browser.post("/console/keys/rotate/", &fields);
    assert_eq!(page.status, 400);
    assert!(page.body.contains("at most 200"), "{}", page.body);
    let fields = [
        ("form_token", token.as_str()),
        ("reason", "<b>leak</b>\r\nx"),
    ];
    let answer = browser.post("/console/keys/rotate/", &fields);
    assert_leads_to(&answer, "/console/keys/");
    let page = browser.get("/console/keys/");
    assert!(
        page.body.contains("A new key signs tokens"),
        "{}",
        page.body
    );
    assert_eq!(page.body.matches("<code>").count(), 2, "{}", page.body);
    // Shown once.
    let page = browser.get("/console/keys/");
    assert!(!page.body.contains("A new key signs tokens"));
    let entry = "FROM events WHERE event = 'keys_rotated'";
    assert_eq!(
        server.db_number(&format!("SELECT actor_id {entry}")),
        root.id
    );
    let detail = server.db_text(&format!("SELECT detail {entry}"));
    assert!(
        detail.ends_with(": <b>leak</b>\u{fffd}\u{fffd}x"),
        "{detail}"
    );
    // Tokens of before are still good.
    assert_eq!(server.get("users/me/", Some(&root.access)).status, 200);
}

#[test]
fn every_page_of_the_console_renders_in_every_language() {
    staff_browser!(server, root, browser);
    for path in PAGES {
        for language in ["en", "de", "es", "fr", "it", "pt-BR"] {
            let separator = if path.contains('?') { '&' } else { '?' };
            let page = browser.get(&format!("{path}{separator}lang={language}"));
            assert_eq!(page.status, 200, "{path} in {language}: {}", page.body);
            let html = format!("<html lang=\"{language}\"");
            assert!(page.body.contains(&html), "{path}");
            assert!(page.body.contains("aria-current=\"page\""), "{path}");
            let policy = page.header("content-security-policy").unwrap();
            assert!(!policy.contains("unsafe"), "{policy}");
            assert_eq!(page.header("cache-control"), Some("no-store"));
        }
    }
    assert!(root.id > 0);
}

#[test]
fn first_visit_is_small() {
    staff_browser!(server, root, browser);
    for path in PAGES.iter().chain(&["/account/", "/account/profile/"]) {
        let page = browser.get(path);
        let mut bytes = page.body.len();
        for file in page.body.split("\"/account/static/").skip(1) {
            let file = file.split('"').next().unwrap();
            let answer = browser.get(&format!("/account/static/{file}"));
            assert_eq!(answer.status, 200, "{file}");
            bytes += answer.body.len();
        }
        assert!(bytes <= 40_960, "{path}: {bytes} bytes");
    }
    assert!(root.id > 0);
}

#[test]
fn disabled_console_does_not_exist() {
    for change in [
        |config: &mut accounts_server::config::Config| config.console.enabled = false,
        |config: &mut accounts_server::config::Config| config.pages.enabled = false,
    ] {
        let server = TestServer::start_with(change);
        for path in PAGES {
            Browser::new(&server)
                .get(path)
                .assert(404, r#"{"detail":"Not found."}"#);
        }
    }
}
