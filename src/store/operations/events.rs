//! The audit log.

use super::connection::{Connection, Row, params};
use async_trait::async_trait;

use super::audit_log;
use super::engine::{Database, Engine};
use super::lock::Keys;
use super::overview::count_by_day;
use super::paging::List;
use super::rows::timestamp;
use super::sessions::authorize_staff;
use super::transaction::Transaction;
use super::webhooks::{emit, forget_events};
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
) -> StoreResult<()> {
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
) -> StoreResult<()> {
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
    connection: &dyn Connection,
    kind: EventKind,
    user_id: Option<UserId>,
    actor: Actor,
    context: &RequestContext,
    detail: &str,
    now: Timestamp,
) -> StoreResult<()> {
    count_by_day(connection, kind, user_id, now)?;
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
        return connection.run(
            "UPDATE events SET count = count + 1, last_at = greatest(last_at, :now) WHERE id = :id",
            params! { ":id": id, ":now": now.unix_millis() },
        );
    }
    connection.run(
        "INSERT INTO events (happened_at, event, user_id, actor_id, operator, ip, user_agent, \
         detail, reason, last_at) VALUES (:now, :event, :user_id, :actor_id, :operator, :ip, \
         :user_agent, :detail, :reason, :now)",
        params! {
            ":now": now.unix_millis(),
            ":event": kind.as_str(),
            ":user_id": user_id,
            ":actor_id": actor_id,
            ":operator": context.operator,
            ":ip": context.ip,
            ":user_agent": context.user_agent,
            ":detail": detail,
            ":reason": context.reason,
        },
    )
}

