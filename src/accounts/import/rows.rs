//! Accounts as rows of a file: one JSON object a line, or CSV with a header.
//!
//! Owns finding out which of the two a file is, the lines and records in it, and the other names under which a field may
//! go. Holds one line (of CSV: one record) at a time, and none longer than a bound, so that a file of any size fits. What a
//! field has to be like is left to [`crate::accounts::read_imported_user`].

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, BufRead, Read};

use crate::accounts::IMPORTED_FIELDS;
use crate::domain::{BodyError, Fields, Input, parse_json_object};

/// Longest line or CSV record, in bytes; what the API takes in one body.
const LONGEST_ROW: usize = 1024 * 1024;

/// The same with the end of its line.
const LONGEST_LINE: usize = LONGEST_ROW + 1;

/// Most unknown names that are remembered to be told.
const MOST_UNKNOWN: usize = 20;

/// Other names of fields, where they do not stand beside the field itself: those of Django and its neighbours.
const ALIASES: &[(&str, &str)] = &[
    ("created_at", "date_joined"),
    ("is_verified", "email_verified"),
];

/// What may part the columns of CSV; the one that gives the header an `email` is taken.
const DELIMITERS: &[u8] = b",;\t";

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON object a line.
    JsonLines,
    /// CSV (RFC 4180) with a header.
    Csv,
}

/// One row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The line on which it begins, counted from 1.
    pub(crate) line: u64,
    /// Its fields under the names that the import knows, or why it has none.
    pub(crate) fields: Result<Fields, String>,
}

/// The rows of a file, read one by one.
pub(crate) struct Rows<R> {
    lines: Lines<R>,
    kind: Kind,
    unknown: BTreeSet<String>,
}

enum Kind {
    JsonLines,
    Csv {
        delimiter: u8,
        /// How many columns the header has.
        width: usize,
        /// The known fields and their columns.
        columns: Vec<(&'static str, usize)>,
        /// Records that were read together with the one before.
        ready: VecDeque<Row>,
    },
}

impl<R: BufRead> Rows<R> {
    /// Reads the beginning of a file; without a format it is guessed from the first character.
    ///
    /// # Errors
    /// When the file cannot be read, or has no rows that could be understood. The text is for the person at the terminal.
    pub(crate) fn open(reader: R, format: Option<Format>) -> Result<Self, String> {
        let mut lines = Lines::new(reader).map_err(cannot_read)?;
        let rows = |lines| Self {
            lines,
            kind: Kind::JsonLines,
            unknown: BTreeSet::new(),
        };
        let first = lines.peek().map_err(cannot_read)?;
        let format = format.unwrap_or(match first {
            // A header begins with the name of a column.
            None | Some(b'{' | b'[') => Format::JsonLines,
            Some(_) => Format::Csv,
        });
        match (format, first) {
            (Format::JsonLines, Some(b'[')) => Err(
                "this is a JSON list; wanted is one object a line, without the list around them \
                 (as `jq -c '.[]'` writes it)"
                    .into(),
            ),
            (Format::JsonLines, _) => Ok(rows(lines)),
            (Format::Csv, _) => {
                let mut rows = rows(lines);
                rows.read_header()?;
                Ok(rows)
            }
        }
    }

    /// The next row, or the end.
    ///
    /// # Errors
    /// When the rest of the file cannot be read. The text is for the person at the terminal.
    pub(crate) fn next(&mut self) -> Result<Option<Row>, String> {
        match &mut self.kind {
            Kind::JsonLines => self.next_line(),
            Kind::Csv { ready, .. } => match ready.pop_front() {
                Some(row) => Ok(Some(row)),
                None => self.next_record(),
            },
        }
    }

    /// The names that were passed over so far, up to some number of them.
    pub(crate) fn unknown(&self) -> &BTreeSet<String> {
        &self.unknown
    }

    fn next_line(&mut self) -> Result<Option<Row>, String> {
        let mut text = Vec::new();
        loop {
            text.clear();
            let read = self.lines.read(&mut text).map_err(cannot_read)?;
            let fields = match read {
                LineRead::End => return Ok(None),
                LineRead::TooLong => Err(too_long()),
                LineRead::Line if text.trim_ascii().is_empty() => continue,
                LineRead::Line => parse_json_object(&text)
                    .map(|fields| self.known_fields(&fields))
                    .map_err(no_object),
            };
            let line = self.lines.number;
            return Ok(Some(Row { line, fields }));
        }
    }

