//! Requests to providers: a browser that was sent there, and what it comes back with.

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::{Timestamp, UserId};

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderPurpose {
    /// To sign in.
    SignIn,
    /// To connect an identity to the account of this session.
    Connection(String),
    /// To authenticate again in this session.
    Reauthentication(String),
}

impl ProviderPurpose {
    /// The name that is stored.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::Connection(_) => "connection",
            Self::Reauthentication(_) => "reauthentication",
        }
    }

    /// The id of its session.
    pub fn session_id(&self) -> Option<&str> {
        match self {
            Self::SignIn => None,
            Self::Connection(session_id) | Self::Reauthentication(session_id) => Some(session_id),
        }
    }
}

/// Who made a request, and gets the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderClient {
    /// An app with a redirect URI of its own.
    App {
        /// The redirect URI.
        redirect_uri: String,
        /// Returns to the app unchanged.
        state: Option<String>,
        /// SHA-256 of the app's verifier (RFC 7636, S256).
        code_challenge: String,
    },
    /// A browser on the pages of the account.
    Browser {
        /// Hash of a random cookie.
        cookie_hash: Vec<u8>,
        /// Where to go in the end.
        next_path: String,
    },
}

/// A request to a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderRequest {
    /// Id of the provider in the settings.
    pub provider: String,
    /// What it is for.
    pub purpose: ProviderPurpose,
    /// The account of its session.
    pub user_id: Option<UserId>,
    /// Who made it.
    pub client: ProviderClient,
    /// What the provider has answered, encrypted; absent until then.
    pub answer: Option<Vec<u8>>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A request to store.
pub struct NewProviderRequest {
    /// Keyed hash of its random state.
    pub state_hash: Vec<u8>,
    /// Id of the provider in the settings.
    pub provider: String,
    /// What it is for.
    pub purpose: ProviderPurpose,
    /// Who made it.
    pub client: ProviderClient,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// The answer to a request, released to its app under a one-time code.
pub struct ReleaseAnswer {
    /// Keyed hash of the state.
    pub state_hash: Vec<u8>,
    /// Keyed hash of the code.
    pub code_hash: Vec<u8>,
    /// The answer, encrypted under the code.
    pub answer: Vec<u8>,
    /// When the code expires.
    pub expires_at: Timestamp,
    /// The current time.
    pub now: Timestamp,
}

/// Operations on requests to providers. Each step counts once.
#[async_trait]
pub trait ProviderRequestStore {
    /// Stores a request.
    async fn create_provider_request(&self, request: NewProviderRequest) -> StoreResult<()>;

    /// Finds a live request of a provider by its state.
    async fn find_provider_request(
        &self,
        state_hash: &[u8],
        provider: &str,
        now: Timestamp,
    ) -> StoreResult<Option<ProviderRequest>>;

    /// Stores what a provider has answered; false when the request is unknown, expired or answered.
    async fn answer_provider_request(
        &self,
        state_hash: &[u8],
        answer: Vec<u8>,
        now: Timestamp,
    ) -> StoreResult<bool>;

    /// Releases an answer under a code; false when it was released before.
    async fn release_provider_answer(&self, release: ReleaseAnswer) -> StoreResult<bool>;

    /// Uses up the request of a code; `None` when it is unknown, used or expired.
    async fn use_provider_code(
        &self,
        code_hash: &[u8],
        now: Timestamp,
    ) -> StoreResult<Option<ProviderRequest>>;

    /// Uses up an answered request that a browser with this cookie made, or any request of an app
    /// without a cookie; `None` when there is none.
    async fn use_provider_request(
        &self,
        state_hash: &[u8],
        cookie_hash: Option<&[u8]>,
        now: Timestamp,
    ) -> StoreResult<Option<ProviderRequest>>;
}
