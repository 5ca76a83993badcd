//! The console over HTTP: who may come in, what changes, and what the audit log says about it.

use std::time::Duration;

use serde_json::json;

use crate::browser::{Browser, assert_leads_to};
use crate::support::{PASSWORD, TestServer, User, at_once};

/// The pages that need no account or object of their own.
const PAGES: &[&str] = &[
    "/console/",
    "/console/invitations/",
    "/console/mails/",
    "/console/events/",
    "/console/clients/",
    "/console/new-client/",
    "/console/webhooks/",
    "/console/webhooks/new/",
    "/console/keys/",
    "/console/backups/",
    "/console/settings/",
    "/console/users/",
    "/console/users/?search=nobody",
    "/console/users/1/",
    "/console/users/1/delete/",
    "/console/users/bulk/?action=delete&user-1=yes",
    "/console/users/new/",
];

/// The forms that change something, with their fields besides the token.
const FORMS: &[(&str, &[(&str, &str)])] = &[
    ("/console/keys/rotate/", &[("reason", "test")]),
    ("/console/backups/", &[("reason", "test")]),
    (
        "/console/new-client/",
        &[
            ("name", "App"),
            ("redirect_uris", "https://app.example.com/cb"),
            ("scopes", "openid"),
            ("id_token_alg", "ES256"),
        ],
    ),
    (
        "/console/webhooks/new/",
        &[("url", "http://127.0.0.1:9/hook"), ("events", "*")],
    ),
];

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
        let next: String = form_urlencoded::byte_serialize(path.as_bytes()).collect();
        let next = format!("/account/sign-in/?next={next}");
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
    let reason = server.db_text(&format!("SELECT reason {entry}"));
    assert_eq!(reason, "<b>leak</b>\u{fffd}\u{fffd}x");
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

/// The fields of the setup form.
fn setup_fields<'a>(token: &'a str, email: &'a str) -> [(&'a str, &'a str); 5] {
    [
        ("form_token", token),
        ("email", email),
        ("password", PASSWORD),
        ("confirm_password", PASSWORD),
        ("first_name", "Ada"),
    ]
}

#[test]
fn setup_link_makes_the_first_administrator() {
    let server = TestServer::start();
    let mut browser = Browser::new(&server);
    // Nobody is staff, so every page of the console says where to look.
    for path in PAGES {
        let page = browser.get(path);
        assert_eq!(page.status, 200);
        assert!(page.body.contains("Open the setup link"), "{}", page.body);
    }
    let path = server.setup_path().unwrap();
    for language in ["en", "de", "es", "fr", "it", "pt-BR"] {
        let page = browser.get(&format!("{path}?lang={language}"));
        assert_eq!(page.status, 200, "{language}: {}", page.body);
    }
    let token = browser.token(&path);
    let answer = browser.post(&path, &setup_fields(&token, "root@example.com"));
    assert_leads_to(&answer, "/console/");
    let page = browser.get("/console/");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("Welcome."), "{}", page.body);
    assert!(page.body.contains("root@example.com"), "{}", page.body);
    let entry = "SELECT count(*) FROM events WHERE event = 'user_created' AND detail = 'staff' \
                 AND ip = '127.0.0.1'";
    assert_eq!(server.db_number(entry), 1);
    assert_eq!(server.sign_in("root@example.com", PASSWORD).status, 200);
    // The link is used up, and another start prints none.
    assert_leads_to(&browser.get(&path), "/console/");
    let mut other = Browser::new(&server);
    assert_leads_to(&other.get(&path), "/console/");
    assert_leads_to(
        &other.get("/console/"),
        "/account/sign-in/?next=%2Fconsole%2F",
    );
    assert_eq!(server.setup_path(), None);
}

