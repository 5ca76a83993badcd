//! `--dev`: seed data, ephemeral databases, and that neither is possible without it.

use std::fs::{self, File};
use std::process::Command;
use std::time::UNIX_EPOCH;

use serde_json::{Value, json};

use crate::support::{PASSWORD, Running, folder, names_in, program, run};

const SEED: &str = r#"{"id": 7, "email": "alice@example.com", "password": "securepassword123", "first_name": "Alice"}
{"email": "root@example.com", "password": "securepassword123", "is_staff": true}
{"email": "waiting@example.com", "password": "securepassword123", "is_verified": false}
{"email": "gone@example.com", "password": "securepassword123", "is_active": false}
{"email": "hashed@example.com", "password": "pbkdf2_sha256$1$seasalt1$6nxmV+gGfodCDrskfcP3euWTjp3GPsMllkIhT30LHJU="}
"#;

#[test]
fn seed_fills_database_and_reset_restores_it() {
    let dir = folder();
    fs::write(dir.path().join("users.jsonl"), SEED).unwrap();
    let tmp = folder();
    let mut command = program(
        dir.path(),
        &[
            "--dev",
            "--ephemeral",
            "--seed",
            "users.jsonl",
            "--listen",
            "127.0.0.1:0",
        ],
    );
    command.env("TMPDIR", tmp.path());
    let server = Running::spawn(command);
    let sign_in =
        |email: &str| server.post("token/", &json!({"email": email, "password": PASSWORD}));
    for _ in 0..2 {
        let access = server.sign_in("alice@example.com");
        let (status, alice) = server.api("GET", "users/me/", Some(&access), &Value::Null);
        assert_eq!(
            (status, &alice["id"], &alice["first_name"]),
            (200, &json!(7), &json!("Alice"))
        );
        let staff = server.sign_in("root@example.com");
        let (_, page) = server.api("GET", "users/", Some(&staff), &Value::Null);
        assert_eq!(page["count"], 5);
        assert_eq!(
            sign_in("waiting@example.com").1["code"],
            "email_not_verified"
        );
        assert_eq!(sign_in("gone@example.com").0, 401);

        let (status, _) = server.api("DELETE", "users/7/", Some(&staff), &Value::Null);
        assert_eq!(status, 204);
        assert_eq!(sign_in("alice@example.com").0, 401);
        let (status, new) = server.sign_up("new@example.com");
        assert_eq!((status, &new["data"]["id"]), (201, &json!(12)));
        let (status, _) = server.request("POST", "/dev/reset/", None, &Value::Null);
        assert_eq!(status, 204);
    }
    assert_eq!(names_in(tmp.path()).len(), 1, "one folder for the database");
    assert_eq!(
        names_in(dir.path()),
        ["users.jsonl"],
        "nothing else is left"
    );
    assert_eq!(server.terminate().code, Some(0));
    assert_eq!(names_in(tmp.path()), [""; 0]);
}

#[test]
fn invalid_seed_is_reported_line_by_line() {
    let dir = folder();
    let seed = "{\"email\": \"alice@example.com\"}\n{\"email\": \"nobody\", \"gender\": \
        \"X\"}\n{\"email\": 1\n";
    fs::write(dir.path().join("users.jsonl"), seed).unwrap();
    let arguments = [
        "--dev",
        "--ephemeral",
        "--listen",
        "127.0.0.1:0",
        "--seed",
        "users.jsonl",
    ];
    let texts = [
        "line 2: email: Enter a valid email address.",
        "line 2: gender: \"X\" is not a valid choice.",
        "line 3: ",
    ];
    run(dir.path(), &arguments).assert_refused(1, &texts);
    let seed = "{\"email\": \"alice@example.com\"}\n{\"email\": \"Alice@example.com\"}\n";
    fs::write(dir.path().join("users.jsonl"), seed).unwrap();
    let texts = ["line 2: email: user with this email already exists."];
    run(dir.path(), &arguments).assert_refused(1, &texts);
    run(
        dir.path(),
        &[&arguments[..4], &["--seed", "nothing.jsonl"]].concat(),
    )
    .assert_refused(1, &["--seed nothing.jsonl: "]);
}

#[test]
fn seed_keeps_existing_accounts() {
    let dir = folder();
    fs::write(dir.path().join("users.jsonl"), SEED).unwrap();
    let arguments = ["--dev", "--db", "users.db", "--seed", "users.jsonl"];
    let server = Running::start_with(dir.path(), &arguments);
    let (status, _) = server.sign_up("new@example.com");
    assert_eq!(status, 201);
    assert_eq!(server.terminate().code, Some(0));
    let server = Running::start_with(dir.path(), &arguments);
    server.wait_for_log("--seed is ignored");
    let staff = server.sign_in("root@example.com");
    let (_, page) = server.api("GET", "users/", Some(&staff), &Value::Null);
    assert_eq!(page["count"], 6);
}

