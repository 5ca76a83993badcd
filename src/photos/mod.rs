//! Photos of accounts: from an upload to a file that is safe to show to everybody.
//!
//! An upload is never stored as it came. It is decoded and re-encoded, so what is stored is an
//! image and nothing else: no EXIF (which says where a photo was taken), no comment, no script that
//! hides in an image. `decode` and the modules below it do that within a memory budget, `workers`
//! decides whose upload is next, and `folder` owns names and files. None of them knows about
//! requests, nor which account has which photo: the row that names a file is written after
//! [`Photos::store`], and before [`Photos::remove`] of the file that it named before.

mod budget;
mod color;
mod decode;
mod folder;
mod jpeg;
mod picture;
mod reduce;
mod scale;
mod size;
mod upload_limit;
mod workers;

use std::fmt;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::domain::{Timestamp, UserId};
use budget::MemoryBudget;
use decode::Bounds;
pub use picture::PreparedPhoto;
use size::Size;
use upload_limit::UploadLimit;
use workers::Workers;

/// Smallest value of [`PhotoOptions::max_side`].
const SMALLEST_MAX_SIDE: u32 = 16;

/// What is accepted as a photo, and where it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhotoOptions {
    /// The folder of the files. It is created, with its parents, when the first photo is stored.
    pub dir: PathBuf,
    /// Most bytes of an upload.
    pub max_bytes: usize,
    /// Most pixels, width times height, of an upload. A JPEG may have four times as many: it is
    /// decoded at reduced size.
    pub max_pixels: u64,
    /// Longer side of a stored photo in pixels; larger ones are scaled down. Less than 16 counts as
    /// 16.
    pub max_side: u32,
    /// Bytes that all decoders together may allocate.
    pub memory: u64,
    /// Threads that decode.
    pub threads: usize,
    /// Most uploads of one account in ten minutes; `None` for no limit.
    pub uploads: Option<u32>,
}

impl Default for PhotoOptions {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("photos"),
            max_bytes: 5 * 1024 * 1024,
            max_pixels: 24_000_000,
            max_side: 1024,
            memory: 100 * 1024 * 1024,
            threads: 1,
            uploads: None,
        }
    }
}

/// Why a photo was refused or not stored. The texts are for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PhotoError {
    /// The upload has no bytes.
    Empty,
    /// The upload is not a JPEG, PNG, WebP or GIF, or it is damaged.
    NotAnImage,
    /// The upload is an image of a format that is not supported (HEIC or AVIF).
    Unsupported,
    /// The upload has more pixels than are accepted, or than fit into the memory for decoding.
    TooManyPixels {
        /// Width that the upload claims, in pixels.
        width: u32,
        /// Height that the upload claims, in pixels.
        height: u32,
    },
    /// The upload has more bytes than are accepted.
    TooLarge,
    /// Too many photos wait to be decoded: try again later.
    Overloaded,
    /// The file system refused.
    Io(String),
}

impl PhotoError {
    fn too_large(size: Size) -> Self {
        Self::TooManyPixels {
            width: size.width,
            height: size.height,
        }
    }
}

impl fmt::Display for PhotoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the photo is empty"),
            Self::NotAnImage => {
                f.write_str("the photo is not an image of a known kind, or damaged")
            }
            Self::Unsupported => f.write_str("the photo is a HEIC or AVIF image"),
            Self::TooManyPixels { width, height } => {
                write!(f, "the photo has too many pixels: {width} x {height}")
            }
            Self::TooLarge => f.write_str("the photo has too many bytes"),
            Self::Overloaded => f.write_str("too many photos wait to be decoded"),
            Self::Io(cause) => f.write_str(cause),
        }
    }
}

impl std::error::Error for PhotoError {}

/// Prepares, stores and removes photos.
#[derive(Debug)]
pub struct Photos {
    options: PhotoOptions,
    decoder: Arc<PhotoDecoder>,
    workers: Workers,
    upload_limit: UploadLimit,
    /// Whether the folder existed: a server without photos has none, but a folder that disappears
    /// is a fault.
    was_there: AtomicBool,
}

/// What the decoding threads share.
#[derive(Debug)]
struct PhotoDecoder {
    bounds: Bounds,
    max_bytes: usize,
    budget: MemoryBudget,
}

impl PhotoDecoder {
    fn prepare(&self, bytes: &[u8]) -> Result<PreparedPhoto, PhotoError> {
        if bytes.is_empty() {
            return Err(PhotoError::Empty);
        }
        if bytes.len() > self.max_bytes {
            return Err(PhotoError::TooLarge);
        }
        picture::prepare(bytes, self.bounds, &self.budget)
    }
}

impl Photos {
    /// Opens the folder for photos, which is neither created nor written to before the first photo
    /// is stored: a server without photos leaves no trace.
    ///
    /// # Errors
    /// [`PhotoError::Io`] when its path is not a folder.
    pub fn open(options: PhotoOptions) -> Result<Self, PhotoError> {
        if options.dir.exists() && !options.dir.is_dir() {
            return Err(PhotoError::Io(format!(
                "{} is not a folder, so no photos can be stored there",
                options.dir.display()
            )));
        }
        Ok(Self {
            was_there: AtomicBool::new(options.dir.is_dir()),
            decoder: Arc::new(PhotoDecoder {
                bounds: Bounds {
                    max_pixels: options.max_pixels,
                    max_side: options.max_side.max(SMALLEST_MAX_SIDE),
                },
                max_bytes: options.max_bytes,
                budget: MemoryBudget::new(options.memory),
            }),
            workers: Workers::new(options.threads),
            upload_limit: UploadLimit::new(options.uploads),
            options,
        })
    }

