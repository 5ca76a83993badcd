//! Stopping without losing an answer, and taking other settings over while running.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;

use crate::support::{PASSWORD, Running, claims, create_user, folder};

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Within this time after its last request a client may count on an answer to the next one, whatever happens: less than
/// the server waits for those that have just sent something.
const GRACE: Duration = Duration::from_millis(200);

/// Reads one answer: whether it is the last one on its connection. `None` when the connection ended before it.
fn read_answer(reader: &mut BufReader<TcpStream>) -> Option<bool> {
    let mut is_last = false;
    let mut length = 0;
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    assert!(line.starts_with("HTTP/1.1 200 "), "{line}");
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        let field = line.trim_end().to_ascii_lowercase();
        if field.is_empty() {
            break;
        }
        is_last |= field == "connection: close";
        if let Some(value) = field.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
    Some(is_last)
}

fn connect(address: SocketAddr) -> Option<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_mins(1)))
        .unwrap();
    Some(BufReader::new(stream))
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "how long the system held a client up is what is measured"
)]
fn no_request_loses_its_answer_at_the_end() {
    for _ in 0..3 {
        let dir = folder();
        let server = Running::start(dir.path());
        let answered = AtomicUsize::new(0);
        let lost = AtomicUsize::new(0);
        // All are connected before the first begins: one that came late would find nobody there any more.
        let readers: Vec<_> = (0..8).map(|_| connect(server.address).unwrap()).collect();
        thread::scope(|scope| {
            for mut reader in readers {
                let (answered, lost) = (&answered, &lost);
                let mut last_request = Instant::now();
                scope.spawn(move || {
                    loop {
                        let request = Instant::now();
                        // What cannot be sent any more was not taken.
                        if reader.get_mut().write_all(REQUEST).is_err() {
                            return;
                        }
                        let pause = last_request.elapsed();
                        last_request = request;
                        let Some(is_last) = read_answer(&mut reader) else {
                            // Who was held up for too long by the system was a quiet client, which has nothing to lose.
                            lost.fetch_add(usize::from(pause < GRACE), Ordering::Relaxed);
                            return;
                        };
                        answered.fetch_add(1, Ordering::Relaxed);
                        if is_last {
                            return;
                        }
                    }
                });
            }
            while answered.load(Ordering::Relaxed) < 500 {
                thread::yield_now();
            }
            server.signal("TERM");
        });
        assert_eq!(lost.into_inner(), 0);
        assert_eq!(server.wait().code, Some(0));
    }
}

#[test]
fn connections_that_nobody_has_accepted_yet_are_served_at_the_end() {
    let dir = folder();
    let server = Running::start(dir.path());
    server.signal("STOP");
    // The system takes the connections in; the server knows nothing of them.
    let mut waiting: Vec<_> = (0..50).map(|_| connect(server.address).unwrap()).collect();
    for reader in &mut waiting {
        reader.get_mut().write_all(REQUEST).unwrap();
    }
    server.signal("TERM");
    server.signal("CONT");
    for reader in &mut waiting {
        // Those that were accepted before the signal was looked at may go on, so it need not be the last answer.
        assert!(read_answer(reader).is_some());
    }
    assert_eq!(server.wait().code, Some(0));
}

#[test]
fn quiet_connections_hold_nobody_up_at_the_end() {
    let dir = folder();
    let server = Running::start_with(
        dir.path(),
        &[
            "--db",
            "users.db",
            "--dev",
            "--server-shutdown-seconds",
            "3600",
        ],
    );
    let mut used = connect(server.address).unwrap();
    used.get_mut().write_all(REQUEST).unwrap();
    assert_eq!(read_answer(&mut used), Some(false));
    let _unused = connect(server.address).unwrap();
    server.signal("TERM");
    assert_eq!(server.wait().code, Some(0));
    assert_eq!(used.read(&mut [0]).unwrap(), 0, "it ends without a word");
}

#[test]
fn quiet_connections_cost_little() {
    // Each is a file of this process, too.
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let dir = folder();
    let server = Running::start(dir.path());
    let memory = || {
        let mut reader = connect(server.address).unwrap();
        let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        reader.get_mut().write_all(request).unwrap();
        let mut answer = String::new();
        reader.read_to_string(&mut answer).unwrap();
        let mut lines = answer.lines();
        let bytes = lines.find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
        bytes.unwrap().parse::<i64>().unwrap()
    };
    let before = memory();
    let mut quiet: Vec<_> = (0..3000)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address).unwrap();
            stream.write_all(REQUEST).unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            stream
        })
        .collect();
    // With hyper's buffers it would be some 60 MB.
    let each = (memory() - before) / 3000;
    assert!(each < 8_000, "{each} bytes for each");
    for stream in &mut quiet {
        stream.write_all(REQUEST).unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
    }
    assert_eq!(server.terminate().code, Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let dir = folder();
    let server = Running::start_with(
        dir.path(),
        &[
            "--db",
            "users.db",
            "--dev",
            "--server-shutdown-seconds",
            "3600",
            "--server-body-pause-seconds",
            "3600",
            "--server-body-timeout-seconds",
            "3600",
        ],
    );
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream
        .write_all(
            b"POST /api/v1/accounts/token/ HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
              Content-Length: 9\r\n\r\n",
        )
        .unwrap();
    stream.read_exact(&mut [0; 25]).unwrap();
    server.signal("TERM");
    server.wait_for_log("a second signal");
    server.signal("TERM");
    assert_eq!(server.wait().code, Some(0));
}

