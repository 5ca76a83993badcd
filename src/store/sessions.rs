//! Sessions and their refresh tokens.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{
    FactorRefusal, FactorTry, Factors, NewMail, NewTicket, PasswordTry, RequestContext,
    StoreResult, UserSnapshot,
};
use crate::domain::{Authentication, SessionLifetimes, SessionRef, Timestamp, User, UserId};

/// A session to create, with its first refresh token.
#[derive(Clone)]
pub struct NewSession {
    /// Random id of the session, the `sid` of its tokens.
    pub id: String,
    /// Random id (`jti`) of the first refresh token.
    pub refresh_id: String,
    /// The current time.
    pub now: Timestamp,
    /// How and when its owner authenticated.
    pub authentication: Authentication,
    /// When the first refresh token expires, if the session does not end before.
    pub expires_at: Timestamp,
    /// The maximum age of sessions.
    pub lifetimes: SessionLifetimes,
    /// The lifetime of access tokens: sessions without a live token are evicted first.
    pub access_lifetime: Duration,
    /// IP address of the client.
    pub ip: String,
    /// The client's [`crate::domain::ClientNetwork`], which becomes known for the account.
    pub network: String,
    /// `User-Agent` of the client.
    pub user_agent: String,
    /// Of a browser session: the hash of the secret in its cookie. It has no refresh token.
    pub secret_hash: Option<Vec<u8>>,
}

/// A sign-in whose password was verified.
pub struct SignIn {
    /// The account.
    pub user_id: UserId,
    /// The hash the password was verified against, which the account must still have.
    pub password_hash: String,
    /// The attempt.
    pub tried: PasswordTry,
    /// The session to create.
    pub session: NewSession,
    /// The notice of a sign-in from a new network.
    pub notice: Option<NewMail>,
    /// The code of a second factor that came along.
    pub factor: Option<FactorTry>,
    /// For the second step, when a second factor is wanted and none came along.
    pub ticket: NewTicket,
}

/// The outcome of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignInOutcome {
    /// The session was created.
    Started {
        /// The account.
        user: Box<User>,
        /// What the session was started with.
        authentication: Authentication,
    },
    /// The account has a second factor; the ticket is stored.
    SecondFactorRequired {
        /// The factors of the account.
        factors: Box<Factors>,
    },
    /// The code that came along was not accepted.
    FactorRefused(FactorRefusal),
    /// The account has changed since the password was verified.
    Changed,
    /// Too many attempts have failed meanwhile; the answer does not reveal that this one was right.
    Throttled {
        /// When the next attempt is allowed.
        until: Timestamp,
    },
}

/// A session as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last refreshed.
    pub last_used_at: Timestamp,
    /// IP address of the client then.
    pub ip: String,
    /// `User-Agent` of the client then.
    pub user_agent: String,
    /// How and when its owner last authenticated.
    pub authentication: Authentication,
    /// The name of the OAuth client whose session it is; `None` for the owner's own.
    pub client_name: Option<String>,
}

/// A rotation: the exchange of a refresh token for its successor.
pub struct RotateRefreshToken {
    /// The session of the token.
    pub session_id: String,
    /// The token's `jti`.
    pub refresh_id: String,
    /// `jti` of the successor.
    pub new_refresh_id: String,
    /// When the successor expires, if the session does not end before.
    pub new_expires_at: Timestamp,
    /// The maximum age of sessions.
    pub lifetimes: SessionLifetimes,
    /// The current time.
    pub now: Timestamp,
    /// How long after its first use a token is accepted again; zero disables it.
    pub grace: Duration,
    /// IP address of the client.
    pub ip: String,
    /// `User-Agent` of the client.
    pub user_agent: String,
}

/// The outcome of a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The successor is valid. Within the grace every repeat returns the same one.
    Rotated {
        /// The account.
        user: Box<User>,
        /// When the session was created.
        created_at: Timestamp,
        /// How and when its owner last authenticated.
        authentication: Authentication,
        /// `jti` of the successor.
        refresh_id: String,
    },
    /// Reuse was detected: the session was revoked.
    Reused,
    /// The session has ended, or its account is inactive.
    Invalid,
}

/// Operations on sessions.
#[async_trait]
pub trait SessionStore {
    /// Creates a session after a verified password and resets the failures of its source.
    ///
    /// An account has at most 100 sessions, those of OAuth clients apart. Beyond that those are evicted first that were never
    /// refreshed and have no live access token, then the least recently used.
    async fn create_session(&self, sign_in: SignIn) -> StoreResult<SignInOutcome>;

    /// Records a failed sign-in by a passkey or an identity, of a known account or of none.
    async fn note_failed_sign_in(
        &self,
        user_id: Option<UserId>,
        context: RequestContext,
        now: Timestamp,
    ) -> StoreResult<()>;

    /// Finds the active account of a live session; never a stale one.
    async fn find_session_user(
        &self,
        session: &SessionRef,
    ) -> StoreResult<Option<Arc<UserSnapshot>>>;

    /// Exchanges a refresh token for its successor.
    async fn rotate_refresh_token(&self, rotation: RotateRefreshToken) -> StoreResult<Rotation>;

    /// Whether a refresh token would be accepted now.
    async fn is_refresh_token_live(
        &self,
        session_id: &str,
        refresh_id: &str,
        now: Timestamp,
        grace: Duration,
        lifetimes: SessionLifetimes,
    ) -> StoreResult<bool>;

    /// Signs a session out, and the clients' sessions that depend on it. False when there is none.
    async fn delete_session(
        &self,
        session_id: &str,
        context: RequestContext,
        now: Timestamp,
    ) -> StoreResult<bool>;

    /// Lists the live sessions of an account, newest first.
    async fn list_sessions(&self, user_id: UserId, now: Timestamp) -> StoreResult<Vec<Session>>;

    /// Revokes one session of an account. False when the account has no such session.
    async fn delete_user_session(
        &self,
        user_id: UserId,
        session_id: &str,
        context: RequestContext,
        now: Timestamp,
    ) -> StoreResult<bool>;

    /// Revokes all sessions of an account but one. Returns their number.
    async fn delete_other_sessions(
        &self,
        user_id: UserId,
        keep: &str,
        context: RequestContext,
        now: Timestamp,
    ) -> StoreResult<usize>;
}
