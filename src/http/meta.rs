//! What is not about accounts: the published keys and the sign of life.

use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use serde_json::json;

use super::request::Request;
use super::{HandlerResult, reply};
use crate::app::SharedApp;

/// `GET /.well-known/jwks.json`
pub(super) async fn key_set(app: &SharedApp, _: &mut Request) -> HandlerResult {
    let mut response = reply::json(StatusCode::OK, &app.tokens.key_set());
    // Short, so that services which keep the keys soon see a new one.
    response.headers_mut().insert(
        CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=300"),
    );
    Ok(response)
}

/// `GET /healthz`: the process answers.
pub(super) async fn health(_: &SharedApp, _: &mut Request) -> HandlerResult {
    Ok(reply::json(StatusCode::OK, &json!({ "status": "ok" })))
}
