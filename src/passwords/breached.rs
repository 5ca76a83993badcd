//! A list of leaked passwords on disk, as haveibeenpwned.com publishes it.
//!
//! Each line has the upper-case SHA-1 in hexadecimal, a colon, and a count; lines are sorted by
//! hash. The whole list has tens of gigabytes, so it is searched in place by bisection. A lookup costs
//! some thirty reads, of which the system caches the first.

use std::cmp::Ordering;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use sha1::{Digest, Sha1};

/// Hexadecimal digits of a SHA-1.
const HASH: usize = 40;

/// Size of a read, in bytes; longer than any line.
const BLOCK: usize = 256;

/// Samples that are checked before the list is accepted.
const SAMPLES: u64 = 64;

/// Why a file is not such a list. The text is for the operator.
#[derive(Debug)]
pub struct ListError(String);

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ListError {}

/// A list of leaked passwords.
pub struct BreachedList {
    file: File,
    length: u64,
}

/// A line: where it ends, line break included, and its hash.
struct Line {
    end: u64,
    hash: [u8; HASH],
}

impl BreachedList {
    /// Opens a list and checks samples of it.
    ///
    /// # Errors
    /// When it cannot be read, is of another form, or is not sorted.
    pub fn open(path: &Path) -> Result<Self, ListError> {
        let failed = |cause: &dyn fmt::Display| {
            ListError(format!(
                "{}: {cause}. Expected the list of SHA-1 hashes from haveibeenpwned.com, sorted by \
                 hash, with lines such as 000000005AD76BD555C1D6D771DE417A4B87E4B4:10",
                path.display()
            ))
        };
        let file = File::open(path).map_err(|e| failed(&e))?;
        let data = file.metadata().map_err(|e| failed(&e))?;
        if !data.is_file() || data.len() == 0 {
            return Err(failed(&"the file is empty or not a regular file"));
        }
        let list = Self {
            file,
            length: data.len(),
        };
        let mut before: Option<[u8; HASH]> = None;
        for sample in 0..=SAMPLES {
            // The last sample is the last line. Samples of a short file repeat, which does no harm.
            let at = (list.length - 1) / SAMPLES * sample;
            let at = if sample == SAMPLES {
                list.length - 1
            } else {
                at
            };
            let start = list.line_start(at).map_err(|e| failed(&e))?;
            let line = list.line(start).map_err(|e| failed(&e))?;
            let next = (line.end < list.length)
                .then(|| list.line(line.end))
                .transpose()
                .map_err(|e| failed(&e))?;
            if before.is_some_and(|before| before > line.hash)
                || next.is_some_and(|next| next.hash <= line.hash)
            {
                return Err(failed(&format_args!(
                    "the file is not sorted around byte {at}"
                )));
            }
            before = Some(line.hash);
        }
        Ok(list)
    }

