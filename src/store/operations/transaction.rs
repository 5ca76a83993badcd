//! The transaction of an operation: the connection, and what composes the events that it causes.

use std::cell::Cell;
use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock};

use super::connection::{Connection, EachRow, Param};
use crate::domain::UserId;
use crate::store::{EventSealer, StoreError, StoreResult};

/// What composes events; empty until the keys are open.
pub(in crate::store) type SharedSealer = Arc<RwLock<Option<Arc<dyn EventSealer>>>>;

/// The transaction that an operation runs in.
///
/// What writes no audit log entry takes a plain [`Connection`].
pub(in crate::store) struct Transaction<'a> {
    connection: &'a dyn Connection,
    sealer: &'a SharedSealer,
    has_due_events: Cell<bool>,
}

impl<'a> Transaction<'a> {
    /// The transaction that is open on a connection.
    pub(in crate::store) const fn new(
        connection: &'a dyn Connection,
        sealer: &'a SharedSealer,
    ) -> Self {
        Self {
            connection,
            sealer,
            has_due_events: Cell::new(false),
        }
    }

    /// Notes that events are due, of which the worker is notified after the commit.
    pub(super) fn note_due_events(&self) {
        self.has_due_events.set(true);
    }

    /// Notifies the worker, after the commit.
    pub(in crate::store) fn committed(&self) {
        if self.has_due_events.get()
            && let Ok(sealer) = self.sealer()
        {
            sealer.enqueued();
        }
    }

    /// What composes events.
    ///
    /// # Errors
    /// When the keys are not open: the operation fails rather than its event.
    pub(super) fn sealer(&self) -> StoreResult<Arc<dyn EventSealer>> {
        let sealer = self.sealer.read().unwrap_or_else(PoisonError::into_inner);
        sealer
            .clone()
            .ok_or_else(|| StoreError::failed("events cannot be encrypted yet"))
    }
}

impl<'a> Deref for Transaction<'a> {
    type Target = dyn Connection + 'a;

    fn deref(&self) -> &Self::Target {
        self.connection
    }
}

impl Connection for Transaction<'_> {
    fn query(&self, sql: &str, params: &[Param<'_>], each: EachRow<'_>) -> StoreResult<()> {
        self.connection.query(sql, params, each)
    }

    fn execute(&self, sql: &str, params: &[Param<'_>]) -> StoreResult<usize> {
        self.connection.execute(sql, params)
    }

    fn run(&self, sql: &str, params: &[Param<'_>]) -> StoreResult<()> {
        self.connection.run(sql, params)
    }

    fn next_user_id(&self) -> StoreResult<UserId> {
        self.connection.next_user_id()
    }

    fn new_user_id(&self) -> StoreResult<Option<UserId>> {
        self.connection.new_user_id()
    }

    fn prefer_indexes(&self) -> StoreResult<()> {
        self.connection.prefer_indexes()
    }

    fn raise_user_ids(&self) -> StoreResult<()> {
        self.connection.raise_user_ids()
    }

    fn next_event_number(&self) -> StoreResult<i64> {
        self.connection.next_event_number()
    }
}
