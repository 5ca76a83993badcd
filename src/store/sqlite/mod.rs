//! The store on an embedded SQLite file, and the only place with SQL.
//!
//! Reads take a connection from a pool and run inline: a look-up by key costs microseconds, less
//! than a hop to another thread. Writes go through [`writer`], which commits queued operations
//! together. A database in memory has a single connection for everything.

mod connection;
mod copy;
mod engine;
mod examination;
mod file;
mod list;
mod matching;
mod migrations;
mod replacement;
mod search;
mod search_records;
mod session_cache;
mod unmigrated;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use r2d2::{CustomizeConnection, Pool, PooledConnection};
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::Semaphore;

use super::operations::Database;
use super::operations::transaction::SharedSealer;
use super::{Field, SchemaState, StoreError, StoreResult};
use crate::observability::metrics::WriteCounts;
pub use copy::{Inspection, copy_database, inspect_database};
pub use examination::{Examination, FailingMails, HourlyCounts, examine_database};
use file::{APPLICATION_ID, Kind, OpenedFiles};
pub use file::{
    COMPANION_SUFFIXES, OpenError, RestoreMarker, ServerLock, canonical_path, companion_owner,
    free_bytes, is_sqlite,
};
use migrations::{MIGRATIONS, SCHEMA, SCHEMA_VERSION};
pub use replacement::{
    LastIds, ReplacedDatabase, RestoreChanges, apply_restore_changes, keep_companions,
};
pub use search_records::add_functions;
use session_cache::SessionCache;
pub use unmigrated::note_in;
use writer::Writer;

/// The newest schema that this program knows.
pub const NEWEST_SCHEMA: i32 = SCHEMA_VERSION;

/// Prepared statements cached per connection; more than the program has.
const STATEMENT_CACHE: usize = 224;

/// Longest wait for a pooled connection before the database is reported busy: an async thread may
/// be waiting.
const LONGEST_CHECKOUT: Duration = Duration::from_secs(2);

/// Wait of each attempt to truncate the log, with writers blocked, and the number of attempts.
const EMPTYING_WAIT: Duration = Duration::from_millis(25);
const EMPTYING_TRIES: u32 = 4;

/// A pooled connection for reading.
type Reader = PooledConnection<SqliteConnectionManager>;

/// Options for opening a database.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The file, or `:memory:`.
    pub path: String,
    /// Longest wait for another process that writes.
    pub busy_timeout: Duration,
    /// Number of connections for reading.
    pub read_connections: u32,
    /// Maximum number of operations per transaction, at least one.
    pub writes_per_commit: usize,
    /// Maximum page cache per connection, in MiB.
    pub cache_mib: u32,
    /// Whether a commit waits for the disk. Without it a power failure may lose everything: only
    /// for disposable files.
    pub durable: bool,
}

/// The store on a SQLite file.
pub type SqliteStore = Database<SqliteEngine>;

/// The SQLite engine.
pub struct SqliteEngine {
    readers: Pool<SqliteConnectionManager>,
    // `None` for a database in memory, whose one connection cannot detect its own writes.
    session_cache: Option<SessionCache>,
    writer: Writer,
    // `None` for a database in memory.
    path: Option<PathBuf>,
    files: Option<OpenedFiles>,
    // Fewer than the connections, so that long reads leave one for inline reads.
    long_reads: Semaphore,
    // What composes events for webhooks, shared with the writer.
    sealer: SharedSealer,
}

impl SqliteStore {
    /// Opens the database, and creates or migrates it as needed.
    ///
    /// # Errors
    /// When the file cannot be used; it is left unchanged.
    pub fn open(options: &SqliteOptions) -> Result<Self, OpenError> {
        SqliteEngine::open(options).map(Self::new)
    }

    /// Creates or migrates the schema of a file as needed. Returns what was found.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn migrate(options: &SqliteOptions) -> Result<SchemaState, OpenError> {
        prepare_file(Path::new(&options.path), options).map(|(_, found)| found)
    }

    /// Counters of its writes, for the metrics.
    pub fn write_counts(&self) -> &Arc<WriteCounts> {
        self.engine.writer.counts()
    }
}