#[test]
fn setup_form_follows_the_rules_of_accounts() {
    let server = TestServer::start();
    server.user("alice@example.com");
    server.sign_up("pending@example.com");
    let path = server.setup_path().unwrap();
    let mut browser = Browser::new(&server);
    let token = browser.token(&path);
    for (name, value, complaint) in [
        ("email", "", "Please fill this in"),
        ("email", "alice@example.com", "already an account"),
        ("password", "short", "too short"),
        ("password", "password", "too common"),
        ("confirm_password", "another one", "don&#39;t match"),
        ("first_name", "securepassword123", "too similar"),
        ("first_name", &"x".repeat(10_000), "at most 150"),
    ] {
        let mut fields = setup_fields(&token, "root@example.com");
        for field in fields.iter_mut().filter(|field| field.0 == name) {
            field.1 = value;
        }
        let page = browser.post(&path, &fields);
        assert_eq!(page.status, 400, "{name} {value}");
        assert!(
            page.body.replace("&#x27;", "&#39;").contains(complaint),
            "{name} {value}: {}",
            page.body
        );
        assert!(!page.body.contains(PASSWORD) || value == PASSWORD, "{name}");
    }
    let forged = browser.post(&path, &setup_fields("A", "root@example.com"));
    assert_eq!(forged.status, 403);
    // A sign-up that is only pending gives way.
    let answer = browser.post(&path, &setup_fields(&token, "pending@example.com"));
    assert_leads_to(&answer, "/console/");
    assert_eq!(server.sign_in("pending@example.com", PASSWORD).status, 200);
}

#[test]
fn setup_link_dies_with_time_restart_and_any_staff_account() {
    let mut server = TestServer::start();
    let first = server.setup_path().unwrap();
    let second = server.setup_path().unwrap();
    let mut browser = Browser::new(&server);
    let page = browser.get(&first);
    assert_eq!(page.status, 404, "another start replaces the link");
    assert!(page.body.contains("no longer works"), "{}", page.body);
    assert_eq!(browser.get(&second).status, 200);
    let token = browser.token(&second);
    server.advance(Duration::from_hours(1));
    assert_eq!(browser.get(&second).status, 404);
    let page = browser.post(&second, &setup_fields(&token, "root@example.com"));
    assert_eq!(page.status, 404);
    assert_eq!(server.db_number("SELECT count(*) FROM users"), 0);
    // A staff account of any origin ends it for good, even if it is demoted again.
    let third = server.setup_path().unwrap();
    server.staff("root@example.com");
    assert_eq!(server.db_number("SELECT count(*) FROM setup_links"), 0);
    server.db_execute("UPDATE users SET is_staff = FALSE");
    assert_eq!(Browser::new(&server).get(&third).status, 404);
    let fourth = server.setup_path().unwrap();
    server.db_execute("UPDATE users SET is_staff = TRUE");
    assert_eq!(server.db_number("SELECT count(*) FROM setup_links"), 0);
    server.restart();
    assert_leads_to(&Browser::new(&server).get(&fourth), "/console/");
}

#[test]
fn of_two_that_use_the_setup_link_one_wins() {
    let server = TestServer::start();
    let path = server.setup_path().unwrap();
    let answers = at_once(4, |number| {
        let mut browser = Browser::new(&server);
        let token = browser.token(&path);
        let email = format!("root{number}@example.com");
        browser
            .post(&path, &setup_fields(&token, &email))
            .header("set-cookie")
            .is_some()
    });
    assert_eq!(answers.iter().filter(|won| **won).count(), 1, "{answers:?}");
    assert_eq!(server.db_number("SELECT count(*) FROM users"), 1);
}

#[test]
fn servers_without_a_usable_console_print_no_setup_link() {
    for change in [
        |config: &mut accounts_server::config::Config| config.console.enabled = false,
        |config: &mut accounts_server::config::Config| config.pages.enabled = false,
        |config: &mut accounts_server::config::Config| {
            config.server.public_url = Some("http://accounts.example.com".parse().unwrap());
        },
    ] {
        assert_eq!(TestServer::start_with(change).setup_path(), None);
    }
}

