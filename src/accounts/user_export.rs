//! The accounts of a filter, one batch after another, for staff to take along.

use std::sync::Arc;

use super::refresh::recheck;
use super::{AccountError, Administrator, Caller, Client};
use crate::app::App;
use crate::domain::{EventKind, User, UserId};
use crate::store::{NewEvent, UserQuery};

/// Accounts in a batch.
const BATCH: u32 = 500;

/// An export under way. Memory holds one batch at a time.
pub struct UserExport {
    app: Arc<App>,
    query: UserQuery,
    after: UserId,
}

impl UserExport {
    /// Begins an export of the accounts that match, in the order of their ids. The audit log names
    /// it first.
    ///
    /// # Errors
    /// [`AccountError::Forbidden`] unless the caller is staff; [`AccountError::SessionEnded`].
    pub async fn start(
        app: &Arc<App>,
        caller: &Caller,
        client: &Client,
        query: UserQuery,
    ) -> Result<Self, AccountError> {
        let caller = recheck(app, caller).await?;
        let context = Administrator::Staff(&caller, client).context(app)?;
        let event = NewEvent {
            kind: EventKind::UsersExported,
            user_id: None,
            context,
            detail: "without password hashes".to_owned(),
            now: app.clock.now(),
        };
        app.store.record_event(event).await?;
        log::info!("user {}: export of users started", caller.user.id);
        Ok(Self {
            app: Arc::clone(app),
            query,
            after: 0,
        })
    }

    /// The next accounts; none at the end.
    ///
    /// # Errors
    /// Only by a fault of the store.
    pub async fn next_batch(&mut self) -> Result<Vec<User>, AccountError> {
        let query = self.query.clone();
        let users = self.app.store.list_matching_users(query, self.after, BATCH);
        let users = users.await?;
        self.after = users.last().map_or(self.after, |last| last.id);
        Ok(users)
    }
}
