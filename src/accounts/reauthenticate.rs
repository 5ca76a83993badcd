//! Authenticating again within a session, for what wants recent authentication.

use std::sync::Arc;

use super::browser_session::{BrowserSession, hash};
use super::detached;
use super::factors::{self, accepted, factor_try, refused_at_sign_in};
use super::mailbox_proof::wrong_code;
use super::password_check::{current_hash, is_current_password, wrong_password};
use super::password_tries::PasswordTries;
use super::recent::{ReauthenticationMethod, reauthentication_methods};
use super::refresh::recheck;
use super::{AccountError, Caller, Client, keys, session_lifetimes, unread};
use crate::app::App;
use crate::crypto::random;
use crate::crypto::tokens::TokenSubject;
use crate::domain::{
    Authentication, EmailAddress, FieldErrors, FieldReader, Fields, OtpCode, OtpPurpose,
    SecondFactor, Timestamp, User, messages,
};
use crate::limits::Limited;
use crate::store::{
    FactorTry, Factors, OtpAttempt, ProvenIdentity, Reauthentication, ReauthenticationOtp,
    ReauthenticationOutcome, Reauthenticator, TryLimits,
};

const PASSWORD: &str = "password";
const OTP: &str = "otp";

/// Longest mailed code as typed, in characters.
const OTP_LENGTH: usize = 128;

/// A session whose owner has authenticated again.
struct Renewed {
    user: Box<User>,
    created_at: Timestamp,
    authentication: Authentication,
}

/// Checks the password of a caller once more, a second factor, or a mailed code. Returns an access token that says
/// so; the refresh token of the session stays as it is.
///
/// # Errors
/// [`AccountError::InvalidPassword`] or [`AccountError::InvalidOtp`],
/// [`AccountError::SessionEnded`].
pub async fn reauthenticate(
    app: &App,
    caller: &Caller,
    fields: &Fields,
    client: &Client,
) -> Result<String, AccountError> {
    let session = renew(app, caller, fields, client, None).await?;
    let subject = TokenSubject {
        user: &session.user,
        session_id: caller.session_id(),
        authentication: &session.authentication,
        session_end: session_lifetimes(app).end(session.created_at, session.user.is_staff),
    };
    let tokens = keys::signing(app).await?;
    Ok(tokens.issue_access(subject, &random::id(), session.authentication.at)?)
}

/// As [`reauthenticate`], for a browser: the session gets a new secret, which is returned.
///
/// # Errors
/// As [`reauthenticate`].
pub async fn reauthenticate_browser(
    app: &App,
    session: &BrowserSession,
    fields: &Fields,
    client: &Client,
) -> Result<String, AccountError> {
    let secret = random::secret();
    let hashes = (session.secret_hash.clone(), hash(&secret));
    renew(app, &session.caller, fields, client, Some(hashes)).await?;
    Ok(secret)
}

async fn renew(
    app: &App,
    caller: &Caller,
    fields: &Fields,
    client: &Client,
    secret_hashes: Option<(Vec<u8>, Vec<u8>)>,
) -> Result<Renewed, AccountError> {
    // The body may have arrived slowly.
    let caller = &recheck(app, caller).await?;
    let factors = app.store.find_factors(caller.user.id).await?;
    let methods = reauthentication_methods(app, caller).await?;
    let shown = if factors.is_enabled() {
        Reauthenticator::Factor(read_factor(app, caller, &factors, fields, client).await?)
    } else if methods.contains(&ReauthenticationMethod::Password) {
        check_password(app, caller, fields, client).await?
    } else {
        Reauthenticator::Otp(read_otp(app, caller, fields, client)?)
    };
    store(app, caller, shown, client, secret_hashes).await
}

/// As [`reauthenticate_browser`], by an identity that its provider has just proven.
///
/// # Errors
/// [`AccountError::WrongIdentity`] when it is not one of the account, or the account has a second
/// factor; [`AccountError::SessionEnded`].
pub(super) async fn reauthenticate_by_identity(
    app: &App,
    session: &BrowserSession,
    proven: ProvenIdentity,
    client: &Client,
) -> Result<String, AccountError> {
    let secret = random::secret();
    let hashes = (session.secret_hash.clone(), hash(&secret));
    let shown = Reauthenticator::Identity(proven);
    store(app, &session.caller, shown, client, Some(hashes)).await?;
    Ok(secret)
}

/// Notes in the session what its owner has shown, which the store still may have to check.
async fn store(
    app: &App,
    caller: &Caller,
    shown: Reauthenticator,
    client: &Client,
    secret_hashes: Option<(Vec<u8>, Vec<u8>)>,
) -> Result<Renewed, AccountError> {
    let factor = match &shown {
        Reauthenticator::Factor(tried) => Some(tried.proof.factor()),
        Reauthenticator::Password(_) | Reauthenticator::Otp(_) | Reauthenticator::Identity(_) => {
            None
        }
    };
    let now = app.clock.now();
    let request = Reauthentication {
        session: caller.session().clone(),
        now,
        shown,
        secret_hashes,
        context: client.context(Some(caller)),
    };
    match app.store.reauthenticate(request).await? {
        ReauthenticationOutcome::Done {
            user,
            created_at,
            authentication,
        } => {
            if let Some(factor) = factor {
                accepted(app, factor);
            }
            log::info!("user {}: authenticated again", user.id);
            Ok(Renewed {
                user,
                created_at,
                authentication,
            })
        }
        ReauthenticationOutcome::InvalidOtp => Err(wrong_code(app)),
        ReauthenticationOutcome::WrongIdentity => Err(AccountError::WrongIdentity),
        ReauthenticationOutcome::FactorRefused(refusal) => {
            let tries = PasswordTries::of_caller(client, caller);
            let factor = factor.unwrap_or(SecondFactor::Totp);
            Err(refused_at_sign_in(app, &tries, (factor, refusal)).await)
        }
        ReauthenticationOutcome::Ended => Err(AccountError::SessionEnded),
    }
}

