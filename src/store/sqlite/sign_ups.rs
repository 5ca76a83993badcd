//! Sign-ups in SQLite.

use rusqlite::{Connection, named_params};

use super::email_change::drop_unconfirmed_claims;
use super::events::{Actor, insert_event};
use super::otps::{find_pause, insert_otp};
use super::users::is_taken;
use crate::domain::{EventKind, OtpPurpose, UserId};
use crate::store::{NewSignUp, SignUpOutcome};

/// Stores a sign-up beside those already pending for its address.
pub(super) fn create_sign_up(
    connection: &Connection,
    new: &NewSignUp,
) -> rusqlite::Result<SignUpOutcome> {
    let email_key = new.email.key();
    let now = new.now.unix_millis();
    if is_taken(connection, email_key, None)? {
        return Ok(SignUpOutcome::EmailTaken);
    }
    if let Some(until) = find_pause(
        connection,
        &new.otp.address_hash,
        OtpPurpose::SignUp,
        new.now,
        new.limits,
    )? {
        return Ok(SignUpOutcome::Throttled { until });
    }
    drop_unconfirmed_claims(connection, email_key, new.now)?;
    let profile = &new.profile;
    let birthday = profile.birthday.map(|date| date.to_string());
    let user_id: UserId = connection
        .prepare_cached(
            "INSERT INTO users (email, email_key, password_hash, first_name, last_name, phone, address, gender, \
             country, birthday, language, created_at, updated_at) \
             VALUES (:email, :email_key, :password_hash, :first_name, :last_name, :phone, :address, :gender, \
             :country, :birthday, :language, :now, :now) \
             ON CONFLICT (email_key) DO UPDATE SET email = excluded.email, password_hash = excluded.password_hash, \
             first_name = excluded.first_name, last_name = excluded.last_name, phone = excluded.phone, \
             address = excluded.address, gender = excluded.gender, country = excluded.country, \
             birthday = excluded.birthday, language = excluded.language, created_at = excluded.created_at, updated_at = excluded.updated_at \
             RETURNING id",
        )?
        .query_row(
            named_params! {
                ":email": new.email.as_str(),
                ":email_key": email_key,
                ":password_hash": new.password_hash,
                ":first_name": profile.first_name,
                ":last_name": profile.last_name,
                ":phone": profile.phone,
                ":address": profile.address,
                ":gender": profile.gender,
                ":country": profile.country,
                ":birthday": birthday,
                ":language": new.language,
                ":now": now,
            },
            |row| row.get(0),
        )?;
    // Only the newest sign-up can get its code again, so an older one whose code has expired can never be confirmed.
    connection
        .prepare_cached(
            "DELETE FROM sign_ups WHERE user_id = :user_id AND NOT EXISTS \
             (SELECT 1 FROM otps WHERE otps.sign_up_id = sign_ups.id AND otps.expires_at > :now)",
        )?
        .execute(named_params! { ":user_id": user_id, ":now": now })?;
    let sign_up_id = insert_sign_up(connection, user_id)?;
    insert_otp(
        connection,
        OtpPurpose::SignUp,
        user_id,
        Some(sign_up_id),
        (email_key, new.email.as_str()),
        &new.otp,
        new.now,
    )?;
    insert_event(
        connection,
        EventKind::SignUp,
        Some(user_id),
        Actor::FromContext,
        &new.context,
        "",
        new.now,
    )?;
    Ok(SignUpOutcome::Created(user_id))
}

/// Makes a pending sign-up of what the row of a never-verified account shows.
pub(super) fn insert_sign_up(connection: &Connection, user_id: UserId) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(
            "INSERT INTO sign_ups (user_id, email, password_hash, first_name, last_name, phone, address, gender, \
             country, birthday, created_at, language) \
             SELECT id, email, password_hash, first_name, last_name, phone, address, gender, country, birthday, \
             created_at, language FROM users WHERE id = :user_id RETURNING id",
        )?
        .query_row(named_params! { ":user_id": user_id }, |row| row.get(0))
}

/// Removes all pending sign-ups of an account, and with them their codes.
pub(super) fn delete_sign_ups(connection: &Connection, user_id: UserId) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM sign_ups WHERE user_id = :user_id")?
        .execute(named_params! { ":user_id": user_id })
        .map(drop)
}
