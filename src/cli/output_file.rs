//! Files that commands write, and the files that no command may overwrite.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::backup::{folder_of, with_suffix};
use crate::config::Config;
use crate::store::sqlite::{COMPANION_SUFFIXES, companion_owner, is_sqlite};

/// Most symbolic links that are followed.
const MAX_LINKS: usize = 40;

/// End of the name of the folder of photos of a database.
const MEDIA_SUFFIX: &str = ".media";

/// Device and inode number.
type FileId = (u64, u64);

/// The files of an installation: databases with their companions, photos, keys and secrets.
///
/// A path is recognised however it is spelt: relative, through links, as a hard link, in another case.
/// Databases other than the configured one are recognised by their content.
pub(super) struct ProtectedFiles {
    files: Vec<ProtectedFile>,
    media: Option<ProtectedFile>,
}

struct ProtectedFile {
    /// All names under which it is found: the configured path, and what links lead to.
    paths: Vec<PathBuf>,
    id: Option<FileId>,
    description: String,
}

impl ProtectedFile {
    fn new(path: &Path, description: String) -> Self {
        Self {
            paths: names_of(path),
            id: id_of(path),
            description,
        }
    }

    fn is(&self, target: &Target) -> bool {
        (self.id.is_some() && self.id == target.id)
            || target
                .paths
                .iter()
                .any(|path| self.paths.iter().any(|own| is_same_path(own, path)))
    }

    fn contains(&self, target: &Target) -> bool {
        target.paths.iter().any(|path| {
            path.ancestors().any(|folder| {
                (self.id.is_some() && self.id == id_of(folder))
                    || self.paths.iter().any(|own| is_same_path(own, folder))
            })
        })
    }
}

/// A path that a command is about to write.
struct Target {
    paths: Vec<PathBuf>,
    id: Option<FileId>,
}

impl ProtectedFiles {
    /// The files that the settings name.
    pub(super) fn of(config: &Config) -> Self {
        let mut files = Vec::new();
        if let Some(database) = config.database_file() {
            let database = database.as_path();
            let description = "the database".to_owned();
            files.push(ProtectedFile::new(database, description));
            for name in names_of(database) {
                for suffix in COMPANION_SUFFIXES {
                    let description = format!("a part of the database {}", database.display());
                    files.push(ProtectedFile::new(&with_suffix(&name, suffix), description));
                }
            }
        }
        for path in config.named_files() {
            let description = "a file that the settings name".to_owned();
            files.push(ProtectedFile::new(&path, description));
        }
        let media = config
            .media_dir()
            .map(|dir| ProtectedFile::new(&dir, "in the folder of the photos".to_owned()));
        Self { files, media }
    }

    /// Refuses a target that is one of these files, or is in the folder of photos.
    ///
    /// # Errors
    /// When nothing may be written there; the text is for the terminal.
    pub(super) fn check(&self, path: &Path) -> Result<(), String> {
        let target = Target {
            paths: names_of(path),
            id: id_of(path),
        };
        let configured = self
            .files
            .iter()
            .find(|file| file.is(&target))
            .or(self.media.as_ref().filter(|dir| dir.contains(&target)))
            .map(|file| file.description.clone());
        match configured.or_else(|| part_of_a_database(&target)) {
            Some(description) => Err(format!(
                "{} is {description}; nothing was written. Name another file",
                path.display()
            )),
            None => Ok(()),
        }
    }

    /// Refuses a standard output that is redirected to one of these files.
    ///
    /// # Errors
    /// As [`ProtectedFiles::check`].
    pub(super) fn check_stdout(&self) -> Result<(), String> {
        let id = io::stdout()
            .as_fd()
            .try_clone_to_owned()
            .and_then(|stream| File::from(stream).metadata())
            .ok()
            .filter(fs::Metadata::is_file)
            .map(|data| (data.dev(), data.ino()));
        let file = self.files.iter().find(|file| id.is_some() && file.id == id);
        match file {
            Some(file) => Err(format!(
                "standard output is {}; nothing was written. Name another file",
                file.description
            )),
            None => Ok(()),
        }
    }
}

