//! Codes that are typed as a second factor: what they are, and the tries of a client at them.

use crate::accounts::{AccountError, Caller, Client};
use crate::app::App;
use crate::domain::{FieldErrors, FieldReader, OtpCode, RecoveryCode, UserId, messages};
use crate::store::{FactorLimits, FactorOutcome, FactorTry, Factors, RequestContext, TypedCode};

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

/// What a text is, judged by the factors of an account.
pub(crate) fn read_typed(app: &App, user_id: UserId, factors: &Factors, text: &str) -> TypedCode {
    let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    if let Some(code) = OtpCode::parse(&digits) {
        let Some(device) = &factors.totp else {
            return TypedCode::Wrong;
        };
        let secret = app
            .factor_key
            .open_device(user_id, &device.id, &device.secret);
        let step = secret.and_then(|secret| secret.matching_step(&code, app.clock.now()));
        return match step {
            Some(step) => TypedCode::Totp {
                device_id: device.id.clone(),
                step,
            },
            None => TypedCode::Wrong,
        };
    }
    match RecoveryCode::parse(text) {
        Some(code) => TypedCode::Recovery(app.codes.hash_recovery_code(user_id, &code)),
        None => TypedCode::Wrong,
    }
}

/// The client of a try at a code.
pub(crate) struct FactorClient<'a> {
    network: String,
    context: RequestContext,
    app: &'a App,
}

impl<'a> FactorClient<'a> {
    /// A client who signs in, or the caller.
    pub(crate) fn new(app: &'a App, client: &Client, caller: Option<&Caller>) -> Self {
        Self {
            network: client.network().to_string(),
            context: client.context(caller),
            app,
        }
    }

    /// The try, for the store.
    pub(crate) fn tries(self, code: TypedCode) -> FactorTry {
        FactorTry {
            code,
            network: self.network,
            context: self.context,
            now: self.app.clock.now(),
            limits: FactorLimits::DEFAULT,
        }
    }
}

/// The error for a code that is not accepted.
pub(crate) fn wrong_code() -> AccountError {
    AccountError::InvalidPassword(FieldErrors::one(CODE, messages::INVALID_CODE))
}

/// The error for an outcome, if it is one.
pub(crate) fn accepted(app: &App, outcome: FactorOutcome) -> Result<(), AccountError> {
    match outcome {
        FactorOutcome::Accepted(_) => Ok(()),
        FactorOutcome::Wrong => Err(wrong_code()),
        FactorOutcome::Throttled { until } => {
            Err(AccountError::Throttled(until.since(app.clock.now())))
        }
    }
}
