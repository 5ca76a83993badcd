//! Sealing: authenticated encryption of secrets in the database.
//!
//! XChaCha20-Poly1305 (RFC 8439 with a longer nonce, which can be random). The nonce precedes the
//! ciphertext. Does not know what is sealed or where it is stored; the caller provides randomness.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 32;

/// Bytes of a nonce, which must be random.
pub(crate) const NONCE_BYTES: usize = 24;

/// Encrypts `plaintext`. Opening it requires the same `associated` bytes, which are not included.
pub(crate) fn seal(
    key: &[u8; KEY_BYTES],
    associated: &[u8],
    plaintext: &[u8],
    nonce: [u8; NONCE_BYTES],
) -> Vec<u8> {
    let payload = Payload {
        msg: plaintext,
        aad: associated,
    };
    let ciphertext = XChaCha20Poly1305::new(key.into())
        .encrypt(&XNonce::from(nonce), payload)
        .expect("secrets are shorter than the cipher's limit of 256 GiB");
    [&nonce[..], &ciphertext].concat()
}

/// Decrypts the result of [`seal`]. `None` for another key, other `associated` bytes, or changed data.
pub(crate) fn open(key: &[u8; KEY_BYTES], associated: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    let payload = Payload {
        msg: ciphertext,
        aad: associated,
    };
    XChaCha20Poly1305::new(key.into())
        .decrypt(&XNonce::from(*nonce), payload)
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_data_opens_with_its_key_and_associated_bytes_only() {
        let (key, nonce) = ([7; KEY_BYTES], [9; NONCE_BYTES]);
        let sealed = seal(&key, b"mail", b"123456", nonce);
        assert!(!sealed.windows(6).any(|window| window == b"123456"));
        assert_eq!(
            open(&key, b"mail", &sealed).as_deref(),
            Some(&b"123456"[..])
        );
        assert_eq!(open(&[8; KEY_BYTES], b"mail", &sealed), None);
        assert_eq!(open(&key, b"key", &sealed), None);
        for position in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[position] ^= 1;
            assert_eq!(open(&key, b"mail", &changed), None, "byte {position}");
        }
        assert_eq!(open(&key, b"mail", &sealed[..20]), None);
    }
}