impl SqliteEngine {
    fn open(options: &SqliteOptions) -> Result<Self, OpenError> {
        if options.path == ":memory:" {
            Self::open_memory(options)
        } else if options.path.starts_with("file:") {
            // SQLite would take this for a URI and open another file than the one that was checked
            // and locked.
            Self::open_file(&Path::new(".").join(&options.path), options)
        } else {
            Self::open_file(Path::new(&options.path), options)
        }
    }

    fn open_memory(options: &SqliteOptions) -> Result<Self, OpenError> {
        // The database exists only in the connection, so there is one, and it is never closed.
        let readers = Pool::builder()
            .max_size(1)
            .test_on_check_out(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connection_customizer(Box::new(ConnectionSettings {
                busy_timeout: options.busy_timeout,
                query_only: false,
                durable: options.durable,
                files: None,
                cache_mib: options.cache_mib,
            }))
            .build(SqliteConnectionManager::memory())
            .map_err(|e| OpenError(format!("cannot open a database in memory: {e}")))?;
        let mut connection = readers
            .get()
            .map_err(|e| OpenError(format!("cannot open a database in memory: {e}")))?;
        bring_up_to_date(&mut connection)
            .map_err(|e| OpenError(format!("cannot set up a database in memory: {e}")))?;
        drop(connection);
        let sealer = SharedSealer::default();
        let writer = Writer::start(
            ConnectionSource::Shared(readers.clone()),
            options.writes_per_commit,
            Arc::clone(&sealer),
        );
        Ok(Self {
            readers,
            session_cache: None,
            writer,
            path: None,
            files: None,
            long_reads: Semaphore::new(1),
            sealer,
        })
    }

    fn open_file(path: &Path, options: &SqliteOptions) -> Result<Self, OpenError> {
        let shown = path.display();
        let failed = |e: rusqlite::Error| cannot_open(path, &e);
        let (connection, _) = prepare_file(path, options)?;
        warn_if_others_can_read(path);
        // The log is beside the file itself, even where the path is a link to it.
        let files = path
            .canonicalize()
            .and_then(|file| OpenedFiles::note([path.to_path_buf(), wal_of(&file)]))
            .map_err(|e| OpenError(format!("cannot open {shown}: {e}")))?;

        let session = ConnectionSettings {
            busy_timeout: options.busy_timeout,
            query_only: true,
            durable: options.durable,
            cache_mib: options.cache_mib,
            files: Some(files.clone()),
        };
        let readers = Pool::builder()
            .max_size(options.read_connections.max(1))
            .min_idle(Some(1))
            .test_on_check_out(false)
            .connection_timeout(LONGEST_CHECKOUT)
            .connection_customizer(Box::new(session.clone()))
            .build(SqliteConnectionManager::file(path).with_flags(FLAGS))
            .map_err(|e| OpenError(format!("cannot open {shown}: {e}")))?;
        let connections = options.read_connections.saturating_sub(1) as usize;
        let session_cache =
            SessionCache::open(path, FLAGS, session, connections).map_err(failed)?;
        let sealer = SharedSealer::default();
        let writer = Writer::start(
            ConnectionSource::Own(Box::new(connection), files.clone()),
            options.writes_per_commit,
            Arc::clone(&sealer),
        );
        Ok(Self {
            readers,
            session_cache: Some(session_cache),
            writer,
            path: Some(path.to_path_buf()),
            files: Some(files),
            long_reads: Semaphore::new(options.read_connections.saturating_sub(1).max(1) as usize),
            sealer,
        })
    }
}

/// How the connections of the store open the file.
const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// The error of a file that SQLite does not open.
fn cannot_open(path: &Path, error: &rusqlite::Error) -> OpenError {
    let hint = match error.sqlite_error_code() {
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            ". May this user write to it and to its folder?"
        }
        _ => "",
    };
    OpenError(format!("cannot open {}: {error}{hint}", path.display()))
}

