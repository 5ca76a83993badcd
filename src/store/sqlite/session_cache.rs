//! The accounts behind living sessions, which almost every request asks for, remembered for as long as nobody writes: each
//! beside the name of its session, which lies with the verified token.
//!
//! Whether anybody has written, in this process or in another one, is asked before every answer: `PRAGMA data_version`
//! costs a third of reading the two rows anew, and nothing is answered that the database does not say at that moment.
//! Requests that have come in together ask once: each of them takes a number, lets the others that are ready take theirs,
//! and an answer holds good for all numbers that were taken before the question was put. The figures that this rests on are
//! in docs/PERFORMANCE.md.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use rusqlite::{Connection, OpenFlags};

use super::ConnectionSettings;
use super::sessions::find_live_user;
use crate::store::{SessionRef, UserSnapshot};

/// The accounts behind living sessions.
pub(super) struct SessionCache {
    // The first is open from the start, the others from the moment when they are needed.
    watchers: Vec<Mutex<Option<Watcher>>>,
    options: ConnectionOptions,
    // How many have asked whether anybody has written, and how many of them have their answer.
    asked: AtomicU64,
    answered: AtomicU64,
    // Counted up whenever a watcher sees that somebody has written.
    generation: AtomicU64,
}

/// A connection that can tell whether another one has written since it was asked last.
struct Watcher {
    connection: Connection,
    data_version: i64,
}

/// A watcher that is asked by nobody else.
struct Asked<'a>(MutexGuard<'a, Option<Watcher>>);

impl Deref for Asked<'_> {
    type Target = Watcher;

    fn deref(&self) -> &Watcher {
        self.0.as_ref().expect("it is open")
    }
}

impl DerefMut for Asked<'_> {
    fn deref_mut(&mut self) -> &mut Watcher {
        self.0.as_mut().expect("it is open")
    }
}

/// What a connection is opened with.
struct ConnectionOptions {
    path: PathBuf,
    flags: OpenFlags,
    settings: ConnectionSettings,
}

impl ConnectionOptions {
    fn open(&self) -> rusqlite::Result<Watcher> {
        let connection = Connection::open_with_flags(&self.path, self.flags)?;
        self.settings.prepare(&connection)?;
        Ok(Watcher {
            connection,
            data_version: 0,
        })
    }
}

impl SessionCache {
    /// Opens a connection to the database; there will be as many as threads ask at one time, up to this number.
    pub(super) fn open(
        path: &Path,
        flags: OpenFlags,
        settings: ConnectionSettings,
        connections: usize,
    ) -> rusqlite::Result<Self> {
        let options = ConnectionOptions {
            path: path.to_path_buf(),
            flags,
            settings,
        };
        let mut watchers = vec![Mutex::new(Some(options.open()?))];
        watchers.resize_with(connections.max(1), Mutex::default);
        Ok(Self {
            watchers,
            options,
            asked: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            generation: AtomicU64::new(0),
        })
    }

    /// The account behind a living session, if it may sign in.
    pub(super) async fn find(
        &self,
        session: &SessionRef,
    ) -> rusqlite::Result<Option<Arc<UserSnapshot>>> {
        let generation = self.generation().await?;
        if let Some(user) = session.recall(generation) {
            return Ok(Some(user));
        }
        // What is read now is at least as new as the generation that it is remembered under.
        let user = find_live_user(&self.watcher().connection, &session.id)?
            .map(|user| Arc::new(UserSnapshot::new(user)));
        session.keep(generation, user.as_ref());
        Ok(user)
    }

    /// The present generation: another one than before when anybody has written since it was asked for last.
    async fn generation(&self) -> rusqlite::Result<u64> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        if self.answered.load(Ordering::SeqCst) <= number {
            let mut watcher = self.watcher();
            // Whoever asks from here on may have come after a write that the look does not see.
            let asked = self.asked.load(Ordering::SeqCst);
            self.look(&mut watcher)?;
            self.answered.fetch_max(asked, Ordering::SeqCst);
        }
        Ok(self.generation.load(Ordering::SeqCst))
    }

    /// Begins a new generation when anybody has written since this watcher looked last.
    ///
    /// A watcher that has looked after a write has counted up for it, and what it or another one remembers from then on
    /// is newer than the write; so what is remembered under the present generation was read after the last write that
    /// this watcher can see.
    fn look(&self, watcher: &mut Watcher) -> rusqlite::Result<()> {
        let data_version = watcher
            .connection
            .prepare_cached("PRAGMA data_version")?
            .query_row([], |row| row.get(0))?;
        if watcher.data_version != data_version {
            watcher.data_version = data_version;
            self.generation.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    /// A connection that nobody uses at the moment, most likely the one that this thread used last.
    fn watcher(&self) -> Asked<'_> {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
        }
        let first = THREAD.with(|number| *number) % self.watchers.len();
        let (before, from) = self.watchers.split_at(first);
        for watcher in from.iter().chain(before) {
            let mut watcher = match watcher.try_lock() {
                Ok(watcher) => watcher,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => continue,
            };
            if watcher.is_none() {
                match self.options.open() {
                    Ok(opened) => *watcher = Some(opened),
                    Err(e) => {
                        log::warn!("one more connection to the database cannot be opened: {e}");
                        continue;
                    }
                }
            }
            return Asked(watcher);
        }
        Asked(lock(&self.watchers[0]))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
