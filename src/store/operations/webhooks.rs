//! Webhooks: the endpoints, and the events that are enqueued for them.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::connection::{Connection, Row, params};
use async_trait::async_trait;

use super::deliveries;
use super::engine::{Database, Engine};
use super::events::insert_change;
use super::lock::Keys;
use super::mails::insert_mail;
use super::rows::{optional_timestamp, timestamp};
use super::sessions::authorize_staff;
use super::transaction::Transaction;
use super::users::find_by_id;
use super::webhook_deliveries;
use crate::domain::{
    EventKind, EventSelection, Timestamp, UserId, WebhookDisabled, WebhookEventType, WebhookPayload,
};
use crate::store::{
    ClaimedEvents, DeleteWebhook, DisableWebhook, EventSealer, EventSubject, MailClaim, NewMail,
    NewWebhook, Page, ReplayOutcome, RequestContext, RotateWebhookSecrets, SettleEvent,
    StoreResult, WaitingWebhook, Webhook, WebhookChange, WebhookCounts, WebhookDelivery,
    WebhookDeliveryQuery, WebhookEvent, WebhookOutcome, WebhookStore, WebhookUpdate,
};

/// How long an event is kept after it was delivered or given up.
const KEEP_CLOSED: Duration = Duration::from_hours(30 * 24);

const COLUMNS: &str = "id, url, events, description, payload, secrets, former_secrets, former_until, is_from_file, \
                       created_at, updated_at, disabled_at, disabled_reason, failing_since, paused_until";

fn webhook(row: &Row<'_>) -> StoreResult<Webhook> {
    let former: Option<Vec<u8>> = row.get(6)?;
    let disabled_at = optional_timestamp(row, 11)?;
    let reason: Option<String> = row.get(12)?;
    Ok(Webhook {
        id: row.get(0)?,
        url: row.get(1)?,
        events: EventSelection::from_text(row.text(2)?),
        description: row.get(3)?,
        payload: WebhookPayload::parse(row.text(4)?).unwrap_or_default(),
        secrets: row.get(5)?,
        former_secrets: former.zip(optional_timestamp(row, 7)?),
        is_from_file: row.get(8)?,
        created_at: timestamp(row, 9)?,
        updated_at: timestamp(row, 10)?,
        disabled: disabled_at.zip(reason.as_deref().and_then(WebhookDisabled::parse)),
        failing_since: optional_timestamp(row, 13)?,
        paused_until: optional_timestamp(row, 14)?,
    })
}

/// Finds an endpoint.
pub(super) fn find(connection: &dyn Connection, id: i64) -> StoreResult<Option<Webhook>> {
    connection.query_optional(
        &format!("SELECT {COLUMNS} FROM webhooks WHERE id = :id"),
        params! { ":id": id },
        webhook,
    )
}

fn list(connection: &dyn Connection) -> StoreResult<Vec<Webhook>> {
    connection.query_all(
        &format!("SELECT {COLUMNS} FROM webhooks ORDER BY id"),
        &[],
        webhook,
    )
}

/// Enqueues an event for the endpoints that select it.
///
/// An event about the account itself has the account as it is now.
pub(super) fn emit(
    transaction: &Transaction<'_>,
    event: WebhookEventType,
    user_id: UserId,
    subject: EventSubject<'_>,
    now: Timestamp,
) -> StoreResult<()> {
    let endpoints = transaction.query_some(
        "SELECT id, events, payload FROM webhooks WHERE disabled_at IS NULL",
        &[],
        |row| {
            if !EventSelection::from_text(row.text(1)?).contains(event) {
                return Ok(None);
            }
            let payload = WebhookPayload::parse(row.text(2)?).unwrap_or_default();
            Ok(Some((row.get(0)?, payload)))
        },
    )?;
    if endpoints.is_empty() {
        return Ok(());
    }
    let user = match event.is_about_user() {
        true => find_by_id(transaction, user_id)?,
        false => None,
    };
    let happened = WebhookEvent {
        event,
        user_id,
        subject: user.as_ref().map_or(subject, EventSubject::User),
    };
    let sealer = transaction.sealer()?;
    let sequence = transaction.next_event_number()?;
    for (webhook_id, payload) in endpoints {
        let sealed = sealer.seal(&happened, payload);
        let enqueued = (event.as_str(), Some(user_id), sequence);
        enqueue(
            transaction,
            webhook_id,
            sealed.message_id,
            enqueued,
            &sealed.content,
            now,
        )?;
    }
    Ok(())
}

