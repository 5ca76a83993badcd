//! Key material that lives in the database: token signing keys and random secrets.

use async_trait::async_trait;

use super::{RequestContext, StoreResult};
use crate::domain::Timestamp;

/// One key pair as it rests in the database.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Key id, as in a token's header and in the published key set (RFC 7517).
    pub kid: String,
    /// JOSE name of the algorithm that this key is for, such as `EdDSA` (RFC 8037). A key is used with no other.
    pub algorithm: String,
    /// Private key in PKCS #8 DER, or that encrypted.
    pub private_key: Vec<u8>,
    /// Whether the private key is encrypted.
    pub is_sealed: bool,
    /// Raw public key.
    pub public_key: Vec<u8>,
    /// When the key was made.
    pub created_at: Timestamp,
    /// Since when it signs no more; it goes on to verify.
    pub retired_at: Option<Timestamp>,
}

/// A random secret as it rests in the database.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredSecret {
    /// The secret, or that encrypted.
    pub value: Vec<u8>,
    /// Whether it is encrypted.
    pub is_sealed: bool,
}

/// A new key that is to sign instead of those before.
pub struct RotateKeys {
    /// The key.
    pub key: StoredKey,
    /// Who and from where.
    pub context: RequestContext,
    /// When.
    pub now: Timestamp,
}

/// The end of a key before its time.
pub struct RemoveKey {
    /// Its id.
    pub kid: String,
    /// Who and from where.
    pub context: RequestContext,
    /// When.
    pub now: Timestamp,
}

/// All secrets of the database in another form.
pub struct KeyMaterial {
    /// The signing keys, each with the private key as it was read.
    pub keys: Vec<(Vec<u8>, StoredKey)>,
    /// The other secrets: name, value as it was read, new form.
    pub secrets: Vec<(String, Vec<u8>, StoredSecret)>,
    /// What the audit log says of it.
    pub detail: String,
    /// Who and from where.
    pub context: RequestContext,
    /// When.
    pub now: Timestamp,
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

    /// Puts in a key that signs from now on; those before sign no more.
    async fn rotate_keys(&self, rotation: RotateKeys) -> StoreResult<()>;

    /// Removes a key that signs no more. False when there is none of this id.
    async fn remove_key(&self, removal: RemoveKey) -> StoreResult<bool>;

    /// Removes the keys that have signed nothing since `before`. Gives their number.
    async fn delete_retired_keys(&self, before: Timestamp) -> StoreResult<usize>;

    /// The secret called `name`; `fresh` becomes it if there is none yet.
    async fn find_or_create_secret(
        &self,
        name: &str,
        fresh: StoredSecret,
    ) -> StoreResult<StoredSecret>;

    /// All secrets with their names.
    async fn list_secrets(&self) -> StoreResult<Vec<(String, StoredSecret)>>;

    /// Puts secrets into another form where they are still what was read. Of the form before nothing stays on disk.
    async fn replace_key_material(&self, material: KeyMaterial) -> StoreResult<()>;
}
