//! Security headers of every answer (the list of OWASP for APIs). What a handler has set for its
//! own pages is kept.

use http::HeaderMap;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

/// JSON runs nothing in a browser and is shown in no frame.
const NO_CONTENT_ALLOWED: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; base-uri 'none'");

/// A year, for this host alone: subdomains are not ours to decide about.
const ONE_YEAR: HeaderValue = HeaderValue::from_static("max-age=31536000");

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// Our pages use no devices.
const NO_DEVICES: HeaderValue =
    HeaderValue::from_static("camera=(), geolocation=(), microphone=(), payment=(), usb=()");

/// Adds the security headers.
pub(super) fn protect(answer: &mut HeaderMap, is_https: bool) {
    answer.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    answer
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert(NO_CONTENT_ALLOWED);
    // A path may contain the secret of a link.
    answer
        .entry(REFERRER_POLICY)
        .or_insert(HeaderValue::from_static("no-referrer"));
    // Nearly every answer contains personal data or tokens.
    answer
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    answer.insert(PERMISSIONS_POLICY, NO_DEVICES);
    if is_https {
        answer.insert(STRICT_TRANSPORT_SECURITY, ONE_YEAR);
    }
}
