//! Scheduled backups of a running server.
//!
//! The file names are the only state: the newest name decides when the next backup is due, also
//! after a restart, and only files with such names are ever removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::files::{SCHEDULED, create_folder, scratch_prefix};
use super::{BackupError, Contents, DataFiles, SUFFIX, backup_error, with_context};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::domain::Timestamp;
use crate::observability::metrics::Metrics;

/// Pause after a failed backup, unless the next one is due earlier.
const RETRY_DELAY: Duration = Duration::from_mins(15);

/// Longest sleep before the clock, which may be set, is read again.
const CLOCK_POLL: Duration = Duration::from_mins(1);

/// How long a shutdown waits for a cancelled backup.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(3);

/// When backups are made, where, and how many are kept.
#[derive(Clone, Debug)]
pub struct Schedule {
    files: DataFiles,
    dir: PathBuf,
    interval: Duration,
    keep: usize,
}

impl Schedule {
    /// The schedule in the settings; `None` without a folder, or for a database in memory.
    pub fn of(config: &Config) -> Option<Self> {
        let settings = &config.backup;
        let dir = settings.dir.clone()?;
        Some(Self {
            files: DataFiles::of(config)?,
            dir,
            interval: settings.every.duration(),
            keep: settings.keep as usize,
        })
    }

    /// The directory of the backups.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The time between two backups.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// The time of the newest existing backup. Backups with a time in the future are ignored.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn newest(&self, now: Timestamp) -> io::Result<Option<Timestamp>> {
        let times = self.backups()?.into_iter().map(|(at, _)| at);
        Ok(times.filter(|at| *at <= now).max())
    }

    /// The time until the next backup is due.
    fn due_in(&self, now: Timestamp) -> Duration {
        match self.newest(now) {
            Ok(Some(newest)) => self.interval.saturating_sub(now.since(newest)),
            // A folder that cannot be read fails the backup, which is logged.
            Ok(None) | Err(_) => Duration::ZERO,
        }
    }

    /// Makes a backup, removes expired ones, and returns its path and contents.
    ///
    /// # Errors
    /// When it cannot be made; all older backups are kept.
    pub fn back_up(&self, now: Timestamp) -> Result<(PathBuf, Contents), BackupError> {
        let dir = &self.dir;
        create_folder(dir).map_err(with_context(format!("cannot create {}", dir.display())))?;
        let scratch = self.scratch();
        // A killed server may have left it behind; nothing else uses it.
        let _ = fs::remove_dir_all(&scratch);
        let target = dir.join(self.files.backup_name(now));
        let made = create_folder(&scratch)
            .map_err(with_context(format!("cannot write to {}", dir.display())))
            .and_then(|()| {
                self.files
                    .write_file_via(&scratch, &target, now, &mut |_| {})
            });
        let _ = fs::remove_dir_all(&scratch);
        let contents = made?;
        if let Err(e) = self.prune() {
            log::warn!("old backups in {} were not removed: {e}", dir.display());
        }
        Ok((target, contents))
    }

    fn scratch(&self) -> PathBuf {
        let mut name = scratch_prefix(&self.files.prefix());
        name.push(SCHEDULED);
        self.dir.join(name)
    }

    fn prune(&self) -> io::Result<()> {
        if self.keep == 0 {
            return Ok(());
        }
        let mut backups = self.backups()?;
        backups.sort_by(|a, b| b.cmp(a));
        for (_, path) in backups.into_iter().skip(self.keep) {
            fs::remove_file(&path)?;
            log::info!("removed the old backup {}", path.display());
        }
        Ok(())
    }

    /// The backups of this database, each with the time in its name.
    fn backups(&self) -> io::Result<Vec<(Timestamp, PathBuf)>> {
        let prefix = self.files.prefix();
        let mut backups = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let time = name
                .to_str()
                .zip(prefix.to_str())
                .and_then(|(name, prefix)| {
                    name.strip_prefix(prefix)?
                        .strip_suffix(SUFFIX)?
                        .parse::<jiff::Timestamp>()
                        .ok()
                });
            // Only exact names: an operator's own copy may have a similar one.
            if let Some(time) = time.map(|time| Timestamp::from_unix_millis(time.as_millisecond()))
                && self.files.backup_name(time) == name
            {
                backups.push((time, entry.path()));
            }
        }
        Ok(backups)
    }
}

/// A backup in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupFile {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// Its size in bytes.
    pub bytes: u64,
}

/// The backups of a running server, by schedule and on request. One is made at a time.
pub struct Backups {
    schedule: Schedule,
    /// Held while a backup is being made.
    running: Arc<Semaphore>,
    clock: SharedClock,
    metrics: Arc<Metrics>,
}

impl Backups {
    /// The backups in the folder of the schedule.
    pub fn new(schedule: Schedule, clock: SharedClock, metrics: Arc<Metrics>) -> Self {
        Self {
            schedule,
            running: Arc::new(Semaphore::new(1)),
            clock,
            metrics,
        }
    }

