//! OAuth clients: which applications may sign users in with this server.
//!
//! A client of the configuration file is changed by the file alone: every change says whether the
//! file makes it.

use async_trait::async_trait;

use super::{RequestContext, StoreResult};
use crate::domain::{ClientSettings, OAuthClient, Timestamp};

/// A client to add.
#[derive(Clone)]
pub struct NewOAuthClient {
    /// Its `client_id`.
    pub id: String,
    /// See [`OAuthClient::secret_hash`].
    pub secret_hash: Option<Vec<u8>>,
    /// What is registered about it.
    pub settings: ClientSettings,
    /// See [`OAuthClient::is_from_file`].
    pub is_from_file: bool,
    /// The current time.
    pub now: Timestamp,
    /// Who made the request, and from where.
    pub context: RequestContext,
}

/// A change of a client.
#[derive(Clone)]
pub struct OAuthClientUpdate {
    /// The client.
    pub id: String,
    /// What is registered about it from now on.
    pub settings: ClientSettings,
    /// Whether the configuration file makes the change, which may change its own clients alone.
    pub is_from_file: bool,
    /// The current time.
    pub now: Timestamp,
    /// Who made the request, and from where.
    pub context: RequestContext,
}

/// A new secret of a client. The former one is invalid at once.
#[derive(Clone)]
pub struct RotateOAuthClientSecret {
    /// The client.
    pub id: String,
    /// See [`OAuthClient::secret_hash`].
    pub secret_hash: Option<Vec<u8>>,
    /// See [`OAuthClientUpdate::is_from_file`].
    pub is_from_file: bool,
    /// The current time.
    pub now: Timestamp,
    /// Who made the request, and from where.
    pub context: RequestContext,
}

/// The removal of a client, with its sessions, codes and consents.
#[derive(Clone)]
pub struct DeleteOAuthClient {
    /// The client.
    pub id: String,
    /// See [`OAuthClientUpdate::is_from_file`].
    pub is_from_file: bool,
    /// The current time.
    pub now: Timestamp,
    /// Who made the request, and from where.
    pub context: RequestContext,
}

/// The outcome of a change of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OAuthClientOutcome {
    /// The client after it, or before its removal.
    Done(Box<OAuthClient>),
    /// There is a client with this id already.
    Exists,
    /// No such client.
    NotFound,
    /// The configuration file has it, or has not when the file makes the change.
    NotYours,
}

/// Operations on OAuth clients.
#[async_trait]
pub trait OAuthClientStore {
    /// Lists all clients in the order of their ids.
    async fn list_oauth_clients(&self) -> StoreResult<Vec<OAuthClient>>;

    /// Finds a client.
    async fn find_oauth_client(&self, id: &str) -> StoreResult<Option<OAuthClient>>;

    /// Counts the sessions of a client.
    async fn count_oauth_client_sessions(&self, id: &str) -> StoreResult<u64>;

    /// Adds a client.
    async fn create_oauth_client(&self, new: NewOAuthClient) -> StoreResult<OAuthClientOutcome>;

    /// Changes a client. Its sessions stay.
    async fn update_oauth_client(
        &self,
        update: OAuthClientUpdate,
    ) -> StoreResult<OAuthClientOutcome>;

    /// Replaces the secret of a client.
    async fn rotate_oauth_client_secret(
        &self,
        rotation: RotateOAuthClientSecret,
    ) -> StoreResult<OAuthClientOutcome>;

    /// Removes a client. Its sessions end.
    async fn delete_oauth_client(
        &self,
        removal: DeleteOAuthClient,
    ) -> StoreResult<OAuthClientOutcome>;
}
