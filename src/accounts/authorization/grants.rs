//! The applications that a user has allowed something, or is signed in to.

use crate::accounts::{AccountError, Caller, Client};
use crate::app::App;
use crate::store::Grant;

/// The applications of the caller, the most recently used first.
///
/// # Errors
/// Only store errors.
pub async fn list_grants(app: &App, caller: &Caller) -> Result<Vec<Grant>, AccountError> {
    let now = app.clock.now();
    Ok(app.store.list_grants(caller.user.id, now).await?)
}

/// Revokes what the caller has allowed an application, and ends its sessions.
///
/// # Errors
/// [`AccountError::NotFound`] when there is nothing to revoke.
pub async fn revoke_grant(
    app: &App,
    caller: &Caller,
    client_id: &str,
    client: &Client,
) -> Result<(), AccountError> {
    let (context, now) = (client.context(Some(caller)), app.clock.now());
    let revoked = app
        .store
        .revoke_grant(caller.user.id, client_id, context, now)
        .await?;
    if !revoked {
        return Err(AccountError::NotFound);
    }
    log::info!(
        "user {}: access of client {client_id} revoked",
        caller.user.id
    );
    Ok(())
}
