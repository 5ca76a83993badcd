//! `/healthz` and `/readyz`: liveness and readiness.

use std::time::Duration;

use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use crate::accounts::AccountError;
use crate::app::SharedApp;
use crate::http::error::ApiError;
use crate::http::operation::{Operation, Outcome, Tag};
use crate::http::reply;
use crate::http::request::Request;
use crate::http::route::HandlerResult;

/// How long a mail may wait before readiness warns: by then the code in it is about to expire.
const LONGEST_MAIL_WAIT: Duration = Duration::from_mins(10);

/// The state of the server.
#[derive(Serialize, JsonSchema)]
struct Status {
    status: &'static str,
    /// What needs attention.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

const OK: Status = Status {
    status: "ok",
    warnings: Vec::new(),
};

/// `GET /healthz`
pub(crate) const LIVE: Operation = Operation {
    id: "checkHealth",
    tag: Tag::Service,
    summary: "Liveness",
    description: "Answers as long as the process serves requests.",
    answers: &[Outcome::json::<Status>(
        200,
        "the process is alive",
        r#"{"status": "ok"}"#,
    )],
    ..Operation::NEW
};

/// `GET /healthz`
pub(crate) async fn live(_: &SharedApp, _: &mut Request) -> HandlerResult {
    Ok(reply::json(StatusCode::OK, &OK))
}

/// `GET /readyz`
pub(crate) const READY: Operation = Operation {
    id: "checkReadiness",
    tag: Tag::Service,
    summary: "Readiness",
    description: "Answers 200 while the database can be written. Mails that have waited for more \
                  than ten minutes and a full queue of passwords to hash are listed in `warnings`; \
                  with `?strict` they make the status 503.",
    answers: &[Outcome::json::<Status>(
        200,
        "the database can be written",
        r#"{"status": "ok"}"#,
    )],
    ..Operation::NEW
};

/// `GET /readyz`: fails while the database cannot be written.
///
/// Delayed mails and a full queue only add warnings: a load balancer that takes the server out for
/// them makes it worse for everybody. With `?strict` they count, for monitoring.
pub(crate) async fn ready(app: &SharedApp, request: &mut Request) -> HandlerResult {
    app.readiness
        .check(app.store.as_ref(), app.clock.as_ref())
        .await
        .map_err(AccountError::from)?;
    let warnings = warnings(app).await?;
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

async fn warnings(app: &SharedApp) -> Result<Vec<String>, ApiError> {
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
    if let Some(problem) = app.outbox.problem() {
        warnings.push(format!("mail cannot be delivered: {problem}"));
    }
    if app.passwords.queue_length() >= app.passwords.queue_capacity() {
        warnings.push("sign-ins are refused: too many passwords wait to be hashed".to_owned());
    }
    Ok(warnings)
}
