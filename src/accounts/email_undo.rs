//! Undoing an address change by the link sent to the former address.

use super::factors::{accepted, factor_try, read_optional_proof, read_proof, refused};
use super::new_password::notices;
use super::{AccountError, Caller, Client, unread};
use crate::app::App;
use crate::delivery::NOTICE_LIFETIME;
use crate::domain::{
    EmailAddress, FieldErrors, FieldReader, Fields, OtpPurpose, SecondFactor, messages,
};
use crate::mail::MailContent;
use crate::store::{EmailUndo, FactorTry, UndoEmailChange, UndoOutcome};

/// What the link with this token restores, and what it asks for, if the link is valid.
///
/// # Errors
/// Only store errors.
pub async fn find_undo(app: &App, token: &str) -> Result<Option<EmailUndo>, AccountError> {
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
/// An account with a factor that is older than the link wants a code or a passkey:
/// [`AccountError::Fields`], [`AccountError::InvalidPassword`], [`AccountError::Throttled`].
pub async fn undo(
    app: &App,
    token: &str,
    fields: &Fields,
    caller: Option<&Caller>,
    client: &Client,
) -> Result<(), AccountError> {
    let now = app.clock.now();
    let link = find_undo(app, token).await?;
    let link = link.ok_or(AccountError::InvalidLink)?;
    let email = EmailAddress::parse(&link.email).map_err(|_| AccountError::InvalidLink)?;
    let factor = read_factor(app, &link, fields, client).await?;
    let kind = factor.as_ref().map(|tried| tried.proof.factor());
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
                factor: factor.clone(),
                removed_notice: app.outbox.new_mail(&removed, now.plus(NOTICE_LIFETIME)),
                now,
                context: client.context(caller),
            };
            app.store.undo_email_change(undo).await
        })
        .await?;
    match outcome {
        UndoOutcome::Undone(user) => {
            if let Some(kind) = kind {
                accepted(app, kind);
            }
            app.outbox.wake().await;
            log::info!("user {}: address change undone, sessions ended", user.id);
            Ok(())
        }
        UndoOutcome::InvalidLink => Err(AccountError::InvalidLink),
        UndoOutcome::EmailTaken => Err(AccountError::EmailTaken),
        UndoOutcome::FactorRequired => Err(FieldErrors::one("code", messages::REQUIRED).into()),
        UndoOutcome::FactorRefused(refusal) => {
            let kind = kind.unwrap_or(SecondFactor::Totp);
            Err(refused(app, client, (kind, refusal)))
        }
    }
}

/// Reads the proof of an older factor, if the account has one.
async fn read_factor(
    app: &App,
    link: &EmailUndo,
    fields: &Fields,
    client: &Client,
) -> Result<Option<FactorTry>, AccountError> {
    if !link.factors.is_enabled() {
        return Ok(None);
    }
    let mut reader = FieldReader::new(fields);
    let shown = read_proof(&mut reader);
    reader.finish()?;
    let shown = shown.ok_or_else(unread)?;
    let account = (link.user_id, &link.factors);
    factor_try(app, (client, None), account, shown, None)
        .await
        .map(Some)
}

/// The fields of [`undo`].
pub(super) fn read(reader: &mut FieldReader<'_>) {
    read_optional_proof(reader);
}
