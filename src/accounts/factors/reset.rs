//! Removing all factors of an account for somebody who has lost them.

use crate::accounts::new_password::notices;
use crate::accounts::recent::require_recent;
use crate::accounts::refresh::recheck;
use crate::accounts::staff::{self, check_staff};
use crate::accounts::{AccountError, Caller, Client, operator, unread};
use crate::app::App;
use crate::domain::{FieldReader, Fields, User, UserId};
use crate::mail::MailContent;
use crate::store::{RequestContext, ResetFactors};

/// Removes all factors of an account and revokes its sessions. The owner is notified.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff; [`AccountError::UserNotFound`];
/// [`AccountError::ReauthenticationRequired`]; [`AccountError::Fields`] without a reason.
pub async fn reset_factors(
    app: &App,
    caller: &Caller,
    id: UserId,
    fields: &Fields,
    client: &Client,
) -> Result<(), AccountError> {
    let caller = &recheck(app, caller).await?;
    check_staff(caller)?;
    require_recent(app, caller).await?;
    let mut reader = FieldReader::new(fields);
    let reason = read_reason(&mut reader);
    reader.finish()?;
    let reason = reason.ok_or_else(unread)?;
    apply(app, id, client.context(Some(caller)).because(&reason)).await
}

/// Reads why the factors are removed.
pub(crate) fn read_reason(reader: &mut FieldReader<'_>) -> Option<String> {
    staff::read_reason(reader)
}

/// As [`reset_factors`], for administrators.
///
/// # Errors
/// [`AccountError::UserNotFound`].
pub async fn reset_factors_of(app: &App, user: &User, reason: &str) -> Result<(), AccountError> {
    apply(app, user.id, operator(app).because(reason)).await
}

/// Removes them in the name of a context whose right the caller has checked.
pub(in crate::accounts) async fn apply(
    app: &App,
    user_id: UserId,
    context: RequestContext,
) -> Result<(), AccountError> {
    let request = ResetFactors {
        user_id,
        notices: notices(app, &MailContent::FactorRemoved { ip: None }),
        context,
        now: app.clock.now(),
    };
    if !app.store.reset_factors(request).await? {
        return Err(AccountError::UserNotFound);
    }
    app.outbox.wake().await;
    log::info!("user {user_id}: factors reset, sessions revoked");
    Ok(())
}
