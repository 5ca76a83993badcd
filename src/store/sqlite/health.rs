//! Whether the SQLite file can be written.

use async_trait::async_trait;

use super::SqliteStore;
use super::otps::write_decoy;
use crate::domain::Timestamp;
use crate::store::{HealthStore, StoreResult};

#[async_trait]
impl HealthStore for SqliteStore {
    async fn check_writable(&self) -> StoreResult<()> {
        self.writer
            .run(|connection| {
                // A row of the same content would not be written: SQLite leaves alone what does not change.
                write_decoy(connection, Timestamp::default())
            })
            .await
    }
}
