//! `sessions/`: the devices on which the caller is signed in.

use http::StatusCode;
use serde::Serialize;

use super::request::Request;
use super::{HandlerResult, reply};
use crate::accounts;
use crate::app::SharedApp;
use crate::domain::Timestamp;

#[derive(Serialize)]
struct SessionResponse<'a> {
    id: &'a str,
    created_at: Timestamp,
    last_used_at: Timestamp,
    ip: &'a str,
    user_agent: &'a str,
    current: bool,
}

/// `GET sessions/`
pub(super) async fn list(app: &SharedApp, request: &mut Request) -> HandlerResult {
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
            current: session.id == caller.session_id,
        })
        .collect();
    Ok(reply::json(StatusCode::OK, &sessions))
}

/// `DELETE sessions/<id>/`
pub(super) async fn destroy(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_caller()?;
    accounts::end_session(app, &caller, request.last_segment()).await?;
    Ok(reply::no_content())
}

/// `DELETE sessions/`
pub(super) async fn destroy_others(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_caller()?;
    accounts::end_other_sessions(app, &caller).await?;
    Ok(reply::no_content())
}
