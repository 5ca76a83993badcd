//! `DELETE users/<pk>/`: an account goes, with everything about it.

use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::contract::{
    BAD_TOKEN, DEAD_TOKEN, FORBIDDEN, INVALID_OTP, NO_TOKEN, NO_USER, NOT_FOUND,
    UNKNOWN_CREDENTIALS,
};
use crate::support::{Answer, PASSWORD, TestServer, User, at_once, sign_up_with};

const WRONG: &str = r#"{"password":["Invalid password."]}"#;
const LAST: &str =
    r#"{"detail":"The last active staff member cannot be demoted, deactivated or deleted."}"#;

fn delete(server: &TestServer, user: &User, path: &str, body: &Value) -> Answer {
    server.api("DELETE", path, Some(&user.access), body)
}

/// Deletes an account as its owner does.
fn delete_own(server: &TestServer, user: &User) -> Answer {
    delete(server, user, "users/me/", &json!({"password": PASSWORD}))
}

#[track_caller]
fn assert_no_content(answer: &Answer) {
    answer.assert(204, "");
    assert_eq!(answer.header("content-type"), None);
}

#[track_caller]
fn assert_gone(server: &TestServer, user: &User) {
    server
        .get("users/me/", Some(&user.access))
        .assert(401, BAD_TOKEN);
    server
        .post("token/refresh/", &json!({"refresh": user.refresh}))
        .assert(401, DEAD_TOKEN);
    for token in [&user.access, &user.refresh] {
        server
            .post("token/verify/", &json!({"token": token}))
            .assert(401, DEAD_TOKEN);
    }
    server
        .sign_in(&user.email, PASSWORD)
        .assert(401, UNKNOWN_CREDENTIALS);
}

#[track_caller]
fn assert_there(server: &TestServer, user: &User) {
    assert_eq!(server.get("users/me/", Some(&user.access)).status, 200);
    assert_eq!(server.sign_in(&user.email, PASSWORD).status, 200);
}

#[test]
fn owner_deletes_the_account_with_its_password() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let other = server.user("other@example.com");
    assert_no_content(&delete_own(&server, &user));
    assert_gone(&server, &user);
    assert_there(&server, &other);
    assert_eq!(server.db_number("SELECT count(*) FROM users"), 1);
    // The number in the path means the same as `me`, and any encoding will do.
    let answer = server.request(
        "DELETE",
        &format!("/api/v1/accounts/users/{}", other.id),
        &[
            ("authorization", &format!("Bearer {}", other.access)),
            ("content-type", "application/x-www-form-urlencoded"),
        ],
        format!("password={PASSWORD}"),
    );
    assert_no_content(&answer);
    assert_gone(&server, &other);
}

#[test]
fn owner_is_notified_of_the_deletion() {
    let server = TestServer::start();
    let subjects = |to: &str| -> Vec<String> {
        let mails = server.mails(to);
        mails.into_iter().map(|mail| mail.subject).collect()
    };
    let user = server.user("former@example.com");
    server.patch("users/me/", &user, &json!({"email": "user@example.com"}));
    let otp = server.otp("user@example.com");
    let body = json!({"email": "user@example.com", "otp": otp});
    let confirmed = server.api("POST", "otp/verify/", Some(&user.access), &body);
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    server.patch("users/me/", &user, &json!({"email": "pending@example.com"}));
    let pending = subjects("pending@example.com").len();
    assert_no_content(&delete_own(&server, &user));
    // The confirmed address and that of an undo link, and not one that was never confirmed.
    for address in ["user@example.com", "former@example.com"] {
        assert_eq!(
            subjects(address)[0],
            "Your account was deleted",
            "{address}"
        );
        assert!(server.mails(address)[0].text.contains("127.0.0.1"));
    }
    assert_eq!(subjects("pending@example.com").len(), pending);
    // Nobody learns the address of an administrator, and a stranger's sign-up stays unmentioned.
    let staff = server.staff("staff@example.com");
    let other = server.user("other@example.com");
    assert_no_content(&delete(&server, &staff, &other.path(), &json!({})));
    let notice = &server.mails("other@example.com")[0];
    assert_eq!(notice.subject, "Your account was deleted");
    assert!(!notice.text.contains("127.0.0.1"), "{}", notice.text);
    assert_eq!(server.sign_up("never@example.com").status, 201);
    let path = format!("users/{}/", server.db_number("SELECT max(id) FROM users"));
    assert_no_content(&delete(&server, &staff, &path, &json!({})));
    assert_eq!(subjects("never@example.com").len(), 1);
}

