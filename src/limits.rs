//! How often one network may do what is worth doing often only to an attacker.
//!
//! The counts are kept in memory and within bounds, whatever the number of networks: they slow a guesser down, and nothing
//! that has to hold across servers or restarts rests on them. What does (wrong tries at a code, mails to an address) is
//! counted in the store.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;

use crate::config::RateLimitsConfig;
use crate::domain::{ClientNetwork, Timestamp};

/// Most networks that are remembered for each kind; the one that was quiet for longest is forgotten first.
const NETWORKS: NonZeroUsize = NonZeroUsize::new(50_000).expect("the number is not zero");

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// A sign-in that failed: 20 in 5 minutes.
    FailedSignIn,
    /// A sign-up: 20 in an hour.
    SignUp,
    /// A try at a one-time password: 30 in 10 minutes.
    OtpTry,
    /// A forgotten password: 20 in 10 minutes.
    Reset,
    /// A code that is wanted again: 60 in 10 minutes.
    Resend,
}

impl Limited {
    const ALL: [Self; 5] = [
        Self::FailedSignIn,
        Self::SignUp,
        Self::OtpTry,
        Self::Reset,
        Self::Resend,
    ];

    /// Within which time so many are allowed.
    const fn window(self) -> Duration {
        match self {
            Self::FailedSignIn => Duration::from_mins(5),
            Self::SignUp => Duration::from_hours(1),
            Self::OtpTry | Self::Reset | Self::Resend => Duration::from_mins(10),
        }
    }

    /// How many are allowed.
    fn most(self, config: &RateLimitsConfig) -> usize {
        let most = match self {
            Self::FailedSignIn => config.failed_sign_ins,
            Self::SignUp => config.sign_ups,
            Self::OtpTry => config.otp_tries,
            Self::Reset => config.resets,
            Self::Resend => config.resends,
        };
        most as usize
    }
}

/// The times at which each network did something, the oldest first.
type Times = LruCache<ClientNetwork, VecDeque<Timestamp>>;

/// Counts by network.
pub struct NetworkLimits {
    config: RateLimitsConfig,
    // `None` when the limits are switched off. One lock for each kind, in the order of `Limited::ALL`.
    counts: Option<[Mutex<Times>; 5]>,
}

impl NetworkLimits {
    /// Limits that hold, or none at all.
    pub fn new(config: &RateLimitsConfig) -> Self {
        Self {
            config: config.clone(),
            // Unbounded at first, and bounded by hand below: a bounded one would take all its memory at once.
            counts: config
                .enabled
                .then(|| Limited::ALL.map(|_| Mutex::new(LruCache::unbounded()))),
        }
    }

    /// Whether one more is allowed; otherwise gives the time until it is. Nothing is counted.
    ///
    /// # Errors
    /// The time to wait.
    pub fn check(
        &self,
        what: Limited,
        network: ClientNetwork,
        now: Timestamp,
    ) -> Result<(), Duration> {
        let Some(mut counts) = self.lock(what) else {
            return Ok(());
        };
        match counts.get_mut(&network) {
            Some(times) => self.room(what, times, now),
            None => Ok(()),
        }
    }

    /// Counts one more, if that is allowed; otherwise gives the time until it is.
    ///
    /// # Errors
    /// The time to wait.
    pub fn count(
        &self,
        what: Limited,
        network: ClientNetwork,
        now: Timestamp,
    ) -> Result<(), Duration> {
        let Some(mut counts) = self.lock(what) else {
            return Ok(());
        };
        let times = counts.get_or_insert_mut(network, VecDeque::new);
        self.room(what, times, now)?;
        times.push_back(now);
        if counts.len() > NETWORKS.get() {
            counts.pop_lru();
        }
        Ok(())
    }

    /// Takes back what [`NetworkLimits::count`] has counted last: it turned out to be harmless.
    pub fn take_back(&self, what: Limited, network: ClientNetwork) {
        let Some(mut counts) = self.lock(what) else {
            return;
        };
        if let Some(times) = counts.get_mut(&network) {
            times.pop_back();
            if times.is_empty() {
                counts.pop(&network);
            }
        }
    }

    fn lock(&self, what: Limited) -> Option<std::sync::MutexGuard<'_, Times>> {
        let index = Limited::ALL.iter().position(|known| *known == what)?;
        let counts = &self.counts.as_ref()?[index];
        Some(counts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Forgets what has left the window, and says whether there is room for one more in it.
    fn room(
        &self,
        what: Limited,
        times: &mut VecDeque<Timestamp>,
        now: Timestamp,
    ) -> Result<(), Duration> {
        let within = what.window();
        while times.front().is_some_and(|first| first.plus(within) <= now) {
            times.pop_front();
        }
        match times.front() {
            Some(first) if times.len() >= what.most(&self.config) => {
                Err(first.plus(within).since(now))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::config::Config;

    fn limits(enabled: bool) -> NetworkLimits {
        let mut config = Config::defaults(false).rate_limits;
        config.enabled = enabled;
        NetworkLimits::new(&config)
    }

    fn network(number: u32) -> ClientNetwork {
        IpAddr::V4(Ipv4Addr::from_bits(number)).into()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_millis(seconds * 1000)
    }

    #[test]
    fn the_window_slides() {
        let limits = limits(true);
        for second in 0..20 {
            assert_eq!(
                limits.count(Limited::SignUp, network(1), at(second)),
                Ok(())
            );
        }
        let wait = limits.count(Limited::SignUp, network(1), at(30));
        assert_eq!(wait, Err(Duration::from_secs(3570)));
        // Neither another network nor another kind is touched, and the first one leaves the window after an hour.
        assert_eq!(limits.count(Limited::SignUp, network(2), at(30)), Ok(()));
        assert_eq!(limits.count(Limited::Reset, network(1), at(30)), Ok(()));
        assert_eq!(limits.count(Limited::SignUp, network(1), at(3600)), Ok(()));
        assert!(limits.count(Limited::SignUp, network(1), at(3600)).is_err());
    }

    #[test]
    fn asking_does_not_count() {
        let limits = limits(true);
        for _ in 0..100 {
            assert_eq!(limits.check(Limited::Reset, network(1), at(0)), Ok(()));
        }
        for _ in 0..20 {
            limits.count(Limited::Reset, network(1), at(0)).unwrap();
        }
        assert!(limits.check(Limited::Reset, network(1), at(1)).is_err());
        assert_eq!(limits.check(Limited::Reset, network(1), at(600)), Ok(()));
    }

    #[test]
    fn what_is_taken_back_does_not_count() {
        let limits = limits(true);
        for second in 0..100 {
            let counted = limits.count(Limited::FailedSignIn, network(1), at(second));
            assert_eq!(counted, Ok(()));
            limits.take_back(Limited::FailedSignIn, network(1));
        }
    }

    #[test]
    fn memory_is_bounded() {
        let limits = limits(true);
        for number in 0..60_000 {
            limits
                .count(Limited::OtpTry, network(number), at(0))
                .unwrap();
        }
        let counts = limits.lock(Limited::OtpTry).unwrap();
        assert_eq!(counts.len(), NETWORKS.get());
        assert!(counts.contains(&network(59_999)) && !counts.contains(&network(0)));
    }

    #[test]
    fn switched_off_nothing_is_limited() {
        let limits = limits(false);
        for _ in 0..1000 {
            assert_eq!(limits.count(Limited::SignUp, network(1), at(0)), Ok(()));
        }
    }
}
