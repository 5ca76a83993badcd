//! Connections that are kept open for the next request to the same server.
//!
//! They are kept for a moment only: long enough for a queue of deliveries, shorter than common
//! servers keep theirs, and never so long that a changed DNS record would not count.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::clock::Stopwatch;

/// How long a connection is kept without a request. Node closes its own after 5 seconds.
const MAX_IDLE: Duration = Duration::from_secs(4);

/// How long a connection is used: the addresses of its name are checked again with the next one.
const MAX_AGE: Duration = Duration::from_mins(1);

/// Most connections that are kept, to one server and in all.
const MAX_PER_ORIGIN: usize = 4;
const MAX_KEPT: usize = 32;

/// An open connection. When it is dropped in the middle of an exchange, it is closed at once.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    /// The task that reads and writes.
    driver: AbortHandle,
    opened: Stopwatch,
    /// Whether it waits for a request, so that it can be closed in the orderly way.
    is_idle: bool,
}

impl Connection {
    pub(super) fn new(sender: SendRequest<Full<Bytes>>, driver: AbortHandle) -> Self {
        Self {
            sender,
            driver,
            opened: Stopwatch::start(),
            is_idle: false,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The task of an idle one ends by itself: it has lost its sender.
        if !self.is_idle {
            self.driver.abort();
        }
    }
}

struct Kept {
    connection: Connection,
    since: Stopwatch,
}

impl Kept {
    fn is_usable(&self) -> bool {
        self.since.elapsed() < MAX_IDLE
            && self.connection.opened.elapsed() < MAX_AGE
            && !self.connection.sender.is_closed()
    }
}

/// Idle connections by origin.
#[derive(Default)]
pub(super) struct Pool {
    kept: Mutex<HashMap<String, Vec<Kept>>>,
}

impl Pool {
    /// A connection to this origin, the one that was used last.
    pub(super) fn take(&self, origin: &str) -> Option<Connection> {
        let mut kept = self.kept();
        let list = kept.get_mut(origin)?;
        list.retain(Kept::is_usable);
        let mut connection = list.pop()?.connection;
        connection.is_idle = false;
        Some(connection)
    }

    /// Keeps a connection whose exchange is complete, if there is room.
    pub(super) fn put(self: &Arc<Self>, origin: &str, mut connection: Connection) {
        connection.is_idle = true;
        let mut kept = self.kept();
        let is_first = kept.is_empty();
        let count: usize = kept.values().map(Vec::len).sum();
        if count >= MAX_KEPT {
            return;
        }
        let list = kept.entry(origin.to_owned()).or_default();
        if list.len() < MAX_PER_ORIGIN {
            list.push(Kept {
                connection,
                since: Stopwatch::start(),
            });
        }
        drop(kept);
        if is_first {
            tokio::spawn(close_unused(Arc::clone(self)));
        }
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<String, Vec<Kept>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes connections that were idle for too long, until none is left.
async fn close_unused(pool: Arc<Pool>) {
    loop {
        sleep(MAX_IDLE).await;
        let mut kept = pool.kept();
        kept.retain(|_, list| {
            list.retain(Kept::is_usable);
            !list.is_empty()
        });
        if kept.is_empty() {
            return;
        }
    }
}
