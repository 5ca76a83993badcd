//! Restores a backup in place of a database that no server uses.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::archive::{self, Entry};
use super::files::{ScratchFolder, create_folder, create_private, sync_folder};
use super::{
    BackupError, CancellableStream, Contents, DataFiles, Progress, backup_error, folder_of,
    with_context, with_suffix,
};
use crate::domain::{EventKind, Timestamp};
use crate::store::sqlite::{
    ServerLock, copy_database, inspect_database, is_sqlite, note_in, set_aside,
};
use crate::store::{NewEvent, RequestContext};

/// What is restored, and how.
#[derive(Clone, Debug)]
pub struct Restore {
    /// Where to.
    pub target: DataFiles,
    /// The backup, or a database alone, which leaves the photos as they are; `None` is standard
    /// input.
    pub from: Option<PathBuf>,
    /// Whether a database that is there may be replaced.
    pub force: bool,
    /// Whether everybody has to sign in anew.
    pub end_sessions: bool,
    /// Who restores it, for the audit log.
    pub context: RequestContext,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreSummary {
    /// What was restored.
    pub contents: Contents,
    /// The names that the former database and photos have now.
    pub set_aside: Vec<PathBuf>,
}

impl Restore {
    /// Unpacks the backup beside its place, checks all of it, and puts it there.
    ///
    /// # Errors
    /// When the database is in use or must not be replaced, or the backup is not as it should be.
    /// Database and photos are as they were then.
    pub fn run(
        &self,
        now: Timestamp,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<RestoreSummary, BackupError> {
        let database = &self.target.database;
        let folder = folder_of(database);
        let _lock = ServerLock::acquire_for_anything(database).map_err(backup_error)?;
        let is_there = database.metadata().is_ok_and(|data| data.len() > 0);
        if is_there && !self.force {
            return Err(BackupError(format!(
                "{} exists already. With --force it is replaced, and kept under another name",
                database.display()
            )));
        }
        let scratch = ScratchFolder::create(folder, &self.target.prefix()).map_err(
            with_context(format!("cannot write into {}", folder.display())),
        )?;
        let new = New {
            database: scratch.path().join("users.db"),
            photos: scratch.path().join("photos"),
        };
        let with_photos = self.unpack(&new, progress)?;
        let inspection = inspect_database(&new.database).map_err(backup_error)?;
        let event = NewEvent {
            kind: EventKind::DatabaseRestored,
            user_id: None,
            context: self.context.clone(),
            detail: if self.end_sessions {
                "all sessions ended".into()
            } else {
                String::new()
            },
            now,
        };
        let patience = self.target.busy_timeout;
        note_in(&new.database, &event, self.end_sessions, patience).map_err(backup_error)?;
        // The last moment: what is put into its place is put there as a whole.
        self.target.cancel.check().map_err(backup_error)?;
        let photos = if with_photos {
            &new.photos
        } else {
            &self.target.photos
        };
        let (there, missing_photos) = inspection
            .photos
            .into_iter()
            .partition::<Vec<_>, _>(|name| photos.join(name).is_file());
        let contents = Contents {
            schema_version: inspection.schema_version,
            accounts: inspection.accounts,
            photos: there.len() as u64,
            missing_photos,
        };
        let set_aside = self.put_in_place(&new, with_photos, is_there, now)?;
        Ok(RestoreSummary {
            contents,
            set_aside,
        })
    }

    /// Gives whether photos were part of it.
    fn unpack(&self, new: &New, progress: &mut dyn FnMut(Progress)) -> Result<bool, BackupError> {
        let name = match &self.from {
            Some(path) => path.display().to_string(),
            None => "standard input".to_owned(),
        };
        let cannot_read = || with_context(format!("cannot read {name}"));
        // What is no file, such as the other end of a pipe, can be read once only.
        if let Some(path) = self.from.as_ref().filter(|path| path.is_file())
            && is_sqlite(path).map_err(cannot_read())?
        {
            copy_database(
                path,
                &new.database,
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
        unpack_archive(source, new, progress)
            .map_err(with_context(format!("{name} is not a complete backup")))?;
        Ok(true)
    }

    /// What was there goes first, the new database comes last: whatever cuts this off, nothing is
    /// lost, and no server takes up half of it unnoticed.
    fn put_in_place(
        &self,
        new: &New,
        with_photos: bool,
        is_there: bool,
        now: Timestamp,
    ) -> Result<Vec<PathBuf>, BackupError> {
        let DataFiles {
            database, photos, ..
        } = &self.target;
        let former = format!(
            ".before-restore-{}",
            now.to_string().replace(['-', ':'], "")
        );
        let mut kept = Vec::new();
        if is_there {
            let aside = with_suffix(database, &former);
            set_aside(database, &aside).map_err(backup_error)?;
            kept.push(aside);
        }
        let mut place = || -> io::Result<()> {
            if with_photos {
                if photos.is_dir() {
                    let aside = with_suffix(photos, &former);
                    fs::rename(photos, &aside)?;
                    kept.push(aside);
                }
                create_folder(folder_of(photos))?;
                move_folder(&new.photos, photos)?;
            }
            fs::rename(&new.database, database)?;
            sync_folder(folder_of(database))
        };
        place().map_err(with_context(format!(
            "the backup could not be put into its place (what was there is kept under a name with \
             {former})"
        )))?;
        Ok(kept)
    }
}

/// Where the parts of a backup are before they get to their places.
struct New {
    database: PathBuf,
    photos: PathBuf,
}

fn unpack_archive(
    source: impl Read,
    new: &New,
    progress: &mut dyn FnMut(Progress),
) -> io::Result<()> {
    create_folder(&new.photos)?;
    let mut done = 0;
    archive::read(source, &mut |member, content| {
        let path = match &member {
            Entry::Database => new.database.clone(),
            Entry::Photo(name) => new.photos.join(name),
        };
        let mut file = create_private(&path)?;
        let bytes = io::copy(content, &mut file)?;
        file.sync_all()?;
        progress(match member {
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
    if !new.database.is_file() {
        return Err(io::Error::other("there is no database in it"));
    }
    sync_folder(&new.photos)
}

/// Moves a folder of files, to another file system, too.
fn move_folder(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
            create_folder(to)?;
            for entry in fs::read_dir(from)? {
                let entry = entry?;
                let mut file = create_private(&to.join(entry.file_name()))?;
                io::copy(&mut File::open(entry.path())?, &mut file)?;
                file.sync_all()?;
            }
            sync_folder(to)?;
        }
        other => other?,
    }
    sync_folder(folder_of(to))
}
