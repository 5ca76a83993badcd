//! Staff operations: list and search all accounts, activate and deactivate them.

use serde_json::{Value, json};

use crate::contract::{
    BAD_TOKEN, DEAD_TOKEN, EMAIL_SENT, FORBIDDEN, INVALID_OTP, NO_TOKEN, UNKNOWN_CREDENTIALS,
};
use crate::support::{Answer, PASSWORD, TestServer, User, sign_up_with};

const INVALID_PAGE: &str = r#"{"detail":"Invalid page."}"#;
const URL: &str = "http://localhost:8000/api/v1/accounts/users/";

fn list(server: &TestServer, staff: &User, query: &str) -> Answer {
    server.get(&format!("users/{query}"), Some(&staff.access))
}

/// The results of a query, which must succeed.
#[track_caller]
fn results(server: &TestServer, staff: &User, query: &str) -> Vec<Value> {
    let answer = list(server, staff, query);
    assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    answer.json()["results"].as_array().unwrap().clone()
}

/// The local parts of the addresses that a query returns, in order.
#[track_caller]
fn names(server: &TestServer, staff: &User, query: &str) -> Vec<String> {
    results(server, staff, query)
        .iter()
        .map(|user| {
            let email = user["email"].as_str().unwrap();
            email.split('@').next().unwrap().to_owned()
        })
        .collect()
}

/// The ids of the accounts that a query returns.
#[track_caller]
fn ids(server: &TestServer, staff: &User, query: &str) -> Vec<i64> {
    results(server, staff, query)
        .iter()
        .map(|user| user["id"].as_i64().unwrap())
        .collect()
}

/// Creates a verified account with a name and a phone number.
#[track_caller]
fn person(server: &TestServer, email: &str, first: &str, last: &str, phone: &str) {
    let fields = json!({"first_name": first, "last_name": last, "phone": phone});
    let answer = server.post("users/", &sign_up_with(email, &fields));
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(server.confirm(email).status, 200);
}

/// Unverified accounts, and one verified staff account.
fn many(count: usize) -> (TestServer, User) {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    for n in 1..count {
        assert_eq!(
            server.sign_up(&format!("user-{n:02}@example.com")).status,
            201
        );
    }
    (server, staff)
}

#[test]
fn staff_sees_all_accounts() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    server.advance_seconds(60);
    let body = sign_up_with(
        "user@example.com",
        &json!({
            "first_name": "John", "last_name": "Doe", "phone": "+1234567890", "gender": "M", "country": "US",
            "birthday": "1990-01-01", "address": "123 Main Street",
        }),
    );
    assert_eq!(server.post("users/", &body).status, 201);
    server.db_execute("UPDATE users SET photo = 'photo.jpg' WHERE id = 2");
    let expected = concat!(
        r#"{"count":2,"next":null,"previous":null,"results":["#,
        r#"{"id":1,"email":"staff@example.com","first_name":"","last_name":"","phone":"","photo":null,"#,
        r#""address":"","gender":"","country":"","birthday":null,"has_initial_profile":false,"#,
        r#""created_at":"2024-12-03T12:00:00Z","updated_at":"2024-12-03T12:00:00Z","#,
        r#""is_active":true,"is_verified":true,"is_staff":true,"last_login":"2024-12-03T12:00:00Z","external_id":""},"#,
        r#"{"id":2,"email":"user@example.com","first_name":"John","last_name":"Doe","phone":"+1234567890","#,
        r#""photo":"http://localhost:8000/media/photos/photo.jpg","address":"123 Main Street","gender":"M","#,
        r#""country":"US","birthday":"1990-01-01","has_initial_profile":true,"#,
        r#""created_at":"2024-12-03T12:01:00Z","updated_at":"2024-12-03T12:01:00Z","#,
        r#""is_active":true,"is_verified":false,"is_staff":false,"last_login":null,"external_id":""}]}"#
    );
    for path in [
        "users/",
        "users",
        "users/?",
        "users/?page=1&page_size=20&search=",
    ] {
        server.get(path, Some(&staff.access)).assert(200, expected);
    }
    server.confirm("user@example.com");
    let users = results(&server, &staff, "");
    assert_eq!(users[1]["is_verified"], true);
    assert_eq!(users[1]["last_login"], "2024-12-03T12:01:00Z");
    let head = server.api("HEAD", "users/", Some(&staff.access), &json!({}));
    head.assert(200, "");
}

