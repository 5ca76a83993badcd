//! Lists that are read in pages.

use rusqlite::{Connection, Row, ToSql};

use crate::store::{Page, PageBounds, PageRequest};

/// A list of rows.
pub(super) struct List<'a> {
    /// The table with its WHERE clause.
    pub(super) from: &'a str,
    /// The columns that are read.
    pub(super) columns: &'a str,
    /// The terms of ORDER BY.
    pub(super) order: &'a str,
    /// The values of the clause, by name.
    pub(super) values: &'a [(&'a str, &'a dyn ToSql)],
}

impl List<'_> {
    /// Reads a page; rows that `read` does not know are left out. `None` when there is no such page.
    pub(super) fn page<T>(
        &self,
        connection: &Connection,
        (page, page_size): (PageRequest, u32),
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<Option<T>>,
    ) -> rusqlite::Result<Option<Page<T>>> {
        let Self {
            from,
            columns,
            order,
            values,
        } = self;
        let count: u64 = connection
            .prepare_cached(&format!("SELECT count(*) FROM {from}"))?
            .query_row(*values, |row| row.get::<_, i64>(0).map(i64::unsigned_abs))?;
        let Some(bounds) = PageBounds::of(count, page, page_size) else {
            return Ok(None);
        };
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let (size, offset) = (number(bounds.size), number(bounds.offset));
        let mut values = values.to_vec();
        values.extend([(":size", &size as &dyn ToSql), (":offset", &offset)]);
        let items = connection
            .prepare_cached(&format!(
                "SELECT {columns} FROM {from} ORDER BY {order} LIMIT :size OFFSET :offset"
            ))?
            .query_map(&*values, read)?
            .filter_map(Result::transpose)
            .collect::<rusqlite::Result<_>>()?;
        Ok(Some(bounds.page(count, items)))
    }
}
