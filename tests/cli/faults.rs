//! Faults of the machine while the server runs: they are reported, damage nothing, and end by
//! themselves.

use std::fs;
use std::path::Path;
use std::process::Command;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::client::{Client, picture};
use crate::support::{PASSWORD, Running, create_user, folder, names_in, program};

const CHEAP: &[&str] = &[
    "--db",
    "users.db",
    "--passwords-bcrypt-cost",
    "4",
    "--rate-limits-enabled=false",
];

/// The answer of the API while the service is unavailable.
#[track_caller]
fn assert_unavailable(answer: (u16, Value)) {
    let body = json!({"detail": "Service temporarily unavailable, try again later."});
    assert_eq!(answer, (503, body));
}

#[track_caller]
fn assert_intact(database: &Path) {
    let fault: String = Connection::open(database)
        .unwrap()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(fault, "ok");
}

fn rename(client: &Client, access: &str, name: &str) -> (u16, Value) {
    let body = json!({"first_name": name});
    client
        .api("PATCH", "users/me/", Some(access), &body)
        .unwrap()
}

#[test]
fn full_disk_fails_writes_and_not_reads() {
    let dir = folder();
    create_user(dir.path(), "ada@example.com", &[]);
    // Files cannot grow beyond 400 KiB: a write error, as on a full disk. The signal that comes
    // with this limit is ignored.
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; ulimit -S -f 800; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_accounts-server"))
        .args(CHEAP)
        .args(["--listen", "127.0.0.1:0", "--mail-transport", "file"])
        .current_dir(dir.path());
    let server = Running::spawn(command);
    let client = Client::new(server.address);
    let access = server.sign_in("ada@example.com");
    let mut written = String::new();
    let refused = (0..2000).find_map(|number| {
        let name = format!("{number:0150}");
        match rename(&client, &access, &name) {
            (200, _) => {
                written = name;
                None
            }
            other => Some(other),
        }
    });
    assert_unavailable(refused.expect("the log had to grow beyond the limit"));
    let line = server.wait_for_log("the database is busy");
    assert!(line.contains("WARN"), "{line}");
    // Reads work and return what was acknowledged.
    let (status, profile) = server.api("GET", "users/me/", Some(&access), &json!({}));
    assert_eq!((status, &profile["first_name"]), (200, &json!(written)));
    assert_unavailable(client.sign_up("bob@example.com").unwrap());
    let limit = |size: &str| {
        let status = Command::new("prlimit")
            .args([
                "--pid",
                &server.id().to_string(),
                &format!("--fsize={size}:unlimited"),
            ])
            .status()
            .unwrap();
        assert!(status.success());
    };
    // The space left has room for a commit of one page. The result of the last write is cached for
    // a second.
    limit("4096");
    let ready = || client.send("GET", "/readyz", None, "", b"").unwrap().0;
    while ready() == 200 {}

    limit("unlimited");
    assert_eq!(rename(&client, &access, "Ada").0, 200);
    assert_eq!(client.sign_up("bob@example.com").unwrap().0, 201);
    assert_eq!(client.send("GET", "/readyz", None, "", b"").unwrap().0, 200);
    server.kill();
    assert_intact(&dir.path().join("users.db"));
}

#[test]
fn locked_database_fails_writes_until_released() {
    let dir = folder();
    create_user(dir.path(), "ada@example.com", &[]);
    let server = Running::start_with(
        dir.path(),
        &[CHEAP, &["--database-busy-timeout-ms", "50"]].concat(),
    );
    let client = Client::new(server.address);
    let access = server.sign_in("ada@example.com");
    let other = Connection::open(dir.path().join("users.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    for _ in 0..3 {
        assert_unavailable(rename(&client, &access, "Held"));
    }
    let line = server.wait_for_log("the database is busy: database is locked");
    assert!(line.contains("WARN"), "{line}");
    assert_eq!(
        server.api("GET", "users/me/", Some(&access), &json!({})).0,
        200
    );
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(rename(&client, &access, "Free").0, 200);
    assert_eq!(server.terminate().code, Some(0));
    assert_intact(&dir.path().join("users.db"));
}

/// The JSON log lines that contain `text`: their request ids, and how many more were suppressed.
fn repeats(log: &str, text: &str) -> (Vec<String>, usize) {
    let (mut written, mut suppressed) = (Vec::new(), 0);
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let message = line["message"].as_str().unwrap();
        if message == text {
            written.push(line["request_id"].as_str().unwrap().to_owned());
        } else if let Some((count, of)) =
            message.split_once(" more lines like this were suppressed: ")
            && of == text
        {
            suppressed += count.parse::<usize>().unwrap();
        }
    }
    written.sort();
    written.dedup();
    (written, suppressed)
}

