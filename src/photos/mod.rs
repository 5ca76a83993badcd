//! The pictures of accounts: from the bytes that somebody uploaded to a file that is safe to show to everybody, and the
//! folder in which those files are.
//!
//! An upload is never kept as it came. It is decoded and encoded anew, so what is stored is an image and nothing else:
//! no EXIF (which tells where a photo was taken), no comment, no script that hides in an image. `picture` does that,
//! `folder` owns names and files. Neither knows about requests, nor which account has which photo: a row that names a file
//! is written after [`Photos::store`] and before [`Photos::remove`] of the file that it named until then.

mod folder;
mod picture;

use std::fmt;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

pub use picture::PreparedPhoto;

/// Smallest value of [`PhotoOptions::max_side`]: below it nobody is recognised, and the sums of the coarse first step of
/// downscaling could overflow.
const SMALLEST_MAX_SIDE: u32 = 16;

/// What is accepted as a photo, and where it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhotoOptions {
    /// The folder of the files. It is created, with its parents, when the first photo is stored.
    pub dir: PathBuf,
    /// Most bytes of an upload.
    pub max_bytes: usize,
    /// Most pixels, width times height, of an upload. Decoding takes up to 16 bytes of memory for each.
    pub max_pixels: u64,
    /// Longer side of a stored photo in pixels; larger ones are scaled down. Less than 16 counts as 16.
    pub max_side: u32,
}

/// Why a photo was refused, or could not be kept. The texts are for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PhotoError {
    /// The upload has no bytes.
    Empty,
    /// The upload is no JPEG, PNG, WebP or GIF, or a damaged one.
    NotAnImage,
    /// The upload has more pixels than are accepted. None of them was decoded.
    TooManyPixels {
        /// Width that the upload claims, in pixels.
        width: u32,
        /// Height that the upload claims, in pixels.
        height: u32,
    },
    /// The upload has more bytes than are accepted.
    TooLarge,
    /// The file system refused.
    Io(String),
}

impl fmt::Display for PhotoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the photo is empty"),
            Self::NotAnImage => f.write_str("the photo is no image of a known kind, or damaged"),
            Self::TooManyPixels { width, height } => {
                write!(f, "the photo has too many pixels: {width} x {height}")
            }
            Self::TooLarge => f.write_str("the photo has too many bytes"),
            Self::Io(cause) => f.write_str(cause),
        }
    }
}

impl std::error::Error for PhotoError {}

/// Prepares, keeps and removes photos. All of it is synchronous.
#[derive(Debug)]
pub struct Photos {
    options: PhotoOptions,
    /// Whether there was a folder: a server without photos has none, but one that has gone is a fault.
    was_there: AtomicBool,
}

impl Photos {
    /// Takes the folder for the photos. It is neither created nor written to before there is a photo to store: a server
    /// without photos leaves no trace, and one whose media folder is read-only for now starts.
    ///
    /// # Errors
    /// [`PhotoError::Io`] when there is something at its path that is no folder.
    pub fn open(mut options: PhotoOptions) -> Result<Self, PhotoError> {
        options.max_side = options.max_side.max(SMALLEST_MAX_SIDE);
        if options.dir.exists() && !options.dir.is_dir() {
            return Err(PhotoError::Io(format!(
                "{} is no folder, so no photos can be kept there",
                options.dir.display()
            )));
        }
        let was_there = AtomicBool::new(options.dir.is_dir());
        Ok(Self { options, was_there })
    }

    /// Makes of an upload what can be stored. The format is recognised by the content alone.
    ///
    /// This keeps one core busy for up to a few seconds and takes memory by the pixels of the upload (see
    /// [`PhotoOptions::max_pixels`]), so the caller limits how many run at once.
    ///
    /// # Errors
    /// All but [`PhotoError::Io`].
    pub fn prepare(&self, bytes: &[u8]) -> Result<PreparedPhoto, PhotoError> {
        if bytes.is_empty() {
            return Err(PhotoError::Empty);
        }
        if bytes.len() > self.options.max_bytes {
            return Err(PhotoError::TooLarge);
        }
        picture::prepare(bytes, self.options.max_pixels, self.options.max_side)
    }

    /// The name for a photo, made of `random`: 32 hexadecimal digits and `.jpg` or `.png`.
    pub fn name(&self, prepared: &PreparedPhoto, random: [u8; 16]) -> String {
        folder::name(random, prepared.extension())
    }

