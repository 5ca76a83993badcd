//! The queue of deliveries in SQLite: what mails and events for webhooks have in common.
//!
//! A lane is what is delivered to one target: all mails (`None`), or the events of one webhook.

use std::time::Duration;

use rusqlite::{Connection, Row, named_params};

use super::rows::optional_timestamp;
use crate::domain::Timestamp;
use crate::store::{MailClaim, MailQueue};

/// All mails, or the events of one webhook.
pub(super) type Lane = Option<i64>;

/// Leases due deliveries of a lane: first attempts before retries, each in the order of arrival.
///
/// A delivery that is due later than `longest_wait` got its time while the clock was wrong.
/// `columns` begin with the id, by which the rows are sorted.
pub(super) fn lease<T>(
    connection: &Connection,
    lane: Lane,
    claim: &MailClaim,
    longest_wait: Duration,
    (columns, read): (&str, fn(&Row<'_>) -> rusqlite::Result<T>),
) -> rusqlite::Result<Vec<T>> {
    connection
        .prepare_cached(
            "UPDATE deliveries SET next_try_at = :now \
             WHERE webhook_id IS :lane AND next_try_at > :far AND closed_at IS NULL",
        )?
        .execute(named_params! {
            ":lane": lane,
            ":now": claim.now.unix_millis(),
            ":far": claim.now.plus(longest_wait).unix_millis(),
        })?;
    let some = |which: &str, limit: u32| -> rusqlite::Result<Vec<T>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut rows: Vec<(i64, T)> = connection
            .prepare_cached(&format!(
                "UPDATE deliveries SET claimed = 1, tries = tries + 1, next_try_at = :until, \
                 last_try_at = :now WHERE id IN (SELECT id FROM deliveries \
                 WHERE webhook_id IS :lane AND closed_at IS NULL AND next_try_at <= :now AND {which} \
                 ORDER BY next_try_at, id LIMIT :limit) RETURNING {columns}"
            ))?
            .query_map(
                named_params! {
                    ":lane": lane,
                    ":now": claim.now.unix_millis(),
                    ":until": claim.until.unix_millis(),
                    ":limit": limit,
                },
                |row| Ok((row.get(0)?, read(row)?)),
            )?
            .collect::<rusqlite::Result<_>>()?;
        // RETURNING gives the rows in no defined order.
        rows.sort_by_key(|(id, _)| *id);
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    };
    let mut leased = some("tries = 0", claim.limit)?;
    let room = claim.limit - u32::try_from(leased.len()).unwrap_or(claim.limit);
    leased.extend(some("tries > 0", room.min(claim.retries))?);
    Ok(leased)
}

/// Ends the lease of a delivery, which is tried again. False when it was closed or deleted meanwhile.
pub(super) fn postpone(
    connection: &Connection,
    id: i64,
    next_try_at: Timestamp,
    counts: bool,
    problem: &str,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "UPDATE deliveries SET claimed = 0, next_try_at = :next_try_at, problem = :problem, \
             tries = CASE WHEN :counts THEN tries ELSE max(tries - 1, 0) END \
             WHERE id = :id AND closed_at IS NULL",
        )?
        .execute(named_params! {
            ":id": id,
            ":next_try_at": next_try_at.unix_millis(),
            ":problem": problem,
            ":counts": counts,
        })
        .map(|changed| changed > 0)
}

/// Closes a delivery, which stays for a while. False when it was closed or deleted meanwhile.
pub(super) fn close(
    connection: &Connection,
    id: i64,
    is_delivered: bool,
    problem: &str,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "UPDATE deliveries SET claimed = 0, closed_at = :now, problem = :problem, \
             is_delivered = :is_delivered WHERE id = :id AND closed_at IS NULL",
        )?
        .execute(named_params! {
            ":id": id,
            ":is_delivered": is_delivered,
            ":problem": problem,
            ":now": now.unix_millis(),
        })
        .map(|changed| changed > 0)
}

/// Releases all leases of mails or of events.
pub(super) fn release(
    connection: &Connection,
    of_mails: bool,
    now: Timestamp,
) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "UPDATE deliveries SET claimed = 0, next_try_at = :now \
             WHERE closed_at IS NULL AND claimed AND (webhook_id IS NULL) = :of_mails",
        )?
        .execute(named_params! { ":now": now.unix_millis(), ":of_mails": of_mails })
}

/// When the next delivery of a lane is due.
pub(super) fn next_due(connection: &Connection, lane: Lane) -> rusqlite::Result<Option<Timestamp>> {
    connection
        .prepare_cached(
            "SELECT min(next_try_at) FROM deliveries WHERE webhook_id IS :lane AND closed_at IS NULL",
        )?
        .query_row(named_params! { ":lane": lane }, |row| {
            optional_timestamp(row, 0)
        })
}

/// What waits in a lane.
pub(super) fn count_waiting(connection: &Connection, lane: Lane) -> rusqlite::Result<MailQueue> {
    connection
        .prepare_cached(
            "SELECT count(*), min(created_at) FROM deliveries \
             WHERE webhook_id IS :lane AND closed_at IS NULL",
        )?
        .query_row(named_params! { ":lane": lane }, |row| {
            Ok(MailQueue {
                waiting: row.get::<_, i64>(0)?.unsigned_abs(),
                oldest_at: optional_timestamp(row, 1)?,
            })
        })
}

/// Deletes the deliveries of a lane that were closed long ago, and the oldest beyond a number.
pub(super) fn delete_closed(
    connection: &Connection,
    lane: Lane,
    closed_before: Timestamp,
    most: u32,
) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM deliveries WHERE webhook_id IS :lane AND closed_at <= max(:until, \
             coalesce((SELECT closed_at FROM deliveries WHERE webhook_id IS :lane \
             AND closed_at IS NOT NULL ORDER BY closed_at DESC LIMIT 1 OFFSET :most), :until))",
        )?
        .execute(named_params! {
            ":lane": lane, ":until": closed_before.unix_millis(), ":most": most,
        })
}
