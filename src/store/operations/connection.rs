//! What operations see of a database: statements with named parameters, and the rows they return.
//!
//! An engine implements [`Connection`] for the connection of its driver. Statements are written in
//! the SQL that all engines read the same: parameters are `:name`, times and ids are integers, flags
//! are compared with TRUE and FALSE, and NULL is compared with `IS NOT DISTINCT FROM`.

use std::borrow::Cow;

use crate::domain::{BirthDate, UserId};
use crate::store::{StoreError, StoreResult};

/// A value that a statement is given.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::store) enum Value<'a> {
    Null,
    Flag(bool),
    Integer(i64),
    Text(Cow<'a, str>),
    Blob(Cow<'a, [u8]>),
}

/// A named parameter, with its colon.
pub(in crate::store) type Param<'a> = (&'a str, Value<'a>);

/// The named parameters of a statement: `params! { ":id": id }`.
macro_rules! params {
    () => {
        &[]
    };
    ($($name:literal: $value:expr),+ $(,)?) => {
        &[$(($name, $crate::store::operations::connection::ToValue::to_value(&$value))),+]
    };
}

pub(in crate::store) use params;

/// What can be given to a statement.
pub(in crate::store) trait ToValue {
    fn to_value(&self) -> Value<'_>;
}

impl ToValue for bool {
    fn to_value(&self) -> Value<'_> {
        Value::Flag(*self)
    }
}

impl ToValue for i64 {
    fn to_value(&self) -> Value<'_> {
        Value::Integer(*self)
    }
}

impl ToValue for u32 {
    fn to_value(&self) -> Value<'_> {
        Value::Integer(i64::from(*self))
    }
}

impl ToValue for u16 {
    fn to_value(&self) -> Value<'_> {
        Value::Integer(i64::from(*self))
    }
}

impl ToValue for str {
    fn to_value(&self) -> Value<'_> {
        Value::Text(Cow::Borrowed(self))
    }
}

impl ToValue for String {
    fn to_value(&self) -> Value<'_> {
        Value::Text(Cow::Borrowed(self))
    }
}

impl ToValue for [u8] {
    fn to_value(&self) -> Value<'_> {
        Value::Blob(Cow::Borrowed(self))
    }
}

impl ToValue for Vec<u8> {
    fn to_value(&self) -> Value<'_> {
        Value::Blob(Cow::Borrowed(self))
    }
}

impl<const N: usize> ToValue for [u8; N] {
    fn to_value(&self) -> Value<'_> {
        Value::Blob(Cow::Borrowed(self))
    }
}

impl ToValue for BirthDate {
    fn to_value(&self) -> Value<'_> {
        Value::Text(Cow::Owned(self.to_string()))
    }
}

impl<T: ToValue + ?Sized> ToValue for &T {
    fn to_value(&self) -> Value<'_> {
        (**self).to_value()
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, ToValue::to_value)
    }
}

/// A value that a column of a row has.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum ColumnValue<'a> {
    Null,
    /// A number, a time or a flag.
    Integer(i64),
    Text(&'a str),
    Blob(&'a [u8]),
}

impl ColumnValue<'_> {
    const fn kind(self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Integer(_) => "a number",
            Self::Text(_) => "a text",
            Self::Blob(_) => "bytes",
        }
    }
}

/// The columns of a row, which an engine gives.
pub(in crate::store) trait Columns {
    /// The value of a column, counted from zero.
    fn value(&self, index: usize) -> StoreResult<ColumnValue<'_>>;
}

/// A row of a result.
#[derive(Clone, Copy)]
pub(in crate::store) struct Row<'a>(&'a dyn Columns);

impl<'a> Row<'a> {
    /// The row with these columns.
    pub(in crate::store) fn new(columns: &'a dyn Columns) -> Self {
        Self(columns)
    }

    /// The value of a column, counted from zero.
    ///
    /// # Errors
    /// When the column does not exist or has a value of another type.
    pub(in crate::store) fn get<T: FromColumn>(&self, index: usize) -> StoreResult<T> {
        let value = self.0.value(index)?;
        T::from_column(value).ok_or_else(|| unexpected(index, value.kind()))
    }

