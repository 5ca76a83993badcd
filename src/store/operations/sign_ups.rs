//! Sign-ups.

use super::connection::{Connection, params};

use super::email_change::drop_unconfirmed_claims;
use super::events::{Actor, insert_event};
use super::otps::{find_pause, insert_otp};
use super::rows::{profile_columns, profile_params, profile_replaced, profile_values};
use super::transaction::Transaction;
use super::users::is_taken;
use crate::domain::{EventKind, OtpPurpose, UserId};
use crate::store::{NewSignUp, SignUpOutcome, StoreResult};

/// Maximum number of pending sign-ups of one address.
const MOST_PENDING: i64 = 100;

/// Finds the account with the address, and its sign-up from the same network.
fn find_own_sign_up(
    connection: &dyn Connection,
    new: &NewSignUp,
) -> StoreResult<(Option<UserId>, Option<i64>)> {
    connection
        .query_optional(
            "SELECT users.id, (SELECT max(sign_ups.id) FROM sign_ups WHERE sign_ups.user_id = \
             users.id AND sign_ups.network = :network) FROM users WHERE email_key = :email_key",
            params! { ":email_key": new.email.key(), ":network": new.network },
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .map(Option::unwrap_or_default)
}

/// Stores a sign-up next to those already pending for its address.
pub(super) fn create_sign_up(
    connection: &Transaction<'_>,
    new: &NewSignUp,
) -> StoreResult<SignUpOutcome> {
    let email_key = new.email.key();
    let now = new.now.unix_millis();
    if is_taken(connection, email_key, None, new.now)? {
        return Ok(SignUpOutcome::EmailTaken);
    }
    if let Some(until) = find_pause(
        connection,
        &new.otp,
        OtpPurpose::SignUp,
        find_own_sign_up(connection, new)?,
        new.now,
        new.limits,
    )? {
        return Ok(SignUpOutcome::Throttled { until });
    }
    drop_unconfirmed_claims(connection, email_key, new.now)?;
    let is_contested = is_contested(connection, new)?;
    let user_id: UserId = connection.query_row(
        concat!(
            "INSERT INTO users (email, email_key, password_hash, ",
            profile_columns!(),
            ", language, is_contested, created_at, updated_at) VALUES (:email, :email_key, \
             :password_hash, ",
            profile_values!(),
            ", :language, :is_contested, :now, :now) ON CONFLICT (email_key) DO UPDATE SET email = \
             excluded.email, password_hash = excluded.password_hash, ",
            profile_replaced!(),
            ", language = excluded.language, is_contested = users.is_contested OR \
             excluded.is_contested, created_at = excluded.created_at, updated_at = \
             excluded.updated_at RETURNING id"
        ),
        &profile_params(
            &new.profile,
            params! {
                ":email": new.email.as_str(),
                ":email_key": email_key,
                ":password_hash": new.password_hash,
                ":language": new.language,
                ":is_contested": is_contested,
                ":now": now,
            },
        ),
        |row| row.get(0),
    )?;
    delete_surplus(connection, user_id)?;
    let sign_up_id = insert_sign_up(connection, user_id)?;
    connection.run(
        "UPDATE sign_ups SET expires_at = :expires_at, network = :network, ip = :ip WHERE id = :id",
        params! {
            ":id": sign_up_id,
            ":expires_at": new.expires_at.unix_millis(),
            ":network": new.network,
            ":ip": new.context.ip,
        },
    )?;
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
        if is_contested { "contested" } else { "" },
        new.now,
    )?;
    Ok(SignUpOutcome::Created(user_id))
}

/// Whether a sign-up with another password is pending for the address. Expired ones are removed.
///
/// Two sign-ups for one address with one password have the same hash, because the caller derives
/// the salt from the address.
fn is_contested(connection: &dyn Connection, new: &NewSignUp) -> StoreResult<bool> {
    connection.run(
        "DELETE FROM sign_ups WHERE expires_at <= :now AND user_id = (SELECT id FROM users WHERE \
         email_key = :email_key)",
        params! {
            ":email_key": new.email.key(), ":now": new.now.unix_millis(),
        },
    )?;
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sign_ups JOIN users ON users.id = sign_ups.user_id WHERE \
         users.email_key = :email_key AND users.verified_at IS NULL AND sign_ups.password_hash <> \
         :password_hash)",
        params! {
            ":email_key": new.email.key(), ":password_hash": new.password_hash,
        },
        |row| row.get(0),
    )
}

/// Removes the oldest pending sign-ups beyond [`MOST_PENDING`].
fn delete_surplus(connection: &dyn Connection, user_id: UserId) -> StoreResult<()> {
    connection.run(
        "DELETE FROM sign_ups WHERE id IN (SELECT id FROM sign_ups WHERE user_id = :user_id ORDER \
         BY id DESC LIMIT 1000000 OFFSET :most)",
        params! { ":user_id": user_id, ":most": MOST_PENDING - 1 },
    )
}

/// Creates a pending sign-up from the row of a never-verified account.
pub(super) fn insert_sign_up(connection: &dyn Connection, user_id: UserId) -> StoreResult<i64> {
    connection.query_row(
        "INSERT INTO sign_ups (user_id, email, password_hash, first_name, last_name, phone, \
         address, gender, country, birthday, created_at, language) SELECT id, email, \
         password_hash, first_name, last_name, phone, address, gender, country, birthday, \
         created_at, language FROM users WHERE id = :user_id RETURNING id",
        params! { ":user_id": user_id },
        |row| row.get(0),
    )
}

/// Deletes all pending sign-ups of an account with their codes.
pub(super) fn delete_sign_ups(connection: &dyn Connection, user_id: UserId) -> StoreResult<()> {
    connection.run(
        "DELETE FROM sign_ups WHERE user_id = :user_id",
        params! { ":user_id": user_id },
    )
}
