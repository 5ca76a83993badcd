//! The users pages of the console: the list, one account, actions with a reason, many at once, CSV.

use std::time::Duration;

use serde_json::{Value, json};

use crate::browser::{Browser, assert_leads_to};
use crate::support::{Answer, PASSWORD, TestServer, User};

const LIST: &str = "/console/users/";
const BULK: &str = "/console/users/bulk/";
const EXPORT: &str = "/console/users/export/";

/// A browser in which a new staff member is signed in.
fn staff_browser<'a>(server: &'a TestServer, email: &str) -> (Browser<'a>, User) {
    let staff = server.staff(email);
    let mut browser = Browser::new(server);
    assert_eq!(browser.sign_in(email).status, 303);
    (browser, staff)
}

/// Sends a form of the console with its token.
fn send(browser: &mut Browser<'_>, path: &str, fields: &[(&str, &str)]) -> Answer {
    let token = browser.token(LIST);
    let mut all = vec![("form_token", token.as_str())];
    all.extend_from_slice(fields);
    browser.post(path, &all)
}

fn page_of(user: &User) -> String {
    format!("{LIST}{}/", user.id)
}

/// The ids on a page of the list, in its order.
fn listed(page: &Answer) -> Vec<i64> {
    assert_eq!(page.status, 200, "{}", page.body);
    page.body
        .split("name=\"user-")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().parse().unwrap())
        .collect()
}

/// The newest entry about an account: kind, actor and reason.
fn last_event(server: &TestServer, id: i64) -> String {
    server.db_text(&format!(
        "SELECT concat_ws('|', event, actor_id, reason) FROM events WHERE user_id = {id} \
         ORDER BY id DESC LIMIT 1"
    ))
}

#[test]
fn list_is_searched_filtered_ordered_and_paged() {
    let server = TestServer::start();
    let (mut browser, root) = staff_browser(&server, "root@example.com");
    let ada = server.user("ada@example.com");
    let bob = server.user("bob@example.com");
    server.sign_up("waiting@example.com");
    let names = json!({"first_name": "Ada", "last_name": "King", "is_active": false});
    server.patch(&ada.path(), &root, &names);
    let waiting = bob.id + 1;
    for (query, expected) in [
        ("", vec![waiting, bob.id, ada.id, root.id]),
        ("?ordering=id", vec![root.id, ada.id, bob.id, waiting]),
        ("?ordering=email", vec![ada.id, bob.id, root.id, waiting]),
        ("?ordering=nonsense", vec![waiting, bob.id, ada.id, root.id]),
        ("?search=KING+ada", vec![ada.id]),
        ("?search=king&is_active=true", vec![]),
        ("?is_active=false", vec![ada.id]),
        ("?is_verified=false", vec![waiting]),
        ("?is_staff=true", vec![root.id]),
        ("?is_staff=true&search=root&is_active=true", vec![root.id]),
        (
            "?is_active=true&is_verified=true&ordering=id",
            vec![root.id, bob.id],
        ),
        ("?search=nobody", vec![]),
        ("?page=99", vec![waiting, bob.id, ada.id, root.id]),
        ("?page=x", vec![waiting, bob.id, ada.id, root.id]),
        ("?search=%00", vec![waiting, bob.id, ada.id, root.id]),
    ] {
        let page = browser.get(&format!("{LIST}{query}"));
        assert_eq!(listed(&page), expected, "{query}");
    }
    let empty = browser.get(&format!("{LIST}?search=nobody"));
    assert!(empty.body.contains("No user matches"), "{}", empty.body);
    assert!(empty.body.contains("Clear filters"), "{}", empty.body);
    // An id of another system finds its account.
    server.db_execute("UPDATE users SET external_id = 'auth0|7' WHERE email = 'bob@example.com'");
    let page = browser.get(&format!("{LIST}?search=auth0%7C7"));
    assert_eq!(listed(&page), [bob.id]);
}

