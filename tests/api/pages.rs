//! The account pages without a browser: cookies, where forms come from, what leads where.

use std::time::Duration;

use serde_json::json;

use crate::browser::{Browser, assert_leads_to};
use crate::contract::NOT_FOUND;
use crate::support::{PASSWORD, TestServer};

#[test]
fn cookie_of_a_sign_in_is_not_taken_by_the_api() {
    let server = TestServer::start();
    let alice = server.user("alice@example.com");
    let mut browser = Browser::new(&server);
    assert_leads_to(
        &browser.get("/account/profile/"),
        "/account/sign-in/?next=%2Faccount%2Fprofile%2F",
    );
    let answer = browser.sign_in("alice@example.com");
    assert_leads_to(&answer, "/account/");
    let set = answer.headers("set-cookie").join("\n");
    assert!(set.contains("HttpOnly; SameSite=Lax"), "{set}");
    assert_eq!(browser.secret().len(), 43, "256 random bits");
    assert_eq!(browser.get("/account/profile/").status, 200);
    // The API takes neither the cookie nor its value as a token.
    let cookies = browser.cookie_header();
    let me = "/api/v1/accounts/users/me/";
    let answer = server.request("GET", me, &[("cookie", &cookies)], "");
    assert_eq!(answer.status, 401);
    let bearer = format!("Bearer {}", browser.secret());
    assert_eq!(
        server
            .request("GET", me, &[("authorization", &bearer)], "")
            .status,
        401
    );
    // Only a hash of it is stored.
    let secret = browser.secret().to_owned();
    let stored = server.db_number("SELECT count(*) FROM sessions WHERE length(secret_hash) = 32");
    assert_eq!(stored, 1);
    let plain =
        format!("SELECT count(*) FROM sessions WHERE id = '{secret}' OR secret_hash = '{secret}'");
    assert_eq!(server.db_number(&plain), 0);
    // One list for both kinds of sessions.
    let sessions = server.get("sessions/", Some(&alice.access)).json();
    assert_eq!(sessions.as_array().unwrap().len(), 2);
}

#[test]
fn forms_from_elsewhere_are_refused_and_change_nothing() {
    let server = TestServer::start();
    server.user("alice@example.com");
    let mut browser = Browser::new(&server);
    let token = browser.token("/account/sign-in/");
    let own = server.public_url();
    let fields: &[(&str, &str)] = &[
        ("form_token", &token),
        ("email", "alice@example.com"),
        ("password", PASSWORD),
    ];
    let forged = "A".repeat(43);
    for (headers, fields) in [
        (&[("sec-fetch-site", "cross-site")][..], fields),
        (&[("sec-fetch-site", "same-site")], fields),
        (&[("sec-fetch-site", "none")], fields),
        (&[("origin", "https://evil.example")], fields),
        (&[("origin", "null")], fields),
        (&[], fields),
        (&[("sec-fetch-site", "same-origin")], &fields[1..]),
        (
            &[("sec-fetch-site", "same-origin")],
            &[
                ("form_token", &forged),
                ("email", "alice@example.com"),
                ("password", PASSWORD),
            ],
        ),
    ] {
        let answer = browser.post_with("/account/sign-in/", headers, fields);
        assert_eq!(answer.status, 403, "{headers:?}");
        assert!(
            answer.body.contains("Nothing was changed"),
            "{}",
            answer.body
        );
        assert!(answer.body.contains("Back to sign in"), "a way on");
    }
    // A token is worth something in the browser that got it alone.
    let mut other = Browser::new(&server);
    other.token("/account/sign-in/");
    assert_eq!(other.post("/account/sign-in/", fields).status, 403);
    // Browsers without Fetch Metadata name an origin.
    let answer = browser.post_with("/account/sign-in/", &[("origin", &own)], fields);
    assert_leads_to(&answer, "/account/");
}

#[test]
fn next_leads_to_own_pages_only() {
    let server = TestServer::start();
    server.user("alice@example.com");
    for (next, path) in [
        ("/account/email/", "/account/email/"),
        ("//evil.example/", "/account/"),
        ("https://evil.example/account/", "/account/"),
        ("/\\evil.example", "/account/"),
        ("/account/\u{9}/evil", "/account/"),
        ("javascript:alert(1)", "/account/"),
    ] {
        let mut browser = Browser::new(&server);
        let token = browser.token("/account/sign-in/");
        let answer = browser.post(
            "/account/sign-in/",
            &[
                ("form_token", &token),
                ("next", next),
                ("email", "alice@example.com"),
                ("password", PASSWORD),
            ],
        );
        assert_leads_to(&answer, path);
    }
}