/// Whether a target belongs to any existing database, and how.
fn part_of_a_database(target: &Target) -> Option<String> {
    for path in &target.paths {
        if path.is_file() && is_sqlite(path).unwrap_or(false) {
            return Some("a SQLite database".to_owned());
        }
        if let Some(owner) = companion_owner(path) {
            return Some(format!("a part of the database {}", owner.display()));
        }
        for folder in path.ancestors() {
            let owner = folder
                .to_str()
                .and_then(|name| name.strip_suffix(MEDIA_SUFFIX))
                .map(Path::new);
            if let Some(owner) = owner
                && owner.is_file()
                && is_sqlite(owner).unwrap_or(false)
            {
                let text = format!("in the folder of the photos of {}", owner.display());
                return Some(text);
            }
        }
    }
    None
}

/// The canonical names of a path and of each symbolic link that it leads through.
fn names_of(path: &Path) -> Vec<PathBuf> {
    let mut names = Vec::new();
    let mut next = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        let name = with_canonical_folder(&next);
        let link = fs::read_link(&name);
        names.push(name.clone());
        match link {
            // Joining an absolute target replaces the folder.
            Ok(to) => next = folder_of(&name).join(to),
            Err(_) => break,
        }
    }
    // Resolves what the steps above cannot, such as `/dev/stdout`.
    names.extend(path.canonicalize());
    names
}

/// Resolves the folder of a path as far as it exists, and not the last part.
fn with_canonical_folder(path: &Path) -> PathBuf {
    let Some(name) = path.file_name() else {
        return path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    };
    let folder = folder_of(path);
    match folder.canonicalize() {
        Ok(folder) => folder.join(name),
        // The folder is created later.
        Err(_) if folder != path => with_canonical_folder(folder).join(name),
        Err(_) => path.to_path_buf(),
    }
}

fn id_of(path: &Path) -> Option<FileId> {
    let data = path.metadata().ok()?;
    Some((data.dev(), data.ino()))
}

/// Whether two canonical paths name the same file, in a file system that may ignore case.
fn is_same_path(a: &Path, b: &Path) -> bool {
    if a == b {
        return true;
    }
    let (Some(a_name), Some(b_name)) = (a.file_name(), b.file_name()) else {
        return false;
    };
    let (a_folder, b_folder) = (folder_of(a), folder_of(b));
    a_name.eq_ignore_ascii_case(b_name)
        && (a_folder == b_folder || id_of(a_folder).is_some_and(|id| Some(id) == id_of(b_folder)))
}

/// Who can read a file that a command writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Visibility {
    /// Only its owner.
    Private,
    /// Everybody whom the umask allows.
    Public,
}

/// A file that a command writes.
pub(super) enum OutputFile {
    /// A file, under a temporary name until it is complete.
    Regular { file: NamedTempFile, path: PathBuf },
    /// A pipe or a device: it is written to and not replaced.
    Special(File),
}

impl OutputFile {
    /// Opens a file for writing, unless it is protected.
    ///
    /// # Errors
    /// When it is protected, or the file system refuses.
    pub(super) fn create(
        path: &Path,
        visibility: Visibility,
        protected: &ProtectedFiles,
    ) -> Result<Self, String> {
        let failed = |e: io::Error| format!("cannot write {}: {e}", path.display());
        protected.check(path)?;
        if is_special(path) {
            let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
            return Ok(Self::Special(file));
        }
        // A symbolic link stays one; its target is replaced.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let mode = match visibility {
            Visibility::Private => 0o600,
            Visibility::Public => 0o666,
        };
        let file = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(mode))
            .tempfile_in(folder_of(&path))
            .map_err(failed)?;
        Ok(Self::Regular { file, path })
    }

    /// Gives a complete file its name, durably.
    ///
    /// # Errors
    /// When the file system refuses.
    pub(super) fn finish(self) -> Result<(), String> {
        let Self::Regular { file, path } = self else {
            return Ok(());
        };
        let failed = |e: io::Error| format!("cannot write {}: {e}", path.display());
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&path).map_err(|e| failed(e.error))?;
        Ok(())
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Regular { file, .. } => file.write(bytes),
            Self::Special(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Regular { file, .. } => file.flush(),
            Self::Special(file) => file.flush(),
        }
    }
}