#[test]
fn repeated_log_lines_are_suppressed_and_counted() {
    const FLOOD: usize = 200;
    let dir = folder();
    create_user(dir.path(), "ada@example.com", &[]);
    for level in ["info", "debug"] {
        let arguments = [
            CHEAP,
            &["--database-busy-timeout-ms", "10"],
            &["--log-format", "json", "--log-level", level],
        ];
        let server = Running::start_with(dir.path(), &arguments.concat());
        let client = Client::new(server.address);
        let access = server.sign_in("ada@example.com");
        let flood = || {
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8)
                    .map(|_| {
                        scope.spawn(|| {
                            (0..FLOOD / 8)
                                .map(|_| rename(&client, &access, "Ada").0)
                                .collect::<Vec<_>>()
                        })
                    })
                    .collect();
                threads
                    .into_iter()
                    .flat_map(|thread| thread.join().unwrap())
                    .collect::<Vec<_>>()
            })
        };
        let other = Connection::open(dir.path().join("users.db")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert_eq!(flood(), [503; FLOOD]);
        other.execute_batch("ROLLBACK").unwrap();
        // The server itself may lock it for a moment.
        let (changed, held): (Vec<_>, Vec<_>) =
            flood().into_iter().partition(|status| *status == 200);
        let outcome = server.terminate();
        assert_eq!(outcome.code, Some(0));
        for (text, total) in [
            (
                "the database is busy: database is locked: Error code 5: database is locked",
                FLOOD + held.len(),
            ),
            ("user 1: profile updated", changed.len()),
        ] {
            let (written, suppressed) = repeats(&outcome.stderr, text);
            assert_eq!(
                written.len() + suppressed,
                total,
                "{text}: {}",
                outcome.stderr
            );
            match level {
                // 20 a minute; even on a slow machine these requests take less than ten minutes.
                "info" => assert!(suppressed > 0, "{text}: {}", outcome.stderr),
                _ => assert_eq!(suppressed, 0, "debug level logs all of them"),
            }
        }
    }
}