#[test]
fn pages_of_a_long_list_keep_their_filters() {
    let server = TestServer::start();
    let (mut browser, _) = staff_browser(&server, "root@example.com");
    for number in 0..60 {
        server.db_execute(&format!(
            "INSERT INTO users (email, email_key, password_hash, created_at, updated_at) \
             VALUES ('m{number}@example.org', 'm{number}@example.org', '!', 0, 0)"
        ));
    }
    let first = browser.get(&format!("{LIST}?search=example.org&ordering=id"));
    assert_eq!(listed(&first).len(), 25);
    let next = "href=\"/console/users/?search=example.org&amp;ordering=id&amp;page=2\"";
    assert!(first.body.contains(next), "{}", first.body);
    assert!(first.body.contains("Page 1 of 3"), "{}", first.body);
    assert!(first.body.contains("All 60 users that match"));
    let last = browser.get(&format!("{LIST}?search=example.org&ordering=id&page=3"));
    assert_eq!(listed(&last).len(), 10);
    let one = browser.get(&format!("{LIST}?search=example.org&page_size=100"));
    assert_eq!(listed(&one).len(), 60);
    assert!(!one.body.contains("users that match"));
}

#[test]
fn search_of_ten_thousand_characters_is_answered() {
    let server = TestServer::start();
    let (mut browser, _) = staff_browser(&server, "root@example.com");
    let search = "a%20".repeat(3_000);
    let page = browser.get(&format!("{LIST}?search={search}"));
    assert_eq!(listed(&page).len(), 1);
    let page = browser.get(&format!("{LIST}?search={}", "x".repeat(10_000)));
    assert_eq!(listed(&page).len(), 0);
}

#[test]
fn markup_of_users_stays_text() {
    let server = TestServer::start();
    let (mut browser, root) = staff_browser(&server, "root@example.com");
    let user = server.user("user@example.com");
    let name = "<script>alert(1)</script>\"'";
    let change = json!({"first_name": name, "reason": name, "is_staff": true});
    assert_eq!(server.patch(&user.path(), &root, &change).status, 200);
    for path in [
        LIST.to_owned(),
        format!("{LIST}?search=%3Cscript%3E%22%27"),
        page_of(&user),
        format!("{}delete/", page_of(&user)),
        format!(
            "{BULK}?action=delete&user-{}=yes&search=%3Cscript%3E%22",
            user.id
        ),
    ] {
        let page = browser.get(&path);
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.body.contains("<script>"), "{path}: {}", page.body);
        assert!(!page.body.contains("<script>alert"), "{path}");
    }
    assert!(browser.get(&page_of(&user)).body.contains("&lt;script&gt;"));
}

#[test]
fn page_of_an_account_shows_what_there_is() {
    let server = TestServer::start();
    let (mut browser, root) = staff_browser(&server, "root@example.com");
    let user = server.user("user@example.com");
    server.patch(
        &user.path(),
        &root,
        &json!({"is_active": false, "reason": "spam"}),
    );
    server.db_execute("UPDATE users SET external_id = 'uid-1' WHERE email = 'user@example.com'");
    let page = browser.get(&page_of(&user));
    for text in [
        "<h1>user@example.com</h1>",
        "<title>user@example.com",
        "uid-1",
        "Deactivated",
        "Account deactivated",
        "spam",
        "Not signed in anywhere.",
        ">Activate<",
        ">Make staff<",
    ] {
        assert!(page.body.contains(text), "no {text:?} in {}", page.body);
    }
    for text in [
        ">Deactivate<",
        ">Remove staff rights<",
        ">Sign out all devices<",
    ] {
        assert!(!page.body.contains(text), "{text:?}");
    }
    // One's own account warns.
    let own = browser.get(&page_of(&root));
    assert!(
        own.body.contains("This is your own account."),
        "{}",
        own.body
    );
    for id in ["99", "0", "-1", "abc", "me", "+1", "99999999999999999999"] {
        for path in [format!("{LIST}{id}/"), format!("{LIST}{id}/delete/")] {
            let page = browser.get(&path);
            assert_eq!(page.status, 404, "{path}");
            assert!(page.body.contains("<h1>"), "a page: {}", page.body);
        }
        let answer = send(
            &mut browser,
            &format!("{LIST}{id}/action/"),
            &[("action", "deactivate"), ("reason", "x")],
        );
        assert_eq!(answer.status, 404, "{id}");
    }
}