    fn known_fields(&mut self, fields: &Fields) -> Fields {
        for name in fields.names() {
            if !is_known(name) {
                note_unknown(&mut self.unknown, name);
            }
        }
        let mut known = Fields::json();
        for field in IMPORTED_FIELDS {
            let found = names_of(field).find_map(|name| fields.get(name));
            match found {
                // `null` is how databases write "nothing"; only about being verified does it say something.
                Some(Input::Null) if !field.contains("verified") => {}
                Some(value) => known.insert((*field).into(), value.clone()),
                None => {}
            }
        }
        known
    }

    fn read_header(&mut self) -> Result<(), String> {
        let mut text = Vec::new();
        let chunk = self.read_chunk(&mut text, DELIMITERS)?;
        if !matches!(chunk, Some(ChunkRead::Whole { .. })) {
            return Err("the file has no header that names its columns".into());
        }
        let header = |delimiter: u8| -> Vec<String> {
            let record = records(&text, delimiter).next();
            let names = record.iter().flatten();
            names
                .map(|name| String::from_utf8_lossy(name).trim().to_lowercase())
                .collect()
        };
        let (delimiter, header) = DELIMITERS
            .iter()
            .map(|delimiter| (*delimiter, header(*delimiter)))
            .find(|(_, header)| header.iter().any(|name| name == "email"))
            .ok_or("the header names no column `email`")?;
        let mut columns = Vec::new();
        for field in IMPORTED_FIELDS {
            let found = names_of(field).find(|name| header.iter().any(|column| column == name));
            let Some(name) = found else { continue };
            let mut places = (0..header.len()).filter(|place| header[*place] == name);
            if let Some(place) = places.next() {
                columns.push((*field, place));
            }
            if places.next().is_some() {
                return Err(format!("the header names two columns `{name}`"));
            }
        }
        for name in header.iter().filter(|name| !is_known(name)) {
            note_unknown(&mut self.unknown, name);
        }
        self.kind = Kind::Csv {
            delimiter,
            width: header.len(),
            columns,
            ready: VecDeque::new(),
        };
        Ok(())
    }

    fn next_record(&mut self) -> Result<Option<Row>, String> {
        let Kind::Csv { delimiter, .. } = self.kind else {
            return Ok(None);
        };
        let mut text = Vec::new();
        let start = match self.read_chunk(&mut text, &[delimiter])? {
            None => return Ok(None),
            Some(ChunkRead::TooLong { start }) => {
                let fields = Err(too_long());
                return Ok(Some(Row {
                    line: start,
                    fields,
                }));
            }
            Some(ChunkRead::Whole { start }) => start,
        };
        let Kind::Csv {
            width,
            columns,
            ready,
            ..
        } = &mut self.kind
        else {
            return Ok(None);
        };
        for record in records(&text, delimiter) {
            // The first one begins, as far as the reader is concerned, with the empty line before it.
            let line = record.position().map_or(0, csv::Position::line);
            let offset = line.saturating_sub(2);
            ready.push_back(Row {
                line: start + offset,
                fields: fields_of(&record, *width, columns),
            });
        }
        Ok(ready.pop_front())
    }