    /// Keeps a photo under a name of [`Photos::name`].
    ///
    /// When this returns, the file is whole on the disk and outlives a power failure; before that there is no file of this
    /// name.
    ///
    /// # Errors
    /// [`PhotoError::Io`] when the file cannot be written.
    pub fn store(&self, prepared: &PreparedPhoto, name: &str) -> Result<(), PhotoError> {
        folder::write(&self.options.dir, name, prepared.bytes()).map_err(|e| {
            PhotoError::Io(format!(
                "cannot keep a photo in {}: {e}",
                self.options.dir.display()
            ))
        })?;
        self.was_there.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Removes the photo of that name, finished or not, and says whether it is gone. While a backup reads the photos it is
    /// only put out of sight, and is to be removed later. A failure is logged.
    pub fn remove(&self, name: &str) -> bool {
        if !folder::is_name(name) {
            log::error!("{name:?} is no name of a photo, nothing was removed");
            return false;
        }
        folder::remove(&self.options.dir, name)
            .inspect_err(|e| log::warn!("the photo {name} was not removed: {e}"))
            .unwrap_or(false)
    }

    /// Opens the photo of that name. `None` when there is none, and for everything that is not exactly of the form of our
    /// names, so no name leads out of the folder.
    ///
    /// # Errors
    /// [`PhotoError::Io`] when it cannot be told whether there is one: the folder is gone that was there before, something
    /// else is in its place, or the system refuses.
    pub fn open_file(&self, name: &str) -> Result<Option<File>, PhotoError> {
        if !folder::is_name(name) {
            return Ok(None);
        }
        let dir = &self.options.dir;
        match File::open(dir.join(name)) {
            Ok(file) => {
                self.was_there.store(true, Ordering::Relaxed);
                Ok(Some(file))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => match dir.is_dir() {
                false if self.was_there.load(Ordering::Relaxed) => Err(PhotoError::Io(format!(
                    "the folder of photos {} is gone",
                    dir.display()
                ))),
                _ => Ok(None),
            },
            Err(e) => Err(PhotoError::Io(format!(
                "cannot read the photo {name} in {}: {e}",
                dir.display()
            ))),
        }
    }
}

/// Whether this is exactly the form of the names that [`Photos::name`] gives.
#[must_use]
pub fn is_photo_name(name: &str) -> bool {
    folder::is_name(name)
}

/// The photos in a folder, none of which is gone before this is dropped, in whatever process it may be removed. What
/// reads a copy of the database finds every photo that the copy names, as long as it held the photos before it copied.
#[derive(Debug)]
pub struct HeldPhotos<'a> {
    dir: &'a Path,
    // The lock lives as long as the open folder.
    _folder: File,
}

impl<'a> HeldPhotos<'a> {
    /// Holds the photos in a folder, which is created when it is missing. `None` while others hold them.
    ///
    /// # Errors
    /// [`PhotoError::Io`] when the folder cannot be created or locked.
    pub fn hold(dir: &'a Path) -> Result<Option<Self>, PhotoError> {
        folder::hold(dir)
            .map(|folder| {
                folder.map(|folder| Self {
                    dir,
                    _folder: folder,
                })
            })
            .map_err(|e| {
                PhotoError::Io(format!("cannot hold the photos in {}: {e}", dir.display()))
            })
    }

    /// Opens the file of a photo; `None` when there is none.
    ///
    /// # Errors
    /// [`PhotoError::Io`] when it cannot be read.
    pub fn open(&self, name: &str) -> Result<Option<File>, PhotoError> {
        match folder::open(self.dir, name) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(PhotoError::Io(format!(
                "cannot read the photo {name} in {}: {e}",
                self.dir.display()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn photos(max_bytes: usize) -> Photos {
        Photos::open(PhotoOptions {
            dir: PathBuf::from("/nowhere/photos"),
            max_bytes,
            max_pixels: 1000,
            max_side: 0,
        })
        .unwrap()
    }

    #[test]
    fn sizes_are_checked_before_the_content() {
        assert_eq!(photos(4).prepare(b"").unwrap_err(), PhotoError::Empty);
        assert_eq!(
            photos(4).prepare(b"text").unwrap_err(),
            PhotoError::NotAnImage
        );
        assert_eq!(
            photos(4).prepare(b"texts").unwrap_err(),
            PhotoError::TooLarge
        );
    }

    #[test]
    fn only_names_of_our_form_are_opened() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("photos");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(temp.path().join("users.db"), "secret").unwrap();
        let name = "0123456789abcdef0123456789abcdef.jpg";
        std::fs::write(dir.join(name), "picture").unwrap();
        let photos = Photos::open(PhotoOptions {
            dir: dir.clone(),
            max_bytes: 1,
            max_pixels: 1,
            max_side: 1,
        })
        .unwrap();
        assert!(photos.open_file(name).unwrap().is_some());
        for other in ["../users.db", &format!("../photos/{name}"), "", "."] {
            assert!(photos.open_file(other).unwrap().is_none(), "{other}");
        }
        assert!(photos.open_file(&name.replace('0', "1")).unwrap().is_none());
        // Nothing is known of photos whose folder is gone.
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(matches!(photos.open_file(name), Err(PhotoError::Io(_))));
    }

    #[test]
    fn a_file_is_no_folder() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let opened = Photos::open(PhotoOptions {
            dir: file.path().to_owned(),
            max_bytes: 1,
            max_pixels: 1,
            max_side: 1,
        });
        assert!(matches!(opened, Err(PhotoError::Io(_))), "{opened:?}");
    }
}
