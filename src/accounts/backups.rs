//! Backups that staff see and ask for. They stay on the machine.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::{AccountError, Administrator, detached};
use crate::app::App;
use crate::backup::schedule::BackupFile;
use crate::domain::{EventKind, Fields, Timestamp};
use crate::store::NewEvent;

/// How long a request waits for its backup, which goes on after that.
const WAIT: Duration = Duration::from_secs(10);

/// The backups of a server.
#[derive(Clone, Debug)]
pub struct BackupList {
    /// The folder.
    pub dir: String,
    /// The backups in it, newest first.
    pub files: Vec<BackupFile>,
    /// Why the folder cannot be read; it has no files then.
    pub fault: Option<String>,
    /// Whether one is being made.
    pub is_running: bool,
    /// When a backup was last made, and its copy of the database verified.
    pub proven_at: Option<Timestamp>,
    /// Whether the newest is older than two intervals.
    pub is_late: bool,
}

/// What became of a request for a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupOutcome {
    /// It is there.
    Made,
    /// It takes longer.
    Started,
    /// Another one is being made.
    Running,
    /// It could not be made, for this reason.
    Failed(String),
}

/// The backups, for staff; `None` where no folder is configured.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff.
pub async fn list_backups(
    app: &App,
    by: Administrator<'_>,
) -> Result<Option<BackupList>, AccountError> {
    by.context(app)?;
    let Some(backups) = app.backups.clone() else {
        return Ok(None);
    };
    let now = app.clock.now();
    let list = tokio::task::spawn_blocking(move || {
        let schedule = backups.schedule();
        let (files, fault) = match backups.list() {
            Ok(files) => (files, None),
            Err(e) => (Vec::new(), Some(e.to_string())),
        };
        let proven_at = files.iter().map(|file| file.made_at).find(|at| *at <= now);
        BackupList {
            dir: schedule.dir().display().to_string(),
            fault,
            is_running: backups.is_running(),
            is_late: proven_at.is_some_and(|at| now.since(at) > 2 * schedule.interval()),
            proven_at,
            files,
        }
    });
    let list = list.await.map_err(|e| AccountError::Internal(e.into()))?;
    Ok(Some(list))
}

/// Makes a backup now, as a staff member asks who gives a `reason`.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff; [`AccountError::Fields`] without a
/// reason; [`AccountError::NotFound`] where no folder is configured.
pub async fn make_backup(
    app: &App,
    by: Administrator<'_>,
    fields: &Fields,
) -> Result<BackupOutcome, AccountError> {
    let context = by.context_because(app, fields)?;
    let backups = app.backups.clone().ok_or(AccountError::NotFound)?;
    let event = NewEvent {
        kind: EventKind::BackupStarted,
        user_id: None,
        context,
        detail: backups.schedule().dir().display().to_string(),
        now: app.clock.now(),
    };
    app.store.record_event(event).await?;
    let work = detached(async move { Arc::clone(&backups).make_now().await });
    match timeout(WAIT, work).await {
        Err(_) => Ok(BackupOutcome::Started),
        Ok(made) => Ok(match made? {
            None => BackupOutcome::Running,
            Some(Ok(())) => BackupOutcome::Made,
            Some(Err(e)) => BackupOutcome::Failed(e.to_string()),
        }),
    }
}
