//! What only development asks of a store: the mark of a database that was served for it, and going back to a state that was
//! kept.

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::Timestamp;

/// Operations for `--dev`.
#[async_trait]
pub trait DevelopmentStore {
    /// Marks the database as one that was served for development. The first mark stays.
    async fn mark_development(&self, now: Timestamp) -> StoreResult<()>;

    /// When the database was marked, if it was.
    async fn find_development_mark(&self) -> StoreResult<Option<Timestamp>>;

    /// Keeps the present state in memory, in place of one that was kept before, unless there are more accounts than
    /// `most_users`: then nothing is kept. Gives whether it was kept.
    async fn take_snapshot(&self, most_users: u32) -> StoreResult<bool>;

    /// Goes back to the state that was kept, the numbers given to accounts included. Gives the names of the photos that no
    /// account has any more; `None` when no state was kept.
    async fn restore_snapshot(&self) -> StoreResult<Option<Vec<String>>>;
}
