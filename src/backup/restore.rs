//! Restores a backup in place of a database that no server uses.
//!
//! Whatever interrupts it, the previous data is kept and no server starts with a mixture of both:
//!
//! 1. Everything is unpacked and verified in temporary folders beside the targets, so that no file has
//!    to be copied later. The previous database is locked.
//! 2. A marker is written, with which the database cannot be opened.
//! 3. The previous database gets a second name. The photos are exchanged, then the database.
//! 4. The marker is removed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::archive::{self, Entry};
use super::files::{ScratchFolder, create_folder, create_private, sync_folder};
use super::{
    BackupError, CancellableStream, Contents, DataFiles, Progress, backup_error, folder_of,
    with_context, with_suffix,
};
use crate::domain::{EventKind, SigningAlgorithm, StoredKey, Timestamp};
use crate::store::sqlite::{
    LastIds, ReplacedDatabase, RestoreChanges, RestoreMarker, ServerLock, apply_restore_changes,
    canonical_path, copy_database, inspect_database, is_sqlite, keep_companions,
};
use crate::store::{NewEvent, RequestContext};

/// What to restore, and how.
#[derive(Clone, Debug)]
pub struct Restore {
    /// The files to replace.
    pub target: DataFiles,
    /// The backup, or a database alone, which leaves the photos unchanged; `None` is standard
    /// input.
    pub from: Option<PathBuf>,
    /// Whether an existing database may be replaced.
    pub force: bool,
    /// Whether sessions and signing keys of the backup stay valid.
    pub keep_sessions: bool,
    /// Generates the new signing key, in the algorithm of the one that it replaces.
    pub generate_key: GenerateKey,
    /// Who restores it, for the audit log.
    pub context: RequestContext,
}

/// Generates a signing key that was created at the given time.
pub type GenerateKey = fn(SigningAlgorithm, Timestamp) -> Result<StoredKey, String>;

/// The result of a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreSummary {
    /// What was restored.
    pub contents: Contents,
    /// Where the previous database and photos are kept.
    pub kept: Vec<PathBuf>,
}

