//! Rate limits per client network.
//!
//! The counters are in memory and bounded for any number of networks. They slow attackers down;
//! what must hold across servers and restarts (wrong tries at a code, mails to an address) is
//! counted in the store.

mod buffers;

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;

use crate::domain::{ClientNetwork, Timestamp};
pub use buffers::{BufferLimits, Buffers, Exhausted, Reservation};

/// Most networks per limit; the least recently used one is evicted first.
const NETWORKS: NonZeroUsize = NonZeroUsize::new(50_000).expect("the number is not zero");

/// A limited action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// A failed sign-in: 20 in 5 minutes.
    FailedSignIn,
    /// A sign-up: 20 in an hour.
    SignUp,
    /// An answer that an address is taken: per hour as many as sign-ups.
    TakenAddress,
    /// A change to another address, which mails a code to it: per hour as many as sign-ups.
    AddressChange,
    /// A try at a one-time password: 30 in 10 minutes.
    OtpTry,
    /// A password reset request: 20 in 10 minutes.
    Reset,
    /// A code resend: 60 in 10 minutes.
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

    /// The length of the sliding window.
    const fn window(self) -> Duration {
        match self {
            Self::FailedSignIn => Duration::from_mins(5),
            Self::SignUp | Self::TakenAddress | Self::AddressChange => Duration::from_hours(1),
            Self::OtpTry | Self::Reset | Self::Resend => Duration::from_mins(10),
        }
    }

    /// Most actions in the window.
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

/// Most actions of each kind per network and window.
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

/// The times of each network's actions, oldest first.
type Times = LruCache<ClientNetwork, VecDeque<Timestamp>>;

/// Rate limits per network.
pub struct NetworkLimits {
    // `None` when the limits are off. One lock per action, in the order of `Limited::ALL`.
    counts: Option<(Allowance, [Mutex<Times>; Limited::ALL.len()])>,
}

impl NetworkLimits {
    /// These limits, or none.
    pub fn new(allowance: Option<Allowance>) -> Self {
        Self {
            // Bounded in `count`: a bounded cache would allocate all its memory at once.
            counts: allowance.map(|allowance| {
                (
                    allowance,
                    Limited::ALL.map(|_| Mutex::new(LruCache::unbounded())),
                )
            }),
        }
    }

    /// Checks whether one more is allowed, without counting.
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

    /// Counts one more, if it is allowed.
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

    /// Takes back the last [`NetworkLimits::count`]: the action was harmless.
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

    /// Resets all counters.
    pub fn clear(&self) {
        for what in Limited::ALL {
            if let Some((_, mut counts)) = self.lock(what) {
                counts.clear();
            }
        }
    }

    /// The limit and its counters.
    fn lock(&self, what: Limited) -> Option<(usize, MutexGuard<'_, Times>)> {
        let (allowance, counts) = self.counts.as_ref()?;
        let index = Limited::ALL.iter().position(|known| *known == what)?;
        let counts = counts[index].lock().unwrap_or_else(PoisonError::into_inner);
        Some((what.most(allowance), counts))
    }
}

/// Drops what has left the window and checks for room for one more.
fn room(
    what: Limited,
    most: usize,
    times: &mut VecDeque<Timestamp>,
    now: Timestamp,
) -> Result<(), Duration> {
    let within = what.window();
    // Counted while the clock was ahead: moved to now, so that no wait exceeds the window.
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
    fn window_slides() {
        let limits = limits(true);
        for second in 0..20 {
            assert_eq!(
                limits.count(Limited::SignUp, network(1), at(second)),
                Ok(())
            );
        }
        let wait = limits.count(Limited::SignUp, network(1), at(30));
        assert_eq!(wait, Err(Duration::from_secs(3570)));
        // Other networks and actions are unaffected; the first one leaves the window after an hour.
        assert_eq!(limits.count(Limited::SignUp, network(2), at(30)), Ok(()));
        assert_eq!(limits.count(Limited::Reset, network(1), at(30)), Ok(()));
        assert_eq!(limits.count(Limited::SignUp, network(1), at(3600)), Ok(()));
        assert!(limits.count(Limited::SignUp, network(1), at(3600)).is_err());
    }

    #[test]
    fn clock_set_back_does_not_prolong_a_limit() {
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
    fn checks_do_not_count() {
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
    fn refunds_do_not_count() {
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
    fn disabled_limits_allow_everything() {
        let limits = limits(false);
        for _ in 0..1000 {
            assert_eq!(limits.count(Limited::SignUp, network(1), at(0)), Ok(()));
        }
    }
}