#[test]
fn the_list_is_for_staff_alone() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for query in ["", "?page=0", "?page=99", "?search=user", "?search=%00"] {
        list(&server, &user, query).assert(403, FORBIDDEN);
        let path = format!("users/{query}");
        let anonymous = server.get(&path, None);
        anonymous.assert(401, NO_TOKEN);
        assert_eq!(
            anonymous.header("www-authenticate"),
            Some(r#"Bearer realm="api""#)
        );
        server.get(&path, Some("nonsense")).assert(401, BAD_TOKEN);
    }
    // Signing up on the same path needs no token.
    assert_eq!(server.sign_up("other@example.com").status, 201);
}

#[test]
fn pages_follow_each_other() {
    let (server, staff) = many(5);
    for (query, ids, next, previous) in [
        (
            "?page_size=2",
            &[1, 2][..],
            Some("?page=2&page_size=2"),
            None,
        ),
        (
            "?page_size=2&page=2",
            &[3, 4],
            Some("?page=3&page_size=2"),
            Some("?page_size=2"),
        ),
        (
            "?page=3&page_size=2",
            &[5],
            None,
            Some("?page=2&page_size=2"),
        ),
        (
            "?page=last&page_size=2",
            &[5],
            None,
            Some("?page=2&page_size=2"),
        ),
        (
            "?page=&page_size=2",
            &[1, 2],
            Some("?page=2&page_size=2"),
            None,
        ),
        ("?page_size=5", &[1, 2, 3, 4, 5], None, None),
        ("?page=last", &[1, 2, 3, 4, 5], None, None),
        (
            "?page_size=2&search=%40EXAMPLE.com&is_active=true&ordering=-id&unknown=a%20b",
            &[5, 4],
            Some(
                "?is_active=true&ordering=-id&page=2&page_size=2&search=%40EXAMPLE.com&unknown=a+b",
            ),
            None,
        ),
    ] {
        let answer = list(&server, &staff, query);
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
        let page = answer.json();
        assert_eq!(page["count"], 5, "{query}");
        let link = |query: Option<&str>| query.map(|query| format!("{URL}{query}"));
        assert_eq!(page["next"], json!(link(next)), "{query}");
        assert_eq!(page["previous"], json!(link(previous)), "{query}");
        let found: Vec<i64> = page["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|user| user["id"].as_i64().unwrap())
            .collect();
        assert_eq!(found, ids, "{query}");
    }
}

#[test]
fn a_link_leads_to_the_page_it_names() {
    let (server, staff) = many(7);
    let mut path = Some(format!("{URL}?page_size=3&search=example&ordering=-email"));
    let mut found = Vec::new();
    while let Some(url) = path {
        let path_and_query = url
            .strip_prefix("http://localhost:8000/api/v1/accounts/")
            .unwrap();
        let page = server.get(path_and_query, Some(&staff.access)).json();
        for user in page["results"].as_array().unwrap() {
            found.push(user["id"].as_i64().unwrap());
        }
        path = page["next"].as_str().map(str::to_owned);
    }
    assert_eq!(found, [7, 6, 5, 4, 3, 2, 1]);
}

#[test]
fn there_is_no_such_page() {
    let (server, staff) = many(3);
    for page in [
        "0",
        "-1",
        "2",
        "abc",
        "1.0",
        "LAST",
        "1x",
        "99999999999999999999999",
        "18446744073709551615",
        "9223372036854775807",
        "%00",
        "%C3%A9",
    ] {
        list(&server, &staff, &format!("?page={page}")).assert(404, INVALID_PAGE);
    }
    // An empty list has one page.
    for query in [
        "?search=nobody",
        "?search=nobody&page=1",
        "?search=nobody&page=last",
    ] {
        list(&server, &staff, query).assert(
            200,
            r#"{"count":0,"next":null,"previous":null,"results":[]}"#,
        );
    }
    list(&server, &staff, "?search=nobody&page=2").assert(404, INVALID_PAGE);
}

#[test]
fn the_size_of_a_page_is_asked_for_within_bounds() {
    let (server, staff) = many(103);
    for (query, size) in [
        ("", 20),
        ("?page_size=1", 1),
        ("?page_size=100", 100),
        ("?page_size=101", 100),
        ("?page_size=99999999999", 100),
        ("?page_size=0", 20),
        ("?page_size=-5", 20),
        ("?page_size=abc", 20),
        ("?page_size=", 20),
        ("?page_size=2.5", 20),
        ("?page_size=%00", 20),
    ] {
        let answer = list(&server, &staff, query);
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
        let page = answer.json();
        assert_eq!(page["count"], 103, "{query}");
        assert_eq!(page["results"].as_array().unwrap().len(), size, "{query}");
    }
    assert_eq!(
        ids(&server, &staff, "?page=last&page_size=100"),
        [101, 102, 103]
    );
}

#[test]
fn a_search_looks_for_every_word() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    person(&server, "ann@example.com", "Ann", "Smith", "+493012345678");
    person(
        &server,
        "bob@mail.example",
        "Bob",
        "Smith-Jones",
        "+15551234567",
    );
    person(&server, "ca_rol@example.com", "Anna Carola", "O'Neill", "");
    person(
        &server,
        "dave%x@example.com",
        "100% Dave",
        "Back\\slash",
        "",
    );
    person(&server, "emil@example.com", "Émil", "Ångström", "");
    for (search, found) in [
        ("", &["staff", "ann", "bob", "ca_rol", "dave%x", "emil"][..]),
        ("  ", &["staff", "ann", "bob", "ca_rol", "dave%x", "emil"]),
        ("smith", &["ann", "bob"]),
        ("SMITH", &["ann", "bob"]),
        ("smith bob", &["bob"]),
        ("bob,smith", &["bob"]),
        ("smith smith ann", &["ann"]),
        ("ann", &["ann", "ca_rol"]),
        ("ann carola", &["ca_rol"]),
        ("ann nobody", &[]),
        ("MAIL.example", &["bob"]),
        ("@example.com smith", &["ann"]),
        ("+49", &["ann"]),
        ("301234", &["ann"]),
        ("5551234567", &["bob"]),
        ("%", &["dave%x"]),
        ("_", &["ca_rol"]),
        ("a_rol", &["ca_rol"]),
        ("c_rol", &[]),
        ("\\", &["dave%x"]),
        ("back\\slash", &["dave%x"]),
        ("o'neill", &["ca_rol"]),
        ("' OR 1=1 --", &[]),
        ("\"", &[]),
        ("Émil", &["emil"]),
        ("ngström", &["emil"]),
        ("emil angstrom", &["emil"]),
        ("E\u{301}MIL A\u{30a}NGSTRO\u{308}M", &["emil"]),
        (
            "\u{301}",
            &["staff", "ann", "bob", "ca_rol", "dave%x", "emil"],
        ),
        ("securepassword123", &[]),
        ("$2b$", &[]),
    ] {
        let query: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("search", search)
            .finish();
        assert_eq!(
            names(&server, &staff, &format!("?{query}")),
            found,
            "{search:?}"
        );
    }
}

