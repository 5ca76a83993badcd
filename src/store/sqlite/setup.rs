//! The first staff account in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, named_params};

use super::SqliteStore;
use super::sessions::insert_session;
use super::transaction::Transaction;
use super::users::{create_verified_user, find_by_id};
use crate::domain::Timestamp;
use crate::store::{FirstStaff, FirstStaffOutcome, SetupState, SetupStore, StoreResult};

/// The link, which triggers delete as soon as there is a staff account.
const IS_VALID: &str = "SELECT EXISTS (SELECT 1 FROM setup_links \
                        WHERE token_hash = :token_hash AND expires_at > :now) \
                        AND NOT EXISTS (SELECT 1 FROM users WHERE is_staff)";

fn is_valid(connection: &Connection, token_hash: &[u8], now: Timestamp) -> rusqlite::Result<bool> {
    connection.prepare_cached(IS_VALID)?.query_row(
        named_params! { ":token_hash": token_hash, ":now": now.unix_millis() },
        |row| row.get(0),
    )
}

fn create_first_staff(
    connection: &Transaction<'_>,
    request: &FirstStaff,
) -> StoreResult<FirstStaffOutcome> {
    if !is_valid(connection, &request.token_hash, request.user.now)? {
        return Ok(FirstStaffOutcome::InvalidLink);
    }
    let Some(id) = create_verified_user(connection, &request.user)? else {
        return Ok(FirstStaffOutcome::EmailTaken);
    };
    let context = &request.user.context;
    insert_session(connection, id, &request.session, context)?;
    connection
        .prepare_cached("UPDATE users SET last_login_at = :now WHERE id = :id")?
        .execute(named_params! { ":id": id, ":now": request.user.now.unix_millis() })?;
    let user = find_by_id(connection, id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    Ok(FirstStaffOutcome::Created(Box::new(user)))
}

#[async_trait]
impl SetupStore for SqliteStore {
    async fn find_setup_state(&self) -> StoreResult<SetupState> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM users), \
                     EXISTS (SELECT 1 FROM users WHERE is_staff)",
                )?
                .query_row([], |row| {
                    Ok(SetupState {
                        has_accounts: row.get(0)?,
                        has_staff: row.get(1)?,
                    })
                })
        })
    }

    async fn replace_setup_link(
        &self,
        token_hash: &[u8],
        expires_at: Timestamp,
    ) -> StoreResult<bool> {
        let token_hash = token_hash.to_vec();
        self.writer
            .run(move |connection| {
                connection
                    .prepare_cached(
                        "INSERT INTO setup_links (id, token_hash, expires_at) \
                         SELECT 1, :token_hash, :expires_at \
                         WHERE NOT EXISTS (SELECT 1 FROM users WHERE is_staff) \
                         ON CONFLICT (id) DO UPDATE SET token_hash = excluded.token_hash, \
                         expires_at = excluded.expires_at",
                    )?
                    .execute(named_params! {
                        ":token_hash": token_hash, ":expires_at": expires_at.unix_millis(),
                    })
                    .map(|stored| stored > 0)
            })
            .await
    }

    async fn is_setup_link_valid(&self, token_hash: &[u8], now: Timestamp) -> StoreResult<bool> {
        self.read(|connection| is_valid(connection, token_hash, now))
    }

    async fn create_first_staff(&self, request: FirstStaff) -> StoreResult<FirstStaffOutcome> {
        self.writer
            .run(move |connection| create_first_staff(connection, &request))
            .await
    }
}
