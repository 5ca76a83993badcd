//! Back-off: the pauses between retries of a mail, of an event, and of their target.

use std::time::Duration;

/// The pause after a mail's first failure, doubled after each further one.
///
/// A code, which lives for ten minutes, gets five tries, one of them after the five minutes that greylisting
/// usually demands.
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// The longest pause between two tries of a mail.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// The pauses after the tries of an event; then it is given up. Together they are three days.
const EVENT_PAUSES: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(14),
    Duration::from_hours(20),
    Duration::from_hours(24),
];

/// The pause after the first failure of a target.
const FIRST_OUTAGE: Duration = Duration::from_secs(1);

/// The longest pause between two tries of a target.
const LONGEST_OUTAGE: Duration = Duration::from_mins(1);

/// The pause of a mail after this number of tries.
///
/// `noise` is any random number: pauses vary by a fifth, so that mails that failed together are not retried
/// together.
pub(super) fn pause_after(tries: u32, noise: u32) -> Duration {
    doubled(FIRST_PAUSE, tries, LONGEST_PAUSE, noise)
}

/// The pause of a target after this number of failures in a row.
pub(super) fn outage_after(failures: u32, noise: u32) -> Duration {
    doubled(FIRST_OUTAGE, failures, LONGEST_OUTAGE, noise)
}

/// The pause of an event after this number of tries; `None` when it was the last one.
pub(super) fn event_pause_after(tries: u32, noise: u32) -> Option<Duration> {
    let index = usize::try_from(tries.max(1) - 1).ok()?;
    EVENT_PAUSES.get(index).map(|pause| varied(*pause, noise))
}

fn doubled(first: Duration, count: u32, longest: Duration, noise: u32) -> Duration {
    let factor = 1_u32
        .checked_shl(count.saturating_sub(1))
        .unwrap_or(u32::MAX);
    let pause = first.saturating_mul(factor).min(longest);
    varied(pause, noise)
}

/// From 0.8 to 1.2 of a pause, in steps of a thousandth.
fn varied(pause: Duration, noise: u32) -> Duration {
    pause * (800 + noise % 401) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let no_change = 200;
        let seconds = |tries| pause_after(tries, no_change).as_secs();
        assert_eq!(
            [0, 1, 2, 3, 4, 5, 6, 9].map(seconds),
            [10, 10, 20, 40, 80, 160, 320, 2560]
        );
        for tries in [10, 32, 33, u32::MAX] {
            assert_eq!(seconds(tries), 3600, "{tries}");
        }
        assert_eq!(outage_after(1, no_change), FIRST_OUTAGE);
        assert_eq!(outage_after(99, no_change), LONGEST_OUTAGE);
    }

    #[test]
    fn event_is_given_up_after_ten_tries() {
        let no_change = 200;
        let pauses: Vec<u64> = (1..=9)
            .filter_map(|tries| event_pause_after(tries, no_change))
            .map(|pause| pause.as_secs())
            .collect();
        assert_eq!(
            pauses,
            [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]
        );
        assert_eq!(event_pause_after(10, no_change), None);
        assert_eq!(event_pause_after(u32::MAX, no_change), None);
    }

    #[test]
    fn pauses_vary_by_a_fifth() {
        assert_eq!(pause_after(1, 0), Duration::from_secs(8));
        assert_eq!(pause_after(1, 400), Duration::from_secs(12));
        assert_eq!(pause_after(1, u32::MAX), pause_after(1, u32::MAX % 401));
    }
}
