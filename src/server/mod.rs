//! Runs a server from a configuration: `start` returns its address and the means to stop it.
//!
//! The accept loop is our own, over hyper's connections, because warp's server limits neither the
//! number of connections nor the time that clients may take.
//!
//! ```text
//! listener    binding, accepting                   table      admission, eviction, timeouts
//! connection  one connection from start to end     state      of one connection, in atomics
//! service     its requests, between hyper and http answers    where no request was parsed
//! stream      its bytes, with or without TLS       tls        the certificate, and its reload
//! reload      new settings while it runs
//! ```

mod answers;
mod connection;
mod listener;
mod reload;
mod service;
mod state;
mod stream;
mod table;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustix::process::{Resource, getrlimit};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::interval;

use crate::accounts::{self, AccountError, remove_photos_left_behind, remove_unused_photos};
use crate::app::{CurrentApp, SharedApp};
use crate::backup::schedule::BackupScheduler;
use crate::bootstrap::{StartError, open_app, open_file_clients, open_file_webhooks};
use crate::clock::{SharedClock, clock_for};
use crate::config::{Config, TlsConfig};
use crate::dev;
use crate::domain::Timestamp;
use crate::http;
use crate::store::sqlite::ServerLock;
use listener::{Acceptor, Probe, adopt, bind};
pub use reload::Reloaded;
use table::{Connections, Limits};
use tls::Tls;

/// How often expired rows are deleted.
const CLEANUP_INTERVAL: Duration = Duration::from_hours(1);

/// How long a client whose connection became idle just before a shutdown may send another request:
/// it may be on its way.
const LAST_REQUEST_GRACE: Duration = Duration::from_millis(250);

/// Most bytes of a connection that hyper buffers, besides the header.
const BUFFER_BYTES: usize = 64 * 1024;

/// Most concurrent streams of an HTTP/2 connection: the least that its standard recommends.
const MOST_STREAMS: u32 = 100;

/// Most streams that a client may reset before the server has accepted them.
const MOST_RESET_STREAMS: usize = 20;

/// Flow-control window of one stream (RFC 9113, section 5.2).
const STREAM_BYTES: u32 = 256 * 1024;

/// How often the certificate files are checked for changes.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(5);

/// File descriptors for other things than connections: the database, photos, mail.
const OTHER_FILES: u64 = 128;

/// Most connections without a setting.
const MOST_CONNECTIONS: u64 = 20_000;

/// Checks the certificate and key of these settings; returns whether there are any.
///
/// # Errors
/// The text says why not and what to do.
pub fn check_certificate(config: &TlsConfig, now: Timestamp) -> Result<bool, String> {
    Tls::open(config, now).map(|tls| tls.is_some())
}

/// Sockets that listen already, from the process that started this one.
#[derive(Debug, Default)]
pub struct Inherited {
    /// For the API.
    pub main: Option<std::net::TcpListener>,
    /// For metrics.
    pub metrics: Option<std::net::TcpListener>,
}

/// A running server. It stops when this is dropped, without waiting; [`Server::shutdown`] waits.
pub struct Server {
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    current: Arc<CurrentApp>,
    tls: Option<Arc<Tls>>,
    stop: watch::Sender<bool>,
    probes: mpsc::Sender<Probe>,
    task: Option<JoinHandle<()>>,
    backups: Option<BackupScheduler>,
    // Held for as long as the server runs.
    _lock: Option<ServerLock>,
    // Dropped last: it deletes the files.
    _ephemeral: Option<TempDir>,
}

