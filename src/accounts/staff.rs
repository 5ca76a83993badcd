//! Staff: its rights, and the list of accounts.

use super::{AccountError, Caller, Client, operator, require_recent, unread};
use crate::app::App;
use crate::domain::{FieldReader, Fields, printable};
use crate::store::{RequestContext, UserPage, UserQuery};

/// Longest reason of a change by staff, in characters.
const REASON_LENGTH: usize = 200;

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

    /// Checks that a staff member has authenticated recently. Commands need not.
    ///
    /// # Errors
    /// [`AccountError::ReauthenticationRequired`].
    pub(super) async fn require_recent(self, app: &App) -> Result<(), AccountError> {
        match self {
            Self::Staff(caller, _) => require_recent(app, caller).await,
            Self::Operator => Ok(()),
        }
    }

    /// Reads the `reason` that a change by staff needs, for the audit log; that of a command is
    /// empty.
    ///
    /// # Errors
    /// [`AccountError::Fields`] when there is none, or it is too long.
    pub(super) fn read_reason(self, fields: &Fields) -> Result<String, AccountError> {
        if matches!(self, Self::Operator) {
            return Ok(String::new());
        }
        let mut reader = FieldReader::new(fields);
        let reason = reader.required_text("reason", Some(REASON_LENGTH));
        reader.finish()?;
        let reason = reason.ok_or_else(unread)?;
        // Line breaks would look like further entries in a listing of the log.
        Ok(printable(&reason).into_owned())
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
    if !caller.user.is_staff {
        return Err(AccountError::Forbidden);
    }
    app.store
        .list_users(query)
        .await?
        .ok_or(AccountError::InvalidPage)
}
