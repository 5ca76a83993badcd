//! Rate limits per client network.
//!
//! The counters are in memory and bounded for any number of networks. They slow attackers down;
//! what must hold across servers and restarts (wrong tries at a code, mails to an address) is
//! counted in the store. [`NetworkScope`] is the one rule about what of an IPv6 address counts.

mod buffers;
mod ceiling;
mod window;

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;

use crate::domain::{ClientNetwork, NetworkScope, Timestamp};
pub use buffers::{BufferLimits, Buffers, Exhausted, Reservation};
pub use ceiling::Ceiling;
use ceiling::HourCount;
use window::Window;

/// Most scopes per limit; the least recently used one is evicted first.
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
    /// A challenge for a passkey: 300 in 5 minutes.
    PasskeyChallenge,
    /// An application's request that waits for its user: 600 in 5 minutes.
    AuthorizationRequest,
    /// A sign-in by an external provider, when it is started: 300 in 5 minutes.
    ExternalSignIn,
    /// A wrong secret, code or token of an OAuth client: 100 in 5 minutes.
    ClientFailure,
}

impl Limited {
    const ALL: [Self; 11] = [
        Self::FailedSignIn,
        Self::SignUp,
        Self::TakenAddress,
        Self::AddressChange,
        Self::OtpTry,
        Self::Reset,
        Self::Resend,
        Self::PasskeyChallenge,
        Self::AuthorizationRequest,
        Self::ExternalSignIn,
        Self::ClientFailure,
    ];

    /// The length of the sliding window.
    const fn window(self) -> Duration {
        match self {
            Self::FailedSignIn
            | Self::PasskeyChallenge
            | Self::AuthorizationRequest
            | Self::ExternalSignIn
            | Self::ClientFailure => Duration::from_mins(5),
            Self::SignUp | Self::TakenAddress | Self::AddressChange => Duration::from_hours(1),
            Self::OtpTry | Self::Reset | Self::Resend => Duration::from_mins(10),
        }
    }

