//! What is not about accounts: the published keys and the sign of life.

use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use serde_json::json;

use super::client::is_forwarded;
use super::request::Request;
use super::{HandlerResult, reply};
use crate::accounts::AccountError;
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

/// `GET /readyz`: the database can be written.
pub(super) async fn ready(app: &SharedApp, _: &mut Request) -> HandlerResult {
    app.store
        .check_writable()
        .await
        .map_err(AccountError::from)?;
    Ok(reply::json(StatusCode::OK, &json!({ "status": "ok" })))
}

/// What `/metrics` is called.
pub(super) const METRICS: &str = "Metrics";

/// Whether the figures exist for this request: they are for programs on this machine, and a proxy here passes on the
/// requests of others.
pub(super) fn are_metrics_visible(request: &Request) -> bool {
    request
        .peer
        .is_some_and(|peer| peer.0.ip().to_canonical().is_loopback())
        && !is_forwarded(&request.headers)
}

/// `GET /metrics`
pub(super) async fn metrics(app: &SharedApp, _: &mut Request) -> HandlerResult {
    let queue = app
        .store
        .find_mail_queue()
        .await
        .map_err(AccountError::from)?;
    let text = app.metrics.text(queue.waiting);
    Ok(reply::with_type(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        text.into(),
    ))
}
