//! Sessions, and the rotation of their refresh tokens.

use std::sync::Arc;
use std::time::Duration;

use super::connection::{Connection, Row, params};
use async_trait::async_trait;

use super::engine::{Database, Engine};
use super::events::{Actor, insert_event};
use super::factors::{find_factors, insert_ticket, prove};
use super::lock::Keys;
use super::mails::insert_mail;
use super::notices::has_had_sign_in_notices;
use super::password_tries::{find_pause, forget_failures, note_network};
use super::refresh_tokens::{
    StoredToken, delete_surplus_refresh_tokens, exchange, insert_refresh_token,
    is_refresh_token_usable, stored_token,
};
use super::rows::{USER_COLUMN_COUNT, USER_COLUMNS, authentication, timestamp, user};
use super::transaction::Transaction;
use super::users::find_by_id;
use super::webhooks::emit;
use crate::domain::{
    Authentication, EventKind, SecondFactor, SessionLifetimes, SessionRef, Timestamp, User, UserId,
    WebhookEventType,
};
use crate::store::{
    EventSubject, NewMail, NewSession, RequestContext, RotateRefreshToken, Rotation, Session,
    SessionStore, SessionSubject, SignIn, SignInOutcome, StoreError, StoreResult, UserSnapshot,
};

/// Maximum number of sessions per account.
const MAX_SESSIONS: i64 = 100;

/// Checks that the session of a request is live and that its account may act on `target`.
///
/// Requests are authorized before their body is read; operations check again in their transaction.
/// Commands have no session and may do everything.
pub(super) fn authorize(
    connection: &dyn Connection,
    context: &RequestContext,
    target: UserId,
    needs_staff: bool,
) -> StoreResult<()> {
    let Some(session_id) = &context.session_id else {
        return Ok(());
    };
    let user = find_live_user(connection, session_id)?
        .filter(|user| Some(user.id) == context.actor_id)
        .ok_or(StoreError::SessionEnded)?;
    if user.is_staff || (user.id == target && !needs_staff) {
        Ok(())
    } else {
        Err(StoreError::Forbidden)
    }
}

/// Checks that a request comes from a staff member with a live session, or from a command.
pub(super) fn authorize_staff(
    connection: &dyn Connection,
    context: &RequestContext,
) -> StoreResult<()> {
    // Whom it is about does not matter to staff.
    authorize(connection, context, UserId::default(), true)
}

/// Stores a session with its first refresh token and evicts surplus ones.
///
/// The network becomes known for the account.
pub(super) fn insert_session(
    connection: &Transaction<'_>,
    user_id: UserId,
    session: &NewSession,
    context: &RequestContext,
) -> StoreResult<()> {
    let is_staff: bool = connection.query_row(
        "SELECT is_staff FROM users WHERE id = :id",
        params! { ":id": user_id },
        |row| row.get(0),
    )?;
    let end = session.lifetimes.end(session.now, is_staff);
    let expires_at = earliest(session.expires_at, end);
    connection.run(
        "INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at, ip, user_agent, \
         secret_hash, authenticated_at, amr) VALUES (:id, :user_id, :now, :now, :expires_at, :ip, \
         :user_agent, :secret_hash, :authenticated_at, :amr)",
        params! {
            ":id": session.id,
            ":user_id": user_id,
            ":now": session.now.unix_millis(),
            ":expires_at": expires_at.unix_millis(),
            ":ip": session.ip,
            ":user_agent": session.user_agent,
            ":secret_hash": session.secret_hash,
            ":authenticated_at": session.authentication.at.unix_millis(),
            ":amr": session.authentication.amr(),
        },
    )?;
    note_network(connection, user_id, &session.network, session.now)?;
    if session.secret_hash.is_none() {
        insert_refresh_token(connection, &session.refresh_id, &session.id, expires_at)?;
    }
    let amr = session.authentication.amr();
    let subject = session_subject(&session.id, &amr, context);
    let event = WebhookEventType::SessionCreated;
    emit(connection, event, user_id, subject, session.now)?;
    let evicted = evict_surplus(connection, user_id, session, context)?;
    note_revoked(
        connection,
        user_id,
        evicted,
        (Actor::Owner, context),
        session.now,
    )
}