#[test]
fn fixed_codes_can_be_set_in_every_source() {
    let dir = folder();
    let file = "[dev]\nfixed_otp = { \"alice@example.com\" = \"123456\" }\n";
    fs::write(dir.path().join("dev.toml"), file).unwrap();
    for arguments in [
        &[
            "--dev",
            "--ephemeral",
            "--fixed-otp",
            "alice@example.com=123456,bob@example.com=000000",
        ][..],
        &["--dev", "--ephemeral", "--config", "dev.toml"],
    ] {
        let server = Running::start_with(dir.path(), arguments);
        server.sign_up("alice@example.com");
        let code = json!({"email": "alice@example.com", "otp": "123456"});
        assert_eq!(server.post("otp/verify/", &code).0, 200, "{arguments:?}");
    }
}

#[test]
fn development_settings_are_refused_without_dev() {
    let dir = folder();
    for flag in [
        &["--ephemeral"][..],
        &["--seed", "users.jsonl"],
        &["--fixed-otp", "alice@example.com=123456"],
        &["--exit-with-parent"],
    ] {
        run(dir.path(), flag).assert_refused(2, &[flag[0], "requires --dev"]);
    }
    run(dir.path(), &["--dev", "--listen", "0.0.0.0:0"])
        .assert_refused(2, &["cannot listen on 0.0.0.0:0", "loopback"]);
    assert_eq!(names_in(dir.path()), [""; 0]);
}

#[test]
fn database_served_in_dev_is_marked() {
    let dir = folder();
    let server = Running::start_with(dir.path(), &["--db", "users.db", "--dev"]);
    assert_eq!(server.terminate().code, Some(0));
    let server = Running::start(dir.path());
    let line = server.wait_for_log("served with --dev");
    assert!(line.contains("WARN") && line.contains("users.db"), "{line}");
    drop(server);
    let check = run(dir.path(), &["--db", "users.db", "check"]);
    assert!(check.stdout.contains("served with --dev"), "{check:?}");

    let dir = folder();
    Running::start(dir.path()).terminate();
    let outcome = Running::start(dir.path()).terminate();
    assert!(!outcome.stderr.contains("--dev"), "{outcome:?}");
}

#[test]
fn server_exits_with_its_parent_if_configured() {
    let dir = folder();
    let server = env!("CARGO_BIN_EXE_accounts-server");
    let mut command = Command::new("sh");
    command
        .current_dir(dir.path())
        .env("TMPDIR", dir.path())
        .args(["-c", "\"$@\" & wait", "sh", server, "--dev", "--ephemeral"])
        .args(["--exit-with-parent", "--listen", "127.0.0.1:0"]);
    let parent = Running::spawn(command);
    assert_eq!(parent.sign_up("alice@example.com").0, 201);
    parent.signal("KILL");
    // Its standard output closes only when the server has exited too.
    let outcome = parent.wait();
    assert!(outcome.stderr.contains("has exited"), "{outcome:?}");
    assert_eq!(names_in(dir.path()), [""; 0]);
}

#[test]
fn folders_of_killed_servers_are_removed() {
    let dir = folder();
    let start = || {
        let mut command = program(
            dir.path(),
            &["--dev", "--ephemeral", "--listen", "127.0.0.1:0"],
        );
        command.env("TMPDIR", dir.path());
        Running::spawn(command)
    };
    let left_alone = start();
    let killed = start();
    killed.kill();
    // A database of the user without a running server is not removed.
    std::fs::create_dir(dir.path().join("accounts-server-mine")).unwrap();
    std::fs::write(dir.path().join("accounts-server-mine/users.db.lock"), "").unwrap();
    let folders = names_in(dir.path());
    assert_eq!(folders.len(), 3);
    for folder in &folders {
        let lock = dir.path().join(folder).join("users.db.lock");
        let lock = File::options().write(true).open(lock).unwrap();
        lock.set_modified(UNIX_EPOCH).unwrap();
    }
    let later = start();
    let left = names_in(dir.path());
    assert_eq!(left.len(), 3, "the folder of the killed server is gone");
    assert!(left.iter().any(|name| name == "accounts-server-mine"));
    assert_eq!(left_alone.sign_up("alice@example.com").0, 201);
    drop(later);
}