/// Reads the proof of a second factor, which the store checks.
async fn read_factor(
    app: &App,
    caller: &Caller,
    factors: &Factors,
    fields: &Fields,
    client: &Client,
) -> Result<FactorTry, AccountError> {
    let mut reader = FieldReader::new(fields);
    let shown = factors::read_proof(&mut reader);
    reader.finish()?;
    let shown = shown.ok_or_else(unread)?;
    let account = (caller.user.id, factors);
    factor_try(app, (client, Some(caller)), account, shown, None).await
}

/// Checks the password. A wrong one counts as a failed sign-in.
async fn check_password(
    app: &App,
    caller: &Caller,
    fields: &Fields,
    client: &Client,
) -> Result<Reauthenticator, AccountError> {
    let mut reader = FieldReader::new(fields);
    let password = reader.required_secret(PASSWORD, None);
    reader.finish()?;
    let password = password.ok_or_else(unread)?;
    let old_hash = current_hash(app, caller).await?;
    if !is_current_password(app, caller, client, password, &old_hash).await? {
        return Err(wrong_password(PASSWORD));
    }
    let tried = PasswordTries::of_caller(client, caller).next(app);
    Ok(Reauthenticator::Password(tried))
}

/// Reads the code, which the store checks.
fn read_otp(
    app: &App,
    caller: &Caller,
    fields: &Fields,
    client: &Client,
) -> Result<OtpAttempt, AccountError> {
    let mut reader = FieldReader::new(fields);
    let typed = reader.required_text(OTP, Some(OTP_LENGTH));
    reader.finish()?;
    let code = OtpCode::parse(&typed.ok_or_else(unread)?);
    client.count(app, Limited::OtpTry)?;
    let email = confirmed_address(caller)?;
    let hash = |code: &OtpCode| {
        let purpose = OtpPurpose::Reauthentication;
        app.codes.hash(purpose, email.key(), code)
    };
    Ok(OtpAttempt {
        email_key: email.key().to_owned(),
        address_hash: app.codes.hash_address(email.key()),
        code_hash: code.as_ref().map(hash),
        token_hash: None,
        network: client.network().to_string(),
        now: app.clock.now(),
        limits: TryLimits::DEFAULT,
        context: client.context(Some(caller)),
    })
}

/// The fields of [`reauthenticate`]: which one is required depends on the account.
pub(super) fn read(reader: &mut FieldReader<'_>) {
    reader.optional_secret(PASSWORD, None);
    reader.optional_text(OTP, OTP_LENGTH);
    factors::read_optional_proof(reader);
}

/// Mails a code for [`reauthenticate`] to the confirmed address of a caller without a password.
///
/// # Errors
/// [`AccountError::Fields`] when the account has a password; [`AccountError::Throttled`] at the
/// limit of mails to an address.
pub async fn request_reauthentication(
    app: &Arc<App>,
    caller: &Caller,
    client: &Client,
) -> Result<(), AccountError> {
    let methods = reauthentication_methods(app, caller).await?;
    if !methods.contains(&ReauthenticationMethod::Otp) {
        return Err(FieldErrors::one(PASSWORD, messages::REQUIRED).into());
    }
    client.count(app, Limited::Resend)?;
    let (app, caller, client) = (Arc::clone(app), caller.clone(), client.clone());
    detached(async move {
        let now = app.clock.now();
        let otp_request = client.otp_request(now);
        let email = confirmed_address(&caller)?;
        let pause = app
            .codes
            .draw(async |code| {
                let purpose = OtpPurpose::Reauthentication;
                let request = ReauthenticationOtp {
                    user_id: caller.user.id,
                    email: (email.key().to_owned(), email.as_str().to_owned()),
                    otp: app
                        .codes
                        .new_otp(&app.outbox, purpose, email.key(), &code, &otp_request),
                    now,
                    limits: app.codes.limits(),
                    context: client.context(Some(&caller)),
                };
                app.store.create_reauthentication_otp(request).await
            })
            .await?;
        if let Some(until) = pause {
            return Err(AccountError::Throttled(until.since(now)));
        }
        app.outbox.wake().await;
        log::info!("user {}: code for reauthentication mailed", caller.user.id);
        Ok(())
    })
    .await?
}

/// The last confirmed address of the caller.
fn confirmed_address(caller: &Caller) -> Result<EmailAddress, AccountError> {
    EmailAddress::parse(&caller.user.email)
        .map_err(|_| AccountError::Internal("a stored address is invalid".into()))
}
