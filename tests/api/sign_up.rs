//! `POST users/`: signing up, alone, side by side, and for an address that somebody has.

use std::time::Duration;

use accounts_server::config::IpNetwork;
use accounts_server::mail::InboxEntry;
use serde_json::{Value, json};

use crate::contract::{EMAIL_TAKEN, FORBIDDEN, INVALID_OTP, UNKNOWN_CREDENTIALS, UNVERIFIED};
use crate::support::{Answer, PASSWORD, TestServer, at_once, sign_up_body, sign_up_with};

/// The request of the API description.
fn john() -> Value {
    json!({
        "email": "user@example.com", "password": "securepassword123", "confirm_password": "securepassword123",
        "first_name": "John", "last_name": "Doe", "phone": "+1234567890", "gender": "M", "country": "US",
    })
}

/// A sign-up with a password and a first name of its own.
fn sign_up_as(server: &TestServer, email: &str, password: &str, first_name: &str) -> Answer {
    server.post(
        "users/",
        &json!({
            "email": email, "password": password, "confirm_password": password, "first_name": first_name,
        }),
    )
}

fn verify(server: &TestServer, email: &str, otp: &str) -> Answer {
    server.post("otp/verify/", &json!({"email": email, "otp": otp}))
}

fn id(answer: &Answer) -> i64 {
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.json()["data"]["id"].as_i64().unwrap()
}

#[test]
fn returns_nine_keys_and_mails_a_code() {
    let server = TestServer::start();
    let answer = server.post("users/", &john());
    answer.assert(
        201,
        concat!(
            r#"{"msg":"Email sent successfully!","data":{"id":1,"email":"user@example.com","#,
            r#""first_name":"John","last_name":"Doe","phone":"+1234567890","gender":"M","country":"US","#,
            r#""created_at":"2024-12-03T12:00:00Z","updated_at":"2024-12-03T12:00:00Z"}}"#
        ),
    );
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let mails = server.mails("user@example.com");
    assert_eq!(mails.len(), 1);
    let otp = mails[0].otp.clone().unwrap();
    assert!(
        otp.len() == 6 && otp.bytes().all(|b| b.is_ascii_digit()),
        "{otp:?}"
    );
    assert!(mails[0].text.contains(&otp), "{}", mails[0].text);
    server
        .sign_in("user@example.com", PASSWORD)
        .assert(401, UNVERIFIED);
    assert_eq!(verify(&server, "user@example.com", &otp).status, 200);
    assert_eq!(server.sign_in("user@example.com", PASSWORD).status, 200);
}

#[test]
fn accepts_address_and_birthday() {
    let server = TestServer::start();
    let mut body = john();
    body["address"] = json!("123 Main Street, Some City, Some Country");
    body["birthday"] = json!("1990-01-01");
    let answer = server.post("users/", &body);
    answer.assert(
        201,
        concat!(
            r#"{"msg":"Email sent successfully!","data":{"id":1,"email":"user@example.com","#,
            r#""first_name":"John","last_name":"Doe","phone":"+1234567890","gender":"M","country":"US","#,
            r#""created_at":"2024-12-03T12:00:00Z","updated_at":"2024-12-03T12:00:00Z"}}"#
        ),
    );
    let access = server.confirm("user@example.com").text("access");
    server.get("users/me/", Some(&access)).assert(
        200,
        concat!(
            r#"{"id":1,"email":"user@example.com","first_name":"John","last_name":"Doe","phone":"+1234567890","#,
            r#""photo":null,"address":"123 Main Street, Some City, Some Country","gender":"M","country":"US","#,
            r#""birthday":"1990-01-01","has_initial_profile":true,"#,
            r#""created_at":"2024-12-03T12:00:00Z","updated_at":"2024-12-03T12:00:00Z"}"#
        ),
    );
}

#[test]
fn three_fields_are_enough() {
    let server = TestServer::start();
    server.sign_up("user@example.com").assert(
        201,
        concat!(
            r#"{"msg":"Email sent successfully!","data":{"id":1,"email":"user@example.com","#,
            r#""first_name":"","last_name":"","phone":"","gender":"","country":"","#,
            r#""created_at":"2024-12-03T12:00:00Z","updated_at":"2024-12-03T12:00:00Z"}}"#
        ),
    );
    let access = server.confirm("user@example.com").text("access");
    server.get("users/me/", Some(&access)).assert(
        200,
        concat!(
            r#"{"id":1,"email":"user@example.com","first_name":"","last_name":"","phone":"","#,
            r#""photo":null,"address":"","gender":"","country":"","#,
            r#""birthday":null,"has_initial_profile":false,"#,
            r#""created_at":"2024-12-03T12:00:00Z","updated_at":"2024-12-03T12:00:00Z"}"#
        ),
    );
}

