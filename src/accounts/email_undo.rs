//! Undoing an address change by the link sent to the former address.

use super::{AccountError, Caller, Client};
use crate::app::App;
use crate::store::{UndoEmailChange, UndoOutcome};

/// The address that this link's token restores, if the link is valid.
///
/// # Errors
/// Only store errors.
pub async fn find_undo(app: &App, token: &str) -> Result<Option<String>, AccountError> {
    Ok(app
        .store
        .find_email_undo(&app.codes.hash_link(token), app.clock.now())
        .await?)
}

/// Restores the address before a change. All sessions except the caller's own end.
///
/// # Errors
/// [`AccountError::InvalidLink`] when the link is unknown, used or expired;
/// [`AccountError::EmailTaken`] when another account has confirmed the former address by now.
pub async fn undo(
    app: &App,
    token: &str,
    caller: Option<&Caller>,
    client: &Client,
) -> Result<(), AccountError> {
    let undo = UndoEmailChange {
        token_hash: app.codes.hash_link(token),
        keep_session: caller.map(|caller| caller.session_id().to_owned()),
        now: app.clock.now(),
        context: client.context(caller),
    };
    match app.store.undo_email_change(undo).await? {
        UndoOutcome::Undone(user) => {
            log::info!("user {}: address change undone, sessions ended", user.id);
            Ok(())
        }
        UndoOutcome::InvalidLink => Err(AccountError::InvalidLink),
        UndoOutcome::EmailTaken => Err(AccountError::EmailTaken),
    }
}
