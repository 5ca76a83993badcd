//! `reauthenticate/`: authenticating again, for what wants recent authentication.

use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::mfa::WRONG_CODE;
use super::otp::{INVALID_OTP, MAIL_SENT};
use super::passkeys::WRONG_CREDENTIAL;
use crate::accounts::{self, ReauthenticationMethod, forms};
use crate::app::SharedApp;
use crate::domain::{FieldErrors, messages};
use crate::http::body;
use crate::http::error::ApiError;
use crate::http::operation::{Body, Operation, Outcome, Refusal, THROTTLED, Tag};
use crate::http::reply::{self, Message};
use crate::http::request::Request;
use crate::http::route::HandlerResult;

/// The refusal of a change that wants recent authentication.
pub(crate) const REQUIRED: Refusal = Refusal {
    when: "the change wants recent authentication, and the token's `auth_time` is too old",
    error: || ApiError::ReauthenticationRequired(vec![ReauthenticationMethod::Password]),
};

/// An access token with a new `auth_time`.
#[derive(Serialize, JsonSchema)]
struct ReauthenticationResponse {
    access: String,
}

/// `POST reauthenticate/`
pub(crate) const CREATE: Operation = Operation {
    id: "reauthenticate",
    tag: Tag::Sessions,
    summary: "Authenticate again",
    description: "Checks the password once more, for changes that want recent authentication; of an \
                  account with a second factor, its `code` or, as `credential` and `session_id`, \
                  the answer of a passkey to the options of `passkeys/login/begin/`; of an \
                  account without either, a code from `reauthenticate/otp/`. The answer is an \
                  access token with a new `auth_time`; the session and its refresh token stay. Wrong \
                  passwords count as failed sign-ins.",
    body: Some(Body {
        form: forms::reauthenticate,
        example: r#"{"password": "securepassword123"}"#,
    }),
    answers: &[Outcome::json::<ReauthenticationResponse>(
        200,
        "authenticated",
        r#"{"access": "eyJ0eXAiOiJhdCtqd3Qi.e30.c2ln"}"#,
    )],
    refusals: &[
        Refusal {
            when: "wrong password",
            error: || ApiError::Fields(FieldErrors::one("password", messages::INVALID_PASSWORD)),
        },
        WRONG_CODE,
        WRONG_CREDENTIAL,
        INVALID_OTP,
        THROTTLED,
    ],
    ..Operation::NEW
};

/// `POST reauthenticate/`
pub(crate) async fn create(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_caller()?;
    let fields = body::fields(app, request).await?;
    let access = accounts::reauthenticate(app, &caller, &fields, &request.client(app)).await?;
    Ok(reply::json(
        StatusCode::OK,
        &ReauthenticationResponse { access },
    ))
}

/// `POST reauthenticate/otp/`
pub(crate) const REQUEST_OTP: Operation = Operation {
    id: "requestReauthenticationOtp",
    tag: Tag::Sessions,
    summary: "Request an OTP to authenticate again",
    description: "Mails an OTP for `reauthenticate/` to the confirmed address of an account that \
                  has no password.",
    answers: &[Outcome::json::<Message>(
        200,
        "the mail goes out",
        r#"{"msg": "Email sent successfully!"}"#,
    )],
    refusals: &[
        Refusal {
            when: "the account has a password",
            error: || ApiError::Fields(FieldErrors::one("password", messages::REQUIRED)),
        },
        THROTTLED,
    ],
    ..Operation::NEW
};

/// `POST reauthenticate/otp/`
pub(crate) async fn request_otp(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_caller()?;
    accounts::request_reauthentication(app, &caller, &request.client(app)).await?;
    Ok(reply::message(MAIL_SENT))
}
