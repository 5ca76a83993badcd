//! `import` and `export`: accounts that come from elsewhere, and that go elsewhere.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{
    Outcome, PASSWORD, Running, code_in, create_user, finish, folder, names_in, program,
    run_with_input,
};

/// The table `auth_user` of a Django project, as a database writes CSV. The names say of which hasher a password is.
const DJANGO_USERS: &str = include_str!("django_users.csv");

/// The password of most of them.
const RIVER: &str = "river-Boat-2291";

/// The password with letters beyond ASCII.
const BEYOND_ASCII: &str = "pässwört-密码-😀";

/// The password that is longer than bcrypt reads.
const LONG: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-ümlaut-and-a-tail-that-goes-\
                    beyond-seventy-two-bytes";

/// Accounts of every state, as `export --with-password-hashes` writes them.
const EXPORTED: &str = concat!(
    r#"{"id":2,"email":"Ada@example.com","first_name":"Ada","last_name":"King","phone":"+441234567","address":"12 Square, \"London\"","gender":"F","country":"GB","birthday":"1815-12-10","is_active":true,"is_staff":true,"verified_at":"2020-01-02T03:04:05Z","last_login":"2024-12-03T12:00:00Z","created_at":"2020-01-01T00:00:00Z","updated_at":"2021-01-01T00:00:00Z","password":"bcrypt$$2b$06$5gZfVzEfMQMWm4IE4Ylw3.mtHPt6gKbSSjpUdbbCqL0mTKkhQhZRe"}"#,
    "\n",
    r#"{"id":5,"email":"pending@example.com","first_name":"","last_name":"","phone":"","address":"","gender":"","country":"","birthday":null,"is_active":true,"is_staff":false,"verified_at":null,"last_login":null,"created_at":"2020-01-01T00:00:01Z","updated_at":"2020-01-01T00:00:01Z","password":"bcrypt_sha256$$2b$04$jO1YEdygbWMbsp4f2YnEne.b4D7bYyJgeLgZdpzpX25l9AP1dO9QW"}"#,
    "\n",
    r#"{"id":9,"email":"off@exämple.com","first_name":"Zoë","last_name":"","phone":"","address":"","gender":"O","country":"DE","birthday":null,"is_active":false,"is_staff":false,"verified_at":"2020-01-01T00:00:02Z","last_login":null,"created_at":"2020-01-01T00:00:02Z","updated_at":"2020-01-01T00:00:02Z","password":"!unusable"}"#,
    "\n",
);

/// Runs a command on `users.db` with a text on its standard input.
fn on_db(dir: &Path, arguments: &[&str], input: &str) -> Outcome {
    let first = ["--db", "users.db", "--passwords-bcrypt-cost", "4"];
    run_with_input(dir, &[&first, arguments].concat(), input)
}

/// The lines on standard error that tell of rows.
fn complaints(outcome: &Outcome) -> Vec<&str> {
    outcome
        .stderr
        .lines()
        .filter(|line| line.starts_with("line "))
        .collect()
}

#[track_caller]
fn assert_exported(dir: &Path, expected: &str) {
    on_db(dir, &["export", "--with-password-hashes"], "").assert_done(expected);
}

/// What an export says of one account.
fn exported(dir: &Path, email: &str) -> Value {
    let outcome = on_db(dir, &["export", "-", "--with-password-hashes"], "");
    let mut accounts = outcome
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    accounts
        .find(|account| account["email"] == email)
        .unwrap_or_else(|| panic!("{email} is missing: {outcome:?}"))
}

fn sign_in(server: &Running, email: &str, password: &str) -> (u16, Value) {
    server.post("token/", &json!({"email": email, "password": password}))
}

