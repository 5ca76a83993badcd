//! `serve`: runs the server until it is told to stop.

use std::io::Write;

use tokio::signal::unix::{SignalKind, signal};

use super::CommandResult;
use crate::config::Config;
use crate::server::Server;

pub(super) fn serve(config: Config) -> CommandResult {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("cannot start: {e}"))?;
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
        let _ = writeln!(
            stdout,
            "accounts-server listening on http://{}",
            server.address()
        )
        .and_then(|()| stdout.flush());
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        log::info!("stopping; a second signal stops at once");
        tokio::select! {
            () = server.shutdown() => log::info!("stopped"),
            _ = terminate.recv() => log::warn!("stopped at once"),
            _ = interrupt.recv() => log::warn!("stopped at once"),
        }
        Ok(())
    });
    // What still runs has had its time, or was told twice to stop.
    runtime.shutdown_background();
    outcome
}
