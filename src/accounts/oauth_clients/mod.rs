//! OAuth clients: the applications that sign users in with this server, and who registers them.
//!
//! [`fields`] reads what is registered, [`file`] keeps the clients of the configuration file as they
//! are there. Every change is in the audit log. Secrets are shown once, to those who make them, and
//! are stored as hashes.

mod fields;
mod file;

use subtle::ConstantTimeEq;

use super::browser_session::hash;
use super::{AccountError, Administrator, keys, unread};
use crate::app::App;
use crate::crypto::random;
use crate::domain::{FieldErrors, FieldReader, Fields, OAuthClient, messages};
use crate::store::{
    DeleteOAuthClient, NewOAuthClient, OAuthClientOutcome, OAuthClientUpdate,
    RotateOAuthClientSecret,
};

use fields::SettingsFields;
pub use fields::{OAUTH_CLIENT_FIELDS, read_file_client};
pub use file::{RegisteredClient, apply_file_clients, check_file_clients};

/// The field of a chosen secret.
const SECRET: &str = "secret";

/// A client with its new secret, which is shown this once.
#[derive(Clone)]
pub struct ClientWithSecret {
    /// The client.
    pub client: OAuthClient,
    /// Its secret; `None` when it is public.
    pub secret: Option<String>,
}

/// All clients in the order of their ids.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff.
pub async fn list_oauth_clients(
    app: &App,
    by: Administrator<'_>,
) -> Result<Vec<OAuthClient>, AccountError> {
    by.context(app)?;
    Ok(app.store.list_oauth_clients().await?)
}

/// One client.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff; [`AccountError::NotFound`].
pub async fn find_oauth_client(
    app: &App,
    by: Administrator<'_>,
    id: &str,
) -> Result<OAuthClient, AccountError> {
    by.context(app)?;
    let client = app.store.find_oauth_client(id).await?;
    client.ok_or(AccountError::NotFound)
}

/// Adds a client. Without an `id` it gets a random one; without a `secret` one is made, unless it is
/// `public`.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff;
/// [`AccountError::ReauthenticationRequired`]; [`AccountError::Fields`].
pub async fn create_oauth_client(
    app: &App,
    by: Administrator<'_>,
    fields: &Fields,
) -> Result<ClientWithSecret, AccountError> {
    let context = by.context(app)?;
    by.require_recent(app).await?;
    let mut reader = FieldReader::new(fields);
    let id = fields::read_id(&mut reader);
    let read = SettingsFields::read_new(&mut reader);
    let is_public = reader.optional_bool("public").unwrap_or_default();
    let chosen = fields::read_secret(&mut reader, SECRET);
    if is_public && chosen.is_some() {
        reader.reject(SECRET, messages::PUBLIC_CLIENT);
    }
    reader.finish()?;
    let settings = read.new_settings().ok_or_else(unread)?;
    let secret = (!is_public).then(|| chosen.unwrap_or_else(random::secret));
    // The key is there before the first user is.
    keys::signing_for_client(app, settings.id_token_alg).await?;
    let new = NewOAuthClient {
        id: id.unwrap_or_else(random::id),
        secret_hash: secret.as_deref().map(hash),
        settings,
        is_from_file: false,
        now: app.clock.now(),
        context,
    };
    let client = done(app.store.create_oauth_client(new).await?)?;
    log::info!("client {}: added", client.id);
    Ok(ClientWithSecret { client, secret })
}

/// Changes a client; fields that are absent stay as they are. Its sessions stay, and get tokens by the
/// new settings.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff;
/// [`AccountError::ReauthenticationRequired`]; [`AccountError::NotFound`];
/// [`AccountError::ClientFromFile`]; [`AccountError::Fields`].
pub async fn update_oauth_client(
    app: &App,
    by: Administrator<'_>,
    id: &str,
    fields: &Fields,
) -> Result<OAuthClient, AccountError> {
    let context = by.context(app)?;
    by.require_recent(app).await?;
    let before = find_own(app, id).await?;
    let mut reader = FieldReader::new(fields);
    let read = SettingsFields::read_changes(&mut reader);
    reader.finish()?;
    let settings = read.applied_to(before.settings.clone());
    if settings == before.settings {
        return Ok(before);
    }
    keys::signing_for_client(app, settings.id_token_alg).await?;
    let update = OAuthClientUpdate {
        id: id.to_owned(),
        settings,
        is_from_file: false,
        now: app.clock.now(),
        context,
    };
    let client = done(app.store.update_oauth_client(update).await?)?;
    log::info!("client {id}: changed");
    Ok(client)
}

