//! Browser sessions in SQLite: rows of `sessions` that have the hash of a secret.

use async_trait::async_trait;
use rusqlite::{OptionalExtension, named_params};

use super::SqliteStore;
use super::rows::{USER_COLUMNS, authentication, timestamp, user};
use crate::domain::Timestamp;
use crate::store::{BrowserSessionRecord, BrowserSessionStore, StoreResult};

#[async_trait]
impl BrowserSessionStore for SqliteStore {
    async fn find_browser_session(
        &self,
        secret_hash: &[u8],
        now: Timestamp,
    ) -> StoreResult<Option<BrowserSessionRecord>> {
        let sql = format!(
            "SELECT {USER_COLUMNS}, users.language, sessions.id, sessions.created_at, \
             sessions.last_used_at, sessions.authenticated_at, sessions.amr \
             FROM sessions JOIN users ON users.id = sessions.user_id \
             WHERE sessions.secret_hash = :hash AND sessions.expires_at > :now AND users.is_active"
        );
        self.read(|connection| {
            connection
                .prepare_cached(&sql)?
                .query_row(
                    named_params! { ":hash": secret_hash, ":now": now.unix_millis() },
                    |row| {
                        let own = row.as_ref().column_count() - 6;
                        Ok(BrowserSessionRecord {
                            user: user(row)?,
                            language: row.get(own)?,
                            session_id: row.get(own + 1)?,
                            created_at: timestamp(row, own + 2)?,
                            last_used_at: timestamp(row, own + 3)?,
                            authentication: authentication(row, own + 4)?,
                        })
                    },
                )
                .optional()
        })
    }

    async fn touch_browser_session(
        &self,
        session_id: &str,
        now: Timestamp,
        expires_at: Timestamp,
        ip: &str,
    ) -> StoreResult<()> {
        let (session_id, ip) = (session_id.to_owned(), ip.to_owned());
        self.writer
            .run(move |connection| {
                connection
                    .prepare_cached(
                        "UPDATE sessions SET last_used_at = max(last_used_at, :now), \
                     expires_at = max(expires_at, :expires_at), ip = :ip \
                     WHERE id = :id AND secret_hash IS NOT NULL",
                    )?
                    .execute(named_params! {
                        ":id": session_id,
                        ":now": now.unix_millis(),
                        ":expires_at": expires_at.unix_millis(),
                        ":ip": ip,
                    })
                    .map(drop)
            })
            .await
    }
}
