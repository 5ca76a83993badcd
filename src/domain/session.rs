//! Sessions: references to them and how long they may last.

use std::time::Duration;

use super::{Timestamp, UserId};

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

/// The maximum age of sessions, however often they are refreshed; `None` is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionLifetimes {
    /// Of sessions of ordinary accounts.
    pub user: Option<Duration>,
    /// Of sessions of staff accounts.
    pub staff: Option<Duration>,
}

impl SessionLifetimes {
    /// When a session ends that was created at this time.
    pub fn end(self, created_at: Timestamp, is_staff: bool) -> Option<Timestamp> {
        let lifetime = if is_staff { self.staff } else { self.user };
        lifetime.map(|lifetime| created_at.plus(lifetime))
    }
}
