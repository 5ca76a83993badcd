//! `mfa/`: second factors of the caller's account, and the second step of a sign-in. Names and
//! bodies are those of dj-rest-auth's app `mfa`.

use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::passkeys::WRONG_CREDENTIAL;
use super::reauthenticate::REQUIRED;
use crate::accounts::{self, forms};
use crate::app::SharedApp;
use crate::crypto::tokens::TokenPair;
use crate::crypto::webauthn::RequestOptions;
use crate::domain::{FieldErrors, RecoveryCode, Timestamp, messages};
use crate::http::body;
use crate::http::error::ApiError;
use crate::http::operation::{Body, Operation, Outcome, Refusal, THROTTLED, Tag};
use crate::http::qr_code;
use crate::http::reply::{self, Detail};
use crate::http::request::Request;
use crate::http::route::HandlerResult;

pub(crate) const WRONG_CODE: Refusal = Refusal {
    when: "the code is wrong, or was used before",
    error: || ApiError::Fields(FieldErrors::one("code", messages::INVALID_CODE)),
};

const NOT_ENABLED: Refusal = Refusal {
    when: "the account has no second factor",
    error: || ApiError::FactorNotEnabled,
};

const ALREADY_ENABLED: Refusal = Refusal {
    when: "the account has an authenticator app already",
    error: || ApiError::FactorAlreadyEnabled,
};

const DEAD_TICKET: Refusal = Refusal {
    when: "the ticket is unknown, used, expired, or void by a change of the account",
    error: || ApiError::InvalidToken,
};

/// `POST mfa/verify/`
pub(crate) const VERIFY: Operation = Operation {
    id: "verifySecondFactor",
    tag: Tag::Tokens,
    summary: "Complete a sign-in",
    description: "The second step of a sign-in to an account with a second factor: trades the \
                  `ephemeral_token` that `token/` answered, and a code of the authenticator app, a \
                  recovery code, or as `credential` the answer of a passkey to the options of \
                  `mfa/webauthn/begin/`, for a pair of tokens. The ticket lasts 5 minutes and 5 \
                  tries.",
    body: Some(Body {
        form: forms::second_step,
        example: r#"{"ephemeral_token": "5b1f0c", "code": "123456"}"#,
    }),
    answers: &[Outcome::json::<TokenPair>(
        200,
        "a session begins",
        r#"{"access": "eyJ0eXAiOiJhdCtqd3Qi.e30.c2ln", "refresh": "eyJ0eXAiOiJydCtqd3Qi.e30.c2ln"}"#,
    )],
    refusals: &[WRONG_CODE, WRONG_CREDENTIAL, DEAD_TICKET, THROTTLED],
    ..Operation::NEW
};

/// `POST mfa/verify/`
pub(crate) async fn verify(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = body::fields(app, request).await?;
    let signed = accounts::complete_sign_in(app, &fields, &request.client(app)).await?;
    Ok(reply::json(StatusCode::OK, &signed.into_tokens()?))
}

/// `POST mfa/webauthn/begin/`
pub(crate) const START_WEBAUTHN: Operation = Operation {
    id: "startSecondFactor",
    tag: Tag::Tokens,
    summary: "Start the use of a passkey as second factor",
    description: "Options for `navigator.credentials.get()` with the passkeys of the account that \
                  signs in, as `PublicKeyCredential.parseRequestOptionsFromJSON()` takes them. The \
                  answer goes to `mfa/verify/` as `credential`, within 5 minutes and once.",
    body: Some(Body {
        form: forms::second_step_begin,
        example: r#"{"ephemeral_token": "5b1f0c"}"#,
    }),
    answers: &[Outcome::json::<RequestOptions>(
        200,
        "the options",
        r#"{"challenge": "Y2hhbGxlbmdl", "timeout": 300000, "rpId": "accounts.example.com", "allowCredentials": [{"type": "public-key", "id": "Y3JlZA", "transports": ["internal"]}], "userVerification": "required"}"#,
    )],
    refusals: &[
        Refusal {
            when: "the account has no passkey",
            error: || ApiError::FactorNotEnabled,
        },
        DEAD_TICKET,
        THROTTLED,
    ],
    ..Operation::NEW
};

