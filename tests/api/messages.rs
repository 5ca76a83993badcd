//! Error texts of invalid fields, word for word, and the stored values of valid ones.

use serde_json::{Value, json};

use crate::contract::UNKNOWN_CREDENTIALS;
use crate::support::{Answer, PASSWORD, TestServer, User, sign_up_with};

const REQUIRED: &str = "This field is required.";
const NULL: &str = "This field may not be null.";
const BLANK: &str = "This field may not be blank.";
const NO_TEXT: &str = "Not a valid string.";
const NUL: &str = "Null characters are not allowed.";
const EMAIL: &str = "Enter a valid email address.";
const PHONE: &str = "Enter a valid phone number.";
const DATE: &str = "Date has wrong format. Use one of these formats instead: YYYY-MM-DD.";
const FUTURE: &str = "Date of birth cannot be in the future.";
const DIFFER: &str = "The two password fields didn't match.";
const SHORT: &str = "This password is too short. It must contain at least 8 characters.";
const COMMON: &str = "This password is too common.";
const NUMERIC: &str = "This password is entirely numeric.";
const NO_FILE: &str = "The submitted data was not a file. Check the encoding type on the form.";

fn longer_than(n: usize) -> String {
    format!("Ensure this field has no more than {n} characters.")
}

fn no_choice(value: &str) -> String {
    format!("\"{value}\" is not a valid choice.")
}

/// JSON values that are invalid for every text field.
const NO_TEXTS: [&str; 7] = [
    "true",
    "false",
    "[]",
    "{}",
    r#"["a"]"#,
    r#"{"a": "b"}"#,
    "[null, 1]",
];

