//! Which accounts a query matches: filters, accounts that are named, and walks over all matches.

use rusqlite::{Connection, named_params};

use super::search::find_matching_after;
use crate::domain::{User, UserId};
use crate::store::operations;
use crate::store::operations::engine::UserCounts;
use crate::store::operations::import::find_by_external_id;
use crate::store::operations::users::find_by_id;
use crate::store::{StoreError, StoreResult, UserQuery};

/// Ids per block of `user_counts`.
pub(super) const COUNTED_TOGETHER: i64 = 1024;

/// The filter of a list.
#[derive(Clone, Copy)]
pub(super) struct Filter {
    pub(super) is_active: Option<bool>,
    pub(super) is_verified: Option<bool>,
}

impl Filter {
    pub(super) fn of(query: &UserQuery) -> Self {
        Self {
            is_active: query.is_active,
            is_verified: query.is_verified,
        }
    }

    /// The condition in SQL, with its values inlined: there are only nine conditions.
    pub(super) fn condition(self) -> String {
        let mut condition = "1".to_owned();
        if let Some(is_active) = self.is_active {
            condition += &format!(" AND is_active = {}", u8::from(is_active));
        }
        if let Some(is_verified) = self.is_verified {
            condition += &format!(" AND (verified_at IS NOT NULL) = {}", u8::from(is_verified));
        }
        condition
    }
}

/// Counts all accounts, the confirmed and the inactive ones.
pub(super) fn count_users(
    connection: &dyn operations::connection::Connection,
) -> StoreResult<UserCounts> {
    connection.query_row(
        "SELECT coalesce(sum(users), 0), coalesce(sum(users * is_verified), 0), \
         coalesce(sum(users * (1 - is_active)), 0) FROM user_counts",
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

/// Lists up to `limit` accounts that match `query` after an id, in the order of their ids.
pub(super) fn list_matching(
    connection: &Connection,
    query: &UserQuery,
    after: UserId,
    limit: u32,
) -> StoreResult<Vec<User>> {
    let transaction = connection.unchecked_transaction()?;
    let named = find_named(&transaction, query)?;
    let words = query.folded_words();
    let limit = limit as usize;
    let mut ids = match named {
        _ if !words.is_empty() => {
            let most = if named.is_some() { usize::MAX } else { limit };
            let mut ids = find_matching_after(&transaction, query, &words, after, most)?;
            keep_named(&mut ids, named.as_deref());
            ids
        }
        Some(ids) => ids.into_iter().filter(|id| *id > after).collect(),
        None => list_ids_after(&transaction, Filter::of(query), after, limit)?,
    };
    ids.truncate(limit);
    find_all(&transaction, &ids)
}

/// Lists up to `limit` accounts after an id; blocks without any that pass the filter are skipped.
fn list_ids_after(
    connection: &Connection,
    filter: Filter,
    after: UserId,
    limit: usize,
) -> StoreResult<Vec<UserId>> {
    let mut blocks = connection.prepare_cached(
        "SELECT DISTINCT block FROM user_counts WHERE block >= :from \
         AND is_active = coalesce(:is_active, is_active) AND is_verified = coalesce(:is_verified, is_verified) \
         ORDER BY block",
    )?;
    let mut blocks = blocks.query(named_params! {
        ":from": after / COUNTED_TOGETHER,
        ":is_active": filter.is_active,
        ":is_verified": filter.is_verified,
    })?;
    let mut in_block = connection.prepare_cached(&format!(
        "SELECT id FROM users WHERE id > :after AND id >= :from AND id < :until AND {} ORDER BY id",
        filter.condition()
    ))?;
    let mut ids = Vec::new();
    while ids.len() < limit
        && let Some(block) = blocks.next()?
    {
        let from = block.get::<_, i64>(0)? * COUNTED_TOGETHER;
        let some = in_block.query_map(
            named_params! { ":after": after, ":from": from, ":until": from + COUNTED_TOGETHER },
            |row| row.get(0),
        )?;
        for id in some {
            ids.push(id?);
        }
    }
    Ok(ids)
}

/// The accounts that a query names by its external id or as staff, which are few; `None` when it
/// names none.
pub(super) fn find_named(
    connection: &Connection,
    query: &UserQuery,
) -> StoreResult<Option<Vec<UserId>>> {
    let filter = Filter::of(query);
    let staff = query
        .only_staff
        .then(|| list_staff(connection, filter))
        .transpose()?;
    let Some(external_id) = &query.external_id else {
        return Ok(staff);
    };
    let one = find_filtered(connection, external_id, filter)?;
    let mut ids: Vec<UserId> = one.into_iter().collect();
    keep_named(&mut ids, staff.as_deref());
    Ok(Some(ids))
}

/// Removes what is not among the named ids, which are ascending.
pub(super) fn keep_named(ids: &mut Vec<UserId>, named: Option<&[UserId]>) {
    if let Some(named) = named {
        ids.retain(|id| named.binary_search(id).is_ok());
    }
}

/// The staff accounts that pass the filter, ascending.
fn list_staff(connection: &Connection, filter: Filter) -> StoreResult<Vec<UserId>> {
    let ids: rusqlite::Result<_> = connection
        .prepare_cached(&format!(
            "SELECT id FROM users INDEXED BY users_by_staff WHERE is_staff AND {} ORDER BY id",
            filter.condition()
        ))?
        .query_map([], |row| row.get(0))?
        .collect();
    Ok(ids?)
}

/// Finds the account with an external id, if it passes the filter.
fn find_filtered(
    connection: &Connection,
    external_id: &str,
    filter: Filter,
) -> StoreResult<Option<UserId>> {
    let Some(id) = find_by_external_id(connection, external_id)? else {
        return Ok(None);
    };
    let user = find_by_id(connection, id)?;
    Ok(user
        .filter(|user| {
            filter.is_active.is_none_or(|is| is == user.is_active)
                && filter.is_verified.is_none_or(|is| is == user.is_verified())
        })
        .map(|user| user.id))
}

pub(super) fn find_all(connection: &Connection, ids: &[UserId]) -> StoreResult<Vec<User>> {
    ids.iter()
        .map(|id| find_by_id(connection, *id)?.ok_or(StoreError::failed("a row is missing")))
        .collect()
}
