//! Key material.

use super::connection::{Connection, Row, params};
use async_trait::async_trait;

use super::engine::{Database, Engine};
use super::events::{Actor, insert_event};
use super::rows::{optional_timestamp, timestamp};
use super::sessions::authorize_staff;
use super::transaction::Transaction;
use crate::domain::{EventKind, StoredKey, StoredSecret, Timestamp};
use crate::store::{KeyMaterial, KeyStore, RemoveKey, RotateKeys, StoreResult};

/// The signing keys come first, whatever the clock said when they were created.
const LIST: &str = "SELECT kid, algorithm, private_key, public_key, created_at, retired_at, \
                    is_sealed, is_for_clients FROM signing_keys ORDER BY retired_at IS NOT NULL, \
                    is_for_clients, created_at DESC, kid";

fn list(connection: &dyn Connection) -> StoreResult<Vec<StoredKey>> {
    connection.query_all(LIST, &[], |row| {
        Ok(StoredKey {
            kid: row.get(0)?,
            algorithm: row.get(1)?,
            private_key: row.get(2)?,
            public_key: row.get(3)?,
            created_at: timestamp(row, 4)?,
            retired_at: optional_timestamp(row, 5)?,
            is_sealed: row.get(6)?,
            is_for_clients: row.get(7)?,
        })
    })
}

/// Stores a key; with `only_first`, unless one like it signs already.
fn insert_key(connection: &dyn Connection, key: &StoredKey, only_first: bool) -> StoreResult<()> {
    connection.run(
        "INSERT INTO signing_keys (kid, algorithm, private_key, public_key, created_at, is_sealed, \
         is_for_clients) SELECT :kid, :algorithm, :private_key, :public_key, :created_at, \
         :is_sealed, :is_for_clients WHERE NOT :only_first OR NOT EXISTS (SELECT 1 FROM \
         signing_keys WHERE retired_at IS NULL AND is_for_clients = :is_for_clients AND (NOT \
         is_for_clients OR algorithm = :algorithm))",
        params! {
            ":kid": key.kid,
            ":algorithm": key.algorithm,
            ":private_key": key.private_key,
            ":public_key": key.public_key,
            ":created_at": key.created_at.unix_millis(),
            ":is_sealed": key.is_sealed,
            ":is_for_clients": key.is_for_clients,
            ":only_first": only_first,
        },
    )?;
    Ok(())
}

fn rotate(connection: &Transaction<'_>, rotation: &RotateKeys) -> StoreResult<()> {
    authorize_staff(connection, &rotation.context)?;
    for key in &rotation.keys {
        connection.run(
            "UPDATE signing_keys SET retired_at = :now WHERE retired_at IS NULL AND is_for_clients \
             = :is_for_clients AND (NOT is_for_clients OR algorithm = :algorithm)",
            params! {
                ":now": rotation.now.unix_millis(),
                ":is_for_clients": key.is_for_clients,
                ":algorithm": key.algorithm,
            },
        )?;
        insert_key(connection, key, false)?;
    }
    let detail = rotation.keys.first().map_or("", |key| &*key.kid);
    insert_event(
        connection,
        EventKind::KeysRotated,
        None,
        Actor::FromContext,
        &rotation.context,
        detail,
        rotation.now,
    )?;
    Ok(())
}

fn remove(connection: &Transaction<'_>, removal: &RemoveKey) -> StoreResult<bool> {
    let removed = connection.execute(
        "DELETE FROM signing_keys WHERE kid = :kid AND retired_at IS NOT NULL",
        params! { ":kid": removal.kid },
    )?;
    if removed > 0 {
        insert_event(
            connection,
            EventKind::KeyRemoved,
            None,
            Actor::FromContext,
            &removal.context,
            &removal.kid,
            removal.now,
        )?;
    }
    Ok(removed > 0)
}

