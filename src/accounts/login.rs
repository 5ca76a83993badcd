//! Signing in.

use std::sync::Arc;

use super::{AccountError, Client, unread};
use crate::app::App;
use crate::domain::{FieldReader, Fields};
use crate::limits::Limited;
use crate::random;
use crate::store::Credentials;
use crate::tokens::TokenPair;

/// Checks an address and a password and begins a session.
///
/// # Errors
/// [`AccountError::NoActiveAccount`] when nobody signs in like this, in the same time whether the address is known or
/// not; [`AccountError::EmailNotVerified`] when the password is right but the address was never confirmed.
pub async fn login(
    app: &Arc<App>,
    fields: &Fields,
    client: &Client,
) -> Result<TokenPair, AccountError> {
    let mut reader = FieldReader::new(fields);
    let email = reader.required_login("email");
    let password = reader.required_secret("password", None);
    reader.finish()?;
    let (Some(email), Some(password)) = (email, password) else {
        return Err(unread());
    };
    let found = app.store.find_credentials(&email.to_lowercase()).await?;
    let hash = found.as_ref().map(|found| found.password_hash.as_str());
    // Counted before the outcome is known, so that guesses made side by side are counted too, and taken back when it is
    // none of a guesser.
    client.count(app, Limited::FailedSignIn)?;
    let fits = app.passwords.verify(password.clone(), hash).await;
    if !matches!(fits, Ok(false)) {
        app.limits
            .take_back(Limited::FailedSignIn, client.network());
    }
    let fits = fits?;
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
    if app.passwords.is_outdated(&found.password_hash) {
        tokio::spawn(rehash(Arc::clone(app), found, password));
    }
    Ok(app
        .tokens
        .issue(&user, &session_id, &random::id(), &refresh_id, now)?)
}

/// Writes a password down in the present form, now that it is known. The sign-in does not wait for it; when there is no
/// time for it now, there is at the next one.
async fn rehash(app: Arc<App>, found: Credentials, password: String) {
    let rehashed = async {
        let new_hash = app.passwords.hash(password, random::bytes()).await?;
        app.store
            .rehash_password(found.user_id, &found.password_hash, &new_hash)
            .await
            .map_err(AccountError::from)
    };
    match rehashed.await {
        Ok(true) => log::info!("user {}: password hash renewed", found.user_id),
        Ok(false) => {}
        Err(e) => log::info!("user {}: password hash not renewed: {e}", found.user_id),
    }
}
