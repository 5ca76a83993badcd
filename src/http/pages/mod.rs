//! HTML for a person at a browser: what the pages have in common, and the pages themselves.
//!
//! No markup comes from outside: every text is escaped where it is put into a page.

pub(crate) mod email_undo;
pub(crate) mod inbox;
mod layout;
mod texts;

use warp::reply::Response;

use super::error::ApiError;
use layout::{Page, escape};

/// Renders an error as a page, with the status and headers of the API's own answer.
pub(crate) fn error(error: ApiError, request_id: &str) -> Response {
    let header = error.header();
    let (status, body) = error.status_and_body(request_id);
    let text = body["detail"].as_str().unwrap_or("Bad request.");
    let page = Page::new(status, "en", "This did not work").paragraph(&escape(text));
    let mut response = page.into_response();
    if let Some((name, value)) = header {
        response.headers_mut().insert(name, value);
    }
    response
}
