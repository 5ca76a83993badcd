//! `webhooks/`: where events are sent, for staff. What was sent is in
//! [`webhook_deliveries`](super::webhook_deliveries).

use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::pagination::{
    NO_PAGE, PAGE, PAGE_SIZE, PageResponse, parameters, read_page, read_page_size,
};
use super::reauthenticate::REQUIRED as REAUTHENTICATION_REQUIRED;
use crate::accounts::{self, Administrator, WebhookInfo, WebhookWithSecret, forms};
use crate::app::SharedApp;
use crate::domain::{FieldErrors, Timestamp, WebhookDisabled, WebhookPayload, messages};
use crate::http::body;
use crate::http::error::{ApiError, WEBHOOK_FROM_FILE};
use crate::http::operation::{Body, NOT_STAFF, Operation, Outcome, Refusal, Tag};
use crate::http::reply;
use crate::http::request::Request;
use crate::http::route::HandlerResult;
use crate::store::{Page, PageBounds};

/// Where events are sent.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Webhook")]
struct WebhookResponse<'a> {
    id: i64,
    url: &'a str,
    /// Types of events, all of a group such as `user.*`, or `*` for everything.
    events: &'a [String],
    /// What it is for; for a webhook of the configuration file its name.
    description: &'a str,
    /// `full`: the account as it was at that moment; `thin`: ids alone.
    payload: &'static str,
    /// Whether events are sent.
    is_enabled: bool,
    disabled_at: Option<Timestamp>,
    /// `staff`, `gone` (it answered 410) or `failing` (every attempt failed for 5 days).
    disabled_reason: Option<&'static str>,
    /// Since when every attempt has failed.
    failing_since: Option<Timestamp>,
    /// Whether the configuration file has it: then it is changed there alone.
    is_from_file: bool,
    /// The key that verifies `v1a` signatures, `whpk_…`.
    public_key: String,
    /// Until when the secret before a rotation signs too.
    previous_secret_until: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// A webhook with its new secret, which is shown this once.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WebhookWithSecret")]
struct SecretResponse<'a> {
    #[serde(flatten)]
    webhook: WebhookResponse<'a>,
    /// The secret that signs, `whsec_…`.
    secret: &'a str,
}

pub(super) const UNKNOWN: Refusal = Refusal {
    when: "no such webhook",
    error: || ApiError::NotFound,
};

const FROM_FILE: Refusal = Refusal {
    when: "the configuration file has it",
    error: || ApiError::BadRequest(WEBHOOK_FROM_FILE.to_owned()),
};

const UNREACHABLE: Refusal = Refusal {
    when: "the host of `url` has no public address",
    error: || ApiError::Fields(FieldErrors::one("url", messages::UNREACHABLE_URL)),
};

const INVALID: Refusal = Refusal {
    when: "fields are wrong",
    error: || {
        let mut errors = FieldErrors::one("url", messages::INVALID_URL);
        errors.add("events", messages::not_a_choice("user.born"));
        errors.add("payload", messages::not_a_choice("fat"));
        ApiError::Fields(errors)
    },
};

const EXAMPLE: &str = r#"{"id": 1, "url": "https://crm.example.com/hooks", "events": ["user.*"], "description": "CRM", "payload": "full", "is_enabled": true, "disabled_at": null, "disabled_reason": null, "failing_since": null, "is_from_file": false, "public_key": "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", "previous_secret_until": null, "created_at": "2024-12-03T12:00:00Z", "updated_at": "2024-12-03T12:00:00Z"}"#;

/// `GET webhooks/`
pub(crate) const LIST: Operation = Operation {
    id: "listWebhooks",
    tag: Tag::Staff,
    summary: "List webhooks",
    description: "Lists the webhooks in pages, oldest first, those of the configuration file \
                  included. Secrets are never shown. Needs the token of a staff account.",
    query: &[PAGE, PAGE_SIZE],
    answers: &[Outcome::json::<PageResponse<WebhookResponse<'static>>>(
        200,
        "a page",
        r#"{"count": 1, "next": null, "previous": null, "results": [{"id": 1, "url": "https://crm.example.com/hooks", "events": ["user.*"], "description": "CRM", "payload": "full", "is_enabled": false, "disabled_at": "2024-12-08T12:00:00Z", "disabled_reason": "failing", "failing_since": "2024-12-03T12:00:00Z", "is_from_file": false, "public_key": "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", "previous_secret_until": null, "created_at": "2024-12-03T12:00:00Z", "updated_at": "2024-12-03T12:00:00Z"}]}"#,
    )],
    refusals: &[NOT_STAFF, NO_PAGE],
    ..Operation::NEW
};