    /// Reads whole records: lines up to the one after which no quotation mark is open. Blank lines before them are
    /// skipped.
    fn read_chunk(
        &mut self,
        text: &mut Vec<u8>,
        delimiters: &[u8],
    ) -> Result<Option<ChunkRead>, String> {
        let mut start = None;
        let mut place = Place::FieldStart;
        loop {
            let before = text.len();
            let read = self.lines.read(text).map_err(cannot_read)?;
            let line = self.lines.number;
            match (read, start) {
                (LineRead::End, None) => return Ok(None),
                // The last record lacks its closing mark; what becomes of it is for its fields to show.
                (LineRead::End, Some(start)) => return Ok(Some(ChunkRead::Whole { start })),
                (LineRead::TooLong, None) => return Ok(Some(ChunkRead::TooLong { start: line })),
                (LineRead::Line, None) if text.trim_ascii().is_empty() => text.clear(),
                (LineRead::Line, _) if text.len() <= LONGEST_LINE => {
                    let start = *start.get_or_insert(line);
                    for byte in &text[before..] {
                        place = place.after(*byte, delimiters);
                    }
                    if place != Place::Quoted {
                        return Ok(Some(ChunkRead::Whole { start }));
                    }
                }
                (LineRead::TooLong | LineRead::Line, start) => {
                    // Where the next record begins is anybody's guess, and a wrong guess would read the inside of
                    // somebody's field as an account.
                    return Err(format!(
                        "line {}: a quotation mark is opened and not closed within {LONGEST_ROW} bytes; \
                         the rest of the file was not read",
                        start.unwrap_or(line)
                    ));
                }
            }
        }
    }
}

/// Where in a record a byte stands, as the parser of whole records sees it: what of it ends a record must not be read in
/// two ways, or the inside of somebody's field is an account.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    FieldStart,
    /// In a field that does not begin with a quotation mark, or behind the one that closes it: marks mean nothing here.
    Plain,
    Quoted,
    /// Behind a mark in a quoted field, which closes it unless another one follows.
    Closing,
}

impl Place {
    fn after(self, byte: u8, delimiters: &[u8]) -> Self {
        match (self, byte) {
            (Self::Quoted, b'"') => Self::Closing,
            (Self::Quoted, _) | (Self::Closing | Self::FieldStart, b'"') => Self::Quoted,
            (_, b'\n' | b'\r') => Self::FieldStart,
            (_, byte) if delimiters.contains(&byte) => Self::FieldStart,
            _ => Self::Plain,
        }
    }
}

enum ChunkRead {
    Whole { start: u64 },
    TooLong { start: u64 },
}

/// The records in a piece of CSV that holds whole ones, from line 2 on: behind an empty line, so that the reader does not
/// take what only looks like the mark at the beginning of a file off the first field.
fn records(text: &[u8], delimiter: u8) -> impl Iterator<Item = csv::ByteRecord> {
    csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .buffer_capacity(text.len() + 1)
        .from_reader(b"\n".chain(text))
        .into_byte_records()
        // Reading from memory does not fail, and records of any width are taken.
        .map_while(Result::ok)
}

fn fields_of(
    record: &csv::ByteRecord,
    width: usize,
    columns: &[(&'static str, usize)],
) -> Result<Fields, String> {
    if record.len() != width {
        return Err(format!(
            "{} columns instead of the {width} of the header",
            record.len()
        ));
    }
    let mut fields = Fields::form();
    for (field, column) in columns {
        let text = std::str::from_utf8(&record[*column])
            .map_err(|_| format!("{field}: this is not UTF-8"))?;
        fields.insert((*field).into(), Input::Text(text.into()));
    }
    Ok(fields)
}

/// The names under which a field may go, its own first.
fn names_of(field: &str) -> impl Iterator<Item = &str> {
    let aliases = ALIASES
        .iter()
        .filter(move |(of, _)| *of == field)
        .map(|(_, alias)| *alias);
    std::iter::once(field).chain(aliases)
}

fn is_known(name: &str) -> bool {
    IMPORTED_FIELDS.contains(&name) || ALIASES.iter().any(|(_, alias)| *alias == name)
}

fn note_unknown(unknown: &mut BTreeSet<String>, name: &str) {
    if unknown.len() < MOST_UNKNOWN && !unknown.contains(name) {
        unknown.insert(name.chars().take(80).collect());
    }
}

fn cannot_read(error: io::Error) -> String {
    format!("cannot read on: {error}")
}

fn too_long() -> String {
    format!("longer than {LONGEST_ROW} bytes")
}

fn no_object(error: BodyError) -> String {
    match error {
        // The line is known better here: the parser saw only this one.
        BodyError::NotJson(cause) => {
            format!(
                "no JSON: {}",
                cause.replace(" at line 1 column ", " at column ")
            )
        }
        BodyError::NotAnObject(kind) => format!("no JSON object, but of Python's type {kind}"),
        BodyError::Null => "no JSON object, but null".into(),
    }
}

/// Lines with their numbers.
struct Lines<R> {
    reader: R,
    number: u64,
}

#[derive(Clone, Copy)]
enum LineRead {
    Line,
    TooLong,
    End,
}

impl<R: BufRead> Lines<R> {
    /// Skips a byte order mark, which some programs put before UTF-8.
    fn new(mut reader: R) -> io::Result<Self> {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        // A pipe may bring the mark in pieces, but a buffer of only one or two bytes of it is not worth the trouble.
        if fill(&mut reader)?.starts_with(MARK) {
            reader.consume(MARK.len());
        }
        Ok(Self { reader, number: 0 })
    }

    /// The first byte that is no blank; the blanks before it are skipped, and their lines counted.
    fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            let buffer = fill(&mut self.reader)?;
            let Some(first) = buffer.first().copied() else {
                return Ok(None);
            };
            if !first.is_ascii_whitespace() {
                return Ok(Some(first));
            }
            self.number += u64::from(first == b'\n');
            self.reader.consume(1);
        }
    }

    /// Appends the next line, its end included.
    fn read(&mut self, text: &mut Vec<u8>) -> io::Result<LineRead> {
        let before = text.len();
        let limit = LONGEST_LINE as u64;
        let read = (&mut self.reader).take(limit).read_until(b'\n', text)?;
        if read == 0 {
            return Ok(LineRead::End);
        }
        self.number += 1;
        if text.ends_with(b"\n") || (read as u64) < limit {
            return Ok(LineRead::Line);
        }
        text.truncate(before);
        self.skip_line()?;
        Ok(LineRead::TooLong)
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let buffer = fill(&mut self.reader)?;
            if buffer.is_empty() {
                return Ok(());
            }
            if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                self.reader.consume(end + 1);
                return Ok(());
            }
            let length = buffer.len();
            self.reader.consume(length);
        }
    }
}