#[test]
fn every_account_has_its_own_id_and_time() {
    let server = TestServer::start();
    for (number, time) in [(1, "2024-12-03T12:00:00Z"), (2, "2024-12-03T12:01:30Z")] {
        let answer = server.sign_up(&format!("user{number}@example.com"));
        assert_eq!(id(&answer), number);
        assert_eq!(answer.json()["data"]["created_at"], time);
        assert_eq!(answer.json()["data"]["updated_at"], time);
        server.advance_seconds(90);
    }
}

#[test]
fn ignores_the_authorization_header() {
    let server = TestServer::start();
    let alice = server.user("alice@example.com");
    for (email, token) in [
        ("b@example.com", "nonsense"),
        ("c@example.com", &alice.access),
    ] {
        let answer = server.api("POST", "users/", Some(token), &sign_up_body(email));
        assert_eq!(answer.status, 201, "{token}: {}", answer.body);
    }
}

#[test]
fn read_only_and_unknown_fields_are_ignored() {
    let server = TestServer::start();
    let bystander = server.user("bystander@example.com");
    let answer = server.post(
        "users/",
        &sign_up_with(
            "user@example.com",
            &json!({
                "id": 77, "created_at": "2000-01-01T00:00:00Z", "updated_at": [], "is_staff": true,
                "is_active": false, "is_verified": true, "has_initial_profile": "perhaps", "photo": 5,
                "last_login": null, "new_email": "other@example.com", "password_hash": "x", "anything": {"a": [1]},
            }),
        ),
    );
    answer.assert(
        201,
        concat!(
            r#"{"msg":"Email sent successfully!","data":{"id":2,"email":"user@example.com","#,
            r#""first_name":"","last_name":"","phone":"","gender":"","country":"","#,
            r#""created_at":"2024-12-03T12:00:00Z","updated_at":"2024-12-03T12:00:00Z"}}"#
        ),
    );
    server
        .sign_in("user@example.com", PASSWORD)
        .assert(401, UNVERIFIED);
    let confirmed = server.confirm("user@example.com");
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    let access = confirmed.text("access");
    let profile = server.get("users/me/", Some(&access));
    assert_eq!(profile.json()["photo"], Value::Null);
    assert_eq!(profile.json()["has_initial_profile"], false);
    assert_eq!(profile.json()["email"], "user@example.com");
    let others = server.get(&bystander.path(), Some(&access));
    others.assert(403, FORBIDDEN);
}

#[test]
fn only_the_domain_is_lower_cased() {
    let server = TestServer::start();
    for (typed, shown) in [
        ("John.Doe@EXAMPLE.Com", "John.Doe@example.com"),
        ("  UPPER@Example.Org \t", "UPPER@example.org"),
        ("a+B_c'd@Sub.EXAMPLE.com", "a+B_c'd@sub.example.com"),
    ] {
        let answer = server.sign_up(typed);
        assert_eq!(
            (answer.status, &*answer.text_of_data("email")),
            (201, shown),
            "{typed}"
        );
        let access = server.confirm(&shown.to_uppercase()).text("access");
        let sign_in = server.sign_in(&shown.to_uppercase(), PASSWORD);
        assert_eq!(sign_in.status, 200, "{shown}: {}", sign_in.body);
        assert_eq!(server.get("users/me/", Some(&access)).text("email"), shown);
    }
}

#[test]
fn a_verified_address_is_taken_in_any_case() {
    let server = TestServer::start();
    server.user("User@example.com");
    let mails = server.mails("user@example.com").len();
    for email in [
        "User@example.com",
        "user@example.com",
        "USER@EXAMPLE.COM",
        " uSER@Example.com ",
    ] {
        sign_up_as(&server, email, "another-Passw0rd", "Mallory").assert(400, EMAIL_TAKEN);
    }
    assert_eq!(
        server.mails("user@example.com").len(),
        mails,
        "no mail for a refused sign-up"
    );
    server
        .sign_in("user@example.com", "another-Passw0rd")
        .assert(401, UNKNOWN_CREDENTIALS);
    assert_eq!(server.sign_in("user@example.com", PASSWORD).status, 200);
    assert_eq!(server.db_number("SELECT count(*) FROM users"), 1);
}

