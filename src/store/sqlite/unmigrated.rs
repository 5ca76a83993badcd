//! Changes to a database that stays at the schema version that it has.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::file::{self, OpenError};
use crate::store::NewEvent;
use crate::store::operations::events::insert_new_event;

/// Writes an entry to the audit log of a database without migrating it.
///
/// A schema from before the audit log gets no entry.
///
/// # Errors
/// When the entry cannot be written.
pub fn note_in(path: &Path, event: &NewEvent, busy_timeout: Duration) -> Result<(), OpenError> {
    file::refuse_unfinished_restore(path)?;
    change(path, busy_timeout, |transaction| note(transaction, event))
}

/// Changes a database in one transaction, without migrating it.
///
/// # Errors
/// When it is not ours or cannot be written.
pub(super) fn change(
    path: &Path,
    busy_timeout: Duration,
    change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
) -> Result<(), OpenError> {
    file::inspect(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let write = || {
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(busy_timeout)?;
        connection.execute_batch("PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;")?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        change(&transaction)?;
        transaction.commit()?;
        // Closing the last connection truncates and removes the log.
        connection.close().map_err(|(_, e)| e)
    };
    write()
        .map_err(|e: rusqlite::Error| OpenError(format!("cannot write to {}: {e}", path.display())))
}

/// Writes an entry to the audit log, which exists since schema version 7.
pub(super) fn note(transaction: &Transaction<'_>, event: &NewEvent) -> rusqlite::Result<()> {
    if transaction.table_exists(None, "events")? {
        insert_new_event(&**transaction, event)
            .map_err(|e| rusqlite::Error::UserFunctionError(Box::new(e)))?;
    }
    Ok(())
}
