//! Signing keys: reloading from the store, rotation, encryption.

use std::sync::Arc;
use std::time::Duration;

use super::{AccountError, Administrator, operator};
use crate::app::App;
use crate::crypto::keyring::{KeySealing, SealError};
use crate::crypto::tokens::{
    IdTokenHint, KeySet, TokenError, Tokens, Verified, VerifiedClientToken, generate_key,
};
use crate::domain::{Fields, SigningAlgorithm, StoredKey, Timestamp};
use crate::store::{KeyMaterial, RemoveKey, RequestContext, RotateKeys, Store, StoreResult};

/// How long a retired key outlives its last token, for clock skew.
const KEEP_LONGER: Duration = Duration::from_hours(1);

/// A signing key, for administrators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its id, as in token headers.
    pub kid: String,
    /// JOSE name of its algorithm.
    pub algorithm: String,
    /// Whether it signs tokens of OAuth clients, rather than those of the account API.
    pub is_for_clients: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it stopped signing.
    pub retired_at: Option<Timestamp>,
    /// When the last token it signed expires; `None` while it signs.
    pub needed_until: Option<Timestamp>,
    /// Whether it is encrypted at rest.
    pub is_encrypted: bool,
}

/// The current signer, reloaded from the store.
pub(super) async fn signing(app: &App) -> Result<Arc<Tokens>, AccountError> {
    reload(app).await?;
    Ok(app.keys.tokens())
}

/// The current signer, with a key that signs tokens of clients with this algorithm. The first caller
/// makes the key.
///
/// # Errors
/// Only by a fault of the store or of the key.
pub async fn signing_for_client(
    app: &App,
    algorithm: SigningAlgorithm,
) -> Result<Arc<Tokens>, AccountError> {
    let tokens = signing(app).await?;
    if tokens.signs_for_clients(algorithm) {
        return Ok(tokens);
    }
    let key = create_client_key(algorithm, app.clock.now()).await?;
    let key = app.keys.sealing().seal_key(key);
    let keys = app.store.create_first_signing_key(key).await?;
    app.keys.replace(keys)?;
    log::info!("a signing key for clients was made ({algorithm})");
    Ok(app.keys.tokens())
}

/// Verifies an access or refresh token of a client. The caller checks its kind, its session, its
/// account and its client.
///
/// # Errors
/// [`AccountError::InvalidToken`], whatever is wrong with it.
pub async fn verify_client_token(
    app: &App,
    token: &str,
) -> Result<VerifiedClientToken, AccountError> {
    let now = app.clock.now();
    with_fresh_keys(app, |tokens| tokens.verify_client_token(token, now)).await
}

/// Verifies an ID token that comes back as `id_token_hint`; it may have expired.
///
/// # Errors
/// [`AccountError::InvalidToken`], whatever is wrong with it.
pub async fn verify_id_token_hint(app: &App, token: &str) -> Result<IdTokenHint, AccountError> {
    with_fresh_keys(app, |tokens| tokens.verify_id_token_hint(token)).await
}

/// Verifies with the cached keys, reloading them when they are stale or none fits.
async fn with_fresh_keys<T>(
    app: &App,
    verify: impl Fn(&Tokens) -> Result<T, TokenError>,
) -> Result<T, AccountError> {
    let now = app.clock.now();
    if app.keys.is_due(now) {
        reload(app).await?;
    }
    match verify(&app.keys.tokens()) {
        Err(TokenError::Invalid) if app.keys.is_due_for_unknown(now) && reload(app).await? => {
            Ok(verify(&app.keys.tokens())?)
        }
        outcome => Ok(outcome?),
    }
}

/// Verifies a token of the account API.
pub(super) async fn verify(app: &App, token: &str) -> Result<Arc<Verified>, AccountError> {
    let now = app.clock.now();
    with_fresh_keys(app, |tokens| tokens.verify(token, now)).await
}

/// The current published keys.
///
/// # Errors
/// Only store errors.
pub async fn published_keys(app: &App) -> Result<KeySet, AccountError> {
    reload(app).await?;
    Ok(app.keys.tokens().key_set())
}

/// Reloads the keys from the store; true when they changed. Unusable keys leave the ring unchanged.
async fn reload(app: &App) -> Result<bool, AccountError> {
    let keys = app.store.list_signing_keys().await?;
    app.keys.replace(keys).or_else(|e| {
        log::error!("unusable signing keys in the database; keeping the previous ones: {e}");
        Ok(false)
    })
}

/// All keys, newest first.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff.
pub async fn list_keys(app: &App, by: Administrator<'_>) -> Result<Vec<KeyInfo>, AccountError> {
    by.context(app)?;
    let keys = app.store.list_signing_keys().await?;
    let client_life = client_refresh_life(app).await?;
    let info = |key| info(app, client_life, key);
    Ok(keys.into_iter().map(info).collect())
}

/// The longest lifetime of refresh tokens of clients.
async fn client_refresh_life(app: &App) -> StoreResult<Duration> {
    let clients = app.store.list_oauth_clients().await?;
    let lives = clients
        .iter()
        .map(|client| client.settings.refresh_lifetime());
    Ok(lives.max().unwrap_or_default())
}

