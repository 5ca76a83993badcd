//! The folder of the photos: the form of their names, and how files come into being and go. Knows nothing of what is in
//! them, nor who they belong to.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// Hexadecimal digits of a name.
const DIGITS: usize = 32;

/// What the name of a file that is still being written begins and ends with. The dot in front keeps it out of
/// [`is_name`], so it is never served.
const UNFINISHED: (&str, &str) = (".", ".part");

/// The same for a file that is removed as soon as nobody [holds](hold) the folder.
const RETIRED: (&str, &str) = (".", ".old");

/// The name of a photo.
pub(super) fn name(random: [u8; 16], extension: &str) -> String {
    format!("{:032x}.{extension}", u128::from_be_bytes(random))
}

/// Whether this is exactly the form of our names.
pub(super) fn is_name(name: &str) -> bool {
    name.split_once('.').is_some_and(|(stem, extension)| {
        stem.len() == DIGITS
            && stem.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            && matches!(extension, "jpg" | "png")
    })
}

/// The name of a file while it is being written.
fn unfinished(name: &str) -> String {
    format!("{}{name}{}", UNFINISHED.0, UNFINISHED.1)
}

/// The name of a file that is not served any more and not gone yet.
fn retired(name: &str) -> String {
    format!("{}{name}{}", RETIRED.0, RETIRED.1)
}

/// Writes a file so that it is there as a whole, durably, or not at all.
///
/// # Errors
/// When the file system refuses; nothing is left then.
pub(super) fn write(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    create(dir)?;
    let unfinished = dir.join(unfinished(name));
    let finished = dir.join(name);
    write_durably(&unfinished, bytes)
        .and_then(|()| fs::rename(&unfinished, &finished))
        .inspect_err(|_| {
            // The error that matters is the first; what cannot be removed now is removed later.
            let _ = fs::remove_file(&unfinished);
        })?;
    // Without this the name could be lost in a power failure although the content was not.
    sync_folder(dir).inspect_err(|_| {
        let _ = fs::remove_file(&finished);
    })
}

/// Makes the folder and its parents, for nobody but us.
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
    // The folder and the media folder above it may both be new, and are as easily lost as a file.
    for parent in dir.ancestors().skip(1).take(2) {
        let parent = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        if let Err(e) = sync_folder(parent) {
            // A parent that we may pass through but not read is no reason to refuse the photo.
            log::debug!("{} was not synchronised: {e}", parent.display());
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

/// Makes the names in a folder durable. Only Unix lets a folder be opened for that.
fn sync_folder(dir: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(dir)?.sync_all()
    } else {
        Ok(())
    }
}

/// Keeps every file in the folder, in all processes, until what it gives is dropped: [`remove`] puts them out of sight only.
/// `None` while others do the same.
///
/// # Errors
/// When the folder cannot be made or locked.
pub(super) fn hold(dir: &Path) -> io::Result<Option<File>> {
    create(dir)?;
    let folder = File::open(dir)?;
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

/// Opens a file for whoever holds the folder, one that was put out of sight, too.
///
/// # Errors
/// When there is no such file or it cannot be read.
pub(super) fn open(dir: &Path, name: &str) -> io::Result<File> {
    let visible = || File::open(dir.join(name));
    match visible() {
        // It may be put out of sight between the two looks, but never comes back.
        Err(e) if e.kind() == ErrorKind::NotFound => File::open(dir.join(retired(name))),
        other => other,
    }
}

/// Removes a file, and what is left of one whose writing was cut off; one that is not there is fine. Gives whether it is
/// gone: while somebody [holds](hold) the folder it is put out of sight instead, to be removed later.
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
    fn a_name_has_one_form() {
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
    fn a_file_is_written_whole_and_alone() {
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
        assert!(remove(&dir, &name).unwrap(), "nothing is in no folder");
    }

    #[test]
    fn what_somebody_holds_is_put_out_of_sight_and_removed_later() {
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
    fn what_could_not_be_finished_is_not_left() {
        let temp = tempfile::tempdir().unwrap();
        let name = name([1; 16], "jpg");
        // A folder in the place of the file makes the renaming fail.
        fs::create_dir(temp.path().join(&name)).unwrap();
        assert!(write(temp.path(), &name, b"content").is_err());
        assert_eq!(names(temp.path()), [name]);
    }

    #[test]
    fn what_was_cut_off_goes_too() {
        let temp = tempfile::tempdir().unwrap();
        let (gone, kept) = (name([1; 16], "jpg"), name([2; 16], "jpg"));
        for file in [&unfinished(&gone), &kept] {
            fs::write(temp.path().join(file), "x").unwrap();
        }
        assert!(remove(temp.path(), &gone).unwrap());
        assert_eq!(names(temp.path()), [kept]);
    }
}
