//! Signatures of Standard Webhooks 1.0: HMAC-SHA256 (`v1`) and Ed25519 (`v1a`).
//!
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.
//! Receivers choose: the secret `whsec_…`, which public libraries expect, or the public key
//! `whpk_…`, which needs no secrecy at the receiver.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use ring::signature::{Ed25519KeyPair, KeyPair};
use sha2::Sha256;

use crate::crypto::random;
use crate::domain::Timestamp;

/// Bytes of a new secret, and the bounds of given ones.
const SECRET_BYTES: usize = 32;
const MIN_SECRET_BYTES: usize = 24;
const MAX_SECRET_BYTES: usize = 64;

/// Bytes of the seed of an Ed25519 key (RFC 8032, section 5.1.5).
const SEED_BYTES: usize = 32;

const SECRET_PREFIX: &str = "whsec_";
const PUBLIC_KEY_PREFIX: &str = "whpk_";

/// What an endpoint's messages are signed with: a shared secret and a private key.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKeys {
    seed: [u8; SEED_BYTES],
    secret: Vec<u8>,
}

impl SigningKeys {
    /// New random keys.
    pub fn generate() -> Self {
        Self {
            seed: random::bytes(),
            secret: random::bytes::<SECRET_BYTES>().to_vec(),
        }
    }

    /// A new private key beside a given secret, `whsec_` and 24 to 64 bytes in base64.
    pub fn with_secret(text: &str) -> Option<Self> {
        let secret = BASE64.decode(text.strip_prefix(SECRET_PREFIX)?).ok()?;
        let seed = random::bytes();
        (MIN_SECRET_BYTES..=MAX_SECRET_BYTES)
            .contains(&secret.len())
            .then_some(Self { seed, secret })
    }

    /// The keys as they are sealed: [`SigningKeys::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (seed, secret) = bytes.split_first_chunk()?;
        (MIN_SECRET_BYTES..=MAX_SECRET_BYTES)
            .contains(&secret.len())
            .then(|| Self {
                seed: *seed,
                secret: secret.to_vec(),
            })
    }

    /// The bytes of the keys, to be sealed.
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.seed[..], &self.secret].concat()
    }

    /// The secret as receivers configure it, `whsec_…`.
    pub fn secret(&self) -> String {
        format!("{SECRET_PREFIX}{}", BASE64.encode(&self.secret))
    }

    /// The public key, `whpk_…`.
    pub fn public_key(&self) -> String {
        let key = BASE64.encode(self.key_pair().public_key());
        format!("{PUBLIC_KEY_PREFIX}{key}")
    }

    fn key_pair(&self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&self.seed).expect("a seed has 32 bytes")
    }

    /// Both signatures of a message.
    fn sign(&self, message: &[u8]) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC accepts keys of any length");
        mac.update(message);
        let symmetric = BASE64.encode(mac.finalize().into_bytes());
        let asymmetric = BASE64.encode(self.key_pair().sign(message));
        format!("v1,{symmetric} v1a,{asymmetric}")
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKeys(******)")
    }
}

/// The value of `webhook-signature`: the signatures of all keys, the current ones first.
///
/// `id` and `sent_at` are the values of `webhook-id`, which has no dot, and `webhook-timestamp`.
pub fn sign(keys: &[SigningKeys], id: &str, sent_at: Timestamp, body: &[u8]) -> String {
    debug_assert!(!id.contains('.'), "a dot would make the message ambiguous");
    let head = format!("{id}.{}.", sent_at.unix_seconds());
    let message = [head.as_bytes(), body].concat();
    let signatures: Vec<String> = keys.iter().map(|keys| keys.sign(&message)).collect();
    signatures.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const SENT_AT: Timestamp = Timestamp::from_unix_seconds(1_614_265_330);
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    /// The keys of the reference implementations: standardwebhooks, and Svix for Ed25519.
    fn reference() -> SigningKeys {
        let pair = BASE64
            .decode("6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==")
            .unwrap();
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        SigningKeys {
            seed: pair[..SEED_BYTES].try_into().unwrap(),
            ..SigningKeys::with_secret(secret).unwrap()
        }
    }

    #[test]
    fn signatures_are_those_of_the_reference_implementations() {
        assert_eq!(
            sign(&[reference()], ID, SENT_AT, BODY),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= \
             v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
        );
        assert_eq!(
            reference().public_key(),
            "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
        );
    }

    #[test]
    fn rotation_signs_with_both() {
        let new = SigningKeys::generate();
        let both = sign(&[new.clone(), reference()], ID, SENT_AT, BODY);
        let [now, old] = [new, reference()].map(|keys| sign(&[keys], ID, SENT_AT, BODY));
        assert_eq!(both, format!("{now} {old}"));
        assert_eq!(both.split(' ').count(), 4);
    }

    #[test]
    fn keys_survive_a_round_trip() {
        for keys in [SigningKeys::generate(), reference()] {
            assert_eq!(
                SigningKeys::from_bytes(&keys.to_bytes()),
                Some(keys.clone())
            );
            let same_secret = SigningKeys::with_secret(&keys.secret()).unwrap();
            assert_eq!(same_secret.secret(), keys.secret());
            assert_ne!(same_secret.public_key(), keys.public_key());
        }
        assert_eq!(SigningKeys::generate().to_bytes().len(), 64);
        assert_eq!(format!("{:?}", reference()), "SigningKeys(******)");
    }

    #[test]
    fn secrets_have_24_to_64_bytes() {
        let secret = |length| format!("whsec_{}", BASE64.encode(vec![7; length]));
        for (text, is_valid) in [
            (secret(24), true),
            (secret(64), true),
            (secret(23), false),
            (secret(65), false),
            (secret(24).replace("whsec_", ""), false),
            (secret(24).replace("whsec_", "whsk_"), false),
            ("whsec_%".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(
                SigningKeys::with_secret(&text).is_some(),
                is_valid,
                "{text}"
            );
        }
        assert_eq!(SigningKeys::from_bytes(&[0; 55]), None);
    }
}
