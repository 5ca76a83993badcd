//! The format of a backup: a tar archive that standard tools can read.
//!
//! It contains `users.db`, the photos in `users.db.media/photos/` and, at its end, `SHA256SUMS`, by
//! which a truncated or damaged archive is detected. Unpacked into an empty folder, it is the data
//! of a server started there with `--db users.db`. This module does not know where the files are
//! stored.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use crate::domain::Timestamp;
use crate::photos::is_photo_name;

/// Name of the database.
const DATABASE: &str = "users.db";

/// Folder of the photos.
const PHOTOS: &str = "users.db.media/photos/";

/// Name of the checksums of all other entries, in the format of `sha256sum --check`.
const SUMS: &str = "SHA256SUMS";

/// Most bytes of checksums; a million photos need far less.
const MAX_SUMS: u64 = 256 * 1024 * 1024;

/// A file in the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// The database.
    Database,
    /// The photo with this name.
    Photo(String),
}

impl Entry {
    fn path(&self) -> String {
        match self {
            Self::Database => DATABASE.to_owned(),
            Self::Photo(name) => format!("{PHOTOS}{name}"),
        }
    }

    fn parse(path: &str) -> Option<Self> {
        if path == DATABASE {
            return Some(Self::Database);
        }
        path.strip_prefix(PHOTOS)
            .filter(|name| is_photo_name(name))
            .map(|name| Self::Photo(name.to_owned()))
    }
}

/// Writes an archive.
pub(super) struct ArchiveWriter<W: Write> {
    tar: tar::Builder<W>,
    sums: String,
    owner: (u32, u32),
    now: Timestamp,
}

impl<W: Write> ArchiveWriter<W> {
    /// Starts an archive with `now` as the time and `owner` (user and group) as the owner of its
    /// entries.
    pub(super) fn new(out: W, owner: (u32, u32), now: Timestamp) -> Self {
        Self {
            tar: tar::Builder::new(out),
            sums: String::new(),
            owner,
            now,
        }
    }

    /// Adds a file, which must not change while it is read.
    pub(super) fn add(&mut self, entry: &Entry, file: &File) -> io::Result<()> {
        let size = file.metadata()?.len();
        let path = entry.path();
        let mut content = Hashing::new(file);
        self.append(&path, size, &mut content)?;
        if content.bytes != size {
            return Err(io::Error::other(format!(
                "{path} changed while it was read"
            )));
        }
        // Writing to a String cannot fail.
        let _ = writeln!(self.sums, "{}  {path}", content.digest());
        Ok(())
    }

    /// Adds the checksums and closes the archive.
    pub(super) fn finish(mut self) -> io::Result<W> {
        let sums = std::mem::take(&mut self.sums);
        self.append(SUMS, sums.len() as u64, sums.as_bytes())?;
        self.tar.into_inner()
    }

    fn append(&mut self, path: &str, size: u64, content: impl Read) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(size);
        header.set_mode(0o600);
        header.set_uid(self.owner.0.into());
        header.set_gid(self.owner.1.into());
        header.set_mtime(self.now.unix_seconds().max(0).unsigned_abs());
        self.tar.append_data(&mut header, path, content)
    }
}

/// Reads an archive, passes each entry to `store` and verifies that it is complete and undamaged.
///
/// What was stored is valid only after this returned `Ok`. Errors say which entry is wrong by its
/// number, or by its name if that is a valid one: no other bytes of the file get to the terminal.
pub(super) fn read(
    source: impl Read,
    store: &mut dyn FnMut(Entry, &mut dyn Read) -> io::Result<()>,
) -> io::Result<()> {
    let mut archive = tar::Archive::new(source);
    let mut found = BTreeMap::new();
    let mut sums = None;
    for (entry, number) in archive.entries().map_err(without_content)?.zip(1..) {
        let mut entry = entry.map_err(without_content)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        // Archives repacked with standard tools have folders and names that begin with "./".
        let path = path.strip_prefix("./").unwrap_or(&path);
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            continue;
        }
        if kind.is_file() && path == SUMS {
            let mut text = String::new();
            (&mut entry)
                .take(MAX_SUMS)
                .read_to_string(&mut text)
                .map_err(without_content)?;
            sums = Some(text);
            continue;
        }
        let Some(part) = Entry::parse(path).filter(|_| kind.is_file()) else {
            return Err(damaged(format!(
                "entry {number} does not belong to a backup"
            )));
        };
        let mut content = Hashing::new(&mut entry);
        store(part, &mut content).map_err(without_content)?;
        io::copy(&mut content, &mut io::sink()).map_err(without_content)?;
        if found.insert(path.to_owned(), content.digest()).is_some() {
            return Err(damaged(format!("{path} is in it twice")));
        }
    }
    let sums = sums.ok_or_else(|| damaged(format!("it ends before {SUMS}: it is truncated")))?;
    for (line, number) in sums.lines().zip(1..) {
        let (digest, path) = line
            .split_once("  ")
            .filter(|(_, path)| Entry::parse(path).is_some())
            .ok_or_else(|| damaged(format!("line {number} of the checksums is invalid")))?;
        match found.remove(path) {
            Some(actual) if actual == digest => {}
            Some(_) => return Err(damaged(format!("the checksum of {path} is wrong"))),
            None => return Err(damaged(format!("{path} is missing"))),
        }
    }
    match found.into_keys().next() {
        Some(path) => Err(damaged(format!("{path} is not listed in {SUMS}"))),
        None => Ok(()),
    }
}

