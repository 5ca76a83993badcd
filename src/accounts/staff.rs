//! The staff user list.

use super::{AccountError, Caller};
use crate::app::App;
use crate::store::{UserPage, UserQuery};

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
