//! The mail queue, the invitations and the audit log in the console.

use std::time::Duration;

use crate::browser::{Browser, assert_leads_to};
use crate::smtp::{Fault, SmtpSink};
use crate::support::{Answer, PASSWORD, TestServer, User};

const GIVEN_UP: &str = "accounts_mails_total{fate=\"given_up\"}";
const MAILS: &str = "/console/mails/";
const INVITATIONS: &str = "/console/invitations/";
const EVENTS: &str = "/console/events/";

/// A browser in which a staff member is signed in.
fn staff_browser(server: &TestServer) -> (User, Browser<'_>) {
    let staff = server.staff("root@example.com");
    let mut browser = Browser::new(server);
    browser.sign_in("root@example.com");
    (staff, browser)
}

/// Sends a form with the token of a page.
fn send(browser: &mut Browser<'_>, page: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    let token = browser.token(page);
    let mut all = vec![("form_token", token.as_str())];
    all.extend_from_slice(fields);
    browser.post(path, &all)
}

/// A server with a mail that was refused, and its number.
fn with_refused_mail(sink: &SmtpSink) -> (TestServer, i64) {
    let refusal = "550 5.1.1 <b>unknown</b> mailbox";
    sink.fail("ann@example.com", 1, Fault::Say("RCPT", refusal));
    let server = TestServer::start_with_smtp(&sink.url());
    assert_eq!(server.sign_up("ann@example.com").status, 201);
    server.wait_for_metric(GIVEN_UP, 1);
    server.wait_for_number("SELECT count(*) FROM deliveries WHERE claimed", 0);
    let id = server.db_number("SELECT id FROM deliveries WHERE email = 'ann@example.com'");
    (server, id)
}

#[test]
fn refused_mail_is_explained_and_sent_again() {
    let sink = SmtpSink::start();
    let (server, id) = with_refused_mail(&sink);
    let (staff, mut browser) = staff_browser(&server);
    let page = browser.get("/console/mails/?state=failed&search=ANN&lang=en");
    assert_eq!(page.status, 200);
    for text in [
        "ann@example.com",
        "Refused",
        "&lt;b&gt;unknown&lt;/b&gt; mailbox",
        "1 attempt",
    ] {
        assert!(page.body.contains(text), "{text}: {}", page.body);
    }
    let code = server.otp("ann@example.com");
    assert!(
        !page.body.contains(&code) && !page.body.contains("token="),
        "{}",
        page.body
    );
    let other = browser.get("/console/mails/?search=nobody");
    assert!(other.body.contains("No mail matches"), "{}", other.body);

    // The list stays filtered.
    let path = format!("/console/mails/{id}/retry/");
    let next = "/console/mails/?state=failed";
    let answer = send(&mut browser, MAILS, &path, &[("next", next)]);
    assert_leads_to(&answer, next);
    assert!(browser.get(next).body.contains("sent again now"));
    sink.wait_for_mail_to("ann@example.com");
    server.wait_for_number(
        "SELECT count(*) FROM deliveries WHERE email = 'ann@example.com'",
        0,
    );
    // Another origin is not followed, and what is gone is said on the list.
    let answer = send(&mut browser, MAILS, &path, &[("next", "//evil.example/")]);
    assert_eq!(answer.status, 404);
    assert!(
        answer.body.contains("no longer in the queue"),
        "{}",
        answer.body
    );
    let events = format!(
        "SELECT count(*) FROM events WHERE event = 'mail_retried' AND actor_id = {}",
        staff.id
    );
    assert_eq!(server.db_number(&events), 1);
}

#[test]
fn expired_mail_can_only_be_discarded() {
    let sink = SmtpSink::start();
    let (server, id) = with_refused_mail(&sink);
    server.advance(Duration::from_mins(11));
    let (_, mut browser) = staff_browser(&server);
    let page = browser.get(MAILS);
    let retry = format!("/console/mails/{id}/retry/");
    let discard = format!("/console/mails/{id}/drop/");
    assert!(
        !page.body.contains(&retry) && page.body.contains(&discard),
        "{}",
        page.body
    );
    let answer = send(&mut browser, MAILS, &retry, &[]);
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("has expired"), "{}", answer.body);
    assert_leads_to(&send(&mut browser, MAILS, &discard, &[]), MAILS);
    assert!(browser.get(MAILS).body.contains("has been discarded"));
    assert_eq!(
        server.db_number("SELECT count(*) FROM deliveries WHERE email = 'ann@example.com'"),
        0
    );
}

#[test]
fn staff_invites_repeats_and_revokes() {
    let server = TestServer::start();
    let (staff, mut browser) = staff_browser(&server);
    server.user("old@example.com");
    let page = browser.get("/console/invitations/?lang=en");
    assert!(page.body.contains("No open invitations"), "{}", page.body);
    for (email, problem) in [
        ("old@example.com", "There is already an account"),
        ("<nonsense>", "&lt;nonsense&gt;"),
    ] {
        let fields = [("email", email), ("language", "de")];
        let answer = send(&mut browser, INVITATIONS, INVITATIONS, &fields);
        assert_eq!(answer.status, 400, "{}", answer.body);
        assert!(answer.body.contains(problem), "{}", answer.body);
        assert!(
            answer.body.contains("value=\"de\" selected"),
            "{}",
            answer.body
        );
    }
    let fields = [("email", "ann@example.com"), ("language", "de")];
    for sent in [1, 2] {
        assert_leads_to(
            &send(&mut browser, INVITATIONS, INVITATIONS, &fields),
            INVITATIONS,
        );
        assert!(browser.get(INVITATIONS).body.contains("on its way"));
        assert_eq!(server.mails("ann@example.com").len(), sent);
    }
    let page = browser.get("/console/invitations/?search=ann");
    assert!(page.body.contains("ann@example.com"), "{}", page.body);
    assert!(
        page.body.contains(&format!("User {}", staff.id)),
        "{}",
        page.body
    );
    let page = browser.get("/console/invitations/?search=nobody");
    assert!(page.body.contains("No invitation matches"), "{}", page.body);
    let revoke = "/console/invitations/1/revoke/";
    assert_leads_to(&send(&mut browser, INVITATIONS, revoke, &[]), INVITATIONS);
    let answer = send(&mut browser, INVITATIONS, revoke, &[]);
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("no longer exists"), "{}", answer.body);
    let link = server.mails("ann@example.com")[0].link.clone().unwrap();
    let path = link.strip_prefix(&server.public_url()).unwrap();
    assert_eq!(Browser::new(&server).get(path).status, 404);
}

