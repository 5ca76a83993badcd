//! An HTTP server for tests: keeps what it receives and answers byte by byte as a test says.

#![allow(
    dead_code,
    reason = "each of the test programs that share this needs a part of it"
)]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Longest wait of a test for a request.
const TIMEOUT: Duration = Duration::from_mins(1);

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// Request line and headers, without the empty line.
    pub head: String,
    pub body: Vec<u8>,
    /// The number of its connection, from 1.
    pub connection: usize,
    /// The name in TLS.
    pub sni: Option<String>,
}

impl Received {
    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .find_map(|(other, value)| other.eq_ignore_ascii_case(name).then_some(value))
    }

    /// The JSON of the body.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

trait Duplex: Read + Write + Send {}
impl<T: Read + Write + Send> Duplex for T {}

/// A request that waits for its answer.
pub struct Exchange<'a> {
    pub received: &'a Received,
    /// How many requests have arrived, with this one.
    pub count: usize,
    stream: &'a mut dyn Duplex,
    state: &'a State,
    is_open: bool,
}

impl Exchange<'_> {
    /// Answers with a status and text; the connection stays open.
    pub fn answer(&mut self, status: &str, body: &str) {
        let length = body.len();
        self.write(format!(
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
    }

    /// Writes bytes; false once the client is gone.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let written = self.stream.write_all(bytes.as_ref());
        self.is_open &= written.and_then(|()| self.stream.flush()).is_ok();
        self.is_open
    }

    /// Writes the same bytes again and again until the client is gone or the receiver is dropped.
    pub fn drip(&mut self, bytes: impl AsRef<[u8]>) {
        while self.write(bytes.as_ref()) && !self.state.wait_for_end(Duration::from_millis(10)) {}
    }

    /// Waits until the receiver is dropped.
    pub fn hang(&mut self) {
        while !self.state.wait_for_end(TIMEOUT) {}
    }

    /// Closes the connection after the answer.
    pub fn close(&mut self) {
        self.is_open = false;
    }
}

type Script = dyn Fn(&mut Exchange<'_>) + Send + Sync;

#[derive(Default)]
struct State {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    received: Vec<Received>,
    connections: usize,
    is_over: bool,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    fn wait_for_end(&self, limit: Duration) -> bool {
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), limit, |inner| !inner.is_over);
        waited.unwrap().0.is_over
    }
}

/// An HTTP server on a free loopback port.
pub struct Receiver {
    address: SocketAddr,
    state: Arc<State>,
    is_encrypted: bool,
}

impl Receiver {
    /// A server whose answers a script writes.
    pub fn start(script: impl Fn(&mut Exchange<'_>) + Send + Sync + 'static) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), None, script)
    }

    /// A server that answers all requests with `204`.
    pub fn accepting() -> Self {
        Self::start(|exchange| exchange.answer("204 No Content", ""))
    }

    /// A server with TLS.
    pub fn start_encrypted(
        tls: Arc<ServerConfig>,
        script: impl Fn(&mut Exchange<'_>) + Send + Sync + 'static,
    ) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), Some(tls), script)
    }

    /// A server at another loopback address.
    pub fn start_at(
        ip: IpAddr,
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(&mut Exchange<'_>) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let script: Arc<Script> = Arc::new(script);
        let is_encrypted = tls.is_some();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut inner = shared.lock();
                if inner.is_over {
                    return;
                }
                inner.connections += 1;
                let number = inner.connections;
                drop(inner);
                let Ok(stream) = stream else { continue };
                let (state, script, tls) = (Arc::clone(&shared), Arc::clone(&script), tls.clone());
                thread::spawn(move || serve(stream, number, tls, &state, &*script));
            }
        });
        Self {
            address,
            state,
            is_encrypted,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The URL of a path at this server.
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.is_encrypted { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }

    /// How many connections were opened.
    pub fn connections(&self) -> usize {
        self.state.lock().connections
    }

    /// What has arrived so far.
    pub fn received(&self) -> Vec<Received> {
        self.state.lock().received.clone()
    }

    /// Waits until this number of requests has arrived.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        let waited = self
            .state
            .changed
            .wait_timeout_while(self.state.lock(), TIMEOUT, |inner| {
                inner.received.len() < count
            });
        let (inner, timeout) = waited.unwrap();
        assert!(!timeout.timed_out(), "{} of {count}", inner.received.len());
        inner.received.clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.state.lock().is_over = true;
        self.state.changed.notify_all();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(
    tcp: TcpStream,
    number: usize,
    tls: Option<Arc<ServerConfig>>,
    state: &State,
    script: &Script,
) {
    let socket = tcp.try_clone().unwrap();
    let mut sni = None;
    let mut stream: Box<dyn Duplex> = match tls {
        None => Box::new(tcp),
        Some(config) => {
            let mut session = ServerConnection::new(config).unwrap();
            let mut tcp = tcp;
            while session.is_handshaking() {
                if session.complete_io(&mut tcp).is_err() {
                    return;
                }
            }
            sni = session.server_name().map(str::to_owned);
            Box::new(StreamOwned::new(session, tcp))
        }
    };
    let mut buffer = Vec::new();
    while let Some((head, body)) = read_request(&mut *stream, &mut buffer) {
        let received = Received {
            head,
            body,
            connection: number,
            sni: sni.clone(),
        };
        let mut inner = state.lock();
        inner.received.push(received.clone());
        let count = inner.received.len();
        drop(inner);
        state.changed.notify_all();
        let mut exchange = Exchange {
            received: &received,
            count,
            stream: &mut *stream,
            state,
            is_open: true,
        };
        script(&mut exchange);
        if !exchange.is_open {
            break;
        }
    }
    let _ = socket.shutdown(Shutdown::Both);
}

fn read_request(stream: &mut dyn Duplex, buffer: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let mut read_more = |buffer: &mut Vec<u8>| {
        let mut chunk = [0; 4096];
        let length = stream.read(&mut chunk).ok().filter(|length| *length > 0)?;
        buffer.extend_from_slice(&chunk[..length]);
        Some(())
    };
    let end = loop {
        let found = buffer.windows(4).position(|window| window == b"\r\n\r\n");
        match found {
            Some(end) => break end,
            None => read_more(buffer)?,
        }
    };
    let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
    let length: usize = head
        .to_lowercase()
        .split("\r\n")
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
        .unwrap_or(0);
    while buffer.len() < end + 4 + length {
        read_more(buffer)?;
    }
    let body = buffer[end + 4..end + 4 + length].to_vec();
    buffer.drain(..end + 4 + length);
    Some((head, body))
}

/// A certificate for names (PEM), and the server's side of TLS with it.
pub fn certificate(
    names: &[&str],
    change: impl FnOnce(&mut rcgen::CertificateParams),
) -> (String, Arc<ServerConfig>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    change(&mut params);
    let certificate = params.self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .unwrap();
    (certificate.pem(), Arc::new(config))
}
