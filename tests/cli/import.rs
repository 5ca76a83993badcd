//! `import` and `export`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{
    Outcome, PASSWORD, Running, code_in, create_user, finish, folder, names_in, program,
    run_with_input, totp_code,
};

/// The table `auth_user` of a Django project as CSV. The names say which hasher a password has.
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
pub fn on_db(dir: &Path, arguments: &[&str], input: &str) -> Outcome {
    let first = ["--db", "users.db", "--passwords-bcrypt-cost", "4"];
    run_with_input(dir, &[&first, arguments].concat(), input)
}

/// The lines on standard error that tell of rows.
pub fn complaints(outcome: &Outcome) -> Vec<&str> {
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
fn users_of_a_django_project_keep_their_passwords() {
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
fn all_django_fields_are_imported() {
    let dir = folder();
    let arguments = ["import", "--format", "csv", "--staff-from-file"];
    on_db(dir.path(), &arguments, DJANGO_USERS);
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
fn foreign_hashes_sign_in_and_are_rehashed() {
    let dir = folder();
    // Hashes of Django, also of old versions; and plain ones. All have the same password.
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
fn account_without_password_resets_it() {
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
fn unverified_account_is_verified_by_its_code() {
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
fn export_round_trip() {
    let (one, other) = (folder(), folder());
    on_db(one.path(), &["import", "--staff-from-file"], EXPORTED)
        .assert_done("imported 3, refused 0\n");
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
    on_db(
        other.path(),
        &["import", "all.jsonl", "--staff-from-file"],
        "",
    )
    .assert_done("imported 4, refused 0\n");
    assert_exported(other.path(), &all);
}

#[test]
fn hashes_are_exported_only_on_request() {
    let dir = folder();
    on_db(dir.path(), &["import", "--staff-from-file"], EXPORTED);
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
fn authenticator_apps_move_with_secrets_only() {
    const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let (one, other) = (folder(), folder());
    let hash = EXPORTED.lines().nth(1).unwrap();
    let hash = serde_json::from_str::<Value>(hash).unwrap()["password"].clone();
    let rows = [
        json!({"email": "ada@example.com", "password": hash, "totp_secret": SECRET,
               "totp_created_at": "2024-01-02T03:04:05Z", "totp_last_used_at": "2024-12-03T12:00:00Z"}),
        json!({"email": "hex@example.com", "created_at": "2024-01-01T00:00:00Z",
               "totp_secret_hex": "3132333435363738393031323334353637383930"}),
        json!({"email": "none@example.com", "totp_secret": ""}),
    ];
    let rows = rows.map(|row| format!("{row}\n")).concat();
    let outcome = on_db(one.path(), &["import"], &rows);
    outcome.assert_done("imported 3, refused 0\n");
    assert!(
        outcome
            .stderr
            .contains("2 accounts keep their authenticator app"),
        "{outcome:?}"
    );
    for flags in [&["export"][..], &["export", "--with-password-hashes"]] {
        let exported = on_db(one.path(), flags, "").stdout;
        assert!(!exported.contains("totp"), "{exported}");
    }
    let all = ["export", "--with-password-hashes", "--with-secrets"];
    let exported = on_db(one.path(), &all, "").stdout;
    let accounts: Vec<Value> = exported
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let totp = |account: &Value| {
        ["totp_secret", "totp_created_at", "totp_last_used_at"].map(|key| account.get(key).cloned())
    };
    assert_eq!(
        totp(&accounts[0]),
        [SECRET, "2024-01-02T03:04:05Z", "2024-12-03T12:00:00Z"].map(|text| Some(json!(text)))
    );
    assert_eq!(
        totp(&accounts[1]),
        [json!(SECRET), json!("2024-01-01T00:00:00Z"), Value::Null].map(Some)
    );
    assert_eq!(totp(&accounts[2]), [None, None, None]);
    let secrets_alone = on_db(one.path(), &["export", "--with-secrets"], "").stdout;
    assert!(secrets_alone.contains(SECRET) && !secrets_alone.contains("password"));
    let log = on_db(one.path(), &["audit"], "").stdout;
    assert!(
        log.contains("with password hashes and secrets of second factors"),
        "{log}"
    );

    on_db(other.path(), &["import"], &exported).assert_done("imported 3, refused 0\n");
    assert_eq!(on_db(other.path(), &all, "").stdout, exported);
    let database = fs::read(other.path().join("users.db")).unwrap();
    let is_secret = |window: &[u8]| window == b"12345678901234567890";
    assert!(
        !database.windows(20).any(is_secret),
        "secrets are encrypted"
    );

    let server = Running::start(other.path());
    let (status, answer) = sign_in(&server, "ada@example.com", PASSWORD);
    assert_eq!(
        (status, &answer["methods"]),
        (401, &json!(["totp"])),
        "{answer}"
    );
    let with_code = |code: &str| {
        let body = json!({"email": "ada@example.com", "password": PASSWORD, "code": code});
        server.post("token/", &body)
    };
    let (status, answer) = with_code(&totp_code(SECRET));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(with_code(&totp_code(SECRET)).0, 400, "a code counts once");
}

#[test]
fn unusable_secrets_are_refused_and_not_repeated() {
    let dir = folder();
    let rows = "email,totp_secret,totp_secret_hex,totp_last_used_at\n\
                short@example.com,MFRGGZDF,,\n\
                hex@example.com,,6162636465zz,\n\
                eight@example.com,otpauth://totp/x?secret=GEZDGNBVGY3TQOJQ&digits=8,,\n\
                time@example.com,GEZDGNBVGY3TQOJQ,,yesterday\n\
                good@example.com,gezd gnbv gy3t qojq,,\n";
    let outcome = on_db(dir.path(), &["import"], rows);
    assert_eq!(outcome.stdout, "imported 1, refused 4\n", "{outcome:?}");
    let said = complaints(&outcome);
    let starts = [
        "line 2: totp_secret: This is not a secret of an authenticator app.",
        "line 3: totp_secret_hex: This is not a secret of an authenticator app.",
        "line 4: totp_secret: Only codes of 6 digits",
        "line 5: totp_last_used_at: Datetime has wrong format.",
    ];
    assert_eq!(said.len(), starts.len(), "{outcome:?}");
    for (line, start) in said.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
    for secret in ["MFRGGZDF", "6162636465zz", "GEZDGNBVGY3TQOJQ"] {
        assert!(!outcome.stderr.contains(secret), "{outcome:?}");
    }
}

#[test]
fn export_replaces_a_file_atomically_and_privately() {
    let dir = folder();
    on_db(dir.path(), &["import", "--staff-from-file"], EXPORTED);
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
    on_db(dir.path(), &["export", "./users.db"], "")
        .assert_refused(1, &["is the database; nothing was written"]);
    assert_exported(dir.path(), EXPORTED);
}

#[test]
fn export_needs_a_database() {
    let dir = folder();
    on_db(dir.path(), &["export", "out.jsonl"], "")
        .assert_refused(1, &["there is no database users.db"]);
    assert_eq!(names_in(dir.path()), Vec::<String>::new());
}

#[test]
fn bad_rows_are_reported_by_line_and_stop_no_others() {
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
            "line 3: password: This is not a known password hash. Leave it empty (or pass \
             --unknown-hash=no-password) to import the account without a password; its owner then \
             chooses one by a password reset.",
            "line 3: gender: \"Y\" is not a valid choice.",
            "line 3: is_active: Must be a valid boolean.",
            "line 4: not JSON: expected ident at column 2",
            "line 5: not a JSON object, but of Python's type list",
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
fn csv_records_are_reported_by_line() {
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
fn control_characters_are_not_printed() {
    let dir = folder();
    let row = r#"{"email": "one@example.com", "gender": "\u001b[2J\u202e"}"#;
    let outcome = on_db(dir.path(), &["import"], row);
    assert_eq!(
        complaints(&outcome),
        ["line 1: gender: \"\u{fffd}[2J\u{fffd}\" is not a valid choice."]
    );
}

#[test]
fn emails_and_ids_are_unique() {
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
                "line 3: id: another account has or had this id.",
                "line 4: id: another account has or had this id.",
                "line 5: email: user with this email already exists.",
                "line 6: id: another account has or had this id.",
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
        ["line 2: id: another account has or had this id."],
        "ids below the highest one were somebody's once, for all that is known"
    );
}

#[test]
fn pending_sign_up_is_displaced_only_by_an_imported_row() {
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
fn dry_run_changes_nothing() {
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
        "every bad row is reported, not only the first"
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
fn unclosed_quotation_mark_ends_the_import() {
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
fn import_works_beside_a_running_server() {
    let dir = folder();
    let server = Running::start(dir.path());
    assert_eq!(server.sign_up("first@example.com").1["data"]["id"], 1);
    on_db(dir.path(), &["import", "--staff-from-file"], EXPORTED)
        .assert_done("imported 3, refused 0\n");
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
fn unusable_file_is_refused_before_a_database_is_created() {
    let dir = folder();
    fs::write(
        dir.path().join("list.json"),
        "[{\"email\": \"a@example.com\"}]",
    )
    .unwrap();
    fs::write(dir.path().join("names.csv"), "name,mail\nx,y\n").unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    for (file, text) in [
        ("list.json", "one object per line"),
        ("names.csv", "the header names no column `email`"),
        ("missing.csv", "cannot read missing.csv"),
        ("folder", "it is a directory"),
    ] {
        on_db(dir.path(), &["import", file], "").assert_refused(1, &[text]);
    }
    assert_eq!(names_in(dir.path()), ["folder", "list.json", "names.csv"]);
}

#[test]
fn wrong_usage_is_refused() {
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
fn format_follows_flag_extension_or_content() {
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

#[test]
fn staff_rights_are_imported_only_on_request() {
    let rows = "email,is_staff\nroot@example.com,1\nuser@example.com,0\n";
    for (flags, is_staff) in [(&[][..], false), (&["--staff-from-file"], true)] {
        let dir = folder();
        let outcome = on_db(dir.path(), &[&["import"], flags].concat(), rows);
        outcome.assert_done("imported 2, refused 0\n");
        assert_eq!(
            exported(dir.path(), "root@example.com")["is_staff"],
            is_staff
        );
        assert_eq!(exported(dir.path(), "user@example.com")["is_staff"], false);
        let warning = "1 accounts are staff in the file and not here";
        assert_eq!(outcome.stderr.contains(warning), !is_staff, "{outcome:?}");
    }
}

#[test]
fn external_ids_are_kept_and_unique() {
    let (dir, other) = (folder(), folder());
    let rows = "email,uid\na@example.com,6nGQ|1\nb@example.com,\nc@example.com,6nGQ|1\n";
    let arguments = ["import", "--map", "uid=external_id"];
    let outcome = on_db(dir.path(), &arguments, rows);
    assert_eq!(outcome.stdout, "imported 2, refused 1\n", "{outcome:?}");
    assert_eq!(
        complaints(&outcome),
        ["line 4: external_id: another account has this external id."]
    );
    assert_eq!(
        exported(dir.path(), "a@example.com")["external_id"],
        "6nGQ|1"
    );
    let b = exported(dir.path(), "b@example.com");
    assert_eq!(b.get("external_id"), None, "{b}");
    let all = on_db(dir.path(), &["export", "--with-password-hashes"], "").stdout;
    on_db(other.path(), &["import"], &all).assert_done("imported 2, refused 0\n");
    assert_exported(other.path(), &all);
}

#[test]
fn foreign_flags_are_refused_until_they_are_mapped() {
    let dir = folder();
    let csv = "email,emailVerified,disabled\na@example.com,false,true\nb@example.com,true,false\n";
    let jsonl = "{\"email\": \"a@example.com\", \"emailVerified\": false, \"disabled\": true}\n\
                 {\"email\": \"b@example.com\", \"emailVerified\": true, \"disabled\": false}\n";
    for rows in [csv, jsonl] {
        on_db(dir.path(), &["import"], rows).assert_refused(
            1,
            &[
                "`emailVerified` is a flag of another program",
                "--map emailVerified=is_verified",
            ],
        );
        assert_eq!(
            names_in(dir.path()),
            Vec::<String>::new(),
            "nothing was created"
        );
        let arguments = ["import", "--dry-run", "--map", "emailVerified="];
        on_db(dir.path(), &arguments, rows).assert_refused(1, &["--map disabled=!is_active"]);
    }
    for rows in [csv, jsonl] {
        let dir = folder();
        let arguments = [
            "import",
            "--map",
            "emailVerified=is_verified",
            "--map",
            "disabled=!is_active",
        ];
        on_db(dir.path(), &arguments, rows).assert_done("imported 2, refused 0\n");
        let a = exported(dir.path(), "a@example.com");
        assert_eq!(
            (&a["is_active"], &a["verified_at"]),
            (&json!(false), &Value::Null)
        );
        let b = exported(dir.path(), "b@example.com");
        assert_eq!(b["is_active"], true);
        assert!(b["verified_at"].is_string());
    }
}

#[test]
fn unknown_hashes_are_dropped_on_request() {
    let dir = folder();
    let rows = "email,password\na@example.com,md5$salt$39db8adf2a918c380519fd3cc33069e4\n\
                b@example.com,$2b$06$5gZfVzEfMQMWm4IE4Ylw3.mtHPt6gKbSSjpUdbbCqL0mTKkhQhZRe\n";
    let refused = on_db(dir.path(), &["import", "--dry-run"], rows);
    assert_eq!(refused.stdout, "would import 1, refuse 1\n", "{refused:?}");
    let outcome = on_db(
        dir.path(),
        &["import", "--unknown-hash", "no-password"],
        rows,
    );
    outcome.assert_done("imported 2, refused 0\n");
    assert!(
        outcome
            .stderr
            .contains("1 accounts have a password hash of an unknown form"),
        "{outcome:?}"
    );
    let password = |email| exported(dir.path(), email)["password"].to_string();
    assert!(password("a@example.com").starts_with("\"!"));
    assert!(password("b@example.com").starts_with("\"$2b$"));
}

#[test]
fn csv_of_every_spreadsheet_is_imported() {
    let text = "email;first_name\r\na@example.com;Zo\u{eb}\r\nb@example.com;B\r\n";
    let utf16 = |text: &str| -> Vec<u8> {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        units.flat_map(u16::to_le_bytes).collect()
    };
    for content in [
        text.as_bytes().to_vec(),
        text.replace("\r\n", "\r").into_bytes(),
        format!("sep=;\r\n{text}").into_bytes(),
        utf16(text),
        utf16(&text.replace(';', "\t")),
    ] {
        let dir = folder();
        fs::write(dir.path().join("users.csv"), &content).unwrap();
        on_db(dir.path(), &["import", "users.csv"], "").assert_done("imported 2, refused 0\n");
        assert_eq!(
            exported(dir.path(), "a@example.com")["first_name"],
            "Zo\u{eb}"
        );
    }
    // What cannot be read is refused by name.
    let dir = folder();
    for (content, reason) in [
        (&b"\xff\xfee\0m\0\0\xd8"[..], "not valid UTF-16"),
        (b"PK\x03\x04\x14\0\x06\0\x08\0", "no column `email`"),
        (b"name;mail\r\n1;2\r\n", "no column `email`"),
    ] {
        fs::write(dir.path().join("users.csv"), content).unwrap();
        on_db(dir.path(), &["import", "users.csv"], "").assert_refused(1, &[reason]);
    }
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
            // The file has 60 MB, and the program without optimisation some 20.
            assert!(peak < 56 * 1024, "{mode:?}: {peak} KiB");
        }
        let listed = finish(
            program(dir.path(), &["--db", "users.db", "user", "list", "--json"]),
            "",
        );
        let count = BufReader::new(listed.stdout.as_bytes()).lines().count();
        assert_eq!(count, if mode.len() == 1 { 0 } else { 19_995 });
    }
}