fn enqueue(
    transaction: &Transaction<'_>,
    webhook_id: i64,
    message_id: [u8; 16],
    (event, user_id, sequence): (&str, Option<UserId>, i64),
    content: &[u8],
    now: Timestamp,
) -> StoreResult<()> {
    transaction.note_due_events();
    transaction.run(
        "INSERT INTO deliveries (message_id, webhook_id, subject_id, sequence, kind, content, \
         created_at, expires_at, next_try_at) VALUES (:message_id, :webhook_id, :user_id, \
         :sequence, :event, :content, :now, :expires_at, :now)",
        params! {
            ":message_id": message_id,
            ":webhook_id": webhook_id,
            ":user_id": user_id,
            ":sequence": sequence,
            ":event": event,
            ":content": content,
            ":now": now.unix_millis(),
            ":expires_at": now.plus(KEEP_CLOSED).unix_millis(),
        },
    )
}

/// Removes the data of an account from events that wait or are kept; its id stays.
pub(super) fn forget_events(connection: &dyn Connection, user_id: UserId) -> StoreResult<()> {
    connection.run(
        "UPDATE deliveries SET content = x'', answer = x'', problem = '' WHERE subject_id = \
         :user_id AND webhook_id IS NOT NULL",
        params! { ":user_id": user_id },
    )
}

/// Deletes events that were closed long ago. Returns their number.
pub(super) fn delete_closed_events(
    connection: &dyn Connection,
    now: Timestamp,
) -> StoreResult<usize> {
    let ids: Vec<i64> = connection.query_all("SELECT id FROM webhooks", &[], |row| row.get(0))?;
    let mut deleted = 0;
    for id in ids {
        let closed_before = now.minus(KEEP_CLOSED);
        deleted += deliveries::delete_closed(connection, Some(id), closed_before, MOST_CLOSED)?;
    }
    Ok(deleted)
}

/// Maximum number of closed events of an endpoint.
const MOST_CLOSED: u32 = 100_000;

