//! Notifications to systemd and socket activation, without systemd.
//!
//! The protocol is environment variables, a datagram socket and file descriptor 3.

use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;

use crate::support::{Running, folder, program};

#[test]
fn systemd_is_notified_of_state_changes() {
    let dir = folder();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_mins(1)))
        .unwrap();
    // WATCHDOG_PID must be the process id, which is known only after the start.
    let mut command = in_shell(
        dir.path(),
        r#"WATCHDOG_PID=$$ WATCHDOG_USEC=1000000 exec "$@""#,
    );
    command.env("NOTIFY_SOCKET", &path);
    let server = Running::spawn(command);
    // Waits for a message with this line, skipping watchdog messages.
    let expect = |wanted: &str| {
        loop {
            let mut message = [0; 1024];
            let length = socket.recv(&mut message).unwrap();
            let message = String::from_utf8(message[..length].to_vec()).unwrap();
            if message.lines().any(|line| line == wanted) {
                return message;
            }
            assert!(message.contains("WATCHDOG=1"), "{message}");
        }
    };
    expect("READY=1");
    expect("WATCHDOG=1");
    expect("WATCHDOG=1");
    server.signal("HUP");
    let message = expect("RELOADING=1");
    assert!(message.contains("MONOTONIC_USEC="), "{message}");
    expect("READY=1");
    server.signal("TERM");
    expect("STOPPING=1");
    assert_eq!(server.wait().code, Some(0));
}

#[test]
fn watchdog_is_silent_while_the_writer_hangs() {
    let dir = folder();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    // The writer blocks in SQLite, as it would on a disk that does not respond.
    let line =
        r#"WATCHDOG_PID=$$ WATCHDOG_USEC=1000000 exec "$@" --database-busy-timeout-ms "$BUSY""#;
    let start = |busy: &str| {
        let mut command = in_shell(dir.path(), line);
        command.env("NOTIFY_SOCKET", &path).env("BUSY", busy);
        Running::spawn(command)
    };
    let next_message = |timeout: u64| {
        let timeout = Duration::from_secs(timeout);
        socket.set_read_timeout(Some(timeout)).unwrap();
        let mut message = [0; 1024];
        let length = socket.recv(&mut message).ok()?;
        Some(String::from_utf8_lossy(message[..length].trim_ascii_end()).into_owned())
    };
    let hold = || {
        let other = Connection::open(dir.path().join("users.db")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        other
    };

    let server = start("600000");
    let other = hold();
    server.wait_for_log("WatchdogSec= is too short");
    server.wait_for_log("the server does not respond to its own check");
    // Earlier messages are read first.
    while next_message(3).is_some() {}
    other.execute_batch("ROLLBACK").unwrap();
    while next_message(60).unwrap() != "WATCHDOG=1" {}
    server.kill();
    let drain = || {
        socket.set_nonblocking(true).unwrap();
        while socket.recv(&mut [0; 1024]).is_ok() {}
        socket.set_nonblocking(false).unwrap();
    };

    // A server locked out by another process keeps trying: a restart would not help.
    let server = start("50");
    let _other = hold();
    server.wait_for_log("the database cannot be written");
    drain();
    for _ in 0..3 {
        assert_eq!(next_message(60).as_deref(), Some("WATCHDOG=1"));
    }
    server.kill();
}

/// The program started by a shell script, which finds it in `$@`.
fn in_shell(dir: &Path, line: &str) -> Command {
    let plain = program(
        dir,
        &["--db", "users.db", "--dev", "--listen", "127.0.0.1:0"],
    );
    let mut command = Command::new("sh");
    command
        .current_dir(dir)
        .args(["-c", line, "sh"])
        .arg(plain.get_program())
        .args(plain.get_args());
    command
}

/// The program with a socket as file descriptor 3, as systemd starts it.
fn activated(dir: &Path, listener: TcpListener) -> Command {
    let mut command = in_shell(
        dir,
        r#"exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@""#,
    );
    command.stdin(Stdio::from(OwnedFd::from(listener)));
    command
}

#[test]
fn inherited_socket_is_used() {
    let dir = folder();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let kept = listener.try_clone().unwrap();
    let server = Running::spawn(activated(dir.path(), listener));
    assert_eq!(server.address, address);
    assert_eq!(server.request("GET", "/healthz", None, &json!({})).0, 200);
    assert_eq!(server.terminate().code, Some(0));
    // A client that connects between two servers is served by the second one.
    let waiting = TcpStream::connect(address).unwrap();
    let server = Running::spawn(activated(dir.path(), kept));
    assert_eq!(server.address, address);
    assert_eq!(server.request("GET", "/healthz", None, &json!({})).0, 200);
    drop(waiting);
}
