//! Changing the address of an account, and undoing it.

use super::connection::{Connection, params};
use super::events::{Actor, forget_person, insert_event};
use super::factors::{find_factors, prove, void_factors_since};
use super::identities::void_identities_since;
use super::mails::insert_mail;
use super::new_address::{NewAddress, OwnAddresses};
use super::notices::{notify_earlier_addresses, notify_owner};
use super::otps::{CLOCK_SLACK, NO_PASSWORD, find_pause, insert_otp, parse_email};
use super::rows::{USER_COLUMNS, timestamp, user};
use super::sessions::delete_sessions;
use super::transaction::Transaction;
use super::users::{find_by_id, is_taken};
use crate::domain::{EmailAddress, EventKind, OtpPurpose, Timestamp, User, UserId};
use crate::store::{
    EmailChange, EmailUndo, Factors, NewEmailUndo, NewOtp, RequestContext, StoreResult,
    UNDO_LIFETIME, UndoEmailChange, UndoOutcome, UpdateOutcome, UserUpdate,
};

/// The outcome of an address change.
pub(super) enum EmailStep {
    /// The change is stored; the purpose of the code that is mailed, if one is.
    Done(Option<OtpPurpose>),
    Stop(UpdateOutcome),
}

impl EmailStep {
    const NOTHING_DUE: Self = Self::Done(None);
}

