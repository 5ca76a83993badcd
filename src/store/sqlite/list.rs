//! The staff user list: search, filters, order and pagination.
//!
//! A late page costs little more than the first one: `user_counts` has the length of the list, and
//! a page is found through a covering index, from the nearer end, without reading the accounts
//! before it.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, ToSql, named_params};

use super::matching::{COUNTED_TOGETHER, Filter, find_all, find_named, keep_named};
use super::search::{Helper, find_matching};
use crate::domain::{User, UserId};
use crate::store::operations::paging::Slice;
use crate::store::{Page, PageBounds, StoreError, StoreResult, UserOrder, UserQuery};

/// Cost of looking up one account, in index entries that could be read instead.
const LOOK_UP: usize = 12;

/// Lists one page of the accounts that match `query`; `None` when the page does not exist.
///
/// A search is faster with a helper.
pub(super) fn list_users(
    connection: &Connection,
    helper: Option<Helper>,
    query: &UserQuery,
) -> StoreResult<Option<Page<User>>> {
    // Count and page are read from one snapshot.
    let transaction = connection.unchecked_transaction()?;
    let named = find_named(&transaction, query)?;
    let words = query.folded_words();
    let found = if words.is_empty() {
        named
    } else {
        let mut ids = find_matching(&transaction, helper, query, &words)?;
        keep_named(&mut ids, named.as_deref());
        Some(ids)
    };
    let list = List {
        connection: &transaction,
        filter: Filter::of(query),
        order: order(query),
    };
    let count = match &found {
        Some(ids) => length(ids),
        None => list.count()?,
    };
    let Some(bounds) = PageBounds::of(count.unsigned_abs(), query.page, query.page_size) else {
        return Ok(None);
    };
    let slice = Slice::of(&bounds, count);
    let ids = match found {
        Some(ids) => list.page_of(&ids, slice)?,
        None => list.page(slice)?,
    };
    let items = find_all(&transaction, &ids)?;
    Ok(Some(bounds.page(count.unsigned_abs(), items)))
}

/// A column of an order, with its direction.
#[derive(Clone, Copy)]
struct Term {
    column: UserOrder,
    descending: bool,
}

impl Term {
    fn expression(self) -> &'static str {
        match self.column {
            UserOrder::Id => "users.id",
            UserOrder::Email => "coalesce(new_email_key, email_key)",
            UserOrder::FirstName => "first_name",
            UserOrder::LastName => "last_name",
            UserOrder::CreatedAt => "created_at",
            UserOrder::UpdatedAt => "updated_at",
            UserOrder::LastLogin => "last_login_at",
        }
    }

    /// The index in the order of this column, which also covers the filter columns.
    fn index(self) -> &'static str {
        match self.column {
            UserOrder::Id => "",
            UserOrder::Email => "INDEXED BY users_by_email",
            UserOrder::FirstName => "INDEXED BY users_by_first_name",
            UserOrder::LastName => "INDEXED BY users_by_last_name",
            UserOrder::CreatedAt => "INDEXED BY users_by_created_at",
            UserOrder::UpdatedAt => "INDEXED BY users_by_updated_at",
            UserOrder::LastLogin => "INDEXED BY users_by_last_login_at",
        }
    }

    fn sql(self) -> String {
        format!("{} {}", self.expression(), direction(self.descending))
    }
}

fn direction(descending: bool) -> &'static str {
    if descending { "DESC" } else { "ASC" }
}

fn sql(order: &[Term]) -> String {
    let terms: Vec<String> = order.iter().map(|term| term.sql()).collect();
    terms.join(", ")
}

/// The terms of a query's order. SQLite limits their number, so none is repeated.
fn order(query: &UserQuery) -> Vec<Term> {
    let terms = query.whole_order().into_iter();
    terms
        .map(|(column, descending)| Term { column, descending })
        .collect()
}

/// A list in its order.
struct List<'a> {
    connection: &'a Connection,
    filter: Filter,
    order: Vec<Term>,
}

