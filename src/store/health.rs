//! Whether the store does its work.

use async_trait::async_trait;

use super::StoreResult;

/// Questions about the store itself.
#[async_trait]
pub trait HealthStore {
    /// Goes the way of every write, through the queue and to a commit, and changes nothing.
    async fn check_writable(&self) -> StoreResult<()>;
}
