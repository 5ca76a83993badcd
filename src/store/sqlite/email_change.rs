//! Changing the address of an account in SQLite, and undoing it.

use rusqlite::{Connection, OptionalExtension, named_params};

use super::events::{Actor, insert_event};
use super::mails::insert_mail;
use super::otps::{find_pause, insert_otp, parse_email};
use super::rows::{USER_COLUMNS, user};
use super::sessions::delete_sessions;
use super::users::is_taken;
use crate::domain::{EmailAddress, EventKind, OtpPurpose, Timestamp, User, UserId};
use crate::store::{EmailChange, NewOtp, UndoEmailChange, UndoOutcome, UpdateOutcome};

/// What a change of the address comes to.
pub(super) enum EmailStep {
    /// It was made; what the code that goes out is for, if one does.
    Done(Option<OtpPurpose>),
    Stop(UpdateOutcome),
}

impl EmailStep {
    const NOTHING_DUE: Self = Self::Done(None);
}

/// Makes `email` the address of an account: at once where it is the same mailbox, and waiting for its code otherwise.
pub(super) fn update_email(
    connection: &Connection,
    before: &User,
    email: &EmailAddress,
    change: &EmailChange,
    now: Timestamp,
) -> rusqlite::Result<EmailStep> {
    let email_key = email.key();
    let (own_key, new_key): (String, Option<String>) = connection
        .prepare_cached("SELECT email_key, new_email_key FROM users WHERE id = :id")?
        .query_row(named_params! { ":id": before.id }, |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    if email.as_str() == before.shown_email() {
        return Ok(EmailStep::NOTHING_DUE);
    }
    if own_key == email_key {
        // Back to the confirmed address, or the same one spelt otherwise: nothing is left to confirm.
        delete_change_otps(connection, before.id)?;
        connection
            .prepare_cached(
                "UPDATE users SET email = :email, new_email = NULL, new_email_key = NULL, updated_at = :now \
                 WHERE id = :id",
            )?
            .execute(named_params! {
                ":id": before.id, ":email": email.as_str(), ":now": now.unix_millis(),
            })?;
        return Ok(EmailStep::NOTHING_DUE);
    }
    if new_key.as_deref() == Some(email_key) {
        // The address that waits for its code already, spelt otherwise: the code that is out stays good.
        connection
            .prepare_cached(
                "UPDATE users SET new_email = :email, updated_at = :now WHERE id = :id",
            )?
            .execute(named_params! {
                ":id": before.id, ":email": email.as_str(), ":now": now.unix_millis(),
            })?;
        return Ok(EmailStep::NOTHING_DUE);
    }
    if is_taken(connection, email_key, Some(before.id))? {
        return Ok(EmailStep::Stop(UpdateOutcome::EmailTaken));
    }
    let (purpose, otp) = if before.is_verified() {
        (OtpPurpose::EmailChange, &change.change_otp)
    } else {
        (OtpPurpose::SignUp, &change.sign_up_otp)
    };
    if let Some(until) = find_pause(connection, &otp.address_hash, purpose, now, change.limits)? {
        return Ok(EmailStep::Stop(UpdateOutcome::Throttled { until }));
    }
    take_from_unconfirmed(connection, email_key, before.id, now)?;
    if purpose == OtpPurpose::EmailChange {
        delete_change_otps(connection, before.id)?;
        connection
            .prepare_cached(
                "UPDATE users SET new_email = :email, new_email_key = :email_key, updated_at = :now WHERE id = :id",
            )?
            .execute(named_params! {
                ":id": before.id,
                ":email": email.as_str(),
                ":email_key": email_key,
                ":now": now.unix_millis(),
            })?;
        insert_otp(
            connection,
            purpose,
            before.id,
            None,
            (email_key, email.as_str()),
            otp,
            now,
        )?;
        insert_undo(connection, before, change, now)?;
    } else {
        move_sign_up(connection, before.id, email, otp, now)?;
    }
    Ok(EmailStep::Done(Some(purpose)))
}

/// An address that is not confirmed belongs to nobody: whoever waits for its code has to give way to `user_id`.
pub(super) fn take_from_unconfirmed(
    connection: &Connection,
    email_key: &str,
    user_id: UserId,
    now: Timestamp,
) -> rusqlite::Result<()> {
    // Staff may have given it a photo, whose file is to go with the account.
    connection
        .prepare_cached(
            "INSERT INTO unused_photos (name, noted_at) SELECT photo, :now FROM users WHERE email_key = :email_key \
             AND verified_at IS NULL AND id <> :id AND photo IS NOT NULL ON CONFLICT (name) DO NOTHING",
        )?
        .execute(named_params! {
            ":email_key": email_key, ":id": user_id, ":now": now.unix_millis(),
        })?;
    connection
        .prepare_cached(
            "DELETE FROM users WHERE email_key = :email_key AND verified_at IS NULL AND id <> :id",
        )?
        .execute(named_params! { ":email_key": email_key, ":id": user_id })?;
    drop_unconfirmed_claims(connection, email_key, now)
}

/// Whoever has the address as an unconfirmed new one falls back to the last confirmed one.
pub(super) fn drop_unconfirmed_claims(
    connection: &Connection,
    email_key: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE users SET new_email = NULL, new_email_key = NULL, updated_at = :now \
             WHERE new_email_key = :email_key",
        )?
        .execute(named_params! { ":email_key": email_key, ":now": now.unix_millis() })?;
    connection
        .prepare_cached(
            "DELETE FROM otps WHERE purpose = 'email_change' AND email_key = :email_key",
        )?
        .execute(named_params! { ":email_key": email_key })
        .map(drop)
}

