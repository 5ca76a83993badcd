//! Codes that are typed as a second factor: what they are, and the tries of a client at them.

use crate::accounts::password_tries::PasswordTries;
use crate::accounts::{AccountError, Caller, Client};
use crate::app::App;
use crate::domain::{FieldErrors, FieldReader, OtpCode, RecoveryCode, UserId, messages};
use crate::limits::Limited;
use crate::store::{FactorLimits, FactorRefusal, FactorTry, Factors, TypedCode};

/// The field of a code of either kind.
const CODE: &str = "code";

/// Longest code as typed, in characters.
const CODE_LENGTH: usize = 128;

/// Reads a code of an authenticator app or a recovery code.
pub(crate) fn read(reader: &mut FieldReader<'_>) -> Option<String> {
    reader.required_text(CODE, Some(CODE_LENGTH))
}

/// The same where a code may come along.
pub(crate) fn read_optional(reader: &mut FieldReader<'_>) -> Option<String> {
    let code = reader.optional_text(CODE, CODE_LENGTH)?;
    (!code.is_empty()).then_some(code)
}

/// A try of a client at the factors of an account, for the store.
///
/// # Errors
/// [`AccountError::Throttled`] when too many sign-ins of the client's network failed.
pub(crate) fn factor_try(
    app: &App,
    (client, caller): (&Client, Option<&Caller>),
    (user_id, factors): (UserId, &Factors),
    text: &str,
) -> Result<FactorTry, AccountError> {
    client.check_limit(app, Limited::FailedSignIn)?;
    Ok(FactorTry {
        code: read_typed(app, user_id, factors, text),
        network: client.network().to_string(),
        context: client.context(caller),
        now: app.clock.now(),
        limits: FactorLimits::DEFAULT,
    })
}

/// Reads the six digits of an app as people type them, with blanks.
pub(super) fn read_digits(text: &str) -> Option<OtpCode> {
    let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    OtpCode::parse(&digits)
}

/// What a text is, judged by the factors of an account.
fn read_typed(app: &App, user_id: UserId, factors: &Factors, text: &str) -> TypedCode {
    if let Some(code) = read_digits(text) {
        let step = factors.totp.as_ref().and_then(|device| {
            let key = &app.factor_key;
            let secret = key.open_device(user_id, &device.id, &device.secret)?;
            let step = secret.matching_step(&code, app.clock.now())?;
            Some((device.id.clone(), step))
        });
        return match step {
            Some((device_id, step)) => TypedCode::Totp { device_id, step },
            None => TypedCode::Wrong,
        };
    }
    match RecoveryCode::parse(text) {
        Some(code) => TypedCode::Recovery(app.codes.hash_recovery_code(user_id, &code)),
        None => TypedCode::Wrong,
    }
}

/// The error for a code that is not accepted.
pub(crate) fn wrong_code() -> AccountError {
    AccountError::InvalidPassword(FieldErrors::one(CODE, messages::INVALID_CODE))
}

/// The error for a refused code. A wrong one counts as a failed sign-in of the client's network.
pub(crate) fn refused(app: &App, client: &Client, refusal: FactorRefusal) -> AccountError {
    match refusal {
        FactorRefusal::Wrong => match client.count(app, Limited::FailedSignIn) {
            Ok(()) => wrong_code(),
            Err(throttled) => throttled,
        },
        FactorRefusal::Throttled { until } => AccountError::Throttled(until.since(app.clock.now())),
    }
}

/// As [`refused`], where a wrong code counts as a failed try at the password as well.
pub(crate) async fn refused_at_sign_in(
    app: &App,
    tries: &PasswordTries<'_>,
    refusal: FactorRefusal,
) -> AccountError {
    if refusal != FactorRefusal::Wrong {
        return refused(app, tries.client(), refusal);
    }
    match tries.failed(app).await {
        Ok(()) => wrong_code(),
        Err(throttled) => throttled,
    }
}
