//! Refresh tokens of OAuth clients: see [`super::ClientSessionStore`] for their sessions.

use std::time::Duration;

use async_trait::async_trait;

use super::{ClientSession, RotateRefreshToken, StoreResult};
use crate::domain::Timestamp;

/// A rotation of a client's refresh token.
pub struct RotateClientToken {
    /// The rotation. Its lifetimes are those of the browser session with which the client's may end.
    /// Address and browser of the session stay those that it was started with, as the request may
    /// come from the client's own server.
    pub rotation: RotateRefreshToken,
    /// The client.
    pub client_id: String,
    /// Maximum age of the client's sessions.
    pub session_lifetime: Duration,
    /// Whether the settings want a second factor of the account.
    pub needs_factor: bool,
}

/// The outcome of [`ClientTokenStore::rotate_client_token`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientRotation {
    /// The successor is valid. Within the grace every repeat returns the same one.
    Rotated {
        /// The session, with the scopes that client and user still allow.
        session: Box<ClientSession>,
        /// `jti` of the successor.
        refresh_id: String,
    },
    /// Reuse was detected: the session was revoked.
    Reused,
    /// The session has ended, or account, client or consent no longer allow it.
    Invalid,
}

/// Operations on refresh tokens of clients.
#[async_trait]
pub trait ClientTokenStore {
    /// Exchanges a refresh token for its successor, if account, client and consent allow the session
    /// at this moment. Scopes that the client may no longer ask for are dropped.
    async fn rotate_client_token(&self, rotation: RotateClientToken)
    -> StoreResult<ClientRotation>;

    /// Whether a refresh token of a live session is unused, or was used within the grace.
    async fn is_client_token_live(
        &self,
        session_id: &str,
        refresh_id: &str,
        now: Timestamp,
        grace: Duration,
    ) -> StoreResult<bool>;
}
