//! The pages behind the link that undoes an address change.
//!
//! The token in the link is all the proof there is, so the form needs no token of its own.

use http::StatusCode;
use minijinja::{Value, context};

use super::form::Problems;
use super::render::{Page, PageResult};
use super::visitor::Visitor;
use crate::accounts::{self, AccountError};
use crate::app::SharedApp;
use crate::http::request::Request;
use crate::store::EmailUndo;

/// Asks whether to go back to this address; without one the link is dead.
pub(in crate::http) fn confirm(
    app: &SharedApp,
    request: &Request,
    link: Option<&EmailUndo>,
) -> PageResult {
    let visitor = Visitor::without_session(app, request);
    match link {
        Some(link) => ask(&visitor, link, &Problems::default(), StatusCode::OK),
        None => said(&visitor, "page_undo.dead", StatusCode::NOT_FOUND),
    }
}

/// Says what became of it, or asks again where the code is missing or wrong.
pub(in crate::http) async fn outcome(
    app: &SharedApp,
    request: &Request,
    outcome: Result<(), AccountError>,
) -> PageResult {
    let visitor = Visitor::without_session(app, request);
    match outcome {
        Ok(()) => said(&visitor, "page_undo.done", StatusCode::OK),
        Err(AccountError::InvalidLink) => said(&visitor, "page_undo.dead", StatusCode::BAD_REQUEST),
        Err(AccountError::EmailTaken) => said(&visitor, "page_undo.taken", StatusCode::BAD_REQUEST),
        Err(error) => {
            let (problems, status) = Problems::of_error(&visitor, error)?;
            match accounts::find_undo(app, request.last_segment()).await? {
                Some(link) => ask(&visitor, &link, &problems, status),
                None => said(&visitor, "page_undo.dead", StatusCode::BAD_REQUEST),
            }
        }
    }
}

fn ask(
    visitor: &Visitor<'_>,
    link: &EmailUndo,
    problems: &Problems,
    status: StatusCode,
) -> PageResult {
    let text = visitor.text("page_undo.ask", context! { email => &link.email });
    page(visitor, "page_undo.title", text, status)
        .with(context! {
            has_button => true,
            wants_code => link.factors.is_enabled(),
            errors => problems.to_value(),
        })
        .answer()
}

/// A page that only says something: the sentences `key` and `key_title`.
fn said(visitor: &Visitor<'_>, key: &str, status: StatusCode) -> PageResult {
    let text = visitor.text(key, Value::UNDEFINED);
    page(visitor, &format!("{key}_title"), text, status).answer()
}

fn page<'a>(visitor: &'a Visitor<'a>, title: &str, text: String, status: StatusCode) -> Page<'a> {
    Page::new(visitor, "account/undo.html", title)
        .status(status)
        .with(context! { text, has_pages => super::are_enabled(visitor.app) })
}
