//! The searched texts of accounts, which the program folds: see [`crate::domain::folded`].

use super::client::Client;
use crate::domain::{UserId, folded};
use crate::store::StoreResult;
use crate::store::operations::connection::{Connection, Row, params};
use crate::store::operations::paging::contains;

/// Separates the texts of an account: no word contains it.
const SEPARATOR: &str = "\u{1}";

/// Whether a statement writes texts that are searched.
pub(super) fn changes_texts(sql: &str) -> bool {
    sql.starts_with("INSERT INTO users")
        || (sql.starts_with("UPDATE users")
            && (sql.contains("email = ") || sql.contains("first_name = ")))
}

/// Writes the texts of the accounts that the transaction has changed, as far as a trigger could not.
pub(super) fn update_texts(client: &Client) -> StoreResult<()> {
    if !client.has_new_texts() {
        return Ok(());
    }
    let connection: &dyn Connection = client;
    let missing = connection.query_all(
        "SELECT id, email, new_email, first_name, last_name, phone FROM user_texts \
         JOIN users ON id = user_id WHERE search_text IS NULL",
        &[],
        |row| Ok((row.get::<UserId>(0)?, text(row)?)),
    )?;
    for (id, text) in missing {
        client.run(
            "UPDATE user_texts SET search_text = :text WHERE user_id = :id",
            params! { ":id": id, ":text": text },
        )?;
    }
    Ok(())
}

fn text(row: &Row<'_>) -> StoreResult<String> {
    let mut text = String::new();
    for column in 1..=5 {
        if column > 1 {
            text.push_str(SEPARATOR);
        }
        text.push_str(&folded(row.optional_text(column)?.unwrap_or_default()));
    }
    Ok(text)
}

/// The condition that a word, which is folded, is part of the texts of an account; and the value of its
/// parameter.
pub(super) fn condition(word: &str, parameter: &str) -> (String, String) {
    let condition = format!("user_texts.search_text LIKE {parameter} ESCAPE '!'");
    (condition, contains(word))
}
