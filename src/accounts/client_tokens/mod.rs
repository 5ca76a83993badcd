//! Tokens of OAuth clients: how they are got, what they say, and how they end (RFC 6749, RFC 7009,
//! RFC 7662, OpenID Connect Core).
//!
//! ```text
//! authentication   which client asks        claims          what it learns of a user
//! exchange         codes for tokens         introspection   whether a token is live
//! refresh          the next tokens          revocation      the end of a session
//! issue            signing tokens
//! ```
//!
//! They are other tokens than those of the account API, which takes none of these.

mod authentication;
mod claims;
mod exchange;
mod introspection;
mod issue;
mod refresh;
mod revocation;

pub use authentication::{authenticate_client, identify_client, is_client_origin};
pub use claims::{ClientAccess, find_client_access, user_info};
pub use exchange::{CodeExchange, exchange_code};
pub use introspection::{Introspection, introspect_client_token};
pub use issue::ClientTokens;
pub use refresh::refresh_client_tokens;
pub use revocation::revoke_client_token;

use super::AccountError;
use crate::crypto::tokens::TokenError;
use crate::store::StoreError;

/// Why a client gets no tokens, or nothing for them.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// The client is unknown or has not authenticated.
    #[error("the client is unknown, or its secret is wrong or missing")]
    InvalidClient,
    /// The code is unknown, expired or used, or of another client, redirect URI or verifier.
    #[error("the authorization code is invalid")]
    InvalidCode,
    /// The refresh token is foreign, expired or used, or its session has ended.
    #[error("the refresh token is invalid")]
    InvalidRefreshToken,
    /// The access token is foreign or expired, or its session has ended.
    #[error("the access token is invalid")]
    InvalidToken,
    /// More scopes are asked for than were granted.
    #[error("the scope goes beyond what was granted")]
    InvalidScope,
    /// Any other error.
    #[error(transparent)]
    Account(#[from] AccountError),
}

impl From<StoreError> for GrantError {
    fn from(error: StoreError) -> Self {
        Self::Account(error.into())
    }
}

impl From<TokenError> for GrantError {
    fn from(error: TokenError) -> Self {
        Self::Account(error.into())
    }
}
