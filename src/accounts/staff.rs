//! Staff: its rights, and the list of accounts.

use super::{AccountError, Caller, Client, operator, require_recent, unread};
use crate::app::App;
use crate::domain::{FieldReader, Fields, User, printable};
use crate::store::{Page, RequestContext, UserQuery};

/// Longest reason of a change by staff, in characters.
pub const REASON_LENGTH: usize = 200;

/// The field of a reason.
const REASON: &str = "reason";

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
            Self::Staff(caller, client) => {
                check_staff(caller)?;
                Ok(client.context(Some(caller)))
            }
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

    /// As [`Administrator::context`], with the `reason` that a change by staff needs; that of a command
    /// is empty.
    ///
    /// # Errors
    /// As [`Administrator::context`]; [`AccountError::Fields`] when there is no reason, or it is too
    /// long.
    pub(super) fn context_because(
        self,
        app: &App,
        fields: &Fields,
    ) -> Result<RequestContext, AccountError> {
        let context = self.context(app)?;
        if matches!(self, Self::Operator) {
            return Ok(context);
        }
        let mut reader = FieldReader::new(fields);
        let reason = read_reason(&mut reader);
        reader.finish()?;
        Ok(context.because(&reason.ok_or_else(unread)?))
    }
}

/// Reads a reason that has to be given.
pub(super) fn read_reason(reader: &mut FieldReader<'_>) -> Option<String> {
    reader.required_text(REASON, Some(REASON_LENGTH))
}

/// Reads a reason; empty without one.
pub(super) fn read_optional_reason(reader: &mut FieldReader<'_>) -> String {
    let reason = reader.optional_text(REASON, REASON_LENGTH);
    reason.unwrap_or_default()
}

impl RequestContext {
    /// The same, for this reason.
    pub(super) fn because(self, reason: &str) -> Self {
        Self {
            // Line breaks would look like further entries in a listing of the log.
            reason: printable(reason).into_owned(),
            ..self
        }
    }
}

/// Checks that the caller is staff.
pub(super) fn check_staff(caller: &Caller) -> Result<(), AccountError> {
    caller
        .user
        .is_staff
        .then_some(())
        .ok_or(AccountError::Forbidden)
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
) -> Result<Page<User>, AccountError> {
    check_staff(caller)?;
    app.store
        .list_users(query)
        .await?
        .ok_or(AccountError::InvalidPage)
}
