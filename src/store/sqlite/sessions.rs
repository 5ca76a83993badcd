//! Sessions and refresh tokens in SQLite.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::events::{Actor, insert_event};
use super::factors::{find_factors, insert_ticket, prove};
use super::mails::insert_mail;
use super::notices::has_had_sign_in_notices;
use super::password_tries::{find_pause, forget_failures, note_network};
use super::rows::{USER_COLUMNS, authentication, timestamp, user};
use super::transaction::Transaction;
use super::users::find_by_id;
use super::webhooks::emit;
use super::{SqliteStore, driver_error};
use crate::domain::{
    Authentication, EventKind, SecondFactor, SessionLifetimes, SessionRef, Timestamp, User, UserId,
    WebhookEventType,
};
use crate::store::{
    EventSubject, NewMail, NewSession, RequestContext, RotateRefreshToken, Rotation, Session,
    SessionStore, SessionSubject, SignIn, SignInOutcome, StoreError, StoreResult, UserSnapshot,
};

/// How long a used refresh token keeps its row.
const REMEMBER_USED: Duration = Duration::from_hours(1);

/// Maximum number of sessions per account.
const MAX_SESSIONS: i64 = 100;

/// Maximum number of refresh tokens with a row per session.
const MAX_REFRESH_TOKENS: i64 = 100;

/// Checks that the session of a request is live and that its account may act on `target`.
///
/// Requests are authorized before their body is read; operations check again in their transaction.
/// Commands have no session and may do everything.
pub(super) fn authorize(
    connection: &Connection,
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
    connection: &Connection,
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
) -> rusqlite::Result<()> {
    let is_staff: bool = connection
        .prepare_cached("SELECT is_staff FROM users WHERE id = :id")?
        .query_row(named_params! { ":id": user_id }, |row| row.get(0))?;
    let end = session.lifetimes.end(session.now, is_staff);
    let expires_at = earliest(session.expires_at, end);
    connection
        .prepare_cached(
            "INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at, ip, user_agent, \
             secret_hash, authenticated_at, amr) \
             VALUES (:id, :user_id, :now, :now, :expires_at, :ip, :user_agent, :secret_hash, \
             :authenticated_at, :amr)",
        )?
        .execute(named_params! {
            ":id": session.id,
            ":user_id": user_id,
            ":now": session.now.unix_millis(),
            ":expires_at": expires_at.unix_millis(),
            ":ip": session.ip,
            ":user_agent": session.user_agent,
            ":secret_hash": session.secret_hash,
            ":authenticated_at": session.authentication.at.unix_millis(),
            ":amr": session.authentication.amr(),
        })?;
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

pub(super) fn insert_refresh_token(
    connection: &Connection,
    id: &str,
    session_id: &str,
    expires_at: Timestamp,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO refresh_tokens (id, session_id, expires_at) VALUES (:id, :session_id, :expires_at)",
        )?
        .execute(named_params! {
            ":id": id, ":session_id": session_id, ":expires_at": expires_at.unix_millis(),
        })
        .map(drop)
}

/// Deletes the sessions beyond the maximum, except the new one. Returns their number.
fn evict_surplus(
    connection: &Transaction<'_>,
    user_id: UserId,
    new: &NewSession,
    context: &RequestContext,
) -> rusqlite::Result<usize> {
    let count: i64 = connection
        .prepare_cached(
            "SELECT count(*) FROM sessions WHERE user_id = :user_id AND client_id IS NULL",
        )?
        .query_row(named_params! { ":user_id": user_id }, |row| row.get(0))?;
    if count <= MAX_SESSIONS {
        return Ok(0);
    }
    let surplus: Vec<String> = connection
        .prepare_cached(
            "SELECT id FROM sessions \
             WHERE user_id = :user_id AND client_id IS NULL AND id <> :new ORDER BY \
             secret_hash IS NULL AND last_used_at = created_at AND created_at <= :access_expired DESC, \
             (secret_hash IS NULL) = :has_tokens DESC, last_used_at, id \
             LIMIT :surplus",
        )?
        .query_map(
            named_params! {
            ":user_id": user_id,
            ":new": new.id,
            ":has_tokens": new.secret_hash.is_none(),
            ":access_expired": new.now.minus(new.access_lifetime).unix_millis(),
            ":surplus": count - MAX_SESSIONS,
            },
            |row| row.get(0),
        )?
        .collect::<rusqlite::Result<_>>()?;
    let mut evicted = Vec::new();
    for id in &surplus {
        evicted.extend(delete_with_dependents(connection, id, user_id)?);
    }
    emit_ended(connection, user_id, evicted, context, new.now)
}