/// The entry that counts one more of its kind instead of a new entry: the last of several equal ones
/// within an hour or, once the hour has very many entries about the account, the last of the kind.
fn find_equal(
    connection: &dyn Connection,
    kind: EventKind,
    (user_id, actor_id): (UserId, Option<UserId>),
    context: &RequestContext,
    detail: &str,
    now: Timestamp,
) -> StoreResult<Option<i64>> {
    let hour_ago = now.unix_millis() - MILLIS_PER_HOUR;
    let (equal, last_equal, last_of_kind): (i64, Option<i64>, Option<i64>) = connection.query_row(
        "SELECT count(*) FILTER (WHERE is_equal), max(id) FILTER (WHERE is_equal), max(id) FROM \
         (SELECT id, event, happened_at, actor_id IS NOT DISTINCT FROM :actor_id AND operator = \
         :operator AND ip = :ip AND user_agent = :user_agent AND detail = :detail AS is_equal FROM \
         events WHERE user_id = :user_id ORDER BY id DESC LIMIT :compared) AS newest WHERE event = \
         :event AND happened_at > :hour_ago",
        params! {
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
fn has_many(connection: &dyn Connection, user_id: UserId, since: i64) -> StoreResult<bool> {
    let earliest: Option<i64> = connection.query_optional(
        "SELECT happened_at FROM events WHERE user_id = :user_id ORDER BY id DESC LIMIT 1 OFFSET \
         :others",
        params! { ":user_id": user_id, ":others": LISTED_OF_ACCOUNT - 1 },
        |row| row.get(0),
    )?;
    Ok(earliest.is_some_and(|earliest| earliest > since))
}

/// Counts a failed attempt; false when it gets no entry. The limit keeps attackers from filling the
/// disk.
fn count_failure(
    connection: &dyn Connection,
    user_id: Option<UserId>,
    is_folded: bool,
    now: Timestamp,
) -> StoreResult<bool> {
    connection.query_row(
        "INSERT INTO failure_counts (hour, user_id, failures, listed, folded) VALUES (:hour, \
         :user_id, 1, 1, CASE WHEN :is_folded THEN 1 ELSE 0 END) ON CONFLICT (hour, user_id) DO \
         UPDATE SET failures = failure_counts.failures + 1, listed = failure_counts.listed + CASE \
         WHEN :is_folded OR failure_counts.failures - failure_counts.folded < :most THEN 1 ELSE 0 \
         END, folded = failure_counts.folded + excluded.folded RETURNING :is_folded OR failures - \
         folded <= :most",
        params! {
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
) -> StoreResult<()> {
    if let Some((id, listed)) = find_shared_entry(transaction, user_id, context, now)? {
        let listed: Vec<&str> = listed.split(FIELD_SEPARATOR).collect();
        let added = fields.iter().filter(|field| !listed.contains(field));
        let detail: Vec<&str> = listed.iter().chain(added).copied().collect();
        if detail.len() > listed.len() {
            transaction.run(
                "UPDATE events SET detail = :detail WHERE id = :id",
                params! { ":id": id, ":detail": detail.join(FIELD_SEPARATOR) },
            )?;
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
    connection: &dyn Connection,
    user_id: UserId,
    context: &RequestContext,
    now: Timestamp,
) -> StoreResult<Option<(i64, String)>> {
    let hour_ago = now.unix_millis() - MILLIS_PER_HOUR;
    if !has_many(connection, user_id, hour_ago)? {
        return Ok(None);
    }
    connection.query_optional(
        "SELECT id, detail FROM events WHERE user_id = :user_id AND event = :event AND actor_id IS \
         NOT DISTINCT FROM :actor_id AND operator = :operator AND reason = :reason AND happened_at \
         > :hour_ago ORDER BY id DESC LIMIT 1",
        params! {
            ":user_id": user_id,
            ":event": EventKind::ProfileChanged.as_str(),
            ":actor_id": context.actor_id,
            ":operator": context.operator,
            ":reason": context.reason,
            ":hour_ago": hour_ago,
        },
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Erases personal data from the entries and webhook events of a deleted account; the ids stay.
pub(super) fn forget_person(connection: &dyn Connection, user_id: UserId) -> StoreResult<()> {
    for statement in [
        "UPDATE events SET ip = '', user_agent = '', detail = '', reason = '' WHERE user_id = :id",
        "UPDATE events SET ip = '', user_agent = '' WHERE actor_id = :id AND actor_id IS DISTINCT \
         FROM user_id",
    ] {
        connection.run(statement, params! { ":id": user_id })?;
    }
    forget_events(connection, user_id)
}

/// Deletes the entries before a time. Ids ascend with the time, so the scan stops at the first
/// entry to keep.
pub(super) fn delete_before(connection: &dyn Connection, until: Timestamp) -> StoreResult<usize> {
    let deleted = connection.execute(
        "DELETE FROM events WHERE id < coalesce((SELECT id FROM events WHERE happened_at >= :until \
         ORDER BY id LIMIT 1), (SELECT max(id) + 1 FROM events))",
        params! { ":until": until.unix_millis() },
    )?;
    connection.run(
        "DELETE FROM failure_counts WHERE hour < :hour",
        params! { ":hour": until.unix_millis().div_euclid(MILLIS_PER_HOUR) },
    )?;
    Ok(deleted)
}

/// Reads the columns of [`COLUMNS`]; `None` for a kind that only a newer program knows.
pub(super) fn event(row: &Row<'_>) -> StoreResult<Option<Event>> {
    let Some(kind) = EventKind::parse(row.text(2)?) else {
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
        count: row.get::<i64>(10)?.unsigned_abs(),
        last_at: timestamp(row, 11)?,
    }))
}

fn list_of_user(
    connection: &dyn Connection,
    user_id: UserId,
    page: PageRequest,
    page_size: u32,
) -> StoreResult<Option<Page<Event>>> {
    let list = List {
        from: "events WHERE user_id = :user_id",
        columns: COLUMNS,
        order: "id DESC",
        values: params! { ":user_id": user_id },
    };
    list.page(connection, (page, page_size), event)
}

/// Writes an entry that the caller has prepared; none of those is an event of webhooks.
pub(in crate::store) fn insert_new_event(
    connection: &dyn Connection,
    event: &NewEvent,
) -> StoreResult<()> {
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
impl<E: Engine> EventStore for Database<E> {
    async fn record_event(&self, event: NewEvent) -> StoreResult<()> {
        self.engine
            .write_for(Keys::none(), move |connection| -> StoreResult<()> {
                authorize_staff(connection, &event.context)?;
                insert_new_event(connection, &event)
            })
            .await
    }

    async fn list_user_events(
        &self,
        user_id: UserId,
        page: PageRequest,
        page_size: u32,
    ) -> StoreResult<Option<Page<Event>>> {
        self.engine
            .read_long(move |connection| list_of_user(connection, user_id, page, page_size))
            .await
    }

    async fn list_events(&self, query: EventQuery) -> StoreResult<Vec<Event>> {
        self.engine
            .read_long(move |connection| audit_log::list_newest(connection, &query))
            .await
    }

    async fn list_event_page(
        &self,
        filter: EventFilter,
        page: PageRequest,
        page_size: u32,
    ) -> StoreResult<Option<Page<Event>>> {
        self.engine
            .read_long(move |connection| audit_log::list_page(connection, &filter, page, page_size))
            .await
    }

    async fn count_unlisted_failures(&self, since: Option<Timestamp>) -> StoreResult<u64> {
        self.engine
            .read(move |connection| {
                connection.query_row(
                    "SELECT CAST(coalesce(sum(failures - listed), 0) AS BIGINT) FROM \
                     failure_counts WHERE hour >= :hour",
                    params! {
                        ":hour": since.map_or(i64::MIN, |since| {
                            since.unix_millis().div_euclid(MILLIS_PER_HOUR)
                        }),
                    },
                    |row| row.get::<i64>(0).map(i64::unsigned_abs),
                )
            })
            .await
    }
}