/// The earlier of a time and an optional bound.
fn earliest(time: Timestamp, bound: Option<Timestamp>) -> Timestamp {
    bound.map_or(time, |bound| time.min(bound))
}

/// Deletes the sessions beyond the maximum, except the new one. Returns their number.
fn evict_surplus(
    connection: &Transaction<'_>,
    user_id: UserId,
    new: &NewSession,
    context: &RequestContext,
) -> StoreResult<usize> {
    let count: i64 = connection.query_row(
        "SELECT count(*) FROM sessions WHERE user_id = :user_id AND client_id IS NULL",
        params! { ":user_id": user_id },
        |row| row.get(0),
    )?;
    if count <= MAX_SESSIONS {
        return Ok(0);
    }
    let surplus: Vec<String> = connection.query_all(
        "SELECT id FROM sessions WHERE user_id = :user_id AND client_id IS NULL AND id <> :new \
         ORDER BY secret_hash IS NULL AND last_used_at = created_at AND created_at <= \
         :access_expired DESC, (secret_hash IS NULL) = :has_tokens DESC, last_used_at, id LIMIT \
         :surplus",
        params! {
            ":user_id": user_id,
            ":new": new.id,
            ":has_tokens": new.secret_hash.is_none(),
            ":access_expired": new.now.minus(new.access_lifetime).unix_millis(),
            ":surplus": count - MAX_SESSIONS,
        },
        |row| row.get(0),
    )?;
    let mut evicted = Vec::new();
    for id in &surplus {
        evicted.extend(delete_with_dependents(connection, id, user_id)?);
    }
    emit_ended(connection, user_id, evicted, context, new.now)
}

fn create_session(connection: &Transaction<'_>, sign_in: &SignIn) -> StoreResult<SignInOutcome> {
    // Checked again in commit order: parallel guesses beyond the limit are not answered.
    if let Some(until) = find_pause(connection, &sign_in.tried)? {
        return Ok(SignInOutcome::Throttled { until });
    }
    if !has_password(connection, sign_in)? {
        return Ok(SignInOutcome::Changed);
    }
    let user_id = sign_in.user_id;
    let mut session = sign_in.session.clone();
    let factors = find_factors(connection, user_id)?;
    if factors.is_enabled() {
        let Some(tried) = &sign_in.factor else {
            insert_ticket(connection, user_id, &sign_in.ticket)?;
            let factors = Box::new(factors);
            return Ok(SignInOutcome::SecondFactorRequired { factors });
        };
        match prove(connection, user_id, tried)? {
            Ok(factor) => {
                session.authentication = session.authentication.with_factor(factor, session.now);
            }
            Err(refusal) => return Ok(SignInOutcome::FactorRefused(refusal)),
        }
    }
    forget_failures(connection, &sign_in.tried)?;
    let context = &sign_in.tried.context;
    let notice = sign_in.notice.as_ref();
    Ok(
        match complete_session(connection, user_id, &session, context, notice)? {
            Some(user) => SignInOutcome::Started {
                user: Box::new(user),
                authentication: session.authentication,
            },
            None => SignInOutcome::Changed,
        },
    )
}

/// Whether an account may sign in with the password that was verified.
fn has_password(connection: &dyn Connection, sign_in: &SignIn) -> StoreResult<bool> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM users WHERE id = :user_id AND password_hash = :password_hash \
         AND is_active AND verified_at IS NOT NULL)",
        params! {
            ":user_id": sign_in.user_id, ":password_hash": sign_in.password_hash,
        },
        |row| row.get(0),
    )
}

/// Stores the session of somebody who has proven everything, and the notice of a new network.
pub(super) fn complete_session(
    connection: &Transaction<'_>,
    user_id: UserId,
    session: &NewSession,
    context: &RequestContext,
    notice: Option<&NewMail>,
) -> StoreResult<Option<User>> {
    let is_new_network = is_new_network(connection, user_id, &session.network)?;
    connection.run(
        "UPDATE users SET last_login_at = :now WHERE id = :user_id",
        params! { ":user_id": user_id, ":now": session.now.unix_millis() },
    )?;
    insert_session(connection, user_id, session, context)?;
    insert_event(
        connection,
        EventKind::SignIn,
        Some(user_id),
        Actor::Owner,
        context,
        "",
        session.now,
    )?;
    let user = find_by_id(connection, user_id)?;
    if let (Some(user), Some(notice)) = (&user, notice.filter(|_| is_new_network))
        && !has_had_sign_in_notices(connection, user_id, session.now)?
    {
        insert_mail(connection, user_id, None, &user.email, notice, session.now)?;
    }
    Ok(user)
}

