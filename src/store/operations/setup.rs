//! The first staff account.

use super::connection::{Connection, params};
use async_trait::async_trait;

use super::engine::{Database, Engine};
use super::sessions::insert_session;
use super::transaction::Transaction;
use super::users::{create_verified_user, find_by_id};
use crate::domain::Timestamp;
use crate::store::{
    FirstStaff, FirstStaffOutcome, SetupState, SetupStore, StoreError, StoreResult,
};

/// The link, which triggers delete as soon as there is a staff account.
const IS_VALID: &str = "SELECT EXISTS (SELECT 1 FROM setup_links WHERE token_hash = :token_hash \
                        AND expires_at > :now) AND NOT EXISTS (SELECT 1 FROM users WHERE is_staff)";

fn is_valid(connection: &dyn Connection, token_hash: &[u8], now: Timestamp) -> StoreResult<bool> {
    connection.query_row(
        IS_VALID,
        params! { ":token_hash": token_hash, ":now": now.unix_millis() },
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
    connection.run(
        "UPDATE users SET last_login_at = :now WHERE id = :id",
        params! { ":id": id, ":now": request.user.now.unix_millis() },
    )?;
    let user = find_by_id(connection, id)?.ok_or(StoreError::failed("a row is missing"))?;
    Ok(FirstStaffOutcome::Created(Box::new(user)))
}

#[async_trait]
impl<E: Engine> SetupStore for Database<E> {
    async fn find_setup_state(&self) -> StoreResult<SetupState> {
        self.engine
            .read(move |connection| {
                connection.query_row(
                    "SELECT EXISTS (SELECT 1 FROM users), EXISTS (SELECT 1 FROM users WHERE \
                     is_staff)",
                    &[],
                    |row| {
                        Ok(SetupState {
                            has_accounts: row.get(0)?,
                            has_staff: row.get(1)?,
                        })
                    },
                )
            })
            .await
    }

    async fn replace_setup_link(
        &self,
        token_hash: &[u8],
        expires_at: Timestamp,
    ) -> StoreResult<bool> {
        let token_hash = token_hash.to_vec();
        self.engine
            .write(move |connection| {
                connection
                    .execute(
                        "INSERT INTO setup_links (id, token_hash, expires_at) SELECT 1, \
                         :token_hash, :expires_at WHERE NOT EXISTS (SELECT 1 FROM users WHERE \
                         is_staff) ON CONFLICT (id) DO UPDATE SET token_hash = \
                         excluded.token_hash, expires_at = excluded.expires_at",
                        params! {
                            ":token_hash": token_hash, ":expires_at": expires_at.unix_millis(),
                        },
                    )
                    .map(|stored| stored > 0)
            })
            .await
    }

    async fn is_setup_link_valid(&self, token_hash: &[u8], now: Timestamp) -> StoreResult<bool> {
        let token_hash = token_hash.to_vec();
        self.engine
            .read(move |connection| is_valid(connection, &token_hash, now))
            .await
    }

    async fn create_first_staff(&self, request: FirstStaff) -> StoreResult<FirstStaffOutcome> {
        self.engine
            .write(move |connection| create_first_staff(connection, &request))
            .await
    }
}
