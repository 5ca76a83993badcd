//! Backups that the server makes by itself.
//!
//! What was done is told by the names in the folder alone: the newest one says when the next backup is due, after a restart,
//! too, and only files with such names are ever removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{BackupError, Contents, SUFFIX, Source, because};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::domain::Timestamp;
use crate::observability::metrics::Metrics;

/// How long to wait after a backup that failed, if the next is not due before.
const RETRY: Duration = Duration::from_mins(15);

/// Longest time between two looks at the clock, which may be moved meanwhile.
const LOOK: Duration = Duration::from_mins(1);

/// How long the end of the server waits for a backup that is broken off.
const BREAKING_OFF: Duration = Duration::from_secs(3);

/// When backups are made, and how many are kept.
#[derive(Clone, Debug)]
pub struct Schedule {
    source: Source,
    dir: PathBuf,
    every: Duration,
    keep: usize,
}

impl Schedule {
    /// What the settings name; `None` when there is nothing to back up or nowhere to put it.
    pub fn of(config: &Config) -> Option<Self> {
        let settings = &config.backup;
        if settings.dir.is_empty() {
            return None;
        }
        Some(Self {
            source: Source::of(config)?,
            dir: PathBuf::from(&settings.dir),
            every: settings.every.duration(),
            keep: settings.keep as usize,
        })
    }

    /// The time between two backups.
    pub fn every(&self) -> Duration {
        self.every
    }

    /// When the newest of the backups was made that are there; those of the future, made while the clock was wrong, do not
    /// count. `None` when there is none.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn newest(&self, now: Timestamp) -> io::Result<Option<Timestamp>> {
        let times = self.backups()?.into_iter().map(|(at, _)| at);
        Ok(times.filter(|at| *at <= now).max())
    }

    /// How long until the next backup is due.
    fn due_in(&self, now: Timestamp) -> Duration {
        match self.newest(now) {
            Ok(Some(newest)) => self.every.saturating_sub(now.since(newest)),
            // A folder that cannot be read is complained of when it is written to.
            Ok(None) | Err(_) => Duration::ZERO,
        }
    }

    /// Makes a backup and removes those that are not to be kept any longer. Gives its path and what is in it.
    ///
    /// # Errors
    /// When it could not be made; older ones are all kept then.
    pub fn back_up(&self, now: Timestamp) -> Result<(PathBuf, Contents), BackupError> {
        let dir = &self.dir;
        super::create_folder(dir).map_err(because(format!("cannot create {}", dir.display())))?;
        let scratch = self.scratch();
        // A server that was killed has left it; nobody else uses it.
        let _ = fs::remove_dir_all(&scratch);
        let target = dir.join(self.source.name(now));
        let made = super::create_folder(&scratch)
            .map_err(because(format!("cannot write into {}", dir.display())))
            .and_then(|()| {
                self.source
                    .write_by_way_of(&scratch, &target, now, &mut |_| {})
            });
        let _ = fs::remove_dir_all(&scratch);
        let contents = made?;
        if let Err(e) = self.prune() {
            log::warn!("old backups in {} were not removed: {e}", dir.display());
        }
        Ok((target, contents))
    }

    fn scratch(&self) -> PathBuf {
        let mut name = super::scratch_prefix(&self.source.prefix());
        name.push(super::SCHEDULED);
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

    /// The backups of this database in the folder, with the time that each has in its name.
    fn backups(&self) -> io::Result<Vec<(Timestamp, PathBuf)>> {
        let prefix = self.source.prefix();
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
            // Only what this program itself would have called it: somebody's own copy may have a similar name.
            if let Some(time) = time.map(|time| Timestamp::from_unix_millis(time.as_millisecond()))
                && self.source.name(time) == name
            {
                backups.push((time, entry.path()));
            }
        }
        Ok(backups)
    }
}

/// The backups of a running server. They end when this is dropped.
#[derive(Debug)]
pub struct Backups {
    schedule: Schedule,
    /// Taken while a backup is being made.
    turn: Arc<Semaphore>,
    task: JoinHandle<()>,
}

impl Backups {
    /// Makes backups from now on.
    pub fn start(schedule: Schedule, clock: SharedClock, metrics: Arc<Metrics>) -> Self {
        if let Ok(Some(newest)) = schedule.newest(clock.now()) {
            metrics.set_last_backup(newest);
        }
        let turn = Arc::new(Semaphore::new(1));
        let task = tokio::spawn(run(schedule.clone(), Arc::clone(&turn), clock, metrics));
        Self {
            schedule,
            turn,
            task,
        }
    }

    /// Makes no more backups, and breaks off the one that is under way. [`Backups::ended`] is to follow.
    pub fn break_off(&self) {
        if self.turn.available_permits() == 0 {
            log::warn!("the backup that is under way is broken off");
        }
        self.schedule.source.cancel.set();
        self.task.abort();
    }

    /// Returns when nothing is under way any more, and nothing unfinished is left.
    pub async fn ended(&self) {
        if timeout(BREAKING_OFF, self.turn.acquire()).await.is_err() {
            // It is looking through its copy, which nothing can hurry; without the files it comes to nothing.
            let _ = fs::remove_dir_all(self.schedule.scratch());
        }
    }
}

impl Drop for Backups {
    fn drop(&mut self) {
        self.schedule.source.cancel.set();
        self.task.abort();
    }
}

/// Makes backups until it is aborted.
async fn run(schedule: Schedule, turn: Arc<Semaphore>, clock: SharedClock, metrics: Arc<Metrics>) {
    let mut retry_at = None;
    loop {
        let now = clock.now();
        let due = match retry_at {
            Some(at) => schedule
                .due_in(now)
                .max(Timestamp::since(at, now).min(RETRY)),
            None => schedule.due_in(now),
        };
        if !due.is_zero() {
            tokio::time::sleep(due.min(LOOK)).await;
            continue;
        }
        let Ok(turn) = Arc::clone(&turn).acquire_owned().await else {
            return;
        };
        let worker = schedule.clone();
        let made = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            worker.back_up(now)
        });
        let outcome = match made.await {
            Ok(outcome) => outcome.map_err(|e| e.to_string()),
            Err(e) => Err(e.to_string()),
        };
        match outcome {
            Ok((path, contents)) => {
                metrics.set_last_backup(now);
                retry_at = None;
                report(&path, &contents);
            }
            Err(e) => {
                metrics.count_failed_backup();
                log::error!("the backup failed: {e}");
                retry_at = Some(clock.now().plus(RETRY.min(schedule.every())));
            }
        }
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
            "{} of the photos that accounts have are missing, such as {first}",
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
    fn the_names_in_the_folder_decide() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::defaults(false);
        config.backup.dir = dir.path().to_str().unwrap().to_owned();
        config.backup.keep = 2;
        let schedule = Schedule::of(&config).unwrap();
        let now = at("2026-05-04T12:00:00Z");
        assert_eq!(schedule.due_in(now), Duration::ZERO, "there is none yet");
        for name in [
            "users.db-20260501T120000Z.tar",
            "users.db-20260502T120000Z.tar",
            "users.db-20260503T180000Z.tar",
            // None of these is of ours.
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
            "one of the future does not count"
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
