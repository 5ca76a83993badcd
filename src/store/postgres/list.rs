//! The staff user list: pages in any order, and their counts.
//!
//! The number of accounts in each state is known from `user_counts`. There are three ways to a page: by
//! the ids, whose counts tell where it begins; through the index of its first column, from the nearer
//! end; and by finding all accounts, where words are searched or others than the states are asked for.

use super::filter::{Filter, OF_STATES};
use crate::domain::{User, UserId};
use crate::store::operations::connection::{Connection, Param, ToValue, Value, params};
use crate::store::operations::engine::UserCounts;
use crate::store::operations::paging::{Slice, number};
use crate::store::operations::rows::{USER_COLUMN_COUNT, USER_COLUMNS, user};
use crate::store::{Page, PageBounds, PageRequest, StoreResult, UserOrder, UserQuery};

/// Ids that `user_counts` counts together.
const BLOCK: i64 = 1024;

/// Lists one page of the accounts that match a query; `None` when the page does not exist.
pub(super) fn list_users(
    connection: &dyn Connection,
    query: &UserQuery,
) -> StoreResult<Option<Page<User>>> {
    plan_by_values(connection)?;
    let order = Order::of(query);
    let is_by_id = order.first().column == UserOrder::Id;
    let list = List {
        connection,
        query,
        filter: Filter::of(query, !is_by_id),
        order,
    };
    if !list.filter.is_of_states {
        return list.page_of_found();
    }
    let count = list.count()?;
    let Some(bounds) = PageBounds::of(count.unsigned_abs(), query.page, query.page_size) else {
        return Ok(None);
    };
    let slice = Slice::of(&bounds, count);
    let items = match (count, is_by_id) {
        (0, _) => Vec::new(),
        (_, true) => list.page_by_id(slice)?,
        (_, false) => list.page_by_index(slice)?,
    };
    Ok(Some(bounds.page(count.unsigned_abs(), items)))
}

/// Makes the transaction plan each statement for its values. One plan for all would not suit words whose
/// index is of no use, nor pages near the other end.
fn plan_by_values(connection: &dyn Connection) -> StoreResult<()> {
    connection.run("SET LOCAL plan_cache_mode = force_custom_plan", &[])
}

/// A column of an order, with its direction.
#[derive(Clone, Copy)]
struct Term {
    column: UserOrder,
    is_descending: bool,
}

impl Term {
    /// What is ordered: it is never NULL.
    fn expression(self) -> &'static str {
        match self.column {
            UserOrder::Id => "users.id",
            UserOrder::Email => "coalesce(users.new_email_key, users.email_key)",
            UserOrder::FirstName => "users.first_name",
            UserOrder::LastName => "users.last_name",
            UserOrder::CreatedAt => "users.created_at",
            UserOrder::UpdatedAt => "users.updated_at",
            // Those who never signed in come first.
            UserOrder::LastLogin => {
                "coalesce(users.last_login_at, CAST('-9223372036854775808' AS bigint))"
            }
        }
    }

    fn direction(self) -> &'static str {
        if self.is_descending { "DESC" } else { "ASC" }
    }

    fn sql(self) -> String {
        format!("{} {}", self.expression(), self.direction())
    }
}

/// The terms of an order. The last one is the id.
struct Order(Vec<Term>);

impl Order {
    fn of(query: &UserQuery) -> Self {
        let terms = query.whole_order().into_iter();
        let terms = terms.map(|(column, is_descending)| Term {
            column,
            is_descending,
        });
        Self(terms.collect())
    }

    fn first(&self) -> Term {
        *self.0.first().expect("an order ends with the id")
    }

    fn sql(&self) -> String {
        sql(&self.0)
    }

    /// Whether it is that of an index, forwards or backwards.
    fn is_of_index(&self) -> bool {
        let [first, rest @ ..] = &self.0[..] else {
            return false;
        };
        let is_alike =
            |term: &Term| term.column == UserOrder::Id && term.is_descending == first.is_descending;
        rest.len() == 1 && rest.iter().all(is_alike)
    }
}

fn sql(terms: &[Term]) -> String {
    let terms: Vec<String> = terms.iter().map(|term| term.sql()).collect();
    terms.join(", ")
}

/// A list in its order.
struct List<'a> {
    connection: &'a dyn Connection,
    query: &'a UserQuery,
    filter: Filter,
    order: Order,
}

