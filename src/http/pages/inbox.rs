//! The inbox of `--dev` as a page. It shows no HTML part: nothing that came by mail is run.

use warp::reply::Response;

use super::layout::Page;
use crate::mail::InboxEntry;
use crate::templates::escaped;

/// The inbox, newest mail first.
pub(crate) fn inbox(mails: &[InboxEntry]) -> Response {
    let mut body = String::from("<h1>Development inbox</h1>");
    if mails.is_empty() {
        body.push_str("<p>No mail yet. Sign somebody up, then reload this page.</p>");
    }
    for mail in mails {
        let otp = mail
            .otp
            .as_ref()
            .map(|otp| format!("<output>{}</output>", escaped(otp)))
            .unwrap_or_default();
        let link = mail
            .link
            .as_ref()
            .map(|link| format!("<p><a href=\"{0}\">{0}</a></p>", escaped(link)))
            .unwrap_or_default();
        body.push_str(&format!(
            "<article><h2>{}</h2><small>to {} at {}</small>{otp}{link}\
             <details><summary>Text</summary><pre>{}</pre></details></article>",
            escaped(&mail.subject),
            escaped(&mail.to),
            mail.created_at,
            escaped(&mail.text),
        ));
    }
    Page::new("Development inbox", body).into_response()
}
