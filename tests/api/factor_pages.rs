//! Second factors on the account pages, as a browser without scripts sends their forms.

use accounts_server::config::FactorRequirement;

use crate::browser::Browser;
use crate::factors::App;
use crate::support::{Answer, PASSWORD, TestServer};

const EMAIL: &str = "user@example.com";

/// The value of a hidden field of a page.
#[track_caller]
fn hidden(page: &Answer, name: &str) -> String {
    let start = format!("name=\"{name}\" value=\"");
    let (_, rest) = page
        .body
        .split_once(&start)
        .unwrap_or_else(|| panic!("no {name} in {}", page.body));
    rest.split('"').next().unwrap().to_owned()
}

/// Fetches a page and sends a form of it.
#[track_caller]
fn send(browser: &mut Browser<'_>, page: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    let page = browser.get(page);
    assert_eq!(page.status, 200, "{}", page.body);
    let token = hidden(&page, "form_token");
    let mut all = vec![("form_token", token.as_str())];
    all.extend_from_slice(fields);
    browser.post(path, &all)
}

#[track_caller]
fn assert_leads_to(answer: &Answer, path: &str) {
    assert_eq!(answer.status, 303, "{}", answer.body);
    assert_eq!(answer.header("location"), Some(path));
}

fn sign_in(browser: &mut Browser<'_>) -> Answer {
    let fields = [
        ("email", EMAIL),
        ("password", PASSWORD),
        ("next", "/account/profile/"),
    ];
    send(browser, "/account/sign-in/", "/account/sign-in/", &fields)
}

/// Enrolls an app on the security page of a browser that is signed in.
#[track_caller]
pub fn enroll(server: &TestServer, browser: &mut Browser<'_>) -> App {
    let page = browser.get("/account/security/totp/");
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(page.body.contains("<svg "), "{}", page.body);
    let (_, secret) = page.body.split_once("class=\"secret\"").unwrap();
    let secret = secret.split(['>', '<']).nth(1).unwrap().replace(' ', "");
    let mut app = App::of(&secret);
    let fields = [
        ("form_token", hidden(&page, "form_token")),
        ("activation_token", hidden(&page, "activation_token")),
    ];
    let mut submit = |code: &str| {
        let own = fields.iter().map(|(name, value)| (*name, value.as_str()));
        let all: Vec<(&str, &str)> = own.chain([("code", code)]).collect();
        browser.post("/account/security/totp/", &all)
    };
    // A wrong code shows the same secret again.
    let wrong = submit(&app.wrong_code(server));
    assert_eq!(wrong.status, 400, "{}", wrong.body);
    assert!(wrong.body.contains("id=\"code-error\""), "{}", wrong.body);
    assert_eq!(hidden(&wrong, "activation_token"), fields[1].1);
    let right = submit(&app.code(server));
    assert_eq!(right.status, 200, "{}", right.body);
    app.recovery_codes = right
        .body
        .split("<code>")
        .skip(1)
        .map(|rest| rest.split('<').next().unwrap().to_owned())
        .collect();
    assert_eq!(app.recovery_codes.len(), 10);
    app
}

#[test]
fn app_is_enrolled_and_asked_for() {
    let server = TestServer::start();
    server.user(EMAIL);
    let mut browser = Browser::new(&server);
    assert_leads_to(&sign_in(&mut browser), "/account/profile/");
    let page = browser.get("/account/security/");
    assert!(
        page.body.contains("/account/security/totp/"),
        "{}",
        page.body
    );
    let app = enroll(&server, &mut browser);
    // This browser stays signed in, and the page tells of the app.
    let page = browser.get("/account/security/");
    assert!(page.body.contains("10 recovery codes"), "{}", page.body);
    // A second enrolment and a reload lead back.
    assert_leads_to(
        &browser.get("/account/security/totp/"),
        "/account/security/",
    );

    let mut other = Browser::new(&server);
    let second = "/account/second-factor/?next=%2Faccount%2Fprofile%2F";
    assert_leads_to(&sign_in(&mut other), second);
    // The password alone opens nothing.
    assert_eq!(other.get("/account/profile/").status, 303);
    let wrong = send(
        &mut other,
        second,
        "/account/second-factor/",
        &[("code", &app.wrong_code(&server))],
    );
    assert_eq!(wrong.status, 400, "{}", wrong.body);
    server.advance_seconds(30);
    let right = send(
        &mut other,
        second,
        "/account/second-factor/",
        &[("code", &app.code(&server)), ("next", "/account/profile/")],
    );
    assert_leads_to(&right, "/account/profile/");
    assert_eq!(other.get("/account/profile/").status, 200);
    // No ticket is left, and the page of the second step is for nobody.
    assert!(
        !other.cookie_header().contains("ticket="),
        "{}",
        other.cookie_header()
    );
    let mut stranger = Browser::new(&server);
    let page = stranger.get("/account/second-factor/");
    assert_leads_to(&page, "/account/sign-in/?next=");
}

