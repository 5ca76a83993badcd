//! The database file: how it is created, and which files are refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::Connection;

use crate::support::{Running, create_user, folder, names_in, run, run_with_input};

/// Asserts that all commands refuse the file, and that it stays byte for byte unchanged.
#[track_caller]
fn assert_left_alone(dir: &Path, texts: &[&str]) {
    let path = dir.join("users.db");
    let before = fs::read(&path).unwrap();
    let create = [
        "--db",
        "users.db",
        "user",
        "create",
        "user@example.com",
        "--password-stdin",
    ];
    for outcome in [
        run(dir, &["--db", "users.db", "--listen", "127.0.0.1:0"]),
        run_with_input(dir, &create, "securepassword123\n"),
    ] {
        outcome.assert_refused(1, &[&["users.db", "it was left as it is"], texts].concat());
        assert!(fs::read(&path).unwrap() == before, "the file was changed");
    }
    let names = names_in(dir);
    let left: Vec<_> = names
        .iter()
        .filter(|name| name.starts_with("users.db-"))
        .collect();
    assert!(left.is_empty(), "something was left beside it: {names:?}");
}

/// Creates the database of another program.
fn make(dir: &Path, statements: &str) {
    Connection::open(dir.join("users.db"))
        .unwrap()
        .execute_batch(statements)
        .unwrap();
}

#[test]
fn a_new_file_is_for_its_owner_alone() {
    let dir = folder();
    let server = Running::start(dir.path());
    assert_eq!(server.sign_up("user@example.com").0, 201);
    let names = names_in(dir.path());
    assert!(
        names.contains(&"users.db".to_owned()) && names.contains(&"users.db-wal".to_owned()),
        "{names:?}"
    );
    for name in names {
        let mode = fs::metadata(dir.path().join(&name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777;
        assert_eq!(mode & 0o077, 0, "{name} has mode {mode:o}");
    }
    let mode = fs::metadata(dir.path().join("users.db"))
        .unwrap()
        .permissions()
        .mode()
        & 0o777;
    assert_eq!(mode, 0o600);
}

#[test]
fn a_file_that_others_can_read_is_warned_about() {
    let dir = folder();
    create_user(dir.path(), "user@example.com", &[]);
    let path = dir.path().join("users.db");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let server = Running::start_with(dir.path(), &["--db", "users.db", "--dev"]);
    let warning = server.wait_for_log("WARN");
    assert!(
        warning.contains("users.db") && warning.contains("chmod"),
        "{warning}"
    );
    server.sign_in("user@example.com");
}

#[test]
fn a_new_file_says_whose_it_is_and_commits_durably() {
    let dir = folder();
    let server = Running::start(dir.path());
    let connection = Connection::open(dir.path().join("users.db")).unwrap();
    let number = |pragma: &str| -> i64 {
        connection
            .query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))
            .unwrap()
    };
    assert_eq!(number("application_id"), 0x6163_6373);
    assert!(number("user_version") >= 1);
    let mode: String = connection
        .query_row("PRAGMA journal_mode", [], |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
    drop(connection);
    assert_eq!(server.terminate().code, Some(0));
    assert!(
        !names_in(dir.path()).contains(&"users.db-wal".to_owned()),
        "an orderly end leaves one file"
    );
}

#[test]
fn an_empty_file_becomes_a_database() {
    let dir = folder();
    fs::write(dir.path().join("users.db"), "").unwrap();
    assert_eq!(create_user(dir.path(), "user@example.com", &[]), 1);
    Running::start(dir.path()).sign_in("user@example.com");
}

#[test]
fn what_is_no_database_is_left_alone() {
    for content in [
        &b"Dear diary, today I made a file called users.db."[..],
        b"x",
        b"SQLite format 3\0",
        b"SQLite format 4\0 and a hundred bytes more, which make the file long enough to have the header of a database",
        &[0; 4096],
    ] {
        let dir = folder();
        fs::write(dir.path().join("users.db"), content).unwrap();
        assert_left_alone(dir.path(), &["not a SQLite database"]);
    }
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    for statements in [
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO users (name) VALUES ('Ada');",
        "CREATE TABLE notes (text); PRAGMA application_id = 252006674;",
        "PRAGMA application_id = 252006674; PRAGMA user_version = 1;",
        "PRAGMA journal_mode = WAL; CREATE TABLE t (x); PRAGMA user_version = 1;",
    ] {
        let dir = folder();
        make(dir.path(), statements);
        assert_left_alone(dir.path(), &["another program"]);
    }
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    let dir = folder();
    create_user(dir.path(), "user@example.com", &[]);
    make(dir.path(), "PRAGMA user_version = 999");
    assert_left_alone(dir.path(), &["newer accounts-server", "999"]);
    let version: i64 = Connection::open(dir.path().join("users.db"))
        .unwrap()
        .query_row("SELECT count(*) FROM users", [], |row| row.get(0))
        .unwrap();
    assert_eq!(version, 1);
}

#[test]
fn a_database_of_another_program_that_is_in_use_is_left_alone() {
    let dir = folder();
    let path = dir.path().join("users.db");
    let other = Connection::open(&path).unwrap();
    // Its only table is in the write-ahead log, so the file itself does not show it.
    other
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (x);",
        )
        .unwrap();
    let before = (
        fs::read(&path).unwrap(),
        fs::read(dir.path().join("users.db-wal")).unwrap(),
    );
    let outcome = run(dir.path(), &["--db", "users.db", "--listen", "127.0.0.1:0"]);
    outcome.assert_refused(1, &["users.db", "another program"]);
    assert!(
        before
            == (
                fs::read(&path).unwrap(),
                fs::read(dir.path().join("users.db-wal")).unwrap()
            )
    );
    let tables: i64 = other
        .query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))
        .unwrap();
    assert_eq!(tables, 1);
}

