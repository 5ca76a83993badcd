//! The one place where randomness is made: identifiers, codes, salts and keys, all from the operating system's
//! cryptographically secure source by way of `rand`'s thread-local generator.

use rand::RngExt;

use crate::domain::OtpCode;

/// `N` random bytes.
#[expect(clippy::disallowed_methods, reason = "the one source of randomness")]
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill(&mut bytes[..]);
    bytes
}

/// A new identifier that nobody can guess: 128 random bits in 32 hexadecimal digits.
pub(crate) fn id() -> String {
    format!("{:032x}", u128::from_le_bytes(bytes()))
}

/// A new one-time password; every code is as likely as any other.
#[expect(clippy::disallowed_methods, reason = "the one source of randomness")]
pub(crate) fn otp() -> OtpCode {
    OtpCode::from_number(rand::rng().random_range(0..1_000_000))
}
