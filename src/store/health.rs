//! Whether the store does its work.

use async_trait::async_trait;

use super::StoreResult;
use crate::observability::metrics::StoreMetrics;

/// Questions about the store itself.
#[async_trait]
pub trait HealthStore {
    /// Goes the way of every write, through the queue to a commit that is on disk, and changes nothing of meaning.
    async fn check_writable(&self) -> StoreResult<()>;

    /// How large the store is and what it has done since it was opened. It asks nothing of the database, so that there are
    /// figures when the database does not work, too.
    async fn figures(&self) -> StoreMetrics;
}