#[test]
fn next_survives_sign_up_and_a_forgotten_password() {
    const NEXT: &str = "/o/authorize/?client_id=a&state=b";
    const QUERY: &str = "next=%2Fo%2Fauthorize%2F%3Fclient_id%3Da%26state%3Db";
    let server = TestServer::start();
    let mut browser = Browser::new(&server);
    let (email, password) = ("alice@example.com", "a different long password");
    let address = "email=alice%40example.com";

    let page = format!("/account/sign-up/?{QUERY}");
    let token = browser.token(&page);
    let mut form = vec![("form_token", &*token), ("next", NEXT), ("email", email)];
    form.push(("password", PASSWORD));
    let answer = browser.post("/account/sign-up/", &form);
    assert_leads_to(&answer, &format!("/account/confirm/?{address}&{QUERY}"));
    let answer = browser.post("/account/confirm/resend/", &form[..3]);
    assert_leads_to(&answer, &format!("/account/confirm/?{address}&{QUERY}"));
    let answer = browser.post("/account/sign-in/", &form);
    assert_leads_to(&answer, &format!("/account/confirm/?{address}&{QUERY}"));
    let otp = server.otp(email);
    form[3] = ("otp", &otp);
    assert_leads_to(&browser.post("/account/confirm/", &form), NEXT);

    let mut browser = Browser::new(&server);
    let token = browser.token(&format!("/account/reset/?{QUERY}"));
    let mut form = vec![("form_token", &*token), ("next", NEXT), ("email", email)];
    let answer = browser.post("/account/reset/", &form);
    assert_leads_to(
        &answer,
        &format!("/account/reset/confirm/?{address}&{QUERY}"),
    );
    let otp = server.otp(email);
    form.extend([("otp", &*otp), ("password", password)]);
    let answer = browser.post("/account/reset/confirm/", &form);
    assert_leads_to(&answer, &format!("/account/sign-in/?{QUERY}"));
    form.retain(|(name, _)| *name != "otp");
    assert_leads_to(&browser.post("/account/sign-in/", &form), NEXT);
}

#[test]
fn session_ends_everywhere_at_the_next_click() {
    let server = TestServer::start();
    let alice = server.user("alice@example.com");
    let mut browser = Browser::new(&server);
    browser.sign_in("alice@example.com");
    assert_eq!(browser.get("/account/").status, 200);
    let token = browser.token("/account/");
    let secret = browser.cookies.clone();
    assert_leads_to(
        &browser.post("/account/sign-out/", &[("form_token", &token)]),
        "/account/sign-in/",
    );
    browser.cookies = secret;
    assert_eq!(
        browser.get("/account/").status,
        303,
        "the cookie of before is dead"
    );
    browser.cookies.clear();
    browser.sign_in("alice@example.com");
    server.api("DELETE", "sessions/", Some(&alice.access), &json!({}));
    assert_eq!(browser.get("/account/").status, 303);
    browser.cookies.clear();
    browser.sign_in("alice@example.com");
    let staff = server.staff("root@example.com");
    server.patch(
        &format!("users/{}/", alice.id),
        &staff,
        &json!({"is_active": false}),
    );
    assert_eq!(browser.get("/account/").status, 303);
}

#[test]
fn sensitive_pages_want_the_password_after_ten_minutes() {
    let server = TestServer::start();
    server.user("alice@example.com");
    let mut browser = Browser::new(&server);
    browser.sign_in("alice@example.com");
    for path in ["/account/email/", "/account/password/", "/account/delete/"] {
        assert_eq!(browser.get(path).status, 200, "{path}");
    }
    server.advance(Duration::from_secs(601));
    let asked = "/account/reauthenticate/?next=%2Faccount%2Fdelete%2F";
    assert_leads_to(&browser.get("/account/delete/"), asked);
    let token = browser.token(asked);
    let before = browser.secret().to_owned();
    let answer = browser.post(
        "/account/reauthenticate/",
        &[
            ("form_token", &token),
            ("next", "/account/delete/"),
            ("password", PASSWORD),
        ],
    );
    assert_leads_to(&answer, "/account/delete/");
    assert_ne!(browser.secret(), before, "a new secret");
    assert_eq!(browser.get("/account/delete/").status, 200);
    let new = browser.cookies.clone();
    browser.cookies = vec![("session".into(), before)];
    assert_eq!(
        browser.get("/account/").status,
        303,
        "the old secret is dead"
    );
    browser.cookies = new;
    assert_eq!(browser.get("/account/").status, 200);
}