/// `POST mfa/webauthn/begin/`
pub(crate) async fn start_webauthn(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = body::fields(app, request).await?;
    let options = accounts::start_second_step(app, &fields, &request.client(app)).await?;
    Ok(reply::json(StatusCode::OK, &options))
}

/// The factors of an account.
#[derive(Serialize, JsonSchema)]
struct StatusResponse {
    mfa_enabled: bool,
    created_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
    methods: Vec<&'static str>,
    recovery_codes_left: u32,
    required: bool,
}

/// `GET mfa/status/`
pub(crate) const STATUS: Operation = Operation {
    id: "retrieveSecondFactors",
    tag: Tag::SecondFactors,
    summary: "Second factors of the account",
    description: "Says whether signing in wants a second factor, and which there are. `required` \
                  says that `[mfa] required_for` demands one of the account.",
    answers: &[Outcome::json::<StatusResponse>(
        200,
        "the factors",
        r#"{"mfa_enabled": true, "created_at": "2024-12-03T12:00:00Z", "last_used_at": null, "methods": ["totp", "recovery_code"], "recovery_codes_left": 10, "required": false}"#,
    )],
    ..Operation::NEW
};

/// `GET mfa/status/`
pub(crate) async fn status(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_caller()?;
    let status = accounts::factor_status(app, &caller).await?;
    Ok(reply::json(
        StatusCode::OK,
        &StatusResponse {
            mfa_enabled: status.is_enabled(),
            created_at: status.created_at,
            last_used_at: status.last_used_at,
            methods: status
                .methods
                .iter()
                .map(|method| method.as_str())
                .collect(),
            recovery_codes_left: status.recovery_codes_left,
            required: status.is_required,
        },
    ))
}

/// What an authenticator app needs.
#[derive(Serialize, JsonSchema)]
struct EnrolmentResponse {
    secret: String,
    totp_url: String,
    qr_code_data_uri: String,
    activation_token: String,
}

/// `GET mfa/totp/activate/`
pub(crate) const START_TOTP: Operation = Operation {
    id: "startTotp",
    tag: Tag::SecondFactors,
    summary: "Start the enrolment of an authenticator app",
    description: "Draws a secret for an authenticator app (RFC 6238: SHA-1, 6 digits, 30 seconds). \
                  Nothing is stored yet: show the QR code, and send `activation_token` back with \
                  the first code within 10 minutes. Wants recent authentication.",
    answers: &[Outcome::json::<EnrolmentResponse>(
        200,
        "the secret, as text, URL and picture",
        r#"{"secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "totp_url": "otpauth://totp/Example:user%40example%2Ecom?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Example&algorithm=SHA1&digits=6&period=30", "qr_code_data_uri": "data:image/svg+xml;base64,PHN2Zy8+", "activation_token": "c2VhbGVk"}"#,
    )],
    refusals: &[ALREADY_ENABLED, REQUIRED],
    ..Operation::NEW
};

/// `GET mfa/totp/activate/`
pub(crate) async fn start_totp(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_caller()?;
    let enrolment = accounts::start_totp(app, &caller).await?;
    Ok(reply::json(
        StatusCode::OK,
        &EnrolmentResponse {
            qr_code_data_uri: qr_code::data_uri(&enrolment.url)?,
            secret: enrolment.secret,
            totp_url: enrolment.url,
            activation_token: enrolment.activation_token,
        },
    ))
}

/// The recovery codes that came with a first factor.
#[derive(Serialize, JsonSchema)]
struct ActivationResponse {
    recovery_codes: Vec<String>,
}

/// `POST mfa/totp/activate/`
pub(crate) const ACTIVATE_TOTP: Operation = Operation {
    id: "activateTotp",
    tag: Tag::SecondFactors,
    summary: "Enroll an authenticator app",
    description: "Stores the secret of `activation_token` after a first code of the app. With a \
                  first factor all other sessions end, and the answer has ten recovery codes, \
                  which are not shown again. Wants recent authentication.",
    body: Some(Body {
        form: forms::activate_totp,
        example: r#"{"activation_token": "c2VhbGVk", "code": "123456"}"#,
    }),
    answers: &[Outcome::json::<ActivationResponse>(
        200,
        "the app is enrolled; recovery codes with a first factor only",
        r#"{"recovery_codes": ["01AZ0-ZHJKM"]}"#,
    )],
    refusals: &[
        WRONG_CODE,
        Refusal {
            when: "the token has expired, or is of another account",
            error: || {
                ApiError::Fields(FieldErrors::one(
                    "activation_token",
                    messages::INVALID_TOKEN,
                ))
            },
        },
        ALREADY_ENABLED,
        REQUIRED,
        THROTTLED,
    ],
    ..Operation::NEW
};

