//! Development: the mark of a database served with `--dev`, and snapshots of its state.

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::Timestamp;

/// Operations for `--dev`.
#[async_trait]
pub trait DevelopmentStore {
    /// Marks the database as served for development. An earlier mark is kept.
    async fn mark_development(&self, now: Timestamp) -> StoreResult<()>;

    /// Finds when the database was marked.
    async fn find_development_mark(&self) -> StoreResult<Option<Timestamp>>;

    /// Takes a snapshot of the present state, which replaces an earlier one.
    ///
    /// Returns false and keeps no snapshot when there are more accounts than `max_users`.
    async fn take_snapshot(&self, max_users: u32) -> StoreResult<bool>;

    /// Restores the snapshot, including the sequence of user ids.
    ///
    /// Returns the names of the photos that no account has any more; `None` without a snapshot.
    async fn restore_snapshot(&self) -> StoreResult<Option<Vec<String>>>;
}