#[test]
fn taken_address_is_reported_with_all_other_errors() {
    let server = TestServer::start();
    server.user("user@example.com");
    server
        .post(
            "users/",
            &json!({"email": "user@example.com", "password": "short", "phone": "none", "gender": "X"}),
        )
        .assert_json(
            400,
            &json!({
                "email": ["user with this email already exists."],
                "password": ["This password is too short. It must contain at least 8 characters."],
                "confirm_password": ["This field is required."],
                "phone": ["Enter a valid phone number."],
                "gender": ["\"X\" is not a valid choice."],
            }),
        );
}

#[test]
fn each_of_several_sign_ups_is_activated_by_its_own_code() {
    // The confirmed one brings its own spelling and fields, and the others die.
    for chosen in 0..3 {
        let server = TestServer::start();
        let spellings = ["user@example.com", "User@Example.com", "USER@example.com"];
        let shown = ["user@example.com", "User@example.com", "USER@example.com"];
        let times = [
            "2024-12-03T12:00:00Z",
            "2024-12-03T12:01:00Z",
            "2024-12-03T12:02:00Z",
        ];
        let (genders, countries) = (["M", "F", "O"], ["US", "DE", "FR"]);
        let mut otps = Vec::new();
        for n in 0..3 {
            let password = "securepassword123";
            let answer = server.post(
                "users/",
                &json!({
                    "email": spellings[n], "password": password, "confirm_password": password,
                    "first_name": format!("First{n}"), "last_name": format!("Last{n}"),
                    "phone": format!("+123456789{n}"), "address": format!("{n} Main Street"),
                    "gender": genders[n], "country": countries[n],
                    "birthday": format!("199{n}-01-01"),
                }),
            );
            answer.assert(
                201,
                &format!(
                    r#"{{"msg":"Email sent successfully!","data":{{"id":1,"email":"{}","first_name":"First{n}","last_name":"Last{n}","phone":"+123456789{n}","gender":"{}","country":"{}","created_at":"{}","updated_at":"{}"}}}}"#,
                    shown[n], genders[n], countries[n], times[n], times[n]
                ),
            );
            otps.push(server.otp("user@example.com"));
            server.advance_seconds(60);
        }
        let confirmed = verify(&server, "user@example.com", &otps[chosen]);
        assert_eq!(confirmed.status, 200, "{chosen}: {}", confirmed.body);
        let profile = server.get("users/1/", Some(&confirmed.text("access")));
        let expected = json!({
            "id": 1, "email": shown[chosen], "first_name": format!("First{chosen}"),
            "last_name": format!("Last{chosen}"), "phone": format!("+123456789{chosen}"), "photo": null,
            "address": format!("{chosen} Main Street"), "gender": genders[chosen],
            "country": countries[chosen], "birthday": format!("199{chosen}-01-01"),
            "has_initial_profile": true, "created_at": times[chosen], "updated_at": times[chosen],
        });
        profile.assert_json(200, &expected);
        for (n, otp) in otps.iter().enumerate() {
            let again = verify(&server, "user@example.com", otp);
            assert_eq!(
                (again.status, &*again.body),
                (400, INVALID_OTP),
                "code {n} after {chosen}"
            );
        }
        let sign_in = server.sign_in("user@example.com", "securepassword123");
        assert_eq!(sign_in.status, 200, "{chosen}: {}", sign_in.body);
        profile.assert_json(
            200,
            &server
                .get("users/1/", Some(&confirmed.text("access")))
                .json(),
        );
        assert_eq!(server.db_number("SELECT count(*) FROM users"), 1);
    }
}

#[test]
fn only_the_newest_pending_password_is_reported_as_unverified() {
    let server = TestServer::start();
    for n in 0..3 {
        sign_up_as(
            &server,
            "user@example.com",
            &format!("password-of-number-{n}"),
            "User",
        );
        for m in 0..=n {
            let expected = if m == n {
                UNVERIFIED
            } else {
                UNKNOWN_CREDENTIALS
            };
            let answer = server.sign_in("user@example.com", &format!("password-of-number-{m}"));
            assert_eq!(
                (answer.status, &*answer.body),
                (401, expected),
                "password {m} of {n}"
            );
        }
    }
    server
        .sign_in("user@example.com", "password-of-nobody")
        .assert(401, UNKNOWN_CREDENTIALS);
}

/// The newest mail to an address with this word in its subject.
fn mail_about(server: &TestServer, email: &str, word: &str) -> InboxEntry {
    let mails = server.mails(email);
    let mail = mails.iter().find(|mail| mail.subject.contains(word));
    let subjects: Vec<_> = mails.iter().map(|mail| &mail.subject).collect();
    mail.unwrap_or_else(|| panic!("{word} in {subjects:?}"))
        .clone()
}