#[test]
fn search_folds_case_and_accents_of_all_scripts() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    person(&server, "ivan@example.com", "Иван", "Ёлкин", "");
    person(&server, "juergen@example.com", "Jürgen", "Weiß", "");
    person(
        &server,
        "zoe@example.com",
        "Zoe\u{308}",
        "Mu\u{308}nchen",
        "",
    );
    person(&server, "odysseas@example.com", "ΟΔΥΣΣΕΥΣ", "Παπάς", "");
    let cases = [
        ("иван", "ivan"),
        ("ИВАН", "ivan"),
        ("елкин", "ivan"),
        ("jurgen", "juergen"),
        ("WEISS", "juergen"),
        ("weiß", "juergen"),
        ("munchen", "zoe"),
        ("München", "zoe"),
        ("Mu\u{308}nchen", "zoe"),
        ("zoë", "zoe"),
        ("οδυσσευς παπας", "odysseas"),
    ];
    let assert_found = || {
        for (search, found) in cases {
            let query: String = form_urlencoded::Serializer::new(String::new())
                .append_pair("search", search)
                .finish();
            let names = names(&server, &staff, &format!("?{query}"));
            assert_eq!(names, [found], "{search}");
        }
    };
    assert_found();
    // The record of a changed account is replaced, and that of a deleted one is gone.
    let other = server.user("other@example.com");
    for name in ["Иван", "Åsa", "Mu\u{308}nchen"] {
        let changed = server.patch("users/me/", &other, &json!({"first_name": name}));
        assert_eq!(changed.status, 200, "{}", changed.body);
    }
    assert_eq!(names(&server, &staff, "?search=munchen").len(), 2);
    assert!(names(&server, &staff, "?search=asa").is_empty());
    let gone = server.api(
        "DELETE",
        "users/me/",
        Some(&other.access),
        &json!({"password": PASSWORD}),
    );
    assert_eq!(gone.status, 204, "{}", gone.body);
    assert_found();
}

