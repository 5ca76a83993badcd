//! One-time passwords: purposes and form.

use std::fmt;

/// The purpose of a one-time password. A code is valid for its own purpose only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OtpPurpose {
    /// Confirms the address of one sign-up.
    SignUp,
    /// Confirms the new address of an account.
    EmailChange,
    /// Resets the password of an account.
    PasswordReset,
    /// Authenticates the owner of an account without a password again.
    Reauthentication,
}

impl OtpPurpose {
    /// All purposes.
    pub const ALL: [Self; 4] = [
        Self::SignUp,
        Self::EmailChange,
        Self::PasswordReset,
        Self::Reauthentication,
    ];

    /// The name that is stored and hashed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignUp => "sign_up",
            Self::EmailChange => "email_change",
            Self::PasswordReset => "password_reset",
            Self::Reauthentication => "reauthentication",
        }
    }

    /// The purpose with this stored name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|purpose| purpose.as_str() == name)
    }
}

/// Number of decimal digits of a code.
pub const OTP_DIGITS: usize = 6;

/// A code of exactly six ASCII digits, leading zeros included.
#[derive(Clone, PartialEq, Eq)]
pub struct OtpCode(String);

impl OtpCode {
    /// The code for a number below one million.
    ///
    /// # Panics
    /// When `number` has more than six digits.
    pub fn from_number(number: u32) -> Self {
        assert!(number < 1_000_000, "a code has six digits");
        Self(format!("{number:06}"))
    }

    /// Parses a trimmed input. `None` when it cannot be a code.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == OTP_DIGITS && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| Self(text.to_owned()))
    }

    /// The six digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OtpCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OtpCode(******)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_six_ascii_digits() {
        assert_eq!(OtpCode::from_number(42).as_str(), "000042");
        assert_eq!(OtpCode::parse("000042"), Some(OtpCode::from_number(42)));
        for wrong in ["", "12345", "1234567", "12345a", "１２３４５６", " 12345"] {
            assert_eq!(OtpCode::parse(wrong), None, "{wrong:?}");
        }
        assert_eq!(format!("{:?}", OtpCode::from_number(1)), "OtpCode(******)");
    }
}
