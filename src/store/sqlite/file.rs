//! The database file: its lock, and whether it belongs to this program.
//!
//! All checks run before SQLite opens the file, so a refused file stays byte for byte unchanged.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::migrations::SCHEMA_VERSION;

/// `PRAGMA application_id` of our files: "accs" in ASCII.
pub(super) const APPLICATION_ID: i32 = 0x6163_6373;

const MAGIC: &[u8; 16] = b"SQLite format 3\0";
const USER_VERSION_OFFSET: usize = 60;
const APPLICATION_ID_OFFSET: usize = 68;
const HEADER_LENGTH: usize = 100;

/// Why a database was not opened. The texts are for the operator.
#[derive(Debug)]
pub struct OpenError(pub(super) String);

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OpenError {}

/// The kind of a file, by its first bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Empty: a database is created.
    Empty,
    /// A SQLite database without an application id: accepted only if it is empty.
    Unmarked,
    /// A database of this program.
    Ours {
        /// Its `PRAGMA user_version`.
        version: i32,
    },
}

/// Reads the header of `path` without SQLite.
///
/// Not for a database that this process has open: closing the file releases the locks of SQLite
/// (fcntl(2)), and another process would then remove the log under them.
///
/// # Errors
/// When the file is not a database, belongs to another program, or has a newer schema.
pub(super) fn inspect(path: &Path) -> Result<Kind, OpenError> {
    let shown = path.display();
    let mut header = Vec::with_capacity(HEADER_LENGTH);
    File::open(path)
        .and_then(|file| file.take(HEADER_LENGTH as u64).read_to_end(&mut header))
        .map_err(|e| OpenError(format!("cannot read {shown}: {e}")))?;
    if header.is_empty() {
        return Ok(Kind::Empty);
    }
    if header.len() < HEADER_LENGTH || !header.starts_with(MAGIC) {
        return Err(not_a_database(path));
    }
    let number = |at: usize| {
        i32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    match (number(APPLICATION_ID_OFFSET), number(USER_VERSION_OFFSET)) {
        (APPLICATION_ID, version) => check_version(path, version).map(|()| Kind::Ours { version }),
        (0, _) => Ok(Kind::Unmarked),
        (other, _) => Err(foreign(
            path,
            &format!("its application_id is {other:#010x}"),
        )),
    }
}

/// The error for a file of another kind.
pub(super) fn not_a_database(path: &Path) -> OpenError {
    OpenError(format!(
        "{} is not a SQLite database; it was left as it is. Name another file with --db.",
        path.display()
    ))
}

/// Whether a file begins like a SQLite database.
///
/// # Errors
/// When it cannot be read.
pub fn is_sqlite(path: &Path) -> io::Result<bool> {
    let mut header = Vec::with_capacity(MAGIC.len());
    File::open(path)?
        .take(MAGIC.len() as u64)
        .read_to_end(&mut header)?;
    Ok(header == MAGIC)
}

/// The application id and the schema version of an open database.
pub(super) fn identity(connection: &Connection) -> rusqlite::Result<(i32, i32)> {
    connection.query_row(
        "SELECT application_id, user_version FROM pragma_application_id, pragma_user_version",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Refuses a database of another program, and one that a newer version of this one has written.
pub(super) fn check_identity(path: &Path, id: i32, version: i32) -> Result<(), OpenError> {
    if id != APPLICATION_ID {
        return Err(foreign(path, &format!("its application_id is {id:#010x}")));
    }
    check_version(path, version)
}

/// Refuses a file that a newer version of this program has written.
pub(super) fn check_version(path: &Path, version: i32) -> Result<(), OpenError> {
    if version > SCHEMA_VERSION {
        return Err(OpenError(format!(
            "{} was written by a newer accounts-server (schema version {version}; this program \
             knows up to \
             {SCHEMA_VERSION}); it was left as it is. Run the newer program, or restore an older \
             backup.",
            path.display()
        )));
    }
    Ok(())
}

/// The error for a database of another program.
pub(super) fn foreign(path: &Path, sign: &str) -> OpenError {
    OpenError(format!(
        "{} is a database of another program ({sign}); it was left as it is. Name another file \
         with --db.",
        path.display()
    ))
}

/// Creates an empty file that only its owner can read and write, unless the file exists.
pub(super) fn create_private(path: &Path) -> Result<(), OpenError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(OpenError(format!(
            "cannot create {}: {e}. Does its folder exist, and may this user write to it?",
            path.display()
        ))),
    }
}

/// The database and its log as they were opened.
///
/// SQLite continues to write into files that were removed or replaced, and those writes are lost.
#[derive(Clone, Debug)]
pub(super) struct OpenedFiles {
    files: Vec<(PathBuf, FileNumber)>,
}

/// The identity of a file: device and inode number.
type FileNumber = (u64, u64);

impl OpenedFiles {
    /// Records the files that these paths name now.
    pub(super) fn note(paths: impl IntoIterator<Item = PathBuf>) -> io::Result<Self> {
        let note = |path: PathBuf| number_of(&path).map(|number| (path, number));
        let files = paths.into_iter().map(note).collect::<io::Result<_>>()?;
        Ok(Self { files })
    }

    /// Whether the paths still name the same files.
    ///
    /// # Errors
    /// The first path that names another file or none, as a text for the log.
    pub(super) fn check(&self) -> Result<(), String> {
        for (path, opened) in &self.files {
            let what = match number_of(path) {
                Ok(number) if number == *opened => continue,
                Ok(_) => "is another file than the one that was opened".to_owned(),
                Err(e) => format!("cannot be found any more ({e})"),
            };
            return Err(format!(
                "{} {what}: nothing is written until it is back in its place, or the server is \
                 started again",
                path.display()
            ));
        }
        Ok(())
    }
}

/// Reads the identity of a file.
///
/// On Linux only the inode number is requested. After a query of the timestamps, newer kernels
/// update them on the next write, and each commit then syncs them to disk.
fn number_of(path: &Path) -> io::Result<FileNumber> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
        if let Ok(data) = statx(CWD, path, AtFlags::empty(), StatxFlags::INO) {
            let device = u64::from(data.stx_dev_major) << 32 | u64::from(data.stx_dev_minor);
            return Ok((device, data.stx_ino));
        }
    }
    let data = path.metadata()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Ok((data.dev(), data.ino()))
    }
    // Other systems do not allow removing an open file.
    #[cfg(not(unix))]
    {
        let _ = data;
        Ok((0, 0))
    }
}

