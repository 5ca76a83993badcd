//! Lengths of time.

use std::time::Duration;

use super::{TextValue, digits};

/// A duration from one minute to one year, written as `90m`, `6h` or `1d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval(Duration);

impl Interval {
    const DAY: u64 = 24 * 3600;
    /// The units and their length in seconds, the longest first.
    const UNITS: [(char, u64); 3] = [('d', Self::DAY), ('h', 3600), ('m', 60)];

    /// An interval of whole days.
    pub const fn days(days: u8) -> Self {
        Self(Duration::from_secs(days as u64 * Self::DAY))
    }

    /// Its length.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl TextValue for Interval {
    const EXPECTED: &'static str = "a duration such as 90m, 6h or 1d, from a minute to a year";

    fn parse(text: &str) -> Option<Self> {
        let (_, unit) = Self::UNITS.iter().find(|(unit, _)| text.ends_with(*unit))?;
        let count: u64 = digits(&text[..text.len() - 1])?;
        let seconds = count.checked_mul(*unit)?;
        (60..=365 * Self::DAY)
            .contains(&seconds)
            .then(|| Self(Duration::from_secs(seconds)))
    }

    fn text(&self) -> String {
        let seconds = self.0.as_secs();
        let (unit, length) = Self::UNITS
            .into_iter()
            .find(|(_, length)| seconds.is_multiple_of(*length))
            .expect("an interval is a number of minutes");
        format!("{}{unit}", seconds / length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_numbers_with_a_unit() {
        for (text, seconds, written) in [
            ("1m", 60, "1m"),
            ("90m", 5400, "90m"),
            ("120m", 7200, "2h"),
            ("24h", 86_400, "1d"),
            ("365d", 31_536_000, "365d"),
        ] {
            let interval = Interval::parse(text).expect(text);
            assert_eq!(interval.duration().as_secs(), seconds);
            assert_eq!(interval.text(), written);
        }
        for text in [
            "",
            "d",
            "0m",
            "1",
            "1s",
            "-1d",
            "+1d",
            "1.5h",
            "366d",
            "1 d",
            "1D",
            "99999999999999999999m",
        ] {
            assert_eq!(Interval::parse(text), None, "{text}");
        }
    }
}