/// Whether a path names something that exists and is neither a file nor a folder.
pub(super) fn is_special(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|data| !data.is_file() && !data.is_dir())
}

/// Writes a whole public file and the folders above it, unless it is protected.
///
/// # Errors
/// When it is protected, or the file system refuses.
pub(super) fn write_public(
    path: &Path,
    bytes: &[u8],
    protected: &ProtectedFiles,
) -> Result<(), String> {
    protected.check(path)?;
    let failed = |e: io::Error| format!("cannot write {}: {e}", path.display());
    fs::create_dir_all(folder_of(path)).map_err(failed)?;
    let mut file = OutputFile::create(path, Visibility::Public, protected)?;
    file.write_all(bytes).map_err(failed)?;
    file.finish()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder with a database, a key and a link, and the settings that name them.
    fn installation() -> (tempfile::TempDir, Config) {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let mut sqlite = b"SQLite format 3\0".to_vec();
        sqlite.resize(100, 0);
        fs::write(at("users.db"), &sqlite).unwrap();
        fs::write(at("other.db"), &sqlite).unwrap();
        fs::create_dir_all(at("users.db.media/photos")).unwrap();
        fs::create_dir_all(at("other.db.media/photos")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        fs::write(at("secret"), "x").unwrap();
        fs::hard_link(at("users.db"), at("hard.db")).unwrap();
        fs::write(at("users.db-wal"), "log").unwrap();
        fs::hard_link(at("users.db-wal"), at("hard-log")).unwrap();
        symlink("users.db", at("link.db")).unwrap();
        symlink("users.db-shm", at("dangling")).unwrap();
        symlink("dangling", at("chain")).unwrap();
        symlink(".", at("here")).unwrap();
        symlink("users.db.media", at("media")).unwrap();
        symlink("secret", at("key")).unwrap();
        let mut config = Config::defaults(false);
        config.database.path = at("link.db").to_str().unwrap().to_owned();
        config.mail.smtp_password_file = Some(at("secret"));
        (dir, config)
    }

    #[test]
    fn files_of_an_installation_are_protected_however_they_are_spelt() {
        let (dir, config) = installation();
        let protected = ProtectedFiles::of(&config);
        for name in [
            "users.db",
            "./users.db",
            "folder/../users.db",
            "here/here/users.db",
            "link.db",
            "hard.db",
            "users.db-wal",
            "hard-log",
            "users.db-shm",
            "users.db-journal",
            "users.db.lock",
            "users.db.restoring",
            "link.db-wal",
            "link.db.lock",
            "USERS.DB-JOURNAL",
            "here/Users.db-wal",
            "dangling",
            "chain",
            "secret",
            "key",
            "other.db",
            "other.db-wal",
            "other.db-journal",
            "other.db.LOCK",
            "other.db.media/x",
            "other.db.media/photos/new/x",
            "users.db.media",
            "users.db.media/x",
            "users.db.media/photos/x",
            "media/photos/new/folder/x",
            "link.db.media/x",
        ] {
            let refused = protected.check(&dir.path().join(name));
            assert!(refused.is_err(), "{name}");
        }
        for name in [
            "users",
            "users.db.tar",
            "folder/users.db",
            "backup.db",
            "new/a/b",
            "db-wal",
        ] {
            let allowed = protected.check(&dir.path().join(name));
            assert_eq!(allowed, Ok(()), "{name}");
        }
    }

    #[test]
    fn writing_replaces_the_name_and_not_the_content() {
        let (dir, config) = installation();
        let protected = ProtectedFiles::of(&config);
        let at = |name: &str| dir.path().join(name);
        fs::write(at("page"), "old").unwrap();
        fs::hard_link(at("page"), at("other page")).unwrap();
        write_public(&at("page"), b"new", &protected).unwrap();
        assert_eq!(fs::read(at("page")).unwrap(), b"new");
        assert_eq!(fs::read(at("other page")).unwrap(), b"old");
        assert!(write_public(&at("users.db"), b"new", &protected).is_err());
        assert!(fs::read(at("users.db")).unwrap().starts_with(b"SQLite"));
    }
}