#[test]
fn every_action_is_in_the_audit_log_with_its_reason() {
    let server = TestServer::start();
    let (mut browser, root) = staff_browser(&server, "root@example.com");
    let user = server.user("user@example.com");
    for (action, event) in [
        ("send_reset", "password_reset_requested"),
        ("end_sessions", "sessions_revoked"),
        ("promote", "user_promoted"),
        ("demote", "user_demoted"),
        ("deactivate", "user_deactivated"),
        ("activate", "user_activated"),
    ] {
        let reason = format!("reason of {action}");
        let path = format!("{}action/", page_of(&user));
        let answer = send(
            &mut browser,
            &path,
            &[("action", action), ("reason", &reason)],
        );
        assert_leads_to(&answer, &page_of(&user));
        let expected = format!("{event}|{}|{reason}", root.id);
        assert_eq!(last_event(&server, user.id), expected);
        let page = browser.get(&page_of(&user));
        assert!(page.body.contains("Done."), "{}", page.body);
        assert!(page.body.contains(&reason), "{}", page.body);
    }
    assert!(
        server.mails("user@example.com")[0].otp.is_none(),
        "the notice of a promotion"
    );
    assert!(
        server.mails("user@example.com")[1].otp.is_some(),
        "the reset"
    );
    assert_eq!(server.get("users/me/", Some(&user.access)).status, 401);
    let path = format!("{}delete/", page_of(&user));
    let page = browser.get(&path);
    assert!(
        page.body.contains("The account user@example.com"),
        "{}",
        page.body
    );
    let answer = send(&mut browser, &path, &[("reason", "on request")]);
    assert_leads_to(&answer, LIST);
    let expected = format!("user_deleted|{}|on request", root.id);
    assert_eq!(last_event(&server, user.id), expected);
    assert!(
        browser
            .get(LIST)
            .body
            .contains("The account has been deleted.")
    );
}

#[test]
fn action_needs_staff_a_reason_a_token_and_a_recent_password() {
    let server = TestServer::start();
    let (mut browser, root) = staff_browser(&server, "root@example.com");
    server.staff("other@example.com");
    let user = server.user("user@example.com");
    let path = format!("{}action/", page_of(&user));
    let is_active = format!("SELECT is_active FROM users WHERE id = {}", user.id);
    let fields = [("action", "deactivate"), ("reason", "spam")];
    // A user and nobody.
    let mut own = Browser::new(&server);
    own.sign_in("user@example.com");
    let token = own.token("/account/");
    let with_token = [&[("form_token", token.as_str())], &fields[..]].concat();
    assert_eq!(own.post(&path, &with_token).status, 403);
    assert_eq!(Browser::new(&server).post(&path, &with_token).status, 303);
    // No token, no reason, a long one, an unknown action.
    assert_eq!(browser.post(&path, &fields).status, 403);
    for reason in ["", "  ", &"x".repeat(201)] {
        let answer = send(
            &mut browser,
            &path,
            &[("action", "deactivate"), ("reason", reason)],
        );
        assert_eq!(answer.status, 400, "{reason:?}");
        assert!(
            answer.body.contains("id=\"reason-error\""),
            "{}",
            answer.body
        );
    }
    assert_leads_to(
        &send(
            &mut browser,
            &path,
            &[("action", "explode"), ("reason", "x")],
        ),
        &page_of(&user),
    );
    assert_eq!(server.db_number(&is_active), 1);
    // Too long after the password; it continues when it is given.
    server.advance(Duration::from_hours(1));
    let asked = send(&mut browser, &path, &fields);
    assert_eq!(asked.status, 403, "{}", asked.body);
    assert!(asked.body.contains("type=\"password\""), "{}", asked.body);
    assert_eq!(server.db_number(&is_active), 1);
    let again = [&fields[..], &[("reauthentication_password", PASSWORD)]].concat();
    assert_leads_to(&send(&mut browser, &path, &again), &page_of(&user));
    assert_eq!(server.db_number(&is_active), 0);
    // Demoted: out at the next click.
    let token = browser.token(LIST);
    let access = server.sign_in("other@example.com", PASSWORD).text("access");
    let demotion = json!({"is_staff": false});
    let demoted = server.api("PATCH", &root.path(), Some(&access), &demotion);
    assert_eq!(demoted.status, 200, "{}", demoted.body);
    let fields = [
        ("form_token", token.as_str()),
        ("action", "activate"),
        ("reason", "x"),
    ];
    assert_eq!(browser.post(&path, &fields).status, 403);
    assert_eq!(browser.get(LIST).status, 403);
    assert_eq!(server.db_number(&is_active), 0);
}

