//! Copying all rows of one database into another, with proof that they are the same.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use sha2::{Digest, Sha256};

use super::connection::{Connection, Value};
use super::engine::{Database, Engine};
use super::tables::{TABLES, insertion, read_rows, write_row};
use crate::store::{StoreError, StoreResult};

/// Rows that wait between the two databases.
const WAITING: usize = 1_000;

/// What is shown of a copy under way.
pub type CopyProgress = Arc<dyn Fn(&'static str, u64) + Send + Sync>;

/// A table that was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedTable {
    /// Its name.
    pub name: &'static str,
    /// Number of its rows.
    pub rows: u64,
}

/// What goes from the source to the target.
enum Part {
    Table(&'static str, Vec<String>),
    Row(Vec<Value<'static>>),
    /// The rows of the table are complete.
    End(Sum),
    LastIds(Vec<(String, i64)>),
}

/// The number of rows and a sum over their content, in whatever order they come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    rows: u64,
    content: u128,
}

impl Sum {
    fn add(&mut self, row: &[Value<'_>]) {
        let mut hash = Sha256::new();
        for value in row {
            let (kind, bytes): (u8, &[u8]) = match value {
                Value::Null => (0, &[]),
                Value::Flag(flag) => (1, if *flag { &1_i64.to_be_bytes() } else { &[0; 8] }),
                Value::Integer(number) => (1, &number.to_be_bytes()),
                Value::Text(text) => (2, text.as_bytes()),
                Value::Blob(bytes) => (3, bytes),
            };
            hash.update([kind]);
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut first = [0; 16];
        first.copy_from_slice(&digest[..16]);
        self.rows += 1;
        self.content = self.content.wrapping_add(u128::from_be_bytes(first));
    }
}

/// The table of photos, in databases that keep them.
const PHOTOS: &str = "photos";

/// A photo: its file name and its content.
pub(in crate::store) type Photo = (String, Vec<u8>);

/// The mark of a database whose accounts have moved; the name of the new one follows it.
const MOVED: &str = "moved to ";

/// Copies all rows into an empty database, in one transaction.
///
/// # Errors
/// The text says why nothing was copied.
pub(in crate::store) async fn copy_all<A: Engine, B: Engine>(
    source: &Database<A>,
    target: &Database<B>,
    photos: impl Iterator<Item = StoreResult<Photo>> + Send + 'static,
    progress: CopyProgress,
) -> StoreResult<Vec<CopiedTable>> {
    let (send, receive) = sync_channel(WAITING);
    let mut send = Some(send);
    let reading = source.engine.read_long(move |connection| {
        let send = send.take().ok_or_else(|| broken("the source"))?;
        send_all::<A>(connection, &send)
    });
    let (report, reported) = std::sync::mpsc::channel();
    let writing = target.engine.write_or_discard(move |transaction| {
        let copied = receive_all::<B>(transaction, &receive, &progress)?;
        store_photos(transaction, photos, &progress)?;
        let _ = report.send(copied);
        Ok(true)
    });
    let (read, written) = futures_util::future::join(reading, writing).await;
    // A problem of the target ends the reading as well, so it comes first.
    written?;
    read?;
    reported.recv().map_err(|_| broken("the target"))
}

/// Stores photos one by one, and compares what is stored then.
fn store_photos(
    connection: &dyn Connection,
    photos: impl Iterator<Item = StoreResult<Photo>>,
    progress: &CopyProgress,
) -> StoreResult<()> {
    let columns = ["name".to_owned(), "content".to_owned()];
    let insertion = insertion(PHOTOS, &columns);
    let mut sum = Sum::default();
    for photo in photos {
        let (name, content) = photo?;
        let row = [Value::Text(name.into()), Value::Blob(content.into())];
        sum.add(&row);
        write_row(connection, &insertion, &row)?;
        progress(PHOTOS, sum.rows);
    }
    // A database that keeps no photos has no such table.
    if sum.rows > 0 && sum_of(connection, PHOTOS, &columns, &mut |_| Ok(()))? != sum {
        return Err(StoreError::failed(
            "the photos are not the same in the target",
        ));
    }
    Ok(())
}

fn broken(what: &str) -> StoreError {
    StoreError::failed(format!("{what} ended before everything was copied"))
}

fn send_all<E: Engine>(connection: &dyn Connection, to: &SyncSender<Part>) -> StoreResult<()> {
    let send = |part| to.send(part).map_err(|_| broken("the target"));
    for table in TABLES {
        let columns = E::columns(connection, table)?;
        send(Part::Table(table, columns.clone()))?;
        let sum = sum_of(connection, table, &columns, &mut |row| send(Part::Row(row)))?;
        send(Part::End(sum))?;
    }
    send(Part::LastIds(E::last_ids(connection)?))
}

/// Reads a table; marks of a move are not part of it.
fn sum_of(
    connection: &dyn Connection,
    table: &'static str,
    columns: &[String],
    each: &mut dyn FnMut(Vec<Value<'static>>) -> StoreResult<()>,
) -> StoreResult<Sum> {
    let mut sum = Sum::default();
    read_rows(connection, table, &columns.join(", "), &mut |row| {
        let row = row.values(columns.len())?;
        let is_mark = matches!(row.first(), Some(Value::Text(text)) if text.starts_with(MOVED));
        if table == "marks" && is_mark {
            return Ok(());
        }
        sum.add(&row);
        each(row)
    })?;
    Ok(sum)
}

fn receive_all<E: Engine>(
    connection: &dyn Connection,
    from: &Receiver<Part>,
    progress: &CopyProgress,
) -> StoreResult<Vec<CopiedTable>> {
    refuse_used(connection)?;
    let mut copied = Vec::new();
    let mut table: Option<(&'static str, Vec<String>, String)> = None;
    let mut rows = 0;
    loop {
        let part = from.recv().map_err(|_| broken("the source"))?;
        match part {
            Part::Table(name, columns) => {
                let own = E::columns(connection, name)?;
                if columns.iter().any(|column| !own.contains(column)) {
                    return Err(StoreError::failed(format!(
                        "the table {name} has other columns in the target; use one version of the \
                         program for both"
                    )));
                }
                let insertion = insertion(name, &columns);
                table = Some((name, columns, insertion));
                rows = 0;
                progress(name, 0);
            }
            Part::Row(row) => {
                let (name, _, insertion) = table.as_ref().ok_or_else(|| broken("the source"))?;
                write_row(connection, insertion, &row)?;
                rows += 1;
                if rows % 1_000 == 0 {
                    progress(name, rows);
                }
            }
            Part::End(sum) => {
                let (name, columns, _) = table.take().ok_or_else(|| broken("the source"))?;
                let written = sum_of(connection, name, &columns, &mut |_| Ok(()))?;
                if written != sum {
                    return Err(StoreError::failed(format!(
                        "the table {name} is not the same in the target: {} rows instead of {}, or \
                         other content",
                        written.rows, sum.rows
                    )));
                }
                progress(name, sum.rows);
                copied.push(CopiedTable {
                    name,
                    rows: sum.rows,
                });
            }
            Part::LastIds(last_ids) => {
                E::set_last_ids(connection, &last_ids)?;
                return Ok(copied);
            }
        }
    }
}

/// Refuses a database that anything was stored in.
fn refuse_used(connection: &dyn Connection) -> StoreResult<()> {
    for table in TABLES {
        if connection.exists(&format!("SELECT 1 FROM {table} LIMIT 1"), &[])? {
            return Err(StoreError::failed(format!(
                "the target is not empty: there are rows in {table}"
            )));
        }
    }
    Ok(())
}

/// Marks a database whose rows were copied, so that it is not served any more.
///
/// # Errors
/// When it cannot be written.
pub(in crate::store) async fn mark_moved<E: Engine>(
    source: &Database<E>,
    target: &str,
    now: i64,
) -> StoreResult<()> {
    let name = format!("{MOVED}{target}");
    source
        .engine
        .write(move |connection| {
            connection.run(
                "INSERT INTO marks (name, noted_at) VALUES (:name, :now) ON CONFLICT (name) DO \
                 UPDATE SET noted_at = excluded.noted_at",
                super::connection::params! { ":name": name, ":now": now },
            )
        })
        .await
}

/// Where the accounts of a database have moved, if they have.
pub(super) fn find_moved(connection: &dyn Connection) -> StoreResult<Option<String>> {
    let name: Option<String> = connection.query_optional(
        "SELECT name FROM marks WHERE name LIKE 'moved to %' ORDER BY noted_at DESC LIMIT 1",
        &[],
        |row| row.get(0),
    )?;
    Ok(name.map(|name| name.trim_start_matches(MOVED).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(rows: &[&[Value<'static>]]) -> Sum {
        let mut sum = Sum::default();
        for row in rows {
            sum.add(row);
        }
        sum
    }

    #[test]
    fn sums_depend_on_every_value_and_on_no_order() {
        let one: &[Value<'static>] = &[Value::Integer(1), Value::Text("ab".into())];
        let other: &[Value<'static>] = &[Value::Integer(2), Value::Null];
        assert_eq!(sum(&[one, other]), sum(&[other, one]));
        for changed in [
            &[Value::Integer(1), Value::Text("ac".into())][..],
            &[Value::Integer(1), Value::Blob(b"ab".to_vec().into())],
            &[Value::Text("1".into()), Value::Text("ab".into())],
            &[Value::Integer(1)],
        ] {
            assert_ne!(sum(&[one, other]), sum(&[changed, other]));
        }
        assert_eq!(sum(&[&[Value::Flag(true)]]), sum(&[&[Value::Integer(1)]]));
    }
}
