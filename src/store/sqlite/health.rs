//! Whether the SQLite file can be written, how large it is, and how the writer gets on.

use std::sync::Arc;

use async_trait::async_trait;

use super::otps::write_decoy;
use super::{SqliteStore, wal_of};
use crate::domain::Timestamp;
use crate::observability::metrics::StoreMetrics;
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

    async fn figures(&self) -> StoreMetrics {
        let path = self.path.as_deref();
        let size = path.and_then(|path| Some(path.metadata().ok()?.len()));
        // Without a log everything is in the file.
        let log = path.map(|path| wal_of(path).metadata().map_or(0, |data| data.len()));
        StoreMetrics {
            size_bytes: size,
            log_bytes: log,
            writes: Arc::clone(self.writer.counts()),
        }
    }
}
