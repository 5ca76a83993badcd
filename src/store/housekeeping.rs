//! Housekeeping: what has expired is deleted.

use async_trait::async_trait;

use super::{NewEvent, StoreResult};
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

    /// Skips `by` ids in every table that assigns them, and writes the entry to the audit log. Returns the
    /// tables, each with the id that new ones are above.
    async fn raise_ids(&self, by: i64, event: NewEvent) -> StoreResult<Vec<(String, i64)>>;

    /// Where the accounts of this database have moved, if they have.
    async fn find_moved(&self) -> StoreResult<Option<String>>;
}
