//! `users/<pk>/`: reading and changing a profile, and who may.

use accounts_server::config::PublicUrl;
use serde_json::{Value, json};

use crate::contract::{BAD_TOKEN, FORBIDDEN, NO_TOKEN, NO_USER, NOT_FOUND, TOO_LARGE};
use crate::support::{Answer, PASSWORD, TestServer, User};

const WRONG_DATE: &str = "Date has wrong format. Use one of these formats instead: YYYY-MM-DD.";

/// A number larger than any that is given out.
const HUGE: &str = "99999999999999999999";

/// A profile in which everything is filled in.
fn filled_in() -> Value {
    json!({
        "first_name": "John", "last_name": "Doe", "phone": "+1234567890", "gender": "M", "country": "US",
        "address": "123 Main Street, Some City, Some Country", "birthday": "1990-01-01",
    })
}

#[track_caller]
fn ok(answer: Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

fn me(server: &TestServer, user: &User) -> Value {
    ok(server.get("users/me/", Some(&user.access)))
}

#[test]
fn a_profile_has_thirteen_keys_in_order() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    server.patch("users/me/", &user, &filled_in());
    server.db_execute("UPDATE users SET photo = 'photo.jpg'");
    let expected = concat!(
        r#"{"id":1,"email":"user@example.com","first_name":"John","last_name":"Doe","phone":"+1234567890","#,
        r#""photo":"http://localhost:8000/media/photos/photo.jpg","#,
        r#""address":"123 Main Street, Some City, Some Country","#,
        r#""gender":"M","country":"US","birthday":"1990-01-01","has_initial_profile":true,"#,
        r#""created_at":"2024-12-03T12:00:00Z","updated_at":"2024-12-03T12:00:00Z"}"#
    );
    for path in ["users/1/", "users/me/", "users/1", "users/me", "users/01/"] {
        let answer = server.get(path, Some(&user.access));
        assert_eq!((answer.status, &*answer.body), (200, expected), "{path}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/json"),
            "{path}"
        );
    }
}

#[test]
fn unset_profile_fields_are_empty() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    server.get("users/1/", Some(&user.access)).assert(
        200,
        concat!(
            r#"{"id":1,"email":"user@example.com","first_name":"","last_name":"","phone":"","photo":null,"#,
            r#""address":"","gender":"","country":"","birthday":null,"has_initial_profile":false,"#,
            r#""created_at":"2024-12-03T12:00:00Z","updated_at":"2024-12-03T12:00:00Z"}"#
        ),
    );
}

#[test]
fn links_begin_with_the_public_url_whatever_the_request_says() {
    let server = TestServer::start_with(|config| {
        config.server.public_url = PublicUrl::parse("https://accounts.example.com/people");
        config.server.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    });
    let user = server.user("user@example.com");
    server.db_execute("UPDATE users SET photo = 'photo.jpg'");
    let authorization = format!("Bearer {}", user.access);
    let answer = server.request(
        "GET",
        "/api/v1/accounts/users/me/",
        &[
            ("authorization", &authorization),
            ("host", "evil.example.net"),
            ("x-forwarded-host", "evil.example.net"),
            ("x-forwarded-proto", "gopher"),
            ("forwarded", "host=evil.example.net"),
        ],
        "",
    );
    assert_eq!(
        ok(answer)["photo"],
        "https://accounts.example.com/people/media/photos/photo.jpg"
    );
}

#[test]
fn initial_profile_needs_six_fields() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let six = [
        "first_name",
        "last_name",
        "phone",
        "gender",
        "country",
        "birthday",
    ];
    for missing in six {
        let mut body = filled_in();
        let empty = if missing == "birthday" {
            Value::Null
        } else {
            json!("")
        };
        body[missing] = empty;
        ok(server.patch("users/me/", &user, &body));
        assert_eq!(
            me(&server, &user)["has_initial_profile"],
            false,
            "without {missing}"
        );
        ok(server.patch("users/me/", &user, &json!({missing: filled_in()[missing]})));
        assert_eq!(
            me(&server, &user)["has_initial_profile"],
            true,
            "{missing} filled in"
        );
    }
    ok(server.patch("users/me/", &user, &json!({"address": "", "photo": null})));
    assert_eq!(
        me(&server, &user)["has_initial_profile"],
        true,
        "address and photo do not count"
    );
}

