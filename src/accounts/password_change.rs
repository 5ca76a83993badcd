//! Changing a password: by its owner with the current one, or by an administrator.

use super::new_password::{
    NewPassword, check_password, password_changed, person_of, read_password,
};
use super::password_check::{self, current_hash, is_current_password, wrong_password};
use super::recent::require_recent_factor;
use super::refresh::recheck;
use super::{AccountError, Caller, Client, Signed, operator, unread};
use crate::app::App;
use crate::crypto::random;
use crate::domain::{AuthMethod, FieldReader, Fields, Input, User, messages};
use crate::store::ReplacePassword;

const CURRENT: &str = "current_password";

/// Changes the caller's password and returns the proof of a new session. All earlier sessions
/// end, the caller's too.
///
/// # Errors
/// [`AccountError::Fields`] with all invalid fields.
pub async fn change_password(
    app: &App,
    caller: &Caller,
    fields: &Fields,
    client: &Client,
) -> Result<Signed, AccountError> {
    recheck(app, caller).await?;
    require_recent_factor(app, caller).await?;
    let mut reader = FieldReader::new(fields);
    let (current, password) = read(&mut reader);
    let old_hash = current_hash(app, caller).await?;
    let is_wrong = match current {
        Some(current) => !is_current_password(app, caller, client, current, &old_hash).await?,
        None => false,
    };
    if is_wrong {
        reader.reject(CURRENT, messages::INVALID_PASSWORD);
    }
    password
        .check(app, &mut reader, &person_of(&caller.user))
        .await?;
    reader.finish().map_err(|errors| match is_wrong {
        true => AccountError::InvalidPassword(errors),
        false => AccountError::Fields(errors),
    })?;
    let password = password.confirmed()?;
    let hashing = app.passwords.asked_by(client.requester(true));
    let new_hash = hashing.hash(password, random::bytes()).await?;
    let now = app.clock.now();
    let mut starting = client.new_session(app, now, AuthMethod::Password);
    if let Some(authentication) = caller.authentication().filter(|_| caller.user.has_factor) {
        starting.session.authentication = authentication.clone();
    }
    let replacement = ReplacePassword {
        user_id: caller.user.id,
        old_hash: Some(old_hash),
        new_hash,
        session: Some(starting.session.clone()),
        now,
        notices: password_changed(app, Some(client)),
        context: client.context(Some(caller)),
    };
    let Some(user) = app.store.replace_password(replacement).await? else {
        // Another request changed it meanwhile, so the one given is no longer the current one.
        return Err(wrong_password(CURRENT));
    };
    app.outbox.wake().await;
    log::info!(
        "user {}: password changed, earlier sessions revoked",
        user.id
    );
    starting.signed(app, &user).await
}

/// Reads the current password and the new one.
pub(super) fn read(reader: &mut FieldReader<'_>) -> (Option<String>, NewPassword) {
    let current = password_check::read(reader, CURRENT);
    (current, NewPassword::read(reader))
}

/// Sets the password of an account, for administrators. All its sessions end.
///
/// # Errors
/// [`AccountError::Fields`] when the password violates the rules; [`AccountError::UserNotFound`].
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
    let replacement = ReplacePassword {
        user_id: user.id,
        old_hash: None,
        new_hash: app.passwords.hash(password, random::bytes()).await?,
        session: None,
        now: app.clock.now(),
        notices: password_changed(app, None),
        context: operator(app),
    };
    if app.store.replace_password(replacement).await?.is_none() {
        return Err(AccountError::UserNotFound);
    }
    app.outbox.wake().await;
    log::info!("user {}: password set, all sessions ended", user.id);
    Ok(())
}