#[test]
fn recovery_code_signs_in() {
    let server = TestServer::start();
    server.user(EMAIL);
    let mut browser = Browser::new(&server);
    sign_in(&mut browser);
    let app = enroll(&server, &mut browser);
    let mut other = Browser::new(&server);
    sign_in(&mut other);
    let page = "/account/second-factor/recovery/";
    let wrong = send(
        &mut other,
        page,
        "/account/second-factor/",
        &[("code", "AAAAA-AAAAA"), ("kind", "recovery")],
    );
    assert_eq!(wrong.status, 400, "{}", wrong.body);
    assert!(wrong.body.contains("value=\"recovery\""), "{}", wrong.body);
    let right = send(
        &mut other,
        page,
        "/account/second-factor/",
        &[("code", &app.recovery_codes[0])],
    );
    assert_leads_to(&right, "/account/");
    assert!(
        other
            .get("/account/security/")
            .body
            .contains("9 recovery codes")
    );
}

#[test]
fn expired_ticket_leads_back_to_the_sign_in() {
    let server = TestServer::start();
    server.user(EMAIL);
    let mut browser = Browser::new(&server);
    sign_in(&mut browser);
    let app = enroll(&server, &mut browser);
    let mut other = Browser::new(&server);
    sign_in(&mut other);
    server.advance_seconds(300);
    let late = send(
        &mut other,
        "/account/second-factor/",
        "/account/second-factor/",
        &[("code", &app.code(&server))],
    );
    assert_leads_to(&late, "/account/sign-in/?next=");
    let page = other.get("/account/sign-in/");
    assert!(page.body.contains("took too long"), "{}", page.body);
}

#[test]
fn what_matters_asks_for_the_factor_and_goes_on() {
    let server = TestServer::start();
    server.user(EMAIL);
    let mut browser = Browser::new(&server);
    sign_in(&mut browser);
    let app = enroll(&server, &mut browser);
    server.advance_seconds(601);
    let page = browser.get("/account/security/");
    let token = hidden(&page, "form_token");
    let asked = browser.post(
        "/account/security/recovery-codes/",
        &[("form_token", &token)],
    );
    assert_eq!(asked.status, 403, "{}", asked.body);
    assert!(
        asked.body.contains("name=\"reauthentication_code\""),
        "{}",
        asked.body
    );
    assert!(!asked.body.contains("type=\"password\""), "{}", asked.body);
    let token = hidden(&asked, "form_token");
    let mut prove = |code: &str| {
        let fields = [
            ("form_token", token.as_str()),
            ("reauthentication_code", code),
        ];
        browser.post("/account/security/recovery-codes/", &fields)
    };
    let wrong = prove(&app.wrong_code(&server));
    assert_eq!(wrong.status, 400, "{}", wrong.body);
    server.advance_seconds(30);
    let right = prove(&app.code(&server));
    assert_eq!(right.status, 200, "{}", right.body);
    assert_eq!(right.body.matches("<code>").count(), 10);
}

#[test]
fn app_is_removed_with_a_code() {
    let server = TestServer::start();
    server.user(EMAIL);
    let mut browser = Browser::new(&server);
    sign_in(&mut browser);
    let app = enroll(&server, &mut browser);
    let (page, path) = ("/account/security/", "/account/security/totp/remove/");
    let wrong = send(
        &mut browser,
        page,
        path,
        &[("code", &app.wrong_code(&server))],
    );
    assert_eq!(wrong.status, 400, "{}", wrong.body);
    assert!(wrong.body.contains("id=\"code-error\""), "{}", wrong.body);
    let right = send(
        &mut browser,
        page,
        path,
        &[("code", &app.recovery_codes[0])],
    );
    assert_leads_to(&right, "/account/security/");
    assert!(
        browser
            .get("/account/security/")
            .body
            .contains("was removed")
    );
    let mut other = Browser::new(&server);
    assert_leads_to(&sign_in(&mut other), "/account/profile/");
}

