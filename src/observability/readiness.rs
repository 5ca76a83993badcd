//! Readiness: whether the database is writable.
//!
//! A check costs a commit, and anybody can request one. So concurrent callers share a check, and its
//! success is cached for a moment. Failures are not cached, so that recovery shows at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::store::{Store, StoreResult};

/// How long a success is cached.
const CACHE_TIME: Duration = Duration::from_secs(1);

/// Checks of the database, shared by concurrent callers.
#[derive(Debug, Default)]
pub struct Readiness {
    /// Number of completed checks.
    ended: AtomicU64,
    /// Time and result of the last one. Locked during a check.
    last: Mutex<Option<(Timestamp, StoreResult<()>)>>,
}

impl Readiness {
    /// Checks that the store is writable.
    ///
    /// # Errors
    /// When it is not; the error says why.
    pub async fn check(&self, store: &dyn Store, clock: &dyn Clock) -> StoreResult<()> {
        let ended = self.ended.load(Ordering::SeqCst);
        let mut last = self.last.lock().await;
        if let Some((at, outcome)) = &*last {
            let now = clock.now();
            let is_recent = *at <= now && now.since(*at) < CACHE_TIME;
            // A check that completed while this caller waited is as good as its own.
            let is_shared = self.ended.load(Ordering::SeqCst) > ended;
            if is_shared || (is_recent && outcome.is_ok()) {
                return outcome.clone();
            }
        }
        let outcome = store.check_writable().await;
        *last = Some((clock.now(), outcome.clone()));
        self.ended.fetch_add(1, Ordering::SeqCst);
        outcome
    }
}
