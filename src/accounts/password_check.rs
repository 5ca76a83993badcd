//! Checking the password of a caller who is signed in already.

use super::password_tries::PasswordTries;
use super::{AccountError, Caller, Client};
use crate::app::App;
use crate::domain::{FieldErrors, FieldReader, messages};
use crate::passwords;

/// Whether `typed` is the caller's password; `current_hash` is its stored hash.
///
/// A wrong one counts as a failed sign-in of the session.
///
/// # Errors
/// [`AccountError::Throttled`] after too many failures.
pub(super) async fn is_current_password(
    app: &App,
    caller: &Caller,
    client: &Client,
    typed: String,
    current_hash: &str,
) -> Result<bool, AccountError> {
    let tries = PasswordTries::of_caller(client, caller);
    tries.check(app).await?;
    let hashing = app.passwords.asked_by(client.requester(true));
    if hashing.verify(typed, Some(current_hash)).await? {
        // Checked again after the work: parallel guesses are not answered beyond the limit.
        tries.check(app).await?;
        return Ok(true);
    }
    tries.failed(app).await?;
    Ok(false)
}

/// The stored hash of the caller's password.
///
/// # Errors
/// [`AccountError::InvalidToken`] when the account is gone.
pub(super) async fn current_hash(app: &App, caller: &Caller) -> Result<String, AccountError> {
    app.store
        .find_password_hash(caller.user.id)
        .await?
        .ok_or(AccountError::InvalidToken)
}

/// Whether the caller's account has a password; otherwise its owner signs in by other means.
///
/// # Errors
/// [`AccountError::InvalidToken`] when the account is gone.
pub async fn has_password(app: &App, caller: &Caller) -> Result<bool, AccountError> {
    Ok(passwords::is_usable(&current_hash(app, caller).await?))
}

/// Reads the current password from `field`.
pub(super) fn read(reader: &mut FieldReader<'_>, field: &'static str) -> Option<String> {
    reader.required_secret(field, None)
}

/// The error for a wrong password in `field`.
pub(super) fn wrong_password(field: &'static str) -> AccountError {
    AccountError::InvalidPassword(FieldErrors::one(field, messages::INVALID_PASSWORD))
}
