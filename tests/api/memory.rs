//! Budgets in bytes for request bodies and unsent answers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::support::TestServer;

const OVERLOADED: &str = r#"{"detail":"Service temporarily unavailable, try again later."}"#;

/// A server that lets each network hold 1 MiB, and all together 3 MiB.
fn server() -> TestServer {
    TestServer::start_with(|config| {
        config.server.max_buffered_mib = 3;
        config.server.max_buffered_mib_per_network = 1;
        config.server.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
}

/// Sends the head of a sign-up of a mebibyte from this address, and this much of its body.
fn begin_body(server: &TestServer, from: &str, sent: usize) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let head = format!(
        "POST /api/v1/accounts/users/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         X-Forwarded-For: {from}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        1024 * 1024
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&vec![b' '; sent]).unwrap();
    stream
}

/// The status and body of the answer.
fn finish(mut stream: TcpStream, rest: usize) -> (String, String) {
    stream.write_all(&vec![b' '; rest]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    (status.to_owned(), body.to_owned())
}

/// Waits until this is true of the bytes that the server holds.
fn wait_for(server: &TestServer, is_reached: impl Fn(usize) -> bool) {
    for _ in 0..3000 {
        if is_reached(server.buffered_bytes()) {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("the server holds {} bytes", server.buffered_bytes());
}

#[test]
fn unfinished_bodies_exhaust_only_their_network() {
    const SENT: usize = 700 * 1024;
    const REST: usize = 1024 * 1024 - SENT;
    let server = server();
    let first = begin_body(&server, "203.0.113.7", SENT);
    wait_for(&server, |held| held >= SENT);
    let (status, body) = finish(begin_body(&server, "203.0.113.7", SENT), REST);
    assert_eq!((&*status, &*body), ("503", OVERLOADED));
    // Another network is served meanwhile, and the first body may still be finished.
    let (status, _) = finish(begin_body(&server, "203.0.113.8", SENT), REST);
    assert_eq!(status, "400");
    assert_eq!(finish(first, REST).0, "400");
    wait_for(&server, |held| held == 0);
    let (status, _) = finish(begin_body(&server, "203.0.113.7", SENT), REST);
    assert_eq!(status, "400");
}

#[test]
fn unread_answers_are_bounded() {
    let server = server();
    Runtime::new().unwrap().block_on(async {
        let stream = tokio::net::TcpStream::connect(server.address())
            .await
            .unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut unread = Vec::new();
        let mut statuses = Vec::new();
        for _ in 0..60 {
            let request = http::Request::get("http://localhost/api/schema/")
                .header("x-forwarded-for", "203.0.113.7")
                .body(())
                .unwrap();
            sender = sender.ready().await.unwrap();
            let (answer, _) = sender.send_request(request, true).unwrap();
            let answer = answer.await.unwrap();
            statuses.push(answer.status().as_u16());
            // The client never gives capacity back for what it does not read.
            unread.push(answer.into_body());
        }
        let served = statuses.iter().filter(|status| **status == 200).count();
        assert!(served > 1, "{statuses:?}");
        assert_eq!(statuses.last(), Some(&503), "{statuses:?}");
        let held = server.buffered_bytes();
        assert!(held <= 1024 * 1024, "{held}");
    });
    wait_for(&server, |held| held == 0);
}
