//! The queue of deliveries: what mails and events for webhooks have in common.
//!
//! A lane is what is delivered to one target: all mails (`None`), or the events of one webhook.

use std::time::Duration;

use super::connection::{Connection, Param, Row, Value, params};
use super::rows::optional_timestamp;
use crate::domain::Timestamp;
use crate::store::{MailClaim, MailQueue, StoreResult};

/// All mails, or the events of one webhook.
pub(super) type Lane = Option<i64>;

/// The deliveries of a lane, as part of a WHERE clause.
const fn in_lane(lane: Lane) -> &'static str {
    match lane {
        Some(_) => "webhook_id = :lane",
        None => "webhook_id IS NULL",
    }
}

/// The parameters of a statement with [`in_lane`].
fn lane_params<'a>(lane: Lane, others: &[Param<'a>]) -> Vec<Param<'a>> {
    let lane = lane.map(|webhook_id| (":lane", Value::Integer(webhook_id)));
    others.iter().cloned().chain(lane).collect()
}

/// Leases due deliveries of a lane: first attempts before retries, each in the order of arrival.
///
/// A delivery that is due later than `longest_wait` got its time while the clock was wrong.
/// `columns` begin with the id, by which the rows are sorted.
pub(super) fn lease<T>(
    connection: &dyn Connection,
    lane: Lane,
    claim: &MailClaim,
    longest_wait: Duration,
    (columns, read): (&str, fn(&Row<'_>) -> StoreResult<T>),
) -> StoreResult<Vec<T>> {
    let in_lane = in_lane(lane);
    connection.run(
        &format!(
            "UPDATE deliveries SET next_try_at = :now WHERE {in_lane} AND next_try_at > :far AND \
             closed_at IS NULL"
        ),
        &lane_params(
            lane,
            params! {
                ":now": claim.now.unix_millis(),
                ":far": claim.now.plus(longest_wait).unix_millis(),
            },
        ),
    )?;
    let some = |which: &str, limit: u32| -> StoreResult<Vec<T>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        // What another server has leased meanwhile is no longer due: its row is read again.
        let mut rows: Vec<(i64, T)> = connection.query_all(
            &format!(
                "UPDATE deliveries SET claimed = TRUE, tries = tries + 1, next_try_at = :until, \
                 last_try_at = :now WHERE closed_at IS NULL AND next_try_at <= :now AND id IN \
                 (SELECT id FROM deliveries WHERE {in_lane} AND closed_at IS NULL AND next_try_at \
                 <= :now AND {which} ORDER BY next_try_at, id LIMIT :limit) RETURNING {columns}"
            ),
            &lane_params(
                lane,
                params! {
                    ":now": claim.now.unix_millis(),
                    ":until": claim.until.unix_millis(),
                    ":limit": limit,
                },
            ),
            |row| Ok((row.get(0)?, read(row)?)),
        )?;
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
    connection: &dyn Connection,
    id: i64,
    next_try_at: Timestamp,
    counts: bool,
    problem: &str,
) -> StoreResult<bool> {
    connection
        .execute(
            "UPDATE deliveries SET claimed = FALSE, next_try_at = :next_try_at, problem = \
             :problem, tries = CASE WHEN :counts THEN tries ELSE greatest(tries - 1, 0) END WHERE \
             id = :id AND closed_at IS NULL",
            params! {
                ":id": id,
                ":next_try_at": next_try_at.unix_millis(),
                ":problem": problem,
                ":counts": counts,
            },
        )
        .map(|changed| changed > 0)
}

/// Closes a delivery, which stays for a while. False when it was closed or deleted meanwhile.
pub(super) fn close(
    connection: &dyn Connection,
    id: i64,
    is_delivered: bool,
    problem: &str,
    now: Timestamp,
) -> StoreResult<bool> {
    connection
        .execute(
            "UPDATE deliveries SET claimed = FALSE, closed_at = :now, problem = :problem, \
             is_delivered = :is_delivered WHERE id = :id AND closed_at IS NULL",
            params! {
                ":id": id,
                ":is_delivered": is_delivered,
                ":problem": problem,
                ":now": now.unix_millis(),
            },
        )
        .map(|changed| changed > 0)
}

/// Releases all leases of mails or of events.
pub(super) fn release(
    connection: &dyn Connection,
    of_mails: bool,
    now: Timestamp,
) -> StoreResult<usize> {
    connection.execute(
        "UPDATE deliveries SET claimed = FALSE, next_try_at = :now WHERE closed_at IS NULL AND \
         claimed AND (webhook_id IS NULL) = :of_mails",
        params! { ":now": now.unix_millis(), ":of_mails": of_mails },
    )
}

/// When the next delivery of a lane is due.
pub(super) fn next_due(connection: &dyn Connection, lane: Lane) -> StoreResult<Option<Timestamp>> {
    let in_lane = in_lane(lane);
    connection.query_row(
        &format!("SELECT min(next_try_at) FROM deliveries WHERE {in_lane} AND closed_at IS NULL"),
        &lane_params(lane, &[]),
        |row| optional_timestamp(row, 0),
    )
}

/// What waits in a lane.
pub(super) fn count_waiting(connection: &dyn Connection, lane: Lane) -> StoreResult<MailQueue> {
    let in_lane = in_lane(lane);
    connection.query_row(
        &format!(
            "SELECT count(*), min(created_at) FROM deliveries WHERE {in_lane} AND closed_at IS \
             NULL"
        ),
        &lane_params(lane, &[]),
        |row| {
            Ok(MailQueue {
                waiting: row.get::<i64>(0)?.unsigned_abs(),
                oldest_at: optional_timestamp(row, 1)?,
            })
        },
    )
}

/// Deletes the deliveries of a lane that were closed long ago, and the oldest beyond a number.
pub(super) fn delete_closed(
    connection: &dyn Connection,
    lane: Lane,
    closed_before: Timestamp,
    most: u32,
) -> StoreResult<usize> {
    let in_lane = in_lane(lane);
    connection.execute(
        &format!(
            "DELETE FROM deliveries WHERE {in_lane} AND closed_at <= greatest(:until, (SELECT \
             closed_at FROM deliveries WHERE {in_lane} AND closed_at IS NOT NULL ORDER BY \
             closed_at DESC LIMIT 1 OFFSET :most))"
        ),
        &lane_params(
            lane,
            params! { ":until": closed_before.unix_millis(), ":most": most },
        ),
    )
}
