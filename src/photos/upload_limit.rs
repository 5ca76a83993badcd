//! How many photos one account may upload: decoding one costs a second of a core.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;

use crate::domain::{Timestamp, UserId};

/// The window in which uploads are counted.
const WINDOW: Duration = Duration::from_mins(10);

/// Most accounts that are remembered; the least recently used is evicted.
const MOST_ACCOUNTS: usize = 10_000;

/// Counts the uploads of each account, in memory.
#[derive(Debug)]
pub(super) struct UploadLimit {
    most: Option<usize>,
    uploads: Mutex<LruCache<UserId, VecDeque<Timestamp>>>,
}

impl UploadLimit {
    pub(super) fn new(most: Option<u32>) -> Self {
        Self {
            most: most.map(|most| most as usize),
            // Unbounded, and bounded by hand below: a bounded one allocates everything at once.
            uploads: Mutex::new(LruCache::unbounded()),
        }
    }

    /// Counts one more, if it is allowed; otherwise returns the time until it is.
    pub(super) fn count(&self, account: UserId, now: Timestamp) -> Result<(), Duration> {
        let Some(most) = self.most else {
            return Ok(());
        };
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        let times = uploads.get_or_insert_mut(account, VecDeque::new);
        while times.front().is_some_and(|time| time.plus(WINDOW) <= now) {
            times.pop_front();
        }
        if times.len() >= most
            && let Some(oldest) = times.front()
        {
            let free_at = oldest.plus(WINDOW).unix_millis();
            let millis = u64::try_from(free_at - now.unix_millis()).unwrap_or(0);
            return Err(Duration::from_millis(millis));
        }
        times.push_back(now);
        if uploads.len() > MOST_ACCOUNTS {
            uploads.pop_lru();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_are_limited_by_account_and_window() {
        let limit = UploadLimit::new(Some(2));
        let at = |seconds: i64| Timestamp::from_unix_millis(seconds * 1000);
        assert_eq!(limit.count(1, at(0)), Ok(()));
        assert_eq!(limit.count(1, at(60)), Ok(()));
        assert_eq!(limit.count(1, at(100)), Err(Duration::from_secs(500)));
        assert_eq!(limit.count(2, at(100)), Ok(()));
        assert_eq!(limit.count(1, at(600)), Ok(()));
        assert_eq!(limit.count(1, at(600)), Err(Duration::from_mins(1)));
        let unlimited = UploadLimit::new(None);
        assert!((0..1000).all(|_| unlimited.count(1, at(0)).is_ok()));
    }
}
