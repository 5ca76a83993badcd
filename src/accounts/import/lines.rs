//! The lines of a text file in any of the encodings that spreadsheets and databases write.
//!
//! UTF-8 with or without a byte order mark, and UTF-16 of either byte order; lines end with LF,
//! CRLF, or CR alone.

use std::io::{self, BufRead, Chain, Cursor, Read};

/// Longest line, in bytes; what the API takes in one body.
pub(super) const LONGEST_ROW: usize = 1024 * 1024;

/// The same with its end.
pub(super) const LONGEST_LINE: usize = LONGEST_ROW + 2;

/// Lines with their numbers.
pub(super) struct Lines<R> {
    reader: TextReader<R>,
    /// The number of the last line that was read, from 1.
    pub(super) number: u64,
}

/// What reading a line gave.
#[derive(Clone, Copy)]
pub(super) enum LineRead {
    Line,
    TooLong,
    End,
}

impl<R: BufRead> Lines<R> {
    /// Detects the encoding.
    pub(super) fn new(reader: R) -> io::Result<Self> {
        Ok(Self {
            reader: TextReader::new(reader)?,
            number: 0,
        })
    }

    /// The first byte that is not blank; the blanks before it are skipped, and their lines counted.
    pub(super) fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            let buffer = fill(&mut self.reader)?;
            let Some(first) = buffer.first().copied() else {
                return Ok(None);
            };
            if !first.is_ascii_whitespace() {
                return Ok(Some(first));
            }
            let is_pair = buffer.starts_with(b"\r\n");
            self.number += u64::from(matches!(first, b'\n' | b'\r') && !is_pair);
            self.reader.consume(1);
        }
    }

    /// Appends the next line, its end included.
    pub(super) fn read(&mut self, text: &mut Vec<u8>) -> io::Result<LineRead> {
        let before = text.len();
        let mut is_too_long = false;
        let mut has_read = false;
        loop {
            let buffer = fill(&mut self.reader)?;
            if buffer.is_empty() {
                break;
            }
            if !has_read {
                has_read = true;
                self.number += 1;
            }
            let end = memchr::memchr2(b'\n', b'\r', buffer);
            let part = &buffer[..end.map_or(buffer.len(), |end| end + 1)];
            let length = part.len();
            let is_return = end.is_some() && part.ends_with(b"\r");
            if text.len() - before + length > LONGEST_LINE {
                is_too_long = true;
                text.truncate(before);
            }
            if !is_too_long {
                text.extend_from_slice(part);
            }
            self.reader.consume(length);
            if is_return && fill(&mut self.reader)?.starts_with(b"\n") {
                self.reader.consume(1);
                if !is_too_long {
                    text.push(b'\n');
                }
            }
            if end.is_some() {
                break;
            }
        }
        Ok(match (has_read, is_too_long) {
            (false, _) => LineRead::End,
            (true, true) => LineRead::TooLong,
            (true, false) => LineRead::Line,
        })
    }
}

/// Text as UTF-8, whatever its encoding.
struct TextReader<R> {
    inner: Chain<Cursor<Vec<u8>>, R>,
    encoding: Encoding,
    /// Text that was decoded and not read yet, from UTF-16.
    decoded: Cursor<Vec<u8>>,
}

#[derive(Clone, Copy)]
enum Encoding {
    Utf8,
    Utf16(fn([u8; 2]) -> u16),
}

impl<R: BufRead> TextReader<R> {
    fn new(mut reader: R) -> io::Result<Self> {
        // A pipe may deliver these bytes one by one.
        let mut head = Vec::with_capacity(4);
        (&mut reader).take(4).read_to_end(&mut head)?;
        let (encoding, mark) = match head[..] {
            [0xef, 0xbb, 0xbf, ..] => (Encoding::Utf8, 3),
            [0xff, 0xfe, ..] => (Encoding::Utf16(u16::from_le_bytes), 2),
            [0xfe, 0xff, ..] => (Encoding::Utf16(u16::from_be_bytes), 2),
            // Without a mark: every file that we read begins with two ASCII characters.
            [1..=255, 0, 1..=255, 0] => (Encoding::Utf16(u16::from_le_bytes), 0),
            [0, 1..=255, 0, 1..=255] => (Encoding::Utf16(u16::from_be_bytes), 0),
            _ => (Encoding::Utf8, 0),
        };
        head.drain(..mark);
        Ok(Self {
            inner: Cursor::new(head).chain(reader),
            encoding,
            decoded: Cursor::default(),
        })
    }

