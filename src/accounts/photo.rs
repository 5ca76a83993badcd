//! The photo of an account: its file and the row that names it.
//!
//! The store lists every file that no account uses: from before it is written until an account has
//! it, and again from its replacement until it is removed. A crash therefore leaves neither a row
//! without a file nor an unlisted file.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use super::AccountError;
use crate::app::App;
use crate::crypto::random;
use crate::domain::{Fields, Input, Timestamp, UserId, messages};
use crate::photos::{PhotoError, PreparedPhoto, is_photo_name};

/// Minimum age of an unused file before its removal: far longer than any upload takes.
const UNUSED_AGE: Duration = Duration::from_hours(1);

/// What a request does with the photo.
pub(super) enum PhotoChange {
    /// Nothing.
    Absent,
    /// Removes it.
    Remove,
    /// Sets this one.
    Set(PreparedPhoto),
    /// Invalid input, with the message.
    Invalid(&'static str),
}

/// Re-encodes the photo of a request of an account.
///
/// # Errors
/// [`AccountError::Throttled`] after too many uploads, [`AccountError::Overloaded`] when too many
/// photos wait.
pub(super) async fn prepare_photo(
    app: &Arc<App>,
    account: UserId,
    fields: &Fields,
) -> Result<PhotoChange, AccountError> {
    let file = match fields.get("photo") {
        None => return Ok(PhotoChange::Absent),
        Some(Input::Null) => return Ok(PhotoChange::Remove),
        // A form's file input that was left empty.
        Some(Input::Text(text)) if text.is_empty() && fields.is_form() => {
            return Ok(PhotoChange::Remove);
        }
        Some(Input::File(file)) => file,
        Some(_) => return Ok(PhotoChange::Invalid(messages::NOT_A_FILE)),
    };
    if file.bytes.is_empty() {
        return Ok(PhotoChange::Invalid(messages::EMPTY_FILE));
    }
    app.photos
        .count_upload(account, app.clock.now())
        .map_err(AccountError::Throttled)?;
    let refused = match app.photos.prepare(account, file.bytes.clone()).await {
        Ok(photo) => return Ok(PhotoChange::Set(photo)),
        Err(PhotoError::TooLarge) => return Err(AccountError::PhotoTooLarge),
        Err(PhotoError::Io(cause)) => return Err(AccountError::Internal(cause.into())),
        Err(e @ PhotoError::Overloaded) => return Err(AccountError::Overloaded(e.into())),
        Err(refused) => refused,
    };
    log::info!("a photo was refused: {refused}");
    Ok(PhotoChange::Invalid(match refused {
        PhotoError::TooManyPixels { .. } => messages::TOO_MANY_PIXELS,
        PhotoError::Unsupported => messages::UNSUPPORTED_IMAGE,
        _ => messages::NOT_AN_IMAGE,
    }))
}

/// Writes the file of a photo and returns its name.
pub(super) async fn write_photo(
    app: &Arc<App>,
    photo: PreparedPhoto,
    now: Timestamp,
) -> Result<String, AccountError> {
    let name = app.photos.name(&photo, random::bytes());
    app.store.note_photo(&name, now).await?;
    if app.store.keeps_photos() {
        app.store.save_photo(&name, photo.bytes().to_vec()).await?;
    }
    let worker = Arc::clone(app);
    let file = name.clone();
    tokio::task::spawn_blocking(move || worker.photos.store(photo.bytes(), &file))
        .await
        .map_err(|e| AccountError::Internal(format!("a photo was not stored: {e}").into()))?
        .map_err(|e| AccountError::Overloaded(format!("a photo was not stored: {e}").into()))?;
    Ok(name)
}

/// Opens the file of a photo; `None` when there is none. Where the database keeps photos, the file is made
/// of its content.
///
/// # Errors
/// When the database or the folder cannot be read.
pub async fn open_photo(app: &App, name: &str) -> Result<Option<File>, AccountError> {
    let failed = |e: PhotoError| AccountError::Overloaded(e.into());
    if !app.store.keeps_photos() || !is_photo_name(name) {
        return app.photos.open_file(name).map_err(failed);
    }
    if let Some(file) = app.photos.open_file(name).map_err(failed)? {
        // Another server may have removed it.
        return Ok(app.store.has_photo(name).await?.then_some(file));
    }
    let Some(content) = app.store.find_photo(name).await? else {
        return Ok(None);
    };
    app.photos.store(&content, name).map_err(failed)?;
    app.photos.open_file(name).map_err(failed)
}

/// Removes the file of an unused photo. If that fails, it stays listed.
pub(super) async fn remove_photo(app: &Arc<App>, name: String) {
    let worker = Arc::clone(app);
    let file = name.clone();
    let removed = tokio::task::spawn_blocking(move || worker.photos.remove(&file)).await;
    match removed {
        Ok(true) => {
            if let Err(e) = app.store.forget_photo(&name).await {
                log::warn!("a removed photo is still listed as unused: {e}");
            }
        }
        Ok(false) => {}
        Err(e) => log::warn!("a photo was not removed: {e}"),
    }
}

/// Removes the files that a crash left behind. Returns their number.
///
/// # Errors
/// Only store errors.
pub async fn remove_unused_photos(app: &Arc<App>) -> Result<usize, AccountError> {
    let noted_before = app.clock.now().minus(UNUSED_AGE);
    let names = app.store.list_unused_photos(noted_before).await?;
    let count = names.len();
    for name in names {
        remove_photo(app, name).await;
    }
    Ok(count)
}

/// Removes all unused photo files, before a server starts to serve. Failures are retried later.
pub async fn remove_photos_left_behind(app: &Arc<App>) {
    match app.store.list_unused_photos(Timestamp::MAX).await {
        Ok(names) => {
            for name in names {
                remove_photo(app, name).await;
            }
        }
        Err(e) => log::warn!("unused photos were not removed: {e}"),
    }
}
