//! `/dev/webhooks/`: a receiver of webhooks for end-to-end tests of other projects, which need none of
//! their own. It keeps what it gets and verifies nothing.

use http::StatusCode;
use http::header::ACCEPT;

use crate::app::SharedApp;
use crate::http::error::ApiError;
use crate::http::operation::{Operation, Outcome, Parameter, Refusal, Tag};
use crate::http::pages::inbox as pages;
use crate::http::reply;
use crate::http::request::Request;
use crate::http::route::HandlerResult;
use crate::webhooks::ReceivedEvent;

/// Most bytes of a delivery.
const MAX_BYTES: usize = 64 * 1024;

/// `GET /dev/webhooks/?type=TYPE`
pub(crate) const LIST: Operation = Operation {
    id: "listReceivedEvents",
    tag: Tag::Development,
    summary: "Development webhooks",
    description: "The newest 1,000 deliveries that were sent to this path, newest first: add a \
                  webhook with its URL. A browser (`Accept: text/html`) gets a page.",
    query: &[Parameter {
        name: "type",
        description: "Only events of this type.",
        schema: r#"{"type": "string"}"#,
    }],
    answers: &[
        Outcome::json::<Vec<ReceivedEvent>>(
            200,
            "the deliveries",
            r#"[{"id": 1, "webhook_id": "msg_0b5a3c5a9d0e4f6c8e1d2f3a4b5c6d7e", "webhook_timestamp": "1733227200", "webhook_signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "body": {"type": "user.deleted", "timestamp": "2024-12-03T12:00:00Z", "sequence": 1, "data": {"id": 1}}, "received_at": "2024-12-03T12:00:00Z"}]"#,
        ),
        Outcome::text(200, "the same as a page", "text/html"),
    ],
    ..Operation::NEW
};

/// `POST /dev/webhooks/`
pub(crate) const RECEIVE: Operation = Operation {
    id: "receiveEvent",
    tag: Tag::Development,
    summary: "Receive a delivery",
    description: "Takes a delivery of a webhook, of at most 64 KiB, and keeps it.",
    answers: &[Outcome::nothing(204, "it is kept")],
    refusals: &[
        Refusal {
            when: "the body is not a JSON object",
            error: || ApiError::BadRequest("The body is not a JSON object.".to_owned()),
        },
        Refusal {
            when: "the body is too large",
            error: || ApiError::TooLarge,
        },
        Refusal {
            when: "the body does not arrive in time",
            error: || ApiError::Timeout,
        },
    ],
    ..Operation::NEW
};

/// `GET /dev/webhooks/?type=TYPE`
pub(crate) async fn list(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let received = app.received.as_ref().ok_or(ApiError::NotFound)?;
    let kind = form_urlencoded::parse(request.head.query().as_bytes())
        .filter(|(name, value)| name == "type" && !value.is_empty())
        .last()
        .map(|(_, value)| value.into_owned());
    let events = received.list(kind.as_deref());
    let accept = request.head.headers.get(ACCEPT);
    let wants_page = accept
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    if !wants_page {
        return Ok(reply::json(StatusCode::OK, &events));
    }
    pages::webhooks(app, request, kind.as_deref(), &events)
}

/// `POST /dev/webhooks/`
pub(crate) async fn receive(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let received = app.received.as_ref().ok_or(ApiError::NotFound)?;
    let body = request.read_body(MAX_BYTES, app).await?;
    let body = serde_json::from_slice(&body)
        .map_err(|_| ApiError::BadRequest("The body is not a JSON object.".to_owned()))?;
    let header = |name: &str| {
        let value = request.head.headers.get(name);
        let text = value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        text.unwrap_or_default()
    };
    received.add(ReceivedEvent {
        id: 0,
        webhook_id: header("webhook-id"),
        webhook_timestamp: header("webhook-timestamp"),
        webhook_signature: header("webhook-signature"),
        body,
        received_at: app.clock.now(),
    });
    Ok(reply::no_content())
}
