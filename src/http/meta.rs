//! What is not about accounts: the published keys and the sign of life.

use std::time::Duration;

use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use schemars::JsonSchema;
use serde::Serialize;

use super::client::is_forwarded;
use super::error::ApiError;
use super::operation::{Operation, Outcome, Refusal, Tag};
use super::request::Request;
use super::{HandlerResult, reply};
use crate::accounts::{self, AccountError};
use crate::app::SharedApp;
use crate::crypto::tokens::KeySet;
use crate::observability::metrics::{Figures, MailMetrics};

/// That all is well.
#[derive(Serialize, JsonSchema)]
struct Status {
    status: &'static str,
    /// What is not as it should be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

const OK: Status = Status {
    status: "ok",
    warnings: Vec::new(),
};

/// `GET /.well-known/jwks.json`
pub(super) const KEY_SET: Operation = Operation {
    id: "retrieveKeySet",
    tag: Tag::Service,
    summary: "Public keys",
    description: "The keys with which other services check access tokens (RFC 7517, RFC 8037). To be kept for at most 300 \
                  seconds.",
    answers: &[Outcome::json::<KeySet>(
        200,
        "the keys",
        r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "YbkR_GWqAzMdQe34MESQs7ZYNnnQJEviQEmlp8jx5SA", "kid": "FDBDyCX0EX38oJdRXjERu3bJUPOyJe4FLqGW7Zk50TI", "alg": "EdDSA", "use": "sig"}]}"#,
    )],
    ..Operation::NEW
};

/// `GET /healthz`
pub(super) const HEALTH: Operation = Operation {
    id: "checkHealth",
    tag: Tag::Service,
    summary: "Sign of life",
    description: "Says that the process answers.",
    answers: &[Outcome::json::<Status>(
        200,
        "it does",
        r#"{"status": "ok"}"#,
    )],
    ..Operation::NEW
};

/// `GET /readyz`
pub(super) const READY: Operation = Operation {
    id: "checkReadiness",
    tag: Tag::Service,
    summary: "Readiness",
    description: "Says that the database can be written. Mails that have waited for more than ten minutes and a full queue \
                  of passwords to be hashed are told in `warnings`; with `?strict` the status is 503 then.",
    answers: &[Outcome::json::<Status>(
        200,
        "it can",
        r#"{"status": "ok"}"#,
    )],
    ..Operation::NEW
};

/// `GET /metrics`
pub(super) const FIGURES: Operation = Operation {
    id: "retrieveMetrics",
    tag: Tag::Service,
    summary: "Figures",
    description: "Figures in the text format of Prometheus, for programs on the same machine, or on `[metrics] listen`.",
    answers: &[Outcome::text(200, "the figures", "text/plain")],
    refusals: &[Refusal {
        when: "the client is on another machine, or a proxy passed the request on",
        error: || ApiError::NotFound,
    }],
    ..Operation::NEW
};

/// `GET /.well-known/jwks.json`
pub(super) async fn key_set(app: &SharedApp, _: &mut Request) -> HandlerResult {
    let mut response = reply::json(StatusCode::OK, &accounts::published_keys(app).await?);
    // Short, so that services which keep the keys soon see a new one.
    response.headers_mut().insert(
        CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=300"),
    );
    Ok(response)
}

/// `GET /healthz`: the process answers.
pub(super) async fn health(_: &SharedApp, _: &mut Request) -> HandlerResult {
    Ok(reply::json(StatusCode::OK, &OK))
}

/// `GET /readyz`: the database can be written. What is wrong besides is told, and counts only for those who ask with
/// `?strict`: mails that wait, or a queue that is full for the moment, are no reason for a load balancer to take the server
/// out, which would make it worse for everybody; they are a reason to tell somebody.
pub(super) async fn ready(app: &SharedApp, request: &mut Request) -> HandlerResult {
    app.readiness
        .check(app.store.as_ref(), app.clock.as_ref())
        .await
        .map_err(AccountError::from)?;
    let mut warnings = Vec::new();
    let queue = app
        .store
        .find_mail_queue()
        .await
        .map_err(AccountError::from)?;
    let waiting = queue
        .oldest_at
        .map(|at| app.clock.now().since(at))
        .unwrap_or_default();
    if waiting > LONGEST_MAIL_WAIT {
        warnings.push(format!(
            "{} mails wait to be delivered, the oldest for {} minutes",
            queue.waiting,
            waiting.as_secs() / 60
        ));
    }
    if app.passwords.queue_length() >= app.passwords.queue_capacity() {
        warnings.push("sign-ins are refused: too many passwords wait to be hashed".to_owned());
    }
    if warnings.is_empty() {
        return Ok(reply::json(StatusCode::OK, &OK));
    }
    let is_strict =
        form_urlencoded::parse(request.head.query().as_bytes()).any(|(key, _)| key == "strict");
    if is_strict {
        return Err(ApiError::Overloaded(warnings.join("; ")));
    }
    let degraded = Status {
        status: "degraded",
        warnings,
    };
    Ok(reply::json(StatusCode::OK, &degraded))
}

/// How long a mail may wait before something is wrong: by then the code in it is about to end.
const LONGEST_MAIL_WAIT: Duration = Duration::from_mins(10);

/// What `/metrics` is called.
pub(super) const METRICS: &str = "Metrics";

/// Whether a path is served on the address for figures, too.
pub(super) fn is_about_the_server(path: &[&str]) -> bool {
    matches!(path, ["healthz" | "readyz" | "metrics"])
}

/// Whether the figures exist for this request on the main address: where they have none of their own, they are for programs
/// on this machine, and a proxy here passes on the requests of others.
pub(super) fn are_metrics_visible(app: &SharedApp, request: &Request) -> bool {
    if app.config.metrics.listen.is_some() {
        return false;
    }
    request
        .head
        .peer
        .is_some_and(|peer| peer.0.ip().to_canonical().is_loopback())
        && !is_forwarded(&request.head.headers)
}

/// `GET /metrics`
pub(super) async fn metrics(app: &SharedApp, _: &mut Request) -> HandlerResult {
    // When the database does not answer, all other figures are wanted all the more.
    let queue = app.store.find_mail_queue().await;
    let now = app.clock.now();
    let mails = queue
        .inspect_err(|e| log::warn!("the figures are without those of mails: {e}"))
        .map(|queue| MailMetrics {
            queued: queue.waiting,
            oldest: queue.oldest_at.map(|at| now.since(at)).unwrap_or_default(),
        });
    let figures = Figures {
        mails: mails.ok(),
        queued_hashes: app.passwords.queue_length(),
        hash_queue_capacity: app.passwords.queue_capacity(),
        store: app.store.figures().await,
    };
    let text = app.metrics.text(&super::route_names(), &figures);
    Ok(reply::with_type(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        text.into(),
    ))
}