/// Replaces the secret of a client by the given `secret`, or by a new one. The former one is invalid
/// at once; tokens and sessions stay.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff;
/// [`AccountError::ReauthenticationRequired`]; [`AccountError::NotFound`];
/// [`AccountError::ClientFromFile`]; [`AccountError::ClientIsPublic`]; [`AccountError::Fields`].
pub async fn rotate_oauth_client_secret(
    app: &App,
    by: Administrator<'_>,
    id: &str,
    fields: &Fields,
) -> Result<ClientWithSecret, AccountError> {
    let context = by.context(app)?;
    by.require_recent(app).await?;
    let before = find_own(app, id).await?;
    if !before.is_confidential() {
        return Err(AccountError::ClientIsPublic);
    }
    let mut reader = FieldReader::new(fields);
    let chosen = fields::read_secret(&mut reader, SECRET);
    reader.finish()?;
    let secret = chosen.unwrap_or_else(random::secret);
    let rotation = RotateOAuthClientSecret {
        id: id.to_owned(),
        secret_hash: Some(hash(&secret)),
        is_from_file: false,
        now: app.clock.now(),
        context,
    };
    let client = done(app.store.rotate_oauth_client_secret(rotation).await?)?;
    log::info!("client {id}: secret rotated");
    Ok(ClientWithSecret {
        client,
        secret: Some(secret),
    })
}

/// Removes a client: its sessions end, and users' consents are forgotten. Staff give a `reason`,
/// commands none.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff;
/// [`AccountError::ReauthenticationRequired`]; [`AccountError::NotFound`];
/// [`AccountError::ClientFromFile`]; [`AccountError::Fields`] when the reason is missing or too long.
pub async fn delete_oauth_client(
    app: &App,
    by: Administrator<'_>,
    id: &str,
    fields: &Fields,
) -> Result<(), AccountError> {
    by.context(app)?;
    by.require_recent(app).await?;
    find_own(app, id).await?;
    let removal = DeleteOAuthClient {
        id: id.to_owned(),
        is_from_file: false,
        now: app.clock.now(),
        context: by.context_because(app, fields)?,
    };
    done(app.store.delete_oauth_client(removal).await?)?;
    log::info!("client {id}: removed");
    Ok(())
}

/// The number of sessions in a client.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff.
pub async fn count_oauth_client_sessions(
    app: &App,
    by: Administrator<'_>,
    id: &str,
) -> Result<u64, AccountError> {
    by.context(app)?;
    Ok(app.store.count_oauth_client_sessions(id).await?)
}

/// Whether this is the secret of a client; a public client has none. The time does not depend on how
/// much of it is right.
pub fn is_client_secret_right(client: &OAuthClient, secret: &str) -> bool {
    let given = hash(secret);
    client
        .secret_hash
        .as_ref()
        .is_some_and(|stored| stored.ct_eq(&given).into())
}

/// A client that is not of the configuration file.
async fn find_own(app: &App, id: &str) -> Result<OAuthClient, AccountError> {
    let client = app.store.find_oauth_client(id).await?;
    let client = client.ok_or(AccountError::NotFound)?;
    if client.is_from_file {
        return Err(AccountError::ClientFromFile);
    }
    Ok(client)
}

fn done(outcome: OAuthClientOutcome) -> Result<OAuthClient, AccountError> {
    match outcome {
        OAuthClientOutcome::Done(client) => Ok(*client),
        OAuthClientOutcome::Exists => Err(FieldErrors::one("id", messages::CLIENT_EXISTS).into()),
        OAuthClientOutcome::NotFound => Err(AccountError::NotFound),
        OAuthClientOutcome::NotYours => Err(AccountError::ClientFromFile),
    }
}
