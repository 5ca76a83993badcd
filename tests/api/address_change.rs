//! `email` in `PATCH users/<pk>/`: an account gets another address.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::contract::{
    EMAIL_SENT, EMAIL_TAKEN, EMAIL_VERIFIED, INVALID_OTP, NO_USER, UNKNOWN_CREDENTIALS, UNVERIFIED,
};
use crate::support::{Answer, PASSWORD, TestServer, User, at_once};

fn change(server: &TestServer, user: &User, email: &str) -> Answer {
    server.patch(&user.path(), user, &json!({"email": email}))
}

/// Changes the address and gives the code that was mailed for it.
#[track_caller]
fn changed(server: &TestServer, user: &User, email: &str) -> String {
    let answer = change(server, user, email);
    assert_eq!(
        (answer.status, &*answer.text("email")),
        (200, email),
        "{}",
        answer.body
    );
    server.otp(email)
}

/// Confirms an address with a code and the token of an account.
fn confirm(server: &TestServer, user: &User, email: &str, otp: &str) -> Answer {
    server.api(
        "POST",
        "otp/verify/",
        Some(&user.access),
        &json!({"email": email, "otp": otp}),
    )
}

fn shown(server: &TestServer, user: &User) -> String {
    server.get("users/me/", Some(&user.access)).text("email")
}

/// The claim `email` of a fresh access token.
#[track_caller]
fn claimed(server: &TestServer, email: &str) -> String {
    let access = server.sign_in(email, PASSWORD).text("access");
    email_claim(&access)
}

fn email_claim(access: &str) -> String {
    let claims = URL_SAFE_NO_PAD
        .decode(access.split('.').nth(1).unwrap())
        .unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    claims["email"].as_str().unwrap().to_owned()
}

#[track_caller]
fn assert_signs_in(server: &TestServer, user: &User, email: &str) {
    let pair = server.sign_in(email, PASSWORD);
    assert_eq!(pair.status, 200, "{email}: {}", pair.body);
    let profile = server.get("users/me/", Some(&pair.text("access")));
    assert_eq!(profile.json()["id"], user.id, "{email}");
}

#[test]
fn a_new_address_takes_effect_at_once_and_is_confirmed_by_its_code() {
    let server = TestServer::start();
    let user = server.user("old@example.com");
    let mails_before = server
        .mails("old@example.com")
        .iter()
        .filter(|mail| mail.otp.is_some())
        .count();
    server.advance_seconds(90);
    change(&server, &user, "New@Example.com").assert(
        200,
        concat!(
            r#"{"id":1,"email":"New@example.com","first_name":"","last_name":"","phone":"","gender":"","country":"","#,
            r#""created_at":"2024-12-03T12:00:00Z","updated_at":"2024-12-03T12:01:30Z"}"#
        ),
    );
    assert_eq!(shown(&server, &user), "New@example.com");
    let mails = server.mails("new@example.com");
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].to, "New@example.com");
    let otp = mails[0].otp.clone().unwrap();
    let with_otp = server
        .mails("old@example.com")
        .iter()
        .filter(|mail| mail.otp.is_some())
        .count();
    assert_eq!(with_otp, mails_before, "no code goes to the old address");

    // Until it is confirmed, both sign in, and tokens name the last confirmed one.
    for email in [
        "old@example.com",
        "new@example.com",
        "NEW@EXAMPLE.COM",
        "OLD@example.com",
    ] {
        assert_signs_in(&server, &user, email);
        assert_eq!(
            claimed(&server, email),
            "old@example.com",
            "signed in as {email}"
        );
    }
    let refreshed = server.post("token/refresh/", &json!({"refresh": user.refresh}));
    assert_eq!(email_claim(&refreshed.text("access")), "old@example.com");

    confirm(&server, &user, "new@EXAMPLE.com", &otp).assert(200, EMAIL_VERIFIED);
    assert_eq!(shown(&server, &user), "New@example.com");
    assert_signs_in(&server, &user, "new@example.com");
    assert_eq!(claimed(&server, "new@example.com"), "New@example.com");
    server
        .sign_in("old@example.com", PASSWORD)
        .assert(401, UNKNOWN_CREDENTIALS);
    confirm(&server, &user, "new@example.com", &otp).assert(400, INVALID_OTP);

    // The session goes on, and its next tokens name the new address.
    let refreshed = server.post(
        "token/refresh/",
        &json!({"refresh": refreshed.text("refresh")}),
    );
    assert_eq!(email_claim(&refreshed.text("access")), "New@example.com");

    // The old address is free when it can no longer be restored.
    server.sign_up("old@example.com").assert(400, EMAIL_TAKEN);
    server.advance(Duration::from_hours(7 * 24));
    assert_eq!(server.sign_up("old@example.com").status, 201);
    let other = server.confirm("old@example.com");
    assert_eq!(
        server.get("users/me/", Some(&other.text("access"))).json()["id"],
        2
    );
}

