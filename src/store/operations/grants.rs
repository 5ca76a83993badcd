//! What users allowed OAuth clients,.

use super::connection::{Connection, params};
use async_trait::async_trait;

use super::engine::{Database, Engine};
use super::events::{Actor, insert_event};
use super::rows::timestamp;
use super::sessions::{authorize, emit_ended, ended_session};
use crate::domain::{EventKind, Scopes, Timestamp, UserId};
use crate::store::{Grant, GrantStore, RequestContext, StoreResult};

fn list(connection: &dyn Connection, user_id: UserId, now: Timestamp) -> StoreResult<Vec<Grant>> {
    connection.query_all(
        "SELECT id, name, redirect_uris, scopes, created_at, last_used_at, sessions FROM (SELECT \
         oauth_clients.id AS id, oauth_clients.name AS name, redirect_uris, \
         coalesce(oauth_grants.scopes, (SELECT sessions.scopes FROM sessions WHERE \
         sessions.user_id = :user_id AND sessions.client_id = oauth_clients.id ORDER BY \
         sessions.created_at DESC LIMIT 1)) AS scopes, coalesce(oauth_grants.created_at, (SELECT \
         min(sessions.created_at) FROM sessions WHERE sessions.user_id = :user_id AND \
         sessions.client_id = oauth_clients.id)) AS created_at, \
         coalesce(oauth_grants.last_used_at, (SELECT max(sessions.created_at) FROM sessions WHERE \
         sessions.user_id = :user_id AND sessions.client_id = oauth_clients.id)) AS last_used_at, \
         (SELECT count(*) FROM sessions WHERE sessions.user_id = :user_id AND sessions.client_id = \
         oauth_clients.id AND sessions.expires_at > :now) AS sessions FROM oauth_clients LEFT JOIN \
         oauth_grants ON oauth_grants.client_id = oauth_clients.id AND oauth_grants.user_id = \
         :user_id WHERE oauth_clients.id IN (SELECT client_id FROM oauth_grants WHERE user_id = \
         :user_id UNION SELECT client_id FROM sessions WHERE user_id = :user_id AND client_id IS \
         NOT NULL)) AS applications ORDER BY last_used_at DESC, id",
        params! { ":user_id": user_id, ":now": now.unix_millis() },
        |row| {
            let uris: String = row.get(2)?;
            Ok(Grant {
                client_id: row.get(0)?,
                client_name: row.get(1)?,
                redirect_uris: uris.lines().map(str::to_owned).collect(),
                scopes: Scopes::parse_known(&row.get::<String>(3)?),
                created_at: timestamp(row, 4)?,
                last_used_at: timestamp(row, 5)?,
                sessions: row.get(6)?,
            })
        },
    )
}

#[async_trait]
impl<E: Engine> GrantStore for Database<E> {
    async fn list_grants(&self, user_id: UserId, now: Timestamp) -> StoreResult<Vec<Grant>> {
        self.engine
            .read_long(move |connection| list(connection, user_id, now))
            .await
    }

    async fn revoke_grant(
        &self,
        user_id: UserId,
        client_id: &str,
        context: RequestContext,
        now: Timestamp,
    ) -> StoreResult<bool> {
        let client_id = client_id.to_owned();
        self.engine
            .write(move |connection| -> StoreResult<bool> {
                authorize(connection, &context, user_id, false)?;
                let params = params! { ":user_id": user_id, ":client_id": client_id };
                let revoked = connection.execute(
                    "DELETE FROM oauth_grants WHERE user_id = :user_id AND client_id = :client_id",
                    params,
                )?;
                // A code that was issued just now must not start another session.
                connection.run(
                    "DELETE FROM authorization_codes WHERE user_id = :user_id AND client_id = \
                     :client_id",
                    params,
                )?;
                let ended: Vec<_> = connection.query_all(
                    "DELETE FROM sessions WHERE user_id = :user_id AND client_id = :client_id \
                     RETURNING id, amr",
                    params,
                    ended_session,
                )?;
                let ended = emit_ended(connection, user_id, ended, &context, now)?;
                if revoked == 0 && ended == 0 {
                    return Ok(false);
                }
                insert_event(
                    connection,
                    EventKind::ConsentRevoked,
                    Some(user_id),
                    Actor::FromContext,
                    &context,
                    &client_id,
                    now,
                )?;
                Ok(true)
            })
            .await
    }
}