/// `fill_buf` that goes on after a signal, as `read_until` does by itself.
fn fill(reader: &mut impl BufRead) -> io::Result<&[u8]> {
    loop {
        match reader.fill_buf() {
            Ok(_) => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    // The buffer is filled now, so this gives it without reading; the detour satisfies the borrow checker.
    reader.fill_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of a text: the line, and the address or the reason why there is none.
    fn rows(text: impl AsRef<[u8]>) -> Vec<(u64, String)> {
        let mut rows = Rows::open(text.as_ref(), None).unwrap();
        let mut read = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let said = match row.fields {
                Ok(fields) => match fields.get("email") {
                    Some(Input::Text(email)) => email.clone(),
                    other => panic!("{other:?}"),
                },
                Err(reason) => reason,
            };
            read.push((row.line, said));
        }
        read
    }

    fn row(line: u64, said: &str) -> (u64, String) {
        (line, said.into())
    }

    #[test]
    fn json_lines_are_counted_blank_ones_too() {
        let text = "\u{feff}\n{\"email\": \"a@example.com\"}\n\n  \r\n{\"email\": \"b@example.com\"}\r\nnonsense\n[1]\n\
                    {\"email\": \"c@example.com\"}";
        assert_eq!(
            rows(text),
            [
                row(2, "a@example.com"),
                row(5, "b@example.com"),
                row(6, "no JSON: expected ident at column 2"),
                row(7, "no JSON object, but of Python's type list"),
                row(8, "c@example.com"),
            ]
        );
        assert_eq!(rows(""), []);
        assert_eq!(rows("\n \n"), []);
    }

    #[test]
    fn csv_records_may_span_lines() {
        let text = "\u{feff}id,email,address\r\n1,a@example.com,\"One\nStreet \"\"x\"\"\"\r\n\r\n2,b@example.com,\n\
                    3,c@example.com\n4,\"d@example.com\",5\" pipe\n5,e@example.com,\"6\"\n6,f@example.com,x";
        assert_eq!(
            rows(text),
            [
                row(2, "a@example.com"),
                row(5, "b@example.com"),
                row(6, "2 columns instead of the 3 of the header"),
                row(7, "d@example.com"),
                row(8, "e@example.com"),
                row(9, "f@example.com"),
            ]
        );
    }

    #[test]
    fn a_mark_in_a_field_without_marks_opens_nothing() {
        let text = "id,address,email\n1,5\" pipe,a@example.com\n2,\"One\n9,Street,evil@example.com\n\",b@example.com\n";
        assert_eq!(
            rows(text),
            [row(2, "a@example.com"), row(3, "b@example.com")]
        );
    }

    #[test]
    fn a_mark_of_order_amid_the_file_does_not_end_it() {
        let text =
            "email,id\na@example.com,1\n\u{feff}\nb@example.com,2\n\u{feff}c@example.com,3\n";
        let (b, c) = ("b@example.com", "\u{feff}c@example.com");
        let expected = [
            row(2, "a@example.com"),
            row(3, "1 columns instead of the 2 of the header"),
            row(4, b),
            row(5, c),
        ];
        assert_eq!(rows(text), expected);
    }

    #[test]
    fn columns_may_be_parted_otherwise_and_named_in_any_case() {
        for text in [
            "Email;Is_Active\na@example.com;t\n",
            "is_active\temail\nt\ta@example.com\n",
            "\"email\" , extra\na@example.com,x",
        ] {
            assert_eq!(rows(text), [row(2, "a@example.com")], "{text}");
        }
    }

    #[test]
    fn a_file_without_rows_that_make_sense_is_refused() {
        for (text, format, reason) in [
            ("[{}]", None, "JSON list"),
            ("name,mail\nx,y\n", None, "no column `email`"),
            ("", Some(Format::Csv), "no header"),
            ("email,id,EMAIL\n", None, "two columns `email`"),
        ] {
            let error = Rows::open(text.as_bytes(), format).err().unwrap();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }

    #[test]
    fn other_names_stand_in_for_fields_that_are_not_there() {
        let read = |text: &str| {
            let mut rows = Rows::open(text.as_bytes(), None).unwrap();
            let fields = rows.next().unwrap().unwrap().fields.unwrap();
            let value = match fields.get("created_at") {
                Some(Input::Text(text)) => text.clone(),
                other => format!("{other:?}"),
            };
            (value, rows.unknown().iter().cloned().collect::<Vec<_>>())
        };
        let one = |value: &str, unknown: &[&str]| {
            let unknown: Vec<String> = unknown.iter().map(|name| (*name).into()).collect();
            (value.to_owned(), unknown)
        };
        assert_eq!(
            read("email,date_joined,username,is_superuser\na,1,x,0\n"),
            one("1", &["is_superuser", "username"])
        );
        assert_eq!(read("date_joined,email,created_at\n1,a,2\n"), one("2", &[]));
        assert_eq!(
            read(r#"{"email": "a", "date_joined": "1", "groups": []}"#),
            one("1", &["groups"])
        );
        assert_eq!(
            read(r#"{"email": "a", "date_joined": "1", "created_at": "2"}"#),
            one("2", &[])
        );
    }

    #[test]
    fn null_says_nothing_but_about_being_verified() {
        let text =
            r#"{"email": "a", "first_name": null, "verified_at": null, "email_verified": null}"#;
        let mut rows = Rows::open(text.as_bytes(), None).unwrap();
        let fields = rows.next().unwrap().unwrap().fields.unwrap();
        assert!(!fields.contains("first_name"));
        assert_eq!(fields.get("verified_at"), Some(&Input::Null));
        assert_eq!(fields.get("is_verified"), Some(&Input::Null));
    }

    #[test]
    fn no_row_takes_all_the_memory() {
        let long = "x".repeat(3 * LONGEST_ROW);
        let text = format!("{{\"email\": \"{long}\"}}\n{{\"email\": \"b@example.com\"}}\n");
        assert_eq!(rows(text), [row(1, &too_long()), row(2, "b@example.com")]);
        let text = format!("email\n{long}\nb@example.com\n");
        assert_eq!(rows(text), [row(2, &too_long()), row(3, "b@example.com")]);
        let text = format!(
            "email\na@example.com\n\"{}",
            "x@example.com\n".repeat(200_000)
        );
        let mut rows = Rows::open(text.as_bytes(), None).unwrap();
        assert_eq!(rows.next().unwrap().unwrap().line, 2);
        let error = rows.next().unwrap_err();
        assert!(error.starts_with("line 3: a quotation mark"), "{error}");
    }

    #[test]
    fn text_that_is_none_is_told() {
        assert_eq!(
            rows(b"email\nb\xff@example.com\nc@example.com\n"),
            [row(2, "email: this is not UTF-8"), row(3, "c@example.com")]
        );
        let read = rows(b"{\"email\": \"\xff\"}\n");
        assert!(read[0].1.starts_with("no JSON: invalid utf-8"), "{read:?}");
    }
}
