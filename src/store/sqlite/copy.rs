//! Copies of a database: made while it is in use, and verified before they replace it.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use super::file::{self, OpenError};
use super::{beside, open_to_look};

/// Pages copied between two progress reports: one mebibyte.
const STEP_PAGES: i32 = 256;

/// Wait before a retry of a step that found the database locked.
const STEP_PAUSE: Duration = Duration::from_millis(50);

/// The result of inspecting a database that nobody has open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Version of its schema.
    pub schema_version: i32,
    /// Number of accounts.
    pub accounts: u64,
    /// Names of the photos of the accounts.
    pub photos: Vec<String>,
    /// JOSE name of the algorithm of the active signing key, if there is one.
    pub signing_algorithm: Option<String>,
}

/// Copies the database at `source`, as it is at one moment, to the new file `target`.
///
/// `progress` gets the bytes copied and the total; its error cancels the copy. The copy is on disk
/// when this returns.
///
/// The copy reads one snapshot, so reads and writes continue. In WAL mode the log grows until the
/// copy ends. The source is neither migrated nor changed.
///
/// # Errors
/// When `source` is not a database of this program, or the copy cannot be written.
pub fn copy_database(
    source: &Path,
    target: &Path,
    busy_timeout: Duration,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<(), OpenError> {
    let failed = |e: rusqlite::Error| {
        OpenError(format!(
            "cannot copy {} to {}: {e}",
            source.display(),
            target.display()
        ))
    };
    file::refuse_unfinished_restore(source)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // Only SQLite may open the file: a server backs up its own database, and closing any other
    // descriptor of it would release the locks of all its connections (fcntl(2)).
    let from = Connection::open_with_flags(source, flags).map_err(failed)?;
    from.busy_timeout(busy_timeout).map_err(failed)?;
    // Without an open transaction every write of another connection restarts the copy.
    from.execute_batch("BEGIN").map_err(failed)?;
    let (id, version, page_size): (i32, i32, u64) = from
        .query_row(
            "SELECT application_id, user_version, page_size FROM pragma_application_id, \
             pragma_user_version, pragma_page_size, (SELECT count(*) FROM sqlite_schema)",
            [],
            |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get::<_, i64>(2)?.unsigned_abs(),
                ))
            },
        )
        .map_err(|e| match e.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => file::not_a_database(source),
            _ => failed(e),
        })?;
    file::check_identity(source, id, version)?;
    file::create_private(target)?;
    let mut to = Connection::open_with_flags(target, flags).map_err(failed)?;
    // An incomplete copy is discarded, so it needs no journal. A complete one is synced once.
    to.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        .map_err(failed)?;
    {
        let backup = Backup::new(&from, &mut to).map_err(failed)?;
        loop {
            let step = backup.step(STEP_PAGES).map_err(failed)?;
            let at = backup.progress();
            let bytes = |pages: i32| u64::from(pages.unsigned_abs()) * page_size;
            if progress(bytes(at.pagecount - at.remaining), bytes(at.pagecount)).is_break() {
                return Err(OpenError("it was cancelled".into()));
            }
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                _ => std::thread::sleep(STEP_PAUSE),
            }
        }
    }
    to.close().map_err(|(_, e)| failed(e))?;
    File::open(target)
        .and_then(|file| file.sync_all())
        .map_err(|e| OpenError(format!("cannot write {}: {e}", target.display())))
}

/// Free space to leave beyond the estimated need of a migration, in bytes.
const SPARE: u64 = 16 * 1024 * 1024;

/// Copies a database before its migration to `version`; returns the path of the copy.
///
/// # Errors
/// When the database is damaged, or there is too little space for the copy and the migration.
pub(super) fn keep_before_migration(
    path: &Path,
    version: i32,
    busy_timeout: Duration,
) -> Result<PathBuf, OpenError> {
    let shown = path.display();
    let folder = file::folder_of(path);
    let size = |suffix| beside(path, suffix).metadata().map_or(0, |data| data.len());
    // The copy, and every page once more in the log.
    let needed = 2 * (size("") + size("-wal")) + SPARE;
    if let Some(free) = file::free_bytes(folder)
        && free < needed
    {
        let mib = |bytes: u64| bytes.div_ceil(1024 * 1024);
        return Err(OpenError(format!(
            "{shown} has to be migrated, which takes {} MiB beside it for a copy and the change itself; {} MiB are \
             free. It was left as it is.",
            mib(needed),
            mib(free)
        )));
    }
    let failed = |e: std::io::Error| {
        OpenError(format!(
            "cannot keep a copy of {shown} before it is migrated: {e}"
        ))
    };
    let scratch = tempfile::Builder::new()
        .prefix(".before-migration-")
        .tempdir_in(folder)
        .map_err(failed)?;
    let copy = scratch.path().join("copy.db");
    copy_database(path, &copy, busy_timeout, &mut |_, _| {
        ControlFlow::Continue(())
    })?;
    inspect_database(&copy).map_err(|e| {
        OpenError(format!(
            "{shown} is not migrated, because a copy of it is not sound ({e}); it was left as it is. Look at it with \
             `check`, or restore a backup."
        ))
    })?;
    let mut target = beside(path, &format!(".before-v{version}"));
    let mut number = 1;
    while target.exists() {
        number += 1;
        target = beside(path, &format!(".before-v{version}.{number}"));
    }
    std::fs::rename(&copy, &target)
        .and_then(|()| File::open(folder)?.sync_all())
        .map_err(failed)?;
    Ok(target)
}

/// Checks a whole database that nobody has open, and leaves no companion files.
///
/// # Errors
/// When it is damaged, belongs to another program, or has a newer schema; the text says which.
pub fn inspect_database(path: &Path) -> Result<Inspection, OpenError> {
    let shown = path.display();
    let failed = |e: rusqlite::Error| OpenError(format!("cannot read {shown}: {e}"));
    file::inspect(path)?;
    let connection = open_to_look(path).map_err(failed)?;
    let (id, schema_version) = file::identity(&connection).map_err(failed)?;
    file::check_identity(path, id, schema_version)?;
    let fault: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(failed)?;
    if fault != "ok" {
        return Err(OpenError(format!("{shown} is damaged: {fault}")));
    }
    let orphan: Option<String> = {
        let mut statement = connection
            .prepare("PRAGMA foreign_key_check")
            .map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        let row = rows.next().map_err(failed)?;
        row.map(|row| row.get(0)).transpose().map_err(failed)?
    };
    if let Some(table) = orphan {
        return Err(OpenError(format!(
            "{shown} is damaged: a row of {table} belongs to nothing"
        )));
    }
    let accounts: i64 = connection
        .query_row("SELECT count(*) FROM users", [], |row| row.get(0))
        .map_err(failed)?;
    let photos = connection
        .prepare("SELECT photo FROM users WHERE photo IS NOT NULL ORDER BY photo")
        .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
        .map_err(failed)?;
    // Earlier schemas have no keys of clients.
    let of_accounts = match connection.column_exists(None, "signing_keys", "is_for_clients") {
        Ok(true) => "AND is_for_clients = 0",
        Ok(false) => "",
        Err(e) => return Err(failed(e)),
    };
    let signing_algorithm = connection
        .query_row(
            &format!(
                "SELECT algorithm FROM signing_keys WHERE retired_at IS NULL {of_accounts} \
                 ORDER BY created_at DESC, kid LIMIT 1"
            ),
            [],
            |row| row.get(0),
        )
        .optional()
        .map_err(failed)?;
    Ok(Inspection {
        schema_version,
        accounts: accounts.unsigned_abs(),
        photos,
        signing_algorithm,
    })
}
