//! The signing keys in use, and their encryption at rest.
//!
//! Another process may rotate the keys at any time. So callers reload them from the store before they
//! sign a token, and every few seconds before they verify one. Knows nothing of the store.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::crypto::random;
use crate::crypto::sealing::{self, KEY_BYTES};
use crate::crypto::tokens::{TokenError, TokenOptions, Tokens};
use crate::domain::{StoredKey, StoredSecret, Timestamp};

/// Maximum age of the keys when a token is verified.
const MAX_AGE: Duration = Duration::from_secs(5);

/// Maximum age of the keys when a token is refused: a new key may have signed it.
const MAX_AGE_FOR_REFUSAL: Duration = Duration::from_secs(1);

/// Why the secrets of a database cannot be decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// They are encrypted, and no secret is configured.
    NoSecret,
    /// They are encrypted with another secret.
    WrongSecret,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSecret => {
                "the keys in the database are encrypted: set [tokens] key_encryption_secret \
                 (environment: ACCOUNTS_TOKENS_KEY_ENCRYPTION_SECRET) to the secret that they were \
                 encrypted with"
            }
            Self::WrongSecret => {
                "the keys in the database are encrypted with another secret than [tokens] \
                 key_encryption_secret; set it to the one that they were encrypted with (`keys \
                 reencrypt` changes it)"
            }
        })
    }
}

impl std::error::Error for SealError {}

/// The encryption of secrets at rest.
#[derive(Clone)]
pub struct KeySealing(Option<[u8; KEY_BYTES]>);

impl KeySealing {
    /// Encrypts with a secret text, or not at all when it is empty.
    ///
    /// The text has to be long and random: it is not stretched by a slow hash, which would delay
    /// every start.
    pub fn new(secret: &str) -> Self {
        Self((!secret.is_empty()).then(|| {
            let mut mac = Hmac::<Sha256>::new_from_slice(b"accounts-server key encryption")
                .expect("HMAC takes keys of any length");
            mac.update(secret.as_bytes());
            mac.finalize().into_bytes().into()
        }))
    }

    /// Whether secrets are encrypted.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Encrypts a key pair.
    pub fn seal_key(&self, mut key: StoredKey) -> StoredKey {
        let name = key_name(&key.kid);
        (key.private_key, key.is_sealed) = self.seal(&name, key.private_key);
        key
    }

    /// Encrypts a secret.
    pub fn seal_secret(&self, name: &str, value: Vec<u8>) -> StoredSecret {
        let (value, is_sealed) = self.seal(&secret_name(name), value);
        StoredSecret { value, is_sealed }
    }

    /// Decrypts a key pair.
    ///
    /// # Errors
    /// When it is encrypted with a secret that is not configured.
    pub fn open_key(&self, mut key: StoredKey) -> Result<StoredKey, SealError> {
        if key.is_sealed {
            key.private_key = self.open(&key_name(&key.kid), &key.private_key)?;
            key.is_sealed = false;
        }
        Ok(key)
    }

    /// Decrypts a secret.
    ///
    /// # Errors
    /// When it is encrypted with a secret that is not configured.
    pub fn open_secret(&self, name: &str, secret: StoredSecret) -> Result<Vec<u8>, SealError> {
        if secret.is_sealed {
            self.open(&secret_name(name), &secret.value)
        } else {
            Ok(secret.value)
        }
    }

    fn seal(&self, name: &str, plaintext: Vec<u8>) -> (Vec<u8>, bool) {
        match &self.0 {
            Some(key) => {
                let sealed = sealing::seal(key, name.as_bytes(), &plaintext, random::bytes());
                (sealed, true)
            }
            None => (plaintext, false),
        }
    }

    fn open(&self, name: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let key = self.0.as_ref().ok_or(SealError::NoSecret)?;
        sealing::open(key, name.as_bytes(), sealed).ok_or(SealError::WrongSecret)
    }
}

/// The associated bytes of a private key, which prevent it from being replaced by another one.
fn key_name(kid: &str) -> String {
    format!("signing key {kid}")
}

fn secret_name(name: &str) -> String {
    format!("secret {name}")
}

/// The keys in use.
pub struct KeyRing {
    options: TokenOptions,
    sealing: KeySealing,
    state: RwLock<State>,
    loaded_at: AtomicI64,
}

struct State {
    tokens: Arc<Tokens>,
    /// Ids and retirements of its keys, to notice changes.
    marks: Vec<(String, Option<Timestamp>)>,
}

impl KeyRing {
    /// A ring of the keys of the store, newest first.
    ///
    /// # Errors
    /// When they are unusable; the text says why.
    pub fn new(
        options: TokenOptions,
        sealing: KeySealing,
        keys: Vec<StoredKey>,
        now: Timestamp,
    ) -> Result<Self, TokenError> {
        let state = make(&options, &sealing, keys)?;
        Ok(Self {
            options,
            sealing,
            state: RwLock::new(state),
            loaded_at: AtomicI64::new(now.unix_millis()),
        })
    }

    /// Issues and verifies tokens with the current keys.
    pub fn tokens(&self) -> Arc<Tokens> {
        Arc::clone(&self.read().tokens)
    }

