//! Which accounts a list shows: filters, and searched words.

use std::cmp::Reverse;

use super::search;
use crate::store::UserQuery;
use crate::store::operations::connection::{Param, ToValue, Value};

/// The clause that passes the counts of the states which a query lists.
pub(super) const OF_STATES: &str = "is_active = coalesce(:is_active, is_active) \
                                    AND is_verified = coalesce(:is_verified, is_verified)";

/// The accounts that a query lists, as a WHERE clause with its values.
pub(super) struct Filter {
    pub(super) clause: String,
    /// The tables that it needs.
    pub(super) from: &'static str,
    /// The column with the ids of the accounts.
    pub(super) id: &'static str,
    /// Whether it asks for nothing but states, whose numbers are known.
    pub(super) is_of_states: bool,
    values: Vec<(String, Value<'static>)>,
}

impl Filter {
    /// The filter of a query. Texts are searched without the accounts they belong to, which are three
    /// times as large, unless a filter or other columns of accounts (`needs_users`) ask for those.
    pub(super) fn of(query: &UserQuery, needs_users: bool) -> Self {
        // The longest word first: it is most likely the rarest one.
        let mut words = query.folded_words();
        words.sort_by_key(|word| Reverse(word.len()));
        words.dedup();
        let is_of_named = query.only_staff || query.external_id.is_some();
        let is_of_texts = !words.is_empty() && !needs_users && !is_of_named;
        let mut filter = Self {
            clause: "TRUE".to_owned(),
            from: match (is_of_texts, words.is_empty()) {
                (true, _) => "user_texts",
                (false, true) => "users",
                (false, false) => "user_texts JOIN users ON users.id = user_texts.user_id",
            },
            id: if is_of_texts {
                "user_texts.user_id"
            } else {
                "users.id"
            },
            is_of_states: words.is_empty() && !is_of_named,
            values: Vec::new(),
        };
        // Written as the partial indexes are, which have the accounts in the rare states.
        for (rare, is_rare) in [
            (
                "NOT users.is_active",
                query.is_active.map(|is_active| !is_active),
            ),
            (
                "users.verified_at IS NULL",
                query.is_verified.map(|is_verified| !is_verified),
            ),
        ] {
            let Some(is_rare) = is_rare else { continue };
            let negation = if is_rare { "" } else { "NOT " };
            filter.clause += &match is_of_texts {
                true => format!(
                    " AND {negation}EXISTS (SELECT 1 FROM users \
                     WHERE users.id = user_texts.user_id AND {rare})"
                ),
                false => format!(" AND {negation}({rare})"),
            };
        }
        if query.only_staff {
            filter.clause += " AND users.is_staff";
        }
        if let Some(external_id) = &query.external_id {
            filter.clause += " AND users.external_id = :external_id";
            filter.add(":external_id", external_id.to_value());
        }
        for (number, word) in words.iter().enumerate() {
            let name = format!(":word{number}");
            let (condition, value) = search::condition(word, &name);
            filter.clause += " AND ";
            filter.clause += &condition;
            filter.add(&name, Value::Text(value.into()));
        }
        filter
    }

    fn add(&mut self, name: &str, value: Value<'_>) {
        self.values.push((name.to_owned(), value.into_owned()));
    }

    /// The values of the clause, and others.
    pub(super) fn params<'a>(&'a self, others: &[Param<'a>]) -> Vec<Param<'a>> {
        let own = self.values.iter();
        own.map(|(name, value)| (name.as_str(), value.clone()))
            .chain(others.iter().cloned())
            .collect()
    }
}