fn create_session(
    connection: &Transaction<'_>,
    sign_in: &SignIn,
) -> rusqlite::Result<SignInOutcome> {
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
fn has_password(connection: &Connection, sign_in: &SignIn) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM users WHERE id = :user_id \
             AND password_hash = :password_hash AND is_active AND verified_at IS NOT NULL)",
        )?
        .query_row(
            named_params! {
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
) -> rusqlite::Result<Option<User>> {
    let is_new_network = is_new_network(connection, user_id, &session.network)?;
    connection
        .prepare_cached("UPDATE users SET last_login_at = :now WHERE id = :user_id")?
        .execute(named_params! { ":user_id": user_id, ":now": session.now.unix_millis() })?;
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
    connection: &Connection,
    session_id: &str,
    factor: SecondFactor,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let Some(session) = find_session(connection, session_id)? else {
        return Ok(());
    };
    let authentication = session.authentication.with_factor(factor, now);
    connection
        .prepare_cached(
            "UPDATE sessions SET authenticated_at = :at, amr = :amr WHERE id = :session_id",
        )?
        .execute(named_params! {
            ":session_id": session_id,
            ":at": authentication.at.unix_millis(),
            ":amr": authentication.amr(),
        })
        .map(drop)
}

/// Whether an account has been signed in to before, but not from this network.
fn is_new_network(
    connection: &Connection,
    user_id: UserId,
    network: &str,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT (EXISTS (SELECT 1 FROM known_networks WHERE user_id = :user_id) \
             OR EXISTS (SELECT 1 FROM users WHERE id = :user_id AND last_login_at IS NOT NULL)) \
             AND NOT EXISTS (SELECT 1 FROM known_networks WHERE user_id = :user_id AND network = :network)",
        )?
        .query_row(
            named_params! { ":user_id": user_id, ":network": network },
            |row| row.get(0),
        )
}

/// The active account of a session of its owner. Those of OAuth clients may do nothing here.
pub(super) fn find_live_user(
    connection: &Connection,
    session_id: &str,
) -> rusqlite::Result<Option<User>> {
    connection
        .prepare_cached(&format!(
            "SELECT {USER_COLUMNS} FROM sessions JOIN users ON users.id = sessions.user_id \
             WHERE sessions.id = :session_id AND sessions.client_id IS NULL AND users.is_active"
        ))?
        .query_row(named_params! { ":session_id": session_id }, user)
        .optional()
}

/// Whether a refresh token was used within the grace.
fn is_in_grace(
    connection: &Connection,
    session_id: &str,
    refresh_id: &str,
    now: Timestamp,
    grace: Duration,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM refresh_tokens WHERE id = :id AND session_id = :session_id \
             AND used_at > :used_after)",
        )?
        .query_row(
            named_params! {
                ":id": refresh_id,
                ":session_id": session_id,
                ":used_after": now.minus(grace).unix_millis(),
            },
            |row| row.get(0),
        )
        // A clock that was set back must not extend a grace of zero.
        .map(|recent: bool| recent && !grace.is_zero())
}

/// A live session.
pub(super) struct LiveSession {
    /// Its active account.
    pub(super) user: User,
    pub(super) created_at: Timestamp,
    pub(super) authentication: Authentication,
}

pub(super) fn find_session(
    connection: &Connection,
    session_id: &str,
) -> rusqlite::Result<Option<LiveSession>> {
    let Some(user) = find_live_user(connection, session_id)? else {
        return Ok(None);
    };
    connection
        .prepare_cached("SELECT created_at, authenticated_at, amr FROM sessions WHERE id = :id")?
        .query_row(named_params! { ":id": session_id }, |row| {
            Ok(Some(LiveSession {
                user,
                created_at: timestamp(row, 0)?,
                authentication: authentication(row, 1)?,
            }))
        })
}

/// What the use of a refresh token comes to.
enum Use {
    /// It is used for the first time.
    First,
    /// It is repeated within the grace; this is its successor, if it has one.
    Repeated(Option<String>),
    /// It was used before.
    Reused,
}

