//! The events of webhooks in the queue of deliveries.

use std::time::Duration;

use super::connection::{Connection, Row, params};

use super::deliveries;
use super::events::insert_change;
use super::paging::List;
use super::rows::{optional_timestamp, timestamp};
use super::sessions::authorize_staff;
use super::transaction::Transaction;
use super::webhooks::find;
use crate::domain::{DeliveryStatus, EventKind, Timestamp};
use crate::store::{
    ClaimedEvents, EventOutcome, MailClaim, Page, QueuedEvent, ReplayOutcome, SettleEvent,
    StoreResult, WaitingWebhook, WebhookChange, WebhookCounts, WebhookDelivery,
    WebhookDeliveryQuery,
};

/// The longest possible delay of an event, with its jitter.
const LONGEST_WAIT: Duration = Duration::from_hours(30);

/// Why deliveries end when their endpoint is disabled.
const DISABLED: &str = "The endpoint was disabled.";

/// The columns that [`queued_event`] reads.
const QUEUED_COLUMNS: &str =
    "id, message_id, kind, subject_id, sequence, content, created_at, tries";

/// The columns that [`delivery`] reads.
const COLUMNS: &str = "id, message_id, kind, subject_id, closed_at, is_delivered, claimed, problem, tries, status_code, \
                       answer, created_at, last_try_at, next_try_at";

fn queued_event(row: &Row<'_>) -> StoreResult<QueuedEvent> {
    Ok(QueuedEvent {
        id: row.get(0)?,
        message_id: row.get(1)?,
        event: row.get(2)?,
        user_id: row.get(3)?,
        sequence: row.get(4)?,
        content: row.get(5)?,
        created_at: timestamp(row, 6)?,
        tries: row.get(7)?,
    })
}

fn delivery(row: &Row<'_>) -> StoreResult<WebhookDelivery> {
    let closed_at = optional_timestamp(row, 4)?;
    let problem: String = row.get(7)?;
    let status = match closed_at {
        Some(_) if row.get(5)? => DeliveryStatus::Delivered,
        Some(_) => DeliveryStatus::Dead,
        None if problem.is_empty() => DeliveryStatus::Pending,
        None => DeliveryStatus::Failed,
    };
    let waits = closed_at.is_none() && !row.get::<bool>(6)?;
    Ok(WebhookDelivery {
        id: row.get(0)?,
        message_id: row.get(1)?,
        event: row.get(2)?,
        user_id: row.get(3)?,
        status,
        problem,
        tries: row.get(8)?,
        status_code: row.get(9)?,
        answer: row.get(10)?,
        created_at: timestamp(row, 11)?,
        last_try_at: optional_timestamp(row, 12)?,
        next_try_at: waits.then(|| timestamp(row, 13)).transpose()?,
        closed_at,
    })
}

/// The deliveries in a state, as part of a WHERE clause that agrees with [`delivery`].
const fn in_status(status: DeliveryStatus) -> &'static str {
    match status {
        DeliveryStatus::Pending => "closed_at IS NULL AND problem = ''",
        DeliveryStatus::Delivered => "closed_at IS NOT NULL AND is_delivered",
        DeliveryStatus::Failed => "closed_at IS NULL AND problem <> ''",
        DeliveryStatus::Dead => "closed_at IS NOT NULL AND NOT is_delivered",
    }
}

/// Lists a page of the deliveries of an endpoint.
pub(super) fn list(
    connection: &dyn Connection,
    query: &WebhookDeliveryQuery,
) -> StoreResult<Option<Page<WebhookDelivery>>> {
    let status = query.status.map_or("TRUE", in_status);
    let list = List {
        from: &format!("deliveries WHERE webhook_id = :webhook_id AND {status}"),
        columns: COLUMNS,
        order: "id DESC",
        values: params! { ":webhook_id": query.webhook_id },
    };
    list.page(connection, (query.page, query.page_size), |row| {
        delivery(row).map(Some)
    })
}

