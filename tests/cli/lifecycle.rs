//! Graceful shutdown, configuration reload, and request ids in the log.

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

/// A client that sends its next request within this time gets an answer, even during shutdown.
///
/// Less than the time that the server waits for recently active clients.
const GRACE: Duration = Duration::from_millis(200);

/// Reads one answer and returns whether it is the last one of its connection. `None` without an
/// answer.
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
fn every_accepted_request_is_answered_during_shutdown() {
    for _ in 0..3 {
        let dir = folder();
        let server = Running::start(dir.path());
        let answered = AtomicUsize::new(0);
        let lost = AtomicUsize::new(0);
        // All clients connect before the first request: a late one would be refused.
        let readers: Vec<_> = (0..8).map(|_| connect(server.address).unwrap()).collect();
        thread::scope(|scope| {
            for mut reader in readers {
                let (answered, lost) = (&answered, &lost);
                let mut last_request = Instant::now();
                scope.spawn(move || {
                    loop {
                        let request = Instant::now();
                        // A request that could not be sent was not accepted.
                        if reader.get_mut().write_all(REQUEST).is_err() {
                            return;
                        }
                        let pause = last_request.elapsed();
                        last_request = request;
                        let Some(is_last) = read_answer(&mut reader) else {
                            // A client delayed for too long by the system counts as idle and may
                            // be disconnected.
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
fn connections_in_the_backlog_are_served_during_shutdown() {
    let dir = folder();
    let server = Running::start(dir.path());
    server.signal("STOP");
    // The kernel completes the connections; the server has not accepted them yet.
    let mut waiting: Vec<_> = (0..50).map(|_| connect(server.address).unwrap()).collect();
    for reader in &mut waiting {
        reader.get_mut().write_all(REQUEST).unwrap();
    }
    server.signal("TERM");
    server.signal("CONT");
    for reader in &mut waiting {
        // A connection accepted before the signal was handled may stay open.
        assert!(read_answer(reader).is_some());
    }
    assert_eq!(server.wait().code, Some(0));
}

#[test]
fn idle_connections_do_not_delay_shutdown() {
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
fn idle_connections_use_little_memory() {
    // Each is an open file of this process too.
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
    // With hyper's buffers it would be about 60 MB.
    let each = (memory() - before) / 3000;
    assert!(each < 8_000, "{each} bytes for each");
    for stream in &mut quiet {
        stream.write_all(REQUEST).unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
    }
    assert_eq!(server.terminate().code, Some(0));
}

#[test]
fn second_signal_stops_immediately() {
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
fn sighup_reloads_settings() {
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
    let line = server.wait_for_log("after a restart");
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

    // Invalid settings change nothing and are reported.
    write("[tokens]\naccess_minutes = \"seven\"\n");
    server.signal("HUP");
    let line = server.wait_for_log("the settings were not reloaded");
    assert!(line.contains("accounts.toml"), "{line}");
    assert_eq!(life(), 420);
    write("[mail]\ntemplates_dir = \"nowhere\"\n[tokens]\naccess_minutes = 9\n");
    server.signal("HUP");
    server.wait_for_log("the settings were not reloaded");
    assert_eq!(life(), 420);

    // An unchanged file changes nothing.
    write(
        "[tokens]\naccess_minutes = 7\n[passwords]\nbcrypt_cost = 4\nmin_length = 12\n\
           [log]\nlevel = \"debug\"\n[database]\nread_connections = 3\n",
    );
    server.signal("HUP");
    server.wait_for_log("no setting changed");
    let outcome = server.terminate();
    assert_eq!(outcome.code, Some(0));
    assert!(!outcome.stderr.contains(PASSWORD), "{}", outcome.stderr);
}

#[test]
fn request_id_of_answer_is_in_its_log_lines() {
    for format in ["text", "json"] {
        let dir = folder();
        create_user(dir.path(), "user@example.com", &[]);
        // Another cost than that of the stored hash: the sign-in rehashes on a task of its own.
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
fn log_message_is_one_line_without_control_characters() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = folder();
    create_user(dir.path(), "user@example.com", &[]);
    // A name from a client, with a line break and an escape sequence.
    let name = "users\n2024-12-03T12:00:00Z INFO  user 1: signed in\u{1b}[31m.db";
    let path = dir.path().join(name);
    fs::rename(dir.path().join("users.db"), &path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let server = Running::start_with(dir.path(), &["--db", name]);
    let line = server.wait_for_log("users");
    let message = "users 2024-12-03T12:00:00Z INFO  user 1: signed in\u{fffd}[31m.db can be read \
        by other users";
    assert!(
        line.contains(&format!(" WARN  {message}")),
        "{line:?} lacks {message:?}"
    );
}

#[test]
fn json_log_has_one_object_per_line() {
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
    let line = server.wait_for_log("/api/v1/accounts/users/ -> 201");
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
