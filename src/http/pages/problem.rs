//! Errors as pages: what happened, and a way on.

use std::time::Duration;

use http::StatusCode;
use minijinja::{Value, context};
use warp::reply::Response;

use super::access::SIGN_IN;
use super::external;
use super::next_path::HOME;
use super::render::{Detour, Page};
use super::visitor::Visitor;
use crate::app::App;
use crate::http::error::ApiError;
use crate::http::request::Request;

/// Renders an error as a page, with the status and headers of the API's own answer.
pub(crate) async fn error(app: &App, request: &Request, error: ApiError) -> Response {
    let request_id = request.id.as_str().to_owned();
    // Without a store there is no session to look up, but there is a page to show.
    let visitor = match Visitor::of(app, request).await {
        Ok(visitor) => visitor,
        Err(_) => Visitor::without_session(app, request),
    };
    let header = error.header();
    let status = error.status();
    let page = page(&visitor, &error, &request_id);
    match page.status(status).answer() {
        Ok(mut response) => {
            if let Some((name, value)) = header {
                response.headers_mut().insert(name, value);
            }
            response
        }
        Err(Detour::Answer(response)) => *response,
        Err(Detour::Error(other)) => {
            other.log();
            error.into_response(&request_id)
        }
    }
}

fn page<'a>(visitor: &'a Visitor<'a>, error: &ApiError, request_id: &str) -> Page<'a> {
    if matches!(error, ApiError::BadRequest(_)) && external::is_callback(visitor) {
        return external::expired(visitor, "");
    }
    let (key, values) = match error {
        ApiError::ForeignForm => ("form", Value::UNDEFINED),
        ApiError::InsecurePages => ("insecure", Value::UNDEFINED),
        ApiError::Forbidden => ("forbidden", Value::UNDEFINED),
        ApiError::TooLarge => ("too_large", Value::UNDEFINED),
        ApiError::Throttled(duration) => ("throttled", wait(*duration)),
        ApiError::Overloaded(_) => ("unavailable", Value::UNDEFINED),
        ApiError::Internal(_) => ("internal", Value::UNDEFINED),
        _ if error.status() == StatusCode::NOT_FOUND => ("not_found", Value::UNDEFINED),
        _ => ("form", Value::UNDEFINED),
    };
    let is_ours = matches!(error, ApiError::Internal(_));
    let (link, link_text) = match (&visitor.session, key) {
        (None, "form" | "forbidden") => (SIGN_IN, "page_reset.back"),
        (_, "form" | "too_large") => (visitor.path.as_str(), "problem.back"),
        _ => (HOME, "problem.home"),
    };
    Page::new(visitor, "message.html", &format!("problem.{key}_title")).with(context! {
        text => visitor.text(&format!("problem.{key}"), values),
        link => link,
        link_text => visitor.text(link_text, Value::UNDEFINED),
        request_id => is_ours.then(|| request_id.to_owned()),
    })
}

/// Seconds and minutes of a wait, for the sentence about it.
pub(super) fn wait(duration: Duration) -> Value {
    let seconds = duration.as_secs().max(1);
    context! { seconds, minutes => seconds.div_ceil(60) }
}
