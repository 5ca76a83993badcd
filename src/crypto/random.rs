//! The only source of randomness: identifiers, codes, salts and keys.
//!
//! All of it comes from the operating system, through `rand`'s thread-local generator or `ring`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::{CryptoRng, RngExt};
use ring::rand::SystemRandom;

use crate::domain::OtpCode;

/// `N` random bytes.
#[expect(clippy::disallowed_methods, reason = "the one source of randomness")]
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill(&mut bytes[..]);
    bytes
}

/// The operating system's generator, for `ring`.
pub(crate) fn system() -> SystemRandom {
    SystemRandom::new()
}

/// The thread-local generator, for libraries that take a generator of `rand`.
#[expect(clippy::disallowed_methods, reason = "the one source of randomness")]
pub(crate) fn generator() -> impl CryptoRng {
    rand::rng()
}

/// A new unguessable identifier: 128 random bits in 32 hexadecimal digits.
pub(crate) fn id() -> String {
    format!("{:032x}", u128::from_le_bytes(bytes()))
}

/// A new secret of 256 bits, in the characters of URLs and cookies.
pub(crate) fn secret() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<32>())
}

/// A new one-time password, uniformly distributed.
#[expect(clippy::disallowed_methods, reason = "the one source of randomness")]
pub(crate) fn otp() -> OtpCode {
    OtpCode::from_number(rand::rng().random_range(0..1_000_000))
}