/// Makes closed or waiting deliveries of an endpoint due, with all their tries.
fn make_due(
    transaction: &Transaction<'_>,
    condition: &str,
    change: &WebhookChange,
    bound: i64,
) -> StoreResult<u64> {
    transaction.note_due_events();
    transaction
        .execute(&format!(
            "UPDATE deliveries SET closed_at = NULL, is_delivered = FALSE, problem = '', tries = \
             0, next_try_at = :now WHERE webhook_id = :webhook_id AND NOT claimed AND {condition}"
        ), params! {
            ":webhook_id": change.webhook_id,
            ":now": change.now.unix_millis(),
            ":bound": bound,
        })
        .map(|changed| changed as u64)
}

/// Whether an endpoint gets deliveries.
fn is_enabled(connection: &dyn Connection, id: i64) -> StoreResult<Result<(), ReplayOutcome>> {
    Ok(match find(connection, id)? {
        None => Err(ReplayOutcome::NotFound),
        Some(webhook) if webhook.disabled.is_some() => Err(ReplayOutcome::Disabled),
        Some(_) => Ok(()),
    })
}

/// Makes a delivery due at once.
pub(super) fn replay(
    transaction: &Transaction<'_>,
    id: i64,
    change: &WebhookChange,
) -> StoreResult<ReplayOutcome> {
    authorize_staff(transaction, &change.context)?;
    if let Err(outcome) = is_enabled(transaction, change.webhook_id)? {
        return Ok(outcome);
    }
    let exists: bool = transaction.query_row(
        "SELECT EXISTS (SELECT 1 FROM deliveries WHERE id = :id AND webhook_id = :webhook_id)",
        params! { ":id": id, ":webhook_id": change.webhook_id },
        |row| row.get(0),
    )?;
    if !exists {
        return Ok(ReplayOutcome::NotFound);
    }
    make_due(transaction, "id = :bound", change, id)?;
    let detail = format!("{}: {id}", change.webhook_id);
    note_replay(transaction, &detail, change)?;
    Ok(ReplayOutcome::Due(1))
}

/// Makes all events since a time due that the endpoint has not accepted.
pub(super) fn recover(
    transaction: &Transaction<'_>,
    since: Timestamp,
    change: &WebhookChange,
) -> StoreResult<ReplayOutcome> {
    authorize_staff(transaction, &change.context)?;
    if let Err(outcome) = is_enabled(transaction, change.webhook_id)? {
        return Ok(outcome);
    }
    let failed =
        "NOT is_delivered AND (closed_at IS NOT NULL OR problem <> '') AND created_at >= :bound";
    let count = make_due(transaction, failed, change, since.unix_millis())?;
    let detail = format!("{}: since {since}, {count}", change.webhook_id);
    note_replay(transaction, &detail, change)?;
    Ok(ReplayOutcome::Due(count))
}

fn note_replay(
    transaction: &Transaction<'_>,
    detail: &str,
    change: &WebhookChange,
) -> StoreResult<()> {
    let kind = EventKind::WebhookReplayed;
    insert_change(transaction, kind, detail, &change.context, change.now)
}

/// Lists the enabled endpoints with events that wait.
pub(super) fn list_waiting(connection: &dyn Connection) -> StoreResult<Vec<WaitingWebhook>> {
    connection.query_all(
        "SELECT id, greatest(due_at, paused_until) FROM (SELECT id, paused_until, (SELECT \
         min(next_try_at) FROM deliveries WHERE webhook_id = webhooks.id AND closed_at IS NULL) AS \
         due_at FROM webhooks WHERE disabled_at IS NULL) AS enabled WHERE due_at IS NOT NULL ORDER \
         BY id",
        &[],
        |row| {
            Ok(WaitingWebhook {
                id: row.get(0)?,
                due_at: timestamp(row, 1)?,
            })
        },
    )
}

