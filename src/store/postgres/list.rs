//! The staff user list: search, filters, order and pagination.

use std::fmt::Write as _;

use crate::domain::{User, UserId};
use crate::store::operations::connection::{Connection, Param, ToValue};
use crate::store::operations::engine::UserCounts;
use crate::store::operations::paging::contains;
use crate::store::operations::rows::{USER_COLUMNS, user};
use crate::store::{Page, PageBounds, StoreResult, UserOrder, UserQuery};

/// A WHERE clause over `users`, with its values.
struct Condition {
    clause: String,
    names: Vec<String>,
    patterns: Vec<String>,
    external_id: Option<String>,
    is_filtered: bool,
}

impl Condition {
    fn of(query: &UserQuery) -> Self {
        let mut condition = Self {
            clause: "TRUE".to_owned(),
            names: Vec::new(),
            patterns: Vec::new(),
            external_id: query.external_id.clone(),
            is_filtered: query.only_staff || query.external_id.is_some(),
        };
        // Inlined: there are few conditions.
        if let Some(is_active) = query.is_active {
            let _ = write!(condition.clause, " AND is_active = {is_active}");
        }
        if let Some(is_verified) = query.is_verified {
            let _ = write!(
                condition.clause,
                " AND (verified_at IS NOT NULL) = {is_verified}"
            );
        }
        if query.only_staff {
            condition.clause += " AND is_staff";
        }
        if query.external_id.is_some() {
            condition.clause += " AND external_id = :external_id";
        }
        // The longest word first: it is most likely the rarest one.
        let mut words = query.folded_words();
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        words.dedup();
        for word in words {
            let name = format!(":word{}", condition.names.len());
            let _ = write!(condition.clause, " AND search_text LIKE {name} ESCAPE '!'");
            condition.names.push(name);
            condition.patterns.push(contains(&word));
            condition.is_filtered = true;
        }
        condition
    }