#[test]
fn update_returns_nine_keys() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    server.advance_seconds(90);
    let body = json!({
        "first_name": "John", "last_name": "Doe", "phone": "+1 (234) 567-890", "gender": "M", "country": "US",
    });
    let expected = concat!(
        r#"{"id":1,"email":"user@example.com","first_name":"John","last_name":"Doe","phone":"+1234567890","#,
        r#""gender":"M","country":"US","created_at":"2024-12-03T12:00:00Z","updated_at":"2024-12-03T12:01:30Z"}"#
    );
    for path in ["users/1/", "users/me/", "users/1", "users/me"] {
        let answer = server.patch(path, &user, &body);
        assert_eq!((answer.status, &*answer.body), (200, expected), "{path}");
    }
    server.get("users/me/", Some(&user.access)).assert(
        200,
        concat!(
            r#"{"id":1,"email":"user@example.com","first_name":"John","last_name":"Doe","phone":"+1234567890","#,
            r#""photo":null,"address":"","gender":"M","country":"US","birthday":null,"has_initial_profile":false,"#,
            r#""created_at":"2024-12-03T12:00:00Z","updated_at":"2024-12-03T12:01:30Z"}"#
        ),
    );
}

#[test]
fn update_returns_photo_address_and_birthday_when_set() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let nine = concat!(
        r#"{"id":1,"email":"user@example.com","first_name":"","last_name":"","phone":"","gender":"","country":"","#,
        r#""created_at":"2024-12-03T12:00:00Z","updated_at":"2024-12-03T12:00:00Z""#
    );
    for (body, tail) in [
        (r"{}", ""),
        (
            r#"{"address":"1 Main Street"}"#,
            r#","address":"1 Main Street""#,
        ),
        (r#"{"address":" "}"#, r#","address":"""#),
        (
            r#"{"birthday":"1990-01-01"}"#,
            r#","birthday":"1990-01-01""#,
        ),
        (r#"{"birthday":null}"#, r#","birthday":null"#),
        (r#"{"photo":null}"#, r#","photo":null"#),
        (
            r#"{"birthday":"1990-01-01","address":"A","photo":null}"#,
            r#","photo":null,"address":"A","birthday":"1990-01-01""#,
        ),
        (
            r#"{"birthday":null,"photo":null}"#,
            r#","photo":null,"birthday":null"#,
        ),
        (r#"{"unknown":1}"#, ""),
    ] {
        let authorization = format!("Bearer {}", user.access);
        let answer = server.request(
            "PATCH",
            "/api/v1/accounts/users/1/",
            &[
                ("authorization", &authorization),
                ("content-type", "application/json"),
            ],
            body,
        );
        assert_eq!(
            (answer.status, answer.body),
            (200, format!("{nine}{tail}}}")),
            "{body}"
        );
    }
}

#[test]
fn partial_update_changes_only_its_fields() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    ok(server.patch("users/me/", &user, &filled_in()));
    for (field, value, stored) in [
        ("first_name", json!("  Jane\t"), json!("Jane")),
        (
            "last_name",
            json!("O'Neil \u{1f600}"),
            json!("O'Neil \u{1f600}"),
        ),
        ("last_name", json!(17), json!("17")),
        ("phone", json!("+44 20 7946 0958"), json!("+442079460958")),
        ("phone", json!(""), json!("")),
        (
            "address",
            json!("5 Rue d'\u{c9}t\u{e9}"),
            json!("5 Rue d'\u{c9}t\u{e9}"),
        ),
        ("gender", json!("F"), json!("F")),
        ("gender", json!(""), json!("")),
        ("country", json!("DE"), json!("DE")),
        ("birthday", json!("2000-02-29"), json!("2000-02-29")),
        ("birthday", json!("2024-12-03"), json!("2024-12-03")),
        ("birthday", json!(null), json!(null)),
    ] {
        let mut expected = me(&server, &user);
        ok(server.patch("users/me/", &user, &json!({field: value})));
        expected[field] = stored;
        let complete = ["phone", "gender", "birthday"]
            .iter()
            .all(|field| !matches!(expected[field].as_str(), None | Some("")));
        expected["has_initial_profile"] = json!(complete);
        assert_eq!(me(&server, &user), expected, "{field}: {value}");
    }
}

#[test]
fn updated_at_moves_when_something_changed() {
    let server = TestServer::start();
    let user = server.staff("staff@example.com");
    let user = renewed(&server, &user);
    ok(server.patch("users/me/", &user, &filled_in()));
    server.db_execute("UPDATE users SET photo = 'photo.jpg'");
    let updated_at = |answer: &Value| answer["updated_at"].as_str().unwrap().to_owned();
    let start = updated_at(&me(&server, &user));

    server.advance_seconds(1);
    let mut untouched = vec![
        json!({}),
        filled_in(),
        json!({"unknown": "x", "id": 7}),
        json!({"first_name": " John "}),
        json!({"phone": "+1 234-567-890"}),
        json!({"email": "staff@example.com"}),
        json!({"email": " staff@EXAMPLE.com "}),
    ];
    for field in filled_in().as_object().unwrap().keys() {
        untouched.push(json!({field: filled_in()[field]}));
    }
    for body in untouched {
        let answer = ok(server.patch("users/me/", &user, &body));
        assert_eq!(updated_at(&answer), start, "{body}");
        assert_eq!(updated_at(&me(&server, &user)), start, "{body}");
    }
    let refused = server.patch(
        "users/me/",
        &user,
        &json!({"first_name": "X", "gender": "?"}),
    );
    assert_eq!(refused.status, 400);
    assert_eq!(
        updated_at(&me(&server, &user)),
        start,
        "nothing of a refused update is kept"
    );
    assert_eq!(me(&server, &user)["first_name"], "John");

    let mut last = start;
    for body in [
        json!({"first_name": "Jane"}),
        json!({"last_name": ""}),
        json!({"phone": "+1234567891"}),
        json!({"address": "2 Main Street"}),
        json!({"gender": "F"}),
        json!({"country": ""}),
        json!({"birthday": "1990-01-02"}),
        json!({"birthday": null}),
        json!({"birthday": "1990-01-02"}),
        json!({"photo": null}),
        json!({"first_name": "jane"}),
        json!({"email": "other@example.com"}),
        json!({"email": "staff@example.com"}),
    ] {
        server.advance_seconds(1);
        let answer = ok(server.patch("users/me/", &user, &body));
        assert!(updated_at(&answer) > last, "{body}");
        assert_eq!(
            updated_at(&me(&server, &user)),
            updated_at(&answer),
            "{body}"
        );
        last = updated_at(&answer);
    }
    assert_eq!(me(&server, &user)["created_at"], "2024-12-03T12:00:00Z");
}

/// The same account, signed in again.
fn renewed(server: &TestServer, user: &User) -> User {
    let pair = server.sign_in(&user.email, PASSWORD);
    User {
        access: pair.text("access"),
        refresh: pair.text("refresh"),
        ..user.clone()
    }
}

#[test]
fn read_only_fields_are_ignored() {
    let server = TestServer::start();
    let other = server.user("other@example.com");
    let user = server.user("user@example.com");
    let before = me(&server, &user);
    let row = "SELECT CAST(is_active AS INTEGER) * 8 + CAST(verified_at = 1733227200000 AS INTEGER) * 4 + \
               CAST(last_login_at = 1733227200000 AS INTEGER) * 2 + CAST(is_staff AS INTEGER) \
               FROM users WHERE id = 2";
    assert_eq!(server.db_number(row), 14);
    for value in [
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!("x"),
        json!([]),
        json!({"a": 1}),
    ] {
        let body = json!({
            "id": value, "pk": value, "created_at": value, "updated_at": value, "has_initial_profile": value,
            "is_staff": value, "is_active": value, "is_verified": value, "is_superuser": value, "verified_at": value,
            "last_login": value, "password": value, "confirm_password": value, "password_hash": value,
            "new_email": value, "user_id": value, "": value,
        });
        let answer = server.patch("users/me/", &user, &body);
        let changed = ok(answer);
        assert_eq!(changed.as_object().unwrap().len(), 9, "{value}: {changed}");
        assert_eq!(me(&server, &user), before, "{value}");
        assert_eq!(server.db_number(row), 14, "{value}");
    }
    server
        .get(&other.path(), Some(&user.access))
        .assert(403, FORBIDDEN);
    let user = renewed(&server, &user);
    server
        .get(&other.path(), Some(&user.access))
        .assert(403, FORBIDDEN);
}

#[test]
fn no_request_of_a_user_grants_staff_rights() {
    let server = TestServer::start();
    let other = server.user("other@example.com");
    let user = server.user("user@example.com");
    for body in [
        json!({"is_staff": true}),
        json!({"is_staff": "true"}),
        json!({"is_staff": 1}),
        json!({"first_name": "X", "is_staff": true, "is_superuser": true}),
    ] {
        for path in ["users/me/", "users/2/"] {
            assert_eq!(server.patch(path, &user, &body).status, 200, "{body}");
            server
                .get(&other.path(), Some(&user.access))
                .assert(403, FORBIDDEN);
        }
    }
    assert_eq!(
        server.db_number("SELECT count(*) FROM users WHERE is_staff"),
        0
    );
}

#[test]
fn only_owner_and_staff_can_read() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let other = server.user("other@example.com");
    server.sign_up("unverified@example.com");
    let staff = server.staff("staff@example.com");
    let ids = (user.id, other.id, staff.id);
    assert_eq!(ids, (1, 2, 4));
    let numbers = [
        // Path segment, what the user 1 gets, what staff gets.
        ("1", Ok(1), Ok(1)),
        ("me", Ok(1), Ok(4)),
        ("0001", Ok(1), Ok(1)),
        ("%31", Ok(1), Ok(1)),
        ("%6de", Ok(1), Ok(4)),
        ("2", Err((403, FORBIDDEN)), Ok(2)),
        ("3", Err((403, FORBIDDEN)), Ok(3)),
        ("4", Err((403, FORBIDDEN)), Ok(4)),
        ("5", Err((403, FORBIDDEN)), Err((404, NO_USER))),
        ("0", Err((403, FORBIDDEN)), Err((404, NO_USER))),
        ("-1", Err((403, FORBIDDEN)), Err((404, NO_USER))),
        (
            "9223372036854775807",
            Err((403, FORBIDDEN)),
            Err((404, NO_USER)),
        ),
        (
            "9223372036854775808",
            Err((403, FORBIDDEN)),
            Err((404, NO_USER)),
        ),
        (HUGE, Err((403, FORBIDDEN)), Err((404, NO_USER))),
    ];
    for (segment, for_user, for_staff) in numbers {
        for (who, expected) in [(&user, for_user), (&staff, for_staff)] {
            let path = format!("users/{segment}/");
            let seen = server.get(&path, Some(&who.access));
            let changed = server.patch(&path, who, &json!({"first_name": "Changed"}));
            let name = format!("{} at {path}", who.email);
            match expected {
                Ok(id) => {
                    assert_eq!(ok(seen)["id"], id, "{name}");
                    let changed = ok(changed);
                    assert_eq!(
                        (&changed["id"], &changed["first_name"]),
                        (&json!(id), &json!("Changed")),
                        "{name}"
                    );
                    assert_eq!(
                        server.db_number("SELECT count(*) FROM users WHERE first_name = 'Changed'"),
                        1,
                        "{name}"
                    );
                    ok(server.patch(&path, who, &json!({"first_name": ""})));
                }
                Err((status, body)) => {
                    assert_eq!((seen.status, &*seen.body), (status, body), "GET by {name}");
                    assert_eq!(
                        (changed.status, &*changed.body),
                        (status, body),
                        "PATCH by {name}"
                    );
                    assert_eq!(
                        server.db_number("SELECT count(*) FROM users WHERE first_name = 'Changed'"),
                        0,
                        "{name}"
                    );
                }
            }
            server.get(&path, None).assert(401, NO_TOKEN);
            server
                .api("PATCH", &path, None, &json!({}))
                .assert(401, NO_TOKEN);
        }
    }
    let none = [
        "abc", "+1", "1.0", "1e3", "0x1", "Me", "ME", "me2", "1a", "%20", "1%20", "%D9%A1", "1,2",
        "*", "null",
    ];
    for segment in none {
        for (token, status, body) in [
            (None, 401, NO_TOKEN),
            (Some("nonsense"), 401, BAD_TOKEN),
            (Some(&*user.access), 404, NOT_FOUND),
            (Some(&*staff.access), 404, NOT_FOUND),
        ] {
            for method in ["GET", "PATCH", "DELETE"] {
                let answer = server.api(method, &format!("users/{segment}/"), token, &json!({}));
                assert_eq!(
                    (answer.status, &*answer.body),
                    (status, body),
                    "{method} {segment} by {token:?}"
                );
            }
            let answer = server.api("OPTIONS", &format!("users/{segment}/"), token, &json!({}));
            assert_eq!(answer.status, 200, "{segment}");
        }
    }
}

#[test]
fn staff_can_update_others() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let staff = server.staff("staff@example.com");
    server.advance_seconds(60);
    server.patch(&user.path(), &staff, &json!({"first_name": "Renamed", "birthday": "1990-01-01"})).assert(
        200,
        concat!(
            r#"{"id":1,"email":"user@example.com","first_name":"Renamed","last_name":"","phone":"","gender":"","#,
            r#""country":"","created_at":"2024-12-03T12:00:00Z","updated_at":"2024-12-03T12:01:00Z","#,
            r#""birthday":"1990-01-01"}"#
        ),
    );
    assert_eq!(me(&server, &user)["first_name"], "Renamed");
    assert_eq!(me(&server, &staff)["first_name"], "");
}

