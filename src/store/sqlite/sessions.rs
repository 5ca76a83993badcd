//! Sessions and refresh tokens in SQLite.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, named_params};

use super::events::{Actor, insert_event};
use super::mails::insert_mail;
use super::password_tries::{find_pause, forget_failures, note_network};
use super::rows::{USER_COLUMNS, timestamp, user};
use super::users::find_by_id;
use super::{SqliteStore, driver_error};
use crate::domain::{EventKind, SessionRef, Timestamp, User, UserId};
use crate::store::{
    NewSession, RequestContext, RotateRefreshToken, Rotation, Session, SessionStore, SignIn,
    SignInOutcome, StoreResult, UserSnapshot,
};

/// How long a used refresh token is remembered by a row of its own.
const REMEMBER_USED: Duration = Duration::from_hours(1);

/// Most sessions of one account.
const MOST_SESSIONS: i64 = 10_000;

/// How many of them go at once when there are more, so that looking for them is seldom.
const SURPLUS: i64 = 1000;

/// Most refresh tokens of one session that have a row: far more than there are tabs, and few enough to look through at each
/// refresh.
const MOST_REFRESH_TOKENS: i64 = 100;

/// Stores a session and its first refresh token. The account is known in that network from now on.
pub(super) fn insert_session(
    connection: &Connection,
    user_id: UserId,
    session: &NewSession,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at, ip, user_agent) \
             VALUES (:id, :user_id, :now, :now, :expires_at, :ip, :user_agent)",
        )?
        .execute(named_params! {
            ":id": session.id,
            ":user_id": user_id,
            ":now": session.now.unix_millis(),
            ":expires_at": session.expires_at.unix_millis(),
            ":ip": session.ip,
            ":user_agent": session.user_agent,
        })?;
    note_network(connection, user_id, &session.network, session.now)?;
    insert_refresh_token(
        connection,
        &session.refresh_id,
        &session.id,
        session.expires_at,
    )
}

fn insert_refresh_token(
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

/// Ends those sessions of an account that were not used for longest, when there are too many. Gives how many.
fn evict_oldest(connection: &Connection, user_id: UserId, keep: &str) -> rusqlite::Result<usize> {
    let has_too_many: bool = connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM sessions WHERE user_id = :user_id LIMIT 1 OFFSET :most)",
        )?
        .query_row(
            named_params! { ":user_id": user_id, ":most": MOST_SESSIONS },
            |row| row.get(0),
        )?;
    if !has_too_many {
        return Ok(0);
    }
    connection
        .prepare_cached(
            "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE user_id = :user_id AND id <> :keep \
             ORDER BY last_used_at DESC, id LIMIT -1 OFFSET :others)",
        )?
        .execute(named_params! {
            ":user_id": user_id,
            ":keep": keep,
            ":others": MOST_SESSIONS - SURPLUS,
        })
}

fn create_session(connection: &Connection, sign_in: &SignIn) -> rusqlite::Result<SignInOutcome> {
    // Asked again in the order of the commits: of guesses made side by side, none beyond the limits is told to be right.
    if let Some(until) = find_pause(connection, &sign_in.tried)? {
        return Ok(SignInOutcome::Throttled { until });
    }
    let is_new_place = is_new_place(connection, sign_in.user_id, &sign_in.session.network)?;
    let changed = connection
        .prepare_cached(
            "UPDATE users SET last_login_at = :now \
             WHERE id = :user_id AND password_hash = :password_hash AND is_active AND verified_at IS NOT NULL",
        )?
        .execute(named_params! {
            ":user_id": sign_in.user_id,
            ":password_hash": sign_in.password_hash,
            ":now": sign_in.session.now.unix_millis(),
        })?;
    if changed == 0 {
        return Ok(SignInOutcome::Changed);
    }
    forget_failures(connection, &sign_in.tried)?;
    insert_session(connection, sign_in.user_id, &sign_in.session)?;
    insert_event(
        connection,
        EventKind::SignIn,
        Some(sign_in.user_id),
        Actor::Owner,
        &sign_in.tried.context,
        "",
        sign_in.session.now,
    )?;
    let ended = evict_oldest(connection, sign_in.user_id, &sign_in.session.id)?;
    note_ended(
        connection,
        sign_in.user_id,
        ended,
        (Actor::Owner, &sign_in.tried.context),
        sign_in.session.now,
    )?;
    let Some(user) = find_by_id(connection, sign_in.user_id)? else {
        return Ok(SignInOutcome::Changed);
    };
    if let Some(notice) = sign_in.notice.as_ref().filter(|_| is_new_place) {
        let now = sign_in.session.now;
        insert_mail(connection, user.id, None, user.email.as_str(), notice, now)?;
    }
    Ok(SignInOutcome::Started(Box::new(user)))
}

/// Whether an account has been signed in to before, but not from this network. With the first sign-in there is nothing yet that
/// another one could differ from.
fn is_new_place(connection: &Connection, user_id: UserId, network: &str) -> rusqlite::Result<bool> {
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

pub(super) fn find_live_user(
    connection: &Connection,
    session_id: &str,
) -> rusqlite::Result<Option<User>> {
    connection
        .prepare_cached(&format!(
            "SELECT {USER_COLUMNS} FROM sessions JOIN users ON users.id = sessions.user_id \
             WHERE sessions.id = :session_id AND users.is_active"
        ))?
        .query_row(named_params! { ":session_id": session_id }, user)
        .optional()
}

/// Whether a refresh token was used so shortly ago that it may be shown again.
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
        // A clock that was set back must not stretch a grace of nothing.
        .map(|recent: bool| recent && !grace.is_zero())
}

