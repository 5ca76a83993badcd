//! Authorization requests of clients and the codes that answer them (RFC 6749, section 4.1).
//!
//! A request waits here while its user signs in or decides. A code is issued in a browser session,
//! and starts a session of the client when it is redeemed: see [`super::ClientSessionStore`].

use async_trait::async_trait;

use super::{RequestContext, StoreResult};
use crate::domain::{Scopes, SessionRef, Timestamp, UserId};

/// An authorization request to keep.
#[derive(Clone, Debug)]
pub struct NewAuthorizationRequest {
    /// Hash of its random id.
    pub id_hash: Vec<u8>,
    /// Its parameters.
    pub parameters: String,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// Why no consent is asked for, or that it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// The user has just allowed it, which is remembered.
    Given,
    /// The user has allowed these scopes before.
    Remembered,
    /// The client needs none.
    NotRequired,
}

/// A code to issue.
#[derive(Clone, Debug)]
pub struct IssueCode {
    /// Hash of the code.
    pub code_hash: Vec<u8>,
    /// The request that waited for this code, if one did. It is used up.
    pub request_hash: Option<Vec<u8>>,
    /// The client.
    pub client_id: String,
    /// The browser session.
    pub session: SessionRef,
    /// Random id of the session that the code will start.
    pub client_session_id: String,
    /// Where the code is sent.
    pub redirect_uri: String,
    /// The PKCE challenge, by S256 (RFC 7636, section 4.2).
    pub code_challenge: String,
    /// For the ID token.
    pub nonce: Option<String>,
    /// What the client gets.
    pub scopes: Scopes,
    /// Whether the user has allowed it.
    pub consent: Consent,
    /// Whether the settings want a second factor of the account.
    pub needs_factor: bool,
    /// The current time.
    pub now: Timestamp,
    /// When the code expires.
    pub expires_at: Timestamp,
    /// Who made the request, and from where.
    pub context: RequestContext,
}

/// The outcome of [`AuthorizationStore::issue_code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssueOutcome {
    /// The code is stored.
    Issued,
    /// The request that waited has been answered before, or has expired.
    RequestUsed,
    /// The browser session has ended.
    SessionEnded,
    /// The client is gone.
    NoClient,
    /// Staff alone may sign in there.
    NotStaff,
    /// A second factor is missing: of the account, or in this session.
    FactorRequired,
    /// The user has not allowed this.
    ConsentRequired,
}

/// Operations on authorization requests and codes.
#[async_trait]
pub trait AuthorizationStore {
    /// Keeps a request until it expires.
    async fn create_authorization_request(
        &self,
        request: NewAuthorizationRequest,
    ) -> StoreResult<()>;

    /// The parameters of a request that has not expired.
    async fn find_authorization_request(
        &self,
        id_hash: &[u8],
        now: Timestamp,
    ) -> StoreResult<Option<String>>;

    /// The scopes that a user has allowed a client.
    async fn find_allowed_scopes(
        &self,
        user_id: UserId,
        client_id: &str,
    ) -> StoreResult<Option<Scopes>>;

    /// Issues a code, if session, account, client and consent allow it at this moment.
    async fn issue_code(&self, code: IssueCode) -> StoreResult<IssueOutcome>;
}
