//! The moves that `docs/FROM_*.md` describe: their commands, on files of the form that the other
//! systems export. Needs `jq`, `sqlite3` and Python, so it runs only on request: `cargo test --test moves`.

#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "tests fail by panicking, nothing here is public, and not all of the support is used"
)]

#[path = "../support/authenticator.rs"]
mod authenticator;
#[path = "../cli/support.rs"]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use support::{Running, folder, run};

/// The password of everybody in the files.
const PASSWORD: &str = "river-Boat-2291";

/// Runs the first shell block of a page in a folder. Returns what it says on standard error.
fn follow(page: &str, dir: &Path) -> String {
    let commands = page.split("```sh\n").nth(1).unwrap();
    let commands = commands.split("```").next().unwrap();
    let bin = dir.join("bin");
    fs::create_dir_all(&bin).unwrap();
    let program = env!("CARGO_BIN_EXE_accounts-server");
    std::os::unix::fs::symlink(program, bin.join("accounts-server")).unwrap();
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("sh")
        .args(["-euc", commands])
        .current_dir(dir)
        .env("PATH", format!("{}:{path}", bin.display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = stdout.lines().collect();
    let [planned, done] = lines[..] else {
        panic!("{stdout}");
    };
    assert_eq!(
        planned
            .replace("would import", "imported")
            .replace("refuse 0", "refused 0"),
        done
    );
    String::from_utf8(output.stderr).unwrap()
}

fn exported(dir: &Path) -> Vec<Value> {
    let arguments = ["--db", "users.db", "export", "--with-password-hashes"];
    let lines = run(dir, &arguments).stdout;
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Ada is verified and active and has a password, Bob is not verified.
#[track_caller]
fn assert_moved(dir: &Path, bob_is_active: bool) {
    let accounts = exported(dir);
    let account = |email: &str| {
        let found = accounts.iter().find(|account| account["email"] == email);
        found.unwrap_or_else(|| panic!("{email} is missing in {accounts:?}"))
    };
    let (ada, bob) = (account("ada@example.com"), account("bob@example.com"));
    assert!(ada["verified_at"].is_string(), "{ada}");
    assert_eq!(
        (&ada["is_active"], &ada["is_staff"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(
        (&bob["verified_at"], &bob["is_active"]),
        (&Value::Null, &json!(bob_is_active))
    );
    let server = Running::start(dir);
    let sign_in = |email: &str, password: &str| {
        server.post("token/", &json!({"email": email, "password": password}))
    };
    assert_eq!(sign_in("ada@example.com", "river-Boat-2292").0, 401);
    let (status, answer) = sign_in("ada@example.com", PASSWORD);
    assert_eq!(status, 200, "{answer}");
    server.wait_for_log("password rehashed");
    let (status, answer) = sign_in("bob@example.com", PASSWORD);
    assert_eq!(status, 401);
    if bob_is_active {
        assert_eq!(answer["code"], "email_not_verified", "{answer}");
    }
}

#[test]
fn users_move_from_firebase() {
    let dir = folder();
    let file = |name: &str| dir.path().join(name);
    fs::write(file("users.json"), include_str!("firebase.json")).unwrap();
    fs::write(file("signer.key"), include_str!("firebase.key")).unwrap();
    follow(include_str!("../../docs/FROM_FIREBASE.md"), dir.path());
    let accounts = exported(dir.path());
    assert_eq!(accounts.len(), 3, "who has only a phone number is left out");
    assert_eq!(accounts[0]["first_name"], "Ada King");
    assert_eq!(accounts[0]["created_at"], "2020-01-01T00:00:00Z");
    assert_eq!(accounts[2]["phone"], "+15555550123");
    assert!(accounts[2]["password"].as_str().unwrap().starts_with('!'));
    assert_moved(dir.path(), false);
}

#[test]
fn users_move_from_auth0() {
    let dir = folder();
    let file = |name: &str| dir.path().join(name);
    fs::write(file("users.json"), include_str!("auth0-users.json")).unwrap();
    fs::write(file("hashes.json"), include_str!("auth0-hashes.json")).unwrap();
    follow(include_str!("../../docs/FROM_AUTH0.md"), dir.path());
    let accounts = exported(dir.path());
    assert_eq!(accounts[0]["last_name"], "King");
    assert_eq!(accounts[0]["last_login"], "2024-12-03T12:00:00Z");
    assert!(accounts[2]["password"].as_str().unwrap().starts_with('!'));
    assert_moved(dir.path(), false);
}

#[test]
fn users_move_from_supabase() {
    let dir = folder();
    fs::write(dir.path().join("users.csv"), include_str!("supabase.csv")).unwrap();
    follow(include_str!("../../docs/FROM_SUPABASE.md"), dir.path());
    let accounts = exported(dir.path());
    assert_eq!(accounts.len(), 3);
    assert_eq!(accounts[0]["verified_at"], "2023-05-06T07:08:09Z");
    assert_moved(dir.path(), true);
}

#[test]
fn users_move_from_keycloak() {
    let dir = folder();
    fs::write(dir.path().join("realm.json"), include_str!("keycloak.json")).unwrap();
    follow(include_str!("../../docs/FROM_KEYCLOAK.md"), dir.path());
    let accounts = exported(dir.path());
    let hashes: Vec<&str> = accounts
        .iter()
        .map(|account| account["password"].as_str().unwrap())
        .collect();
    for (hash, start) in hashes.iter().zip([
        "$argon2id$v=19$m=1024,t=2,p=1$",
        "$pbkdf2-sha256$27500$",
        "$pbkdf2-sha512$2100$",
    ]) {
        assert!(hash.starts_with(start), "{hash}");
    }
    assert_moved(dir.path(), false);
}

#[test]
fn users_move_from_pocketbase() {
    let dir = folder();
    fs::create_dir(dir.path().join("pb_data")).unwrap();
    let made = Command::new("sqlite3")
        .args(["pb_data/data.db", include_str!("pocketbase.sql")])
        .current_dir(dir.path())
        .status()
        .unwrap();
    assert!(made.success());
    follow(include_str!("../../docs/FROM_POCKETBASE.md"), dir.path());
    assert_eq!(
        exported(dir.path())[0]["created_at"],
        "2023-05-06T07:08:09Z"
    );
    assert_moved(dir.path(), true);
}

/// The Python of a virtual environment with the packages of the Django project, made once.
fn django_python() -> String {
    let make = "source tests/conformance/server.sh; \
                venv django-factors tests/moves/django/requirements.txt; echo \"$VENV/bin/python\"";
    let output = Command::new("bash")
        .args(["-euc", make])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("SERVER_PROGRAM", env!("CARGO_BIN_EXE_accounts-server"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Runs a script of the Django project, and returns what it prints.
fn run_python(python: &str, dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new(python)
        .args(arguments)
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn users_and_their_authenticator_apps_move_from_django() {
    let dir = folder();
    let file = |name: &str| dir.path().join(name);
    let python = django_python();
    fs::create_dir(file("mysite")).unwrap();
    fs::create_dir(file("bin")).unwrap();
    for (name, text) in [
        ("mysite/__init__.py", ""),
        (
            "mysite/settings.py",
            include_str!("django/mysite/settings.py"),
        ),
        ("make.py", include_str!("django/make.py")),
        ("sign_in.py", include_str!("django/sign_in.py")),
        (
            "export_users.py",
            include_str!("../../contrib/django/export_users.py"),
        ),
        (
            "bin/python",
            &format!("#!/bin/sh\nexec '{python}' \"$@\"\n"),
        ),
    ] {
        fs::write(file(name), text).unwrap();
    }
    fs::set_permissions(file("bin/python"), fs::Permissions::from_mode(0o755)).unwrap();
    let made = run_python(&python, dir.path(), &["make.py"]);
    let said = follow(include_str!("../../docs/FROM_DJANGO.md"), dir.path());
    // What cannot move is named.
    for line in [
        "not moved: Recovery codes (allauth), of 1 users (5)",
        "not moved: WebAuthn (allauth), of 1 users (6)",
        "not moved: phone device, of 2 users (2, 3)",
        "not moved: static device, of 1 users (1)",
        "not moved: authenticator app whose codes are not 6 digits every 30 seconds, of 1 users (4)",
        "3 users sign in with the password alone until they set up an app: 3, 4, 6",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let accounts = exported(dir.path());
    assert_eq!(accounts.len(), 7);
    assert_eq!(accounts[5]["verified_at"], Value::Null);
    let server = Running::start(dir.path());
    run_python(
        &python,
        dir.path(),
        &["sign_in.py", &format!("http://{}", server.address), &made],
    );
}
