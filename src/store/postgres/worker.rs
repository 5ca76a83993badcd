//! Threads with a connection each, which take operations from one queue.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;

use super::client::{Client, Commit, Patience};
use super::link::{ATTEMPTS, Link};
use super::search;
use super::servers::Servers;
use crate::clock::Stopwatch;
use crate::observability::metrics::WriteCounts;
use crate::store::operations::connection::{Connection, params};
use crate::store::operations::lock::{Keys, Owner};
use crate::store::operations::transaction::{SharedSealer, Transaction};
use crate::store::{StoreError, StoreResult};

/// Maximum length of the queue; beyond it the database is reported busy.
const QUEUE: u64 = 4096;

/// The longest wait for an answer to a statement of a read.
const READ_PATIENCE: Patience = Patience::of(Duration::from_secs(5));

/// The longest wait for an answer to a statement of a write, which may wait for others.
const WRITE_PATIENCE: Patience = Patience::of(Duration::from_secs(10));

/// The longest wait for an answer to a statement of a long read.
const LONG_READ_PATIENCE: Patience = Patience::of(Duration::from_mins(10));

/// The longest wait for an answer to a statement of an import, which nobody repeats.
const IMPORT_PATIENCE: Patience = Patience::unconditional(Duration::from_mins(10));

/// The name of the lock that excludes all other writes.
const ALL_WRITES: i64 = 0x6163_636f_756e_7473;

/// What a thread does with its connection.
type Job = Box<dyn FnOnce(&mut Worker) + Send>;

/// The threads.
pub(super) struct Workers {
    queue: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
    counts: Arc<WriteCounts>,
}

/// A thread's connection.
pub(super) struct Worker {
    link: Link,
    sealer: SharedSealer,
    counts: Arc<WriteCounts>,
}

impl Workers {
    pub(super) fn start(number: usize, servers: &Arc<Servers>, sealer: &SharedSealer) -> Self {
        let (queue, jobs) = channel::<Job>();
        let jobs = Arc::new(Mutex::new(jobs));
        let counts = Arc::new(WriteCounts::default());
        let threads = (0..number.max(1)).map(|_| {
            let jobs = Arc::clone(&jobs);
            let mut worker = Worker {
                link: Link::new(servers),
                sealer: Arc::clone(sealer),
                counts: Arc::clone(&counts),
            };
            thread::Builder::new()
                .name("db-worker".into())
                .spawn(move || run(&jobs, &mut worker))
                .expect("the system can start a thread")
        });
        Self {
            threads: threads.collect(),
            queue: Some(queue),
            counts,
        }
    }

    pub(super) fn counts(&self) -> &Arc<WriteCounts> {
        &self.counts
    }

    /// Runs something on a connection. It is finished even if nobody waits for it any more.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Worker) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        let (answer, receive) = oneshot::channel();
        let counts = Arc::clone(&self.counts);
        let job: Job = Box::new(move |worker| {
            counts.dequeued(1);
            let result = catch_unwind(AssertUnwindSafe(|| work(worker))).unwrap_or_else(|_| {
                worker.link.close();
                Err(StoreError::failed("a database operation panicked"))
            });
            let _ = answer.send(result);
        });
        let queue = self.queue.as_ref().expect("the queue is open until drop");
        let queued = if self.counts.enqueued() < QUEUE {
            let sent = queue.send(job);
            sent.map_err(|_| StoreError::failed("the threads have stopped"))
        } else {
            Err(StoreError::busy(format!(
                "the queue of {QUEUE} operations is full"
            )))
        };
        if queued.is_err() {
            self.counts.dequeued(1);
        }
        queued?;
        receive
            .await
            .unwrap_or_else(|_| Err(StoreError::failed("the threads have stopped")))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        drop(self.queue.take());
        for thread in self.threads.drain(..) {
            // Queued operations are still done; a panic of a thread was already reported.
            let _ = thread.join();
        }
    }
}

fn run(jobs: &Mutex<Receiver<Job>>, worker: &mut Worker) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(worker),
            Err(_) => return,
        }
    }
}

impl Worker {
    /// Reads, outside of a transaction.
    pub(super) fn read<T>(
        &mut self,
        query: &mut dyn FnMut(&dyn Connection) -> StoreResult<T>,
    ) -> StoreResult<T> {
        self.link
            .read(None, READ_PATIENCE, &mut |client| query(client))
    }

