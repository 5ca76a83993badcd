//! Style, script and logo of the pages.

use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue};

use crate::app::SharedApp;
use crate::http::HandlerResult;
use crate::http::error::ApiError;
use crate::http::reply;
use crate::http::request::Request;

/// A file whose address names its content never changes.
const FOR_GOOD: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

const FOR_NOW: HeaderValue = HeaderValue::from_static("no-cache");

/// An SVG is a document too: opened on its own it runs nothing.
const NOTHING: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox");

/// `GET /account/static/<name>`
pub(in crate::http) async fn retrieve(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let file = app
        .pages
        .static_file(request.last_segment())
        .ok_or(ApiError::NotFound)?;
    let is_current = request.head.query() == format!("v={}", file.version);
    let body = file.content.clone().into_owned().into();
    let mut response = reply::with_type(StatusCode::OK, file.media_type, body);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, if is_current { FOR_GOOD } else { FOR_NOW });
    headers.insert(CONTENT_SECURITY_POLICY, NOTHING);
    Ok(response)
}