#[test]
fn code_needs_the_owners_token() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let other = server.user("other@example.com");
    let staff = server.staff("staff@example.com");
    let otp = changed(&server, &user, "new@example.com");
    let body = json!({"email": "new@example.com", "otp": otp});
    server.post("otp/verify/", &body).assert(400, INVALID_OTP);
    server
        .api("POST", "otp/verify/", Some("nonsense"), &body)
        .assert(400, INVALID_OTP);
    server
        .api("POST", "otp/verify/", Some(&user.refresh), &body)
        .assert(400, INVALID_OTP);
    confirm(&server, &other, "new@example.com", &otp).assert(400, INVALID_OTP);
    confirm(&server, &staff, "new@example.com", &otp).assert(400, INVALID_OTP);
    confirm(&server, &user, "user@example.com", &otp).assert(400, INVALID_OTP);
    confirm(&server, &user, "other@example.com", &otp).assert(400, INVALID_OTP);
    assert_eq!(claimed(&server, "user@example.com"), "user@example.com");
    // Any session of the owner will do.
    let again = server.sign_in("new@example.com", PASSWORD);
    let again = User {
        access: again.text("access"),
        ..user
    };
    confirm(&server, &again, "new@example.com", &otp).assert(200, EMAIL_VERIFIED);
    assert_eq!(claimed(&server, "new@example.com"), "new@example.com");
}

#[test]
fn code_expires_and_can_be_resent() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let otp = changed(&server, &user, "new@example.com");
    server.advance_seconds(600);
    let pair = server.sign_in("new@example.com", PASSWORD);
    let user = User {
        access: pair.text("access"),
        ..user
    };
    confirm(&server, &user, "new@example.com", &otp).assert(400, INVALID_OTP);
    assert_signs_in(&server, &user, "user@example.com");
    server
        .post("otp/resend/", &json!({"email": "NEW@example.com"}))
        .assert(200, EMAIL_SENT);
    assert_eq!(server.mails("new@example.com").len(), 2);
    let again = server.otp("new@example.com");
    confirm(&server, &user, "new@example.com", &again).assert(200, EMAIL_VERIFIED);
    server
        .sign_in("user@example.com", PASSWORD)
        .assert(401, UNKNOWN_CREDENTIALS);
}

#[test]
fn an_address_of_a_verified_account_is_taken() {
    let server = TestServer::start();
    server.user("Taken@example.com");
    let user = server.user("user@example.com");
    let mails = server.mails("taken@example.com").len();
    for email in [
        "Taken@example.com",
        "taken@example.com",
        " TAKEN@EXAMPLE.COM ",
    ] {
        let body = json!({"email": email, "first_name": "Changed"});
        server
            .patch("users/me/", &user, &body)
            .assert(400, EMAIL_TAKEN);
    }
    let profile = server.get("users/me/", Some(&user.access));
    assert_eq!(
        (&*profile.text("email"), &*profile.text("first_name")),
        ("user@example.com", "")
    );
    assert_eq!(
        server.mails("taken@example.com").len(),
        mails,
        "no mail for a refused change"
    );

    // An owner keeps the confirmed address until a change is confirmed, also after the next request.
    let owner = server.sign_in("taken@example.com", PASSWORD);
    let owner = User {
        id: 1,
        email: String::new(),
        access: owner.text("access"),
        refresh: String::new(),
    };
    changed(&server, &owner, "elsewhere@example.com");
    change(&server, &user, "taken@example.com").assert(400, EMAIL_TAKEN);
    change(&server, &user, "elsewhere@example.com");
    assert_eq!(
        shown(&server, &owner),
        "Taken@example.com",
        "the claim that was not confirmed gave way"
    );
}

