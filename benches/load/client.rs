//! Sends requests over loopback as fast as the server answers them.
//!
//! Connections are kept alive, with one request in flight on each and no pipelining.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::LocalSet;

use crate::process::is_pinned;
use crate::stopwatch::Stopwatch;

/// Tasks that run before sockets are polled again.
const EVENT_INTERVAL: u32 = 1;

/// Requests in wire format, sent in a cycle.
#[derive(Clone)]
pub(crate) struct Requests(Rc<[Vec<u8>]>);

impl Requests {
    pub(crate) fn new(requests: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self(requests.into_iter().collect())
    }
}

/// Builds a request without a body.
pub(crate) fn get(path: &str, token: Option<&str>) -> Vec<u8> {
    let authorization = token.map_or(String::new(), |token| {
        format!("Authorization: Bearer {token}\r\n")
    });
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n{authorization}\r\n"
    )
    .into_bytes()
}

/// Builds a request with a JSON body.
pub(crate) fn send(method: &str, path: &str, token: Option<&str>, body: &str) -> Vec<u8> {
    let authorization = token.map_or(String::new(), |token| {
        format!("Authorization: Bearer {token}\r\n")
    });
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         {authorization}\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// What to send, from which address and on how many connections.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) server: SocketAddr,
    pub(crate) requests: Requests,
    pub(crate) connections: usize,
    /// Source address of the connections, within 127.0.0.0/8.
    pub(crate) from: IpAddr,
    /// Responses with other statuses count as refused and not towards the throughput.
    pub(crate) expected: &'static [u16],
}

impl Load {
    pub(crate) fn new(server: SocketAddr, requests: Requests, connections: usize) -> Self {
        Self {
            server,
            requests,
            connections,
            from: IpAddr::V4(Ipv4Addr::LOCALHOST),
            expected: &[200],
        }
    }
}

/// The result of a load.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) seconds: f64,
    /// Latencies of the expected responses, in microseconds, ascending.
    latencies: Vec<u32>,
    /// Responses by status; 0 is a broken connection.
    pub(crate) statuses: BTreeMap<u16, u64>,
}

impl Outcome {
    /// Expected responses per second.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub(crate) fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.seconds
    }

    /// The latency quantile of a share, in milliseconds.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts are far below 2^52"
    )]
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let index = (self.latencies.len() as f64 * share) as usize;
        self.latencies
            .get(index.min(last))
            .map_or(f64::NAN, |micros| f64::from(*micros) / 1000.0)
    }

    /// Unexpected statuses and their counts, as text.
    pub(crate) fn surprises(&self, load: &Load) -> String {
        self.statuses
            .iter()
            .filter(|(status, _)| !load.expected.contains(status))
            .map(|(status, count)| format!("{count}×{status}"))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// Runs loads concurrently for a duration, each after a short warm-up.
pub(crate) fn drive_all(loads: &[&Load], duration: Duration) -> io::Result<Vec<Outcome>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let awake = is_pinned().then(|| tokio::task::spawn_local(stay_awake()));
        let warm_up = duration / 10;
        let started = Stopwatch::start();
        let mut running = Vec::new();
        for load in loads {
            let next = Rc::new(Cell::new(0));
            let connections: Vec<_> = (0..load.connections)
                .map(|_| {
                    let mut connection = Connection::new(load);
                    connection.next = Rc::clone(&next);
                    tokio::task::spawn_local(connection.run(started, warm_up, warm_up + duration))
                })
                .collect();
            running.push(connections);
        }
        let mut outcomes = Vec::new();
        for connections in running {
            let mut outcome = Outcome {
                seconds: duration.as_secs_f64(),
                ..Outcome::default()
            };
            for connection in connections {
                let part = connection.await.map_err(io::Error::other)??;
                outcome.latencies.extend(part.latencies);
                for (status, count) in part.statuses {
                    *outcome.statuses.entry(status).or_default() += count;
                }
            }
            outcome.latencies.sort_unstable();
            outcomes.push(outcome);
        }
        if let Some(awake) = awake {
            awake.abort();
        }
        Ok(outcomes)
    })
}

/// Never sleeps, because waking this process would cost the server more than many responses do.
///
/// Only for a process with a core of its own.
async fn stay_awake() {
    loop {
        tokio::task::yield_now().await;
    }
}

/// Runs one load.
pub(crate) fn drive(load: &Load, duration: Duration) -> io::Result<Outcome> {
    let mut outcomes = drive_all(&[load], duration)?;
    Ok(outcomes.remove(0))
}

/// Sends one request on a connection of its own and returns the body of the response.
pub(crate) fn body_of(server: SocketAddr, request: Vec<u8>) -> io::Result<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let load = Load::new(server, Requests::new([]), 1);
    runtime.block_on(Connection::new(&load).body_of(&request))
}

