//! What differs between databases: connections, transactions, the list of users, and housekeeping.

use std::future::Future;
use std::sync::{Arc, Mutex};

use super::connection::Connection;
use super::lock::Keys;
use super::snapshot::Snapshot;
use super::transaction::{SharedSealer, Transaction};
use crate::domain::{SessionRef, User, UserId};
use crate::store::{Page, StoreResult, StoreSize, UserQuery, UserSnapshot};

/// A database engine.
///
/// Reads see everything that was committed before they began. A write is one transaction: when it is
/// answered, it is durable, or nothing has changed.
pub(in crate::store) trait Engine: Send + Sync + 'static {
    /// Runs a short read.
    fn read<T: Send + 'static>(
        &self,
        query: impl FnMut(&dyn Connection) -> StoreResult<T> + Send + 'static,
    ) -> impl Future<Output = StoreResult<T>> + Send;

    /// Runs a read that may take long, all of whose statements see the same state.
    fn read_long<T: Send + 'static>(
        &self,
        query: impl FnMut(&dyn Connection) -> StoreResult<T> + Send + 'static,
    ) -> impl Future<Output = StoreResult<T>> + Send;

    /// Runs `work` in a transaction, and returns its result after the commit. Work that fails is rolled
    /// back. It is finished even if the caller no longer waits for it. No other write runs meanwhile.
    fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&Transaction<'_>) -> StoreResult<T> + Send + 'static,
    ) -> impl Future<Output = StoreResult<T>> + Send {
        self.write_for(Keys::all(), work)
    }

    /// As [`write`](Self::write), but writes with other keys may run at the same time.
    fn write_for<T: Send + 'static>(
        &self,
        keys: Keys,
        work: impl FnMut(&Transaction<'_>) -> StoreResult<T> + Send + 'static,
    ) -> impl Future<Output = StoreResult<T>> + Send;

    /// As [`write`](Self::write), but `work` runs once at most, and is rolled back too when it returns
    /// false.
    fn write_or_discard(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> StoreResult<bool> + Send + 'static,
    ) -> impl Future<Output = StoreResult<bool>> + Send;

    /// Whether leases that this server did not give belong to other servers.
    fn is_shared(&self) -> bool;

    /// What composes events of webhooks, for the transactions.
    fn sealer(&self) -> &SharedSealer;

    /// Finds the active account of a live session; never a stale one.
    fn find_session_user(
        &self,
        session: &SessionRef,
    ) -> impl Future<Output = StoreResult<Option<Arc<UserSnapshot>>>> + Send;

    /// Lists one page of the accounts that match a query; `None` when the page does not exist.
    fn list_users(
        &self,
        query: UserQuery,
    ) -> impl Future<Output = StoreResult<Option<Page<User>>>> + Send;

    /// Lists up to `limit` accounts that match a query after an id, in the order of their ids.
    fn list_matching_users(
        &self,
        query: UserQuery,
        after: UserId,
        limit: u32,
    ) -> impl Future<Output = StoreResult<Vec<User>>> + Send;

    /// Counts all accounts, the confirmed and the inactive ones.
    fn count_users(connection: &dyn Connection) -> StoreResult<UserCounts>;

    /// Whether the engine is fit to serve.
    ///
    /// # Errors
    /// When it is not.
    fn check(&self) -> StoreResult<()> {
        Ok(())
    }

    /// How far the clock of the database is ahead of this machine's, in milliseconds; `None` where they
    /// are the same.
    fn clock_offset(&self) -> Option<i64> {
        None
    }

    /// Makes sure that what was deleted is nowhere on disk, where the engine can.
    fn purge(&self) -> impl Future<Output = ()> + Send;

    /// Its size on disk.
    fn size(&self) -> impl Future<Output = StoreSize> + Send;

    /// The names of a table's columns that hold data of their own.
    fn columns(connection: &dyn Connection, table: &str) -> StoreResult<Vec<String>>;

    /// The last number of each table that assigns numbers.
    fn last_ids(connection: &dyn Connection) -> StoreResult<Vec<(String, i64)>>;

    /// Makes tables assign numbers above these.
    fn set_last_ids(connection: &dyn Connection, last_ids: &[(String, i64)]) -> StoreResult<()>;
}

/// Numbers of accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct UserCounts {
    pub(in crate::store) all: u64,
    pub(in crate::store) confirmed: u64,
    pub(in crate::store) inactive: u64,
}

/// The store on an engine: all operations, written once.
pub struct Database<E> {
    pub(in crate::store) engine: E,
    pub(super) snapshot: Mutex<Option<Arc<Snapshot>>>,
}

impl<E> Database<E> {
    /// The store on an engine.
    pub(in crate::store) const fn new(engine: E) -> Self {
        Self {
            engine,
            snapshot: Mutex::new(None),
        }
    }
}
