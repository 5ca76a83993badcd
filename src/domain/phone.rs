//! Phone numbers.

/// A phone number in E.164 form: `+` and up to 15 digits that do not start with zero.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PhoneNumber(String);

/// The text is not a phone number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidPhone;

/// Longest country code, in digits (ITU-T E.164).
const COUNTRY_CODE_DIGITS: usize = 3;

impl PhoneNumber {
    /// Parses a number, ignoring spaces, dots, dashes, brackets and invisible characters.
    ///
    /// A trunk prefix `(0)` behind the country code, as in `+44 (0)20 7946 0958`, is dropped: it is
    /// dialled within the country only.
    ///
    /// # Errors
    /// When the rest is not of E.164 form.
    pub fn parse(text: &str) -> Result<Self, InvalidPhone> {
        let typed: String = text.chars().filter(|c| !is_separator(*c)).collect();
        let number: String = without_trunk_prefix(&typed)
            .chars()
            .filter(|c| !matches!(c, '(' | ')' | '[' | ']'))
            .collect();
        let digits = number.strip_prefix('+').ok_or(InvalidPhone)?;
        let fits = (2..=15).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0');
        fits.then_some(Self(number)).ok_or(InvalidPhone)
    }

    /// The number in E.164 form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn without_trunk_prefix(typed: &str) -> String {
    for prefix in ["(0)", "[0]"] {
        if let Some((country, rest)) = typed.split_once(prefix) {
            let code = country.trim_start_matches(['+', '(', '[']);
            let code = code.trim_end_matches([')', ']']);
            if (1..=COUNTRY_CODE_DIGITS).contains(&code.len())
                && code.bytes().all(|b| b.is_ascii_digit())
            {
                return format!("{country}{rest}");
            }
        }
    }
    typed.to_owned()
}

/// Spaces and dashes of every width, and the invisible characters of copied numbers: address books
/// wrap them in marks of writing direction (UAX #9).
fn is_separator(c: char) -> bool {
    matches!(
        c,
        ' ' | '.'
            | '-'
            | '\u{a0}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{2000}'..='\u{2015}'
            | '\u{202a}'..='\u{202f}'
            | '\u{205f}'..='\u{2064}'
            | '\u{2066}'..='\u{2069}'
            | '\u{2212}'
            | '\u{3000}'
            | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stored_in_e164_form() {
        for (typed, stored) in [
            ("+1234567890", "+1234567890"),
            ("+1 (234) 567-890", "+1234567890"),
            ("+49.30[123]45", "+493012345"),
            ("+49\u{a0}30\u{2011}123", "+4930123"),
            ("+123456789012345", "+123456789012345"),
        ] {
            assert_eq!(
                PhoneNumber::parse(typed).unwrap().as_str(),
                stored,
                "{typed}"
            );
        }
        for wrong in [
            "",
            "+",
            "+1",
            "1234567890",
            "+0123456789",
            "+1234567890123456",
            "+12a4",
            "++123",
            "12+345",
            "+١٢٣٤",
            "+1/234",
            "+1\t234",
            "0049 30 123",
        ] {
            assert_eq!(PhoneNumber::parse(wrong), Err(InvalidPhone), "{wrong:?}");
        }
    }

    #[test]
    fn trunk_prefix_is_dropped() {
        for (typed, stored) in [
            ("+44 (0)20 7946 0958", "+442079460958"),
            ("+44(0) 20 7946 0958", "+442079460958"),
            ("(+49) (0) 30 1234", "+49301234"),
            ("+49 [0]30 1234", "+49301234"),
            ("+353 (0)1 234", "+3531234"),
            // Italian numbers keep their zero, and a bracket elsewhere holds digits.
            ("+39 06 1234", "+39061234"),
            ("+1 234 (0)56", "+1234056"),
            ("+44 (020) 7946", "+440207946"),
        ] {
            let parsed = PhoneNumber::parse(typed);
            let parsed = parsed.as_ref().map(PhoneNumber::as_str);
            assert_eq!(parsed, Ok(stored), "{typed}");
        }
    }

    #[test]
    fn invisible_characters_are_dropped() {
        for c in [
            '\u{200b}', '\u{200c}', '\u{200d}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202c}',
            '\u{2060}', '\u{2066}', '\u{2069}', '\u{feff}', '\u{ad}', '\u{61c}',
        ] {
            let typed = format!("{c}+49{c} 30 12{c}34{c}");
            let parsed = PhoneNumber::parse(&typed);
            let parsed = parsed.as_ref().map(PhoneNumber::as_str);
            assert_eq!(parsed, Ok("+49301234"), "U+{:04X}", u32::from(c));
        }
    }
}
