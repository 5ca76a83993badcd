//! Backups: one file with the database and all photos as they were at one moment, made while the server runs; and the way
//! back ([`restore`]).
//!
//! The photos are held first, then the database is copied, so every photo that the copy names is there to be read. Knows the
//! SQLite file through [`crate::store::sqlite`] alone. What makes backups on a schedule is [`schedule`].

mod archive;
mod pipe;
mod restore;
pub mod schedule;

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use archive::{ArchiveWriter, Member};
pub use pipe::Pipe;
pub use restore::{Restore, Restored};
use tempfile::TempDir;

use crate::config::Config;
use crate::domain::{EventKind, Timestamp};
use crate::photos::HeldPhotos;
use crate::store::sqlite::{Inspection, copy_database, inspect_database, note_in};
use crate::store::{NewEvent, RequestContext};

/// The folder of the photos below that of the media.
const PHOTOS: &str = "photos";

/// How often to look whether others still hold the photos.
const HOLD_PAUSE: Duration = Duration::from_millis(100);

/// Why a backup could not be made or restored. The text is for the person at the terminal, and for the log.
#[derive(Clone, Debug)]
pub struct BackupError(String);

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BackupError {}

/// Puts an error into a sentence that begins with `context`.
fn because<E: fmt::Display>(context: impl fmt::Display) -> impl FnOnce(E) -> BackupError {
    move |error| BackupError(format!("{context}: {error}"))
}

fn plainly<E: fmt::Display>(error: E) -> BackupError {
    BackupError(error.to_string())
}

/// How far a backup or the way back has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Bytes of the database, of how many.
    Database {
        /// Bytes done.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// Photos, of how many; 0 when that is not known.
    Photos {
        /// Photos done.
        done: u64,
        /// Photos in all.
        total: u64,
    },
}

/// Breaks off a backup, or the way back, that is under way on another thread: it ends with an error soon after, and leaves
/// nothing behind.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// From now on, nothing is begun or gone on with.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn check(&self) -> io::Result<()> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(io::Error::other("it was broken off")),
            false => Ok(()),
        }
    }

    fn flow(&self) -> ControlFlow<()> {
        match self.check() {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

/// A writer that fails once it is to be broken off.
struct Cancellable<T>(T, Cancel);

impl<T: Write> Write for Cancellable<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.check()?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// What is backed up.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file of the database.
    pub database: PathBuf,
    /// The folder of the photos. It need not exist.
    pub photos: PathBuf,
    /// How long to wait for another process that keeps even readers off the database.
    pub busy_timeout: Duration,
    /// Breaks off what is under way.
    pub cancel: Cancel,
}

/// What is in a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Number of the schema of the database.
    pub schema_version: i32,
    /// How many accounts there are.
    pub accounts: u64,
    /// How many photos there are.
    pub photos: u64,
    /// The names of the photos that accounts have and the folder has not.
    pub missing_photos: Vec<String>,
}

impl Source {
    /// What the settings name; `None` when the database is in memory.
    pub fn of(config: &Config) -> Option<Self> {
        if config.is_in_memory() {
            return None;
        }
        Some(Self {
            database: PathBuf::from(&config.database.path),
            photos: config.media_dir()?.join(PHOTOS),
            busy_timeout: Duration::from_millis(config.database.busy_timeout_ms.into()),
            cancel: Cancel::default(),
        })
    }

    /// The name for a backup made at `now`, such as `users.db-20241203T120000Z.tar`. Names sort by time.
    pub fn name(&self, now: Timestamp) -> OsString {
        let mut name = self.prefix();
        name.push(now.to_string().replace(['-', ':'], ""));
        name.push(SUFFIX);
        name
    }

    /// What the names of all backups of this database begin with.
    fn prefix(&self) -> OsString {
        let mut prefix = self.database.file_name().unwrap_or_default().to_owned();
        prefix.push("-");
        prefix
    }