#[test]
fn revoked_staff_rights_end_at_once() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let staff = server.staff("staff@example.com");
    assert_eq!(server.get(&user.path(), Some(&staff.access)).status, 200);
    // The token still says otherwise.
    server.db_execute("UPDATE users SET is_staff = FALSE");
    server
        .get(&user.path(), Some(&staff.access))
        .assert(403, FORBIDDEN);
    server
        .patch(&user.path(), &staff, &json!({}))
        .assert(403, FORBIDDEN);
    server.db_execute("UPDATE users SET is_staff = TRUE WHERE id = 1");
    assert_eq!(server.get(&staff.path(), Some(&user.access)).status, 200);
}

#[test]
fn checks_follow_the_documented_order() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let staff = server.staff("staff@example.com");
    let put = r#"{"detail":"Method \"PUT\" not allowed."}"#;
    let post = r#"{"detail":"Method \"POST\" not allowed."}"#;
    let media_type = r#"{"detail":"Unsupported media type \"text/plain\" in request."}"#;
    let too_large = TOO_LARGE;
    let big = "x".repeat(1024 * 1024 + 1);
    let bad = r#"{"gender":"X"}"#;
    let complaint = r#"{"gender":["\"X\" is not a valid choice."]}"#;
    for (method, pk, token, media, body, status, expected) in [
        // The token before the method and before the form of the id.
        ("PUT", "abc", None, "text/plain", "x", 401, NO_TOKEN),
        ("GET", "abc", None, "text/plain", "x", 401, NO_TOKEN),
        ("PUT", "1", None, "text/plain", "x", 401, NO_TOKEN),
        ("POST", "1", None, "text/plain", "x", 401, NO_TOKEN),
        ("PATCH", "1", None, "text/plain", &big, 401, NO_TOKEN),
        // The method before the right and the object.
        ("PUT", "abc", Some(&user), "text/plain", "x", 405, put),
        ("PUT", "2", Some(&user), "text/plain", "x", 405, put),
        ("PUT", "99", Some(&staff), "text/plain", "x", 405, put),
        ("PUT", "1", Some(&user), "application/json", bad, 405, put),
        ("POST", "2", Some(&user), "application/json", bad, 405, post),
        // The object before the body, also where the id is none.
        (
            "PATCH",
            "abc",
            Some(&user),
            "text/plain",
            &big,
            404,
            NOT_FOUND,
        ),
        // The right before the object, and both before the body.
        (
            "PATCH",
            "99",
            Some(&user),
            "application/json",
            bad,
            403,
            FORBIDDEN,
        ),
        (
            "PATCH",
            "2",
            Some(&user),
            "application/json",
            "{",
            403,
            FORBIDDEN,
        ),
        ("PATCH", "2", Some(&user), "text/plain", "x", 403, FORBIDDEN),
        (
            "PATCH",
            "2",
            Some(&user),
            "text/plain",
            &big,
            403,
            FORBIDDEN,
        ),
        (
            "PATCH",
            "99",
            Some(&staff),
            "application/json",
            bad,
            404,
            NO_USER,
        ),
        (
            "PATCH",
            "99",
            Some(&staff),
            "application/json",
            "{",
            404,
            NO_USER,
        ),
        ("PATCH", "99", Some(&staff), "text/plain", "x", 404, NO_USER),
        (
            "PATCH",
            "99",
            Some(&staff),
            "text/plain",
            &big,
            404,
            NO_USER,
        ),
        // Size, media type, fields.
        (
            "PATCH",
            "1",
            Some(&user),
            "text/plain",
            &big,
            413,
            too_large,
        ),
        (
            "PATCH",
            "1",
            Some(&user),
            "text/plain",
            bad,
            415,
            media_type,
        ),
        (
            "PATCH",
            "1",
            Some(&user),
            "application/json",
            bad,
            400,
            complaint,
        ),
        (
            "PATCH",
            "1",
            Some(&staff),
            "application/json",
            bad,
            400,
            complaint,
        ),
    ] {
        let authorization = token
            .map(|user: &User| format!("Bearer {}", user.access))
            .unwrap_or_default();
        let mut headers = vec![("content-type", media)];
        if token.is_some() {
            headers.push(("authorization", &authorization));
        }
        let answer = server.request(
            method,
            &format!("/api/v1/accounts/users/{pk}/"),
            &headers,
            body,
        );
        let what = format!(
            "{method} {pk} {media} {} by {:?}",
            &body[..1],
            token.map(|user| &user.email)
        );
        assert_eq!((answer.status, &*answer.body), (status, expected), "{what}");
    }
}