#[test]
fn other_settings_are_taken_over() {
    let dir = folder();
    let file = dir.path().join("accounts.toml");
    let write = |text: &str| fs::write(&file, text).unwrap();
    write("[tokens]\naccess_minutes = 5\n[passwords]\nbcrypt_cost = 4\n");
    create_user(dir.path(), "user@example.com", &[]);
    let server = Running::start_with(
        dir.path(),
        &["--db", "users.db", "--config", "accounts.toml"],
    );
    let life = || {
        let claims = claims(&server.sign_in("user@example.com"));
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap()
    };
    assert_eq!(life(), 300);

    write(
        "[tokens]\naccess_minutes = 7\n[passwords]\nbcrypt_cost = 4\nmin_length = 12\n\
         [log]\nlevel = \"debug\"\n[database]\nread_connections = 3\n",
    );
    server.signal("HUP");
    let line = server.wait_for_log("reloaded");
    for name in ["tokens.access_minutes", "passwords.min_length", "log.level"] {
        assert!(line.contains(name), "{line}");
    }
    let line = server.wait_for_log("started again");
    assert!(line.contains("database.read_connections"), "{line}");
    assert_eq!(life(), 420);
    server.wait_for_log("DEBUG");
    let body = json!({"email": "b@example.com", "password": "short-pass", "confirm_password": "short-pass"});
    let (status, answer) = server.post("users/", &body);
    assert_eq!(status, 400, "{answer}");
    assert!(
        answer["password"][0].as_str().unwrap().contains("12"),
        "{answer}"
    );

    // What is wrong changes nothing, and is told.
    write("[tokens]\naccess_minutes = \"seven\"\n");
    server.signal("HUP");
    let line = server.wait_for_log("nothing was reloaded");
    assert!(line.contains("accounts.toml"), "{line}");
    assert_eq!(life(), 420);
    write("[mail]\ntemplates_dir = \"nowhere\"\n[tokens]\naccess_minutes = 9\n");
    server.signal("HUP");
    server.wait_for_log("nothing was reloaded");
    assert_eq!(life(), 420);

    // Nothing new is no change.
    write(
        "[tokens]\naccess_minutes = 7\n[passwords]\nbcrypt_cost = 4\nmin_length = 12\n\
           [log]\nlevel = \"debug\"\n[database]\nread_connections = 3\n",
    );
    server.signal("HUP");
    server.wait_for_log("no setting has changed");
    let outcome = server.terminate();
    assert_eq!(outcome.code, Some(0));
    assert!(!outcome.stderr.contains(PASSWORD), "{}", outcome.stderr);
}

#[test]
fn the_id_of_an_answer_leads_to_its_lines_in_the_log() {
    for format in ["text", "json"] {
        let dir = folder();
        create_user(dir.path(), "user@example.com", &[]);
        // Another cost than that of the account's hash, so that the sign-in leaves work to a task of its own.
        let cost = ["--passwords-bcrypt-cost", "5", "--log-format", format];
        let server = Running::start_with(dir.path(), &[&["--db", "users.db"], &cost[..]].concat());
        let answer = ureq::post(format!("http://{}/api/v1/accounts/token/", server.address))
            .header("x-request-id", "mine")
            .send_json(json!({"email": "user@example.com", "password": PASSWORD}))
            .unwrap();
        let id = answer.headers()["x-request-id"].to_str().unwrap();
        assert_ne!(id, "mine");
        for text in ["user 1: signed in", "user 1: password rehashed"] {
            let line = server.wait_for_log(text);
            if format == "text" {
                assert!(line.ends_with(&format!(" {id}: {text}")), "{line}");
            } else {
                let line: serde_json::Value = serde_json::from_str(&line).unwrap();
                assert_eq!(
                    (&line["request_id"], &line["message"]),
                    (&json!(id), &json!(text))
                );
            }
        }
    }
}

#[test]
fn a_message_of_the_log_is_one_line_without_power_over_the_terminal() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = folder();
    create_user(dir.path(), "user@example.com", &[]);
    // A name that somebody else has chosen, with another line in it and what changes the colours.
    let name = "users\n2024-12-03T12:00:00Z INFO  user 1: signed in\u{1b}[31m.db";
    let path = dir.path().join(name);
    fs::rename(dir.path().join("users.db"), &path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let server = Running::start_with(dir.path(), &["--db", name]);
    let line = server.wait_for_log("users");
    let message = "users 2024-12-03T12:00:00Z INFO  user 1: signed in\u{fffd}[31m.db can be read by other users";
    assert!(
        line.contains(&format!(" WARN  {message}")),
        "{line:?} lacks {message:?}"
    );
}

#[test]
fn every_line_of_the_log_is_an_object_when_it_is_for_programs() {
    let dir = folder();
    let server = Running::start_with(
        dir.path(),
        &[
            "--db",
            "users.db",
            "--log-format",
            "json",
            "--log-level",
            "debug",
        ],
    );
    let (status, _) = server.sign_up("user@example.com");
    assert_eq!(status, 201);
    let line = server.wait_for_log("User List -> 201");
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["level"], "debug");
    assert_eq!(line["target"], "accounts_server::http");
    assert_eq!(line["request_id"].as_str().unwrap().len(), 16);
    assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
    let outcome = server.terminate();
    assert!(!outcome.stderr.is_empty());
    for line in outcome.stderr.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect(line);
        assert!(line["message"].is_string(), "{line}");
    }
    assert!(!outcome.stderr.contains(PASSWORD), "{}", outcome.stderr);
    assert!(
        !outcome.stderr.contains("user@example.com"),
        "{}",
        outcome.stderr
    );
}
