//! Refresh tokens of OAuth clients.

use std::time::Duration;

use super::connection::{Connection, params};
use async_trait::async_trait;

use super::authorizations::Demands;
use super::client_sessions::{delete, end_reused, find_client_session};
use super::engine::{Database, Engine};
use super::lock::Keys;
use super::refresh_tokens::{
    delete_surplus_refresh_tokens, exchange, find_refresh_token, is_refresh_token_usable,
};
use super::sessions::context_of;
use super::transaction::Transaction;
use crate::domain::{Scope, Scopes, Timestamp};
use crate::store::{
    ClientRotation, ClientSession, ClientTokenStore, RotateClientToken, StoreResult,
};

/// The scopes that a client may ask for; `None` when it is gone.
fn find_registered_scopes(
    connection: &dyn Connection,
    client_id: &str,
) -> StoreResult<Option<Scopes>> {
    let scopes: Option<String> = connection.query_optional(
        "SELECT scopes FROM oauth_clients WHERE id = :id",
        params! { ":id": client_id },
        |row| row.get(0),
    )?;
    Ok(scopes.map(|scopes| Scopes::parse_known(&scopes)))
}

/// The scopes that a session still has; `None` when account, client or consent no longer allow it.
fn allowed_scopes(
    connection: &dyn Connection,
    session: &ClientSession,
    needs_factor: bool,
) -> StoreResult<Option<Scopes>> {
    let Some(demands) = Demands::find(connection, &session.client_id)? else {
        return Ok(None);
    };
    let Some(registered) = find_registered_scopes(connection, &session.client_id)? else {
        return Ok(None);
    };
    let user = &session.user;
    let is_refused = demands.refuse(user, &session.authentication).is_some();
    let lacks_factor = needs_factor && !user.has_factor;
    let client = (user.id, session.client_id.as_str());
    if is_refused || lacks_factor || !demands.has_consent(connection, client, &session.scopes)? {
        return Ok(None);
    }
    let scopes = session.scopes.within(&registered);
    // It would outlive the browser session without being allowed to.
    let has_lost_access =
        session.scopes.contains(Scope::OfflineAccess) && !scopes.contains(Scope::OfflineAccess);
    Ok(Some(scopes).filter(|_| !has_lost_access))
}

fn rotate(
    connection: &Transaction<'_>,
    request: &RotateClientToken,
) -> StoreResult<ClientRotation> {
    let rotation = &request.rotation;
    let (id, now) = (&rotation.session_id, rotation.now);
    let session = find_client_session(connection, id, rotation.lifetimes, now)?
        .filter(|session| session.client_id == request.client_id);
    let Some(mut session) = session else {
        return Ok(ClientRotation::Invalid);
    };
    let end = session.end(request.session_lifetime, rotation.lifetimes);
    if end <= now {
        delete(connection, id, &request.client_id)?;
        return Ok(ClientRotation::Invalid);
    }
    let Some(scopes) = allowed_scopes(connection, &session, request.needs_factor)? else {
        return Ok(ClientRotation::Invalid);
    };
    let expires_at = rotation.new_expires_at.min(end);
    let token = find_refresh_token(connection, id, &rotation.refresh_id)?;
    let Some(refresh_id) = exchange(connection, rotation, token, expires_at)? else {
        let session = (session.user.id, &**id, &*request.client_id);
        end_reused(connection, session, &context_of(rotation), now)?;
        return Ok(ClientRotation::Reused);
    };
    note_use(connection, id, expires_at, now)?;
    delete_surplus_refresh_tokens(connection, rotation, &refresh_id)?;
    session.scopes = scopes;
    Ok(ClientRotation::Rotated {
        session: Box::new(session),
        refresh_id,
    })
}

/// Records a refresh on its session.
fn note_use(
    connection: &dyn Connection,
    session_id: &str,
    expires_at: Timestamp,
    now: Timestamp,
) -> StoreResult<()> {
    connection.run(
        "UPDATE sessions SET last_used_at = :now, expires_at = greatest(expires_at, :expires_at) \
         WHERE id = :id",
        params! {
            ":id": session_id,
            ":now": now.unix_millis(),
            ":expires_at": expires_at.unix_millis(),
        },
    )
}

#[async_trait]
impl<E: Engine> ClientTokenStore for Database<E> {
    async fn rotate_client_token(
        &self,
        rotation: RotateClientToken,
    ) -> StoreResult<ClientRotation> {
        self.engine
            .write_for(
                Keys::session(&rotation.rotation.session_id),
                move |connection| rotate(connection, &rotation),
            )
            .await
    }

    async fn is_client_token_live(
        &self,
        session_id: &str,
        refresh_id: &str,
        now: Timestamp,
        grace: Duration,
    ) -> StoreResult<bool> {
        let session_id = session_id.to_owned();
        let refresh_id = refresh_id.to_owned();
        self.engine
            .read(move |connection| {
                is_refresh_token_usable(connection, &session_id, &refresh_id, now, grace)
            })
            .await
    }
}
