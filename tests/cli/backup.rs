//! `backup` and `restore`, scheduled backups, and a process that replicates the database.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

use crate::client::{Client, picture};
use crate::support::{
    Outcome, PASSWORD, Running, create_user, finish, folder, names_in, program, run,
};

const DB: &[&str] = &["--db", "users.db"];

#[track_caller]
fn done(outcome: &Outcome, text: &str) {
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.stdout.contains(text), "{outcome:?}");
}

fn restore(dir: &Path, source: &Path, more: &[&str]) -> Outcome {
    let arguments = [DB, &["restore", source.to_str().unwrap()], more].concat();
    run(dir, &arguments)
}

/// A server with an account that has a photo, and the access token of the account.
fn with_photo(dir: &Path) -> (Running, String) {
    create_user(dir, "ada@example.com", &[]);
    let server = Running::start(dir);
    let access = server.sign_in("ada@example.com");
    let (status, answer) = Client::new(server.address)
        .upload(&access, &picture(1))
        .unwrap();
    assert_eq!(status, 200, "{answer}");
    (server, access)
}

/// The names of previous data in a folder.
fn kept_in(dir: &Path) -> Vec<String> {
    let names = names_in(dir).into_iter();
    names
        .filter(|name| name.contains(".before-restore-"))
        .collect()
}

/// The names of the photos that accounts in a database have.
fn photos_named_in(database: &Path) -> Vec<String> {
    let connection = Connection::open(database).unwrap();
    let mut statement = connection
        .prepare("SELECT photo FROM users WHERE photo IS NOT NULL ORDER BY photo")
        .unwrap();
    let names = statement.query_map([], |row| row.get(0)).unwrap();
    names.map(Result::unwrap).collect()
}

