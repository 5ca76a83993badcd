//! Key material in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, named_params};

use super::SqliteStore;
use super::rows::timestamp;
use crate::domain::Timestamp;
use crate::store::{KeyStore, StoreResult, StoredKey};

const LIST: &str = "SELECT kid, algorithm, private_key, public_key, created_at, retired_at FROM signing_keys \
                    ORDER BY created_at DESC, kid";

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
            })
        })?
        .collect()
}

#[async_trait]
impl KeyStore for SqliteStore {
    async fn list_signing_keys(&self) -> StoreResult<Vec<StoredKey>> {
        self.read(list)
    }

    async fn create_first_signing_key(&self, key: StoredKey) -> StoreResult<Vec<StoredKey>> {
        self.writer
            .run(move |connection| {
                connection
                    .prepare_cached(
                        "INSERT INTO signing_keys (kid, algorithm, private_key, public_key, created_at) \
                         SELECT :kid, :algorithm, :private_key, :public_key, :created_at \
                         WHERE NOT EXISTS (SELECT 1 FROM signing_keys)",
                    )?
                    .execute(named_params! {
                        ":kid": key.kid,
                        ":algorithm": key.algorithm,
                        ":private_key": key.private_key,
                        ":public_key": key.public_key,
                        ":created_at": key.created_at.unix_millis(),
                    })?;
                list(connection)
            })
            .await
    }

    async fn find_or_create_secret(&self, name: &str, fresh: Vec<u8>) -> StoreResult<Vec<u8>> {
        let name = name.to_owned();
        self.writer
            .run(move |connection| {
                connection
                    .prepare_cached(
                        "INSERT INTO secrets (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING",
                    )?
                    .execute(named_params! { ":name": name, ":value": fresh })?;
                connection
                    .prepare_cached("SELECT value FROM secrets WHERE name = :name")?
                    .query_row(named_params! { ":name": name }, |row| row.get(0))
            })
            .await
    }
}