/// Notes that the owner of a session has proven a factor.
pub(super) fn add_factor(
    connection: &dyn Connection,
    session_id: &str,
    factor: SecondFactor,
    now: Timestamp,
) -> StoreResult<()> {
    let Some(session) = find_session(connection, session_id)? else {
        return Ok(());
    };
    let authentication = session.authentication.with_factor(factor, now);
    connection.run(
        "UPDATE sessions SET authenticated_at = :at, amr = :amr WHERE id = :session_id",
        params! {
            ":session_id": session_id,
            ":at": authentication.at.unix_millis(),
            ":amr": authentication.amr(),
        },
    )
}

/// Whether an account has been signed in to before, but not from this network.
fn is_new_network(
    connection: &dyn Connection,
    user_id: UserId,
    network: &str,
) -> StoreResult<bool> {
    connection.query_row(
        "SELECT (EXISTS (SELECT 1 FROM known_networks WHERE user_id = :user_id) OR EXISTS (SELECT \
         1 FROM users WHERE id = :user_id AND last_login_at IS NOT NULL)) AND NOT EXISTS (SELECT 1 \
         FROM known_networks WHERE user_id = :user_id AND network = :network)",
        params! { ":user_id": user_id, ":network": network },
        |row| row.get(0),
    )
}

/// The active account of a session of its owner. Those of OAuth clients may do nothing here.
pub(in crate::store) fn find_live_user(
    connection: &dyn Connection,
    session_id: &str,
) -> StoreResult<Option<User>> {
    connection.query_optional(
        &format!(
            "SELECT {USER_COLUMNS} FROM sessions JOIN users ON users.id = sessions.user_id WHERE \
             sessions.id = :session_id AND sessions.client_id IS NULL AND users.is_active"
        ),
        params! { ":session_id": session_id },
        user,
    )
}

/// A live session.
pub(super) struct LiveSession {
    /// Its active account.
    pub(super) user: User,
    pub(super) created_at: Timestamp,
    pub(super) authentication: Authentication,
}

/// Finds the live session of an account that is active. Those of OAuth clients are not found.
pub(super) fn find_session(
    connection: &dyn Connection,
    session_id: &str,
) -> StoreResult<Option<LiveSession>> {
    connection.query_optional(
        &format!(
            "SELECT {USER_COLUMNS}, {SESSION_COLUMNS} FROM sessions JOIN users ON users.id = \
             sessions.user_id WHERE sessions.id = :session_id AND sessions.client_id IS NULL AND \
             users.is_active"
        ),
        params! { ":session_id": session_id },
        live_session,
    )
}

/// The columns of a session that [`live_session`] reads after those of its account.
const SESSION_COLUMNS: &str = "sessions.created_at, sessions.authenticated_at, sessions.amr";

/// How many columns an account and its session have together.
const LIVE_SESSION_COLUMN_COUNT: usize = USER_COLUMN_COUNT + 3;

/// Reads the columns of an account, and then those of its session.
fn live_session(row: &Row<'_>) -> StoreResult<LiveSession> {
    Ok(LiveSession {
        user: user(row)?,
        created_at: timestamp(row, USER_COLUMN_COUNT)?,
        authentication: authentication(row, USER_COLUMN_COUNT + 1)?,
    })
}

/// Finds the live session of an active account, as [`find_session`] does,
/// together with one of its refresh tokens.
fn find_session_and_token(
    connection: &dyn Connection,
    session_id: &str,
    token_id: &str,
) -> StoreResult<Option<(LiveSession, Option<StoredToken>)>> {
    connection.query_optional(
        &format!(
            "SELECT {USER_COLUMNS}, {SESSION_COLUMNS}, refresh_tokens.used_at, \
             refresh_tokens.successor_id, refresh_tokens.id IS NOT NULL FROM sessions JOIN users \
             ON users.id = sessions.user_id LEFT JOIN refresh_tokens ON refresh_tokens.id = \
             :token_id AND refresh_tokens.session_id = sessions.id WHERE sessions.id = \
             :session_id AND sessions.client_id IS NULL AND users.is_active"
        ),
        params! { ":session_id": session_id, ":token_id": token_id },
        |row| {
            let token = LIVE_SESSION_COLUMN_COUNT;
            let is_stored: bool = row.get(token + 2)?;
            let stored = is_stored.then(|| stored_token(row, token)).transpose()?;
            Ok((live_session(row)?, stored))
        },
    )
}

