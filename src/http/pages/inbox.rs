//! The inbox of `--dev` as a page. It shows no HTML part: nothing that came by mail is run.

use minijinja::{Value, context};

use super::render::Page;
use super::values;
use super::visitor::Visitor;
use crate::app::SharedApp;
use crate::http::HandlerResult;
use crate::http::request::Request;
use crate::mail::InboxEntry;

/// The inbox, newest mail first. `to` is the address that it was filtered by.
pub(crate) fn inbox(
    app: &SharedApp,
    request: &Request,
    to: Option<&str>,
    mails: &[InboxEntry],
) -> HandlerResult {
    let visitor = Visitor::without_session(app, request);
    let mails = mails.iter().map(|mail| shown(&visitor, mail));
    Page::new(&visitor, "inbox.html", "page_inbox.title")
        .with(context! { mails => mails.collect::<Value>(), to => to.unwrap_or_default() })
        .answer()
        .or_else(HandlerResult::from)
}

fn shown(visitor: &Visitor<'_>, mail: &InboxEntry) -> Value {
    context! {
        subject => &*mail.subject,
        to => &*mail.to,
        at => mail.created_at.to_string(),
        at_text => values::time(visitor, mail.created_at),
        otp => mail.otp.as_deref(),
        link => mail.link.as_deref(),
        text => &*mail.text,
    }
}
