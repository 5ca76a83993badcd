//! Changing a password: by its owner who knows the old one, or by an administrator.

use super::new_password::{
    NewPassword, check_password, password_changed, person_of, read_password,
};
use super::password_tries::PasswordTries;
use super::refresh::recheck;
use super::{AccountError, Caller, Client, operator, unread};
use crate::app::App;
use crate::crypto::random;
use crate::domain::{FieldErrors, FieldReader, Fields, Input, User, messages};
use crate::store::ReplacePassword;

/// Changes the caller's password. Every other session ends.
///
/// # Errors
/// [`AccountError::Fields`] names every wrong field at once.
pub async fn change_password(
    app: &App,
    caller: &Caller,
    fields: &Fields,
    client: &Client,
) -> Result<(), AccountError> {
    recheck(app, caller).await?;
    let mut reader = FieldReader::new(fields);
    let (current, password) = read(&mut reader);
    let old_hash = app
        .store
        .find_password_hash(caller.user.id)
        .await?
        .ok_or(AccountError::InvalidToken)?;
    let tries = PasswordTries::of_caller(client, caller);
    tries.may(app).await?;
    let hashing = app.passwords.asked_by(client.asker(true));
    if let Some(current) = current {
        if hashing.verify(current, Some(&old_hash)).await? {
            tries.may(app).await?;
        } else {
            tries.failed(app).await?;
            reader.reject("current_password", messages::INVALID_PASSWORD);
        }
    }
    password
        .check(app, &mut reader, &person_of(&caller.user))
        .await?;
    reader.finish()?;
    let password = password.confirmed()?;
    let wish = ReplacePassword {
        user_id: caller.user.id,
        old_hash: Some(old_hash),
        new_hash: hashing.hash(password, random::bytes()).await?,
        keep_session: Some(caller.session_id().to_owned()),
        now: app.clock.now(),
        notice: password_changed(app, Some(client)),
        context: client.context(Some(caller)),
    };
    if !app.store.replace_password(wish).await? {
        // Somebody else changed it in between, so what was called the current one is so no more.
        return Err(FieldErrors::one("current_password", messages::INVALID_PASSWORD).into());
    }
    app.outbox.wake().await;
    log::info!(
        "user {}: password changed, other sessions ended",
        caller.user.id
    );
    Ok(())
}

/// Reads the present password and the new one.
pub(super) fn read(reader: &mut FieldReader<'_>) -> (Option<String>, NewPassword) {
    let current = reader.required_secret("current_password", None);
    (current, NewPassword::read(reader))
}

/// Sets the password of an account, as an administrator does. All its sessions end.
///
/// # Errors
/// [`AccountError::Fields`] when the rules refuse the password; [`AccountError::UserNotFound`].
pub async fn set_password(app: &App, user: &User, password: &str) -> Result<(), AccountError> {
    let mut fields = Fields::json();
    fields.insert("password".into(), Input::Text(password.into()));
    let mut reader = FieldReader::new(&fields);
    let password = read_password(&mut reader);
    if let Some(password) = &password {
        check_password(app, &mut reader, password, &person_of(user)).await?;
    }
    reader.finish()?;
    let password = password.ok_or_else(unread)?;
    let wish = ReplacePassword {
        user_id: user.id,
        old_hash: None,
        new_hash: app.passwords.hash(password, random::bytes()).await?,
        keep_session: None,
        now: app.clock.now(),
        notice: password_changed(app, None),
        context: operator(app),
    };
    if !app.store.replace_password(wish).await? {
        return Err(AccountError::UserNotFound);
    }
    app.outbox.wake().await;
    log::info!("user {}: password set, all sessions ended", user.id);
    Ok(())
}