#[test]
fn the_users_of_a_django_project_move_over_with_their_passwords() {
    let dir = folder();
    fs::write(dir.path().join("users.csv"), DJANGO_USERS).unwrap();
    let outcome = on_db(dir.path(), &["import", "users.csv"], "");
    assert_eq!(
        (outcome.code, &*outcome.stdout),
        (Some(1), "imported 21, refused 4\n"),
        "{outcome:?}"
    );
    assert_eq!(
        complaints(&outcome),
        [
            "line 20: email: This field may not be blank.",
            "line 21: email: This field may not be blank.",
            "line 22: email: user with this email already exists.",
            "line 23: email: Enter a valid email address.",
        ]
    );
    let warnings = outcome.stderr.matches("ignored: is_superuser, username");
    assert_eq!(warnings.count(), 1, "{outcome:?}");

    // Dearer than all that Django wrote, so that none of them stays as it is.
    let server = Running::start_with(
        dir.path(),
        &["--db", "users.db", "--passwords-bcrypt-cost", "7"],
    );
    for (email, password) in [
        ("dora@example.com", RIVER),
        ("emil@example.com", RIVER),
        ("fred@example.com", LONG),
        ("gina@example.com", RIVER),
        ("hans@example.com", RIVER),
        ("ines@example.com", BEYOND_ASCII),
        ("jon@example.com", LONG),
        ("kurt@example.com", RIVER),
        ("lena@example.com", BEYOND_ASCII),
        ("tina@exämple.com", RIVER),
        ("uwe@example.com", RIVER),
        ("anna@example.com", RIVER),
    ] {
        let before = exported(dir.path(), email)["password"].clone();
        let (status, answer) = sign_in(&server, email, "not-the-password");
        assert_eq!(status, 401, "{email}: {answer}");
        let (status, answer) = sign_in(&server, email, password);
        assert_eq!(status, 200, "{email}: {answer}");
        server.wait_for_log("password rehashed");
        let after = exported(dir.path(), email)["password"].clone();
        assert_ne!(after, before, "{email}");
        let after = after.as_str().unwrap();
        assert!(
            after.starts_with("bcrypt_sha256$$2b$07$"),
            "{email}: {after}"
        );
        let (status, answer) = sign_in(&server, email, password);
        assert_eq!(status, 200, "{email} once more: {answer}");
    }
    // Deactivated; without a usable password; without any.
    for (email, password) in [
        ("moe@example.com", LONG),
        (
            "paul@example.com",
            "!GLN1kvQeWoyG7uHnkhGZC6ywhI5JZKU7boyErdm0",
        ),
        ("vera@example.com", "!"),
    ] {
        let (status, answer) = sign_in(&server, email, password);
        assert_eq!(status, 401, "{email}: {answer}");
    }
}

#[test]
fn everything_that_django_knows_of_a_user_is_taken_over() {
    let dir = folder();
    on_db(dir.path(), &["import", "--format", "csv"], DJANGO_USERS);
    let anna = exported(dir.path(), "anna@example.com");
    assert_eq!(
        anna,
        json!({
            "id": 1, "email": "anna@example.com", "first_name": "Anna", "last_name": "Arendt", "phone": "", "address": "",
            "gender": "", "country": "", "birthday": null, "is_active": true, "is_staff": false,
            "verified_at": "2023-05-06T07:08:09Z", "last_login": "2023-05-06T07:08:09Z",
            "created_at": "2023-05-06T07:08:09Z", "updated_at": "2023-05-06T07:08:09Z",
            "password":
                "pbkdf2_sha256$1000000$pawly79KmXr5U6bU1LrpUs$LoY7qXHrWLVznOpIckKrzFupTWmbPbyQ59oMTnK7XmY=",
        })
    );
    let root = exported(dir.path(), "root@example.com");
    assert_eq!((&root["id"], &root["is_staff"]), (&json!(16), &json!(true)));
    assert_eq!(exported(dir.path(), "moe@example.com")["is_active"], false);
    // The domain is in lower case here, whatever it was there.
    assert_eq!(
        exported(dir.path(), "Bert@example.com")["last_login"],
        Value::Null
    );
}