#[test]
fn overview_counts_accounts_and_what_happened_by_day() {
    staff_browser!(server, root, browser);
    let alice = server.user("alice@example.com");
    server.sign_up("pending@example.com");
    server.patch(&alice.path(), &root, &json!({"is_active": false}));
    for _ in 0..3 {
        server.sign_in("alice@example.com", "wrong password");
    }
    server.sign_in("nobody@example.com", "wrong password");
    let page = browser.get("/console/").body;
    let tiles: Vec<&str> = page
        .split("<strong class=\"number\">")
        .skip(1)
        .map(|rest| rest.split('<').next().unwrap())
        .collect();
    // Accounts, confirmed, deactivated, mails; sign-ups, sign-ins (one for the token), failures.
    assert_eq!(tiles[..3], ["3", "2", "1"], "{page}");
    assert_eq!(tiles[4..], ["2", "2", "4"], "{page}");
    assert!(page.contains("<title>2024-12-03: 2</title>"), "{page}");
    assert!(
        page.contains("<td>2024-12-03</td><td>2</td><td>1</td>"),
        "{page}"
    );
    assert!(page.contains("No backups are configured"), "{page}");
    assert!(
        page.contains("nothing slows down password guessing"),
        "{page}"
    );
    // Another day has its own numbers, and after 30 days they are no longer shown.
    server.advance(Duration::from_hours(24));
    browser.cookies.clear();
    browser.sign_in("root@example.com");
    let page = browser.get("/console/").body;
    assert!(page.contains("<td>2024-12-04</td><td>1</td>"), "{page}");
    server.advance(Duration::from_hours(30 * 24));
    browser.cookies.clear();
    browser.sign_in("root@example.com");
    let page = browser.get("/console/").body;
    assert!(!page.contains("2024-12-03"), "{page}");
}

#[test]
fn backups_are_made_on_request_and_not_downloaded() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start_with(|config| {
        config.backup.dir = Some(folder.path().join("backups"));
        // The first one is made at the start; the next would be a year later.
        config.backup.every = "365d".parse().unwrap();
    });
    server.staff("root@example.com");
    server.wait_for_metric(
        "accounts_backup_last_success_timestamp_seconds",
        1_733_227_200,
    );
    let mut browser = Browser::new(&server);
    browser.sign_in("root@example.com");
    server.advance_seconds(60);
    let token = browser.token("/console/backups/");
    let answer = browser.post("/console/backups/", &[("form_token", &token)]);
    assert_eq!(answer.status, 400, "a reason is needed");
    let fields = [
        ("form_token", token.as_str()),
        ("reason", "before the move"),
    ];
    assert_leads_to(
        &browser.post("/console/backups/", &fields),
        "/console/backups/",
    );
    let page = browser.get("/console/backups/").body;
    assert!(page.contains("has been made and verified"), "{page}");
    for name in [
        "users.db-20241203T120000Z.tar",
        "users.db-20241203T120100Z.tar",
    ] {
        assert!(page.contains(name), "{page}");
        assert!(!page.contains(&format!("{name}\"")), "no link: {page}");
    }
    let entry = server
        .db_text("SELECT concat(detail, ': ', reason) FROM events WHERE event = 'backup_started'");
    assert!(entry.ends_with("backups: before the move"), "{entry}");
    // A folder that cannot be written is reported, and the reason is not lost.
    std::fs::remove_dir_all(folder.path().join("backups")).unwrap();
    std::fs::write(folder.path().join("backups"), "").unwrap();
    let page = browser.post("/console/backups/", &fields);
    assert_eq!(page.status, 503, "{}", page.body);
    assert!(page.body.contains("The backup failed: "), "{}", page.body);
    assert!(page.body.contains("before the move"), "{}", page.body);
}

#[test]
fn settings_are_shown_with_their_source_and_without_secrets() {
    let server = TestServer::start_with(|config| {
        config.mail.smtp_password = accounts_server::config::Secret::new("hunter2".to_owned());
    });
    server.staff("root@example.com");
    let mut browser = Browser::new(&server);
    browser.sign_in("root@example.com");
    let page = browser.get("/console/settings/").body;
    assert!(page.contains("<code>smtp_password</code>"), "{page}");
    assert!(!page.contains("hunter2"), "{page}");
    assert!(page.contains("set, not shown"), "{page}");
    assert!(page.contains("The server runs with --dev"), "{page}");
}
