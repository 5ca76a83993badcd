//! What systemd and the server say to each other: sockets that listen already, and how the server is.
//!
//! Nothing of it happens where the environment does not ask for it, so it costs others nothing.

use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::server::{Inherited, Server};

/// The sockets that systemd handed over (`sd_listen_fds(3)`): the first for the API, a second one for figures.
///
/// # Errors
/// When one of them is no listening TCP socket.
pub(super) fn inherited() -> Result<Inherited, String> {
    let mut sockets = ListenFd::from_env();
    let mut take = |number: usize| {
        if sockets.len() <= number {
            return Ok(None);
        }
        sockets.take_tcp_listener(number).map_err(|e| {
            format!("socket number {number} that was handed over is no TCP socket: {e}; look at ListenStream=")
        })
    };
    Ok(Inherited {
        main: take(0)?,
        metrics: take(1)?,
    })
}

/// Connections are accepted, or other settings have been taken over.
pub(super) fn ready() {
    notify(&[NotifyState::Ready]);
}

/// Other settings are about to be taken over; [`ready`] is to follow.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(e) => log::debug!("systemd was not told of the reload: {e}"),
    }
}

/// The server is about to end.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(states: &[NotifyState<'_>]) {
    // The environment stays as it is: other threads may be reading it.
    if let Err(e) = sd_notify::notify(false, states) {
        log::warn!("systemd could not be told how the server is: {e}");
    }
}

/// Tells systemd again and again that the server works, for as long as it does (`WatchdogSec=`). A server that takes in no
/// connections or whose database does not answer says nothing, and systemd starts it anew.
pub(super) async fn watch(server: &Server) {
    let mut micros = 0;
    if !sd_notify::watchdog_enabled(false, &mut micros) {
        return std::future::pending().await;
    }
    // Twice in the time allowed, as `sd_watchdog_enabled(3)` recommends.
    let pause = Duration::from_micros(micros) / 2;
    let busy = server.app().config.database.busy_timeout_ms;
    if Duration::from_millis(busy.into()) >= pause {
        log::warn!(
            "WatchdogSec= is too short for [database] busy_timeout_ms = {busy}: a database that another process holds for \
             that long would look like a server that hangs. Make it more than {} s",
            2 * busy.div_ceil(1000)
        );
    }
    loop {
        if tokio::time::timeout(pause, server.respond()).await.is_ok() {
            notify(&[NotifyState::Watchdog]);
        } else {
            log::error!("the server does not answer itself");
        }
        tokio::time::sleep(pause).await;
    }
}
