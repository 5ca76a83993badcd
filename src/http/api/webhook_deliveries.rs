//! `webhooks/<id>/deliveries/` and what sends events again: test, replay, recovery.

use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::pagination::{
    NO_PAGE, PAGE, PAGE_SIZE, PageResponse, parameters, read_page, read_page_size, value,
};
use super::reauthenticate::REQUIRED as REAUTHENTICATION_REQUIRED;
use super::webhooks::UNKNOWN;
use crate::accounts::{self, Administrator, forms};
use crate::app::SharedApp;
use crate::domain::{DeliveryStatus, FieldErrors, Timestamp, UserId, messages};
use crate::http::body;
use crate::http::error::{ApiError, WEBHOOK_DISABLED};
use crate::http::operation::{Body, NOT_STAFF, Operation, Outcome, Parameter, Refusal, Tag};
use crate::http::reply;
use crate::http::request::Request;
use crate::http::route::HandlerResult;
use crate::store::{WebhookDelivery, WebhookDeliveryQuery};

/// An event that was sent to a webhook, or will be.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WebhookDelivery")]
struct DeliveryResponse<'a> {
    id: i64,
    /// The type of the event, or `webhook.test`.
    event: &'a str,
    /// The account it is about, if there is one.
    user_id: Option<UserId>,
    /// `pending`, `delivered`, `failed` (it is tried again) or `dead` (it is not, unless replayed).
    status: &'static str,
    /// How often it was attempted.
    tries: u32,
    /// Why the last attempt failed; empty without a failure.
    reason: &'a str,
    /// The status of the last answer.
    status_code: Option<u16>,
    /// The first 512 bytes of the last answer, as text.
    answer: String,
    /// When it happened.
    created_at: Timestamp,
    last_try_at: Option<Timestamp>,
    /// When the next attempt is due, if there will be one.
    next_try_at: Option<Timestamp>,
    /// When it was delivered or given up.
    finished_at: Option<Timestamp>,
}

/// A test event.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WebhookTest")]
struct TestResponse {
    /// The number of its delivery.
    id: i64,
}

/// A recovery.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WebhookRecovery")]
struct RecoveryResponse {
    /// How many events are sent again.
    count: u64,
}

const DISABLED: Refusal = Refusal {
    when: "it is disabled",
    error: || ApiError::BadRequest(WEBHOOK_DISABLED.to_owned()),
};

/// `GET webhooks/<id>/deliveries/`
pub(crate) const LIST: Operation = Operation {
    id: "listWebhookDeliveries",
    tag: Tag::Staff,
    summary: "List deliveries",
    description: "Lists the deliveries of a webhook in pages, newest first. They are kept for 30 \
                  days. What an event says is not shown. Needs the token of a staff account.",
    query: &[
        Parameter {
            name: "status",
            description: "Only deliveries with this status.",
            schema: r#"{"type": "string", "enum": ["pending", "delivered", "failed", "dead"]}"#,
        },
        PAGE,
        PAGE_SIZE,
    ],
    answers: &[Outcome::json::<PageResponse<DeliveryResponse<'static>>>(
        200,
        "a page",
        r#"{"count": 1, "next": null, "previous": null, "results": [{"id": 7, "event": "user.created", "user_id": 1, "status": "failed", "tries": 1, "reason": "it answered 503", "status_code": 503, "answer": "down for maintenance", "created_at": "2024-12-03T12:00:00Z", "last_try_at": "2024-12-03T12:00:00Z", "next_try_at": "2024-12-03T12:00:05Z", "finished_at": null}]}"#,
    )],
    refusals: &[
        Refusal {
            when: "`status` is wrong",
            error: || ApiError::Fields(FieldErrors::one("status", messages::not_a_choice("lost"))),
        },
        NOT_STAFF,
        UNKNOWN,
        NO_PAGE,
    ],
    ..Operation::NEW
};

/// `POST webhooks/<id>/test/`
pub(crate) const TEST: Operation = Operation {
    id: "testWebhook",
    tag: Tag::Staff,
    summary: "Send a test event",
    description: "Sends an event of type `webhook.test`, which no selection excludes. Its outcome \
                  appears in the deliveries. Needs the token of a staff account that has \
                  authenticated recently.",
    answers: &[Outcome::json::<TestResponse>(
        202,
        "the event is queued",
        r#"{"id": 7}"#,
    )],
    refusals: &[DISABLED, NOT_STAFF, REAUTHENTICATION_REQUIRED, UNKNOWN],
    ..Operation::NEW
};

