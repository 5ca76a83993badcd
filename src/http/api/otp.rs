//! `otp/`: confirming an address.

use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use crate::accounts::{self, Confirmed, forms};
use crate::app::SharedApp;
use crate::crypto::tokens::TokenPair;
use crate::domain::{FieldErrors, messages};
use crate::http::body;
use crate::http::error::ApiError;
use crate::http::operation::{Body, Operation, Outcome, Refusal, THROTTLED, Tag};
use crate::http::reply::{self, Message};
use crate::http::request::Request;
use crate::http::route::HandlerResult;

pub(super) const VERIFIED: &str = "Email verified successfully!";

pub(crate) const MAIL_SENT: &str = "Email sent successfully!";

/// The answer to a request for a mail; it does not tell whether an address is known.
pub(crate) const SENT_OR_NOT: Outcome = Outcome::json::<Message>(
    200,
    "always, whether a mail went out or not",
    r#"{"msg": "Email sent successfully!"}"#,
);

/// One answer for every OTP that is not accepted.
pub(crate) const INVALID_OTP: Refusal = Refusal {
    when: "the OTP is wrong, used, expired or dead, or the address is unknown",
    error: || ApiError::InvalidOtp,
};

/// The same for the token of a link.
pub(crate) const INVALID_LINK_TOKEN: Refusal = Refusal {
    when: "the token of the link is unknown, used or expired",
    error: || ApiError::Fields(FieldErrors::one("token", messages::INVALID_TOKEN)),
};

/// The address of a sign-up is confirmed, and its account signed in.
#[derive(Serialize, JsonSchema)]
struct VerifyResponse {
    msg: &'static str,
    #[serde(flatten)]
    pair: TokenPair,
}

/// `POST otp/verify/`
pub(crate) const VERIFY: Operation = Operation {
    id: "verifyOtp",
    tag: Tag::SignUp,
    summary: "Confirm an address",
    description: "Confirms an address with its OTP. For a sign-up no token is needed, and the answer begins a session. For an \
                  address change the access token of the account has to come along, and the answer has no tokens. \
                  An address is contested once sign-ups with different passwords were pending for it: then the account has no \
                  password and empty fields, and a password reset is mailed, unless `password` is that of the OTP's own sign-up.",
    body: Some(Body {
        form: forms::confirmation,
        example: r#"{"email": "user@example.com", "otp": "123456"}"#,
    }),
    answers: &[
        Outcome::json::<VerifyResponse>(
            200,
            "a sign-up is confirmed",
            r#"{"msg": "Email verified successfully!", "access": "eyJ0eXAiOiJhdCtqd3Qi.e30.c2ln", "refresh": "eyJ0eXAiOiJydCtqd3Qi.e30.c2ln"}"#,
        ),
        Outcome::json::<Message>(
            200,
            "an address change is confirmed",
            r#"{"msg": "Email verified successfully!"}"#,
        ),
    ],
    refusals: &[INVALID_OTP, INVALID_LINK_TOKEN, THROTTLED],
    ..Operation::NEW
};

/// `POST otp/verify/`
pub(crate) async fn verify(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.caller.take();
    let fields = body::fields(app, request).await?;
    let client = request.client(app);
    Ok(
        match accounts::confirm(app, caller.as_ref(), &fields, &client).await? {
            Confirmed::SignUp { signed, .. } => reply::json(
                StatusCode::OK,
                &VerifyResponse {
                    msg: VERIFIED,
                    pair: signed.into_tokens()?,
                },
            ),
            Confirmed::EmailChange => reply::message(VERIFIED),
        },
    )
}

/// `POST otp/resend/`
pub(crate) const RESEND: Operation = Operation {
    id: "resendOtp",
    tag: Tag::SignUp,
    summary: "Send the OTP again",
    description: "Mails a new OTP for a pending sign-up of an address (that of the client's \
                  network, else the newest) or for an unconfirmed address change to it. The \
                  previous OTP becomes invalid.",
    body: Some(Body {
        form: forms::address,
        example: r#"{"email": "user@example.com"}"#,
    }),
    answers: &[SENT_OR_NOT],
    refusals: &[THROTTLED],
    ..Operation::NEW
};

/// `POST otp/resend/`
pub(crate) async fn resend(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = body::fields(app, request).await?;
    accounts::resend(app, &fields, &request.client(app)).await?;
    Ok(reply::message(MAIL_SENT))
}