/// Opens a file for writing, with the current schema: it is created or migrated as needed. Returns also
/// what was found.
///
/// # Errors
/// When the file cannot be used; it is left unchanged.
fn prepare_file(
    path: &Path,
    options: &SqliteOptions,
) -> Result<(Connection, SchemaState), OpenError> {
    let shown = path.display();
    let failed = |e: rusqlite::Error| cannot_open(path, &e);
    file::refuse_unfinished_restore(path)?;
    file::refuse_companion(path)?;
    file::create_private(path)?;
    let kind = file::inspect(path)?;
    refuse_what_is_not_ours(path, &kind)?;

    let mut connection = Connection::open_with_flags(path, FLAGS).map_err(failed)?;
    if connection.is_readonly("main").map_err(failed)? {
        return Err(OpenError(format!(
            "{shown} can only be read. May this user write to it and to its folder?"
        )));
    }
    let session = ConnectionSettings {
        busy_timeout: options.busy_timeout,
        query_only: false,
        durable: options.durable,
        files: None,
        cache_mib: options.cache_mib,
    };
    session.prepare(&connection).map_err(failed)?;
    connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))
        .map_err(failed)?;
    let found = find_schema(&connection).map_err(failed)?;
    if let SchemaState::Older(version) = found {
        log::info!("migrating {shown} from schema version {version} to {SCHEMA_VERSION}");
        let kept = copy::keep_before_migration(path, SCHEMA_VERSION, options.busy_timeout)?;
        log::info!(
            "{shown} as it was is kept in {}; remove that once the new version has proved itself",
            kept.display()
        );
    }
    bring_up_to_date(&mut connection).map_err(failed)?;
    // The pages of a new schema are not needed yet.
    connection
        .execute_batch("PRAGMA shrink_memory")
        .map_err(failed)?;
    Ok((connection, found))
}

/// The connection of the writer.
enum ConnectionSource {
    /// A separate connection to a file.
    Own(Box<Connection>, OpenedFiles),
    /// The single connection of a database in memory, shared with the readers.
    Shared(Pool<SqliteConnectionManager>),
}

impl ConnectionSource {
    fn with_writer(&self, work: impl FnOnce(&Connection) -> StoreResult<()>) -> StoreResult<()> {
        match self {
            Self::Own(connection, _) => work(connection),
            Self::Shared(pool) => {
                let connection = pool.get().map_err(StoreError::busy)?;
                work(&connection)
            }
        }
    }

    /// The files that the connection writes to.
    fn files(&self) -> Option<&OpenedFiles> {
        match self {
            Self::Own(_, files) => Some(files),
            Self::Shared(_) => None,
        }
    }
}

/// Settings of every connection.
#[derive(Clone, Debug)]
struct ConnectionSettings {
    busy_timeout: Duration,
    query_only: bool,
    durable: bool,
    // The files that the connection must open, when other connections are already open.
    files: Option<OpenedFiles>,
    cache_mib: u32,
}

impl ConnectionSettings {
    fn prepare(&self, connection: &Connection) -> rusqlite::Result<()> {
        if let Some(files) = &self.files {
            files.check().map_err(|changed| {
                let moved = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY_DBMOVED);
                rusqlite::Error::SqliteFailure(moved, Some(changed))
            })?;
        }
        connection.busy_timeout(self.busy_timeout)?;
        connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
        add_functions(connection)?;
        // FULL: a committed transaction survives a power failure, not only a crash of the process.
        // secure_delete: deleted data is overwritten, so that deleted accounts and used secrets do
        // not remain in the file.
        connection.execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON; \
             PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;",
        )?;
        // A negative number is in KiB; a positive one would be a number of pages.
        connection.pragma_update(None, "cache_size", -1024 * i64::from(self.cache_mib))?;
        if !self.durable {
            connection.pragma_update(None, "synchronous", "OFF")?;
        }
        if self.query_only {
            connection.pragma_update(None, "query_only", true)?;
        }
        Ok(())
    }
}

impl CustomizeConnection<Connection, rusqlite::Error> for ConnectionSettings {
    fn on_acquire(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        self.prepare(connection)
    }
}

