//! Whether the store does its work.

use async_trait::async_trait;

use super::StoreResult;

/// Questions about the store itself.
#[async_trait]
pub trait HealthStore {
    /// Goes the way of every write, through the queue to a commit that is on disk, and changes nothing of meaning.
    async fn check_writable(&self) -> StoreResult<()>;
}