#[test]
fn hashes_of_other_programs_work() {
    let dir = folder();
    // Django's, as old versions of it or of bcrypt wrote them; and plain ones. All of the same password.
    let hashes = [
        "pbkdf2_sha256$1$seasalt1$6nxmV+gGfodCDrskfcP3euWTjp3GPsMllkIhT30LHJU=",
        "bcrypt$$2a$06$eVq5WrXvAuktpIES1r2HU.DwNLmYFmgO0YaO3bPaxID/uDG/5QJeq",
        "bcrypt$$2y$06$yJkNz1WFGjXJWZcdpMPYXO7g23QJaZdt9t/dSpNrvZ4t4GRfTmhkq",
        "argon2$argon2i$v=19$m=512,t=2,p=2$cf+xxc947X8igPMkNB2Rog$eDvM6D1pkOYOVf3LbuKwHHV5e5uQHgdZvVh4gEDxBog",
        "argon2$argon2id$v=19$m=64,t=1,p=1$+vn9ZzJJuzBAG6o8wDA9EA$4+4KXsPxIYnn+ac9/WZS7OMc0GqWK/PV96z26qI1Ykw",
        "argon2$argon2d$v=19$m=64,t=1,p=1$bPeaU3f6aFtg/VtwKaLd8A$Co3poRXSdm3PEBKLUIKWJRDrtU2NzVsZwCqruu+ORQc",
        "$2a$06$eVq5WrXvAuktpIES1r2HU.DwNLmYFmgO0YaO3bPaxID/uDG/5QJeq",
        "$2b$06$5gZfVzEfMQMWm4IE4Ylw3.mtHPt6gKbSSjpUdbbCqL0mTKkhQhZRe",
        "$2y$06$yJkNz1WFGjXJWZcdpMPYXO7g23QJaZdt9t/dSpNrvZ4t4GRfTmhkq",
        "$argon2id$v=19$m=64,t=1,p=1$+vn9ZzJJuzBAG6o8wDA9EA$4+4KXsPxIYnn+ac9/WZS7OMc0GqWK/PV96z26qI1Ykw",
    ];
    let rows: String = (1..)
        .zip(hashes)
        .map(|(n, hash)| {
            json!({"email": format!("user{n}@example.com"), "password": hash}).to_string() + "\n"
        })
        .collect();
    on_db(dir.path(), &["import"], &rows).assert_done("imported 10, refused 0\n");
    let server = Running::start(dir.path());
    for (n, hash) in (1..).zip(hashes) {
        let email = format!("user{n}@example.com");
        assert_eq!(exported(dir.path(), &email)["password"], hash);
        assert_eq!(sign_in(&server, &email, "river-Boat-2292").0, 401, "{hash}");
        let (status, answer) = sign_in(&server, &email, RIVER);
        assert_eq!(status, 200, "{hash}: {answer}");
        server.wait_for_log("password rehashed");
        let renewed = exported(dir.path(), &email)["password"].to_string();
        assert!(renewed.contains("bcrypt_sha256$$2b$04$"), "{renewed}");
        assert_eq!(sign_in(&server, &email, RIVER).0, 200, "{hash}");
    }
}

#[test]
fn who_has_no_password_chooses_one_by_a_reset() {
    let dir = folder();
    let server = Running::start(dir.path());
    on_db(
        dir.path(),
        &["import"],
        "email,password\nuser@example.com,\n",
    )
    .assert_done("imported 1, refused 0\n");
    assert_eq!(sign_in(&server, "user@example.com", PASSWORD).0, 401);
    server.post("password/reset/", &json!({"email": "user@example.com"}));
    let otp = code_in(&server.next_mail());
    let (status, answer) = server.post(
        "password/reset/confirm/",
        &json!({"email": "user@example.com", "otp": otp, "password": PASSWORD, "confirm_password": PASSWORD}),
    );
    assert_eq!(status, 200, "{answer}");
    server.sign_in("user@example.com");
}

#[test]
fn an_unverified_account_stays_so_until_its_code_comes_back() {
    let dir = folder();
    let server = Running::start(dir.path());
    let hash = "pbkdf2_sha256$1$seasalt1$6nxmV+gGfodCDrskfcP3euWTjp3GPsMllkIhT30LHJU=";
    let rows = format!(
        "email,password,email_verified\nno@example.com,{hash},0\nyes@example.com,{hash},t\n"
    );
    on_db(dir.path(), &["import"], &rows).assert_done("imported 2, refused 0\n");
    assert_eq!(sign_in(&server, "yes@example.com", RIVER).0, 200);
    let (status, answer) = sign_in(&server, "no@example.com", RIVER);
    assert_eq!(
        (status, &answer["code"]),
        (401, &json!("email_not_verified"))
    );
    server.post("otp/resend/", &json!({"email": "no@example.com"}));
    let otp = code_in(&server.next_mail());
    let (status, _) = server.post(
        "otp/verify/",
        &json!({"email": "no@example.com", "otp": otp}),
    );
    assert_eq!(status, 200);
    assert_eq!(sign_in(&server, "no@example.com", RIVER).0, 200);
}

