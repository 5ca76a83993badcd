//! Moving all accounts from one engine to another.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

pub use super::operations::copying::{CopiedTable, CopyProgress};
use super::operations::copying::{Photo, copy_all, mark_moved};
use super::postgres::PostgresStore;
use super::sqlite::SqliteStore;
use super::{PhotoStore, StoreError, StoreResult};
use crate::domain::Timestamp;

/// A store whose engine is known.
pub enum OpenedStore {
    /// On a SQLite file, with the folder of its photos.
    Sqlite(Box<SqliteStore>, PathBuf),
    /// On PostgreSQL, which keeps photos itself.
    Postgres(PostgresStore),
}

/// Copies everything into an empty store, in one transaction, and marks the source as moved to
/// `target_name`.
///
/// # Errors
/// The text says why nothing was copied; the target is empty then.
pub async fn move_store(
    source: &OpenedStore,
    target: &OpenedStore,
    target_name: &str,
    now: Timestamp,
    progress: CopyProgress,
) -> StoreResult<(Vec<CopiedTable>, usize)> {
    let now = now.unix_millis();
    match (source, target) {
        (OpenedStore::Sqlite(source, folder), OpenedStore::Postgres(target)) => {
            let paths = find_photos(folder)?;
            let count = paths.len();
            let photos = paths.into_iter().map(read_photo);
            let copied = copy_all(&**source, target, photos, progress).await?;
            mark_moved(&**source, target_name, now).await?;
            Ok((copied, count))
        }
        (OpenedStore::Postgres(source), OpenedStore::Sqlite(target, folder)) => {
            // Before the rows that name them; files without rows do no harm.
            let count = write_photos(source, folder).await?;
            let copied = copy_all(source, &**target, std::iter::empty(), progress).await?;
            mark_moved(source, target_name, now).await?;
            Ok((copied, count))
        }
        _ => Err(StoreError::failed(
            "one of the databases has to be a file, and the other one a postgres:// URL",
        )),
    }
}

/// Finds all photos of a folder, with their names.
fn find_photos(folder: &Path) -> StoreResult<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(folder, &e)),
    };
    let mut photos = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| failed(folder, &e))?.path();
        let is_photo = path
            .extension()
            .is_some_and(|extension| extension == "jpg" || extension == "png");
        if is_photo && let Some(name) = path.file_name().and_then(|name| name.to_str()) {
            photos.push((name.to_owned(), path));
        }
    }
    Ok(photos)
}

fn read_photo((name, path): (String, PathBuf)) -> StoreResult<Photo> {
    let content = fs::read(&path).map_err(|e| failed(&path, &e))?;
    Ok((name, content))
}

/// Writes all photos of a store into a folder. Returns their number.
async fn write_photos(source: &PostgresStore, folder: &Path) -> StoreResult<usize> {
    let names = source.list_photos().await?;
    if !names.is_empty() {
        fs::create_dir_all(folder).map_err(|e| failed(folder, &e))?;
    }
    for name in &names {
        let Some(content) = source.find_photo(name).await? else {
            continue;
        };
        let path = folder.join(name);
        let file = fs::File::create(&path).map_err(|e| failed(&path, &e))?;
        let written = std::io::Write::write_all(&mut &file, &content);
        written
            .and_then(|()| file.sync_all())
            .map_err(|e| failed(&path, &e))?;
    }
    Ok(names.len())
}

fn failed(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::failed(format!("{}: {error}", path.display()))
}
