//! Key material in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, named_params};

use super::SqliteStore;
use super::events::{Actor, insert_event};
use super::rows::timestamp;
use super::sessions::authorize_staff;
use super::transaction::Transaction;
use crate::domain::{EventKind, StoredKey, StoredSecret, Timestamp};
use crate::store::{KeyMaterial, KeyStore, RemoveKey, RotateKeys, StoreResult};

/// The signing keys come first, whatever the clock said when they were created.
const LIST: &str = "SELECT kid, algorithm, private_key, public_key, created_at, retired_at, is_sealed, is_for_clients \
                    FROM signing_keys \
                    ORDER BY retired_at IS NOT NULL, is_for_clients, created_at DESC, kid";

fn list(connection: &Connection) -> rusqlite::Result<Vec<StoredKey>> {
    connection
        .prepare_cached(LIST)?
        .query_map([], |row| {
            Ok(StoredKey {
                kid: row.get(0)?,
                algorithm: row.get(1)?,
                private_key: row.get(2)?,
                public_key: row.get(3)?,
                created_at: timestamp(row, 4)?,
                retired_at: row
                    .get::<_, Option<i64>>(5)?
                    .map(Timestamp::from_unix_millis),
                is_sealed: row.get(6)?,
                is_for_clients: row.get(7)?,
            })
        })?
        .collect()
}

/// Stores a key; with `only_first`, unless one like it signs already.
fn insert_key(connection: &Connection, key: &StoredKey, only_first: bool) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO signing_keys (kid, algorithm, private_key, public_key, created_at, is_sealed, \
             is_for_clients) \
             SELECT :kid, :algorithm, :private_key, :public_key, :created_at, :is_sealed, \
             :is_for_clients \
             WHERE NOT :only_first OR NOT EXISTS (SELECT 1 FROM signing_keys \
             WHERE retired_at IS NULL AND is_for_clients = :is_for_clients \
             AND (is_for_clients = 0 OR algorithm = :algorithm))",
        )?
        .execute(named_params! {
            ":kid": key.kid,
            ":algorithm": key.algorithm,
            ":private_key": key.private_key,
            ":public_key": key.public_key,
            ":created_at": key.created_at.unix_millis(),
            ":is_sealed": key.is_sealed,
            ":is_for_clients": key.is_for_clients,
            ":only_first": only_first,
        })?;
    Ok(())
}

fn rotate(connection: &Transaction<'_>, rotation: &RotateKeys) -> StoreResult<()> {
    authorize_staff(connection, &rotation.context)?;
    for key in &rotation.keys {
        connection
            .prepare_cached(
                "UPDATE signing_keys SET retired_at = :now WHERE retired_at IS NULL \
                 AND is_for_clients = :is_for_clients \
                 AND (is_for_clients = 0 OR algorithm = :algorithm)",
            )?
            .execute(named_params! {
                ":now": rotation.now.unix_millis(),
                ":is_for_clients": key.is_for_clients,
                ":algorithm": key.algorithm,
            })?;
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

fn remove(connection: &Transaction<'_>, removal: &RemoveKey) -> rusqlite::Result<bool> {
    let removed = connection
        .prepare_cached("DELETE FROM signing_keys WHERE kid = :kid AND retired_at IS NOT NULL")?
        .execute(named_params! { ":kid": removal.kid })?;
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

fn replace_material(connection: &Transaction<'_>, material: &KeyMaterial) -> rusqlite::Result<()> {
    for (was, key) in &material.keys {
        connection
            .prepare_cached(
                "UPDATE signing_keys SET private_key = :private_key, is_sealed = :is_sealed \
                 WHERE kid = :kid AND private_key = :was",
            )?
            .execute(named_params! {
                ":private_key": key.private_key,
                ":is_sealed": key.is_sealed,
                ":kid": key.kid,
                ":was": was,
            })?;
    }
    for (name, was, secret) in &material.secrets {
        connection
            .prepare_cached(
                "UPDATE secrets SET value = :value, is_sealed = :is_sealed WHERE name = :name AND value = :was",
            )?
            .execute(named_params! {
                ":value": secret.value, ":is_sealed": secret.is_sealed, ":name": name, ":was": was,
            })?;
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

fn secret(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<StoredSecret> {
    Ok(StoredSecret {
        value: row.get(first)?,
        is_sealed: row.get(first + 1)?,
    })
}

#[async_trait]
impl KeyStore for SqliteStore {
    async fn list_signing_keys(&self) -> StoreResult<Vec<StoredKey>> {
        self.read(list)
    }

    async fn create_first_signing_key(&self, key: StoredKey) -> StoreResult<Vec<StoredKey>> {
        self.writer
            .run(move |connection| {
                insert_key(connection, &key, true)?;
                list(connection)
            })
            .await
    }

    async fn rotate_keys(&self, rotation: RotateKeys) -> StoreResult<()> {
        self.writer
            .run(move |connection| rotate(connection, &rotation))
            .await
    }

    async fn remove_key(&self, removal: RemoveKey) -> StoreResult<bool> {
        let removed = self
            .writer
            .run(move |connection| remove(connection, &removal))
            .await?;
        if removed {
            self.empty_log().await;
        }
        Ok(removed)
    }

    async fn delete_retired_keys(
        &self,
        before: Timestamp,
        clients_before: Timestamp,
    ) -> StoreResult<usize> {
        self.writer
            .run(move |connection| {
                connection
                    .prepare_cached(
                        "DELETE FROM signing_keys WHERE retired_at < \
                         CASE WHEN is_for_clients = 1 THEN :clients_before ELSE :before END",
                    )?
                    .execute(named_params! {
                        ":before": before.unix_millis(),
                        ":clients_before": clients_before.unix_millis(),
                    })
            })
            .await
    }

    async fn find_or_create_secret(
        &self,
        name: &str,
        fresh: StoredSecret,
    ) -> StoreResult<StoredSecret> {
        let name = name.to_owned();
        self.writer
            .run(move |connection| {
                connection
                    .prepare_cached(
                        "INSERT INTO secrets (name, value, is_sealed) VALUES (:name, :value, :is_sealed) \
                         ON CONFLICT (name) DO NOTHING",
                    )?
                    .execute(named_params! {
                        ":name": name, ":value": fresh.value, ":is_sealed": fresh.is_sealed,
                    })?;
                connection
                    .prepare_cached("SELECT value, is_sealed FROM secrets WHERE name = :name")?
                    .query_row(named_params! { ":name": name }, |row| secret(row, 0))
            })
            .await
    }

    async fn list_secrets(&self) -> StoreResult<Vec<(String, StoredSecret)>> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT name, value, is_sealed FROM secrets ORDER BY name")?
                .query_map([], |row| Ok((row.get(0)?, secret(row, 1)?)))?
                .collect()
        })
    }

    async fn replace_key_material(&self, material: KeyMaterial) -> StoreResult<()> {
        self.writer
            .run(move |connection| replace_material(connection, &material))
            .await?;
        self.empty_log().await;
        Ok(())
    }
}
