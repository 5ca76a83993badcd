//! Changing a password: by its owner who knows the old one, or by an administrator.

use super::create_user::{PASSWORD_LENGTH, passwords_differ};
use super::password_reset::complain;
use super::{AccountError, Caller, unread};
use crate::app::App;
use crate::domain::{FieldErrors, FieldReader, Fields, User, messages};
use crate::passwords::PersonalData;
use crate::random;
use crate::store::ReplacePassword;

fn person(user: &User) -> PersonalData<'_> {
    PersonalData {
        email: Some(user.shown_email()),
        first_name: Some(&user.profile.first_name),
        last_name: Some(&user.profile.last_name),
    }
}

/// Changes the caller's password. Every other session ends.
///
/// # Errors
/// [`AccountError::Fields`] names every wrong field at once.
pub async fn change_password(
    app: &App,
    caller: &Caller,
    fields: &Fields,
) -> Result<(), AccountError> {
    let mut reader = FieldReader::new(fields);
    let current = reader.required_secret("current_password", None);
    let old_hash = app
        .store
        .find_password_hash(caller.user.id)
        .await?
        .ok_or(AccountError::InvalidToken)?;
    if let Some(current) = current
        && !app.passwords.verify(current, Some(&old_hash)).await?
    {
        reader.reject("current_password", messages::INVALID_PASSWORD);
    }
    let password = reader.required_secret("password", Some(PASSWORD_LENGTH));
    let confirmation = reader.required_secret("confirm_password", None);
    if let Some(password) = &password {
        complain(app, &mut reader, password, &person(&caller.user));
    }
    reader.finish()?;
    let password = password.ok_or_else(unread)?;
    if confirmation.as_ref() != Some(&password) {
        return Err(passwords_differ());
    }
    let wish = ReplacePassword {
        user_id: caller.user.id,
        old_hash: Some(old_hash),
        new_hash: app.passwords.hash(password, random::bytes()).await?,
        keep_session: Some(caller.session_id.clone()),
    };
    if !app.store.replace_password(wish).await? {
        // Somebody else changed it in between, so what was called the current one is so no more.
        return Err(FieldErrors::one("current_password", messages::INVALID_PASSWORD).into());
    }
    log::info!(
        "user {}: password changed, other sessions ended",
        caller.user.id
    );
    Ok(())
}

/// Sets the password of an account, as an administrator does. All its sessions end.
///
/// # Errors
/// [`AccountError::Fields`] when the rules refuse the password; [`AccountError::UserNotFound`].
pub async fn set_password(app: &App, user: &User, password: &str) -> Result<(), AccountError> {
    let mut fields = Fields::json();
    fields.insert(
        "password".into(),
        crate::domain::Input::Text(password.into()),
    );
    let mut reader = FieldReader::new(&fields);
    let password = reader.required_secret("password", Some(PASSWORD_LENGTH));
    if let Some(password) = &password {
        complain(app, &mut reader, password, &person(user));
    }
    reader.finish()?;
    let password = password.ok_or_else(unread)?;
    let wish = ReplacePassword {
        user_id: user.id,
        old_hash: None,
        new_hash: app.passwords.hash(password, random::bytes()).await?,
        keep_session: None,
    };
    if !app.store.replace_password(wish).await? {
        return Err(AccountError::UserNotFound);
    }
    log::info!("user {}: password set, all sessions ended", user.id);
    Ok(())
}
