//! `/account/data/`: everything about the account as one file.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::{CONTENT_DISPOSITION, HeaderValue};
use minijinja::context;
use serde_json::json;

use super::{Change, session};
use crate::accounts;
use crate::app::SharedApp;
use crate::http::api::users::user_response;
use crate::http::pages::render::{Page, PageResult};
use crate::http::pages::visitor::Visitor;
use crate::http::reply;
use crate::http::request::Request;

/// What can be done.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    session(&visitor)?;
    Page::new(&visitor, "account/data.html", "page_data.title")
        .with(context! { section => "data" })
        .answer()
}

/// The file: profile, photo, sessions, passkeys, identities, applications and activity.
pub(in crate::http) async fn download(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let Change { session, .. } = Change::read(visitor, app, request).await?;
    let data = accounts::collect_download(app, &session.caller).await?;
    let sessions: Vec<_> = data
        .sessions
        .iter()
        .map(|session| {
            json!({
                "created_at": session.created_at,
                "last_used_at": session.last_used_at,
                "ip": session.ip,
                "user_agent": session.user_agent,
                "client_name": session.client_name,
            })
        })
        .collect();
    let applications: Vec<_> = data
        .applications
        .iter()
        .map(|grant| {
            json!({
                "client_id": grant.client_id,
                "name": grant.client_name,
                "scopes": grant.scopes,
                "created_at": grant.created_at,
                "last_used_at": grant.last_used_at,
            })
        })
        .collect();
    let passkeys: Vec<_> = data
        .passkeys
        .iter()
        .map(|passkey| {
            json!({
                "name": passkey.name,
                "created_at": passkey.created_at,
                "last_used_at": passkey.last_used_at,
            })
        })
        .collect();
    let identities: Vec<_> = data
        .identities
        .iter()
        .map(|identity| {
            let proven = &identity.proven;
            json!({
                "provider": proven.provider,
                "issuer": proven.issuer,
                "subject": proven.subject,
                "email": proven.email,
                "name": proven.name,
                "created_at": identity.created_at,
                "last_used_at": identity.last_used_at,
            })
        })
        .collect();
    let events: Vec<_> = data
        .events
        .iter()
        .map(|event| {
            json!({
                "event": event.kind,
                "happened_at": event.happened_at,
                "ip": event.context.ip,
                "user_agent": event.context.user_agent,
                "detail": event.detail,
                "count": event.count,
                "last_at": event.last_at,
            })
        })
        .collect();
    let file = json!({
        "profile": user_response(app, session.user()),
        "photo": data.photo.map(|(name, bytes)| {
            json!({ "name": name, "base64": STANDARD.encode(bytes) })
        }),
        "sessions": sessions,
        "passkeys": passkeys,
        "identities": identities,
        "applications": applications,
        "events": events,
    });
    let mut response = reply::json(StatusCode::OK, &file);
    response.headers_mut().insert(
        CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"account.json\""),
    );
    Ok(response)
}
