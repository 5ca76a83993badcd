//! Socket activation, status notifications and the watchdog of systemd.
//!
//! Active only when the environment variables of systemd are set.

use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::server::{Inherited, Server};

/// The sockets passed by systemd (`sd_listen_fds(3)`): the first for the API, a second for metrics.
///
/// # Errors
/// When one of them is not a listening TCP socket.
pub(super) fn inherited() -> Result<Inherited, String> {
    let mut sockets = ListenFd::from_env();
    let mut take = |number: usize| {
        if sockets.len() <= number {
            return Ok(None);
        }
        sockets.take_tcp_listener(number).map_err(|e| {
            format!(
                "socket {number} passed by systemd is not a TCP socket: {e}; check ListenStream="
            )
        })
    };
    Ok(Inherited {
        main: take(0)?,
        metrics: take(1)?,
    })
}

/// Reports that the server accepts connections, or that a reload is complete.
pub(super) fn ready() {
    notify(&[NotifyState::Ready]);
}

/// Reports that a reload begins; [`ready`] must follow.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(e) => log::debug!("systemd was not notified of the reload: {e}"),
    }
}

/// Reports that the server is stopping.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(states: &[NotifyState<'_>]) {
    // The variable is not removed: other threads may read the environment.
    if let Err(e) = sd_notify::notify(false, states) {
        log::warn!("systemd could not be notified: {e}");
    }
}

/// Notifies the watchdog of systemd (`WatchdogSec=`) while the server responds.
///
/// A server that accepts no connections, or whose database does not respond, is restarted by
/// systemd.
pub(super) async fn watchdog(server: &Server) {
    let mut micros = 0;
    if !sd_notify::watchdog_enabled(false, &mut micros) {
        return std::future::pending().await;
    }
    // Twice per interval, as `sd_watchdog_enabled(3)` recommends.
    let pause = Duration::from_micros(micros) / 2;
    let busy = server.app().config.database.busy_timeout_ms;
    if Duration::from_millis(busy.into()) >= pause {
        log::warn!(
            "WatchdogSec= is too short for [database] busy_timeout_ms = {busy}: a database that \
             another \
             process locks for that long looks like a hanging server. Set it above {} s",
            2 * busy.div_ceil(1000)
        );
    }
    loop {
        if tokio::time::timeout(pause, server.respond()).await.is_ok() {
            notify(&[NotifyState::Watchdog]);
        } else {
            log::error!("the server does not respond to its own check");
        }
        tokio::time::sleep(pause).await;
    }
}