#[test]
fn impossible_actions_say_why() {
    let server = TestServer::start_with_mail_limits();
    let (mut browser, root) = staff_browser(&server, "root@example.com");
    let user = server.user("user@example.com");
    server.sign_up("waiting@example.com");
    let own = format!("{}action/", page_of(&root));
    for action in ["demote", "deactivate"] {
        let answer = send(&mut browser, &own, &[("action", action), ("reason", "x")]);
        assert_eq!(answer.status, 400);
        assert!(
            answer.body.contains("last active staff account"),
            "{}",
            answer.body
        );
        assert!(
            answer.body.contains("value=\"x\""),
            "what was typed is kept"
        );
    }
    let answer = send(
        &mut browser,
        &format!("{}delete/", page_of(&root)),
        &[("reason", "x")],
    );
    assert_eq!(answer.status, 400);
    let waiting = format!("{LIST}{}/action/", user.id + 1);
    let answer = send(
        &mut browser,
        &waiting,
        &[("action", "promote"), ("reason", "x")],
    );
    assert_eq!(answer.status, 400);
    assert!(
        answer.body.contains("Only confirmed accounts"),
        "{}",
        answer.body
    );
    let path = format!("{}action/", page_of(&user));
    let reset = [("action", "send_reset"), ("reason", "x")];
    assert_eq!(send(&mut browser, &path, &reset).status, 303);
    let answer = send(&mut browser, &path, &reset);
    assert_eq!(answer.status, 429, "one mail a minute");
    server.patch(&user.path(), &root, &json!({"is_active": false}));
    let answer = send(&mut browser, &path, &reset);
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("Activate it first"), "{}", answer.body);
}

#[test]
fn profile_photo_and_sessions_of_others_are_managed() {
    let server = TestServer::start();
    let (mut browser, root) = staff_browser(&server, "root@example.com");
    let user = server.user("user@example.com");
    let path = page_of(&user);
    let answer = send(
        &mut browser,
        &path,
        &[("first_name", "Grace"), ("phone", "12")],
    );
    assert_eq!(answer.status, 400);
    assert!(
        answer.body.contains("id=\"phone-error\""),
        "{}",
        answer.body
    );
    assert!(
        answer.body.contains("value=\"Grace\""),
        "what was typed is kept"
    );
    let fields = [
        ("email", "user@example.com"),
        ("first_name", "Grace"),
        ("phone", ""),
    ];
    assert_leads_to(&send(&mut browser, &path, &fields), &path);
    let profile = server.get(&user.path(), Some(&root.access)).json();
    assert_eq!(profile["first_name"], "Grace");
    assert_eq!(
        last_event(&server, user.id),
        format!("profile_changed|{}", root.id) + "|"
    );
    server.db_execute("UPDATE users SET photo = 'x.jpg' WHERE email = 'user@example.com'");
    assert!(browser.get(&path).body.contains("/media/photos/x.jpg"));
    let answer = send(&mut browser, &format!("{path}photo/remove/"), &[]);
    assert_leads_to(&answer, &path);
    assert!(!browser.get(&path).body.contains("/media/photos/"));
    // One of two sessions.
    let second = server.sign_in("user@example.com", PASSWORD).text("access");
    let sessions = server.get("sessions/", Some(&user.access)).json();
    let is_first = |session: &&Value| session["current"] == true;
    let first = sessions.as_array().unwrap().iter().find(is_first).unwrap();
    let first = first["id"].as_str().unwrap().to_owned();
    let end = format!("{path}end-session/");
    for _ in 0..2 {
        assert_leads_to(&send(&mut browser, &end, &[("session", &first)]), &path);
    }
    let own = server.db_text("SELECT id FROM sessions WHERE secret_hash IS NOT NULL");
    assert_leads_to(&send(&mut browser, &end, &[("session", &own)]), &path);
    assert_eq!(
        browser.get(LIST).status,
        200,
        "not a session of this account"
    );
    assert_eq!(server.get("users/me/", Some(&user.access)).status, 401);
    assert_eq!(server.get("users/me/", Some(&second)).status, 200);
    assert_eq!(
        last_event(&server, user.id),
        format!("sessions_revoked|{}|", root.id)
    );
}

