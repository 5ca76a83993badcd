//! Confirming an address by its code, and resending the code.

use std::sync::Arc;

use super::detached;
use super::{AccountError, Caller, Client, keys, unread};
use crate::app::App;
use crate::crypto::random;
use crate::crypto::tokens::TokenPair;
use crate::domain::{
    EmailAddress, FieldErrors, FieldReader, Fields, OtpCode, OtpPurpose, messages,
};
use crate::limits::Limited;
use crate::store::{AccountOtp, OtpAttempt, OtpCandidates, ReissueOtp, TryLimits};

/// The effect of a right code.
pub enum Confirmed {
    /// The account of a sign-up is active and signed in.
    SignUp(TokenPair),
    /// The caller's new address is confirmed.
    EmailChange,
}

/// Confirms an address with its code: the caller's own new address, or that of a sign-up.
///
/// # Errors
/// The same [`AccountError::Fields`] for wrong, used, expired, unknown and dead codes.
pub async fn confirm(
    app: &App,
    caller: Option<&Caller>,
    fields: &Fields,
    client: &Client,
) -> Result<Confirmed, AccountError> {
    let mut reader = FieldReader::new(fields);
    let (email, typed) = read(&mut reader);
    reader.finish()?;
    let (Some(email), Some(typed)) = (email, typed) else {
        return Err(unread());
    };
    client.count(app, Limited::OtpTry)?;
    let now = app.clock.now();
    let code = OtpCode::parse(&typed);
    let attempt = |purpose| OtpAttempt {
        email_key: email.key().to_owned(),
        address_hash: app.codes.hash_address(email.key()),
        code_hash: code
            .as_ref()
            .map(|code| app.codes.hash(purpose, email.key(), code)),
        network: client.network().to_string(),
        now,
        limits: TryLimits::DEFAULT,
        context: client.context(caller),
    };
    // The address decides: that of an unconfirmed change is never that of a sign-up.
    if let Some(caller) = caller
        && has_new_address(caller, email.key())
    {
        let otp = AccountOtp {
            user_id: caller.user.id,
            attempt: attempt(OtpPurpose::EmailChange),
        };
        return match app.store.confirm_email_change(otp).await? {
            Some(user) => {
                log::info!("user {}: new address confirmed", user.id);
                Ok(Confirmed::EmailChange)
            }
            None => Err(invalid_otp()),
        };
    }
    let session = client.new_session(app, now);
    let (session_id, refresh_id) = (session.id.clone(), session.refresh_id.clone());
    let user = app
        .store
        .confirm_sign_up(attempt(OtpPurpose::SignUp), session)
        .await?
        .ok_or_else(invalid_otp)?;
    log::info!("user {}: address confirmed, signed in", user.id);
    let pair =
        keys::signing(app)
            .await?
            .issue(&user, &session_id, &random::id(), &refresh_id, now)?;
    Ok(Confirmed::SignUp(pair))
}

/// Reads the address and the code as typed.
pub(super) fn read(reader: &mut FieldReader<'_>) -> (Option<EmailAddress>, Option<String>) {
    (
        reader.required_email("email"),
        reader.required_text("otp", None),
    )
}

fn has_new_address(caller: &Caller, email_key: &str) -> bool {
    caller
        .user
        .new_email
        .as_ref()
        .and_then(|new| EmailAddress::parse(new).ok())
        .is_some_and(|new| new.key() == email_key)
}

/// The one error for every invalid code.
fn invalid_otp() -> AccountError {
    FieldErrors::one("otp", messages::INVALID_OTP).into()
}

/// Reads the address that a code is requested for.
pub(super) fn read_address(reader: &mut FieldReader<'_>) -> Option<EmailAddress> {
    reader.required_email("email")
}

/// Resends the code of a pending sign-up or of an unconfirmed new address.
///
/// The outcome is the same for known and unknown addresses.
///
/// # Errors
/// Only for malformed fields and rate limits.
pub async fn resend(app: &Arc<App>, fields: &Fields, client: &Client) -> Result<(), AccountError> {
    let mut reader = FieldReader::new(fields);
    let email = read_address(&mut reader);
    reader.finish()?;
    let Some(email) = email else {
        return Err(unread());
    };
    client.count(app, Limited::Resend)?;
    let app = Arc::clone(app);
    detached(async move {
        let now = app.clock.now();
        let reissued = app
            .codes
            .draw(async |code| {
                let otp = |purpose| {
                    app.codes
                        .new_otp(&app.outbox, purpose, email.key(), &code, now)
                };
                let request = ReissueOtp {
                    email_key: email.key().to_owned(),
                    codes: OtpCandidates {
                        sign_up: otp(OtpPurpose::SignUp),
                        email_change: otp(OtpPurpose::EmailChange),
                    },
                    now,
                    limits: app.codes.limits(),
                };
                app.store.reissue_otp(request).await
            })
            .await?;
        if let Some(reissued) = reissued {
            app.outbox.wake().await;
            log::info!("user {}: code resent", reissued.user_id);
        }
        Ok(())
    })
    .await?
}
