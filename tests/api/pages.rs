//! The account pages without a browser: cookies, where forms come from, what leads where.

use std::time::Duration;

use serde_json::json;

use crate::contract::NOT_FOUND;
use crate::support::{Answer, PASSWORD, TestServer};

/// A browser, as far as these tests need one: it keeps cookies and says where forms come from.
struct Browser<'a> {
    server: &'a TestServer,
    cookies: Vec<(String, String)>,
}

impl<'a> Browser<'a> {
    fn new(server: &'a TestServer) -> Self {
        Self {
            server,
            cookies: Vec::new(),
        }
    }

    fn cookie_header(&self) -> String {
        let pairs = self.cookies.iter();
        let pairs: Vec<_> = pairs
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join("; ")
    }

    fn keep_cookies(&mut self, answer: &Answer) {
        for set in answer.headers("set-cookie") {
            let pair = set.split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            if !set.contains("Max-Age=0") {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    fn get(&mut self, path: &str) -> Answer {
        let cookies = self.cookie_header();
        let answer = self.server.request(
            "GET",
            path,
            &[("cookie", &cookies), ("accept", "text/html")],
            "",
        );
        self.keep_cookies(&answer);
        answer
    }

    /// Sends a form as a browser that was on a page of ours.
    fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.post_with(path, &[("sec-fetch-site", "same-origin")], fields)
    }

    fn post_with(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        fields: &[(&str, &str)],
    ) -> Answer {
        let body: String = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let cookies = self.cookie_header();
        let mut all = vec![
            ("cookie", cookies.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        all.extend_from_slice(headers);
        let answer = self.server.request("POST", path, &all, &body);
        self.keep_cookies(&answer);
        answer
    }

    /// The token in the forms of a page.
    fn token(&mut self, path: &str) -> String {
        let page = self.get(path);
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        let start = page.body.find("name=\"form_token\" value=\"").unwrap() + 25;
        let end = page.body[start..].find('"').unwrap();
        page.body[start - 1..start + end]
            .trim_matches('"')
            .to_owned()
    }

    fn sign_in(&mut self, email: &str) -> Answer {
        let token = self.token("/account/sign-in/");
        self.post(
            "/account/sign-in/",
            &[
                ("form_token", &token),
                ("email", email),
                ("password", PASSWORD),
            ],
        )
    }

    fn secret(&self) -> &str {
        let session = self.cookies.iter().find(|(name, _)| name == "session");
        &session.expect("signed in").1
    }
}

#[track_caller]
fn assert_leads_to(answer: &Answer, path: &str) {
    assert_eq!(answer.status, 303, "{}", answer.body);
    assert_eq!(answer.header("location"), Some(path));
}

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
    assert_leads_to(
        &browser.post(
            "/account/delete/",
            &[("form_token", &token), ("password", PASSWORD)],
        ),
        asked,
    );
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
    let server = TestServer::start();
    assert_leads_to(&Browser::new(&server).get("/"), "/account/");
    server.request("GET", "/", &[], "").assert(404, NOT_FOUND);
}