fn info(app: &App, client_life: Duration, key: StoredKey) -> KeyInfo {
    let life = match key.is_for_clients {
        true => client_life,
        false => app.keys.refresh_life(),
    };
    KeyInfo {
        kid: key.kid,
        algorithm: key.algorithm,
        is_for_clients: key.is_for_clients,
        created_at: key.created_at,
        retired_at: key.retired_at,
        needed_until: key.retired_at.map(|retired| retired.plus(life)),
        is_encrypted: key.is_sealed,
    }
}

/// Creates new signing keys for all servers on this store, and returns the id of that of the account
/// API.
///
/// Without an algorithm it is that of the settings, or else that of the present key. The keys of
/// clients keep their algorithms. Older keys keep verifying until their last token has expired. Staff
/// give a `reason` for it, commands none.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff; [`AccountError::Fields`] when the reason
/// is missing or too long.
pub async fn rotate_keys(
    app: &App,
    by: Administrator<'_>,
    algorithm: Option<SigningAlgorithm>,
    fields: &Fields,
) -> Result<String, AccountError> {
    let context = by.context_because(app, fields)?;
    let now = app.clock.now();
    let tokens = signing(app).await?;
    let algorithm = algorithm.or(app.config.tokens.algorithm);
    let algorithm = algorithm.unwrap_or_else(|| tokens.algorithm());
    let key = create_key(algorithm, now).await?;
    let kid = key.kid.clone();
    let mut keys = vec![app.keys.sealing().seal_key(key)];
    for algorithm in tokens.client_algorithms() {
        let key = create_client_key(algorithm, now).await?;
        keys.push(app.keys.sealing().seal_key(key));
    }
    let rotation = RotateKeys { keys, context, now };
    app.store.rotate_keys(rotation).await?;
    remove_old_keys(app).await?;
    log::info!("signing keys rotated: {kid} ({algorithm}) is active");
    Ok(kid)
}

/// Generates a key for tokens of clients, as [`create_key`] does.
async fn create_client_key(
    algorithm: SigningAlgorithm,
    now: Timestamp,
) -> Result<StoredKey, TokenError> {
    Ok(StoredKey {
        is_for_clients: true,
        ..create_key(algorithm, now).await?
    })
}

/// Generates a key on a blocking thread, as RSA takes up to a few seconds.
pub(crate) async fn create_key(
    algorithm: SigningAlgorithm,
    now: Timestamp,
) -> Result<StoredKey, TokenError> {
    tokio::task::spawn_blocking(move || generate_key(algorithm, now))
        .await
        .unwrap_or_else(|e| Err(TokenError::Failed(format!("a task failed: {e}"))))
}

/// Removes a retired key. Every server rejects its tokens within seconds.
///
/// # Errors
/// [`AccountError::NotFound`] for an unknown key and for the active one.
pub async fn remove_key(app: &App, kid: &str) -> Result<(), AccountError> {
    let removal = RemoveKey {
        kid: kid.to_owned(),
        context: operator(app),
        now: app.clock.now(),
    };
    if !app.store.remove_key(removal).await? {
        return Err(AccountError::NotFound);
    }
    log::info!("signing key {kid} removed: its tokens are invalid");
    Ok(())
}

/// Removes the keys whose last tokens have expired. Returns their number.
///
/// # Errors
/// Only store errors.
pub async fn remove_old_keys(app: &App) -> Result<usize, AccountError> {
    let now = app.clock.now().minus(KEEP_LONGER);
    let before = now.minus(app.keys.refresh_life());
    let clients_before = now.minus(client_refresh_life(app).await?);
    Ok(app
        .store
        .delete_retired_keys(before, clients_before)
        .await?)
}

/// Re-encrypts all secrets of the database under another secret, or decrypts them.
///
/// # Errors
/// When one of them cannot be decrypted; nothing has changed then.
pub async fn reseal_keys(app: &App, sealing: &KeySealing) -> Result<(), AccountError> {
    reseal(
        app.store.as_ref(),
        app.keys.sealing(),
        sealing,
        operator(app),
        app.clock.now(),
    )
    .await
}

/// As [`reseal_keys`], before there is an [`App`].
pub(crate) async fn reseal(
    store: &dyn Store,
    from: &KeySealing,
    to: &KeySealing,
    context: RequestContext,
    now: Timestamp,
) -> Result<(), AccountError> {
    let failed = |e: SealError| AccountError::Internal(e.into());
    let mut keys = Vec::new();
    for key in store.list_signing_keys().await? {
        let old = key.private_key.clone();
        keys.push((old, to.seal_key(from.open_key(key).map_err(failed)?)));
    }
    let mut secrets = Vec::new();
    for (name, secret) in store.list_secrets().await? {
        let old = secret.value.clone();
        let value = from.open_secret(&name, secret).map_err(failed)?;
        let secret = to.seal_secret(&name, value);
        secrets.push((name, old, secret));
    }
    let detail = if to.is_on() { "encrypted" } else { "decrypted" };
    let material = KeyMaterial {
        keys,
        secrets,
        detail: detail.to_owned(),
        context,
        now,
    };
    store.replace_key_material(material).await?;
    log::info!("keys in the database: {detail}");
    Ok(())
}
