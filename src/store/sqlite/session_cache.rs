//! The session cache: the accounts of live sessions, which almost every request needs.
//!
//! An entry is valid as long as nobody has written to the database, in this process or another one.
//! Before each answer `PRAGMA data_version` tells whether somebody has; that costs a third of
//! reading the two rows, and no answer is ever stale. Concurrent requests share a check: each takes
//! a ticket, yields so that others can take theirs, and the result of a check is valid for all
//! tickets taken before it. docs/PERFORMANCE.md has the measurements.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use lru::LruCache;
use rusqlite::{Connection, OpenFlags};

use super::ConnectionSettings;
use crate::domain::SessionRef;
use crate::store::operations::sessions::find_live_user;
use crate::store::{StoreResult, UserSnapshot};

/// The number of shards, each with a lock of its own.
const SHARDS: usize = 16;

/// The capacity of a shard; the least recently used entry is evicted.
const SHARD_CAPACITY: NonZeroUsize = NonZeroUsize::new(4096).expect("the number is not zero");

/// A cached account, valid in one generation of the database.
struct Entry {
    generation: u64,
    user: Arc<UserSnapshot>,
}

/// The session cache.
pub(super) struct SessionCache {
    shards: [Mutex<LruCache<String, Entry>>; SHARDS],
    hasher: RandomState,
    // The first is open from the start; the others are opened on demand.
    watchers: Vec<Mutex<Option<Watcher>>>,
    options: ConnectionOptions,
    // Tickets taken, and the ticket up to which the generation is known.
    tickets: AtomicU64,
    checked: AtomicU64,
    // Incremented whenever a watcher sees a write.
    generation: AtomicU64,
}

/// A connection that detects writes of other connections.
struct Watcher {
    connection: Connection,
    data_version: i64,
}

/// Exclusive access to a watcher.
struct WatcherGuard<'a>(MutexGuard<'a, Option<Watcher>>);

impl Deref for WatcherGuard<'_> {
    type Target = Watcher;

    fn deref(&self) -> &Watcher {
        self.0.as_ref().expect("a guarded watcher is open")
    }
}

impl DerefMut for WatcherGuard<'_> {
    fn deref_mut(&mut self) -> &mut Watcher {
        self.0.as_mut().expect("a guarded watcher is open")
    }
}

/// How watchers are opened.
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
    /// Opens a watcher; further ones are opened on demand, up to `connections`.
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
            shards: std::array::from_fn(|_| Mutex::new(LruCache::unbounded())),
            hasher: RandomState::new(),
            tickets: AtomicU64::new(0),
            checked: AtomicU64::new(0),
            generation: AtomicU64::new(0),
        })
    }

    /// Finds the active account of a live session.
    pub(super) async fn find(
        &self,
        session: &SessionRef,
    ) -> StoreResult<Option<Arc<UserSnapshot>>> {
        let generation = self.generation().await?;
        if let Some(user) = self.get(&session.id, generation) {
            return Ok(Some(user));
        }
        // What is read now is at least as new as this generation.
        let user = find_live_user(&self.watcher().connection, &session.id)?
            .map(|user| Arc::new(UserSnapshot::new(user)));
        if let Some(user) = &user {
            self.put(&session.id, generation, user);
        }
        Ok(user)
    }

    /// The cached account, if it is of this generation.
    fn get(&self, session_id: &str, generation: u64) -> Option<Arc<UserSnapshot>> {
        let mut shard = self.shard(session_id);
        let entry = shard.get(session_id)?;
        (entry.generation == generation).then(|| Arc::clone(&entry.user))
    }

    fn put(&self, session_id: &str, generation: u64, user: &Arc<UserSnapshot>) {
        let mut shard = self.shard(session_id);
        let entry = Entry {
            generation,
            user: Arc::clone(user),
        };
        shard.put(session_id.to_owned(), entry);
        // An unbounded cache grows on demand; a bounded one would allocate its capacity at once.
        if shard.len() > SHARD_CAPACITY.get() {
            shard.pop_lru();
        }
    }

    fn shard(&self, session_id: &str) -> MutexGuard<'_, LruCache<String, Entry>> {
        let shard = self.hasher.hash_one(session_id) % SHARDS as u64;
        lock(&self.shards[usize::try_from(shard).unwrap_or_default()])
    }

    /// The current generation, which changes with every write.
    async fn generation(&self) -> rusqlite::Result<u64> {
        let ticket = self.tickets.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        if self.checked.load(Ordering::SeqCst) <= ticket {
            let mut watcher = self.watcher();
            // Later tickets may follow a write that this check does not see.
            let tickets = self.tickets.load(Ordering::SeqCst);
            self.check(&mut watcher)?;
            self.checked.fetch_max(tickets, Ordering::SeqCst);
        }
        Ok(self.generation.load(Ordering::SeqCst))
    }

    /// Starts a new generation when somebody has written since the last check of this watcher.
    ///
    /// A watcher that checks after a write starts a generation for it, and what is cached from then
    /// on is newer than the write. So entries of the current generation were read after the last
    /// write that this watcher can see.
    fn check(&self, watcher: &mut Watcher) -> rusqlite::Result<()> {
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

    /// A free watcher, preferably the one this thread used last.
    fn watcher(&self) -> WatcherGuard<'_> {
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
                        log::warn!("cannot open another connection to the database: {e}");
                        continue;
                    }
                }
            }
            return WatcherGuard(watcher);
        }
        WatcherGuard(lock(&self.watchers[0]))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