/// Leases due events of an endpoint.
pub(super) fn claim(
    connection: &dyn Connection,
    webhook_id: i64,
    claim: &MailClaim,
) -> StoreResult<Option<ClaimedEvents>> {
    let Some(webhook) = find(connection, webhook_id)?.filter(|found| found.disabled.is_none())
    else {
        return Ok(None);
    };
    let lane = Some(webhook_id);
    let read = (QUEUED_COLUMNS, queued_event as fn(&Row<'_>) -> _);
    let events = deliveries::lease(connection, lane, claim, LONGEST_WAIT, read)?;
    Ok(Some(ClaimedEvents { webhook, events }))
}

/// Records how an attempt ended. Returns since when the endpoint fails.
pub(super) fn settle(
    connection: &dyn Connection,
    settlement: &SettleEvent,
) -> StoreResult<Option<Timestamp>> {
    let SettleEvent { id, now, .. } = *settlement;
    let problem = &settlement.problem;
    let changed = match settlement.outcome {
        EventOutcome::Delivered => deliveries::close(connection, id, true, "", now)?,
        EventOutcome::Dead => deliveries::close(connection, id, false, problem, now)?,
        EventOutcome::Postponed {
            next_try_at,
            counts,
        } => deliveries::postpone(connection, id, next_try_at, counts, problem)?,
    };
    let was_attempted = !matches!(
        settlement.outcome,
        EventOutcome::Postponed { counts: false, .. }
    );
    if changed && was_attempted {
        connection.run(
            "UPDATE deliveries SET status_code = :status_code, answer = CASE WHEN subject_id IS \
             NULL OR kind = 'user.deleted' OR EXISTS (SELECT 1 FROM users WHERE users.id = \
             subject_id) THEN :answer ELSE x'' END WHERE id = :id",
            params! {
                ":id": id, ":status_code": settlement.status_code, ":answer": settlement.answer,
            },
        )?;
    }
    let is_delivered = settlement.outcome == EventOutcome::Delivered;
    let is_failed = was_attempted && !is_delivered;
    let failing_since = connection.query_optional(
        "UPDATE webhooks SET delivered = delivered + :delivered, failed = failed + :failed, dead = \
         dead + :dead, failing_since = CASE WHEN :is_delivered THEN NULL WHEN :is_failed THEN \
         coalesce(failing_since, :now) ELSE failing_since END, paused_until = CASE WHEN \
         :is_delivered THEN NULL ELSE greatest(paused_until, :paused_until) END WHERE id = \
         :webhook_id RETURNING failing_since",
        params! {
            ":webhook_id": settlement.webhook_id,
            ":delivered": i64::from(is_delivered),
            ":failed": i64::from(is_failed),
            ":dead": i64::from(settlement.outcome == EventOutcome::Dead),
            ":is_delivered": is_delivered,
            ":is_failed": is_failed,
            ":paused_until": settlement.paused_until.map(Timestamp::unix_millis),
            ":now": now.unix_millis(),
        },
        |row| optional_timestamp(row, 0),
    )?;
    Ok(failing_since.flatten())
}

/// Gives up everything that waits for an endpoint.
pub(super) fn give_up_all(
    connection: &dyn Connection,
    webhook_id: i64,
    now: Timestamp,
) -> StoreResult<()> {
    let given_up = connection.execute(
        "UPDATE deliveries SET closed_at = :now, claimed = FALSE, problem = :problem WHERE \
         webhook_id = :webhook_id AND closed_at IS NULL",
        params! {
            ":webhook_id": webhook_id, ":now": now.unix_millis(), ":problem": DISABLED,
        },
    )?;
    let given_up = i64::try_from(given_up).unwrap_or(i64::MAX);
    connection.run(
        "UPDATE webhooks SET dead = dead + :given_up WHERE id = :webhook_id",
        params! { ":webhook_id": webhook_id, ":given_up": given_up },
    )
}

/// The state of every endpoint.
pub(super) fn count(connection: &dyn Connection) -> StoreResult<Vec<WebhookCounts>> {
    let mut counts: Vec<WebhookCounts> = connection.query_all(
        "SELECT id, delivered, failed, dead FROM webhooks ORDER BY id",
        &[],
        |row| {
            let number = |column| row.get::<i64>(column).map(i64::unsigned_abs);
            Ok(WebhookCounts {
                id: row.get(0)?,
                waiting: 0,
                oldest_at: None,
                delivered: number(1)?,
                failed: number(2)?,
                dead: number(3)?,
            })
        },
    )?;
    for webhook in &mut counts {
        let queue = deliveries::count_waiting(connection, Some(webhook.id))?;
        (webhook.waiting, webhook.oldest_at) = (queue.waiting, queue.oldest_at);
    }
    Ok(counts)
}