#[test]
fn a_never_verified_account_gives_way() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for password in ["password-of-stranger-1", "password-of-stranger-2"] {
        let body =
            json!({"email": "new@example.com", "password": password, "confirm_password": password});
        assert_eq!(
            server.post("users/", &body).text_of_data("email"),
            "new@example.com"
        );
    }
    let strangers: Vec<String> = server
        .mails("new@example.com")
        .into_iter()
        .map(|mail| mail.otp.unwrap())
        .collect();
    assert_eq!(strangers.len(), 2);
    assert_eq!(
        server.db_number("SELECT id FROM users WHERE email = 'new@example.com'"),
        2
    );

    let otp = changed(&server, &user, "new@example.com");
    for stranger in &strangers {
        let body = json!({"email": "new@example.com", "otp": stranger});
        server.post("otp/verify/", &body).assert(400, INVALID_OTP);
        confirm(&server, &user, "new@example.com", stranger).assert(400, INVALID_OTP);
    }
    server
        .sign_in("new@example.com", "password-of-stranger-2")
        .assert(401, UNKNOWN_CREDENTIALS);
    assert_signs_in(&server, &user, "new@example.com");
    assert_eq!(server.db_number("SELECT count(*) FROM users"), 1);
    confirm(&server, &user, "new@example.com", &otp).assert(200, EMAIL_VERIFIED);

    let next = server.sign_up("next@example.com");
    let id = next.json()["data"]["id"].as_i64().unwrap();
    assert!(
        id > 2,
        "an id is never used twice, not even after its account is gone: {id}"
    );
    let staff = server.staff("staff@example.com");
    server
        .get("users/2/", Some(&staff.access))
        .assert(404, NO_USER);
}

#[test]
fn return_to_the_confirmed_address_needs_no_code() {
    let server = TestServer::start();
    let user = server.user("old@example.com");
    let otp = changed(&server, &user, "new@example.com");
    let mails = server.mails("old@example.com").len();
    let answer = change(&server, &user, "old@example.com");
    assert_eq!(
        (answer.status, &*answer.text("email")),
        (200, "old@example.com")
    );
    assert!(
        server
            .mails("old@example.com")
            .iter()
            .skip(mails)
            .all(|mail| mail.otp.is_none())
    );
    assert_eq!(shown(&server, &user), "old@example.com");
    assert_eq!(claimed(&server, "old@example.com"), "old@example.com");
    server
        .sign_in("new@example.com", PASSWORD)
        .assert(401, UNKNOWN_CREDENTIALS);
    confirm(&server, &user, "new@example.com", &otp).assert(400, INVALID_OTP);
    confirm(&server, &user, "old@example.com", &otp).assert(400, INVALID_OTP);

    // Nothing of it is left: the address is free for others, and for a second try.
    let other = server.user("new@example.com");
    change(&server, &user, "new@example.com").assert(400, EMAIL_TAKEN);
    changed(&server, &other, "another@example.com");
    let otp = changed(&server, &user, "third@example.com");
    confirm(&server, &user, "third@example.com", &otp).assert(200, EMAIL_VERIFIED);
}

#[test]
fn another_change_replaces_the_one_before() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let first = changed(&server, &user, "first@example.com");
    let second = changed(&server, &user, "second@example.com");
    confirm(&server, &user, "first@example.com", &first).assert(400, INVALID_OTP);
    server
        .sign_in("first@example.com", PASSWORD)
        .assert(401, UNKNOWN_CREDENTIALS);
    for email in ["user@example.com", "second@example.com"] {
        assert_signs_in(&server, &user, email);
        assert_eq!(claimed(&server, email), "user@example.com");
    }
    confirm(&server, &user, "second@example.com", &second).assert(200, EMAIL_VERIFIED);
    assert_eq!(server.sign_up("first@example.com").status, 201);
}

