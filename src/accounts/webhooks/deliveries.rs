//! What was sent to a webhook, and sending it again.

use super::find_webhook;
use crate::accounts::import::parse_moment;
use crate::accounts::{AccountError, Administrator, unread};
use crate::app::App;
use crate::crypto::random;
use crate::domain::{FieldReader, Fields, Timestamp};
use crate::store::{Page, ReplayOutcome, WebhookChange, WebhookDelivery, WebhookDeliveryQuery};

/// A page of the deliveries of a webhook, newest first.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff; [`AccountError::NotFound`] without such
/// a webhook; [`AccountError::InvalidPage`] past the end.
pub async fn list_webhook_deliveries(
    app: &App,
    by: Administrator<'_>,
    query: WebhookDeliveryQuery,
) -> Result<Page<WebhookDelivery>, AccountError> {
    find_webhook(app, by, query.webhook_id).await?;
    let page = app.store.list_webhook_deliveries(query).await?;
    page.ok_or(AccountError::InvalidPage)
}

/// Sends a test event to a webhook, and returns the number of its delivery.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff;
/// [`AccountError::ReauthenticationRequired`]; [`AccountError::NotFound`];
/// [`AccountError::WebhookDisabled`].
pub async fn test_webhook(app: &App, by: Administrator<'_>, id: i64) -> Result<i64, AccountError> {
    let change = change(app, by, id).await?;
    let webhook = app.store.find_webhook(id).await?;
    if webhook.is_some_and(|webhook| webhook.disabled.is_some()) {
        return Err(AccountError::WebhookDisabled);
    }
    let number = app.store.create_test_event(random::bytes(), change).await?;
    let number = number.ok_or(AccountError::NotFound)?;
    app.webhooks.wake().notify_one();
    log::info!("webhook {id}: test event {number}");
    Ok(number)
}

/// Sends an event again, also one that was delivered.
///
/// # Errors
/// As [`test_webhook`]; [`AccountError::NotFound`] also without such a delivery.
pub async fn replay_webhook_delivery(
    app: &App,
    by: Administrator<'_>,
    id: i64,
    delivery: i64,
) -> Result<(), AccountError> {
    let change = change(app, by, id).await?;
    due(app.store.replay_delivery(delivery, change).await?)?;
    app.webhooks.wake().notify_one();
    log::info!("webhook {id}: delivery {delivery} is replayed");
    Ok(())
}

/// Reads since when events are sent again.
pub(in crate::accounts) fn read_recovery(reader: &mut FieldReader<'_>) -> Option<Timestamp> {
    reader.required_moment("since", parse_moment)
}

/// Sends all events since a time again that were not delivered. Returns their number.
///
/// # Errors
/// As [`test_webhook`]; [`AccountError::Fields`].
pub async fn recover_webhook(
    app: &App,
    by: Administrator<'_>,
    id: i64,
    fields: &Fields,
) -> Result<u64, AccountError> {
    let change = change(app, by, id).await?;
    find_webhook(app, by, id).await?;
    let mut reader = FieldReader::new(fields);
    let since = read_recovery(&mut reader);
    reader.finish()?;
    let since = since.ok_or_else(unread)?;
    let count = due(app.store.recover_deliveries(since, change).await?)?;
    app.webhooks.wake().notify_one();
    log::info!("webhook {id}: {count} deliveries since {since} are recovered");
    Ok(count)
}

async fn change(
    app: &App,
    by: Administrator<'_>,
    webhook_id: i64,
) -> Result<WebhookChange, AccountError> {
    let context = by.context(app)?;
    by.require_recent(app).await?;
    Ok(WebhookChange {
        webhook_id,
        now: app.clock.now(),
        context,
    })
}

fn due(outcome: ReplayOutcome) -> Result<u64, AccountError> {
    match outcome {
        ReplayOutcome::Due(count) => Ok(count),
        ReplayOutcome::NotFound => Err(AccountError::NotFound),
        ReplayOutcome::Disabled => Err(AccountError::WebhookDisabled),
    }
}