fn use_refresh_token(
    connection: &Connection,
    rotation: &RotateRefreshToken,
) -> rusqlite::Result<Use> {
    let used = connection
        .prepare_cached(
            "UPDATE refresh_tokens SET used_at = :now, successor_id = :new_id \
             WHERE id = :id AND session_id = :session_id AND used_at IS NULL",
        )?
        .execute(named_params! {
            ":id": rotation.refresh_id,
            ":new_id": rotation.new_refresh_id,
            ":session_id": rotation.session_id,
            ":now": rotation.now.unix_millis(),
        })?;
    if used > 0 {
        return Ok(Use::First);
    }
    let (session_id, refresh_id) = (&rotation.session_id, &rotation.refresh_id);
    if !is_in_grace(
        connection,
        session_id,
        refresh_id,
        rotation.now,
        rotation.grace,
    )? {
        // A validly signed token of a live session that has no unused row was used before.
        return Ok(Use::Reused);
    }
    // Versions before 10 stored no successor: the first repeat sets it.
    let successor: Option<String> = connection
        .prepare_cached("SELECT successor_id FROM refresh_tokens WHERE id = :id")?
        .query_row(named_params! { ":id": refresh_id }, |row| row.get(0))?;
    if successor.is_none() {
        connection
            .prepare_cached("UPDATE refresh_tokens SET successor_id = :new_id WHERE id = :id")?
            .execute(named_params! { ":id": refresh_id, ":new_id": rotation.new_refresh_id })?;
    }
    Ok(Use::Repeated(successor))
}

/// Exchanges a refresh token of a live session for its successor, whose id is returned; `None` when it
/// was used before.
pub(super) fn exchange(
    connection: &Connection,
    rotation: &RotateRefreshToken,
    expires_at: Timestamp,
) -> rusqlite::Result<Option<String>> {
    match use_refresh_token(connection, rotation)? {
        Use::First | Use::Repeated(None) => {
            let id = &rotation.new_refresh_id;
            insert_refresh_token(connection, id, &rotation.session_id, expires_at)?;
            Ok(Some(rotation.new_refresh_id.clone()))
        }
        Use::Repeated(Some(successor)) => {
            // The token that is signed for it now expires a few seconds later than the first one.
            connection
                .prepare_cached(
                    "UPDATE refresh_tokens SET expires_at = max(expires_at, :expires_at) \
                     WHERE id = :id",
                )?
                .execute(named_params! {
                    ":id": successor, ":expires_at": expires_at.unix_millis(),
                })?;
            Ok(Some(successor))
        }
        Use::Reused => Ok(None),
    }
}

/// Who sent a refresh token, for the audit log.
pub(super) fn context_of(rotation: &RotateRefreshToken) -> RequestContext {
    RequestContext {
        ip: rotation.ip.clone(),
        user_agent: rotation.user_agent.clone(),
        ..RequestContext::default()
    }
}

/// Whether a refresh token of a session is unused, or was used within the grace.
pub(super) fn is_refresh_token_usable(
    connection: &Connection,
    session_id: &str,
    refresh_id: &str,
    now: Timestamp,
    grace: Duration,
) -> rusqlite::Result<bool> {
    let is_unused: bool = connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM refresh_tokens WHERE id = :id AND session_id = :session_id \
             AND used_at IS NULL)",
        )?
        .query_row(
            named_params! { ":id": refresh_id, ":session_id": session_id },
            |row| row.get(0),
        )?;
    Ok(is_unused || is_in_grace(connection, session_id, refresh_id, now, grace)?)
}

fn rotate(
    connection: &Transaction<'_>,
    rotation: &RotateRefreshToken,
) -> rusqlite::Result<Rotation> {
    let Some(session) = find_session(connection, &rotation.session_id)? else {
        return Ok(Rotation::Invalid);
    };
    let LiveSession {
        user,
        created_at,
        authentication,
    } = session;
    let end = rotation.lifetimes.end(created_at, user.is_staff);
    if end.is_some_and(|end| end <= rotation.now) {
        delete_with_dependents(connection, &rotation.session_id, user.id)?;
        return Ok(Rotation::Invalid);
    }
    let expires_at = earliest(rotation.new_expires_at, end);
    let Some(refresh_id) = exchange(connection, rotation, expires_at)? else {
        delete_with_dependents(connection, &rotation.session_id, user.id)?;
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
        let subject = session_subject(&rotation.session_id, &amr, &context);
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
    connection: &Connection,
    rotation: &RotateRefreshToken,
    expires_at: Timestamp,
    end: Option<Timestamp>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE sessions SET last_used_at = :now, \
             expires_at = min(max(expires_at, :expires_at), coalesce(:end, 9223372036854775807)), \
             ip = :ip, user_agent = :user_agent WHERE id = :session_id",
        )?
        .execute(named_params! {
            ":session_id": rotation.session_id,
            ":now": rotation.now.unix_millis(),
            ":expires_at": expires_at.unix_millis(),
            ":end": end.map(Timestamp::unix_millis),
            ":ip": rotation.ip,
            ":user_agent": rotation.user_agent,
        })
        .map(drop)
}