/// Stores the link that brings the confirmed address back, and mails it to that address. Within the pause between mails an earlier link for the same address does as well, and no second mail goes out.
fn insert_undo(
    connection: &Connection,
    before: &User,
    change: &EmailChange,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let inserted = connection
        .prepare_cached(
            "INSERT INTO email_undos (token_hash, user_id, email, expires_at) \
             SELECT :token_hash, :user_id, :email, :expires_at WHERE NOT EXISTS (SELECT 1 FROM email_undos \
             WHERE user_id = :user_id AND email = :email AND expires_at > :recent)",
        )?
        .execute(named_params! {
            ":token_hash": change.undo.token_hash,
            ":user_id": before.id,
            ":email": before.email,
            ":expires_at": change.undo.expires_at.unix_millis(),
            ":recent": change.undo.expires_at.minus(change.limits.pause).unix_millis(),
        })?;
    if inserted == 0 {
        return Ok(());
    }
    insert_mail(
        connection,
        before.id,
        None,
        &before.email,
        &change.undo.mail,
        now,
    )
}

/// Takes a never-verified account to another address: its newest sign-up goes along and waits for a code there.
fn move_sign_up(
    connection: &Connection,
    user_id: UserId,
    email: &EmailAddress,
    otp: &NewOtp,
    now: Timestamp,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM otps WHERE user_id = :user_id")?
        .execute(named_params! { ":user_id": user_id })?;
    connection
        .prepare_cached(
            "DELETE FROM sign_ups WHERE user_id = :user_id AND id <> \
             (SELECT max(id) FROM sign_ups WHERE user_id = :user_id)",
        )?
        .execute(named_params! { ":user_id": user_id })?;
    connection
        .prepare_cached(
            "UPDATE users SET email = :email, email_key = :email_key, updated_at = :now WHERE id = :user_id",
        )?
        .execute(named_params! {
            ":user_id": user_id,
            ":email": email.as_str(),
            ":email_key": email.key(),
            ":now": now.unix_millis(),
        })?;
    let sign_up_id: i64 = connection
        .prepare_cached("UPDATE sign_ups SET email = :email WHERE user_id = :user_id RETURNING id")?
        .query_row(
            named_params! { ":user_id": user_id, ":email": email.as_str() },
            |row| row.get(0),
        )?;
    insert_otp(
        connection,
        OtpPurpose::SignUp,
        user_id,
        Some(sign_up_id),
        (email.key(), email.as_str()),
        otp,
        now,
    )
}

fn delete_change_otps(connection: &Connection, user_id: UserId) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM otps WHERE user_id = :user_id AND purpose = 'email_change'")?
        .execute(named_params! { ":user_id": user_id })
        .map(drop)
}

/// Brings back the address before a change.
pub(super) fn undo_email_change(
    connection: &Connection,
    undo: &UndoEmailChange,
) -> rusqlite::Result<UndoOutcome> {
    let found: Option<(UserId, String, i64)> = connection
        .prepare_cached(
            "SELECT user_id, email, expires_at FROM email_undos WHERE token_hash = :token_hash AND expires_at > :now",
        )?
        .query_row(
            named_params! { ":token_hash": undo.token_hash, ":now": undo.now.unix_millis() },
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()?;
    let Some((user_id, email, expires_at)) = found else {
        return Ok(UndoOutcome::InvalidLink);
    };
    let email = parse_email(&email)?;
    if is_taken(connection, email.key(), Some(user_id))? {
        return Ok(UndoOutcome::EmailTaken);
    }
    take_from_unconfirmed(connection, email.key(), user_id, undo.now)?;
    // Codes and links that went to the addresses since then must not work any more. Earlier links stay: whoever took the
    // account over and changed the address twice must not be able to take the owner's way back.
    connection
        .prepare_cached("DELETE FROM otps WHERE user_id = :user_id")?
        .execute(named_params! { ":user_id": user_id })?;
    connection
        .prepare_cached(
            "DELETE FROM email_undos WHERE user_id = :user_id AND expires_at >= :expires_at",
        )?
        .execute(named_params! { ":user_id": user_id, ":expires_at": expires_at })?;
    delete_sessions(connection, user_id, undo.keep_session.as_deref())?;
    insert_event(
        connection,
        EventKind::EmailChangeUndone,
        Some(user_id),
        Actor::FromContext,
        &undo.context,
        "",
        undo.now,
    )?;
    connection
        .prepare_cached(&format!(
            "UPDATE users SET email = :email, email_key = :email_key, new_email = NULL, new_email_key = NULL, \
             updated_at = :now WHERE id = :user_id RETURNING {USER_COLUMNS}"
        ))?
        .query_row(
            named_params! {
                ":user_id": user_id,
                ":email": email.as_str(),
                ":email_key": email.key(),
                ":now": undo.now.unix_millis(),
            },
            user,
        )
        .map(|user| UndoOutcome::Undone(Box::new(user)))
}
