//! Enrolling and removing an authenticator app.

use std::time::Duration;

use super::proofs::{self, Shown, accepted, factor_try, read_digits, refused};
use super::recovery_codes::new_codes;
use crate::accounts::new_password::notices;
use crate::accounts::profile::new_undo;
use crate::accounts::recent::require_recent;
use crate::accounts::refresh::recheck;
use crate::accounts::{AccountError, Caller, Client, unread};
use crate::app::App;
use crate::crypto::random;
use crate::crypto::totp::TotpSecret;
use crate::domain::{FieldErrors, FieldReader, Fields, RecoveryCode, SecondFactor, messages};
use crate::mail::MailContent;
use crate::observability::metrics::FactorEvent;
use crate::store::{
    ActivateOutcome, ActivateTotp, DeactivateTotp, FactorEnrolment, FactorRefusal, TotpDevice,
};

/// How long an enrolment may take.
const ACTIVATION_LIFE: Duration = Duration::from_mins(10);

/// What somebody needs to set up an authenticator app. Nothing is stored yet.
pub struct Enrolment {
    /// The secret in base 32.
    pub secret: String,
    /// The same as an `otpauth://` URL, for a QR code.
    pub url: String,
    /// Returns with the first code.
    pub activation_token: String,
}

/// Begins the enrolment of an authenticator app.
///
/// # Errors
/// [`AccountError::FactorAlreadyEnabled`] when the account has one;
/// [`AccountError::ReauthenticationRequired`].
pub async fn start_totp(app: &App, caller: &Caller) -> Result<Enrolment, AccountError> {
    require_recent(app, caller).await?;
    if app.store.find_factors(caller.user.id).await?.totp.is_some() {
        return Err(AccountError::FactorAlreadyEnabled);
    }
    let secret = TotpSecret::generate();
    let expires_at = app.clock.now().plus(ACTIVATION_LIFE);
    Ok(enrolment(
        app,
        caller,
        &secret,
        app.factor_key
            .seal_activation(caller.user.id, &secret, expires_at),
    ))
}

fn enrolment(
    app: &App,
    caller: &Caller,
    secret: &TotpSecret,
    activation_token: String,
) -> Enrolment {
    Enrolment {
        secret: secret.to_base32(),
        url: secret.url(&app.config.service_name(), &caller.user.email),
        activation_token,
    }
}

/// The enrolment that an activation token belongs to, to show it again after a wrong code.
pub fn resume_totp(app: &App, caller: &Caller, token: &str) -> Option<Enrolment> {
    let secret = app
        .factor_key
        .open_activation(caller.user.id, token, app.clock.now())?;
    Some(enrolment(app, caller, &secret, token.to_owned()))
}

/// Enrolls the app whose first code comes along. Returns the recovery codes that a first factor
/// brings.
///
/// # Errors
/// [`AccountError::Fields`] for a token that has expired and for a wrong code;
/// [`AccountError::FactorAlreadyEnabled`]; [`AccountError::ReauthenticationRequired`].
pub async fn activate_totp(
    app: &App,
    caller: &Caller,
    fields: &Fields,
    client: &Client,
) -> Result<Vec<RecoveryCode>, AccountError> {
    let caller = &recheck(app, caller).await?;
    require_recent(app, caller).await?;
    let mut reader = FieldReader::new(fields);
    let (token, code) = read_activation(&mut reader);
    reader.finish()?;
    let (token, code) = token.zip(code).ok_or_else(unread)?;
    let user_id = caller.user.id;
    if app.store.find_factors(user_id).await?.totp.is_some() {
        return Err(AccountError::FactorAlreadyEnabled);
    }
    let now = app.clock.now();
    let Some(secret) = app.factor_key.open_activation(user_id, &token, now) else {
        return Err(FieldErrors::one("activation_token", messages::INVALID_TOKEN).into());
    };
    let step = read_digits(&code).and_then(|code| secret.matching_step(&code, now));
    let wrong = (SecondFactor::Totp, FactorRefusal::Wrong);
    let step = step.ok_or_else(|| refused(app, client, wrong))?;
    let id = random::id();
    let device = TotpDevice {
        secret: app.factor_key.seal_device(user_id, &id, &secret),
        id,
        created_at: now,
        last_used_at: None,
    };
    let (codes, hashes) = new_codes(app, user_id);
    let undo = new_undo(app, now, |link, days| MailContent::FactorAdded {
        ip: client.shown_ip(),
        link: Some(link),
        days: Some(days),
    });
    let enrolment = FactorEnrolment {
        session: caller.session().clone(),
        recovery_codes: hashes,
        notices: notices(
            app,
            &MailContent::FactorAdded {
                ip: client.shown_ip(),
                link: None,
                days: None,
            },
        ),
        undo,
        context: client.context(Some(caller)),
        now,
    };
    let activation = ActivateTotp {
        device,
        step,
        enrolment,
    };
    match app.store.activate_totp(activation).await? {
        ActivateOutcome::AlreadyActive => Err(AccountError::FactorAlreadyEnabled),
        ActivateOutcome::Activated { is_first } => {
            app.outbox.wake().await;
            app.metrics
                .count_factor(SecondFactor::Totp, FactorEvent::Enrolled);
            log::info!("user {user_id}: authenticator app enrolled");
            Ok(if is_first { codes } else { Vec::new() })
        }
    }
}

/// Reads the token and the first code of an enrolment.
pub(crate) fn read_activation(reader: &mut FieldReader<'_>) -> (Option<String>, Option<String>) {
    let token = reader.required_text("activation_token", None);
    (token, proofs::read_code(reader))
}

/// Removes the authenticator app after a code of it or a recovery code.
///
/// # Errors
/// [`AccountError::InvalidPassword`] for a wrong code; [`AccountError::Throttled`];
/// [`AccountError::FactorNotEnabled`]; [`AccountError::ReauthenticationRequired`].
pub async fn deactivate_totp(
    app: &App,
    caller: &Caller,
    fields: &Fields,
    client: &Client,
) -> Result<(), AccountError> {
    let caller = &recheck(app, caller).await?;
    require_recent(app, caller).await?;
    let user_id = caller.user.id;
    let factors = app.store.find_factors(user_id).await?;
    if factors.totp.is_none() {
        return Err(AccountError::FactorNotEnabled);
    }
    let mut reader = FieldReader::new(fields);
    let code = proofs::read_code(&mut reader);
    reader.finish()?;
    let shown = Shown::Code(code.ok_or_else(unread)?);
    let account = (user_id, &factors);
    let tried = factor_try(app, (client, Some(caller)), account, shown, None).await?;
    let factor = tried.proof.factor();
    let ip = client.shown_ip();
    let content = match factors.passkeys.is_empty() {
        true => MailContent::FactorRemoved { ip: Some(ip) },
        false => MailContent::AppRemoved { ip },
    };
    let deactivation = DeactivateTotp {
        user_id,
        tried,
        notices: notices(app, &content),
    };
    let outcome = app.store.deactivate_totp(deactivation).await?;
    outcome
        .ok_or(AccountError::FactorNotEnabled)?
        .map_err(|refusal| refused(app, client, (factor, refusal)))?;
    accepted(app, factor);
    app.outbox.wake().await;
    log::info!("user {user_id}: authenticator app removed");
    Ok(())
}