/// Who sent a refresh token, for the audit log.
pub(super) fn context_of(rotation: &RotateRefreshToken) -> RequestContext {
    RequestContext {
        ip: rotation.ip.clone(),
        user_agent: rotation.user_agent.clone(),
        ..RequestContext::default()
    }
}

/// Rotates the refresh token of an owner's session.
pub(super) fn rotate(
    connection: &Transaction<'_>,
    rotation: &RotateRefreshToken,
) -> StoreResult<Rotation> {
    let (session_id, refresh_id) = (&rotation.session_id, &rotation.refresh_id);
    let Some((session, token)) = find_session_and_token(connection, session_id, refresh_id)? else {
        return Ok(Rotation::Invalid);
    };
    let LiveSession {
        user,
        created_at,
        authentication,
    } = session;
    let end = rotation.lifetimes.end(created_at, user.is_staff);
    if end.is_some_and(|end| end <= rotation.now) {
        delete_with_dependents(connection, session_id, user.id)?;
        return Ok(Rotation::Invalid);
    }
    let expires_at = earliest(rotation.new_expires_at, end);
    let Some(refresh_id) = exchange(connection, rotation, token, expires_at)? else {
        delete_with_dependents(connection, session_id, user.id)?;
        let amr = authentication.amr();
        let context = context_of(rotation);
        // It is unknown whether the owner or the thief sent it.
        insert_event(
            connection,
            EventKind::TokenReused,
            Some(user.id),
            Actor::FromContext,
            &context,
            "",
            rotation.now,
        )?;
        let subject = session_subject(session_id, &amr, &context);
        let event = WebhookEventType::SessionReuseDetected;
        emit(connection, event, user.id, subject, rotation.now)?;
        return Ok(Rotation::Reused);
    };
    touch_session(connection, rotation, expires_at, end)?;
    delete_surplus_refresh_tokens(connection, rotation, &refresh_id)?;
    Ok(Rotation::Rotated {
        user: Box::new(user),
        created_at,
        authentication,
        refresh_id,
    })
}

/// Records a refresh on its session.
fn touch_session(
    connection: &dyn Connection,
    rotation: &RotateRefreshToken,
    expires_at: Timestamp,
    end: Option<Timestamp>,
) -> StoreResult<()> {
    connection.run(
        "UPDATE sessions SET last_used_at = :now, expires_at = least(greatest(expires_at, \
         :expires_at), :end), ip = :ip, user_agent = :user_agent WHERE id = :session_id",
        params! {
            ":session_id": rotation.session_id,
            ":now": rotation.now.unix_millis(),
            ":expires_at": expires_at.unix_millis(),
            ":end": end.map(Timestamp::unix_millis),
            ":ip": rotation.ip,
            ":user_agent": rotation.user_agent,
        },
    )
}

/// Deletes the sessions of an account, except one, and notifies webhooks. Returns their number.
pub(super) fn delete_sessions(
    connection: &Transaction<'_>,
    user_id: UserId,
    keep: Option<&str>,
    (context, now): (&RequestContext, Timestamp),
) -> StoreResult<usize> {
    let mut ended = Vec::new();
    // Those of clients first: the deletion of a browser session deletes those that depend on it.
    for is_own in [false, true] {
        let rows = connection.query_all(
            "DELETE FROM sessions WHERE user_id = :user_id AND id IS DISTINCT FROM :keep AND \
             (client_id IS NULL) = :is_own RETURNING id, amr",
            params! { ":user_id": user_id, ":keep": keep, ":is_own": is_own },
            ended_session,
        )?;
        ended.extend(rows);
    }
    emit_ended(connection, user_id, ended, context, now)
}

