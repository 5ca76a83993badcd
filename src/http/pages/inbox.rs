//! The inbox of `--dev` as a page. It shows no HTML part: nothing that came by mail is run.

use http::StatusCode;
use warp::reply::Response;

use super::layout::{Page, escape};
use crate::mail::InboxEntry;

/// The inbox, newest mail first.
pub(crate) fn inbox(mails: &[InboxEntry]) -> Response {
    let mut body = String::new();
    if mails.is_empty() {
        body.push_str("<p>No mail yet. Sign somebody up, then reload this page.</p>");
    }
    for mail in mails {
        let otp = mail
            .otp
            .as_ref()
            .map(|otp| format!("<output>{}</output>", escape(otp)))
            .unwrap_or_default();
        let link = mail
            .link
            .as_ref()
            .map(|link| format!("<p><a href=\"{0}\">{0}</a></p>", escape(link)))
            .unwrap_or_default();
        body.push_str(&format!(
            "<article><h2>{}</h2><small>to {} at {}</small>{otp}{link}\
             <details><summary>Text</summary><pre>{}</pre></details></article>",
            escape(&mail.subject),
            escape(&mail.to),
            mail.created_at,
            escape(&mail.text),
        ));
    }
    Page::new(StatusCode::OK, "en", "Development inbox")
        .markup(&body)
        .into_response()
}
