//! Lists that are read in pages.

use super::connection::{Connection, Param, Row, ToValue};

use crate::store::{Page, PageBounds, PageRequest, StoreResult};

/// The pattern of lower-case texts that contain a text, for `LIKE … ESCAPE '!'`.
pub(in crate::store) fn contains(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c.to_ascii_lowercase());
    }
    pattern.push('%');
    pattern
}

/// A number for the database, which knows none greater than `i64::MAX`.
pub(in crate::store) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The requested part of a list.
#[derive(Clone, Copy)]
pub(in crate::store) struct Slice {
    /// Rows before it.
    pub(in crate::store) offset: i64,
    /// Its rows.
    pub(in crate::store) length: i64,
    /// Rows of the whole list.
    pub(in crate::store) count: i64,
}

impl Slice {
    /// The part that a page shows.
    pub(in crate::store) fn of(bounds: &PageBounds, count: i64) -> Self {
        let offset = number(bounds.offset);
        Self {
            offset,
            length: number(bounds.size).min(count - offset),
            count,
        }
    }

    /// The same part, counted from the other end.
    pub(in crate::store) fn counted_backwards(self) -> Self {
        Self {
            offset: self.count - self.offset - self.length,
            ..self
        }
    }
}

/// A list of rows.
pub(super) struct List<'a> {
    /// The table with its WHERE clause.
    pub(super) from: &'a str,
    /// The columns that are read.
    pub(super) columns: &'a str,
    /// The terms of ORDER BY.
    pub(super) order: &'a str,
    /// The values of the clause, by name.
    pub(super) values: &'a [Param<'a>],
}

impl List<'_> {
    /// Reads a page; rows that `read` does not know are left out. `None` when there is no such page.
    pub(super) fn page<T>(
        &self,
        connection: &dyn Connection,
        (page, page_size): (PageRequest, u32),
        read: impl FnMut(&Row<'_>) -> StoreResult<Option<T>>,
    ) -> StoreResult<Option<Page<T>>> {
        let Self {
            from,
            columns,
            order,
            values,
        } = self;
        let count: u64 =
            connection.query_row(&format!("SELECT count(*) FROM {from}"), values, |row| {
                row.get::<i64>(0).map(i64::unsigned_abs)
            })?;
        let Some(bounds) = PageBounds::of(count, page, page_size) else {
            return Ok(None);
        };
        let (size, offset) = (number(bounds.size), number(bounds.offset));
        let mut values = values.to_vec();
        values.extend([(":size", size.to_value()), (":offset", offset.to_value())]);
        let items = connection.query_some(
            &format!("SELECT {columns} FROM {from} ORDER BY {order} LIMIT :size OFFSET :offset"),
            &values,
            read,
        )?;
        Ok(Some(bounds.page(count, items)))
    }
}
