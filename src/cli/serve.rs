//! `serve`: runs the server until it is told to stop.

use std::io::Write;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use super::CommandResult;
use crate::config::Config;
use crate::server::Server;

/// How long work that was begun on other threads may take to end once everything else has.
const LAST_WORK: Duration = Duration::from_secs(5);

/// Allows this process as many open files as it may allow itself: each connection is one. The usual limit of 1024 is for
/// programs that use `select`.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(e) = setrlimit(Resource::Nofile, limit) {
        log::warn!("the limit on open files could not be raised: {e}");
    }
}

pub(super) fn serve(config: Config) -> CommandResult {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("cannot start: {e}"))?;
    raise_file_limit();
    for warning in config.serve_warnings() {
        log::warn!("{warning}");
    }
    let outcome = runtime.block_on(async {
        let failed = |e: std::io::Error| format!("cannot listen for signals: {e}");
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let server = Server::start(config).await.map_err(|e| e.to_string())?;
        let mut stdout = std::io::stdout();
        // Whoever started us may have closed our standard output; that is no reason not to serve.
        let _ = writeln!(stdout, "accounts-server listening on {}", server.url())
            .and_then(|()| stdout.flush());
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        log::info!("stopping; a second signal stops at once");
        tokio::select! {
            () = server.shutdown() => {
                log::info!("stopped");
                Ok(LAST_WORK)
            }
            _ = terminate.recv() => Ok(Duration::ZERO),
            _ = interrupt.recv() => Ok(Duration::ZERO),
        }
    });
    // Waits for what the tasks let go of, so that the database is closed in good order; not when told twice to stop.
    let patience = *outcome.as_ref().unwrap_or(&LAST_WORK);
    runtime.shutdown_timeout(patience);
    outcome.map(drop)
}
