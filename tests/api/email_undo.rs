//! `email/undo/<token>/`: the link that gives an account back after a change of its address.

use std::time::Duration;

use serde_json::json;

use crate::contract::{EMAIL_TAKEN, EMAIL_VERIFIED, INVALID_OTP, UNKNOWN_CREDENTIALS};
use crate::support::{Answer, PASSWORD, TestServer, User};

const DAY: u64 = 24 * 60 * 60;
const UNDONE: &str = r#"{"msg":"Email change undone."}"#;
const DEAD_LINK: &str = r#"{"detail":"Invalid or expired link."}"#;
const BASE: &str = "http://localhost:8000";

/// Changes the address of an account. Returns the path of the link in the notice.
#[track_caller]
fn change(server: &TestServer, user: &User, confirmed: &str, email: &str) -> String {
    let before = notices(server, confirmed);
    let answer = server.patch("users/me/", user, &json!({"email": email}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(notices(server, confirmed), before + 1);
    newest_link(server, confirmed)
}

/// The path of the link in the newest mail to an address.
#[track_caller]
fn newest_link(server: &TestServer, to: &str) -> String {
    let mails = server.mails(to);
    let mut links = mails.iter().filter_map(|mail| mail.link.clone());
    let link = links.find(|link| link.contains("/account/undo/")).unwrap();
    let path = link.strip_prefix(BASE).unwrap_or_else(|| panic!("{link}"));
    assert!(path.starts_with("/account/undo/"), "{link}");
    path.to_owned()
}

/// How many mails with an undo link went to an address.
fn notices(server: &TestServer, to: &str) -> usize {
    let is_undo = |link: &String| link.contains("/account/undo/");
    let mails = server.mails(to);
    mails
        .iter()
        .filter(|mail| mail.link.as_ref().is_some_and(is_undo))
        .count()
}

/// Waits until an address that an undo restored can be changed again, and signs in.
#[track_caller]
fn rest(server: &TestServer, email: &str, like: &User) -> User {
    server.advance_seconds(3 * DAY);
    sign_in(server, email, like)
}

/// Changes the address of an account and confirms it.
#[track_caller]
fn change_and_confirm(server: &TestServer, user: &User, confirmed: &str, email: &str) -> String {
    let link = change(server, user, confirmed, email);
    confirm(server, user, email).assert(200, EMAIL_VERIFIED);
    link
}

/// Tries the newest code that was mailed to an address.
fn confirm(server: &TestServer, user: &User, email: &str) -> Answer {
    server.api(
        "POST",
        "otp/verify/",
        Some(&user.access),
        &json!({"email": email, "otp": server.otp(email)}),
    )
}

fn open(server: &TestServer, link: &str) -> Answer {
    server.request("GET", link, &[], "")
}

/// Uses a link as a program does.
fn undo(server: &TestServer, link: &str) -> Answer {
    server.request("POST", link, &[], "")
}

/// Uses a link as the button on its page does.
fn press(server: &TestServer, link: &str) -> Answer {
    let form = ("content-type", "application/x-www-form-urlencoded");
    server.request("POST", link, &[form], "")
}

#[test]
fn pages_speak_the_languages_of_the_mails() {
    let server = TestServer::start();
    let link = "/api/v1/accounts/email/undo/unknown/";
    for (accepted, language, title) in [
        ("", "en", "This link no longer works"),
        ("xx", "en", "This link no longer works"),
        ("de-AT, en;q=0.5", "de", "Dieser Link ist nicht mehr gültig"),
        ("es", "es", "Este enlace ya no es válido"),
        ("fr", "fr", "Ce lien n’est plus valable"),
        ("it", "it", "Questo link non è più valido"),
        ("pt", "pt-BR", "Este link não é mais válido"),
    ] {
        let headers = [("accept-language", accepted)];
        let page = server.request("GET", link, &headers, "");
        assert_page(&page, 404);
        assert!(
            page.body.contains(&format!("<html lang=\"{language}\"")),
            "{}",
            page.body
        );
        assert!(
            page.body.contains(&format!("<h1>{title}</h1>")),
            "{}",
            page.body
        );
        // It says what to do instead.
        assert!(
            page.body.contains("href=\"/account/reset/\""),
            "{}",
            page.body
        );
    }
}

#[test]
fn button_works_in_a_browser() {
    let server = TestServer::start();
    let own = format!("http://{}", server.address());
    for headers in [
        [("origin", &*own), ("sec-fetch-site", "same-origin")],
        [("origin", "null"), ("sec-fetch-site", "same-origin")],
    ] {
        let form = ("content-type", "application/x-www-form-urlencoded");
        let headers = [form, headers[0], headers[1]];
        let link = "/api/v1/accounts/email/undo/unknown/";
        assert_page(&server.request("POST", link, &headers, ""), 400);
    }
}

#[track_caller]
fn sign_in(server: &TestServer, email: &str, like: &User) -> User {
    let pair = server.sign_in(email, PASSWORD);
    assert_eq!(pair.status, 200, "{email}: {}", pair.body);
    User {
        access: pair.text("access"),
        refresh: pair.text("refresh"),
        ..like.clone()
    }
}

/// Asserts that an account goes by an address, and by none other of these.
#[track_caller]
fn assert_goes_by(server: &TestServer, user: &User, email: &str, others: &[&str]) {
    let session = sign_in(server, email, user);
    let profile = server.get("users/me/", Some(&session.access)).json();
    assert_eq!(
        (&profile["id"], &profile["email"]),
        (&json!(user.id), &json!(email))
    );
    for other in others {
        server
            .sign_in(other, PASSWORD)
            .assert(401, UNKNOWN_CREDENTIALS);
    }
}

#[track_caller]
fn assert_page(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    // The path is the secret, and the page is to run nothing.
    // The page posts to itself, and with `no-referrer` its origin would be `null`.
    assert_eq!(answer.header("referrer-policy"), Some("same-origin"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(
        answer.body.starts_with("<!doctype html>"),
        "{}",
        answer.body
    );
}

#[test]
fn former_address_is_notified_and_its_link_undoes_the_change() {
    let server = TestServer::start();
    let user = server.user("Old@example.com");
    let link = change(&server, &user, "old@example.com", "new@example.com");
    let notice = &server.mails("old@example.com")[0];
    assert_eq!(notice.to, "Old@example.com");
    assert_eq!(notice.otp, None);
    let whole_link = format!("{BASE}{link}");
    for text in [&notice.text, &notice.html] {
        assert!(text.contains(&whole_link), "{text}");
        // Enough to know one's own by, and nothing that a mail program makes a link of.
        assert!(text.contains("n***@e***.com"), "{text}");
    }
    assert_eq!(notices(&server, "new@example.com"), 0);

    // Opening the link changes nothing: mail scanners do it, once or twice.
    for _ in 0..2 {
        let page = open(&server, &link);
        assert_page(&page, 200);
        assert!(page.body.contains("Old@example.com"), "{}", page.body);
        assert!(
            page.body.contains("<form method=\"post\">"),
            "{}",
            page.body
        );
        let head = server.request("HEAD", &link, &[], "");
        assert_eq!((head.status, &*head.body), (200, ""));
    }
    let profile = server.get("users/me/", Some(&user.access));
    assert_eq!(profile.json()["email"], "new@example.com");

    let done = press(&server, &link);
    assert_page(&done, 200);
    assert!(!done.body.contains("<form"), "{}", done.body);
    server.assert_ended(&user);
    assert_goes_by(&server, &user, "Old@example.com", &["new@example.com"]);
}

#[test]
fn program_gets_json() {
    let server = TestServer::start();
    let user = server.user("old@example.com");
    for (content_type, body) in [
        (None, ""),
        (Some("application/json"), "{}"),
        (Some("text/plain"), "x"),
    ] {
        let user = sign_in(&server, "old@example.com", &user);
        let link = change(&server, &user, "old@example.com", "new@example.com");
        let headers: Vec<(&str, &str)> = content_type
            .iter()
            .map(|value| ("content-type", *value))
            .collect();
        let answer = server.request("POST", &link, &headers, body);
        answer.assert(200, UNDONE);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        server
            .request("POST", &link, &headers, body)
            .assert(400, DEAD_LINK);
        assert_goes_by(&server, &user, "old@example.com", &["new@example.com"]);
    }
}

#[test]
fn confirmed_change_can_be_undone() {
    let server = TestServer::start();
    let user = server.user("old@example.com");
    let link = change_and_confirm(&server, &user, "old@example.com", "new@example.com");
    let thief = sign_in(&server, "new@example.com", &user);
    undo(&server, &link).assert(200, UNDONE);
    server.assert_ended(&user);
    server.assert_ended(&thief);
    assert_goes_by(&server, &user, "old@example.com", &["new@example.com"]);
    // The address is confirmed as it was, so a reset reaches it.
    let before = server.mails("old@example.com").len();
    server.post("password/reset/", &json!({"email": "old@example.com"}));
    assert_eq!(server.mails("old@example.com").len(), before + 1);
    // The other one is free for anybody.
    assert_eq!(server.sign_up("new@example.com").status, 201);
}

#[test]
fn undo_invalidates_pending_codes() {
    let server = TestServer::start();
    let user = server.user("old@example.com");
    let link = change_and_confirm(&server, &user, "old@example.com", "new@example.com");
    server.post("password/reset/", &json!({"email": "new@example.com"}));
    let reset_otp = server.otp("new@example.com");
    server.patch("users/me/", &user, &json!({"email": "third@example.com"}));
    undo(&server, &link).assert(200, UNDONE);
    let user = sign_in(&server, "old@example.com", &user);
    confirm(&server, &user, "third@example.com").assert(400, INVALID_OTP);
    for email in ["old@example.com", "new@example.com"] {
        server
            .post(
                "password/reset/confirm/",
                &json!({
                    "email": email, "otp": reset_otp,
                    "password": "another-Passw0rd", "confirm_password": "another-Passw0rd",
                }),
            )
            .assert(400, INVALID_OTP);
    }
    assert_goes_by(
        &server,
        &user,
        "old@example.com",
        &["new@example.com", "third@example.com"],
    );

    // The same before the change was confirmed.
    let user = rest(&server, "old@example.com", &user);
    let link = change(&server, &user, "old@example.com", "new@example.com");
    undo(&server, &link).assert(200, UNDONE);
    let user = sign_in(&server, "old@example.com", &user);
    confirm(&server, &user, "new@example.com").assert(400, INVALID_OTP);
}

#[test]
fn undo_ends_the_asking_session_too() {
    let server = TestServer::start();
    let user = server.user("old@example.com");
    let stranger = server.user("stranger@example.com");
    let undo_as = |link: &str, token: &str| {
        let value = format!("Bearer {token}");
        server.request("POST", link, &[("authorization", &value)], "")
    };
    // A foreign or invalid token ends nothing of its own and is in nobody's way.
    for token in [&user.access, &stranger.access, &"nonsense".to_owned()] {
        let user = sign_in(&server, "old@example.com", &user);
        let link = change(&server, &user, "old@example.com", "new@example.com");
        undo_as(&link, token).assert(200, UNDONE);
        server.assert_ended(&user);
    }
    server.assert_ended(&user);
    assert_eq!(server.get("users/me/", Some(&stranger.access)).status, 200);
}

/// The code of the newest mail to an address that has one.
fn reset_with(server: &TestServer, email: &str, password: &str) -> Answer {
    let body = json!({
        "email": email, "otp": server.otp(email), "password": password,
        "confirm_password": password,
    });
    server.post("password/reset/confirm/", &body)
}

const RESTORED: &str = r#"{"email":["The email address was restored recently and can be changed again in 72 hours."]}"#;

#[test]
fn undo_gives_the_account_back_for_good() {
    // A thief with one access token moves the address, resets the password by the new mailbox, and
    // would move the address again after each undo.
    let server = TestServer::start();
    let owner = server.user("owner@example.com");
    let link = change_and_confirm(&server, &owner, "owner@example.com", "thief@example.com");
    server.post("password/reset/", &json!({"email": "thief@example.com"}));
    assert_eq!(
        reset_with(&server, "thief@example.com", "password-of-thief").status,
        200
    );
    let pair = server.sign_in("thief@example.com", "password-of-thief");
    let thief = User {
        access: pair.text("access"),
        refresh: pair.text("refresh"),
        ..owner.clone()
    };
    let thiefs = change(&server, &thief, "thief@example.com", "thief2@example.com");

    undo(&server, &link).assert(200, UNDONE);
    server.assert_ended(&thief);
    for email in [
        "owner@example.com",
        "thief@example.com",
        "thief2@example.com",
    ] {
        for password in ["password-of-thief", PASSWORD] {
            server
                .sign_in(email, password)
                .assert(401, UNKNOWN_CREDENTIALS);
        }
    }
    undo(&server, &thiefs).assert(400, DEAD_LINK);
    confirm(&server, &thief, "thief2@example.com").assert(400, INVALID_OTP);

    // The owner has a reset mail and sets a password; the address then stays for a while.
    assert_eq!(
        reset_with(&server, "owner@example.com", "password-of-owner").status,
        200
    );
    let pair = server.sign_in("owner@example.com", "password-of-owner");
    let owner = User {
        access: pair.text("access"),
        ..owner
    };
    let body = json!({"email": "another@example.com"});
    server
        .patch("users/me/", &owner, &body)
        .assert(400, RESTORED);
    server.advance_seconds(3 * DAY - 1);
    let pair = server.sign_in("owner@example.com", "password-of-owner");
    let owner = User {
        access: pair.text("access"),
        ..owner
    };
    let answer = server.patch("users/me/", &owner, &body);
    answer.assert(400, &RESTORED.replace("72 hours", "1 hour"));
    // Everything else can be changed meanwhile, and the address in another spelling.
    for body in [
        json!({"first_name": "Ann"}),
        json!({"email": "Owner@example.com"}),
    ] {
        assert_eq!(server.patch("users/me/", &owner, &body).status, 200);
    }
    server.advance_seconds(1);
    assert_eq!(server.patch("users/me/", &owner, &body).status, 200);
}

#[test]
fn undo_keeps_a_password_that_is_older_than_the_link() {
    let server = TestServer::start();
    let user = server.user("old@example.com");
    let link = change_and_confirm(&server, &user, "old@example.com", "new@example.com");
    undo(&server, &link).assert(200, UNDONE);
    assert_goes_by(&server, &user, "old@example.com", &["new@example.com"]);
    // The reset is mailed anyway.
    assert_eq!(
        reset_with(&server, "old@example.com", "another-password-1").status,
        200
    );
}

#[test]
fn undo_voids_a_changed_password() {
    let server = TestServer::start();
    let user = server.user("old@example.com");
    let link = change(&server, &user, "old@example.com", "new@example.com");
    let body = json!({
        "current_password": PASSWORD, "password": "another-password-1",
        "confirm_password": "another-password-1",
    });
    let answer = server.api("POST", "password/change/", Some(&user.access), &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    undo(&server, &link).assert(200, UNDONE);
    for password in [PASSWORD, "another-password-1", "!"] {
        server
            .sign_in("old@example.com", password)
            .assert(401, UNKNOWN_CREDENTIALS);
    }
}

#[test]
fn address_with_a_link_is_held_by_its_account() {
    let server = TestServer::start();
    let taken = EMAIL_TAKEN;
    let user = server.user("old@example.com");
    let other = server.user("other@example.com");
    change_and_confirm(&server, &user, "old@example.com", "new@example.com");
    server.sign_up("OLD@example.com").assert(400, taken);
    let body = json!({"email": "old@example.com"});
    server.patch("users/me/", &other, &body).assert(400, taken);
    server.advance_seconds(7 * DAY);
    assert_eq!(server.sign_up("old@example.com").status, 201);
}

#[test]
fn notices_go_to_every_address_with_a_link() {
    let server = TestServer::start();
    let user = server.user("owner@example.com");
    change_and_confirm(&server, &user, "owner@example.com", "second@example.com");
    server.advance_seconds(60);
    change_and_confirm(&server, &user, "second@example.com", "third@example.com");
    let count = |to: &str| server.mails(to).len();
    let addresses = [
        "owner@example.com",
        "second@example.com",
        "third@example.com",
    ];
    let before = addresses.map(count);
    let body = json!({
        "current_password": PASSWORD, "password": "another-password-1",
        "confirm_password": "another-password-1",
    });
    let answer = server.api("POST", "password/change/", Some(&user.access), &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(addresses.map(count), before.map(|count| count + 1));
    for address in addresses {
        let mail = &server.mails(address)[0];
        assert!(
            mail.subject.to_lowercase().contains("password"),
            "{}",
            mail.subject
        );
    }
    // The owner's address was notified of the second change as well: link, two confirmations, password.
    assert!(before[0] >= 4, "{before:?}");
}

#[test]
fn another_change_notifies_every_address_with_a_link() {
    let server = TestServer::start();
    let subjects = |to: &str| -> Vec<String> {
        let mails = server.mails(to);
        mails.into_iter().map(|mail| mail.subject).collect()
    };
    let again = "The email address of your account was changed again";
    let user = server.user("owner@example.com");
    let link = change_and_confirm(&server, &user, "owner@example.com", "second@example.com");
    server.advance_seconds(60);
    // Before the change is confirmed, the owner's address learns of it; the confirmed one gets the link.
    change(&server, &user, "second@example.com", "third@example.com");
    assert_eq!(subjects("owner@example.com")[0], again);
    let notice = &server.mails("owner@example.com")[0];
    assert!(notice.text.contains("t***@e***.com") && notice.text.contains("127.0.0.1"));
    assert_eq!(notice.link, None);
    assert!(!subjects("second@example.com").contains(&again.to_owned()));
    undo(&server, &link).assert(200, UNDONE);
    // Without a valid link there is no notice.
    let count = subjects("second@example.com").len();
    let user = rest(&server, "owner@example.com", &user);
    change(&server, &user, "owner@example.com", "fourth@example.com");
    assert_eq!(subjects("second@example.com").len(), count);
}

#[test]
fn address_that_loses_by_an_undo_is_notified() {
    let server = TestServer::start();
    let user = server.user("old@example.com");
    let link = change_and_confirm(&server, &user, "old@example.com", "new@example.com");
    let before = (
        server.mails("new@example.com").len(),
        server.mails("old@example.com").len(),
    );
    undo(&server, &link).assert(200, UNDONE);
    assert_eq!(server.mails("new@example.com").len(), before.0 + 1);
    // A notice and a reset.
    assert_eq!(server.mails("old@example.com").len(), before.1 + 2);
}

#[test]
fn link_from_the_future_is_refused() {
    let server = TestServer::start();
    let user = server.user("old@example.com");
    let link = change(&server, &user, "old@example.com", "new@example.com");
    server.turn_back(Duration::from_secs(61));
    undo(&server, &link).assert(400, DEAD_LINK);
    server.advance_seconds(2);
    undo(&server, &link).assert(200, UNDONE);
}

#[test]
fn a_link_works_once() {
    let server = TestServer::start();
    let user = server.user("old@example.com");
    let link = change(&server, &user, "old@example.com", "new@example.com");
    undo(&server, &link).assert(200, UNDONE);
    let user = sign_in(&server, "old@example.com", &user);
    assert_page(&open(&server, &link), 404);
    assert_page(&press(&server, &link), 400);
    undo(&server, &link).assert(400, DEAD_LINK);
    // A link that does nothing ends nothing either.
    assert_eq!(server.get("users/me/", Some(&user.access)).status, 200);
}

#[test]
fn a_link_works_for_seven_days() {
    let server = TestServer::start();
    let user = server.user("old@example.com");
    let link = change_and_confirm(&server, &user, "old@example.com", "new@example.com");
    server.advance_seconds(7 * DAY - 1);
    assert_page(&open(&server, &link), 200);
    undo(&server, &link).assert(200, UNDONE);
    let user = rest(&server, "old@example.com", &user);
    let link = change_and_confirm(&server, &user, "old@example.com", "new@example.com");
    server.advance_seconds(7 * DAY);
    assert_page(&open(&server, &link), 404);
    assert_page(&press(&server, &link), 400);
    undo(&server, &link).assert(400, DEAD_LINK);
    assert_goes_by(&server, &user, "new@example.com", &["old@example.com"]);
}

#[test]
fn link_survives_a_restart() {
    let mut server = TestServer::start();
    let user = server.user("old@example.com");
    let link = change_and_confirm(&server, &user, "old@example.com", "new@example.com");
    server.advance_seconds(3600);
    server.restart();
    assert_page(&open(&server, &link), 200);
    undo(&server, &link).assert(200, UNDONE);
    server.restart();
    undo(&server, &link).assert(400, DEAD_LINK);
    assert_goes_by(&server, &user, "old@example.com", &["new@example.com"]);
}

#[test]
fn first_of_several_links_undoes_all_changes() {
    let server = TestServer::start();
    let user = server.user("first@example.com");
    let first = change_and_confirm(&server, &user, "first@example.com", "second@example.com");
    server.advance_seconds(60);
    let second = change_and_confirm(&server, &user, "second@example.com", "third@example.com");
    assert_ne!(first, second);
    undo(&server, &first).assert(200, UNDONE);
    // An intruder of the time in between has no link left that brings an address back.
    undo(&server, &second).assert(400, DEAD_LINK);
    assert_page(&open(&server, &second), 404);
    assert_goes_by(
        &server,
        &user,
        "first@example.com",
        &["second@example.com", "third@example.com"],
    );
}

#[test]
fn later_link_does_not_revoke_earlier_ones() {
    let server = TestServer::start();
    let user = server.user("owner@example.com");
    let owners = change_and_confirm(&server, &user, "owner@example.com", "thief@example.com");
    server.advance_seconds(60);
    // A thief who uses the link to his own address must not take the owner's way back.
    let thiefs = change(&server, &user, "thief@example.com", "other@example.com");
    undo(&server, &thiefs).assert(200, UNDONE);
    assert_goes_by(&server, &user, "thief@example.com", &["other@example.com"]);
    assert_page(&open(&server, &owners), 200);
    undo(&server, &owners).assert(200, UNDONE);
    assert_goes_by(
        &server,
        &user,
        "owner@example.com",
        &["thief@example.com", "other@example.com"],
    );
}

#[test]
fn unconfirmed_changes_all_notify_the_confirmed_address() {
    let server = TestServer::start();
    let user = server.user("old@example.com");
    let first = change(&server, &user, "old@example.com", "new@example.com");
    let second = change(&server, &user, "old@example.com", "newer@example.com");
    assert_eq!(notices(&server, "new@example.com"), 0);
    assert_page(&open(&server, &first), 200);
    undo(&server, &second).assert(200, UNDONE);
    assert_goes_by(
        &server,
        &user,
        "old@example.com",
        &["new@example.com", "newer@example.com"],
    );
}

#[test]
fn notices_cannot_flood_an_address() {
    let server = TestServer::start_with_mail_limits();
    let user = server.user("old@example.com");
    let link = change(&server, &user, "old@example.com", "new-0@example.com");
    for n in 1..6 {
        let email = format!("new-{n}@example.com");
        let answer = server.patch("users/me/", &user, &json!({"email": email}));
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    assert_eq!(notices(&server, "old@example.com"), 1);
    // The one link that went out undoes whatever came after it.
    undo(&server, &link).assert(200, UNDONE);
    assert_goes_by(
        &server,
        &user,
        "old@example.com",
        &["new-0@example.com", "new-5@example.com"],
    );
}

#[test]
fn unchanged_address_sends_no_notice() {
    let server = TestServer::start();
    let user = server.user("old@example.com");
    for email in ["old@example.com", "OLD@example.com", "Old@EXAMPLE.com"] {
        let answer = server.patch("users/me/", &user, &json!({"email": email}));
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    server.user("taken@example.com");
    let answer = server.patch("users/me/", &user, &json!({"email": "taken@example.com"}));
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert_eq!(notices(&server, "old@example.com"), 0);
}

#[test]
fn address_that_another_account_confirmed_is_not_restored() {
    let server = TestServer::start();
    let user = server.user("old@example.com");
    let link = change_and_confirm(&server, &user, "old@example.com", "new@example.com");
    // Links of earlier versions hold no address.
    server.db_execute("UPDATE email_undos SET email_key = ''");
    let newcomer = server.user("old@example.com");
    assert_ne!(newcomer.id, user.id);
    undo(&server, &link).assert(400, EMAIL_TAKEN);
    let page = press(&server, &link);
    assert_page(&page, 400);
    assert!(page.body.contains("another account"), "{}", page.body);
    for session in [&user, &newcomer] {
        assert_eq!(server.get("users/me/", Some(&session.access)).status, 200);
    }
    assert_goes_by(&server, &user, "new@example.com", &[]);
    assert_goes_by(&server, &newcomer, "old@example.com", &[]);
}

#[test]
fn unconfirmed_claims_give_way_to_an_undo() {
    let server = TestServer::start();
    let user = server.user("old@example.com");
    let link = change_and_confirm(&server, &user, "old@example.com", "new@example.com");
    server.db_execute("UPDATE email_undos SET email_key = ''");
    assert_eq!(server.sign_up("old@example.com").status, 201);
    let sign_up_otp = server.otp("old@example.com");
    undo(&server, &link).assert(200, UNDONE);
    server
        .post(
            "otp/verify/",
            &json!({"email": "old@example.com", "otp": sign_up_otp}),
        )
        .assert(400, INVALID_OTP);
    assert_goes_by(&server, &user, "old@example.com", &["new@example.com"]);
    let displaced = "SELECT count(*) FROM events WHERE event = 'sign_up_displaced'";
    assert_eq!(server.db_number(displaced), 1);

    let user = rest(&server, "old@example.com", &user);
    let other = server.user("other@example.com");
    let link = change_and_confirm(&server, &user, "old@example.com", "new@example.com");
    server.db_execute("UPDATE email_undos SET email_key = ''");
    let answer = server.patch("users/me/", &other, &json!({"email": "old@example.com"}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    undo(&server, &link).assert(200, UNDONE);
    confirm(&server, &other, "old@example.com").assert(400, INVALID_OTP);
    assert_goes_by(&server, &user, "old@example.com", &["new@example.com"]);
    assert_goes_by(&server, &other, "other@example.com", &[]);
}

#[test]
fn owner_can_undo_a_change_by_staff() {
    let server = TestServer::start();
    let user = server.user("old@example.com");
    let staff = server.staff("staff@example.com");
    let answer = server.patch(&user.path(), &staff, &json!({"email": "new@example.com"}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    undo(&server, &newest_link(&server, "old@example.com")).assert(200, UNDONE);
    assert_goes_by(&server, &user, "old@example.com", &["new@example.com"]);
    assert_eq!(server.get("users/me/", Some(&staff.access)).status, 200);
}

#[test]
fn address_is_escaped_in_html() {
    let server = TestServer::start();
    let email = "\"<script>alert(1)</script>&'\"@example.com";
    let user = server.user(email);
    let link = change(&server, &user, email, "\"</b><img/src=x>\"@example.com");
    let notice = &server.mails(email)[0];
    for part in [&notice.subject, &notice.text, &notice.html] {
        assert!(!part.contains("img"), "{part}");
    }
    assert!(
        notice.html.contains("&quot;***@e***.com"),
        "{}",
        notice.html
    );
    let page = open(&server, &link);
    assert_page(&page, 200);
    assert!(!page.body.contains("<script>"), "{}", page.body);
    assert!(
        page.body
            .contains("&lt;script&gt;alert(1)&lt;/script&gt;&amp;"),
        "{}",
        page.body
    );
}

#[test]
fn foreign_links_do_nothing() {
    let server = TestServer::start();
    let user = server.user("old@example.com");
    let link = change(&server, &user, "old@example.com", "new@example.com");
    let token = link
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap()
        .to_owned();
    assert!(token.len() >= 22, "{token} can be guessed");
    let shorter = token[1..].to_owned();
    for wrong in [
        "0",
        "%00",
        &format!("{token}%00"),
        &format!("{token}x"),
        &shorter,
        "%3Cscript%3E",
        "'%20OR%201=1",
        &"x".repeat(5000),
        &user.access,
    ] {
        let path = format!("/api/v1/accounts/email/undo/{wrong}/");
        let page = open(&server, &path);
        assert_page(&page, 404);
        assert!(!page.body.contains("<script>"), "{}", page.body);
        assert_page(&press(&server, &path), 400);
        undo(&server, &path).assert(400, DEAD_LINK);
    }
    for method in ["PUT", "PATCH", "DELETE"] {
        let answer = server.request(method, &link, &[], "");
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(
            answer.header("allow"),
            Some("GET, POST, HEAD, OPTIONS"),
            "{method}"
        );
    }
    let profile = server.get("users/me/", Some(&user.access));
    assert_eq!(profile.json()["email"], "new@example.com");
    // Without the slash it is the same link.
    undo(&server, link.trim_end_matches('/')).assert(200, UNDONE);
}

#[test]
fn link_of_a_deleted_account_is_invalid() {
    let server = TestServer::start();
    let user = server.user("old@example.com");
    let link = change(&server, &user, "old@example.com", "new@example.com");
    let answer = server.api(
        "DELETE",
        "users/me/",
        Some(&user.access),
        &json!({"password": PASSWORD}),
    );
    assert_eq!(answer.status, 204, "{}", answer.body);
    assert_page(&open(&server, &link), 404);
    undo(&server, &link).assert(400, DEAD_LINK);
    server
        .sign_in("old@example.com", PASSWORD)
        .assert(401, UNKNOWN_CREDENTIALS);
}
