//! The searched texts of accounts, which the program folds: see [`crate::domain::folded`].

use std::collections::BTreeSet;

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
            "UPDATE user_texts SET search_text = :text, \
             grams = string_to_array(CAST(:grams AS text), chr(1)) WHERE user_id = :id",
            params! { ":id": id, ":grams": grams(&text), ":text": text },
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
    if is_gram(word) {
        let condition = format!("user_texts.grams @> ARRAY[CAST({parameter} AS text)]");
        return (condition, word.to_owned());
    }
    let condition = format!("user_texts.search_text LIKE {parameter} ESCAPE '!'");
    (condition, contains(word))
}

/// Whether a text is one or two characters, too short for a trigram, of a script such as Han: names may
/// be as short there. In scripts with case they match too many accounts for any index.
fn is_gram(text: &str) -> bool {
    let has_no_case = |c: char| !c.is_ascii() && !c.is_lowercase();
    text.chars().count() <= 2 && text.chars().any(has_no_case)
}

/// All grams in texts, joined by the separator; `None` if there are none.
fn grams(texts: &str) -> Option<String> {
    let mut grams = BTreeSet::new();
    for text in texts.split(SEPARATOR).filter(|text| !text.is_ascii()) {
        let ends = text.char_indices().map(|(start, c)| start + c.len_utf8());
        let mut starts = [0, 0];
        for end in ends {
            let candidates = starts.map(|start| &text[start..end]);
            grams.extend(candidates.into_iter().filter(|gram| is_gram(gram)));
            starts = [starts[1], end];
        }
    }
    let grams: Vec<&str> = grams.into_iter().collect();
    (!grams.is_empty()).then(|| grams.join(SEPARATOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grams_are_characters_without_case_and_their_pairs() {
        for (texts, expected) in [
            ("", None),
            ("ann@example.com\u{1}ann", None),
            ("иван", None),
            ("李", Some("李")),
            ("ab李c", Some("b李 李 李c")),
            ("李\u{1}王", Some("李 王")),
            ("李王伟", Some("伟 李 李王 王 王伟")),
            ("李李李", Some("李 李李")),
        ] {
            let found = grams(texts).map(|found| found.replace('\u{1}', " "));
            assert_eq!(found.as_deref(), expected, "{texts}");
        }
    }

    #[test]
    fn short_words_without_case_are_grams() {
        for (word, expected) in [
            ("李", true),
            ("a李", true),
            ("ab", false),
            ("ив", false),
            ("李王伟", false),
        ] {
            let (condition, value) = condition(word, ":word0");
            assert_eq!(condition.contains("grams"), expected, "{word}");
            assert_eq!(value == word, expected, "{word}");
        }
    }
}
