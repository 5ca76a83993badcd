//! Whether the SQLite file can be written.

use async_trait::async_trait;

use super::SqliteStore;
use crate::store::{HealthStore, StoreResult};

#[async_trait]
impl HealthStore for SqliteStore {
    async fn check_writable(&self) -> StoreResult<()> {
        self.writer
            .run(|connection| {
                // A row that stays as it is goes to the disk all the same, so a disk without room shows.
                connection
                    .prepare_cached("UPDATE secrets SET value = value")?
                    .execute([])
                    .map(drop)
            })
            .await
    }
}
