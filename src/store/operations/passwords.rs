//! Passwords.

use super::connection::{Connection, params};
use async_trait::async_trait;

use super::email_change::drop_pending_email;
use super::engine::{Database, Engine};
use super::events::{Actor, insert_event};
use super::lock::Keys;
use super::notices::{has_had_notices, notify_owner};
use super::otps::{
    Use, find_pause, forget_sign_up_fields, insert_otp, note_no_mail, parse_email, use_otp,
};
use super::password_tries::note_network;
use super::sessions::{authorize, delete_sessions, insert_session};
use super::sign_ups::delete_sign_ups;
use super::transaction::Transaction;
use super::users::find_by_id;
use crate::domain::{EventKind, OtpPurpose, User, UserId};
use crate::store::{
    NewMail, OtpAttempt, PasswordStore, Reissued, ReplacePassword, ResetRequest, StoreResult,
};

fn replace(connection: &Transaction<'_>, request: &ReplacePassword) -> StoreResult<Option<User>> {
    authorize(connection, &request.context, request.user_id, false)?;
    let replaced = connection.execute(
        "UPDATE users SET password_hash = :new_hash, password_version = password_version + 1 WHERE \
         id = :user_id AND (CAST(:old_hash AS TEXT) IS NULL OR password_hash = :old_hash)",
        params! {
            ":user_id": request.user_id,
            ":old_hash": request.old_hash,
            ":new_hash": request.new_hash,
        },
    )?;
    if replaced == 0 {
        return Ok(None);
    }
    delete_reset_otps(connection, request.user_id)?;
    drop_pending_email(connection, request.user_id, request.now)?;
    delete_sessions(
        connection,
        request.user_id,
        None,
        (&request.context, request.now),
    )?;
    if let Some(session) = &request.session {
        insert_session(connection, request.user_id, session, &request.context)?;
    }
    let (user_id, now) = (request.user_id, request.now);
    if !has_had_notices(connection, user_id, EventKind::PasswordChanged, now)? {
        notify_owner(connection, user_id, &request.notices, now)?;
    }
    insert_event(
        connection,
        EventKind::PasswordChanged,
        Some(request.user_id),
        Actor::FromContext,
        &request.context,
        "",
        request.now,
    )?;
    find_by_id(connection, request.user_id)
}

pub(super) fn delete_reset_otps(connection: &dyn Connection, user_id: UserId) -> StoreResult<()> {
    connection.run(
        "DELETE FROM otps WHERE user_id = :user_id AND purpose = 'password_reset'",
        params! { ":user_id": user_id },
    )
}

