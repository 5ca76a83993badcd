//! `password/`: changing and resetting passwords.

use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::otp::{INVALID_LINK_TOKEN, INVALID_OTP, MAIL_SENT, SENT_OR_NOT};
use super::reauthenticate::REQUIRED;
use crate::accounts::{self, forms};
use crate::app::SharedApp;
use crate::crypto::tokens::TokenPair;
use crate::domain::{FieldErrors, messages};
use crate::http::body;
use crate::http::error::ApiError;
use crate::http::operation::{Body, Operation, Outcome, Refusal, THROTTLED, Tag};
use crate::http::reply::{self, Message};
use crate::http::request::Request;
use crate::http::route::HandlerResult;

/// `POST password/reset/`
pub(crate) const RESET: Operation = Operation {
    id: "requestPasswordReset",
    tag: Tag::Passwords,
    summary: "Request a password reset",
    description: "Mails an OTP for a new password to the last confirmed address of an account, if \
                  there is one.",
    body: Some(Body {
        form: forms::address,
        example: r#"{"email": "user@example.com"}"#,
    }),
    answers: &[SENT_OR_NOT],
    refusals: &[THROTTLED],
    ..Operation::NEW
};

/// `POST password/reset/`
pub(crate) async fn reset(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = body::fields(app, request).await?;
    accounts::request_reset(app, &fields, &request.client(app)).await?;
    Ok(reply::message(MAIL_SENT))
}

const DIFFERENT: Refusal = Refusal {
    when: "the two passwords differ; said once everything else is right",
    error: || {
        ApiError::Fields(FieldErrors::one(
            "confirm_password",
            messages::PASSWORDS_DIFFER,
        ))
    },
};

/// `POST password/reset/confirm/`
pub(crate) const CONFIRM_RESET: Operation = Operation {
    id: "confirmPasswordReset",
    tag: Tag::Passwords,
    summary: "Reset the password",
    description: "Sets a new password with the OTP of a reset. All sessions end, and the address \
                  counts as verified. A password that the rules refuse does not use the OTP up.",
    body: Some(Body {
        form: forms::confirm_reset,
        example: r#"{"email": "user@example.com", "otp": "123456", "password": "betterpassword456", "confirm_password": "betterpassword456"}"#,
    }),
    answers: &[Outcome::json::<Message>(
        200,
        "the password is set",
        r#"{"msg": "Password reset successfully!"}"#,
    )],
    refusals: &[INVALID_OTP, INVALID_LINK_TOKEN, DIFFERENT, THROTTLED],
    ..Operation::NEW
};

/// `POST password/reset/confirm/`
pub(crate) async fn confirm_reset(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = body::fields(app, request).await?;
    accounts::confirm_reset(app, &fields, &request.client(app)).await?;
    Ok(reply::message("Password reset successfully!"))
}

/// The password is changed, and a new session begins.
#[derive(Serialize, JsonSchema)]
struct ChangeResponse {
    msg: &'static str,
    #[serde(flatten)]
    pair: TokenPair,
}

/// `POST password/change/`
pub(crate) const CHANGE: Operation = Operation {
    id: "changePassword",
    tag: Tag::Passwords,
    summary: "Change the password",
    description: "Sets a new password for a client that knows the current one. A new session begins, whose tokens are in \
                  the answer; all earlier sessions end, the caller's too.",
    body: Some(Body {
        form: forms::change_password,
        example: r#"{"current_password": "securepassword123", "password": "betterpassword456", "confirm_password": "betterpassword456"}"#,
    }),
    answers: &[Outcome::json::<ChangeResponse>(
        200,
        "the password is changed",
        r#"{"msg": "Password changed successfully!", "access": "eyJ0eXAiOiJhdCtqd3Qi.e30.c2ln", "refresh": "eyJ0eXAiOiJydCtqd3Qi.e30.c2ln"}"#,
    )],
    refusals: &[
        REQUIRED,
        Refusal {
            when: "wrong present password",
            error: || {
                ApiError::Fields(FieldErrors::one(
                    "current_password",
                    messages::INVALID_PASSWORD,
                ))
            },
        },
        DIFFERENT,
        THROTTLED,
    ],
    ..Operation::NEW
};

/// `POST password/change/`
pub(crate) async fn change(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_caller()?;
    let fields = body::fields(app, request).await?;
    let signed = accounts::change_password(app, &caller, &fields, &request.client(app)).await?;
    let response = ChangeResponse {
        msg: "Password changed successfully!",
        pair: signed.into_tokens()?,
    };
    Ok(reply::json(StatusCode::OK, &response))
}