impl List<'_> {
    /// Counts the accounts of the list.
    fn count(&self) -> StoreResult<i64> {
        Ok(self
            .connection
            .prepare_cached(
                "SELECT coalesce(sum(users), 0) FROM user_counts \
                 WHERE is_active = coalesce(:is_active, is_active) \
                 AND is_verified = coalesce(:is_verified, is_verified)",
            )?
            .query_row(
                named_params! {
                    ":is_active": self.filter.is_active, ":is_verified": self.filter.is_verified,
                },
                |row| row.get(0),
            )?)
    }

    /// A part of all accounts that pass the filter.
    fn page(&self, slice: Slice) -> StoreResult<Vec<UserId>> {
        match self.order[..] {
            [
                Term {
                    column: UserOrder::Id,
                    descending,
                },
                ..,
            ] => {
                let from_start = if descending {
                    slice.counted_backwards()
                } else {
                    slice
                };
                let mut ids = self.page_by_number(from_start)?;
                if descending {
                    ids.reverse();
                }
                Ok(ids)
            }
            // Both directions are the same: the order of the index, forwards or backwards.
            [
                first,
                Term {
                    column: UserOrder::Id,
                    descending,
                },
            ] if first.descending == descending => self.page_of_index(first, slice),
            _ => self.page_by_groups(slice),
        }
    }

    /// A part in ascending order of the ids; whole blocks are skipped by their counts.
    fn page_by_number(&self, slice: Slice) -> StoreResult<Vec<UserId>> {
        let mut blocks = self.connection.prepare_cached(
            "SELECT block, sum(users) FROM user_counts \
             WHERE is_active = coalesce(:is_active, is_active) AND is_verified = coalesce(:is_verified, is_verified) \
             GROUP BY block ORDER BY block",
        )?;
        let mut blocks = blocks.query(named_params! {
            ":is_active": self.filter.is_active, ":is_verified": self.filter.is_verified,
        })?;
        let mut in_block = self.connection.prepare_cached(&format!(
            "SELECT id FROM users WHERE id >= :from AND id < :until AND {} ORDER BY id LIMIT :length OFFSET :offset",
            self.filter.condition()
        ))?;
        let mut ids = Vec::new();
        let mut offset = slice.offset;
        while let Some(block) = blocks.next()? {
            let (number, count): (i64, i64) = (block.get(0)?, block.get(1)?);
            if count <= offset {
                offset -= count;
                continue;
            }
            let from = number * COUNTED_TOGETHER;
            let some = in_block.query_map(
                named_params! {
                    ":from": from,
                    ":until": from + COUNTED_TOGETHER,
                    ":length": slice.length - length(&ids),
                    ":offset": offset,
                },
                |row| row.get(0),
            )?;
            for id in some {
                ids.push(id?);
            }
            offset = 0;
            if length(&ids) >= slice.length {
                break;
            }
        }
        Ok(ids)
    }

    /// A part in the order of an index, with the ids in the same direction.
    fn page_of_index(&self, term: Term, slice: Slice) -> StoreResult<Vec<UserId>> {
        let backwards = slice.counted_backwards();
        let is_nearer_backwards = backwards.offset < slice.offset;
        let (descending, offset) = if is_nearer_backwards {
            (!term.descending, backwards.offset)
        } else {
            (term.descending, slice.offset)
        };
        let direction = direction(descending);
        let mut ids: Vec<UserId> = self
            .connection
            .prepare_cached(&format!(
                "SELECT id FROM users {} WHERE {} ORDER BY {} {direction}, id {direction} LIMIT :length OFFSET :offset",
                term.index(),
                self.filter.condition(),
                term.expression()
            ))?
            .query_map(
                named_params! { ":length": slice.length, ":offset": offset },
                |row| row.get(0),
            )?
            .collect::<rusqlite::Result<_>>()?;
        if is_nearer_backwards {
            ids.reverse();
        }
        Ok(ids)
    }

    /// A part in any order.
    ///
    /// The value at a position in the order of the first column does not depend on how ties are
    /// broken. So the position leads to a group of equal values, and only such groups are sorted by
    /// the other columns.
    fn page_by_groups(&self, slice: Slice) -> StoreResult<Vec<UserId>> {
        let Some((first, rest)) = self.order.split_first() else {
            return Ok(Vec::new());
        };
        let in_place = Slice { length: 1, ..slice };
        let Some(id) = self.page_of_index(*first, in_place)?.first().copied() else {
            return Ok(Vec::new());
        };
        let mut value: Value = self
            .connection
            .prepare_cached(&format!(
                "SELECT {} FROM users WHERE id = :id",
                first.expression()
            ))?
            .query_row(named_params! { ":id": id }, |row| row.get(0))?;
        let (index, expression, condition) =
            (first.index(), first.expression(), self.filter.condition());
        let before = if first.descending { ">" } else { "<" };
        let mut skip: i64 = self
            .connection
            .prepare_cached(&format!(
                "SELECT count(*) FROM users {index} WHERE {expression} IS :value AND id {before} :id AND {condition}"
            ))?
            .query_row(named_params! { ":value": value, ":id": id }, |row| row.get(0))?;
        let mut of_group = self.connection.prepare_cached(&format!(
            "SELECT id FROM users {index} WHERE {expression} IS :value AND {condition} ORDER BY {} \
             LIMIT :length OFFSET :skip",
            sql(rest)
        ))?;
        let mut ids = Vec::new();
        loop {
            let missing = slice.length - length(&ids);
            let some = of_group.query_map(
                named_params! { ":value": value, ":length": missing, ":skip": skip },
                |row| row.get(0),
            )?;
            for id in some {
                ids.push(id?);
            }
            if length(&ids) >= slice.length {
                return Ok(ids);
            }
            skip = 0;
            match self.next_value(*first, &value)? {
                Some(next) => value = next,
                None => return Ok(ids),
            }
        }
    }

    /// The next value after a value in the order of a column. NULL comes first.
    fn next_value(&self, term: Term, value: &Value) -> StoreResult<Option<Value>> {
        let (index, expression) = (term.index(), term.expression());
        let find = |condition: &str, parameters: &[(&str, &dyn ToSql)]| {
            let found = self
                .connection
                .prepare_cached(&format!(
                    "SELECT {expression} FROM users {index} WHERE {condition} ORDER BY {expression} {} LIMIT 1",
                    direction(term.descending)
                ))?
                .query_row(parameters, |row| row.get(0))
                .optional();
            found.map_err(StoreError::from)
        };
        match (term.descending, value) {
            (true, Value::Null) => Ok(None),
            (false, Value::Null) => find(&format!("{expression} IS NOT NULL"), &[]),
            (false, value) => find(&format!("{expression} > :value"), &[(":value", value)]),
            (true, value) => {
                let smaller = find(&format!("{expression} < :value"), &[(":value", value)])?;
                match smaller {
                    Some(smaller) => Ok(Some(smaller)),
                    None => find(&format!("{expression} IS NULL"), &[]),
                }
            }
        }
    }

    /// A part of these accounts, whose ids are ascending.
    fn page_of(&self, ids: &[UserId], slice: Slice) -> StoreResult<Vec<UserId>> {
        let (offset, length) = (usize_of(slice.offset), usize_of(slice.length));
        if let [
            Term {
                column: UserOrder::Id,
                descending,
            },
            ..,
        ] = self.order[..]
        {
            return Ok(if descending {
                ids.iter()
                    .rev()
                    .skip(offset)
                    .take(length)
                    .copied()
                    .collect()
            } else {
                ids.iter().skip(offset).take(length).copied().collect()
            });
        }
        // Either each account is looked up, or the index is read until enough of them are found.
        let all = usize_of(self.count()?);
        let read_until_found = (offset + length).saturating_mul(all) / ids.len().max(1);
        if ids.len().saturating_mul(LOOK_UP) < read_until_found {
            return self.sort(ids, slice);
        }
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT users.id FROM users {} WHERE {} ORDER BY {}",
            self.order[0].index(),
            self.filter.condition(),
            sql(&self.order)
        ))?;
        let mut rows = statement.query([])?;
        let mut page = Vec::new();
        let mut passed = 0;
        while page.len() < length
            && let Some(row) = rows.next()?
        {
            let id: UserId = row.get(0)?;
            if ids.binary_search(&id).is_ok() {
                if passed >= offset {
                    page.push(id);
                }
                passed += 1;
            }
        }
        Ok(page)
    }

    fn sort(&self, ids: &[UserId], slice: Slice) -> StoreResult<Vec<UserId>> {
        let numbers: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let sorted: rusqlite::Result<_> = self
            .connection
            .prepare_cached(&format!(
                "SELECT users.id FROM json_each(:ids) AS found CROSS JOIN users ON users.id = found.value \
                 ORDER BY {} LIMIT :length OFFSET :offset",
                sql(&self.order)
            ))?
            .query_map(
                named_params! {
                    ":ids": format!("[{}]", numbers.join(",")),
                    ":length": slice.length,
                    ":offset": slice.offset,
                },
                |row| row.get(0),
            )?
            .collect();
        Ok(sorted?)
    }
}

