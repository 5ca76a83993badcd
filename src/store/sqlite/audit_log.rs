//! Queries over the whole audit log.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::events::{COLUMNS, event};
use crate::store::{Event, EventFilter, EventQuery, Page, PageBounds, PageRequest};

/// A WHERE clause with its values.
#[derive(Default)]
struct Condition {
    terms: Vec<String>,
    values: Vec<Value>,
}

impl Condition {
    fn of(filter: &EventFilter) -> Self {
        let mut condition = Self::default();
        if let Some(user_id) = filter.user_id {
            condition.add("user_id = ?", user_id);
        }
        if let Some(actor_id) = filter.actor_id {
            // Each side has an index of its own.
            condition.terms.push(
                "((user_id = ? AND actor_id = user_id) OR (actor_id = ? AND actor_id IS NOT user_id))"
                    .to_owned(),
            );
            condition.values.extend([actor_id.into(), actor_id.into()]);
        }
        if !filter.kinds.is_empty() {
            // Names of kinds are constants of the program, so they are safe inside the statement.
            let kinds: Vec<String> = filter
                .kinds
                .iter()
                .map(|kind| format!("'{kind}'"))
                .collect();
            condition
                .terms
                .push(format!("event IN ({})", kinds.join(", ")));
        }
        if let Some(since) = filter.since {
            condition.add("happened_at >= ?", since.unix_millis());
        }
        if let Some(before) = filter.before {
            condition.add("happened_at < ?", before.unix_millis());
        }
        condition
    }

    fn add(&mut self, term: &str, value: i64) {
        self.terms.push(term.to_owned());
        self.values.push(value.into());
    }

    fn clause(&self) -> String {
        if self.terms.is_empty() {
            return String::new();
        }
        format!("WHERE {}", self.terms.join(" AND "))
    }

    /// The values, followed by more.
    fn values_and(&self, more: &[i64]) -> Vec<Value> {
        let more = more.iter().map(|value| Value::from(*value));
        self.values.iter().cloned().chain(more).collect()
    }
}

/// Lists the newest entries in ascending order. Unknown kinds are left out.
pub(super) fn list_newest(
    connection: &Connection,
    query: &EventQuery,
) -> rusqlite::Result<Vec<Event>> {
    let mut condition = Condition::of(&query.filter);
    condition.add("id > ?", query.after);
    if let Some(below) = query.below {
        condition.add("id < ?", below);
    }
    if let Some(since) = query.filter.since {
        // The lower bound of the ids is found from the newest entry downwards (the plus keeps the
        // index out), only as far as the list needs.
        condition.add(
            "id > coalesce((SELECT id FROM events WHERE +happened_at < ? ORDER BY id DESC LIMIT 1), 0)",
            since.unix_millis(),
        );
    }
    let mut events = select(
        connection,
        &format!("{} ORDER BY id DESC LIMIT ?", condition.clause()),
        condition.values_and(&[i64::from(query.limit)]),
    )?;
    events.reverse();
    Ok(events)
}

/// Lists a page, newest entry first. Unknown kinds are left out.
pub(super) fn list_page(
    connection: &Connection,
    filter: &EventFilter,
    page: PageRequest,
    page_size: u32,
) -> rusqlite::Result<Option<Page<Event>>> {
    let condition = Condition::of(filter);
    let count: u64 = connection
        .prepare_cached(&format!(
            "SELECT count(*) FROM events {}",
            condition.clause()
        ))?
        .query_row(params_from_iter(&condition.values), |row| {
            row.get::<_, i64>(0).map(i64::unsigned_abs)
        })?;
    let Some(bounds) = PageBounds::of(count, page, page_size) else {
        return Ok(None);
    };
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    // The inner query sorts and skips entries of an index instead of whole rows.
    let items = select(
        connection,
        &format!(
            "WHERE id IN (SELECT id FROM events {} \
             ORDER BY happened_at DESC, id DESC LIMIT ? OFFSET ?) \
             ORDER BY happened_at DESC, id DESC",
            condition.clause()
        ),
        condition.values_and(&[number(bounds.size), number(bounds.offset)]),
    )?;
    Ok(Some(bounds.page(count, items)))
}

fn select(connection: &Connection, rest: &str, values: Vec<Value>) -> rusqlite::Result<Vec<Event>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM events {rest}"))?
        .query_map(params_from_iter(values), event)?
        .filter_map(Result::transpose)
        .collect()
}
