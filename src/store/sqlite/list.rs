//! The list of accounts that staff sees: search, filters, order, pages.

use rusqlite::types::Value;
use rusqlite::{Connection, named_params, params_from_iter};

use super::rows::{USER_COLUMNS, user};
use crate::domain::UserId;
use crate::store::{PageWish, StoredUser, UserOrder, UserPage, UserQuery};

/// Longest word that can be found, in bytes: more than the longest text of any column searched. SQLite refuses to look for
/// patterns of more than 50,000.
const LONGEST_WORD: usize = 1024;

/// One page of the accounts that fit `query`. `None` when there is no such page.
pub(super) fn list_users(
    connection: &Connection,
    query: &UserQuery,
) -> rusqlite::Result<Option<UserPage>> {
    // Count and page come from one state of the database.
    let transaction = connection.unchecked_transaction()?;
    let (condition, values) = condition(query);
    let count: i64 = transaction
        .prepare_cached(&format!("SELECT count(*) FROM users WHERE {condition}"))?
        .query_row(params_from_iter(&values), |row| row.get(0))?;
    let count = count.unsigned_abs();
    let page_size = u64::from(query.page_size);
    let pages = count.div_ceil(page_size).max(1);
    let number = match query.page {
        PageWish::Number(number) => number,
        PageWish::Last => pages,
    };
    if number == 0 || number > pages {
        return Ok(None);
    }
    let order = order(query);
    let offset = (number - 1) * page_size;
    let users = transaction
        .prepare_cached(&format!(
            "SELECT {USER_COLUMNS} FROM users WHERE {condition} ORDER BY {order} LIMIT {page_size} OFFSET {offset}"
        ))?
        .query_map(params_from_iter(&values), user)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Some(UserPage {
        count,
        number,
        pages,
        users,
    }))
}

/// Up to `limit` accounts after a number, with their password hashes.
pub(super) fn list_users_after(
    connection: &Connection,
    after: UserId,
    limit: u32,
) -> rusqlite::Result<Vec<StoredUser>> {
    connection
        .prepare_cached(&format!(
            "SELECT {USER_COLUMNS}, users.password_hash AS password_hash, users.language AS language \
             FROM users WHERE id > :after \
             ORDER BY id LIMIT :limit"
        ))?
        .query_map(named_params! { ":after": after, ":limit": limit }, |row| {
            Ok(StoredUser {
                user: user(row)?,
                password_hash: row.get("password_hash")?,
                language: row.get("language")?,
            })
        })?
        .collect()
}

/// The condition of a query and the values for its parameters, in their order.
fn condition(query: &UserQuery) -> (String, Vec<Value>) {
    let mut parts = vec!["1".to_owned()];
    let mut values = Vec::new();
    if let Some(is_active) = query.is_active {
        parts.push("is_active = ?".into());
        values.push(Value::from(is_active));
    }
    if let Some(is_verified) = query.is_verified {
        parts.push("(verified_at IS NOT NULL) = ?".into());
        values.push(Value::from(is_verified));
    }
    for word in &query.words {
        if word.len() > LONGEST_WORD {
            parts.push("0".into());
            continue;
        }
        parts.push(
            "(email LIKE ? ESCAPE '\\' OR new_email LIKE ? ESCAPE '\\' OR first_name LIKE ? ESCAPE '\\' \
             OR last_name LIKE ? ESCAPE '\\' OR phone LIKE ? ESCAPE '\\')"
                .into(),
        );
        let pattern = Value::from(format!("%{}%", escape(word)));
        values.extend(std::iter::repeat_n(pattern, 5));
    }
    (parts.join(" AND "), values)
}

/// Takes the meaning of wildcards from what somebody typed.
fn escape(word: &str) -> String {
    let mut escaped = String::with_capacity(word.len());
    for c in word.chars() {
        if matches!(c, '%' | '_' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// The order of a query; the number of the account decides between equals, so that no page repeats another.
///
/// A column that was named before decides nothing more, and SQLite takes a limited number of terms, so it is left out.
fn order(query: &UserQuery) -> String {
    let mut known = Vec::new();
    let mut order: Vec<String> = query
        .order
        .iter()
        .filter(|(column, _)| {
            let is_new = !known.contains(column);
            if is_new {
                known.push(*column);
            }
            is_new
        })
        .map(|(column, descending)| {
            let column = match column {
                UserOrder::Id => "id",
                UserOrder::Email => "coalesce(new_email_key, email_key)",
                UserOrder::FirstName => "first_name",
                UserOrder::LastName => "last_name",
                UserOrder::CreatedAt => "created_at",
                UserOrder::UpdatedAt => "updated_at",
                UserOrder::LastLogin => "last_login_at",
            };
            let direction = if *descending { "DESC" } else { "ASC" };
            format!("{column} {direction}")
        })
        .collect();
    order.push("id ASC".into());
    order.join(", ")
}
