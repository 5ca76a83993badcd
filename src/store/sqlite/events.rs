//! The audit log in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::overview::count_by_day;
use super::paging::List;
use super::rows::timestamp;
use super::sessions::authorize_staff;
use super::transaction::Transaction;
use super::webhooks::{emit, forget_events};
use super::{SqliteStore, audit_log};
use crate::domain::{EventKind, Timestamp, UserId, WebhookEventType};
use crate::store::{
    Event, EventFilter, EventQuery, EventStore, EventSubject, NewEvent, Page, PageRequest,
    RequestContext, StoreResult,
};

pub(super) const COLUMNS: &str = "id, happened_at, event, user_id, actor_id, operator, ip, user_agent, detail, reason, count, last_at";

/// Failed attempts that have entries per hour at one account, or at unknown addresses together; more
/// are only counted. Each account has its own quota, so that noise at one hides nothing at another.
const LISTED_FAILURES: i64 = 100;

/// The account of failures at unknown addresses in `failure_counts`.
const NOBODY: UserId = 0;

/// Equal entries of an account within an hour that are listed one by one; more are counted in the
/// last of them.
const EQUAL_ENTRIES: i64 = 5;

/// How many of the newest entries of an account are compared.
const COMPARED: i64 = 50;

/// Entries about one account per hour after which changes of its profile share one entry, and so do
/// repeated entries of a kind: a user can make thousands of changes a second.
const LISTED_OF_ACCOUNT: i64 = 100;

const MILLIS_PER_HOUR: i64 = 60 * 60 * 1000;

/// The actor that an entry names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Actor {
    /// The account itself, which has just been authenticated as its owner.
    Owner,
    /// The actor of the request context.
    FromContext,
}

/// Writes an entry about a change of what belongs to no account, such as a webhook; `detail` names it.
pub(super) fn insert_change(
    transaction: &Transaction<'_>,
    kind: EventKind,
    detail: &str,
    context: &RequestContext,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let actor = Actor::FromContext;
    insert_event(transaction, kind, None, actor, context, detail, now)
}

/// Writes an entry, and enqueues the event of webhooks that belongs to it.
///
/// Events about sessions are enqueued in [`super::sessions`].
pub(super) fn insert_event(
    transaction: &Transaction<'_>,
    kind: EventKind,
    user_id: Option<UserId>,
    actor: Actor,
    context: &RequestContext,
    detail: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    write_entry(transaction, kind, user_id, actor, context, detail, now)?;
    match (kind.webhook_event(), user_id) {
        (Some(event), Some(user_id)) if event.is_about_identity() => {
            let subject = EventSubject::Identity { provider: detail };
            emit(transaction, event, user_id, subject, now)
        }
        (Some(event), Some(user_id)) if !event.is_about_session() => {
            emit(transaction, event, user_id, EventSubject::Account, now)
        }
        _ => Ok(()),
    }
}

/// Writes an entry alone.
fn write_entry(
    connection: &Connection,
    kind: EventKind,
    user_id: Option<UserId>,
    actor: Actor,
    context: &RequestContext,
    detail: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    count_by_day(connection, kind, now)?;
    let actor_id = match actor {
        Actor::Owner => user_id,
        Actor::FromContext => context.actor_id,
    };
    let folded_into = match user_id {
        Some(user_id) if kind.is_folded() => {
            find_equal(connection, kind, (user_id, actor_id), context, detail, now)?
        }
        _ => None,
    };
    if kind.is_failure() && !count_failure(connection, user_id, folded_into.is_some(), now)? {
        return Ok(());
    }
    if let Some(id) = folded_into {
        return connection
            .prepare_cached(
                "UPDATE events SET count = count + 1, last_at = max(last_at, :now) WHERE id = :id",
            )?
            .execute(named_params! { ":id": id, ":now": now.unix_millis() })
            .map(drop);
    }
    connection
        .prepare_cached(
            "INSERT INTO events (happened_at, event, user_id, actor_id, operator, ip, user_agent, detail, reason, \
             last_at) VALUES (:now, :event, :user_id, :actor_id, :operator, :ip, :user_agent, :detail, :reason, :now)",
        )?
        .execute(named_params! {
            ":now": now.unix_millis(),
            ":event": kind.as_str(),
            ":user_id": user_id,
            ":actor_id": actor_id,
            ":operator": context.operator,
            ":ip": context.ip,
            ":user_agent": context.user_agent,
            ":detail": detail,
            ":reason": context.reason,
        })
        .map(drop)
}

