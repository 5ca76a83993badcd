//! Whether the database can be written: seldom asked of it, however often and by however many it is asked here.
//!
//! The answer costs a commit, and anybody may ask. So those who ask at one time share one attempt, and one that succeeded
//! counts for a moment. A failure is never remembered: the next who asks learns whether it is over.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::store::{Store, StoreResult};

/// How long an attempt counts that succeeded.
const MOMENT: Duration = Duration::from_secs(1);

/// Attempts to write, shared by those who ask.
#[derive(Debug, Default)]
pub struct Readiness {
    /// How many attempts have ended.
    ended: AtomicU64,
    /// When the last one ended, and how. Held while one is under way.
    last: Mutex<Option<(Timestamp, StoreResult<()>)>>,
}

impl Readiness {
    /// Whether the store can be written to.
    ///
    /// # Errors
    /// Why it cannot.
    pub async fn check(&self, store: &dyn Store, clock: &dyn Clock) -> StoreResult<()> {
        let ended = self.ended.load(Ordering::SeqCst);
        let mut last = self.last.lock().await;
        if let Some((at, outcome)) = &*last {
            let now = clock.now();
            let is_recent = *at <= now && now.since(*at) < MOMENT;
            // One that ended while this caller waited for its turn is as good as an attempt of its own.
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
