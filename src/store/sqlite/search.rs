//! Searching accounts by any part of any word, in a time that depends on how many accounts there are and on nothing else.
//!
//! The texts that are searched stand packed in `search_blocks`, which triggers keep up to date: a block is the records of
//! 48 accounts one behind the other, a record is 0xFF, the account's number and a letter for its state, and then each text
//! in lower case behind a 0xFE. Neither byte occurs in UTF-8, so no word can match across two texts.

use memchr::memmem::Finder;
use memchr::{memchr, memrchr};
use rusqlite::Connection;

use crate::domain::UserId;
use crate::store::UserQuery;

/// Begins a record.
const RECORD: u8 = 0xFF;

/// Begins a text.
const TEXT: u8 = 0xFE;

/// The numbers of the accounts that have every word of `query` and pass its filters, ascending.
pub(super) fn find_matching(
    connection: &Connection,
    query: &UserQuery,
) -> rusqlite::Result<Vec<UserId>> {
    let words: Vec<String> = query
        .words
        .iter()
        .map(|word| word.to_ascii_lowercase())
        .collect();
    let mut finders: Vec<Finder> = words
        .iter()
        .map(|word| Finder::new(word.as_bytes()))
        .collect();
    // The longest word is most likely the rarest one.
    finders.sort_by_key(|finder| std::cmp::Reverse(finder.needle().len()));
    let Some((rarest, others)) = finders.split_first() else {
        return Ok(Vec::new());
    };
    let mut matching = Vec::new();
    let mut statement = connection.prepare_cached("SELECT records FROM search_blocks")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let block = row.get_ref(0)?.as_bytes()?;
        let mut from = 0;
        while let Some(hit) = rarest.find(&block[from..]) {
            let hit = from + hit;
            let start = memrchr(RECORD, &block[..hit]).map_or(0, |before| before + 1);
            let end = memchr(RECORD, &block[hit..]).map_or(block.len(), |behind| hit + behind);
            from = end;
            let record = &block[start..end];
            let (head, texts) = record.split_at(memchr(TEXT, record).unwrap_or(record.len()));
            // The digits of the number are no text.
            let is_in_texts = hit >= start + head.len() || rarest.find(texts).is_some();
            if is_in_texts
                && others.iter().all(|word| word.find(texts).is_some())
                && let Some((id, state)) = read_head(head)
                && state.passes(query)
            {
                matching.push(id);
            }
            if from >= block.len() {
                break;
            }
        }
    }
    // Nearly sorted already: blocks come in order, and records were put into theirs one after the other.
    matching.sort_unstable();
    Ok(matching)
}

/// Whether an account is active and verified.
struct State {
    is_active: bool,
    is_verified: bool,
}

impl State {
    fn passes(&self, query: &UserQuery) -> bool {
        query
            .is_active
            .is_none_or(|wanted| wanted == self.is_active)
            && query
                .is_verified
                .is_none_or(|wanted| wanted == self.is_verified)
    }
}

fn read_head(head: &[u8]) -> Option<(UserId, State)> {
    let (letter, digits) = head.split_last()?;
    let state = letter.checked_sub(b'a')?;
    let id = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((
        id,
        State {
            is_active: state & 2 != 0,
            is_verified: state & 1 != 0,
        },
    ))
}
