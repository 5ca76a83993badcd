//! Time-based one-time passwords (RFC 6238) with the parameters that every authenticator app knows:
//! SHA-1, six digits, 30 seconds.
//!
//! Knows neither accounts nor the store; the caller that accepts a code has to note its step, so
//! that no code counts twice.

use std::fmt;
use std::ops::RangeInclusive;

use data_encoding::{BASE32_NOPAD, HEXLOWER_PERMISSIVE};
use hmac::{Hmac, Mac};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha1::Sha1;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::crypto::random;
use crate::domain::{OtpCode, Timestamp};

/// Bytes of a new secret: the output of SHA-1, as RFC 4226, section 4, recommends.
pub(crate) const SECRET_BYTES: usize = 20;

/// Bytes that a secret of another program may have: the first authenticator apps had 10.
const FOREIGN_BYTES: RangeInclusive<usize> = 10..=64;

/// Seconds of a time step.
const STEP_SECONDS: i64 = 30;

/// Steps before and after the current one whose codes are accepted (RFC 6238, section 5.2).
const SKEW: i64 = 1;

/// A shared secret of a server and an authenticator app.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TotpSecret(Vec<u8>);

impl TotpSecret {
    /// A new secret.
    pub(crate) fn generate() -> Self {
        Self(random::bytes::<SECRET_BYTES>().to_vec())
    }

    /// A secret from its bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let is_possible = FOREIGN_BYTES.contains(&bytes.len());
        is_possible.then(|| Self(bytes.to_vec()))
    }

    /// A secret in base 32 as people and programs write it: case, blanks, dashes and padding do not
    /// matter.
    fn parse_base32(text: &str) -> Option<Self> {
        let is_digit = |c: &char| !c.is_whitespace() && !matches!(c, '-' | '=');
        let digits: String = text.chars().filter(is_digit).collect();
        let bytes = BASE32_NOPAD.decode(digits.to_ascii_uppercase().as_bytes());
        Self::from_bytes(&bytes.ok()?)
    }

    /// A secret in base 32, or an `otpauth://totp/` URL with one.
    ///
    /// # Errors
    /// When it is neither, or the URL asks for codes of another kind.
    pub(crate) fn parse(text: &str) -> Result<Self, SecretError> {
        if !text.starts_with("otpauth:") {
            return Self::parse_base32(text).ok_or(SecretError::Invalid);
        }
        let rest = text.strip_prefix("otpauth://totp/");
        let rest = rest.ok_or(SecretError::Unsupported)?;
        let query = rest.split_once('?').map_or("", |(_, query)| query);
        let mut secret = None;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let is_supported = match &*name {
                "algorithm" => value.eq_ignore_ascii_case("SHA1"),
                "digits" => value == "6",
                "period" => value == "30",
                _ => true,
            };
            if !is_supported {
                return Err(SecretError::Unsupported);
            }
            if name == "secret" {
                secret = Self::parse_base32(&value);
            }
        }
        secret.ok_or(SecretError::Invalid)
    }

    /// A secret in hexadecimal digits.
    pub(crate) fn parse_hex(text: &str) -> Option<Self> {
        Self::from_bytes(&HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?)
    }

    /// The bytes of the secret.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The secret in base 32, as people type it.
    pub(crate) fn to_base32(&self) -> String {
        BASE32_NOPAD.encode(&self.0)
    }

    /// The `otpauth://` URL of the secret (the Key URI Format of Google Authenticator).
    pub(crate) fn url(&self, issuer: &str, account: &str) -> String {
        let issuer = utf8_percent_encode(issuer, NON_ALPHANUMERIC);
        let account = utf8_percent_encode(account, NON_ALPHANUMERIC);
        let secret = self.to_base32();
        format!(
            "otpauth://totp/{issuer}:{account}?secret={secret}&issuer={issuer}\
             &algorithm=SHA1&digits=6&period=30"
        )
    }

    /// The step whose code this is: the current one or a neighbour. Takes the same time for all
    /// codes.
    pub(crate) fn matching_step(&self, typed: &OtpCode, now: Timestamp) -> Option<i64> {
        let current = step_at(now);
        let mut found = i64::MIN;
        let mut is_found = Choice::from(0);
        for step in current - SKEW..=current + SKEW {
            let code = self.code_at(step);
            let is_equal = code.as_str().as_bytes().ct_eq(typed.as_str().as_bytes());
            found.conditional_assign(&step, is_equal);
            is_found |= is_equal;
        }
        bool::from(is_found).then_some(found)
    }

    /// The code of a step (RFC 4226, section 5.3).
    pub(crate) fn code_at(&self, step: i64) -> OtpCode {
        let mut mac =
            Hmac::<Sha1>::new_from_slice(&self.0).expect("HMAC accepts keys of any length");
        mac.update(&step.to_be_bytes());
        let hash = mac.finalize().into_bytes();
        let offset = usize::from(hash[19] & 15);
        let word = [
            hash[offset] & 0x7f,
            hash[offset + 1],
            hash[offset + 2],
            hash[offset + 3],
        ];
        OtpCode::from_number(u32::from_be_bytes(word) % 1_000_000)
    }
}