/// Deletes the rows of expired refresh tokens and of those used long ago.
pub(super) fn delete_surplus_refresh_tokens(
    connection: &Connection,
    rotation: &RotateRefreshToken,
    new_id: &str,
) -> rusqlite::Result<()> {
    let remember = REMEMBER_USED.max(rotation.grace);
    connection
        .prepare_cached(
            "DELETE FROM refresh_tokens WHERE session_id = :session_id AND (used_at < :used_before \
             OR expires_at <= :now OR id IN (SELECT id FROM refresh_tokens \
             WHERE session_id = :session_id AND id NOT IN (:id, :new_id) \
             ORDER BY coalesce(used_at <= :grace_ends, 0), used_at DESC, expires_at DESC \
             LIMIT -1 OFFSET :others))",
        )?
        .execute(named_params! {
            ":session_id": rotation.session_id,
            ":id": rotation.refresh_id,
            ":new_id": new_id,
            ":others": MAX_REFRESH_TOKENS - 2,
            ":grace_ends": rotation.now.minus(rotation.grace).unix_millis(),
            ":used_before": rotation.now.minus(remember).unix_millis(),
            ":now": rotation.now.unix_millis(),
        })
        .map(drop)
}

/// Deletes the sessions of an account, except one, and notifies webhooks. Returns their number.
pub(super) fn delete_sessions(
    connection: &Transaction<'_>,
    user_id: UserId,
    keep: Option<&str>,
    (context, now): (&RequestContext, Timestamp),
) -> rusqlite::Result<usize> {
    let mut ended = Vec::new();
    // Those of clients first: the deletion of a browser session deletes those that depend on it.
    for is_own in [false, true] {
        let rows = connection
            .prepare_cached(
                "DELETE FROM sessions WHERE user_id = :user_id AND id IS NOT :keep \
                 AND (client_id IS NULL) = :is_own RETURNING id, amr",
            )?
            .query_map(
                named_params! { ":user_id": user_id, ":keep": keep, ":is_own": is_own },
                ended_session,
            )?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        ended.extend(rows);
    }
    emit_ended(connection, user_id, ended, context, now)
}