#[test]
fn backup_round_trip() {
    let dir = folder();
    let (server, access) = with_photo(dir.path());
    let outcome = run(dir.path(), &[DB, &["backup", "backup.tar"]].concat());
    done(&outcome, "backed up 1 accounts and 1 photos");
    assert!(outcome.stderr.contains("photos: 1 files"), "{outcome:?}");
    let (status, _) = server.api(
        "PATCH",
        "users/me/",
        Some(&access),
        &json!({"first_name": "Later"}),
    );
    assert_eq!(status, 200);
    assert_eq!(server.terminate().code, Some(0));
    assert_eq!(
        names_in(dir.path()),
        ["backup.tar", "users.db", "users.db.lock", "users.db.media"],
        "no temporary files remain"
    );

    let refused = restore(dir.path(), Path::new("backup.tar"), &[]);
    refused.assert_refused(1, &["users.db exists already", "--force"]);
    let outcome = restore(
        dir.path(),
        Path::new("backup.tar"),
        &["--force", "--keep-sessions"],
    );
    done(&outcome, "restored 1 accounts and 1 photos");
    let kept = kept_in(dir.path());
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(
        kept_in(&dir.path().join("users.db.media")).len(),
        1,
        "the previous photos are kept"
    );
    let kept: String = Connection::open(dir.path().join(&kept[0]))
        .unwrap()
        .query_row("SELECT first_name FROM users", [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, "Later", "the previous database is kept");

    let server = Running::start(dir.path());
    let (status, profile) = server.api("GET", "users/me/", Some(&access), &json!({}));
    assert_eq!(
        (status, &profile["first_name"]),
        (200, &json!("")),
        "{profile}"
    );
    let photo = profile["photo"].as_str().unwrap();
    let path = &photo[photo.find("/media/").unwrap()..];
    let client = Client::new(server.address);
    assert_eq!(client.send("GET", path, None, "", b"").unwrap().0, 200);
}

#[test]
fn standard_tools_unpack_and_pack_backups() {
    let dir = folder();
    let (server, access) = with_photo(dir.path());
    fs::create_dir(dir.path().join("backups")).unwrap();
    // A folder as the target gets a file named after the time.
    done(
        &run(dir.path(), &[DB, &["backup", "backups"]].concat()),
        "backups/users.db-2",
    );
    drop(server);
    let name = names_in(&dir.path().join("backups")).remove(0);
    let other = folder();
    for command in [
        &[
            "tar",
            "-xf",
            dir.path().join("backups").join(&name).to_str().unwrap(),
        ][..],
        &["sha256sum", "--check", "--quiet", "SHA256SUMS"],
    ] {
        let status = Command::new(command[0])
            .args(&command[1..])
            .current_dir(other.path())
            .status()
            .unwrap();
        assert!(status.success(), "{command:?}");
    }
    let server = Running::start(other.path());
    let (status, profile) = server.api("GET", "users/me/", Some(&access), &json!({}));
    assert_eq!(status, 200, "{profile}");
    assert!(profile["photo"].is_string(), "{profile}");
    drop(server);

    // An archive packed with standard tools can be restored too.
    let status = Command::new("tar")
        .args([
            "-cf",
            "again.tar",
            "./users.db.media",
            "./users.db",
            "./SHA256SUMS",
        ])
        .current_dir(other.path())
        .status()
        .unwrap();
    assert!(status.success());
    let third = folder();
    done(
        &restore(third.path(), &other.path().join("again.tar"), &[]),
        "restored 1 accounts and 1 photos",
    );
}

#[test]
fn backup_is_piped_to_restore() {
    let dir = folder();
    drop(with_photo(dir.path()));
    let other = folder();
    let line = format!(
        "{program} --db users.db backup - | {program} --db {}/users.db restore -",
        other.path().display(),
        program = env!("CARGO_BIN_EXE_accounts-server"),
    );
    let output = Command::new("sh")
        .args(["-c", &line])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(
        stdout.contains("restored 1 accounts and 1 photos"),
        "{stdout}"
    );
    Running::start(other.path()).sign_in("ada@example.com");
}

#[test]
fn backup_is_private_and_replaces_files_only_with_force() {
    use std::os::unix::fs::PermissionsExt;
    let dir = folder();
    create_user(dir.path(), "ada@example.com", &[]);
    let backup = [DB, &["backup", "backup.tar"]].concat();
    done(&run(dir.path(), &backup), "1 accounts and 0 photos");
    let path = dir.path().join("backup.tar");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    run(dir.path(), &backup).assert_refused(1, &["backup.tar exists already"]);
    done(
        &run(dir.path(), &[&backup[..], &["--force"]].concat()),
        "1 accounts",
    );
    for (arguments, text) in [
        (
            &["--db", "none.db", "backup", "x.tar"][..],
            "there is no database none.db",
        ),
        (&["--db", ":memory:", "backup", "x.tar"], "in memory"),
        (&["--db", "users.db", "backup", "nowhere/x.tar"], "nowhere"),
    ] {
        run(dir.path(), arguments).assert_refused(1, &[text]);
    }
    fs::write(dir.path().join("diary.db"), "Dear diary").unwrap();
    run(dir.path(), &["--db", "diary.db", "backup", "x.tar"])
        .assert_refused(1, &["not a SQLite database"]);
    assert_eq!(names_in(dir.path()), ["backup.tar", "diary.db", "users.db"]);
}

#[test]
fn database_in_use_is_not_replaced() {
    let dir = folder();
    let (server, access) = with_photo(dir.path());
    done(
        &run(dir.path(), &[DB, &["backup", "backup.tar"]].concat()),
        "1 accounts",
    );
    let again = ["--force"];
    restore(dir.path(), Path::new("backup.tar"), &again)
        .assert_refused(1, &["another accounts-server is serving users.db"]);
    let (status, _) = server.api("GET", "users/me/", Some(&access), &json!({}));
    assert_eq!(status, 200);
    assert_eq!(server.terminate().code, Some(0));

    // Another program has it open.
    let other = Connection::open(dir.path().join("users.db")).unwrap();
    let count = "SELECT count(*) FROM users";
    let _: i64 = other.query_row(count, [], |row| row.get(0)).unwrap();
    restore(dir.path(), Path::new("backup.tar"), &again)
        .assert_refused(1, &["another process has users.db open"]);
    drop(other);
    done(
        &restore(dir.path(), Path::new("backup.tar"), &again),
        "restored 1 accounts",
    );
}

#[test]
fn invalid_backup_changes_nothing() {
    let dir = folder();
    drop(with_photo(dir.path()));
    done(
        &run(dir.path(), &[DB, &["backup", "good.tar"]].concat()),
        "1 accounts",
    );
    let good = fs::read(dir.path().join("good.tar")).unwrap();
    let mut changed = good.clone();
    changed[20_000] ^= 1;
    for (name, bytes, text) in [
        (
            "cut.tar",
            &good[..good.len() / 2],
            "cut.tar is not a complete backup",
        ),
        (
            "changed.tar",
            &changed,
            "changed.tar is not a complete backup",
        ),
        ("empty.tar", &[], "truncated"),
        (
            "text.tar",
            b"Dear diary",
            "text.tar is not a complete backup",
        ),
    ] {
        fs::write(dir.path().join(name), bytes).unwrap();
        let before = fs::read(dir.path().join("users.db")).unwrap();
        restore(dir.path(), Path::new(name), &["--force"]).assert_refused(1, &[text]);
        assert!(
            fs::read(dir.path().join("users.db")).unwrap() == before,
            "{name}"
        );
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    // Intact files of a newer version and of another program.
    for (statement, text) in [
        ("PRAGMA user_version = 999", "newer accounts-server"),
        ("PRAGMA application_id = 1", "another program"),
        (
            "PRAGMA foreign_keys = OFF; INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at, ip, user_agent) \
             VALUES ('x', 99, 0, 0, 0, '', '')",
            "damaged",
        ),
    ] {
        fs::copy(dir.path().join("users.db"), dir.path().join("odd.db")).unwrap();
        Connection::open(dir.path().join("odd.db"))
            .unwrap()
            .execute_batch(statement)
            .unwrap();
        restore(dir.path(), Path::new("odd.db"), &["--force"]).assert_refused(1, &[text]);
        fs::remove_file(dir.path().join("odd.db")).unwrap();
    }
    assert_eq!(
        names_in(dir.path()),
        ["good.tar", "users.db", "users.db.lock", "users.db.media"]
    );
    Running::start(dir.path()).sign_in("ada@example.com");
}

#[test]
fn database_alone_is_restored_and_keeps_the_photos() {
    let dir = folder();
    let (server, access) = with_photo(dir.path());
    assert_eq!(server.terminate().code, Some(0));
    fs::copy(dir.path().join("users.db"), dir.path().join("copy.db")).unwrap();
    let outcome = restore(dir.path(), Path::new("copy.db"), &["--force"]);
    done(&outcome, "restored 1 accounts and 1 photos");
    let server = Running::start(dir.path());
    let (status, _) = server.api("GET", "users/me/", Some(&access), &json!({}));
    assert_eq!(status, 401, "the session ended");
    let access = server.sign_in("ada@example.com");
    let (_, profile) = server.api("GET", "users/me/", Some(&access), &json!({}));
    assert!(profile["photo"].is_string(), "the photos stay: {profile}");
}

/// The value of a field in the header of a token.
fn header_field(token: &str, name: &str) -> String {
    use base64::Engine;
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(token.split('.').next().unwrap())
        .unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    header[name].as_str().unwrap().to_owned()
}

#[test]
fn restore_ends_sessions_and_replaces_keys_unless_told_otherwise() {
    for (option, status, is_same_key) in [(None, 401, false), (Some("--keep-sessions"), 200, true)]
    {
        let dir = folder();
        create_user(dir.path(), "ada@example.com", &[]);
        // Not the algorithm of new databases.
        let rotate = [DB, &["keys", "rotate", "--algorithm", "EdDSA"]].concat();
        assert_eq!(run(dir.path(), &rotate).code, Some(0));
        let server = Running::start(dir.path());
        let access = server.sign_in("ada@example.com");
        let backup = [DB, &["backup", "backup.tar"]].concat();
        done(&run(dir.path(), &backup), "1 accounts");
        assert_eq!(server.terminate().code, Some(0));
        let options: Vec<&str> = ["--force"].into_iter().chain(option).collect();
        let outcome = restore(dir.path(), Path::new("backup.tar"), &options);
        done(&outcome, "restored 1 accounts");
        let server = Running::start(dir.path());
        let (answered, _) = server.api("GET", "users/me/", Some(&access), &json!({}));
        assert_eq!(answered, status, "{option:?}");
        let again = server.sign_in("ada@example.com");
        let is_same = |name: &str| header_field(&again, name) == header_field(&access, name);
        assert_eq!(is_same("kid"), is_same_key, "{option:?}");
        assert!(is_same("alg"), "the algorithm stays: {option:?}");
        drop(server);
        let audit = run(
            dir.path(),
            &[DB, &["audit", "--event", "database_restored"]].concat(),
        );
        let expected = match option {
            None => "all sessions ended, signing keys replaced",
            Some(_) => "sessions and signing keys kept",
        };
        assert!(audit.stdout.contains(expected), "{audit:?}");
    }
}

#[test]
fn ids_of_the_replaced_database_are_not_assigned_again() {
    let dir = folder();
    create_user(dir.path(), "ada@example.com", &[]);
    let backup = [DB, &["backup", "backup.tar"]].concat();
    done(&run(dir.path(), &backup), "1 accounts");
    let last = create_user(dir.path(), "bob@example.com", &[]);
    // Deleted accounts have used their ids too.
    let gone = create_user(dir.path(), "carol@example.com", &[]);
    let delete = ["user", "delete", "carol@example.com"];
    assert_eq!(run(dir.path(), &[DB, &delete].concat()).code, Some(0));
    for round in 0..2 {
        let outcome = restore(dir.path(), Path::new("backup.tar"), &["--force"]);
        done(&outcome, "restored 1 accounts");
        let email = format!("new{round}@example.com");
        let id = create_user(dir.path(), &email, &[]);
        assert!(id > last && id > gone + round, "{id}");
    }
    // A backup with higher ids than the replaced database keeps its own.
    let other = folder();
    create_user(other.path(), "dora@example.com", &[]);
    let source = dir.path().join("backup2.tar");
    let backup = [DB, &["backup", "backup2.tar"]].concat();
    done(&run(dir.path(), &backup), "2 accounts");
    done(&restore(other.path(), &source, &["--force"]), "2 accounts");
    assert!(create_user(other.path(), "eve@example.com", &[]) > gone + 2);
}

#[test]
fn restore_through_a_symlink_replaces_its_target() {
    let dir = folder();
    let disk = folder();
    create_user(dir.path(), "ada@example.com", &[]);
    let backup = [DB, &["backup", "backup.tar"]].concat();
    done(&run(dir.path(), &backup), "1 accounts");
    let target = disk.path().join("data.db");
    fs::rename(dir.path().join("users.db"), &target).unwrap();
    std::os::unix::fs::symlink(&target, dir.path().join("users.db")).unwrap();
    let outcome = restore(dir.path(), Path::new("backup.tar"), &["--force"]);
    done(&outcome, "restored 1 accounts");
    assert!(dir.path().join("users.db").is_symlink());
    assert_eq!(kept_in(disk.path()).len(), 1);
    Running::start(dir.path()).sign_in("ada@example.com");
}

/// Asserts that no command uses the database, and that none creates another one in its place.
#[track_caller]
fn assert_unusable(dir: &Path) {
    let names = names_in(dir);
    for arguments in [
        &["serve", "--listen", "127.0.0.1:0"][..],
        &["user", "create", "eve@example.com", "--password-stdin"],
        &["backup", "other.tar"],
    ] {
        let outcome = crate::support::run_with_input(
            dir,
            &[DB, arguments].concat(),
            &format!("{PASSWORD}\n"),
        );
        let text = "a restore of users.db is in progress or was interrupted";
        outcome.assert_refused(1, &[text, "users.db.restoring", ".before-restore-"]);
    }
    let outcome = run(dir, &[DB, &["check"]].concat());
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stdout.contains("was interrupted"), "{outcome:?}");
    let without_lock = |names: Vec<String>| {
        let names = names.into_iter();
        names
            .filter(|name| name != "users.db.lock")
            .collect::<Vec<_>>()
    };
    assert_eq!(without_lock(names_in(dir)), without_lock(names));
}

#[test]
fn interrupted_restore_is_detected_and_can_be_repeated() {
    // What remains of the previous data after each step, in the order of the steps.
    for (has_photos, has_database, has_kept_database) in [
        (true, true, false),
        (true, true, true),
        (false, true, true),
        (false, false, true),
    ] {
        let dir = folder();
        drop(with_photo(dir.path()));
        let backup = [DB, &["backup", "backup.tar"]].concat();
        done(&run(dir.path(), &backup), "1 accounts and 1 photos");
        let at = |name: &str| dir.path().join(name);
        fs::write(at("users.db.restoring"), "").unwrap();
        if has_kept_database {
            let kept = at("users.db.before-restore-20260101T000000Z");
            fs::hard_link(at("users.db"), kept).unwrap();
        }
        if !has_photos {
            let kept = at("users.db.media/photos.before-restore-20260101T000000Z");
            fs::rename(at("users.db.media/photos"), kept).unwrap();
        }
        if !has_database {
            for name in ["users.db", "users.db-wal", "users.db-shm"] {
                let _ = fs::remove_file(at(name));
            }
        }
        let case = (has_photos, has_database, has_kept_database);
        if has_database {
            assert_unusable(dir.path());
        } else {
            let serve = [DB, &["--listen", "127.0.0.1:0"]].concat();
            run(dir.path(), &serve).assert_refused(1, &["was interrupted"]);
            assert!(!at("users.db").exists(), "no empty database was created");
        }
        let outcome = restore(dir.path(), Path::new("backup.tar"), &["--force"]);
        done(&outcome, "restored 1 accounts and 1 photos");
        assert!(!at("users.db.restoring").exists(), "{case:?}");
        let server = Running::start(dir.path());
        let access = server.sign_in("ada@example.com");
        let (_, profile) = server.api("GET", "users/me/", Some(&access), &json!({}));
        let photo = profile["photo"].as_str().unwrap();
        let path = &photo[photo.find("/media/").unwrap()..];
        let client = Client::new(server.address);
        assert_eq!(client.send("GET", path, None, "", b"").unwrap().0, 200);
    }
}

#[test]
fn killed_restore_leaves_the_old_data_the_new_data_or_a_refusal() {
    let dir = folder();
    create_user(dir.path(), "ada@example.com", &[]);
    // The photos are on another file system where the machine has one.
    let memory = tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| folder());
    let media = memory.path().join("media").to_str().unwrap().to_owned();
    let with_media = [DB, &["--media-dir", &media]].concat();
    let cheap = ["--passwords-bcrypt-cost", "4"];
    let server = Running::start_with(dir.path(), &[&with_media[..], &cheap].concat());
    let access = server.sign_in("ada@example.com");
    let client = Client::new(server.address);
    assert_eq!(client.upload(&access, &picture(1)).unwrap().0, 200);
    drop(server);
    let backup = [&with_media[..], &["backup", "backup.tar"]].concat();
    done(&run(dir.path(), &backup), "1 accounts and 1 photos");
    create_user(dir.path(), "bob@example.com", &[]);

    let restore = [&with_media[..], &["restore", "backup.tar", "--force"]].concat();
    let is_new = |name: &String| name.contains("before-restore") || name.contains("restoring");
    let mut outcomes = [0; 3];
    for round in 0..24 {
        let before = names_in(dir.path());
        let mut child = program(dir.path(), &restore)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Kills it a little later in each round, once its first visible step is done.
        while child.try_wait().unwrap().is_none() {
            let names = names_in(dir.path());
            if names
                .iter()
                .any(|name| is_new(name) && !before.contains(name))
            {
                for _ in 0..round * 50 {
                    std::hint::spin_loop();
                }
                break;
            }
        }
        let _ = child.kill();
        child.wait().unwrap();
        assert!(
            dir.path().join("users.db").exists(),
            "the database is always there"
        );
        let list = run(dir.path(), &[&with_media[..], &["user", "list"]].concat());
        if list.code == Some(0) {
            let has_bob = list.stdout.contains("bob@example.com");
            assert!(list.stdout.contains("ada@example.com"), "{list:?}");
            outcomes[usize::from(has_bob)] += 1;
            let photos = Path::new(&media).join("photos");
            let named = photos_named_in(&dir.path().join("users.db"));
            assert!(
                named.iter().all(|name| photos.join(name).is_file()),
                "{named:?}"
            );
            if !has_bob {
                create_user(dir.path(), "bob@example.com", &[]);
            }
        } else {
            list.assert_refused(1, &["was interrupted"]);
            outcomes[2] += 1;
            done(
                &run(dir.path(), &restore),
                "restored 1 accounts and 1 photos",
            );
            create_user(dir.path(), "bob@example.com", &[]);
        }
    }
    assert_eq!(outcomes.iter().sum::<i32>(), 24);
    assert!(
        !names_in(dir.path()).contains(&"users.db.restoring".to_owned()),
        "{outcomes:?}"
    );
}

