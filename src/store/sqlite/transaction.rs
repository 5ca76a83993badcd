//! The transaction of an operation: the connection, and what composes the events that it causes.

use std::cell::Cell;
use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::Connection;

use crate::store::EventSealer;

/// What composes events; empty until the keys are open.
pub(super) type SharedSealer = Arc<RwLock<Option<Arc<dyn EventSealer>>>>;

/// The transaction that an operation of the writer runs in.
///
/// What writes no audit log entry takes a plain [`Connection`].
pub(super) struct Transaction<'a> {
    connection: &'a Connection,
    sealer: &'a SharedSealer,
    has_due_events: Cell<bool>,
}

impl<'a> Transaction<'a> {
    /// The transaction that is open on a connection.
    pub(super) const fn new(connection: &'a Connection, sealer: &'a SharedSealer) -> Self {
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
    pub(super) fn committed(&self) {
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
    pub(super) fn sealer(&self) -> rusqlite::Result<Arc<dyn EventSealer>> {
        let sealer = self.sealer.read().unwrap_or_else(PoisonError::into_inner);
        sealer.clone().ok_or_else(|| {
            rusqlite::Error::UserFunctionError("events cannot be encrypted yet".into())
        })
    }
}

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}
