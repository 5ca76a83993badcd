//! How often one network may do what is worth doing often only to an attacker.
//!
//! The counts are kept in memory and within bounds, whatever the number of networks: they slow a guesser down, and nothing
//! that has to hold across servers or restarts rests on them. What does (wrong tries at a code, mails to an address) is
//! counted in the store.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;

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
    /// An answer that an address is taken: as many in an hour as sign-ups.
    TakenAddress,
    /// A change to another address, which mails a code to it: as many in an hour as sign-ups.
    AddressChange,
    /// A try at a one-time password: 30 in 10 minutes.
    OtpTry,
    /// A forgotten password: 20 in 10 minutes.
    Reset,
    /// A code that is wanted again: 60 in 10 minutes.
    Resend,
}

impl Limited {
    const ALL: [Self; 7] = [
        Self::FailedSignIn,
        Self::SignUp,
        Self::TakenAddress,
        Self::AddressChange,
        Self::OtpTry,
        Self::Reset,
        Self::Resend,
    ];

    /// Within which time so many are allowed.
    const fn window(self) -> Duration {
        match self {
            Self::FailedSignIn => Duration::from_mins(5),
            Self::SignUp | Self::TakenAddress | Self::AddressChange => Duration::from_hours(1),
            Self::OtpTry | Self::Reset | Self::Resend => Duration::from_mins(10),
        }
    }

    /// How many are allowed.
    fn most(self, allowance: &Allowance) -> usize {
        let most = match self {
            Self::FailedSignIn => allowance.failed_sign_ins,
            Self::SignUp | Self::TakenAddress | Self::AddressChange => allowance.sign_ups,
            Self::OtpTry => allowance.otp_tries,
            Self::Reset => allowance.resets,
            Self::Resend => allowance.resends,
        };
        most as usize
    }
}

/// How many of each kind one network may have in the time that goes with the kind.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// In 5 minutes.
    pub failed_sign_ins: u32,
    /// In an hour.
    pub sign_ups: u32,
    /// In 10 minutes.
    pub otp_tries: u32,
    /// In 10 minutes.
    pub resets: u32,
    /// In 10 minutes.
    pub resends: u32,
}

/// The times at which each network did something, the oldest first.
type Times = LruCache<ClientNetwork, VecDeque<Timestamp>>;

/// Counts by network.
pub struct NetworkLimits {
    // `None` when the limits are switched off. One lock for each kind, in the order of `Limited::ALL`.
    counts: Option<(Allowance, [Mutex<Times>; Limited::ALL.len()])>,
}

impl NetworkLimits {
    /// Limits of so much, or none at all.
    pub fn new(allowance: Option<Allowance>) -> Self {
        Self {
            // Unbounded at first, and bounded by hand below: a bounded one would take all its memory at once.
            counts: allowance.map(|allowance| {
                (
                    allowance,
                    Limited::ALL.map(|_| Mutex::new(LruCache::unbounded())),
                )
            }),
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
        let Some((most, mut counts)) = self.lock(what) else {
            return Ok(());
        };
        match counts.get_mut(&network) {
            Some(times) => room(what, most, times, now),
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
        let Some((most, mut counts)) = self.lock(what) else {
            return Ok(());
        };
        let times = counts.get_or_insert_mut(network, VecDeque::new);
        room(what, most, times, now)?;
        times.push_back(now);
        if counts.len() > NETWORKS.get() {
            counts.pop_lru();
        }
        Ok(())
    }

    /// Takes back what [`NetworkLimits::count`] has counted last: it turned out to be harmless.
    pub fn refund(&self, what: Limited, network: ClientNetwork) {
        let Some((_, mut counts)) = self.lock(what) else {
            return;
        };
        if let Some(times) = counts.get_mut(&network) {
            times.pop_back();
            if times.is_empty() {
                counts.pop(&network);
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        for what in Limited::ALL {
            if let Some((_, mut counts)) = self.lock(what) {
                counts.clear();
            }
        }
    }

    /// How many are allowed, and the counts.
    fn lock(&self, what: Limited) -> Option<(usize, MutexGuard<'_, Times>)> {
        let (allowance, counts) = self.counts.as_ref()?;
        let index = Limited::ALL.iter().position(|known| *known == what)?;
        let counts = counts[index].lock().unwrap_or_else(PoisonError::into_inner);
        Some((what.most(allowance), counts))
    }
}

/// Forgets what has left the window, and says whether there is room for one more in it.
fn room(
    what: Limited,
    most: usize,
    times: &mut VecDeque<Timestamp>,
    now: Timestamp,
) -> Result<(), Duration> {
    let within = what.window();
    // Counted while the clock was ahead: as if it had been now, so that nobody waits for longer than the window.
    if times.back().is_some_and(|last| *last > now) {
        for at in times.iter_mut() {
            *at = (*at).min(now);
        }
    }
    while times.front().is_some_and(|first| first.plus(within) <= now) {
        times.pop_front();
    }
    match times.front() {
        Some(first) if times.len() >= most => Err(first.plus(within).since(now)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn limits(enabled: bool) -> NetworkLimits {
        NetworkLimits::new(enabled.then_some(Allowance {
            failed_sign_ins: 20,
            sign_ups: 20,
            otp_tries: 30,
            resets: 20,
            resends: 60,
        }))
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
    fn a_clock_that_is_set_back_locks_nobody_out_for_longer() {
        let limits = limits(true);
        for second in 0..20 {
            let ahead = at(86_400 + second);
            assert_eq!(limits.count(Limited::SignUp, network(1), ahead), Ok(()));
        }
        let wait = limits.check(Limited::SignUp, network(1), at(10));
        assert_eq!(wait, Err(Duration::from_hours(1)));
        assert!(limits.count(Limited::SignUp, network(1), at(3609)).is_err());
        assert_eq!(limits.count(Limited::SignUp, network(1), at(3610)), Ok(()));
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
            limits.refund(Limited::FailedSignIn, network(1));
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
        let (_, counts) = limits.lock(Limited::OtpTry).unwrap();
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