/// Suffixes of the companion files of a database.
pub const COMPANION_SUFFIXES: [&str; 5] = ["-wal", "-shm", "-journal", LOCK, RESTORING];

/// Suffix of the lock file.
const LOCK: &str = ".lock";

/// Suffix of the marker of an unfinished restore.
const RESTORING: &str = ".restoring";

/// The existing SQLite database whose companion file `path` names, such as `users.db` for
/// `users.db-wal`.
pub fn companion_owner(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    COMPANION_SUFFIXES.iter().find_map(|suffix| {
        let start = name.len().checked_sub(suffix.len())?;
        // Some file systems ignore case.
        let owner = name
            .get(start..)
            .filter(|end| end.eq_ignore_ascii_case(suffix))
            .map(|_| path.with_file_name(&name[..start]))?;
        (owner.is_file() && is_sqlite(&owner).unwrap_or(false)).then_some(owner)
    })
}

/// Refuses to create a database at the name of another one's companion file.
pub(super) fn refuse_companion(path: &Path) -> Result<(), OpenError> {
    let owner = companion_owner(path).or_else(|| companion_owner(&canonical_path(path)));
    match owner {
        Some(owner) => Err(OpenError(format!(
            "{} belongs to the database {}; it was not changed. Name another file with --db.",
            path.display(),
            owner.display()
        ))),
        None => Ok(()),
    }
}

