//! Slow and idle connections are closed, and other clients are served meanwhile.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::support::TestServer;

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
const WELL: &str = r#"{"status":"ok"}"#;

/// A connection that is ready to use.
fn connect(server: &TestServer) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_mins(1)))
        .unwrap();
    stream
}

/// Raises the limit of open files: each connection takes two, one at either end.
fn allow_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// Sends a request on a keep-alive connection, and reads the response.
#[track_caller]
fn ask(stream: &mut TcpStream) {
    stream.write_all(HEALTH).unwrap();
    read_answer(stream);
}

/// Reads one response of `/healthz`.
#[track_caller]
fn read_answer(stream: &mut TcpStream) {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(WELL.as_bytes()) {
        assert_eq!(
            stream.read(&mut byte).unwrap(),
            1,
            "{}",
            String::from_utf8_lossy(&answer)
        );
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
}

/// Reads until the server closes the connection; a reset counts as a close.
fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(e) => assert_eq!(e.kind(), ErrorKind::ConnectionReset, "{e}"),
    }
    String::from_utf8(answer).unwrap()
}

/// Asserts that a new client is served.
#[track_caller]
fn assert_serves(server: &TestServer) {
    let answer =
        server.raw("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(answer.ends_with(WELL), "{answer}");
}

fn ended(reason: &str) -> String {
    format!("accounts_connections_ended_total{{reason=\"{reason}\"}}")
}

#[test]
fn idle_connections_block_nobody() {
    allow_files();
    let server = TestServer::start_with(|config| config.server.max_connections = 200);
    let mut idle: Vec<TcpStream> = (0..1000).map(|_| connect(&server)).collect();
    assert_serves(&server);
    // Only the connections that were idle for longest were evicted.
    for stream in &mut idle[..700] {
        assert_eq!(rest(stream), "");
    }
    for stream in &mut idle[900..] {
        ask(stream);
    }
    assert!(server.metric(&ended("evicted")) >= 800);
    assert_eq!(server.metric(&ended("refused")), 0);
}

#[test]
fn connections_in_use_are_not_evicted() {
    allow_files();
    let server = TestServer::start_with(|config| config.server.max_connections = 100);
    let silent: Vec<TcpStream> = (0..50).map(|_| connect(&server)).collect();
    let mut used = connect(&server);
    // The idle connections came first, but count as older than the one in use only after a tick.
    server.wait_for_metric("accounts_connections ", 52);
    for _ in 0..300 {
        ask(&mut used);
        drop(connect(&server));
    }
    ask(&mut used);
    drop(silent);
}

#[test]
fn slow_headers_block_nobody() {
    let server = TestServer::start_with(|config| {
        config.server.max_connections = 50;
        config.server.header_timeout_seconds = 1;
    });
    let mut slow: Vec<TcpStream> = (0..200).map(|_| connect(&server)).collect();
    for stream in &mut slow {
        // Connections that were evicted already may be reset while they send.
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-a: b\r\n");
    }
    assert_serves(&server);
    let last = slow.last_mut().unwrap();
    let answer = rest(last);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(
        answer.ends_with(r#"{"detail":"The request did not arrive in time."}"#),
        "{answer}"
    );
    assert!(server.metric(&ended("slow_header")) >= 1);
    assert!(server.metric(&ended("evicted")) >= 150);
}

#[test]
fn slow_bodies_block_nobody() {
    let server = TestServer::start_with(|config| {
        config.server.max_connections = 50;
        config.server.body_pause_seconds = 1;
    });
    let head = "POST /api/v1/accounts/token/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Content-Length: 1000\r\n\r\n{";
    let mut slow: Vec<TcpStream> = (0..200).map(|_| connect(&server)).collect();
    for stream in &mut slow {
        let _ = stream.write_all(head.as_bytes());
    }
    assert_serves(&server);
    let answer = rest(slow.last_mut().unwrap());
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(
        answer.ends_with(r#"{"detail":"The request body did not arrive in time."}"#),
        "{answer}"
    );
}

#[test]
fn trickling_body_times_out() {
    let server = TestServer::start_with(|config| {
        config.server.body_pause_seconds = 60;
        config.server.body_timeout_seconds = 1;
    });
    let mut stream = connect(&server);
    stream
        .write_all(
            b"POST /api/v1/accounts/token/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n",
        )
        .unwrap();
    let mut reader = stream.try_clone().unwrap();
    let answer = std::thread::spawn(move || rest(&mut reader));
    // One byte at a time, until the server stops reading.
    for _ in 0..600 {
        if answer.is_finished() || stream.write_all(b" ").is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let answer = answer.join().unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[test]
fn unread_answer_times_out() {
    let server = TestServer::start_with(|config| config.server.send_timeout_seconds = 1);
    let mut stream = connect(&server);
    stream
        .set_write_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    // Pipelined requests, until the responses fill all buffers between server and client.
    while stream.write_all(&HEALTH.repeat(100)).is_ok() {}
    assert_serves(&server);
    server.wait_for_metric(&ended("slow_reader"), 1);
}

#[test]
fn idle_connection_is_closed_silently() {
    let server = TestServer::start_with(|config| {
        config.server.keep_alive_seconds = 1;
        config.server.header_timeout_seconds = 1;
    });
    let mut unused = connect(&server);
    let mut used = connect(&server);
    ask(&mut used);
    assert_eq!(rest(&mut used), "");
    assert_eq!(rest(&mut unused), "");
    assert_eq!(server.metric(&ended("idle")), 1);
    assert_eq!(server.metric(&ended("no_request")), 1);
}

#[test]
fn parked_connection_serves_again() {
    allow_files();
    let server = TestServer::start();
    // Enough connections that most are parked as soon as they are idle.
    let mut streams: Vec<TcpStream> = (0..600).map(|_| connect(&server)).collect();
    for _ in 0..3 {
        for stream in &mut streams {
            ask(stream);
        }
    }
    for stream in &mut streams {
        stream.write_all(&HEALTH.repeat(3)).unwrap();
    }
    for stream in &mut streams {
        for _ in 0..3 {
            read_answer(stream);
        }
    }
    // A request in pieces, each of which wakes the server.
    let stream = &mut streams[0];
    for byte in HEALTH {
        stream.write_all(&[*byte]).unwrap();
    }
    read_answer(stream);
}

#[test]
fn header_size_is_limited() {
    let server = TestServer::start();
    let request = |fields: &str| {
        format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n")
    };
    let long = |length: usize| request(&format!("X-Long: {}\r\n", "a".repeat(length)));
    let many = |count: usize| request(&"X-Many: a\r\n".repeat(count));
    for accepted in [long(15_000), many(90)] {
        let answer = server.raw(&accepted);
        assert!(answer.ends_with(WELL), "{answer}");
    }
    for refused in [long(17_000), long(200_000), many(101)] {
        let answer = server.raw(&refused);
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    assert_serves(&server);
}
