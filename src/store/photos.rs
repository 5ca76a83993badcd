//! Photos: the notes of those that no account uses, and their content where the database keeps it.

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::Timestamp;

/// Operations on photos.
#[async_trait]
pub trait PhotoStore {
    /// Notes a photo as unused before its file is written. The note goes when an account gets the
    /// photo or [`PhotoStore::forget_photo`] is called. Replaced photos are noted likewise.
    async fn note_photo(&self, name: &str, now: Timestamp) -> StoreResult<()>;

    /// Lists unused photos noted before `noted_before`, whose files must be removed.
    async fn list_unused_photos(&self, noted_before: Timestamp) -> StoreResult<Vec<String>>;

    /// Deletes the note of an unused photo whose file was removed, and its content.
    async fn forget_photo(&self, name: &str) -> StoreResult<()>;

    /// Whether the content of photos is kept in the database, where all servers find it. Files are then
    /// copies of it.
    fn keeps_photos(&self) -> bool;

    /// Keeps the content of a photo.
    async fn save_photo(&self, name: &str, content: Vec<u8>) -> StoreResult<()>;

    /// The names of all photos whose content is kept.
    async fn list_photos(&self) -> StoreResult<Vec<String>>;

    /// Whether the content of a photo is kept.
    async fn has_photo(&self, name: &str) -> StoreResult<bool>;

    /// Finds the content of a photo.
    async fn find_photo(&self, name: &str) -> StoreResult<Option<Vec<u8>>>;
}
