//! Backups: one tar file with the database and all photos as of one moment, made while the server
//! runs.
//!
//! The photos are locked first, then the database is copied, so every photo that the copy names
//! can be read. This module accesses the SQLite file only through [`crate::store::sqlite`].
//! [`schedule`] makes backups regularly, and [`Restore`] restores one.

mod archive;
mod files;
mod restore;
pub mod schedule;
mod stream;

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use archive::{ArchiveWriter, Entry};
use files::{ScratchFolder, create_private, owner_of, sync_folder};
pub(crate) use files::{folder_of, with_suffix};
pub use restore::{GenerateKey, Restore, RestoreSummary};
pub use stream::CancellableStream;

use crate::config::Config;
use crate::domain::{EventKind, Timestamp};
use crate::photos::HeldPhotos;
use crate::store::sqlite::{Inspection, copy_database, inspect_database, note_in};
use crate::store::{NewEvent, RequestContext};

/// Name of the folder of photos inside the media folder.
const PHOTOS: &str = "photos";

/// End of the names of backups.
const SUFFIX: &str = ".tar";

/// Pause before another attempt to lock the photos.
const LOCK_RETRY: Duration = Duration::from_millis(100);

/// Why a backup or a restore failed. The text is for the terminal and the log.
#[derive(Clone, Debug)]
pub struct BackupError(String);

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BackupError {}

/// Turns an error into a [`BackupError`] that begins with `context`.
fn with_context<E: fmt::Display>(context: impl fmt::Display) -> impl FnOnce(E) -> BackupError {
    move |error| BackupError(format!("{context}: {error}"))
}

fn backup_error<E: fmt::Display>(error: E) -> BackupError {
    BackupError(error.to_string())
}

/// Progress of a backup or a restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Bytes of the database.
    Database {
        /// Bytes done.
        done: u64,
        /// Bytes in total.
        total: u64,
    },
    /// Photos.
    Photos {
        /// Photos done.
        done: u64,
        /// Photos in total; 0 if unknown.
        total: u64,
    },
}

/// Cancels a backup or a restore on another thread: it fails soon after and removes its temporary
/// files.
#[derive(Clone, Debug, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// Cancels the work.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn check(&self) -> io::Result<()> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(io::Error::other("it was cancelled")),
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

/// A writer that fails once the work is cancelled.
struct CancellableWriter<T>(T, CancelFlag);

impl<T: Write> Write for CancellableWriter<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.check()?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The files that a backup contains and a restore replaces.
#[derive(Clone, Debug)]
pub struct DataFiles {
    /// The database.
    pub database: PathBuf,
    /// The folder of photos. It need not exist.
    pub photos: PathBuf,
    /// How long to wait for a process that locks the database.
    pub busy_timeout: Duration,
    /// Cancels the work on these files.
    pub cancel: CancelFlag,
}

/// What a backup contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Schema version of the database.
    pub schema_version: i32,
    /// Number of accounts.
    pub accounts: u64,
    /// Number of photos.
    pub photos: u64,
    /// Names of photos that accounts have but the folder lacks.
    pub missing_photos: Vec<String>,
}

impl DataFiles {
    /// The files named by the settings; `None` for a database that is not a file.
    pub fn of(config: &Config) -> Option<Self> {
        Some(Self {
            database: config.database_file()?,
            photos: config.media_dir()?.join(PHOTOS),
            busy_timeout: Duration::from_millis(config.database.busy_timeout_ms.into()),
            cancel: CancelFlag::default(),
        })
    }

    /// The name of a backup made at `now`, such as `users.db-20241203T120000Z.tar`. Names sort by
    /// time.
    pub fn backup_name(&self, now: Timestamp) -> OsString {
        let mut name = self.prefix();
        name.push(now.to_string().replace(['-', ':'], ""));
        name.push(SUFFIX);
        name
    }

    /// Start of the names of all backups of this database.
    fn prefix(&self) -> OsString {
        let mut prefix = self.database.file_name().unwrap_or_default().to_owned();
        prefix.push("-");
        prefix
    }

