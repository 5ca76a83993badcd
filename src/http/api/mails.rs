//! `mails/`: the mail queue, for staff. It shows nothing of what a mail says.

use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::pagination::{
    NO_PAGE, PAGE, PAGE_SIZE, PageResponse, Parameters, parameters, read_id, read_page,
    read_page_size, read_search, value,
};
use crate::accounts::{self, Administrator};
use crate::app::SharedApp;
use crate::domain::{FieldErrors, MailState, Timestamp, UserId, messages};
use crate::http::error::{ApiError, MAIL_EXPIRED};
use crate::http::operation::{NOT_STAFF, Operation, Outcome, Parameter, Refusal, Tag};
use crate::http::reply;
use crate::http::request::Request;
use crate::http::route::HandlerResult;
use crate::store::{MailEntry, MailQuery};

/// A mail of the queue.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Mail")]
struct MailResponse<'a> {
    id: i64,
    /// The account it is about, if there is one.
    user_id: Option<UserId>,
    recipient: &'a str,
    /// What kind of mail it is, such as `sign_up`; empty when an earlier version queued it.
    kind: &'a str,
    /// `waiting`, `sending`, `failed` (refused for good) or `expired` (not delivered in time).
    state: &'static str,
    /// Why the last attempt failed, as the mail server said it; empty without a failure.
    reason: &'a str,
    /// How often delivery was attempted.
    tries: u32,
    created_at: Timestamp,
    last_try_at: Option<Timestamp>,
    /// When the next attempt is due, if there will be one.
    next_try_at: Option<Timestamp>,
    expires_at: Timestamp,
}

const UNKNOWN: Refusal = Refusal {
    when: "no such mail",
    error: || ApiError::NotFound,
};

/// `GET mails/`
pub(crate) const LIST: Operation = Operation {
    id: "listQueuedMails",
    tag: Tag::Staff,
    summary: "List mails",
    description: "Lists the mail queue in pages, newest mail first: mails that wait, and for 7 days \
                  those that were refused or have expired. Delivered mails are not kept. Needs the \
                  token of a staff account. Text, code and link of a mail are never shown.",
    query: &[
        Parameter {
            name: "state",
            description: "Only mails in this state.",
            schema: r#"{"type": "string", "enum": ["waiting", "sending", "failed", "expired"]}"#,
        },
        Parameter {
            name: "user",
            description: "Only mails about the account with this id.",
            schema: r#"{"type": "integer"}"#,
        },
        Parameter {
            name: "search",
            description: "Only mails whose recipient contains this text.",
            schema: r#"{"type": "string"}"#,
        },
        PAGE,
        PAGE_SIZE,
    ],
    answers: &[Outcome::json::<PageResponse<MailResponse<'static>>>(
        200,
        "a page",
        r#"{"count": 1, "next": null, "previous": null, "results": [{"id": 7, "user_id": 1, "recipient": "user@example.com", "kind": "password_reset", "state": "waiting", "reason": "mail server mail.example.com:465: 450 4.2.0 greylisted, come back later", "tries": 1, "created_at": "2024-12-03T12:00:00Z", "last_try_at": "2024-12-03T12:00:00Z", "next_try_at": "2024-12-03T12:00:10Z", "expires_at": "2024-12-03T12:10:00Z"}]}"#,
    )],
    refusals: &[
        Refusal {
            when: "a NUL in `search`",
            error: || ApiError::BadRequest(messages::NUL.to_owned()),
        },
        Refusal {
            when: "a filter is wrong",
            error: || {
                let mut errors = FieldErrors::one("state", messages::not_a_choice("sent"));
                errors.add("user", messages::NOT_AN_INTEGER);
                ApiError::Fields(errors)
            },
        },
        NOT_STAFF,
        NO_PAGE,
    ],
    ..Operation::NEW
};

/// `POST mails/<id>/retry/`
pub(crate) const RETRY: Operation = Operation {
    id: "retryMail",
    tag: Tag::Staff,
    summary: "Retry a mail",
    description: "Makes a mail due at once, also one that was refused. Needs the token of a staff \
                  account.",
    answers: &[Outcome::json::<MailResponse<'static>>(
        200,
        "the mail is due",
        r#"{"id": 7, "user_id": 1, "recipient": "user@example.com", "kind": "password_reset", "state": "waiting", "reason": "mail server mail.example.com:465: 450 4.2.0 greylisted, come back later", "tries": 1, "created_at": "2024-12-03T12:00:00Z", "last_try_at": "2024-12-03T12:00:00Z", "next_try_at": "2024-12-03T12:00:05Z", "expires_at": "2024-12-03T12:10:00Z"}"#,
    )],
    refusals: &[
        Refusal {
            when: "it has expired",
            error: || ApiError::BadRequest(MAIL_EXPIRED.to_owned()),
        },
        NOT_STAFF,
        UNKNOWN,
    ],
    ..Operation::NEW
};

/// `DELETE mails/<id>/`
pub(crate) const DESTROY: Operation = Operation {
    id: "discardMail",
    tag: Tag::Staff,
    summary: "Discard a mail",
    description: "Removes a mail from the queue. An attempt that is under way goes on, so it may \
                  still arrive. Needs the token of a staff account.",
    answers: &[Outcome::nothing(204, "the mail is discarded")],
    refusals: &[NOT_STAFF, UNKNOWN],
    ..Operation::NEW
};

/// `GET mails/`
pub(crate) async fn list(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_staff()?;
    let client = request.client(app);
    let parameters = parameters(request.head.query());
    let query = read_query(&parameters)?;
    let page = accounts::list_mails(app, Administrator::Staff(&caller, &client), query).await?;
    let url = format!("{}{}", app.public_url, request.head.path());
    let response = PageResponse::new(&url, &parameters, &page, shown);
    Ok(reply::json(StatusCode::OK, &response))
}

/// `POST mails/<id>/retry/`
pub(crate) async fn retry(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_staff()?;
    let client = request.client(app);
    let by = Administrator::Staff(&caller, &client);
    let mail = accounts::retry_mail(app, by, request.number_before(1)?).await?;
    Ok(reply::json(StatusCode::OK, &shown(&mail)))
}

/// `DELETE mails/<id>/`
pub(crate) async fn destroy(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_staff()?;
    let client = request.client(app);
    let by = Administrator::Staff(&caller, &client);
    accounts::discard_mail(app, by, request.number_before(0)?).await?;
    Ok(reply::no_content())
}

fn read_query(parameters: &Parameters) -> Result<MailQuery, ApiError> {
    let search = read_search(parameters)?;
    let mut errors = FieldErrors::default();
    let name = value(parameters, "state").unwrap_or_default();
    let state = MailState::parse(name);
    if state.is_none() && !name.is_empty() {
        errors.add("state", messages::not_a_choice(name));
    }
    let user_id = read_id(parameters, "user").unwrap_or_else(|message| {
        errors.add("user", message);
        None
    });
    if !errors.is_empty() {
        return Err(ApiError::Fields(errors));
    }
    Ok(MailQuery {
        state,
        user_id,
        search,
        page: read_page(parameters).ok_or(ApiError::InvalidPage)?,
        page_size: read_page_size(parameters),
    })
}

fn shown(mail: &MailEntry) -> MailResponse<'_> {
    MailResponse {
        id: mail.id,
        user_id: mail.user_id,
        recipient: &mail.email,
        kind: &mail.kind,
        state: mail.state.as_str(),
        reason: &mail.problem,
        tries: mail.tries,
        created_at: mail.created_at,
        last_try_at: mail.last_try_at,
        next_try_at: mail.next_try_at,
        expires_at: mail.expires_at,
    }
}
