//! Signing keys: reloading from the store, rotation, encryption.

use std::sync::Arc;
use std::time::Duration;

use super::{AccountError, Administrator, operator};
use crate::app::App;
use crate::crypto::keyring::{KeySealing, SealError};
use crate::crypto::tokens::{KeySet, TokenError, Tokens, Verified, generate_key};
use crate::domain::{Fields, SigningAlgorithm, StoredKey, Timestamp};
use crate::store::{KeyMaterial, RemoveKey, RequestContext, RotateKeys, Store};

/// How long a retired key outlives its last token, for clock skew.
const KEEP_LONGER: Duration = Duration::from_hours(1);

/// A signing key, for administrators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its id, as in token headers.
    pub kid: String,
    /// JOSE name of its algorithm.
    pub algorithm: String,
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

/// Verifies a token with the cached keys, reloading them when they are stale or none fits.
pub(super) async fn verify(app: &App, token: &str) -> Result<Arc<Verified>, AccountError> {
    let now = app.clock.now();
    if app.keys.is_due(now) {
        reload(app).await?;
    }
    match app.keys.tokens().verify(token, now) {
        Err(TokenError::Invalid) if app.keys.is_due_for_unknown(now) && reload(app).await? => {
            Ok(app.keys.tokens().verify(token, now)?)
        }
        outcome => Ok(outcome?),
    }
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
    Ok(keys.into_iter().map(|key| info(app, key)).collect())
}

fn info(app: &App, key: StoredKey) -> KeyInfo {
    KeyInfo {
        kid: key.kid,
        algorithm: key.algorithm,
        created_at: key.created_at,
        retired_at: key.retired_at,
        needed_until: key
            .retired_at
            .map(|retired| retired.plus(app.keys.refresh_life())),
        is_encrypted: key.is_sealed,
    }
}

/// Creates a new signing key for all servers on this store and returns its id.
///
/// Without an algorithm it is that of the settings, or else that of the present key. Older keys keep
/// verifying until their last token has expired. Staff give a `reason` for it, commands none.
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
    let algorithm = match algorithm.or(app.config.tokens.algorithm) {
        Some(algorithm) => algorithm,
        None => signing(app).await?.algorithm(),
    };
    let key = create_key(algorithm, now).await?;
    let kid = key.kid.clone();
    let rotation = RotateKeys {
        key: app.keys.sealing().seal_key(key),
        context,
        now,
    };
    app.store.rotate_keys(rotation).await?;
    remove_old_keys(app).await?;
    log::info!("signing keys rotated: {kid} ({algorithm}) is active");
    Ok(kid)
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
    let before = app
        .clock
        .now()
        .minus(app.keys.refresh_life())
        .minus(KEEP_LONGER);
    Ok(app.store.delete_retired_keys(before).await?)
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