#[test]
fn created_account_is_confirmed_and_signs_in() {
    let server = TestServer::start();
    let (mut browser, root) = staff_browser(&server, "root@example.com");
    let path = "/console/users/new/";
    let answer = send(
        &mut browser,
        path,
        &[("email", "new@example"), ("password", "short")],
    );
    assert_eq!(answer.status, 400);
    assert!(
        answer.body.contains("id=\"email-error\""),
        "{}",
        answer.body
    );
    assert!(
        answer.body.contains("value=\"new@example\""),
        "{}",
        answer.body
    );
    assert!(!answer.body.contains("short\""), "no password in a page");
    let fields = [
        ("email", "new@example.com"),
        ("password", PASSWORD),
        ("last_name", "Hopper"),
        ("is_staff", "true"),
    ];
    let id = root.id + 1;
    assert_leads_to(&send(&mut browser, path, &fields), &format!("{LIST}{id}/"));
    assert_eq!(
        last_event(&server, id),
        format!("user_created|{}|", root.id)
    );
    let staff = server.sign_in("new@example.com", PASSWORD).text("access");
    assert_eq!(server.get("users/", Some(&staff)).status, 200);
    assert!(server.mails("new@example.com").is_empty(), "no mail");
    let answer = send(&mut browser, path, &fields);
    assert_eq!(answer.status, 400, "taken");
    // A password that was typed too late is asked for once more.
    server.advance(Duration::from_hours(1));
    let late = [
        ("email", "late@example.com"),
        ("password", PASSWORD),
        ("reauthentication_password", PASSWORD),
        ("reauthentication_incomplete", "yes"),
    ];
    let answer = send(&mut browser, path, &late);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(
        answer.body.contains("value=\"late@example.com\""),
        "{}",
        answer.body
    );
    let made = "SELECT count(*) FROM users WHERE email = 'late@example.com'";
    assert_eq!(server.db_number(made), 0);
}

#[test]
fn action_on_selected_users_leaves_the_own_account_alone() {
    let server = TestServer::start();
    let (mut browser, root) = staff_browser(&server, "root@example.com");
    let users: Vec<User> = ["a@example.com", "b@example.com", "c@example.com"]
        .map(|email| server.user(email))
        .into();
    let fields: Vec<String> = [root.id, users[0].id, users[1].id, 999]
        .iter()
        .map(|id| format!("user-{id}"))
        .collect();
    let mut choice: Vec<(&str, &str)> = fields.iter().map(|name| (&**name, "yes")).collect();
    choice.push(("action", "deactivate"));
    choice.push(("search", "example"));
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(&choice)
        .finish();
    let page = browser.get(&format!("{BULK}?{query}"));
    for text in [
        "a@example.com",
        "b@example.com",
        "Your own account is left out",
        ">Deactivate<",
    ] {
        assert!(page.body.contains(text), "no {text:?} in {}", page.body);
    }
    assert!(!page.body.contains("c@example.com"));
    let answer = send(&mut browser, BULK, &choice);
    assert_eq!(answer.status, 400, "no reason");
    assert!(
        answer
            .body
            .contains(&format!("name=\"user-{}\"", users[0].id)),
        "kept"
    );
    choice.push(("reason", "spam wave"));
    let answer = send(&mut browser, BULK, &choice);
    assert_leads_to(&answer, "/console/users/?search=example");
    let list = browser.get(LIST);
    assert!(
        list.body.contains("Done for 2, not possible for 2."),
        "{}",
        list.body
    );
    let off = "SELECT group_concat(email) FROM users WHERE NOT is_active";
    assert_eq!(server.db_text(off), "a@example.com,b@example.com");
    for user in &users[..2] {
        let expected = format!("user_deactivated|{}|spam wave", root.id);
        assert_eq!(last_event(&server, user.id), expected);
    }
    // Nobody is selected; an action that is not on offer.
    let page = browser.get(&format!("{BULK}?action=delete"));
    assert_eq!(page.status, 400);
    assert!(
        page.body.contains("Select at least one user."),
        "{}",
        page.body
    );
    for query in ["", "?action=promote&user-1=yes", "?action=x"] {
        assert_leads_to(&browser.get(&format!("{BULK}{query}")), LIST);
    }
}

