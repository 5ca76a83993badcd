//! Values of statements and rows in PostgreSQL's types.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use tokio_postgres::Row as PostgresRow;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::driver_error;
use crate::store::StoreResult;
use crate::store::operations::connection::{ColumnValue, Columns, Value};

type BoxedError = Box<dyn Error + Sync + Send>;

fn refused(value: &str, ty: &Type) -> BoxedError {
    format!("{value} is given for a parameter of type {ty}").into()
}

impl ToSql for Value<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, BoxedError> {
        match self {
            Value::Null => return Ok(IsNull::Yes),
            Value::Flag(flag) => write_integer(i64::from(*flag), ty, out)?,
            Value::Integer(number) => write_integer(*number, ty, out)?,
            Value::Text(text) => match *ty {
                Type::TEXT | Type::VARCHAR | Type::NAME | Type::UNKNOWN => write_text(text, out),
                _ => return Err(refused("a text", ty)),
            },
            Value::Blob(bytes) => match *ty {
                Type::BYTEA => out.put_slice(bytes),
                _ => return Err(refused("a binary value", ty)),
            },
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        // Which value fits is known when there is one.
        true
    }

    to_sql_checked!();
}

fn write_integer(number: i64, ty: &Type, out: &mut BytesMut) -> Result<(), BoxedError> {
    match *ty {
        Type::INT8 => out.put_i64(number),
        Type::INT4 => out.put_i32(number.try_into()?),
        Type::BOOL => out.put_u8(u8::from(number != 0)),
        _ => return Err(refused("a number", ty)),
    }
    Ok(())
}

/// PostgreSQL's texts cannot contain U+0000, so it becomes the replacement character.
fn write_text(text: &str, out: &mut BytesMut) {
    let mut parts = text.split('\0');
    out.put_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        out.put_slice("\u{fffd}".as_bytes());
        out.put_slice(part.as_bytes());
    }
}

/// A column of any of the types that the schema has.
struct Column<'a>(ColumnValue<'a>);

impl<'a> FromSql<'a> for Column<'a> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, BoxedError> {
        Ok(Self(match *ty {
            Type::INT8 => ColumnValue::Integer(i64::from_sql(ty, raw)?),
            Type::INT4 => ColumnValue::Integer(i32::from_sql(ty, raw)?.into()),
            Type::BOOL => ColumnValue::Integer(bool::from_sql(ty, raw)?.into()),
            Type::BYTEA => ColumnValue::Blob(raw),
            _ => ColumnValue::Text(<&str>::from_sql(ty, raw)?),
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Self, BoxedError> {
        Ok(Self(ColumnValue::Null))
    }

    fn accepts(ty: &Type) -> bool {
        matches!(
            *ty,
            Type::INT8
                | Type::INT4
                | Type::BOOL
                | Type::BYTEA
                | Type::TEXT
                | Type::VARCHAR
                | Type::NAME
        )
    }
}

impl Columns for PostgresRow {
    fn value(&self, index: usize) -> StoreResult<ColumnValue<'_>> {
        match self.try_get::<_, Column<'_>>(index) {
            Ok(Column(value)) => Ok(value),
            Err(e) => Err(driver_error(e)),
        }
    }
}