#[test]
fn code_of_contested_sign_up_proves_the_mailbox_only() {
    // The owner enters the code of either of two look-alike mails: neither password takes effect.
    for is_strangers in [false, true] {
        let server = TestServer::start();
        let email = "owner@example.com";
        sign_up_as(&server, email, "password-of-owner", "Owner");
        let owners = server.otp(email);
        sign_up_as(
            &server,
            "Owner@example.com",
            "password-of-stranger",
            "Stranger",
        );
        let strangers = server.otp(email);
        let (used, other) = if is_strangers {
            (&strangers, &owners)
        } else {
            (&owners, &strangers)
        };
        let confirmed = verify(&server, email, used);
        assert_eq!(confirmed.status, 200, "{}", confirmed.body);
        let access = confirmed.text("access");
        let profile = server.get("users/me/", Some(&access));
        assert_eq!((profile.status, &*profile.text("first_name")), (200, ""));
        for password in ["password-of-stranger", "password-of-owner", "!", ""] {
            let status = server.sign_in(email, password).status;
            assert_eq!(
                status,
                if password.is_empty() { 400 } else { 401 },
                "{password:?}"
            );
        }
        verify(&server, email, other).assert(400, INVALID_OTP);
        // The reset went out at once, whatever the limits on mails say.
        let mail = mail_about(&server, email, "password");
        let reset = json!({
            "email": email, "otp": mail.otp.unwrap(), "password": "another-password-1",
            "confirm_password": "another-password-1",
        });
        assert_eq!(server.post("password/reset/confirm/", &reset).status, 200);
        assert_eq!(server.sign_in(email, "another-password-1").status, 200);
    }
}

#[test]
fn contested_sign_up_keeps_its_fields_with_its_own_password() {
    let server = TestServer::start();
    let email = "owner@example.com";
    sign_up_as(&server, email, "password-of-owner", "Owner");
    let owners = server.otp(email);
    sign_up_as(&server, email, "password-of-stranger", "Stranger");
    let body = json!({"email": email, "otp": owners, "password": "password-of-owner"});
    let confirmed = server.post("otp/verify/", &body);
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    let profile = server.get("users/me/", Some(&confirmed.text("access")));
    assert_eq!(profile.text("first_name"), "Owner");
    assert_eq!(server.sign_in(email, "password-of-owner").status, 200);
    server
        .sign_in(email, "password-of-stranger")
        .assert(401, UNKNOWN_CREDENTIALS);
    assert_eq!(server.mails(email).len(), 2, "no reset is needed");
}

#[test]
fn password_of_another_sign_up_proves_nothing() {
    let server = TestServer::start();
    let email = "owner@example.com";
    sign_up_as(&server, email, "password-of-stranger", "Stranger");
    sign_up_as(&server, email, "password-of-owner", "Owner");
    let owners = server.otp(email);
    let body = json!({"email": email, "otp": owners, "password": "password-of-stranger"});
    assert_eq!(server.post("otp/verify/", &body).status, 200);
    for password in ["password-of-owner", "password-of-stranger"] {
        server
            .sign_in(email, password)
            .assert(401, UNKNOWN_CREDENTIALS);
    }
    mail_about(&server, email, "password");
}

#[test]
fn uncontested_sign_up_ignores_a_password_beside_its_code() {
    for password in ["password-of-owner", "password-of-nobody"] {
        let server = TestServer::start();
        let email = "owner@example.com";
        sign_up_as(&server, email, "password-of-owner", "Owner");
        let body = json!({"email": email, "otp": server.otp(email), "password": password});
        let confirmed = server.post("otp/verify/", &body);
        assert_eq!(confirmed.status, 200, "{}", confirmed.body);
        let profile = server.get("users/me/", Some(&confirmed.text("access")));
        assert_eq!(profile.text("first_name"), "Owner");
        assert_eq!(server.sign_in(email, "password-of-owner").status, 200);
    }
}

#[test]
fn repeated_sign_up_with_one_password_contests_nothing() {
    let server = TestServer::start();
    let email = "owner@example.com";
    let names = ["First", "Second", "Third"];
    // Also at once, as a double click sends them.
    at_once(3, |n| {
        sign_up_as(&server, email, "password-of-owner", names[n])
    });
    let confirmed = server.confirm(email);
    let profile = server.get("users/me/", Some(&confirmed.text("access")));
    assert!(
        names.contains(&&*profile.text("first_name")),
        "{}",
        profile.body
    );
    assert_eq!(server.sign_in(email, "password-of-owner").status, 200);
}

