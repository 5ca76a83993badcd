//! The accounts behind living sessions, which almost every request asks for, remembered for as long as nobody writes.
//!
//! Whether anybody has written, in this process or in another one, is asked before every answer: `PRAGMA data_version`
//! costs a third of reading the two rows anew, and nothing is answered that the database does not say at that moment. The
//! figures that this rests on are in docs/PERFORMANCE.md.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use lru::LruCache;
use rusqlite::{Connection, OpenFlags};

use super::Session;
use super::sessions::find_live_user;
use crate::domain::User;

/// Most sessions that are remembered, a few hundred bytes each; the one that was quiet for longest is forgotten first.
const SESSIONS: usize = 16_384;

/// Parts that the memory is divided into, so that threads seldom wait for each other.
const PARTS: usize = 16;

/// Sessions in each part.
const SESSIONS_IN_PART: NonZeroUsize =
    NonZeroUsize::new(SESSIONS / PARTS).expect("there are more sessions than parts");

/// The accounts behind living sessions.
pub(super) struct LiveUsers {
    watchers: Vec<Mutex<Watcher>>,
    // Counted up whenever a watcher sees that somebody has written.
    generation: AtomicU64,
    parts: [Mutex<LruCache<Box<str>, Known>>; PARTS],
}

/// A connection that can tell whether another one has written since it was asked last.
struct Watcher {
    connection: Connection,
    data_version: i64,
}

/// What was read, and the generation that it holds good for.
struct Known {
    user: Arc<User>,
    generation: u64,
}

impl LiveUsers {
    /// Opens as many connections to the database as threads may ask at one time.
    pub(super) fn open(
        path: &Path,
        flags: OpenFlags,
        session: &Session,
        connections: usize,
    ) -> rusqlite::Result<Self> {
        let watchers = (0..connections.max(1))
            .map(|_| {
                let connection = Connection::open_with_flags(path, flags)?;
                session.prepare(&connection)?;
                Ok(Mutex::new(Watcher {
                    connection,
                    data_version: 0,
                }))
            })
            .collect::<rusqlite::Result<_>>()?;
        Ok(Self {
            watchers,
            generation: AtomicU64::new(0),
            // Unbounded at first, and bounded by hand below: a bounded one would take all its memory at once.
            parts: std::array::from_fn(|_| Mutex::new(LruCache::unbounded())),
        })
    }

    /// The account behind a living session, if it may sign in.
    pub(super) fn find(&self, session_id: &str) -> rusqlite::Result<Option<Arc<User>>> {
        let mut watcher = self.watcher();
        let generation = self.generation(&mut watcher)?;
        let part = self.part(session_id);
        {
            let mut known = lock(part);
            if let Some(known) = known.get(session_id)
                && known.generation == generation
            {
                return Ok(Some(Arc::clone(&known.user)));
            }
        }
        // What is read now is at least as new as the generation that it is remembered under.
        let user = find_live_user(&watcher.connection, session_id)?.map(Arc::new);
        drop(watcher);
        let mut known = lock(part);
        match &user {
            Some(user) => {
                let user = Arc::clone(user);
                known.put(session_id.into(), Known { user, generation });
                if known.len() > SESSIONS_IN_PART.get() {
                    known.pop_lru();
                }
            }
            None => {
                known.pop(session_id);
            }
        }
        Ok(user)
    }

    /// The present generation: another one than before when anybody has written since this watcher was asked last.
    ///
    /// A watcher that was asked after a write has counted up for it, and what it or another one remembers from then on
    /// is newer than the write; so what is remembered under the present generation was read after the last write that
    /// this watcher can see.
    fn generation(&self, watcher: &mut Watcher) -> rusqlite::Result<u64> {
        let data_version = watcher
            .connection
            .prepare_cached("PRAGMA data_version")?
            .query_row([], |row| row.get(0))?;
        if watcher.data_version != data_version {
            watcher.data_version = data_version;
            return Ok(self.generation.fetch_add(1, Ordering::SeqCst) + 1);
        }
        Ok(self.generation.load(Ordering::SeqCst))
    }

    /// A connection that nobody uses at the moment, most likely the one that this thread used last.
    fn watcher(&self) -> MutexGuard<'_, Watcher> {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
        }
        let first = THREAD.with(|number| *number) % self.watchers.len();
        let (before, from) = self.watchers.split_at(first);
        for watcher in from.iter().chain(before) {
            match watcher.try_lock() {
                Ok(watcher) => return watcher,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        lock(&self.watchers[first])
    }

    fn part(&self, session_id: &str) -> &Mutex<LruCache<Box<str>, Known>> {
        // Any even division will do; identifiers of sessions are random digits.
        let sum = session_id.bytes().fold(0_usize, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(usize::from(byte))
        });
        &self.parts[sum / 7 % PARTS]
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
