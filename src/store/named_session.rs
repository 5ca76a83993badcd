//! A session as a token names it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::UserSnapshot;
use crate::domain::UserId;

/// A session as a token names it, with room for what a store has read of it: whoever keeps it for the next question spares
/// the store a look-up. It belongs to the store that was asked first.
pub struct SessionRef {
    /// Random id of the session, the `sid` of its tokens.
    pub id: String,
    /// The account that it is said to be of.
    pub user_id: UserId,
    memo: Mutex<Option<Memo>>,
}

struct Memo {
    /// By which the store tells whether it still holds good.
    generation: u64,
    user: Arc<UserSnapshot>,
}

impl SessionRef {
    /// A session of which nothing has been read.
    pub const fn new(id: String, user_id: UserId) -> Self {
        Self {
            id,
            user_id,
            memo: Mutex::new(None),
        }
    }

    /// The account, if it was read in this generation of the store.
    pub(super) fn recall(&self, generation: u64) -> Option<Arc<UserSnapshot>> {
        let memo = self.memo();
        let memo = memo.as_ref().filter(|memo| memo.generation == generation)?;
        Some(Arc::clone(&memo.user))
    }

    /// Keeps the account that was read, or that there is none.
    pub(super) fn keep(&self, generation: u64, user: Option<&Arc<UserSnapshot>>) {
        *self.memo() = user.map(|user| Memo {
            generation,
            user: Arc::clone(user),
        });
    }

    fn memo(&self) -> MutexGuard<'_, Option<Memo>> {
        self.memo.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SessionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionRef")
            .field("id", &self.id)
            .field("user_id", &self.user_id)
            .finish_non_exhaustive()
    }
}

impl PartialEq for SessionRef {
    fn eq(&self, other: &Self) -> bool {
        (&self.id, self.user_id) == (&other.id, other.user_id)
    }
}

impl Eq for SessionRef {}
