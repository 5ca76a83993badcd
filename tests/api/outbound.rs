//! Requests to servers that others name: which addresses are used, certificates, hostile answers.

use std::io::{self, Write};
use std::net::{IpAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use accounts_server::outbound::{
    Answer, BodyEnd, Client, ClientLimits, ClientOptions, EndpointUrl, FailureKind, OutboundError,
    OutboundRequest, Resolver, Step,
};
use async_trait::async_trait;
use bytes::Bytes;
use rcgen::date_time_ymd;
use tokio::runtime::Runtime;

use crate::receiver::{Exchange, Receiver, certificate};

/// The limit of tests that wait for it.
const SHORT: Duration = Duration::from_millis(300);

/// The limit of all others, long enough for a busy machine.
const LONG: Duration = Duration::from_mins(1);

/// Answers lookups in turn; the last answer stays.
struct FakeResolver {
    answers: Mutex<Vec<Vec<IpAddr>>>,
    lookups: AtomicUsize,
}

impl FakeResolver {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |list: &&[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect();
        Arc::new(Self {
            answers: Mutex::new(answers.iter().map(parse).collect()),
            lookups: AtomicUsize::new(0),
        })
    }

    fn lookups(&self) -> usize {
        self.lookups.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Resolver for FakeResolver {
    async fn resolve(&self, _name: &str) -> io::Result<Vec<IpAddr>> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        Ok(match answers.len() {
            1 => answers[0].clone(),
            _ => answers.remove(0),
        })
    }
}

/// A client with a runtime of its own.
struct Sender {
    client: Client,
    runtime: Runtime,
}

impl Sender {
    fn new(options: ClientOptions) -> Self {
        Self {
            client: Client::new(options).unwrap(),
            runtime: Runtime::new().unwrap(),
        }
    }

    /// A client that may connect to loopback addresses, and takes at most this long.
    fn local(time: Duration) -> Self {
        Self::new(ClientOptions {
            limits: ClientLimits {
                time,
                ..ClientLimits::default()
            },
            ..local()
        })
    }

    fn send(&self, request: &OutboundRequest) -> Result<Answer, OutboundError> {
        self.runtime.block_on(self.client.send(request))
    }

    fn get(&self, url: &str) -> Result<Answer, OutboundError> {
        self.send(&OutboundRequest::get(EndpointUrl::parse(url).unwrap()))
    }

    fn check(&self, url: &str) -> Result<(), OutboundError> {
        let url = EndpointUrl::parse(url).unwrap();
        self.runtime.block_on(self.client.check(&url))
    }
}

fn local() -> ClientOptions {
    ClientOptions {
        allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
        ..ClientOptions::default()
    }
}

/// The answer of a server that does as a script says, and the end of its body.
fn answer_of(script: impl Fn(&mut Exchange<'_>) + Send + Sync + 'static) -> (u16, usize, BodyEnd) {
    summary(&outcome_within(LONG, script).unwrap())
}

/// The failure of a request to a server that does as a script says.
fn failure_of(script: impl Fn(&mut Exchange<'_>) + Send + Sync + 'static) -> OutboundError {
    outcome_within(LONG, script).unwrap_err()
}

fn outcome_within(
    limit: Duration,
    script: impl Fn(&mut Exchange<'_>) + Send + Sync + 'static,
) -> Result<Answer, OutboundError> {
    let receiver = Receiver::start(script);
    Sender::local(limit).get(&receiver.url("/"))
}

fn summary(answer: &Answer) -> (u16, usize, BodyEnd) {
    (answer.status(), answer.body().len(), answer.body_end())
}

#[test]
fn request_arrives_as_it_was_made() {
    let receiver = Receiver::start(|exchange| {
        exchange.write("HTTP/1.1 418 Short\r\nX-Kind: pot\r\nContent-Length: 3\r\n\r\ntea");
    });
    let url = EndpointUrl::parse(&receiver.url("/a/../hook?x=1")).unwrap();
    let body = Bytes::from_static(b"{}");
    let request =
        OutboundRequest::post(url, "application/json", body).header("webhook-id", "msg_1");
    let answer = Sender::new(local()).send(&request).unwrap();
    assert_eq!(answer.status(), 418);
    assert_eq!(answer.header("x-kind"), Some("pot"));
    assert_eq!(&answer.body()[..], b"tea");
    assert_eq!(answer.body_end(), BodyEnd::Complete);
    let [received] = &receiver.received()[..] else {
        panic!()
    };
    let mut lines: Vec<&str> = received.head.split("\r\n").collect();
    lines.sort_unstable();
    let agent = format!("user-agent: accounts-server/{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        lines,
        [
            "POST /hook?x=1 HTTP/1.1",
            "content-length: 2",
            "content-type: application/json",
            &format!("host: {}", receiver.address()),
            &agent,
            "webhook-id: msg_1",
        ]
    );
    assert_eq!(received.body, b"{}");
}

#[test]
fn special_addresses_are_refused_in_every_form() {
    let receiver = Receiver::accepting();
    let port = receiver.port();
    let sender = Sender::new(ClientOptions::default());
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7F.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "①②⑦.⓪.⓪.①",
        "0.0.0.0",
        "0",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b:1::127.0.0.1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[fe80::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "169.254.169.254",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
    ] {
        for scheme in ["https", "http"] {
            let url = format!("{scheme}://{host}:{port}/");
            for outcome in [sender.get(&url).map(|_| ()), sender.check(&url)] {
                let error = outcome.unwrap_err();
                assert!(
                    matches!(error, OutboundError::NotPublic { .. }),
                    "{url}: {error}"
                );
                assert_eq!(error.kind(), FailureKind::Unreachable);
            }
        }
    }
    // Names of this machine, by the resolver of the system.
    for url in [
        format!("https://localhost:{port}/"),
        format!("https://LOCALHOST.:{port}/"),
    ] {
        let error = sender.get(&url).unwrap_err();
        assert_eq!(error.kind(), FailureKind::Unreachable, "{url}: {error}");
    }
    assert_eq!(receiver.connections(), 0);
}

#[test]
fn name_with_one_special_address_is_refused() {
    for addresses in [
        &["127.0.0.1"][..],
        &["8.8.8.8", "10.0.0.1"],
        &["2606:4700::1111", "::1"],
        &["8.8.8.8", "::ffff:10.0.0.1"],
        &["169.254.169.254", "8.8.8.8"],
    ] {
        let resolver = FakeResolver::new(&[addresses]);
        let sender = Sender::new(ClientOptions {
            resolver: Arc::clone(&resolver) as Arc<dyn Resolver>,
            ..ClientOptions::default()
        });
        let error = sender.get("https://hooks.example/").unwrap_err();
        let is_refused = matches!(error, OutboundError::NotPublic { .. });
        assert!(is_refused, "{addresses:?}: {error}");
        assert_eq!(resolver.lookups(), 1);
    }
    let sender = Sender::new(ClientOptions {
        resolver: FakeResolver::new(&[&[]]),
        ..ClientOptions::default()
    });
    let error = sender.get("https://hooks.example/").unwrap_err();
    assert_eq!(error.kind(), FailureKind::Unreachable);
}

#[test]
fn plain_http_is_for_allowed_networks_only() {
    let sender = Sender::new(ClientOptions {
        resolver: FakeResolver::new(&[&["8.8.8.8"]]),
        ..local()
    });
    let error = sender.get("http://hooks.example/").unwrap_err();
    assert!(matches!(error, OutboundError::NotEncrypted(_)), "{error}");
    assert_eq!(error.kind(), FailureKind::Unreachable);
    sender.check("https://hooks.example/").unwrap();
    // One address in an allowed network does not make the others so.
    let sender = Sender::new(ClientOptions {
        resolver: FakeResolver::new(&[&["127.0.0.1", "8.8.8.8"]]),
        ..local()
    });
    let error = sender.get("http://hooks.example/").unwrap_err();
    assert!(matches!(error, OutboundError::NotEncrypted(_)), "{error}");
}

#[test]
fn rebinding_a_name_leads_nowhere() {
    // Only 127.0.0.2 is allowed; the name points to 127.0.0.1 once it has been checked.
    let allowed = Receiver::start_at("127.0.0.2".parse().unwrap(), None, |exchange| {
        exchange.answer("200 OK", "");
        exchange.close();
    });
    let resolver = FakeResolver::new(&[&["127.0.0.2"], &["127.0.0.1"]]);
    let sender = Sender::new(ClientOptions {
        allow_networks: vec!["127.0.0.2/32".parse().unwrap()],
        resolver: Arc::clone(&resolver) as Arc<dyn Resolver>,
        ..ClientOptions::default()
    });
    let url = format!("http://hooks.example:{}/", allowed.port());
    assert_eq!(sender.get(&url).unwrap().status(), 200);
    assert_eq!(resolver.lookups(), 1);
    let expected = format!("hooks.example:{}", allowed.port());
    assert_eq!(allowed.received()[0].header("host"), Some(&*expected));
    let error = sender.get(&url).unwrap_err();
    assert!(matches!(error, OutboundError::NotPublic { .. }), "{error}");
    assert_eq!(allowed.connections(), 1);
}

#[test]
fn next_address_is_tried_when_one_refuses() {
    let receiver = Receiver::accepting();
    let sender = Sender::new(ClientOptions {
        resolver: FakeResolver::new(&[&["127.0.0.3", "127.0.0.1"]]),
        ..local()
    });
    let url = format!("http://hooks.example:{}/", receiver.port());
    assert_eq!(sender.get(&url).unwrap().status(), 204);
}

#[test]
fn redirects_are_not_followed() {
    let target = Receiver::accepting();
    let location = target.url("/");
    for status in ["301", "302", "303", "307", "308"] {
        let head = format!("HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\n");
        let (answered, _, _) = answer_of(move |exchange| {
            exchange.write(format!("{head}Content-Length: 0\r\n\r\n"));
        });
        assert_eq!(answered.to_string(), status);
    }
    assert_eq!(target.connections(), 0);
}

/// A client that trusts a certificate, and looks every name up as loopback.
fn trusting(certificate: &str) -> (Sender, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, certificate).unwrap();
    let sender = Sender::new(ClientOptions {
        ca_file: Some(file),
        resolver: FakeResolver::new(&[&["127.0.0.1"]]),
        ..local()
    });
    (sender, dir)
}

#[test]
fn encrypted_requests_name_the_host() {
    let (pem, tls) = certificate(&["hooks.example"], |_| {});
    let receiver = Receiver::start_encrypted(tls, |exchange| exchange.answer("200 OK", "ok"));
    let (sender, _dir) = trusting(&pem);
    let url = format!("https://hooks.example:{}/", receiver.port());
    assert_eq!(sender.get(&url).unwrap().status(), 200);
    assert_eq!(sender.get(&url).unwrap().status(), 200);
    let received = receiver.received();
    assert_eq!(received[1].sni.as_deref(), Some("hooks.example"));
    assert_eq!(received[1].connection, 1);
    let expected = format!("hooks.example:{}", receiver.port());
    assert_eq!(received[1].header("host"), Some(&*expected));
}

#[test]
fn bad_certificates_are_refused() {
    let (pem, tls) = certificate(&["hooks.example"], |_| {});
    let (expired_pem, expired) = certificate(&["hooks.example"], |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let (_, unknown) = certificate(&["hooks.example"], |_| {});
    for (what, trusted, tls, host) in [
        ("unknown", &pem, unknown, "hooks.example"),
        ("for another name", &pem, Arc::clone(&tls), "other.example"),
        ("for a name, not an address", &pem, tls, "127.0.0.1"),
        ("expired", &expired_pem, expired, "hooks.example"),
    ] {
        let receiver = Receiver::start_encrypted(tls, |exchange| exchange.answer("200 OK", ""));
        let (sender, _dir) = trusting(trusted);
        let url = format!("https://{host}:{}/", receiver.port());
        let error = sender.get(&url).unwrap_err();
        assert!(
            matches!(error, OutboundError::Certificate(_)),
            "{what}: {error}"
        );
        assert_eq!(error.kind(), FailureKind::Tls);
        assert!(receiver.received().is_empty(), "{what}");
    }
    // Nor is an answer in plain text taken for one.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let (sender, _dir) = trusting(&pem);
    let url = format!(
        "https://hooks.example:{}/",
        plain.local_addr().unwrap().port()
    );
    let answering = thread::spawn(move || {
        let (mut stream, _) = plain.accept().unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        stream
    });
    assert_eq!(sender.get(&url).unwrap_err().kind(), FailureKind::Tls);
    answering.join().unwrap();
}

#[test]
fn slow_servers_are_given_up() {
    let error = outcome_within(SHORT, |exchange| {
        exchange.hang();
    })
    .unwrap_err();
    let is_late = matches!(
        error,
        OutboundError::Timeout {
            step: Step::Answer,
            ..
        }
    );
    assert!(is_late, "{error}");
    // Neither headers nor interim answers that go on for ever extend the time.
    for endless in ["HTTP/1.1 200 OK\r\nX: ", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let outcome = outcome_within(SHORT, move |exchange| {
            exchange.write(endless);
            if endless.ends_with("\r\n\r\n") {
                exchange.drip(endless);
            } else {
                exchange.drip("x");
            }
        });
        assert_eq!(outcome.unwrap_err().kind(), FailureKind::Timeout);
    }
    // A server that accepts and says nothing in TLS.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", silent.local_addr().unwrap());
    let error = Sender::local(SHORT).get(&url).unwrap_err();
    let is_late = matches!(
        error,
        OutboundError::Timeout {
            step: Step::Connect,
            ..
        }
    );
    assert!(is_late, "{error}");
    // The status is known; the rest of the body is not waited for.
    let answer = outcome_within(Duration::from_secs(2), |exchange| {
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        exchange.drip("x");
    });
    let (status, _, end) = summary(&answer.unwrap());
    assert_eq!((status, end), (200, BodyEnd::TimedOut));
}

#[test]
fn bodies_are_read_up_to_the_limit() {
    const LIMIT: usize = 64 * 1024;
    let part = "x".repeat(LIMIT);
    for (head, count, end) in [
        ("Content-Length: 65536", 1, BodyEnd::Complete),
        ("Content-Length: 65537", 2, BodyEnd::TooLong),
        ("Content-Length: 10485760", 160, BodyEnd::TooLong),
        ("Connection: close", 160, BodyEnd::TooLong),
    ] {
        let part = part.clone();
        let answer = answer_of(move |exchange| {
            exchange.write(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n"));
            for _ in 0..count {
                if !exchange.write(&part) {
                    break;
                }
            }
            if head == "Connection: close" {
                exchange.close();
            }
        });
        assert_eq!(answer, (200, LIMIT, end), "{head}");
    }
    let answer = answer_of(|exchange| {
        exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while exchange.write("1000\r\n") && exchange.write("x".repeat(0x1000) + "\r\n") {}
    });
    assert_eq!(answer, (200, LIMIT, BodyEnd::TooLong));
}

#[test]
fn broken_bodies_keep_the_status() {
    for (name, rest) in [
        ("cut off", "Content-Length: 10\r\n\r\nabc"),
        (
            "cut off chunk",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
        ),
        (
            "cut off end",
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        ),
        ("no number", "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc"),
        ("negative", "Transfer-Encoding: chunked\r\n\r\n-1\r\nabc"),
        (
            "overflow",
            "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc",
        ),
        (
            "no end of chunk",
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
        ),
    ] {
        let (status, length, end) = answer_of(move |exchange| {
            exchange.write(format!("HTTP/1.1 200 OK\r\n{rest}"));
            exchange.close();
        });
        assert_eq!((status, end), (200, BodyEnd::Broken), "{name}");
        assert!(length <= 3, "{name}");
    }
    // Extensions and trailers without an end.
    for start in ["3;", "0\r\nx: "] {
        let (status, _, end) = answer_of(move |exchange| {
            exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            exchange.write(start);
            while exchange.write("x".repeat(4096)) {}
        });
        assert_eq!((status, end), (200, BodyEnd::Broken), "{start}");
    }
}

#[test]
fn what_is_not_http_is_an_error() {
    let many = "A: b\r\n".repeat(150);
    let huge = format!("A: {}\r\n", "b".repeat(20_000));
    for head in [
        "SSH-2.0-OpenSSH_9.9\r\n".to_owned(),
        "<html>hello</html>\r\n\r\n".to_owned(),
        "HTTP/1.1 20 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nNo colon\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\na".to_owned(),
        "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n".to_owned(),
        "HTTP/2 200\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\n{many}\r\n"),
        format!("HTTP/1.1 200 OK\r\n{huge}\r\n"),
    ] {
        let start: String = head.chars().take(60).collect();
        let error = failure_of(move |exchange| {
            exchange.write(&head);
            exchange.close();
        });
        assert_eq!(error.kind(), FailureKind::Protocol, "{start}: {error}");
    }
    let error = failure_of(|exchange| {
        exchange.close();
    });
    assert!(matches!(error, OutboundError::Closed), "{error}");
    // A length beside chunks does not count (RFC 9112, section 6.3).
    let both = "Content-Length: 100\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let answer = answer_of(move |exchange| {
        exchange.write(format!("HTTP/1.1 200 OK\r\n{both}"));
    });
    assert_eq!(answer, (200, 3, BodyEnd::Complete));
}

#[test]
fn answer_sent_ahead_is_not_that_of_the_next_request() {
    let receiver = Receiver::start(|exchange| {
        let body = exchange.count.to_string();
        exchange.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{body}\
             HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
        ));
    });
    let sender = Sender::new(local());
    for number in ["1", "2", "3"] {
        let answer = sender.get(&receiver.url("/")).unwrap();
        assert_eq!(&answer.body()[..], number.as_bytes());
    }
}

#[test]
fn connections_are_reused_and_replaced() {
    let receiver = Receiver::start(|exchange| {
        exchange.answer("200 OK", "ok");
        if exchange.count == 3 {
            exchange.close();
        }
    });
    let sender = Sender::new(local());
    for _ in 0..5 {
        assert_eq!(sender.get(&receiver.url("/")).unwrap().status(), 200);
    }
    let connections: Vec<usize> = receiver.received().iter().map(|r| r.connection).collect();
    assert_eq!(connections, [1, 1, 1, 2, 2]);
}

#[test]
fn request_is_repeated_only_where_that_is_allowed() {
    // The second request on a connection gets no answer, as from a server that has just closed it.
    let closing = || {
        let seen = Mutex::new(Vec::new());
        Receiver::start(move |exchange| {
            let mut seen = seen.lock().unwrap();
            let is_second = seen.contains(&exchange.received.connection);
            seen.push(exchange.received.connection);
            match is_second {
                true => exchange.close(),
                false => exchange.answer("200 OK", "ok"),
            }
        })
    };
    let post = |receiver: &Receiver| {
        let url = EndpointUrl::parse(&receiver.url("/")).unwrap();
        OutboundRequest::post(url, "text/plain", Bytes::from_static(b"x"))
    };
    let sender = Sender::new(local());
    let receiver = closing();
    sender.send(&post(&receiver)).unwrap();
    let error = sender.send(&post(&receiver)).unwrap_err();
    assert!(matches!(error, OutboundError::Closed), "{error}");
    assert_eq!(receiver.received().len(), 2);

    let receiver = closing();
    sender.send(&post(&receiver).repeatable()).unwrap();
    let answer = sender.send(&post(&receiver).repeatable()).unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(receiver.received().len(), 3);
    assert_eq!(receiver.connections(), 2);
}

#[test]
fn unusable_ca_file_is_named() {
    let options = ClientOptions {
        ca_file: Some("missing.pem".into()),
        ..ClientOptions::default()
    };
    let error = Client::new(options).err().unwrap().to_string();
    assert!(
        error.starts_with("cannot read certificates from missing.pem"),
        "{error}"
    );
}
