//! Binding the address, and the loop that accepts connections.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::connection::{self, Protocols};
use super::service::Service;
use super::stream::Stream;
use super::table::Connections;
use super::tls::Tls;
use super::{answers, http1_of, http2_of, limits_of};
use crate::app::CurrentApp;
use crate::bootstrap::StartError;
use crate::config::{Config, ListenAddr};
use crate::domain::ClientNetwork;
use crate::http::Peer;

/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Most refused connections at a time that get a 503; more are dropped without an answer.
const MOST_REFUSALS: usize = 64;

/// How long a client may take to read it.
const REFUSAL: Duration = Duration::from_secs(1);

/// A liveness probe of the accept loop, answered for as long as it runs.
pub(super) type Probe = oneshot::Sender<()>;

/// Binds the first address that is free. `flag` is the one that chooses another.
pub(super) async fn bind(
    address: &ListenAddr,
    flag: &str,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let mut refusals = Vec::new();
    for address in address.socket_addrs() {
        let bound = TcpListener::bind(address)
            .await
            .and_then(|listener| Ok((listener.local_addr()?, listener)));
        match bound {
            Ok((address, listener)) => return Ok((listener, address)),
            Err(e) => refusals.push(format!("{address}: {e}")),
        }
    }
    Err(StartError::new(format!(
        "cannot listen on {}. Is another program using the port? Choose another with {flag}.",
        refusals.join(", ")
    )))
}

/// Uses a socket that listens already.
pub(super) fn adopt(
    listener: std::net::TcpListener,
) -> Result<(TcpListener, SocketAddr), StartError> {
    listener
        .set_nonblocking(true)
        .and_then(|()| TcpListener::from_std(listener))
        .and_then(|listener| Ok((listener.local_addr()?, listener)))
        .map(|(address, listener)| (listener, address))
        .map_err(StartError::at("cannot use the inherited socket"))
}

/// Accepts the connections of one socket.
pub(super) struct Acceptor {
    current: Arc<CurrentApp>,
    connections: Arc<Connections>,
    tls: Option<Arc<Tls>>,
    is_for_metrics: bool,
    refusals: Arc<Semaphore>,
}

impl Acceptor {
    pub(super) fn new(
        current: &Arc<CurrentApp>,
        connections: &Arc<Connections>,
        tls: Option<Arc<Tls>>,
    ) -> Self {
        Self {
            current: Arc::clone(current),
            connections: Arc::clone(connections),
            tls,
            is_for_metrics: false,
            refusals: Arc::new(Semaphore::new(MOST_REFUSALS)),
        }
    }

    /// Marks its requests as those of `[metrics] listen`.
    pub(super) fn for_metrics(mut self) -> Self {
        self.is_for_metrics = true;
        self
    }

    /// Accepts until the server stops; then accepts what the socket has queued, and closes it.
    pub(super) async fn run(
        self,
        listener: TcpListener,
        mut stopped: watch::Receiver<bool>,
        mut probes: Option<mpsc::Receiver<Probe>>,
    ) {
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.accept(stream, peer),
                    Err(e) => pause_after(&e).await,
                },
                Some(probe) = next(&mut probes) => {
                    // The caller may have given up.
                    let _ = probe.send(());
                }
                () = until(&mut stopped) => break,
            }
        }
        // A queued client is connected as far as it knows, and may have sent its request. The
        // system is asked, because tokio knows only what its last turn has seen.
        let Ok(listener) = listener.into_std() else {
            return;
        };
        while let Ok((stream, peer)) = listener.accept() {
            let stream = stream
                .set_nonblocking(true)
                .and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                self.accept(stream, peer);
            }
        }
    }

    fn accept(&self, stream: TcpStream, peer: SocketAddr) {
        // Answers are written whole, so there is nothing to wait for before sending them.
        if let Err(e) = stream.set_nodelay(true) {
            log::debug!("TCP_NODELAY could not be set: {e}");
        }
        let app = self.current.get();
        let limits = limits_of(&app.config);
        let network = network_of(peer, &app.config);
        let Some(place) = self.connections.admit(network, &limits) else {
            return self.refuse(stream);
        };
        tokio::spawn(connection::run(
            place,
            stream,
            Protocols {
                http1: http1_of(&app.config),
                http2: http2_of(&app.config),
                tls: self.tls.clone(),
            },
            Service {
                current: Arc::clone(&self.current),
                peer: Peer(peer),
                is_for_metrics: self.is_for_metrics,
            },
        ));
    }

    /// Answers 503.
    fn refuse(&self, stream: TcpStream) {
        let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() else {
            return;
        };
        if self.tls.is_some() {
            // It would take a handshake, which is more work than there is room for.
            return;
        }
        tokio::spawn(async move {
            if stream.try_write(answers::OVERLOADED).is_ok() {
                let _ = timeout(REFUSAL, Stream::Plain(stream).finish()).await;
            }
            drop(permit);
        });
    }
}

/// The network that a connection counts for. Proxies act for many clients, and programs on this
/// machine, an undeclared proxy among them, are trusted.
fn network_of(peer: SocketAddr, config: &Config) -> Option<ClientNetwork> {
    let ip = peer.ip().to_canonical();
    let proxies = &config.server.trusted_proxies;
    let is_exempt = ip.is_loopback() || proxies.iter().any(|network| network.contains(ip));
    (!is_exempt).then(|| ip.into())
}

/// The next probe; waits for ever where there are none.
async fn next(probes: &mut Option<mpsc::Receiver<Probe>>) -> Option<Probe> {
    match probes {
        Some(probes) => probes.recv().await,
        None => std::future::pending().await,
    }
}

/// Waits for the server to stop or be dropped.
async fn until(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn pause_after(error: &io::Error) {
    match error.kind() {
        // The client ended it before it was accepted.
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted => {}
        _ => {
            // Most likely out of file descriptors: connections that end will free some.
            log::warn!("a connection could not be accepted: {error}");
            sleep(ACCEPT_PAUSE).await;
        }
    }
}
