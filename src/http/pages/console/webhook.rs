//! `/console/webhooks/<id>/`: one webhook, its deliveries, and what can be done with both.

use http::StatusCode;
use minijinja::{Value, context};

use super::webhooks::{FIELDS, PATH, SECTION, choices, gone, list, secret_page, shown};
use super::{by, change, layout, staff};
use crate::accounts::{self, AccountError, BrowserSession, WebhookInfo};
use crate::app::SharedApp;
use crate::domain::DeliveryStatus;
use crate::http::api::pagination::{parameters, read_page, value};
use crate::http::pages::access::Change;
use crate::http::pages::form::Problems;
use crate::http::pages::render::{Page, PageResult, redirect};
use crate::http::pages::values;
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;
use crate::store::{PageRequest, WebhookDelivery, WebhookDeliveryQuery};

/// Deliveries on a page.
const PAGE_SIZE: u32 = 25;

/// The webhook.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let id = request.number_before(0)?;
    let visitor = Visitor::of(app, request).await?;
    let session = staff(&visitor).await?;
    page(&visitor, session, id, request.head.query())
        .await?
        .answer()
}

/// Changes it.
pub(in crate::http) async fn update(app: &SharedApp, request: &mut Request) -> PageResult {
    let id = request.number_before(0)?;
    let change = change(app, request).await?;
    let by = by(&change.visitor, &change.session);
    let fields = change.form.only(FIELDS);
    let changed = accounts::update_webhook(app, by, id, &fields).await;
    answer(&change, id, changed.map(drop), "console.saved").await
}

/// Enables or disables it.
pub(in crate::http) async fn set_state(app: &SharedApp, request: &mut Request) -> PageResult {
    let id = request.number_before(1)?;
    let change = change(app, request).await?;
    let by = by(&change.visitor, &change.session);
    let message = match change.form.text("is_enabled").as_str() {
        "true" => "console_webhooks.enabled_done",
        _ => "console_webhooks.disabled_done",
    };
    let fields = change.form.only(&["is_enabled"]);
    let changed = accounts::update_webhook(app, by, id, &fields).await;
    answer(&change, id, changed.map(drop), message).await
}

/// Sends a test event.
pub(in crate::http) async fn test(app: &SharedApp, request: &mut Request) -> PageResult {
    let id = request.number_before(1)?;
    let change = change(app, request).await?;
    let tested = accounts::test_webhook(app, by(&change.visitor, &change.session), id).await;
    answer(&change, id, tested.map(drop), "console_webhooks.tested").await
}

/// Replaces the secret, and shows the new one.
pub(in crate::http) async fn rotate(app: &SharedApp, request: &mut Request) -> PageResult {
    let id = request.number_before(1)?;
    let change = change(app, request).await?;
    let by = by(&change.visitor, &change.session);
    match accounts::rotate_webhook_secret(app, by, id).await {
        Ok(rotated) => secret_page(&change.visitor, &rotated),
        Err(error) => answer(&change, id, Err(error), "").await,
    }
}

/// Sends missed events again.
pub(in crate::http) async fn recover(app: &SharedApp, request: &mut Request) -> PageResult {
    let id = request.number_before(1)?;
    let change = change(app, request).await?;
    let by = by(&change.visitor, &change.session);
    let fields = change.form.only(&["since"]);
    match accounts::recover_webhook(app, by, id, &fields).await {
        Ok(count) => {
            let message = format!("console_webhooks.recovered:{count}");
            redirect(&change.visitor, &format!("{PATH}{id}/"), &message)
        }
        Err(error) => answer(&change, id, Err(error), "").await,
    }
}

/// Sends an event again.
pub(in crate::http) async fn replay(app: &SharedApp, request: &mut Request) -> PageResult {
    let (id, delivery) = (request.number_before(3)?, request.number_before(1)?);
    let change = change(app, request).await?;
    let by = by(&change.visitor, &change.session);
    let replayed = accounts::replay_webhook_delivery(app, by, id, delivery).await;
    answer(&change, id, replayed, "console_webhooks.replayed").await
}

/// Asks whether to remove it.
pub(in crate::http) async fn show_remove(app: &SharedApp, request: &mut Request) -> PageResult {
    let id = request.number_before(1)?;
    let visitor = Visitor::of(app, request).await?;
    let session = staff(&visitor).await?;
    let webhook = accounts::find_webhook(app, by(&visitor, session), id).await?;
    let title = "console_webhooks.remove_title";
    layout::page(&visitor, SECTION, "console/webhook_remove.html", title)
        .with(context! { webhook => shown(&visitor, &webhook) })
        .answer()
}

