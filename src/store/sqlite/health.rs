//! Health of the SQLite store: whether it is writable, and its size.

use async_trait::async_trait;

use super::otps::write_decoy;
use super::{SqliteStore, wal_of};
use crate::domain::Timestamp;
use crate::store::{HealthStore, StoreResult, StoreSize};

#[async_trait]
impl HealthStore for SqliteStore {
    async fn check_writable(&self) -> StoreResult<()> {
        self.writer
            .run(|connection| {
                // This changes the row each time: SQLite skips writes of unchanged content.
                write_decoy(connection, Timestamp::default())
            })
            .await
    }

    async fn size(&self) -> StoreSize {
        let path = self.path.as_deref();
        let size = path.and_then(|path| Some(path.metadata().ok()?.len()));
        // Without a log everything is in the file.
        let log = path.map(|path| wal_of(path).metadata().map_or(0, |data| data.len()));
        StoreSize {
            database_bytes: size,
            log_bytes: log,
        }
    }
}
