//! What the engine keeps for itself stays small.

use super::client::{Client, Commit};
use crate::store::operations::connection::{Connection, params};
use crate::store::{StoreError, StoreResult};

/// How long the ids of transactions are kept: far longer than a server asks for the outcome of one.
const KEEP_TRANSACTIONS: i64 = 10 * 60 * 1000;

/// How long a server that is gone is remembered.
const KEEP_SERVERS: i64 = 24 * 60 * 60 * 1000;

/// Rows of counts that are summed fast enough as they are.
const FEW_COUNTS: i64 = 1000;

/// The lock of the server that tidies up: the others leave it to that one.
const UPKEEP_LOCK: i64 = 0x6163_6375_706b_6570;

/// Adds up the counts of accounts, and deletes the ids of old transactions.
pub(super) fn keep_small(client: &Client) -> StoreResult<()> {
    client.begin(Some("BEGIN"));
    let done = steps(client);
    if done.is_err() {
        client.roll_back();
        return done;
    }
    match client.commit() {
        Commit::Done => Ok(()),
        Commit::Refused(error) => Err(error),
        Commit::Unknown => Err(StoreError::busy("the server does not confirm a commit")),
    }
}

fn steps(client: &Client) -> StoreResult<()> {
    let connection: &dyn Connection = client;
    let is_first: bool = connection.query_row(
        "SELECT pg_try_advisory_xact_lock(:lock)",
        params! { ":lock": UPKEEP_LOCK },
        |row| row.get(0),
    )?;
    if !is_first {
        return Ok(());
    }
    // Rows are only ever added, so each is counted by the one who deletes it. All are written again, so
    // that is left until half of them are superfluous.
    client.run(
        "WITH counted AS (DELETE FROM user_counts WHERE (SELECT count(*) > :few AND \
         count(*) > 2 * count(DISTINCT (block, is_active, is_verified)) FROM user_counts) \
         RETURNING block, is_active, is_verified, users) \
         INSERT INTO user_counts (block, is_active, is_verified, users) \
         SELECT block, is_active, is_verified, sum(users) FROM counted \
         GROUP BY block, is_active, is_verified HAVING sum(users) <> 0",
        params! { ":few": FEW_COUNTS },
    )?;
    client.run(
        "DELETE FROM transactions WHERE committed_at < \
         CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint) - CAST(:keep AS bigint)",
        params! { ":keep": KEEP_TRANSACTIONS },
    )?;
    client.run(
        "DELETE FROM fences WHERE at < \
         CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint) - CAST(:keep AS bigint)",
        params! { ":keep": KEEP_SERVERS },
    )
}