    /// The text of a column, without a copy of it.
    ///
    /// # Errors
    /// When it is not a text.
    pub(in crate::store) fn text(&self, index: usize) -> StoreResult<&'a str> {
        self.optional_text(index)?
            .ok_or_else(|| unexpected(index, "NULL"))
    }

    /// The text of a column that may be NULL, without a copy of it.
    ///
    /// # Errors
    /// When it is not a text.
    pub(in crate::store) fn optional_text(&self, index: usize) -> StoreResult<Option<&'a str>> {
        match self.0.value(index)? {
            ColumnValue::Null => Ok(None),
            ColumnValue::Text(text) => Ok(Some(text)),
            other => Err(unexpected(index, other.kind())),
        }
    }
}

impl Row<'_> {
    /// The values of the first columns.
    ///
    /// # Errors
    /// When there are fewer.
    pub(in crate::store) fn values(&self, count: usize) -> StoreResult<Vec<Value<'static>>> {
        let value = |index| self.0.value(index).map(Value::from);
        (0..count).map(value).collect()
    }
}

impl Value<'_> {
    /// The value without what it borrows.
    pub(in crate::store) fn into_owned(self) -> Value<'static> {
        match self {
            Value::Null => Value::Null,
            Value::Flag(flag) => Value::Flag(flag),
            Value::Integer(number) => Value::Integer(number),
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::Blob(bytes) => Value::Blob(Cow::Owned(bytes.into_owned())),
        }
    }
}

impl From<ColumnValue<'_>> for Value<'static> {
    fn from(value: ColumnValue<'_>) -> Self {
        match value {
            ColumnValue::Null => Self::Null,
            ColumnValue::Integer(number) => Self::Integer(number),
            ColumnValue::Text(text) => Self::Text(Cow::Owned(text.to_owned())),
            ColumnValue::Blob(bytes) => Self::Blob(Cow::Owned(bytes.to_vec())),
        }
    }
}

fn unexpected(index: usize, kind: &str) -> StoreError {
    StoreError::failed(format!("column {index} of a row has {kind}"))
}