#[test]
fn errors_of_restore_do_not_quote_the_file() {
    let dir = folder();
    let secret = "root:x:0:0:\u{1b}[31mSECRET\n".repeat(100);
    fs::write(dir.path().join("passwd"), &secret).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(0);
    header.as_old_mut().name[..11].copy_from_slice(b"\x1b[31mSECRET"[..11].as_ref());
    header.set_cksum();
    let mut archive = tar::Builder::new(Vec::new());
    archive.append(&header, &b""[..]).unwrap();
    fs::write(dir.path().join("odd.tar"), archive.into_inner().unwrap()).unwrap();
    for name in ["passwd", "odd.tar"] {
        let outcome = restore(dir.path(), Path::new(name), &[]);
        outcome.assert_refused(1, &[&format!("{name} is not a complete backup")]);
        assert!(!outcome.stderr.contains('\u{1b}'), "{outcome:?}");
        assert!(!outcome.stderr.contains("SEC"), "{outcome:?}");
        assert!(!outcome.stderr.contains("root"), "{outcome:?}");
    }
}

#[test]
fn damaged_database_can_be_replaced() {
    let dir = folder();
    drop(with_photo(dir.path()));
    done(
        &run(dir.path(), &[DB, &["backup", "good.tar"]].concat()),
        "1 accounts",
    );
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(dir.path().join(format!("users.db{suffix}")));
    }
    fs::write(dir.path().join("users.db"), vec![0xff; 8192]).unwrap();
    done(
        &restore(dir.path(), Path::new("good.tar"), &["--force"]),
        "restored 1 accounts",
    );
    Running::start(dir.path()).sign_in("ada@example.com");
}