#[test]
fn a_path_may_hold_anything() {
    let dir = folder();
    let odd = "a b?c#d%41&\u{e9}.db";
    let whole = dir
        .path()
        .join("whole?immutable=0")
        .to_str()
        .unwrap()
        .to_owned();
    let slashes = format!("//{}", dir.path().join("slashes.db").display());
    for path in [
        odd,
        &format!("./{odd}.db"),
        &whole,
        &slashes,
        "file:users.db",
    ] {
        for id in ["1\n", "2\n"] {
            let email = format!("user{}@example.com", id.trim());
            let arguments = [
                "--db",
                path,
                "--dev",
                "user",
                "create",
                &email,
                "--password-stdin",
            ];
            run_with_input(dir.path(), &arguments, "securepassword123\n").assert_done(id);
        }
    }
    let names = names_in(dir.path());
    for name in [odd, "whole?immutable=0", "slashes.db"] {
        assert!(
            names.contains(&name.to_owned()),
            "{name} is not in {names:?}"
        );
    }
}

#[test]
fn a_path_that_cannot_be_used_is_told() {
    let dir = folder();
    fs::create_dir(dir.path().join("folder.db")).unwrap();
    for (path, text) in [
        ("nowhere/users.db", "nowhere/users.db"),
        ("folder.db", "folder.db"),
    ] {
        let outcome = run(dir.path(), &["--db", path, "--listen", "127.0.0.1:0"]);
        outcome.assert_refused(1, &[text]);
    }
}

#[test]
fn ids_of_a_file_are_skipped_too() {
    let dir = folder();
    let first = create_user(dir.path(), "ada@example.com", &[]);
    let raised = run(
        dir.path(),
        &["--db", "users.db", "raise-ids", "--by", "5000"],
    );
    assert_eq!(raised.code, Some(0), "{raised:?}");
    for line in [
        format!("users: new ids are above {}\n", first + 5000),
        "invitations: new ids are above 5000\n".to_owned(),
    ] {
        assert!(raised.stdout.contains(&line), "{raised:?}");
    }
    assert_eq!(
        create_user(dir.path(), "grace@example.com", &[]),
        first + 5001
    );
    // A mistyped name creates nothing.
    run(dir.path(), &["--db", "other.db", "raise-ids", "--by", "1"])
        .assert_refused(1, &["there is no database other.db"]);
    assert!(!dir.path().join("other.db").exists());
}