    /// Makes a backup that appears under the name `target` once it is whole, on disk, and readable for its owner alone.
    /// A file of that name is replaced.
    ///
    /// # Errors
    /// When it cannot be made; nothing is left of it then.
    pub fn write_file(
        &self,
        target: &Path,
        now: Timestamp,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Contents, BackupError> {
        let folder = folder_of(target);
        let scratch = scratch_folder(folder, &self.prefix())
            .map_err(because(format!("cannot write into {}", folder.display())))?;
        self.write_by_way_of(scratch.path(), target, now, progress)
    }

    /// As [`Source::write_file`], with a folder for what is not finished.
    fn write_by_way_of(
        &self,
        scratch: &Path,
        target: &Path,
        now: Timestamp,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Contents, BackupError> {
        let cannot_write = || because(format!("cannot write {}", target.display()));
        let unfinished = scratch.join("backup.tar");
        let mut file = create_private(&unfinished).map_err(cannot_write())?;
        let contents = self.write(&mut file, scratch, now, progress)?;
        file.sync_all()
            .and_then(|()| fs::rename(&unfinished, target))
            .and_then(|()| sync_folder(folder_of(target)))
            .map_err(cannot_write())?;
        Ok(contents)
    }

    /// Makes a backup that goes to `out`, and the copy of the database for it in a folder beside the database meanwhile.
    ///
    /// # Errors
    /// When it cannot be made; what went out already is of no use then.
    pub fn stream(
        &self,
        out: &mut dyn Write,
        now: Timestamp,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Contents, BackupError> {
        let folder = folder_of(&self.database);
        let scratch = scratch_folder(folder, &self.prefix())
            .map_err(because(format!("cannot write into {}", folder.display())))?;
        self.write(out, scratch.path(), now, progress)
    }

    /// Writes into the audit log that somebody begins a backup.
    ///
    /// # Errors
    /// When the database cannot be written to.
    pub fn note(
        &self,
        context: RequestContext,
        detail: String,
        now: Timestamp,
    ) -> Result<(), BackupError> {
        let event = NewEvent {
            kind: EventKind::BackupStarted,
            user_id: None,
            context,
            detail,
            now,
        };
        note_in(&self.database, &event, false, self.busy_timeout).map_err(plainly)
    }

    fn write(
        &self,
        out: &mut dyn Write,
        scratch: &Path,
        now: Timestamp,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Contents, BackupError> {
        let copy = scratch.join("copy.db");
        let (held, inspection) = self.copy(&copy, progress)?;
        let cannot_write = || because("cannot write the backup");
        let out = Cancellable(out, self.cancel.clone());
        let mut archive = ArchiveWriter::new(out, owner_of(&self.database), now);
        let file = File::open(&copy).map_err(cannot_write())?;
        archive
            .add(&Member::Database, &file)
            .map_err(cannot_write())?;
        // It takes as much room as the database, so it goes as soon as it may.
        fs::remove_file(&copy).map_err(cannot_write())?;
        let mut contents = Contents {
            schema_version: inspection.schema_version,
            accounts: inspection.accounts,
            photos: 0,
            missing_photos: Vec::new(),
        };
        let total = inspection.photos.len() as u64;
        for (name, done) in inspection.photos.into_iter().zip(1..) {
            match held
                .as_ref()
                .map(|held| held.open(&name))
                .transpose()
                .map_err(plainly)?
            {
                Some(Some(file)) => {
                    archive
                        .add(&Member::Photo(name), &file)
                        .map_err(cannot_write())?;
                    contents.photos += 1;
                }
                _ => contents.missing_photos.push(name),
            }
            progress(Progress::Photos { done, total });
        }
        archive
            .finish()
            .and_then(|mut out| out.flush())
            .map_err(cannot_write())?;
        Ok(contents)
    }

    /// Copies the database and looks through the copy, with the photos that it names held from before.
    fn copy(
        &self,
        copy: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Option<HeldPhotos<'_>>, Inspection), BackupError> {
        loop {
            // A server without photos has no folder for them, and a backup is no reason to make one.
            let held = match self.photos.is_dir() {
                true => Some(self.hold_photos()?),
                false => None,
            };
            copy_database(
                &self.database,
                copy,
                self.busy_timeout,
                &mut |done, total| {
                    progress(Progress::Database { done, total });
                    self.cancel.flow()
                },
            )
            .map_err(plainly)?;
            let inspection = inspect_database(copy).map_err(plainly)?;
            if held.is_none() && !inspection.photos.is_empty() && self.photos.is_dir() {
                // The first photo of all came in between, and nobody has held it.
                fs::remove_file(copy).map_err(because("cannot write the backup"))?;
                continue;
            }
            return Ok((held, inspection));
        }
    }

    /// Waits for others that hold the photos.
    fn hold_photos(&self) -> Result<HeldPhotos<'_>, BackupError> {
        loop {
            self.cancel.check().map_err(plainly)?;
            if let Some(held) = HeldPhotos::hold(&self.photos).map_err(plainly)? {
                return Ok(held);
            }
            thread::sleep(HOLD_PAUSE);
        }
    }
}

/// What the names of backups end with.
const SUFFIX: &str = ".tar";

/// The folder that a file is in.
pub(crate) fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// What the names of folders for unfinished work begin with: hidden, and known to be of the database whose backups begin
/// with `prefix`.
fn scratch_prefix(prefix: &OsString) -> OsString {
    let mut name = OsString::from(".");
    name.push(prefix);
    name.push("unfinished-");
    name
}

/// What the name of the folder of a schedule ends with, which looks after it itself.
const SCHEDULED: &str = "scheduled";

/// A folder for unfinished work, which goes with what is in it.
struct Scratch {
    folder: TempDir,
    // The last to go.
    _occupied: File,
}

impl Scratch {
    fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Makes a folder for unfinished work, and removes those that a command has left that was killed.
fn scratch_folder(parent: &Path, prefix: &OsString) -> io::Result<Scratch> {
    let prefix = scratch_prefix(prefix);
    remove_left_over(parent, &prefix);
    loop {
        let folder = tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir_in(parent)?;
        if let Some(occupied) = occupy(folder.path())? {
            return Ok(Scratch {
                folder,
                _occupied: occupied,
            });
        }
        // Somebody took it for left over before it was occupied, and removes it.
    }
}

/// Keeps a folder from being taken for left over until what it gives is dropped. `None` when somebody else has it, or has
/// removed it.
fn occupy(folder: &Path) -> io::Result<Option<File>> {
    let file = match File::open(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    match file.try_lock() {
        Ok(()) => Ok(folder.exists().then_some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

/// Removes the folders of commands that were killed: those that nobody occupies.
fn remove_left_over(parent: &Path, prefix: &OsString) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let end = name
            .as_encoded_bytes()
            .strip_prefix(prefix.as_encoded_bytes());
        let is_of_command = end.is_some_and(|end| end != SCHEDULED.as_bytes());
        if is_of_command && let Ok(Some(_occupied)) = occupy(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Makes a folder for nobody but us, and its parents.
fn create_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes a new file that only its owner can read and write.
fn create_private(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes the names in a folder durable. Only Unix lets a folder be opened for that.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()
    } else {
        Ok(())
    }
}

/// User and group of a file; root's where the system has none.
fn owner_of(file: &Path) -> (u32, u32) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        if let Ok(data) = file.metadata() {
            return (data.uid(), data.gid());
        }
    }
    (0, 0)
}
