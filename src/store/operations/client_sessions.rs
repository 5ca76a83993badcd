//! Sessions of OAuth clients: rows of `sessions` that have a client.

use super::connection::{Connection, params};
use async_trait::async_trait;
use subtle::ConstantTimeEq;

use super::authorizations::Demands;
use super::engine::{Database, Engine};
use super::events::{Actor, insert_event};
use super::lock::Keys;
use super::refresh_tokens::insert_refresh_token;
use super::rows::{
    USER_COLUMN_COUNT, USER_COLUMNS, authentication, optional_timestamp, timestamp, user,
};
use super::sessions::{
    EndedSession, emit_ended, ended_session, find_session, find_user_id, note_revoked,
    session_subject,
};
use super::transaction::Transaction;
use super::webhooks::emit;
use crate::domain::{
    EventKind, Scope, Scopes, SessionLifetimes, Timestamp, UserId, WebhookEventType,
};
use crate::store::{
    ClientSession, ClientSessionStore, RedeemCode, RedeemOutcome, RequestContext, StoreResult,
};

/// Maximum number of sessions of an account with one client.
const MAX_SESSIONS: i64 = 20;

/// A stored code.
struct Code {
    user_id: UserId,
    client_id: String,
    parent_id: String,
    session_id: String,
    redirect_uri: String,
    challenge: String,
    nonce: Option<String>,
    scopes: Scopes,
    expires_at: Timestamp,
    used_at: Option<Timestamp>,
}

fn find_code(connection: &dyn Connection, code_hash: &[u8]) -> StoreResult<Option<Code>> {
    connection.query_optional(
        "SELECT user_id, client_id, parent_id, session_id, redirect_uri, code_challenge, nonce, \
         scopes, expires_at, used_at FROM authorization_codes WHERE code_hash = :hash",
        params! { ":hash": code_hash },
        |row| {
            Ok(Code {
                user_id: row.get(0)?,
                client_id: row.get(1)?,
                parent_id: row.get(2)?,
                session_id: row.get(3)?,
                redirect_uri: row.get(4)?,
                challenge: row.get(5)?,
                nonce: row.get(6)?,
                scopes: Scopes::parse_known(&row.get::<String>(7)?),
                expires_at: timestamp(row, 8)?,
                used_at: optional_timestamp(row, 9)?,
            })
        },
    )
}

fn redeem(connection: &Transaction<'_>, request: &RedeemCode) -> StoreResult<RedeemOutcome> {
    let Some(code) = find_code(connection, &request.code_hash)? else {
        return Ok(RedeemOutcome::Invalid);
    };
    // Anybody can name another client: that says nothing about the owner of the code.
    if code.client_id != request.client_id {
        return Ok(RedeemOutcome::Invalid);
    }
    if code.used_at.is_some() {
        let session = (code.user_id, &*code.session_id, &*code.client_id);
        end_reused(connection, session, &request.context, request.now)?;
        return Ok(RedeemOutcome::Reused);
    }
    let is_verified: bool = code
        .challenge
        .as_bytes()
        .ct_eq(request.code_challenge.as_bytes())
        .into();
    if code.expires_at <= request.now || code.redirect_uri != request.redirect_uri || !is_verified {
        return Ok(RedeemOutcome::Invalid);
    }
    let Some(parent) = find_session(connection, &code.parent_id)? else {
        return Ok(RedeemOutcome::Invalid);
    };
    let Some(demands) = Demands::find(connection, &code.client_id)? else {
        return Ok(RedeemOutcome::Invalid);
    };
    let is_refused = demands
        .refuse(&parent.user, &parent.authentication)
        .is_some();
    let client = (code.user_id, code.client_id.as_str());
    if is_refused || !demands.has_consent(connection, client, &code.scopes)? {
        return Ok(RedeemOutcome::Invalid);
    }
    let used = connection.execute(
        "UPDATE authorization_codes SET used_at = :now WHERE code_hash = :hash AND used_at IS NULL",
        params! {
            ":hash": request.code_hash, ":now": request.now.unix_millis(),
        },
    )?;
    if used == 0 {
        return Ok(RedeemOutcome::Reused);
    }
    let outlives = code.scopes.contains(Scope::OfflineAccess);
    let session = ClientSession {
        id: code.session_id.clone(),
        user: parent.user,
        client_id: code.client_id.clone(),
        scopes: code.scopes.clone(),
        authentication: parent.authentication,
        created_at: request.now,
        parent_created_at: (!outlives).then_some(parent.created_at),
    };
    let end = session.end(request.session_lifetime, request.lifetimes);
    let expires_at = end.min(request.now.plus(request.refresh_lifetime));
    insert(connection, &session, &code, expires_at)?;
    insert_refresh_token(connection, &request.refresh_id, &session.id, expires_at)?;
    let context = browser_of(connection, &session.id)?;
    note_start(connection, &session, &context)?;
    evict_surplus(connection, &session, &context)?;
    Ok(RedeemOutcome::Started {
        session: Box::new(session),
        nonce: code.nonce,
        refresh_expires_at: expires_at,
    })
}