impl Restore {
    /// Unpacks the backup, verifies it, and replaces database and photos.
    ///
    /// # Errors
    /// When the database is in use or must not be replaced, or the backup is invalid: nothing is
    /// changed. When the file system refuses an exchange, the text says what to do.
    pub fn run(
        &self,
        now: Timestamp,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<RestoreSummary, BackupError> {
        // A symbolic link stays one; its target is replaced.
        let database = follow_link(&self.target.database);
        let photos = follow_link(&self.target.photos);
        let _lock = ServerLock::acquire_for_anything(&database).map_err(backup_error)?;
        let is_there = database.metadata().is_ok_and(|data| data.len() > 0);
        if is_there && !self.force {
            return Err(BackupError(format!(
                "{} exists already. With --force it is replaced, and kept under another name",
                self.target.database.display()
            )));
        }
        let scratch = self.scratch_beside(&database)?;
        let photo_scratch = self.scratch_beside(&photos)?;
        let staged = Staged {
            database: scratch.path().join("users.db"),
            photos: photo_scratch.path().join("photos"),
        };
        let with_photos = self.unpack(&staged, progress)?;
        if with_photos {
            refuse_mount_point(&photos)?;
        }
        let inspection = inspect_database(&staged.database).map_err(backup_error)?;
        let previous = match is_there {
            true => Some(ReplacedDatabase::lock(&database).map_err(backup_error)?),
            false => None,
        };
        let last_ids = previous
            .as_ref()
            .map_or_else(LastIds::new, ReplacedDatabase::last_ids);
        let algorithm = inspection
            .signing_algorithm
            .as_deref()
            .and_then(SigningAlgorithm::parse);
        self.prepare(&staged, last_ids, algorithm, now)?;
        // The last chance to cancel: what follows is done as a whole.
        self.target.cancel.check().map_err(backup_error)?;
        let available = match with_photos {
            true => &staged.photos,
            false => &photos,
        };
        let (present, missing_photos) = inspection
            .photos
            .into_iter()
            .partition::<Vec<_>, _>(|name| available.join(name).is_file());
        let contents = Contents {
            schema_version: inspection.schema_version,
            accounts: inspection.accounts,
            photos: present.len() as u64,
            missing_photos,
        };
        let exchange = Exchange {
            staged,
            with_photos,
            previous,
            suffix: free_suffix(&database, &photos, now),
            database,
            photos,
        };
        let kept = exchange.run()?;
        Ok(RestoreSummary { contents, kept })
    }

    /// A temporary folder on the file system of a file or folder that may not exist yet.
    fn scratch_beside(&self, target: &Path) -> Result<ScratchFolder, BackupError> {
        let parent = target
            .ancestors()
            .skip(1)
            .find(|folder| folder.is_dir())
            .unwrap_or(Path::new("."));
        ScratchFolder::create(parent, &self.target.prefix()).map_err(with_context(format!(
            "cannot write to {}",
            parent.display()
        )))
    }

    /// Unpacks the backup and returns whether it contains photos.
    fn unpack(
        &self,
        staged: &Staged,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<bool, BackupError> {
        let name = match &self.from {
            Some(path) => path.display().to_string(),
            None => "standard input".to_owned(),
        };
        let cannot_read = || with_context(format!("cannot read {name}"));
        // Anything but a regular file, such as a pipe, can be read only once.
        if let Some(path) = self.from.as_ref().filter(|path| path.is_file())
            && is_sqlite(path).map_err(cannot_read())?
        {
            copy_database(
                path,
                &staged.database,
                self.target.busy_timeout,
                &mut |done, total| {
                    progress(Progress::Database { done, total });
                    self.target.cancel.flow()
                },
            )
            .map_err(backup_error)?;
            return Ok(false);
        }
        let cancel = self.target.cancel.clone();
        let source = match &self.from {
            Some(path) => CancellableStream::open(path, cancel),
            None => CancellableStream::input(cancel),
        };
        let source = io::BufReader::new(source.map_err(cannot_read())?);
        let unpacked = unpack_archive(source, staged, progress);
        if unpacked.is_err() {
            self.target.cancel.check().map_err(backup_error)?;
        }
        unpacked.map_err(with_context(format!("{name} is not a complete backup")))?;
        Ok(true)
    }

    /// Ends sessions, removes keys and reserves ids in the unpacked database, and records that.
    fn prepare(
        &self,
        staged: &Staged,
        last_ids: LastIds,
        algorithm: Option<SigningAlgorithm>,
        now: Timestamp,
    ) -> Result<(), BackupError> {
        let new_key = algorithm
            .filter(|_| !self.keep_sessions)
            .map(|algorithm| (self.generate_key)(algorithm, now))
            .transpose()
            .map_err(backup_error)?;
        let detail = match self.keep_sessions {
            true => "sessions and signing keys kept",
            false => "all sessions ended, signing keys replaced",
        };
        let changes = RestoreChanges {
            event: NewEvent {
                kind: EventKind::DatabaseRestored,
                user_id: None,
                context: self.context.clone(),
                detail: detail.into(),
                now,
            },
            keep_sessions: self.keep_sessions,
            new_key,
            last_ids,
        };
        apply_restore_changes(&staged.database, &changes, self.target.busy_timeout)
            .map_err(backup_error)
    }
}

/// The unpacked parts of a backup.
struct Staged {
    database: PathBuf,
    photos: PathBuf,
}

/// The exchange of the previous data and the unpacked backup.
struct Exchange {
    staged: Staged,
    with_photos: bool,
    // Locked until the exchange is complete.
    previous: Option<ReplacedDatabase>,
    /// End of the names under which the previous data is kept.
    suffix: String,
    database: PathBuf,
    photos: PathBuf,
}

impl Exchange {
    /// Exchanges the data and returns where the previous data is kept.
    fn run(&self) -> Result<Vec<PathBuf>, BackupError> {
        let text = format!(
            "accounts-server is restoring {}, or was interrupted. Files whose names end with {} are \
             the previous data. Run the restore again.\n",
            self.database.display(),
            self.suffix
        );
        let marker = RestoreMarker::create(&self.database, &text).map_err(with_context(
            format!("cannot write to {}", folder_of(&self.database).display()),
        ))?;
        let kept = self.exchange().map_err(with_context(format!(
            "the backup is not in place (the previous data is kept in files with {} in their names; \
             run the restore again)",
            self.suffix
        )))?;
        marker.remove().map_err(with_context(format!(
            "the backup is in place, but {} cannot be removed",
            RestoreMarker::path_for(&self.database).display()
        )))?;
        Ok(kept)
    }

    fn exchange(&self) -> io::Result<Vec<PathBuf>> {
        let mut kept = Vec::new();
        let kept_database = with_suffix(&self.database, &self.suffix);
        match &self.previous {
            Some(previous) => {
                previous.keep_as(&kept_database)?;
                kept.push(kept_database);
            }
            None => keep_companions(&self.database, &kept_database)?,
        }
        sync_folder(folder_of(&self.database))?;
        if self.with_photos {
            let folder = folder_of(&self.photos);
            create_folder(folder)?;
            if self.photos.is_dir() {
                let kept_photos = with_suffix(&self.photos, &self.suffix);
                fs::rename(&self.photos, &kept_photos)?;
                kept.push(kept_photos);
            }
            fs::rename(&self.staged.photos, &self.photos)?;
            sync_folder(folder)?;
        }
        fs::rename(&self.staged.database, &self.database)?;
        sync_folder(folder_of(&self.database))?;
        Ok(kept)
    }
}

/// The target of a symbolic link, or the path itself.
fn follow_link(path: &Path) -> PathBuf {
    match path.is_symlink() {
        true => canonical_path(path),
        false => path.to_path_buf(),
    }
}

/// End of the names of the previous data, which do not exist yet.
fn free_suffix(database: &Path, photos: &Path, now: Timestamp) -> String {
    let first = format!(
        ".before-restore-{}",
        now.to_string().replace(['-', ':'], "")
    );
    let mut suffix = first.clone();
    let mut number = 1;
    while with_suffix(database, &suffix).exists() || with_suffix(photos, &suffix).exists() {
        number += 1;
        suffix = format!("{first}.{number}");
    }
    suffix
}

/// Refuses a folder of photos that is a mount point: it cannot be renamed.
fn refuse_mount_point(photos: &Path) -> Result<(), BackupError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let device = |path: &Path| path.metadata().map(|data| data.dev()).ok();
        let own = device(photos);
        if own.is_some() && own != device(folder_of(photos)) {
            return Err(BackupError(format!(
                "{} is a mount point and cannot be replaced; mount the folder above it instead",
                photos.display()
            )));
        }
    }
    Ok(())
}

fn unpack_archive(
    source: impl Read,
    staged: &Staged,
    progress: &mut dyn FnMut(Progress),
) -> io::Result<()> {
    create_folder(&staged.photos)?;
    let mut done = 0;
    archive::read(source, &mut |entry, content| {
        let path = match &entry {
            Entry::Database => staged.database.clone(),
            Entry::Photo(name) => staged.photos.join(name),
        };
        let mut file: File = create_private(&path)?;
        let bytes = io::copy(content, &mut file)?;
        file.sync_all()?;
        progress(match entry {
            Entry::Database => Progress::Database {
                done: bytes,
                total: bytes,
            },
            Entry::Photo(_) => {
                done += 1;
                Progress::Photos { done, total: 0 }
            }
        });
        Ok(())
    })?;
    if !staged.database.is_file() {
        return Err(io::Error::other("there is no database in it"));
    }
    sync_folder(&staged.photos)
}
