//! The only module that reads the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::domain::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The current time, UTC.
    fn now(&self) -> Timestamp;

    /// Advances the clock. False when it is not settable, as the system clock.
    fn advance(&self, _by: Duration) -> bool {
        false
    }

    /// Resets all advances.
    fn reset(&self) {}
}

/// A clock as the program passes it around.
pub type SharedClock = Arc<dyn Clock>;

/// The system clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the only read of the system clock"
    )]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_unix_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}

/// The system clock with an offset, so that end-to-end tests see codes and tokens expire without
/// waiting.
#[derive(Debug, Default)]
pub struct MovableClock {
    /// Offset in milliseconds.
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

/// The clock of a server: the system clock, or a movable one for development.
pub fn clock_for(development: bool) -> SharedClock {
    if development {
        Arc::new(MovableClock::default())
    } else {
        Arc::new(SystemClock)
    }
}

/// A clock that stands still until it is moved, for tests.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.unix_millis()))
    }

    /// Moves the clock back, as a correction of a wrong clock does.
    pub fn turn_back(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.0.fetch_sub(millis, Ordering::SeqCst);
    }

    /// Advances the clock.
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

/// Measures durations for metrics, never for decisions: tests cannot move it.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring.
    #[expect(
        clippy::disallowed_methods,
        reason = "the only read of the monotonic clock"
    )]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
