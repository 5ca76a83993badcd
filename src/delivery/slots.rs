//! The attempts at events that may be under way at once.
//!
//! An attempt that has lasted for long gives up its slot to an endpoint that works: however many
//! endpoints hang, nobody else waits for longer than that.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::sleep;

/// A bounded number of slots.
pub(super) struct Slots {
    permits: Semaphore,
    counts: Mutex<Counts>,
    contended: Notify,
    /// How long an attempt keeps its slot while others wait.
    evict_after: Duration,
}

#[derive(Default)]
struct Counts {
    /// Attempts of working endpoints that wait for a slot.
    waiting: usize,
    /// Attempts that were evicted for them and have not been replaced yet.
    evicted: usize,
}

impl Slots {
    /// This number of free slots, each of which an attempt keeps for so long while others wait.
    pub(super) fn new(slots: usize, evict_after: Duration) -> Self {
        Self {
            permits: Semaphore::new(slots),
            counts: Mutex::default(),
            contended: Notify::new(),
            evict_after,
        }
    }

    /// Waits for a slot. `may_evict` is for endpoints that work: another attempt gives way.
    pub(super) async fn acquire(&self, may_evict: bool) -> Option<SemaphorePermit<'_>> {
        if let Ok(permit) = self.permits.try_acquire() {
            return Some(permit);
        }
        if may_evict {
            self.counts().waiting += 1;
            self.contended.notify_waiters();
        }
        let permit = self.permits.acquire().await.ok();
        if may_evict {
            let mut counts = self.counts();
            counts.waiting = counts.waiting.saturating_sub(1);
            counts.evicted = counts.evicted.saturating_sub(1);
        }
        permit
    }

    /// Returns when the attempt of the caller has to give way.
    pub(super) async fn evicted(&self) {
        sleep(self.evict_after).await;
        loop {
            let mut contended = std::pin::pin!(self.contended.notified());
            // From here on no notification is missed.
            contended.as_mut().enable();
            {
                let mut counts = self.counts();
                if counts.evicted < counts.waiting {
                    counts.evicted += 1;
                    return;
                }
            }
            contended.await;
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::timeout;

    use super::*;

    const EVICT_AFTER: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(30);
    const SHORT: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn hanging_attempt_gives_way_to_a_working_endpoint() {
        let slots = Arc::new(Slots::new(2, EVICT_AFTER));
        for _ in 0..2 {
            let slots = Arc::clone(&slots);
            tokio::spawn(async move {
                let _slot = slots.acquire(true).await;
                slots.evicted().await;
            });
        }
        tokio::task::yield_now().await;
        // Both are taken; an endpoint that fails has to wait, one that works does not.
        assert!(timeout(SHORT, slots.acquire(false)).await.is_err());
        let first = timeout(LONG, slots.acquire(true)).await.unwrap();
        // One was evicted, not both.
        assert!(slots.permits.try_acquire().is_err());
        let second = timeout(LONG, slots.acquire(true)).await.unwrap();
        assert!(first.is_some() && second.is_some());
    }

    #[tokio::test]
    async fn attempt_is_left_alone_while_nobody_waits() {
        let slots = Slots::new(2, EVICT_AFTER);
        let _slot = slots.acquire(true).await;
        let _other = slots.acquire(true).await;
        assert!(timeout(SHORT, slots.evicted()).await.is_err());
        // An endpoint that fails may wait, but evicts nobody.
        let waiting = slots.acquire(false);
        let evicted = timeout(SHORT, slots.evicted());
        let (_, evicted) = tokio::join!(timeout(SHORT, waiting), evicted);
        assert!(evicted.is_err());
    }
}
