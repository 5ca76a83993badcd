//! The health of the store.

use async_trait::async_trait;

use super::StoreResult;

/// How large a store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreSize {
    /// Size of the database on disk in bytes; `None` for one in memory.
    pub database_bytes: Option<u64>,
    /// Size of the write-ahead log in bytes; `None` for a database without one.
    pub log_bytes: Option<u64>,
}

/// Health checks of the store.
#[async_trait]
pub trait HealthStore {
    /// Writes and commits a row without meaning, by the same path as every write.
    async fn check_writable(&self) -> StoreResult<()>;

    /// The size of the store. It does not query the database, so it works during outages.
    async fn size(&self) -> StoreSize;

    /// How far the clock of the database is ahead of this machine's, in milliseconds; `None` where they
    /// are the same.
    fn clock_offset(&self) -> Option<i64>;
}