/// Opens connections, sends one request on each, and keeps them open while the result is held.
pub(crate) fn hold_open(
    server: SocketAddr,
    request: &[u8],
    count: usize,
) -> io::Result<(tokio::runtime::Runtime, Vec<TcpStream>)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let streams = runtime.block_on(async {
        let mut streams = Vec::with_capacity(count);
        let load = Load::new(server, Requests::new([]), 1);
        for _ in 0..count {
            let mut connection = Connection::new(&load);
            connection.exchange(request).await?;
            streams.extend(connection.stream);
        }
        Ok::<_, io::Error>(streams)
    })?;
    Ok((runtime, streams))
}

/// A connection, which is opened when it is needed.
pub(crate) struct Connection {
    load: Load,
    next: Rc<Cell<usize>>,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(load: &Load) -> Self {
        Self {
            load: load.clone(),
            next: Rc::default(),
            stream: None,
            buffer: vec![0; 16 * 1024],
        }
    }

    /// Sends one request and returns the body of the response.
    pub(crate) async fn body_of(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        let head = self.exchange(request).await?;
        if head.status >= 300 {
            return Err(io::Error::other(format!("answered {}", head.status)));
        }
        Ok(self.buffer[head.length..head.length + head.body].to_vec())
    }

    /// Sends requests until the end; responses between the two moments are counted.
    async fn run(
        mut self,
        watch: Stopwatch,
        from: Duration,
        until: Duration,
    ) -> io::Result<Outcome> {
        let mut outcome = Outcome::default();
        let requests = Rc::clone(&self.load.requests.0);
        loop {
            let index = self.next.get();
            self.next.set((index + 1) % requests.len());
            let sent = watch.elapsed();
            if sent >= until {
                return Ok(outcome);
            }
            // A server that does not answer in time must not keep the load running.
            let left = until.saturating_sub(sent);
            let Ok(answer) = tokio::time::timeout(left, self.exchange(&requests[index])).await
            else {
                return Ok(outcome);
            };
            let status = answer.map_or(0, |head| head.status);
            let answered = watch.elapsed();
            if answered < from || answered >= until {
                continue;
            }
            *outcome.statuses.entry(status).or_default() += 1;
            if self.load.expected.contains(&status) {
                let micros = answered.saturating_sub(sent).as_micros();
                outcome
                    .latencies
                    .push(u32::try_from(micros).unwrap_or(u32::MAX));
            }
            if status == 0 {
                self.stream = None;
                // Do not retry a refused connection in a tight loop.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// Sends one request and reads the response into the buffer.
    async fn exchange(&mut self, request: &[u8]) -> io::Result<Head> {
        if self.stream.is_none() {
            let socket = TcpSocket::new_v4()?;
            if !self.load.from.is_unspecified() {
                socket.bind(SocketAddr::new(self.load.from, 0))?;
            }
            let stream = socket.connect(self.load.server).await?;
            stream.set_nodelay(true)?;
            self.stream = Some(stream);
        }
        let Some(stream) = &mut self.stream else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        stream.write_all(request).await?;
        let mut filled = 0;
        loop {
            let read = stream.read(&mut self.buffer[filled..]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += read;
            if let Some(head) = Head::parse(&self.buffer[..filled])? {
                let whole = head.length + head.body;
                if self.buffer.len() < whole {
                    self.buffer.resize(whole, 0);
                }
                if filled < whole {
                    stream.read_exact(&mut self.buffer[filled..whole]).await?;
                }
                if head.closes {
                    self.stream = None;
                }
                return Ok(head);
            }
        }
    }
}

/// The head of a response.
struct Head {
    status: u16,
    /// Bytes of the head.
    length: usize,
    /// Bytes of the body.
    body: usize,
    closes: bool,
}

impl Head {
    /// Parses a head; `None` while it is incomplete.
    fn parse(bytes: &[u8]) -> io::Result<Option<Self>> {
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
            return Ok(None);
        };
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "a response has no status");
        let status = bytes
            .get(9..12)
            .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok())
            .ok_or_else(broken)?;
        let mut head = Self {
            status,
            length: end + 4,
            body: 0,
            closes: false,
        };
        for line in bytes[..end].split(|byte| *byte == b'\n').skip(1) {
            // Both servers write names in lower case.
            if let Some(value) = line.strip_prefix(b"content-length: ") {
                let digits = std::str::from_utf8(value).unwrap_or_default().trim();
                head.body = digits.parse().map_err(io::Error::other)?;
            } else if line.starts_with(b"connection: close") {
                head.closes = true;
            }
        }
        Ok(Some(head))
    }
}