/// Stores a session, with the address and browser of the one it was started in: the request comes
/// from the client's own server.
fn insert(
    connection: &dyn Connection,
    session: &ClientSession,
    code: &Code,
    expires_at: Timestamp,
) -> StoreResult<()> {
    connection.run(
        "INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at, ip, user_agent, \
         authenticated_at, amr, client_id, parent_id, scopes) SELECT :id, user_id, :now, :now, \
         :expires_at, ip, user_agent, authenticated_at, amr, :client_id, :parent_id, :scopes FROM \
         sessions WHERE id = :browser_id",
        params! {
            ":id": session.id,
            ":now": session.created_at.unix_millis(),
            ":expires_at": expires_at.unix_millis(),
            ":client_id": session.client_id,
            ":parent_id": session.parent_created_at.map(|_| &code.parent_id),
            ":scopes": session.scopes.to_string(),
            ":browser_id": code.parent_id,
        },
    )
}

/// The address and browser that a session was started with.
fn browser_of(connection: &dyn Connection, session_id: &str) -> StoreResult<RequestContext> {
    connection.query_row(
        "SELECT ip, user_agent FROM sessions WHERE id = :id",
        params! { ":id": session_id },
        |row| {
            Ok(RequestContext {
                ip: row.get(0)?,
                user_agent: row.get(1)?,
                ..RequestContext::default()
            })
        },
    )
}

fn note_start(
    connection: &Transaction<'_>,
    session: &ClientSession,
    context: &RequestContext,
) -> StoreResult<()> {
    let (user_id, now) = (session.user.id, session.created_at);
    insert_event(
        connection,
        EventKind::ClientSignedIn,
        Some(user_id),
        Actor::Owner,
        context,
        &session.client_id,
        now,
    )?;
    let amr = session.authentication.amr();
    let subject = session_subject(&session.id, &amr, context);
    emit(
        connection,
        WebhookEventType::SessionCreated,
        user_id,
        subject,
        now,
    )
}

/// Evicts the least recently used sessions beyond the maximum, except the new one.
fn evict_surplus(
    connection: &Transaction<'_>,
    new: &ClientSession,
    context: &RequestContext,
) -> StoreResult<()> {
    let (user_id, now) = (new.user.id, new.created_at);
    let evicted = connection.query_all(
        "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE user_id = :user_id AND \
         client_id = :client_id AND id <> :new ORDER BY last_used_at DESC, id LIMIT 1000 OFFSET \
         :others) RETURNING id, amr",
        params! {
            ":user_id": user_id,
            ":client_id": new.client_id,
            ":new": new.id,
            ":others": MAX_SESSIONS - 1,
        },
        ended_session,
    )?;
    let evicted = emit_ended(connection, user_id, evicted, context, now)?;
    note_revoked(connection, user_id, evicted, (Actor::Owner, context), now)
}