/// What a column can be read as.
pub(in crate::store) trait FromColumn: Sized {
    /// `None` for a value of another type.
    fn from_column(value: ColumnValue<'_>) -> Option<Self>;
}

impl FromColumn for i64 {
    fn from_column(value: ColumnValue<'_>) -> Option<Self> {
        match value {
            ColumnValue::Integer(number) => Some(number),
            _ => None,
        }
    }
}

impl FromColumn for u32 {
    fn from_column(value: ColumnValue<'_>) -> Option<Self> {
        i64::from_column(value)?.try_into().ok()
    }
}

impl FromColumn for u16 {
    fn from_column(value: ColumnValue<'_>) -> Option<Self> {
        i64::from_column(value)?.try_into().ok()
    }
}

impl FromColumn for bool {
    fn from_column(value: ColumnValue<'_>) -> Option<Self> {
        Some(i64::from_column(value)? != 0)
    }
}

impl FromColumn for String {
    fn from_column(value: ColumnValue<'_>) -> Option<Self> {
        match value {
            ColumnValue::Text(text) => Some(text.to_owned()),
            _ => None,
        }
    }
}

impl FromColumn for Vec<u8> {
    fn from_column(value: ColumnValue<'_>) -> Option<Self> {
        match value {
            ColumnValue::Blob(bytes) => Some(bytes.to_vec()),
            _ => None,
        }
    }
}

impl<const N: usize> FromColumn for [u8; N] {
    fn from_column(value: ColumnValue<'_>) -> Option<Self> {
        match value {
            ColumnValue::Blob(bytes) => bytes.try_into().ok(),
            _ => None,
        }
    }
}

impl<T: FromColumn> FromColumn for Option<T> {
    fn from_column(value: ColumnValue<'_>) -> Option<Self> {
        match value {
            ColumnValue::Null => Some(None),
            value => T::from_column(value).map(Some),
        }
    }
}

/// Reads a row of a result; false when no more rows are wanted.
pub(in crate::store) type EachRow<'a> = &'a mut dyn FnMut(&Row<'_>) -> StoreResult<bool>;

/// An open connection, as operations see it.
pub(in crate::store) trait Connection {
    /// Runs a statement and hands each row of its result to `each`.
    ///
    /// # Errors
    /// When the statement fails or `each` does.
    fn query(&self, sql: &str, params: &[Param<'_>], each: EachRow<'_>) -> StoreResult<()>;

    /// Runs a statement. Returns how many rows it changed.
    ///
    /// # Errors
    /// When the statement fails.
    fn execute(&self, sql: &str, params: &[Param<'_>]) -> StoreResult<usize>;

    /// Runs a statement whose result does not matter. An engine may send it together with later ones,
    /// so its error may come from one of them, or from the commit.
    ///
    /// # Errors
    /// When the statement, or one before it, fails.
    fn run(&self, sql: &str, params: &[Param<'_>]) -> StoreResult<()> {
        self.execute(sql, params).map(drop)
    }

    /// The lowest id above all that were ever assigned to an account.
    ///
    /// # Errors
    /// When the database fails.
    fn next_user_id(&self) -> StoreResult<UserId>;

    /// An id for a new account; `None` where the insertion assigns it.
    ///
    /// # Errors
    /// When the database fails.
    fn new_user_id(&self) -> StoreResult<Option<UserId>> {
        Ok(None)
    }

    /// Has the statements of the transaction look rows up by indexes. An engine that plans by the present
    /// size of its tables would read small ones from end to end, and go on doing so while an import
    /// fills them.
    ///
    /// # Errors
    /// When the database fails.
    fn prefer_indexes(&self) -> StoreResult<()> {
        Ok(())
    }

    /// Makes sure that no id is assigned that an account was inserted with.
    ///
    /// # Errors
    /// When the database fails.
    fn raise_user_ids(&self) -> StoreResult<()> {
        Ok(())
    }

    /// A number above that of every event of webhooks before.
    ///
    /// # Errors
    /// When the database fails.
    fn next_event_number(&self) -> StoreResult<i64>;
}

impl dyn Connection + '_ {
    /// Reads the first row of a result.
    ///
    /// # Errors
    /// When there is none, and as [`Connection::query`].
    pub(in crate::store) fn query_row<T>(
        &self,
        sql: &str,
        params: &[Param<'_>],
        read: impl FnOnce(&Row<'_>) -> StoreResult<T>,
    ) -> StoreResult<T> {
        self.query_optional(sql, params, read)?
            .ok_or_else(|| StoreError::failed("a row is missing"))
    }

    /// Reads the first row of a result, if it has any.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub(in crate::store) fn query_optional<T>(
        &self,
        sql: &str,
        params: &[Param<'_>],
        read: impl FnOnce(&Row<'_>) -> StoreResult<T>,
    ) -> StoreResult<Option<T>> {
        let mut read = Some(read);
        let mut first = None;
        self.query(sql, params, &mut |row| {
            if let Some(read) = read.take() {
                first = Some(read(row)?);
            }
            Ok(false)
        })?;
        Ok(first)
    }

    /// Reads all rows of a result.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub(in crate::store) fn query_all<T>(
        &self,
        sql: &str,
        params: &[Param<'_>],
        mut read: impl FnMut(&Row<'_>) -> StoreResult<T>,
    ) -> StoreResult<Vec<T>> {
        let mut rows = Vec::new();
        self.query(sql, params, &mut |row| {
            rows.push(read(row)?);
            Ok(true)
        })?;
        Ok(rows)
    }

    /// Reads those rows of a result for which `read` returns something.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub(in crate::store) fn query_some<T>(
        &self,
        sql: &str,
        params: &[Param<'_>],
        mut read: impl FnMut(&Row<'_>) -> StoreResult<Option<T>>,
    ) -> StoreResult<Vec<T>> {
        let mut rows = Vec::new();
        self.query(sql, params, &mut |row| {
            rows.extend(read(row)?);
            Ok(true)
        })?;
        Ok(rows)
    }

    /// Whether a result has a row.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub(in crate::store) fn exists(&self, sql: &str, params: &[Param<'_>]) -> StoreResult<bool> {
        Ok(self.query_optional(sql, params, |_| Ok(()))?.is_some())
    }
}