#[test]
fn missing_photo_is_reported_and_does_not_fail_the_backup() {
    let dir = folder();
    drop(with_photo(dir.path()));
    let photos = dir.path().join("users.db.media/photos");
    let name = names_in(&photos).remove(0);
    fs::remove_file(photos.join(&name)).unwrap();
    let outcome = run(dir.path(), &[DB, &["backup", "backup.tar"]].concat());
    done(&outcome, "1 accounts and 0 photos");
    assert!(
        outcome.stderr.contains(&format!("missing, such as {name}")),
        "{outcome:?}"
    );
    let other = folder();
    let outcome = restore(other.path(), &dir.path().join("backup.tar"), &[]);
    done(&outcome, "1 accounts and 0 photos");
    assert!(outcome.stderr.contains("missing"), "{outcome:?}");
}

/// A server under load: two accounts change names and photos, others are created and deleted.
struct Load {
    dir: TempDir,
    server: Running,
    writers: Writers,
}

/// The writers of the load.
#[derive(Default)]
struct Writers {
    stop: AtomicBool,
    /// The last acknowledged name of each account.
    written: [AtomicU32; 2],
}

/// Stops the load on drop, so that no thread runs for ever after a failure.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Load {
    fn start() -> Self {
        let dir = folder();
        for number in 0..2 {
            create_user(
                dir.path(),
                &format!("writer{number}@example.com"),
                &["--staff"],
            );
        }
        let arguments = [
            "--db",
            "users.db",
            "--passwords-bcrypt-cost",
            "4",
            "--rate-limits-enabled=false",
            // A write that waits for a reader would wait longer than the test.
            "--database-busy-timeout-ms",
            "600000",
        ];
        let server = Running::start_with(dir.path(), &arguments);
        Self {
            dir,
            server,
            writers: Writers::default(),
        }
    }

    /// Runs `work` under the load.
    fn run(&self, work: impl FnOnce(&Writers)) {
        let client = Client::new(self.server.address);
        let writers = &self.writers;
        thread::scope(|scope| {
            let _stop = StopOnDrop(&writers.stop);
            for number in 0..2 {
                let client = client.clone();
                scope.spawn(move || writers.write(number, &client));
            }
            scope.spawn(|| writers.create_and_delete(&client));
            work(writers);
        });
    }
}

