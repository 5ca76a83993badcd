//! Substring search over accounts, in a time that depends only on the number of accounts.
//!
//! The searched texts are packed into `search_blocks`, which triggers maintain (see
//! [`super::search_records`]). A block holds the records of 48 accounts. A record is 0xFF, the id and a
//! letter for the state, followed by each text after a 0xFE, folded as the words are: without case and
//! accents. Neither byte occurs in UTF-8, so no word can match across two texts.

use std::ops::Range;
use std::thread;

use memchr::memmem::Finder;
use memchr::{memchr, memrchr};
use rusqlite::{Connection, named_params};

use super::Reader;
use crate::domain::UserId;
use crate::store::{StoreError, StoreResult, UserQuery};

/// First byte of a record.
pub(super) const RECORD: u8 = 0xFF;

/// First byte of a text.
pub(super) const TEXT: u8 = 0xFE;

/// Accounts whose records share a block.
const ACCOUNTS_PER_BLOCK: i64 = 48;

/// Blocks that are searched before it is known whether there are enough matches.
const BLOCKS_PER_STEP: i64 = if cfg!(test) { 2 } else { 500 };

/// Minimum number of blocks for a second thread.
const BLOCKS_FOR_TWO: i64 = if cfg!(test) { 10 } else { 2_000 };

/// A second connection that reads half of the blocks, from the same state of the database.
pub(super) struct Helper {
    connection: Reader,
    data_version: i64,
}

impl Helper {
    /// Must be created before the transaction of the search begins.
    pub(super) fn before_search(connection: Reader) -> StoreResult<Self> {
        let data_version = data_version(&connection)?;
        Ok(Self {
            connection,
            data_version,
        })
    }
}

fn data_version(connection: &Connection) -> StoreResult<i64> {
    Ok(connection
        .prepare_cached("PRAGMA data_version")?
        .query_row([], |row| row.get(0))?)
}

/// Finds the ids of the accounts that contain each of the folded `words` and pass the filters of the
/// query, ascending.
///
/// A helper halves the time.
pub(super) fn find_matching(
    connection: &Connection,
    helper: Option<Helper>,
    query: &UserQuery,
    words: &[String],
) -> StoreResult<Vec<UserId>> {
    let blocks = count_blocks(connection)?;
    let search = Search::new(query, words);
    let Some(helper) = helper.filter(|_| blocks >= BLOCKS_FOR_TWO) else {
        return search.scan(connection, 0..blocks);
    };
    let middle = blocks / 2;
    let (first, second) = thread::scope(|scope| {
        let search = &search;
        let second = scope.spawn(move || -> StoreResult<Option<Vec<UserId>>> {
            let transaction = helper.connection.unchecked_transaction()?;
            // No write happened between the check before the search and this one: both connections
            // read the same state.
            if data_version(&transaction)? != helper.data_version {
                return Ok(None);
            }
            search.scan(&transaction, middle..blocks).map(Some)
        });
        let first = search.scan(connection, 0..middle);
        (first, second.join())
    });
    let mut matching = first?;
    let second = match second {
        Ok(Ok(Some(second))) => second,
        _ => search.scan(connection, middle..blocks)?,
    };
    matching.extend(second);
    Ok(matching)
}

/// Finds the ids of at least `most` matching accounts after an id, or of all there are; ascending.
pub(super) fn find_matching_after(
    connection: &Connection,
    query: &UserQuery,
    words: &[String],
    after: UserId,
    most: usize,
) -> StoreResult<Vec<UserId>> {
    let blocks = count_blocks(connection)?;
    let search = Search::new(query, words);
    let mut matching = Vec::new();
    let mut from = after / ACCOUNTS_PER_BLOCK;
    while from < blocks && matching.len() < most {
        let until = from + BLOCKS_PER_STEP;
        let found = search.scan(connection, from..until)?;
        matching.extend(found.into_iter().filter(|id| *id > after));
        from = until;
    }
    Ok(matching)
}

fn count_blocks(connection: &Connection) -> StoreResult<i64> {
    Ok(connection
        .prepare_cached("SELECT coalesce(max(block) + 1, 0) FROM search_blocks")?
        .query_row([], |row| row.get(0))?)
}

/// The words and filters of a search.
struct Search<'a> {
    query: &'a UserQuery,
    // The longest word first: it is most likely the rarest one.
    words: Vec<Finder<'a>>,
}

impl<'a> Search<'a> {
    fn new(query: &'a UserQuery, words: &'a [String]) -> Self {
        let mut words: Vec<Finder> = words
            .iter()
            .map(|word| Finder::new(word.as_bytes()))
            .collect();
        words.sort_by_key(|word| std::cmp::Reverse(word.needle().len()));
        Self { query, words }
    }

    /// The matches in a range of blocks, ascending.
    fn scan(&self, connection: &Connection, blocks: Range<i64>) -> StoreResult<Vec<UserId>> {
        let mut matching = Vec::new();
        let mut statement = connection.prepare_cached(
            "SELECT records FROM search_blocks WHERE block >= :from AND block < :until ORDER BY block",
        )?;
        let mut rows =
            statement.query(named_params! { ":from": blocks.start, ":until": blocks.end })?;
        while let Some(row) = rows.next()? {
            self.scan_block(
                row.get_ref(0)?.as_blob().map_err(StoreError::failed)?,
                &mut matching,
            );
        }
        // Nearly sorted already: blocks are in order, and most records within them are.
        matching.sort_unstable();
        Ok(matching)
    }

    fn scan_block(&self, block: &[u8], matching: &mut Vec<UserId>) {
        let Some((rarest, others)) = self.words.split_first() else {
            return;
        };
        let mut from = 0;
        while let Some(hit) = rarest.find(&block[from..]) {
            let hit = from + hit;
            let start = memrchr(RECORD, &block[..hit]).map_or(0, |before| before + 1);
            let end = memchr(RECORD, &block[hit..]).map_or(block.len(), |behind| hit + behind);
            from = end;
            let record = &block[start..end];
            let (head, texts) = record.split_at(memchr(TEXT, record).unwrap_or(record.len()));
            // The digits of the id are not a searched text.
            let is_in_texts = hit >= start + head.len() || rarest.find(texts).is_some();
            if is_in_texts
                && others.iter().all(|word| word.find(texts).is_some())
                && let Some((id, state)) = read_head(head)
                && state.passes(self.query)
            {
                matching.push(id);
            }
        }
    }
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
