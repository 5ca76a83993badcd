//! Listing and ending sessions: the caller's own, and as staff those of others.

use super::recent::require_recent_factor;
use super::staff::check_staff;
use super::{AccountError, Caller, Client};
use crate::app::App;
use crate::domain::UserId;
use crate::store::Session;

/// The caller's sessions, newest first.
///
/// # Errors
/// Only store errors.
pub async fn list_sessions(app: &App, caller: &Caller) -> Result<Vec<Session>, AccountError> {
    Ok(app
        .store
        .list_sessions(caller.user.id, app.clock.now())
        .await?)
}

/// Ends one of the caller's sessions.
///
/// # Errors
/// [`AccountError::NotFound`] unless it is the caller's.
pub async fn end_session(
    app: &App,
    caller: &Caller,
    client: &Client,
    id: &str,
) -> Result<(), AccountError> {
    let (context, now) = (client.context(Some(caller)), app.clock.now());
    let ended = app
        .store
        .delete_user_session(caller.user.id, id, context, now)
        .await?;
    if !ended {
        return Err(AccountError::NotFound);
    }
    log::info!("user {}: session ended", caller.user.id);
    Ok(())
}

/// Ends all of the caller's sessions except the current one.
///
/// # Errors
/// Only store errors.
pub async fn end_other_sessions(
    app: &App,
    caller: &Caller,
    client: &Client,
) -> Result<(), AccountError> {
    require_recent_factor(app, caller).await?;
    let (context, now) = (client.context(Some(caller)), app.clock.now());
    let ended = app
        .store
        .delete_other_sessions(caller.user.id, caller.session_id(), context, now)
        .await?;
    log::info!("user {}: {ended} other sessions ended", caller.user.id);
    Ok(())
}

/// The sessions of an account, newest first, for staff.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff.
pub async fn list_user_sessions(
    app: &App,
    caller: &Caller,
    user_id: UserId,
) -> Result<Vec<Session>, AccountError> {
    check_staff(caller)?;
    Ok(app.store.list_sessions(user_id, app.clock.now()).await?)
}

/// Ends one session of an account, as staff.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff; [`AccountError::NotFound`] when the account
/// has no such session.
pub async fn end_user_session(
    app: &App,
    caller: &Caller,
    client: &Client,
    user_id: UserId,
    id: &str,
) -> Result<(), AccountError> {
    check_staff(caller)?;
    let (context, now) = (client.context(Some(caller)), app.clock.now());
    let ended = app
        .store
        .delete_user_session(user_id, id, context, now)
        .await?;
    if !ended {
        return Err(AccountError::NotFound);
    }
    log::info!("user {user_id}: session ended by staff");
    Ok(())
}