impl Writers {
    fn is_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    fn write(&self, number: usize, client: &Client) {
        let _stop = StopOnDrop(&self.stop);
        let email = format!("writer{number}@example.com");
        let access = client.sign_in(&email, PASSWORD).unwrap();
        for count in 1.. {
            if !self.is_on() {
                return;
            }
            let body = json!({"first_name": count.to_string()});
            let (status, answer) = client
                .api("PATCH", "users/me/", Some(&access), &body)
                .unwrap();
            assert_eq!(status, 200, "{answer}");
            self.written[number].store(count, Ordering::SeqCst);
            let photo = picture(u8::try_from(count % 251).unwrap());
            let (status, answer) = client.upload(&access, &photo).unwrap();
            assert_eq!(status, 200, "{answer}");
        }
    }

    /// Deleting an account truncates the write-ahead log.
    fn create_and_delete(&self, client: &Client) {
        let _stop = StopOnDrop(&self.stop);
        let access = client.sign_in("writer0@example.com", PASSWORD).unwrap();
        for count in 0.. {
            if !self.is_on() {
                return;
            }
            let (status, answer) = client
                .sign_up(&format!("short{count}@example.com"))
                .unwrap();
            assert_eq!(status, 201, "{answer}");
            let path = format!("users/{}/", answer["data"]["id"]);
            let (status, answer) = client
                .api("DELETE", &path, Some(&access), &json!({}))
                .unwrap();
            assert_eq!(status, 204, "{answer}");
        }
    }

    fn written(&self) -> [u32; 2] {
        [0, 1].map(|number| self.written[number].load(Ordering::SeqCst))
    }

    /// Waits until each account was written `more` times.
    fn wait_for_writes(&self, more: u32) {
        let before = self.written();
        while self.is_on() && (0..2).any(|n| self.written()[n] < before[n] + more) {
            thread::yield_now();
        }
    }
}