#[test]
fn contest_lasts_until_an_account_is_confirmed() {
    let server = TestServer::start();
    let email = "owner@example.com";
    sign_up_as(&server, email, "password-of-stranger", "Stranger");
    // The stranger's code expires, and still its sign-up is pending.
    server.advance(Duration::from_hours(24));
    sign_up_as(&server, email, "password-of-owner", "Owner");
    sign_up_as(&server, email, "password-of-owner", "Owner");
    let confirmed = server.confirm(email);
    let profile = server.get("users/me/", Some(&confirmed.text("access")));
    assert_eq!(profile.text("first_name"), "");
    server
        .sign_in(email, "password-of-owner")
        .assert(401, UNKNOWN_CREDENTIALS);
}

#[test]
fn sign_up_is_pending_for_seven_days() {
    let server = TestServer::start();
    let email = "owner@example.com";
    sign_up_as(&server, email, "password-of-stranger", "Stranger");
    server.advance(Duration::from_hours(7 * 24));
    sign_up_as(&server, email, "password-of-owner", "Owner");
    let confirmed = server.confirm(email);
    let profile = server.get("users/me/", Some(&confirmed.text("access")));
    assert_eq!(profile.text("first_name"), "Owner");
    assert_eq!(server.sign_in(email, "password-of-owner").status, 200);
}

#[test]
fn resend_repeats_the_sign_up_of_the_asking_network() {
    let server = TestServer::start_behind_proxy();
    let email = "owner@example.com";
    let sign_up = |client: &str, password: &str| {
        let body = sign_up_with(
            email,
            &json!({"password": password, "confirm_password": password}),
        );
        assert_eq!(server.post_from(client, "users/", &body).status, 201);
    };
    sign_up("192.0.2.1", "password-of-owner");
    server.advance(Duration::from_hours(1));
    sign_up("198.51.100.9", "password-of-stranger");
    server.advance(Duration::from_hours(1));
    let address = json!({"email": email});
    for (asking, named, password) in [
        ("192.0.2.1", "192.0.2.1", "password-of-owner"),
        ("203.0.113.50", "198.51.100.9", "password-of-stranger"),
    ] {
        server.post_from(asking, "otp/resend/", &address);
        let mail = &server.mails(email)[0];
        assert!(mail.text.contains(named), "{}", mail.text);
        // The mail names the time of the sign-up.
        let hour = if named == "192.0.2.1" {
            "12:00"
        } else {
            "13:00"
        };
        assert!(mail.text.contains(hour), "{}", mail.text);
        let found: i64 = server.db_number("SELECT count(*) FROM sign_ups");
        assert_eq!(found, 2, "{password}");
    }
    // The code that was sent to the owner's network is that of the owner's sign-up.
    server.post_from("192.0.2.1", "otp/resend/", &address);
    let body = json!({"email": email, "otp": server.otp(email), "password": "password-of-owner"});
    assert_eq!(server.post("otp/verify/", &body).status, 200);
    assert_eq!(server.sign_in(email, "password-of-owner").status, 200);
}

#[test]
fn unverified_accounts_are_deleted_after_seven_days() {
    let server = TestServer::start();
    server.sign_up("gone@example.com");
    server.user("verified@example.com");
    let expire = || server.clear_expired();
    server.advance_seconds(7 * 24 * 60 * 60 - 1);
    expire();
    assert_eq!(server.db_number("SELECT count(*) FROM users"), 2);
    server.sign_up("late@example.com");
    // A valid code keeps its account, and staff stays.
    let resent = json!({"email": "gone@example.com"});
    server.db_execute(
        "INSERT INTO users (email, email_key, password_hash, is_staff, created_at, updated_at) \
         VALUES ('s@example.com', 's@example.com', '!', TRUE, 0, 0)",
    );
    server.post("otp/resend/", &resent);
    server.advance_seconds(1);
    expire();
    assert_eq!(server.db_number("SELECT count(*) FROM users"), 4);
    server.advance_seconds(600);
    expire();
    let left = server.db_text("SELECT string_agg(email, ' ' ORDER BY id) FROM users");
    assert_eq!(left, "verified@example.com late@example.com s@example.com");
    let deleted = "SELECT count(*) FROM events WHERE event = 'user_deleted' \
                   AND detail = 'never verified'";
    assert_eq!(server.db_number(deleted), 1);
}

#[test]
fn unverified_accounts_can_be_kept() {
    let server = TestServer::start_with(|config| config.accounts.unverified_days = 0);
    server.sign_up("kept@example.com");
    server.advance_seconds(30 * 24 * 60 * 60);
    server.clear_expired();
    assert_eq!(server.db_number("SELECT count(*) FROM users"), 1);
}