#[test]
fn put_is_not_allowed() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let before = me(&server, &user);
    let answer = server.api("PUT", "users/1/", Some(&user.access), &filled_in());
    answer.assert(405, r#"{"detail":"Method \"PUT\" not allowed."}"#);
    let allowed: Vec<&str> = answer.header("allow").unwrap().split(", ").collect();
    assert!(
        allowed.contains(&"PATCH") && !allowed.contains(&"PUT"),
        "{allowed:?}"
    );
    assert_eq!(me(&server, &user), before);
}

#[test]
fn photo_is_set_by_file_and_removed_by_null() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    server.db_execute("UPDATE users SET photo = 'photo.jpg'");
    let no_file = "The submitted data was not a file. Check the encoding type on the form.";
    for value in [
        json!("photo.jpg"),
        json!(""),
        json!(" "),
        json!("data:image/png;base64,AAAA"),
        json!(5),
        json!(true),
        json!([]),
        json!({"name": "x"}),
    ] {
        let answer = server.patch(
            "users/me/",
            &user,
            &json!({"photo": value, "first_name": "X"}),
        );
        assert_eq!(
            (answer.status, answer.json()),
            (400, json!({"photo": [no_file]})),
            "{value}"
        );
    }
    let profile = me(&server, &user);
    assert_eq!(
        profile["photo"],
        "http://localhost:8000/media/photos/photo.jpg"
    );
    assert_eq!(profile["first_name"], "");

    let changed = ok(server.patch("users/me/", &user, &json!({"photo": null})));
    assert_eq!(changed["photo"], Value::Null);
    assert_eq!(changed.as_object().unwrap().len(), 10);
    assert_eq!(me(&server, &user)["photo"], Value::Null);
    assert_eq!(
        ok(server.patch("users/me/", &user, &json!({"photo": null})))["photo"],
        Value::Null
    );
}

