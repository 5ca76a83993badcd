//! Staff: its rights, and the list of accounts.

use super::{AccountError, Caller, Client, operator};
use crate::app::App;
use crate::store::{RequestContext, UserPage, UserQuery};

/// Who administers.
#[derive(Clone, Copy)]
pub enum Administrator<'a> {
    /// A staff member, at a client.
    Staff(&'a Caller, &'a Client),
    /// The operator who runs a command on this machine.
    Operator,
}

impl Administrator<'_> {
    /// Who acts, for the audit log. The store checks the right again in its transaction.
    ///
    /// # Errors
    /// [`AccountError::Forbidden`] unless the caller is staff.
    pub(super) fn context(self, app: &App) -> Result<RequestContext, AccountError> {
        match self {
            Self::Staff(caller, _) if !caller.user.is_staff => Err(AccountError::Forbidden),
            Self::Staff(caller, client) => Ok(client.context(Some(caller))),
            Self::Operator => Ok(operator(app)),
        }
    }
}

/// A page of all accounts.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff; [`AccountError::InvalidPage`] past the
/// end.
pub async fn list_users(
    app: &App,
    caller: &Caller,
    query: UserQuery,
) -> Result<UserPage, AccountError> {
    caller.require_staff()?;
    app.store
        .list_users(query)
        .await?
        .ok_or(AccountError::InvalidPage)
}
