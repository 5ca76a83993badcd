//! Private files, durable names, and the temporary folders of unfinished work.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// End of the name of the temporary folder of scheduled backups, which the schedule removes itself.
pub(super) const SCHEDULED: &str = "scheduled";

/// The folder that contains a file.
pub(crate) fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A path with a suffix appended to its name.
pub(crate) fn with_suffix(path: &Path, suffix: impl AsRef<OsStr>) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Start of the names of temporary folders: hidden, and specific to one database.
pub(super) fn scratch_prefix(prefix: &OsStr) -> OsString {
    let mut name = OsString::from(".");
    name.push(prefix);
    name.push("unfinished-");
    name
}

/// A temporary folder, locked while in use and removed when dropped.
pub(super) struct ScratchFolder {
    folder: TempDir,
    // Dropped last, so that the folder stays locked until it is gone.
    _lock: File,
}

impl ScratchFolder {
    /// Creates a temporary folder, and removes those that a killed command left behind.
    pub(super) fn create(parent: &Path, prefix: &OsStr) -> io::Result<Self> {
        let prefix = scratch_prefix(prefix);
        remove_abandoned(parent, &prefix);
        loop {
            let folder = tempfile::Builder::new()
                .prefix(&prefix)
                .tempdir_in(parent)?;
            if let Some(lock) = lock_folder(folder.path())? {
                return Ok(Self {
                    folder,
                    _lock: lock,
                });
            }
            // Another process took it for abandoned before it was locked, and removes it.
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Locks a folder until the returned file is dropped. `None` if another process has locked or
/// removed it.
fn lock_folder(folder: &Path) -> io::Result<Option<File>> {
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

/// Removes the unlocked temporary folders of killed commands.
fn remove_abandoned(parent: &Path, prefix: &OsStr) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let end = name
            .as_encoded_bytes()
            .strip_prefix(prefix.as_encoded_bytes());
        let is_of_command = end.is_some_and(|end| end != SCHEDULED.as_bytes());
        if is_of_command && let Ok(Some(_lock)) = lock_folder(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Creates a folder and its parents, accessible to the owner only.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Creates a new file that only its owner can read and write.
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes the names in a folder durable. Only Unix can open a folder for that.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()
    } else {
        Ok(())
    }
}

/// User and group of a file; root if the system has neither.
pub(super) fn owner_of(file: &Path) -> (u32, u32) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        if let Ok(data) = file.metadata() {
            return (data.uid(), data.gid());
        }
    }
    (0, 0)
}
