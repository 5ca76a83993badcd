//! Confirming an address by its code, and asking for the code again.

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

/// What a right code brought about.
pub enum Confirmed {
    /// The account of a sign-up is active and signed in.
    SignUp(TokenPair),
    /// The new address of the caller's account is its own now.
    EmailChange,
}

/// Tries a code. With a caller it may be the one for the caller's own new address; otherwise it is that of a sign-up.
///
/// # Errors
/// One and the same [`AccountError::Fields`] for a code that is wrong, used, expired, unknown or dead.
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
    // The address tells which of the two it is: that of an unconfirmed change is nobody's sign-up, and the reverse.
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

/// Reads the address and the code as it was typed.
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

/// The one answer to every code that does not count.
fn invalid_otp() -> AccountError {
    FieldErrors::one("otp", messages::INVALID_OTP).into()
}

/// Reads the address that a code is asked for.
pub(super) fn read_address(reader: &mut FieldReader<'_>) -> Option<EmailAddress> {
    reader.required_email("email")
}

/// Mails the code of the newest pending sign-up, or of an unconfirmed new address, once more. What came of it is told to
/// nobody.
///
/// # Errors
/// Only for fields of the wrong form.
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
                let wish = ReissueOtp {
                    email_key: email.key().to_owned(),
                    codes: OtpCandidates {
                        sign_up: otp(OtpPurpose::SignUp),
                        email_change: otp(OtpPurpose::EmailChange),
                    },
                    now,
                    limits: app.codes.limits(),
                };
                app.store.reissue_otp(wish).await
            })
            .await?;
        if let Some(reissued) = reissued {
            app.outbox.wake().await;
            log::info!("user {}: code sent again", reissued.user_id);
        }
        Ok(())
    })
    .await?
}
