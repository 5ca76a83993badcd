//! What `--dev` adds for prototypes and end-to-end tests of other projects.
//!
//! A temporary database, seed accounts, and a reset to them.
//!
//! The settings refuse all of it without `--dev`, and `--dev` on an address that other machines can
//! reach. A database served with `--dev` is marked, and serving it without logs a warning.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use tempfile::TempDir;

use crate::accounts::import::rows::Rows;
use crate::accounts::{
    self, AccountError, Cause, FileEndpoint, RegisteredClient, read_imported_user,
};
use crate::app::App;
use crate::bootstrap::StartError;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::crypto::random;
use crate::domain::{FieldErrors, Fields, Input, Timestamp, UserId};
use crate::passwords::is_known;
use crate::store::{ImportRefusal, ImportSource, ImportedUser};

/// Most accounts of a database that can be reset; its rows are kept in memory.
pub const MOST_KEPT: u32 = 10_000;

/// Prefix of temporary folders; leftovers with it are removed.
const PREFIX: &str = "accounts-server-ephemeral-";

/// File name of the database in a temporary folder.
const DATABASE: &str = "users.db";

/// Age at which an unlocked folder counts as left by a killed server.
const LEFT_AFTER: Duration = Duration::from_mins(1);

/// Points the settings to a temporary folder if `ephemeral` is set; removed on drop.
///
/// # Errors
/// If the folder cannot be created.
pub fn make_ephemeral(config: &mut Config) -> Result<Option<TempDir>, StartError> {
    if !config.development.ephemeral {
        return Ok(None);
    }
    if config.is_postgres() {
        return Err(StartError::new(
            "--ephemeral keeps its data in a temporary file, so it cannot be used with a postgres:// \
             URL; leave one of them out",
        ));
    }
    remove_left_over(&std::env::temp_dir());
    let folder = tempfile::Builder::new()
        .prefix(PREFIX)
        .tempdir()
        .map_err(StartError::at("cannot create a temporary folder"))?;
    let path = folder.path().join(DATABASE).into_os_string().into_string();
    config.database.path =
        path.map_err(|path| StartError::new(format!("{} is not UTF-8", path.display())))?;
    config.media.dir = Some(folder.path().join("media"));
    Ok(Some(folder))
}

/// Removes the folders of killed servers, whose locks are free.
fn remove_left_over(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for folder in entries.flatten() {
        let is_ours = folder.file_name().to_string_lossy().starts_with(PREFIX);
        if is_ours && is_left_over(&folder.path()) {
            // Another server may do the same concurrently.
            let _ = fs::remove_dir_all(folder.path());
        }
    }
}

fn is_left_over(folder: &Path) -> bool {
    let Ok(lock) = File::open(folder.join(format!("{DATABASE}.lock"))) else {
        return false;
    };
    let modified = lock.metadata().and_then(|data| data.modified()).ok();
    let age = modified.and_then(|modified| {
        let modified = modified.duration_since(UNIX_EPOCH).ok()?;
        let modified = Timestamp::from_unix_millis(i64::try_from(modified.as_millis()).ok()?);
        Some(SystemClock.now().since(modified))
    });
    age.is_some_and(|age| age > LEFT_AFTER) && lock.try_lock().is_ok()
}

/// Prepares an opened database for serving.
///
/// With `--dev` it is marked, seeded and remembered; without, a marked one causes a warning.
///
/// The webhooks and the OAuth clients of the configuration file are there afterwards, also after a
/// reset.
///
/// # Errors
/// If the seed file is unusable; the text says where and why.
pub async fn begin(
    app: &Arc<App>,
    webhooks: &[FileEndpoint],
    clients: &[RegisteredClient],
) -> Result<(), StartError> {
    let failed = StartError::at("cannot prepare --dev");
    let apply_lists = async || {
        let applied = accounts::apply_file_webhooks(app, webhooks).await;
        applied.map_err(StartError::at("[[webhooks]]"))?;
        let applied = accounts::apply_file_clients(app, clients).await;
        applied.map_err(StartError::at("[[clients]]"))
    };
    if !app.config.dev {
        apply_lists().await?;
        if let Some(at) = app.store.find_development_mark().await.map_err(&failed)? {
            log::warn!(
                "{}: {}",
                app.config.shown_database(),
                development_warning(at)
            );
        }
        return Ok(());
    }
    app.store
        .mark_development(app.clock.now())
        .await
        .map_err(&failed)?;
    if let Some(path) = &app.config.development.seed {
        seed(app, path).await?;
    }
    apply_lists().await?;
    let is_kept = app.store.take_snapshot(MOST_KEPT).await.map_err(&failed)?;
    if !is_kept {
        log::info!(
            "the database has more than {MOST_KEPT} accounts, so POST /dev/reset/ cannot restore it"
        );
    }
    Ok(())
}

/// The warning about a database that was served with `--dev`.
pub fn development_warning(since: Timestamp) -> String {
    format!(
        "this database was served with --dev ({since}): it may contain test accounts, cheap password \
         hashes and disclosed codes; do not use it for real users"
    )
}

