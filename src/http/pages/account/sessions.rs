//! `/account/sessions/`: the devices that are signed in.

use minijinja::{Value, context};

use super::session_before_setup;
use crate::accounts::{self, AccountError};
use crate::app::SharedApp;
use crate::http::pages::form::Form;
use crate::http::pages::render::{Page, PageResult, redirect};
use crate::http::pages::values;
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;

const PATH: &str = "/account/sessions/";

/// The list.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = session_before_setup(&visitor)?;
    let current = session.caller.session_id();
    let sessions = accounts::list_sessions(app, &session.caller).await?;
    let sessions: Value = sessions
        .iter()
        .map(|session| values::session(&visitor, session, current))
        .collect();
    Page::new(&visitor, "account/sessions.html", "page_sessions.title")
        .with(context! { section => "sessions", sessions })
        .answer()
}

/// Ends one session.
pub(in crate::http) async fn end(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = session_before_setup(&visitor)?;
    let form = Form::read(&visitor, app, request).await?;
    let client = &visitor.client;
    match accounts::end_session(app, &session.caller, client, &form.text("id")).await {
        // It may have ended by itself, or in another tab.
        Ok(()) | Err(AccountError::NotFound) => redirect(&visitor, PATH, "page_sessions.ended"),
        Err(error) => Err(error.into()),
    }
}

/// Ends all sessions but this one.
pub(in crate::http) async fn end_others(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = session_before_setup(&visitor)?;
    Form::read(&visitor, app, request).await?;
    accounts::end_other_sessions(app, &session.caller, &visitor.client).await?;
    redirect(&visitor, PATH, "page_sessions.others_ended")
}