#[test]
fn a_search_finds_the_address_that_is_shown_and_the_confirmed_one() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    let user = server.user("old@example.com");
    server.patch("users/me/", &user, &json!({"email": "new@example.com"}));
    for query in ["?search=old", "?search=new", "?search=new%20old"] {
        assert_eq!(names(&server, &staff, query), ["new"], "{query}");
    }
}

#[test]
fn no_search_is_too_much() {
    let (server, staff) = many(3);
    let many_words = vec!["e"; 5000].join("+");
    let long = "e".repeat(12_000);
    let wild = "%25".repeat(4000);
    for (query, count) in [
        (format!("?search={many_words}"), 3),
        (format!("?search={long}"), 0),
        (format!("?search={wild}"), 0),
        (format!("?ordering={}", "-email,".repeat(2000)), 3),
        (format!("?ordering={}", "nonsense,".repeat(1500)), 3),
        (format!("?{}", "search=zz&".repeat(1400)), 0),
    ] {
        let answer = list(&server, &staff, &query);
        let shown = &query[..20];
        assert_eq!(answer.status, 200, "{shown}: {}", answer.body);
        assert_eq!(answer.json()["count"], count, "{shown}");
    }
    list(&server, &staff, "?search=a%00b")
        .assert(400, r#"{"detail":"Null characters are not allowed."}"#);
}

#[test]
fn accounts_are_filtered() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    server.user("active@example.com");
    let idle = server.user("idle@example.com");
    server.sign_up("waiting@example.com");
    server.patch(&idle.path(), &staff, &json!({"is_active": false}));
    for (query, found) in [
        ("?is_active=true", &["staff", "active", "waiting"][..]),
        ("?is_active=false", &["idle"]),
        ("?is_active=False", &["idle"]),
        ("?is_active=0", &["idle"]),
        ("?is_verified=true", &["staff", "active", "idle"]),
        ("?is_verified=1", &["staff", "active", "idle"]),
        ("?is_verified=false", &["waiting"]),
        ("?is_active=true&is_verified=true", &["staff", "active"]),
        ("?is_staff=true", &["staff"]),
        ("?is_staff=1&search=staff", &["staff"]),
        ("?is_staff=true&is_active=false", &[]),
        ("?is_staff=false&is_active=false", &["idle"]),
        ("?is_active=false&is_verified=false", &[]),
        ("?is_active=true&search=a&is_verified=false", &["waiting"]),
        // A value that is not a boolean does not filter.
        ("?is_active=maybe", &["staff", "active", "idle", "waiting"]),
        (
            "?is_active=&is_verified=",
            &["staff", "active", "idle", "waiting"],
        ),
        // The last value counts.
        ("?is_active=true&is_active=false", &["idle"]),
    ] {
        assert_eq!(names(&server, &staff, query), found, "{query}");
        let count = list(&server, &staff, query).json()["count"].clone();
        assert_eq!(count, found.len(), "{query}");
    }
}