    /// Reads one state of the database.
    pub(super) fn read_long<T>(
        &mut self,
        query: &mut dyn FnMut(&dyn Connection) -> StoreResult<T>,
    ) -> StoreResult<T> {
        self.link.read(
            Some("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
            LONG_READ_PATIENCE,
            &mut |client| query(client),
        )
    }

    /// Writes in a transaction.
    pub(super) fn write<T>(
        &mut self,
        keys: &Keys,
        work: &mut dyn FnMut(&Transaction<'_>) -> StoreResult<T>,
    ) -> StoreResult<T> {
        self.write_if(keys, WRITE_PATIENCE, ATTEMPTS, &mut |transaction| {
            work(transaction).map(Some)
        })?
        .ok_or_else(|| StoreError::failed("an operation has no result"))
    }

    /// Writes once, with patience; rolled back when `work` returns false.
    pub(super) fn write_or_discard(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> StoreResult<bool>,
    ) -> StoreResult<bool> {
        let mut work = Some(work);
        let written = self.write_if(&Keys::all(), IMPORT_PATIENCE, 1, &mut |transaction| {
            let work = work.take().expect("there is one attempt");
            Ok(work(transaction)?.then_some(()))
        })?;
        Ok(written.is_some())
    }

    fn write_if<T>(
        &mut self,
        keys: &Keys,
        patience: Patience,
        attempts: u32,
        work: &mut dyn FnMut(&Transaction<'_>) -> StoreResult<Option<T>>,
    ) -> StoreResult<Option<T>> {
        let sealer = Arc::clone(&self.sealer);
        let stopwatch = Stopwatch::start();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (client, generation) = self.link.take()?;
            client.set_patience(patience);
            client.begin(Some("BEGIN"));
            let transaction = Transaction::new(&client, &sealer);
            let id = self.link.servers().transaction_id();
            let result = lock(&client, keys).and_then(|()| {
                let value = work(&transaction)?;
                if value.is_some() {
                    search::update_texts(&client)?;
                    note_transaction(&client, &id)?;
                }
                Ok(value)
            });
            let ended = match result {
                Err(error) => {
                    client.roll_back();
                    Err(error)
                }
                Ok(None) => {
                    client.roll_back();
                    Ok(None)
                }
                Ok(value) => match client.commit() {
                    Commit::Done => Ok(value),
                    Commit::Refused(error) => Err(error),
                    Commit::Unknown => match find_outcome(self.link.servers(), &id) {
                        Some(true) => Ok(value),
                        Some(false) => Err(StoreError::busy("the connection was lost")),
                        None => {
                            self.counts.failed();
                            return Err(StoreError::busy(
                                "it is not known whether a change was stored",
                            ));
                        }
                    },
                },
            };
            if let Ok(Some(_)) = &ended {
                transaction.committed();
                self.counts.committed(1, stopwatch.elapsed());
            }
            let may_retry = client.fault().is_some() && attempt < attempts;
            self.link.keep(client, generation);
            match ended {
                Err(_) if may_retry => {}
                Err(error) => {
                    if matches!(error, StoreError::Busy(_) | StoreError::Failed(_)) {
                        self.counts.failed();
                    }
                    return Err(error);
                }
                done => return done,
            }
        }
    }
}

/// Waits for the operations that are in this one's way.
///
/// Names come first, each in ascending order, then accounts: so no two operations wait for each other.
fn lock(client: &Client, keys: &Keys) -> StoreResult<()> {
    if keys.owner == Owner::Everyone {
        return client.run(
            "SELECT pg_advisory_xact_lock(:all)",
            params! { ":all": ALL_WRITES },
        );
    }
    client.run(
        "SELECT pg_advisory_xact_lock_shared(:all)",
        params! { ":all": ALL_WRITES },
    )?;
    let mut names: Vec<i64> = keys.names.iter().map(|name| lock_number(name)).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        client.run(
            "SELECT pg_advisory_xact_lock(:name)",
            params! { ":name": name },
        )?;
    }
    match &keys.owner {
        Owner::User(user_id) => client.run(
            "SELECT pg_advisory_xact_lock(:user_id)",
            params! { ":user_id": user_id },
        ),
        Owner::Session(id) => client.run(
            "SELECT pg_advisory_xact_lock(user_id) FROM sessions WHERE id = :id",
            params! { ":id": id },
        ),
        Owner::Ticket(token_hash) => client.run(
            "SELECT pg_advisory_xact_lock(user_id) FROM factor_tickets \
             WHERE token_hash = :token_hash",
            params! { ":token_hash": token_hash },
        ),
        Owner::Code(code_hash) => client.run(
            "SELECT pg_advisory_xact_lock(user_id) FROM authorization_codes \
             WHERE code_hash = :code_hash",
            params! { ":code_hash": code_hash },
        ),
        Owner::Everyone => Ok(()),
        Owner::OfAddresses => keys.names.iter().try_for_each(|name| {
            client.run(
                "SELECT pg_advisory_xact_lock(id) FROM (SELECT id FROM users \
                 WHERE email_key = :name OR new_email_key = :name ORDER BY id) AS owners",
                params! { ":name": name },
            )
        }),
    }
}

/// The number of a name's lock: negative, as those of accounts are positive. Two names with one number
/// only wait for each other.
fn lock_number(name: &str) -> i64 {
    // FNV-1a: all servers have to agree on it, for good.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    i64::from_ne_bytes((hash | 1 << 63).to_ne_bytes())
}

/// Notes the id of a transaction in itself.
fn note_transaction(client: &Client, id: &[u8]) -> StoreResult<()> {
    client.run(
        "INSERT INTO transactions (id, committed_at) \
         VALUES (:id, CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint))",
        params! { ":id": id },
    )
}

/// Whether a transaction was committed whose connection broke at the commit; `None` when that stays
/// unknown.
///
/// Its id is inserted once more. That waits until the transaction has ended, and then either fails, or
/// makes sure that it never commits. The commit of this question is confirmed after that of the
/// transaction, so that what it finds is as durable as everything else.
fn find_outcome(servers: &Servers, id: &[u8]) -> Option<bool> {
    for _ in 0..ATTEMPTS {
        let Ok((server, _)) = servers.wait_for_primary() else {
            continue;
        };
        let Ok(client) = servers.connect(server) else {
            continue;
        };
        client.begin(Some("BEGIN"));
        let asked = client.execute(
            "INSERT INTO transactions (id, committed_at) \
             VALUES (:id, CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)) \
             ON CONFLICT (id) DO NOTHING",
            params! { ":id": id },
        );
        let Ok(inserted) = asked else {
            client.roll_back();
            continue;
        };
        if note_transaction(&client, &servers.transaction_id()).is_ok()
            && matches!(client.commit(), Commit::Done)
        {
            return Some(inserted == 0);
        }
    }
    None
}