#[test]
fn another_spelling_is_the_same_address() {
    let server = TestServer::start_with_mail_limits();
    let user = server.user("user@example.com");
    for (typed, stored) in [
        ("User@example.com", "User@example.com"),
        ("USER@EXAMPLE.COM", "USER@example.com"),
        ("USER@example.com", "USER@example.com"),
        ("user@example.com", "user@example.com"),
    ] {
        let answer = change(&server, &user, typed);
        assert_eq!(
            (answer.status, &*answer.text("email")),
            (200, stored),
            "{typed}"
        );
        assert_eq!(shown(&server, &user), stored);
        assert_eq!(claimed(&server, "uSer@example.com"), stored);
    }
    assert_eq!(
        server.mails("user@example.com").len(),
        1,
        "only that of the sign-up"
    );

    // Nor is it one while the address waits for its code: that one stays good.
    let otp = changed(&server, &user, "new@example.com");
    for spelling in ["New@example.com", "NEW@example.com"] {
        let answer = change(&server, &user, spelling);
        assert_eq!(
            (answer.status, &*answer.text("email")),
            (200, spelling),
            "{}",
            answer.body
        );
    }
    assert_eq!(server.mails("new@example.com").len(), 1);
    confirm(&server, &user, "new@example.com", &otp).assert(200, EMAIL_VERIFIED);
    assert_eq!(claimed(&server, "new@example.com"), "NEW@example.com");
}

#[test]
fn later_of_two_claims_wins() {
    let server = TestServer::start();
    let alice = server.user("alice@example.com");
    let bob = server.user("bob@example.com");
    let alices = changed(&server, &alice, "wanted@example.com");
    let bobs = changed(&server, &bob, "wanted@example.com");
    assert_eq!(shown(&server, &alice), "alice@example.com");
    assert_signs_in(&server, &bob, "wanted@example.com");
    for (user, otp) in [(&alice, &alices), (&alice, &bobs), (&bob, &alices)] {
        confirm(&server, user, "wanted@example.com", otp).assert(400, INVALID_OTP);
    }
    confirm(&server, &bob, "wanted@example.com", &bobs).assert(200, EMAIL_VERIFIED);
    change(&server, &alice, "wanted@example.com").assert(400, EMAIL_TAKEN);
    assert_signs_in(&server, &alice, "alice@example.com");
    server
        .sign_in("bob@example.com", PASSWORD)
        .assert(401, UNKNOWN_CREDENTIALS);
}

#[test]
fn two_accounts_swap_addresses() {
    let server = TestServer::start();
    let alice = server.user("alice@example.com");
    let bob = server.user("bob@example.com");
    change(&server, &alice, "bob@example.com").assert(400, EMAIL_TAKEN);
    for (user, email, next) in [
        (&bob, "bob@example.com", "third@example.com"),
        (&alice, "alice@example.com", "bob@example.com"),
        (&bob, "third@example.com", "alice@example.com"),
    ] {
        let user = User {
            access: server.sign_in(email, PASSWORD).text("access"),
            ..user.clone()
        };
        let otp = changed(&server, &user, next);
        confirm(&server, &user, next, &otp).assert(200, EMAIL_VERIFIED);
        // Until then the former address is held for its account.
        server.advance(Duration::from_hours(7 * 24));
    }
    assert_signs_in(&server, &alice, "bob@example.com");
    assert_signs_in(&server, &bob, "alice@example.com");
}