#[test]
fn invalid_image_is_refused() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let authorization = format!("Bearer {}", user.access);
    let body = "--b\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"photo.jpg\"\r\n\
                Content-Type: image/jpeg\r\n\r\nno image\r\n--b--\r\n";
    let answer = server.request(
        "PATCH",
        "/api/v1/accounts/users/me/",
        &[
            ("authorization", &authorization),
            ("content-type", "multipart/form-data; boundary=b"),
        ],
        body,
    );
    answer.assert(
        400,
        concat!(
            r#"{"photo":["Upload a valid image. The file you uploaded was either not an image or a corrupted "#,
            r#"image."]}"#
        ),
    );
    assert_eq!(me(&server, &user)["photo"], Value::Null);
}

#[test]
fn all_invalid_fields_are_reported_and_nothing_changes() {
    let server = TestServer::start();
    server.user("taken@example.com");
    let user = server.user("user@example.com");
    let before = me(&server, &user);
    let body = json!({
        "email": "taken@example.com", "first_name": "a".repeat(151), "last_name": null, "phone": "x", "gender": "X",
        "country": "XX", "photo": "x", "address": [], "birthday": "",
    });
    server.patch("users/me/", &user, &body).assert_json(
        400,
        &json!({
            "email": ["user with this email already exists."],
            "first_name": ["Ensure this field has no more than 150 characters."],
            "last_name": ["This field may not be null."],
            "phone": ["Enter a valid phone number."],
            "gender": ["\"X\" is not a valid choice."],
            "country": ["\"XX\" is not a valid choice."],
            "photo": ["The submitted data was not a file. Check the encoding type on the form."],
            "address": ["Not a valid string."],
            "birthday": [WRONG_DATE],
        }),
    );
    assert_eq!(me(&server, &user), before);
    server
        .patch(
            "users/me/",
            &user,
            &json!({"first_name": "X", "birthday": "2024-12-04"}),
        )
        .assert(
            400,
            r#"{"birthday":["Date of birth cannot be in the future."]}"#,
        );
    assert_eq!(me(&server, &user), before);
}

