//! Housekeeping: what has expired is deleted.

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::Timestamp;

/// Regular work on the store as a whole.
#[async_trait]
pub trait HousekeepingStore {
    /// Deletes expired codes, counts, sessions and refresh tokens, audit log entries before
    /// `events_before`, and never-verified accounts from before `unverified_before`: those without a
    /// code, that are neither staff nor imported. Returns the number of rows.
    async fn delete_expired(
        &self,
        now: Timestamp,
        events_before: Option<Timestamp>,
        unverified_before: Option<Timestamp>,
    ) -> StoreResult<usize>;

    /// Where the accounts of this database have moved, if they have.
    async fn find_moved(&self) -> StoreResult<Option<String>>;
}
