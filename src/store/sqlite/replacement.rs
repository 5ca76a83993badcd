//! Replaces a database by a restored one: prepares the restored copy, locks and keeps the previous
//! one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, named_params};

use super::beside;
use super::file::OpenError;
use super::unmigrated;
use crate::domain::StoredKey;
use crate::store::NewEvent;

/// The last id of each table. These ids are never assigned again: tokens and links may name them.
pub type LastIds = Vec<(String, i64)>;

/// Companion files of a database. The log is first: it must never be beside another database.
const COMPANIONS: [&str; 3] = ["-wal", "-journal", "-shm"];

/// How a restored database differs from its backup.
#[derive(Clone)]
pub struct RestoreChanges {
    /// The entry for the audit log.
    pub event: NewEvent,
    /// Whether sessions and signing keys stay valid.
    pub keep_sessions: bool,
    /// The key that replaces all signing keys. Without one the server creates it when it starts.
    pub new_key: Option<StoredKey>,
    /// Ids that the replaced database has assigned.
    pub last_ids: LastIds,
}

/// Prepares an unpacked database in one transaction, without migrating it.
///
/// Without `keep_sessions` all sessions are revoked and the signing keys are replaced. The new key
/// is not encrypted; the server encrypts it when it starts, if so configured.
///
/// # Errors
/// When it cannot be written.
pub fn apply_restore_changes(
    path: &Path,
    changes: &RestoreChanges,
    busy_timeout: Duration,
) -> Result<(), OpenError> {
    unmigrated::change(path, busy_timeout, |transaction| {
        if !changes.keep_sessions {
            transaction.execute_batch("DELETE FROM sessions; DELETE FROM signing_keys;")?;
            if let Some(key) = &changes.new_key {
                // These columns are in every schema version.
                transaction.execute(
                    "INSERT INTO signing_keys (kid, algorithm, private_key, public_key, created_at) \
                     VALUES (:kid, :algorithm, :private_key, :public_key, :created_at)",
                    named_params! {
                        ":kid": key.kid,
                        ":algorithm": key.algorithm,
                        ":private_key": key.private_key,
                        ":public_key": key.public_key,
                        ":created_at": key.created_at.unix_millis(),
                    },
                )?;
            }
        }
        for (table, last_id) in &changes.last_ids {
            raise_last_id(transaction, table, *last_id)?;
        }
        unmigrated::note(transaction, &changes.event)
    })
}

/// Makes the next id of a table higher than `last_id`, if the table exists.
fn raise_last_id(connection: &Connection, table: &str, last_id: i64) -> rusqlite::Result<()> {
    if !connection.table_exists(None, table)? {
        return Ok(());
    }
    let updated = connection.execute(
        "UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1",
        (table, last_id),
    )?;
    if updated == 0 {
        connection.execute(
            "INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)",
            (table, last_id),
        )?;
    }
    Ok(())
}

/// The previous database, locked until this is dropped so that no other process can use it.
pub struct ReplacedDatabase {
    path: PathBuf,
    // `None` for a file that SQLite cannot read.
    connection: Option<Connection>,
}

impl ReplacedDatabase {
    /// Locks a database and merges its log into the file. A damaged one cannot be locked.
    ///
    /// # Errors
    /// When another process has it open.
    pub fn lock(path: &Path) -> Result<Self, OpenError> {
        let connection = match lock(path) {
            Ok(connection) => Some(connection),
            Err(e) if e.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                return Err(OpenError(format!(
                    "another process has {} open; stop it first",
                    path.display()
                )));
            }
            Err(e) => {
                log::warn!(
                    "{} cannot be read ({e}); it is kept as it is",
                    path.display()
                );
                None
            }
        };
        Ok(Self {
            path: path.to_path_buf(),
            connection,
        })
    }

    /// The last id of each table; empty for a database that cannot be read.
    pub fn last_ids(&self) -> LastIds {
        let Some(connection) = &self.connection else {
            return LastIds::new();
        };
        let read = || {
            connection
                .prepare("SELECT name, seq FROM sqlite_sequence")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<LastIds>>()
        };
        read().unwrap_or_else(|e| {
            log::warn!("the ids used in {} are unknown: {e}", self.path.display());
            LastIds::new()
        })
    }

    /// Gives the database a second name, under which it is kept when its first one is replaced.
    ///
    /// A file system without hard links gets the file renamed instead. A log that could not be
    /// merged is renamed with it.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn keep_as(&self, kept: &Path) -> io::Result<()> {
        if self.connection.is_some() {
            // In its exclusive mode SQLite leaves an empty journal.
            match fs::remove_file(beside(&self.path, "-journal")) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        keep_companions(&self.path, kept)?;
        match fs::hard_link(&self.path, kept) {
            Err(e) if e.kind() == io::ErrorKind::Unsupported => fs::rename(&self.path, kept),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => fs::rename(&self.path, kept),
            outcome => outcome,
        }
    }
}

/// Renames the log of a database, which would be applied to the database that replaces it.
///
/// # Errors
/// When the file system refuses.
pub fn keep_companions(path: &Path, kept: &Path) -> io::Result<()> {
    for suffix in COMPANIONS {
        let companion = beside(path, suffix);
        if companion.exists() {
            fs::rename(companion, beside(kept, suffix))?;
        }
    }
    Ok(())
}

/// Merges the log and keeps an exclusive lock. The companion files of SQLite are removed.
fn lock(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // In this mode SQLite lets no other process open the file, not even for reading.
    connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT;")?;
    let _: String = connection.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
    // The lock is taken again at the next access, and then kept.
    connection.execute_batch("BEGIN EXCLUSIVE;")?;
    Ok(connection)
}
