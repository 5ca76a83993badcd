//! Whether the SQLite file can be written.

use async_trait::async_trait;

use super::SqliteStore;
use crate::store::{HealthStore, StoreResult};

#[async_trait]
impl HealthStore for SqliteStore {
    async fn check_writable(&self) -> StoreResult<()> {
        self.writer
            .run(|connection| {
                connection
                    .prepare_cached("UPDATE secrets SET name = name WHERE FALSE")?
                    .execute([])
                    .map(drop)
            })
            .await
    }
}
