//! Sessions of browsers: a secret in a cookie carries them on, instead of tokens.
//!
//! The secret is not the session's public id, and the API takes neither. Only its hash is stored.
//! It has 256 random bits, so the hash needs no key and no salt.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::refresh::Caller;
use super::{AccountError, Client, first_pair, session_lifetimes};
use crate::app::App;
use crate::crypto::tokens::TokenPair;
use crate::domain::{SessionRef, User};
use crate::observability::error_chain;
use crate::store::{NewSession, UserSnapshot};

/// How exactly the last use of a session is noted: more often would be a write for every page.
const TOUCH: Duration = Duration::from_mins(5);

/// The proof of a session that has started.
pub enum Signed {
    /// A pair of tokens.
    Tokens(TokenPair),
    /// The secret for the cookie.
    Browser(String),
}

impl Signed {
    /// The tokens of a client that asked for tokens.
    ///
    /// # Errors
    /// [`AccountError::Internal`] when a browser session has started instead: a bug.
    pub fn into_tokens(self) -> Result<TokenPair, AccountError> {
        match self {
            Self::Tokens(pair) => Ok(pair),
            Self::Browser(_) => Err(AccountError::Internal(
                "a browser session started in place of one with tokens".into(),
            )),
        }
    }

    /// The secret of a client that asked for a browser session.
    ///
    /// # Errors
    /// [`AccountError::Internal`] when it got tokens instead: a bug.
    pub fn into_secret(self) -> Result<String, AccountError> {
        match self {
            Self::Browser(secret) => Ok(secret),
            Self::Tokens(_) => Err(AccountError::Internal(
                "a session with tokens started in place of a browser session".into(),
            )),
        }
    }
}

/// A session about to start.
pub(super) struct StartingSession {
    pub(super) session: NewSession,
    pub(super) secret: Option<String>,
}

impl StartingSession {
    /// The proof for the client, once the session is stored.
    pub(super) async fn signed(self, app: &App, user: &User) -> Result<Signed, AccountError> {
        if let Some(secret) = self.secret {
            return Ok(Signed::Browser(secret));
        }
        Ok(Signed::Tokens(first_pair(app, user, &self.session).await?))
    }
}

/// A browser that is signed in.
#[derive(Clone, Debug)]
pub struct BrowserSession {
    /// The account and its session, for all operations.
    pub caller: Caller,
    /// BCP 47 tag of the account's language; empty for the default.
    pub language: String,
    pub(super) secret_hash: Vec<u8>,
}

impl BrowserSession {
    /// The account.
    pub fn user(&self) -> &User {
        &self.caller.user
    }
}

/// The hash under which a secret is stored.
pub(super) fn hash(secret: &str) -> Vec<u8> {
    Sha256::digest(secret.as_bytes()).to_vec()
}

/// The session whose secret this is.
///
/// # Errors
/// Only by a fault of the store.
pub async fn find_browser_session(
    app: &App,
    client: &Client,
    secret: &str,
) -> Result<Option<BrowserSession>, AccountError> {
    let now = app.clock.now();
    let secret_hash = hash(secret);
    let Some(found) = app.store.find_browser_session(&secret_hash, now).await? else {
        return Ok(None);
    };
    let end = session_lifetimes(app).end(found.created_at, found.user.is_staff);
    if end.is_some_and(|end| now >= end) {
        return Ok(None);
    }
    if now.since(found.last_used_at) >= TOUCH {
        let idle_end = now.plus(app.keys.refresh_life());
        let expires_at = end.map_or(idle_end, |end| end.min(idle_end));
        let ip = client.ip.to_canonical().to_string();
        let touched = app
            .store
            .touch_browser_session(&found.session_id, now, expires_at, &ip);
        // Pages can be read while the database cannot be written.
        if let Err(e) = touched.await {
            log::warn!("the use of a session was not noted: {}", error_chain(&e));
        }
    }
    let session = SessionRef::new(found.session_id, found.user.id);
    Ok(Some(BrowserSession {
        caller: Caller::of_browser(
            Arc::new(UserSnapshot::new(found.user)),
            session,
            found.authentication,
        ),
        language: found.language,
        secret_hash,
    }))
}

/// Ends the caller's own session.
///
/// # Errors
/// Only by a fault of the store.
pub async fn sign_out(app: &App, caller: &Caller, client: &Client) -> Result<(), AccountError> {
    let (context, now) = (client.context(Some(caller)), app.clock.now());
    app.store
        .delete_session(caller.session_id(), context, now)
        .await?;
    log::info!("user {}: signed out", caller.user.id);
    Ok(())
}
