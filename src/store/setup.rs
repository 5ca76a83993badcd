//! The first staff account, made by a link that the server prints.

use async_trait::async_trait;

use super::{NewSession, NewUser, StoreResult};
use crate::domain::{Timestamp, User};

/// How far a server is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetupState {
    /// Whether there is any account.
    pub has_accounts: bool,
    /// Whether there is a staff account.
    pub has_staff: bool,
}

/// The use of the link.
pub struct FirstStaff {
    /// Hash of its token.
    pub token_hash: Vec<u8>,
    /// The account.
    pub user: NewUser,
    /// The session in which its owner is signed in.
    pub session: NewSession,
}

/// The outcome of its use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstStaffOutcome {
    /// The account was created and signed in.
    Created(Box<User>),
    /// The link is unknown or expired, or there is a staff account.
    InvalidLink,
    /// A verified account has the address.
    EmailTaken,
}

/// Operations of the setup. A staff account, however it came about, deletes the link.
#[async_trait]
pub trait SetupStore {
    /// How far the server is set up.
    async fn find_setup_state(&self) -> StoreResult<SetupState>;

    /// Stores the hash of a new link in place of the former one. False when there is a staff
    /// account.
    async fn replace_setup_link(
        &self,
        token_hash: &[u8],
        expires_at: Timestamp,
    ) -> StoreResult<bool>;

    /// Whether a link can be used.
    async fn is_setup_link_valid(&self, token_hash: &[u8], now: Timestamp) -> StoreResult<bool>;

    /// Uses the link. Of several that use it at once, one gets the account.
    async fn create_first_staff(&self, request: FirstStaff) -> StoreResult<FirstStaffOutcome>;
}