#[test]
fn mail_of_a_sign_up_names_time_and_network() {
    let server = TestServer::start();
    sign_up_as(&server, "owner@example.com", "password-of-owner", "Owner");
    let mail = &server.mails("owner@example.com")[0];
    assert!(mail.text.contains("127.0.0.1"), "{}", mail.text);
    assert!(mail.text.contains("12:00"), "{}", mail.text);
}

#[test]
fn pending_address_change_falls_back() {
    let server = TestServer::start();
    let bob = server.user("bob@example.com");
    let changed = server.patch(&bob.path(), &bob, &json!({"email": "new@example.com"}));
    assert_eq!(
        (changed.status, &*changed.text("email")),
        (200, "new@example.com")
    );
    let bobs = server.otp("new@example.com");

    // A sign-up that is refused takes nothing from anybody.
    let refused = sign_up_as(&server, "new@example.com", "short", "Stranger");
    assert_eq!(refused.status, 400);
    assert_eq!(
        server.get(&bob.path(), Some(&bob.access)).text("email"),
        "new@example.com"
    );

    let stranger = id(&sign_up_as(
        &server,
        "NEW@example.com",
        "password-of-stranger",
        "Stranger",
    ));
    assert_ne!(stranger, bob.id);
    assert_eq!(
        server.get(&bob.path(), Some(&bob.access)).text("email"),
        "bob@example.com"
    );
    let body = json!({"email": "new@example.com", "otp": bobs});
    server
        .api("POST", "otp/verify/", Some(&bob.access), &body)
        .assert(400, INVALID_OTP);
    server
        .sign_in("new@example.com", PASSWORD)
        .assert(401, UNKNOWN_CREDENTIALS);
    assert_eq!(server.sign_in("bob@example.com", PASSWORD).status, 200);

    let confirmed = server.confirm("new@example.com");
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    let profile = server.get("users/me/", Some(&confirmed.text("access")));
    assert_eq!(profile.json()["id"], stranger);
    assert_eq!(profile.text("email"), "NEW@example.com");
}

#[test]
fn one_mail_a_minute_goes_to_an_address() {
    let server = TestServer::start_with_mail_limits();
    let first = id(&sign_up_as(
        &server,
        "user@example.com",
        "password-of-number-1",
        "One",
    ));
    let otp = server.otp("user@example.com");
    let again = |email: &str| sign_up_as(&server, email, "password-of-number-2", "Two");
    again("user@example.com").assert_throttled(60);
    server.advance_seconds(18);
    again("USER@Example.com").assert_throttled(42);
    server.advance_seconds(41);
    again("user@example.com").assert_throttled(1);
    assert_eq!(
        server.mails("user@example.com").len(),
        1,
        "throttled sign-ups send nothing"
    );
    assert_eq!(
        server.sign_up("other@example.com").status,
        201,
        "the limit is the address's"
    );

    // Nothing is left of a throttled sign-up, and the code that is out stays good.
    server
        .sign_in("user@example.com", "password-of-number-1")
        .assert(401, UNVERIFIED);
    server
        .sign_in("user@example.com", "password-of-number-2")
        .assert(401, UNKNOWN_CREDENTIALS);
    server.advance_seconds(1);
    assert_eq!(id(&again("user@example.com")), first);
    assert_eq!(server.mails("user@example.com").len(), 2);
    let password = "password-of-number-1";
    let body = json!({"email": "user@example.com", "otp": otp, "password": password});
    let confirmed = server.post("otp/verify/", &body);
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    assert_eq!(server.sign_in("user@example.com", password).status, 200);
}

#[test]
fn one_network_gets_four_mails_an_hour() {
    let server = TestServer::start_with_mail_limits();
    let mut otps = Vec::new();
    for n in 0..4 {
        assert_eq!(server.sign_up("user@example.com").status, 201, "mail {n}");
        otps.push(server.otp("user@example.com"));
        server.advance_seconds(60);
    }
    server.sign_up("user@example.com").assert_throttled(3360);
    server.advance_seconds(360);
    server.sign_up("user@example.com").assert_throttled(3000);
    assert_eq!(server.mails("user@example.com").len(), 4);
    // The first code has expired after ten minutes, the second is valid for another minute.
    verify(&server, "user@example.com", &otps[0]).assert(400, INVALID_OTP);
    assert_eq!(verify(&server, "user@example.com", &otps[1]).status, 200);
}