    /// Whether a password is in the list.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn contains(&self, password: &str) -> io::Result<bool> {
        let wanted = hex(&Sha1::digest(password.as_bytes()));
        // Both bounds are starts of lines.
        let (mut low, mut high) = (0, self.length);
        while low < high {
            let start = self.line_start(u64::midpoint(low, high))?.max(low);
            let line = self.line(start)?;
            match line.hash.cmp(&wanted) {
                Ordering::Equal => return Ok(true),
                Ordering::Less => low = line.end,
                Ordering::Greater => high = start,
            }
        }
        Ok(false)
    }

    /// Start of the line that contains this byte.
    fn line_start(&self, at: u64) -> io::Result<u64> {
        let from = at.saturating_sub(BLOCK as u64);
        let block = self.read(from, usize::try_from(at - from).unwrap_or(BLOCK))?;
        match block.iter().rposition(|byte| *byte == b'\n') {
            Some(place) => Ok(from + place as u64 + 1),
            None if from == 0 => Ok(0),
            None => Err(broken(at, "has a line that is too long")),
        }
    }

    fn line(&self, start: u64) -> io::Result<Line> {
        let block = self.read(start, BLOCK)?;
        let length = block.iter().position(|byte| *byte == b'\n');
        let text = &block[..length.unwrap_or(block.len())];
        if length.is_none() && block.len() == BLOCK {
            return Err(broken(start, "has a line that is too long"));
        }
        let digits = text
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        if digits == 32 {
            return Err(broken(
                start,
                "has NTLM hashes; download the list of SHA-1 hashes instead",
            ));
        }
        let hash = text
            .first_chunk::<HASH>()
            .filter(|_| digits == HASH && matches!(text.get(HASH), None | Some(b':' | b'\r')))
            .ok_or_else(|| broken(start, "has no SHA-1 hash at the beginning of a line"))?;
        Ok(Line {
            end: start + length.map_or(text.len(), |length| length + 1) as u64,
            hash: hash.map(|byte| byte.to_ascii_uppercase()),
        })
    }

    /// Reads up to `length` bytes; fewer only at the end of the file.
    fn read(&self, from: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut block = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match self
                .file
                .read_at(&mut block[filled..], from + filled as u64)?
            {
                0 => break,
                read => filled += read,
            }
        }
        block.truncate(filled);
        Ok(block)
    }
}

fn broken(at: u64, what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the file {what} around byte {at}"),
    )
}

fn hex(hash: &[u8]) -> [u8; HASH] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut text = [0; HASH];
    for (pair, byte) in text.chunks_exact_mut(2).zip(hash) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tempfile::NamedTempFile;

    use super::*;

    fn file(content: &str) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file
    }

    /// The lines of a list with these passwords.
    fn lines(passwords: &[String], line_break: &str) -> String {
        let mut hashes: Vec<String> = passwords
            .iter()
            .enumerate()
            .map(|(count, password)| {
                let hash = hex(&Sha1::digest(password.as_bytes()));
                format!("{}:{count}", String::from_utf8_lossy(&hash))
            })
            .collect();
        hashes.sort();
        hashes.join(line_break)
    }

    #[test]
    fn every_listed_password_is_found_and_no_other() {
        for (count, line_break, end) in [
            (1, "\n", ""),
            (2, "\r\n", "\r\n"),
            (3, "\n", "\n"),
            (1000, "\r\n", ""),
            (1001, "\n", "\n"),
        ] {
            let passwords: Vec<String> = (0..count).map(|n| format!("password {n}")).collect();
            let file = file(&(lines(&passwords, line_break) + end));
            let list = BreachedList::open(file.path()).unwrap();
            for password in &passwords {
                assert!(list.contains(password).unwrap(), "{password} of {count}");
            }
            for number in 0..count {
                let other = format!("Password {number}");
                assert!(!list.contains(&other).unwrap(), "{other}");
            }
        }
    }

    #[test]
    fn other_files_are_refused_with_the_reason() {
        let sorted = lines(&(0..100).map(|n| n.to_string()).collect::<Vec<_>>(), "\n");
        let reversed: Vec<&str> = sorted.lines().rev().collect();
        let ntlm = "0123456789ABCDEF0123456789ABCDEF:5\n".repeat(2);
        for (content, reason) in [
            ("", "the file is empty"),
            ("password\n123456\n", "no SHA-1 hash"),
            (&*reversed.join("\n"), "not sorted"),
            (&*ntlm, "NTLM"),
            (&*"x".repeat(1000), "too long"),
            (&*format!("{sorted}\n{sorted}"), "not sorted"),
        ] {
            let file = file(content);
            let error = BreachedList::open(file.path()).err().expect(reason);
            assert!(error.to_string().contains(reason), "{error}");
        }
        let missing = BreachedList::open(Path::new("no such file")).err().unwrap();
        assert!(missing.to_string().contains("no such file"), "{missing}");
    }
}