#[test]
fn birthdays_are_compared_with_the_servers_date() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let born = |date: &str| {
        server
            .patch(
                "users/me/",
                &renewed(&server, &user),
                &json!({"birthday": date}),
            )
            .status
    };
    assert_eq!((born("2024-12-03"), born("2024-12-04")), (200, 400));
    server.advance_seconds(12 * 3600 - 1);
    assert_eq!((born("2024-12-03"), born("2024-12-04")), (200, 400));
    server.advance_seconds(1);
    assert_eq!((born("2024-12-04"), born("2024-12-05")), (200, 400));
}

#[test]
fn concurrent_updates_lose_nothing() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let fields: Vec<(String, Value)> = filled_in()
        .as_object()
        .unwrap()
        .clone()
        .into_iter()
        .collect();
    for round in 0..5 {
        ok(server.patch("users/me/", &user, &json!({
            "first_name": "", "last_name": "", "phone": "", "gender": "", "country": "", "address": "",
            "birthday": null,
        })));
        let answers = crate::support::at_once(fields.len(), |n| {
            server.patch(
                "users/me/",
                &user,
                &json!({fields[n].0.clone(): fields[n].1}),
            )
        });
        assert!(
            answers.iter().all(|answer| answer.status == 200),
            "{answers:?}"
        );
        let profile = me(&server, &user);
        for (field, value) in &fields {
            assert_eq!(&profile[field], value, "round {round}, {field}");
        }
    }
}
