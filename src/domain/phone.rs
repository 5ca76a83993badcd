//! Telephone numbers.

/// A telephone number in E.164 form (ITU-T E.164): `+`, and up to 15 digits that do not begin with zero.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PhoneNumber(String);

/// The text is no such number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidPhone;

impl PhoneNumber {
    /// Reads a number, dropping spaces, dots, dashes and brackets.
    ///
    /// # Errors
    /// When what is left is not of E.164 form.
    pub fn parse(text: &str) -> Result<Self, InvalidPhone> {
        let number: String = text.chars().filter(|c| !is_decoration(*c)).collect();
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

/// What people write between the digits: spaces and dashes of every width that a copied number may bring.
fn is_decoration(c: char) -> bool {
    matches!(
        c,
        ' ' | '.' | '-' | '(' | ')' | '[' | ']' | '\u{a0}' | '\u{2009}' | '\u{202f}' | '\u{2010}'
            ..='\u{2015}' | '\u{2212}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stored_in_one_form() {
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
}
