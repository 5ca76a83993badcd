//! Headers by which browsers protect the person in front of them (OWASP's list for answers of APIs). What a handler has set
//! for its own pages stands.

use http::HeaderMap;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

/// An answer that is no page does nothing in a browser and is shown in no frame.
const NOTHING: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; base-uri 'none'");

/// A year, for this host alone: what else there is below its name is not for this server to decide.
const A_YEAR: HeaderValue = HeaderValue::from_static("max-age=31536000");

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// What a page of this server could ever want of the device: nothing.
const NO_DEVICES: HeaderValue =
    HeaderValue::from_static("camera=(), geolocation=(), microphone=(), payment=(), usb=()");

/// Adds to an answer what protects whoever looks at it in a browser.
pub(super) fn protect(answer: &mut HeaderMap, is_https: bool) {
    answer.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    answer.entry(CONTENT_SECURITY_POLICY).or_insert(NOTHING);
    // A path may hold the secret of a link.
    answer
        .entry(REFERRER_POLICY)
        .or_insert(HeaderValue::from_static("no-referrer"));
    // Nearly every answer is about a person or holds a token.
    answer
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    answer.insert(PERMISSIONS_POLICY, NO_DEVICES);
    if is_https {
        answer.insert(STRICT_TRANSPORT_SECURITY, A_YEAR);
    }
}
