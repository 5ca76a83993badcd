//! Accounts as rows of a file: one JSON object per line, or CSV with a header.
//!
//! Owns the choice between the two, and the records of the file. Holds one line (of CSV: one
//! record) at a time, of bounded length, so a file of any size can be read. What a field has to be
//! like is left to [`crate::accounts::read_imported_user`].

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, BufRead, Read};

use super::columns::{Columns, Mapping, Source};
use super::lines::{LONGEST_LINE, LONGEST_ROW, LineRead, Lines};
use crate::domain::{BodyError, Fields, Input, parse_json_object};

/// Possible delimiters of CSV; the one that gives the header an `email` is used.
const DELIMITERS: &[u8] = b",;\t";

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON object per line.
    JsonLines,
    /// CSV (RFC 4180) with a header.
    Csv,
}

/// One row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The line on which it begins, from 1.
    pub(crate) line: u64,
    /// Its fields under the names that the import knows, or why it has none.
    pub(crate) fields: Result<Fields, String>,
}

/// Reads the rows of a file.
pub(crate) struct Rows<R> {
    lines: Lines<R>,
    columns: Columns,
    kind: Kind,
    /// Rows that were read together with the one before.
    ready: VecDeque<Row>,
}

enum Kind {
    JsonLines,
    Csv {
        delimiter: u8,
        /// The number of columns of the header.
        width: usize,
        sources: Vec<Source<usize>>,
    },
}

impl<R: BufRead> Rows<R> {
    /// Reads the beginning of a file; without a format it is guessed from the first character.
    ///
    /// # Errors
    /// When the file cannot be read, or its first row cannot be understood. The text is for the
    /// operator.
    pub(crate) fn open(
        reader: R,
        format: Option<Format>,
        mappings: Vec<Mapping>,
    ) -> Result<Self, String> {
        let mut lines = Lines::new(reader).map_err(cannot_read)?;
        let first = lines.peek().map_err(cannot_read)?;
        let format = format.unwrap_or(match first {
            // A header begins with the name of a column.
            None | Some(b'{' | b'[') => Format::JsonLines,
            Some(_) => Format::Csv,
        });
        let mut rows = Self {
            lines,
            columns: Columns::new(mappings),
            kind: Kind::JsonLines,
            ready: VecDeque::new(),
        };
        match (format, first) {
            (Format::JsonLines, Some(b'[')) => {
                return Err(
                    "this is a JSON list; expected one object per line, without the list \
                            around them (as `jq -c '.[]'` writes it)"
                        .into(),
                );
            }
            (Format::JsonLines, _) => {
                // Flags of another program are refused before anything is imported.
                let row = rows.next_line(true)?;
                rows.ready.extend(row);
            }
            (Format::Csv, _) => rows.read_header()?,
        }
        Ok(rows)
    }

    /// The next row, or the end.
    ///
    /// # Errors
    /// When the rest of the file cannot be read. The text is for the operator.
    pub(crate) fn next(&mut self) -> Result<Option<Row>, String> {
        if let Some(row) = self.ready.pop_front() {
            return Ok(Some(row));
        }
        match &self.kind {
            Kind::JsonLines => self.next_line(false),
            Kind::Csv { .. } => self.next_record(),
        }
    }

    /// The names that were ignored so far, up to some number of them.
    pub(crate) fn unknown(&self) -> &BTreeSet<String> {
        self.columns.unknown()
    }

    fn next_line(&mut self, is_first: bool) -> Result<Option<Row>, String> {
        let mut text = Vec::new();
        loop {
            text.clear();
            let read = self.lines.read(&mut text).map_err(cannot_read)?;
            let line = self.lines.number;
            let fields = match read {
                LineRead::End => return Ok(None),
                LineRead::TooLong => Err(too_long()),
                LineRead::Line if text.trim_ascii().is_empty() => continue,
                LineRead::Line => match parse_json_object(&text) {
                    Err(e) => Err(not_an_object(e)),
                    Ok(fields) => match self.known_fields(&fields) {
                        Err(reason) if is_first => return Err(format!("line {line}: {reason}")),
                        other => other,
                    },
                },
            };
            return Ok(Some(Row { line, fields }));
        }
    }