fn damaged(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Drops the text of an error, which may quote the file, unless it comes from the operating system.
fn without_content(error: io::Error) -> io::Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        if let Some(code) = current
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error)
        {
            return io::Error::from_raw_os_error(code);
        }
        cause = current.source();
    }
    damaged("it is damaged, or not a tar archive".to_owned())
}

/// A reader that computes the SHA-256 of what it reads.
struct Hashing<R> {
    inner: R,
    hash: Sha256,
    bytes: u64,
}

impl<R: Read> Hashing<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            bytes: 0,
        }
    }

    fn digest(&self) -> String {
        let mut text = String::with_capacity(64);
        for byte in self.hash.clone().finalize() {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHOTO: &str = "0123456789abcdef0123456789abcdef.jpg";

    fn archive() -> Vec<u8> {
        let mut writer = ArchiveWriter::new(Vec::new(), (1000, 1000), Timestamp::default());
        for (entry, content) in [
            (Entry::Database, vec![7; 100_000]),
            (Entry::Photo(PHOTO.to_owned()), vec![9; 1000]),
        ] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&content).unwrap();
            io::Seek::rewind(&mut file).unwrap();
            writer.add(&entry, &file).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read_all(archive: &[u8]) -> io::Result<Vec<(Entry, usize)>> {
        let mut entries = Vec::new();
        read(archive, &mut |entry, content| {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes)?;
            entries.push((entry, bytes.len()));
            Ok(())
        })?;
        Ok(entries)
    }

    #[test]
    fn written_archive_is_read_back() {
        assert_eq!(
            read_all(&archive()).unwrap(),
            [
                (Entry::Database, 100_000),
                (Entry::Photo(PHOTO.to_owned()), 1000)
            ]
        );
    }

    #[test]
    fn truncated_or_damaged_archive_is_refused() {
        let whole = archive();
        // The end of each block, and some other lengths.
        for length in (0..whole.len() - 1024)
            .step_by(512)
            .chain([1, 700, 100_001])
        {
            assert!(read_all(&whole[..length]).is_err(), "cut at {length}");
        }
        for at in [600, 100_000, 102_000] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(read_all(&damaged).is_err(), "at {at}");
        }
    }

    #[test]
    fn other_entries_are_refused() {
        for path in [
            "other.db",
            "users.db.media/photos/../../users.db",
            "users.db.media/photos/a.jpg",
            "/users.db",
        ] {
            assert_eq!(Entry::parse(path), None, "{path}");
        }
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, DATABASE, "/etc/passwd")
            .unwrap();
        let error = read_all(&tar.into_inner().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "entry 1 does not belong to a backup");
    }

    /// An archive with one entry of any name and content.
    fn archive_with(name: &[u8], content: &[u8]) -> Vec<u8> {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_entry_type(EntryType::Regular);
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_cksum();
        let mut tar = tar::Builder::new(Vec::new());
        tar.append(&header, content).unwrap();
        tar.into_inner().unwrap()
    }

    #[test]
    fn errors_do_not_quote_the_archive() {
        let valid = archive_with(b"\x1b[31mSECRET", b"");
        // Headers of text, and fields that are not numbers.
        let mut headers = vec![
            vec![b'\x1b'; 1024],
            b"root:x:0:0:\x1b[31m\n".repeat(100),
            valid.clone(),
        ];
        for at in [124, 136, 148] {
            let mut changed = valid.clone();
            changed[at..at + 7].copy_from_slice(b"\x1b[31mSE");
            headers.push(changed.clone());
            // With the right checksum over the wrong field.
            let mut header = Header::new_gnu();
            header.as_mut_bytes().copy_from_slice(&changed[..512]);
            header.set_cksum();
            changed[..512].copy_from_slice(header.as_bytes());
            headers.push(changed);
        }
        let sums = format!("{:064}  \x1b[31mSECRET\nSECRET", 0);
        headers.push(archive_with(SUMS.as_bytes(), sums.as_bytes()));
        headers.push(archive_with(SUMS.as_bytes(), b"\xff\x1b[31mSECRET"));
        for archive in headers {
            let error = read_all(&archive).unwrap_err().to_string();
            assert!(!error.contains(char::is_control), "{error:?}");
            assert!(
                !error.contains("SE") && !error.contains("root"),
                "{error:?}"
            );
        }
    }
}
