//! Deleting an account.

use std::sync::Arc;

use super::new_password::notices;
use super::password_check::{self, current_hash, is_current_password, wrong_password};
use super::password_tries::key_of;
use super::photo::remove_photo;
use super::profile::check_right;
use super::recent::{require_recent, require_recent_factor};
use super::refresh::recheck;
use super::staff::read_optional_reason;
use super::{AccountError, Caller, Client, detached, unread};
use crate::app::App;
use crate::domain::{FieldReader, Fields, UserId};
use crate::mail::MailContent;
use crate::passwords;
use crate::store::{DeleteOutcome, DeleteUser, RequestContext};

/// Deletes an account: staff deletes any, other callers their own with its password, or after recent
/// authentication if it has none.
///
/// Permission is checked before `fields` is polled, and so before the body is read.
///
/// # Errors
/// [`AccountError::Forbidden`], [`AccountError::UserNotFound`], [`AccountError::Fields`] about the
/// password, and [`AccountError::LastStaffMember`].
pub async fn delete<E: From<AccountError>>(
    app: &Arc<App>,
    caller: &Caller,
    id: UserId,
    client: &Client,
    fields: impl Future<Output = Result<Fields, E>>,
) -> Result<(), E> {
    check_right(caller, id)?;
    require_recent_factor(app, caller).await?;
    let as_staff = caller.user.is_staff;
    let fields = fields.await;
    let mut reason = String::new();
    if !as_staff {
        let fields = fields?;
        recheck(app, caller).await?;
        prove_owner(app, caller, &fields, client).await?;
    } else if let Ok(fields) = fields {
        // Staff needs no body, so one that is malformed is ignored.
        let mut reader = FieldReader::new(&fields);
        reason = read_optional_reason(&mut reader);
        reader.finish().map_err(AccountError::from)?;
    }
    let context = client.context(Some(caller)).because(&reason);
    Ok(delete_user(app, id, true, as_staff, context).await?)
}

/// Checks the password of an account that has one; the owner of another one has to have authenticated
/// recently.
async fn prove_owner(
    app: &App,
    caller: &Caller,
    fields: &Fields,
    client: &Client,
) -> Result<(), AccountError> {
    let hash = current_hash(app, caller).await?;
    if !passwords::is_usable(&hash) {
        return require_recent(app, caller).await;
    }
    let mut reader = FieldReader::new(fields);
    let password = read(&mut reader);
    reader.finish()?;
    let password = password.ok_or_else(unread)?;
    if is_current_password(app, caller, client, password, &hash).await? {
        Ok(())
    } else {
        Err(wrong_password("password"))
    }
}

/// Reads the password of the account.
pub(super) fn read(reader: &mut FieldReader<'_>) -> Option<String> {
    password_check::read(reader, "password")
}

/// Deletes an account and its photo file, and notifies its owner; `keep_last_staff` spares the last active staff
/// account. `needs_staff`: the session of the request must still be that of a staff account.
///
/// # Errors
/// [`AccountError::UserNotFound`] and [`AccountError::LastStaffMember`].
pub async fn delete_user(
    app: &Arc<App>,
    id: UserId,
    keep_last_staff: bool,
    needs_staff: bool,
    context: RequestContext,
) -> Result<(), AccountError> {
    let user = app.store.find_user(id).await?;
    let user = user.ok_or(AccountError::UserNotFound)?;
    // An administrator's address is none of the user's business.
    let is_own = context.actor_id == Some(id);
    let notice = MailContent::AccountDeleted {
        ip: is_own.then(|| context.ip.clone()),
    };
    let deletion = DeleteUser {
        user_id: id,
        address_hash: app.codes.hash_address(&key_of(&user.email)),
        keep_last_staff,
        needs_staff,
        notices: notices(app, &notice),
        now: app.clock.now(),
        context,
    };
    let app = Arc::clone(app);
    // A client that disconnects now must not leave the photo behind.
    detached(async move {
        match app.store.delete_user(deletion).await? {
            DeleteOutcome::Deleted { photo } => {
                app.outbox.wake().await;
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