#[test]
fn backup_under_load_has_acknowledged_writes_and_all_photos() {
    let load = Load::start();
    load.run(|writers| {
        for number in 0..6 {
            writers.wait_for_writes(2);
            let written = writers.written();
            let name = format!("backup{number}.tar");
            let outcome = run(load.dir.path(), &[DB, &["backup", &name]].concat());
            done(&outcome, "backed up");
            let target = folder();
            let outcome = restore(target.path(), &load.dir.path().join(&name), &[]);
            done(&outcome, "restored");
            assert!(!outcome.stderr.contains("missing"), "{outcome:?}");
            let database = target.path().join("users.db");
            assert_eq!(
                names_in(&target.path().join("users.db.media/photos")),
                photos_named_in(&database),
                "exactly the photos of the accounts"
            );
            let connection = Connection::open(&database).unwrap();
            for (number, written) in written.into_iter().enumerate() {
                let name: String = connection
                    .query_row(
                        "SELECT first_name FROM users WHERE email = ?",
                        [format!("writer{number}@example.com")],
                        |row| row.get(0),
                    )
                    .unwrap();
                let name: u32 = name.parse().unwrap();
                assert!(name >= written, "{name} is older than {written}");
            }
        }
    });
    // Photos that a backup kept from being removed are removed at the next start.
    let dir = load.dir;
    assert_eq!(load.server.terminate().code, Some(0));
    assert_eq!(Running::start(dir.path()).terminate().code, Some(0));
    assert_eq!(
        names_in(&dir.path().join("users.db.media/photos")),
        photos_named_in(&dir.path().join("users.db"))
    );
}

#[test]
fn replicating_process_does_not_disturb_server() {
    let load = Load::start();
    load.run(|writers| {
        // As Litestream does: a read transaction keeps the log from being truncated, except for
        // moments in which it does that itself, and it has two tables of its own in the database.
        let connection = Connection::open(load.dir.path().join("users.db")).unwrap();
        connection
            .busy_timeout(std::time::Duration::from_mins(1))
            .unwrap();
        connection
            .execute_batch(
                "PRAGMA wal_autocheckpoint = 0; \
                 CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER); \
                 CREATE TABLE _litestream_lock (id INTEGER);",
            )
            .unwrap();
        for mode in ["PASSIVE", "RESTART", "TRUNCATE"]
            .into_iter()
            .cycle()
            .take(12)
        {
            connection
                .execute_batch("BEGIN; SELECT count(1) FROM _litestream_seq;")
                .unwrap();
            // Accounts are deleted too while the log cannot be truncated.
            writers.wait_for_writes(5);
            connection.execute_batch("ROLLBACK").unwrap();
            connection
                .query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
                .unwrap();
            connection
                .execute_batch(
                    "INSERT INTO _litestream_seq (id, seq) VALUES (1, 1) \
                     ON CONFLICT (id) DO UPDATE SET seq = seq + 1",
                )
                .unwrap();
        }
    });
    let dir = load.dir;
    let outcome = load.server.terminate();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(!outcome.stderr.contains("busy"), "{outcome:?}");
    // The database is still accepted with these tables, and intact.
    let outcome = run(dir.path(), &[DB, &["backup", "backup.tar"]].concat());
    done(&outcome, "backed up 2 accounts");
    Running::start(dir.path()).sign_in("writer1@example.com");
}

/// Starts a server with scheduled backups in `backups`.
fn with_schedule(dir: &Path, more: &[&str]) -> Running {
    let schedule = [
        "--backup-dir",
        "backups",
        "--backup-every",
        "6h",
        "--backup-keep",
        "2",
    ];
    let cheap = ["--passwords-bcrypt-cost", "4"];
    Running::start_with(dir, &[DB, &schedule, &cheap, more].concat())
}

#[test]
fn scheduled_backups_are_made_and_expired_ones_removed() {
    let dir = folder();
    create_user(dir.path(), "ada@example.com", &[]);
    let backups = dir.path().join("backups");
    let server = with_schedule(dir.path(), &[]);
    let line = server.wait_for_log("backed up");
    assert!(
        line.contains("1 accounts") && line.contains("backups/users.db-2"),
        "{line}"
    );
    let first = names_in(&backups);
    assert_eq!(first.len(), 1, "{first:?}");
    let (_, metrics) = server.request("GET", "/metrics", None, &json!({}));
    let metrics = metrics.as_str().unwrap();
    assert!(
        metrics.contains("\naccounts_backup_failures_total 0\n"),
        "{metrics}"
    );
    assert!(
        !metrics.contains("\naccounts_backup_last_success_timestamp_seconds 0\n"),
        "{metrics}"
    );
    server.kill();

    // The next backup is not due yet, also after a crash.
    fs::create_dir(backups.join(".users.db-unfinished-scheduled")).unwrap();
    let server = with_schedule(dir.path(), &[]);
    let (_, metrics) = server.request("GET", "/metrics", None, &json!({}));
    let metrics = metrics.as_str().unwrap();
    assert!(
        !metrics.contains("\naccounts_backup_last_success_timestamp_seconds 0\n"),
        "the time of the newest backup is known: {metrics}"
    );
    let outcome = server.terminate();
    assert!(!outcome.stderr.contains("backed up"), "{outcome:?}");

    // Once the newest is old enough another is made; expired backups and leftovers of a crash are
    // removed.
    fs::remove_file(backups.join(&first[0])).unwrap();
    for name in [
        "users.db-20240101T000000Z.tar",
        "users.db-20240102T000000Z.tar",
        "mine.tar",
    ] {
        fs::write(backups.join(name), "").unwrap();
    }
    let server = with_schedule(dir.path(), &[]);
    server.wait_for_log("removed the old backup");
    let names = names_in(&backups);
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(
        (&*names[0], &*names[1]),
        ("mine.tar", "users.db-20240102T000000Z.tar")
    );
    drop(server);
    done(
        &restore(folder().path(), &backups.join(&names[2]), &[]),
        "restored 1 accounts",
    );
}