/// Changes the address of an account: at once for the same mailbox, otherwise after its code.
pub(super) fn update_email(
    connection: &Transaction<'_>,
    before: &User,
    email: &EmailAddress,
    change: &EmailChange,
    update: &UserUpdate,
) -> StoreResult<EmailStep> {
    let now = update.now;
    let email_key = email.key();
    let (own_key, new_key, restored_at): (String, Option<String>, Option<i64>) = connection
        .query_row(
            "SELECT email_key, new_email_key, email_restored_at FROM users WHERE id = :id",
            params! { ":id": before.id },
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
    let addresses = OwnAddresses {
        shown: before.shown_email(),
        own_key: &own_key,
        pending_key: new_key.as_deref(),
        restored_at: restored_at.map(Timestamp::from_unix_millis),
    };
    match NewAddress::of(email, &addresses, now) {
        NewAddress::Same => return Ok(EmailStep::NOTHING_DUE),
        NewAddress::Own => {
            delete_change_otps(connection, before.id)?;
            connection.run(
                "UPDATE users SET email = :email, new_email = NULL, new_email_key = NULL, \
                 updated_at = :now WHERE id = :id",
                params! {
                    ":id": before.id, ":email": email.as_str(), ":now": now.unix_millis(),
                },
            )?;
            return Ok(EmailStep::NOTHING_DUE);
        }
        NewAddress::Pending => {
            connection.run(
                "UPDATE users SET new_email = :email, updated_at = :now WHERE id = :id",
                params! {
                    ":id": before.id, ":email": email.as_str(), ":now": now.unix_millis(),
                },
            )?;
            return Ok(EmailStep::NOTHING_DUE);
        }
        NewAddress::Resting { until } => {
            return Ok(EmailStep::Stop(UpdateOutcome::EmailRestored { until }));
        }
        NewAddress::New => {}
    }
    if is_taken(connection, email_key, Some(before.id), now)? {
        return Ok(EmailStep::Stop(UpdateOutcome::EmailTaken));
    }
    let (purpose, otp) = if before.is_verified() {
        (OtpPurpose::EmailChange, &change.change_otp)
    } else {
        (OtpPurpose::SignUp, &change.sign_up_otp)
    };
    if let Some(until) = find_pause(
        connection,
        otp,
        purpose,
        (Some(before.id), None),
        now,
        change.limits,
    )? {
        return Ok(EmailStep::Stop(UpdateOutcome::Throttled { until }));
    }
    take_from_unconfirmed(connection, email_key, before.id, (&update.context, now))?;
    if purpose == OtpPurpose::EmailChange {
        delete_change_otps(connection, before.id)?;
        connection.run(
            "UPDATE users SET new_email = :email, new_email_key = :email_key, updated_at = :now \
             WHERE id = :id",
            params! {
                ":id": before.id,
                ":email": email.as_str(),
                ":email_key": email_key,
                ":now": now.unix_millis(),
            },
        )?;
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

/// Frees an unconfirmed address for `user_id`: nobody owns it until it is confirmed.
pub(super) fn take_from_unconfirmed(
    connection: &Transaction<'_>,
    email_key: &str,
    user_id: UserId,
    (context, now): (&RequestContext, Timestamp),
) -> StoreResult<()> {
    // Staff may have given the account a photo; its file is deleted with the account.
    connection.run(
        "INSERT INTO unused_photos (name, noted_at) SELECT photo, :now FROM users WHERE email_key \
         = :email_key AND verified_at IS NULL AND id <> :id AND photo IS NOT NULL ON CONFLICT \
         (name) DO NOTHING",
        params! {
            ":email_key": email_key, ":id": user_id, ":now": now.unix_millis(),
        },
    )?;
    let displaced: Option<UserId> = connection.query_optional(
        "DELETE FROM users WHERE email_key = :email_key AND verified_at IS NULL AND id <> :id \
         RETURNING id",
        params! { ":email_key": email_key, ":id": user_id },
        |row| row.get(0),
    )?;
    if let Some(displaced) = displaced {
        forget_person(connection, displaced)?;
        insert_event(
            connection,
            EventKind::SignUpDisplaced,
            Some(displaced),
            Actor::FromContext,
            context,
            "",
            now,
        )?;
    }
    drop_unconfirmed_claims(connection, email_key, now)
}

/// Drops the address from accounts where it is pending; they keep their confirmed one.
pub(super) fn drop_unconfirmed_claims(
    connection: &dyn Connection,
    email_key: &str,
    now: Timestamp,
) -> StoreResult<()> {
    connection.run(
        "UPDATE users SET new_email = NULL, new_email_key = NULL, updated_at = :now WHERE \
         new_email_key = :email_key",
        params! { ":email_key": email_key, ":now": now.unix_millis() },
    )?;
    connection.run(
        "DELETE FROM otps WHERE purpose = 'email_change' AND email_key = :email_key",
        params! { ":email_key": email_key },
    )
}

/// Stores the undo link of an address change and mails it to the former address.
///
/// Within the pause between mails, an earlier link for the same address is enough, and no second
/// mail is sent.
fn insert_undo(
    connection: &dyn Connection,
    before: &User,
    change: &EmailChange,
    now: Timestamp,
) -> StoreResult<()> {
    let recent = change.undo.expires_at.minus(change.limits.pause);
    if insert_link(connection, before.id, &change.undo, Some(recent))? {
        mail_undo(connection, before.id, &change.undo, now)?;
        notify_earlier_addresses(connection, before.id, &change.notices, now)?;
    }
    Ok(())
}

/// Stores the undo link of a change beside the address, and mails it to the confirmed one.
pub(super) fn insert_notice_undo(
    connection: &dyn Connection,
    user_id: UserId,
    undo: &NewEmailUndo,
    now: Timestamp,
) -> StoreResult<()> {
    insert_link(connection, user_id, undo, None)?;
    mail_undo(connection, user_id, undo, now)
}

/// Stores an undo link for the confirmed address, unless there is one that expires after `unless`.
fn insert_link(
    connection: &dyn Connection,
    user_id: UserId,
    undo: &NewEmailUndo,
    unless: Option<Timestamp>,
) -> StoreResult<bool> {
    connection
        .execute(
            "INSERT INTO email_undos (token_hash, user_id, email, email_key, expires_at, sequence, \
             password_version) SELECT :token_hash, :user_id, email, email_key, :expires_at, \
             (SELECT coalesce(max(sequence), 0) + 1 FROM email_undos WHERE user_id = :user_id), \
             password_version FROM users WHERE id = :user_id AND NOT EXISTS (SELECT 1 FROM \
             email_undos WHERE user_id = :user_id AND email_key = users.email_key AND expires_at > \
             :unless)",
            params! {
                ":token_hash": undo.token_hash,
                ":user_id": user_id,
                ":expires_at": undo.expires_at.unix_millis(),
                ":unless": unless.map(Timestamp::unix_millis),
            },
        )
        .map(|inserted| inserted > 0)
}

fn mail_undo(
    connection: &dyn Connection,
    user_id: UserId,
    undo: &NewEmailUndo,
    now: Timestamp,
) -> StoreResult<()> {
    let email: String = connection.query_row(
        "SELECT email FROM users WHERE id = :id",
        params! { ":id": user_id },
        |row| row.get(0),
    )?;
    insert_mail(connection, user_id, None, &email, &undo.mail, now)
}

/// Moves a never-verified account to another address; its newest sign-up gets a code there.
fn move_sign_up(
    connection: &dyn Connection,
    user_id: UserId,
    email: &EmailAddress,
    otp: &NewOtp,
    now: Timestamp,
) -> StoreResult<()> {
    connection.run(
        "DELETE FROM otps WHERE user_id = :user_id",
        params! { ":user_id": user_id },
    )?;
    connection.run(
        "DELETE FROM otp_tokens WHERE user_id = :user_id",
        params! { ":user_id": user_id },
    )?;
    connection.run(
        "DELETE FROM sign_ups WHERE user_id = :user_id AND id <> (SELECT max(id) FROM sign_ups \
         WHERE user_id = :user_id)",
        params! { ":user_id": user_id },
    )?;
    connection.run(
        "UPDATE users SET email = :email, email_key = :email_key, updated_at = :now WHERE id = \
         :user_id",
        params! {
            ":user_id": user_id,
            ":email": email.as_str(),
            ":email_key": email.key(),
            ":now": now.unix_millis(),
        },
    )?;
    let sign_up_id: i64 = connection.query_row(
        "UPDATE sign_ups SET email = :email WHERE user_id = :user_id RETURNING id",
        params! { ":user_id": user_id, ":email": email.as_str() },
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

fn delete_change_otps(connection: &dyn Connection, user_id: UserId) -> StoreResult<()> {
    connection.run(
        "DELETE FROM otps WHERE user_id = :user_id AND purpose = 'email_change'",
        params! { ":user_id": user_id },
    )
}

/// Drops a pending address and its code; the last confirmed address stays.
pub(super) fn drop_pending_email(
    connection: &dyn Connection,
    user_id: UserId,
    now: Timestamp,
) -> StoreResult<()> {
    delete_change_otps(connection, user_id)?;
    connection.run(
        "UPDATE users SET new_email = NULL, new_email_key = NULL, updated_at = :now WHERE id = \
         :user_id AND new_email IS NOT NULL",
        params! { ":user_id": user_id, ":now": now.unix_millis() },
    )
}

/// The latest valid expiry of a link; later ones come from a wrong clock.
fn latest_expiry(now: Timestamp) -> Timestamp {
    now.plus(UNDO_LIFETIME).plus(CLOCK_SLACK)
}

/// A valid undo link.
struct UndoLink {
    user_id: UserId,
    email: String,
    sequence: i64,
    password_version: i64,
    created_at: Timestamp,
}

fn find_link(
    connection: &dyn Connection,
    token_hash: &[u8],
    now: Timestamp,
) -> StoreResult<Option<UndoLink>> {
    connection.query_optional(
        "SELECT user_id, email, sequence, password_version, expires_at FROM email_undos WHERE \
         token_hash = :token_hash AND expires_at > :now AND expires_at < :latest",
        params! {
            ":token_hash": token_hash,
            ":now": now.unix_millis(),
            ":latest": latest_expiry(now).unix_millis(),
        },
        |row| {
            Ok(UndoLink {
                user_id: row.get(0)?,
                email: row.get(1)?,
                sequence: row.get(2)?,
                password_version: row.get(3)?,
                created_at: timestamp(row, 4)?.minus(UNDO_LIFETIME),
            })
        },
    )
}

/// Finds a valid link, and what its use asks for.
pub(super) fn find_email_undo(
    connection: &dyn Connection,
    token_hash: &[u8],
    now: Timestamp,
) -> StoreResult<Option<EmailUndo>> {
    let Some(link) = find_link(connection, token_hash, now)? else {
        return Ok(None);
    };
    Ok(Some(EmailUndo {
        factors: older_factors(connection, &link)?,
        user_id: link.user_id,
        email: link.email,
    }))
}

/// The factors that an account had when a link was made: they are the owner's.
fn older_factors(connection: &dyn Connection, link: &UndoLink) -> StoreResult<Factors> {
    let mut factors = find_factors(connection, link.user_id)?;
    let is_older = |created_at: Timestamp| created_at < link.created_at;
    factors.totp = factors.totp.filter(|device| is_older(device.created_at));
    factors
        .passkeys
        .retain(|passkey| is_older(passkey.created_at));
    Ok(match factors.is_enabled() {
        true => factors,
        false => Factors::default(),
    })
}

/// Restores the account to its state when the link was created.
pub(super) fn undo_email_change(
    connection: &Transaction<'_>,
    undo: &UndoEmailChange,
) -> StoreResult<UndoOutcome> {
    let Some(link) = find_link(connection, &undo.token_hash, undo.now)? else {
        return Ok(UndoOutcome::InvalidLink);
    };
    let (user_id, email, now) = (link.user_id, parse_email(&link.email)?, undo.now);
    if is_taken(connection, email.key(), Some(user_id), now)? {
        return Ok(UndoOutcome::EmailTaken);
    }
    let Some(before) = find_by_id(connection, user_id)? else {
        return Ok(UndoOutcome::InvalidLink);
    };
    if older_factors(connection, &link)?.is_enabled() {
        let Some(tried) = &undo.factor else {
            return Ok(UndoOutcome::FactorRequired);
        };
        if let Err(refusal) = prove(connection, user_id, tried)? {
            return Ok(UndoOutcome::FactorRefused(refusal));
        }
    }
    take_from_unconfirmed(connection, email.key(), user_id, (&undo.context, now))?;
    void_factors_since(connection, user_id, link.created_at)?;
    void_identities_since(connection, user_id, link.created_at)?;
    // Codes and links that were mailed since then are revoked. Earlier links stay valid: a thief
    // who changed the address twice must not revoke the owner's link.
    for statement in [
        "DELETE FROM otps WHERE user_id = :user_id",
        "DELETE FROM otp_tokens WHERE user_id = :user_id",
    ] {
        connection.run(statement, params! { ":user_id": user_id })?;
    }
    connection.run(
        "DELETE FROM email_undos WHERE user_id = :user_id AND sequence >= :sequence",
        params! { ":user_id": user_id, ":sequence": link.sequence },
    )?;
    delete_sessions(connection, user_id, None, (&undo.context, now))?;
    let user = connection.query_row(
        &format!(
            "UPDATE users SET email_restored_at = CASE WHEN email_key <> :email_key THEN :now ELSE \
             email_restored_at END, email = :email, email_key = :email_key, new_email = NULL, \
             new_email_key = NULL, password_hash = CASE WHEN password_version > :password_version \
             THEN :no_password ELSE password_hash END, password_version = password_version + CASE \
             WHEN password_version > :password_version THEN 1 ELSE 0 END, updated_at = :now WHERE \
             id = :user_id RETURNING {USER_COLUMNS}"
        ),
        params! {
            ":user_id": user_id,
            ":email": email.as_str(),
            ":email_key": email.key(),
            ":password_version": link.password_version,
            ":no_password": NO_PASSWORD,
            ":now": now.unix_millis(),
        },
        user,
    )?;
    insert_event(
        connection,
        EventKind::EmailChangeUndone,
        Some(user_id),
        Actor::FromContext,
        &undo.context,
        "",
        now,
    )?;
    insert_otp(
        connection,
        OtpPurpose::PasswordReset,
        user_id,
        None,
        (email.key(), email.as_str()),
        &undo.reset,
        now,
    )?;
    notify_owner(connection, user_id, &undo.notices, now)?;
    let lost = before.shown_email();
    if EmailAddress::parse(lost).is_ok_and(|lost| lost.key() != email.key()) {
        insert_mail(connection, user_id, None, lost, &undo.removed_notice, now)?;
    }
    Ok(UndoOutcome::Undone(Box::new(user)))
}
