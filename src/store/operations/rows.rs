//! Conversion of rows to domain types.

use super::connection::{Param, Row, params};
use crate::domain::{Authentication, BirthDate, Profile, Timestamp, User};
use crate::store::{StoreError, StoreResult};

/// The columns that [`user`] reads, in order, of a table or alias `users`.
pub(in crate::store) const USER_COLUMNS: &str = "users.id, users.email, users.new_email, \
                                                 users.first_name, users.last_name, users.phone, \
                                                 users.address, users.gender, users.country, \
                                                 users.birthday, users.photo, users.is_active, \
                                                 users.is_staff, users.verified_at, \
                                                 users.last_login_at, users.created_at, \
                                                 users.updated_at, users.external_id, EXISTS \
                                                 (SELECT 1 FROM totp_devices WHERE \
                                                 totp_devices.user_id = users.id) OR EXISTS \
                                                 (SELECT 1 FROM passkeys WHERE passkeys.user_id = \
                                                 users.id)";

/// How many columns [`USER_COLUMNS`] has.
pub(in crate::store) const USER_COLUMN_COUNT: usize = 19;

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

/// The parameters of a profile and those that a statement has beside them.
pub(super) fn profile_params<'a>(profile: &'a Profile, others: &[Param<'a>]) -> Vec<Param<'a>> {
    let profile: &[Param<'a>] = params! {
        ":first_name": profile.first_name,
        ":last_name": profile.last_name,
        ":phone": profile.phone,
        ":address": profile.address,
        ":gender": profile.gender,
        ":country": profile.country,
        ":birthday": profile.birthday,
    };
    [profile, others].concat()
}

/// Reads the columns of [`USER_COLUMNS`].
pub(in crate::store) fn user(row: &Row<'_>) -> StoreResult<User> {
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
pub(super) fn timestamp(row: &Row<'_>, index: usize) -> StoreResult<Timestamp> {
    row.get(index).map(Timestamp::from_unix_millis)
}

/// A column of Unix milliseconds that may be NULL.
pub(super) fn optional_timestamp(row: &Row<'_>, index: usize) -> StoreResult<Option<Timestamp>> {
    let millis = row.get::<Option<i64>>(index)?;
    Ok(millis.map(Timestamp::from_unix_millis))
}

/// Reads `authenticated_at` and `amr` of a session, which follows it.
pub(super) fn authentication(row: &Row<'_>, index: usize) -> StoreResult<Authentication> {
    let amr = row.text(index + 1)?;
    Ok(Authentication::parse(timestamp(row, index)?, amr))
}

fn birthday(row: &Row<'_>, index: usize) -> StoreResult<Option<BirthDate>> {
    let Some(text) = row.optional_text(index)? else {
        return Ok(None);
    };
    BirthDate::parse(text)
        .map(Some)
        .map_err(|_| StoreError::failed(format!("{text:?} is not a date")))
}
