//! The pages behind the link that undoes an address change.
//!
//! The token in the link is all the proof there is, so the form needs no token of its own.

use http::StatusCode;
use minijinja::{Value, context};

use super::render::{Page, PageResult};
use super::visitor::Visitor;
use crate::accounts::AccountError;
use crate::app::SharedApp;
use crate::http::request::Request;

/// Asks whether to go back to this address; without one the link is dead.
pub(in crate::http) fn confirm(
    app: &SharedApp,
    request: &Request,
    email: Option<&str>,
) -> PageResult {
    let visitor = Visitor::without_session(app, request);
    let Some(email) = email else {
        return said(&visitor, "page_undo.dead", StatusCode::NOT_FOUND);
    };
    let text = visitor.text("page_undo.ask", context! { email });
    page(&visitor, "page_undo.title", text, true, StatusCode::OK)
}

/// Says what became of it.
pub(in crate::http) fn outcome(
    app: &SharedApp,
    request: &Request,
    outcome: Result<(), AccountError>,
) -> PageResult {
    let visitor = Visitor::without_session(app, request);
    match outcome {
        Ok(()) => said(&visitor, "page_undo.done", StatusCode::OK),
        Err(AccountError::InvalidLink) => said(&visitor, "page_undo.dead", StatusCode::BAD_REQUEST),
        Err(AccountError::EmailTaken) => said(&visitor, "page_undo.taken", StatusCode::BAD_REQUEST),
        Err(error) => Err(error.into()),
    }
}

/// A page that only says something: the sentences `key` and `key_title`.
fn said(visitor: &Visitor<'_>, key: &str, status: StatusCode) -> PageResult {
    let text = visitor.text(key, Value::UNDEFINED);
    page(visitor, &format!("{key}_title"), text, false, status)
}

fn page(
    visitor: &Visitor<'_>,
    title: &str,
    text: String,
    has_button: bool,
    status: StatusCode,
) -> PageResult {
    Page::new(visitor, "account/undo.html", title)
        .status(status)
        .with(context! { text, has_button, has_pages => super::are_enabled(visitor.app) })
        .answer()
}