    fn known_fields(&mut self, fields: &Fields) -> Result<Fields, String> {
        let names: Vec<&str> = fields.names().collect();
        let sources = self.columns.resolve(&names)?;
        self.columns.note_unknown(&names);
        let mut known = Fields::json();
        for source in sources {
            let Some(value) = fields.get(names[source.place]) else {
                continue;
            };
            match source.value(value.clone()) {
                // `null` is how databases write "nothing"; only about verification it says "no".
                Input::Null if !source.field.contains("verified") => {}
                value => known.insert(source.field.into(), value),
            }
        }
        Ok(known)
    }

    fn read_header(&mut self) -> Result<(), String> {
        const NO_HEADER: &str = "the file has no header that names its columns";
        let mut text = Vec::new();
        let mut chunk = self.read_chunk(&mut text, DELIMITERS)?;
        let mut delimiters = DELIMITERS.to_vec();
        // Excel's own line about the delimiter.
        if let [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', delimiter] =
            without_line_end(&text)[..]
            && !delimiter.is_ascii_alphanumeric()
            && delimiter != b'"'
        {
            delimiters = vec![delimiter];
            text.clear();
            chunk = self.read_chunk(&mut text, &delimiters)?;
        }
        let Some(ChunkRead::Whole { start }) = chunk else {
            return Err(NO_HEADER.into());
        };
        let header = |delimiter: u8| -> Vec<String> {
            let record = records(&text, delimiter).next();
            let names = record.iter().flatten();
            names
                .map(|name| String::from_utf8_lossy(name).trim().to_owned())
                .collect()
        };
        let candidates = delimiters.iter().map(|byte| (*byte, header(*byte)));
        let mut failure = None;
        for (delimiter, header) in candidates {
            let names: Vec<&str> = header.iter().map(String::as_str).collect();
            let sources = self.columns.resolve(&names);
            let has_email =
                |sources: &Vec<Source<usize>>| sources.iter().any(|source| source.field == "email");
            match sources {
                Ok(sources) if has_email(&sources) => {
                    self.use_header(delimiter, &names, sources)?;
                    let rest = records(&text, delimiter).skip(1);
                    let rows: Vec<Row> = rest.map(|record| self.row(&record, start)).collect();
                    self.ready.extend(rows);
                    return Ok(());
                }
                Ok(_) => {}
                Err(reason) => failure = failure.or(Some(reason)),
            }
        }
        let first = header(delimiters[0]).join(", ");
        Err(failure.unwrap_or_else(|| {
            format!(
                "the header names no column `email`, but: {}. Name the columns in the first line, \
                 or say which it is by --map THEIRS=email",
                first.chars().take(200).collect::<String>()
            )
        }))
    }

    fn use_header(
        &mut self,
        delimiter: u8,
        names: &[&str],
        sources: Vec<Source<usize>>,
    ) -> Result<(), String> {
        for source in &sources {
            let name = names[source.place];
            let same = names
                .iter()
                .filter(|other| other.eq_ignore_ascii_case(name));
            if same.count() > 1 {
                return Err(format!("the header names two columns `{name}`"));
            }
        }
        if let Some(missing) = self.columns.missing(names) {
            return Err(format!(
                "the header names no column `{missing}`, which --map names"
            ));
        }
        self.columns.note_unknown(names);
        self.kind = Kind::Csv {
            delimiter,
            width: names.len(),
            sources,
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
        let rows: Vec<Row> = records(&text, delimiter)
            .map(|record| self.row(&record, start))
            .collect();
        self.ready.extend(rows);
        Ok(self.ready.pop_front())
    }

    fn row(&self, record: &csv::ByteRecord, line: u64) -> Row {
        let fields = match &self.kind {
            Kind::Csv { width, sources, .. } => fields_of(record, *width, sources),
            Kind::JsonLines => Ok(Fields::form()),
        };
        Row { line, fields }
    }

    /// Reads a whole record: lines up to the one after which no quotation mark is open. Blank lines
    /// before it are skipped.
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
                // The last record lacks its closing mark; its fields show whether that matters.
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
                    // Where the next record begins is unknown, and a wrong guess would read the
                    // content of a field as an account.
                    return Err(format!(
                        "line {}: a quotation mark is opened and not closed within {LONGEST_ROW} \
                         bytes; the rest of the file was not read",
                        start.unwrap_or(line)
                    ));
                }
            }
        }
    }
}

/// The position of a byte in a record, as the parser of whole records sees it: if the two disagreed
/// about the end of a record, the content of a field could become an account.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    FieldStart,
    /// In a field without quotation marks, or behind the closing one: marks mean nothing here.
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