#[test]
fn suspended_change_continues_with_what_was_typed() {
    let server = TestServer::start();
    server.user("alice@example.com");
    let mut browser = Browser::new(&server);
    browser.sign_in("alice@example.com");
    let token = browser.token("/account/email/");
    server.advance(Duration::from_secs(601));
    let typed = [
        ("form_token", token.as_str()),
        ("email", "new&\"<b>@example.com"),
    ];
    let page = browser.post("/account/email/", &typed);
    assert_eq!(page.status, 403);
    assert!(
        page.body.contains("enter your password again"),
        "{}",
        page.body
    );
    let carried = page.hidden("email").unwrap();
    assert_eq!(carried, "new&amp;&quot;&lt;b&gt;@example.com");
    assert_eq!(page.header("location"), None);
    // A wrong password asks again, and keeps what was typed.
    let wrong = [
        typed[0],
        typed[1],
        ("reauthentication_password", "wrong password"),
    ];
    let page = browser.post("/account/email/", &wrong);
    assert_eq!(page.status, 400);
    assert!(
        page.body.contains("The password is incorrect"),
        "{}",
        page.body
    );
    assert_eq!(page.hidden("email").unwrap(), carried);
    assert!(!page.body.contains("wrong password"), "{}", page.body);
    // The change is refused for what was typed, by a browser that is signed in for good.
    let right = [typed[0], typed[1], ("reauthentication_password", PASSWORD)];
    let before = browser.secret().to_owned();
    let page = browser.post("/account/email/", &right);
    assert_eq!(page.status, 400);
    assert!(
        page.body.contains("Enter a valid email address"),
        "{}",
        page.body
    );
    assert_ne!(browser.secret(), before, "a new secret");
    assert_eq!(browser.get("/account/email/").status, 200);
    // The form of before is still good, as are those of other tabs.
    let answer = browser.post("/account/email/", &[typed[0], ("email", "new@example.com")]);
    assert_leads_to(&answer, "/account/email/");
    assert!(
        browser
            .get("/account/email/")
            .body
            .contains("new@example.com")
    );
}

#[test]
fn re_authentication_carries_no_passwords() {
    let server = TestServer::start();
    server.user("alice@example.com");
    let mut browser = Browser::new(&server);
    browser.sign_in("alice@example.com");
    let token = browser.token("/account/password/");
    server.advance(Duration::from_secs(601));
    let fields = [
        ("form_token", token.as_str()),
        ("current_password", PASSWORD),
        ("password", "another fine password"),
    ];
    let page = browser.post("/account/password/", &fields);
    assert_eq!(page.status, 403);
    assert!(!page.body.contains(PASSWORD), "{}", page.body);
    assert!(
        !page.body.contains("another fine password"),
        "{}",
        page.body
    );
    assert_eq!(page.hidden("reauthentication_incomplete").unwrap(), "yes");
    // So the form comes once more, without complaints.
    let page = browser.post(
        "/account/password/",
        &[
            fields[0],
            ("reauthentication_incomplete", "yes"),
            ("reauthentication_password", PASSWORD),
        ],
    );
    assert_eq!(page.status, 200);
    assert!(
        page.body.contains("name=\"current_password\""),
        "{}",
        page.body
    );
    assert!(!page.body.contains("id=\"problems\""), "{}", page.body);
    let answer = browser.post("/account/password/", &fields);
    assert_leads_to(&answer, "/account/password/");
}

