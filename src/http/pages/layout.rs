//! The frame around every page.

use http::StatusCode;
use http::header::{CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY};
use warp::reply::Response;

use crate::http::reply;

/// Styles come with the page, forms go to this server, and nothing else is allowed.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; \
     base-uri 'none'",
);

const STYLE: &str = include_str!("page.css");

/// A page with a heading.
pub(super) struct Page<'a> {
    status: StatusCode,
    language: &'a str,
    title: &'a str,
    /// Markup.
    body: String,
}

impl<'a> Page<'a> {
    pub(super) fn new(status: StatusCode, language: &'a str, title: &'a str) -> Self {
        Self {
            status,
            language,
            title,
            body: format!("<h1>{}</h1>", escape(title)),
        }
    }

    /// Adds a paragraph of markup.
    pub(super) fn paragraph(mut self, markup: &str) -> Self {
        self.body.push_str("<p>");
        self.body.push_str(markup);
        self.body.push_str("</p>");
        self
    }

    /// Adds markup.
    pub(super) fn markup(mut self, markup: &str) -> Self {
        self.body.push_str(markup);
        self
    }

    pub(super) fn into_response(self) -> Response {
        let page = format!(
            "<!doctype html><html lang=\"{}\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <title>{}</title><style>{STYLE}</style></head><body>{}</body></html>",
            self.language,
            escape(self.title),
            self.body
        );
        let mut response = reply::with_type(self.status, "text/html; charset=utf-8", page.into());
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, POLICY);
        // The path of a page may be a secret, so other sites get no referrer. With `no-referrer`
        // browsers send `Origin: null` from the page's own form, which looks like a foreign page.
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        response
    }
}

/// Escapes the characters that have a meaning in markup.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