impl Server {
    /// Opens the database, binds the address and serves, on the machine's clock.
    ///
    /// # Errors
    /// When the database or the address cannot be used; the text says why and what to do.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let clock = clock_for(config.dev);
        Self::start_with_clock(config, clock).await
    }

    /// As [`Server::start`], on another clock.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_with_clock(config: Config, clock: SharedClock) -> Result<Self, StartError> {
        Self::start_on(config, clock, Inherited::default()).await
    }

    /// As [`Server::start_with_clock`], on inherited sockets; missing ones are bound.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_on(
        mut config: Config,
        clock: SharedClock,
        inherited: Inherited,
    ) -> Result<Self, StartError> {
        let ephemeral = dev::make_ephemeral(&mut config)?;
        let lock = match config.database_file() {
            Some(path) => {
                Some(ServerLock::acquire(&path).map_err(|e| StartError::new(e.to_string()))?)
            }
            None => None,
        };
        let tls = Tls::open(&config.tls, clock.now())
            .map_err(StartError::new)?
            .map(Arc::new);
        let (listener, address) = match inherited.main {
            Some(listener) => adopt(listener)?,
            None => bind(&config.server.listen, "--listen").await?,
        };
        let metrics = match (inherited.metrics, &config.metrics.listen) {
            (Some(listener), Some(_)) => Some(adopt(listener)?),
            (_, Some(address)) => Some(bind(address, "--metrics-listen").await?),
            (_, None) => None,
        };
        let (metrics, metrics_address) = metrics.unzip();
        let webhooks = open_file_webhooks(&config)?;
        let clients = open_file_clients(&config)?;
        let app: SharedApp = Arc::new(open_app(config, clock, address.port()).await?);
        if let Some(tls) = &tls {
            // Set before the first request.
            app.metrics
                .set_certificate_end(tls.expires_at().unix_seconds());
        }
        if lock.is_some() {
            remove_photos_left_behind(&app).await;
        }
        dev::begin(&app, &webhooks, &clients).await?;
        app.outbox.start();
        app.events.start();
        let backups = app.backups.clone().map(BackupScheduler::start);
        let current = Arc::new(CurrentApp::new(app));
        let (stop, stopped) = watch::channel(false);
        let (probes, probed) = mpsc::channel(1);
        let listeners = Listeners {
            main: listener,
            metrics,
            probed,
            stopped,
        };
        let task = tokio::spawn(serve(Arc::clone(&current), tls.clone(), listeners));
        Ok(Self {
            address,
            metrics_address,
            current,
            tls,
            stop,
            probes,
            task: Some(task),
            backups,
            _lock: lock,
            _ephemeral: ephemeral,
        })
    }

    /// The address that clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of `[metrics] listen`.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Its direct URL, such as `http://127.0.0.1:8000`.
    pub fn url(&self) -> String {
        format!("{}://{}", self.app().config.tls.scheme(), self.address)
    }

    /// A new link that makes the first staff account, if there is none and this server has a console
    /// that browsers can use. It replaces the former link.
    ///
    /// # Errors
    /// Only store errors.
    pub async fn setup_url(&self) -> Result<Option<String>, AccountError> {
        let app = self.app();
        if !http::has_console(&app) {
            return Ok(None);
        }
        let token = accounts::start_setup(&app).await?;
        Ok(token.map(|token| http::setup_url(&app, &token)))
    }

    /// The current application.
    pub fn app(&self) -> SharedApp {
        self.current.get()
    }

    /// Returns once the accept loop and the database respond, whatever the database answers: a
    /// restart would not help against a full disk.
    pub async fn respond(&self) {
        let (call, answered) = oneshot::channel();
        if self.probes.send(call).await.is_err() || answered.await.is_err() {
            return std::future::pending().await;
        }
        if let Err(e) = self.app().store.check_writable().await {
            log::warn!("the database cannot be written: {e}");
        }
    }

    /// Shuts down gracefully: stops accepting, finishes requests and deliveries of webhooks in flight
    /// and delivers queued mails, each within the timeout. A running backup is aborted; the next start makes it.
    pub async fn shutdown(mut self) {
        let _ = self.stop.send(true);
        if let Some(backups) = &self.backups {
            backups.cancel();
        }
        if let Some(task) = self.task.take()
            && let Err(e) = task.await
        {
            log::error!("the server's task failed: {e}");
        }
        let app = self.app();
        // Events first: the last one may cause a mail.
        app.events.stop(shutdown_timeout(&app.config)).await;
        app.outbox.stop(shutdown_timeout(&app.config)).await;
        if let Some(backups) = &self.backups {
            backups.finished().await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

/// How long a graceful shutdown may take.
fn shutdown_timeout(config: &Config) -> Duration {
    Duration::from_secs(config.server.shutdown_seconds.into())
}

/// The sockets of a server, and the channels to its accept loop.
struct Listeners {
    main: TcpListener,
    metrics: Option<TcpListener>,
    probed: mpsc::Receiver<Probe>,
    stopped: watch::Receiver<bool>,
}

async fn serve(current: Arc<CurrentApp>, tls: Option<Arc<Tls>>, listeners: Listeners) {
    let connections = Connections::new(Arc::clone(&current.get().metrics));
    let acceptor = Acceptor::new(&current, &connections, tls.clone());
    let metrics_acceptor = Acceptor::new(&current, &connections, None).for_metrics();
    let ended = async {
        let main = acceptor.run(
            listeners.main,
            listeners.stopped.clone(),
            Some(listeners.probed),
        );
        let metrics = async {
            if let Some(listener) = listeners.metrics {
                metrics_acceptor
                    .run(listener, listeners.stopped, None)
                    .await;
            }
        };
        tokio::join!(main, metrics);
        let timeout = shutdown_timeout(&current.get().config);
        if !connections.drain(LAST_REQUEST_GRACE, timeout).await {
            log::warn!("some requests had not ended after {timeout:?} and were aborted");
        }
    };
    tokio::select! {
        () = ended => {}
        () = connections.watch(|| limits_of(&current.get().config)) => {}
        () = clean_up_regularly(&current) => {}
        () = reload_certificate_regularly(&current, tls.as_deref()) => {}
    }
}

/// Settings of HTTP/1. The table of connections keeps the timeouts.
fn http1_of(config: &Config) -> http1::Builder {
    let header = config.server.max_header_kib as usize * 1024;
    let mut http = http1::Builder::new();
    http.header_read_timeout(None)
        .max_header_size(header)
        .max_buf_size(header.max(BUFFER_BYTES));
    http
}

fn limits_of(config: &Config) -> Limits {
    let server = &config.server;
    let seconds = |count: u32| Duration::from_secs(count.into());
    Limits {
        total: match server.max_connections {
            0 => connections_by_files(),
            count => count as usize,
        },
        per_network: server.max_connections_per_network as usize,
        header: seconds(server.header_timeout_seconds),
        keep_alive: seconds(server.keep_alive_seconds),
        send: seconds(server.send_timeout_seconds),
    }
}

/// The connections that the limit on open files allows.
fn connections_by_files() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let connections = limit
        .saturating_sub(OTHER_FILES)
        .clamp(16, MOST_CONNECTIONS);
    usize::try_from(connections).unwrap_or(usize::MAX)
}

/// Settings of HTTP/2. They limit what costs a client nothing: concurrent streams, streams reset at
/// once (CVE-2023-44487), header fields (`h2` itself limits the number of CONTINUATION frames,
/// CVE-2024-27316) and bytes in flight.
fn http2_of(config: &Config) -> http2::Builder<TokioExecutor> {
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .max_pending_accept_reset_streams(MOST_RESET_STREAMS)
        .max_local_error_reset_streams(MOST_RESET_STREAMS)
        .max_header_list_size(config.server.max_header_kib * 1024)
        .initial_stream_window_size(STREAM_BYTES)
        .initial_connection_window_size(STREAM_BYTES * 4)
        .max_send_buf_size(BUFFER_BYTES);
    http
}

/// Reloads the certificate soon after its files change.
async fn reload_certificate_regularly(current: &CurrentApp, tls: Option<&Tls>) {
    let Some(tls) = tls else {
        return std::future::pending().await;
    };
    let mut checks = interval(CERTIFICATE_INTERVAL);
    loop {
        checks.tick().await;
        let app = current.get();
        tls.reload_if_changed(app.clock.now());
        app.metrics
            .set_certificate_end(tls.expires_at().unix_seconds());
    }
}

async fn clean_up_regularly(current: &CurrentApp) {
    let mut cleanups = interval(CLEANUP_INTERVAL);
    loop {
        cleanups.tick().await;
        let app = current.get();
        tokio::spawn(async move { clear_expired(&app).await });
    }
}

async fn clear_expired(app: &SharedApp) {
    match accounts::clear_expired(app).await {
        Ok(0) => {}
        Ok(rows) => log::info!("{rows} expired rows deleted"),
        Err(e) => log::warn!("expired rows were not deleted: {e}"),
    }
    match remove_unused_photos(app).await {
        Ok(0) => {}
        Ok(files) => log::info!("{files} photos without an account deleted"),
        Err(e) => log::warn!("photos without an account were not deleted: {e}"),
    }
}