fn length(ids: &[UserId]) -> i64 {
    i64::try_from(ids.len()).unwrap_or(i64::MAX)
}

fn usize_of(count: i64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use r2d2::Pool;
    use r2d2_sqlite::SqliteConnectionManager;

    use rusqlite::functions::FunctionFlags;

    use super::super::matching::list_matching;
    use super::super::migrations::{MIGRATIONS, SCHEMA};
    use super::super::search_records::add_functions;
    use super::*;
    use crate::domain::folded;
    use crate::store::PageRequest;

    /// A deterministic pseudo-random generator (xorshift).
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % bound
        }

        fn pick<T: Copy>(&mut self, from: &[T]) -> T {
            from[usize::try_from(self.below(from.len() as u64)).unwrap()]
        }

        fn flag(&mut self) -> Option<bool> {
            self.pick(&[None, None, Some(true), Some(false)])
        }
    }

    const NAMES: &[&str] = &[
        "",
        "",
        "Ann",
        "ann",
        "Anna",
        "Élodie",
        "élodie",
        "100%",
        "a_b",
        "back\\slash",
        "O'Brien",
        "12",
        "李",
        "Zoë Ann",
        "Иван",
        "Mu\u{308}nchen",
        "München",
    ];
    const COLUMNS: &[UserOrder] = &[
        UserOrder::Id,
        UserOrder::Email,
        UserOrder::FirstName,
        UserOrder::LastName,
        UserOrder::CreatedAt,
        UserOrder::UpdatedAt,
        UserOrder::LastLogin,
    ];

    fn run(connection: &Connection, sql: &str) {
        connection.execute_batch(sql).unwrap();
    }

    /// A connection to a database in memory, with the functions of the program and `folded`.
    fn in_memory() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        add_test_functions(&connection);
        connection
    }

    fn add_test_functions(connection: &Connection) {
        add_functions(connection).unwrap();
        connection
            .create_scalar_function("folded", 1, FunctionFlags::SQLITE_UTF8, |context| {
                let text: Option<String> = context.get(0)?;
                Ok(text.map(|text| folded(&text).into_owned()))
            })
            .unwrap();
    }

    fn quoted(text: &str) -> String {
        format!("'{}'", text.replace('\'', "''"))
    }

    fn insert(connection: &Connection, dice: &mut Dice, id: u64) {
        let new_email = if dice.below(9) == 0 {
            format!("'New{id}@x.org', 'new{id}@x.org'")
        } else {
            "NULL, NULL".into()
        };
        let optional = |value: u64| {
            if value.is_multiple_of(3) {
                "NULL".into()
            } else {
                value.to_string()
            }
        };
        run(
            connection,
            &format!(
                "INSERT INTO users (id, email, email_key, new_email, new_email_key, password_hash, first_name, last_name, \
                 phone, is_active, is_staff, verified_at, last_login_at, created_at, updated_at) VALUES ({id}, 'U{id}@Example.com', \
                 'u{id}@example.com', {new_email}, '', {}, {}, '+49{}', {}, {}, {}, {}, {}, {})",
                quoted(dice.pick(NAMES)),
                quoted(dice.pick(NAMES)),
                dice.below(1000),
                u64::from(dice.below(5) > 0),
                u64::from(dice.below(9) == 0),
                optional(dice.below(100)),
                optional(dice.below(100)),
                dice.below(50),
                dice.below(1000),
            ),
        );
    }

    fn change(connection: &Connection, dice: &mut Dice, id: u64) {
        let name = quoted(dice.pick(NAMES));
        let number = dice.below(1000);
        run(
            connection,
            &match dice.below(8) {
                0 => format!("DELETE FROM users WHERE id = {id}"),
                1 => format!(
                    "UPDATE users SET first_name = {name}, updated_at = {number} WHERE id = {id}"
                ),
                2 => format!(
                    "UPDATE users SET last_name = {name}, phone = '+1{number}' WHERE id = {id}"
                ),
                3 => format!("UPDATE users SET is_active = 1 - is_active WHERE id = {id}"),
                4 => format!(
                    "UPDATE users SET verified_at = {number}, last_login_at = NULL WHERE id = {id}"
                ),
                5 => format!("UPDATE users SET is_staff = 1 - is_staff WHERE id = {id}"),
                6 => format!(
                    "UPDATE users SET new_email = 'N{number}-{id}@y.org', new_email_key = 'n{number}-{id}@y.org' WHERE id = {id}"
                ),
                _ => format!(
                    "UPDATE users SET email = coalesce(new_email, email), email_key = coalesce(new_email_key, email_key), \
                     new_email = NULL, new_email_key = NULL WHERE id = {id}"
                ),
            },
        );
    }

    fn fill(connection: &Connection, dice: &mut Dice) -> Vec<u64> {
        let ids: BTreeSet<u64> = (0..2_500).map(|_| 1 + dice.below(9_000)).collect();
        let ids: Vec<u64> = ids.into_iter().collect();
        // Not in the order of the ids: imported accounts may bring their own.
        for id in ids.iter().step_by(2).chain(ids.iter().skip(1).step_by(2)) {
            insert(connection, dice, *id);
        }
        ids
    }

    fn query(dice: &mut Dice) -> UserQuery {
        let words = [
            "a",
            "ANN",
            "nn",
            "12",
            "1",
            "example",
            "U12",
            "é",
            "É",
            "e",
            "ELO",
            "E\u{301}lo",
            "\u{301}",
            "иван",
            "ИВ",
            "munch",
            "Zoe",
            "%",
            "_b",
            "\\",
            "+491",
            "o'b",
            "u1",
            "new",
            "李",
            "x.org",
            "zzz",
        ];
        UserQuery {
            words: (0..dice.below(3))
                .map(|_| dice.pick(&words).to_owned())
                .collect(),
            external_id: None,
            is_active: dice.flag(),
            is_verified: dice.flag(),
            only_staff: dice.below(4) == 0,
            order: (0..dice.below(4))
                .map(|_| (dice.pick(COLUMNS), dice.below(2) == 0))
                .collect(),
            page: dice.pick(&[
                PageRequest::Last,
                PageRequest::Number(1),
                PageRequest::Number(2),
                PageRequest::Number(7),
                PageRequest::Number(60),
            ]),
            page_size: u32::try_from(1 + dice.below(40)).unwrap(),
        }
    }

    /// What a query asks for, as one condition.
    fn plain_condition(query: &UserQuery) -> String {
        let mut condition = Filter::of(query).condition();
        if query.only_staff {
            condition += " AND is_staff";
        }
        for word in &query.words {
            let word = quoted(&folded(word));
            let columns = ["email", "new_email", "first_name", "last_name", "phone"];
            let parts = columns.map(|column| format!("instr(folded({column}), {word}) > 0"));
            condition += &format!(" AND ({})", parts.join(" OR "));
        }
        condition
    }

    /// The same list by one plain statement: count and ids, or `None`.
    fn plain(connection: &Connection, query: &UserQuery) -> Option<(u64, Vec<UserId>)> {
        let condition = plain_condition(query);
        let count: u32 = connection
            .query_row(
                &format!("SELECT count(*) FROM users NOT INDEXED WHERE {condition}"),
                [],
                |row| row.get(0),
            )
            .unwrap();
        let pages = count.div_ceil(query.page_size).max(1);
        let page = match query.page {
            PageRequest::Last => pages,
            PageRequest::Number(number) => u32::try_from(number).unwrap(),
        };
        if page > pages {
            return None;
        }
        let sql = format!(
            "SELECT id FROM users NOT INDEXED WHERE {condition} ORDER BY {} LIMIT {} OFFSET {}",
            sql(&order(query)),
            query.page_size,
            (page - 1) * query.page_size
        );
        let mut statement = connection.prepare(&sql).unwrap();
        let ids = statement.query_map([], |row| row.get(0)).unwrap();
        Some((count.into(), ids.map(Result::unwrap).collect()))
    }

    fn compare(connection: &Connection, dice: &mut Dice, times: usize) {
        compare_with(connection, || None, dice, times);
    }

    fn compare_with(
        connection: &Connection,
        helper: impl Fn() -> Option<Helper>,
        dice: &mut Dice,
        times: usize,
    ) {
        for _ in 0..times {
            let query = query(dice);
            let page = list_users(connection, helper(), &query).unwrap();
            let page =
                page.map(|page| (page.count, page.items.iter().map(|user| user.id).collect()));
            assert_eq!(page, plain(connection, &query), "{query:?}");
        }
    }

    #[test]
    fn every_page_is_that_of_a_plain_statement() {
        let connection = in_memory();
        run(&connection, SCHEMA);
        let mut dice = Dice(42);
        compare(&connection, &mut dice, 20);
        let ids = fill(&connection, &mut dice);
        compare(&connection, &mut dice, 200);
        for _ in 0..1_500 {
            let id = dice.pick(&ids);
            change(&connection, &mut dice, id);
        }
        compare(&connection, &mut dice, 200);
        run(&connection, "DELETE FROM users");
        compare(&connection, &mut dice, 20);
        let left: i64 = connection
            .query_row(
                "SELECT (SELECT count(*) FROM user_counts) + (SELECT count(*) FROM search_blocks)",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(left, 0);
    }

    #[test]
    fn a_walk_over_all_matches_meets_each_once() {
        let connection = in_memory();
        run(&connection, SCHEMA);
        let mut dice = Dice(11);
        fill(&connection, &mut dice);
        for _ in 0..60 {
            let query = query(&mut dice);
            let limit = u32::try_from(1 + dice.below(700)).unwrap();
            let (mut met, mut after) = (Vec::new(), 0);
            loop {
                let users = list_matching(&connection, &query, after, limit).unwrap();
                let Some(last) = users.last() else { break };
                assert!(users.len() <= limit as usize);
                after = last.id;
                met.extend(users.iter().map(|user| user.id));
            }
            let sql = format!(
                "SELECT id FROM users NOT INDEXED WHERE {} ORDER BY id",
                plain_condition(&query)
            );
            let mut statement = connection.prepare(&sql).unwrap();
            let ids = statement.query_map([], |row| row.get(0)).unwrap();
            let ids: Vec<UserId> = ids.map(Result::unwrap).collect();
            assert_eq!(met, ids, "{query:?}");
        }
    }

    #[test]
    fn a_search_with_help_finds_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let manager =
            SqliteConnectionManager::file(dir.path().join("users.db")).with_init(|connection| {
                add_test_functions(connection);
                Ok(())
            });
        let readers = Pool::builder().max_size(2).build(manager).unwrap();
        let connection = readers.get().unwrap();
        run(&connection, "PRAGMA journal_mode = WAL; BEGIN");
        run(&connection, SCHEMA);
        let mut dice = Dice(3);
        let ids = fill(&connection, &mut dice);
        run(&connection, "COMMIT");
        let helper = || Some(Helper::before_search(readers.get().unwrap()).unwrap());
        compare_with(&connection, helper, &mut dice, 200);
        // A helper from before the last write is stale and not used.
        let helper = || {
            let helper = helper();
            run(
                &connection,
                &format!(
                    "UPDATE users SET phone = phone || '1' WHERE id = {}",
                    ids[0]
                ),
            );
            helper
        };
        compare_with(&connection, helper, &mut dice, 20);
    }

    #[test]
    fn a_migrated_file_lists_what_it_held() {
        let connection = in_memory();
        run(&connection, include_str!("../../../tests/schemas/3.sql"));
        let mut dice = Dice(7);
        fill(&connection, &mut dice);
        for (_, statements) in MIGRATIONS.iter().filter(|(number, _)| *number > 3) {
            run(&connection, statements);
        }
        compare(&connection, &mut dice, 200);
    }

    #[test]
    fn the_way_to_a_page_leads_over_indexes_alone() {
        let connection = in_memory();
        run(&connection, SCHEMA);
        for column in COLUMNS.iter().filter(|column| **column != UserOrder::Id) {
            let term = Term {
                column: *column,
                descending: false,
            };
            let filter = Filter {
                is_active: Some(true),
                is_verified: Some(true),
            };
            let plan: String = connection
                .query_row(
                    &format!(
                        "EXPLAIN QUERY PLAN SELECT id FROM users {} WHERE {} ORDER BY {} DESC, id DESC LIMIT 20 OFFSET 100",
                        term.index(),
                        filter.condition(),
                        term.expression()
                    ),
                    [],
                    |row| row.get("detail"),
                )
                .unwrap();
            assert!(
                plan.starts_with("SCAN users USING COVERING INDEX"),
                "{plan}"
            );
        }
    }
}