/// Deletes the sessions of an OAuth client and notifies webhooks. Returns their number.
pub(super) fn delete_client_sessions(
    connection: &Transaction<'_>,
    client_id: &str,
    (context, now): (&RequestContext, Timestamp),
) -> StoreResult<usize> {
    let ended: Vec<(UserId, EndedSession)> = connection.query_all(
        "DELETE FROM sessions WHERE client_id = :client_id RETURNING id, amr, user_id",
        params! { ":client_id": client_id },
        |row| Ok((row.get(2)?, ended_session(row)?)),
    )?;
    let count = ended.len();
    for (user_id, session) in ended {
        emit_ended(connection, user_id, vec![session], context, now)?;
    }
    Ok(count)
}

/// Deletes a session of an account and those of clients that depend on it.
fn delete_with_dependents(
    connection: &dyn Connection,
    session_id: &str,
    user_id: UserId,
) -> StoreResult<Vec<EndedSession>> {
    let mut ended = Vec::new();
    for statement in [
        "DELETE FROM sessions WHERE parent_id = :id AND user_id = :user_id RETURNING id, amr",
        "DELETE FROM sessions WHERE id = :id AND user_id = :user_id RETURNING id, amr",
    ] {
        let rows = connection.query_all(
            statement,
            params! { ":id": session_id, ":user_id": user_id },
            ended_session,
        )?;
        ended.extend(rows);
    }
    Ok(ended)
}

/// A session that has ended: its id and how its owner had authenticated.
pub(super) type EndedSession = (String, String);

pub(super) fn ended_session(row: &Row<'_>) -> StoreResult<EndedSession> {
    Ok((row.get(0)?, row.get(1)?))
}

/// Notifies webhooks of ended sessions. Returns their number.
pub(super) fn emit_ended(
    connection: &Transaction<'_>,
    user_id: UserId,
    ended: Vec<EndedSession>,
    context: &RequestContext,
    now: Timestamp,
) -> StoreResult<usize> {
    for (id, amr) in &ended {
        let subject = session_subject(id, amr, context);
        let event = WebhookEventType::SessionEnded;
        emit(connection, event, user_id, subject, now)?;
    }
    Ok(ended.len())
}

/// What an event says of a session, and of the client that caused the event.
pub(super) fn session_subject<'a>(
    id: &'a str,
    amr: &'a str,
    context: &'a RequestContext,
) -> EventSubject<'a> {
    EventSubject::Session(SessionSubject {
        id,
        amr,
        ip: &context.ip,
        user_agent: &context.user_agent,
    })
}

/// The account of a session.
pub(super) fn find_user_id(
    connection: &dyn Connection,
    session_id: &str,
) -> StoreResult<Option<UserId>> {
    connection.query_optional(
        "SELECT user_id FROM sessions WHERE id = :id",
        params! { ":id": session_id },
        |row| row.get(0),
    )
}

/// Records that sessions were revoked or evicted.
pub(super) fn note_revoked(
    connection: &Transaction<'_>,
    user_id: UserId,
    ended: usize,
    (actor, context): (Actor, &RequestContext),
    now: Timestamp,
) -> StoreResult<()> {
    if ended == 0 {
        return Ok(());
    }
    insert_event(
        connection,
        EventKind::SessionsRevoked,
        Some(user_id),
        actor,
        context,
        &ended.to_string(),
        now,
    )
}

#[async_trait]
impl<E: Engine> SessionStore for Database<E> {
    async fn create_session(&self, sign_in: SignIn) -> StoreResult<SignInOutcome> {
        self.engine
            .write_for(
                Keys::user(sign_in.user_id).and_hash(&sign_in.tried.account),
                move |connection| create_session(connection, &sign_in),
            )
            .await
    }

    async fn note_failed_sign_in(
        &self,
        user_id: Option<UserId>,
        context: RequestContext,
        now: Timestamp,
    ) -> StoreResult<()> {
        self.engine
            .write_for(Keys::none(), move |connection| {
                let (kind, actor) = (EventKind::SignInFailed, Actor::FromContext);
                insert_event(connection, kind, user_id, actor, &context, "", now)
            })
            .await
    }

    async fn find_session_user(
        &self,
        session: &SessionRef,
    ) -> StoreResult<Option<Arc<UserSnapshot>>> {
        let user = self.engine.find_session_user(session).await?;
        Ok(user.filter(|user| user.id == session.user_id))
    }

