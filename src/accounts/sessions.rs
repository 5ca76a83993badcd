//! Listing and ending the caller's sessions.

use super::{AccountError, Caller, Client};
use crate::app::App;
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
    let (context, now) = (client.context(Some(caller)), app.clock.now());
    let ended = app
        .store
        .delete_other_sessions(caller.user.id, caller.session_id(), context, now)
        .await?;
    log::info!("user {}: {ended} other sessions ended", caller.user.id);
    Ok(())
}