/// Removes it.
pub(in crate::http) async fn remove(app: &SharedApp, request: &mut Request) -> PageResult {
    let id = request.number_before(1)?;
    let change = change(app, request).await?;
    let visitor = &change.visitor;
    match accounts::delete_webhook(app, by(visitor, &change.session), id).await {
        Ok(()) => redirect(visitor, PATH, "console_webhooks.removed"),
        Err(AccountError::NotFound) => gone(visitor),
        Err(error) => answer(&change, id, Err(error), "").await,
    }
}

/// Leads back to the webhook, or shows there what was wrong.
async fn answer(
    change: &Change<'_>,
    id: i64,
    outcome: Result<(), AccountError>,
    message: &str,
) -> PageResult {
    let visitor = &change.visitor;
    let (problems, status) = match outcome {
        Ok(()) => return redirect(visitor, &format!("{PATH}{id}/"), message),
        Err(AccountError::WebhookFromFile) => {
            let problems = Problems::one(visitor, "", "console_webhooks.file_hint");
            (problems, StatusCode::BAD_REQUEST)
        }
        Err(AccountError::WebhookDisabled) => {
            let problems = Problems::one(visitor, "", "console_webhooks.disabled");
            (problems, StatusCode::BAD_REQUEST)
        }
        Err(error) => Problems::of_error(visitor, error)?,
    };
    let page = page(visitor, &change.session, id, "").await?.status(status);
    // What was typed stays, in the form that was sent.
    let page = match change.form.has("url") {
        true => page.with(context! {
            values => change.form.values(),
            selected => list(&change.form.all("events")),
        }),
        false => page,
    };
    page.with(context! { errors => problems.to_value() })
        .answer()
}

async fn page<'a>(
    visitor: &'a Visitor<'a>,
    session: &BrowserSession,
    id: i64,
    query: &str,
) -> Result<Page<'a>, AccountError> {
    let by = by(visitor, session);
    let webhook = accounts::find_webhook(visitor.app, by, id).await?;
    let parameters = parameters(query);
    let status = value(&parameters, "status").and_then(DeliveryStatus::parse);
    let query = |page| WebhookDeliveryQuery {
        webhook_id: id,
        status,
        page,
        page_size: PAGE_SIZE,
    };
    let number = read_page(&parameters).unwrap_or(PageRequest::Number(1));
    let deliveries = match accounts::list_webhook_deliveries(visitor.app, by, query(number)).await {
        // The list has become shorter.
        Err(AccountError::InvalidPage) => {
            accounts::list_webhook_deliveries(visitor.app, by, query(PageRequest::Last)).await?
        }
        page => page?,
    };
    let filter = status.map_or_else(String::new, |status| format!("status={status}"));
    let items = deliveries.items.iter();
    let items: Value = items.map(|one| delivery(visitor, one)).collect();
    let title = title(&webhook);
    let page = layout::page(
        visitor,
        SECTION,
        "console/webhook.html",
        "console_webhooks.title",
    );
    let entries: Vec<&str> = webhook
        .events
        .entries()
        .iter()
        .map(String::as_str)
        .collect();
    Ok(page.title(&title).with(context! {
        webhook => shown(visitor, &webhook),
        deliveries => items,
        status => status.map(DeliveryStatus::as_str),
        statuses => DeliveryStatus::ALL.map(DeliveryStatus::as_str),
        pager => layout::pager(&format!("{PATH}{id}/"), &filter, deliveries.number, deliveries.pages),
        values => context! {
            url => &*webhook.url,
            description => &*webhook.description,
            payload => webhook.payload.as_str(),
        },
        ..choices(visitor, &entries)
    }))
}

/// What a webhook is called: its description, or else its URL.
fn title(webhook: &WebhookInfo) -> String {
    let text = match webhook.description.as_str() {
        "" => &webhook.url,
        description => description,
    };
    text.to_owned()
}

fn delivery(visitor: &Visitor<'_>, delivery: &WebhookDelivery) -> Value {
    context! {
        id => delivery.id,
        event => &*delivery.event,
        user_id => delivery.user_id,
        status => delivery.status.as_str(),
        class => match delivery.status {
            DeliveryStatus::Delivered => "success",
            DeliveryStatus::Failed => "warning",
            DeliveryStatus::Dead => "problem",
            DeliveryStatus::Pending => "",
        },
        tries => delivery.tries,
        code => delivery.status_code,
        reason => &*delivery.problem,
        answer => String::from_utf8_lossy(&delivery.answer).into_owned(),
        created_at => values::time(visitor, delivery.created_at),
        next_try_at => delivery.next_try_at.map(|at| values::time(visitor, at)),
    }
}
