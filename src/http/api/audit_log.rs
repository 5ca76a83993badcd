//! `events/`: the whole audit log, for staff.

use bytes::Bytes;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::events::{self, EventResponse};
use super::pagination::{
    NO_PAGE, PAGE, PAGE_SIZE, PageResponse, Parameters, parameters, read_id, read_page,
    read_page_size, value,
};
use crate::accounts::{self, Administrator};
use crate::app::SharedApp;
use crate::domain::{EventKind, FieldErrors, Timestamp, UserId, messages};
use crate::http::error::ApiError;
use crate::http::operation::{NOT_STAFF, Operation, Outcome, Parameter, Refusal, Tag};
use crate::http::reply;
use crate::http::request::Request;
use crate::http::route::HandlerResult;
use crate::store::{Event, EventFilter};

/// An entry of the audit log as staff sees it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditLogEntry")]
struct EntryResponse<'a> {
    #[serde(flatten)]
    event: EventResponse<'a>,
    /// The account that it is about, if any. It may be deleted.
    user_id: Option<UserId>,
    /// The system user who ran a command; empty for requests.
    operator: &'a str,
}

/// `GET events/`
pub(crate) const LIST: Operation = Operation {
    id: "listEvents",
    tag: Tag::Staff,
    summary: "List all events",
    description: "Lists the whole audit log in pages, newest entry first. Needs the token of a staff \
                  account.",
    query: &[
        Parameter {
            name: "kind",
            description: "Only entries of this kind, or of several separated by commas, such as \
                          `sign_in_failed,token_reused`.",
            schema: r#"{"type": "string"}"#,
        },
        Parameter {
            name: "user",
            description: "Only entries about the account with this id, which may be deleted.",
            schema: r#"{"type": "integer"}"#,
        },
        Parameter {
            name: "actor",
            description: "Only entries that the account with this id caused.",
            schema: r#"{"type": "integer"}"#,
        },
        Parameter {
            name: "after",
            description: "Only entries from this time on.",
            schema: r#"{"type": "string", "format": "date-time"}"#,
        },
        Parameter {
            name: "before",
            description: "Only entries before this time.",
            schema: r#"{"type": "string", "format": "date-time"}"#,
        },
        PAGE,
        PAGE_SIZE,
    ],
    answers: &[Outcome::json::<PageResponse<EntryResponse<'static>>>(
        200,
        "a page",
        r#"{"count": 1, "next": null, "previous": null, "results": [{"id": 3, "event": "sign_in", "created_at": "2024-12-03T12:00:00Z", "actor": "user", "actor_id": 1, "ip": "203.0.113.7", "user_agent": "curl/8.11.0", "detail": "", "reason": "", "count": 1, "last_at": "2024-12-03T12:00:00Z", "user_id": 1, "operator": ""}]}"#,
    )],
    refusals: &[
        Refusal {
            when: "a filter is wrong",
            error: || {
                let mut errors = FieldErrors::one("kind", messages::not_a_choice("login"));
                errors.add("user", messages::NOT_AN_INTEGER);
                errors.add("after", messages::WRONG_DATETIME);
                ApiError::Fields(errors)
            },
        },
        NOT_STAFF,
        NO_PAGE,
    ],
    ..Operation::NEW
};

/// `GET events/`
pub(crate) async fn list(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_staff()?;
    let client = request.client(app);
    let parameters = parameters(request.head.query());
    let filter = read_filter(&parameters).map_err(ApiError::Fields)?;
    let page = read_page(&parameters).ok_or(ApiError::InvalidPage)?;
    let size = read_page_size(&parameters);
    let by = Administrator::Staff(&caller, &client);
    let page = accounts::list_event_page(app, by, filter, page, size).await?;
    let url = format!("{}{}", app.public_url, request.head.path());
    let response = PageResponse::new(&url, &parameters, &page, shown);
    Ok(reply::json(StatusCode::OK, &response))
}

/// Reads the filters of a query. Empty ones do not count, so that a form can leave them empty.
///
/// # Errors
/// All wrong ones.
pub(crate) fn read_filter(parameters: &Parameters) -> Result<EventFilter, FieldErrors> {
    let mut errors = FieldErrors::default();
    let given = |name| {
        value(parameters, name)
            .map(str::trim)
            .filter(|text| !text.is_empty())
    };
    let mut kinds = Vec::new();
    for name in given("kind").into_iter().flat_map(|names| names.split(',')) {
        match EventKind::parse(name.trim()) {
            Some(kind) => kinds.push(kind),
            None => errors.add("kind", messages::not_a_choice(name)),
        }
    }
    let mut number = |name: &'static str| match read_id(parameters, name) {
        Ok(id) => id,
        Err(message) => {
            errors.add(name, message);
            None
        }
    };
    let (user_id, actor_id) = (number("user"), number("actor"));
    let mut moment = |name: &'static str| -> Option<Timestamp> {
        let moment = accounts::parse_moment(given(name)?);
        if moment.is_none() {
            errors.add(name, messages::WRONG_DATETIME);
        }
        moment
    };
    let (since, before) = (moment("after"), moment("before"));
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(EventFilter {
        user_id,
        actor_id,
        kinds,
        since,
        before,
    })
}

/// An entry as JSON, as the list has it.
pub(crate) fn write(event: &Event) -> Bytes {
    reply::write(&shown(event))
}

fn shown(event: &Event) -> EntryResponse<'_> {
    EntryResponse {
        event: events::shown(event),
        user_id: event.user_id,
        operator: &event.context.operator,
    }
}
