//! Cross-origin requests from browsers (the Fetch standard's CORS protocol): closed unless an origin is configured, and then
//! open for exactly that origin. Tokens travel in a header and not in cookies, so credentials are never allowed.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ALLOW,
    HeaderValue, ORIGIN, VARY,
};
use http::{HeaderMap, Method};

use crate::config::CorsOrigin;

/// What a page may send besides the plain headers.
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static("authorization, content-type");

/// What a page may read besides the plain headers.
const ANSWER_HEADERS: HeaderValue = HeaderValue::from_static("retry-after, x-request-id");

/// Seconds that a browser may remember a preflight: the most that any of them does.
const MAX_AGE: HeaderValue = HeaderValue::from_static("86400");

/// Adds to an answer what lets a page of an allowed origin see it.
pub(super) fn allow(
    origins: &[CorsOrigin],
    method: &Method,
    request: &HeaderMap,
    answer: &mut HeaderMap,
) {
    if origins.is_empty() {
        return;
    }
    // The answer differs from origin to origin, also for one that is not allowed: caches have to know.
    answer.append(VARY, HeaderValue::from_static("origin"));
    let Some(origin) = request.get(ORIGIN) else {
        return;
    };
    let is_allowed = origins
        .iter()
        .any(|allowed| origin.as_bytes() == allowed.as_str().as_bytes());
    if !is_allowed {
        return;
    }
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    if *method == Method::OPTIONS && request.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        if let Some(methods) = answer.get(ALLOW).cloned() {
            answer.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
        answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
        answer.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    } else {
        answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, ANSWER_HEADERS);
    }
}
