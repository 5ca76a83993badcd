//! References to sessions.

use super::UserId;

/// A session as a token names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRef {
    /// Random id of the session, the `sid` of its tokens.
    pub id: String,
    /// The account the token says it belongs to.
    pub user_id: UserId,
}

impl SessionRef {
    /// Refers to the session with this id.
    pub const fn new(id: String, user_id: UserId) -> Self {
        Self { id, user_id }
    }
}