/// Enqueues a notice for each active staff account.
fn notify_staff(
    connection: &dyn Connection,
    notices: &[NewMail],
    now: Timestamp,
) -> StoreResult<()> {
    if notices.is_empty() {
        return Ok(());
    }
    let staff: Vec<(UserId, String)> = connection.query_all(
        &format!("SELECT id, email FROM users WHERE {NOTIFIED} ORDER BY id"),
        &[],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    for ((user_id, email), notice) in staff.iter().zip(notices) {
        insert_mail(connection, *user_id, None, email, notice, now)?;
    }
    Ok(())
}

/// The accounts that get notices for staff.
const NOTIFIED: &str = "is_staff AND is_active AND verified_at IS NOT NULL";

fn create(transaction: &Transaction<'_>, new: &NewWebhook) -> StoreResult<Webhook> {
    authorize_staff(transaction, &new.context)?;
    let created = transaction.query_row(
        &format!(
            "INSERT INTO webhooks (url, events, description, payload, secrets, is_from_file, \
             created_at, updated_at) VALUES (:url, :events, :description, :payload, :secrets, \
             :is_from_file, :now, :now) RETURNING {COLUMNS}"
        ),
        params! {
            ":url": new.url,
            ":events": new.events.as_text(),
            ":description": new.description,
            ":payload": new.payload.as_str(),
            ":secrets": new.secrets,
            ":is_from_file": new.is_from_file,
            ":now": new.now.unix_millis(),
        },
        webhook,
    )?;
    insert_change(
        transaction,
        EventKind::WebhookCreated,
        &created.id.to_string(),
        &new.context,
        new.now,
    )?;
    notify_staff(transaction, &new.notices, new.now)?;
    Ok(created)
}

/// The endpoint to change, if the one who changes it may.
fn changeable(
    connection: &dyn Connection,
    id: i64,
    by_file: bool,
    context: &RequestContext,
) -> StoreResult<Result<Webhook, WebhookOutcome>> {
    authorize_staff(connection, context)?;
    Ok(match find(connection, id)? {
        None => Err(WebhookOutcome::NotFound),
        Some(found) if found.is_from_file != by_file => Err(WebhookOutcome::NotYours),
        Some(found) => Ok(found),
    })
}

fn update(transaction: &Transaction<'_>, update: &WebhookUpdate) -> StoreResult<WebhookOutcome> {
    let before = match changeable(transaction, update.id, update.is_from_file, &update.context)? {
        Ok(before) => before,
        Err(outcome) => return Ok(outcome),
    };
    let is_enabled = update.is_enabled.unwrap_or(before.disabled.is_none());
    let is_changed = update
        .is_enabled
        .is_some_and(|on| on != before.disabled.is_none());
    // Enabling, or another address, gives the endpoint a fresh start.
    let is_fresh =
        (is_changed && is_enabled) || update.url.as_ref().is_some_and(|url| *url != before.url);
    let after = transaction.query_row(
        &format!(
            "UPDATE webhooks SET url = coalesce(:url, url), events = coalesce(:events, events), \
             description = coalesce(:description, description), payload = coalesce(:payload, \
             payload), disabled_at = CASE WHEN :is_enabled THEN NULL ELSE coalesce(disabled_at, \
             :now) END, disabled_reason = CASE WHEN :is_enabled THEN NULL ELSE \
             coalesce(disabled_reason, :staff) END, failing_since = CASE WHEN :is_fresh THEN NULL \
             ELSE failing_since END, paused_until = CASE WHEN :is_fresh THEN NULL ELSE \
             paused_until END, updated_at = :now WHERE id = :id RETURNING {COLUMNS}"
        ),
        params! {
            ":id": update.id,
            ":url": update.url,
            ":events": update.events.as_ref().map(EventSelection::as_text),
            ":description": update.description,
            ":payload": update.payload.map(WebhookPayload::as_str),
            ":is_enabled": is_enabled,
            ":is_fresh": is_fresh,
            ":staff": WebhookDisabled::Staff.as_str(),
            ":now": update.now.unix_millis(),
        },
        webhook,
    )?;
    if is_changed && !is_enabled {
        webhook_deliveries::give_up_all(transaction, update.id, update.now)?;
    }
    insert_change(
        transaction,
        EventKind::WebhookChanged,
        &update.id.to_string(),
        &update.context,
        update.now,
    )?;
    notify_staff(transaction, &update.notices, update.now)?;
    Ok(WebhookOutcome::Done(Box::new(after)))
}

fn rotate(
    transaction: &Transaction<'_>,
    rotation: &RotateWebhookSecrets,
) -> StoreResult<WebhookOutcome> {
    let (id, context) = (rotation.id, &rotation.context);
    if let Err(outcome) = changeable(transaction, id, rotation.is_from_file, context)? {
        return Ok(outcome);
    }
    let after = transaction.query_row(
        &format!(
            "UPDATE webhooks SET former_secrets = secrets, former_until = :former_until, secrets = \
             :secrets, updated_at = :now WHERE id = :id RETURNING {COLUMNS}"
        ),
        params! {
            ":id": id,
            ":secrets": rotation.secrets,
            ":former_until": rotation.former_until.unix_millis(),
            ":now": rotation.now.unix_millis(),
        },
        webhook,
    )?;
    insert_change(
        transaction,
        EventKind::WebhookSecretRotated,
        &id.to_string(),
        context,
        rotation.now,
    )?;
    notify_staff(transaction, &rotation.notices, rotation.now)?;
    Ok(WebhookOutcome::Done(Box::new(after)))
}

fn delete(transaction: &Transaction<'_>, removal: &DeleteWebhook) -> StoreResult<WebhookOutcome> {
    let (id, context) = (removal.id, &removal.context);
    let before = match changeable(transaction, id, removal.is_from_file, context)? {
        Ok(before) => before,
        Err(outcome) => return Ok(outcome),
    };
    transaction.run(
        "DELETE FROM webhooks WHERE id = :id",
        params! {
            ":id": id,
        },
    )?;
    insert_change(
        transaction,
        EventKind::WebhookDeleted,
        &id.to_string(),
        context,
        removal.now,
    )?;
    notify_staff(transaction, &removal.notices, removal.now)?;
    Ok(WebhookOutcome::Done(Box::new(before)))
}

fn disable(transaction: &Transaction<'_>, request: &DisableWebhook) -> StoreResult<bool> {
    let disabled = transaction.execute(
        "UPDATE webhooks SET disabled_at = :now, disabled_reason = :reason, paused_until = NULL \
         WHERE id = :id AND disabled_at IS NULL",
        params! {
            ":id": request.id,
            ":reason": request.reason.as_str(),
            ":now": request.now.unix_millis(),
        },
    )?;
    if disabled == 0 {
        return Ok(false);
    }
    webhook_deliveries::give_up_all(transaction, request.id, request.now)?;
    let context = RequestContext {
        operator: "program".to_owned(),
        reason: request.reason.as_str().to_owned(),
        ..RequestContext::default()
    };
    let detail = request.id.to_string();
    insert_change(
        transaction,
        EventKind::WebhookDisabled,
        &detail,
        &context,
        request.now,
    )?;
    notify_staff(transaction, &request.notices, request.now)?;
    Ok(true)
}

fn create_test(
    transaction: &Transaction<'_>,
    message_id: [u8; 16],
    change: &WebhookChange,
) -> StoreResult<Option<i64>> {
    authorize_staff(transaction, &change.context)?;
    if find(transaction, change.webhook_id)?.is_none() {
        return Ok(None);
    }
    let enqueued = (
        crate::domain::WEBHOOK_TEST,
        None,
        transaction.next_event_number()?,
    );
    enqueue(
        transaction,
        change.webhook_id,
        message_id,
        enqueued,
        &[],
        change.now,
    )?;
    let newest = transaction.query_row(
        "SELECT max(id) FROM deliveries WHERE webhook_id = :webhook_id",
        params! { ":webhook_id": change.webhook_id },
        |row| row.get(0),
    )?;
    Ok(Some(newest))
}

#[async_trait]
impl<E: Engine> WebhookStore for Database<E> {
    fn set_event_sealer(&self, sealer: Arc<dyn EventSealer>) {
        let mut current = self
            .engine
            .sealer()
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = Some(sealer);
    }

    async fn create_webhook(&self, new: NewWebhook) -> StoreResult<Webhook> {
        self.engine
            .write(move |transaction| create(transaction, &new))
            .await
    }

    async fn list_webhooks(&self) -> StoreResult<Vec<Webhook>> {
        self.engine.read(list).await
    }

    async fn find_webhook(&self, id: i64) -> StoreResult<Option<Webhook>> {
        self.engine
            .read(move |connection| find(connection, id))
            .await
    }

    async fn update_webhook(&self, request: WebhookUpdate) -> StoreResult<WebhookOutcome> {
        self.engine
            .write(move |transaction| update(transaction, &request))
            .await
    }

    async fn rotate_webhook_secrets(
        &self,
        rotation: RotateWebhookSecrets,
    ) -> StoreResult<WebhookOutcome> {
        self.engine
            .write(move |transaction| rotate(transaction, &rotation))
            .await
    }

    async fn delete_webhook(&self, removal: DeleteWebhook) -> StoreResult<WebhookOutcome> {
        self.engine
            .write(move |transaction| delete(transaction, &removal))
            .await
    }

    async fn count_staff_mailboxes(&self) -> StoreResult<u32> {
        self.engine
            .read(move |connection| {
                connection.query_row(
                    &format!("SELECT count(*) FROM users WHERE {NOTIFIED}"),
                    &[],
                    |row| row.get(0),
                )
            })
            .await
    }

    async fn create_test_event(
        &self,
        message_id: [u8; 16],
        change: WebhookChange,
    ) -> StoreResult<Option<i64>> {
        self.engine
            .write(move |transaction| create_test(transaction, message_id, &change))
            .await
    }

    async fn list_webhook_deliveries(
        &self,
        query: WebhookDeliveryQuery,
    ) -> StoreResult<Option<Page<WebhookDelivery>>> {
        self.engine
            .read_long(move |connection| webhook_deliveries::list(connection, &query))
            .await
    }

    async fn replay_delivery(&self, id: i64, change: WebhookChange) -> StoreResult<ReplayOutcome> {
        self.engine
            .write(move |transaction| webhook_deliveries::replay(transaction, id, &change))
            .await
    }

    async fn recover_deliveries(
        &self,
        since: Timestamp,
        change: WebhookChange,
    ) -> StoreResult<ReplayOutcome> {
        self.engine
            .write(move |transaction| webhook_deliveries::recover(transaction, since, &change))
            .await
    }

    async fn list_waiting_webhooks(&self) -> StoreResult<Vec<WaitingWebhook>> {
        self.engine.read(webhook_deliveries::list_waiting).await
    }

    async fn claim_events(
        &self,
        webhook_id: i64,
        claim: MailClaim,
    ) -> StoreResult<Option<ClaimedEvents>> {
        self.engine
            .write_for(
                Keys::none().and(&format!("webhook {webhook_id}")),
                move |transaction| webhook_deliveries::claim(transaction, webhook_id, &claim),
            )
            .await
    }

    async fn settle_event(&self, settlement: SettleEvent) -> StoreResult<Option<Timestamp>> {
        self.engine
            .write_for(
                Keys::none().and(&format!("webhook {}", settlement.webhook_id)),
                move |transaction| webhook_deliveries::settle(transaction, &settlement),
            )
            .await
    }

    async fn release_events(&self, now: Timestamp) -> StoreResult<usize> {
        if self.engine.is_shared() {
            // Those of other servers end by themselves.
            return Ok(0);
        }
        self.engine
            .write(move |transaction| deliveries::release(transaction, false, now))
            .await
    }

    async fn disable_webhook(&self, request: DisableWebhook) -> StoreResult<bool> {
        self.engine
            .write(move |transaction| disable(transaction, &request))
            .await
    }

    async fn count_webhook_deliveries(&self) -> StoreResult<Vec<WebhookCounts>> {
        self.engine.read_long(webhook_deliveries::count).await
    }
}