#[test]
fn deletion_needs_the_password() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let required = json!({"password": ["This field is required."]});
    let blank = json!({"password": ["This field may not be blank."]});
    let null = json!({"password": ["This field may not be null."]});
    let no_text = json!({"password": ["Not a valid string."]});
    let wrong = json!({"password": ["Invalid password."]});
    for (body, expected) in [
        (json!({}), &required),
        (json!({"current_password": PASSWORD}), &required),
        (json!({"password": null}), &null),
        (json!({"password": ""}), &blank),
        (json!({"password": true}), &no_text),
        (json!({"password": [PASSWORD]}), &no_text),
        (json!({"password": "wrong"}), &wrong),
        (json!({"password": "   "}), &wrong),
        (json!({"password": format!("{PASSWORD} ")}), &wrong),
        (json!({"password": PASSWORD.to_uppercase()}), &wrong),
    ] {
        for path in ["users/me/".to_owned(), user.path()] {
            delete(&server, &user, &path, &body).assert_json(400, expected);
        }
    }
    let authorization = format!("Bearer {}", user.access);
    let answer = server.request(
        "DELETE",
        "/api/v1/accounts/users/me/",
        &[("authorization", &authorization)],
        "",
    );
    answer.assert_json(400, &required);
    assert_there(&server, &user);
}

#[test]
fn only_owner_and_staff_can_delete() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let other = server.user("other@example.com");
    let with_password = json!({"password": PASSWORD});
    for path in [user.path(), "users/99/".to_owned(), "users/0/".to_owned()] {
        // Existing or not, right body or none: it is not the caller's to delete.
        for body in [&with_password, &json!({}), &json!([])] {
            delete(&server, &other, &path, body).assert(403, FORBIDDEN);
        }
    }
    for path in [user.path(), "users/me/".to_owned()] {
        server
            .api("DELETE", &path, None, &with_password)
            .assert(401, NO_TOKEN);
        server
            .api("DELETE", &path, Some("nonsense"), &with_password)
            .assert(401, BAD_TOKEN);
    }
    delete(&server, &user, "users/abc/", &with_password).assert(404, NOT_FOUND);
    assert_there(&server, &user);
    assert_there(&server, &other);
}

#[test]
fn staff_needs_no_password() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    let user = server.user("user@example.com");
    let other = server.user("other@example.com");
    let waiting = server.sign_up("waiting@example.com").json()["data"]["id"].clone();
    let otp = server.otp("waiting@example.com");
    assert_no_content(&delete(&server, &staff, &user.path(), &json!({})));
    assert_gone(&server, &user);
    delete(&server, &staff, &user.path(), &json!({})).assert(404, NO_USER);
    delete(&server, &staff, "users/99/", &json!({})).assert(404, NO_USER);
    // A wrong one does not matter either.
    let wrong = json!({"password": "wrong"});
    assert_no_content(&delete(&server, &staff, &other.path(), &wrong));
    assert_gone(&server, &other);
    // An account that was never verified goes with the sign-ups that wait for it.
    let path = format!("users/{waiting}/");
    assert_no_content(&delete(&server, &staff, &path, &json!({})));
    server
        .post(
            "otp/verify/",
            &json!({"email": "waiting@example.com", "otp": otp}),
        )
        .assert(400, INVALID_OTP);
    assert_there(&server, &staff);
}

#[test]
fn address_is_reusable_and_id_is_not() {
    let server = TestServer::start();
    let first = server.user("user@example.com");
    assert_no_content(&delete_own(&server, &first));
    let second = server.user("user@example.com");
    assert!(second.id > first.id, "{} {}", second.id, first.id);
    assert_gone_tokens(&server, &first);
    let profile = server.get("users/me/", Some(&second.access)).json();
    assert_eq!(profile["id"], second.id);
    // Also not when the number was the highest one and the server restarted.
    let mut server = server;
    assert_no_content(&delete_own(&server, &second));
    server.restart();
    let third = server.user("third@example.com");
    assert!(third.id > second.id, "{} {}", third.id, second.id);
    assert_gone_tokens(&server, &second);
}

#[track_caller]
fn assert_gone_tokens(server: &TestServer, user: &User) {
    server
        .get("users/me/", Some(&user.access))
        .assert(401, BAD_TOKEN);
    server
        .get(&user.path(), Some(&user.access))
        .assert(401, BAD_TOKEN);
    server
        .post("token/refresh/", &json!({"refresh": user.refresh}))
        .assert(401, DEAD_TOKEN);
}

