//! Queries over the whole audit log.

use super::connection::{Connection, Param, Value};

use super::events::{COLUMNS, event};
use crate::store::{Event, EventFilter, EventQuery, Page, PageBounds, PageRequest, StoreResult};

/// A WHERE clause with its values.
#[derive(Default)]
struct Condition {
    terms: Vec<&'static str>,
    kinds: Option<String>,
    values: Vec<Param<'static>>,
}

impl Condition {
    fn of(filter: &EventFilter) -> Self {
        let mut condition = Self::default();
        if let Some(user_id) = filter.user_id {
            condition.add("user_id = :user_id", (":user_id", user_id));
        }
        if let Some(actor_id) = filter.actor_id {
            // Each side has an index of its own.
            condition.add(
                "((user_id = :actor_id AND actor_id = user_id) OR (actor_id = :actor_id AND \
                 actor_id IS DISTINCT FROM user_id))",
                (":actor_id", actor_id),
            );
        }
        if !filter.kinds.is_empty() {
            // Names of kinds are constants of the program, so they are safe inside the statement.
            let kinds: Vec<String> = filter
                .kinds
                .iter()
                .map(|kind| format!("'{kind}'"))
                .collect();
            condition.kinds = Some(format!("event IN ({})", kinds.join(", ")));
        }
        if let Some(since) = filter.since {
            condition.add("happened_at >= :since", (":since", since.unix_millis()));
        }
        if let Some(before) = filter.before {
            condition.add("happened_at < :before", (":before", before.unix_millis()));
        }
        condition
    }

    fn add(&mut self, term: &'static str, (name, value): (&'static str, i64)) {
        self.terms.push(term);
        self.values.push((name, Value::Integer(value)));
    }

    fn clause(&self) -> String {
        let terms: Vec<&str> = self
            .terms
            .iter()
            .copied()
            .chain(self.kinds.as_deref())
            .collect();
        match terms.is_empty() {
            true => String::new(),
            false => format!("WHERE {}", terms.join(" AND ")),
        }
    }

    /// The values, followed by more.
    fn values_and(&self, more: &[(&'static str, i64)]) -> Vec<Param<'static>> {
        let more = more
            .iter()
            .map(|(name, value)| (*name, Value::Integer(*value)));
        self.values.iter().cloned().chain(more).collect()
    }
}

/// Lists the newest entries in ascending order. Unknown kinds are left out.
pub(super) fn list_newest(
    connection: &dyn Connection,
    query: &EventQuery,
) -> StoreResult<Vec<Event>> {
    let mut condition = Condition::of(&query.filter);
    condition.add("id > :after", (":after", query.after));
    if let Some(below) = query.below {
        condition.add("id < :below", (":below", below));
    }
    if query.filter.since.is_some() {
        // The lower bound of the ids is found from the newest entry downwards (the plus keeps the
        // index out), only as far as the list needs.
        condition.terms.push(
            "id > coalesce((SELECT id FROM events WHERE +happened_at < :since ORDER BY id DESC \
             LIMIT 1), 0)",
        );
    }
    let mut events = select(
        connection,
        &format!("{} ORDER BY id DESC LIMIT :limit", condition.clause()),
        &condition.values_and(&[(":limit", i64::from(query.limit))]),
    )?;
    events.reverse();
    Ok(events)
}

/// Lists a page, newest entry first. Unknown kinds are left out.
pub(super) fn list_page(
    connection: &dyn Connection,
    filter: &EventFilter,
    page: PageRequest,
    page_size: u32,
) -> StoreResult<Option<Page<Event>>> {
    let condition = Condition::of(filter);
    let count: i64 = connection.query_row(
        &format!("SELECT count(*) FROM events {}", condition.clause()),
        &condition.values,
        |row| row.get(0),
    )?;
    let count = count.unsigned_abs();
    let Some(bounds) = PageBounds::of(count, page, page_size) else {
        return Ok(None);
    };
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    // The inner query sorts and skips entries of an index instead of whole rows.
    let items = select(
        connection,
        &format!(
            "WHERE id IN (SELECT id FROM events {} ORDER BY happened_at DESC, id DESC LIMIT :size \
             OFFSET :offset) ORDER BY happened_at DESC, id DESC",
            condition.clause()
        ),
        &condition.values_and(&[
            (":size", number(bounds.size)),
            (":offset", number(bounds.offset)),
        ]),
    )?;
    Ok(Some(bounds.page(count, items)))
}

fn select(
    connection: &dyn Connection,
    rest: &str,
    values: &[Param<'_>],
) -> StoreResult<Vec<Event>> {
    connection.query_some(
        &format!("SELECT {COLUMNS} FROM events {rest}"),
        values,
        event,
    )
}
