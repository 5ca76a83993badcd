//! Proofs of a second factor: what a client shows, and its tries at it.

use super::passkeys::{
    CREDENTIAL, SESSION_ID, SESSION_ID_LENGTH, check_answer, second_step, sign_in_subject,
};
use crate::accounts::password_tries::PasswordTries;
use crate::accounts::{AccountError, Caller, Client};
use crate::app::App;
use crate::domain::{
    FieldErrors, FieldReader, OtpCode, RecoveryCode, SecondFactor, UserId, messages,
};
use crate::limits::Limited;
use crate::observability::metrics::FactorEvent;
use crate::store::{FactorLimits, FactorProof, FactorRefusal, FactorTry, Factors};

/// The field of a code of either kind.
const CODE: &str = "code";

/// Longest code as typed, in characters.
const CODE_LENGTH: usize = 128;

/// What a client shows.
pub(crate) enum Shown {
    /// A code of an authenticator app or a recovery code, as typed.
    Code(String),
    /// The answer of a passkey, as JSON.
    Passkey {
        json: String,
        /// The id of the sign-in that it answers; empty in the second step of one, where the ticket
        /// takes its place.
        session_id: String,
    },
}

/// Reads a code of an authenticator app or a recovery code.
pub(crate) fn read_code(reader: &mut FieldReader<'_>) -> Option<String> {
    reader.required_text(CODE, Some(CODE_LENGTH))
}

/// The same where a code may come along.
pub(crate) fn read_optional_code(reader: &mut FieldReader<'_>) -> Option<String> {
    let code = reader.optional_text(CODE, CODE_LENGTH)?;
    (!code.is_empty()).then_some(code)
}

/// Reads a code, or the answer of a passkey to the options of `passkeys/login/begin/`.
pub(crate) fn read(reader: &mut FieldReader<'_>) -> Option<Shown> {
    let code = read_optional_code(reader);
    let json = reader.optional_object(CREDENTIAL, messages::INVALID_CREDENTIAL);
    let session_id = match json {
        Some(_) => reader.required_text(SESSION_ID, Some(SESSION_ID_LENGTH)),
        None => reader.optional_text(SESSION_ID, SESSION_ID_LENGTH),
    };
    let passkey = json.zip(session_id);
    shown(reader, code, passkey)
}

/// The fields of [`read`], none of which is required.
pub(crate) fn read_optional_proof(reader: &mut FieldReader<'_>) {
    read_optional_code(reader);
    reader.optional_object(CREDENTIAL, messages::INVALID_CREDENTIAL);
    reader.optional_text(SESSION_ID, SESSION_ID_LENGTH);
}

/// Reads a code, or the answer of a passkey in the second step of a sign-in.
pub(crate) fn read_second_step(reader: &mut FieldReader<'_>) -> Option<Shown> {
    let code = read_optional_code(reader);
    let json = reader.optional_object(CREDENTIAL, messages::INVALID_CREDENTIAL);
    let passkey = json.map(|json| (json, String::new()));
    shown(reader, code, passkey)
}

fn shown(
    reader: &mut FieldReader<'_>,
    code: Option<String>,
    passkey: Option<(&str, String)>,
) -> Option<Shown> {
    if let Some((json, session_id)) = passkey {
        let json = json.to_owned();
        return Some(Shown::Passkey { json, session_id });
    }
    if code.is_none() && !reader.contains(CREDENTIAL) {
        return read_code(reader).map(Shown::Code);
    }
    code.map(Shown::Code)
}

/// A try of a client at the factors of an account, for the store. `ticket_hash`: in the second step
/// of the sign-in with this ticket.
///
/// # Errors
/// [`AccountError::Throttled`] when too many sign-ins of the client's network failed.
pub(crate) async fn factor_try(
    app: &App,
    (client, caller): (&Client, Option<&Caller>),
    account: (UserId, &Factors),
    shown: Shown,
    ticket_hash: Option<&[u8]>,
) -> Result<FactorTry, AccountError> {
    client.check_limit(app, Limited::FailedSignIn)?;
    let proof = match shown {
        Shown::Code(text) => read_typed(app, account, &text),
        Shown::Passkey { json, session_id } => {
            let subject = match ticket_hash {
                Some(hash) => second_step(hash),
                None => sign_in_subject(app, &session_id),
            };
            check_answer(app, account, &json, subject)
                .await?
                .map_or(FactorProof::WrongPasskey, FactorProof::Passkey)
        }
    };
    Ok(FactorTry {
        proof,
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
fn read_typed(app: &App, (user_id, factors): (UserId, &Factors), text: &str) -> FactorProof {
    if let Some(code) = read_digits(text) {
        let step = factors.totp.as_ref().and_then(|device| {
            let key = &app.factor_key;
            let secret = key.open_device(user_id, &device.id, &device.secret)?;
            let step = secret.matching_step(&code, app.clock.now())?;
            Some((device.id.clone(), step))
        });
        return match step {
            Some((device_id, step)) => FactorProof::Totp { device_id, step },
            None => FactorProof::WrongCode,
        };
    }
    match RecoveryCode::parse(text) {
        Some(code) => FactorProof::Recovery(app.codes.hash_recovery_code(user_id, &code)),
        None => FactorProof::WrongCode,
    }
}

/// The error for a proof that is not accepted.
fn wrong(factor: SecondFactor) -> AccountError {
    AccountError::InvalidPassword(match factor {
        SecondFactor::Webauthn => FieldErrors::one(CREDENTIAL, messages::INVALID_CREDENTIAL),
        SecondFactor::Totp | SecondFactor::RecoveryCode => {
            FieldErrors::one(CODE, messages::INVALID_CODE)
        }
    })
}

/// Counts a proof that was accepted.
pub(crate) fn accepted(app: &App, factor: SecondFactor) {
    app.metrics.count_factor(factor, FactorEvent::Verified);
}

/// The error for a refused proof. A wrong one counts as a failed sign-in of the client's network.
pub(crate) fn refused(
    app: &App,
    client: &Client,
    (factor, refusal): (SecondFactor, FactorRefusal),
) -> AccountError {
    match refusal {
        FactorRefusal::Wrong => {
            app.metrics.count_factor(factor, FactorEvent::Failed);
            match client.count(app, Limited::FailedSignIn) {
                Ok(()) => wrong(factor),
                Err(throttled) => throttled,
            }
        }
        FactorRefusal::Throttled { until } => AccountError::Throttled(until.since(app.clock.now())),
    }
}

/// As [`refused`], where a wrong code counts as a failed try at the password as well. A passkey
/// cannot be guessed.
pub(crate) async fn refused_at_sign_in(
    app: &App,
    tries: &PasswordTries<'_>,
    (factor, refusal): (SecondFactor, FactorRefusal),
) -> AccountError {
    if refusal != FactorRefusal::Wrong || factor == SecondFactor::Webauthn {
        return refused(app, tries.client(), (factor, refusal));
    }
    app.metrics.count_factor(factor, FactorEvent::Failed);
    match tries.failed(app).await {
        Ok(()) => wrong(factor),
        Err(throttled) => throttled,
    }
}
