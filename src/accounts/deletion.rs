//! Deleting an account.

use std::sync::Arc;

use super::detached;
use super::password_tries::{PasswordTries, key_of};
use super::photo::remove_photo;
use super::profile::check_right;
use super::refresh::recheck;
use super::{AccountError, Caller, Client, unread};
use crate::app::App;
use crate::domain::{FieldErrors, FieldReader, Fields, UserId, messages};
use crate::store::{DeleteOutcome, DeleteUser, RequestContext};

/// Deletes the account `id`: staff any account, everybody else the own one with its password.
///
/// The right is checked before `fields` is called for, and so before the body is read.
///
/// # Errors
/// [`AccountError::Forbidden`], [`AccountError::UserNotFound`], [`AccountError::Fields`] about the password, and
/// [`AccountError::LastStaffMember`].
pub async fn delete<E: From<AccountError>>(
    app: &Arc<App>,
    caller: &Caller,
    id: UserId,
    client: &Client,
    fields: impl Future<Output = Result<Fields, E>>,
) -> Result<(), E> {
    check_right(caller, id)?;
    if !caller.user.is_staff {
        let fields = fields.await?;
        recheck(app, caller).await?;
        check_password(app, caller, &fields, client).await?;
    }
    Ok(delete_user(app, id, true, client.context(Some(caller))).await?)
}

async fn check_password(
    app: &App,
    caller: &Caller,
    fields: &Fields,
    client: &Client,
) -> Result<(), AccountError> {
    let mut reader = FieldReader::new(fields);
    let password = read(&mut reader);
    reader.finish()?;
    let password = password.ok_or_else(unread)?;
    let hash = app
        .store
        .find_password_hash(caller.user.id)
        .await?
        .ok_or(AccountError::InvalidToken)?;
    let tries = PasswordTries::of_caller(client, caller);
    tries.may(app).await?;
    if !app
        .passwords
        .asked_by(client.asker(true))
        .verify(password, Some(&hash))
        .await?
    {
        tries.failed(app).await?;
        return Err(FieldErrors::one("password", messages::INVALID_PASSWORD).into());
    }
    tries.may(app).await
}

/// Reads the password of the account.
pub(super) fn read(reader: &mut FieldReader<'_>) -> Option<String> {
    reader.required_secret("password", None)
}

/// Deletes an account and the file of its photo; `keep_last_staff` spares the last active staff account.
///
/// # Errors
/// [`AccountError::UserNotFound`] and [`AccountError::LastStaffMember`].
pub async fn delete_user(
    app: &Arc<App>,
    id: UserId,
    keep_last_staff: bool,
    context: RequestContext,
) -> Result<(), AccountError> {
    let user = app.store.find_user(id).await?;
    let user = user.ok_or(AccountError::UserNotFound)?;
    let wish = DeleteUser {
        user_id: id,
        address_hash: app.codes.hash_address(&key_of(&user.email)),
        keep_last_staff,
        now: app.clock.now(),
        context,
    };
    let app = Arc::clone(app);
    // A client that hangs up now must not leave the photo behind.
    detached(async move {
        match app.store.delete_user(wish).await? {
            DeleteOutcome::Deleted { photo } => {
                if let Some(photo) = photo {
                    remove_photo(&app, photo).await;
                }
                log::info!("user {id}: deleted");
                Ok(())
            }
            DeleteOutcome::NotFound => Err(AccountError::UserNotFound),
            DeleteOutcome::LastStaffMember => Err(AccountError::LastStaffMember),
        }
    })
    .await?
}
