//! Sessions of OAuth clients: started by an authorization code, carried on by refresh tokens.
//!
//! They are rows beside those of the users' own sessions and end as those do, by
//! [`super::SessionStore`]. The account API knows nothing of them.

use std::time::Duration;

use async_trait::async_trait;

use super::{RequestContext, StoreResult};
use crate::domain::{Authentication, Scopes, SessionLifetimes, Timestamp, User};

/// A code to redeem (RFC 6749, section 4.1.3).
#[derive(Clone, Debug)]
pub struct RedeemCode {
    /// Hash of the code.
    pub code_hash: Vec<u8>,
    /// The client that sends it, and has authenticated if it can.
    pub client_id: String,
    /// The redirect URI that it sends.
    pub redirect_uri: String,
    /// The S256 challenge of the PKCE verifier that it sends (RFC 7636, section 4.6).
    pub code_challenge: String,
    /// Random id (`jti`) of the first refresh token.
    pub refresh_id: String,
    /// Lifetime of the client's unused refresh tokens.
    pub refresh_lifetime: Duration,
    /// Maximum age of the client's sessions.
    pub session_lifetime: Duration,
    /// The maximum age of browser sessions.
    pub lifetimes: SessionLifetimes,
    /// The current time.
    pub now: Timestamp,
    /// Who makes the request, and from where.
    pub context: RequestContext,
}

/// The outcome of [`ClientSessionStore::redeem_code`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedeemOutcome {
    /// The session was started.
    Started {
        /// The session.
        session: Box<ClientSession>,
        /// For the ID token.
        nonce: Option<String>,
        /// When the first refresh token expires.
        refresh_expires_at: Timestamp,
    },
    /// The code was used before: the session that it started has ended.
    Reused,
    /// The code is unknown, expired, or of another client, redirect URI or verifier; or user or
    /// client no longer fulfil its conditions.
    Invalid,
}

/// A live session of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSession {
    /// Its id, the `sid` of its tokens.
    pub id: String,
    /// The account.
    pub user: User,
    /// The client.
    pub client_id: String,
    /// What the client got.
    pub scopes: Scopes,
    /// How and when its owner authenticated, in the browser.
    pub authentication: Authentication,
    /// When it was created.
    pub created_at: Timestamp,
    /// When the browser session was created that it ends with; `None` if it outlives it.
    pub parent_created_at: Option<Timestamp>,
}

impl ClientSession {
    /// When it ends however often it is refreshed: after the client's lifetime, or with the browser
    /// session if that ends before.
    pub fn end(&self, session_lifetime: Duration, lifetimes: SessionLifetimes) -> Timestamp {
        let own = self.created_at.plus(session_lifetime);
        let parent = self
            .parent_created_at
            .and_then(|created_at| lifetimes.end(created_at, self.user.is_staff));
        parent.map_or(own, |parent| parent.min(own))
    }
}

/// Operations on sessions of clients.
#[async_trait]
pub trait ClientSessionStore {
    /// Starts the session of a code. A code is used once; when it comes again, the session that it
    /// started ends.
    ///
    /// A user has at most 20 sessions with one client; the least recently used one is evicted.
    async fn redeem_code(&self, request: RedeemCode) -> StoreResult<RedeemOutcome>;

    /// Finds a live session of a client whose account is active. `lifetimes` are those of browser
    /// sessions, with which it may end.
    async fn find_client_session(
        &self,
        session_id: &str,
        lifetimes: SessionLifetimes,
        now: Timestamp,
    ) -> StoreResult<Option<ClientSession>>;

    /// Ends a session of this client. Returns whether there was one.
    async fn delete_client_session(
        &self,
        session_id: &str,
        client_id: &str,
        context: RequestContext,
        now: Timestamp,
    ) -> StoreResult<bool>;
}