/// Restores the initial state: accounts and their ids, the clock, mails, limits, photos.
///
/// Returns false if the database was too large to be remembered.
///
/// # Errors
/// If the store fails.
pub async fn reset(app: &App) -> Result<bool, AccountError> {
    let Some(photos) = app.store.restore_snapshot().await? else {
        return Ok(false);
    };
    app.clock.reset();
    app.limits.clear();
    if let Some(inbox) = &app.inbox {
        inbox.clear();
    }
    if let Some(received) = &app.received {
        received.clear();
    }
    for photo in photos {
        app.photos.remove(&photo);
    }
    log::info!("development reset done");
    Ok(true)
}

/// Advances the clock and returns its new time; `None` if the clock is not settable.
pub async fn advance_clock(app: &App, by: Duration) -> Option<Timestamp> {
    app.clock.advance(by).then_some(())?;
    // Run due work now instead of at the next check.
    app.outbox.wake().await;
    Some(app.clock.now())
}

/// Imports the accounts of the seed file, all or none, unless the database has accounts.
async fn seed(app: &Arc<App>, file: &Path) -> Result<(), StartError> {
    let failed = |e: Cause| StartError::caused_by(format!("--seed {}", file.display()), e);
    let known = app
        .store
        .list_users_after(0, 1)
        .await
        .map_err(|e| failed(e.into()))?;
    if !known.is_empty() {
        log::info!("the database has accounts already: --seed is ignored");
        return Ok(());
    }
    let reader = BufReader::new(File::open(file).map_err(|e| failed(e.into()))?);
    let mut rows = Rows::open(reader, None, Vec::new()).map_err(|e| failed(e.into()))?;
    let mut hashes = HashMap::new();
    let mut users = Vec::new();
    let mut lines = Vec::new();
    let mut wrong = Vec::new();
    while let Some(row) = rows.next().map_err(|e| failed(e.into()))? {
        let read = match row.fields {
            Ok(fields) => read_seed(app, fields, &mut hashes)
                .await
                .map_err(|e| failed(e.into()))?,
            Err(reason) => {
                wrong.push(format!("line {}: {reason}", row.line));
                continue;
            }
        };
        match read {
            Ok(user) => {
                users.push(user);
                lines.push(row.line);
            }
            Err(errors) => wrong.extend(messages_of(row.line, &errors)),
        }
    }
    let outcomes = Arc::default();
    if wrong.is_empty() {
        let source = Seeds {
            users: users.into_iter(),
            outcomes: Arc::clone(&outcomes),
        };
        accounts::import_users(app, Box::new(source), 1)
            .await
            .map_err(|e| failed(e.into()))?;
    }
    let outcomes = std::mem::take(&mut *lock(&outcomes));
    for (line, outcome) in lines.into_iter().zip(outcomes) {
        if let Err(refusal) = outcome {
            wrong.extend(messages_of(line, &accounts::refused(refusal)));
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(failed(wrong.join("\n").into()))
    }
}

/// Reads an account whose password may be plain text. Equal passwords are hashed once.
async fn read_seed(
    app: &App,
    mut fields: Fields,
    hashes: &mut HashMap<String, String>,
) -> Result<Result<ImportedUser, FieldErrors>, AccountError> {
    if let Some(Input::Text(password)) = fields.get("password")
        && !password.is_empty()
        && !is_known(password)
    {
        let password = password.clone();
        let hash = if let Some(hash) = hashes.get(&password) {
            hash.clone()
        } else {
            let hash = app
                .passwords
                .hash(password.clone(), random::bytes())
                .await?;
            hashes.insert(password, hash.clone());
            hash
        };
        fields.insert("password".to_owned(), Input::Text(hash));
    }
    Ok(read_imported_user(&fields, app.clock.now()))
}

fn messages_of(line: u64, errors: &FieldErrors) -> Vec<String> {
    errors
        .iter()
        .map(|(field, messages)| format!("line {line}: {field}: {}", messages.join(" ")))
        .collect()
}

type Outcomes = Arc<Mutex<Vec<Result<UserId, ImportRefusal>>>>;

/// Accounts to be imported, all or none.
struct Seeds {
    users: std::vec::IntoIter<ImportedUser>,
    outcomes: Outcomes,
}

impl ImportSource for Seeds {
    fn next_user(&mut self) -> Option<ImportedUser> {
        self.users.next()
    }

    fn imported(&mut self, outcome: Result<UserId, ImportRefusal>) {
        lock(&self.outcomes).push(outcome);
    }

    fn notifies_webhooks(&self) -> bool {
        true
    }

    fn keep(&mut self) -> bool {
        lock(&self.outcomes).iter().all(Result::is_ok)
    }
}

fn lock(outcomes: &Outcomes) -> std::sync::MutexGuard<'_, Vec<Result<UserId, ImportRefusal>>> {
    outcomes.lock().unwrap_or_else(PoisonError::into_inner)
}
