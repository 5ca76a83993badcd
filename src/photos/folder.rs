//! The folder of photo files: their names, durable writes, removal, and the lock of backups.
//!
//! Knows nothing of the content of files, nor of their owners.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// Hexadecimal digits of a name.
const DIGITS: usize = 32;

/// Prefix and suffix of a file that is being written. With the dot in front it is not a name by
/// [`is_name`], so it is never served.
const UNFINISHED: (&str, &str) = (".", ".part");

/// Prefix and suffix of a file that is hidden until nobody [holds](hold) the folder.
const RETIRED: (&str, &str) = (".", ".old");

/// The name of a photo.
pub(super) fn name(random: [u8; 16], extension: &str) -> String {
    format!("{:032x}.{extension}", u128::from_be_bytes(random))
}

/// Whether `name` has exactly the form of [`name`].
pub(super) fn is_name(name: &str) -> bool {
    name.split_once('.').is_some_and(|(stem, extension)| {
        stem.len() == DIGITS
            && stem.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            && matches!(extension, "jpg" | "png")
    })
}

/// The name of a file during its write.
fn unfinished(name: &str) -> String {
    format!("{}{name}{}", UNFINISHED.0, UNFINISHED.1)
}

/// The name of a file that is hidden and not removed yet.
fn retired(name: &str) -> String {
    format!("{}{name}{}", RETIRED.0, RETIRED.1)
}

/// Writes a file atomically and durably.
///
/// # Errors
/// When the file system refuses; no file is left then.
pub(super) fn write(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    create(dir)?;
    let unfinished = dir.join(unfinished(name));
    let finished = dir.join(name);
    write_durably(&unfinished, bytes)
        .and_then(|()| fs::rename(&unfinished, &finished))
        .inspect_err(|_| {
            // The first error matters. A file that cannot be removed now is removed later.
            let _ = fs::remove_file(&unfinished);
        })?;
    // Without this a power failure could lose the name although the content is on disk.
    sync_folder(dir).inspect_err(|_| {
        let _ = fs::remove_file(&finished);
    })
}

/// Creates the folder and its parents, accessible to our user alone.
fn create(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(dir)?;
    // The folder and the media folder above it may both be new, and need syncing like a file.
    for parent in dir.ancestors().skip(1).take(2) {
        let parent = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        if let Err(e) = sync_folder(parent) {
            // A parent without read permission is not a reason to refuse the photo.
            log::debug!("{} was not synced: {e}", parent.display());
        }
    }
    Ok(())
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the names in a folder durable, on Unix, where a folder can be opened for that.
fn sync_folder(dir: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(dir)?.sync_all()
    } else {
        Ok(())
    }
}

/// Locks the folder against removals, in all processes, until the returned file is dropped:
/// [`remove`] only hides files meanwhile. `None` while somebody else holds the lock.
///
/// # Errors
/// When the folder cannot be created or locked.
pub(super) fn hold(dir: &Path) -> io::Result<Option<File>> {
    create(dir)?;
    let folder = File::open(dir)?;
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

/// Opens a file for the holder of the folder, a hidden one too.
///
/// # Errors
/// When there is no such file or it cannot be read.
pub(super) fn open(dir: &Path, name: &str) -> io::Result<File> {
    let visible = || File::open(dir.join(name));
    match visible() {
        // It may be hidden between the two attempts, but is never shown again.
        Err(e) if e.kind() == ErrorKind::NotFound => File::open(dir.join(retired(name))),
        other => other,
    }
}

/// Removes a file, complete or not, and returns whether it is gone. A missing file is fine. While
/// somebody [holds](hold) the folder, the file is hidden instead and has to be removed later.
pub(super) fn remove(dir: &Path, name: &str) -> io::Result<bool> {
    let folder = match File::open(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(true),
        other => other?,
    };
    if matches!(folder.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        return match fs::rename(dir.join(name), dir.join(retired(name))) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
            _ => Ok(false),
        };
    }
    for name in [name, &unfinished(name), &retired(name)] {
        match fs::remove_file(dir.join(name)) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn name_has_one_form() {
        let ours = name([0xab; 16], "jpg");
        assert_eq!(ours, format!("{}.jpg", "ab".repeat(16)));
        assert_eq!(name([0; 16], "png"), format!("{}.png", "0".repeat(32)));
        assert!(is_name(&ours));
        let hex = "ab".repeat(16);
        for other in [
            String::new(),
            "..".to_owned(),
            hex.clone(),
            format!("{hex}."),
            format!("{hex}.gif"),
            format!("{hex}.jpg.png"),
            format!("{hex}.JPG"),
            format!("{}.jpg", hex.to_uppercase()),
            format!("{}.jpg", &hex[1..]),
            format!("a{hex}.jpg"),
            format!("{hex}.jpg/"),
            format!("../{hex}.jpg"),
            format!("{hex}.jpg\0"),
            format!("{}é.jpg", &hex[2..]),
            format!(".{hex}.jpg.part"),
        ] {
            assert!(!is_name(&other), "{other:?}");
        }
    }

    #[test]
    fn file_is_written_atomically_and_private() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("media").join("photos");
        let name = name([1; 16], "jpg");
        write(&dir, &name, b"content").unwrap();
        assert_eq!(names(&dir), [name.as_str()]);
        assert_eq!(fs::read(dir.join(&name)).unwrap(), b"content");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&dir), 0o700);
            assert_eq!(mode(&dir.join(&name)), 0o600);
        }
        assert!(remove(&dir, &name).unwrap());
        assert!(remove(&dir, &name).unwrap());
        assert!(names(&dir).is_empty());
        fs::remove_dir(&dir).unwrap();
        assert!(
            remove(&dir, &name).unwrap(),
            "a missing folder has no files"
        );
    }

    #[test]
    fn file_in_held_folder_is_hidden_and_removed_later() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("photos");
        let name = name([1; 16], "jpg");
        let held = hold(&dir).unwrap();
        assert!(held.is_some() && hold(&dir).unwrap().is_none());
        write(&dir, &name, b"content").unwrap();
        for _ in 0..2 {
            assert!(!remove(&dir, &name).unwrap());
            assert!(!dir.join(&name).exists());
            let content = io::read_to_string(open(&dir, &name).unwrap()).unwrap();
            assert_eq!(content, "content");
        }
        drop(held);
        assert!(remove(&dir, &name).unwrap());
        assert!(names(&dir).is_empty());
    }

    #[test]
    fn failed_write_leaves_no_file() {
        let temp = tempfile::tempdir().unwrap();
        let name = name([1; 16], "jpg");
        // A folder at the path of the file makes the rename fail.
        fs::create_dir(temp.path().join(&name)).unwrap();
        assert!(write(temp.path(), &name, b"content").is_err());
        assert_eq!(names(temp.path()), [name]);
    }

    #[test]
    fn unfinished_file_is_removed_too() {
        let temp = tempfile::tempdir().unwrap();
        let (gone, kept) = (name([1; 16], "jpg"), name([2; 16], "jpg"));
        for file in [&unfinished(&gone), &kept] {
            fs::write(temp.path().join(file), "x").unwrap();
        }
        assert!(remove(temp.path(), &gone).unwrap());
        assert_eq!(names(temp.path()), [kept]);
    }
}