impl List<'_> {
    /// The number of the accounts in a list by states.
    fn count(&self) -> StoreResult<i64> {
        self.connection.query_row(
            &format!(
                "SELECT CAST(coalesce(sum(users), 0) AS bigint) FROM user_counts WHERE {OF_STATES}"
            ),
            &self.states(&[]),
            |row| row.get(0),
        )
    }

    fn states<'a>(&self, others: &[Param<'a>]) -> Vec<Param<'a>> {
        let states = [
            (":is_active", self.query.is_active.to_value().into_owned()),
            (
                ":is_verified",
                self.query.is_verified.to_value().into_owned(),
            ),
        ];
        states.into_iter().chain(others.iter().cloned()).collect()
    }

    /// The accounts whose ids a statement finds, in the order of the list.
    fn users(&self, ids: &str, others: &[Param<'_>]) -> StoreResult<Vec<User>> {
        self.connection.query_all(
            &format!(
                "SELECT {USER_COLUMNS} FROM ({ids}) AS page JOIN users ON users.id = page.id \
                 ORDER BY {}",
                self.order.sql()
            ),
            &self.filter.params(others),
            user,
        )
    }

    /// A part in the order of the ids: blocks before it are skipped by their counts.
    fn page_by_id(&self, slice: Slice) -> StoreResult<Vec<User>> {
        let Slice { offset, length, .. } = match self.order.first().is_descending {
            true => slice.counted_backwards(),
            false => slice,
        };
        let (first, last, before): (i64, i64, i64) = self.connection.query_row(
            &format!(
                "WITH blocks AS (SELECT block, CAST(sum(users) AS bigint) AS users \
                 FROM user_counts WHERE {OF_STATES} GROUP BY block), \
                 places AS (SELECT block, users, \
                 CAST(sum(users) OVER (ORDER BY block) AS bigint) - users AS before FROM blocks) \
                 SELECT coalesce(min(block), 0), coalesce(max(block), 0), \
                 coalesce(min(before), 0) FROM places \
                 WHERE before + users > :offset AND before < CAST(:end AS bigint)"
            ),
            &self.states(&[
                (":offset", offset.to_value()),
                (":end", Value::Integer(offset + length)),
            ]),
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        self.users(
            &format!(
                "SELECT users.id FROM users WHERE users.id >= :from AND users.id < :until AND {} \
                 ORDER BY users.id LIMIT :length OFFSET :skip",
                self.filter.clause
            ),
            params! {
                ":from": first * BLOCK,
                ":until": (last + 1) * BLOCK,
                ":length": length,
                ":skip": offset - before,
            },
        )
    }

    /// A part in the order of any column.
    fn page_by_index(&self, slice: Slice) -> StoreResult<Vec<User>> {
        if self.order.is_of_index() {
            let (ids, offset) = self.walk("users.id", slice);
            let length = slice.length;
            return self.users(&ids, params! { ":length": length, ":offset": offset });
        }
        self.page_by_groups(slice)
    }

    /// The statement that reads a part in the order of the index of the first column, from the nearer
    /// end, and its offset.
    fn walk(&self, columns: &str, slice: Slice) -> (String, i64) {
        let forwards = self.order.first();
        let backwards = Term {
            is_descending: !forwards.is_descending,
            ..forwards
        };
        let from_end = slice.counted_backwards();
        let (term, offset) = match from_end.offset < slice.offset {
            true => (backwards, from_end.offset),
            false => (forwards, slice.offset),
        };
        let statement = format!(
            "SELECT {columns} FROM users WHERE {} ORDER BY {}, users.id {} \
             LIMIT :length OFFSET :offset",
            self.filter.clause,
            term.sql(),
            term.direction(),
        );
        (statement, offset)
    }

    /// A part in an order that no index has.
    ///
    /// The value at a position in the order of the first column does not depend on how ties are broken.
    /// So the position leads to a group of equal values, and only such groups are sorted.
    fn page_by_groups(&self, slice: Slice) -> StoreResult<Vec<User>> {
        let first = self.order.first();
        let (expression, clause) = (first.expression(), &self.filter.clause);
        let (place, offset) = self.walk(
            &format!("users.id, {expression}"),
            Slice { length: 1, ..slice },
        );
        let place = self.connection.query_optional(
            &place,
            &self
                .filter
                .params(params! { ":length": 1_i64, ":offset": offset }),
            |row| Ok((row.get::<UserId>(0)?, row.values(2)?.pop())),
        )?;
        let Some((id, Some(value))) = place else {
            return Ok(Vec::new());
        };
        let after = if first.is_descending { "<" } else { ">" };
        let before = if first.is_descending { ">" } else { "<" };
        let skip: i64 = self.connection.query_row(
            &format!(
                "SELECT count(*) FROM users WHERE {expression} = :value AND users.id {before} :id \
                 AND {clause}"
            ),
            &self
                .filter
                .params(&[(":value", value.clone()), (":id", id.to_value())]),
            |row| row.get(0),
        )?;
        let mut users = self.users(
            &format!(
                "SELECT users.id FROM users WHERE {expression} = :value AND {clause} \
                 ORDER BY {} LIMIT :length OFFSET :skip",
                sql(&self.order.0[1..])
            ),
            &[
                (":value", value.clone()),
                (":length", slice.length.to_value()),
                (":skip", skip.to_value()),
            ],
        )?;
        let missing = slice.length - number(users.len() as u64);
        if missing > 0 {
            users.extend(self.users(
                &format!(
                    "SELECT users.id FROM users WHERE {expression} {after} :value AND {clause} \
                     ORDER BY {} LIMIT :length",
                    self.order.sql()
                ),
                &[(":value", value), (":length", missing.to_value())],
            )?);
        }
        Ok(users)
    }

    /// A page of all accounts that pass the filter: they are found, counted, and then sorted. To read
    /// them in order until the page is full would read nearly all accounts for a rare word.
    fn page_of_found(&self) -> StoreResult<Option<Page<User>>> {
        self.connection.run("SET LOCAL work_mem = '32MB'", &[])?;
        let filter = &self.filter;
        let terms = self.order.0.iter().enumerate();
        let (keys, order): (Vec<_>, Vec<_>) = terms
            .map(|(number, term)| {
                let expression = match term.column {
                    UserOrder::Id => filter.id,
                    _ => term.expression(),
                };
                (
                    format!("{expression} AS key{number}"),
                    format!("key{number} {}", term.direction()),
                )
            })
            .unzip();
        let size = i64::from(self.query.page_size.max(1));
        // Without a number it is the last page.
        let offset = match self.query.page {
            PageRequest::Number(page) => Some(number(page.saturating_sub(1)).saturating_mul(size)),
            PageRequest::Last => None,
        };
        let mut count = 0;
        let mut items = Vec::new();
        self.connection.query(
            &format!(
                "WITH found AS MATERIALIZED (SELECT {} AS id, {} FROM {} WHERE {}), \
                 total AS (SELECT count(*) AS users FROM found) \
                 SELECT {USER_COLUMNS}, total.users FROM total LEFT JOIN LATERAL \
                 (SELECT id FROM found ORDER BY {} LIMIT :size OFFSET \
                 coalesce(:offset, (greatest(total.users, 1) - 1) / :size * :size)) AS page ON TRUE \
                 LEFT JOIN users ON users.id = page.id ORDER BY {}",
                filter.id,
                keys.join(", "),
                filter.from,
                filter.clause,
                order.join(", "),
                self.order.sql(),
            ),
            &filter.params(params! { ":size": size, ":offset": offset }),
            &mut |row| {
                count = row.get::<i64>(USER_COLUMN_COUNT)?.unsigned_abs();
                if row.get::<Option<UserId>>(0)?.is_some() {
                    items.push(user(row)?);
                }
                Ok(true)
            },
        )?;
        let bounds = PageBounds::of(count, self.query.page, self.query.page_size);
        Ok(bounds.map(|bounds| bounds.page(count, items)))
    }
}

/// Lists up to `limit` accounts that match a query after an id, in the order of their ids.
pub(super) fn list_matching(
    connection: &dyn Connection,
    query: &UserQuery,
    after: UserId,
    limit: u32,
) -> StoreResult<Vec<User>> {
    plan_by_values(connection)?;
    let filter = Filter::of(query, false);
    let Filter {
        clause, from, id, ..
    } = &filter;
    connection.query_all(
        &format!(
            "SELECT {USER_COLUMNS} FROM (SELECT {id} AS id FROM {from} \
             WHERE {id} > :after AND {clause} ORDER BY {id} LIMIT :limit) AS page \
             JOIN users ON users.id = page.id ORDER BY users.id"
        ),
        &filter.params(params! { ":after": after, ":limit": limit }),
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
