//! CSV (RFC 4180) that people open in a spreadsheet.

use std::borrow::Cow;

/// Tells spreadsheets that the text is UTF-8.
pub(super) const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Rows of a CSV file in memory.
pub(super) struct Rows(csv::Writer<Vec<u8>>);

impl Rows {
    /// No rows yet.
    pub(super) fn new() -> Self {
        let mut builder = csv::WriterBuilder::new();
        builder.terminator(csv::Terminator::CRLF);
        Self(builder.from_writer(Vec::new()))
    }

    /// Adds a row.
    pub(super) fn push<'a>(&mut self, cells: impl IntoIterator<Item = &'a str>) {
        let cells = cells.into_iter().map(inert);
        for cell in cells {
            self.0
                .write_field(cell.as_bytes())
                .expect("memory takes every cell");
        }
        self.0
            .write_record(None::<&[u8]>)
            .expect("memory takes every row");
    }

    /// All rows as bytes.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0.into_inner().expect("memory takes every row")
    }
}

/// A cell that no spreadsheet runs as a formula: what begins like one gets an apostrophe, which
/// spreadsheets read as "this is text" (OWASP, "CSV Injection").
fn inert(cell: &str) -> Cow<'_, str> {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        Cow::Owned(format!("'{cell}"))
    } else {
        Cow::Borrowed(cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> String {
        let mut rows = Rows::new();
        rows.push(cells.iter().copied());
        String::from_utf8(rows.into_bytes()).unwrap()
    }

    #[test]
    fn cells_are_quoted_where_they_have_to_be() {
        assert_eq!(
            row(&["1", "a,b", "say \"hi\"", "two\nlines", "", "é"]),
            "1,\"a,b\",\"say \"\"hi\"\"\",\"two\nlines\",,é\r\n"
        );
        assert_eq!(row(&[""]), "\"\"\r\n");
    }

    #[test]
    fn formulas_become_text() {
        for cell in [
            "=HYPERLINK(\"http://evil\")",
            "+1",
            "-1+1",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "\n=1",
        ] {
            let row = row(&[cell]);
            let shown = row.trim_start_matches('"');
            assert!(shown.starts_with('\''), "{row:?}");
        }
        assert_eq!(row(&["a=b", "1-2", "x@y"]), "a=b,1-2,x@y\r\n");
    }
}
