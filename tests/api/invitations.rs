//! Invitations: staff names an address, and its owner creates a verified account by the link.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, PASSWORD, TestServer, User, at_once};

const FORBIDDEN: &str = r#"{"detail":"You do not have permission to perform this action."}"#;
const NO_TOKEN: &str = r#"{"detail":"Authentication credentials were not provided."}"#;
const DEAD: &str = r#"{"token":["Invalid or expired token."]}"#;
const TAKEN: &str = r#"{"email":["user with this email already exists."]}"#;

fn invite(server: &TestServer, staff: &User, body: &Value) -> Answer {
    server.api("POST", "invitations/", Some(&staff.access), body)
}

/// The token of the newest invitation to an address.
fn token(server: &TestServer, to: &str) -> String {
    let mail = &server.mails(to)[0];
    let link = mail.link.as_ref().unwrap();
    link.split_once("token=").unwrap().1.to_owned()
}

fn accept_with(server: &TestServer, token: &str, changes: &Value) -> Answer {
    let mut body = json!({"token": token, "password": PASSWORD, "confirm_password": PASSWORD});
    for (key, value) in changes.as_object().unwrap() {
        body[key] = value.clone();
    }
    server.post("invitations/accept/", &body)
}

fn accept(server: &TestServer, token: &str) -> Answer {
    accept_with(server, token, &json!({}))
}

fn open(server: &TestServer, token: &str) -> Answer {
    server.post("invitations/verify/", &json!({"token": token}))
}

/// A server with a staff member and an invitation to ann@example.com.
fn invited() -> (TestServer, User, String) {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    let answer = invite(
        &server,
        &staff,
        &json!({"email": "Ann@Example.com", "language": "de-AT"}),
    );
    assert_eq!(answer.status, 201, "{}", answer.body);
    let token = token(&server, "Ann@example.com");
    (server, staff, token)
}

#[test]
fn link_of_an_invitation_creates_a_verified_account() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    let answer = invite(
        &server,
        &staff,
        &json!({"email": "Ann@Example.com", "language": "de-AT"}),
    );
    answer.assert(
        201,
        r#"{"id":1,"email":"Ann@example.com","language":"de","state":"pending","invited_by":1,"created_at":"2024-12-03T12:00:00Z","expires_at":"2024-12-10T12:00:00Z"}"#,
    );
    let mails = server.mails("ann@example.com");
    assert_eq!(mails.len(), 1);
    assert!(
        mails[0].subject.starts_with("Deine Einladung"),
        "{}",
        mails[0].subject
    );
    assert!(mails[0].text.contains("7 Tage"), "{}", mails[0].text);
    let link = mails[0].link.as_ref().unwrap();
    assert!(
        link.starts_with("http://localhost:8000/account/invitation/?token="),
        "{link}"
    );
    let token = token(&server, "ann@example.com");
    assert_eq!(token.len(), 32, "128 bits");
    open(&server, &token).assert(
        200,
        r#"{"email":"Ann@example.com","expires_at":"2024-12-10T12:00:00Z"}"#,
    );
    server.advance_seconds(60);
    let answer = accept_with(
        &server,
        &token,
        &json!({"first_name": "Ann", "country": "AT"}),
    );
    assert_eq!(answer.status, 201, "{}", answer.body);
    let body = answer.json();
    let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["msg", "data", "access", "refresh"]);
    assert_eq!(body["msg"], "Email verified successfully!");
    assert_eq!(
        body["data"].to_string(),
        r#"{"id":2,"email":"Ann@example.com","first_name":"Ann","last_name":"","phone":"","gender":"","country":"AT","created_at":"2024-12-03T12:01:00Z","updated_at":"2024-12-03T12:01:00Z"}"#
    );
    let me = server.get("users/me/", Some(&answer.text("access")));
    assert_eq!(me.json()["first_name"], "Ann");
    assert_eq!(server.sign_in("ann@example.com", PASSWORD).status, 200);
    // No code was mailed, later mails are in the language of the invitation, and the link is used up.
    assert_eq!(server.mails("ann@example.com").len(), 1);
    assert_eq!(
        server.db_text("SELECT language FROM users WHERE id = 2"),
        "de"
    );
    accept(&server, &token).assert(400, DEAD);
    open(&server, &token).assert(400, DEAD);
    let list = server.get("invitations/", Some(&staff.access));
    list.assert(
        200,
        r#"{"count":0,"next":null,"previous":null,"results":[]}"#,
    );
    // The audit log tells who invited and who accepted, by the number of the invitation.
    let events = server.get(
        "events/?kind=user_invited,invitation_accepted",
        Some(&staff.access),
    );
    let events = events.json()["results"].as_array().unwrap().clone();
    assert_eq!(
        (
            &events[0]["event"],
            &events[0]["user_id"],
            &events[0]["detail"]
        ),
        (&json!("invitation_accepted"), &json!(2), &json!("1"))
    );
    assert_eq!(
        (
            &events[1]["event"],
            &events[1]["user_id"],
            &events[1]["actor_id"],
            &events[1]["detail"]
        ),
        (&json!("user_invited"), &Value::Null, &json!(1), &json!("1"))
    );
}

