//! The SQL functions of the program: those with which triggers keep the searched texts (see
//! [`super::search`]), and `greatest` and `least` as PostgreSQL has them.
//!
//! SQLite's own `lower` knows ASCII alone. A record is found by its id and not by its text, so it is
//! replaced even if a later version of Unicode folds the former text differently.

use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;

use super::search::{RECORD, TEXT};
use crate::domain::{UserId, folded};

/// Adds the functions to a connection. Whatever writes accounts needs them.
///
/// # Errors
/// When SQLite has no memory.
pub fn add_functions(connection: &Connection) -> rusqlite::Result<()> {
    // Innocuous: `trusted_schema` is off, and triggers call them.
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("search_record", 8, flags, record)?;
    connection.create_scalar_function("search_put", 3, flags, put)?;
    connection
        .create_scalar_function("greatest", 2, flags, |context| extreme(context, Ord::max))?;
    connection.create_scalar_function("least", 2, flags, |context| extreme(context, Ord::min))
}

/// The greater or smaller one of two numbers, of which NULL is ignored.
fn extreme(context: &Context<'_>, choose: fn(i64, i64) -> i64) -> rusqlite::Result<Option<i64>> {
    let (first, second): (Option<i64>, Option<i64>) = (context.get(0)?, context.get(1)?);
    Ok(match (first, second) {
        (Some(first), Some(second)) => Some(choose(first, second)),
        (one, other) => one.or(other),
    })
}

/// `search_record(id, is_active, is_verified, email, new_email, first_name, last_name, phone)`: the
/// record of an account.
fn record(context: &Context<'_>) -> rusqlite::Result<Vec<u8>> {
    let id: UserId = context.get(0)?;
    let (is_active, is_verified): (bool, bool) = (context.get(1)?, context.get(2)?);
    let mut record = head(id);
    record.push(b'a' + 2 * u8::from(is_active) + u8::from(is_verified));
    for index in 3..context.len() {
        record.push(TEXT);
        if let ValueRef::Text(text) = context.get_raw(index) {
            record.extend_from_slice(folded(&String::from_utf8_lossy(text)).as_bytes());
        }
    }
    Ok(record)
}

/// `search_put(records, id, record)`: the records with one replaced, added, or removed where it is
/// empty.
fn put(context: &Context<'_>) -> rusqlite::Result<Vec<u8>> {
    let records = context.get_raw(0).as_bytes()?;
    let id: UserId = context.get(1)?;
    let record = context.get_raw(2).as_bytes()?;
    let (before, after) = around(records, id);
    Ok([before, record, after].concat())
}

/// The first byte of a record, and the id.
fn head(id: UserId) -> Vec<u8> {
    let mut head = vec![RECORD];
    head.extend_from_slice(id.to_string().as_bytes());
    head
}

/// What comes before and after the record of an account; all is before where it has none.
fn around(records: &[u8], id: UserId) -> (&[u8], &[u8]) {
    let head = head(id);
    let Some(start) = memchr::memmem::find_iter(records, &head).find(|start| {
        // The id ends at the letter: 1 is not the beginning of 12.
        records
            .get(start + head.len())
            .is_some_and(u8::is_ascii_lowercase)
    }) else {
        return (records, &[]);
    };
    let (before, rest) = records.split_at(start);
    let length = memchr::memchr(RECORD, &rest[1..]).map_or(rest.len(), |next| next + 1);
    (before, &rest[length..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_is_found_by_its_whole_id() {
        let records = b"\xff12d\xfea\xff1c\xfeb\xff123d\xfec";
        for (id, before, after) in [
            (12, &b""[..], &b"\xff1c\xfeb\xff123d\xfec"[..]),
            (1, &b"\xff12d\xfea"[..], &b"\xff123d\xfec"[..]),
            (123, &b"\xff12d\xfea\xff1c\xfeb"[..], &b""[..]),
            (2, &records[..], &b""[..]),
        ] {
            assert_eq!(around(records, id), (before, after), "{id}");
        }
    }

    #[test]
    fn functions_build_and_keep_records() {
        let connection = Connection::open_in_memory().unwrap();
        add_functions(&connection).unwrap();
        let ask =
            |sql: &str| -> Vec<u8> { connection.query_row(sql, [], |row| row.get(0)).unwrap() };
        assert_eq!(
            ask("SELECT search_record(7, 1, 0, 'Ä@x.org', NULL, 'Иван', '', '+49')"),
            "\u{0}7c\u{1}a@x.org\u{1}\u{1}иван\u{1}\u{1}+49"
                .replace('\u{0}', "\u{7f}")
                .bytes()
                .map(|byte| match byte {
                    0x7f => RECORD,
                    1 => TEXT,
                    other => other,
                })
                .collect::<Vec<_>>()
        );
        assert_eq!(ask("SELECT search_put(x'', 1, x'ff3161')"), b"\xff1a");
        assert_eq!(
            ask("SELECT search_put(x'ff3161fe41', 1, x'ff3162')"),
            b"\xff1b"
        );
        assert_eq!(ask("SELECT search_put(x'ff3161fe41', 1, x'')"), b"");
    }
}