#[test]
fn re_authentication_does_not_end_the_session_when_the_change_fails() {
    let server = TestServer::start();
    let root = server.staff("root@example.com");
    let mut browser = Browser::new(&server);
    browser.sign_in("root@example.com");
    let token = browser.token("/account/delete/");
    server.advance(Duration::from_secs(601));
    // Another tab has authenticated again meanwhile; this form stays good.
    let mut other = Browser::new(&server);
    other.cookies = browser.cookies.clone();
    let asked = other.token("/account/reauthenticate/");
    other.post(
        "/account/reauthenticate/",
        &[("form_token", &asked), ("password", PASSWORD)],
    );
    browser.cookies = other.cookies.clone();
    let page = browser.post(
        "/account/delete/",
        &[("form_token", &token), ("password", PASSWORD)],
    );
    assert_eq!(page.status, 400);
    assert!(
        page.body.contains("last active staff account"),
        "{}",
        page.body
    );
    // An answer that is not a page of the account hands the new secret over too.
    server.advance(Duration::from_secs(601));
    let token = browser.token("/account/data/");
    let fields = [
        ("form_token", token.as_str()),
        ("reauthentication_password", PASSWORD),
    ];
    let answer = browser.post("/account/data/download/", &fields);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["profile"]["id"], json!(root.id));
    assert_eq!(browser.get("/account/").status, 200);
}

#[test]
fn paths_of_forms_lead_back_to_their_page() {
    let server = TestServer::start();
    server.user("alice@example.com");
    let mut browser = Browser::new(&server);
    assert_leads_to(
        &browser.post("/account/profile/photo/remove/", &[]),
        "/account/sign-in/?next=%2Faccount%2Fprofile%2F",
    );
    browser.sign_in("alice@example.com");
    // A form without its token has a page with a way back that exists.
    let page = browser.post("/account/profile/photo/remove/", &[]);
    assert_eq!(page.status, 403);
    assert!(
        page.body.contains("href=\"/account/profile/\""),
        "{}",
        page.body
    );
    // What browsers ask for where nothing is, is answered by a page.
    for (path, status) in [("/account/nothing/here/", 404), ("/account/sign-out/", 405)] {
        let page = browser.get(path);
        assert_eq!(page.status, status, "{path}");
        assert!(page.body.starts_with("<!doctype html>"), "{}", page.body);
    }
}

#[test]
fn every_page_renders_in_every_language() {
    let server = TestServer::start();
    server.user("alice@example.com");
    let mut browser = Browser::new(&server);
    let open = [
        "/account/sign-in/",
        "/account/sign-up/",
        "/account/confirm/",
        "/account/confirm/?email=a@b.example",
        "/account/confirm/?token=x",
        "/account/reset/",
        "/account/reset/confirm/?email=a@b.example",
        "/account/reset/confirm/?token=x",
        "/account/language/",
    ];
    let own = [
        "/account/",
        "/account/profile/",
        "/account/email/",
        "/account/password/",
        "/account/sessions/",
        "/account/activity/",
        "/account/data/",
        "/account/delete/",
        "/account/reauthenticate/",
    ];
    let check = |browser: &mut Browser<'_>, path: &str| {
        for language in ["en", "de", "es", "fr", "it", "pt-BR"] {
            let separator = if path.contains('?') { '&' } else { '?' };
            let page = browser.get(&format!("{path}{separator}lang={language}"));
            assert_eq!(page.status, 200, "{path} in {language}: {}", page.body);
            assert!(
                page.body.contains(&format!("<html lang=\"{language}\"")),
                "{path}"
            );
            assert!(
                page.body.len() < 24_000,
                "{path}: {} bytes",
                page.body.len()
            );
            let policy = page.header("content-security-policy").unwrap();
            assert!(policy.starts_with("default-src 'none';"), "{policy}");
            assert!(!policy.contains("unsafe"), "{policy}");
            assert_eq!(page.header("cache-control"), Some("no-store"));
        }
    };
    for path in open {
        check(&mut browser, path);
    }
    browser.sign_in("alice@example.com");
    for path in own {
        check(&mut browser, path);
    }
}