fn rotate(connection: &Connection, rotation: &RotateRefreshToken) -> rusqlite::Result<Rotation> {
    let Some(user) = find_live_user(connection, &rotation.session_id)? else {
        return Ok(Rotation::Invalid);
    };
    let now = rotation.now.unix_millis();
    let used = connection
        .prepare_cached(
            "UPDATE refresh_tokens SET used_at = :now WHERE id = :id AND session_id = :session_id AND used_at IS NULL",
        )?
        .execute(named_params! {
            ":id": rotation.refresh_id, ":session_id": rotation.session_id, ":now": now,
        })?;
    if used == 0
        && !is_in_grace(
            connection,
            &rotation.session_id,
            &rotation.refresh_id,
            rotation.now,
            rotation.grace,
        )?
    {
        // A validly signed token of a living session that is not there to be used was used before.
        delete_session(connection, &rotation.session_id)?;
        let context = RequestContext {
            ip: rotation.ip.clone(),
            user_agent: rotation.user_agent.clone(),
            ..RequestContext::default()
        };
        // Nobody knows whether it is the thief or the owner who shows it.
        insert_event(
            connection,
            EventKind::TokenReused,
            Some(user.id),
            Actor::FromContext,
            &context,
            "",
            rotation.now,
        )?;
        return Ok(Rotation::Reused);
    }
    insert_refresh_token(
        connection,
        &rotation.new_refresh_id,
        &rotation.session_id,
        rotation.new_expires_at,
    )?;
    connection
        .prepare_cached(
            "UPDATE sessions SET last_used_at = :now, expires_at = max(expires_at, :expires_at), ip = :ip, \
             user_agent = :user_agent WHERE id = :session_id",
        )?
        .execute(named_params! {
            ":session_id": rotation.session_id,
            ":now": now,
            ":expires_at": rotation.new_expires_at.unix_millis(),
            ":ip": rotation.ip,
            ":user_agent": rotation.user_agent,
        })?;
    // Of very many those go that count for least: the ones whose use is no more to be pardoned, then the oldest.
    connection
        .prepare_cached(
            "DELETE FROM refresh_tokens WHERE session_id = :session_id AND (used_at < :used_before OR expires_at <= :now \
             OR id IN (SELECT id FROM refresh_tokens WHERE session_id = :session_id AND id NOT IN (:id, :new_id) \
             ORDER BY coalesce(used_at <= :grace_ends, 0), used_at DESC, expires_at DESC LIMIT -1 OFFSET :others))",
        )?
        .execute(named_params! {
            ":session_id": rotation.session_id,
            ":id": rotation.refresh_id,
            ":new_id": rotation.new_refresh_id,
            ":others": MOST_REFRESH_TOKENS - 2,
            ":grace_ends": rotation.now.minus(rotation.grace).unix_millis(),
            ":used_before": rotation
                .now
                .minus(REMEMBER_USED.max(rotation.grace))
                .unix_millis(),
            ":now": now,
        })?;
    Ok(Rotation::Rotated(Box::new(user)))
}

/// Ends the sessions of an account, but for one.
pub(super) fn delete_sessions(
    connection: &Connection,
    user_id: UserId,
    keep: Option<&str>,
) -> rusqlite::Result<usize> {
    connection
        .prepare_cached("DELETE FROM sessions WHERE user_id = :user_id AND id IS NOT :keep")?
        .execute(named_params! { ":user_id": user_id, ":keep": keep })
}

/// Ends a session and gives the account that it was of.
fn delete_session(connection: &Connection, session_id: &str) -> rusqlite::Result<Option<UserId>> {
    connection
        .prepare_cached("DELETE FROM sessions WHERE id = :id RETURNING user_id")?
        .query_row(named_params! { ":id": session_id }, |row| row.get(0))
        .optional()
}

/// Writes down that sessions were ended by somebody who is signed in, or signs in once too often.
fn note_ended(
    connection: &Connection,
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
    ) -> StoreResult<bool> {
        self.read(|connection| {
            let unused: bool = connection
                .prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM refresh_tokens WHERE id = :id AND session_id = :session_id \
                     AND used_at IS NULL)",
                )?
                .query_row(
                    named_params! { ":id": refresh_id, ":session_id": session_id },
                    |row| row.get(0),
                )?;
            Ok((unused || is_in_grace(connection, session_id, refresh_id, now, grace)?)
                && find_live_user(connection, session_id)?.is_some())
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
                let user_id = delete_session(connection, &session_id)?;
                if user_id.is_some() {
                    let kind = EventKind::SignOut;
                    insert_event(connection, kind, user_id, Actor::Owner, &context, "", now)?;
                }
                Ok(user_id.is_some())
            })
            .await
    }

    async fn list_sessions(&self, user_id: UserId, now: Timestamp) -> StoreResult<Vec<Session>> {
        self.read_apart(move |connection| {
            connection
                .prepare_cached(
                    "SELECT id, created_at, last_used_at, ip, user_agent FROM sessions \
                     WHERE user_id = :user_id AND expires_at > :now ORDER BY created_at DESC, id",
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
            .run(move |connection| {
                let ended = connection
                    .prepare_cached("DELETE FROM sessions WHERE id = :id AND user_id = :user_id")?
                    .execute(named_params! { ":id": session_id, ":user_id": user_id })?;
                note_ended(
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
            .run(move |connection| {
                let ended = delete_sessions(connection, user_id, Some(&keep))?;
                note_ended(
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