/// The records in a piece of CSV that holds whole ones. They are put behind an empty line:
/// otherwise the parser would remove what looks like a byte order mark from the first field.
fn records(text: &[u8], delimiter: u8) -> impl Iterator<Item = csv::ByteRecord> {
    csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .buffer_capacity(text.len() + 1)
        .from_reader(b"\n".chain(text))
        .into_byte_records()
        // Reading from memory does not fail, and records of any width are accepted.
        .map_while(Result::ok)
}

fn without_line_end(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

fn fields_of(
    record: &csv::ByteRecord,
    width: usize,
    sources: &[Source<usize>],
) -> Result<Fields, String> {
    if record.len() != width {
        return Err(format!(
            "{} columns instead of the {width} of the header",
            record.len()
        ));
    }
    let mut fields = Fields::form();
    for source in sources {
        let text = std::str::from_utf8(&record[source.place])
            .map_err(|_| format!("{}: this is not UTF-8", source.field))?;
        let value = source.value(Input::Text(text.into()));
        fields.insert(source.field.into(), value);
    }
    Ok(fields)
}

fn cannot_read(error: io::Error) -> String {
    format!("cannot read the file: {error}")
}

fn too_long() -> String {
    format!("longer than {LONGEST_ROW} bytes")
}

fn not_an_object(error: BodyError) -> String {
    match error {
        // The parser saw only this line.
        BodyError::NotJson(cause) => {
            format!(
                "not JSON: {}",
                cause.replace(" at line 1 column ", " at column ")
            )
        }
        BodyError::NotAnObject(kind) => format!("not a JSON object, but of Python's type {kind}"),
        BodyError::Null => "not a JSON object, but null".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of a text: the line, and the address or the reason why there is none.
    fn rows(text: impl AsRef<[u8]>) -> Vec<(u64, String)> {
        let mut rows = Rows::open(text.as_ref(), None, Vec::new()).unwrap();
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
    fn json_lines_are_numbered_with_blank_ones() {
        let text = "\u{feff}\n{\"email\": \"a@example.com\"}\n\n  \r\n{\"email\": \"b@example.com\"}\r\nnonsense\n[1]\n\
                    {\"email\": \"c@example.com\"}";
        assert_eq!(
            rows(text),
            [
                row(2, "a@example.com"),
                row(5, "b@example.com"),
                row(6, "not JSON: expected ident at column 2"),
                row(7, "not a JSON object, but of Python's type list"),
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
    fn quotation_mark_within_a_field_opens_nothing() {
        let text = "id,address,email\n1,5\" pipe,a@example.com\n2,\"One\n9,Street,evil@example.com\n\",b@example.com\n";
        assert_eq!(
            rows(text),
            [row(2, "a@example.com"), row(3, "b@example.com")]
        );
    }

    #[test]
    fn byte_order_mark_amid_the_file_is_text() {
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
    fn delimiter_and_case_of_names_may_vary() {
        for text in [
            "Email;Is_Active\na@example.com;t\n",
            "is_active\temail\nt\ta@example.com\n",
            "\"email\" , extra\na@example.com,x",
        ] {
            assert_eq!(rows(text), [row(2, "a@example.com")], "{text}");
        }
    }

    #[test]
    fn file_without_usable_header_is_refused() {
        for (text, format, reason) in [
            ("[{}]", None, "JSON list"),
            ("name,mail\nx,y\n", None, "no column `email`"),
            ("", Some(Format::Csv), "no header"),
            ("email,id,EMAIL\n", None, "two columns `email`"),
            ("name,mail\nx,y\n", None, "but: name, mail"),
            ("sep=|\nemail;id\n", None, "no column `email`"),
            ("email,disabled\na,1\n", None, "--map disabled=!is_active"),
            (
                "\n{\"email\": \"a\", \"emailVerified\": 1}\n",
                None,
                "line 2: `emailVerified`",
            ),
        ] {
            let error = Rows::open(text.as_bytes(), format, Vec::new())
                .err()
                .unwrap();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }

    #[test]
    fn aliases_are_used_for_absent_fields() {
        let read = |text: &str| {
            let mut rows = Rows::open(text.as_bytes(), None, Vec::new()).unwrap();
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
    fn null_is_ignored_except_about_verification() {
        let text =
            r#"{"email": "a", "first_name": null, "verified_at": null, "email_verified": null}"#;
        let mut rows = Rows::open(text.as_bytes(), None, Vec::new()).unwrap();
        let fields = rows.next().unwrap().unwrap().fields.unwrap();
        assert!(!fields.contains("first_name"));
        assert_eq!(fields.get("verified_at"), Some(&Input::Null));
        assert_eq!(fields.get("is_verified"), Some(&Input::Null));
    }

    #[test]
    fn rows_are_bounded() {
        let long = "x".repeat(3 * LONGEST_ROW);
        let text = format!("{{\"email\": \"{long}\"}}\n{{\"email\": \"b@example.com\"}}\n");
        assert_eq!(rows(text), [row(1, &too_long()), row(2, "b@example.com")]);
        let text = format!("email\n{long}\nb@example.com\n");
        assert_eq!(rows(text), [row(2, &too_long()), row(3, "b@example.com")]);
        let text = format!(
            "email\na@example.com\n\"{}",
            "x@example.com\n".repeat(200_000)
        );
        let mut rows = Rows::open(text.as_bytes(), None, Vec::new()).unwrap();
        assert_eq!(rows.next().unwrap().unwrap().line, 2);
        let error = rows.next().unwrap_err();
        assert!(error.starts_with("line 3: a quotation mark"), "{error}");
    }

    #[test]
    fn invalid_utf8_is_reported() {
        assert_eq!(
            rows(b"email\nb\xff@example.com\nc@example.com\n"),
            [row(2, "email: this is not UTF-8"), row(3, "c@example.com")]
        );
        let read = rows(b"{\"email\": \"\xff\"}\n");
        assert!(read[0].1.starts_with("not JSON: invalid utf-8"), "{read:?}");
    }

    #[test]
    fn csv_of_every_spreadsheet_is_read() {
        let expected = [row(2, "a@example.com"), row(3, "b@example.com")];
        let utf16 = |text: &str| -> Vec<u8> {
            let units = std::iter::once(0xfeff).chain(text.encode_utf16());
            units.flat_map(u16::to_le_bytes).collect()
        };
        let text = "email,id\na@example.com,1\nb@example.com,2\n";
        for bytes in [
            text.into(),
            text.replace('\n', "\r").into_bytes(),
            text.replace('\n', "\r\n").into_bytes(),
            text.trim_end().into(),
            utf16(text),
            utf16(&text.replace('\n', "\r\n").replace(',', "\t")),
        ] {
            assert_eq!(rows(&bytes), expected, "{bytes:?}");
        }
        let expected = [row(3, "a@example.com"), row(4, "b@example.com")];
        for delimiter in [",", ";", "|", "\t"] {
            let text = format!("sep=,\r\n{}", text.replace('\n', "\r\n"));
            assert_eq!(rows(text.replace(',', delimiter)), expected, "{delimiter}");
        }
    }

    #[test]
    fn flag_of_another_program_refuses_a_later_row_too() {
        let text =
            "{\"email\": \"a@example.com\"}\n{\"email\": \"b@example.com\", \"blocked\": true}\n";
        let rows = rows(text);
        assert_eq!(rows[0], row(1, "a@example.com"));
        assert!(rows[1].1.contains("--map blocked=!is_active"), "{rows:?}");
    }

    #[test]
    fn mapped_names_are_read_as_ours() {
        let mappings = ["mail=email", "disabled=!is_active", "emailVerified="];
        for text in [
            "Mail,disabled,emailverified\na@example.com,1,0\n",
            "{\"mail\": \"a@example.com\", \"disabled\": true, \"emailVerified\": false}\n",
        ] {
            let mappings = mappings.iter().map(|text| text.parse().unwrap()).collect();
            let mut rows = Rows::open(text.as_bytes(), None, mappings).unwrap();
            let fields = rows.next().unwrap().unwrap().fields.unwrap();
            assert_eq!(
                fields.get("email"),
                Some(&Input::Text("a@example.com".into()))
            );
            assert_eq!(fields.get("is_active"), Some(&Input::Bool(false)));
            assert!(!fields.contains("is_verified"));
            assert!(rows.unknown().is_empty());
        }
        let mappings = vec!["phoneNumber=phone".parse().unwrap()];
        let error = Rows::open(&b"email\n"[..], None, mappings).err().unwrap();
        assert!(error.contains("no column `phoneNumber`"), "{error}");
    }
}
