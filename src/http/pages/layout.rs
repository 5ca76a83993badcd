//! The frame around the page of the inbox, which needs no session and no language.

use http::StatusCode;
use http::header::{CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY};
use warp::reply::Response;

use crate::http::reply;
use crate::templates::escaped;

/// Styles come with the page, forms go to this server, and nothing else is allowed.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; \
     base-uri 'none'",
);

const STYLE: &str = include_str!("page.css");

/// A page with a heading.
pub(super) struct Page<'a> {
    title: &'a str,
    /// Markup.
    body: String,
}

impl<'a> Page<'a> {
    /// A page with this markup for a body.
    pub(super) fn new(title: &'a str, body: String) -> Self {
        Self { title, body }
    }

    pub(super) fn into_response(self) -> Response {
        let page = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <title>{}</title><style>{STYLE}</style></head><body>{}</body></html>",
            escaped(self.title),
            self.body
        );
        let mut response =
            reply::with_type(StatusCode::OK, "text/html; charset=utf-8", page.into());
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, POLICY);
        // The path of a page may be a secret, so other sites get no referrer. With `no-referrer`
        // browsers send `Origin: null` from the page's own form, which looks like a foreign page.
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        response
    }
}