    /// The claim `iss` of tokens.
    pub fn issuer(&self) -> &str {
        &self.options.issuer
    }

    /// The encryption of the keys at rest.
    pub fn sealing(&self) -> &KeySealing {
        &self.sealing
    }

    /// The lifetime of refresh tokens.
    pub fn refresh_life(&self) -> Duration {
        self.options.refresh_life
    }

    /// Whether the caller has to reload the keys before it verifies a token; true for one caller only.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.is_older_than(MAX_AGE, now)
    }

    /// The same for a token that no known key has signed.
    pub fn is_due_for_unknown(&self, now: Timestamp) -> bool {
        self.is_older_than(MAX_AGE_FOR_REFUSAL, now)
    }

    fn is_older_than(&self, age: Duration, now: Timestamp) -> bool {
        let loaded_at = self.loaded_at.load(Ordering::Relaxed);
        Timestamp::from_unix_millis(loaded_at).plus(age) <= now
            && self
                .loaded_at
                .compare_exchange(
                    loaded_at,
                    now.unix_millis(),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok()
    }

    /// Replaces the keys by those of the store; false when they have not changed.
    ///
    /// # Errors
    /// When they are unusable; then the ring does not change.
    pub fn replace(&self, keys: Vec<StoredKey>) -> Result<bool, TokenError> {
        if self.read().marks == marks(&keys) {
            return Ok(false);
        }
        let state = make(&self.options, &self.sealing, keys)?;
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        Ok(true)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn marks(keys: &[StoredKey]) -> Vec<(String, Option<Timestamp>)> {
    keys.iter()
        .map(|key| (key.kid.clone(), key.retired_at))
        .collect()
}

fn make(
    options: &TokenOptions,
    sealing: &KeySealing,
    keys: Vec<StoredKey>,
) -> Result<State, TokenError> {
    let marks = marks(&keys);
    let keys: Vec<StoredKey> = keys
        .into_iter()
        .map(|key| sealing.open_key(key))
        .collect::<Result<_, _>>()
        .map_err(|e| TokenError::Failed(e.to_string()))?;
    let tokens = Arc::new(Tokens::new(options.clone(), &keys)?);
    Ok(State { tokens, marks })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tokens::generate_key;
    use crate::domain::SigningAlgorithm;

    #[test]
    fn sealed_keys_cannot_be_exchanged() {
        let sealing = KeySealing::new("a secret that is long enough to be one");
        let plain = generate_key(SigningAlgorithm::Es256, Timestamp::default()).unwrap();
        let sealed = sealing.seal_key(plain.clone());
        assert!(sealed.is_sealed && sealed.private_key != plain.private_key);
        assert!(
            sealing
                .open_key(sealed.clone())
                .is_ok_and(|key| key == plain)
        );
        let elsewhere = StoredKey {
            kid: "other".into(),
            ..sealed.clone()
        };
        assert_eq!(
            sealing.open_key(elsewhere).err(),
            Some(SealError::WrongSecret)
        );
        let other = KeySealing::new("another secret that is long enough, too");
        assert_eq!(
            other.open_key(sealed.clone()).err(),
            Some(SealError::WrongSecret)
        );
        assert_eq!(
            KeySealing::new("").open_key(sealed).err(),
            Some(SealError::NoSecret)
        );
        // Unencrypted keys are accepted with a secret as well: the next start encrypts them.
        assert!(
            sealing
                .open_key(plain.clone())
                .is_ok_and(|key| key == plain)
        );
        let secret = sealing.seal_secret("otp_key", vec![1, 2, 3]);
        assert_eq!(
            sealing.open_secret("mail_key", secret.clone()),
            Err(SealError::WrongSecret)
        );
        assert_eq!(sealing.open_secret("otp_key", secret), Ok(vec![1, 2, 3]));
    }

    #[test]
    fn keys_are_reloaded_when_they_are_stale() {
        let options = TokenOptions {
            issuer: "test".into(),
            client_issuer: "test".into(),
            audience: None,
            access_life: Duration::from_mins(5),
            refresh_life: Duration::from_hours(1),
        };
        let at = |seconds: i64| Timestamp::from_unix_millis(seconds * 1000);
        let first = generate_key(SigningAlgorithm::Es256, at(0)).unwrap();
        let ring = KeyRing::new(options, KeySealing::new(""), vec![first.clone()], at(0)).unwrap();
        assert!(!ring.is_due(at(4)));
        assert!(ring.is_due(at(5)));
        assert!(!ring.is_due(at(5)), "one caller reloads");
        assert!(!ring.is_due_for_unknown(at(5)));
        assert!(ring.is_due_for_unknown(at(6)));

        let before = ring.tokens();
        assert_eq!(ring.replace(vec![first.clone()]), Ok(false));
        let second = generate_key(SigningAlgorithm::Rs256, at(7)).unwrap();
        let retired = StoredKey {
            retired_at: Some(at(7)),
            ..first
        };
        assert_eq!(ring.replace(vec![second, retired]), Ok(true));
        assert!(!Arc::ptr_eq(&before, &ring.tokens()));
        assert!(ring.replace(Vec::new()).is_err(), "no key signs");
    }
}
