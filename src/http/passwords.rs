//! `password/`: choosing a new password.

use http::StatusCode;
use serde_json::json;
use warp::reply::Response;

use super::request::Request;
use super::{HandlerResult, body, reply};
use crate::accounts;
use crate::app::SharedApp;

fn done(msg: &str) -> Response {
    reply::json(StatusCode::OK, &json!({ "msg": msg }))
}

/// `POST password/reset/`
pub(super) async fn reset(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = body::fields(app, request).await?;
    accounts::request_reset(app, &fields, &request.client(app)).await?;
    Ok(done("Email sent successfully!"))
}

/// `POST password/reset/confirm/`
pub(super) async fn confirm_reset(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = body::fields(app, request).await?;
    accounts::confirm_reset(app, &fields, &request.client(app)).await?;
    Ok(done("Password reset successfully!"))
}

/// `POST password/change/`
pub(super) async fn change(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_caller()?;
    let fields = body::fields(app, request).await?;
    accounts::change_password(app, &caller, &fields, &request.client(app)).await?;
    Ok(done("Password changed successfully!"))
}
