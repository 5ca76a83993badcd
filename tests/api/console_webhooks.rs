//! Webhooks in the console.

use crate::browser::{Browser, assert_leads_to};
use crate::support::TestServer;

/// A receiver on this machine, which --dev allows. Nothing has to listen there.
const URL: &str = "http://127.0.0.1:9/hook";

/// A server with a staff account, a browser in which it is signed in, and a form token.
fn staff_browser(server: &TestServer) -> (Browser<'_>, String) {
    server.staff("root@example.com");
    let mut browser = Browser::new(server);
    browser.sign_in("root@example.com");
    let token = browser.token("/console/webhooks/new/");
    (browser, token)
}

fn add(browser: &mut Browser<'_>, token: &str, events: &[&str]) -> String {
    let mut fields = vec![
        ("form_token", token),
        ("url", URL),
        ("description", "<b>CRM</b>"),
        ("payload", "thin"),
    ];
    fields.extend(events.iter().map(|event| ("events", *event)));
    let page = browser.post("/console/webhooks/new/", &fields);
    assert_eq!(page.status, 200, "{}", page.body);
    page.body
}

#[test]
fn webhook_is_added_and_its_secret_shown_once() {
    let server = TestServer::start();
    let (mut browser, token) = staff_browser(&server);
    let empty = browser.get("/console/webhooks/");
    assert!(empty.body.contains("No webhooks yet."), "{}", empty.body);
    let page = add(&mut browser, &token, &["user.*", "session.created"]);
    assert!(page.contains("whsec_") && page.contains("whpk_"), "{page}");
    let stored =
        server.db_text("SELECT concat_ws('|', url, events, description, payload) FROM webhooks");
    assert_eq!(
        stored,
        format!("{URL}|user.* session.created|<b>CRM</b>|thin")
    );
    for path in ["/console/webhooks/", "/console/webhooks/1/"] {
        let page = browser.get(path).body;
        assert!(
            page.contains(URL) && page.contains("&lt;b&gt;CRM"),
            "{page}"
        );
        assert!(!page.contains("whsec_"), "{page}");
    }
    // A reload of the answer adds no second one.
    let again = [
        ("form_token", token.as_str()),
        ("url", URL),
        ("events", "user.*"),
        ("events", "session.created"),
    ];
    let page = browser.post("/console/webhooks/new/", &again);
    assert_eq!(page.status, 400);
    assert!(
        page.body.contains("There is already a webhook"),
        "{}",
        page.body
    );
    assert_eq!(server.db_number("SELECT count(*) FROM webhooks"), 1);
}

#[test]
fn wrong_forms_keep_what_was_typed() {
    let server = TestServer::start();
    let (mut browser, token) = staff_browser(&server);
    for (url, events, complaint) in [
        (
            "crm",
            &["user.*"][..],
            "Enter a valid address that starts with https://.",
        ),
        (
            "https://10.0.0.1/",
            &["user.*"],
            "must be public and reachable",
        ),
        ("", &["user.*"], "Please fill this in."),
        (URL, &[], "Please choose at least one."),
        (URL, &["user.born"], "Please choose one of the options."),
    ] {
        let mut fields = vec![("form_token", token.as_str()), ("url", url), ("events", "")];
        fields.extend(events.iter().map(|event| ("events", *event)));
        fields.push(("description", "my receiver"));
        let page = browser.post("/console/webhooks/new/", &fields);
        assert_eq!(page.status, 400, "{url}: {}", page.body);
        assert!(page.body.contains(complaint), "{url}: {}", page.body);
        assert!(page.body.contains("value=\"my receiver\""), "{}", page.body);
        let checked = "name=\"events\" value=\"user.*\" checked";
        assert_eq!(
            page.body.contains(checked),
            events.contains(&"user.*"),
            "{}",
            page.body
        );
    }
}