#[test]
fn scheduled_backup_keeps_the_locks_of_the_server() {
    let dir = folder();
    create_user(dir.path(), "ada@example.com", &[]);
    let server = with_schedule(dir.path(), &[]);
    server.wait_for_log("backed up");
    // A command that believed to be the last one with the database open would remove the log, and
    // the server could not write any more.
    create_user(dir.path(), "grace@example.com", &[]);
    assert_eq!(server.sign_up("alan@example.com").0, 201);
    let stopped = server.terminate();
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
}

#[test]
fn failed_scheduled_backup_is_reported() {
    let dir = folder();
    create_user(dir.path(), "ada@example.com", &[]);
    fs::write(
        dir.path().join("backups"),
        "a file in the place of the folder",
    )
    .unwrap();
    let server = with_schedule(dir.path(), &[]);
    let line = server.wait_for_log("the backup failed");
    assert!(line.contains("ERROR") && line.contains("backups"), "{line}");
    server.sign_in("ada@example.com");
    let (_, metrics) = server.request("GET", "/metrics", None, &json!({}));
    assert!(
        metrics
            .as_str()
            .unwrap()
            .contains("\naccounts_backup_failures_total 1\n"),
        "{metrics}"
    );
}

/// A database whose backup takes a while.
fn make_large(dir: &Path) {
    create_user(dir, "ada@example.com", &[]);
    Connection::open(dir.join("users.db"))
        .unwrap()
        .execute_batch(
            "CREATE TABLE filler (bytes); INSERT INTO filler VALUES (zeroblob(150000000));",
        )
        .unwrap();
}

/// How often a test tries to interrupt a backup, which may be too fast.
const ATTEMPTS: usize = 20;

/// Whether a backup in a folder has started or is complete.
fn has_started(dir: &Path) -> bool {
    let is_one = |name: &String| name.contains("unfinished") || name.contains("db-2");
    dir.is_dir() && names_in(dir).iter().any(is_one)
}

#[test]
fn shutdown_cancels_scheduled_backup() {
    let dir = folder();
    make_large(dir.path());
    let backups = dir.path().join("backups");
    let is_cancelled = |_| {
        let server = with_schedule(dir.path(), &[]);
        while !has_started(&backups) {
            thread::yield_now();
        }
        let outcome = server.terminate();
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        let names = names_in(&backups);
        for name in &names {
            fs::remove_file(backups.join(name)).expect("no temporary folder remains");
        }
        names.is_empty() && outcome.stderr.contains("cancelled")
    };
    assert!((0..ATTEMPTS).any(is_cancelled));

    // The next start makes it. A process that locks the photos delays the backup, but not the
    // shutdown.
    let photos = dir.path().join("users.db.media/photos");
    fs::create_dir_all(&photos).unwrap();
    let held = fs::File::open(&photos).unwrap();
    held.lock().unwrap();
    let server = with_schedule(dir.path(), &[]);
    while !has_started(&backups) {
        thread::yield_now();
    }
    assert_eq!(server.terminate().code, Some(0));
    assert!(names_in(&backups).is_empty(), "no partial backup remains");
    held.unlock().unwrap();
    let server = with_schedule(dir.path(), &[]);
    server.wait_for_log("backed up 1 accounts");
    assert_eq!(names_in(&backups).len(), 1);
}

/// Whether a command that gets a signal reports that it was cancelled. If it was too fast, its
/// result is removed.
fn is_cancelled(dir: &Path, arguments: &[&str], signal: &str) -> bool {
    let before = names_in(dir);
    let mut child = program(dir, &[DB, arguments].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let is_unfinished = |name: &String| name.contains("unfinished");
    while child.try_wait().unwrap().is_none() {
        if names_in(dir).iter().any(is_unfinished) {
            let id = child.id().to_string();
            // It may have exited in this moment.
            let _ = Command::new("kill")
                .args([&format!("-{signal}"), &id])
                .status();
            break;
        }
    }
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        for name in names_in(dir).iter().filter(|name| !before.contains(name)) {
            let path = dir.join(name);
            fs::remove_file(&path)
                .or_else(|_| fs::remove_dir_all(&path))
                .unwrap();
        }
        return false;
    }
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("cancelled"), "{stderr}");
    assert_eq!(names_in(dir), before, "no partial backup remains");
    true
}

#[test]
fn backup_under_nohup_survives_hangup() {
    let dir = folder();
    make_large(dir.path());
    let plain = program(dir.path(), &[DB, &["backup", "backup.tar"]].concat());
    let mut child = Command::new("nohup")
        .arg(plain.get_program())
        .args(plain.get_args())
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut hang_ups = 0;
    while child.try_wait().unwrap().is_none() {
        if names_in(dir.path())
            .iter()
            .any(|name| name.contains("unfinished"))
        {
            let id = child.id().to_string();
            hang_ups += 1;
            // It may have exited in this moment.
            let _ = Command::new("kill").args(["-HUP", &id]).status();
        }
    }
    assert!(hang_ups > 0);
    assert!(child.wait().unwrap().success());
    assert!(names_in(dir.path()).contains(&"backup.tar".to_owned()));
}