#[test]
fn link_of_an_invitation_leads_to_an_account() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    let body = json!({"email": "ann@example.com", "language": "fr"});
    let answer = server.api("POST", "invitations/", Some(&staff.access), &body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    let link = server.mails("ann@example.com")[0].link.clone().unwrap();
    let path = link.strip_prefix(&server.public_url()).unwrap();
    let token = path.split_once("token=").unwrap().1;
    let mut browser = Browser::new(&server);
    // Scanners of mails open links, and use nothing up.
    for language in ["en", "de", "es", "fr", "it", "pt-BR"] {
        let page = browser.get(&format!("{path}&lang={language}"));
        assert_eq!(page.status, 200, "{}", page.body);
        assert!(page.body.contains("ann@example.com"), "{}", page.body);
        assert!(page.body.contains(&format!("<html lang=\"{language}\"")));
    }
    let form_token = browser.token(path);
    let send = |browser: &mut Browser<'_>, password: &str| {
        browser.post(
            "/account/invitation/",
            &[
                ("form_token", &form_token),
                ("token", token),
                ("password", password),
                ("first_name", "<Ann>"),
            ],
        )
    };
    // What was typed stays, except the password.
    let page = send(&mut browser, "short");
    assert_eq!(page.status, 400);
    assert!(page.body.contains("value=\"&lt;Ann&gt;\""), "{}", page.body);
    assert!(!page.body.contains("value=\"short\""), "{}", page.body);
    assert_leads_to(&send(&mut browser, PASSWORD), "/account/");
    let home = browser.get("/account/?lang=en");
    assert!(
        home.body.contains("Welcome. Your account is ready."),
        "{}",
        home.body
    );
    assert!(home.body.contains("ann@example.com"), "{}", home.body);
    // The link is used up.
    let page = Browser::new(&server).get(path);
    assert_eq!(page.status, 404);
    assert!(page.body.contains("no longer works"), "{}", page.body);
    let page = Browser::new(&server).get("/account/invitation/");
    assert_eq!(page.status, 404);
}

#[test]
fn markup_of_users_stays_text() {
    let server = TestServer::start();
    let alice = server.user("alice@example.com");
    let evil = "<script>alert(1)</script>\"'&";
    server.patch(
        "users/me/",
        &alice,
        &json!({"first_name": evil, "address": evil}),
    );
    let mut browser = Browser::new(&server);
    let token = browser.token("/account/sign-in/");
    let answer = browser.post_with(
        "/account/sign-in/",
        &[("sec-fetch-site", "same-origin"), ("user-agent", evil)],
        &[
            ("form_token", &token),
            ("email", "alice@example.com"),
            ("password", PASSWORD),
        ],
    );
    assert_leads_to(&answer, "/account/");
    for path in [
        "/account/",
        "/account/profile/",
        "/account/sessions/",
        "/account/activity/",
    ] {
        let page = browser.get(path);
        assert_eq!(page.status, 200);
        assert!(!page.body.contains("<script>"), "{path}: {}", page.body);
        assert!(!page.body.contains("\"'&"), "{path}: {}", page.body);
    }
    let token = browser.token("/account/profile/");
    let page = browser.post(
        "/account/profile/",
        &[
            ("form_token", &token),
            ("first_name", &"x".repeat(10_000)),
            ("phone", evil),
        ],
    );
    assert_eq!(page.status, 400);
    assert!(
        page.body.contains("at most 150 characters"),
        "{}",
        page.body
    );
    assert!(!page.body.contains("<script>"), "{}", page.body);
}

#[test]
fn plain_http_beyond_loopback_has_no_pages() {
    let server = TestServer::start_with(|config| {
        config.server.public_url = Some("http://accounts.example.com".parse().unwrap());
    });
    let page = Browser::new(&server).get("/account/sign-in/");
    assert_eq!(page.status, 403);
    assert!(page.body.contains("need https"), "{}", page.body);
    assert_eq!(page.header("set-cookie"), None);
}

#[test]
fn cookies_are_bound_to_the_host_under_https() {
    let server = TestServer::start_with(|config| {
        config.server.public_url = Some("https://accounts.example.com".parse().unwrap());
    });
    let page = Browser::new(&server).get("/account/sign-in/");
    let set = page.header("set-cookie").unwrap();
    assert!(set.starts_with("__Host-form="), "{set}");
    assert!(set.ends_with("; Secure"), "{set}");
}

#[test]
fn disabled_pages_do_not_exist() {
    let server = TestServer::start_with(|config| config.pages.enabled = false);
    for path in ["/", "/account/", "/account/sign-in/"] {
        Browser::new(&server).get(path).assert(404, NOT_FOUND);
    }
    let server = TestServer::start_with(|config| config.console.enabled = false);
    assert_leads_to(&Browser::new(&server).get("/"), "/account/");
    let server = TestServer::start();
    assert_leads_to(&Browser::new(&server).get("/"), "/console/");
    server.user("alice@example.com");
    assert_leads_to(&Browser::new(&server).get("/"), "/account/");
    server.request("GET", "/", &[], "").assert(404, NOT_FOUND);
}

