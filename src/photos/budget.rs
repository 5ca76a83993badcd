//! One memory budget for all decoding: what a photo takes is reserved before it is allocated.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Memory that decoders share.
#[derive(Debug)]
pub(super) struct MemoryBudget {
    total: u64,
    free: Mutex<u64>,
    released: Condvar,
}

/// Reserved memory, given back on drop.
#[derive(Debug)]
pub(super) struct Reservation<'a> {
    budget: &'a MemoryBudget,
    bytes: u64,
}

impl MemoryBudget {
    pub(super) fn new(total: u64) -> Self {
        Self {
            total,
            free: Mutex::new(total),
            released: Condvar::new(),
        }
    }

    /// Reserves memory, and waits until that much is free. `None` when it never will be.
    pub(super) fn reserve(&self, bytes: u64) -> Option<Reservation<'_>> {
        if bytes > self.total {
            return None;
        }
        let mut free = self.lock();
        while *free < bytes {
            free = self
                .released
                .wait(free)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *free -= bytes;
        drop(free);
        Some(Reservation {
            budget: self,
            bytes,
        })
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        *self.budget.lock() += self.bytes;
        self.budget.released.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_wait_for_each_other_and_never_exceed_the_total() {
        let budget = MemoryBudget::new(100);
        assert!(budget.reserve(101).is_none());
        let used = Mutex::new(0_u64);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for bytes in [30, 60, 100] {
                        let _reservation = budget.reserve(bytes).unwrap();
                        let mut now = used.lock().unwrap();
                        *now += bytes;
                        assert!(*now <= 100);
                        drop(now);
                        std::thread::yield_now();
                        *used.lock().unwrap() -= bytes;
                    }
                });
            }
        });
        assert_eq!(*budget.lock(), 100);
    }
}
