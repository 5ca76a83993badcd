//! Housekeeping: what has expired is deleted.

use std::time::Duration;

use super::connection::{Connection, params};
use async_trait::async_trait;

use super::copying::find_moved;
use super::engine::{Database, Engine};
use super::events::{Actor, delete_before, forget_person, insert_event, insert_new_event};
use super::invitations::delete_old_invitations;
use super::mails::{delete_closed_mails, expire_mails};
use super::password_tries::{REMEMBER_FAILURES, REMEMBER_NETWORKS};
use super::transaction::Transaction;
use super::webhooks::delete_closed_events;
use crate::domain::{EventKind, Timestamp, UserId};
use crate::store::{HousekeepingStore, NewEvent, RequestContext, StoreResult};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

fn delete_expired(
    connection: &Transaction<'_>,
    now: Timestamp,
    events_before: Option<Timestamp>,
    unverified_before: Option<Timestamp>,
) -> StoreResult<usize> {
    let mut deleted = match events_before {
        Some(until) => delete_before(connection, until)?,
        None => 0,
    };
    // Before the codes: mails that can be sent no more are kept without them.
    expire_mails(connection, now)?;
    deleted += delete_closed_mails(connection, now)?;
    deleted += delete_closed_events(connection, now)?;
    deleted += delete_old_invitations(connection, now)?;
    for (statement, until) in [
        ("DELETE FROM otps WHERE expires_at <= :until", now),
        ("DELETE FROM otp_tokens WHERE expires_at <= :until", now),
        ("DELETE FROM factor_tickets WHERE expires_at <= :until", now),
        (
            "DELETE FROM passkey_challenges WHERE expires_at <= :until",
            now,
        ),
        (
            "DELETE FROM provider_requests WHERE expires_at <= :until",
            now,
        ),
        (
            "DELETE FROM identity_tickets WHERE expires_at <= :until",
            now,
        ),
        ("DELETE FROM used_id_tokens WHERE expires_at <= :until", now),
        (
            "DELETE FROM factor_failures WHERE failed_at <= :until",
            now.minus(DAY),
        ),
        (
            "DELETE FROM otp_failures WHERE failed_at <= :until",
            now.minus(DAY),
        ),
        (
            "DELETE FROM otp_mails WHERE sent_at <= :until",
            now.minus(HOUR),
        ),
        (
            "DELETE FROM password_failures WHERE failed_at <= :until",
            now.minus(REMEMBER_FAILURES),
        ),
        (
            "DELETE FROM known_networks WHERE last_seen_at <= :until",
            now.minus(REMEMBER_NETWORKS),
        ),
        ("DELETE FROM sessions WHERE expires_at <= :until", now),
        (
            "DELETE FROM authorization_requests WHERE expires_at <= :until",
            now,
        ),
        // A used code is kept as long as the session that ends when it comes again.
        (
            "DELETE FROM authorization_codes WHERE expires_at <= :until AND (used_at IS NULL OR \
             NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.id = session_id))",
            now,
        ),
        ("DELETE FROM email_undos WHERE expires_at <= :until", now),
    ] {
        deleted += connection.execute(statement, params! { ":until": until.unix_millis() })?;
    }
    if let Some(before) = unverified_before {
        deleted += delete_unverified(connection, before, now)?;
    }
    Ok(deleted)
}

/// Maximum number of never-verified accounts per deletion, so that other writes do not wait.
const UNVERIFIED_BATCH: u32 = 1_000;

/// Deletes never-verified accounts from before a time that have no valid code.
fn delete_unverified(
    connection: &Transaction<'_>,
    before: Timestamp,
    now: Timestamp,
) -> StoreResult<usize> {
    let ids: Vec<UserId> = connection.query_all(
        "SELECT id FROM users WHERE verified_at IS NULL AND created_at <= :before AND NOT is_staff \
         AND NOT EXISTS (SELECT 1 FROM otps WHERE user_id = users.id AND expires_at > :now) AND \
         NOT EXISTS (SELECT 1 FROM sign_ups WHERE user_id = users.id AND expires_at IS NULL) ORDER \
         BY created_at LIMIT :batch",
        params! {
            ":before": before.unix_millis(),
            ":now": now.unix_millis(),
            ":batch": UNVERIFIED_BATCH,
        },
        |row| row.get(0),
    )?;
    for id in &ids {
        connection.run(
            "INSERT INTO unused_photos (name, noted_at) SELECT photo, :now FROM users WHERE id = \
             :id AND photo IS NOT NULL ON CONFLICT (name) DO NOTHING",
            params! { ":id": id, ":now": now.unix_millis() },
        )?;
        connection.run(
            "DELETE FROM users WHERE id = :id",
            params! {
                ":id": id,
            },
        )?;
        forget_person(connection, *id)?;
        let context = RequestContext {
            operator: "program".to_owned(),
            ..RequestContext::default()
        };
        insert_event(
            connection,
            EventKind::UserDeleted,
            Some(*id),
            Actor::FromContext,
            &context,
            "never verified",
            now,
        )?;
    }
    Ok(ids.len())
}

#[async_trait]
impl<E: Engine> HousekeepingStore for Database<E> {
    async fn delete_expired(
        &self,
        now: Timestamp,
        events_before: Option<Timestamp>,
        unverified_before: Option<Timestamp>,
    ) -> StoreResult<usize> {
        self.engine
            .write(move |connection| {
                delete_expired(connection, now, events_before, unverified_before)
            })
            .await
    }

    async fn raise_ids(&self, by: i64, event: NewEvent) -> StoreResult<Vec<(String, i64)>> {
        self.engine
            .write(move |connection| {
                let mut last_ids = E::last_ids(&**connection)?;
                for (_, last) in &mut last_ids {
                    *last = last.saturating_add(by);
                }
                E::set_last_ids(&**connection, &last_ids)?;
                insert_new_event(&**connection, &event)?;
                Ok(last_ids)
            })
            .await
    }

    async fn find_moved(&self) -> StoreResult<Option<String>> {
        self.engine.read(find_moved).await
    }
}
