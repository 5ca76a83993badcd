//! `token/`: signing in, keeping a session going, ending it.

use http::StatusCode;
use serde_json::json;

use super::request::Request;
use super::{HandlerResult, body, reply};
use crate::accounts;
use crate::app::SharedApp;

/// `POST token/`
pub(super) async fn obtain(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = body::fields(app, request).await?;
    let pair = accounts::login(app, &fields, &request.client(app)).await?;
    Ok(reply::json(StatusCode::OK, &pair))
}

/// `POST token/refresh/`
pub(super) async fn refresh(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = body::fields(app, request).await?;
    let pair = accounts::refresh(app, &fields, &request.client(app)).await?;
    Ok(reply::json(StatusCode::OK, &pair))
}

/// `POST token/verify/`
pub(super) async fn verify(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = body::fields(app, request).await?;
    accounts::check_token(app, &fields).await?;
    Ok(reply::json(StatusCode::OK, &json!({})))
}

/// `POST token/blacklist/`
pub(super) async fn blacklist(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = body::fields(app, request).await?;
    accounts::blacklist(app, &fields).await?;
    Ok(reply::json(StatusCode::OK, &json!({})))
}
