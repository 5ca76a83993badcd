//! Signing in.

use super::{AccountError, Client};
use crate::app::App;
use crate::domain::{FieldReader, Fields};
use crate::random;
use crate::tokens::TokenPair;

/// Checks an address and a password and begins a session.
///
/// # Errors
/// [`AccountError::NoActiveAccount`] when nobody signs in like this, in the same time whether the address is known or
/// not; [`AccountError::EmailNotVerified`] when the password is right but the address was never confirmed.
pub async fn login(app: &App, fields: &Fields, client: &Client) -> Result<TokenPair, AccountError> {
    let mut reader = FieldReader::new(fields);
    let email = reader.required_login("email");
    let password = reader.required_secret("password", None);
    reader.finish()?;
    let (Some(email), Some(password)) = (email, password) else {
        return Err(AccountError::Internal(
            "a required field was neither read nor refused".into(),
        ));
    };
    let found = app.store.find_credentials(&email.to_lowercase()).await?;
    let hash = found.as_ref().map(|found| found.password_hash.as_str());
    let fits = app.passwords.verify(password, hash).await?;
    let Some(found) = found.filter(|found| fits && found.is_active) else {
        return Err(AccountError::NoActiveAccount);
    };
    if !found.is_verified {
        return Err(AccountError::EmailNotVerified);
    }
    let now = app.clock.now();
    let session = client.new_session(&app.tokens, now);
    let (session_id, refresh_id) = (session.id.clone(), session.refresh_id.clone());
    // The password may have been changed, or the account switched off, while its hash was computed.
    let user = app
        .store
        .create_session(found.user_id, &found.password_hash, session)
        .await?
        .ok_or(AccountError::NoActiveAccount)?;
    log::info!("user {}: signed in", user.id);
    Ok(app
        .tokens
        .issue(&user, &session_id, &random::id(), &refresh_id, now)?)
}