/// Refuses a file of another program or of a newer version.
///
/// A file without our application id is accepted only when it is empty. The version is read again
/// where the newest pages are still in the write-ahead log.
fn refuse_what_is_not_ours(path: &Path, kind: &Kind) -> Result<(), OpenError> {
    if matches!(kind, Kind::Empty) && !wal_of(path).exists() {
        return Ok(());
    }
    let failed = |e: rusqlite::Error| {
        OpenError(format!(
            "cannot read {}: {e}; it was left as it is.",
            path.display()
        ))
    };
    let connection = open_to_look(path).map_err(failed)?;
    let (id, version) = file::identity(&connection).map_err(failed)?;
    if id == APPLICATION_ID {
        return file::check_version(path, version);
    }
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))
        .map_err(failed)?;
    if id != 0 || tables > 0 {
        return Err(file::foreign(
            path,
            &format!("its application_id is {id:#010x}, and it holds {tables} tables and indexes"),
        ));
    }
    Ok(())
}

/// Opens a file without leaving companion files.
///
/// Even a reader creates the two companion files of WAL mode and cannot remove them. Only
/// `immutable` prevents that, but it ignores the log; where there is a log, its companion files
/// exist already.
fn open_to_look(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let has_log = wal_of(path).exists() || beside(path, "-journal").exists();
    let Some(name) = path.to_str().filter(|_| !has_log) else {
        return Connection::open_with_flags(path, flags);
    };
    // An absolute path follows an empty authority (RFC 8089), so that its leading slashes are not
    // read as one.
    let authority = if path.is_absolute() { "//" } else { "" };
    let name = utf8_percent_encode(name, NON_ALPHANUMERIC)
        .to_string()
        .replace("%2F", "/");
    let uri = format!("file:{authority}{name}?immutable=1");
    Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)
}

fn wal_of(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

/// The path of a companion file: the file name with a suffix.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn warn_if_others_can_read(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if let Ok(data) = path.metadata()
            && data.permissions().mode() & 0o077 != 0
        {
            log::warn!(
                "{} can be read by other users of this machine; `chmod 600` it",
                path.display()
            );
        }
    }
    #[cfg(not(unix))]
    let _ = path;
}

/// Where the schema of an open database is. One that is newer was refused before.
fn find_schema(connection: &Connection) -> rusqlite::Result<SchemaState> {
    let (id, version) = file::identity(connection)?;
    Ok(match version {
        _ if id != APPLICATION_ID => SchemaState::Missing,
        _ if version < SCHEMA_VERSION => SchemaState::Older(version.into()),
        _ => SchemaState::Current,
    })
}

/// Creates or migrates the schema in one transaction.
fn bring_up_to_date(connection: &mut Connection) -> rusqlite::Result<()> {
    // IMMEDIATE: two processes that open the same old file must not both migrate it.
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let (id, version) = file::identity(&transaction)?;
    if id != APPLICATION_ID {
        transaction.execute_batch(SCHEMA)?;
    } else if version < SCHEMA_VERSION {
        for (_, statements) in MIGRATIONS.iter().filter(|(number, _)| *number > version) {
            transaction.execute_batch(statements)?;
        }
    } else {
        return Ok(());
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        driver_error(error)
    }
}

/// Converts an error of the driver.
fn driver_error(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error() {
        Some(e)
            if matches!(
                e.extended_code,
                rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE
                    | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY
            ) =>
        {
            StoreError::Taken(taken_field(&error.to_string()))
        }
        Some(e)
            if matches!(
                e.code,
                ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::DiskFull
                    | ErrorCode::ReadOnly
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::CannotOpen
            ) =>
        {
            StoreError::busy(error)
        }
        _ => StoreError::failed(error),
    }
}

/// The field of a unique violation, which SQLite reports as `UNIQUE constraint failed:
/// TABLE.COLUMN, …`.
fn taken_field(message: &str) -> Field {
    if message.contains(": otps.purpose") {
        Field::Otp
    } else if message.contains(": users.email_key") || message.contains(": users.new_email_key") {
        Field::Email
    } else {
        Field::Id
    }
}

impl From<SqliteStore> for super::SharedStore {
    fn from(store: SqliteStore) -> Self {
        Arc::new(store)
    }
}
