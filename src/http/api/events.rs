//! `users/<pk>/events/`: what happened to an account.

use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::pagination::{link, parameters, read_page, read_page_size};
use crate::accounts;
use crate::app::SharedApp;
use crate::domain::{Timestamp, UserId};
use crate::http::HandlerResult;
use crate::http::error::ApiError;
use crate::http::openapi::{Operation, Outcome, Parameter, Refusal, Tag};
use crate::http::reply;
use crate::http::request::Request;
use crate::store::Event;

/// A page of what happened to an account.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EventPage")]
struct ListResponse<'a> {
    /// How many entries there are on all pages.
    count: u64,
    /// URL of the next page.
    next: Option<String>,
    /// URL of the previous page.
    previous: Option<String>,
    results: Vec<EventResponse<'a>>,
}

/// Something that happened to an account.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Event")]
struct EventResponse<'a> {
    id: i64,
    /// What happened, such as `sign_in`.
    event: &'static str,
    created_at: Timestamp,
    /// Who did it: `user` (the account itself), `staff`, `administrator` (on the machine of the server) or `unknown`.
    actor: &'static str,
    /// The account that did it, if one did.
    actor_id: Option<UserId>,
    /// The client's address; empty for administrators, and for staff unless staff asks.
    ip: &'a str,
    /// What the client called itself.
    user_agent: &'a str,
    /// More about it, such as the names of the fields that were changed.
    detail: &'a str,
}

/// `GET users/<pk>/events/`
pub(crate) const LIST: Operation = Operation {
    id: "listUserEvents",
    tag: Tag::Users,
    summary: "List what happened to a user",
    description: "Lists the audit log of an account in pages, the newest entry first. A user sees its own, staff everyone's.",
    query: &[
        Parameter {
            name: "page",
            description: "A number from 1, or `last`.",
            schema: r#"{"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "const": "last"}], "default": 1}"#,
        },
        Parameter {
            name: "page_size",
            description: "Entries on a page; a larger number counts as 100, what is no number is ignored.",
            schema: r#"{"type": "integer", "minimum": 1, "maximum": 100, "default": 20}"#,
        },
    ],
    answers: &[Outcome::json::<ListResponse<'static>>(
        200,
        "a page",
        r#"{"count": 1, "next": null, "previous": null, "results": [{"id": 3, "event": "sign_in", "created_at": "2024-12-03T12:00:00Z", "actor": "user", "actor_id": 1, "ip": "203.0.113.7", "user_agent": "curl/8.11.0", "detail": ""}]}"#,
    )],
    refusals: &[Refusal {
        when: "a page past the end, or no number",
        error: || ApiError::InvalidPage,
    }],
    ..Operation::NEW
};

/// `GET users/<pk>/events/`
pub(crate) async fn list(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let id = request.user_id()?;
    let caller = request.take_caller()?;
    let parameters = parameters(request.head.query());
    let size = read_page_size(&parameters);
    let page = accounts::list_user_events(app, &caller, id, read_page(&parameters), size).await?;
    let url = format!("{}{}", app.public_url, request.head.path());
    let response = ListResponse {
        count: page.count,
        next: (page.number < page.pages).then(|| link(&url, &parameters, page.number + 1)),
        previous: (page.number > 1).then(|| link(&url, &parameters, page.number - 1)),
        results: page.events.iter().map(|event| shown(event, id)).collect(),
    };
    Ok(reply::json(StatusCode::OK, &response))
}

fn shown(event: &Event, user_id: UserId) -> EventResponse<'_> {
    let context = &event.context;
    EventResponse {
        id: event.id,
        event: event.kind.as_str(),
        created_at: event.happened_at,
        actor: match context.actor_id {
            _ if !context.operator.is_empty() => "administrator",
            None => "unknown",
            Some(actor) if actor == user_id => "user",
            Some(_) => "staff",
        },
        actor_id: context.actor_id,
        ip: &context.ip,
        user_agent: &context.user_agent,
        detail: &event.detail,
    }
}
