//! `users/<pk>/events/`: the audit log of an account.

use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::pagination::{
    NO_PAGE, PAGE, PAGE_SIZE, PageResponse, parameters, read_page, read_page_size,
};
use crate::accounts;
use crate::app::SharedApp;
use crate::domain::{Timestamp, UserId};
use crate::http::operation::{Operation, Outcome, Tag};
use crate::http::reply;
use crate::http::request::Request;
use crate::http::route::HandlerResult;
use crate::store::Event;

/// An entry of the audit log.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Event")]
pub(super) struct EventResponse<'a> {
    id: i64,
    /// The kind of event, such as `sign_in`.
    event: &'static str,
    created_at: Timestamp,
    /// The actor: `user` (the account itself), `staff`, `administrator` (a command on the
    /// server's machine) or `unknown`.
    actor: &'static str,
    /// The account that acted, if any.
    actor_id: Option<UserId>,
    /// The client's address; empty for administrators, and for staff unless staff asks.
    ip: &'a str,
    /// The `User-Agent` of the client.
    user_agent: &'a str,
    /// Details, such as the names of changed fields.
    detail: &'a str,
    /// Why, if staff or an administrator gave a reason; only staff sees it.
    reason: &'a str,
    /// How often it happened: repeats of one client within an hour share an entry.
    count: u64,
    /// When it happened last.
    last_at: Timestamp,
}

/// `GET users/<pk>/events/`
pub(crate) const LIST: Operation = Operation {
    id: "listUserEvents",
    tag: Tag::Users,
    summary: "List events",
    description: "Lists the audit log of an account in pages, newest entry first. A user sees its \
                  own, staff everyone's.",
    query: &[PAGE, PAGE_SIZE],
    answers: &[Outcome::json::<PageResponse<EventResponse<'static>>>(
        200,
        "a page",
        r#"{"count": 1, "next": null, "previous": null, "results": [{"id": 3, "event": "sign_in", "created_at": "2024-12-03T12:00:00Z", "actor": "user", "actor_id": 1, "ip": "203.0.113.7", "user_agent": "curl/8.11.0", "detail": "", "reason": "", "count": 1, "last_at": "2024-12-03T12:00:00Z"}]}"#,
    )],
    refusals: &[NO_PAGE],
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
    let response = PageResponse::new(&url, &parameters, &page, shown);
    Ok(reply::json(StatusCode::OK, &response))
}

pub(super) fn shown(event: &Event) -> EventResponse<'_> {
    let context = &event.context;
    EventResponse {
        id: event.id,
        event: event.kind.as_str(),
        created_at: event.happened_at,
        actor: match context.actor_id {
            _ if !context.operator.is_empty() => "administrator",
            None => "unknown",
            Some(actor) if Some(actor) == event.user_id => "user",
            Some(_) => "staff",
        },
        actor_id: context.actor_id,
        ip: &context.ip,
        user_agent: &context.user_agent,
        detail: &event.detail,
        reason: &context.reason,
        count: event.count,
        last_at: event.last_at,
    }
}