/// The entry that counts one more of its kind instead of a new entry: the last of several equal ones
/// within an hour or, once the hour has very many entries about the account, the last of the kind.
fn find_equal(
    connection: &Connection,
    kind: EventKind,
    (user_id, actor_id): (UserId, Option<UserId>),
    context: &RequestContext,
    detail: &str,
    now: Timestamp,
) -> rusqlite::Result<Option<i64>> {
    let hour_ago = now.unix_millis() - MILLIS_PER_HOUR;
    let (equal, last_equal, last_of_kind): (i64, Option<i64>, Option<i64>) = connection
        .prepare_cached(
            "SELECT coalesce(sum(is_equal), 0), max(iif(is_equal, id, NULL)), max(id) FROM (\
             SELECT id, event, happened_at, actor_id IS :actor_id AND operator = :operator \
             AND ip = :ip AND user_agent = :user_agent AND detail = :detail AS is_equal \
             FROM events WHERE user_id = :user_id ORDER BY id DESC LIMIT :compared) \
             WHERE event = :event AND happened_at > :hour_ago",
        )?
        .query_row(
            named_params! {
                ":user_id": user_id,
                ":event": kind.as_str(),
                ":actor_id": actor_id,
                ":operator": context.operator,
                ":ip": context.ip,
                ":user_agent": context.user_agent,
                ":detail": detail,
                ":hour_ago": hour_ago,
                ":compared": COMPARED,
            },
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
    if equal >= EQUAL_ENTRIES {
        return Ok(last_equal);
    }
    Ok(match has_many(connection, user_id, hour_ago)? {
        true => last_of_kind,
        false => None,
    })
}

/// Whether an account has very many entries since a time.
fn has_many(connection: &Connection, user_id: UserId, since: i64) -> rusqlite::Result<bool> {
    let earliest: Option<i64> = connection
        .prepare_cached(
            "SELECT happened_at FROM events WHERE user_id = :user_id ORDER BY id DESC LIMIT 1 OFFSET :others",
        )?
        .query_row(
            named_params! { ":user_id": user_id, ":others": LISTED_OF_ACCOUNT - 1 },
            |row| row.get(0),
        )
        .optional()?;
    Ok(earliest.is_some_and(|earliest| earliest > since))
}

/// Counts a failed attempt; false when it gets no entry. The limit keeps attackers from filling the
/// disk.
fn count_failure(
    connection: &Connection,
    user_id: Option<UserId>,
    is_folded: bool,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "INSERT INTO failure_counts (hour, user_id, failures, listed, folded) \
             VALUES (:hour, :user_id, 1, 1, :is_folded) \
             ON CONFLICT (hour, user_id) DO UPDATE SET failures = failures + 1, \
             listed = listed + (:is_folded OR failures - folded < :most), folded = folded + :is_folded \
             RETURNING :is_folded OR failures - folded <= :most",
        )?
        .query_row(
            named_params! {
                ":hour": now.unix_millis().div_euclid(MILLIS_PER_HOUR),
                ":user_id": user_id.unwrap_or(NOBODY),
                ":is_folded": is_folded,
                ":most": LISTED_FAILURES,
            },
            |row| row.get(0),
        )
}

/// Logs the names of changed profile fields.
///
/// When the last hour has too many entries about the account, the names are added to the last entry
/// about a change by the same actor.
pub(super) fn note_profile_change(
    transaction: &Transaction<'_>,
    user_id: UserId,
    context: &RequestContext,
    fields: &[&str],
    now: Timestamp,
) -> rusqlite::Result<()> {
    if let Some((id, listed)) = find_shared_entry(transaction, user_id, context, now)? {
        let listed: Vec<&str> = listed.split(FIELD_SEPARATOR).collect();
        let added = fields.iter().filter(|field| !listed.contains(field));
        let detail: Vec<&str> = listed.iter().chain(added).copied().collect();
        if detail.len() > listed.len() {
            transaction
                .prepare_cached("UPDATE events SET detail = :detail WHERE id = :id")?
                .execute(named_params! { ":id": id, ":detail": detail.join(FIELD_SEPARATOR) })?;
        }
        let (event, subject) = (WebhookEventType::UserUpdated, EventSubject::Account);
        return emit(transaction, event, user_id, subject, now);
    }
    insert_event(
        transaction,
        EventKind::ProfileChanged,
        Some(user_id),
        Actor::FromContext,
        context,
        &fields.join(FIELD_SEPARATOR),
        now,
    )
}

/// Separates the names of changed fields.
const FIELD_SEPARATOR: &str = ", ";

