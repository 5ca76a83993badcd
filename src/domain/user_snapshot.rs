//! An account as it was read at one moment.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::User;

/// An account as it was read at one moment, and what has been written of it since: as long as the account has not changed
/// there is no need to write it anew.
#[derive(Debug)]
pub struct UserSnapshot {
    user: User,
    written: OnceLock<Written>,
}

/// Text that was made of an account.
#[derive(Debug)]
struct Written {
    /// What else it depends on.
    context: Arc<str>,
    text: Box<[u8]>,
}

impl UserSnapshot {
    /// The account as it was just read.
    pub const fn new(user: User) -> Self {
        Self {
            user,
            written: OnceLock::new(),
        }
    }

    /// What `write` makes of the account in this context, made once for the first context that asks.
    pub fn written(&self, context: &Arc<str>, write: impl Fn(&User) -> Bytes) -> Bytes {
        let written = self.written.get_or_init(|| Written {
            context: Arc::clone(context),
            text: write(&self.user).as_ref().into(),
        });
        // Each place in memory that no cache holds takes longer than a copy of the text: the context is looked at only where it
        // is another one, and nobody counts who has the text.
        if Arc::ptr_eq(&written.context, context) || written.context == *context {
            Bytes::copy_from_slice(&written.text)
        } else {
            write(&self.user)
        }
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
