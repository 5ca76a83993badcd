//! Key material in the database: token signing keys and random secrets.

use async_trait::async_trait;

use super::{RequestContext, StoreResult};
use crate::domain::{StoredKey, StoredSecret, Timestamp};

/// A rotation: new signing keys that replace the present ones.
pub struct RotateKeys {
    /// The new keys. One for the account API replaces that of the account API; one for clients
    /// replaces that of clients with the same algorithm.
    pub keys: Vec<StoredKey>,
    /// Who made the request, and from where.
    pub context: RequestContext,
    /// The current time.
    pub now: Timestamp,
}

/// The removal of a retired key.
pub struct RemoveKey {
    /// Its id.
    pub kid: String,
    /// Who made the request, and from where.
    pub context: RequestContext,
    /// The current time.
    pub now: Timestamp,
}

/// All key material, re-encrypted.
pub struct KeyMaterial {
    /// The signing keys, each with the private key that was read.
    pub keys: Vec<(Vec<u8>, StoredKey)>,
    /// The other secrets: name, the value that was read, the new form.
    pub secrets: Vec<(String, Vec<u8>, StoredSecret)>,
    /// The detail of the audit log entry.
    pub detail: String,
    /// Who made the request, and from where.
    pub context: RequestContext,
    /// The current time.
    pub now: Timestamp,
}

/// Operations on key material.
#[async_trait]
pub trait KeyStore {
    /// Lists all signing keys, newest first.
    async fn list_signing_keys(&self) -> StoreResult<Vec<StoredKey>>;

    /// Stores `key` unless one like it signs already, and returns all keys, newest first: for the
    /// account API one of any algorithm, for clients one of the same algorithm.
    ///
    /// Two servers that need a key at the same time get the same one.
    async fn create_first_signing_key(&self, key: StoredKey) -> StoreResult<Vec<StoredKey>>;

    /// Stores new signing keys and retires those that they replace. The audit log entry has the id of
    /// the first.
    async fn rotate_keys(&self, rotation: RotateKeys) -> StoreResult<()>;

    /// Deletes a retired key. False when there is no such key.
    async fn remove_key(&self, removal: RemoveKey) -> StoreResult<bool>;

    /// Deletes the keys retired before `before`, those of clients before `clients_before`, and returns
    /// their number.
    async fn delete_retired_keys(
        &self,
        before: Timestamp,
        clients_before: Timestamp,
    ) -> StoreResult<usize>;

    /// Finds the secret called `name`, or stores `fresh` as such.
    async fn find_or_create_secret(
        &self,
        name: &str,
        fresh: StoredSecret,
    ) -> StoreResult<StoredSecret>;

    /// Lists all secrets with their names.
    async fn list_secrets(&self) -> StoreResult<Vec<(String, StoredSecret)>>;

    /// Replaces key material that is still what was read, and purges the former form from disk.
    async fn replace_key_material(&self, material: KeyMaterial) -> StoreResult<()>;
}
