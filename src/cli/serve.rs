//! `serve`: runs the server until it is told to stop.

use std::io::Write;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use super::{CommandResult, load_config, systemd};
use crate::clock::clock_for;
use crate::config::{Config, Sources};
use crate::observability::{error_chain, logging};
use crate::server::{Reloaded, Server};

/// How long work that was begun on other threads may take to end once everything else has.
const LAST_WORK: Duration = Duration::from_secs(5);

/// How often to look whether the parent is there.
const PARENT_PAUSE: Duration = Duration::from_millis(100);

/// Ends when the process that started this one has: then this one has another parent.
async fn end_of(parent: u32) {
    while std::os::unix::process::parent_id() == parent {
        tokio::time::sleep(PARENT_PAUSE).await;
    }
}

/// Allows this process as many open files as it may allow itself: each connection is one. The usual limit of 1024 is for
/// programs that use `select`.
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
        announce(&server);
        systemd::ready();
        let watchdog = systemd::watch(&server);
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
            () = logging::tell_left_out() => {}
            () = end_of(parent), if ends_with_parent => log::info!("the process that started the server has ended"),
        }
        systemd::stopping();
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

/// Says on standard output where the server can be reached.
fn announce(server: &Server) {
    let mut stdout = std::io::stdout();
    // Whoever started us may have closed our standard output; that is no reason not to serve.
    let _ = writeln!(stdout, "accounts-server listening on {}", server.url())
        .and_then(|()| stdout.flush());
    if let Some(address) = server.metrics_address() {
        log::info!("figures are at http://{address}/metrics");
    }
}

/// Reads the settings anew and takes over what can be taken over. Whatever is wrong with them, the server goes on.
async fn reload(server: &Server, sources: &Sources) {
    systemd::reloading();
    let outcome = match load_config(sources) {
        Ok(config) => server.reload(config).await.map_err(|e| e.to_string()),
        Err(e) => Err(e),
    };
    match outcome {
        Ok(Reloaded {
            changed,
            need_restart,
        }) => {
            match changed.is_empty() {
                true => log::info!("reloaded; no setting has changed"),
                false => log::info!("reloaded; changed: {}", changed.join(", ")),
            }
            if !need_restart.is_empty() {
                log::warn!(
                    "these settings change only when the server is started again: {}",
                    need_restart.join(", ")
                );
            }
        }
        Err(e) => {
            logging::configure(&server.app().config.log);
            log::error!("nothing was reloaded, the settings stay as they were: {e}");
        }
    }
    systemd::ready();
}
