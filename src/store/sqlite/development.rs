//! Development mode on SQLite: the mark, and a snapshot of all rows in memory.
//!
//! A snapshot contains rows, not pages of the file, so restoring it is an ordinary transaction:
//! readers see the state before or after it, and connections and prepared statements stay valid.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, named_params, params_from_iter};

use super::SqliteStore;
use crate::domain::Timestamp;
use crate::store::{DevelopmentStore, StoreResult};

/// The name of the mark in the database.
pub(super) const DEVELOPMENT_MARK: &str = "served_in_dev";

/// The AUTOINCREMENT counters, which SQLite does not list among the ordinary tables.
const SEQUENCES: &str = "sqlite_sequence";

/// All rows of all tables.
pub(super) struct Snapshot {
    tables: Vec<Table>,
    photos: BTreeSet<String>,
}

/// The snapshot that a store holds.
pub(super) type KeptSnapshot = Arc<Mutex<Option<Arc<Snapshot>>>>;

struct Table {
    name: String,
    /// Whether writing to it changes other tables.
    has_trigger: bool,
    columns: usize,
    rows: Vec<Vec<Cell>>,
}

/// One value of a row. A text is kept as bytes, since packed texts are not always UTF-8.
enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl From<ValueRef<'_>> for Cell {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(number) => Self::Integer(number),
            ValueRef::Real(number) => Self::Real(number),
            ValueRef::Text(bytes) => Self::Text(bytes.to_vec()),
            ValueRef::Blob(bytes) => Self::Blob(bytes.to_vec()),
        }
    }
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(bytes) => ValueRef::Text(bytes),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl Table {
    fn read(connection: &Connection, name: String) -> rusqlite::Result<Self> {
        let has_trigger = connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :name)",
            named_params! { ":name": name },
            |row| row.get(0),
        )?;
        let mut statement = connection.prepare(&format!("SELECT * FROM {name}"))?;
        let columns = statement.column_count();
        let rows = statement
            .query_map([], |row| {
                (0..columns)
                    .map(|column| row.get_ref(column).map(Cell::from))
                    .collect()
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Self {
            name,
            has_trigger,
            columns,
            rows,
        })
    }

    fn clear(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .execute(&format!("DELETE FROM {}", self.name), [])
            .map(drop)
    }

    fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let places = vec!["?"; self.columns].join(", ");
        let mut statement =
            connection.prepare(&format!("INSERT INTO {} VALUES ({places})", self.name))?;
        for row in &self.rows {
            statement.execute(params_from_iter(row))?;
        }
        Ok(())
    }
}

impl Snapshot {
    fn take(connection: &Connection) -> rusqlite::Result<Self> {
        let mut names = connection
            .prepare(
                // The link of the setup is printed once, so a reset leaves it alone.
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
                 AND name <> 'setup_links'",
            )?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<String>>>()?;
        names.push(SEQUENCES.to_owned());
        Ok(Self {
            tables: names
                .into_iter()
                .map(|name| Table::read(connection, name))
                .collect::<rusqlite::Result<_>>()?,
            photos: photos(connection)?,
        })
    }

    /// Restores the snapshot; returns the photos that no account has afterwards.
    fn restore(&self, connection: &Connection) -> rusqlite::Result<Vec<String>> {
        let former = photos(connection)?;
        // Rows refer to each other and tables have no particular order, so foreign keys are checked
        // at the commit.
        connection.execute_batch("PRAGMA defer_foreign_keys = ON")?;
        for table in &self.tables {
            table.clear(connection)?;
        }
        // Tables that triggers maintain come after the tables with the triggers, and overwrite what
        // the triggers wrote. The AUTOINCREMENT counters come last, since inserting accounts
        // changes them.
        let (first, then): (Vec<_>, Vec<_>) =
            self.tables.iter().partition(|table| table.has_trigger);
        for table in first {
            table.write(connection)?;
        }
        for table in then {
            table.clear(connection)?;
            table.write(connection)?;
        }
        Ok(former.difference(&self.photos).cloned().collect())
    }
}

fn photos(connection: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    connection
        .prepare(
            "SELECT photo FROM users WHERE photo IS NOT NULL UNION SELECT name FROM unused_photos",
        )?
        .query_map([], |row| row.get(0))?
        .collect()
}

#[async_trait]
impl DevelopmentStore for SqliteStore {
    async fn mark_development(&self, now: Timestamp) -> StoreResult<()> {
        self.writer
            .run(move |connection| {
                connection
                    .prepare_cached(
                        "INSERT INTO marks (name, noted_at) VALUES (:name, :now) ON CONFLICT (name) DO NOTHING",
                    )?
                    .execute(named_params! { ":name": DEVELOPMENT_MARK, ":now": now.unix_millis() })
                    .map(drop)
            })
            .await
    }

    async fn find_development_mark(&self) -> StoreResult<Option<Timestamp>> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT noted_at FROM marks WHERE name = :name")?
                .query_row(named_params! { ":name": DEVELOPMENT_MARK }, |row| {
                    row.get(0)
                })
                .optional()
                .map(|millis| millis.map(Timestamp::from_unix_millis))
        })
    }

    async fn take_snapshot(&self, most_users: u32) -> StoreResult<bool> {
        let snapshot = self
            .writer
            .run(move |connection| {
                let users: u32 =
                    connection.query_row("SELECT count(*) FROM users", [], |row| row.get(0))?;
                (users <= most_users)
                    .then(|| Snapshot::take(connection))
                    .transpose()
            })
            .await?;
        let is_kept = snapshot.is_some();
        *self.lock_snapshot() = snapshot.map(Arc::new);
        Ok(is_kept)
    }

    async fn restore_snapshot(&self) -> StoreResult<Option<Vec<String>>> {
        let Some(snapshot) = self.lock_snapshot().clone() else {
            return Ok(None);
        };
        self.writer
            .run(move |connection| snapshot.restore(connection))
            .await
            .map(Some)
    }
}

impl SqliteStore {
    fn lock_snapshot(&self) -> std::sync::MutexGuard<'_, Option<Arc<Snapshot>>> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
