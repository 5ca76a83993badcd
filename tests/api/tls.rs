//! TLS without a proxy, HTTP/2, and certificate reload.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use accounts_server::Server;
use accounts_server::clock::ManualClock;
use accounts_server::config::Config;
use accounts_server::domain::Timestamp;
use bytes::Bytes;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned, version,
};

use crate::support::{START, TestServer};

const REQUEST: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const WELL: &str = r#"{"status":"ok"}"#;

/// A certificate for `localhost` and its key, both in PEM.
fn certificate(change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    change(&mut params);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// Writes a certificate and its key to the configured files; returns the certificate.
fn put(dir: &Path) -> String {
    let (cert, key) = certificate(|_| {});
    std::fs::write(dir.join("cert.pem"), &cert).unwrap();
    std::fs::write(dir.join("key.pem"), key).unwrap();
    cert
}

fn name_files(config: &mut Config, dir: &Path) {
    config.tls.cert = Some(dir.join("cert.pem"));
    config.tls.key = Some(dir.join("key.pem"));
}

/// A server with a certificate, and that certificate.
fn start(change: impl FnOnce(&mut Config)) -> (TestServer, tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let cert = put(dir.path());
    let server = TestServer::start_with(|config| {
        name_files(config, dir.path());
        change(config);
    });
    (server, dir, cert)
}

/// The configuration of a client that trusts one certificate.
fn trust(cert: &str, protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(cert.as_bytes()).unwrap())
        .unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(
        tokio_rustls::rustls::crypto::ring::default_provider(),
    ))
    .with_protocol_versions(&[&version::TLS13, &version::TLS12])
    .unwrap()
    .with_root_certificates(roots)
    .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

type Encrypted = StreamOwned<ClientConnection, TcpStream>;

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

