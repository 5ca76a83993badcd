//! The clients of the configuration file: the store follows the file at each start and reload.

use std::collections::BTreeSet;

use super::done;
use crate::accounts::{AccountError, keys, operator};
use crate::app::App;
use crate::domain::{ClientSettings, OAuthClient};
use crate::store::{DeleteOAuthClient, NewOAuthClient, OAuthClientUpdate, RotateOAuthClientSecret};

/// A client of the configuration file, checked.
#[derive(Clone, Debug)]
pub struct RegisteredClient {
    /// Its `client_id`: a client of that id is the same.
    pub id: String,
    /// SHA-256 of its secret; `None` when it is public.
    pub secret_hash: Option<Vec<u8>>,
    /// What is registered about it.
    pub settings: ClientSettings,
}

/// Checks that no client was registered elsewhere under the id of one of the configuration file.
///
/// # Errors
/// [`AccountError::ClientExists`]; faults of the store.
pub async fn check_file_clients(app: &App, list: &[RegisteredClient]) -> Result<(), AccountError> {
    let stored = app.store.list_oauth_clients().await?;
    let is_of_file = |id: &str| list.iter().any(|client| client.id == id);
    let other = stored
        .into_iter()
        .find(|client| !client.is_from_file && is_of_file(&client.id));
    match other {
        Some(other) => Err(AccountError::ClientExists(other.id)),
        None => Ok(()),
    }
}

/// Adds, changes and removes the clients of the configuration file until they are these, and makes the
/// keys that clients need.
///
/// # Errors
/// [`AccountError::ClientExists`] when a client with the id of one of them was registered elsewhere;
/// faults of the store and of keys.
pub async fn apply_file_clients(app: &App, list: &[RegisteredClient]) -> Result<(), AccountError> {
    check_file_clients(app, list).await?;
    let stored = app.store.list_oauth_clients().await?;
    let ids: BTreeSet<&str> = list.iter().map(|client| &*client.id).collect();
    for client in stored.iter().filter(|client| client.is_from_file) {
        if !ids.contains(&*client.id) {
            remove(app, client).await?;
        }
    }
    for client in list {
        match stored.iter().find(|known| known.id == client.id) {
            None => add(app, client).await?,
            Some(known) => change(app, known, client).await?,
        }
    }
    for client in app.store.list_oauth_clients().await? {
        keys::signing_for_client(app, client.settings.id_token_alg).await?;
    }
    Ok(())
}

async fn add(app: &App, client: &RegisteredClient) -> Result<(), AccountError> {
    let new = NewOAuthClient {
        id: client.id.clone(),
        secret_hash: client.secret_hash.clone(),
        settings: client.settings.clone(),
        is_from_file: true,
        now: app.clock.now(),
        context: operator(app),
    };
    done(app.store.create_oauth_client(new).await?)?;
    log::info!("client {}: added by the file", client.id);
    Ok(())
}

async fn change(
    app: &App,
    known: &OAuthClient,
    client: &RegisteredClient,
) -> Result<(), AccountError> {
    if known.settings != client.settings {
        let update = OAuthClientUpdate {
            id: client.id.clone(),
            settings: client.settings.clone(),
            is_from_file: true,
            now: app.clock.now(),
            context: operator(app),
        };
        done(app.store.update_oauth_client(update).await?)?;
        log::info!("client {}: changed by the file", client.id);
    }
    if known.secret_hash != client.secret_hash {
        let rotation = RotateOAuthClientSecret {
            id: client.id.clone(),
            secret_hash: client.secret_hash.clone(),
            is_from_file: true,
            now: app.clock.now(),
            context: operator(app),
        };
        done(app.store.rotate_oauth_client_secret(rotation).await?)?;
        log::info!("client {}: the file has another secret", client.id);
    }
    Ok(())
}

async fn remove(app: &App, client: &OAuthClient) -> Result<(), AccountError> {
    let removal = DeleteOAuthClient {
        id: client.id.clone(),
        is_from_file: true,
        now: app.clock.now(),
        context: operator(app),
    };
    done(app.store.delete_oauth_client(removal).await?)?;
    log::info!("client {}: no longer in the file", client.id);
    Ok(())
}
