//! Second factors of an account: their kinds, and the form of recovery codes.

use std::fmt;

/// A way to prove a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondFactor {
    /// A code of an authenticator app (RFC 6238).
    Totp,
    /// One of the codes that an account gets with its first factor.
    RecoveryCode,
    /// A passkey (Web Authentication).
    Webauthn,
}

impl SecondFactor {
    /// Its name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::RecoveryCode => "recovery_code",
            Self::Webauthn => "webauthn",
        }
    }
}

/// Number of recovery codes of an account.
pub const RECOVERY_CODES: usize = 10;

/// Characters of a recovery code: 50 random bits.
const RECOVERY_CODE_LENGTH: usize = 10;

/// The digits of Crockford's base 32.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A recovery code: ten characters of Crockford's base 32, written `XXXXX-XXXXX`.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryCode(String);

impl RecoveryCode {
    /// The code that these random bytes choose, five bits of each.
    pub fn from_random(bytes: [u8; RECOVERY_CODE_LENGTH]) -> Self {
        let digits = bytes.map(|byte| char::from(DIGITS[usize::from(byte & 31)]));
        Self(digits.iter().collect())
    }

    /// Parses what was typed. Case, blanks and dashes do not matter, and letters that are no digits
    /// count as those that they look like. `None` when it cannot be a code.
    pub fn parse(text: &str) -> Option<Self> {
        let mut code = String::with_capacity(RECOVERY_CODE_LENGTH);
        for letter in text.chars() {
            let letter = match letter.to_ascii_uppercase() {
                ' ' | '-' | '\u{a0}' | '\u{2010}'..='\u{2015}' => continue,
                'O' => '0',
                'I' | 'L' => '1',
                letter => letter,
            };
            let is_digit = u8::try_from(letter).is_ok_and(|byte| DIGITS.contains(&byte));
            if !is_digit || code.len() == RECOVERY_CODE_LENGTH {
                return None;
            }
            code.push(letter);
        }
        (code.len() == RECOVERY_CODE_LENGTH).then_some(Self(code))
    }

    /// The ten characters, which are hashed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// As it is shown: `XXXXX-XXXXX`.
impl fmt::Display for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, second) = self.0.split_at(RECOVERY_CODE_LENGTH / 2);
        write!(f, "{first}-{second}")
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(******)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_codes_are_read_as_people_type_them() {
        let code = RecoveryCode::from_random([0, 1, 10, 31, 32, 255, 17, 18, 19, 20]);
        assert_eq!(code.to_string(), "01AZ0-ZHJKM");
        for typed in [
            "01AZ0-ZHJKM",
            "01az0zhjkm",
            " 01az0 - zhjkm ",
            "oIaZO\u{2013}zhjkm",
            "0laz0 zhjkm",
        ] {
            assert_eq!(RecoveryCode::parse(typed).as_ref(), Some(&code), "{typed}");
        }
        for wrong in [
            "",
            "01AZ0-ZHJK",
            "01AZ0-ZHJKMM",
            "01AZ0-ZHJKU",
            "01AZ0_ZHJKM",
            "０1AZ0ZHJKM",
        ] {
            assert_eq!(RecoveryCode::parse(wrong), None, "{wrong}");
        }
        assert_eq!(format!("{code:?}"), "RecoveryCode(******)");
    }
}