#[test]
fn invalid_invitations_are_refused() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    server.user("user@example.com");
    for (body, expected) in [
        (json!({}), r#"{"email":["This field is required."]}"#),
        (
            json!({"email": "nonsense", "language": "xx"}),
            r#"{"email":["Enter a valid email address."],"language":["\"xx\" is not a valid choice."]}"#,
        ),
        (json!({"email": "USER@example.com"}), TAKEN),
        (json!({"email": "staff@example.com", "language": ""}), TAKEN),
    ] {
        invite(&server, &staff, &body).assert(400, expected);
    }
    assert_eq!(server.db_number("SELECT count(*) FROM invitations"), 0);
}

#[test]
fn invalid_acceptances_use_nothing_up() {
    let (server, _, token) = invited();
    for (changes, expected) in [
        (
            json!({"password": null}),
            r#"{"password":["This field may not be null."]}"#,
        ),
        (
            json!({"password": "ann@example.com", "confirm_password": "x", "phone": "nonsense"}),
            r#"{"password":["The password is too similar to the email."],"phone":["Enter a valid phone number."]}"#,
        ),
        (
            json!({"confirm_password": "another-password-9"}),
            r#"{"confirm_password":["The two password fields didn't match."]}"#,
        ),
        (json!({"token": "0".repeat(32)}), DEAD),
        (
            json!({"token": ""}),
            r#"{"token":["This field may not be blank."]}"#,
        ),
    ] {
        accept_with(&server, &token, &changes).assert(400, expected);
    }
    assert_eq!(accept(&server, &token).status, 201);
}

#[test]
fn link_works_once_however_often_it_is_used_at_once() {
    let (server, _, token) = invited();
    let answers = at_once(6, |_| accept(&server, &token).status);
    assert_eq!(
        answers.iter().filter(|status| **status == 201).count(),
        1,
        "{answers:?}"
    );
    assert_eq!(
        answers.iter().filter(|status| **status == 400).count(),
        5,
        "{answers:?}"
    );
    assert_eq!(server.db_number("SELECT count(*) FROM users"), 2);
}

#[test]
fn invitation_expires_after_a_week() {
    let (server, _, token) = invited();
    server.advance(Duration::from_hours(7 * 24) - Duration::from_secs(1));
    assert_eq!(open(&server, &token).status, 200);
    server.advance_seconds(1);
    open(&server, &token).assert(400, DEAD);
    accept(&server, &token).assert(400, DEAD);
    let staff = server.sign_in("staff@example.com", PASSWORD).text("access");
    let list = server.get("invitations/", Some(&staff)).json();
    assert_eq!(list["results"][0]["state"], "expired");
    // It is listed for a while, so that staff can repeat it.
    server.advance(Duration::from_hours(30 * 24));
    server.clear_expired();
    assert_eq!(server.db_number("SELECT count(*) FROM invitations"), 0);
    assert_eq!(
        server.db_number("SELECT count(*) FROM invitation_tokens"),
        0
    );
}

