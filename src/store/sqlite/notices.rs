//! Notices to the owner of an account.

use std::time::Duration;

use rusqlite::{Connection, named_params};

use super::mails::insert_mail;
use crate::domain::{EventKind, Timestamp, UserId};
use crate::store::NewMail;

const DAY: Duration = Duration::from_hours(24);

/// Enqueues a notice to the last confirmed address and to every address with a valid undo link: the
/// owner may have lost the account together with its address.
///
/// There is one mail for each address, at most as many as there are `notices`. An address that was
/// never confirmed gets none, since its owner may not know the account.
pub(super) fn notify_owner(
    connection: &Connection,
    user_id: UserId,
    notices: &[NewMail],
    now: Timestamp,
) -> rusqlite::Result<()> {
    let addresses = list_addresses(connection, user_id, now)?;
    let addresses = addresses.iter().map(|(address, _)| address.as_str());
    enqueue(connection, user_id, addresses, notices, now)
}

/// Most notices of a kind that an account gets within a day. The first ones say all there is to say;
/// more would only fill the mailbox, and the audit log has the rest.
const A_DAY: i64 = 5;

/// Whether an account has had its notices about this kind of event for today. Called before the
/// entry about the event is written.
pub(super) fn has_had_notices(
    connection: &Connection,
    user_id: UserId,
    kind: EventKind,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT count(*) >= :most FROM (SELECT 1 FROM events \
             WHERE user_id = :user_id AND event = :event AND happened_at > :day_ago LIMIT :most)",
        )?
        .query_row(
            named_params! {
                ":user_id": user_id,
                ":event": kind.as_str(),
                ":day_ago": now.minus(DAY).unix_millis(),
                ":most": A_DAY,
            },
            |row| row.get(0),
        )
}

/// Whether an account has had its notices of sign-ins from new networks for today. The present
/// network is known by now.
pub(super) fn has_had_sign_in_notices(
    connection: &Connection,
    user_id: UserId,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT count(*) > :most FROM known_networks \
             WHERE user_id = :user_id AND first_seen_at > :day_ago",
        )?
        .query_row(
            named_params! {
                ":user_id": user_id,
                ":day_ago": now.minus(DAY).unix_millis(),
                ":most": A_DAY,
            },
            |row| row.get(0),
        )
}

/// Enqueues a notice to every address with a valid undo link except the last confirmed one.
pub(super) fn notify_earlier_addresses(
    connection: &Connection,
    user_id: UserId,
    notices: &[NewMail],
    now: Timestamp,
) -> rusqlite::Result<()> {
    let addresses = list_addresses(connection, user_id, now)?;
    let earlier = addresses.iter().filter(|(_, is_current)| !is_current);
    let earlier = earlier.map(|(address, _)| address.as_str());
    enqueue(connection, user_id, earlier, notices, now)
}

/// The addresses that get notices, and whether each is the account's own.
fn list_addresses(
    connection: &Connection,
    user_id: UserId,
    now: Timestamp,
) -> rusqlite::Result<Vec<(String, bool)>> {
    connection
        .prepare_cached(
            "SELECT email, min(sequence) = 0 FROM (\
             SELECT email, email_key, 0 AS sequence FROM users \
             WHERE id = :user_id AND verified_at IS NOT NULL \
             UNION ALL \
             SELECT email, email_key, sequence FROM email_undos \
             WHERE user_id = :user_id AND expires_at > :now) \
             GROUP BY email_key ORDER BY min(sequence)",
        )?
        .query_map(
            named_params! { ":user_id": user_id, ":now": now.unix_millis() },
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?
        .collect()
}

fn enqueue<'a>(
    connection: &Connection,
    user_id: UserId,
    addresses: impl Iterator<Item = &'a str>,
    notices: &[NewMail],
    now: Timestamp,
) -> rusqlite::Result<()> {
    for (address, notice) in addresses.zip(notices) {
        insert_mail(connection, user_id, None, address, notice, now)?;
    }
    Ok(())
}

/// Enqueues the notices of a deletion, before the account is deleted: they outlive it.
pub(super) fn notify_of_deletion(
    connection: &Connection,
    user_id: UserId,
    notices: &[NewMail],
    now: Timestamp,
) -> rusqlite::Result<()> {
    notify_owner(connection, user_id, notices, now)?;
    let mut detach = connection
        .prepare_cached(
        "UPDATE deliveries SET user_id = NULL WHERE message_id = :message_id AND webhook_id IS NULL",
    )?;
    for notice in notices {
        detach.execute(named_params! { ":message_id": notice.message_id })?;
    }
    Ok(())
}