fn replace_material(connection: &Transaction<'_>, material: &KeyMaterial) -> StoreResult<()> {
    for (was, key) in &material.keys {
        connection.run(
            "UPDATE signing_keys SET private_key = :private_key, is_sealed = :is_sealed WHERE kid \
             = :kid AND private_key = :was",
            params! {
                ":private_key": key.private_key,
                ":is_sealed": key.is_sealed,
                ":kid": key.kid,
                ":was": was,
            },
        )?;
    }
    for (name, was, secret) in &material.secrets {
        connection.run(
            "UPDATE secrets SET value = :value, is_sealed = :is_sealed WHERE name = :name AND \
             value = :was",
            params! {
                ":value": secret.value, ":is_sealed": secret.is_sealed, ":name": name, ":was": was,
            },
        )?;
    }
    insert_event(
        connection,
        EventKind::KeyEncryptionChanged,
        None,
        Actor::FromContext,
        &material.context,
        &material.detail,
        material.now,
    )
}

fn secret(row: &Row<'_>, first: usize) -> StoreResult<StoredSecret> {
    Ok(StoredSecret {
        value: row.get(first)?,
        is_sealed: row.get(first + 1)?,
    })
}

#[async_trait]
impl<E: Engine> KeyStore for Database<E> {
    async fn list_signing_keys(&self) -> StoreResult<Vec<StoredKey>> {
        self.engine.read(list).await
    }

    async fn create_first_signing_key(&self, key: StoredKey) -> StoreResult<Vec<StoredKey>> {
        self.engine
            .write(move |connection| {
                insert_key(connection, &key, true)?;
                list(connection)
            })
            .await
    }

    async fn rotate_keys(&self, rotation: RotateKeys) -> StoreResult<()> {
        self.engine
            .write(move |connection| rotate(connection, &rotation))
            .await
    }

    async fn remove_key(&self, removal: RemoveKey) -> StoreResult<bool> {
        let removed = self
            .engine
            .write(move |connection| remove(connection, &removal))
            .await?;
        if removed {
            self.engine.purge().await;
        }
        Ok(removed)
    }

    async fn delete_retired_keys(
        &self,
        before: Timestamp,
        clients_before: Timestamp,
    ) -> StoreResult<usize> {
        self.engine
            .write(move |connection| {
                connection.execute(
                    "DELETE FROM signing_keys WHERE retired_at < CASE WHEN is_for_clients THEN \
                     CAST(:clients_before AS BIGINT) ELSE :before END",
                    params! {
                        ":before": before.unix_millis(),
                        ":clients_before": clients_before.unix_millis(),
                    },
                )
            })
            .await
    }

    async fn find_or_create_secret(
        &self,
        name: &str,
        fresh: StoredSecret,
    ) -> StoreResult<StoredSecret> {
        let name = name.to_owned();
        self.engine
            .write(move |connection| {
                connection.run(
                    "INSERT INTO secrets (name, value, is_sealed) VALUES (:name, :value, \
                     :is_sealed) ON CONFLICT (name) DO NOTHING",
                    params! {
                        ":name": name, ":value": fresh.value, ":is_sealed": fresh.is_sealed,
                    },
                )?;
                connection.query_row(
                    "SELECT value, is_sealed FROM secrets WHERE name = :name",
                    params! { ":name": name },
                    |row| secret(row, 0),
                )
            })
            .await
    }

    async fn list_secrets(&self) -> StoreResult<Vec<(String, StoredSecret)>> {
        self.engine
            .read(move |connection| {
                connection.query_all(
                    "SELECT name, value, is_sealed FROM secrets ORDER BY name",
                    &[],
                    |row| Ok((row.get(0)?, secret(row, 1)?)),
                )
            })
            .await
    }

    async fn replace_key_material(&self, material: KeyMaterial) -> StoreResult<()> {
        self.engine
            .write(move |connection| replace_material(connection, &material))
            .await?;
        self.engine.purge().await;
        Ok(())
    }
}
