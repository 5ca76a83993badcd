//! Dates of birth.

use std::fmt;

use jiff::civil::Date;
use serde::{Serialize, Serializer};

/// A calendar date from the year 1 on, written `YYYY-MM-DD`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BirthDate(Date);

/// The text is not such a date.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidDate;

impl BirthDate {
    /// Parses exactly `YYYY-MM-DD` in ASCII digits.
    ///
    /// # Errors
    /// For any other form, and for days that do not exist.
    pub fn parse(text: &str) -> Result<Self, InvalidDate> {
        let bytes = text.as_bytes();
        if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
            return Err(InvalidDate);
        }
        let number = |from: usize, to: usize| {
            bytes[from..to].iter().try_fold(0_i16, |number, byte| {
                byte.is_ascii_digit()
                    .then(|| number * 10 + i16::from(byte - b'0'))
            })
        };
        let (Some(year), Some(month), Some(day)) = (number(0, 4), number(5, 7), number(8, 10))
        else {
            return Err(InvalidDate);
        };
        // Python's calendar, whose clients this API serves, starts in the year 1.
        if year == 0 {
            return Err(InvalidDate);
        }
        let small = |number: i16| i8::try_from(number).map_err(|_| InvalidDate);
        Date::new(year, small(month)?, small(day)?)
            .map(Self)
            .map_err(|_| InvalidDate)
    }

    /// The date `days` after 1970-01-01, clamped to the representable range.
    pub(super) fn from_unix_days(days: i64) -> Self {
        let epoch = jiff::civil::date(1970, 1, 1);
        let span = jiff::Span::new().try_days(days);
        let farthest = if days < 0 { Date::MIN } else { Date::MAX };
        Self(
            span.and_then(|span| epoch.checked_add(span))
                .unwrap_or(farthest),
        )
    }
}

impl BirthDate {
    /// Writes `YYYY-MM-DD` over ten bytes. False for a negative year, which has another form.
    ///
    /// Faster than `fmt`: every profile holds several dates.
    pub(super) fn write_digits(self, text: &mut [u8]) -> bool {
        let Ok(year) = u16::try_from(self.0.year()) else {
            return false;
        };
        write_number(&mut text[0..4], year);
        write_number(&mut text[5..7], self.0.month().unsigned_abs().into());
        write_number(&mut text[8..10], self.0.day().unsigned_abs().into());
        true
    }
}

/// Writes a zero-padded decimal number over the whole of `text`.
pub(super) fn write_number(text: &mut [u8], mut number: u16) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

impl fmt::Display for BirthDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = self.0;
        write!(
            f,
            "{:04}-{:02}-{:02}",
            date.year(),
            date.month(),
            date.day()
        )
    }
}

impl Serialize for BirthDate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = *b"0000-00-00";
        if self.write_digits(&mut text)
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
    fn only_iso_dates_parse() {
        for right in ["1990-01-01", "0001-01-01", "2000-02-29", "9999-12-31"] {
            assert_eq!(BirthDate::parse(right).unwrap().to_string(), right);
        }
        for wrong in [
            "",
            "1990-1-1",
            "1990-13-01",
            "1990-02-30",
            "2001-02-29",
            "0000-01-01",
            "01.01.1990",
            "1990-01-01 ",
            " 1990-01-01",
            "1990-01-01T00:00:00",
            "19900101",
            "199O-01-01",
            "+990-01-01",
            "1990/01/01",
            "１９９０-01-01",
        ] {
            assert_eq!(BirthDate::parse(wrong), Err(InvalidDate), "{wrong:?}");
        }
    }

    #[test]
    fn serialized_and_displayed_forms_agree() {
        for days in (-719_528..2_932_896).step_by(97) {
            let date = BirthDate::from_unix_days(days);
            let written = serde_json::to_string(&date).unwrap();
            assert_eq!(written, format!("\"{date}\""));
        }
    }

    #[test]
    fn days_are_counted_from_1970() {
        for (days, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (20_060, "2024-12-03"),
        ] {
            assert_eq!(BirthDate::from_unix_days(days).to_string(), text);
        }
    }
}
