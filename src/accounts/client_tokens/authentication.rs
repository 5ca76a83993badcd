//! Which client asks (RFC 6749, section 2.3).

use super::GrantError;
use crate::accounts::{AccountError, Client, is_client_secret_right};
use crate::app::App;
use crate::domain::{OAuthClient, is_client_id};
use crate::limits::Limited;

/// Finds a client by its id.
///
/// # Errors
/// Only by a fault of the store.
pub async fn identify_client(app: &App, id: &str) -> Result<Option<OAuthClient>, AccountError> {
    if !is_client_id(id) {
        return Ok(None);
    }
    Ok(app.store.find_oauth_client(id).await?)
}

/// Whether a page of this origin is one of any client.
///
/// # Errors
/// Only by a fault of the store.
pub async fn is_client_origin(app: &App, origin: &str) -> Result<bool, AccountError> {
    let clients = app.store.list_oauth_clients().await?;
    Ok(clients
        .iter()
        .any(|client| client.settings.allows_origin(origin)))
}

/// Authenticates a client: a confidential one by its secret, of which there may be several readings,
/// and a public one by having none.
///
/// Secrets are long and random, so guesses are hopeless and only slowed down: a client that knows its
/// secret is served, whatever others of its network try.
///
/// # Errors
/// [`GrantError::InvalidClient`]; [`AccountError::Throttled`] after many failures.
pub fn authenticate_client(
    app: &App,
    client: Option<OAuthClient>,
    secrets: &[&str],
    from: &Client,
) -> Result<OAuthClient, GrantError> {
    let found = client.filter(|client| match &client.secret_hash {
        None => secrets.is_empty(),
        Some(_) => secrets
            .iter()
            .any(|secret| is_client_secret_right(client, secret)),
    });
    match found {
        Some(client) => Ok(client),
        None => Err(failed(app, from, GrantError::InvalidClient)),
    }
}

/// Counts a failure of the client's network: this error, or that there were too many.
pub(super) fn failed(app: &App, from: &Client, error: GrantError) -> GrantError {
    match from.count(app, Limited::ClientFailure) {
        Ok(()) => error,
        Err(throttled) => throttled.into(),
    }
}

/// Counts a wrong code or token of a client, unless the client has proven its secret: then nobody
/// guesses, and its users share one network.
pub(super) fn failed_grant(
    app: &App,
    client: &OAuthClient,
    from: &Client,
    error: GrantError,
) -> GrantError {
    match client.secret_hash {
        Some(_) => error,
        None => failed(app, from, error),
    }
}