    /// Decodes the next piece of UTF-16.
    fn decode(&mut self, number: fn([u8; 2]) -> u16) -> io::Result<()> {
        const MALFORMED: &str = "the text is not valid UTF-16";
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, MALFORMED);
        let mut bytes = Vec::new();
        (&mut self.inner).take(8192).read_to_end(&mut bytes)?;
        let mut units: Vec<u16> = bytes
            .chunks_exact(2)
            .map(|pair| number([pair[0], pair[1]]))
            .collect();
        if bytes.len() % 2 != 0 {
            return Err(malformed());
        }
        if units
            .last()
            .is_some_and(|unit| (0xd800..0xdc00).contains(unit))
        {
            // The second half of a character.
            let mut pair = [0; 2];
            self.inner.read_exact(&mut pair).map_err(|_| malformed())?;
            units.push(number(pair));
        }
        let text = String::from_utf16(&units).map_err(|_| malformed())?;
        self.decoded = Cursor::new(text.into_bytes());
        Ok(())
    }
}

impl<R: BufRead> Read for TextReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for TextReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let Encoding::Utf16(number) = self.encoding else {
            return self.inner.fill_buf();
        };
        if self.decoded.fill_buf()?.is_empty() {
            self.decode(number)?;
        }
        self.decoded.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        match self.encoding {
            Encoding::Utf8 => self.inner.consume(amount),
            Encoding::Utf16(_) => self.decoded.consume(amount),
        }
    }
}

/// `fill_buf` that goes on after a signal, as `read_until` does.
fn fill(reader: &mut impl BufRead) -> io::Result<&[u8]> {
    loop {
        match reader.fill_buf() {
            Ok(_) => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    // The buffer is filled now, so this does not read; the detour satisfies the borrow checker.
    reader.fill_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<String> {
        // A buffer of three bytes splits everything that can be split.
        let reader = io::BufReader::with_capacity(3, bytes);
        let mut lines = Lines::new(reader).unwrap();
        let mut all = Vec::new();
        loop {
            let mut text = Vec::new();
            match lines.read(&mut text).unwrap() {
                LineRead::End => return all,
                LineRead::TooLong => all.push("too long".into()),
                LineRead::Line => all.push(String::from_utf8(text).unwrap()),
            }
            assert_eq!(lines.number, all.len() as u64);
        }
    }

    #[test]
    fn lines_end_in_three_ways() {
        assert_eq!(
            lines(b"one\ntwo\r\nthree\rfour\r\r\n\nfive"),
            [
                "one\n", "two\r\n", "three\r", "four\r", "\r\n", "\n", "five"
            ]
        );
        assert_eq!(lines(b""), [""; 0]);
        assert_eq!(lines(b"\r"), ["\r"]);
    }

    #[test]
    fn utf16_is_read_with_and_without_a_mark() {
        let text = "email,name\r\nzo\u{eb}@example.com,\u{1f600}\n";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [
            little.clone(),
            big.clone(),
            [&[0xff, 0xfe], &little[..]].concat(),
            [&[0xfe, 0xff], &big[..]].concat(),
            ["\u{feff}", text].concat().into_bytes(),
        ] {
            assert_eq!(lines(&bytes).concat(), text);
        }
    }

    #[test]
    fn malformed_utf16_is_an_error() {
        for bytes in [
            &b"\xff\xfea\0b"[..],
            b"\xff\xfe\0\xd8",
            b"\xff\xfe\0\xdca\0",
        ] {
            let mut lines = Lines::new(bytes).unwrap();
            let error = lines.read(&mut Vec::new()).err().unwrap();
            assert_eq!(error.to_string(), "the text is not valid UTF-16");
        }
    }
}