#[test]
fn actions_on_pages_count_as_those_of_the_api() {
    let server = TestServer::start();
    server.user("alice@example.com");
    server.sign_up("pending@example.com");
    let mut browser = Browser::new(&server);
    let token = browser.token("/account/sign-in/");
    for (email, password, outcome) in [
        ("alice@example.com", "wrong password", "wrong_password"),
        ("pending@example.com", PASSWORD, "not_verified"),
        ("alice@example.com", "", "invalid"),
        ("alice@example.com", PASSWORD, "done"),
    ] {
        let series = format!("accounts_actions_total{{action=\"sign_in\",outcome=\"{outcome}\"}}");
        let before = server.metric(&series);
        let fields = [
            ("form_token", token.as_str()),
            ("email", email),
            ("password", password),
        ];
        browser.post("/account/sign-in/", &fields);
        assert_eq!(server.metric(&series), before + 1, "{outcome}");
    }
    let deletions = "accounts_actions_total{action=\"deletion\",outcome=\"wrong_password\"}";
    let token = browser.token("/account/delete/");
    let fields = [
        ("form_token", token.as_str()),
        ("password", "wrong password"),
    ];
    assert_eq!(browser.post("/account/delete/", &fields).status, 400);
    assert_eq!(server.metric(deletions), 1);
    browser.cookies.clear();
    browser.post("/account/delete/", &fields);
    let ended = "accounts_actions_total{action=\"deletion\",outcome=\"bad_token\"}";
    assert_eq!(server.metric(ended), 1);
}

#[test]
fn pages_can_be_read_while_the_database_cannot_be_written() {
    let server = TestServer::start_with(|config| config.database.busy_timeout_ms = 50);
    server.user("alice@example.com");
    let mut browser = Browser::new(&server);
    browser.sign_in("alice@example.com");
    let token = browser.token("/account/profile/");
    // Long enough that the session's last use would be noted.
    server.advance(Duration::from_mins(6));
    let locked = server.db_lock();
    assert_eq!(browser.get("/account/profile/").status, 200);
    let fields = [("form_token", token.as_str()), ("first_name", "Ada")];
    let page = browser.post("/account/profile/", &fields);
    assert_eq!(page.status, 503);
    assert!(page.header("retry-after").is_some());
    assert!(page.body.contains("be right back"), "{}", page.body);
    drop(locked);
    assert_leads_to(
        &browser.post("/account/profile/", &fields),
        "/account/profile/",
    );
}

#[test]
fn suspended_change_of_an_account_without_a_password_waits_for_a_code() {
    let server = TestServer::start();
    server.user("alice@example.com");
    let mut browser = Browser::new(&server);
    browser.sign_in("alice@example.com");
    let token = browser.token("/account/email/");
    server.db_execute("UPDATE users SET password_hash = '!'");
    server.advance(Duration::from_mins(11));
    let typed = [("form_token", token.as_str()), ("email", "new@example.com")];
    let page = browser.post("/account/email/", &typed);
    assert_eq!(page.status, 403);
    assert!(
        page.body.contains("name=\"reauthentication_send\""),
        "{}",
        page.body
    );
    assert_eq!(page.hidden("email"), Some("new@example.com"));
    let page = browser.post(
        "/account/email/",
        &[typed[0], typed[1], ("reauthentication_send", "yes")],
    );
    assert_eq!(page.status, 403);
    assert!(
        page.body.contains("id=\"reauthentication_otp\""),
        "{}",
        page.body
    );
    assert_eq!(page.hidden("email"), Some("new@example.com"));
    let code = server.otp("alice@example.com");
    let wrong = if code == "000000" { "000001" } else { "000000" };
    for (code, status) in [(wrong, 400), (&*code, 303)] {
        let answer = browser.post(
            "/account/email/",
            &[typed[0], typed[1], ("reauthentication_otp", code)],
        );
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    assert!(
        browser
            .get("/account/email/")
            .body
            .contains("new@example.com")
    );
}
