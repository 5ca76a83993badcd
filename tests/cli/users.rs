//! The `user` commands.

use std::collections::HashSet;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    Outcome, PASSWORD, Running, create_user, enroll_app, folder, names_in, run, run_with_input,
};

const CREATE: &[&str] = &[
    "--db",
    "users.db",
    "--passwords-bcrypt-cost",
    "4",
    "user",
    "create",
    "--password-stdin",
];

#[test]
fn create_prints_the_id_and_the_account_signs_in() {
    let dir = folder();
    run_with_input(
        dir.path(),
        &[CREATE, &["User@Example.com"]].concat(),
        &format!("{PASSWORD}\n"),
    )
    .assert_done("1\n");
    assert_eq!(create_user(dir.path(), "second@example.com", &[]), 2);
    let server = Running::start(dir.path());
    let access = server.sign_in("user@example.com");
    let (status, profile) = server.api("GET", "users/1/", Some(&access), &json!({}));
    assert_eq!(
        (status, &profile["email"]),
        (200, &json!("User@example.com"))
    );
    assert_eq!(
        server.api("GET", "users/2/", Some(&access), &json!({})).0,
        403,
        "not staff"
    );
}

#[test]
fn create_works_beside_a_running_server() {
    let dir = folder();
    let server = Running::start(dir.path());
    assert_eq!(server.sign_up("user@example.com").1["data"]["id"], 1);
    let id = create_user(dir.path(), "staff@example.com", &["--staff"]);
    assert_eq!(id, 2);
    let access = server.sign_in("staff@example.com");
    let (status, profile) = server.api("GET", "users/1/", Some(&access), &json!({}));
    assert_eq!(
        (status, &profile["email"]),
        (200, &json!("user@example.com")),
        "staff sees everyone"
    );
    assert_eq!(
        server.sign_up("third@example.com").1["data"]["id"],
        3,
        "the server goes on writing"
    );
    let (status, answer) = server.sign_up("staff@example.com");
    assert_eq!(
        (status, answer),
        (
            400,
            json!({"email": ["user with this email already exists."]})
        )
    );
}

#[test]
fn unverified_account_is_displaced() {
    let dir = folder();
    let server = Running::start(dir.path());
    let body = json!({
        "email": "user@example.com", "password": "password-of-stranger", "confirm_password": "password-of-stranger",
    });
    assert_eq!(server.post("users/", &body).1["data"]["id"], 1);
    let strangers = crate::support::code_in(&server.next_mail());
    let id = create_user(dir.path(), "USER@example.com", &[]);
    let access = server.sign_in("user@example.com");
    assert_eq!(
        server.api("GET", "users/me/", Some(&access), &json!({})).1["id"],
        id
    );
    let (status, _) = server.post(
        "otp/verify/",
        &json!({"email": "user@example.com", "otp": strangers}),
    );
    assert_eq!(status, 400);
    let body = json!({"email": "user@example.com", "password": "password-of-stranger"});
    assert_eq!(server.post("token/", &body).0, 401);
}