/// `POST mfa/totp/activate/`
pub(crate) async fn activate_totp(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_caller()?;
    let fields = body::fields(app, request).await?;
    let codes = accounts::activate_totp(app, &caller, &fields, &request.client(app)).await?;
    Ok(reply::json(
        StatusCode::OK,
        &ActivationResponse {
            recovery_codes: shown(&codes),
        },
    ))
}

/// `POST mfa/totp/deactivate/`
pub(crate) const DEACTIVATE_TOTP: Operation = Operation {
    id: "deactivateTotp",
    tag: Tag::SecondFactors,
    summary: "Remove the authenticator app",
    description: "Removes the app after a code of it or a recovery code; recovery codes go with \
                  the last factor. Wants recent authentication.",
    body: Some(Body {
        form: forms::factor_code,
        example: r#"{"code": "123456"}"#,
    }),
    answers: &[Outcome::json::<Detail>(
        200,
        "the app is removed",
        r#"{"detail": "TOTP has been deactivated."}"#,
    )],
    refusals: &[WRONG_CODE, NOT_ENABLED, REQUIRED, THROTTLED],
    ..Operation::NEW
};

/// `POST mfa/totp/deactivate/`
pub(crate) async fn deactivate_totp(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_caller()?;
    let fields = body::fields(app, request).await?;
    accounts::deactivate_totp(app, &caller, &fields, &request.client(app)).await?;
    Ok(reply::detail("TOTP has been deactivated."))
}

/// New recovery codes.
#[derive(Serialize, JsonSchema)]
struct CodesResponse {
    codes: Vec<String>,
}

/// `POST mfa/recovery-codes/regenerate/`
pub(crate) const REGENERATE_CODES: Operation = Operation {
    id: "regenerateRecoveryCodes",
    tag: Tag::SecondFactors,
    summary: "Replace the recovery codes",
    description: "Draws ten recovery codes in the place of the old ones, which are void. Codes \
                  are never listed again. Wants recent authentication.",
    answers: &[Outcome::json::<CodesResponse>(
        200,
        "the new codes",
        r#"{"codes": ["01AZ0-ZHJKM"]}"#,
    )],
    refusals: &[NOT_ENABLED, REQUIRED],
    ..Operation::NEW
};

/// `POST mfa/recovery-codes/regenerate/`
pub(crate) async fn regenerate_codes(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_caller()?;
    body::fields(app, request).await?;
    let codes = accounts::regenerate_recovery_codes(app, &caller, &request.client(app)).await?;
    Ok(reply::json(
        StatusCode::OK,
        &CodesResponse {
            codes: shown(&codes),
        },
    ))
}

/// `POST users/<pk>/mfa/reset/`
pub(crate) const RESET: Operation = Operation {
    id: "resetSecondFactors",
    tag: Tag::Staff,
    summary: "Remove all second factors of an account",
    description: "For somebody who has lost them: factors and recovery codes are removed, and all \
                  sessions of the account end. The owner is notified, and the reason is in the \
                  audit log. An account that could sign in with passkeys only gets a password \
                  reset. Needs the token of a staff account and recent authentication.",
    body: Some(Body {
        form: forms::reset_factors,
        example: r#"{"reason": "Lost phone, identity checked by telephone"}"#,
    }),
    answers: &[Outcome::nothing(204, "the factors are removed")],
    refusals: &[REQUIRED],
    ..Operation::NEW
};

/// `POST users/<pk>/mfa/reset/`
pub(crate) async fn reset(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let id = request.user_id()?;
    let caller = request.take_caller()?;
    let fields = body::fields(app, request).await?;
    accounts::reset_factors(app, &caller, id, &fields, &request.client(app)).await?;
    Ok(reply::no_content())
}

/// Codes as people write them down.
pub(super) fn shown(codes: &[RecoveryCode]) -> Vec<String> {
    codes.iter().map(ToString::to_string).collect()
}