/// The file beside a database that marks an unfinished restore.
#[derive(Debug)]
pub struct RestoreMarker {
    path: PathBuf,
}

impl RestoreMarker {
    /// Creates the marker durably, with a text for the operator.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn create(database: &Path, text: &str) -> io::Result<Self> {
        use std::io::Write;
        let path = Self::path_for(database);
        let mut file = File::create(&path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        File::open(folder_of(&path))?.sync_all()?;
        Ok(Self { path })
    }

    /// Removes the marker durably: the data is complete.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn remove(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)?;
        File::open(folder_of(&self.path))?.sync_all()
    }

    /// Where the marker of a database is.
    pub fn path_for(database: &Path) -> PathBuf {
        let mut name = canonical_path(database).into_os_string();
        name.push(RESTORING);
        PathBuf::from(name)
    }
}

/// Refuses a database whose restore is in progress or was interrupted.
pub(super) fn refuse_unfinished_restore(path: &Path) -> Result<(), OpenError> {
    let marker = RestoreMarker::path_for(path);
    if !marker.exists() {
        return Ok(());
    }
    Err(OpenError(format!(
        "a restore of {} is in progress or was interrupted ({} exists). Run `restore` with --force \
         again; the previous data is kept in files with `.before-restore-` in their names.",
        path.display(),
        marker.display()
    )))
}

/// The lock of a server on a database file; released on drop or when the process ends.
#[derive(Debug)]
pub struct ServerLock {
    // The lock is held as long as the file is open.
    _file: File,
}

impl ServerLock {
    /// Takes the lock for the database at `path`.
    ///
    /// # Errors
    /// When another server holds it.
    pub fn acquire(path: &Path) -> Result<Self, OpenError> {
        refuse_companion(path)?;
        // A file of another program gets no lock file.
        if path.exists() {
            inspect(path)?;
        }
        Self::acquire_for_anything(path)
    }

    /// Takes the lock for any file at `path`, since it is about to be replaced.
    ///
    /// # Errors
    /// As [`ServerLock::acquire`].
    pub fn acquire_for_anything(path: &Path) -> Result<Self, OpenError> {
        // The lock has a file of its own: closing any descriptor of the database itself would drop
        // the locks that SQLite holds on it.
        let lock_path = Self::path_for(path);
        create_private(&lock_path)?;
        let file = OpenOptions::new()
            .write(true)
            .open(&lock_path)
            .map_err(|e| OpenError(format!("cannot open {}: {e}", lock_path.display())))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(OpenError(format!(
                "another accounts-server is serving {} already. Stop it first, or give this one a \
                 file of its own with \
                 --db.",
                path.display()
            ))),
            Err(TryLockError::Error(e)) => Err(OpenError(format!(
                "cannot lock {}: {e}",
                lock_path.display()
            ))),
        }
    }

    /// Whether a server holds the lock of the database at `path`.
    pub fn is_held(path: &Path) -> bool {
        File::open(Self::path_for(path))
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    fn path_for(path: &Path) -> PathBuf {
        // Different spellings of one path must lead to the same lock.
        let mut name = canonical_path(path).into_os_string();
        name.push(LOCK);
        PathBuf::from(name)
    }
}

/// The folder of a file.
pub(super) fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Bytes that this user can still write to the file system of `path`; `None` where unknown.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let system = rustix::fs::statvfs(path).ok()?;
    Some(system.f_bavail.saturating_mul(system.f_frsize))
}

/// The canonical path of a file, which need not exist yet.
pub fn canonical_path(path: &Path) -> PathBuf {
    path.canonicalize()
        .or_else(|e| {
            let name = path.file_name().ok_or(e)?;
            Ok::<_, io::Error>(folder_of(path).canonicalize()?.join(name))
        })
        .unwrap_or_else(|_| path.to_path_buf())
}
