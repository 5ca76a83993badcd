//! `/console/webhooks/`: where events are sent, and a form for another receiver.

use http::StatusCode;
use minijinja::{Value, context};

use super::{by, change, layout, staff};
use crate::accounts::{self, WebhookInfo, WebhookWithSecret};
use crate::app::SharedApp;
use crate::domain::{WebhookEventType, WebhookPayload};
use crate::http::pages::form::Problems;
use crate::http::pages::render::{Page, PageResult, redirect};
use crate::http::pages::values;
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;

/// The section of the console.
pub(super) const SECTION: &str = "webhooks";

pub(super) const PATH: &str = "/console/webhooks/";

/// The fields of a webhook.
pub(super) const FIELDS: &[&str] = &["url", "events", "description", "payload"];

/// The list.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = staff(&visitor).await?;
    let webhooks = accounts::list_webhooks(app, by(&visitor, session)).await?;
    let webhooks: Value = webhooks.iter().map(|one| shown(&visitor, one)).collect();
    layout::page(
        &visitor,
        SECTION,
        "console/webhooks.html",
        "console_webhooks.title",
    )
    .with(context! { webhooks })
    .answer()
}

/// The form for a webhook.
pub(in crate::http) async fn show_new(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    staff(&visitor).await?;
    let empty = context! { payload => WebhookPayload::default().as_str() };
    form(&visitor, empty, &[]).answer()
}

/// Adds a webhook, and shows its secret.
pub(in crate::http) async fn create(app: &SharedApp, request: &mut Request) -> PageResult {
    let change = change(app, request).await?;
    let (visitor, by) = (&change.visitor, by(&change.visitor, &change.session));
    let events = change.form.all("events");
    // The answer shows the secret, which a redirect cannot: a reload must not add a second one.
    let is_there = accounts::list_webhooks(app, by).await?.iter().any(|known| {
        let entries = known.events.entries().iter().map(String::as_str);
        known.url == change.form.text("url").trim() && entries.eq(events.iter().copied())
    });
    let problems = if is_there {
        (
            Problems::one(visitor, "url", "console_webhooks.exists"),
            StatusCode::BAD_REQUEST,
        )
    } else {
        match accounts::create_webhook(app, by, &change.form.only(FIELDS)).await {
            Ok(created) => return secret_page(visitor, &created),
            Err(error) => Problems::of_error(visitor, error)?,
        }
    };
    form(visitor, change.form.values(), &events)
        .status(problems.1)
        .with(context! { errors => problems.0.to_value() })
        .answer()
}

fn form<'a>(visitor: &'a Visitor<'a>, typed: Value, events: &[&str]) -> Page<'a> {
    layout::page(
        visitor,
        SECTION,
        "console/webhook_new.html",
        "console_webhooks.add",
    )
    .with(context! { values => typed, ..choices(visitor, events) })
}

/// The secret is shown by the answer to the form: it is stored nowhere in readable form.
pub(super) fn secret_page(visitor: &Visitor<'_>, made: &WebhookWithSecret) -> PageResult {
    layout::page(
        visitor,
        SECTION,
        "console/webhook_secret.html",
        "console_webhooks.secret_title",
    )
    .with(context! {
        id => made.webhook.id,
        secret => &*made.secret,
        public_key => &*made.webhook.public_key,
    })
    .answer()
}

/// What the form of a webhook offers, and the types of events that are selected.
pub(super) fn choices(visitor: &Visitor<'_>, selected: &[&str]) -> Value {
    let names: Vec<&str> = WebhookEventType::ALL
        .iter()
        .map(|event| event.as_str())
        .collect();
    let group_of = |name: &'static str| name.split_once('.').map_or(name, |(group, _)| group);
    let groups: Value = names
        .chunk_by(|one, other| group_of(one) == group_of(other))
        .map(|events| {
            let name = group_of(events[0]);
            context! { name, pattern => format!("{name}.*"), events => list(events) }
        })
        .collect();
    let payloads: Value = WebhookPayload::ALL
        .iter()
        .map(|payload| {
            let name = payload.as_str();
            let text = visitor.text(
                &format!("console_webhooks.payload_{name}"),
                Value::UNDEFINED,
            );
            Value::from(vec![Value::from(name), Value::from(text)])
        })
        .collect();
    context! { groups, payloads, selected => list(selected) }
}

/// A webhook for the templates.
pub(super) fn shown(visitor: &Visitor<'_>, webhook: &WebhookInfo) -> Value {
    let moment = |at| values::time(visitor, at);
    context! {
        id => webhook.id,
        url => &*webhook.url,
        events => list(webhook.events.entries()),
        description => &*webhook.description,
        payload => webhook.payload.as_str(),
        is_from_file => webhook.is_from_file,
        public_key => &*webhook.public_key,
        former_until => webhook.former_until.map(moment),
        disabled => webhook.disabled.map(|(_, reason)| reason.as_str()),
        failing_since => webhook.failing_since.map(moment),
        created_at => moment(webhook.created_at),
    }
}

/// Texts for the templates.
pub(super) fn list<T: AsRef<str>>(texts: &[T]) -> Value {
    texts
        .iter()
        .map(|text| Value::from(text.as_ref()))
        .collect()
}

/// Leads to the list, where a webhook is gone.
pub(super) fn gone(visitor: &Visitor<'_>) -> PageResult {
    redirect(visitor, PATH, "console_webhooks.gone")
}
