//! Key material that lives in the database: token signing keys and random secrets.

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::Timestamp;

/// One key pair as it rests in the database.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Key id, as in a token's header and in the published key set (RFC 7517).
    pub kid: String,
    /// JOSE name of the algorithm that this key is for, such as `EdDSA` (RFC 8037). A key is used with no other.
    pub algorithm: String,
    /// Private key in PKCS #8 DER.
    pub private_key: Vec<u8>,
    /// Raw public key.
    pub public_key: Vec<u8>,
    /// When the key was made.
    pub created_at: Timestamp,
    /// Since when it signs no more; it goes on to verify.
    pub retired_at: Option<Timestamp>,
}

/// Operations on key material.
#[async_trait]
pub trait KeyStore {
    /// All signing keys, the newest first.
    async fn list_signing_keys(&self) -> StoreResult<Vec<StoredKey>>;

    /// Puts in `key` if there is no signing key yet, and gives back all that there are then, the newest first.
    ///
    /// Two servers that start at the same moment both get the key of the one that came first.
    async fn create_first_signing_key(&self, key: StoredKey) -> StoreResult<Vec<StoredKey>>;

    /// The secret called `name`; `fresh` becomes its value if there is none yet.
    async fn find_or_create_secret(&self, name: &str, fresh: Vec<u8>) -> StoreResult<Vec<u8>>;
}