#[test]
fn an_export_comes_back_as_it_was() {
    let (one, other) = (folder(), folder());
    on_db(one.path(), &["import"], EXPORTED).assert_done("imported 3, refused 0\n");
    assert_exported(one.path(), EXPORTED);
    let created = create_user(one.path(), "new@example.com", &[]);
    assert_eq!(created, 10, "ids count on from the highest one");
    on_db(
        one.path(),
        &["export", "all.jsonl", "--with-password-hashes"],
        "",
    )
    .assert_done("");
    let all = fs::read_to_string(one.path().join("all.jsonl")).unwrap();
    fs::copy(one.path().join("all.jsonl"), other.path().join("all.jsonl")).unwrap();
    on_db(other.path(), &["import", "all.jsonl"], "").assert_done("imported 4, refused 0\n");
    assert_exported(other.path(), &all);
}

#[test]
fn hashes_are_exported_only_when_asked_for() {
    let dir = folder();
    on_db(dir.path(), &["import"], EXPORTED);
    let outcome = on_db(dir.path(), &["export"], "");
    let expected: String = EXPORTED
        .lines()
        .map(|line| line.split(r#","password""#).next().unwrap().to_owned() + "}\n")
        .collect();
    outcome.assert_done(&expected);

    let again = folder();
    on_db(again.path(), &["import"], &expected).assert_done("imported 3, refused 0\n");
    let password = exported(again.path(), "Ada@example.com")["password"].to_string();
    assert!(
        password.starts_with("\"!") && password.len() > 30,
        "{password}"
    );
}

#[test]
fn an_export_takes_the_place_of_a_file_at_once_and_is_private() {
    let dir = folder();
    on_db(dir.path(), &["import"], EXPORTED);
    let target = dir.path().join("out.jsonl");
    fs::write(&target, "what was there before").unwrap();
    on_db(
        dir.path(),
        &["export", "out.jsonl", "--with-password-hashes"],
        "",
    )
    .assert_done("");
    assert_eq!(fs::read_to_string(&target).unwrap(), EXPORTED);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(
            fs::metadata(&target).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    let names = names_in(dir.path());
    assert!(
        names.iter().all(|name| !name.starts_with(".tmp")),
        "{names:?}"
    );

    on_db(dir.path(), &["export", "no/such/folder.jsonl"], "")
        .assert_refused(1, &["cannot write no/such/folder.jsonl"]);
    on_db(dir.path(), &["export", "./users.db"], "").assert_refused(1, &["is the database itself"]);
    assert_exported(dir.path(), EXPORTED);
}

#[test]
fn without_a_database_there_is_nothing_to_export() {
    let dir = folder();
    on_db(dir.path(), &["export", "out.jsonl"], "")
        .assert_refused(1, &["there is no database users.db"]);
    assert_eq!(names_in(dir.path()), Vec::<String>::new());
}

#[test]
fn bad_rows_are_told_with_their_lines_and_stop_nobody() {
    let dir = folder();
    let rows = [
        r#"{"email": "one@example.com"}"#,
        "",
        r#"{"email": "nobody", "id": "x", "gender": "Y", "is_active": "perhaps", "password": "secret"}"#,
        "nonsense",
        r#"["email"]"#,
        r#"{"email": null}"#,
        r#"{"email": "birthday@example.com", "birthday": "9999-01-01", "phone": "12", "country": "XX"}"#,
        r#"{"email": "time@example.com", "created_at": "yesterday"}"#,
        r#"{"email": "two@example.com"}"#,
    ];
    let outcome = on_db(dir.path(), &["import", "--batch", "2"], &rows.join("\n"));
    assert_eq!(
        (outcome.code, &*outcome.stdout),
        (Some(1), "imported 2, refused 6\n"),
        "{outcome:?}"
    );
    assert_eq!(
        complaints(&outcome),
        [
            "line 3: id: A valid integer is required.",
            "line 3: email: Enter a valid email address.",
            "line 3: password: This is no password hash that can be checked here. Leave it empty to take the account \
             over without a password; its owner then chooses one by a password reset.",
            "line 3: gender: \"Y\" is not a valid choice.",
            "line 3: is_active: Must be a valid boolean.",
            "line 4: no JSON: expected ident at column 2",
            "line 5: no JSON object, but of Python's type list",
            "line 6: email: This field is required.",
            "line 7: phone: Enter a valid phone number.",
            "line 7: country: \"XX\" is not a valid choice.",
            "line 7: birthday: Date of birth cannot be in the future.",
            "line 8: created_at: Datetime has wrong format. Use one of these formats instead: \
             YYYY-MM-DDThh:mm:ss[.uuuuuu][+HH:MM|-HH:MM|Z], YYYY-MM-DD hh:mm:ss.",
        ]
    );
    assert!(
        outcome
            .stderr
            .ends_with("accounts-server: 6 rows were refused, see their lines above\n"),
        "{outcome:?}"
    );
    let outcome = on_db(dir.path(), &["user", "list", "--json"], "");
    assert_eq!(outcome.stdout.lines().count(), 2, "{outcome:?}");
}

#[test]
fn lines_of_csv_are_those_of_the_file() {
    let dir = folder();
    let rows = "\u{feff}email;first_name;address\r\none@example.com;One;\"1 Street\r\nTown\"\r\n\r\ntwo@example.com;Two\r\n\
                three@example.com;\"Three \"\"3\"\"\";\r\nfour;Four;\r\n";
    let outcome = on_db(dir.path(), &["import"], rows);
    assert_eq!(outcome.stdout, "imported 2, refused 2\n", "{outcome:?}");
    assert_eq!(
        complaints(&outcome),
        [
            "line 5: 2 columns instead of the 3 of the header",
            "line 7: email: Enter a valid email address.",
        ]
    );
    let one = exported(dir.path(), "one@example.com");
    assert_eq!(one["address"], "1 Street\r\nTown");
    let three = exported(dir.path(), "three@example.com");
    assert_eq!(three["first_name"], "Three \"3\"");
}

#[test]
fn what_is_told_of_a_row_has_no_power_over_the_terminal() {
    let dir = folder();
    let row = r#"{"email": "one@example.com", "gender": "\u001b[2J\u202e"}"#;
    let outcome = on_db(dir.path(), &["import"], row);
    assert_eq!(
        complaints(&outcome),
        ["line 1: gender: \"\u{fffd}[2J\u{fffd}\" is not a valid choice."]
    );
}

#[test]
fn addresses_and_ids_are_taken_once() {
    let dir = folder();
    assert_eq!(create_user(dir.path(), "first@example.com", &[]), 1);
    on_db(dir.path(), &["user", "delete", "1", "--yes"], "").assert_done("");
    assert_eq!(create_user(dir.path(), "taken@example.com", &[]), 2);
    let rows = "id,email\n7,seven@example.com\n1,reused@example.com\n2,two@example.com\n,TAKEN@example.com\n\
                7,again@example.com\n8,Seven@Example.com\n5,five@example.com\n,eight@example.com\n";
    for arguments in [
        &["import", "--dry-run"][..],
        &["import", "--one-transaction"],
        &["import", "--batch", "1"],
    ] {
        let outcome = on_db(dir.path(), arguments, rows);
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        assert_eq!(
            complaints(&outcome),
            [
                "line 3: id: another account has or had this number.",
                "line 4: id: another account has or had this number.",
                "line 5: email: user with this email already exists.",
                "line 6: id: another account has or had this number.",
                "line 7: email: user with this email already exists.",
            ],
            "{arguments:?}"
        );
    }
    for (email, id) in [("seven", 7), ("five", 5), ("eight", 8)] {
        assert_eq!(
            exported(dir.path(), &format!("{email}@example.com"))["id"],
            id
        );
    }
    let outcome = on_db(dir.path(), &["import"], "id,email\n3,late@example.com\n");
    assert_eq!(
        complaints(&outcome),
        ["line 2: id: another account has or had this number."],
        "ids below the highest one were somebody's once, for all that is known"
    );
}

#[test]
fn an_unconfirmed_sign_up_gives_way_only_to_who_is_imported() {
    let dir = folder();
    let server = Running::start(dir.path());
    assert_eq!(server.sign_up("user@example.com").1["data"]["id"], 1);
    let code = code_in(&server.next_mail());
    let outcome = on_db(dir.path(), &["import"], "id,email\n1,user@example.com\n");
    assert_eq!(outcome.stdout, "imported 0, refused 1\n", "{outcome:?}");
    let outcome = on_db(
        dir.path(),
        &["import"],
        "email,is_verified\nuser@example.com,f\n",
    );
    assert_eq!(
        complaints(&outcome),
        ["line 2: email: user with this email already exists."]
    );
    let verify = || {
        server.post(
            "otp/verify/",
            &json!({"email": "user@example.com", "otp": code}),
        )
    };
    let pending = on_db(dir.path(), &["user", "list", "--json", "--unverified"], "");
    assert!(
        pending.stdout.starts_with("{\"id\":1,"),
        "refused rows change nothing: {pending:?}"
    );
    on_db(dir.path(), &["import"], "email\nUser@example.com\n")
        .assert_done("imported 1, refused 0\n");
    assert_eq!(exported(dir.path(), "User@example.com")["id"], 2);
    assert_eq!(verify().0, 400, "the code of the sign-up is dead");
}

#[test]
fn a_dry_run_changes_nothing() {
    let dir = folder();
    create_user(dir.path(), "user@example.com", &[]);
    let before = on_db(dir.path(), &["export", "--with-password-hashes"], "").stdout;
    let good = "id,email,is_staff\n7,seven@example.com,1\n";
    on_db(dir.path(), &["import", "--dry-run"], good).assert_done("would import 1, refuse 0\n");
    let outcome = on_db(
        dir.path(),
        &["import", "--dry-run"],
        &format!("{good}8,nobody,0\n9,user@example.com,0\n"),
    );
    assert_eq!(
        (outcome.code, &*outcome.stdout),
        (Some(1), "would import 1, refuse 2\n"),
        "{outcome:?}"
    );
    assert_eq!(complaints(&outcome).len(), 2, "{outcome:?}");
    assert_exported(dir.path(), &before);
    assert_eq!(
        create_user(dir.path(), "new@example.com", &[]),
        2,
        "not even an id is used up"
    );
}

#[test]
fn one_transaction_is_all_or_nothing() {
    let dir = folder();
    let arguments = ["import", "--one-transaction"];
    let good = "email\none@example.com\ntwo@example.com\n";
    let outcome = on_db(
        dir.path(),
        &arguments,
        &format!("{good}nobody\nONE@example.com\n"),
    );
    assert_eq!(
        (outcome.code, &*outcome.stdout),
        (Some(1), "imported 0, refused 2\n"),
        "{outcome:?}"
    );
    assert_eq!(
        complaints(&outcome),
        [
            "line 4: email: Enter a valid email address.",
            "line 5: email: user with this email already exists.",
        ],
        "every bad row is told, not only the first"
    );
    assert!(
        outcome.stderr.contains("nothing was imported"),
        "{outcome:?}"
    );
    assert_exported(dir.path(), "");
    on_db(dir.path(), &arguments, good).assert_done("imported 2, refused 0\n");
    let outcome = on_db(dir.path(), &["user", "list", "--json"], "");
    assert_eq!(outcome.stdout.lines().count(), 2, "{outcome:?}");
}

#[test]
fn a_quotation_mark_that_stays_open_ends_the_reading() {
    let dir = folder();
    let rows = format!(
        "email,first_name\none@example.com,One\ntwo@example.com,\"Two\n{}",
        "mallory@example.com,x\n".repeat(60_000)
    );
    let outcome = on_db(dir.path(), &["import"], &rows);
    assert_eq!(
        (outcome.code, &*outcome.stdout),
        (Some(1), "imported 1, refused 0\n"),
        "{outcome:?}"
    );
    assert!(
        outcome
            .stderr
            .contains("line 3: a quotation mark is opened"),
        "{outcome:?}"
    );
    let outcome = on_db(
        dir.path(),
        &["import", "--one-transaction"],
        &rows.replace("one@", "1@"),
    );
    assert_eq!(outcome.stdout, "imported 0, refused 0\n", "{outcome:?}");
    assert!(
        outcome.stderr.contains("nothing was imported"),
        "{outcome:?}"
    );
}

#[test]
fn it_works_while_the_server_runs() {
    let dir = folder();
    let server = Running::start(dir.path());
    assert_eq!(server.sign_up("first@example.com").1["data"]["id"], 1);
    on_db(dir.path(), &["import"], EXPORTED).assert_done("imported 3, refused 0\n");
    assert_eq!(sign_in(&server, "ada@example.com", RIVER).0, 200);
    assert_eq!(
        sign_in(&server, "pending@example.com", PASSWORD).1["code"],
        "email_not_verified"
    );
    assert_eq!(server.sign_up("last@example.com").1["data"]["id"], 10);
    let outcome = on_db(dir.path(), &["export"], "");
    assert_eq!(outcome.stdout.lines().count(), 5, "{outcome:?}");
}

#[test]
fn files_that_make_no_sense_are_refused_before_anything_is_made() {
    let dir = folder();
    fs::write(
        dir.path().join("list.json"),
        "[{\"email\": \"a@example.com\"}]",
    )
    .unwrap();
    fs::write(dir.path().join("names.csv"), "name,mail\nx,y\n").unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    for (file, text) in [
        ("list.json", "one object a line"),
        ("names.csv", "the header names no column `email`"),
        ("missing.csv", "cannot read missing.csv"),
        ("folder", "it is a folder"),
    ] {
        on_db(dir.path(), &["import", file], "").assert_refused(1, &[text]);
    }
    assert_eq!(names_in(dir.path()), ["folder", "list.json", "names.csv"]);
}

#[test]
fn wrong_usage_is_told() {
    let dir = folder();
    for (arguments, text) in [
        (&["import", "--batch", "0"][..], "--batch"),
        (
            &["import", "--batch", "7", "--one-transaction"],
            "cannot be used with",
        ),
        (&["import", "--format", "xml"], "jsonl"),
        (&["import", "a.csv", "b.csv"], "unexpected argument"),
    ] {
        on_db(dir.path(), arguments, "").assert_refused(2, &[text]);
    }
}

#[test]
fn the_format_is_that_of_the_flag_the_name_or_the_beginning() {
    let dir = folder();
    let (csv, jsonl) = ("email\na@example.com\n", "{\"email\": \"a@example.com\"}\n");
    fs::write(dir.path().join("users.CSV"), csv).unwrap();
    fs::write(dir.path().join("users.ndjson"), jsonl).unwrap();
    fs::write(dir.path().join("users"), csv).unwrap();
    for (arguments, input) in [
        (&["import", "users.CSV"][..], ""),
        (&["import", "users.ndjson"], ""),
        (&["import", "users"], ""),
        (&["import", "-"], jsonl),
        (&["import"], csv),
        (&["import", "--format", "csv", "-"], csv),
        (&["import", "--format", "jsonl"], jsonl),
    ] {
        let arguments = [arguments, &["--dry-run"]].concat();
        on_db(dir.path(), &arguments, input).assert_done("would import 1, refuse 0\n");
    }
    on_db(dir.path(), &["import"], "").assert_done("imported 0, refused 0\n");
}

/// The most memory that a process has ever had, in KiB, where the system tells it.
fn peak_memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn memory_does_not_grow_with_the_file() {
    for mode in [&["--batch", "500"][..], &["--one-transaction"]] {
        let dir = folder();
        let arguments = ["--db", "users.db", "import", "--format", "jsonl", "-"];
        let mut child = program(dir.path(), &[&arguments, mode].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // 60 MB in 20,000 rows, all but some of which are good.
        let padding = "x".repeat(3000);
        let mut input = child.stdin.take().unwrap();
        for n in 0..20_000 {
            let email = if n % 4000 == 3999 {
                "bad".into()
            } else {
                format!("user{n}@example.com")
            };
            writeln!(
                input,
                r#"{{"email": "{email}", "first_name": "First", "notes": "{padding}"}}"#
            )
            .unwrap();
        }
        let peak = peak_memory(child.id());
        drop(input);
        let output = child.wait_with_output().unwrap();
        let summary = if mode.len() == 1 {
            "imported 0, refused 5\n"
        } else {
            "imported 19995, refused 5\n"
        };
        assert_eq!(String::from_utf8_lossy(&output.stdout), summary);
        if let Some(peak) = peak {
            assert!(peak < 48 * 1024, "{mode:?}: {peak} KiB");
        }
        let listed = finish(
            program(dir.path(), &["--db", "users.db", "user", "list", "--json"]),
            "",
        );
        let count = BufReader::new(listed.stdout.as_bytes()).lines().count();
        assert_eq!(count, if mode.len() == 1 { 0 } else { 19_995 });
    }
}