/// `POST webhooks/<id>/deliveries/<id>/replay/`
pub(crate) const REPLAY: Operation = Operation {
    id: "replayWebhookDelivery",
    tag: Tag::Staff,
    summary: "Replay a delivery",
    description: "Sends an event again, also one that was delivered or given up, under the same \
                  `webhook-id`. Needs the token of a staff account that has authenticated recently.",
    answers: &[Outcome::nothing(202, "the event is queued")],
    refusals: &[
        DISABLED,
        NOT_STAFF,
        REAUTHENTICATION_REQUIRED,
        Refusal {
            when: "no such webhook or delivery",
            error: || ApiError::NotFound,
        },
    ],
    ..Operation::NEW
};

/// `POST webhooks/<id>/recover/`
pub(crate) const RECOVER: Operation = Operation {
    id: "recoverWebhook",
    tag: Tag::Staff,
    summary: "Recover missed events",
    description: "Sends all events since a time again that were not delivered, for example after an \
                  outage of the receiver. Needs the token of a staff account that has authenticated \
                  recently.",
    body: Some(Body {
        form: forms::recovery,
        example: r#"{"since": "2024-12-03T12:00:00Z"}"#,
    }),
    answers: &[Outcome::json::<RecoveryResponse>(
        202,
        "the events are queued",
        r#"{"count": 12}"#,
    )],
    refusals: &[
        Refusal {
            when: "`since` is not a time",
            error: || ApiError::Fields(FieldErrors::one("since", messages::WRONG_DATETIME)),
        },
        DISABLED,
        NOT_STAFF,
        REAUTHENTICATION_REQUIRED,
        UNKNOWN,
    ],
    ..Operation::NEW
};

/// `GET webhooks/<id>/deliveries/`
pub(crate) async fn list(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_staff()?;
    let client = request.client(app);
    let parameters = parameters(request.head.query());
    let name = value(&parameters, "status").unwrap_or_default();
    let status = DeliveryStatus::parse(name);
    if status.is_none() && !name.is_empty() {
        let message = messages::not_a_choice(name);
        return Err(ApiError::Fields(FieldErrors::one("status", message)));
    }
    let query = WebhookDeliveryQuery {
        webhook_id: request.number_before(1)?,
        status,
        page: read_page(&parameters).ok_or(ApiError::InvalidPage)?,
        page_size: read_page_size(&parameters),
    };
    let by = Administrator::Staff(&caller, &client);
    let page = accounts::list_webhook_deliveries(app, by, query).await?;
    let url = format!("{}{}", app.public_url, request.head.path());
    let response = PageResponse::new(&url, &parameters, &page, shown);
    Ok(reply::json(StatusCode::OK, &response))
}

/// `POST webhooks/<id>/test/`
pub(crate) async fn test(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_staff()?;
    let client = request.client(app);
    let by = Administrator::Staff(&caller, &client);
    let id = accounts::test_webhook(app, by, request.number_before(1)?).await?;
    Ok(reply::json(StatusCode::ACCEPTED, &TestResponse { id }))
}

/// `POST webhooks/<id>/deliveries/<id>/replay/`
pub(crate) async fn replay(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_staff()?;
    let client = request.client(app);
    let by = Administrator::Staff(&caller, &client);
    let (id, delivery) = (request.number_before(3)?, request.number_before(1)?);
    accounts::replay_webhook_delivery(app, by, id, delivery).await?;
    Ok(reply::accepted())
}

/// `POST webhooks/<id>/recover/`
pub(crate) async fn recover(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_staff()?;
    accounts::require_recent(app, &caller).await?;
    let id = request.number_before(1)?;
    let fields = body::fields(app, request).await?;
    let client = request.client(app);
    let by = Administrator::Staff(&caller, &client);
    let count = accounts::recover_webhook(app, by, id, &fields).await?;
    Ok(reply::json(
        StatusCode::ACCEPTED,
        &RecoveryResponse { count },
    ))
}

/// A delivery as JSON has it.
fn shown(delivery: &WebhookDelivery) -> DeliveryResponse<'_> {
    DeliveryResponse {
        id: delivery.id,
        event: &delivery.event,
        user_id: delivery.user_id,
        status: delivery.status.as_str(),
        tries: delivery.tries,
        reason: &delivery.problem,
        status_code: delivery.status_code,
        answer: String::from_utf8_lossy(&delivery.answer).into_owned(),
        created_at: delivery.created_at,
        last_try_at: delivery.last_try_at,
        next_try_at: delivery.next_try_at,
        finished_at: delivery.closed_at,
    }
}