#[test]
fn addresses_of_one_mailbox_share_the_mails_of_a_network() {
    let server = TestServer::start_with(|config| {
        config.otp.resend_seconds = 60;
        config.otp.mails_per_hour = 10;
        config.server.trusted_proxies = vec![IpNetwork::parse("127.0.0.1").unwrap()];
    });
    let sign_up = |client: &str, email: &str| {
        let body = sign_up_with(email, &json!({}));
        server.post_from(client, "users/", &body)
    };
    for email in [
        "user@a.example",
        "user+1@a.example",
        "user+2@a.example",
        "\"user+3\"@a.example",
    ] {
        assert_eq!(sign_up("203.0.113.7", email).status, 201, "{email}");
    }
    sign_up("203.0.113.7", "user+4@a.example").assert_throttled(3600);
    // Neither another mailbox nor another network is affected.
    assert_eq!(sign_up("203.0.113.7", "other+4@a.example").status, 201);
    assert_eq!(sign_up("198.51.100.1", "user+4@a.example").status, 201);
    // Unknown addresses count too, so that the time of a reset tells nothing about any of them.
    for n in 0..5 {
        let body = json!({"email": format!("nobody+{n}@a.example")});
        let answer = server.post_from("203.0.113.7", "password/reset/", &body);
        assert_eq!(answer.status, 200);
    }
    let noted = "SELECT count(*) FROM otp_mails WHERE purpose = 'unknown_reset'";
    assert_eq!(server.db_number(noted), 4);
}

#[test]
fn hourly_mail_limit_slides() {
    let server = TestServer::start_with_mail_limits();
    for _ in 0..4 {
        assert_eq!(server.sign_up("user@example.com").status, 201);
        server.advance_seconds(60);
    }
    server.advance_seconds(3359);
    server.sign_up("user@example.com").assert_throttled(1);
    server.advance_seconds(1);
    // The first mail is an hour old, the second one not yet.
    assert_eq!(server.sign_up("user@example.com").status, 201);
    server.sign_up("user@example.com").assert_throttled(60);
    assert_eq!(server.mails("user@example.com").len(), 5);
}

#[test]
fn mail_limits_survive_a_restart() {
    let mut server = TestServer::start_with_mail_limits();
    assert_eq!(server.sign_up("user@example.com").status, 201);
    server.restart();
    server.advance_seconds(20);
    server.sign_up("user@example.com").assert_throttled(40);
}

#[test]
fn field_errors_come_before_the_mail_limit() {
    let server = TestServer::start_with_mail_limits();
    server.sign_up("pending@example.com");
    let answer = server.post(
        "users/",
        &sign_up_with("pending@example.com", &json!({"gender": "X"})),
    );
    answer.assert(400, r#"{"gender":["\"X\" is not a valid choice."]}"#);
    server.user("taken@example.com");
    server.sign_up("taken@example.com").assert(400, EMAIL_TAKEN);
}

#[test]
fn concurrent_sign_ups_with_one_address_create_one_account() {
    let server = TestServer::start_with_mail_limits();
    let answers = at_once(50, |n| {
        sign_up_as(
            &server,
            "user@example.com",
            &format!("password-of-number-{n}"),
            "User",
        )
    });
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, 1, "one mail a minute");
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        answer.assert_throttled(60);
    }
    assert_eq!(server.db_number("SELECT count(*) FROM users"), 1);
    assert_eq!(server.mails("user@example.com").len(), 1);
    let winner = answers
        .iter()
        .position(|answer| answer.status == 201)
        .unwrap();
    assert_eq!(server.confirm("user@example.com").status, 200);
    let password = format!("password-of-number-{winner}");
    assert_eq!(server.sign_in("user@example.com", &password).status, 200);
}

#[test]
fn concurrent_sign_ups_without_mail_limits_are_all_pending() {
    let server = TestServer::start();
    let answers = at_once(50, |n| {
        let password = format!("password-of-number-{n}");
        sign_up_as(
            &server,
            "user@example.com",
            &password,
            &format!("Number {n}"),
        )
    });
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(id(answer), 1, "{n}");
        assert_eq!(answer.text_of_data("first_name"), format!("Number {n}"));
    }
    assert_eq!(server.db_number("SELECT count(*) FROM users"), 1);
    let mut otps: Vec<String> = server
        .mails("user@example.com")
        .into_iter()
        .map(|mail| mail.otp.unwrap())
        .collect();
    otps.sort();
    otps.dedup();
    assert_eq!(otps.len(), 50, "all codes differ");

    let confirmed = verify(&server, "user@example.com", &otps[17]);
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    for n in 0..50 {
        let answer = server.sign_in("user@example.com", &format!("password-of-number-{n}"));
        assert_eq!(
            answer.status, 401,
            "contested; password {n}: {}",
            answer.body
        );
    }
    for otp in &otps {
        let again = verify(&server, "user@example.com", otp);
        assert_eq!((again.status, &*again.body), (400, INVALID_OTP), "{otp}");
    }
}

