//! The pages behind the link that undoes an address change.

use http::StatusCode;
use warp::reply::Response;

use super::layout::{Page, escape};
use super::texts;
use crate::accounts::AccountError;

/// Asks whether to go back to this address.
pub(crate) fn confirm(language: &str, email: &str) -> Response {
    let texts = texts::undo(language);
    let consequences = texts.consequences.replace("{email}", &escape(email));
    Page::new(StatusCode::OK, texts.language, texts.question)
        .paragraph(&consequences)
        .markup(&format!(
            "<form method=\"post\"><button>{}</button></form>",
            texts.button
        ))
        .paragraph(texts.not_needed)
        .into_response()
}

/// Says that the change is undone, and what to do next.
pub(crate) fn done(language: &str) -> Response {
    let texts = texts::undo(language);
    Page::new(StatusCode::OK, texts.language, texts.done)
        .paragraph(texts.next_step)
        .into_response()
}

/// Says that the link is used or expired.
pub(crate) fn dead_link(language: &str, status: StatusCode) -> Response {
    let texts = texts::undo(language);
    Page::new(status, texts.language, texts.dead_link)
        .paragraph(texts.dead_link_reason)
        .paragraph(texts.way_on)
        .into_response()
}

/// Says why the change cannot be undone; `None` when the error is not about the link.
pub(crate) fn refusal(language: &str, error: &AccountError) -> Option<Response> {
    let texts = texts::undo(language);
    match error {
        AccountError::InvalidLink => Some(dead_link(language, StatusCode::BAD_REQUEST)),
        AccountError::EmailTaken => Some(
            Page::new(StatusCode::BAD_REQUEST, texts.language, texts.taken)
                .paragraph(texts.taken_reason)
                .paragraph(texts.way_on)
                .into_response(),
        ),
        _ => None,
    }
}