#[test]
fn codes_of_a_deleted_account_are_invalid() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    server.post("password/reset/", &json!({"email": "user@example.com"}));
    let reset_otp = server.otp("user@example.com");
    server.patch("users/me/", &user, &json!({"email": "new@example.com"}));
    let change_otp = server.otp("new@example.com");
    assert_no_content(&delete_own(&server, &user));
    server
        .post(
            "password/reset/confirm/",
            &json!({
                "email": "user@example.com", "otp": reset_otp,
                "password": "another-Passw0rd", "confirm_password": "another-Passw0rd",
            }),
        )
        .assert(400, INVALID_OTP);
    server
        .post(
            "otp/verify/",
            &json!({"email": "new@example.com", "otp": change_otp}),
        )
        .assert(400, INVALID_OTP);
    for email in ["user@example.com", "new@example.com"] {
        let before = server.mails(email).len();
        for path in ["password/reset/", "otp/resend/"] {
            assert_eq!(server.post(path, &json!({"email": email})).status, 200);
        }
        assert_eq!(server.mails(email).len(), before, "mails to {email}");
        server
            .sign_in(email, PASSWORD)
            .assert(401, UNKNOWN_CREDENTIALS);
    }
    // Both addresses are anybody's again.
    for email in ["user@example.com", "new@example.com"] {
        assert_eq!(server.sign_up(email).status, 201, "{email}");
    }
}

#[test]
fn the_last_active_staff_member_stays() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    let idle = server.staff("idle@example.com");
    server.user("user@example.com");
    let body = json!({"is_active": false});
    assert_eq!(server.patch(&idle.path(), &staff, &body).status, 200);
    // Who cannot sign in does not count.
    for path in ["users/me/".to_owned(), staff.path()] {
        delete(&server, &staff, &path, &json!({"password": PASSWORD})).assert(400, LAST);
        for change in [
            json!({"is_active": false}),
            json!({"is_staff": false}),
            json!({"is_active": false, "is_staff": false}),
            json!({"is_staff": false, "first_name": "Changed"}),
        ] {
            server.patch(&path, &staff, &change).assert(400, LAST);
        }
    }
    let profile = server.get("users/me/", Some(&staff.access)).json();
    assert_eq!(
        profile["first_name"], "",
        "a refused change changes nothing"
    );
    assert_there(&server, &staff);
    // Saying what is so already takes nothing away.
    let body = json!({"is_active": true, "is_staff": true, "last_name": "Doe"});
    assert_eq!(server.patch(&staff.path(), &staff, &body).status, 200);
    // The idle one is not the last one, so it may go.
    assert_no_content(&delete(&server, &staff, &idle.path(), &json!({})));
}

#[test]
fn one_of_two_staff_members_can_be_deleted() {
    for (what, change) in [
        ("deleted", None),
        ("deactivated", Some(json!({"is_active": false}))),
        ("demoted", Some(json!({"is_staff": false}))),
    ] {
        let server = TestServer::start();
        let one = server.staff("one@example.com");
        let other = server.staff("other@example.com");
        let answer = match &change {
            None => delete(&server, &one, "users/me/", &json!({})),
            Some(change) => server.patch("users/me/", &one, change),
        };
        assert!(
            matches!(answer.status, 200 | 204),
            "{what}: {}",
            answer.body
        );
        assert_eq!(
            server.get("users/", Some(&other.access)).status,
            200,
            "{what}"
        );
        delete(&server, &other, "users/me/", &json!({})).assert(400, LAST);
        server
            .patch("users/me/", &other, &json!({"is_staff": false}))
            .assert(400, LAST);
    }
}

#[test]
fn deleting_accounts_does_not_reset_mail_limits() {
    let server = TestServer::start_with_mail_limits();
    let to_victim = json!({"email": "victim@example.com"});
    let first = server.user("first@example.com");
    assert_eq!(server.patch("users/me/", &first, &to_victim).status, 200);
    assert_no_content(&delete_own(&server, &first));
    let second = server.user("second@example.com");
    server
        .patch("users/me/", &second, &to_victim)
        .assert_throttled(60);
    assert_eq!(server.mails("victim@example.com").len(), 1);
    server.advance_seconds(60);
    assert_eq!(server.patch("users/me/", &second, &to_victim).status, 200);
}

#[test]
fn concurrent_mutual_deletion_leaves_one_staff_member() {
    let server = TestServer::start();
    let staff: Vec<User> = (0..4)
        .map(|n| server.staff(&format!("staff-{n}@example.com")))
        .collect();
    let answers = at_once(4, |n| delete(&server, &staff[n], "users/me/", &json!({})));
    let gone = answers.iter().filter(|a| a.status == 204).count();
    assert_eq!(gone, 3, "{answers:?}");
    for answer in answers.iter().filter(|a| a.status != 204) {
        answer.assert(400, LAST);
    }
    assert_eq!(server.db_number("SELECT count(*) FROM users"), 1);
}

#[test]
fn concurrent_deletions_succeed_once() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let answers = at_once(6, |_| delete_own(&server, &user));
    assert!(answers.iter().any(|a| a.status == 204), "{answers:?}");
    for answer in answers.iter().filter(|a| a.status != 204) {
        // Too late: the token, or the account, was gone.
        assert!(matches!(answer.status, 401 | 404), "{answer:?}");
    }
    assert_gone(&server, &user);
}

