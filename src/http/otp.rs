//! `otp/`: confirming an address.

use http::StatusCode;
use serde::Serialize;
use serde_json::json;

use super::request::Request;
use super::{HandlerResult, body, reply};
use crate::accounts::{self, Confirmed};
use crate::app::SharedApp;
use crate::tokens::TokenPair;

const VERIFIED: &str = "Email verified successfully!";

#[derive(Serialize)]
struct VerifyResponse {
    msg: &'static str,
    #[serde(flatten)]
    pair: TokenPair,
}

/// `POST otp/verify/`
pub(super) async fn verify(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.authenticate_if_possible(app).await?;
    let fields = body::fields(app, request).await?;
    let client = request.client(app);
    Ok(
        match accounts::confirm(app, caller.as_ref(), &fields, &client).await? {
            Confirmed::SignUp(pair) => reply::json(
                StatusCode::OK,
                &VerifyResponse {
                    msg: VERIFIED,
                    pair,
                },
            ),
            Confirmed::EmailChange => reply::json(StatusCode::OK, &json!({ "msg": VERIFIED })),
        },
    )
}

/// `POST otp/resend/`
pub(super) async fn resend(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = body::fields(app, request).await?;
    accounts::resend(app, &fields).await?;
    Ok(reply::json(
        StatusCode::OK,
        &json!({ "msg": "Email sent successfully!" }),
    ))
}