#[test]
fn the_list_is_sorted_as_asked() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    for (email, first, last) in [
        ("Zoe@example.com", "Ann", "Young"),
        ("bob@example.com", "Bob", "Adams"),
        ("carol@example.com", "Ann", "Baker"),
    ] {
        server.advance_seconds(60);
        person(&server, email, first, last, "");
    }
    server.sign_up("never@example.com");
    server.advance_seconds(60);
    server.sign_in("bob@example.com", PASSWORD);
    let staff = User {
        access: server.sign_in("staff@example.com", PASSWORD).text("access"),
        ..staff
    };
    server.advance_seconds(60);
    server.patch("users/2/", &staff, &json!({"address": "moved"}));
    for (ordering, found) in [
        ("", &[1, 2, 3, 4, 5][..]),
        ("id", &[1, 2, 3, 4, 5]),
        ("-id", &[5, 4, 3, 2, 1]),
        ("email", &[3, 4, 5, 1, 2]),
        ("-email", &[2, 1, 5, 4, 3]),
        ("first_name", &[1, 5, 2, 4, 3]),
        ("-first_name", &[3, 2, 4, 1, 5]),
        ("first_name,last_name", &[1, 5, 4, 2, 3]),
        ("-first_name,-last_name", &[3, 2, 4, 1, 5]),
        ("first_name,-last_name", &[1, 5, 2, 4, 3]),
        ("last_name", &[1, 5, 3, 4, 2]),
        ("created_at", &[1, 2, 3, 4, 5]),
        ("-created_at,-id", &[5, 4, 3, 2, 1]),
        ("-updated_at", &[2, 4, 5, 3, 1]),
        ("last_login", &[5, 2, 4, 1, 3]),
        ("-last_login", &[1, 3, 4, 2, 5]),
        // Unknown columns are ignored.
        ("password", &[1, 2, 3, 4, 5]),
        ("-password_hash,nonsense,-id", &[5, 4, 3, 2, 1]),
        ("id;DROP TABLE users", &[1, 2, 3, 4, 5]),
        ("--id", &[1, 2, 3, 4, 5]),
        ("ID", &[1, 2, 3, 4, 5]),
        ("is_staff", &[1, 2, 3, 4, 5]),
        (",, -id ,", &[5, 4, 3, 2, 1]),
    ] {
        let query: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("ordering", ordering)
            .finish();
        assert_eq!(
            ids(&server, &staff, &format!("?{query}")),
            found,
            "{ordering:?}"
        );
    }
}

#[test]
fn staff_deactivates_and_activates() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    let user = server.user("user@example.com");
    server.advance_seconds(60);
    let off = server.patch(&user.path(), &staff, &json!({"is_active": false}));
    off.assert(
        200,
        concat!(
            r#"{"id":2,"email":"user@example.com","first_name":"","last_name":"","phone":"","gender":"","country":"","#,
            r#""created_at":"2024-12-03T12:00:00Z","updated_at":"2024-12-03T12:01:00Z","is_active":false}"#
        ),
    );
    let ended = || {
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
    };
    ended();
    server
        .sign_in(&user.email, PASSWORD)
        .assert(401, UNKNOWN_CREDENTIALS);
    // The address stays taken.
    assert_eq!(server.sign_up(&user.email).status, 400);

    let on = server.patch(&user.path(), &staff, &json!({"is_active": true}));
    assert_eq!((on.status, &on.json()["is_active"]), (200, &json!(true)));
    // Revoked sessions stay revoked.
    ended();
    assert_eq!(server.sign_in(&user.email, PASSWORD).status, 200);
}