    /// Writes a backup to `target`, replacing an existing file.
    ///
    /// The file gets its name once it is complete and synced; only its owner can read it.
    ///
    /// # Errors
    /// When it cannot be made; no partial file remains.
    pub fn write_file(
        &self,
        target: &Path,
        now: Timestamp,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Contents, BackupError> {
        let folder = folder_of(target);
        let scratch = ScratchFolder::create(folder, &self.prefix()).map_err(with_context(
            format!("cannot write to {}", folder.display()),
        ))?;
        self.write_file_via(scratch.path(), target, now, progress)
    }

    /// As [`DataFiles::write_file`], with a given temporary folder.
    fn write_file_via(
        &self,
        scratch: &Path,
        target: &Path,
        now: Timestamp,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Contents, BackupError> {
        let cannot_write = || with_context(format!("cannot write {}", target.display()));
        let unfinished = scratch.join("backup.tar");
        let mut file = create_private(&unfinished).map_err(cannot_write())?;
        let contents = self.write(&mut file, scratch, now, progress)?;
        file.sync_all()
            .and_then(|()| fs::rename(&unfinished, target))
            .and_then(|()| sync_folder(folder_of(target)))
            .map_err(cannot_write())?;
        Ok(contents)
    }

    /// Writes a backup to a stream. The temporary copy of the database is made beside the database.
    ///
    /// # Errors
    /// When it cannot be made; what was written is then useless.
    pub fn stream(
        &self,
        out: &mut dyn Write,
        now: Timestamp,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Contents, BackupError> {
        let folder = folder_of(&self.database);
        let scratch = ScratchFolder::create(folder, &self.prefix()).map_err(with_context(
            format!("cannot write to {}", folder.display()),
        ))?;
        self.write(out, scratch.path(), now, progress)
    }

    /// Records the start of a backup in the audit log.
    ///
    /// # Errors
    /// When the database cannot be written.
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
        note_in(&self.database, &event, self.busy_timeout).map_err(backup_error)
    }

    fn write(
        &self,
        out: &mut dyn Write,
        scratch: &Path,
        now: Timestamp,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Contents, BackupError> {
        let copy = scratch.join("copy.db");
        let (locked, inspection) = self.copy(&copy, progress)?;
        let cannot_write = || with_context("cannot write the backup");
        let out = CancellableWriter(out, self.cancel.clone());
        let mut archive = ArchiveWriter::new(out, owner_of(&self.database), now);
        let file = File::open(&copy).map_err(cannot_write())?;
        archive
            .add(&Entry::Database, &file)
            .map_err(cannot_write())?;
        // The copy takes as much space as the database, so it is removed as soon as possible.
        fs::remove_file(&copy).map_err(cannot_write())?;
        let mut contents = Contents {
            schema_version: inspection.schema_version,
            accounts: inspection.accounts,
            photos: 0,
            missing_photos: Vec::new(),
        };
        let total = inspection.photos.len() as u64;
        for (name, done) in inspection.photos.into_iter().zip(1..) {
            match locked
                .as_ref()
                .map(|locked| locked.open(&name))
                .transpose()
                .map_err(backup_error)?
            {
                Some(Some(file)) => {
                    archive
                        .add(&Entry::Photo(name), &file)
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

    /// Locks the photos, copies the database and verifies the copy.
    fn copy(
        &self,
        copy: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Option<HeldPhotos<'_>>, Inspection), BackupError> {
        loop {
            // Without photos there is no folder, and a backup does not create it.
            let locked = match self.photos.is_dir() {
                true => Some(self.lock_photos()?),
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
            .map_err(backup_error)?;
            let inspection = inspect_database(copy).map_err(backup_error)?;
            if locked.is_none() && !inspection.photos.is_empty() && self.photos.is_dir() {
                // The first photo was added in between, without the lock.
                fs::remove_file(copy).map_err(with_context("cannot write the backup"))?;
                continue;
            }
            return Ok((locked, inspection));
        }
    }

    /// Locks the photos against removal, waiting for other processes that lock them.
    fn lock_photos(&self) -> Result<HeldPhotos<'_>, BackupError> {
        loop {
            self.cancel.check().map_err(backup_error)?;
            if let Some(locked) = HeldPhotos::hold(&self.photos).map_err(backup_error)? {
                return Ok(locked);
            }
            thread::sleep(LOCK_RETRY);
        }
    }
}
