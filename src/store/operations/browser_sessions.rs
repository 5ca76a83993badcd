//! Browser sessions: rows of `sessions` that have the hash of a secret.

use super::connection::params;
use async_trait::async_trait;

use super::engine::{Database, Engine};
use super::lock::Keys;
use super::rows::{USER_COLUMN_COUNT, USER_COLUMNS, authentication, timestamp, user};
use crate::domain::Timestamp;
use crate::store::{BrowserSessionRecord, BrowserSessionStore, StoreResult};

#[async_trait]
impl<E: Engine> BrowserSessionStore for Database<E> {
    async fn find_browser_session(
        &self,
        secret_hash: &[u8],
        now: Timestamp,
    ) -> StoreResult<Option<BrowserSessionRecord>> {
        let secret_hash = secret_hash.to_vec();
        let sql = format!(
            "SELECT {USER_COLUMNS}, users.language, sessions.id, sessions.created_at, \
             sessions.last_used_at, sessions.authenticated_at, sessions.amr FROM sessions JOIN \
             users ON users.id = sessions.user_id WHERE sessions.secret_hash = :hash AND \
             sessions.expires_at > :now AND users.is_active"
        );
        self.engine
            .read(move |connection| {
                connection.query_optional(
                    &sql,
                    params! { ":hash": secret_hash, ":now": now.unix_millis() },
                    |row| {
                        let own = USER_COLUMN_COUNT;
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
            })
            .await
    }

    async fn touch_browser_session(
        &self,
        session_id: &str,
        now: Timestamp,
        expires_at: Timestamp,
        ip: &str,
    ) -> StoreResult<()> {
        let (session_id, ip) = (session_id.to_owned(), ip.to_owned());
        self.engine
            .write_for(Keys::session(&session_id), move |connection| {
                connection.run(
                    "UPDATE sessions SET last_used_at = greatest(last_used_at, :now), expires_at = \
                     greatest(expires_at, :expires_at), ip = :ip WHERE id = :id AND secret_hash IS \
                     NOT NULL",
                    params! {
                        ":id": session_id,
                        ":now": now.unix_millis(),
                        ":expires_at": expires_at.unix_millis(),
                        ":ip": ip,
                    },
                )
            })
            .await
    }
}
