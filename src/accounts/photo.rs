//! The photo of an account: its file and the row that names it.
//!
//! The store lists every file that no account uses: from before it is written until an account has
//! it, and again from its replacement until it is removed. A crash therefore leaves neither a row
//! without a file nor an unlisted file.

use std::sync::Arc;
use std::time::Duration;

use super::AccountError;
use crate::app::App;
use crate::crypto::random;
use crate::domain::{Fields, Input, Timestamp, messages};
use crate::photos::{PhotoError, PreparedPhoto};

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

/// Decodes and re-encodes the photo of a request on a blocking thread.
pub(super) async fn prepare_photo(
    app: &Arc<App>,
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
    let bytes = file.bytes.clone();
    let turn = Arc::clone(&app.photo_turns)
        .acquire_owned()
        .await
        .map_err(|e| AccountError::Internal(e.into()))?;
    let worker = Arc::clone(app);
    let prepared = tokio::task::spawn_blocking(move || {
        // The permit is held until the work is done, also when the client disconnects.
        let _turn = turn;
        worker.photos.prepare(&bytes)
    })
    .await
    .map_err(|e| AccountError::Internal(format!("a photo could not be prepared: {e}").into()))?;
    match prepared {
        Ok(photo) => Ok(PhotoChange::Set(photo)),
        Err(PhotoError::TooLarge) => Err(AccountError::PhotoTooLarge),
        Err(PhotoError::Io(cause)) => Err(AccountError::Internal(cause.into())),
        Err(refused) => {
            log::info!("a photo was refused: {refused}");
            Ok(PhotoChange::Invalid(messages::NOT_AN_IMAGE))
        }
    }
}

/// Writes the file of a photo and returns its name.
pub(super) async fn write_photo(
    app: &Arc<App>,
    photo: PreparedPhoto,
    now: Timestamp,
) -> Result<String, AccountError> {
    let name = app.photos.name(&photo, random::bytes());
    app.store.note_photo(&name, now).await?;
    let worker = Arc::clone(app);
    let file = name.clone();
    tokio::task::spawn_blocking(move || worker.photos.store(&photo, &file))
        .await
        .map_err(|e| AccountError::Internal(format!("a photo was not stored: {e}").into()))?
        .map_err(|e| AccountError::Overloaded(format!("a photo was not stored: {e}").into()))?;
    Ok(name)
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