#[test]
fn repeated_invitation_extends_it_and_keeps_earlier_links() {
    let (server, staff, first) = invited();
    server.advance_seconds(120);
    let answer = invite(&server, &staff, &json!({"email": "ann@example.com"}));
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(
        (
            &answer.json()["id"],
            &answer.json()["expires_at"],
            &answer.json()["language"]
        ),
        (&json!(1), &json!("2024-12-10T12:02:00Z"), &json!(""))
    );
    let second = token(&server, "ann@example.com");
    assert_ne!(first, second);
    for link in [&first, &second] {
        assert_eq!(open(&server, link).status, 200);
    }
    assert_eq!(accept(&server, &first).status, 201);
    open(&server, &second).assert(400, DEAD);
}

#[test]
fn revoked_invitation_is_dead_and_its_mail_is_not_sent() {
    let server = TestServer::start_with_smtp("smtp://127.0.0.1:1");
    let staff = server.staff("staff@example.com");
    assert_eq!(
        invite(&server, &staff, &json!({"email": "ann@example.com"})).status,
        201
    );
    let token = token(&server, "ann@example.com");
    let queued =
        "SELECT count(*) FROM deliveries WHERE invitation_id IS NOT NULL AND kind = 'invitation'";
    assert_eq!(server.db_number(queued), 1);
    let revoke = |id: &str| {
        let path = format!("invitations/{id}/");
        server.api("DELETE", &path, Some(&staff.access), &json!({}))
    };
    revoke("1").assert(204, "");
    for id in ["1", "2", "x", "-1"] {
        revoke(id).assert(404, r#"{"detail":"Not found."}"#);
    }
    assert_eq!(server.db_number(queued), 0);
    accept(&server, &token).assert(400, DEAD);
    let events = server
        .get("events/?kind=invitation_revoked", Some(&staff.access))
        .json();
    assert_eq!(events["results"][0]["detail"], "1");
}

#[test]
fn account_made_meanwhile_answers_the_invitation() {
    let (server, staff, token) = invited();
    server.user("ann@example.com");
    open(&server, &token).assert(400, DEAD);
    accept(&server, &token).assert(400, DEAD);
    let list = server.get("invitations/", Some(&staff.access)).json();
    assert_eq!(list["count"], 0);
}

#[test]
fn strangers_sign_up_gains_nothing_by_an_invitation() {
    let (server, _, token) = invited();
    // Somebody signs up with the invited address; its owner accepts.
    let stranger = json!({
        "email": "ann@example.com", "password": "strangers-pass-1", "confirm_password": "strangers-pass-1",
        "first_name": "Mallory",
    });
    assert_eq!(server.post("users/", &stranger).status, 201);
    let code = server.otp("ann@example.com");
    let answer = accept(&server, &token);
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.text_of_data("first_name"), "");
    assert_eq!(
        server.sign_in("ann@example.com", "strangers-pass-1").status,
        401
    );
    assert_eq!(server.sign_in("ann@example.com", PASSWORD).status, 200);
    let body = json!({"email": "ann@example.com", "otp": code});
    assert_eq!(server.post("otp/verify/", &body).status, 400);
}

#[test]
fn invitation_does_not_activate_an_account() {
    let (server, staff, token) = invited();
    let id = server.sign_up("ann@example.com").json()["data"]["id"].clone();
    let path = format!("users/{id}/");
    let answer = server.api(
        "PATCH",
        &path,
        Some(&staff.access),
        &json!({"is_active": false}),
    );
    assert_eq!(answer.status, 200, "{}", answer.body);
    accept(&server, &token).assert(400, DEAD);
}

