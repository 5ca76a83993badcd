//! The health of the store.

use async_trait::async_trait;

use super::StoreResult;
use crate::observability::metrics::StoreMetrics;

/// Health checks and metrics of the store.
#[async_trait]
pub trait HealthStore {
    /// Writes and commits a row without meaning, by the same path as every write.
    async fn check_writable(&self) -> StoreResult<()>;

    /// Size and counters of the store. It does not query the database, so it works during outages.
    async fn figures(&self) -> StoreMetrics;
}