#[test]
fn action_on_all_that_match_reaches_them_all() {
    let server = TestServer::start();
    let (mut browser, root) = staff_browser(&server, "root@example.com");
    let other = server.staff("other@example.com");
    for number in 0..1_200 {
        let email = format!("m{number}@spam.example");
        server.db_execute(&format!(
            "INSERT INTO users (email, email_key, password_hash, verified_at, created_at, updated_at) \
             VALUES ('{email}', '{email}', '!', TRUE, 0, 0)"
        ));
    }
    let choice = [
        ("action", "deactivate"),
        ("all", "yes"),
        ("search", "spam.example"),
        ("is_active", "true"),
    ];
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(choice)
        .finish();
    let page = browser.get(&format!("{BULK}?{query}"));
    assert!(
        page.body.contains("This applies to 1200 users:"),
        "{}",
        page.body
    );
    assert!(page.body.contains("and 1190 more"), "{}", page.body);
    let with_reason = [&choice[..], &[("reason", "wave")]].concat();
    let answer = send(&mut browser, BULK, &with_reason);
    assert_leads_to(
        &answer,
        "/console/users/?search=spam.example&is_active=true",
    );
    assert!(browser.get(LIST).body.contains("Done for 1200 users."));
    let off = "SELECT count(*) FROM users WHERE NOT is_active";
    assert_eq!(server.db_number(off), 1_200);
    let noted = "SELECT count(*) FROM events WHERE event = 'user_deactivated' AND reason = 'wave'";
    assert_eq!(server.db_number(noted), 1_200);
    // All staff: the own account is left alone, so somebody remains.
    let staff = [
        ("action", "delete"),
        ("all", "yes"),
        ("is_staff", "true"),
        ("reason", "x"),
    ];
    assert_leads_to(
        &send(&mut browser, BULK, &staff),
        "/console/users/?is_staff=true",
    );
    assert!(
        browser
            .get(LIST)
            .body
            .contains("Done for 1, not possible for 1.")
    );
    assert_eq!(server.get("users/me/", Some(&other.access)).status, 401);
    assert_eq!(server.get("users/me/", Some(&root.access)).status, 200);
}

#[test]
fn csv_has_what_is_filtered_and_no_formula() {
    let server = TestServer::start();
    let (mut browser, root) = staff_browser(&server, "root@example.com");
    let user = server.user("user@example.com");
    server.user("other@example.org");
    let change = json!({
        "first_name": "=HYPERLINK(\"http://evil.example\")", "last_name": "a, \"b\"",
        "phone": "+4915112345678", "address": "@SUM(1)",
    });
    assert_eq!(server.patch(&user.path(), &root, &change).status, 200);
    let answer = send(&mut browser, EXPORT, &[("search", "user@example.com")]);
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/csv; charset=utf-8")
    );
    assert_eq!(
        answer.header("content-disposition"),
        Some("attachment; filename=\"users.csv\"")
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(
        answer.body,
        format!(
            "\u{feff}id,email,new_email,first_name,last_name,phone,address,gender,country,birthday,\
             is_active,is_staff,verified_at,last_login,created_at,updated_at,external_id\r\n\
             {},user@example.com,,\"'=HYPERLINK(\"\"http://evil.example\"\")\",\"a, \"\"b\"\"\",\
             '+4915112345678,'@SUM(1),,,,true,false,2024-12-03T12:00:00Z,2024-12-03T12:00:00Z,\
             2024-12-03T12:00:00Z,2024-12-03T12:00:00Z,\r\n",
            user.id
        )
    );
    let entry =
        "SELECT concat_ws('|', event, actor_id, detail) FROM events ORDER BY id DESC LIMIT 1";
    let expected = format!("users_exported|{}|without password hashes", root.id);
    assert_eq!(server.db_text(entry), expected);
    // Without filters it has all, in the order of their ids; no hash is in it.
    let all = send(&mut browser, EXPORT, &[("ordering", "email")]).body;
    let ids: Vec<_> = all
        .lines()
        .skip(1)
        .map(|row| row.split(',').next().unwrap())
        .collect();
    assert_eq!(ids, ["1", "2", "3"]);
    assert!(!all.contains("bcrypt"), "{all}");
    // It takes a token, staff and a recent password.
    assert_eq!(browser.post(EXPORT, &[]).status, 403);
    server.advance(Duration::from_hours(1));
    assert_eq!(send(&mut browser, EXPORT, &[]).status, 403);
    let mut own = Browser::new(&server);
    own.sign_in("user@example.com");
    let token = own.token("/account/");
    assert_eq!(own.post(EXPORT, &[("form_token", &token)]).status, 403);
    assert_eq!(
        server.db_number("SELECT count(*) FROM events WHERE event = 'users_exported'"),
        2
    );
}

#[test]
fn long_export_arrives_whole() {
    let server = TestServer::start();
    let (mut browser, _) = staff_browser(&server, "root@example.com");
    for number in 0..1_700 {
        server.db_execute(&format!(
            "INSERT INTO users (email, email_key, password_hash, first_name, created_at, updated_at) \
             VALUES ('m{number}@example.org', 'm{number}@example.org', '!', 'Ünï', 0, 0)"
        ));
    }
    let answer = send(
        &mut browser,
        EXPORT,
        &[("search", "uni"), ("is_verified", "false")],
    );
    assert_eq!(answer.body.lines().count(), 1_701);
    assert!(
        answer
            .body
            .lines()
            .all(|line| line.matches(',').count() == 16)
    );
}