/// Deletes the sessions of an OAuth client and notifies webhooks. Returns their number.
pub(super) fn delete_client_sessions(
    connection: &Transaction<'_>,
    client_id: &str,
    (context, now): (&RequestContext, Timestamp),
) -> rusqlite::Result<usize> {
    let ended: Vec<(UserId, EndedSession)> = connection
        .prepare_cached(
            "DELETE FROM sessions WHERE client_id = :client_id RETURNING id, amr, user_id",
        )?
        .query_map(named_params! { ":client_id": client_id }, |row| {
            Ok((row.get(2)?, ended_session(row)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let count = ended.len();
    for (user_id, session) in ended {
        emit_ended(connection, user_id, vec![session], context, now)?;
    }
    Ok(count)
}

/// Deletes a session of an account and those of clients that depend on it.
fn delete_with_dependents(
    connection: &Connection,
    session_id: &str,
    user_id: UserId,
) -> rusqlite::Result<Vec<EndedSession>> {
    let mut ended = Vec::new();
    for statement in [
        "DELETE FROM sessions WHERE parent_id = :id AND user_id = :user_id RETURNING id, amr",
        "DELETE FROM sessions WHERE id = :id AND user_id = :user_id RETURNING id, amr",
    ] {
        let rows = connection
            .prepare_cached(statement)?
            .query_map(
                named_params! { ":id": session_id, ":user_id": user_id },
                ended_session,
            )?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        ended.extend(rows);
    }
    Ok(ended)
}

/// A session that has ended: its id and how its owner had authenticated.
pub(super) type EndedSession = (String, String);

pub(super) fn ended_session(row: &Row<'_>) -> rusqlite::Result<EndedSession> {
    Ok((row.get(0)?, row.get(1)?))
}

/// Notifies webhooks of ended sessions. Returns their number.
pub(super) fn emit_ended(
    connection: &Transaction<'_>,
    user_id: UserId,
    ended: Vec<EndedSession>,
    context: &RequestContext,
    now: Timestamp,
) -> rusqlite::Result<usize> {
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
fn find_user_id(connection: &Connection, session_id: &str) -> rusqlite::Result<Option<UserId>> {
    connection
        .prepare_cached("SELECT user_id FROM sessions WHERE id = :id")?
        .query_row(named_params! { ":id": session_id }, |row| row.get(0))
        .optional()
}

/// Records that sessions were revoked or evicted.
pub(super) fn note_revoked(
    connection: &Transaction<'_>,
    user_id: UserId,
    ended: usize,
    (actor, context): (Actor, &RequestContext),
    now: Timestamp,
) -> rusqlite::Result<()> {
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
impl SessionStore for SqliteStore {
    async fn create_session(&self, sign_in: SignIn) -> StoreResult<SignInOutcome> {
        self.writer
            .run(move |connection| create_session(connection, &sign_in))
            .await
    }

    async fn note_failed_sign_in(
        &self,
        user_id: Option<UserId>,
        context: RequestContext,
        now: Timestamp,
    ) -> StoreResult<()> {
        self.writer
            .run(move |connection| {
                let (kind, actor) = (EventKind::SignInFailed, Actor::FromContext);
                insert_event(connection, kind, user_id, actor, &context, "", now)
            })
            .await
    }

    async fn find_session_user(
        &self,
        session: &SessionRef,
    ) -> StoreResult<Option<Arc<UserSnapshot>>> {
        let user = match &self.session_cache {
            Some(session_cache) => session_cache.find(session).await.map_err(driver_error)?,
            None => self
                .read(|connection| find_live_user(connection, &session.id))?
                .map(|user| Arc::new(UserSnapshot::new(user))),
        };
        Ok(user.filter(|user| user.id == session.user_id))
    }

    async fn rotate_refresh_token(&self, rotation: RotateRefreshToken) -> StoreResult<Rotation> {
        self.writer
            .run(move |connection| rotate(connection, &rotation))
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
        self.read(|connection| {
            let Some(session) = find_session(connection, session_id)? else {
                return Ok(false);
            };
            let end = lifetimes.end(session.created_at, session.user.is_staff);
            if end.is_some_and(|end| end <= now) {
                return Ok(false);
            }
            is_refresh_token_usable(connection, session_id, refresh_id, now, grace)
        })
    }

    async fn delete_session(
        &self,
        session_id: &str,
        context: RequestContext,
        now: Timestamp,
    ) -> StoreResult<bool> {
        let session_id = session_id.to_owned();
        self.writer
            .run(move |connection| {
                let Some(user) = find_user_id(connection, &session_id)? else {
                    return Ok(false);
                };
                let ended = delete_with_dependents(connection, &session_id, user)?;
                let (kind, id) = (EventKind::SignOut, Some(user));
                insert_event(connection, kind, id, Actor::Owner, &context, "", now)?;
                emit_ended(connection, user, ended, &context, now)?;
                Ok::<_, rusqlite::Error>(true)
            })
            .await
    }

    async fn list_sessions(&self, user_id: UserId, now: Timestamp) -> StoreResult<Vec<Session>> {
        self.read_apart(move |connection| {
            connection
                .prepare_cached(
                    "SELECT sessions.id, sessions.created_at, last_used_at, ip, user_agent, \
                     authenticated_at, amr, oauth_clients.name \
                     FROM sessions LEFT JOIN oauth_clients ON oauth_clients.id = client_id \
                     WHERE user_id = :user_id AND expires_at > :now AND (parent_id IS NULL OR \
                     EXISTS (SELECT 1 FROM sessions AS parents \
                     WHERE parents.id = sessions.parent_id AND parents.expires_at > :now)) \
                     ORDER BY sessions.created_at DESC, sessions.id",
                )?
                .query_map(
                    named_params! { ":user_id": user_id, ":now": now.unix_millis() },
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
                )?
                .collect()
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
        self.writer
            .run(move |connection| -> StoreResult<bool> {
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
            })
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
        self.writer
            .run(move |connection| -> StoreResult<usize> {
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
            })
            .await
    }
}