    /// The ceiling that makes its allowance smaller.
    const fn ceiling(self) -> Option<Ceiling> {
        match self {
            Self::SignUp | Self::AddressChange => Some(Ceiling::NewAddressMails),
            Self::OtpTry => Some(Ceiling::WrongCodes),
            Self::FailedSignIn
            | Self::TakenAddress
            | Self::Reset
            | Self::Resend
            | Self::PasskeyChallenge
            | Self::AuthorizationRequest
            | Self::ExternalSignIn
            | Self::ClientFailure => None,
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
            Self::PasskeyChallenge => allowance.passkey_challenges,
            Self::AuthorizationRequest => allowance.authorization_requests,
            Self::ExternalSignIn => allowance.external_sign_ins,
            Self::ClientFailure => allowance.client_failures,
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
    /// In 5 minutes.
    pub passkey_challenges: u32,
    /// In 5 minutes.
    pub authorization_requests: u32,
    /// In 5 minutes.
    pub external_sign_ins: u32,
    /// In 5 minutes.
    pub client_failures: u32,
    /// Mails to addresses without an account in an hour, over all networks; zero for no ceiling.
    pub new_address_mails: u32,
    /// Wrong one-time passwords in an hour, over all networks; zero for no ceiling.
    pub wrong_codes: u32,
}

impl Allowance {
    /// The limit of a ceiling.
    fn of(&self, ceiling: Ceiling) -> u32 {
        match ceiling {
            Ceiling::NewAddressMails => self.new_address_mails,
            Ceiling::WrongCodes => self.wrong_codes,
        }
    }
}

/// The actions of each scope.
type Counts = LruCache<NetworkScope, Window>;

/// The counters of all limits.
struct Counters {
    allowance: Allowance,
    /// One lock per action, in the order of [`Limited::ALL`].
    by_scope: [Mutex<Counts>; Limited::ALL.len()],
    /// In the order of [`Ceiling::ALL`].
    in_all: [HourCount; Ceiling::ALL.len()],
}

/// Rate limits per network.
pub struct NetworkLimits {
    // `None` when the limits are off.
    counters: Option<Counters>,
}

impl NetworkLimits {
    /// These limits, or none.
    pub fn new(allowance: Option<Allowance>) -> Self {
        Self {
            counters: allowance.map(|allowance| Counters {
                allowance,
                // Bounded in `count`: a bounded cache would allocate all its memory at once.
                by_scope: Limited::ALL.map(|_| Mutex::new(LruCache::unbounded())),
                in_all: Ceiling::ALL.map(|_| HourCount::default()),
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
        let Some((most, mut counts)) = self.lock(what, now) else {
            return Ok(());
        };
        room(what, most, &mut counts, network, now)
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
        let Some((most, mut counts)) = self.lock(what, now) else {
            return Ok(());
        };
        room(what, most, &mut counts, network, now)?;
        for scope in NetworkScope::of(network) {
            let window = counts.get_or_insert_mut(scope, Window::default);
            window.push(scope.factor(), now);
        }
        while counts.len() > NETWORKS.get() {
            counts.pop_lru();
        }
        Ok(())
    }

    /// Takes back the last [`NetworkLimits::count`]: the action was harmless.
    pub fn refund(&self, what: Limited, network: ClientNetwork, now: Timestamp) {
        let Some((_, mut counts)) = self.lock(what, now) else {
            return;
        };
        for scope in NetworkScope::of(network) {
            if let Some(window) = counts.get_mut(&scope) {
                window.pop(scope.factor());
                if window.is_empty() {
                    counts.pop(&scope);
                }
            }
        }
    }

    /// Counts an event over all networks.
    pub fn note(&self, ceiling: Ceiling, now: Timestamp) {
        if let Some(counters) = &self.counters {
            counters.in_all[ceiling as usize].add(now);
        }
    }

    /// The events of the last hour over all networks, and the limit beyond which the allowances
    /// shrink; zero is none.
    pub fn events(&self, ceiling: Ceiling, now: Timestamp) -> (u64, u32) {
        self.counters.as_ref().map_or((0, 0), |counters| {
            let count = counters.in_all[ceiling as usize].get(now);
            (count, counters.allowance.of(ceiling))
        })
    }

    /// Resets all counters.
    pub fn clear(&self) {
        let Some(counters) = &self.counters else {
            return;
        };
        for counts in &counters.by_scope {
            lock(counts).clear();
        }
        for count in &counters.in_all {
            count.clear();
        }
    }

    /// What a network may do at present, and the counters.
    fn lock(&self, what: Limited, now: Timestamp) -> Option<(usize, MutexGuard<'_, Counts>)> {
        let counters = self.counters.as_ref()?;
        let most = what.most(&counters.allowance);
        let most = what.ceiling().map_or(most, |ceiling| {
            let (count, limit) = self.events(ceiling, now);
            ceiling.shrink(most, count, limit)
        });
        Some((most, lock(&counters.by_scope[what as usize])))
    }
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Checks all scopes of a network for room for one more.
fn room(
    what: Limited,
    most: usize,
    counts: &mut Counts,
    network: ClientNetwork,
    now: Timestamp,
) -> Result<(), Duration> {
    let waits = NetworkScope::of(network).filter_map(|scope| {
        let window = counts.get_mut(&scope)?;
        window.room(what.window(), most, now).err()
    });
    // The longest one, so that a client that keeps to it is not refused again.
    waits.max().map_or(Ok(()), Err)
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
            passkey_challenges: 300,
            authorization_requests: 600,
            external_sign_ins: 300,
            client_failures: 100,
            new_address_mails: 1000,
            wrong_codes: 500,
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
            limits.refund(Limited::FailedSignIn, network(1), at(second));
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
        let (_, counts) = limits.lock(Limited::OtpTry, at(0)).unwrap();
        assert_eq!(counts.len(), NETWORKS.get());
        let has = |number| NetworkScope::of(network(number)).all(|scope| counts.contains(&scope));
        assert!(has(59_999) && !has(0));
    }

    /// The /64 with this number in 2001:db8:<site>::/48.
    fn ipv6(site: u128, number: u128) -> ClientNetwork {
        let bits = (0x2001_0db8_u128 << 96) | (site << 80) | (number << 64);
        IpAddr::from(std::net::Ipv6Addr::from_bits(bits)).into()
    }

    #[test]
    fn ipv6_networks_share_the_allowances_of_their_56_and_48() {
        let limits = limits(true);
        let count = |network| limits.count(Limited::SignUp, network, at(0)).is_ok();
        // The /64 of one /56: 20 each, and 80 together.
        let counted = (0..256).map(|number| (0..30).filter(|_| count(ipv6(1, number))).count());
        assert_eq!(counted.collect::<Vec<_>>()[..6], [20, 20, 20, 20, 0, 0]);
        // The other /56 of that /48: 320 together.
        let rest = (256..65_536).step_by(64);
        let counted: usize = rest
            .map(|number| (0..30).filter(|_| count(ipv6(1, number))).count())
            .sum();
        assert_eq!(counted, 320 - 80);
        // Another site is not concerned.
        assert!(count(ipv6(2, 0)));
        let wait = limits.check(Limited::SignUp, ipv6(1, 65_535), at(600));
        assert_eq!(wait, Err(Duration::from_mins(50)));
    }

    #[test]
    fn refused_networks_take_no_memory() {
        let limits = limits(true);
        for number in 0..65_536 {
            let _ = limits.count(Limited::Reset, ipv6(1, number), at(0));
        }
        let (_, counts) = limits.lock(Limited::Reset, at(0)).unwrap();
        assert!(counts.len() <= 320 + 80 + 1, "{}", counts.len());
    }

    #[test]
    fn flood_from_many_networks_shrinks_allowances_and_shuts_nobody_out() {
        let limits = limits(true);
        let sign_up = |network, second| limits.count(Limited::SignUp, network, at(second));
        for _ in 0..20 {
            sign_up(network(1), 0).unwrap();
        }
        for _ in 0..4000 {
            limits.note(Ceiling::NewAddressMails, at(0));
        }
        assert_eq!(limits.events(Ceiling::NewAddressMails, at(0)), (4000, 1000));
        // A quarter of the allowance is left, also for networks that have used all of it.
        let counted = (0..20).filter(|_| sign_up(network(2), 1).is_ok()).count();
        assert_eq!(counted, 5);
        assert!(sign_up(network(1), 1).is_err());
        for _ in 0..1_000_000 {
            limits.note(Ceiling::NewAddressMails, at(1));
        }
        assert!(sign_up(network(3), 2).is_ok() && sign_up(network(3), 2).is_ok());
        assert!(sign_up(network(3), 2).is_err());
        // Other limits are not concerned, and an hour later everything is as before.
        assert!(limits.count(Limited::OtpTry, network(2), at(2)).is_ok());
        let counted = (0..30)
            .filter(|_| sign_up(network(2), 3601).is_ok())
            .count();
        assert_eq!(counted, 20);
    }

    #[test]
    fn disabled_limits_allow_everything() {
        let limits = limits(false);
        for _ in 0..1000 {
            assert_eq!(limits.count(Limited::SignUp, network(1), at(0)), Ok(()));
        }
    }
}
