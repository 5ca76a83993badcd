//! Conversion of rows to domain types.

use rusqlite::Row;
use rusqlite::types::{ToSql, ToSqlOutput};

use crate::domain::{Authentication, BirthDate, Profile, Timestamp, User};

/// The columns that [`user`] reads, in order, of a table or alias `users`.
pub(super) const USER_COLUMNS: &str = "users.id, users.email, users.new_email, users.first_name, users.last_name, \
     users.phone, users.address, users.gender, users.country, users.birthday, users.photo, users.is_active, \
     users.is_staff, users.verified_at, users.last_login_at, users.created_at, users.updated_at, users.external_id, \
     EXISTS (SELECT 1 FROM totp_devices WHERE totp_devices.user_id = users.id) \
     OR EXISTS (SELECT 1 FROM passkeys WHERE passkeys.user_id = users.id)";

/// The columns of a profile, for the statements that insert one.
macro_rules! profile_columns {
    () => {
        "first_name, last_name, phone, address, gender, country, birthday"
    };
}

/// The parameters of [`profile_columns`], which [`profile_params`] binds.
macro_rules! profile_values {
    () => {
        ":first_name, :last_name, :phone, :address, :gender, :country, :birthday"
    };
}

/// Replaces a profile by the one that an `INSERT` could not add, in `ON CONFLICT … DO UPDATE`.
macro_rules! profile_replaced {
    () => {
        "first_name = excluded.first_name, last_name = excluded.last_name, \
         phone = excluded.phone, address = excluded.address, gender = excluded.gender, \
         country = excluded.country, birthday = excluded.birthday"
    };
}

pub(super) use {profile_columns, profile_replaced, profile_values};

/// The named parameters of a statement.
pub(super) type Params<'a> = Vec<(&'static str, &'a dyn ToSql)>;

/// The parameters of a profile and those that a statement has beside them.
pub(super) fn profile_params<'a>(
    profile: &'a Profile,
    others: &[(&'static str, &'a dyn ToSql)],
) -> Params<'a> {
    let mut params: Params<'a> = vec![
        (":first_name", &profile.first_name),
        (":last_name", &profile.last_name),
        (":phone", &profile.phone),
        (":address", &profile.address),
        (":gender", &profile.gender),
        (":country", &profile.country),
        (":birthday", &profile.birthday),
    ];
    params.extend_from_slice(others);
    params
}

impl ToSql for BirthDate {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.to_string().into())
    }
}

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
        has_factor: row.get(18)?,
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

/// Reads `authenticated_at` and `amr` of a session, which follows it.
pub(super) fn authentication(row: &Row<'_>, index: usize) -> rusqlite::Result<Authentication> {
    let amr = row.get_ref(index + 1)?.as_str()?;
    Ok(Authentication::parse(timestamp(row, index)?, amr))
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
