//! `sessions/`: the sessions of the caller.

use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::reauthenticate::REQUIRED;
use crate::accounts;
use crate::app::SharedApp;
use crate::domain::{AuthMethod, Timestamp};
use crate::http::error::ApiError;
use crate::http::operation::{Operation, Outcome, Refusal, Tag};
use crate::http::reply;
use crate::http::request::Request;
use crate::http::route::HandlerResult;

/// A session of the caller.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Session")]
struct SessionResponse<'a> {
    id: &'a str,
    created_at: Timestamp,
    /// The time of the sign-in or the last refresh, whichever is later.
    last_used_at: Timestamp,
    /// The client's address then.
    ip: &'a str,
    /// The `User-Agent` of the client then.
    user_agent: &'a str,
    /// Whether it is the session of the token.
    current: bool,
    /// When the owner last authenticated: the sign-in, or `reauthenticate/`.
    authenticated_at: Timestamp,
    /// What was checked then (RFC 8176): `pwd` or, for a mailed code or link, `otp`. Empty for
    /// sessions of versions that did not note it.
    #[schemars(with = "Vec<String>")]
    amr: &'a [AuthMethod],
    /// The application that the user signed in to; `null` for the sessions of this API and of the
    /// account pages.
    client_name: Option<&'a str>,
}

/// `GET sessions/`
pub(crate) const LIST: Operation = Operation {
    id: "listSessions",
    tag: Tag::Sessions,
    summary: "List sessions",
    description: "Lists the devices and applications in which the caller is signed in, newest first.",
    answers: &[Outcome::json::<Vec<SessionResponse<'static>>>(
        200,
        "the sessions",
        r#"[{"id": "fceca1e7b797c13e8a0e8ff3ae2a5c01", "created_at": "2024-12-03T12:00:00Z", "last_used_at": "2024-12-03T12:00:00Z", "ip": "127.0.0.1", "user_agent": "curl/8.11.0", "current": true, "authenticated_at": "2024-12-03T12:00:00Z", "amr": ["pwd"], "client_name": null}]"#,
    )],
    ..Operation::NEW
};

/// `DELETE sessions/<id>/`
pub(crate) const DESTROY: Operation = Operation {
    id: "endSession",
    tag: Tag::Sessions,
    summary: "Revoke a session",
    description: "Revokes one session of the caller, possibly the current one; its tokens are \
                  invalid at once.",
    answers: &[Outcome::nothing(204, "the session is revoked")],
    refusals: &[Refusal {
        when: "none of the caller's sessions",
        error: || ApiError::NotFound,
    }],
    ..Operation::NEW
};

/// `DELETE sessions/`
pub(crate) const DESTROY_OTHERS: Operation = Operation {
    id: "endOtherSessions",
    tag: Tag::Sessions,
    summary: "Revoke the other sessions",
    description: "Ends all sessions of the caller but the current one.",
    answers: &[Outcome::nothing(
        204,
        "the others are revoked, if there were any",
    )],
    refusals: &[REQUIRED],
    ..Operation::NEW
};

/// `GET sessions/`
pub(crate) async fn list(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_caller()?;
    let sessions = accounts::list_sessions(app, &caller).await?;
    let sessions: Vec<SessionResponse<'_>> = sessions
        .iter()
        .map(|session| SessionResponse {
            id: &session.id,
            created_at: session.created_at,
            last_used_at: session.last_used_at,
            ip: &session.ip,
            user_agent: &session.user_agent,
            current: session.id == caller.session_id(),
            authenticated_at: session.authentication.at,
            amr: &session.authentication.methods,
            client_name: session.client_name.as_deref(),
        })
        .collect();
    Ok(reply::json(StatusCode::OK, &sessions))
}

/// `DELETE sessions/<id>/`
pub(crate) async fn destroy(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_caller()?;
    let client = request.client(app);
    accounts::end_session(app, &caller, &client, request.last_segment()).await?;
    Ok(reply::no_content())
}

/// `DELETE sessions/`
pub(crate) async fn destroy_others(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_caller()?;
    accounts::end_other_sessions(app, &caller, &request.client(app)).await?;
    Ok(reply::no_content())
}