#[test]
fn changes_want_staff_who_authenticated_recently() {
    let server = TestServer::start();
    let (_, mut browser) = staff_browser(&server);
    server.user("alice@example.com");
    let mut alice = Browser::new(&server);
    alice.sign_in("alice@example.com");
    let token = alice.token("/account/");
    let fields = [("form_token", token.as_str()), ("email", "ann@example.com")];
    for path in [
        INVITATIONS,
        "/console/invitations/1/revoke/",
        "/console/mails/1/retry/",
        "/console/mails/1/drop/",
        "/console/events/export/",
    ] {
        assert_eq!(alice.post(path, &fields).status, 403, "{path}");
    }
    // After a while the password is asked for; then the change goes on with what was typed.
    let token = browser.token(INVITATIONS);
    server.advance(Duration::from_mins(11));
    let fields = [("form_token", token.as_str()), ("email", "ann@example.com")];
    let asked = browser.post(INVITATIONS, &fields);
    assert_eq!(asked.status, 403, "{}", asked.body);
    assert!(server.mails("ann@example.com").is_empty());
    let fields = [
        fields[0],
        fields[1],
        ("reauthentication_password", PASSWORD),
    ];
    assert_leads_to(&browser.post(INVITATIONS, &fields), INVITATIONS);
    assert_eq!(server.mails("ann@example.com").len(), 1);
}

#[test]
fn audit_log_is_filtered() {
    let server = TestServer::start();
    let (staff, mut browser) = staff_browser(&server);
    server.advance(Duration::from_hours(13));
    server.user("user@example.com");
    let page = browser.get("/console/events/?lang=en");
    for text in [
        "Email address confirmed",
        "Signed in",
        "Account created",
        "/console/users/2/",
    ] {
        assert!(page.body.contains(text), "{text}: {}", page.body);
    }
    let list = |browser: &mut Browser<'_>, query: &str| {
        let page = browser.get(&format!("{EVENTS}?{query}"));
        assert_eq!(page.status, 200, "{query}: {}", page.body);
        page.body.matches("<td><strong>").count()
    };
    let by_user = format!("user={}", staff.id);
    for (query, count) in [
        ("kind=sign_up&user=&actor=&after=&before=", 1),
        ("user=2", 2),
        (by_user.as_str(), 3),
        ("actor=2", 1),
        ("after=2024-12-04", 2),
        ("before=2024-12-03", 3),
        ("after=2024-12-04&before=2024-12-04&kind=sign_up", 1),
        ("kind=keys_rotated", 0),
    ] {
        assert_eq!(list(&mut browser, query), count, "{query}");
    }
    // A wrong filter is said to be wrong, and kept.
    let page = browser.get("/console/events/?user=%3Cb%3E&lang=en");
    assert_eq!(page.status, 400);
    assert!(page.body.contains("value=\"&lt;b&gt;\""), "{}", page.body);
}

#[test]
fn audit_log_is_exported_as_filtered() {
    let server = TestServer::start();
    let (staff, mut browser) = staff_browser(&server);
    server.user("user@example.com");
    let export = |browser: &mut Browser<'_>, fields: &[(&str, &str)]| {
        let answer = send(browser, EVENTS, "/console/events/export/", fields);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer
    };
    let csv = export(&mut browser, &[("format", "csv"), ("user", "2")]);
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(
        csv.header("content-disposition"),
        Some("attachment; filename=\"events.csv\"")
    );
    let lines: Vec<&str> = csv.body.trim_start_matches('\u{feff}').lines().collect();
    assert!(
        lines[0].starts_with("id,created_at,event,user_id,actor_id,"),
        "{}",
        lines[0]
    );
    assert!(lines[1].contains(",sign_up_confirmed,2,2,"), "{}", lines[1]);
    assert!(
        lines[1].ends_with(",1,2024-12-03T12:00:00Z"),
        "{}",
        lines[1]
    );
    assert!(lines[2].contains(",sign_up,2,,"), "{}", lines[2]);
    assert_eq!(lines.len(), 3);
    let lines = export(
        &mut browser,
        &[("format", "jsonl"), ("kind", "events_exported")],
    );
    assert_eq!(lines.header("content-type"), Some("application/jsonl"));
    let records: Vec<serde_json::Value> = lines
        .body
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    // An export is in the log before it begins.
    assert_eq!(records.len(), 2);
    assert_eq!(
        (&records[0]["event"], &records[0]["actor_id"]),
        (&"events_exported".into(), &staff.id.into())
    );
}