    /// Counts an upload of an account, if it is allowed.
    ///
    /// # Errors
    /// The time until the next one is.
    pub fn count_upload(&self, account: UserId, now: Timestamp) -> Result<(), Duration> {
        self.upload_limit.count(account, now)
    }

    /// Re-encodes an upload of an account. The format is recognised by the content alone.
    ///
    /// Accounts take turns on the decoding threads; a request that is given up while it waits is
    /// not decoded.
    ///
    /// # Errors
    /// All but [`PhotoError::Io`].
    pub async fn prepare(
        &self,
        account: UserId,
        bytes: Bytes,
    ) -> Result<PreparedPhoto, PhotoError> {
        let decoder = Arc::clone(&self.decoder);
        self.workers
            .run(account, move || decoder.prepare(&bytes))
            .await?
    }

    /// Re-encodes an upload on this thread, for up to a few seconds.
    ///
    /// # Errors
    /// As [`Photos::prepare`].
    pub fn prepare_here(&self, bytes: &[u8]) -> Result<PreparedPhoto, PhotoError> {
        self.decoder.prepare(bytes)
    }

    /// The name for a photo, made of `random`: 32 hexadecimal digits and `.jpg` or `.png`.
    pub fn name(&self, prepared: &PreparedPhoto, random: [u8; 16]) -> String {
        folder::name(random, prepared.extension())
    }

    /// Stores a photo under a name of [`Photos::name`], atomically and durably.
    ///
    /// # Errors
    /// [`PhotoError::Io`] when the file cannot be written.
    pub fn store(&self, content: &[u8], name: &str) -> Result<(), PhotoError> {
        folder::write(&self.options.dir, name, content).map_err(|e| {
            PhotoError::Io(format!(
                "cannot store a photo in {}: {e}",
                self.options.dir.display()
            ))
        })?;
        self.was_there.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Removes the photo of that name, complete or not, and returns whether it is gone. While a
    /// backup reads the photos it is only hidden, and has to be removed later. A failure is logged.
    pub fn remove(&self, name: &str) -> bool {
        if !folder::is_name(name) {
            log::error!("{name:?} is not the name of a photo, nothing was removed");
            return false;
        }
        folder::remove(&self.options.dir, name)
            .inspect_err(|e| log::warn!("the photo {name} was not removed: {e}"))
            .unwrap_or(false)
    }

    /// Opens the photo of that name. `None` when there is none, and for whatever is not exactly of
    /// the form of our names, so no name leads out of the folder.
    ///
    /// # Errors
    /// [`PhotoError::Io`] when that is unknown: the folder is gone that existed before, its path is
    /// not a folder, or the system refuses.
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

/// Whether `name` has exactly the form of [`Photos::name`].
#[must_use]
pub fn is_photo_name(name: &str) -> bool {
    folder::is_name(name)
}

/// A lock on the photos in a folder: no process removes one until it is dropped. A backup that
/// takes it before it copies the database finds every photo that the copy names.
#[derive(Debug)]
pub struct HeldPhotos<'a> {
    dir: &'a Path,
    // The lock is released when the folder is closed.
    _folder: File,
}

impl<'a> HeldPhotos<'a> {
    /// Locks a folder, which is created when it is missing. `None` while somebody else holds the
    /// lock.
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
                PhotoError::Io(format!("cannot lock the photos in {}: {e}", dir.display()))
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
            ..PhotoOptions::default()
        })
        .unwrap()
    }

    #[test]
    fn size_is_checked_before_content() {
        assert_eq!(photos(4).prepare_here(b"").unwrap_err(), PhotoError::Empty);
        assert_eq!(
            photos(4).prepare_here(b"text").unwrap_err(),
            PhotoError::NotAnImage
        );
        assert_eq!(
            photos(4).prepare_here(b"texts").unwrap_err(),
            PhotoError::TooLarge
        );
    }

    #[test]
    fn only_names_of_photos_are_opened() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("photos");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(temp.path().join("users.db"), "secret").unwrap();
        let name = "0123456789abcdef0123456789abcdef.jpg";
        std::fs::write(dir.join(name), "picture").unwrap();
        let photos = Photos::open(PhotoOptions {
            dir: dir.clone(),
            ..PhotoOptions::default()
        })
        .unwrap();
        assert!(photos.open_file(name).unwrap().is_some());
        for other in ["../users.db", &format!("../photos/{name}"), "", "."] {
            assert!(photos.open_file(other).unwrap().is_none(), "{other}");
        }
        assert!(photos.open_file(&name.replace('0', "1")).unwrap().is_none());
        // Whether a photo exists is unknown once the folder is gone.
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(matches!(photos.open_file(name), Err(PhotoError::Io(_))));
    }

    #[test]
    fn file_at_the_path_of_the_folder_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let opened = Photos::open(PhotoOptions {
            dir: file.path().to_owned(),
            ..PhotoOptions::default()
        });
        assert!(matches!(opened, Err(PhotoError::Io(_))), "{opened:?}");
    }
}
