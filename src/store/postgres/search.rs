//! The searched texts of accounts, which the program folds: see [`crate::domain::folded`].

use super::client::Client;
use crate::domain::{UserId, folded};
use crate::store::StoreResult;
use crate::store::operations::connection::{Connection, Row, params};

/// Separates the texts of an account: no word contains it.
const SEPARATOR: char = '\u{1}';

/// Whether a statement writes texts that are searched.
pub(super) fn changes_texts(sql: &str) -> bool {
    sql.starts_with("INSERT INTO users")
        || (sql.starts_with("UPDATE users")
            && (sql.contains("email = ") || sql.contains("first_name = ")))
}

/// Brings the texts of the accounts up to date that the transaction has written; a trigger has emptied
/// them.
pub(super) fn update_texts(client: &Client) -> StoreResult<()> {
    if !client.has_new_texts() {
        return Ok(());
    }
    let connection: &dyn Connection = client;
    let outdated = connection.query_all(
        "SELECT id, email, new_email, first_name, last_name, phone FROM users \
         WHERE search_text IS NULL",
        &[],
        |row| Ok((row.get::<UserId>(0)?, text(row)?)),
    )?;
    for (id, text) in outdated {
        client.run(
            "UPDATE users SET search_text = :text WHERE id = :id",
            params! { ":id": id, ":text": text },
        )?;
    }
    Ok(())
}

fn text(row: &Row<'_>) -> StoreResult<String> {
    let mut text = String::new();
    for column in 1..=5 {
        if column > 1 {
            text.push(SEPARATOR);
        }
        text.push_str(&folded(row.optional_text(column)?.unwrap_or_default()));
    }
    Ok(text)
}
