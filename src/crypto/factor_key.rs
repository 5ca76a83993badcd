//! The server's key for second factors: encrypts secrets of authenticator apps, and what a client
//! keeps while it enrolls one.
//!
//! The key is a secret of the database, which is itself encrypted where `[tokens]
//! key_encryption_secret` is set.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::random;
use super::sealing::{self, KEY_BYTES};
use super::totp::{SECRET_BYTES, TotpSecret};
use crate::domain::{Timestamp, UserId};

/// Encrypts what belongs to second factors.
#[derive(Clone)]
pub struct FactorKey([u8; KEY_BYTES]);

impl FactorKey {
    /// Name of the key in the store.
    pub const SECRET: &str = "factor_key";

    /// Uses a key of the store.
    pub fn new(key: [u8; KEY_BYTES]) -> Self {
        Self(key)
    }

    /// Encrypts the secret of a device, for this account alone.
    pub(crate) fn seal_device(&self, user_id: UserId, id: &str, secret: &TotpSecret) -> Vec<u8> {
        let name = device_name(user_id, id);
        sealing::seal(&self.0, name.as_bytes(), secret.as_bytes(), random::bytes())
    }

    /// Decrypts the secret of a device. `None` when it was encrypted with another key.
    pub(crate) fn open_device(
        &self,
        user_id: UserId,
        id: &str,
        sealed: &[u8],
    ) -> Option<TotpSecret> {
        let name = device_name(user_id, id);
        TotpSecret::from_bytes(&sealing::open(&self.0, name.as_bytes(), sealed)?)
    }

    /// The token that carries a secret from the first to the second step of an enrolment.
    pub(crate) fn seal_activation(
        &self,
        user_id: UserId,
        secret: &TotpSecret,
        expires_at: Timestamp,
    ) -> String {
        let text = [secret.as_bytes(), &expires_at.unix_millis().to_be_bytes()].concat();
        let name = activation_name(user_id);
        URL_SAFE_NO_PAD.encode(sealing::seal(
            &self.0,
            name.as_bytes(),
            &text,
            random::bytes(),
        ))
    }

    /// The secret in such a token, unless it has expired or was made for another account.
    pub(crate) fn open_activation(
        &self,
        user_id: UserId,
        token: &str,
        now: Timestamp,
    ) -> Option<TotpSecret> {
        let sealed = URL_SAFE_NO_PAD.decode(token).ok()?;
        let text = sealing::open(&self.0, activation_name(user_id).as_bytes(), &sealed)?;
        let (secret, expires_at) = text.split_at_checked(SECRET_BYTES)?;
        let expires_at = i64::from_be_bytes(expires_at.try_into().ok()?);
        (Timestamp::from_unix_millis(expires_at) > now)
            .then(|| TotpSecret::from_bytes(secret))
            .flatten()
    }
}

fn device_name(user_id: UserId, id: &str) -> String {
    format!("totp device {user_id} {id}")
}

fn activation_name(user_id: UserId) -> String {
    format!("totp activation {user_id}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn secrets_open_for_their_account_alone() {
        let key = FactorKey::new([7; KEY_BYTES]);
        let secret = TotpSecret::generate();
        let sealed = key.seal_device(1, "a", &secret);
        assert_eq!(key.open_device(1, "a", &sealed), Some(secret.clone()));
        assert_eq!(key.open_device(2, "a", &sealed), None);
        assert_eq!(key.open_device(1, "b", &sealed), None);
        assert_eq!(
            FactorKey::new([8; KEY_BYTES]).open_device(1, "a", &sealed),
            None
        );

        let now = Timestamp::from_unix_millis(1_700_000_000_000);
        let later = now.plus(Duration::from_mins(10));
        let token = key.seal_activation(1, &secret, later);
        assert_eq!(key.open_activation(1, &token, now), Some(secret));
        assert_eq!(key.open_activation(1, &token, later), None);
        assert_eq!(key.open_activation(2, &token, now), None);
        assert_eq!(key.open_activation(1, &token[1..], now), None);
        assert_eq!(key.open_activation(1, "", now), None);
    }
}