    async fn rotate_refresh_token(&self, rotation: RotateRefreshToken) -> StoreResult<Rotation> {
        self.engine
            .write_for(Keys::session(&rotation.session_id), move |connection| {
                rotate(connection, &rotation)
            })
            .await
    }

    async fn is_refresh_token_live(
        &self,
        session_id: &str,
        refresh_id: &str,
        now: Timestamp,
        grace: Duration,
        lifetimes: SessionLifetimes,
    ) -> StoreResult<bool> {
        let session_id = session_id.to_owned();
        let refresh_id = refresh_id.to_owned();
        self.engine
            .read(move |connection| {
                let Some(session) = find_session(connection, &session_id)? else {
                    return Ok(false);
                };
                let end = lifetimes.end(session.created_at, session.user.is_staff);
                if end.is_some_and(|end| end <= now) {
                    return Ok(false);
                }
                is_refresh_token_usable(connection, &session_id, &refresh_id, now, grace)
            })
            .await
    }

    async fn delete_session(
        &self,
        session_id: &str,
        context: RequestContext,
        now: Timestamp,
    ) -> StoreResult<bool> {
        let session_id = session_id.to_owned();
        self.engine
            .write_for(Keys::session(&session_id), move |connection| {
                let Some(user) = find_user_id(connection, &session_id)? else {
                    return Ok(false);
                };
                let ended = delete_with_dependents(connection, &session_id, user)?;
                let (kind, id) = (EventKind::SignOut, Some(user));
                insert_event(connection, kind, id, Actor::Owner, &context, "", now)?;
                emit_ended(connection, user, ended, &context, now)?;
                Ok(true)
            })
            .await
    }

    async fn list_sessions(&self, user_id: UserId, now: Timestamp) -> StoreResult<Vec<Session>> {
        self.engine
            .read_long(move |connection| {
                connection.query_all(
                    "SELECT sessions.id, sessions.created_at, last_used_at, ip, user_agent, \
                     authenticated_at, amr, oauth_clients.name FROM sessions LEFT JOIN \
                     oauth_clients ON oauth_clients.id = client_id WHERE user_id = :user_id AND \
                     expires_at > :now AND (parent_id IS NULL OR EXISTS (SELECT 1 FROM sessions AS \
                     parents WHERE parents.id = sessions.parent_id AND parents.expires_at > :now)) \
                     ORDER BY sessions.created_at DESC, sessions.id",
                    params! { ":user_id": user_id, ":now": now.unix_millis() },
                    |row| {
                        Ok(Session {
                            id: row.get(0)?,
                            created_at: timestamp(row, 1)?,
                            last_used_at: timestamp(row, 2)?,
                            ip: row.get(3)?,
                            user_agent: row.get(4)?,
                            authentication: authentication(row, 5)?,
                            client_name: row.get(7)?,
                        })
                    },
                )
            })
            .await
    }

    async fn delete_user_session(
        &self,
        user_id: UserId,
        session_id: &str,
        context: RequestContext,
        now: Timestamp,
    ) -> StoreResult<bool> {
        let session_id = session_id.to_owned();
        self.engine
            .write_for(
                Keys::user(user_id),
                move |connection| -> StoreResult<bool> {
                    authorize(connection, &context, user_id, false)?;
                    let ended = delete_with_dependents(connection, &session_id, user_id)?;
                    let ended = emit_ended(connection, user_id, ended, &context, now)?;
                    note_revoked(
                        connection,
                        user_id,
                        ended,
                        (Actor::FromContext, &context),
                        now,
                    )?;
                    Ok(ended > 0)
                },
            )
            .await
    }

    async fn delete_other_sessions(
        &self,
        user_id: UserId,
        keep: &str,
        context: RequestContext,
        now: Timestamp,
    ) -> StoreResult<usize> {
        let keep = keep.to_owned();
        self.engine
            .write_for(
                Keys::user(user_id),
                move |connection| -> StoreResult<usize> {
                    authorize(connection, &context, user_id, false)?;
                    let ended = delete_sessions(connection, user_id, Some(&keep), (&context, now))?;
                    note_revoked(
                        connection,
                        user_id,
                        ended,
                        (Actor::FromContext, &context),
                        now,
                    )?;
                    Ok(ended)
                },
            )
            .await
    }
}
