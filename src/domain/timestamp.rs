//! Moments in time.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::BirthDate;
use super::date::write_number;

/// Unix milliseconds, UTC. Clients see whole seconds (RFC 3339, `2024-12-03T12:00:00Z`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(i64);

const MILLIS_PER_DAY: i64 = 86_400_000;

impl Timestamp {
    /// The latest moment.
    pub const MAX: Self = Self(i64::MAX);

    /// From Unix milliseconds.
    pub const fn from_unix_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From Unix seconds.
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Unix milliseconds.
    pub const fn unix_millis(self) -> i64 {
        self.0
    }

    /// Whole Unix seconds, rounded down.
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This much later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// This much earlier.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }

    /// The time since `earlier`; zero when this is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Whole days since 1970-01-01, UTC.
    pub const fn unix_days(self) -> i64 {
        self.0.div_euclid(MILLIS_PER_DAY)
    }

    /// The beginning of a day, from days since 1970-01-01.
    pub const fn from_unix_days(days: i64) -> Self {
        Self(days.saturating_mul(MILLIS_PER_DAY))
    }

    /// The calendar date in UTC.
    pub fn date(self) -> BirthDate {
        BirthDate::from_unix_days(self.unix_days())
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let second = self.0.rem_euclid(MILLIS_PER_DAY) / 1000;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{}T{hour:02}:{minute:02}:{second:02}Z", self.date())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = *b"0000-00-00T00:00:00Z";
        let second = self.0.rem_euclid(MILLIS_PER_DAY) / 1000;
        let parts = [second / 3600, second / 60 % 60, second % 60];
        for (part, place) in parts.into_iter().zip([11, 14, 17]) {
            let part = u16::try_from(part).unwrap_or(0);
            write_number(&mut text[place..place + 2], part);
        }
        if self.date().write_digits(&mut text)
            && let Ok(text) = str::from_utf8(&text)
        {
            return serializer.serialize_str(text);
        }
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_in_whole_seconds() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_733_227_200_000, "2024-12-03T12:00:00Z"),
            (1_733_227_200_999, "2024-12-03T12:00:00Z"),
            (951_827_696_000, "2000-02-29T12:34:56Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            let timestamp = Timestamp::from_unix_millis(millis);
            assert_eq!(timestamp.to_string(), text);
            let written = serde_json::to_string(&timestamp).unwrap();
            assert_eq!(written, format!("\"{text}\""));
        }
    }

    #[test]
    fn arithmetic_saturates() {
        let start = Timestamp::from_unix_millis(1000);
        assert_eq!(start.plus(Duration::from_secs(2)).unix_millis(), 3000);
        assert_eq!(start.minus(Duration::from_secs(2)).unix_millis(), -1000);
        assert_eq!(start.plus(Duration::MAX).unix_millis(), i64::MAX);
        assert_eq!(start.since(Timestamp::default()), Duration::from_secs(1));
        assert_eq!(Timestamp::default().since(start), Duration::ZERO);
        assert_eq!(Timestamp::from_unix_millis(-1).unix_seconds(), -1);
    }
}