#[test]
fn password_is_one_line_of_input() {
    let dir = folder();
    for (n, (input, password)) in [
        ("  blanks around  \n", "  blanks around  "),
        ("no-end-of-line-7", "no-end-of-line-7"),
        ("windows-line-7\r\n", "windows-line-7"),
        ("first-line-7\nsecond-line-7\n", "first-line-7"),
        (
            "\u{43f}\u{430}\u{440}\u{43e}\u{43b}\u{44c}-\u{434}\u{43b}\u{44f}-7\n",
            "\u{43f}\u{430}\u{440}\u{43e}\u{43b}\u{44c}-\u{434}\u{43b}\u{44f}-7",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let email = format!("user{n}@example.com");
        let outcome = run_with_input(dir.path(), &[CREATE, &[email.as_str()]].concat(), input);
        outcome.assert_done(&format!("{}\n", n + 1));
        let server = Running::start(dir.path());
        let (status, answer) =
            server.post("token/", &json!({"email": email, "password": password}));
        assert_eq!(status, 200, "{input:?}: {answer}");
    }
}

#[test]
fn byte_order_mark_before_the_password_is_dropped() {
    let dir = folder();
    let arguments = ["user", "create", "user@example.com", "--password-stdin"];
    let outcome = on_db(dir.path(), &arguments, &format!("\u{feff}{PASSWORD}\r\n"));
    outcome.assert_done("1\n");
    Running::start(dir.path()).sign_in("user@example.com");
}

#[test]
fn invalid_account_is_refused_with_reasons() {
    let dir = folder();
    assert_eq!(create_user(dir.path(), "taken@example.com", &[]), 1);
    let long = "p".repeat(129);
    for (email, password, texts) in [
        (
            "taken@example.com",
            PASSWORD,
            &["email", "user with this email already exists."][..],
        ),
        (
            "TAKEN@example.com",
            PASSWORD,
            &["user with this email already exists."],
        ),
        (
            "nobody",
            PASSWORD,
            &["email", "Enter a valid email address."],
        ),
        ("", PASSWORD, &["email", "This field may not be blank."]),
        (
            "new@example.com",
            "password",
            &["password", "This password is too common."],
        ),
        (
            "new@example.com",
            "12345",
            &[
                "This password is too short. It must contain at least 8 characters.",
                "This password is entirely numeric.",
            ],
        ),
        (
            "somebody@example.com",
            "somebody@example",
            &["The password is too similar to the email."],
        ),
        (
            "new@example.com",
            &long,
            &["Ensure this field has no more than 128 characters."],
        ),
        ("new@example.com", "", &["standard input has no password"]),
        (
            "nobody",
            "12345",
            &[
                "Enter a valid email address.",
                "This password is too short.",
            ],
        ),
    ] {
        let outcome = run_with_input(
            dir.path(),
            &[CREATE, &[email]].concat(),
            &format!("{password}\n"),
        );
        outcome.assert_refused(1, texts);
        assert!(
            password.len() < 6 || password == "password" || !outcome.stderr.contains(password),
            "{outcome:?}"
        );
    }
    assert_eq!(
        create_user(dir.path(), "new@example.com", &[]),
        2,
        "nothing was made on the way"
    );
}

#[test]
fn password_is_piped_in_without_a_terminal() {
    let dir = folder();
    let outcome = run(
        dir.path(),
        &["--db", "users.db", "user", "create", "user@example.com"],
    );
    outcome.assert_refused(1, &["--password-stdin"]);
    assert_eq!(
        names_in(dir.path()),
        Vec::<String>::new(),
        "nothing is made before there is a password"
    );
}

#[test]
fn flags_come_before_or_after_the_command() {
    let dir = folder();
    for (n, arguments) in [
        &[
            "--db",
            "a.db",
            "user",
            "create",
            "one@example.com",
            "--password-stdin",
            "--passwords-bcrypt-cost",
            "4",
        ][..],
        &[
            "user",
            "create",
            "two@example.com",
            "--password-stdin",
            "--db",
            "a.db",
            "--passwords-bcrypt-cost=4",
        ],
        &[
            "user",
            "--db=a.db",
            "--dev",
            "create",
            "three@example.com",
            "--staff",
            "--password-stdin",
        ],
    ]
    .into_iter()
    .enumerate()
    {
        run_with_input(dir.path(), arguments, PASSWORD).assert_done(&format!("{}\n", n + 1));
    }
}

#[test]
fn concurrent_commands_create_all_accounts() {
    let dir = folder();
    let server = Running::start(dir.path());
    let mut ids: Vec<i64> = std::thread::scope(|scope| {
        let path = dir.path();
        let threads: Vec<_> = (0..10)
            .map(|n| scope.spawn(move || create_user(path, &format!("user{n}@example.com"), &[])))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    ids.sort_unstable();
    assert_eq!(ids, (1..=10).collect::<Vec<i64>>());
    server.sign_in("user7@example.com");
}

/// Three accounts of different kinds, with fixed times.
const THREE: &str = concat!(
    r#"{"id": 1, "email": "Ada@example.com", "first_name": "Ada", "last_name": "King", "phone": "+441234567", "address": "12 Square", "gender": "F", "country": "GB", "birthday": "1815-12-10", "is_staff": true, "last_login": "2024-12-03T12:00:00Z", "created_at": "2020-01-01T00:00:00Z", "updated_at": "2021-01-01T00:00:00Z"}"#,
    "\n",
    r#"{"id": 2, "email": "off@example.com", "first_name": "Zo\u00eb \u738b\u001b[31m", "is_active": false, "created_at": "2020-01-02T00:00:00Z"}"#,
    "\n",
    r#"{"id": 12, "email": "pending@example.com", "verified_at": null, "created_at": "2020-01-03T00:00:00Z"}"#,
    "\n",
);

/// Runs a command on `users.db`.
fn on_db(dir: &Path, arguments: &[&str], input: &str) -> Outcome {
    let first = ["--db", "users.db", "--passwords-bcrypt-cost", "4"];
    run_with_input(dir, &[&first, arguments].concat(), input)
}

/// A folder with `users.db`, which contains [`THREE`].
fn folder_of_three() -> TempDir {
    let dir = folder();
    on_db(dir.path(), &["import", "--staff-from-file"], THREE)
        .assert_done("imported 3, refused 0\n");
    dir
}

/// The addresses of a list in JSON.
fn listed(dir: &Path, arguments: &[&str]) -> Vec<String> {
    let outcome = on_db(dir, &[&["user", "list", "--json"], arguments].concat(), "");
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    outcome
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|user| user["email"].as_str().unwrap().to_owned())
        .collect()
}

/// The status with which the profile of the token's owner is answered.
fn me(server: &Running, token: &str) -> u16 {
    server.api("GET", "users/me/", Some(token), &json!({})).0
}

#[test]
fn list_is_a_table() {
    let dir = folder_of_three();
    // What somebody calls himself has no power over the terminal.
    on_db(dir.path(), &["user", "list"], "").assert_done(
        "ID  EMAIL                NAME         ACTIVE  VERIFIED  STAFF  LAST LOGIN  CREATED\n\
         1   Ada@example.com      Ada King     yes     yes       yes    2024-12-03  2020-01-01\n\
         2   off@example.com      Zo\u{eb} \u{738b}\u{fffd}[31m  no      yes       no     never       2020-01-02\n\
         12  pending@example.com               yes     no        no     never       2020-01-03\n",
    );
    on_db(dir.path(), &["user", "list", "--search", "nobody"], "")
        .assert_done("ID  EMAIL  NAME  ACTIVE  VERIFIED  STAFF  LAST LOGIN  CREATED\n");
}

#[test]
fn list_is_json_lines_with_a_flag() {
    let dir = folder_of_three();
    on_db(dir.path(), &["user", "list", "--json"], "").assert_done(concat!(
        r#"{"id":1,"email":"Ada@example.com","new_email":null,"first_name":"Ada","last_name":"King","phone":"+441234567","address":"12 Square","gender":"F","country":"GB","birthday":"1815-12-10","is_active":true,"is_staff":true,"verified_at":"2020-01-01T00:00:00Z","last_login":"2024-12-03T12:00:00Z","created_at":"2020-01-01T00:00:00Z","updated_at":"2021-01-01T00:00:00Z"}"#,
        "\n",
        r#"{"id":2,"email":"off@example.com","new_email":null,"first_name":"Zoë 王\u001b[31m","last_name":"","phone":"","address":"","gender":"","country":"","birthday":null,"is_active":false,"is_staff":false,"verified_at":"2020-01-02T00:00:00Z","last_login":null,"created_at":"2020-01-02T00:00:00Z","updated_at":"2020-01-02T00:00:00Z"}"#,
        "\n",
        r#"{"id":12,"email":"pending@example.com","new_email":null,"first_name":"","last_name":"","phone":"","address":"","gender":"","country":"","birthday":null,"is_active":true,"is_staff":false,"verified_at":null,"last_login":null,"created_at":"2020-01-03T00:00:00Z","updated_at":"2020-01-03T00:00:00Z"}"#,
        "\n",
    ));
}

#[test]
fn list_is_filtered() {
    let dir = folder_of_three();
    let (ada, off, pending) = ("Ada@example.com", "off@example.com", "pending@example.com");
    for (arguments, emails) in [
        (&[][..], &[ada, off, pending][..]),
        (&["--search", "EXAMPLE ada"], &[ada]),
        (&["--search", "1234 king"], &[ada]),
        (&["--search", "example nobody"], &[]),
        (&["--search", "%"], &[]),
        (&["--active"], &[ada, pending]),
        (&["--inactive"], &[off]),
        (&["--verified"], &[ada, off]),
        (&["--unverified"], &[pending]),
        (&["--staff"], &[ada]),
        (&["--active", "--verified", "--search=example"], &[ada]),
    ] {
        assert_eq!(listed(dir.path(), arguments), emails, "{arguments:?}");
    }
    for arguments in [["--active", "--inactive"], ["--verified", "--unverified"]] {
        on_db(
            dir.path(),
            &[&["user", "list"], &arguments[..]].concat(),
            "",
        )
        .assert_refused(2, &["cannot be used with"]);
    }
}

#[test]
fn long_list_is_complete_and_aligned() {
    let dir = folder();
    let rows: Vec<String> = (1..=2500)
        .map(|n| format!("{n},user{n}@example.com,{}\n", n % 1250 == 0))
        .collect();
    let rows = rows.concat();
    on_db(
        dir.path(),
        &["import", "--staff-from-file"],
        &format!("id,email,is_staff\n{rows}"),
    )
    .assert_done("imported 2500, refused 0\n");
    let emails = listed(dir.path(), &[]);
    let expected: Vec<String> = (1..=2500).map(|n| format!("user{n}@example.com")).collect();
    assert_eq!(emails, expected);
    assert_eq!(
        listed(dir.path(), &["--staff"]),
        ["user1250@example.com", "user2500@example.com"]
    );
    let table = on_db(dir.path(), &["user", "list"], "").stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 2501, "one header");
    let columns: HashSet<usize> = lines
        .iter()
        .map(|line| line.find("  ye").unwrap_or(0))
        .collect();
    assert!(
        columns.len() <= 3,
        "columns are aligned across accounts: {columns:?}"
    );
}

#[test]
fn account_is_shown_by_id_and_by_email() {
    let dir = folder_of_three();
    for name in ["1", "Ada@example.com", "ADA@EXAMPLE.COM"] {
        on_db(dir.path(), &["user", "show", name], "").assert_done(
            "id          1\n\
             email       Ada@example.com\n\
             first name  Ada\n\
             last name   King\n\
             phone       +441234567\n\
             address     12 Square\n\
             gender      F\n\
             country     GB\n\
             birthday    1815-12-10\n\
             active      yes\n\
             staff       yes\n\
             two-factor  no\n\
             verified    2020-01-01T00:00:00Z\n\
             last login  2024-12-03T12:00:00Z\n\
             created     2020-01-01T00:00:00Z\n\
             updated     2021-01-01T00:00:00Z\n",
        );
    }
    let outcome = on_db(dir.path(), &["user", "show", "12", "--json"], "");
    let shown: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(
        (&shown["id"], &shown["verified_at"]),
        (&json!(12), &Value::Null)
    );
    on_db(dir.path(), &["user", "show", "2"], "")
        .stdout
        .lines()
        .find(|line| *line == "first name  Zo\u{eb} \u{738b}\u{fffd}[31m")
        .unwrap();
}

#[test]
fn pending_email_is_shown_and_found() {
    let dir = folder();
    let server = Running::start(dir.path());
    create_user(dir.path(), "user@example.com", &[]);
    let access = server.sign_in("user@example.com");
    let body = json!({"email": "new@example.com"});
    assert_eq!(
        server.api("PATCH", "users/me/", Some(&access), &body).0,
        200
    );
    let outcome = on_db(dir.path(), &["user", "show", "new@example.com"], "");
    assert!(
        outcome
            .stdout
            .contains("user@example.com\nunconfirmed email  new@example.com\n"),
        "{outcome:?}"
    );
    let outcome = on_db(
        dir.path(),
        &["user", "show", "user@example.com", "--json"],
        "",
    );
    assert!(
        outcome
            .stdout
            .contains(r#""email":"user@example.com","new_email":"new@example.com""#),
        "{outcome:?}"
    );
}

#[test]
fn set_password_ends_all_sessions() {
    let dir = folder();
    let server = Running::start(dir.path());
    create_user(dir.path(), "user@example.com", &[]);
    let credentials = |password: &str| json!({"email": "user@example.com", "password": password});
    let (_, pair) = server.post("token/", &credentials(PASSWORD));
    let (access, refresh) = (pair["access"].as_str().unwrap(), &pair["refresh"]);
    assert_eq!(me(&server, access), 200);

    let set = [
        "user",
        "set-password",
        "USER@example.com",
        "--password-stdin",
    ];
    for (password, complaint) in [
        ("12345678", "This password is entirely numeric."),
        ("user@example", "The password is too similar to the email."),
    ] {
        on_db(dir.path(), &set, password).assert_refused(1, &["password: ", complaint]);
    }
    assert_eq!(
        me(&server, access),
        200,
        "a refused password changes nothing"
    );

    on_db(dir.path(), &set, "another-password-77\n").assert_done("");
    assert_eq!(me(&server, access), 401);
    assert_eq!(
        server
            .post("token/refresh/", &json!({"refresh": refresh}))
            .0,
        401
    );
    assert_eq!(server.post("token/", &credentials(PASSWORD)).0, 401);
    assert_eq!(
        server.post("token/", &credentials("another-password-77")).0,
        200
    );
    on_db(dir.path(), &["user", "set-password", "1"], "").assert_refused(1, &["--password-stdin"]);
}

#[test]
fn set_password_does_not_verify_an_account() {
    let dir = folder_of_three();
    let set = ["user", "set-password", "12", "--password-stdin"];
    let outcome = on_db(dir.path(), &set, PASSWORD);
    outcome.assert_done("");
    assert!(
        outcome.stderr.contains("never confirmed an email address"),
        "{outcome:?}"
    );
    let server = Running::start(dir.path());
    let body = json!({"email": "pending@example.com", "password": PASSWORD});
    assert_eq!(server.post("token/", &body).1["code"], "email_not_verified");
}

#[test]
fn deactivation_ends_sessions_for_good() {
    let dir = folder();
    let server = Running::start(dir.path());
    let id = create_user(dir.path(), "user@example.com", &[]).to_string();
    let access = server.sign_in("user@example.com");
    for _ in 0..2 {
        on_db(dir.path(), &["user", "deactivate", &id], "").assert_done("");
        assert_eq!(me(&server, &access), 401);
    }
    let body = json!({"email": "user@example.com", "password": PASSWORD});
    assert_eq!(server.post("token/", &body).0, 401);
    on_db(dir.path(), &["user", "activate", "user@example.com"], "").assert_done("");
    assert_eq!(me(&server, &access), 401, "the old session stays ended");
    let access = server.sign_in("user@example.com");
    assert_eq!(me(&server, &access), 200);
}

#[test]
fn promotion_and_demotion_take_effect_at_once() {
    let dir = folder();
    let server = Running::start(dir.path());
    create_user(dir.path(), "first@example.com", &["--staff"]);
    create_user(dir.path(), "user@example.com", &[]);
    let access = server.sign_in("user@example.com");
    let list = || server.api("GET", "users/", Some(&access), &json!({})).0;
    assert_eq!(list(), 403);
    on_db(dir.path(), &["user", "promote", "user@example.com"], "").assert_done("");
    assert_eq!(list(), 200);
    let outcome = on_db(dir.path(), &["user", "demote", "2"], "");
    outcome.assert_done("");
    assert!(!outcome.stderr.contains("WARN"), "{outcome:?}");
    assert_eq!(list(), 403);
}

#[test]
fn reason_is_in_the_audit_log() {
    let dir = folder();
    create_user(dir.path(), "staff@example.com", &["--staff"]);
    create_user(dir.path(), "user@example.com", &[]);
    for (command, event) in [
        ("deactivate", "user_deactivated"),
        ("activate", "user_activated"),
        ("promote", "user_promoted"),
        ("demote", "user_demoted"),
        ("delete", "user_deleted"),
    ] {
        let reason = format!("because of {command}");
        let arguments = ["user", command, "2", "--reason", &reason];
        on_db(dir.path(), &arguments, "").assert_done("");
        let log = on_db(dir.path(), &["audit", "--event", event], "");
        let shown = format!("because: {reason}");
        assert!(log.stdout.contains(&shown), "{log:?}");
        let log = on_db(dir.path(), &["audit", "--event", event, "--json"], "");
        let shown = format!("\"reason\":\"{reason}\"");
        assert!(log.stdout.contains(&shown), "{log:?}");
    }
    let long = "x".repeat(201);
    on_db(dir.path(), &["user", "demote", "1", "--reason", &long], "")
        .assert_refused(2, &["a reason has at most 200 characters"]);
}

#[test]
fn lost_factors_are_removed() {
    let dir = folder();
    let server = Running::start(dir.path());
    create_user(dir.path(), "user@example.com", &[]);
    let show = || on_db(dir.path(), &["user", "show", "1"], "").stdout;
    let factor = |shown: &str| {
        let line = shown
            .lines()
            .find_map(|line| line.strip_prefix("two-factor"));
        line.map(|line| line.trim().to_owned())
    };
    let with = |flag| on_db(dir.path(), &["user", "list", "--json", flag], "").stdout;
    assert_eq!(factor(&show()).as_deref(), Some("no"));
    assert_eq!(with("--with-mfa"), "");
    enroll_app(dir.path(), 1);
    assert_eq!(
        factor(&show()).as_deref(),
        Some("totp since 1970-01-01T00:00:00Z, never used, 0 recovery codes left")
    );
    let json = on_db(dir.path(), &["user", "show", "1", "--json"], "").stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        json["mfa"],
        json!({"methods": ["totp"], "created_at": "1970-01-01T00:00:00Z", "last_used_at": null,
               "recovery_codes_left": 0, "required": false})
    );
    assert!(with("--with-mfa").contains("user@example.com"));
    assert_eq!(with("--without-mfa"), "");
    on_db(
        dir.path(),
        &["user", "list", "--with-mfa", "--without-mfa"],
        "",
    )
    .assert_refused(2, &["cannot be used with"]);
    let body = json!({"email": "user@example.com", "password": PASSWORD});
    let (status, answer) = server.post("token/", &body);
    assert_eq!((status, &answer["code"]), (401, &json!("mfa_required")));
    let reset = [
        "user",
        "reset-mfa",
        "user@example.com",
        "--reason",
        "lost phone",
    ];
    on_db(dir.path(), &reset, "").assert_done("");
    assert_eq!(factor(&show()).as_deref(), Some("no"));
    let required = ["--mfa-required-for", "everyone", "user", "show", "1"];
    assert_eq!(
        factor(&on_db(dir.path(), &required, "").stdout).as_deref(),
        Some("no, but required")
    );
    assert_eq!(server.post("token/", &body).0, 200);
    let audit = on_db(dir.path(), &["audit"], "").stdout;
    let entry = audit.lines().find(|line| line.contains("factors_reset"));
    assert!(
        entry.is_some_and(|entry| entry.contains("lost phone")),
        "{audit}"
    );
}

#[test]
fn demotion_of_last_staff_member_warns() {
    for command in [
        &["user", "demote", "1"][..],
        &["user", "deactivate", "1"],
        &["user", "delete", "1", "--yes"],
    ] {
        let dir = folder();
        create_user(dir.path(), "staff@example.com", &["--staff"]);
        let outcome = on_db(dir.path(), command, "");
        outcome.assert_done("");
        assert!(
            outcome.stderr.contains("no active staff account is left"),
            "{outcome:?}"
        );
        let left = on_db(
            dir.path(),
            &["user", "list", "--json", "--staff", "--active"],
            "",
        );
        left.assert_done("");
        assert_eq!(create_user(dir.path(), "next@example.com", &["--staff"]), 2);
    }
}

#[test]
fn deleted_account_is_gone() {
    let dir = folder();
    let server = Running::start(dir.path());
    create_user(dir.path(), "staff@example.com", &["--staff"]);
    create_user(dir.path(), "user@example.com", &[]);
    let access = server.sign_in("user@example.com");
    assert_eq!(me(&server, &access), 200);
    // A script is not asked.
    let outcome = on_db(dir.path(), &["user", "delete", "user@example.com"], "");
    outcome.assert_done("");
    assert!(!outcome.stderr.contains("WARN"), "{outcome:?}");
    assert_eq!(me(&server, &access), 401);
    on_db(dir.path(), &["user", "show", "2"], "").assert_refused(1, &["there is no user 2"]);
    let (status, answer) = server.sign_up("user@example.com");
    assert_eq!(
        (status, &answer["data"]["id"]),
        (201, &json!(3)),
        "an id is never used twice"
    );
}

#[test]
fn unknown_account_is_reported() {
    let dir = folder_of_three();
    for command in [
        "show",
        "set-password",
        "activate",
        "deactivate",
        "promote",
        "demote",
        "delete",
    ] {
        for name in [
            "7",
            "nobody@example.com",
            "nobody",
            "99999999999999999999",
            "",
        ] {
            on_db(dir.path(), &["user", command, name], "")
                .assert_refused(1, &[&format!("there is no user {name}")]);
        }
        on_db(dir.path(), &["user", command], "").assert_refused(2, &["<USER>"]);
    }
}

#[test]
fn mistyped_database_is_not_created() {
    let dir = folder();
    for arguments in [
        &["user", "list"][..],
        &["user", "show", "1"],
        &["user", "set-password", "1", "--password-stdin"],
        &["user", "activate", "1"],
        &["user", "deactivate", "1"],
        &["user", "promote", "1"],
        &["user", "demote", "1"],
        &["user", "delete", "1", "--yes"],
    ] {
        on_db(dir.path(), arguments, PASSWORD)
            .assert_refused(1, &["there is no database users.db"]);
        assert_eq!(names_in(dir.path()), Vec::<String>::new(), "{arguments:?}");
    }
}
