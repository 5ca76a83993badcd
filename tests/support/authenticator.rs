//! An authenticator app: HOTP of RFC 4226 over the steps of RFC 6238, written from the RFCs.

use hmac::{Hmac, Mac};
use sha1::Sha1;

/// Seconds of a time step.
pub const STEP: u64 = 30;

/// The code that an app with this secret shows in a time step.
pub fn code(secret: &[u8], step: u64) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).unwrap();
    mac.update(&step.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let offset = (hash[19] & 0xf) as usize;
    let number = u32::from_be_bytes(hash[offset..offset + 4].try_into().unwrap());
    format!("{:06}", (number & 0x7fff_ffff) % 1_000_000)
}
