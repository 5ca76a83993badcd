//! The keys that sign tokens: keeping up with the store, rotating, encrypting.

use std::sync::Arc;
use std::time::Duration;

use super::{AccountError, operator};
use crate::app::App;
use crate::crypto::keyring::{KeySealing, SealError};
use crate::crypto::random;
use crate::crypto::tokens::{KeySet, TokenError, Tokens, Verified, generate_key};
use crate::domain::Timestamp;
use crate::store::{KeyMaterial, RemoveKey, RequestContext, RotateKeys, Store, StoredKey};

/// How long beyond its last token a retired key is kept, for clocks that do not agree.
const KEEP_LONGER: Duration = Duration::from_hours(1);

/// A key as an administrator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its id, as in the header of tokens.
    pub kid: String,
    /// JOSE name of its algorithm.
    pub algorithm: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it signs no more.
    pub retired_at: Option<Timestamp>,
    /// Until when something that it has signed may count; `None` while it signs.
    pub needed_until: Option<Timestamp>,
    /// Whether it rests encrypted.
    pub is_encrypted: bool,
}

/// What signs tokens right now, whoever has rotated the keys since the last one.
pub(super) async fn signing(app: &App) -> Result<Arc<Tokens>, AccountError> {
    look(app).await?;
    Ok(app.keys.tokens())
}

/// Checks a token with the keys of the last few seconds, or with those of the store when none of them has signed it.
pub(super) async fn verify(app: &App, token: &str) -> Result<Arc<Verified>, AccountError> {
    let now = app.clock.now();
    if app.keys.is_due(now) {
        look(app).await?;
    }
    match app.keys.tokens().verify(token, now) {
        Err(TokenError::Invalid) if app.keys.is_due_for_unknown(now) && look(app).await? => {
            Ok(app.keys.tokens().verify(token, now)?)
        }
        outcome => Ok(outcome?),
    }
}

/// The published keys, as they are now.
///
/// # Errors
/// Only by a fault of the store.
pub async fn published_keys(app: &App) -> Result<KeySet, AccountError> {
    look(app).await?;
    Ok(app.keys.tokens().key_set())
}

/// Takes the keys of the store; true when they are others than before. Keys that cannot be used leave the ring as it is.
async fn look(app: &App) -> Result<bool, AccountError> {
    let keys = app.store.list_signing_keys().await?;
    app.keys.take(keys).or_else(|e| {
        log::error!("the keys in the database were changed and cannot be used, so this server goes on with those it has: {e}");
        Ok(false)
    })
}

/// All keys, the newest first.
///
/// # Errors
/// Only by a fault of the store.
pub async fn list_keys(app: &App) -> Result<Vec<KeyInfo>, AccountError> {
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

/// Makes a new key, which signs from now on in every server on this store, and gives its id. The others go on checking what
/// they have signed until the last of it has expired.
///
/// # Errors
/// Only by a fault of ours.
pub async fn rotate_keys(app: &App) -> Result<String, AccountError> {
    let now = app.clock.now();
    let key = generate_key(random::bytes(), now)?;
    let kid = key.kid.clone();
    let rotation = RotateKeys {
        key: app.keys.sealing().seal_key(key),
        context: operator(app),
        now,
    };
    app.store.rotate_keys(rotation).await?;
    remove_old_keys(app).await?;
    log::info!("key {kid} signs from now on");
    Ok(kid)
}

/// Removes a key that signs no more: what it has signed counts no longer, within seconds in every server.
///
/// # Errors
/// [`AccountError::NotFound`] when there is no such key or it is the one that signs.
pub async fn remove_key(app: &App, kid: &str) -> Result<(), AccountError> {
    let removal = RemoveKey {
        kid: kid.to_owned(),
        context: operator(app),
        now: app.clock.now(),
    };
    if !app.store.remove_key(removal).await? {
        return Err(AccountError::NotFound);
    }
    log::info!("key {kid} removed: what it has signed counts no more");
    Ok(())
}

/// Removes the keys whose last tokens have expired. Gives their number.
///
/// # Errors
/// Only by a fault of the store.
pub async fn remove_old_keys(app: &App) -> Result<usize, AccountError> {
    let before = app
        .clock
        .now()
        .minus(app.keys.refresh_life())
        .minus(KEEP_LONGER);
    Ok(app.store.delete_retired_keys(before).await?)
}

/// Brings all secrets of the database into another form: encrypted under another secret, or not encrypted.
///
/// # Errors
/// When one of them cannot be read; nothing was changed then.
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

/// As [`reseal_keys`], where there is no [`App`] yet.
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
        let was = key.private_key.clone();
        keys.push((was, to.seal_key(from.open_key(key).map_err(failed)?)));
    }
    let mut secrets = Vec::new();
    for (name, secret) in store.list_secrets().await? {
        let was = secret.value.clone();
        let value = from.open_secret(&name, secret).map_err(failed)?;
        let secret = to.seal_secret(&name, value);
        secrets.push((name, was, secret));
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
    log::info!("the keys in the database are {detail} now");
    Ok(())
}