#[test]
fn required_factor_is_set_up_before_anything_else() {
    let server = TestServer::start_with(|config| {
        config.mfa.required_for = FactorRequirement::Everyone;
    });
    server.user(EMAIL);
    let mut browser = Browser::new(&server);
    sign_in(&mut browser);
    for path in [
        "/account/profile/",
        "/account/email/",
        "/account/password/",
        "/account/data/",
        "/account/activity/",
    ] {
        assert_leads_to(&browser.get(path), "/account/security/");
    }
    for path in ["/account/", "/account/sessions/", "/account/security/"] {
        assert_eq!(browser.get(path).status, 200, "{path}");
    }
    assert!(
        browser
            .get("/account/security/")
            .body
            .contains("requires two-factor")
    );
    enroll(&server, &mut browser);
    assert_eq!(browser.get("/account/profile/").status, 200);
}

#[test]
fn console_is_closed_to_staff_without_a_required_factor() {
    let server = TestServer::start_with(|config| {
        config.mfa.required_for = FactorRequirement::Staff;
    });
    server.staff(EMAIL);
    let mut browser = Browser::new(&server);
    sign_in(&mut browser);
    for path in ["/console/", "/console/users/", "/console/keys/"] {
        assert_leads_to(&browser.get(path), "/account/security/");
    }
    enroll(&server, &mut browser);
    assert_eq!(browser.get("/console/users/").status, 200);
}

#[test]
fn staff_sees_and_resets_the_factors_of_somebody() {
    let server = TestServer::start();
    let user = server.user(EMAIL);
    server.staff("root@example.com");
    let mut console = Browser::new(&server);
    console.sign_in("root@example.com");
    let (list, path) = ("/console/users/", format!("/console/users/{}/", user.id));
    let page = console.get(&path);
    assert!(page.body.contains("Not turned on."), "{}", page.body);
    assert!(!page.body.contains("reset_factors"), "{}", page.body);
    assert!(!console.get(list).body.contains("2FA"));

    let mut browser = Browser::new(&server);
    sign_in(&mut browser);
    let app = enroll(&server, &mut browser);
    let page = console.get(&path);
    for shown in ["Authenticator app", "Added on ", "10 recovery codes left"] {
        assert!(page.body.contains(shown), "{shown}: {}", page.body);
    }
    // Neither the secret nor a code is shown.
    assert!(
        app.recovery_codes
            .iter()
            .all(|code| !page.body.contains(code))
    );
    assert!(console.get(list).body.contains("2FA"));

    let action = format!("{path}action/");
    let reset = [("action", "reset_factors"), ("reason", "")];
    let answer = send(&mut console, &path, &action, &reset);
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert!(
        answer.body.contains("id=\"reason-error\""),
        "{}",
        answer.body
    );
    let reset = [("action", "reset_factors"), ("reason", "Lost phone")];
    assert_leads_to(&send(&mut console, &path, &action, &reset), &path);
    assert!(console.get(&path).body.contains("Not turned on."));
    assert_eq!(
        server.db_text("SELECT reason FROM events WHERE event = 'factors_reset'"),
        "Lost phone"
    );
    assert!(server.mails(EMAIL)[0].subject.contains("turned off"));
    // Its sessions have ended, and the password alone signs in again.
    assert_eq!(browser.get("/account/profile/").status, 303);
    assert_leads_to(&sign_in(&mut browser), "/account/profile/");
}

#[test]
fn console_resets_factors_after_recent_authentication_only() {
    let server = TestServer::start();
    let user = server.user(EMAIL);
    server.staff("root@example.com");
    let mut browser = Browser::new(&server);
    sign_in(&mut browser);
    enroll(&server, &mut browser);
    let mut console = Browser::new(&server);
    console.sign_in("root@example.com");
    server.advance_seconds(601);
    let path = format!("/console/users/{}/", user.id);
    let reset = [("action", "reset_factors"), ("reason", "Lost phone")];
    let answer = send(&mut console, &path, &format!("{path}action/"), &reset);
    assert!(
        answer.body.contains("name=\"reauthentication_password\""),
        "{}",
        answer.body
    );
    assert_eq!(server.db_number("SELECT count(*) FROM totp_devices"), 1);
    // No list of accounts offers it for many at once.
    let bulk = format!(
        "/console/users/bulk/?action=reset_factors&user-{}=yes",
        user.id
    );
    assert_leads_to(&console.get(&bulk), "/console/users/");
}