fn create_reset(
    connection: &Transaction<'_>,
    request: &ResetRequest,
) -> StoreResult<Option<Reissued>> {
    let purpose = OtpPurpose::PasswordReset;
    let found: Option<(UserId, String)> = connection.query_optional(
        "SELECT id, email FROM users WHERE email_key = :email_key AND is_active",
        params! { ":email_key": request.email_key },
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let Some((user_id, email)) = found else {
        note_no_mail(
            connection,
            &request.otp,
            purpose,
            request.now,
            request.limits,
        )?;
        return Ok(None);
    };
    if find_pause(
        connection,
        &request.otp,
        purpose,
        (Some(user_id), None),
        request.now,
        request.limits,
    )?
    .is_some()
    {
        return Ok(None);
    }
    delete_reset_otps(connection, user_id)?;
    insert_otp(
        connection,
        purpose,
        user_id,
        None,
        (&request.email_key, &email),
        &request.otp,
        request.now,
    )?;
    insert_event(
        connection,
        EventKind::PasswordResetRequested,
        Some(user_id),
        Actor::FromContext,
        &request.context,
        "",
        request.now,
    )?;
    Ok(Some(Reissued {
        user_id,
        purpose,
        email: parse_email(&email)?,
    }))
}

fn confirm_reset(
    connection: &Transaction<'_>,
    attempt: &OtpAttempt,
    new_hash: &str,
    notices: &[NewMail],
) -> StoreResult<Option<User>> {
    let used = use_otp(
        connection,
        OtpPurpose::PasswordReset,
        None,
        attempt,
        Use::Up,
    )?;
    let Some(used) = used else {
        return Ok(None);
    };
    if find_by_id(connection, used.user_id)?.is_some_and(|user| !user.is_verified()) {
        // It is unknown who made the sign-up: a stranger's fields must not become the owner's.
        forget_sign_up_fields(connection, used.user_id)?;
    }
    connection.run(
        "UPDATE users SET password_hash = :new_hash, password_version = password_version + 1, \
         is_contested = FALSE, verified_at = coalesce(verified_at, :now) WHERE id = :id",
        params! {
            ":id": used.user_id, ":new_hash": new_hash, ":now": attempt.now.unix_millis(),
        },
    )?;
    delete_sign_ups(connection, used.user_id)?;
    drop_pending_email(connection, used.user_id, attempt.now)?;
    delete_sessions(
        connection,
        used.user_id,
        None,
        (&attempt.context, attempt.now),
    )?;
    // The reader of the mailbox is the owner, so the new password works from this network despite
    // earlier failures.
    note_network(connection, used.user_id, &attempt.network, attempt.now)?;
    connection.run(
        "DELETE FROM password_failures WHERE account_hash = :address_hash AND source = :network",
        params! {
            ":address_hash": attempt.address_hash, ":network": attempt.network,
        },
    )?;
    notify_owner(connection, used.user_id, notices, attempt.now)?;
    insert_event(
        connection,
        EventKind::PasswordReset,
        Some(used.user_id),
        Actor::Owner,
        &attempt.context,
        "",
        attempt.now,
    )?;
    find_by_id(connection, used.user_id)
}

#[async_trait]
impl<E: Engine> PasswordStore for Database<E> {
    async fn find_password_hash(&self, user_id: UserId) -> StoreResult<Option<String>> {
        self.engine
            .read(move |connection| {
                connection.query_optional(
                    "SELECT password_hash FROM users WHERE id = :id",
                    params! { ":id": user_id },
                    |row| row.get(0),
                )
            })
            .await
    }

    async fn replace_password(&self, request: ReplacePassword) -> StoreResult<Option<User>> {
        self.engine
            .write_for(Keys::user(request.user_id), move |connection| {
                replace(connection, &request)
            })
            .await
    }

    async fn rehash_password(
        &self,
        user_id: UserId,
        old_hash: &str,
        new_hash: &str,
    ) -> StoreResult<bool> {
        let (old_hash, new_hash) = (old_hash.to_owned(), new_hash.to_owned());
        self.engine
            .write(move |connection| {
                connection
                    .execute(
                        "UPDATE users SET password_hash = :new_hash WHERE id = :id AND \
                         password_hash = :old_hash",
                        params! {
                            ":id": user_id, ":old_hash": old_hash, ":new_hash": new_hash,
                        },
                    )
                    .map(|changed| changed > 0)
            })
            .await
    }

    async fn create_password_reset(&self, request: ResetRequest) -> StoreResult<Option<Reissued>> {
        self.engine
            .write_for(
                Keys::address(&request.email_key),
                move |connection| -> StoreResult<_> {
                    // Only staff asks with a session.
                    authorize(connection, &request.context, 0, true)?;
                    create_reset(connection, &request)
                },
            )
            .await
    }

    async fn check_password_reset(&self, attempt: OtpAttempt) -> StoreResult<Option<User>> {
        self.engine
            .write_for(Keys::address(&attempt.email_key), move |connection| {
                let purpose = OtpPurpose::PasswordReset;
                match use_otp(connection, purpose, None, &attempt, Use::LeaveGood)? {
                    Some(used) => find_by_id(connection, used.user_id),
                    None => Ok(None),
                }
            })
            .await
    }

    async fn confirm_password_reset(
        &self,
        attempt: OtpAttempt,
        new_hash: &str,
        notices: Vec<NewMail>,
    ) -> StoreResult<Option<User>> {
        let new_hash = new_hash.to_owned();
        self.engine
            .write(move |connection| confirm_reset(connection, &attempt, &new_hash, &notices))
            .await
    }
}