#[test]
fn unverified_account_cannot_be_promoted() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    let id = server.sign_up("user@example.com").json()["data"]["id"].clone();
    let answer = server.patch(&format!("users/{id}/"), &staff, &json!({"is_staff": true}));
    answer.assert(
        400,
        r#"{"is_staff":["The address of this account is not confirmed."]}"#,
    );
    assert_eq!(server.confirm("user@example.com").status, 200);
    let answer = server.patch(&format!("users/{id}/"), &staff, &json!({"is_staff": true}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    // The owner is notified.
    let subject = &server.mails("user@example.com")[0].subject;
    assert!(subject.contains("administrator"), "{subject}");
}

#[test]
fn staff_promotes_and_demotes() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    let user = server.user("user@example.com");
    let on = server.patch(
        &user.path(),
        &staff,
        &json!({"is_staff": true, "address": "Somewhere", "is_active": true, "birthday": null}),
    );
    on.assert(
        200,
        concat!(
            r#"{"id":2,"email":"user@example.com","first_name":"","last_name":"","phone":"","gender":"","country":"","#,
            r#""created_at":"2024-12-03T12:00:00Z","updated_at":"2024-12-03T12:00:00Z","#,
            r#""address":"Somewhere","birthday":null,"is_active":true,"is_staff":true}"#
        ),
    );
    // The right is effective at once, although the token says otherwise.
    assert_eq!(list(&server, &user, "").status, 200);
    let off = server.patch(&user.path(), &staff, &json!({"is_staff": false}));
    assert_eq!((off.status, &off.json()["is_staff"]), (200, &json!(false)));
    list(&server, &user, "").assert(403, FORBIDDEN);
    // The session stays valid.
    assert_eq!(server.get("users/me/", Some(&user.access)).status, 200);
}

#[test]
fn booleans_are_read_as_django_reads_them() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    let user = server.user("user@example.com");
    for (value, expected) in [
        (json!(false), false),
        (json!("true"), true),
        (json!("off"), false),
        (json!("On"), true),
        (json!(0), false),
        (json!(1), true),
        (json!("no"), false),
        (json!("YES"), true),
    ] {
        let answer = server.patch(&user.path(), &staff, &json!({"is_active": value}));
        assert_eq!(
            (answer.status, &answer.json()["is_active"]),
            (200, &json!(expected)),
            "{value}"
        );
        let shown = results(&server, &staff, "?search=user")[0]["is_active"].clone();
        assert_eq!(shown, expected, "{value}");
    }
    for field in ["is_active", "is_staff"] {
        for (value, message) in [
            (json!("maybe"), "Must be a valid boolean."),
            (json!(""), "Must be a valid boolean."),
            (json!(2), "Must be a valid boolean."),
            (json!(-1), "Must be a valid boolean."),
            (json!([]), "Must be a valid boolean."),
            (json!({"a": true}), "Must be a valid boolean."),
            (json!([true]), "Must be a valid boolean."),
            (json!(null), "This field may not be null."),
        ] {
            let body = json!({field: value, "first_name": "Changed"});
            server
                .patch(&user.path(), &staff, &body)
                .assert_json(400, &json!({field: [message]}));
        }
    }
    let both = json!({"is_active": "x", "is_staff": "x", "gender": "X"});
    server.patch(&user.path(), &staff, &both).assert_json(
        400,
        &json!({
            "gender": ["\"X\" is not a valid choice."],
            "is_active": ["Must be a valid boolean."],
            "is_staff": ["Must be a valid boolean."],
        }),
    );
    let shown = &results(&server, &staff, "?search=user")[0];
    assert_eq!(shown["first_name"], "");
    assert_eq!(shown["is_staff"], false);
}