/// Ends a session whose code or refresh token comes again: either that or its first answer was stolen
/// (RFC 6749, section 10.5; RFC 9700, section 4.14).
pub(super) fn end_reused(
    connection: &Transaction<'_>,
    (user_id, session_id, client_id): (UserId, &str, &str),
    context: &RequestContext,
    now: Timestamp,
) -> StoreResult<()> {
    let ended = delete(connection, session_id, client_id)?;
    // The session may have ended before; then there is nothing to report.
    for (id, amr) in &ended {
        insert_event(
            connection,
            EventKind::TokenReused,
            Some(user_id),
            Actor::FromContext,
            context,
            client_id,
            now,
        )?;
        let subject = session_subject(id, amr, context);
        let event = WebhookEventType::SessionReuseDetected;
        emit(connection, event, user_id, subject, now)?;
    }
    Ok(())
}

pub(super) fn delete(
    connection: &dyn Connection,
    session_id: &str,
    client_id: &str,
) -> StoreResult<Vec<EndedSession>> {
    connection.query_all(
        "DELETE FROM sessions WHERE id = :id AND client_id = :client_id RETURNING id, amr",
        params! { ":id": session_id, ":client_id": client_id },
        ended_session,
    )
}

/// A live session of a client whose account is active.
pub(super) fn find_client_session(
    connection: &dyn Connection,
    session_id: &str,
    lifetimes: SessionLifetimes,
    now: Timestamp,
) -> StoreResult<Option<ClientSession>> {
    let sql = format!(
        "SELECT {USER_COLUMNS}, sessions.id, sessions.client_id, sessions.scopes, \
         sessions.created_at, parents.created_at, sessions.authenticated_at, sessions.amr FROM \
         sessions JOIN users ON users.id = sessions.user_id LEFT JOIN sessions AS parents ON \
         parents.id = sessions.parent_id WHERE sessions.id = :id AND sessions.client_id IS NOT \
         NULL AND sessions.expires_at > :now AND users.is_active AND (sessions.parent_id IS NULL \
         OR parents.expires_at > :now)"
    );
    let session = connection.query_optional(
        &sql,
        params! { ":id": session_id, ":now": now.unix_millis() },
        |row| {
            let own = USER_COLUMN_COUNT;
            Ok(ClientSession {
                user: user(row)?,
                id: row.get(own)?,
                client_id: row.get(own + 1)?,
                scopes: Scopes::parse_known(&row.get::<String>(own + 2)?),
                created_at: timestamp(row, own + 3)?,
                parent_created_at: optional_timestamp(row, own + 4)?,
                authentication: authentication(row, own + 5)?,
            })
        },
    )?;
    Ok(session.filter(|session| {
        let is_staff = session.user.is_staff;
        let end = session
            .parent_created_at
            .and_then(|created_at| lifetimes.end(created_at, is_staff));
        end.is_none_or(|end| end > now)
    }))
}

#[async_trait]
impl<E: Engine> ClientSessionStore for Database<E> {
    async fn redeem_code(&self, request: RedeemCode) -> StoreResult<RedeemOutcome> {
        self.engine
            .write_for(Keys::code(&request.code_hash), move |connection| {
                redeem(connection, &request)
            })
            .await
    }

    async fn find_client_session(
        &self,
        session_id: &str,
        lifetimes: SessionLifetimes,
        now: Timestamp,
    ) -> StoreResult<Option<ClientSession>> {
        let session_id = session_id.to_owned();
        self.engine
            .read(move |connection| find_client_session(connection, &session_id, lifetimes, now))
            .await
    }

    async fn delete_client_session(
        &self,
        session_id: &str,
        client_id: &str,
        context: RequestContext,
        now: Timestamp,
    ) -> StoreResult<bool> {
        let (session_id, client_id) = (session_id.to_owned(), client_id.to_owned());
        self.engine
            .write_for(
                Keys::session(&session_id),
                move |connection| -> StoreResult<bool> {
                    let user_id = find_user_id(&**connection, &session_id)?;
                    let ended = delete(connection, &session_id, &client_id)?;
                    let Some(user_id) = user_id.filter(|_| !ended.is_empty()) else {
                        return Ok(false);
                    };
                    let kind = EventKind::SignOut;
                    let actor = Actor::Owner;
                    insert_event(
                        connection,
                        kind,
                        Some(user_id),
                        actor,
                        &context,
                        &client_id,
                        now,
                    )?;
                    emit_ended(connection, user_id, ended, &context, now)?;
                    Ok(true)
                },
            )
            .await
    }
}