#[test]
fn write_waits_for_lock_released_in_time() {
    let dir = folder();
    create_user(dir.path(), "ada@example.com", &[]);
    let server = Running::start_with(
        dir.path(),
        &[CHEAP, &["--database-busy-timeout-ms", "60000"]].concat(),
    );
    let client = Client::new(server.address);
    let access = server.sign_in("ada@example.com");
    let other = Connection::open(dir.path().join("users.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting = {
        let (client, access) = (client.clone(), access.clone());
        std::thread::spawn(move || rename(&client, &access, "Waited"))
    };
    // Reads are answered in the meantime.
    for _ in 0..20 {
        assert_eq!(
            server.api("GET", "users/me/", Some(&access), &json!({})).0,
            200
        );
    }
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(waiting.join().unwrap().0, 200);
}

#[test]
fn missing_photo_folder_is_reported() {
    let dir = folder();
    create_user(dir.path(), "ada@example.com", &[]);
    let server = Running::start_with(dir.path(), CHEAP);
    let client = Client::new(server.address);
    let access = server.sign_in("ada@example.com");
    let (status, answer) = client.upload(&access, &picture(1)).unwrap();
    assert_eq!(status, 200, "{answer}");
    let photo = answer["photo"].as_str().unwrap();
    let path = photo[photo.find("/media/").unwrap()..].to_owned();

    // A file is in the place of the folder.
    let media = dir.path().join("users.db.media");
    fs::rename(&media, dir.path().join("elsewhere")).unwrap();
    fs::write(&media, "").unwrap();
    assert_unavailable(client.upload(&access, &picture(2)).unwrap());
    let line = server.wait_for_log("a photo was not stored");
    assert!(
        line.contains("WARN") && line.contains("users.db.media"),
        "{line}"
    );
    let (status, answer) = client.send("GET", &path, None, "", b"").unwrap();
    assert_eq!(
        (status, &answer["detail"]),
        (
            503,
            &json!("Service temporarily unavailable, try again later.")
        )
    );
    let line = server.wait_for_log("cannot read the photo");
    assert!(
        line.contains("WARN") && line.contains("users.db.media"),
        "{line}"
    );
    let (status, profile) = server.api("GET", "users/me/", Some(&access), &json!({}));
    assert_eq!(
        (status, &profile["photo"]),
        (200, &json!(photo)),
        "the photo is still the account's"
    );

    fs::remove_file(&media).unwrap();
    fs::rename(dir.path().join("elsewhere"), &media).unwrap();
    assert_eq!(client.send("GET", &path, None, "", b"").unwrap().0, 200);
    assert_eq!(client.upload(&access, &picture(3)).unwrap().0, 200);

    // A missing folder says nothing about the photos; the next upload creates it.
    fs::remove_dir_all(&media).unwrap();
    assert_eq!(client.send("GET", &path, None, "", b"").unwrap().0, 503);
    server.wait_for_log("is gone");
    let (status, answer) = client.upload(&access, &picture(4)).unwrap();
    assert_eq!(status, 200, "{answer}");
    assert_eq!(client.send("GET", &path, None, "", b"").unwrap().0, 404);
    drop(server);
    assert_eq!(names_in(&media.join("photos")).len(), 1);
}

/// The program as an unprivileged user: file modes do not restrict root.
fn as_unprivileged_user(dir: &Path, arguments: &[&str]) -> Command {
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    if !is_root {
        return program(dir, arguments);
    }
    // The user "nobody" may have no access to the build folder.
    let copy = dir.join("program");
    fs::copy(env!("CARGO_BIN_EXE_accounts-server"), &copy).unwrap();
    let status = Command::new("chown")
        .args(["-R", "65534:65534"])
        .arg(dir)
        .status()
        .unwrap();
    assert!(status.success());
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(copy)
        .args(arguments)
        .current_dir(dir);
    command
}

#[test]
fn removed_or_replaced_database_is_not_written() {
    let dir = folder();
    create_user(dir.path(), "ada@example.com", &[]);
    let server = Running::start_with(dir.path(), CHEAP);
    let client = Client::new(server.address);
    let access = server.sign_in("ada@example.com");
    let [database, log, aside] =
        ["users.db", "users.db-wal", "aside"].map(|name| dir.path().join(name));
    let ready = || client.send("GET", "/readyz", None, "", b"").unwrap().0;
    for file in [&database, &log] {
        assert_eq!(rename(&client, &access, "Before").0, 200);
        fs::rename(file, &aside).unwrap();
        // Nothing is acknowledged that would be lost, and acknowledged data can still be read.
        assert_unavailable(rename(&client, &access, "Lost"));
        assert_unavailable(client.sign_up("bob@example.com").unwrap());
        let name = file.file_name().unwrap().to_str().unwrap();
        let line = server.wait_for_log(&format!("{name} cannot be found any more"));
        assert!(line.contains("WARN"), "{line}");
        // The result of the last write is cached for a second.
        while ready() == 200 {}
        let (status, profile) = server.api("GET", "users/me/", Some(&access), &json!({}));
        assert_eq!((status, &profile["first_name"]), (200, &json!("Before")));
        // A copy in its place is another file than the open one.
        fs::copy(&aside, file).unwrap();
        assert_unavailable(rename(&client, &access, "Lost"));
        server.wait_for_log(&format!("{name} is another file"));
        fs::rename(&aside, file).unwrap();
        assert_eq!(rename(&client, &access, "After").0, 200);
        assert_eq!(ready(), 200);
    }
    server.kill();
    assert_intact(&database);
    let name: String = Connection::open(&database)
        .unwrap()
        .query_row("SELECT first_name FROM users", [], |row| row.get(0))
        .unwrap();
    assert_eq!(name, "After");
}

#[test]
fn symlink_to_database_works_and_must_not_change() {
    let dir = folder();
    for name in ["one.db", "two.db"] {
        create_user(dir.path(), "ada@example.com", &["--db", name]);
    }
    let link = dir.path().join("users.db");
    std::os::unix::fs::symlink("one.db", &link).unwrap();
    let server = Running::start_with(dir.path(), CHEAP);
    let client = Client::new(server.address);
    let access = server.sign_in("ada@example.com");
    assert_eq!(rename(&client, &access, "Ada").0, 200);
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("two.db", &link).unwrap();
    assert_unavailable(rename(&client, &access, "Lost"));
    server.wait_for_log("users.db is another file");
    assert_eq!(server.terminate().code, Some(0));
}

#[test]
fn read_only_database_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = folder();
    create_user(dir.path(), "ada@example.com", &[]);
    let database = dir.path().join("users.db");
    let before = fs::read(&database).unwrap();
    fs::set_permissions(&database, fs::Permissions::from_mode(0o400)).unwrap();
    let arguments = [CHEAP, &["--listen", "127.0.0.1:0"]].concat();
    let outcome = crate::support::finish(as_unprivileged_user(dir.path(), &arguments), "");
    outcome.assert_refused(1, &["users.db", "can only be read", "May this user write"]);
    assert!(fs::read(&database).unwrap() == before);

    // While a server runs: new connections for reading fail, and work again once the file is
    // readable.
    fs::set_permissions(&database, fs::Permissions::from_mode(0o600)).unwrap();
    let server = Running::spawn(as_unprivileged_user(dir.path(), &arguments));
    assert_eq!(
        server
            .post(
                "token/",
                &json!({"email": "ada@example.com", "password": PASSWORD})
            )
            .0,
        200
    );
    fs::set_permissions(&database, fs::Permissions::from_mode(0o400)).unwrap();
    let access = server.sign_in("ada@example.com");
    let client = Client::new(server.address);
    assert_eq!(
        rename(&client, &access, "Ada").0,
        200,
        "the server has it open"
    );
    assert_eq!(server.terminate().code, Some(0));
    assert_intact(&database);
}
