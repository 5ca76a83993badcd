//! Sessions and the refresh tokens that keep them going.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{NewMail, PasswordTry, RequestContext, SessionRef, StoreResult, UserSnapshot};
use crate::domain::{Timestamp, User, UserId};

/// A session about to begin, with its first refresh token.
#[derive(Clone)]
pub struct NewSession {
    /// Random id of the session, the `sid` of its tokens.
    pub id: String,
    /// Random id (`jti`) of the first refresh token.
    pub refresh_id: String,
    /// When it begins.
    pub now: Timestamp,
    /// When the first refresh token expires.
    pub expires_at: Timestamp,
    /// Address of the client.
    pub ip: String,
    /// Network of the client, as [`crate::domain::ClientNetwork`] writes it; the account is known there from now on.
    pub network: String,
    /// What the client calls itself.
    pub user_agent: String,
}

/// A sign-in whose password was found to be right.
pub struct SignIn {
    /// The account.
    pub user_id: UserId,
    /// The hash that the password was checked against, which the account must still have.
    pub password_hash: String,
    /// The try that is about to succeed.
    pub tried: PasswordTry,
    /// The session that begins.
    pub session: NewSession,
    /// Goes to the owner when the account has been signed in to before, but not from this network.
    pub notice: Option<NewMail>,
}

/// What became of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignInOutcome {
    /// The session has begun.
    Started(Box<User>),
    /// The account is no longer as it was when the password was checked: gone, deactivated, or with another password.
    Changed,
    /// Too many tries have failed in the meantime; nobody is told that this one was right.
    Throttled {
        /// When the next try may come.
        until: Timestamp,
    },
}

/// A session as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When its refresh token was last traded.
    pub last_used_at: Timestamp,
    /// Address of the client then.
    pub ip: String,
    /// What the client called itself then.
    pub user_agent: String,
}

/// The wish to trade a refresh token for the next one.
pub struct RotateRefreshToken {
    /// The session that the token names.
    pub session_id: String,
    /// The token's `jti`.
    pub refresh_id: String,
    /// `jti` of the next one.
    pub new_refresh_id: String,
    /// When the next one expires.
    pub new_expires_at: Timestamp,
    /// When it happens.
    pub now: Timestamp,
    /// How long after its first use a token may be shown again; zero means not at all.
    pub grace: Duration,
    /// Address of the client.
    pub ip: String,
    /// What the client calls itself.
    pub user_agent: String,
}

/// What became of a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The next token is good; here is whom it belongs to.
    Rotated(Box<User>),
    /// The token had been used before: somebody else has it too, and the whole session has ended.
    Reused,
    /// The session is over, or its account may not sign in.
    Invalid,
}

/// Operations on sessions.
#[async_trait]
pub trait SessionStore {
    /// Begins a session for an account whose password was just found to be right. Failed tries from there are forgotten. An
    /// account has at most 10,000 sessions: beyond that those end that were not used for longest, a thousand at a time.
    async fn create_session(&self, sign_in: SignIn) -> StoreResult<SignInOutcome>;

    /// The account behind a living session, if it may sign in: as it is at this moment, whoever has written last.
    async fn find_session_user(
        &self,
        session: &SessionRef,
    ) -> StoreResult<Option<Arc<UserSnapshot>>>;

    /// Uses up a refresh token and puts the next one in its place.
    async fn rotate_refresh_token(&self, rotation: RotateRefreshToken) -> StoreResult<Rotation>;

    /// Whether a refresh token could be traded now: not used up (or within its grace), and its session alive.
    async fn is_refresh_token_live(
        &self,
        session_id: &str,
        refresh_id: &str,
        now: Timestamp,
        grace: Duration,
    ) -> StoreResult<bool>;

    /// Ends a session, as its owner does who signs out. False when there was none.
    async fn delete_session(
        &self,
        session_id: &str,
        context: RequestContext,
        now: Timestamp,
    ) -> StoreResult<bool>;

    /// The living sessions of an account, the newest first.
    async fn list_sessions(&self, user_id: UserId, now: Timestamp) -> StoreResult<Vec<Session>>;

    /// Ends one session of an account. False when the account has no such session.
    async fn delete_user_session(
        &self,
        user_id: UserId,
        session_id: &str,
        context: RequestContext,
        now: Timestamp,
    ) -> StoreResult<bool>;

    /// Ends all sessions of an account but one. Gives their number.
    async fn delete_other_sessions(
        &self,
        user_id: UserId,
        keep: &str,
        context: RequestContext,
        now: Timestamp,
    ) -> StoreResult<usize>;
}
