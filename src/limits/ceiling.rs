//! Ceilings over all networks together, for floods that come from very many of them.
//!
//! A botnet stays below the limit of each of its networks. Beyond a ceiling the allowance of every
//! network shrinks, in proportion to the excess and down to what one person needs, so nobody is shut
//! out. Answers are not delayed instead: that would cost a client that asks in parallel nothing, and
//! the server a connection each.

use std::sync::{Mutex, PoisonError};

use crate::domain::Timestamp;

/// Minutes in an hour, the window of a ceiling.
const MINUTES: usize = 60;

/// The same, as a difference of minutes.
const WINDOW: i64 = 60;

const MILLIS_PER_MINUTE: i64 = 60_000;

/// What is counted over all networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ceiling {
    /// Mails to addresses without an account: of sign-ups and address changes.
    NewAddressMails,
    /// Wrong one-time passwords.
    WrongCodes,
}

impl Ceiling {
    /// All ceilings.
    pub const ALL: [Self; 2] = [Self::NewAddressMails, Self::WrongCodes];

    /// The name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewAddressMails => "new_address_mails",
            Self::WrongCodes => "wrong_codes",
        }
    }

    /// What a network keeps of its allowance in any flood: what one person needs.
    const fn floor(self) -> usize {
        match self {
            Self::NewAddressMails => 2,
            Self::WrongCodes => 5,
        }
    }

    /// What is left of the allowance of a network after `count` events in an hour, where `limit` are
    /// expected at most; a limit of zero is none.
    pub(super) fn shrink(self, most: usize, count: u64, limit: u32) -> usize {
        if limit == 0 || count <= u64::from(limit) {
            return most;
        }
        let left = most as u64 * u64::from(limit) / count;
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        left.max(self.floor()).min(most)
    }
}

/// Events of the last hour, minute by minute.
#[derive(Debug)]
pub(super) struct HourCount(Mutex<Minutes>);

#[derive(Debug)]
struct Minutes {
    counts: [u64; MINUTES],
    /// The minute of the last event, since 1970.
    newest: i64,
}

impl Default for HourCount {
    fn default() -> Self {
        Self(Mutex::new(Minutes {
            counts: [0; MINUTES],
            newest: 0,
        }))
    }
}

impl HourCount {
    /// Counts one event.
    pub(super) fn add(&self, now: Timestamp) {
        self.at(now, |minutes, index| minutes.counts[index] += 1);
    }

    /// The events within the last hour.
    pub(super) fn get(&self, now: Timestamp) -> u64 {
        self.at(now, |minutes, _| minutes.counts.iter().sum())
    }

    pub(super) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Minutes {
            counts: [0; MINUTES],
            newest: 0,
        };
    }

    /// Forgets the minutes that have passed, and calls `act` with the index of this one.
    fn at<T>(&self, now: Timestamp, act: impl FnOnce(&mut Minutes, usize) -> T) -> T {
        let mut minutes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = now.unix_millis().div_euclid(MILLIS_PER_MINUTE);
        let index = |minute: i64| usize::try_from(minute.rem_euclid(WINDOW)).unwrap_or_default();
        if minute > minutes.newest {
            let passed = (minute - minutes.newest).min(WINDOW);
            for earlier in 0..passed {
                minutes.counts[index(minute - earlier)] = 0;
            }
        }
        // A clock that was set back counts on from there.
        minutes.newest = minute;
        act(&mut minutes, index(minute))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(minute: i64) -> Timestamp {
        Timestamp::from_unix_millis(minute * MILLIS_PER_MINUTE + 30_000)
    }

    #[test]
    fn count_covers_the_last_hour() {
        let count = HourCount::default();
        for number in 0..100 {
            count.add(minute(1_000_000 + number));
        }
        assert_eq!(count.get(minute(1_000_099)), 60);
        assert_eq!(count.get(minute(1_000_129)), 30);
        assert_eq!(count.get(minute(1_000_500)), 0);
        // A clock that was set back by a year does not keep what it counted for a year.
        count.add(minute(2_000_000));
        count.add(minute(1_500_000));
        assert!(count.get(minute(1_500_001)) <= 2);
        assert_eq!(count.get(minute(1_500_061)), 0);
    }

    #[test]
    fn allowance_shrinks_with_the_excess_down_to_a_floor() {
        let shrink = |count| Ceiling::NewAddressMails.shrink(20, count, 1000);
        assert_eq!([0, 1000, 2000, 4000].map(shrink), [20, 20, 10, 5]);
        assert_eq!(shrink(1_000_000), 2);
        assert_eq!(Ceiling::WrongCodes.shrink(3, 1_000_000, 1), 3);
        assert_eq!(Ceiling::WrongCodes.shrink(30, 1_000_000, 1), 5);
        assert_eq!(Ceiling::WrongCodes.shrink(30, 1_000_000, 0), 30);
    }
}
