//! From a configuration to a running server: `start` gives back the bound address and the means to stop it.
//!
//! The accept loop is our own, over warp's service and hyper's connections, because warp's server has no limit on how
//! long a client may take to send its header.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep, timeout};

use crate::accounts::{self, remove_photos_left_behind, remove_unused_photos};
use crate::app::{App, SharedApp, StartError};
use crate::backup::schedule::{self, Schedule};
use crate::clock::{SharedClock, SystemClock};
use crate::config::Config;
use crate::http::{Peer, routes};
use crate::store::sqlite::ServerLock;

/// How often expired rows are cleared away.
const CLEARING_PAUSE: Duration = Duration::from_hours(1);

/// How long to wait when the system has no more connections to give, before accepting again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running server. It stops when this is dropped, without waiting; [`Server::shutdown`] waits.
pub struct Server {
    address: SocketAddr,
    app: SharedApp,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
    backups: Option<JoinHandle<()>>,
    // Held as long as the server runs.
    _lock: Option<ServerLock>,
}

impl Server {
    /// Opens the database, binds the address and serves, on the machine's clock.
    ///
    /// # Errors
    /// When the database or the address cannot be had; the text says why and what to do.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with_clock(config, Arc::new(SystemClock)).await
    }

    /// As [`Server::start`], on another clock.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_with_clock(config: Config, clock: SharedClock) -> Result<Self, StartError> {
        let lock = if config.is_in_memory() {
            None
        } else {
            let path = Path::new(&config.database.path);
            Some(ServerLock::acquire(path).map_err(|e| StartError(e.to_string()))?)
        };
        let (listener, address) = bind(&config.server.listen.socket_addrs()).await?;
        let app: SharedApp = Arc::new(App::open(config, clock, address.port()).await?);
        if lock.is_some() {
            remove_photos_left_behind(&app).await;
        }
        app.outbox.start();
        let backups = Schedule::of(&app.config)
            .map(|schedule| schedule::run(schedule, app.clock.clone(), app.metrics.clone()))
            .map(tokio::spawn);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(serve(Arc::clone(&app), listener, stopped));
        Ok(Self {
            address,
            app,
            stop,
            task: Some(task),
            backups,
            _lock: lock,
        })
    }

    /// The address that clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the handlers share.
    pub fn app(&self) -> &SharedApp {
        &self.app
    }

    /// Stops accepting, finishes what runs and delivers what is queued, each for as long as the settings allow.
    pub async fn shutdown(mut self) {
        let _ = self.stop.send(true);
        if let Some(task) = self.task.take()
            && let Err(e) = task.await
        {
            log::error!("the server's task failed: {e}");
        }
        let app = Arc::clone(&self.app);
        let patience = Duration::from_secs(app.config.server.shutdown_seconds.into());
        app.outbox.stop(patience).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for task in [self.task.take(), self.backups.take()]
            .into_iter()
            .flatten()
        {
            task.abort();
        }
    }
}

/// Binds the first of the addresses that can be had.
async fn bind(addresses: &[SocketAddr]) -> Result<(TcpListener, SocketAddr), StartError> {
    let mut refusals = Vec::new();
    for address in addresses {
        let bound = TcpListener::bind(address)
            .await
            .and_then(|listener| Ok((listener.local_addr()?, listener)));
        match bound {
            Ok((address, listener)) => return Ok((listener, address)),
            Err(e) => refusals.push(format!("{address}: {e}")),
        }
    }
    Err(StartError(format!(
        "cannot listen on {}. Is another program using the port? Choose another with --listen.",
        refusals.join(", ")
    )))
}

async fn serve(app: SharedApp, listener: TcpListener, mut stopped: watch::Receiver<bool>) {
    let connections = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(
            app.config.server.header_timeout_seconds.into(),
        ));
    let service = warp::service(routes(Arc::clone(&app)));
    let mut clearing = interval(CLEARING_PAUSE);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let service = WithPeer { service: service.clone(), peer: Peer(peer) };
                    prepare(&stream);
                    let connection =
                        http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
                    let connection = connections.watch(connection);
                    tokio::spawn(async move {
                        if let Err(e) = connection.await {
                            log::debug!("a connection of {peer} broke off: {e}");
                        }
                    });
                }
                Err(e) => {
                    // Out of file descriptors, most likely: the connections that end will free some.
                    log::warn!("a connection could not be accepted: {e}");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            _ = clearing.tick() => {
                let app = Arc::clone(&app);
                tokio::spawn(async move { clear_expired(&app).await });
            }
            _ = stopped.changed() => break,
        }
    }
    drop(listener);
    let patience = Duration::from_secs(app.config.server.shutdown_seconds.into());
    if timeout(patience, connections.shutdown()).await.is_err() {
        log::warn!("some requests had not ended after {patience:?} and were cut off");
    }
}

fn prepare(stream: &TcpStream) {
    // Answers are written whole, so there is nothing to wait for before sending them.
    if let Err(e) = stream.set_nodelay(true) {
        log::debug!("TCP_NODELAY could not be set: {e}");
    }
}

async fn clear_expired(app: &SharedApp) {
    match accounts::clear_expired(app).await {
        Ok(0) => {}
        Ok(rows) => log::info!("{rows} expired rows cleared away"),
        Err(e) => log::warn!("expired rows were not cleared away: {e}"),
    }
    match remove_unused_photos(app).await {
        Ok(0) => {}
        Ok(files) => log::info!("{files} photos without an account cleared away"),
        Err(e) => log::warn!("photos without an account were not cleared away: {e}"),
    }
}

/// Puts the other end of the connection into each of its requests.
#[derive(Clone)]
struct WithPeer<S> {
    service: S,
    peer: Peer,
}

impl<S, B> tower_service::Service<http::Request<B>> for WithPeer<S>
where
    S: tower_service::Service<http::Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        // `CONNECT` names no path, which warp takes for granted; there is nothing at ours for it.
        if request.uri().path_and_query().is_none() {
            *request.uri_mut() = http::Uri::from_static("/");
        }
        request.extensions_mut().insert(self.peer);
        self.service.call(request)
    }
}
