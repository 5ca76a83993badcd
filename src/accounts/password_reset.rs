//! Choosing a new password without knowing the old one.

use std::sync::Arc;

use super::confirm::{self, read_address};
use super::detached;
use super::new_password::{NewPassword, check_password, password_changed, person_of};
use super::{AccountError, Client, unread};
use crate::app::App;
use crate::crypto::random;
use crate::domain::{
    EmailAddress, FieldErrors, FieldReader, Fields, OtpCode, OtpPurpose, messages,
};
use crate::limits::Limited;
use crate::passwords::PersonalData;
use crate::store::{OtpAttempt, ResetRequest, TryLimits};

/// Mails a code to the last confirmed address of an account, if there is one. What came of it is told to nobody.
///
/// # Errors
/// Only for fields of the wrong form.
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
    let context = client.context(None);
    let app = Arc::clone(app);
    detached(async move {
        let now = app.clock.now();
        let purpose = OtpPurpose::PasswordReset;
        let reissued = app
            .codes
            .draw(async |code| {
                let wish = ResetRequest {
                    email_key: email.key().to_owned(),
                    otp: app
                        .codes
                        .new_otp(&app.outbox, purpose, email.key(), &code, now),
                    now,
                    limits: app.codes.limits(),
                    context: context.clone(),
                };
                app.store.create_password_reset(wish).await
            })
            .await?;
        if let Some(reissued) = reissued {
            app.outbox.wake().await;
            log::info!("user {}: password reset requested", reissued.user_id);
        }
        Ok(())
    })
    .await?
}

/// Reads the address, the code as it was typed, and the new password.
pub(super) fn read(
    reader: &mut FieldReader<'_>,
) -> (Option<EmailAddress>, Option<String>, NewPassword) {
    let (email, typed) = confirm::read(reader);
    (email, typed, NewPassword::read(reader))
}

/// Uses a code to set a new password. All sessions end, and the address counts as verified.
///
/// # Errors
/// [`AccountError::Fields`]: everything wrong with the fields, or the one complaint about a code that does not count. A
/// password that the rules refuse does not use the code up.
pub async fn confirm_reset(
    app: &App,
    fields: &Fields,
    client: &Client,
) -> Result<(), AccountError> {
    let mut reader = FieldReader::new(fields);
    let (email, typed, password) = read(&mut reader);
    // Whose account it is may be told only to who has the code, so the rest of the person is compared below.
    let person = PersonalData {
        email: email.as_ref().map(EmailAddress::as_str),
        ..PersonalData::default()
    };
    password.check(app, &mut reader, &person).await?;
    reader.finish()?;
    let email = email.ok_or_else(unread)?;
    let typed = typed.ok_or_else(unread)?;
    let password = password.confirmed()?;
    client.count(app, Limited::OtpTry)?;
    let code = OtpCode::parse(&typed);
    let attempt = || OtpAttempt {
        email_key: email.key().to_owned(),
        address_hash: app.codes.hash_address(email.key()),
        code_hash: code
            .as_ref()
            .map(|code| app.codes.hash(OtpPurpose::PasswordReset, email.key(), code)),
        network: client.network().to_string(),
        now: app.clock.now(),
        limits: TryLimits::DEFAULT,
        context: client.context(None),
    };
    let invalid_otp = || FieldErrors::one("otp", messages::INVALID_OTP);
    // Checked before the costly hash, and so that a refused password can be tried again with the same code.
    let user = app
        .store
        .check_password_reset(attempt())
        .await?
        .ok_or_else(invalid_otp)?;
    let mut reader = FieldReader::new(fields);
    check_password(app, &mut reader, &password, &person_of(&user)).await?;
    reader.finish()?;
    let new_hash = app
        .passwords
        .asked_by(client.asker(false))
        .hash(password, random::bytes())
        .await?;
    let notice = password_changed(app, Some(client));
    let user = app
        .store
        .confirm_password_reset(attempt(), &new_hash, notice)
        .await?
        .ok_or_else(invalid_otp)?;
    app.outbox.wake().await;
    log::info!("user {}: password reset, all sessions ended", user.id);
    Ok(())
}
