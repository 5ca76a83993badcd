//! A snapshot of all rows in memory, for development mode.
//!
//! It contains rows, not pages of a file, so restoring it is an ordinary transaction: readers see the
//! state before or after it, and connections and prepared statements stay valid.

use std::collections::BTreeSet;

use super::connection::{Connection, Value};
use super::engine::Engine;
use super::tables::{TABLES, insertion, read_rows, write_row};
use crate::store::StoreResult;

/// All rows of all tables.
pub(super) struct Snapshot {
    tables: Vec<Table>,
    /// The last number of each table that assigns numbers, so that none is assigned twice.
    last_ids: Vec<(String, i64)>,
    photos: BTreeSet<String>,
}

struct Table {
    name: &'static str,
    columns: Vec<String>,
    rows: Vec<Vec<Value<'static>>>,
}

impl Table {
    fn read<E: Engine>(connection: &dyn Connection, name: &'static str) -> StoreResult<Self> {
        let columns = E::columns(connection, name)?;
        let mut rows = Vec::new();
        read_rows(connection, name, &columns.join(", "), &mut |row| {
            rows.push(row.values(columns.len())?);
            Ok(())
        })?;
        Ok(Self {
            name,
            columns,
            rows,
        })
    }

    fn write(&self, connection: &dyn Connection) -> StoreResult<()> {
        let insertion = insertion(self.name, &self.columns);
        self.rows
            .iter()
            .try_for_each(|row| write_row(connection, &insertion, row))
    }
}

/// The link of the setup is printed once, so a reset leaves it alone.
fn is_kept(table: &str) -> bool {
    table != "setup_links"
}

impl Snapshot {
    /// Takes a snapshot, unless there are more accounts than `most_users`.
    pub(super) fn take<E: Engine>(
        connection: &dyn Connection,
        most_users: u32,
    ) -> StoreResult<Option<Self>> {
        let users: u32 =
            connection.query_row("SELECT count(*) FROM users", &[], |row| row.get(0))?;
        if users > most_users {
            return Ok(None);
        }
        let tables = TABLES.iter().filter(|table| is_kept(table));
        Ok(Some(Self {
            tables: tables
                .map(|table| Table::read::<E>(connection, table))
                .collect::<StoreResult<_>>()?,
            last_ids: E::last_ids(connection)?,
            photos: photos(connection)?,
        }))
    }

    /// Restores the snapshot; returns the photos that no account has afterwards.
    pub(super) fn restore<E: Engine>(
        &self,
        connection: &dyn Connection,
    ) -> StoreResult<Vec<String>> {
        let former = photos(connection)?;
        for table in self.tables.iter().rev() {
            connection.run(&format!("DELETE FROM {}", table.name), &[])?;
        }
        for table in &self.tables {
            table.write(connection)?;
        }
        // Last, since rows with numbers of their own change the counters.
        E::set_last_ids(connection, &self.last_ids)?;
        Ok(former.difference(&self.photos).cloned().collect())
    }
}

fn photos(connection: &dyn Connection) -> StoreResult<BTreeSet<String>> {
    let names = connection.query_all(
        "SELECT photo FROM users WHERE photo IS NOT NULL UNION SELECT name FROM unused_photos",
        &[],
        |row| row.get(0),
    )?;
    Ok(names.into_iter().collect())
}