/// `POST webhooks/`
pub(crate) const CREATE: Operation = Operation {
    id: "createWebhook",
    tag: Tag::Staff,
    summary: "Add a webhook",
    description: "Sends events of these types to the URL from now on. The answer has the secret \
                  that signs them, this once. All staff is notified by mail. Needs the token of a \
                  staff account that has authenticated recently.",
    body: Some(Body {
        form: forms::new_webhook,
        example: r#"{"url": "https://crm.example.com/hooks", "events": ["user.*"], "description": "CRM", "payload": "full"}"#,
    }),
    answers: &[Outcome::json::<SecretResponse<'static>>(
        201,
        "the webhook is added",
        r#"{"id": 1, "url": "https://crm.example.com/hooks", "events": ["user.*"], "description": "CRM", "payload": "full", "is_enabled": true, "disabled_at": null, "disabled_reason": null, "failing_since": null, "is_from_file": false, "public_key": "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", "previous_secret_until": null, "created_at": "2024-12-03T12:00:00Z", "updated_at": "2024-12-03T12:00:00Z", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="}"#,
    )],
    refusals: &[UNREACHABLE, INVALID, NOT_STAFF, REAUTHENTICATION_REQUIRED],
    ..Operation::NEW
};

/// `GET webhooks/<id>/`
pub(crate) const RETRIEVE: Operation = Operation {
    id: "retrieveWebhook",
    tag: Tag::Staff,
    summary: "Retrieve a webhook",
    description: "Returns a webhook without its secret. Needs the token of a staff account.",
    answers: &[Outcome::json::<WebhookResponse<'static>>(
        200,
        "the webhook",
        EXAMPLE,
    )],
    refusals: &[NOT_STAFF, UNKNOWN],
    ..Operation::NEW
};

/// `PATCH webhooks/<id>/`
pub(crate) const PARTIAL_UPDATE: Operation = Operation {
    id: "updateWebhook",
    tag: Tag::Staff,
    summary: "Change a webhook",
    description: "Changes the given fields. `is_enabled` stops and resumes deliveries: stopping \
                  gives up what waits, resuming forgets earlier failures. All staff is notified by \
                  mail. Needs the token of a staff account that has authenticated recently.",
    body: Some(Body {
        form: forms::webhook_changes,
        example: r#"{"events": ["user.*", "session.reuse_detected"], "is_enabled": true}"#,
    }),
    answers: &[Outcome::json::<WebhookResponse<'static>>(
        200,
        "the webhook",
        EXAMPLE,
    )],
    refusals: &[
        UNREACHABLE,
        INVALID,
        FROM_FILE,
        NOT_STAFF,
        REAUTHENTICATION_REQUIRED,
        UNKNOWN,
    ],
    ..Operation::NEW
};

/// `DELETE webhooks/<id>/`
pub(crate) const DESTROY: Operation = Operation {
    id: "deleteWebhook",
    tag: Tag::Staff,
    summary: "Remove a webhook",
    description: "Removes a webhook with its deliveries. All staff is notified by mail. Needs the token \
                  of a staff account that has authenticated recently.",
    answers: &[Outcome::nothing(204, "the webhook is removed")],
    refusals: &[FROM_FILE, NOT_STAFF, REAUTHENTICATION_REQUIRED, UNKNOWN],
    ..Operation::NEW
};

/// `POST webhooks/<id>/rotate-secret/`
pub(crate) const ROTATE: Operation = Operation {
    id: "rotateWebhookSecret",
    tag: Tag::Staff,
    summary: "Rotate the secret",
    description: "Replaces the secret and the key pair of a webhook. For 24 hours requests have the \
                  signatures of both, so that the receiver can be changed without losing events. \
                  The answer has the new secret, this once. All staff is notified by mail. Needs the \
                  token of a staff account that has authenticated recently.",
    answers: &[Outcome::json::<SecretResponse<'static>>(
        200,
        "the secret is replaced",
        r#"{"id": 1, "url": "https://crm.example.com/hooks", "events": ["user.*"], "description": "CRM", "payload": "full", "is_enabled": true, "disabled_at": null, "disabled_reason": null, "failing_since": null, "is_from_file": false, "public_key": "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", "previous_secret_until": "2024-12-04T12:00:00Z", "created_at": "2024-12-03T12:00:00Z", "updated_at": "2024-12-03T12:00:00Z", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="}"#,
    )],
    refusals: &[FROM_FILE, NOT_STAFF, REAUTHENTICATION_REQUIRED, UNKNOWN],
    ..Operation::NEW
};

