//! SQLite's connection as operations see it.

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection as SqliteConnection, Error, Row as SqliteRow, Statement};

use super::driver_error;
use crate::domain::UserId;
use crate::store::operations::connection::{
    ColumnValue, Columns, Connection, EachRow, Param, Row, Value,
};
use crate::store::{StoreError, StoreResult};

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Flag(flag) => ValueRef::Integer(i64::from(*flag)),
            Value::Integer(number) => ValueRef::Integer(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl Columns for SqliteRow<'_> {
    fn value(&self, index: usize) -> StoreResult<ColumnValue<'_>> {
        Ok(match self.get_ref(index)? {
            ValueRef::Null => ColumnValue::Null,
            ValueRef::Integer(number) => ColumnValue::Integer(number),
            ValueRef::Real(_) => return Err(StoreError::failed("a row has a fraction")),
            ValueRef::Text(text) => {
                ColumnValue::Text(std::str::from_utf8(text).map_err(StoreError::failed)?)
            }
            ValueRef::Blob(bytes) => ColumnValue::Blob(bytes),
        })
    }
}

fn bind(statement: &mut Statement<'_>, params: &[Param<'_>]) -> StoreResult<()> {
    for (name, value) in params {
        let index = statement
            .parameter_index(name)?
            .ok_or_else(|| Error::InvalidParameterName((*name).to_owned()))?;
        statement.raw_bind_parameter(index, value)?;
    }
    Ok(())
}

impl Connection for SqliteConnection {
    fn query(&self, sql: &str, params: &[Param<'_>], each: EachRow<'_>) -> StoreResult<()> {
        let mut statement = self.prepare_cached(sql)?;
        bind(&mut statement, params)?;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(driver_error)? {
            if !each(&Row::new(row))? {
                break;
            }
        }
        Ok(())
    }

    fn execute(&self, sql: &str, params: &[Param<'_>]) -> StoreResult<usize> {
        let mut statement = self.prepare_cached(sql)?;
        bind(&mut statement, params)?;
        Ok(statement.raw_execute()?)
    }

    fn next_user_id(&self) -> StoreResult<UserId> {
        next_number(self, "users")
    }

    fn next_event_number(&self) -> StoreResult<i64> {
        next_number(self, "deliveries")
    }
}

/// The number after the last one of a table with AUTOINCREMENT.
fn next_number(connection: &SqliteConnection, table: &str) -> StoreResult<i64> {
    Ok(connection
        .prepare_cached("SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = ?")?
        .query_row([table], |row| row.get(0))?)
}