#[test]
fn concurrent_sign_ups_do_not_disturb_a_confirmation() {
    let server = TestServer::start();
    sign_up_as(&server, "user@example.com", "password-of-owner", "Owner");
    let otp = server.otp("user@example.com");
    let answers = at_once(12, |n| match n {
        0 => verify(&server, "user@example.com", &otp),
        _ => sign_up_as(
            &server,
            "user@example.com",
            "password-of-stranger",
            "Stranger",
        ),
    });
    assert_eq!(answers[0].status, 200, "{}", answers[0].body);
    for answer in &answers[1..] {
        match answer.status {
            201 => assert_eq!(id(answer), 1),
            _ => answer.assert(400, EMAIL_TAKEN),
        }
    }
    let profile = server.get("users/1/", Some(&answers[0].text("access")));
    server
        .sign_in("user@example.com", "password-of-stranger")
        .assert(401, UNKNOWN_CREDENTIALS);
    // Contested if a stranger was faster than the code; never the stranger's.
    let name = profile.text("first_name");
    let status = server
        .sign_in("user@example.com", "password-of-owner")
        .status;
    assert!(
        (&*name, status) == ("Owner", 200) || (&*name, status) == ("", 401),
        "{name:?}, {status}"
    );
    for mail in server.mails("user@example.com") {
        let answer = verify(&server, "user@example.com", &mail.otp.unwrap());
        answer.assert(400, INVALID_OTP);
    }
}

#[test]
fn concurrent_sign_ups_create_one_account_per_address() {
    let server = TestServer::start();
    let answers = at_once(20, |n| server.sign_up(&format!("user{n}@example.com")));
    let mut ids: Vec<i64> = answers.iter().map(id).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=20).collect::<Vec<i64>>());
}

#[test]
fn passwords_are_not_trimmed() {
    let server = TestServer::start();
    let password = "  blanks around  ";
    assert_eq!(
        sign_up_as(&server, "user@example.com", password, "User").status,
        201
    );
    assert_eq!(server.confirm("user@example.com").status, 200);
    assert_eq!(server.sign_in("user@example.com", password).status, 200);
    for trimmed in ["blanks around", "  blanks around", "blanks around  "] {
        server
            .sign_in("user@example.com", trimmed)
            .assert(401, UNKNOWN_CREDENTIALS);
    }
    let differs = json!({
        "email": "other@example.com", "password": "securepassword123", "confirm_password": "securepassword123 ",
    });
    server.post("users/", &differs).assert(
        400,
        r#"{"confirm_password":["The two password fields didn't match."]}"#,
    );
}

#[test]
fn passwords_are_not_truncated() {
    let server = TestServer::start();
    // 128 characters of several bytes each: far beyond the 72 bytes at which bcrypt alone would stop.
    let password: String = (0..128_u32)
        .map(|n| char::from_u32(0x4e00 + n * 7).unwrap())
        .collect();
    assert_eq!(
        sign_up_as(&server, "user@example.com", &password, "User").status,
        201
    );
    assert_eq!(server.confirm("user@example.com").status, 200);
    assert_eq!(server.sign_in("user@example.com", &password).status, 200);
    let mut shorter = password.clone();
    shorter.pop();
    server
        .sign_in("user@example.com", &shorter)
        .assert(401, UNKNOWN_CREDENTIALS);
    server
        .sign_in("user@example.com", &format!("{shorter}x"))
        .assert(401, UNKNOWN_CREDENTIALS);
}

#[test]
fn refused_sign_up_stores_nothing() {
    let server = TestServer::start();
    for (body, fields) in [
        (json!({}), &["email", "password", "confirm_password"][..]),
        (
            json!({"email": "user@example.com"}),
            &["password", "confirm_password"],
        ),
        (
            sign_up_with(
                "user@example.com",
                &json!({"confirm_password": "different-123"}),
            ),
            &["confirm_password"],
        ),
        (
            sign_up_with("user@example.com", &json!({"country": "XX"})),
            &["country"],
        ),
    ] {
        let answer = server.post("users/", &body);
        assert_eq!(answer.status, 400, "{body}");
        let complaints = answer.json();
        let named: Vec<&String> = complaints.as_object().unwrap().keys().collect();
        assert_eq!(named, fields, "{body}");
    }
    assert_eq!(server.db_number("SELECT count(*) FROM users"), 0);
    assert!(server.mails("user@example.com").is_empty());
    assert_eq!(id(&server.sign_up("user@example.com")), 1);
}