/// `GET webhooks/`
pub(crate) async fn list(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_staff()?;
    let client = request.client(app);
    let parameters = parameters(request.head.query());
    let wanted = read_page(&parameters).ok_or(ApiError::InvalidPage)?;
    let webhooks = accounts::list_webhooks(app, Administrator::Staff(&caller, &client)).await?;
    // There are a few of them at most, so the store has no pages.
    let count = webhooks.len() as u64;
    let bounds = PageBounds::of(count, wanted, read_page_size(&parameters));
    let bounds = bounds.ok_or(ApiError::InvalidPage)?;
    let start = usize::try_from(bounds.offset).unwrap_or(usize::MAX);
    let size = usize::try_from(bounds.size).unwrap_or(usize::MAX);
    let page = Page {
        count,
        number: bounds.number,
        pages: bounds.pages,
        items: webhooks.into_iter().skip(start).take(size).collect(),
    };
    let url = format!("{}{}", app.public_url, request.head.path());
    let response = PageResponse::new(&url, &parameters, &page, shown);
    Ok(reply::json(StatusCode::OK, &response))
}

/// `POST webhooks/`
pub(crate) async fn create(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_staff()?;
    // Before the body is read; the operation decides it again.
    accounts::require_recent(app, &caller).await?;
    let fields = body::fields(app, request).await?;
    let client = request.client(app);
    let by = Administrator::Staff(&caller, &client);
    let created = accounts::create_webhook(app, by, &fields).await?;
    Ok(reply::json(StatusCode::CREATED, &with_secret(&created)))
}

/// `GET webhooks/<id>/`
pub(crate) async fn retrieve(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_staff()?;
    let client = request.client(app);
    let by = Administrator::Staff(&caller, &client);
    let webhook = accounts::find_webhook(app, by, request.number_before(0)?).await?;
    Ok(reply::json(StatusCode::OK, &shown(&webhook)))
}

/// `PATCH webhooks/<id>/`
pub(crate) async fn partial_update(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_staff()?;
    accounts::require_recent(app, &caller).await?;
    let id = request.number_before(0)?;
    let fields = body::fields(app, request).await?;
    let client = request.client(app);
    let by = Administrator::Staff(&caller, &client);
    let webhook = accounts::update_webhook(app, by, id, &fields).await?;
    Ok(reply::json(StatusCode::OK, &shown(&webhook)))
}

/// `DELETE webhooks/<id>/`
pub(crate) async fn destroy(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_staff()?;
    let client = request.client(app);
    let by = Administrator::Staff(&caller, &client);
    accounts::delete_webhook(app, by, request.number_before(0)?).await?;
    Ok(reply::no_content())
}

/// `POST webhooks/<id>/rotate-secret/`
pub(crate) async fn rotate(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_staff()?;
    let client = request.client(app);
    let by = Administrator::Staff(&caller, &client);
    let rotated = accounts::rotate_webhook_secret(app, by, request.number_before(1)?).await?;
    Ok(reply::json(StatusCode::OK, &with_secret(&rotated)))
}

fn shown(webhook: &WebhookInfo) -> WebhookResponse<'_> {
    WebhookResponse {
        id: webhook.id,
        url: &webhook.url,
        events: webhook.events.entries(),
        description: &webhook.description,
        payload: WebhookPayload::as_str(webhook.payload),
        is_enabled: webhook.disabled.is_none(),
        disabled_at: webhook.disabled.map(|(at, _)| at),
        disabled_reason: webhook
            .disabled
            .map(|(_, reason)| WebhookDisabled::as_str(reason)),
        failing_since: webhook.failing_since,
        is_from_file: webhook.is_from_file,
        public_key: webhook.public_key.clone(),
        previous_secret_until: webhook.former_until,
        created_at: webhook.created_at,
        updated_at: webhook.updated_at,
    }
}

fn with_secret(webhook: &WebhookWithSecret) -> SecretResponse<'_> {
    SecretResponse {
        webhook: shown(&webhook.webhook),
        secret: &webhook.secret,
    }
}
