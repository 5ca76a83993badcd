//! The keys that sign and check tokens as the store has them by now, and the encryption under which they rest there.
//!
//! Another process may rotate the keys at any moment: the ring is looked over before a token is signed and, for checking
//! them, every few seconds, so that no request pays for it. Knows nothing of the store; it is handed what is in it.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::crypto::random;
use crate::crypto::sealing::{self, KEY_BYTES};
use crate::crypto::tokens::{TokenError, TokenOptions, Tokens};
use crate::domain::Timestamp;
use crate::domain::{StoredKey, StoredSecret};

/// How old what is known of the keys may be when a token is checked.
const STALENESS: Duration = Duration::from_secs(5);

/// How old it may be when a token is not known: it may be signed by a key that was made a moment ago.
const STALENESS_OF_REFUSALS: Duration = Duration::from_secs(1);

/// Why the secrets of a database cannot be read. The text is for the person at the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// They are encrypted, and nothing is configured to decrypt them with.
    NoSecret,
    /// They are encrypted under another secret.
    WrongSecret,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSecret => {
                "the keys in the database are encrypted: set [tokens] key_encryption_secret (environment: \
                 ACCOUNTS_TOKENS_KEY_ENCRYPTION_SECRET) to the secret that they were encrypted with"
            }
            Self::WrongSecret => {
                "the keys in the database are encrypted with another secret than [tokens] key_encryption_secret; set it to \
                 the one that they were encrypted with (`keys reencrypt` changes it)"
            }
        })
    }
}

impl std::error::Error for SealError {}

/// The encryption of secrets at rest.
#[derive(Clone)]
pub struct KeySealing(Option<[u8; KEY_BYTES]>);

impl KeySealing {
    /// Encrypts under a secret text, or not at all when it is empty. The text has to be long and random: no slow hash is
    /// made of it, so that nothing is waited for at every start.
    pub fn new(secret: &str) -> Self {
        Self((!secret.is_empty()).then(|| {
            let mut mac = Hmac::<Sha256>::new_from_slice(b"accounts-server key encryption")
                .expect("HMAC takes keys of any length");
            mac.update(secret.as_bytes());
            mac.finalize().into_bytes().into()
        }))
    }

    /// Whether secrets are to rest encrypted.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// A key pair in the form in which it is to rest.
    pub fn seal_key(&self, mut key: StoredKey) -> StoredKey {
        let name = key_name(&key.kid);
        (key.private_key, key.is_sealed) = self.seal(&name, key.private_key);
        key
    }

    /// A secret in the form in which it is to rest.
    pub fn seal_secret(&self, name: &str, value: Vec<u8>) -> StoredSecret {
        let (value, is_sealed) = self.seal(&secret_name(name), value);
        StoredSecret { value, is_sealed }
    }

    /// A key pair that can be used.
    ///
    /// # Errors
    /// When it is encrypted under a secret that is not there.
    pub fn open_key(&self, mut key: StoredKey) -> Result<StoredKey, SealError> {
        if key.is_sealed {
            key.private_key = self.open(&key_name(&key.kid), &key.private_key)?;
            key.is_sealed = false;
        }
        Ok(key)
    }

    /// A secret that can be used.
    ///
    /// # Errors
    /// When it is encrypted under a secret that is not there.
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

/// What a private key is bound to, so that one cannot be put in the place of another.
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
    looked_at: AtomicI64,
}

struct State {
    tokens: Arc<Tokens>,
    /// What the ring was made of, to notice when the store has something else.
    marks: Vec<(String, Option<Timestamp>)>,
}

impl KeyRing {
    /// A ring of the keys of the store, the newest first.
    ///
    /// # Errors
    /// When they cannot be used; the text says why.
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
            looked_at: AtomicI64::new(now.unix_millis()),
        })
    }

    /// What issues and checks tokens with the keys that are known by now.
    pub fn tokens(&self) -> Arc<Tokens> {
        Arc::clone(&self.read().tokens)
    }

    /// How the keys rest.
    pub fn sealing(&self) -> &KeySealing {
        &self.sealing
    }

    /// How long a refresh token lives.
    pub fn refresh_life(&self) -> Duration {
        self.options.refresh_life
    }

    /// Whether it is time to look into the store before a token is checked. Says so once: whoever asks has to look.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.is_older_than(STALENESS, now)
    }

    /// Whether it is worth looking into the store for a token that no known key has signed.
    pub fn is_due_for_unknown(&self, now: Timestamp) -> bool {
        self.is_older_than(STALENESS_OF_REFUSALS, now)
    }

    fn is_older_than(&self, age: Duration, now: Timestamp) -> bool {
        let looked_at = self.looked_at.load(Ordering::Relaxed);
        Timestamp::from_unix_millis(looked_at).plus(age) <= now
            && self
                .looked_at
                .compare_exchange(
                    looked_at,
                    now.unix_millis(),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok()
    }

    /// Takes what the store has now; true when that was something else.
    ///
    /// # Errors
    /// When it cannot be used; the ring stays as it was.
    pub fn take(&self, keys: Vec<StoredKey>) -> Result<bool, TokenError> {
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

    #[test]
    fn what_is_sealed_opens_in_its_own_place_alone() {
        let sealing = KeySealing::new("a secret that is long enough to be one");
        let plain = generate_key([7; 32], Timestamp::default()).unwrap();
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
        // What rests unencrypted is taken as it is, with a secret too: it is encrypted at the next start.
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
    fn the_store_is_looked_into_now_and_then() {
        let options = TokenOptions {
            issuer: "test".into(),
            audience: None,
            access_life: Duration::from_mins(5),
            refresh_life: Duration::from_hours(1),
        };
        let at = |seconds: i64| Timestamp::from_unix_millis(seconds * 1000);
        let first = generate_key([1; 32], at(0)).unwrap();
        let ring = KeyRing::new(options, KeySealing::new(""), vec![first.clone()], at(0)).unwrap();
        assert!(!ring.is_due(at(4)));
        assert!(ring.is_due(at(5)));
        assert!(!ring.is_due(at(5)), "one look is enough");
        assert!(!ring.is_due_for_unknown(at(5)));
        assert!(ring.is_due_for_unknown(at(6)));

        let before = ring.tokens();
        assert_eq!(ring.take(vec![first.clone()]), Ok(false));
        let second = generate_key([2; 32], at(7)).unwrap();
        let retired = StoredKey {
            retired_at: Some(at(7)),
            ..first
        };
        assert_eq!(ring.take(vec![second, retired]), Ok(true));
        assert!(!Arc::ptr_eq(&before, &ring.tokens()));
        assert!(ring.take(Vec::new()).is_err(), "nothing to sign with");
    }
}
