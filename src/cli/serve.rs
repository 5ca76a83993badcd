//! `serve`: runs the server until a signal stops it.

use std::io::Write;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use super::{CommandResult, load_config, systemd};
use crate::clock::clock_for;
use crate::config::{Config, Sources};
use crate::observability::{error_chain, logging};
use crate::server::{Reloaded, Server};

/// Time that blocking tasks get to finish after the shutdown of the server.
const BLOCKING_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause between checks of the parent process.
const PARENT_POLL: Duration = Duration::from_millis(100);

/// Returns when the parent process has exited: this process then has another parent.
async fn parent_exit(parent: u32) {
    while std::os::unix::process::parent_id() == parent {
        tokio::time::sleep(PARENT_POLL).await;
    }
}

/// Raises the limit on open files to its maximum: each connection is an open file.
///
/// The usual soft limit of 1024 is for programs that use `select`.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(e) = setrlimit(Resource::Nofile, limit) {
        log::warn!("the limit on open files could not be raised: {e}");
    }
}

pub(super) fn serve(config: Config, sources: &Sources) -> CommandResult {
    let parent = std::os::unix::process::parent_id();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("cannot start: {e}"))?;
    raise_file_limit();
    for warning in config.serve_warnings() {
        log::warn!("{warning}");
    }
    let ends_with_parent = config.development.exit_with_parent;
    let outcome = runtime.block_on(async {
        let listen = |kind| {
            signal(kind).map_err(|e: std::io::Error| format!("cannot listen for signals: {e}"))
        };
        let mut terminate = listen(SignalKind::terminate())?;
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut hangup = listen(SignalKind::hangup())?;
        let clock = clock_for(config.dev);
        let server = Server::start_on(config, clock, systemd::inherited()?)
            .await
            .map_err(|e| error_chain(&e))?;
        announce(&server).await;
        systemd::ready();
        let watchdog = systemd::watchdog(&server);
        let reloads = async {
            while hangup.recv().await.is_some() {
                reload(&server, sources).await;
            }
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = watchdog => {}
            () = reloads => {}
            () = logging::report_suppressed() => {}
            () = parent_exit(parent), if ends_with_parent => {
                log::info!("the parent process has exited");
            }
        }
        systemd::stopping();
        log::info!("stopping; a second signal stops at once");
        tokio::select! {
            () = server.shutdown() => {
                log::info!("stopped");
                Ok(BLOCKING_TIMEOUT)
            }
            _ = terminate.recv() => Ok(Duration::ZERO),
            _ = interrupt.recv() => Ok(Duration::ZERO),
        }
    });
    // Lets the tasks close the database; a second signal skips the wait.
    let timeout = *outcome.as_ref().unwrap_or(&BLOCKING_TIMEOUT);
    runtime.shutdown_timeout(timeout);
    outcome.map(drop)
}

/// Prints the URL of the server on standard output, and the setup link while there is no staff
/// account.
async fn announce(server: &Server) {
    let mut text = format!("accounts-server listening on {}\n", server.url());
    match server.setup_url().await {
        Ok(Some(url)) => text.push_str(&format!(
            "create the first administrator within an hour: {url}\n"
        )),
        Ok(None) => {}
        Err(e) => log::warn!("the setup link was not made: {}", error_chain(&e)),
    }
    let mut stdout = std::io::stdout();
    // The parent may have closed standard output; the server runs nevertheless.
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    if let Some(address) = server.metrics_address() {
        log::info!("metrics are at http://{address}/metrics");
    }
}

/// Reloads the settings. On errors the server keeps the current ones.
async fn reload(server: &Server, sources: &Sources) {
    systemd::reloading();
    let outcome = match load_config(sources) {
        Ok(config) => server.reload(config).await.map_err(|e| error_chain(&e)),
        Err(e) => Err(e),
    };
    match outcome {
        Ok(Reloaded {
            changed,
            need_restart,
        }) => {
            match changed.is_empty() {
                true => log::info!("reloaded; no setting changed"),
                false => log::info!("reloaded; changed: {}", changed.join(", ")),
            }
            if !need_restart.is_empty() {
                log::warn!(
                    "these settings take effect after a restart: {}",
                    need_restart.join(", ")
                );
            }
        }
        Err(e) => {
            logging::configure(&server.app().config.log);
            log::error!("the settings were not reloaded: {e}");
        }
    }
    systemd::ready();
}