/// The entry that profile changes are added to instead of a new one, with its fields.
fn find_shared_entry(
    connection: &Connection,
    user_id: UserId,
    context: &RequestContext,
    now: Timestamp,
) -> rusqlite::Result<Option<(i64, String)>> {
    let hour_ago = now.unix_millis() - MILLIS_PER_HOUR;
    if !has_many(connection, user_id, hour_ago)? {
        return Ok(None);
    }
    connection
        .prepare_cached(
            "SELECT id, detail FROM events WHERE user_id = :user_id AND event = :event AND actor_id IS :actor_id \
             AND operator = :operator AND reason = :reason AND happened_at > :hour_ago ORDER BY id DESC LIMIT 1",
        )?
        .query_row(
            named_params! {
                ":user_id": user_id,
                ":event": EventKind::ProfileChanged.as_str(),
                ":actor_id": context.actor_id,
                ":operator": context.operator,
                ":reason": context.reason,
                ":hour_ago": hour_ago,
            },
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
}

/// Erases personal data from the entries and webhook events of a deleted account; the ids stay.
pub(super) fn forget_person(connection: &Connection, user_id: UserId) -> rusqlite::Result<()> {
    for statement in [
        "UPDATE events SET ip = '', user_agent = '', detail = '', reason = '' WHERE user_id = :id",
        "UPDATE events SET ip = '', user_agent = '' WHERE actor_id = :id AND actor_id IS NOT user_id",
    ] {
        connection
            .prepare_cached(statement)?
            .execute(named_params! { ":id": user_id })?;
    }
    forget_events(connection, user_id)
}

/// Deletes the entries before a time. Ids ascend with the time, so the scan stops at the first
/// entry to keep.
pub(super) fn delete_before(connection: &Connection, until: Timestamp) -> rusqlite::Result<usize> {
    let deleted = connection
        .prepare_cached(
            "DELETE FROM events WHERE id < coalesce((SELECT id FROM events WHERE happened_at >= :until ORDER BY id LIMIT 1), \
             (SELECT max(id) + 1 FROM events))",
        )?
        .execute(named_params! { ":until": until.unix_millis() })?;
    connection
        .prepare_cached("DELETE FROM failure_counts WHERE hour < :hour")?
        .execute(named_params! { ":hour": until.unix_millis().div_euclid(MILLIS_PER_HOUR) })?;
    Ok(deleted)
}

/// Reads the columns of [`COLUMNS`]; `None` for a kind that only a newer program knows.
pub(super) fn event(row: &Row<'_>) -> rusqlite::Result<Option<Event>> {
    let Some(kind) = EventKind::parse(row.get_ref(2)?.as_str()?) else {
        return Ok(None);
    };
    Ok(Some(Event {
        id: row.get(0)?,
        happened_at: timestamp(row, 1)?,
        kind,
        user_id: row.get(3)?,
        context: RequestContext {
            session_id: None,
            actor_id: row.get(4)?,
            operator: row.get(5)?,
            ip: row.get(6)?,
            user_agent: row.get(7)?,
            reason: row.get(9)?,
        },
        detail: row.get(8)?,
        count: row.get::<_, i64>(10)?.unsigned_abs(),
        last_at: timestamp(row, 11)?,
    }))
}

fn list_of_user(
    connection: &Connection,
    user_id: UserId,
    page: PageRequest,
    page_size: u32,
) -> rusqlite::Result<Option<Page<Event>>> {
    let list = List {
        from: "events WHERE user_id = :user_id",
        columns: COLUMNS,
        order: "id DESC",
        values: named_params! { ":user_id": user_id },
    };
    list.page(connection, (page, page_size), event)
}

/// Writes an entry that the caller has prepared; none of those is an event of webhooks.
pub(super) fn insert_new_event(connection: &Connection, event: &NewEvent) -> rusqlite::Result<()> {
    write_entry(
        connection,
        event.kind,
        event.user_id,
        Actor::FromContext,
        &event.context,
        &event.detail,
        event.now,
    )
}

#[async_trait]
impl EventStore for SqliteStore {
    async fn record_event(&self, event: NewEvent) -> StoreResult<()> {
        self.writer
            .run(move |connection| -> StoreResult<()> {
                authorize_staff(connection, &event.context)?;
                Ok(insert_new_event(connection, &event)?)
            })
            .await
    }

    async fn list_user_events(
        &self,
        user_id: UserId,
        page: PageRequest,
        page_size: u32,
    ) -> StoreResult<Option<Page<Event>>> {
        self.read_apart(move |connection| list_of_user(connection, user_id, page, page_size))
            .await
    }

    async fn list_events(&self, query: EventQuery) -> StoreResult<Vec<Event>> {
        self.read_apart(move |connection| audit_log::list_newest(connection, &query))
            .await
    }

    async fn list_event_page(
        &self,
        filter: EventFilter,
        page: PageRequest,
        page_size: u32,
    ) -> StoreResult<Option<Page<Event>>> {
        self.read_apart(move |connection| {
            audit_log::list_page(connection, &filter, page, page_size)
        })
        .await
    }

    async fn count_unlisted_failures(&self, since: Option<Timestamp>) -> StoreResult<u64> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT coalesce(sum(failures - listed), 0) FROM failure_counts WHERE hour >= :hour",
                )?
                .query_row(
                    named_params! {
                        ":hour": since.map_or(i64::MIN, |since| {
                            since.unix_millis().div_euclid(MILLIS_PER_HOUR)
                        }),
                    },
                    |row| row.get::<_, i64>(0).map(i64::unsigned_abs),
                )
        })
    }
}
