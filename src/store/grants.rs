//! What users allowed OAuth clients to see.

use async_trait::async_trait;

use super::{RequestContext, StoreResult};
use crate::domain::{Scopes, Timestamp, UserId};

/// An application that a user has allowed something, or is signed in to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The client.
    pub client_id: String,
    /// Its name.
    pub client_name: String,
    /// Its redirect URIs.
    pub redirect_uris: Vec<String>,
    /// What it may see.
    pub scopes: Scopes,
    /// When it was allowed first, or of clients that need no consent signed in to first.
    pub created_at: Timestamp,
    /// When somebody last signed in there with the account.
    pub last_used_at: Timestamp,
    /// The number of live sessions.
    pub sessions: u32,
}

/// Operations on what users allowed clients.
#[async_trait]
pub trait GrantStore {
    /// The applications of an account, the most recently used first.
    async fn list_grants(&self, user_id: UserId, now: Timestamp) -> StoreResult<Vec<Grant>>;

    /// Revokes what an account allowed a client, and ends the client's sessions of the account.
    /// False when there was nothing to revoke.
    async fn revoke_grant(
        &self,
        user_id: UserId,
        client_id: &str,
        context: RequestContext,
        now: Timestamp,
    ) -> StoreResult<bool>;
}