#[test]
fn mails_to_an_address_are_limited() {
    let server = TestServer::start_with(|config| {
        config.otp.resend_seconds = 60;
        config.otp.mails_per_hour = 10;
        config.tokens.access_minutes = 60;
        config.sessions.recent_minutes = 60;
    });
    let staff = server.staff("staff@example.com");
    let again = || invite(&server, &staff, &json!({"email": "ann@example.com"}));
    assert_eq!(again().status, 201);
    again().assert_throttled(60);
    for _ in 0..9 {
        server.advance_seconds(60);
        assert_eq!(again().status, 201);
    }
    server.advance_seconds(60);
    again().assert_throttled(3000);
}

#[test]
fn invitations_are_for_staff_alone() {
    let (server, staff, _) = invited();
    let user = server.user("user@example.com");
    for (method, path) in [
        ("GET", "invitations/"),
        ("GET", "invitations/?page=99"),
        ("POST", "invitations/"),
        ("DELETE", "invitations/1/"),
        ("DELETE", "invitations/x/"),
    ] {
        let answer = server.api(method, path, Some(&user.access), &json!({}));
        answer.assert(403, FORBIDDEN);
        server
            .api(method, path, None, &json!({}))
            .assert(401, NO_TOKEN);
    }
    // A right that was lost while the request was under way does not count.
    let path = format!("users/{}/", staff.id);
    server.staff("other@example.com");
    server.patch(&path, &staff, &json!({"is_staff": false}));
    invite(&server, &staff, &json!({"email": "bob@example.com"})).assert(403, FORBIDDEN);
}

#[test]
fn inviting_wants_recent_authentication() {
    let server = TestServer::start_with(|config| config.tokens.access_minutes = 60);
    let staff = server.staff("staff@example.com");
    server.advance(Duration::from_mins(11));
    let body = json!({"email": "ann@example.com"});
    invite(&server, &staff, &body).assert(
        403,
        r#"{"detail":"Please sign in again to do this.","code":"reauthentication_required","methods":["password"]}"#,
    );
    // It is decided before the body is read.
    let answer = server.api("POST", "invitations/", Some(&staff.access), &json!([]));
    assert_eq!(answer.status, 403);
    assert!(server.mails("ann@example.com").is_empty());
    let again = json!({"password": PASSWORD});
    let answer = server.api("POST", "reauthenticate/", Some(&staff.access), &again);
    let staff = User {
        access: answer.text("access"),
        ..staff
    };
    assert_eq!(invite(&server, &staff, &body).status, 201);
}

#[test]
fn own_page_gets_the_link() {
    let server = TestServer::start_with(|config| {
        config.pages.enabled = false;
        config.mail.invitation_url = "https://app.example.com/welcome#{token}".to_owned();
    });
    let staff = server.staff("staff@example.com");
    assert_eq!(
        invite(&server, &staff, &json!({"email": "ann@example.com"})).status,
        201
    );
    let link = server.mails("ann@example.com")[0].link.clone().unwrap();
    assert!(
        link.starts_with("https://app.example.com/welcome#"),
        "{link}"
    );

    // Without any page an invitation would be a mail without a link.
    let server = TestServer::start_with(|config| config.pages.enabled = false);
    let staff = server.staff("staff@example.com");
    invite(&server, &staff, &json!({"email": "ann@example.com"})).assert(
        400,
        r#"{"detail":"Invitations need a page for their links: enable [pages], or set [mail] invitation_url."}"#,
    );
    assert!(server.mails("ann@example.com").is_empty());
}

#[test]
fn files_contain_no_token() {
    let (server, _, token) = invited();
    let holds = |name: &str| {
        let bytes = std::fs::read(server.dir().join(name)).unwrap_or_default();
        bytes
            .windows(token.len())
            .any(|part| part == token.as_bytes())
    };
    assert!(!holds("users.db") && !holds("users.db-wal"));
}