#[test]
fn webhook_is_changed_tested_rotated_and_removed() {
    let server = TestServer::start();
    let (mut browser, token) = staff_browser(&server);
    add(&mut browser, &token, &["user.*"]);
    let home = "/console/webhooks/1/";
    let token = browser.token(home);
    let mut send = |path: &str, fields: &[(&str, &str)]| {
        let mut all = vec![("form_token", token.as_str())];
        all.extend_from_slice(fields);
        browser.post(&format!("{home}{path}"), &all)
    };
    let changed = send(
        "",
        &[
            ("url", URL),
            ("events", "*"),
            ("description", ""),
            ("payload", "full"),
        ],
    );
    assert_leads_to(&changed, home);
    let stored = "SELECT concat_ws('|', events, description, payload) FROM webhooks";
    assert_eq!(server.db_text(stored), "*||full");
    let wrong = send("", &[("url", "crm"), ("events", "user.created")]);
    assert_eq!(wrong.status, 400);
    assert!(wrong.body.contains("value=\"crm\""), "{}", wrong.body);
    assert_leads_to(&send("test/", &[]), home);
    let id = server.db_number("SELECT id FROM deliveries WHERE kind = 'webhook.test'");
    assert_leads_to(&send(&format!("deliveries/{id}/replay/"), &[]), home);
    assert_leads_to(&send("recover/", &[("since", "2024-12-03T12:00")]), home);
    let wrong = send("recover/", &[("since", "soon")]);
    assert!(wrong.body.contains("Enter a valid time"), "{}", wrong.body);
    let rotated = send("rotate/", &[]);
    assert!(
        rotated.status == 200 && rotated.body.contains("whsec_"),
        "{}",
        rotated.body
    );
    assert_leads_to(&send("state/", &[("is_enabled", "false")]), home);
    let disabled = send("test/", &[]);
    assert_eq!(disabled.status, 400, "{}", disabled.body);
    assert!(
        disabled.body.contains("disabled this webhook"),
        "{}",
        disabled.body
    );
    assert_leads_to(&send("state/", &[("is_enabled", "true")]), home);
    assert_eq!(send("deliveries/99/replay/", &[]).status, 404);
    assert_leads_to(&send("remove/", &[]), "/console/webhooks/");
    assert_leads_to(&send("remove/", &[]), "/console/webhooks/");
    assert_eq!(server.db_number("SELECT count(*) FROM webhooks"), 0);
    for path in [home, "/console/webhooks/1/remove/", "/console/webhooks/x/"] {
        assert_eq!(browser.get(path).status, 404, "{path}");
    }
}

#[test]
fn every_page_of_a_webhook_renders_in_every_language() {
    let server = TestServer::start();
    let (mut browser, token) = staff_browser(&server);
    add(&mut browser, &token, &["user.*"]);
    server.sign_up("ann@example.com");
    for (change, path) in [
        (
            "disabled_at = NULL, disabled_reason = NULL, failing_since = 1",
            "1/?status=pending",
        ),
        ("disabled_at = 1, disabled_reason = 'gone'", "1/"),
        ("disabled_at = 1, disabled_reason = 'failing'", "1/"),
        (
            "disabled_at = 1, disabled_reason = 'staff', former_secrets = secrets, former_until = 9e15",
            "1/",
        ),
        ("is_from_file = 1", "1/"),
        ("is_from_file = 0", "1/remove/"),
        ("is_from_file = 0", ""),
        ("is_from_file = 0", "new/"),
    ] {
        server.db_execute(&format!("UPDATE webhooks SET {change}"));
        for language in ["en", "de", "es", "fr", "it", "pt-BR"] {
            let separator = if path.contains('?') { '&' } else { '?' };
            let page = browser.get(&format!(
                "/console/webhooks/{path}{separator}lang={language}"
            ));
            assert_eq!(page.status, 200, "{path} {language}: {}", page.body);
            assert!(!page.body.contains("console_webhooks."), "{}", page.body);
        }
    }
    // Somebody without rights sees nothing of it.
    server.user("alice@example.com");
    let mut alice = Browser::new(&server);
    alice.sign_in("alice@example.com");
    for path in ["/console/webhooks/1/", "/console/webhooks/1/remove/"] {
        assert_eq!(alice.get(path).status, 403, "{path}");
    }
}