    /// The schedule.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// All backups of this database in the folder, newest first; none before there is a folder.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self) -> io::Result<Vec<BackupFile>> {
        let mut backups = match self.schedule.backups() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            backups => backups?,
        };
        backups.sort_by(|a, b| b.cmp(a));
        let files = backups.into_iter().map(|(made_at, path)| BackupFile {
            name: path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            made_at,
            bytes: path.metadata().map_or(0, |data| data.len()),
        });
        Ok(files.collect())
    }

    /// Whether a backup is being made.
    pub fn is_running(&self) -> bool {
        self.running.available_permits() == 0
    }

    /// Makes a backup now. `None` when one is being made already.
    ///
    /// # Errors
    /// When it cannot be made; all older backups are kept.
    pub async fn make_now(&self) -> Option<Result<(), BackupError>> {
        let running = Arc::clone(&self.running).try_acquire_owned().ok()?;
        Some(self.make(running, self.clock.now()).await)
    }

    async fn make(&self, running: OwnedSemaphorePermit, now: Timestamp) -> Result<(), BackupError> {
        let worker = self.schedule.clone();
        let made = tokio::task::spawn_blocking(move || {
            let _running = running;
            worker.back_up(now)
        });
        match made.await.unwrap_or_else(|e| Err(backup_error(e))) {
            Ok((path, contents)) => {
                self.metrics.set_last_backup(now);
                report(&path, &contents);
                Ok(())
            }
            Err(e) => {
                self.metrics.count_failed_backup();
                log::error!("the backup failed: {e}");
                Err(e)
            }
        }
    }
}

/// Makes the scheduled backups of a running server until it is dropped.
pub struct BackupScheduler {
    backups: Arc<Backups>,
    task: JoinHandle<()>,
}

impl BackupScheduler {
    /// Starts making backups.
    pub fn start(backups: Arc<Backups>) -> Self {
        if let Ok(Some(newest)) = backups.schedule.newest(backups.clock.now()) {
            backups.metrics.set_last_backup(newest);
        }
        let task = tokio::spawn(run(Arc::clone(&backups)));
        Self { backups, task }
    }

    /// Stops the schedule and cancels a backup in progress. [`BackupScheduler::finished`] must
    /// follow.
    pub fn cancel(&self) {
        if self.backups.is_running() {
            log::warn!("the backup in progress is cancelled");
        }
        self.backups.schedule.files.cancel.set();
        self.task.abort();
    }

    /// Waits until no backup is in progress and temporary files are gone.
    pub async fn finished(&self) {
        if timeout(CANCEL_TIMEOUT, self.backups.running.acquire())
            .await
            .is_err()
        {
            // It verifies its copy, which cannot be interrupted; without the files it fails.
            let _ = fs::remove_dir_all(self.backups.schedule.scratch());
        }
    }
}

impl Drop for BackupScheduler {
    fn drop(&mut self) {
        self.backups.schedule.files.cancel.set();
        self.task.abort();
    }
}

/// Makes backups until it is aborted.
async fn run(backups: Arc<Backups>) {
    let schedule = &backups.schedule;
    let mut retry_at = None;
    loop {
        let now = backups.clock.now();
        let due = match retry_at {
            Some(at) => schedule
                .due_in(now)
                .max(Timestamp::since(at, now).min(RETRY_DELAY)),
            None => schedule.due_in(now),
        };
        if !due.is_zero() {
            tokio::time::sleep(due.min(CLOCK_POLL)).await;
            continue;
        }
        let Ok(running) = Arc::clone(&backups.running).acquire_owned().await else {
            return;
        };
        retry_at = match backups.make(running, now).await {
            Ok(()) => None,
            Err(_) => Some(
                backups
                    .clock
                    .now()
                    .plus(RETRY_DELAY.min(schedule.interval())),
            ),
        };
    }
}

fn report(path: &Path, contents: &Contents) {
    log::info!(
        "backed up {} accounts and {} photos in {}",
        contents.accounts,
        contents.photos,
        path.display()
    );
    if let Some(first) = contents.missing_photos.first() {
        log::warn!(
            "{} photos of accounts are missing, such as {first}",
            contents.missing_photos.len()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_unix_millis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    #[test]
    fn file_names_decide_when_the_next_backup_is_due() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::defaults(false);
        config.backup.dir = Some(dir.path().into());
        config.backup.keep = 2;
        let schedule = Schedule::of(&config).unwrap();
        let now = at("2026-05-04T12:00:00Z");
        assert_eq!(
            schedule.due_in(now),
            Duration::ZERO,
            "there is no backup yet"
        );
        for name in [
            "users.db-20260501T120000Z.tar",
            "users.db-20260502T120000Z.tar",
            "users.db-20260503T180000Z.tar",
            // None of these is a backup of this database.
            "other.db-20260101T000000Z.tar",
            "users.db-2026-01-01T00:00:00Z.tar",
            "users.db-20260101T000000Z.tar.gz",
            "users.db-copy.tar",
            "users.db",
        ] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(
            schedule.newest(now).unwrap(),
            Some(at("2026-05-03T18:00:00Z"))
        );
        assert_eq!(schedule.due_in(now), Duration::from_hours(6));
        assert_eq!(
            schedule.due_in(at("2026-05-02T18:00:00Z")),
            Duration::from_hours(18),
            "backups with a time in the future are ignored"
        );
        schedule.prune().unwrap();
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(
            names,
            [
                "other.db-20260101T000000Z.tar",
                "users.db",
                "users.db-2026-01-01T00:00:00Z.tar",
                "users.db-20260101T000000Z.tar.gz",
                "users.db-20260502T120000Z.tar",
                "users.db-20260503T180000Z.tar",
                "users.db-copy.tar",
            ]
        );
    }
}