#[test]
fn who_is_not_staff_sets_neither() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    let user = server.user("user@example.com");
    for body in [
        json!({"is_staff": true, "is_active": false, "is_verified": false, "last_login": null}),
        json!({"is_staff": "maybe", "is_active": null}),
    ] {
        let answer = server.patch("users/me/", &user, &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(
            answer.json().as_object().unwrap().len(),
            9,
            "{}",
            answer.body
        );
    }
    let shown = &results(&server, &staff, "?search=user")[0];
    for (field, value) in [
        ("is_staff", json!(false)),
        ("is_active", json!(true)),
        ("is_verified", json!(true)),
        ("last_login", json!("2024-12-03T12:00:00Z")),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    list(&server, &user, "").assert(403, FORBIDDEN);
    server
        .patch(&staff.path(), &user, &json!({"is_staff": false}))
        .assert(403, FORBIDDEN);
    // Read-only for staff, too.
    let body = json!({"is_verified": false, "last_login": null, "id": 99, "created_at": "x"});
    let answer = server.patch(&user.path(), &staff, &body);
    assert_eq!(
        answer.json().as_object().unwrap().len(),
        9,
        "{}",
        answer.body
    );
    assert_eq!(
        results(&server, &staff, "?search=user")[0]["is_verified"],
        true
    );
}

#[test]
fn a_staff_member_that_is_switched_off_is_out_at_once() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    let other = server.staff("other@example.com");
    let answer = server.patch("users/me/", &other, &json!({"is_active": false}));
    assert_eq!(
        (answer.status, &answer.json()["is_active"]),
        (200, &json!(false))
    );
    list(&server, &other, "").assert(401, BAD_TOKEN);
    assert_eq!(names(&server, &staff, "?is_active=false"), ["other"]);
}

#[test]
fn a_deactivated_account_does_nothing_by_mail_either() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    let id = server.sign_up("waiting@example.com").json()["data"]["id"].clone();
    let otp = server.otp("waiting@example.com");
    let path = format!("users/{id}/");
    server.patch(&path, &staff, &json!({"is_active": false}));
    server
        .post(
            "otp/verify/",
            &json!({"email": "waiting@example.com", "otp": otp}),
        )
        .assert(400, INVALID_OTP);
    for path in ["otp/resend/", "password/reset/"] {
        let body = json!({"email": "waiting@example.com"});
        server.post(path, &body).assert(200, EMAIL_SENT);
    }
    assert_eq!(server.mails("waiting@example.com").len(), 1);
    server.patch(&path, &staff, &json!({"is_active": true}));
    server
        .post(
            "otp/verify/",
            &json!({"email": "waiting@example.com", "otp": otp}),
        )
        .text("access");
}

#[test]
fn external_id_is_shown_and_found() {
    let server = TestServer::start();
    let staff = server.staff("staff@example.com");
    server.user("user@example.com");
    server.db_execute("UPDATE users SET external_id = 'auth0|60425d' WHERE email LIKE 'user@%'");
    for query in [
        "?external_id=auth0%7C60425d",
        "?external_id=auth0%7C60425d&is_verified=true",
        "?external_id=auth0%7C60425d&search=user",
    ] {
        let page = list(&server, &staff, query).json();
        assert_eq!(page["count"], 1, "{query}");
        assert_eq!(page["results"][0]["email"], "user@example.com", "{query}");
        assert_eq!(page["results"][0]["external_id"], "auth0|60425d", "{query}");
    }
    for query in [
        "?external_id=auth0%7C60425",
        "?external_id=auth0%7C60425d&is_verified=false",
        "?external_id=auth0%7C60425d&is_active=false",
        "?external_id=auth0%7C60425d&search=staff",
    ] {
        assert_eq!(results(&server, &staff, query), [json!(null); 0], "{query}");
    }
    // An empty value does not filter.
    assert_eq!(results(&server, &staff, "?external_id=").len(), 2);
}
