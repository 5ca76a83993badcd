//! Sealing: authenticated encryption of what rests in the database and is to tell its reader nothing.
//!
//! XChaCha20-Poly1305 (RFC 8439 with the longer nonce, which may be random). The nonce stands before the ciphertext. Knows
//! nothing of what is sealed or where it rests; randomness is handed in.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 32;

/// Bytes of a nonce, which must be random and never the same twice under one key.
pub(crate) const NONCE_BYTES: usize = 24;

/// Encrypts `plaintext`. What is sealed opens only together with the same `associated` bytes, which are not part of it.
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
        .expect("what is sealed is far shorter than the cipher's limit of 256 GiB");
    [&nonce[..], &ciphertext].concat()
}

/// Decrypts what [`seal`] made. `None` when the key or `associated` is another one, or a bit was changed.
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
    fn what_is_sealed_opens_with_the_same_key_and_association_only() {
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
