//! Undoing an address change by the link sent to the former address.

use super::new_password::{NOTICE_LIFE, notices};
use super::{AccountError, Caller, Client};
use crate::app::App;
use crate::domain::{EmailAddress, OtpPurpose};
use crate::mail::MailContent;
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

/// Restores the account as it was when the link was made.
///
/// All sessions end, the asking one too. What was set since then is void: password, codes, later
/// links and pending changes. The restored address gets a password reset.
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
    let now = app.clock.now();
    let email = find_undo(app, token).await?;
    let email = email.ok_or(AccountError::InvalidLink)?;
    let email = EmailAddress::parse(&email).map_err(|_| AccountError::InvalidLink)?;
    let request = client.otp_request(now);
    let restored = MailContent::AddressRestored {
        ip: Some(client.shown_ip()),
    };
    let outcome = app
        .codes
        .draw(async |code| {
            let (purpose, removed) = (OtpPurpose::PasswordReset, MailContent::AddressRemoved);
            let undo = UndoEmailChange {
                token_hash: app.codes.hash_link(token),
                reset: app
                    .codes
                    .new_otp(&app.outbox, purpose, email.key(), &code, &request),
                notices: notices(app, &restored),
                removed_notice: app.outbox.new_mail(&removed, now.plus(NOTICE_LIFE)),
                now,
                context: client.context(caller),
            };
            app.store.undo_email_change(undo).await
        })
        .await?;
    match outcome {
        UndoOutcome::Undone(user) => {
            app.outbox.wake().await;
            log::info!("user {}: address change undone, sessions ended", user.id);
            Ok(())
        }
        UndoOutcome::InvalidLink => Err(AccountError::InvalidLink),
        UndoOutcome::EmailTaken => Err(AccountError::EmailTaken),
    }
}
