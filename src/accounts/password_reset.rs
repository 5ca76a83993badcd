//! Resetting a forgotten password by mail.

use std::sync::Arc;

use super::confirm::read_address;
use super::detached;
use super::mailbox_proof::TypedProof;
use super::new_password::{NewPassword, check_password, password_changed, person_of};
use super::{AccountError, Client, unread};
use crate::app::App;
use crate::crypto::random;
use crate::domain::{EmailAddress, FieldReader, Fields, OtpPurpose, UserId};
use crate::limits::Limited;
use crate::passwords::PersonalData;
use crate::store::{RequestContext, ResetRequest};

/// Mails a code to the last confirmed address of an account, if there is one.
///
/// The outcome is the same for known and unknown addresses.
///
/// # Errors
/// Only for malformed fields and rate limits.
pub async fn request_reset(
    app: &Arc<App>,
    fields: &Fields,
    client: &Client,
) -> Result<(), AccountError> {
    let mut reader = FieldReader::new(fields);
    let email = read_address(&mut reader);
    reader.finish()?;
    let email = email.ok_or_else(unread)?;
    client.count(app, Limited::Reset)?;
    let client = client.clone();
    let app = Arc::clone(app);
    detached(async move {
        let context = client.context(None);
        mail_reset(&app, &email, &client, context).await.map(drop)
    })
    .await?
}

/// Mails a code to the active account with this address; `None` without one or at the limit.
pub(super) async fn mail_reset(
    app: &App,
    email: &EmailAddress,
    client: &Client,
    context: RequestContext,
) -> Result<Option<UserId>, AccountError> {
    let now = app.clock.now();
    let otp_request = client.otp_request(now);
    let purpose = OtpPurpose::PasswordReset;
    let reissued = app
        .codes
        .draw(async |code| {
            let request = ResetRequest {
                email_key: email.key().to_owned(),
                otp: app
                    .codes
                    .new_otp(&app.outbox, purpose, email.key(), &code, &otp_request),
                now,
                limits: app.codes.limits(),
                context: context.clone(),
            };
            app.store.create_password_reset(request).await
        })
        .await?;
    let Some(reissued) = reissued else {
        return Ok(None);
    };
    app.outbox.wake().await;
    log::info!("user {}: password reset requested", reissued.user_id);
    Ok(Some(reissued.user_id))
}

/// Reads the code or token, and the new password.
pub(super) fn read(reader: &mut FieldReader<'_>) -> (Option<TypedProof>, NewPassword) {
    (TypedProof::read(reader), NewPassword::read(reader))
}

/// Sets a new password with a code or a link. All sessions end, and the address becomes verified.
///
/// # Errors
/// [`AccountError::Fields`] with all invalid fields, or about the code or token. A password that
/// violates the rules does not use it up.
pub async fn confirm_reset(
    app: &App,
    fields: &Fields,
    client: &Client,
) -> Result<(), AccountError> {
    let mut reader = FieldReader::new(fields);
    let (proof, password) = read(&mut reader);
    // Only the holder of the code may learn about the account: the rest of the person comes below.
    let person = PersonalData {
        email: proof
            .as_ref()
            .and_then(TypedProof::email)
            .map(EmailAddress::as_str),
        ..PersonalData::default()
    };
    password.check(app, &mut reader, &person).await?;
    reader.finish()?;
    let proof = proof.ok_or_else(unread)?;
    let password = password.confirmed()?;
    let proof = proof.resolve(app, client).await?;
    let attempt = || proof.attempt(app, OtpPurpose::PasswordReset, client, None);
    // Before the costly hash, and so that the same code works again after a refused password.
    let user = app
        .store
        .check_password_reset(attempt())
        .await?
        .ok_or_else(|| proof.invalid(app))?;
    let mut reader = FieldReader::new(fields);
    check_password(app, &mut reader, &password, &person_of(&user)).await?;
    reader.finish()?;
    let new_hash = app
        .passwords
        .asked_by(client.requester(false))
        .hash(password, random::bytes())
        .await?;
    let notices = password_changed(app, Some(client));
    let user = app
        .store
        .confirm_password_reset(attempt(), &new_hash, notices)
        .await?
        .ok_or_else(|| proof.invalid(app))?;
    app.outbox.wake().await;
    log::info!("user {}: password reset, all sessions ended", user.id);
    Ok(())
}