/// SIGHUP, or SIGTERM if the tests themselves run with SIGHUP ignored, which is inherited.
fn hang_up() -> &'static str {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let is_ignored = ignored.is_some_and(|mask| mask & 1 == 1);
    if is_ignored { "TERM" } else { "HUP" }
}

#[test]
fn signal_cancels_command_and_removes_partial_files() {
    let dir = folder();
    make_large(dir.path());
    let backup = ["backup", "backup.tar"];
    for signal in ["TERM", "INT"] {
        assert!((0..ATTEMPTS).any(|_| is_cancelled(dir.path(), &backup, signal)));
    }
    done(&run(dir.path(), &[DB, &backup].concat()), "backed up");
    // The lock file of a server exists from now on.
    fs::write(dir.path().join("users.db.lock"), "").unwrap();
    let restore = ["restore", "backup.tar", "--force"];
    assert!((0..ATTEMPTS).any(|_| is_cancelled(dir.path(), &restore, hang_up())));
    assert_eq!(
        run(dir.path(), &[DB, &["user", "list"]].concat()).code,
        Some(0)
    );
}

/// A command that reads or writes a stalled pipe.
struct StalledCommand {
    child: Child,
    // Both stay open.
    _stdin: ChildStdin,
    _stdout: ChildStdout,
}

impl StalledCommand {
    /// Starts a command and waits for its temporary folder.
    fn start(dir: &Path, arguments: &[&str]) -> Self {
        let before = names_in(dir);
        let mut child = program(dir, &[DB, arguments].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        if arguments[0] == "restore" {
            let backup = fs::read(dir.join("backup.tar")).unwrap();
            stdin.write_all(&backup[..5000]).unwrap();
            while names_in(dir) == before {}
        } else {
            stdout.read_exact(&mut [0]).unwrap();
        }
        Self {
            child,
            _stdin: stdin,
            _stdout: stdout,
        }
    }

    /// Sends a signal; returns the exit code and standard error.
    fn stop(mut self, signal: &str) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        let status = Command::new("kill")
            .args([&format!("-{signal}"), &id])
            .status()
            .unwrap();
        assert!(status.success());
        let mut stderr = String::new();
        let mut error_output = self.child.stderr.take().unwrap();
        error_output.read_to_string(&mut stderr).unwrap();
        (self.child.wait().unwrap().code(), stderr)
    }
}

/// A database and its backup, larger than the buffer of a pipe, and the lock file of a server.
fn with_backup(dir: &Path) {
    create_user(dir, "ada@example.com", &[]);
    Connection::open(dir.join("users.db"))
        .unwrap()
        .execute_batch(
            "CREATE TABLE filler (bytes); INSERT INTO filler VALUES (zeroblob(2000000));",
        )
        .unwrap();
    done(
        &run(dir, &[DB, &["backup", "backup.tar"]].concat()),
        "backed up",
    );
    fs::write(dir.join("users.db.lock"), "").unwrap();
}

const RESTORE: &[&str] = &["restore", "-", "--force"];
const BACKUP: &[&str] = &["backup", "-"];

#[test]
fn signal_cancels_command_blocked_on_a_pipe() {
    let dir = folder();
    with_backup(dir.path());
    let before = names_in(dir.path());
    for (arguments, signal) in [
        (RESTORE, "TERM"),
        (RESTORE, "INT"),
        (BACKUP, "TERM"),
        (BACKUP, "INT"),
    ] {
        let (code, stderr) = StalledCommand::start(dir.path(), arguments).stop(signal);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains("cancelled"), "{stderr}");
        assert_eq!(names_in(dir.path()), before, "no partial backup remains");
    }
}

#[test]
fn folders_of_killed_commands_are_removed() {
    let dir = folder();
    with_backup(dir.path());
    let before = names_in(dir.path());
    let running = StalledCommand::start(dir.path(), BACKUP);
    let with_its_folder = names_in(dir.path());
    for arguments in [BACKUP, RESTORE] {
        StalledCommand::start(dir.path(), arguments).stop("KILL");
        assert!(names_in(dir.path()).len() > with_its_folder.len());
        let backup = [DB, &["backup", "backup.tar", "--force"]].concat();
        done(&run(dir.path(), &backup), "backed up");
        assert_eq!(names_in(dir.path()), with_its_folder);
    }
    running.stop("TERM");
    assert_eq!(names_in(dir.path()), before);
}

#[test]
fn signal_cancels_backup_waiting_for_another_one() {
    let dir = folder();
    with_backup(dir.path());
    let photos = dir.path().join("users.db.media/photos");
    fs::create_dir_all(&photos).unwrap();
    let before = names_in(dir.path());
    let held = fs::File::open(&photos).unwrap();
    held.lock().unwrap();
    let backup = ["backup", "another.tar"];
    assert!(is_cancelled(dir.path(), &backup, "TERM"));
    held.unlock().unwrap();
    done(&run(dir.path(), &[DB, &backup].concat()), "backed up");
    assert_eq!(names_in(dir.path()).len(), before.len() + 1);
}

#[test]
fn backup_is_restored_from_a_named_pipe() {
    let dir = folder();
    with_backup(dir.path());
    let mut command = Command::new("bash");
    command
        .args([
            "-c",
            "exec \"$0\" --db users.db restore <(cat backup.tar) --force",
        ])
        .arg(env!("CARGO_BIN_EXE_accounts-server"))
        .current_dir(dir.path());
    done(&finish(command, ""), "restored 1 accounts");
}