fn connect(server: &TestServer, config: Arc<ClientConfig>) -> std::io::Result<Encrypted> {
    let stream = TcpStream::connect(server.address())?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    let connection = ClientConnection::new(config, localhost()).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    // The first write or read performs the handshake.
    stream.flush()?;
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

fn ask(stream: &mut Encrypted) -> String {
    stream.write_all(REQUEST.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn requests_work_over_tls() {
    let (server, _dir, cert) = start(|_| {});
    let mut stream = connect(&server, trust(&cert, &[])).unwrap();
    assert_eq!(
        stream.conn.protocol_version(),
        Some(ProtocolVersion::TLSv1_3)
    );
    let answer = ask(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with(WELL), "{answer}");
    // Another certificate is not trusted, so the server really presents this one.
    let (other, _) = certificate(|_| {});
    assert!(connect(&server, trust(&other, &[])).is_err());
}

#[test]
fn request_sent_with_the_handshake_is_answered() {
    let (server, _dir, cert) = start(|_| {});
    let mut socket = TcpStream::connect(server.address()).unwrap();
    let mut tls = ClientConnection::new(trust(&cert, &[]), localhost()).unwrap();
    while tls.is_handshaking() {
        while tls.wants_write() && tls.is_handshaking() {
            tls.write_tls(&mut socket).unwrap();
        }
        tls.read_tls(&mut socket).unwrap();
        tls.process_new_packets().unwrap();
    }
    // The client's last handshake message is not sent yet; the request is sent together with it.
    assert!(tls.wants_write());
    tls.writer().write_all(REQUEST.as_bytes()).unwrap();
    let mut together = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut together).unwrap();
    }
    socket.write_all(&together).unwrap();
    let mut answer = String::new();
    StreamOwned::new(tls, socket)
        .read_to_string(&mut answer)
        .unwrap();
    assert!(answer.ends_with(WELL), "{answer}");
}

#[test]
fn links_use_https() {
    let (server, _dir, cert) = start(|config| config.server.public_url = None);
    let mut stream = connect(&server, trust(&cert, &[])).unwrap();
    let query = "GET /api/v1/accounts/users/?page_size=1 HTTP/1.1\r\n";
    assert!(server.url().starts_with("https://127.0.0.1:"));
    assert_eq!(server.public_url(), server.url());
    stream
        .write_all(format!("{query}Host: localhost\r\nConnection: close\r\n\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

#[test]
fn plain_http_on_a_tls_port_is_400() {
    let (server, _dir, _) = start(|_| {});
    let answer = server.raw(REQUEST);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("https://"), "{answer}");
}

#[test]
fn handshake_times_out() {
    let (server, _dir, cert) = start(|config| config.server.header_timeout_seconds = 1);
    let mut silent = TcpStream::connect(server.address()).unwrap();
    let mut slow = TcpStream::connect(server.address()).unwrap();
    // The first bytes of a handshake that does not continue.
    slow.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
    let mut quiet = connect(&server, trust(&cert, &[])).unwrap();
    for stream in [&mut silent, &mut slow] {
        stream
            .set_read_timeout(Some(Duration::from_mins(1)))
            .unwrap();
        assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0);
    }
    // The header timeout also applies after the handshake.
    let _ = quiet.read_to_end(&mut Vec::new());
}

#[test]
fn certificate_reload_keeps_open_connections() {
    let (server, dir, old) = start(|_| {});
    let mut open = connect(&server, trust(&old, &[])).unwrap();
    // A certificate whose key is not yet replaced changes nothing, whenever the server checks.
    let other = tempfile::tempdir().unwrap();
    let new = put(other.path());
    let [cert, key] =
        ["cert.pem", "key.pem"].map(|name| (other.path().join(name), dir.path().join(name)));
    std::fs::write(&key.1, "no key").unwrap();
    std::fs::copy(&cert.0, &cert.1).unwrap();
    let refused = server.reload(|_| {}).unwrap_err().to_string();
    assert!(refused.contains("[tls] key"), "{refused}");
    assert!(connect(&server, trust(&old, &[])).is_ok());
    std::fs::copy(&key.0, &key.1).unwrap();
    // The server detects the new key by itself.
    let found = (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        connect(&server, trust(&new, &[])).is_ok()
    });
    assert!(found);
    assert!(connect(&server, trust(&old, &[])).is_err());
    assert!(ask(&mut open).ends_with(WELL));
}

#[test]
fn reload_uses_new_certificate_paths() {
    let (server, _dir, old) = start(|_| {});
    let other = tempfile::tempdir().unwrap();
    let new = put(other.path());
    let reloaded = server
        .reload(|config| name_files(config, other.path()))
        .unwrap();
    assert_eq!(reloaded.changed, ["tls.cert", "tls.key"]);
    assert!(connect(&server, trust(&new, &[])).is_ok());
    assert!(connect(&server, trust(&old, &[])).is_err());
    // Switching TLS on or off takes effect only at a restart.
    let reloaded = server
        .reload(|config| {
            config.tls.cert = None;
            config.tls.key = None;
        })
        .unwrap();
    assert_eq!(reloaded.need_restart, ["tls.cert", "tls.key"]);
    assert!(connect(&server, trust(&new, &[])).is_ok());
}

/// The error of a server that does not start with this certificate and key.
fn refusal(cert: Option<&str>, key: Option<&str>) -> String {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [("cert.pem", cert), ("key.pem", key)] {
        if let Some(text) = text {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
    }
    let mut config = Config::defaults(true);
    config.server.listen = "127.0.0.1:0".parse().unwrap();
    config.database.path = ":memory:".into();
    name_files(&mut config, dir.path());
    let clock = Arc::new(ManualClock::at(Timestamp::from_unix_millis(START)));
    let started = Runtime::new()
        .unwrap()
        .block_on(Server::start_with_clock(config, clock));
    match started {
        Ok(_) => panic!("it starts"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn certificate_errors_are_reported_at_the_start() {
    let (cert, key) = certificate(|_| {});
    let (_, other_key) = certificate(|_| {});
    let (ended, ended_key) = certificate(|params| params.not_after = date_time_ymd(2024, 12, 1));
    let (future, future_key) =
        certificate(|params| params.not_before = date_time_ymd(2024, 12, 24));
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let (cert, key) = (Some(&*cert), Some(&*key));
    for (cert, key, texts) in [
        (None, key, ["[tls] cert", "cert.pem", "No such file"]),
        (cert, None, ["[tls] key", "key.pem", "No such file"]),
        (
            Some("text"),
            key,
            ["[tls] cert", "cert.pem", "BEGIN CERTIFICATE"],
        ),
        (
            cert,
            Some("text"),
            ["[tls] key", "key.pem", "BEGIN PRIVATE KEY"],
        ),
        (
            cert,
            Some(locked),
            ["[tls] key", "passphrase", "openssl pkey"],
        ),
        (
            cert,
            Some(&*other_key),
            ["[tls] key", "does not belong", "cert.pem"],
        ),
        (
            Some(&*ended),
            Some(&*ended_key),
            ["[tls] cert", "ended on 2024-12-01", "renew"],
        ),
        (
            Some(&*future),
            Some(&*future_key),
            ["[tls] cert", "begins only on 2024-12-24", "clock"],
        ),
    ] {
        let said = refusal(cert, key);
        for text in texts {
            assert!(said.contains(text), "{text:?} is missing: {said}");
        }
    }
}

/// Runs a client with an HTTP/2 connection over TLS, in its own runtime.
fn http2<T>(
    server: &TestServer,
    cert: &str,
    action: impl AsyncFnOnce(
        h2::client::SendRequest<Bytes>,
        tokio::task::JoinHandle<Result<(), h2::Error>>,
    ) -> T,
) -> T {
    Runtime::new().unwrap().block_on(async {
        let stream = tokio::net::TcpStream::connect(server.address())
            .await
            .unwrap();
        let stream = TlsConnector::from(trust(cert, &[b"h2"]))
            .connect(localhost(), stream)
            .await
            .unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        action(sender, connection).await
    })
}

fn get(path: &str) -> http::Request<()> {
    http::Request::get(format!("https://localhost{path}"))
        .body(())
        .unwrap()
}

async fn whole(answer: h2::client::ResponseFuture) -> (u16, String) {
    let answer = answer.await.unwrap();
    let status = answer.status().as_u16();
    let mut body = answer.into_body();
    let mut text = Vec::new();
    while let Some(part) = body.data().await {
        let part = part.unwrap();
        body.flow_control().release_capacity(part.len()).unwrap();
        text.extend_from_slice(&part);
    }
    (status, String::from_utf8(text).unwrap())
}

#[test]
fn http_2_serves_concurrent_streams() {
    let (server, _dir, cert) = start(|_| {});
    http2(&server, &cert, async |sender, _connection| {
        // The server announces its limit of concurrent streams before its first response, and the
        // client obeys.
        let mut ready = sender.clone().ready().await.unwrap();
        let (answer, _) = ready.send_request(get("/healthz"), true).unwrap();
        assert_eq!(whole(answer).await.0, 200);
        let mut answers = Vec::new();
        for number in 0..150 {
            let path = if number % 2 == 0 {
                "/healthz"
            } else {
                "/dev/mail/"
            };
            let mut ready = sender.clone().ready().await.unwrap();
            let (answer, _) = ready.send_request(get(path), true).unwrap();
            answers.push(tokio::spawn(whole(answer)));
        }
        for (number, answer) in answers.into_iter().enumerate() {
            let (status, body) = answer.await.unwrap();
            let expected = if number % 2 == 0 { WELL } else { "[]" };
            assert_eq!((status, &*body), (200, expected));
        }
        // Request bodies work, too.
        let request = http::Request::post("https://localhost/api/v1/accounts/token/")
            .header("content-type", "application/json")
            .body(())
            .unwrap();
        let mut ready = sender.ready().await.unwrap();
        let (answer, mut body) = ready.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(b"{}"), true).unwrap();
        let (status, body) = whole(answer).await;
        assert_eq!(
            (status, &*body),
            (
                400,
                r#"{"email":["This field is required."],"password":["This field is required."]}"#
            )
        );
    });
}

#[test]
fn rapid_reset_ends_the_connection() {
    let (server, _dir, cert) = start(|_| {});
    http2(&server, &cert, async |sender, connection| {
        for _ in 0..10_000 {
            let Ok(mut ready) = sender.clone().ready().await else {
                break;
            };
            let Ok((_answer, mut stream)) = ready.send_request(get("/healthz"), false) else {
                break;
            };
            stream.send_reset(h2::Reason::CANCEL);
        }
        drop(sender);
        let error = connection.await.unwrap().unwrap_err();
        // A client that continues to send may not receive the reason.
        assert!(
            error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM) || error.is_io(),
            "{error}"
        );
    });
    let mut stream = connect(&server, trust(&cert, &[])).unwrap();
    assert!(ask(&mut stream).ends_with(WELL));
}

#[test]
fn http_2_header_size_is_limited() {
    let (server, _dir, cert) = start(|_| {});
    http2(&server, &cert, async |sender, _connection| {
        let request = http::Request::get("https://localhost/healthz")
            .header("x-long", "a".repeat(20_000))
            .body(())
            .unwrap();
        let mut ready = sender.ready().await.unwrap();
        let (answer, _) = ready.send_request(request, true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 431);
    });
}

#[test]
fn idle_http_2_connection_shuts_down_gracefully() {
    let (server, _dir, cert) = start(|config| config.server.keep_alive_seconds = 1);
    http2(&server, &cert, async |sender, connection| {
        let mut ready = sender.ready().await.unwrap();
        let (answer, _) = ready.send_request(get("/healthz"), true).unwrap();
        assert_eq!(whole(answer).await, (200, WELL.to_owned()));
        // The server sends GOAWAY without an error.
        connection.await.unwrap().unwrap();
    });
}

#[test]
fn http_2_works_without_tls() {
    let server = TestServer::start();
    Runtime::new().unwrap().block_on(async {
        let stream = tokio::net::TcpStream::connect(server.address())
            .await
            .unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut ready = sender.ready().await.unwrap();
        let (answer, _) = ready
            .send_request(
                http::Request::get("http://localhost/healthz")
                    .body(())
                    .unwrap(),
                true,
            )
            .unwrap();
        assert_eq!(whole(answer).await, (200, WELL.to_owned()));
    });
}