#[test]
fn concurrent_claims_leave_one() {
    let server = TestServer::start();
    let users: Vec<User> = (0..10)
        .map(|n| server.user(&format!("user{n}@example.com")))
        .collect();
    let answers = at_once(10, |n| change(&server, &users[n], "wanted@example.com"));
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(
            (answer.status, &*answer.text("email")),
            (200, "wanted@example.com"),
            "{n}: {}",
            answer.body
        );
    }
    let shown: Vec<String> = users.iter().map(|user| shown(&server, user)).collect();
    let holders: Vec<usize> = (0..10)
        .filter(|n| shown[*n] == "wanted@example.com")
        .collect();
    assert_eq!(holders.len(), 1, "{shown:?}");
    for (n, email) in shown.iter().enumerate().filter(|(n, _)| *n != holders[0]) {
        assert_eq!(email, &users[n].email);
        assert_signs_in(&server, &users[n], email);
    }
    let confirmed = server
        .mails("wanted@example.com")
        .iter()
        .filter(|mail| {
            let otp = mail.otp.as_ref().unwrap();
            confirm(&server, &users[holders[0]], "wanted@example.com", otp).status == 200
        })
        .count();
    // The holder's code may come after more wrong ones than are taken; then a fresh one is asked for.
    if confirmed == 0 {
        server.post("otp/resend/", &json!({"email": "wanted@example.com"}));
        let otp = server.otp("wanted@example.com");
        confirm(&server, &users[holders[0]], "wanted@example.com", &otp)
            .assert(200, EMAIL_VERIFIED);
    }
    assert_eq!(claimed(&server, "wanted@example.com"), "wanted@example.com");
    assert_eq!(
        server.db_number("SELECT count(*) FROM users WHERE new_email IS NOT NULL"),
        0
    );
}

#[test]
fn staff_changes_an_address_and_its_owner_confirms_it() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let staff = server.staff("staff@example.com");
    let answer = server.patch(&user.path(), &staff, &json!({"email": "new@example.com"}));
    assert_eq!(
        (answer.status, &*answer.text("email")),
        (200, "new@example.com")
    );
    assert_eq!(answer.json()["id"], user.id);
    let otp = server.otp("new@example.com");
    assert_eq!(shown(&server, &user), "new@example.com");
    assert_eq!(shown(&server, &staff), "staff@example.com");
    confirm(&server, &staff, "new@example.com", &otp).assert(400, INVALID_OTP);
    assert_eq!(claimed(&server, "new@example.com"), "user@example.com");
    confirm(&server, &user, "new@example.com", &otp).assert(200, EMAIL_VERIFIED);
    assert_eq!(claimed(&server, "new@example.com"), "new@example.com");

    let taken = server.patch(&user.path(), &staff, &json!({"email": "STAFF@example.com"}));
    taken.assert(400, EMAIL_TAKEN);
}

#[test]
fn staff_corrects_the_address_of_a_sign_up() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    let id = server.sign_up("mistyped@example.com").json()["data"]["id"]
        .as_i64()
        .unwrap();
    let dead = server.otp("mistyped@example.com");
    let path = format!("users/{id}/");
    let answer = server.patch(&path, &staff, &json!({"email": "right@example.com"}));
    assert_eq!(
        (answer.status, &*answer.text("email")),
        (200, "right@example.com")
    );
    for email in ["mistyped@example.com", "right@example.com"] {
        server
            .post("otp/verify/", &json!({"email": email, "otp": dead}))
            .assert(400, INVALID_OTP);
    }
    server
        .sign_in("right@example.com", PASSWORD)
        .assert(401, UNVERIFIED);
    server
        .sign_in("mistyped@example.com", PASSWORD)
        .assert(401, UNKNOWN_CREDENTIALS);
    let confirmed = server.confirm("right@example.com");
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    let profile = server.get("users/me/", Some(&confirmed.text("access")));
    assert_eq!(
        (profile.json()["id"].as_i64(), &*profile.text("email")),
        (Some(id), "right@example.com")
    );
    assert_eq!(email_claim(&confirmed.text("access")), "right@example.com");
}

