//! Conversion of rows to domain types.

use rusqlite::Row;

use crate::domain::{BirthDate, Profile, Timestamp, User};

/// The columns that [`user`] reads, in order, of a table or alias `users`.
pub(super) const USER_COLUMNS: &str = "users.id, users.email, users.new_email, users.first_name, users.last_name, \
     users.phone, users.address, users.gender, users.country, users.birthday, users.photo, users.is_active, \
     users.is_staff, users.verified_at, users.last_login_at, users.created_at, users.updated_at, users.external_id";

/// Reads the columns of [`USER_COLUMNS`].
pub(super) fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: row.get(0)?,
        email: row.get(1)?,
        new_email: row.get(2)?,
        profile: Profile {
            first_name: row.get(3)?,
            last_name: row.get(4)?,
            phone: row.get(5)?,
            address: row.get(6)?,
            gender: row.get(7)?,
            country: row.get(8)?,
            birthday: birthday(row, 9)?,
        },
        photo: row.get(10)?,
        is_active: row.get(11)?,
        is_staff: row.get(12)?,
        verified_at: optional_timestamp(row, 13)?,
        last_login_at: optional_timestamp(row, 14)?,
        created_at: timestamp(row, 15)?,
        updated_at: timestamp(row, 16)?,
        external_id: row.get(17)?,
    })
}

/// A column of Unix milliseconds.
pub(super) fn timestamp(row: &Row<'_>, index: usize) -> rusqlite::Result<Timestamp> {
    row.get(index).map(Timestamp::from_unix_millis)
}

/// A column of Unix milliseconds that may be NULL.
pub(super) fn optional_timestamp(
    row: &Row<'_>,
    index: usize,
) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row
        .get::<_, Option<i64>>(index)?
        .map(Timestamp::from_unix_millis))
}

fn birthday(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<BirthDate>> {
    let Some(text) = row.get_ref(index)?.as_str_or_null()? else {
        return Ok(None);
    };
    BirthDate::parse(text).map(Some).map_err(|_| {
        rusqlite::Error::FromSqlConversionFailure(
            index,
            rusqlite::types::Type::Text,
            format!("{text:?} is not a date").into(),
        )
    })
}
