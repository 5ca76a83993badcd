//! The photo of an account: its file and the row that names it.
//!
//! A file is noted in the store before it is written and until an account has it, and again from the moment when no account
//! has it any more until it is removed. So a crash at any moment leaves no row that points to nothing, and what it leaves in
//! the folder is known and removed later.

use std::sync::Arc;
use std::time::Duration;

use super::AccountError;
use crate::app::App;
use crate::crypto::random;
use crate::domain::{Fields, Input, Timestamp, messages};
use crate::photos::{PhotoError, PreparedPhoto};

/// How long a noted file is left alone: far longer than any request that writes one takes.
const LEFT_ALONE: Duration = Duration::from_hours(1);

/// What a request wants done with the photo.
pub(super) enum PhotoChange {
    /// Nothing.
    Absent,
    /// To take it away.
    Remove,
    /// To have this one.
    Set(PreparedPhoto),
    /// Something that cannot be done.
    Wrong(&'static str),
}

/// Decodes and encodes the photo of a request, on a thread for such work.
pub(super) async fn prepare_photo(
    app: &Arc<App>,
    fields: &Fields,
) -> Result<PhotoChange, AccountError> {
    let file = match fields.get("photo") {
        None => return Ok(PhotoChange::Absent),
        Some(Input::Null) => return Ok(PhotoChange::Remove),
        // A box for a file that was left empty in a form.
        Some(Input::Text(text)) if text.is_empty() && fields.is_form() => {
            return Ok(PhotoChange::Remove);
        }
        Some(Input::File(file)) => file,
        Some(_) => return Ok(PhotoChange::Wrong(messages::NOT_A_FILE)),
    };
    if file.bytes.is_empty() {
        return Ok(PhotoChange::Wrong(messages::EMPTY_FILE));
    }
    let bytes = file.bytes.clone();
    let turn = Arc::clone(&app.photo_turns)
        .acquire_owned()
        .await
        .map_err(|e| AccountError::Internal(e.into()))?;
    let worker = Arc::clone(app);
    let prepared = tokio::task::spawn_blocking(move || {
        // The turn is over when the work is, and not already when the client hangs up.
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
            Ok(PhotoChange::Wrong(messages::NOT_AN_IMAGE))
        }
    }
}

/// Writes the file of a photo and gives its name.
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

/// Removes the file of a photo that no account has any more. Should it fail, the name stays noted.
pub(super) async fn remove_photo(app: &Arc<App>, name: String) {
    let worker = Arc::clone(app);
    let file = name.clone();
    let removed = tokio::task::spawn_blocking(move || worker.photos.remove(&file)).await;
    match removed {
        Ok(true) => {
            if let Err(e) = app.store.forget_photo(&name).await {
                log::warn!("a removed photo is still noted: {e}");
            }
        }
        Ok(false) => {}
        Err(e) => log::warn!("a photo was not removed: {e}"),
    }
}

/// Removes the files that a crash has left behind. Gives their number.
///
/// # Errors
/// Only by a fault of the store.
pub async fn remove_unused_photos(app: &Arc<App>) -> Result<usize, AccountError> {
    let noted_before = app.clock.now().minus(LEFT_ALONE);
    let names = app.store.list_unused_photos(noted_before).await?;
    let count = names.len();
    for name in names {
        remove_photo(app, name).await;
    }
    Ok(count)
}

/// Removes all files that no account has, as a server does before it serves: whoever noted them is no more. What cannot be
/// removed now is tried again with the others.
pub async fn remove_photos_left_behind(app: &Arc<App>) {
    match app.store.list_unused_photos(Timestamp::MAX).await {
        Ok(names) => {
            for name in names {
                remove_photo(app, name).await;
            }
        }
        Err(e) => log::warn!("photos without an account were not cleared away: {e}"),
    }
}