#[test]
fn one_mail_a_minute_goes_to_a_new_address() {
    let server = TestServer::start_with_mail_limits();
    let alice = server.user("alice@example.com");
    let bob = server.user("bob@example.com");
    let otp = changed(&server, &alice, "new@example.com");
    server.advance_seconds(18);
    let body = json!({"email": "NEW@example.com", "first_name": "Changed"});
    server.patch("users/me/", &bob, &body).assert_throttled(42);
    let profile = server.get("users/me/", Some(&bob.access));
    assert_eq!(
        (&*profile.text("email"), &*profile.text("first_name")),
        ("bob@example.com", "")
    );
    assert_eq!(server.mails("new@example.com").len(), 1);
    assert_eq!(
        shown(&server, &alice),
        "new@example.com",
        "who came first keeps it"
    );
    let wrong = server.patch(
        "users/me/",
        &bob,
        &json!({"email": "new@example.com", "gender": "X"}),
    );
    assert_eq!(wrong.status, 400, "wrong fields are reported first");

    // Going back and forth does not get around the limit, and going back is free.
    let back = change(&server, &alice, "alice@example.com");
    assert_eq!(
        (back.status, &*back.text("email")),
        (200, "alice@example.com")
    );
    change(&server, &alice, "new@example.com").assert_throttled(42);
    confirm(&server, &alice, "new@example.com", &otp).assert(400, INVALID_OTP);
    server.advance_seconds(42);
    let otp = changed(&server, &alice, "new@example.com");
    confirm(&server, &alice, "new@example.com", &otp).assert(200, EMAIL_VERIFIED);
}

#[test]
fn one_network_gets_four_mails_an_hour_to_a_new_address() {
    let server = TestServer::start_with_mail_limits();
    let user = server.user("user@example.com");
    let signed_in = || {
        let pair = server.sign_in("user@example.com", PASSWORD);
        User {
            access: pair.text("access"),
            ..user.clone()
        }
    };
    for _ in 0..4 {
        changed(&server, &signed_in(), "new@example.com");
        assert_eq!(
            change(&server, &signed_in(), "user@example.com").status,
            200
        );
        server.advance_seconds(60);
    }
    change(&server, &signed_in(), "new@example.com").assert_throttled(3360);
    changed(&server, &signed_in(), "elsewhere@example.com");
    server.advance_seconds(3360);
    changed(&server, &signed_in(), "new@example.com");
}

#[test]
fn invalid_address_is_refused() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let long = format!("{}@example.com", "a".repeat(250));
    let form = "Enter a valid email address.";
    for (value, messages) in [
        (json!(""), json!(["This field may not be blank."])),
        (json!("  "), json!(["This field may not be blank."])),
        (json!(null), json!(["This field may not be null."])),
        (json!("nobody"), json!([form])),
        (json!("a b@example.com"), json!([form])),
        (json!(true), json!([form])),
        (json!(["new@example.com"]), json!([form])),
        (
            json!(long),
            json!(["Ensure this field has no more than 254 characters.", form]),
        ),
    ] {
        let answer = server.patch(
            "users/me/",
            &user,
            &json!({"email": value, "first_name": "Changed"}),
        );
        assert_eq!(answer.status, 400, "{value}");
        assert_eq!(answer.json()["email"][0], messages[0], "{value}");
        assert_eq!(answer.json().as_object().unwrap().len(), 1, "{value}");
    }
    let profile = server.get("users/me/", Some(&user.access));
    assert_eq!(
        (&*profile.text("email"), &*profile.text("first_name")),
        ("user@example.com", "")
    );
}

#[test]
fn pending_change_survives_a_restart() {
    let mut server = TestServer::start();
    let user = server.user("user@example.com");
    let otp = changed(&server, &user, "new@example.com");
    server.restart();
    assert_eq!(shown(&server, &user), "new@example.com");
    for email in ["user@example.com", "new@example.com"] {
        assert_eq!(claimed(&server, email), "user@example.com");
    }
    confirm(&server, &user, "new@example.com", &otp).assert(200, EMAIL_VERIFIED);
}

#[test]
fn reader_of_a_mistyped_address_gains_nothing() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let otp = changed(&server, &user, "mistyped@example.com");
    let stranger = server.user("stranger@example.com");
    confirm(&server, &stranger, "mistyped@example.com", &otp).assert(400, INVALID_OTP);
    // The reader of that mailbox signs up for it, as is their right, and the account falls back.
    let theirs = server.user("mistyped@example.com");
    assert_ne!(theirs.id, user.id);
    assert_eq!(shown(&server, &user), "user@example.com");
    confirm(&server, &user, "mistyped@example.com", &otp).assert(400, INVALID_OTP);
    assert_signs_in(&server, &theirs, "mistyped@example.com");
    assert_signs_in(&server, &user, "user@example.com");
}