/// A field, a JSON value, and all of its error texts.
type Wrong = (&'static str, String, Vec<String>);

/// Invalid values of the fields that sign-up and update share.
fn wrong_values() -> Vec<Wrong> {
    let mut wrong: Vec<Wrong> = Vec::new();
    let mut add = |field, value: &str, messages: &[&str]| {
        wrong.push((
            field,
            value.to_owned(),
            messages.iter().map(|&m| m.to_owned()).collect(),
        ));
    };
    let text = |value: &str| json!(value).to_string();
    for field in [
        "email",
        "first_name",
        "last_name",
        "phone",
        "gender",
        "country",
        "address",
    ] {
        add(field, "null", &[NULL]);
    }
    for field in ["first_name", "last_name", "phone", "address"] {
        for value in NO_TEXTS {
            add(field, value, &[NO_TEXT]);
        }
    }
    for (field, longest) in [("first_name", 150), ("last_name", 150), ("address", 255)] {
        let long = longer_than(longest);
        add(field, &text(&"x".repeat(longest + 1)), &[&long]);
        add(field, &text(&"é".repeat(longest + 1)), &[&long]);
        add(field, &text(&"😀".repeat(longest + 1)), &[&long]);
        add(field, &"9".repeat(longest + 1), &[&long]);
        add(field, r#""a\u0000b""#, &[NUL]);
        add(field, r#""\u0000""#, &[NUL]);
        add(
            field,
            &text(&format!("{}\0", "x".repeat(longest))),
            &[&long, NUL],
        );
    }

    for value in NO_TEXTS.into_iter().chain(["5", "0", "-1.5"]) {
        add("email", value, &[EMAIL]);
    }
    for value in ["", " ", "\t\r\n", "\u{a0}", "\u{2003}"] {
        add("email", &text(value), &[BLANK]);
    }
    for value in [
        "user",
        "user@",
        "@example.com",
        "user@@example.com",
        "user@a@example.com",
        "user@example",
        "user@example.c",
        "user@.example.com",
        "user@-example.com",
        "user@example-.com",
        "user@example..com",
        "user@exam_ple.com",
        "user@exa mple.com",
        "us er@example.com",
        ".user@example.com",
        "user.@example.com",
        "us..er@example.com",
        "\"quo ted\"@example.com",
        "user@127.0.0.1",
        "user@[256.0.0.1]",
        "user@example.123",
        "user@example.-com",
        "user(comment)@example.com",
        "User <user@example.com>",
        "user,other@example.com",
        "user@example,com",
        "user@example.com;other@example.com",
        "user\\@example.com",
        "user@exam\nple.com",
        "us\ter@example.com",
        "user@example.com\u{7f}",
        "üser@example.com",
        "😀@example.com",
        "\u{212a}@example.com",
        "\u{17f}@example.com",
        "user@😀.com",
        "user@ex!ample.com",
        "mailto:user@example.com",
    ] {
        add("email", &text(value), &[EMAIL]);
    }
    add("email", r#""user\u0000@example.com""#, &[NUL, EMAIL]);
    add("email", r#""user@example.com\u0000""#, &[NUL, EMAIL]);
    let long = longer_than(254);
    add("email", &text(&email_of_length(255)), &[&long]);
    add("email", &text(&"x".repeat(255)), &[&long, EMAIL]);
    add(
        "email",
        &text(&format!("{}\0", "x".repeat(255))),
        &[&long, NUL, EMAIL],
    );

    for value in [
        "1234567890",
        "+0123456",
        "+1",
        "+",
        "++12345",
        "+12a",
        "+12/345",
        "00123456",
        "tel:+123456",
        "()",
        "+1234567890123456",
        "+١٢٣٤٥",
        "+１２３４",
        "+123 ext. 4",
        "1+2345",
        "+12,345",
        "\u{200b}",
    ] {
        add("phone", &text(value), &[PHONE]);
    }
    add("phone", "1234567890", &[PHONE]);
    add("phone", r#""+123\u000045""#, &[NUL, PHONE]);
    let long = longer_than(32);
    add(
        "phone",
        &text(&format!("+12345678901234{}5", " ".repeat(17))),
        &[&long],
    );
    add("phone", &text(&"x".repeat(33)), &[&long, PHONE]);
    add(
        "phone",
        &text(&format!("{}\0", "x".repeat(33))),
        &[&long, NUL, PHONE],
    );

    for field in ["gender", "country"] {
        for (value, shown) in [
            ("true", "True"),
            ("false", "False"),
            ("5", "5"),
            ("-7", "-7"),
            ("1.0", "1.0"),
            ("1.5", "1.5"),
            ("-0.0", "-0.0"),
            ("1e5", "100000.0"),
            ("1e16", "1e+16"),
            ("1E-7", "1e-07"),
            ("1e400", "inf"),
            (
                "123456789012345678901234567890",
                "123456789012345678901234567890",
            ),
            ("[]", "[]"),
            ("{}", "{}"),
            (r#"["M"]"#, "['M']"),
            (r#"["a",null,true,1.0]"#, "['a', None, True, 1.0]"),
            (
                r#"{"a":"b'c","d":[null,false]}"#,
                r#"{'a': "b'c", 'd': [None, False]}"#,
            ),
            (
                r#"["both ' and \"", "tab\t", "ünï"]"#,
                r#"['both \' and "', 'tab\t', 'ünï']"#,
            ),
            (r#""X""#, "X"),
            (r#""MFO""#, "MFO"),
            (r#""<b>&\"'""#, "<b>&\"'"),
            (r#""None""#, "None"),
        ] {
            add(field, value, &[&no_choice(shown)]);
        }
    }
    for value in ["m", "f", "o", "Male", "N", "US"] {
        add("gender", &text(value), &[&no_choice(value)]);
    }
    // Codes that are reserved, withdrawn, unknown, of another standard, or in another case.
    for value in [
        "us", "Us", "USA", "840", "UK", "EU", "AN", "SU", "YU", "XK", "ZZ", "AA", "M", "U", "ＵＳ",
    ] {
        add("country", &text(value), &[&no_choice(value)]);
    }

    for value in NO_TEXTS.into_iter().chain(["0", "19900101", "1990.5"]) {
        add("birthday", value, &[DATE]);
    }
    for value in [
        "",
        "1990",
        "1990-01",
        "1990-1-1",
        "1990-01-1",
        "19900101",
        "1990/01/01",
        "01/01/1990",
        "01-01-1990",
        "1990-13-01",
        "1990-00-10",
        "1990-01-00",
        "1990-02-30",
        "1900-02-29",
        "1990-04-31",
        "0000-01-01",
        "10000-01-01",
        "-1990-01-01",
        "+1990-01-01",
        "1990-W01-1",
        "1990-001",
        "1990-01-01T00:00:00Z",
        "1990-01-01 00:00",
        "1990-01-01\0",
        "null",
        "today",
        "١٩٩٠-٠١-٠١",
        "１９９０-01-01",
        "1990‐01‐01",
        "1990-01-01x",
    ] {
        add("birthday", &text(value), &[DATE]);
    }
    // The clock is at noon of 2024-12-03, UTC.
    for value in ["2024-12-04", "2025-01-01", "2999-12-31", "9999-12-31"] {
        add("birthday", &text(value), &[FUTURE]);
    }
    wrong
}

/// A valid address of this length in characters, with the longest allowed local part.
fn email_of_length(length: usize) -> String {
    let domain = length - 65;
    let rest = domain - 2 * 64 - ".com".len();
    let (b, c, d) = ("b".repeat(63), "c".repeat(63), "d".repeat(rest));
    let email = format!("{}@{b}.{c}.{d}.com", "a".repeat(64));
    assert_eq!(email.len(), length);
    email
}

/// Asserts that every invalid value gets exactly its error texts; lists all that do not.
#[track_caller]
fn assert_all_told(send: impl Fn(&str, &str) -> Answer) {
    let mistakes: Vec<String> = wrong_values()
        .into_iter()
        .filter_map(|(field, value, messages)| {
            let answer = send(field, &value);
            let expected = json!({ field: messages });
            ((answer.status, answer.json()) != (400, expected.clone())).then(|| {
                format!(
                    "{field} {value}: {} {} instead of {expected}",
                    answer.status, answer.body
                )
            })
        })
        .collect();
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

fn sign_up_with_raw(server: &TestServer, field: &str, value: &str) -> Answer {
    let email = if field == "email" {
        String::new()
    } else {
        r#""email":"user@example.com","#.into()
    };
    server.request(
        "POST",
        "/api/v1/accounts/users/",
        &[("content-type", "application/json")],
        format!(r#"{{{email}"password":"{PASSWORD}","confirm_password":"{PASSWORD}","{field}":{value}}}"#),
    )
}

fn patch_raw(server: &TestServer, user: &User, body: &str) -> Answer {
    server.request(
        "PATCH",
        &format!("/api/v1/accounts/{}", user.path()),
        &[
            ("content-type", "application/json"),
            ("authorization", &format!("Bearer {}", user.access)),
        ],
        body,
    )
}

/// The whole account as its owner sees it.
fn profile(server: &TestServer, user: &User) -> Value {
    let answer = server.get(&user.path(), Some(&user.access));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

#[test]
fn invalid_values_are_reported_at_sign_up() {
    let server = TestServer::start();
    assert_all_told(|field, value| sign_up_with_raw(&server, field, value));
    assert_eq!(server.db_number("SELECT count(*) FROM users"), 0);
    assert!(server.mails("user@example.com").is_empty());
}

#[test]
fn invalid_values_are_reported_at_an_update() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let before = profile(&server, &user);
    server.advance_seconds(1);
    assert_all_told(|field, value| patch_raw(&server, &user, &format!(r#"{{"{field}":{value}}}"#)));
    assert_eq!(profile(&server, &user), before);
}

#[test]
fn all_field_errors_of_a_sign_up_are_reported() {
    let server = TestServer::start();
    let body = json!({
        "email": "x", "password": "1234", "confirm_password": "", "first_name": true, "last_name": "x".repeat(151),
        "phone": "none", "gender": [], "country": "XX", "address": null, "birthday": "yesterday",
    });
    server.post("users/", &body).assert_json(
        400,
        &json!({
            "email": [EMAIL], "password": [SHORT, COMMON, NUMERIC], "confirm_password": [BLANK],
            "first_name": [NO_TEXT], "last_name": [longer_than(150)], "phone": [PHONE],
            "gender": [no_choice("[]")], "country": [no_choice("XX")], "address": [NULL], "birthday": [DATE],
        }),
    );
}

#[test]
fn all_field_errors_of_an_update_are_reported_and_nothing_changes() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    server.user("taken@example.com");
    let before = profile(&server, &user);
    server.advance_seconds(1);
    let body = json!({
        "email": "TAKEN@example.com", "first_name": {}, "last_name": null, "phone": "0", "gender": 1, "country": "de",
        "address": "x".repeat(256), "birthday": "2025-01-01", "photo": "photo.jpg",
    });
    server.patch(&user.path(), &user, &body).assert_json(
        400,
        &json!({
            "email": ["user with this email already exists."], "first_name": [NO_TEXT], "last_name": [NULL],
            "phone": [PHONE], "gender": [no_choice("1")], "country": [no_choice("de")],
            "address": [longer_than(255)], "birthday": [FUTURE], "photo": [NO_FILE],
        }),
    );
    // One invalid field prevents the change of the valid ones.
    let answer = server.patch(
        &user.path(),
        &user,
        &json!({"first_name": "Jane", "gender": "X"}),
    );
    answer.assert_json(400, &json!({"gender": [no_choice("X")]}));
    assert_eq!(profile(&server, &user), before);
}

#[test]
fn photo_must_be_a_file() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for value in ["true", "5", "1.5", r#""""#, r#""x""#, "[]", "{}"] {
        let answer = patch_raw(&server, &user, &format!(r#"{{"photo":{value}}}"#));
        let expected = json!({"photo": [NO_FILE]});
        assert_eq!((answer.status, answer.json()), (400, expected), "{value}");
    }
}

#[test]
fn required_fields_of_a_sign_up() {
    let server = TestServer::start();
    for field in ["email", "password", "confirm_password"] {
        let mut body = sign_up_with("user@example.com", &json!({}));
        body.as_object_mut().unwrap().remove(field);
        server
            .post("users/", &body)
            .assert_json(400, &json!({ field: [REQUIRED] }));
        body[field] = Value::Null;
        server
            .post("users/", &body)
            .assert_json(400, &json!({ field: [NULL] }));
        body[field] = json!("");
        server
            .post("users/", &body)
            .assert_json(400, &json!({ field: [BLANK] }));
    }
    for field in ["password", "confirm_password"] {
        for value in NO_TEXTS {
            let answer = sign_up_with_raw_passwords(&server, field, value);
            let expected = json!({ field: [NO_TEXT] });
            assert_eq!(
                (answer.status, answer.json()),
                (400, expected),
                "{field}: {value}"
            );
        }
        let answer = sign_up_with_raw_passwords(&server, field, r#""secure\u0000password""#);
        answer.assert_json(400, &json!({ field: [NUL] }));
    }
}

/// A sign-up in which one of the two passwords is the given JSON.
fn sign_up_with_raw_passwords(server: &TestServer, field: &str, value: &str) -> Answer {
    let other = if field == "password" {
        "confirm_password"
    } else {
        "password"
    };
    server.request(
        "POST",
        "/api/v1/accounts/users/",
        &[("content-type", "application/json")],
        format!(r#"{{"email":"user@example.com","{field}":{value},"{other}":"{PASSWORD}"}}"#),
    )
}

#[test]
fn password_rules_are_reported_in_order() {
    let server = TestServer::start();
    let similar = |to: &str| format!("The password is too similar to the {to}.");
    let (email, first, last) = (
        similar("email"),
        similar("first name"),
        similar("last name"),
    );
    for (password, address, first_name, last_name, messages) in [
        (
            "1234567",
            "1234567@example.com",
            "",
            "",
            vec![&*email, SHORT, COMMON, NUMERIC],
        ),
        ("aB3$x", "user@example.com", "", "", vec![SHORT]),
        ("ééééééé", "user@example.com", "", "", vec![SHORT]),
        ("password", "user@example.com", "", "", vec![COMMON]),
        ("PassWord", "user@example.com", "", "", vec![COMMON]),
        ("  password  ", "user@example.com", "", "", vec![COMMON]),
        ("qwerty", "user@example.com", "", "", vec![SHORT, COMMON]),
        (
            "12345678",
            "user@example.com",
            "",
            "",
            vec![COMMON, NUMERIC],
        ),
        (
            "7777777",
            "user@example.com",
            "",
            "",
            vec![SHORT, COMMON, NUMERIC],
        ),
        ("83746", "user@example.com", "", "", vec![SHORT, NUMERIC]),
        ("5028371649", "user@example.com", "", "", vec![NUMERIC]),
        ("١٢٣٤٥٦٧٨٩٠", "user@example.com", "", "", vec![NUMERIC]),
        (
            "user@example.com",
            "user@example.com",
            "",
            "",
            vec![&*email],
        ),
        (
            "USER@example.COM",
            "user@example.com",
            "",
            "",
            vec![&*email],
        ),
        ("userexample", "user@example.com", "", "", vec![&*email]),
        ("example1", "user@example.com", "", "", vec![&*email]),
        (
            "zarathustra1",
            "user@example.com",
            "Zarathustra",
            "",
            vec![&*first],
        ),
        (
            "zarathustra-1",
            "user@example.com",
            "Zara Thustra",
            "",
            vec![&*first],
        ),
        (
            "password1",
            "user@example.com",
            "Password",
            "",
            vec![&*first, COMMON],
        ),
        (
            "a",
            "user@example.com",
            "A",
            "",
            vec![&*first, SHORT, COMMON],
        ),
        (
            "Abernathy9",
            "user@example.com",
            "",
            "Abernathy",
            vec![&*last],
        ),
        (
            "Müller-Lüdenscheidt",
            "user@example.com",
            "",
            "Müller-Lüdenscheidt",
            vec![&*last],
        ),
        // The names are checked before the address, and only the first match is reported.
        (
            "johnathan1",
            "johnathan@example.com",
            "Johnathan",
            "Johnathan",
            vec![&*first, COMMON],
        ),
        (
            "abernathy",
            "abernathy@example.com",
            "Johnathan",
            "Abernathy",
            vec![&*last],
        ),
    ] {
        let body = json!({
            "email": address, "password": password, "confirm_password": password, "first_name": first_name,
            "last_name": last_name,
        });
        let answer = server.post("users/", &body);
        let expected = json!({ "password": messages });
        assert_eq!((answer.status, answer.json()), (400, expected), "{body}");
    }
    let number = sign_up_with_raw_passwords(&server, "password", "12345678");
    number.assert_json(400, &json!({"password": [COMMON, NUMERIC]}));
}

#[test]
fn valid_passwords_are_accepted() {
    let server = TestServer::start();
    for (n, password) in [
        "securepassword123",
        "correct horse battery",
        "éééééééé",
        "😀😀😀😀😀😀😀😀",
        "aB3$xyz!",
    ]
    .into_iter()
    .enumerate()
    {
        let email = format!("nobody{n}@example.org");
        let body = json!({
            "email": email, "password": password, "confirm_password": password, "first_name": "Jo", "last_name": "Doe",
        });
        let answer = server.post("users/", &body);
        assert_eq!(answer.status, 201, "{password}: {}", answer.body);
        server.confirm(&email);
        assert_eq!(server.sign_in(&email, password).status, 200, "{password}");
    }
}

#[test]
fn minimum_password_length_is_configurable() {
    let server = TestServer::start_with(|config| config.passwords.min_length = 12);
    let body = |password: &str| json!({"email": "user@example.com", "password": password, "confirm_password": password});
    server.post("users/", &body("zq7-vb4-mk1")).assert_json(
        400,
        &json!({"password": ["This password is too short. It must contain at least 12 characters."]}),
    );
    assert_eq!(server.post("users/", &body("zq7-vb4-mk1x")).status, 201);
}

#[test]
fn password_mismatch_is_reported_last() {
    let server = TestServer::start();
    server.user("taken@example.com");
    let sign_up = |email: &str, changes: Value| {
        let answer = server.post("users/", &sign_up_with(email, &changes));
        assert_eq!(answer.status, 400, "{changes}");
        answer.json()
    };
    for different in [
        "securepassword124",
        "Securepassword123",
        "securepassword123 ",
        "securepassword12",
    ] {
        let complaints = sign_up("user@example.com", json!({"confirm_password": different}));
        assert_eq!(
            complaints,
            json!({"confirm_password": [DIFFER]}),
            "{different}"
        );
    }
    for (email, changes, expected) in [
        (
            "user@example.com",
            json!({"phone": "none"}),
            json!({"phone": [PHONE]}),
        ),
        (
            "user@example.com",
            json!({"birthday": "2025-01-01"}),
            json!({"birthday": [FUTURE]}),
        ),
        (
            "user@example.com",
            json!({"password": "short"}),
            json!({"password": [SHORT]}),
        ),
        (
            "user@example.com",
            json!({"email": null}),
            json!({"email": [NULL]}),
        ),
        (
            "taken@example.com",
            json!({}),
            json!({"email": ["user with this email already exists."]}),
        ),
    ] {
        let mut body = json!({"confirm_password": "different-1"});
        for (key, value) in changes.as_object().unwrap() {
            body[key] = value.clone();
        }
        assert_eq!(sign_up(email, body), expected, "{email} {changes}");
    }
}

#[test]
fn longest_values_are_stored_whole() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for (field, value) in [
        ("first_name", "x".repeat(150)),
        ("first_name", "😀".repeat(150)),
        ("last_name", "é".repeat(150)),
        ("address", "x".repeat(255)),
        ("address", "漢".repeat(255)),
    ] {
        let answer = server.patch(&user.path(), &user, &json!({ field: value }));
        assert_eq!(
            (answer.status, &answer.json()[field]),
            (200, &json!(value)),
            "{field}"
        );
        assert_eq!(profile(&server, &user)[field], json!(value));
        // Surrounding white space does not count.
        let padded = format!("{}{value}{}", " ".repeat(50), "\n".repeat(50));
        let answer = server.patch(&user.path(), &user, &json!({ field: padded }));
        assert_eq!(
            (answer.status, &answer.json()[field]),
            (200, &json!(value)),
            "{field} padded"
        );
    }
    // 32 characters as typed, 16 when stored.
    let phone = format!("+12345678901234{}5", " ".repeat(16));
    assert_eq!(phone.len(), 32);
    let answer = server.patch(&user.path(), &user, &json!({ "phone": phone }));
    assert_eq!(
        (answer.status, &*answer.text("phone")),
        (200, "+123456789012345")
    );

    let email = email_of_length(254);
    let body = json!({
        "email": email, "password": "p4".repeat(64), "confirm_password": "p4".repeat(64),
    });
    let answer = server.post("users/", &body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.text_of_data("email"), email);
    assert_eq!(server.confirm(&email).status, 200);
    assert_eq!(server.sign_in(&email, &"p4".repeat(64)).status, 200);

    let long = "p4".repeat(64) + "x";
    let body = json!({"email": "other@example.com", "password": long, "confirm_password": long});
    server
        .post("users/", &body)
        .assert_json(400, &json!({"password": [longer_than(128)]}));
}

#[test]
fn valid_address_forms_get_mail() {
    let server = TestServer::start();
    for (email, shown) in [
        ("a@b.co", "a@b.co"),
        ("user.name+tag@example.co.uk", "user.name+tag@example.co.uk"),
        (
            "user!#$%&'*+/=?^_`{|}~-@example.com",
            "user!#$%&'*+/=?^_`{|}~-@example.com",
        ),
        ("user@localhost", "user@localhost"),
        ("user@a--b.com", "user@a--b.com"),
        ("user@xn--r8jz45g.jp", "user@xn--r8jz45g.jp"),
        ("user@example.xn--p1ai", "user@example.xn--p1ai"),
        ("\"quoted\"@example.com", "\"quoted\"@example.com"),
        ("user@[127.0.0.1]", "user@[127.0.0.1]"),
        ("\tuser@example.net\n", "user@example.net"),
    ] {
        let answer = server.sign_up(email);
        assert_eq!(answer.status, 201, "{email}: {}", answer.body);
        assert_eq!(answer.text_of_data("email"), shown);
        assert_eq!(server.mails(shown).len(), 1, "{email}");
        assert_eq!(server.confirm(shown).status, 200, "{email}");
    }
}

#[test]
fn undeliverable_address_forms_are_refused() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for (n, local) in [
        "a".repeat(64),
        "a".repeat(65),
        "a".repeat(200),
        "\"\"".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        for (email, send) in [
            (format!("{local}@example.com"), "sign-up"),
            (format!("{local}@example.org"), "update"),
        ] {
            let (answer, created) = match send {
                "sign-up" => (server.sign_up(&email), 201),
                _ => (
                    server.patch(&user.path(), &user, &json!({ "email": email })),
                    200,
                ),
            };
            if answer.status == created {
                assert_eq!(server.mails(&email).len(), 1, "{send}: no mail to {email}");
            } else {
                assert!(
                    n > 0,
                    "{send}: {email} is an ordinary address: {}",
                    answer.body
                );
                answer.assert_json(400, &json!({"email": [EMAIL]}));
            }
        }
    }
}

#[test]
fn international_domains_get_mail() {
    let server = TestServer::start();
    for email in ["user@exämple.com", "user@例え.jp", "user@пример.рф"] {
        let answer = server.sign_up(email);
        assert_eq!(answer.status, 201, "{email}: {}", answer.body);
        assert_eq!(answer.text_of_data("email"), email);
        assert_eq!(server.confirm(email).status, 200, "{email}");
        assert_eq!(server.sign_in(email, PASSWORD).status, 200, "{email}");
    }
}

#[test]
fn phones_are_stored_as_e_164() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for (typed, stored) in [
        ("+1234567890", "+1234567890"),
        ("+1 (234) 567-890", "+1234567890"),
        ("+1.234.567.890", "+1234567890"),
        ("+1-234-567-890", "+1234567890"),
        (" +49 30 [901] 820 ", "+4930901820"),
        ("(+44) 20 7946 0958", "+442079460958"),
        ("+123456789012345", "+123456789012345"),
        ("", ""),
        ("   ", ""),
    ] {
        let answer = server.patch(&user.path(), &user, &json!({ "phone": typed }));
        assert_eq!(
            (answer.status, &*answer.text("phone")),
            (200, stored),
            "{typed}"
        );
        assert_eq!(profile(&server, &user)["phone"], stored, "{typed}");
    }
    let body = sign_up_with("other@example.com", &json!({"phone": "+1 (234) 567-890"}));
    assert_eq!(
        server.post("users/", &body).text_of_data("phone"),
        "+1234567890"
    );
}

#[test]
fn birthdays_are_dates_up_to_today() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for birthday in [
        "1990-01-01",
        "2000-02-29",
        "0001-01-01",
        "1582-10-10",
        "2024-12-03",
    ] {
        let answer = server.patch(&user.path(), &user, &json!({ "birthday": birthday }));
        assert_eq!((answer.status, &*answer.text("birthday")), (200, birthday));
        assert_eq!(profile(&server, &user)["birthday"], birthday);
    }
    // "Today" is in UTC: its last second is 23:59:59.
    server.advance_seconds(12 * 60 * 60 - 1);
    let user = User {
        access: server.sign_in(&user.email, PASSWORD).text("access"),
        ..user
    };
    let tomorrow = json!({"birthday": "2024-12-04"});
    server
        .patch(&user.path(), &user, &tomorrow)
        .assert_json(400, &json!({"birthday": [FUTURE]}));
    server.advance_seconds(1);
    assert_eq!(server.patch(&user.path(), &user, &tomorrow).status, 200);
}

#[test]
fn every_country_of_iso_3166_is_known() {
    const CODES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS \
        BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI \
        FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR \
        IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM \
        MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT \
        PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM \
        TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";
    assert_eq!(
        CODES.split(' ').filter(|code| !code.is_empty()).count(),
        249
    );
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for code in CODES.split(' ').filter(|code| !code.is_empty()) {
        let answer = server.patch(&user.path(), &user, &json!({ "country": code }));
        assert_eq!((answer.status, &*answer.text("country")), (200, code));
    }
}

#[test]
fn genders_and_countries_are_matched_exactly_and_may_be_empty() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for (field, typed, stored) in [
        ("gender", "M", "M"),
        ("gender", "F", "F"),
        ("gender", "O", "O"),
        ("gender", "", ""),
        ("country", "US", "US"),
        ("country", "", ""),
    ] {
        let answer = server.patch(&user.path(), &user, &json!({ field: typed }));
        assert_eq!(
            (answer.status, &*answer.text(field)),
            (200, stored),
            "{field}: {typed:?}"
        );
    }
}

#[test]
fn numbers_are_taken_as_text() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for (typed, stored) in [
        ("12", "12"),
        ("0", "0"),
        ("-7", "-7"),
        ("1.5", "1.5"),
        ("1.0", "1.0"),
        ("-0.0", "-0.0"),
        ("0.1", "0.1"),
        ("1e5", "100000.0"),
        ("1e16", "1e+16"),
        ("1E-7", "1e-07"),
        (
            "123456789012345678901234567890",
            "123456789012345678901234567890",
        ),
        ("-98765432109876543210", "-98765432109876543210"),
    ] {
        for field in ["first_name", "last_name", "address"] {
            let answer = patch_raw(&server, &user, &format!(r#"{{"{field}":{typed}}}"#));
            assert_eq!(
                (answer.status, &answer.json()[field]),
                (200, &json!(stored)),
                "{field}: {typed}"
            );
        }
    }
}

#[test]
fn text_is_trimmed_and_otherwise_kept_as_it_is() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for (typed, stored) in [
        ("  Ann  ", "Ann"),
        ("\t\r\nAnn Marie\u{a0}\u{2003}", "Ann Marie"),
        ("   ", ""),
        ("", ""),
        ("Zoë", "Zoë"),
        ("Zoe\u{308}", "Zoe\u{308}"),
        ("<b>&\"'\\", "<b>&\"'\\"),
        ("two\nlines", "two\nlines"),
        ("'; DROP TABLE users; --", "'; DROP TABLE users; --"),
        ("😀 漢字 \u{202e}", "😀 漢字 \u{202e}"),
        ("\u{200b}", "\u{200b}"),
        ("null", "null"),
    ] {
        for field in ["first_name", "last_name", "address"] {
            let answer = server.patch(&user.path(), &user, &json!({ field: typed }));
            assert_eq!(
                (answer.status, &answer.json()[field]),
                (200, &json!(stored)),
                "{field}: {typed:?}"
            );
            assert_eq!(
                profile(&server, &user)[field],
                json!(stored),
                "{field}: {typed:?}"
            );
        }
    }
}

#[test]
fn fields_can_be_unset() {
    let server = TestServer::start();
    let fields = json!({
        "first_name": "John", "last_name": "Doe", "phone": "+1234567890", "gender": "M", "country": "US",
        "address": "123 Main Street", "birthday": "1990-01-01",
    });
    server.post("users/", &sign_up_with("user@example.com", &fields));
    let access = server.confirm("user@example.com").text("access");
    let user = User {
        id: 1,
        email: "user@example.com".into(),
        access,
        refresh: String::new(),
    };
    let before = profile(&server, &user);
    assert_eq!(before["has_initial_profile"], true);
    for field in [
        "first_name",
        "last_name",
        "phone",
        "gender",
        "country",
        "address",
    ] {
        let answer = server.patch(&user.path(), &user, &json!({ field: "" }));
        assert_eq!((answer.status, &*answer.text(field)), (200, ""), "{field}");
    }
    let answer = server.patch(
        &user.path(),
        &user,
        &json!({"birthday": null, "photo": null}),
    );
    assert_eq!(answer.status, 200, "{}", answer.body);
    server.get("users/me/", Some(&user.access)).assert(
        200,
        concat!(
            r#"{"id":1,"email":"user@example.com","first_name":"","last_name":"","phone":"","photo":null,"#,
            r#""address":"","gender":"","country":"","birthday":null,"has_initial_profile":false,"#,
            r#""created_at":"2024-12-03T12:00:00Z","updated_at":"2024-12-03T12:00:00Z"}"#
        ),
    );
}

#[test]
fn null_stands_for_no_birthday_at_sign_up_too() {
    let server = TestServer::start();
    let body = sign_up_with("user@example.com", &json!({"birthday": null}));
    assert_eq!(server.post("users/", &body).status, 201);
    let access = server.confirm("user@example.com").text("access");
    assert_eq!(
        server.get("users/me/", Some(&access)).json()["birthday"],
        Value::Null
    );
}

#[test]
fn wrong_fields_of_the_code_endpoints() {
    let server = TestServer::start();
    let long = longer_than(254);
    for path in ["otp/verify/", "otp/resend/"] {
        for (value, messages) in [
            ("null", vec![NULL]),
            (r#""""#, vec![BLANK]),
            (r#""  ""#, vec![BLANK]),
            (r#""nonsense""#, vec![EMAIL]),
            ("true", vec![EMAIL]),
            ("[]", vec![EMAIL]),
            ("5", vec![EMAIL]),
            (r#""user\u0000@example.com""#, vec![NUL, EMAIL]),
            (&json!(email_of_length(255)).to_string(), vec![&*long]),
            (&json!("x".repeat(255)).to_string(), vec![&*long, EMAIL]),
        ] {
            let answer = server.request(
                "POST",
                &format!("/api/v1/accounts/{path}"),
                &[("content-type", "application/json")],
                format!(r#"{{"email":{value},"otp":"123456"}}"#),
            );
            let expected = json!({ "email": messages });
            assert_eq!(
                (answer.status, answer.json()),
                (400, expected),
                "{path} {value}"
            );
        }
    }
    for (value, message) in [
        (json!(null), NULL),
        (json!(""), BLANK),
        (json!(" \t"), BLANK),
        (json!(true), NO_TEXT),
        (json!([1, 2, 3, 4, 5, 6]), NO_TEXT),
        (json!({"otp": "123456"}), NO_TEXT),
        (json!("123\u{0}456"), NUL),
    ] {
        let answer = server.post(
            "otp/verify/",
            &json!({"email": "user@example.com", "otp": value}),
        );
        let expected = json!({ "otp": [message] });
        assert_eq!((answer.status, answer.json()), (400, expected), "{value}");
    }
}

#[test]
fn wrong_fields_of_the_token_endpoints() {
    let server = TestServer::start();
    for (path, field) in [
        ("token/refresh/", "refresh"),
        ("token/verify/", "token"),
        ("token/blacklist/", "refresh"),
    ] {
        server
            .post(path, &json!({}))
            .assert_json(400, &json!({ field: [REQUIRED] }));
        for (value, message) in [
            (json!(null), NULL),
            (json!(""), BLANK),
            (json!("  "), BLANK),
            (json!(true), NO_TEXT),
            (json!([]), NO_TEXT),
            (json!({}), NO_TEXT),
            (json!("a\u{0}b"), NUL),
        ] {
            let answer = server.post(path, &json!({ field: value }));
            let expected = json!({ field: [message] });
            assert_eq!(
                (answer.status, answer.json()),
                (400, expected),
                "{path} {value}"
            );
        }
        for value in [
            json!(5),
            json!("x"),
            json!("a.b.c"),
            json!("é"),
            json!("x".repeat(10_000)),
        ] {
            let answer = server.post(path, &json!({ field: value }));
            let expected =
                json!({"detail": "Token is invalid or expired", "code": "token_not_valid"});
            assert_eq!(
                (answer.status, answer.json()),
                (401, expected),
                "{path} {value}"
            );
        }
    }
    for (body, expected) in [
        (
            json!({}),
            json!({"email": [REQUIRED], "password": [REQUIRED]}),
        ),
        (
            json!({"username": "user@example.com", "password": "x"}),
            json!({"email": [REQUIRED]}),
        ),
        (
            json!({"email": null, "password": null}),
            json!({"email": [NULL], "password": [NULL]}),
        ),
        (
            json!({"email": " ", "password": ""}),
            json!({"email": [BLANK], "password": [BLANK]}),
        ),
        (
            json!({"email": true, "password": false}),
            json!({"email": [EMAIL], "password": [NO_TEXT]}),
        ),
        (
            json!({"email": "user@example.com", "password": []}),
            json!({"password": [NO_TEXT]}),
        ),
        (
            json!({"email": "a\u{0}", "password": "b\u{0}"}),
            json!({"email": [NUL], "password": [NUL]}),
        ),
    ] {
        let answer = server.post("token/", &body);
        assert_eq!((answer.status, answer.json()), (400, expected), "{body}");
    }
    // An invalid address is treated like an unknown one.
    for email in [
        json!("nonsense"),
        json!(5),
        json!("x".repeat(300)),
        json!("user@example.com"),
    ] {
        let answer = server.post("token/", &json!({"email": email, "password": 12_345_678}));
        answer.assert(401, UNKNOWN_CREDENTIALS);
    }
}
