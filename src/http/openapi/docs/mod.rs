//! `GET /api/docs/`: the schema as a page, on which operations can be tried out.
//!
//! Page, style and script are one answer from the binary. Its Content-Security-Policy allows
//! exactly that style and script, by their hashes, and requests to this server alone. The script
//! never turns data into markup.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY};
use sha2::{Digest, Sha256};

use crate::app::SharedApp;
use crate::http::operation::{Operation, Outcome, Tag};
use crate::http::reply;
use crate::http::request::Request;
use crate::http::route::HandlerResult;

const FRAME: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

struct Page {
    body: Bytes,
    policy: HeaderValue,
}

static PAGE: LazyLock<Page> = LazyLock::new(|| {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    let policy = format!(
        "default-src 'none'; style-src {}; script-src {}; connect-src 'self'; img-src 'self' data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT),
    );
    Page {
        body: FRAME
            .replace("{style}", STYLE)
            .replace("{script}", SCRIPT)
            .into(),
        policy: HeaderValue::from_str(&policy).expect("a policy is made of ASCII"),
    }
});

/// `GET /api/docs/`
pub(crate) const RETRIEVE: Operation = Operation {
    id: "retrieveDocs",
    tag: Tag::Service,
    summary: "The page about this API",
    description: "The schema as a page, on which one can sign in and try operations out. It loads \
                  nothing from other hosts.",
    answers: &[Outcome::text(200, "the page", "text/html")],
    ..Operation::NEW
};

/// `GET /api/docs/`
pub(crate) async fn retrieve(_: &SharedApp, _: &mut Request) -> HandlerResult {
    let mut response = reply::with_type(
        StatusCode::OK,
        "text/html; charset=utf-8",
        PAGE.body.clone(),
    );
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, PAGE.policy.clone());
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}
