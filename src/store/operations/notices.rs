//! Notices to the owner of an account.

use std::time::Duration;

use super::connection::{Connection, params};

use super::mails::insert_mail;
use crate::domain::{EventKind, Timestamp, UserId};
use crate::store::{NewMail, StoreResult};

const DAY: Duration = Duration::from_hours(24);

/// Enqueues a notice to the last confirmed address and to every address with a valid undo link: the
/// owner may have lost the account together with its address.
///
/// There is one mail for each address, at most as many as there are `notices`. An address that was
/// never confirmed gets none, since its owner may not know the account.
pub(super) fn notify_owner(
    connection: &dyn Connection,
    user_id: UserId,
    notices: &[NewMail],
    now: Timestamp,
) -> StoreResult<()> {
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
    connection: &dyn Connection,
    user_id: UserId,
    kind: EventKind,
    now: Timestamp,
) -> StoreResult<bool> {
    connection.query_row(
        "SELECT count(*) >= :most FROM (SELECT 1 FROM events WHERE user_id = :user_id AND event = \
         :event AND happened_at > :day_ago LIMIT :most) AS newest",
        params! {
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
    connection: &dyn Connection,
    user_id: UserId,
    now: Timestamp,
) -> StoreResult<bool> {
    connection.query_row(
        "SELECT count(*) > :most FROM known_networks WHERE user_id = :user_id AND first_seen_at > \
         :day_ago",
        params! {
            ":user_id": user_id,
            ":day_ago": now.minus(DAY).unix_millis(),
            ":most": A_DAY,
        },
        |row| row.get(0),
    )
}

/// Enqueues a notice to every address with a valid undo link except the last confirmed one.
pub(super) fn notify_earlier_addresses(
    connection: &dyn Connection,
    user_id: UserId,
    notices: &[NewMail],
    now: Timestamp,
) -> StoreResult<()> {
    let addresses = list_addresses(connection, user_id, now)?;
    let earlier = addresses.iter().filter(|(_, is_current)| !is_current);
    let earlier = earlier.map(|(address, _)| address.as_str());
    enqueue(connection, user_id, earlier, notices, now)
}

/// The addresses that get notices, and whether each is the account's own.
fn list_addresses(
    connection: &dyn Connection,
    user_id: UserId,
    now: Timestamp,
) -> StoreResult<Vec<(String, bool)>> {
    connection.query_all(
        "SELECT email, sequence = 0 FROM (SELECT email, sequence, row_number() OVER (PARTITION BY \
         email_key ORDER BY sequence) AS place FROM (SELECT email, email_key, 0 AS sequence FROM \
         users WHERE id = :user_id AND verified_at IS NOT NULL UNION ALL SELECT email, email_key, \
         sequence FROM email_undos WHERE user_id = :user_id AND expires_at > :now) AS addresses) \
         AS placed WHERE place = 1 ORDER BY sequence",
        params! { ":user_id": user_id, ":now": now.unix_millis() },
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

fn enqueue<'a>(
    connection: &dyn Connection,
    user_id: UserId,
    addresses: impl Iterator<Item = &'a str>,
    notices: &[NewMail],
    now: Timestamp,
) -> StoreResult<()> {
    for (address, notice) in addresses.zip(notices) {
        insert_mail(connection, user_id, None, address, notice, now)?;
    }
    Ok(())
}

/// Enqueues the notices of a deletion, before the account is deleted: they outlive it.
pub(super) fn notify_of_deletion(
    connection: &dyn Connection,
    user_id: UserId,
    notices: &[NewMail],
    now: Timestamp,
) -> StoreResult<()> {
    notify_owner(connection, user_id, notices, now)?;
    for notice in notices {
        connection.run(
            "UPDATE deliveries SET user_id = NULL WHERE message_id = :message_id AND webhook_id IS \
             NULL",
            params! { ":message_id": notice.message_id },
        )?;
    }
    Ok(())
}