#[test]
fn a_wrong_password_first_and_the_right_one_then() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    delete(&server, &user, "users/me/", &json!({"password": "wrong"})).assert(400, WRONG);
    assert_no_content(&delete_own(&server, &user));
    assert_gone(&server, &user);
}

/// Which of these texts stand anywhere in the files of the database, in whatever case.
fn found<'a>(server: &TestServer, texts: &[&'a str]) -> Vec<(String, &'a str)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(server.dir()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if !entry.file_type().unwrap().is_file() {
            continue;
        }
        let content = fs::read(entry.path()).unwrap().to_ascii_lowercase();
        for text in texts {
            let text_bytes = text.to_ascii_lowercase();
            let text_bytes = text_bytes.as_bytes();
            if content
                .windows(text_bytes.len())
                .any(|part| part == text_bytes)
            {
                found.push((name.clone(), *text));
            }
        }
    }
    found
}

#[test]
fn no_personal_data_stays_in_the_files() {
    let server = TestServer::start_behind_proxy();
    let fill = |n: usize| {
        for k in 0..8 {
            let user = server.user(&format!("neighbour-{n}-{k}@example.com"));
            server.patch(
                "users/me/",
                &user,
                &json!({"first_name": "N".repeat(20 * k + 1), "address": "A".repeat(30 * k)}),
            );
        }
    };
    fill(0);
    let body = sign_up_with(
        "Gertrude.Former@mail.example",
        &json!({
            "first_name": "Gertrudella", "last_name": "Quixwood", "phone": "+493012345678", "gender": "F",
            "country": "DE", "address": "Zwiebelgasse 17", "birthday": "1961-07-23",
        }),
    );
    assert_eq!(server.post("users/", &body).status, 201);
    let access = server
        .confirm("gertrude.former@mail.example")
        .text("access");
    let user = User {
        id: 9,
        email: "gertrude.present@mail.example".to_owned(),
        access,
        refresh: String::new(),
    };
    fill(1);
    // A second device, another name before, another address before, and one that is not confirmed yet.
    for name in ["Gertrudella-Kunigunda", "Gertrudella"] {
        let answer = server.patch("users/me/", &user, &json!({"first_name": name}));
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let pair = server.request(
        "POST",
        "/api/v1/accounts/token/",
        &[
            ("content-type", "application/json"),
            ("user-agent", "Gertrudophone/7"),
            ("x-forwarded-for", "203.0.113.77"),
        ],
        json!({"email": "gertrude.former@mail.example", "password": PASSWORD}).to_string(),
    );
    assert_eq!(pair.status, 200, "{}", pair.body);
    let present = json!({"email": "Gertrude.Present@mail.example"});
    server.patch("users/me/", &user, &present);
    let confirmed = server.api(
        "POST",
        "otp/verify/",
        Some(&user.access),
        &json!({"email": user.email, "otp": server.otp(&user.email)}),
    );
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    server.post("password/reset/", &json!({"email": user.email}));
    server.post_from(
        "203.0.113.77",
        "password/reset/confirm/",
        &json!({
            "email": user.email, "otp": "000000",
            "password": "another-Passw0rd", "confirm_password": "another-Passw0rd",
        }),
    );
    let future = json!({"email": "Gertrude.Future@mail.example"});
    server.patch("users/me/", &user, &future);
    fill(2);
    let hash = server.db_text("SELECT password_hash FROM users WHERE first_name = 'Gertrudella'");
    let texts = [
        "gertrud",
        "quixwood",
        "3012345678",
        "zwiebelgasse",
        "1961-07-23",
        "203.0.113.77",
        &hash,
    ];
    let before = found(&server, &texts);
    for text in texts {
        assert!(before.iter().any(|(_, found)| *found == text), "{text}");
    }
    let answer = delete(&server, &user, "users/me/", &json!({"password": PASSWORD}));
    assert_no_content(&answer);
    // The notice of the deletion is erased once it is delivered.
    for _ in 0..6_000 {
        if found(&server, &texts).is_empty() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(found(&server, &texts), []);
    let notice = &server.mails("gertrude.present@mail.example")[0];
    assert_eq!(notice.subject, "Your account was deleted");
    for text in ["gertrud", "mail.example"] {
        let query = format!("SELECT count(*) FROM otps WHERE email_key LIKE '%{text}%'");
        assert_eq!(server.db_number(&query), 0);
    }
    // The others are as they were.
    assert_eq!(server.db_number("SELECT count(*) FROM users"), 24);
    assert_eq!(
        server.sign_in("neighbour-1-3@example.com", PASSWORD).status,
        200
    );
}
