//! An account as it was read at one moment.

use std::any::Any;
use std::ops::Deref;
use std::sync::OnceLock;

use crate::domain::User;

/// An account as it was read at one moment, with room for one value derived from it.
///
/// Every snapshot is dropped when its account changes, so a derived value is never stale.
pub struct UserSnapshot {
    user: User,
    derived: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl UserSnapshot {
    /// A snapshot of an account that was just read.
    pub const fn new(user: User) -> Self {
        Self {
            user,
            derived: OnceLock::new(),
        }
    }

    /// The value that the first call derived from the account, if it is of this type.
    pub fn derived<T: Any + Send + Sync>(&self, derive: impl FnOnce(&User) -> T) -> Option<&T> {
        self.derived
            .get_or_init(|| Box::new(derive(&self.user)))
            .downcast_ref()
    }
}

impl std::fmt::Debug for UserSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("UserSnapshot").field(&self.user).finish()
    }
}

impl PartialEq for UserSnapshot {
    fn eq(&self, other: &Self) -> bool {
        self.user == other.user
    }
}

impl Deref for UserSnapshot {
    type Target = User;

    fn deref(&self) -> &User {
        &self.user
    }
}
