//! The one place where the time is read. Everything else is told what time it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::domain::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The present moment, UTC.
    fn now(&self) -> Timestamp;

    /// Moves the clock forward. False where that cannot be done, as with the clock of the machine.
    fn advance(&self, _by: Duration) -> bool {
        false
    }

    /// Takes back all moves.
    fn reset(&self) {}
}

/// A clock as the program passes it around.
pub type SharedClock = Arc<dyn Clock>;

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one reading of the machine's clock"
    )]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_unix_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}

/// The clock of the machine, that somebody may move forward: lets end-to-end tests see codes and tokens expire without
/// waiting.
#[derive(Debug, Default)]
pub struct MovableClock {
    /// Milliseconds ahead of the machine.
    ahead: AtomicI64,
}

impl Clock for MovableClock {
    fn now(&self) -> Timestamp {
        let ahead = self.ahead.load(Ordering::SeqCst);
        Timestamp::from_unix_millis(SystemClock.now().unix_millis().saturating_add(ahead))
    }

    fn advance(&self, by: Duration) -> bool {
        add(&self.ahead, by);
        true
    }

    fn reset(&self) {
        self.ahead.store(0, Ordering::SeqCst);
    }
}

fn add(millis: &AtomicI64, by: Duration) {
    let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    millis.fetch_add(by, Ordering::SeqCst);
}

/// The clock to serve by: that of the machine, or one that can be moved.
pub fn clock_for(development: bool) -> SharedClock {
    if development {
        Arc::new(MovableClock::default())
    } else {
        Arc::new(SystemClock)
    }
}

/// A clock that stands still until it is moved: lets tests see codes and tokens expire without waiting.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.unix_millis()))
    }

    /// Moves the clock back, as happens when a wrong one is set right.
    pub fn turn_back(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.0.fetch_sub(millis, Ordering::SeqCst);
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        add(&self.0, by);
    }
}

impl Clock for ManualClock {
    fn advance(&self, by: Duration) -> bool {
        Self::advance(self, by);
        true
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Measures how long something takes, for figures and never for decisions: no test can move it.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins to measure.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one reading of the machine's monotonic clock"
    )]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
