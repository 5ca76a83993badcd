//! Where connections come in: binding the address, and the loop that accepts.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::connection::{self, Protocols};
use super::connections::Connections;
use super::service::{Origin, Watched};
use super::stream::Stream;
use super::tls::Tls;
use super::{answers, http1_of, http2_of, limits_of};
use crate::app::CurrentApp;
use crate::bootstrap::StartError;
use crate::config::{Config, ListenAddr};
use crate::domain::ClientNetwork;
use crate::http::Peer;

/// How long to wait when the system has no more connections to give, before accepting again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Most connections at a time that are told that there is no room for them; more are dropped without a word.
const MOST_REFUSALS: usize = 64;

/// How long one of them may take to read it.
const REFUSAL: Duration = Duration::from_secs(1);

/// A question to the loop that accepts: it answers as long as it runs.
pub(super) type Call = oneshot::Sender<()>;

/// Binds the first of the addresses that can be had. `flag` is the one that chooses another.
pub(super) async fn bind(
    wish: &ListenAddr,
    flag: &str,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let mut refusals = Vec::new();
    for address in wish.socket_addrs() {
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

/// Takes over a socket that listens already.
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

/// Takes connections in from one socket.
pub(super) struct Acceptor<S> {
    current: Arc<CurrentApp>,
    connections: Arc<Connections>,
    tls: Option<Arc<Tls>>,
    service: S,
    is_for_metrics: bool,
    refusals: Arc<Semaphore>,
}

impl<S, B> Acceptor<S>
where
    S: tower_service::Service<Request<Watched>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(super) fn new(
        current: &Arc<CurrentApp>,
        connections: &Arc<Connections>,
        tls: Option<Arc<Tls>>,
        service: S,
    ) -> Self {
        Self {
            current: Arc::clone(current),
            connections: Arc::clone(connections),
            tls,
            service,
            is_for_metrics: false,
            refusals: Arc::new(Semaphore::new(MOST_REFUSALS)),
        }
    }

    /// Has the requests know that they came by way of the address for figures.
    pub(super) fn for_metrics(mut self) -> Self {
        self.is_for_metrics = true;
        self
    }

    /// Accepts until told to stop; then takes in what already stands in the socket's queue, and closes it.
    pub(super) async fn run(
        self,
        listener: TcpListener,
        mut stopped: watch::Receiver<bool>,
        mut called: Option<mpsc::Receiver<Call>>,
    ) {
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.take_in(stream, peer),
                    Err(e) => pause_after(&e).await,
                },
                Some(call) = next(&mut called) => {
                    // Whoever called may have lost patience.
                    let _ = call.send(());
                }
                () = until(&mut stopped) => break,
            }
        }
        // Who stands in the queue has been told that it is connected, and may have sent its request already. The system is
        // asked itself: tokio knows only what its own turn has told it.
        let Ok(listener) = listener.into_std() else {
            return;
        };
        while let Ok((stream, peer)) = listener.accept() {
            let stream = stream
                .set_nonblocking(true)
                .and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                self.take_in(stream, peer);
            }
        }
    }

    fn take_in(&self, stream: TcpStream, peer: SocketAddr) {
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
            Origin {
                peer: Peer(peer),
                is_for_metrics: self.is_for_metrics,
            },
            Protocols {
                http1: http1_of(&app.config),
                http2: http2_of(&app.config),
                tls: self.tls.clone(),
            },
            self.service.clone(),
        ));
    }

    /// Says that there is no room.
    fn refuse(&self, stream: TcpStream) {
        let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() else {
            return;
        };
        if self.tls.is_some() {
            // It would have to be said in a handshake, which is more work than there is room for.
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

/// The network that a connection counts for. Proxies speak for many clients, and programs on this machine, a proxy that
/// nobody has declared among them, are no strangers.
fn network_of(peer: SocketAddr, config: &Config) -> Option<ClientNetwork> {
    let ip = peer.ip().to_canonical();
    let proxies = &config.server.trusted_proxies;
    let is_exempt = ip.is_loopback() || proxies.iter().any(|network| network.contains(ip));
    (!is_exempt).then(|| ip.into())
}

/// The next question, where there may be any.
async fn next(called: &mut Option<mpsc::Receiver<Call>>) -> Option<Call> {
    match called {
        Some(called) => called.recv().await,
        None => std::future::pending().await,
    }
}

/// Waits for the server to be told to stop, or dropped.
async fn until(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn pause_after(error: &io::Error) {
    match error.kind() {
        // It was over before it was accepted, which is the other side's business.
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted => {}
        _ => {
            // Out of file descriptors, most likely: the connections that end will free some.
            log::warn!("a connection could not be accepted: {error}");
            sleep(ACCEPT_PAUSE).await;
        }
    }
}