/// Why a text is not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecretError {
    /// It is not base 32, or too short or too long.
    Invalid,
    /// Its codes have other digits, periods or algorithms, or count instead of using the time.
    Unsupported,
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret(******)")
    }
}

/// The last step whose code could be accepted at a moment.
pub(crate) fn last_step_accepted_at(moment: Timestamp) -> i64 {
    step_at(moment) + SKEW
}

/// The time step of a moment.
pub(crate) fn step_at(now: Timestamp) -> i64 {
    now.unix_seconds().div_euclid(STEP_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> TotpSecret {
        TotpSecret::from_bytes(b"12345678901234567890").unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_millis(seconds * 1000)
    }

    #[test]
    fn codes_are_those_of_rfc_6238() {
        // Appendix B, the last six of its eight digits.
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(secret().code_at(step_at(at(seconds))).as_str(), code);
        }
    }

    #[test]
    fn codes_of_neighbouring_steps_match() {
        let now = at(1_234_567_890);
        let step = step_at(now);
        for near in -1..=1 {
            let code = secret().code_at(step + near);
            assert_eq!(secret().matching_step(&code, now), Some(step + near));
        }
        for far in [-2, 2] {
            let code = secret().code_at(step + far);
            assert_eq!(secret().matching_step(&code, now), None);
        }
    }

    #[test]
    fn secrets_of_other_programs_are_parsed() {
        const BASE32: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        for text in [
            BASE32,
            "gezd gnbv-gy3t qojq gezd gnbv gy3t qojq====",
            "otpauth://totp/x?secret=gezdgnbvgy3tqojqgezdgnbvgy3tqojq",
            &secret().url("My App", "ann@example.com"),
        ] {
            assert_eq!(TotpSecret::parse(text), Ok(secret()), "{text}");
        }
        let hex = "3132333435363738393031323334353637383930";
        assert_eq!(TotpSecret::parse_hex(hex), Some(secret()));
        let url = |rest: &str| format!("otpauth://totp/x?secret={BASE32}{rest}");
        for (text, error) in [
            ("GEZDGNBVGY3TQOJ1GEZDGNBV".to_owned(), SecretError::Invalid),
            ("A".repeat(15), SecretError::Invalid),
            ("A".repeat(104), SecretError::Invalid),
            ("otpauth://totp/x?issuer=App".into(), SecretError::Invalid),
            (url("").replace("totp", "hotp"), SecretError::Unsupported),
            (url("&digits=8"), SecretError::Unsupported),
            (url("&algorithm=SHA256"), SecretError::Unsupported),
            (url("&period=60"), SecretError::Unsupported),
        ] {
            assert_eq!(TotpSecret::parse(&text), Err(error), "{text}");
        }
        assert_eq!(TotpSecret::parse_hex("3132333435"), None);
        assert_eq!(TotpSecret::parse_hex(BASE32), None);
    }

    #[test]
    fn url_names_issuer_and_account() {
        assert_eq!(
            secret().url("My App", "ann+x@example.com"),
            "otpauth://totp/My%20App:ann%2Bx%40example%2Ecom\
             ?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=My%20App\
             &algorithm=SHA1&digits=6&period=30"
        );
        assert_eq!(format!("{:?}", secret()), "TotpSecret(******)");
    }
}
