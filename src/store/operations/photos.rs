//! Photos that no account uses, and the content of photos where the database keeps it.

use async_trait::async_trait;

use super::connection::{Connection, params};
use super::engine::{Database, Engine};
use super::lock::Keys;
use crate::domain::Timestamp;
use crate::store::{PhotoStore, StoreResult};

/// Notes a photo as unused.
pub(super) fn note_photo(
    connection: &dyn Connection,
    name: &str,
    now: Timestamp,
) -> StoreResult<()> {
    connection.run(
        "INSERT INTO unused_photos (name, noted_at) VALUES (:name, :now) ON CONFLICT (name) DO \
         NOTHING",
        params! { ":name": name, ":now": now.unix_millis() },
    )
}

/// Deletes the note of a photo that an account uses.
pub(super) fn forget_photo(connection: &dyn Connection, name: &str) -> StoreResult<()> {
    connection.run(
        "DELETE FROM unused_photos WHERE name = :name",
        params! { ":name": name },
    )
}

#[async_trait]
impl<E: Engine> PhotoStore for Database<E> {
    async fn note_photo(&self, name: &str, now: Timestamp) -> StoreResult<()> {
        let name = name.to_owned();
        self.engine
            .write_for(Keys::none(), move |connection| {
                note_photo(connection, &name, now)
            })
            .await
    }

    async fn list_unused_photos(&self, noted_before: Timestamp) -> StoreResult<Vec<String>> {
        self.engine
            .read(move |connection| {
                connection.query_all(
                    "SELECT name FROM unused_photos WHERE noted_at < :noted_before",
                    params! { ":noted_before": noted_before.unix_millis() },
                    |row| row.get(0),
                )
            })
            .await
    }

    async fn forget_photo(&self, name: &str) -> StoreResult<()> {
        let (name, is_kept) = (name.to_owned(), self.keeps_photos());
        self.engine
            .write_for(Keys::none(), move |connection| {
                if is_kept {
                    connection.run(
                        "DELETE FROM photos WHERE name = :name",
                        params! { ":name": name },
                    )?;
                }
                forget_photo(connection, &name)
            })
            .await
    }

    fn keeps_photos(&self) -> bool {
        self.engine.is_shared()
    }

    async fn save_photo(&self, name: &str, content: Vec<u8>) -> StoreResult<()> {
        let name = name.to_owned();
        self.engine
            .write_for(Keys::none(), move |connection| {
                connection.run(
                    "INSERT INTO photos (name, content) VALUES (:name, :content) ON CONFLICT \
                     (name) DO NOTHING",
                    params! { ":name": name, ":content": content },
                )
            })
            .await
    }

    async fn list_photos(&self) -> StoreResult<Vec<String>> {
        self.engine
            .read_long(|connection| {
                connection.query_all("SELECT name FROM photos ORDER BY name", &[], |row| {
                    row.get(0)
                })
            })
            .await
    }

    async fn has_photo(&self, name: &str) -> StoreResult<bool> {
        let name = name.to_owned();
        self.engine
            .read(move |connection| {
                connection.exists(
                    "SELECT 1 FROM photos WHERE name = :name",
                    params! { ":name": name },
                )
            })
            .await
    }

    async fn find_photo(&self, name: &str) -> StoreResult<Option<Vec<u8>>> {
        let name = name.to_owned();
        self.engine
            .read(move |connection| {
                connection.query_optional(
                    "SELECT content FROM photos WHERE name = :name",
                    params! { ":name": name },
                    |row| row.get(0),
                )
            })
            .await
    }
}