    fn params<'a>(&'a self, others: &[Param<'a>]) -> Vec<Param<'a>> {
        let words = self
            .names
            .iter()
            .map(String::as_str)
            .zip(self.patterns.iter().map(ToValue::to_value));
        let external_id = self
            .external_id
            .iter()
            .map(|id| (":external_id", id.to_value()));
        words
            .chain(external_id)
            .chain(others.iter().cloned())
            .collect()
    }
}

/// Lists one page of the accounts that match a query; `None` when the page does not exist.
pub(super) fn list_users(
    connection: &dyn Connection,
    query: &UserQuery,
) -> StoreResult<Option<Page<User>>> {
    let condition = Condition::of(query);
    if !condition.names.is_empty() {
        // A plan for any words would read the whole index for short ones.
        connection.run("SET LOCAL plan_cache_mode = force_custom_plan", &[])?;
    }
    let count = count(connection, query, &condition)?;
    let Some(bounds) = PageBounds::of(count, query.page, query.page_size) else {
        return Ok(None);
    };
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let (offset, size) = (number(bounds.offset), number(bounds.size));
    let backwards = (number(count) - offset - size).max(0);
    // A late page is read from the end.
    let is_nearer_backwards = backwards < offset;
    let (offset, size) = match is_nearer_backwards {
        true => (backwards, size.min(number(count) - offset)),
        false => (offset, size),
    };
    let order = order(query, is_nearer_backwards);
    let page = page_of_ids(&condition, &order);
    let mut items = connection.query_all(
        &format!(
            "SELECT {USER_COLUMNS} FROM users JOIN ({page}) AS page ON page.id = users.id \
             ORDER BY {order}"
        ),
        &condition.params(&[(":size", size.to_value()), (":offset", offset.to_value())]),
        user,
    )?;
    if is_nearer_backwards {
        items.reverse();
    }
    Ok(Some(bounds.page(count, items)))
}

/// The statement that finds the ids of a page.
fn page_of_ids(condition: &Condition, order: &str) -> String {
    let clause = &condition.clause;
    if condition.names.is_empty() {
        return format!(
            "SELECT users.id FROM users WHERE {clause} ORDER BY {order} LIMIT :size OFFSET :offset"
        );
    }
    // All matches are found before they are sorted: reading them in order until a page is full would
    // read nearly all accounts for a rare word.
    format!(
        "WITH found AS MATERIALIZED (SELECT id, email_key, new_email_key, first_name, last_name, \
         created_at, updated_at, last_login_at FROM users WHERE {clause}) \
         SELECT users.id FROM found AS users ORDER BY {order} LIMIT :size OFFSET :offset"
    )
}

fn count(
    connection: &dyn Connection,
    query: &UserQuery,
    condition: &Condition,
) -> StoreResult<u64> {
    let count: i64 = if condition.is_filtered {
        connection.query_row(
            &format!("SELECT count(*) FROM users WHERE {}", condition.clause),
            &condition.params(&[]),
            |row| row.get(0),
        )?
    } else {
        connection.query_row(
            "SELECT CAST(coalesce(sum(users), 0) AS bigint) FROM user_counts \
             WHERE is_active = coalesce(:is_active, is_active) \
             AND is_verified = coalesce(:is_verified, is_verified)",
            &[
                (":is_active", query.is_active.to_value()),
                (":is_verified", query.is_verified.to_value()),
            ],
            |row| row.get(0),
        )?
    };
    Ok(count.unsigned_abs())
}

/// The terms of ORDER BY. NULL comes first.
fn order(query: &UserQuery, is_reversed: bool) -> String {
    let terms = query.whole_order().into_iter().map(|(column, descending)| {
        let expression = match column {
            UserOrder::Id => "users.id",
            UserOrder::Email => "coalesce(users.new_email_key, users.email_key)",
            UserOrder::FirstName => "users.first_name",
            UserOrder::LastName => "users.last_name",
            UserOrder::CreatedAt => "users.created_at",
            UserOrder::UpdatedAt => "users.updated_at",
            UserOrder::LastLogin => "users.last_login_at",
        };
        let nulls = column == UserOrder::LastLogin;
        match (descending != is_reversed, nulls) {
            (false, false) => format!("{expression} ASC"),
            (true, false) => format!("{expression} DESC"),
            (false, true) => format!("{expression} ASC NULLS FIRST"),
            (true, true) => format!("{expression} DESC NULLS LAST"),
        }
    });
    terms.collect::<Vec<_>>().join(", ")
}

/// Lists up to `limit` accounts that match a query after an id, in the order of their ids.
pub(super) fn list_matching(
    connection: &dyn Connection,
    query: &UserQuery,
    after: UserId,
    limit: u32,
) -> StoreResult<Vec<User>> {
    let condition = Condition::of(query);
    connection.query_all(
        &format!(
            "SELECT {USER_COLUMNS} FROM users WHERE users.id > :after AND {} \
             ORDER BY users.id LIMIT :limit",
            condition.clause
        ),
        &condition.params(&[(":after", after.to_value()), (":limit", limit.to_value())]),
        user,
    )
}

/// Counts all accounts, the confirmed and the inactive ones.
pub(super) fn count_users(connection: &dyn Connection) -> StoreResult<UserCounts> {
    connection.query_row(
        "SELECT CAST(coalesce(sum(users), 0) AS bigint), \
         CAST(coalesce(sum(users) FILTER (WHERE is_verified), 0) AS bigint), \
         CAST(coalesce(sum(users) FILTER (WHERE NOT is_active), 0) AS bigint) FROM user_counts",
        &[],
        |row| {
            let number = |column| row.get::<i64>(column).map(i64::unsigned_abs);
            Ok(UserCounts {
                all: number(0)?,
                confirmed: number(1)?,
                inactive: number(2)?,
            })
        },
    )
}
