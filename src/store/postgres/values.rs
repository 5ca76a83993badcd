//! Values of statements and rows in PostgreSQL's types.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use tokio_postgres::Row as PostgresRow;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::driver_error;
use crate::store::StoreResult;
use crate::store::operations::connection::{ColumnValue, Columns, Value};

type BoxedError = Box<dyn Error + Sync + Send>;

/// Why a value cannot be given for a parameter of this type, if it cannot.
///
/// It is asked before a statement is sent or queued: one that fails on this side would be missing in a
/// transaction whose other statements, and the commit, are on their way.
pub(super) fn refusal(value: &Value<'_>, ty: &Type) -> Option<String> {
    let fits = match value {
        Value::Null => true,
        Value::Flag(_) => matches!(*ty, Type::INT8 | Type::INT4 | Type::BOOL),
        Value::Integer(number) => match *ty {
            Type::INT8 | Type::BOOL => true,
            Type::INT4 => i32::try_from(*number).is_ok(),
            _ => false,
        },
        Value::Text(_) => matches!(*ty, Type::TEXT | Type::VARCHAR | Type::NAME | Type::UNKNOWN),
        Value::Blob(_) => *ty == Type::BYTEA,
    };
    (!fits).then(|| format!("{} is given for a parameter of type {ty}", kind(value)))
}

/// What a value is, for messages, which must not show it.
const fn kind(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "NULL",
        Value::Flag(_) => "a flag",
        Value::Integer(_) => "a number",
        Value::Text(_) => "a text",
        Value::Blob(_) => "a binary value",
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, BoxedError> {
        if let Some(refusal) = refusal(self, ty) {
            return Err(refusal.into());
        }
        match self {
            Value::Null => return Ok(IsNull::Yes),
            Value::Flag(flag) => write_integer(i64::from(*flag), ty, out)?,
            Value::Integer(number) => write_integer(*number, ty, out)?,
            Value::Text(text) => write_text(text, out),
            Value::Blob(bytes) => out.put_slice(bytes),
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
        Type::INT4 => out.put_i32(number.try_into()?),
        Type::BOOL => out.put_u8(u8::from(number != 0)),
        _ => out.put_i64(number),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fit_their_types_alone() {
        let text = || Value::Text("a".into());
        let bytes = || Value::Blob(b"a".as_slice().into());
        for (value, ty) in [
            (Value::Null, Type::BYTEA),
            (Value::Flag(true), Type::BOOL),
            (Value::Flag(true), Type::INT8),
            (Value::Integer(i64::MAX), Type::INT8),
            (Value::Integer(7), Type::INT4),
            (text(), Type::TEXT),
            (bytes(), Type::BYTEA),
        ] {
            assert_eq!(refusal(&value, &ty), None, "{value:?} {ty}");
            assert!(value.to_sql(&ty, &mut BytesMut::new()).is_ok());
        }
        for (value, ty) in [
            (Value::Integer(1), Type::TEXT),
            (Value::Integer(i64::MAX), Type::INT4),
            (Value::Flag(true), Type::NUMERIC),
            (text(), Type::BYTEA),
            (bytes(), Type::TEXT),
        ] {
            assert!(refusal(&value, &ty).is_some(), "{value:?} {ty}");
            assert!(value.to_sql(&ty, &mut BytesMut::new()).is_err());
        }
    }
}
