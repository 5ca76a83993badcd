//! The inbox of `--dev` and its receiver of webhooks as pages. It shows no HTML part: nothing that came by mail is run.

use minijinja::{Value, context};

use super::render::Page;
use super::values;
use super::visitor::Visitor;
use crate::app::SharedApp;
use crate::http::HandlerResult;
use crate::http::request::Request;
use crate::mail::InboxEntry;
use crate::webhooks::ReceivedEvent;

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

/// What the receiver got, newest first. `kind` is the type that it was filtered by.
pub(crate) fn webhooks(
    app: &SharedApp,
    request: &Request,
    kind: Option<&str>,
    events: &[ReceivedEvent],
) -> HandlerResult {
    let visitor = Visitor::without_session(app, request);
    let events: Value = events
        .iter()
        .map(|event| {
            context! {
                kind => event.kind().unwrap_or_default(),
                webhook_id => &*event.webhook_id,
                at => event.received_at.to_string(),
                at_text => values::time(&visitor, event.received_at),
                body => serde_json::to_string_pretty(&event.body).unwrap_or_default(),
            }
        })
        .collect();
    Page::new(&visitor, "dev_webhooks.html", "page_dev_webhooks.title")
        .with(context! { events, kind => kind.unwrap_or_default() })
        .answer()
        .or_else(HandlerResult::from)
}
