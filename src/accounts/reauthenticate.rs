//! Authenticating again within a session, for what wants recent authentication.

use super::browser_session::{BrowserSession, hash, new_secret};
use super::password_check::{self, current_hash, is_current_password, wrong_password};
use super::password_tries::PasswordTries;
use super::refresh::recheck;
use super::{AccountError, Caller, Client, keys, session_lifetimes, unread};
use crate::app::App;
use crate::crypto::random;
use crate::crypto::tokens::TokenSubject;
use crate::domain::{AuthMethod, Authentication, FieldReader, Fields};
use crate::store::{PasswordTry, Reauthentication};

const PASSWORD: &str = "password";

/// What the caller has shown.
struct Shown {
    method: AuthMethod,
    tried: Option<PasswordTry>,
}

/// Checks the password of a caller once more. Returns an access token that says so; the refresh
/// token of the session stays as it is.
///
/// # Errors
/// [`AccountError::InvalidPassword`] when it is wrong, [`AccountError::SessionEnded`].
pub async fn reauthenticate(
    app: &App,
    caller: &Caller,
    fields: &Fields,
    client: &Client,
) -> Result<String, AccountError> {
    let shown = check(app, caller, fields, client).await?;
    let now = app.clock.now();
    let authentication = Authentication::by(shown.method, now);
    let request = Reauthentication {
        session: caller.session().clone(),
        authentication: authentication.clone(),
        tried: shown.tried,
        secret_hashes: None,
        context: client.context(Some(caller)),
    };
    let session = app.store.reauthenticate(request).await?;
    let session = session.ok_or(AccountError::SessionEnded)?;
    log::info!("user {}: authenticated again", session.user.id);
    let subject = TokenSubject {
        user: &session.user,
        session_id: caller.session_id(),
        authentication: &authentication,
        session_end: session_lifetimes(app).end(session.created_at, session.user.is_staff),
    };
    let tokens = keys::signing(app).await?;
    Ok(tokens.issue_access(subject, &random::id(), now)?)
}

/// As [`reauthenticate`], for a browser: the session gets a new secret, which is returned.
///
/// # Errors
/// As [`reauthenticate`].
pub async fn reauthenticate_browser(
    app: &App,
    session: &BrowserSession,
    fields: &Fields,
    client: &Client,
) -> Result<String, AccountError> {
    let caller = &session.caller;
    let shown = check(app, caller, fields, client).await?;
    let secret = new_secret();
    let request = Reauthentication {
        session: caller.session().clone(),
        authentication: Authentication::by(shown.method, app.clock.now()),
        tried: shown.tried,
        secret_hashes: Some((session.secret_hash.clone(), hash(&secret))),
        context: client.context(Some(caller)),
    };
    let session = app.store.reauthenticate(request).await?;
    let session = session.ok_or(AccountError::SessionEnded)?;
    log::info!("user {}: authenticated again", session.user.id);
    Ok(secret)
}

async fn check(
    app: &App,
    caller: &Caller,
    fields: &Fields,
    client: &Client,
) -> Result<Shown, AccountError> {
    let mut reader = FieldReader::new(fields);
    let password = read(&mut reader);
    reader.finish()?;
    let password = password.ok_or_else(unread)?;
    // The body may have arrived slowly.
    recheck(app, caller).await?;
    let old_hash = current_hash(app, caller).await?;
    if !is_current_password(app, caller, client, password, &old_hash).await? {
        return Err(wrong_password(PASSWORD));
    }
    Ok(Shown {
        method: AuthMethod::Password,
        tried: Some(PasswordTries::of_caller(client, caller).next(app)),
    })
}

/// Reads the password.
pub(super) fn read(reader: &mut FieldReader<'_>) -> Option<String> {
    password_check::read(reader, PASSWORD)
}
