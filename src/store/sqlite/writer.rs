//! The single writer: a thread that owns the writing connection and commits queued operations
//! together.
//!
//! SQLite allows one writer at a time, and a durable commit costs a disk flush. So every write goes
//! through one queue. The thread runs all queued operations in one transaction, each under its own
//! savepoint if there are several, and answers them after the commit. An answer therefore means
//! that the operation is on disk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::file::OpenedFiles;
use super::{ConnectionSource, driver_error};
use crate::clock::Stopwatch;
use crate::observability::metrics::WriteCounts;
use crate::store::operations::transaction::{SharedSealer, Transaction};
use crate::store::{StoreError, StoreResult};

/// Maximum length of the queue; beyond it the database is reported busy.
const QUEUE: u64 = 4096;

/// A queued operation.
trait WriteJob: Send {
    /// Runs the operation; false when it must be rolled back.
    fn run(&mut self, transaction: &Transaction<'_>) -> bool;

    /// Sends the result to the caller, once the outcome of the commit is known.
    fn settle(self: Box<Self>, committed: StoreResult<()>);
}

struct Operation<T, F> {
    work: Option<F>,
    /// Whether a result is committed; otherwise its changes are rolled back.
    keep: fn(&StoreResult<T>) -> bool,
    result: Option<StoreResult<T>>,
    answer: oneshot::Sender<StoreResult<T>>,
}

impl<T, E, F> WriteJob for Operation<T, F>
where
    T: Send,
    E: Into<StoreError>,
    F: FnOnce(&Transaction<'_>) -> Result<T, E> + Send,
{
    fn run(&mut self, transaction: &Transaction<'_>) -> bool {
        let Some(work) = self.work.take() else {
            return false;
        };
        let result = catch_unwind(AssertUnwindSafe(|| work(transaction)))
            .map_err(|_| StoreError::failed("a database operation panicked"))
            .and_then(|result| result.map_err(Into::into));
        let keep = (self.keep)(&result);
        self.result = Some(result);
        keep
    }

    fn settle(self: Box<Self>, committed: StoreResult<()>) {
        let result = match (self.result, committed) {
            // The error of the operation comes first: a refused value is not a failure of the
            // commit.
            (Some(Err(error)), _) | (_, Err(error)) => Err(error),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(StoreError::failed("a database operation was not run")),
        };
        // The caller may be gone; the operation is committed all the same.
        let _ = self.answer.send(result);
    }
}

/// Handle to the writer thread.
pub(super) struct Writer {
    // `None` only during drop: closing the queue ends the thread.
    queue: Option<Sender<Box<dyn WriteJob>>>,
    thread: Option<JoinHandle<()>>,
    counts: Arc<WriteCounts>,
}

impl Writer {
    /// Starts the thread. It puts at most `batch` operations into one transaction, which bounds the
    /// wait for an answer.
    pub(super) fn start(source: ConnectionSource, batch: usize, sealer: SharedSealer) -> Self {
        let (queue, jobs) = channel();
        let counts = Arc::new(WriteCounts::default());
        let counted = Arc::clone(&counts);
        let thread = thread::Builder::new()
            .name("db-writer".into())
            .spawn(move || run(&source, &jobs, batch.max(1), (&counted, &sealer)))
            .expect("the system can start a thread");
        Self {
            queue: Some(queue),
            thread: Some(thread),
            counts,
        }
    }

    /// Counts of written and queued operations.
    pub(super) fn counts(&self) -> &Arc<WriteCounts> {
        &self.counts
    }

    /// Runs `work` in a transaction and returns its result after the commit.
    ///
    /// Work that fails is rolled back. It runs even when the caller no longer waits for it.
    pub(super) async fn run<T, E, F>(&self, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        E: Into<StoreError> + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    {
        self.run_operation(work, Result::is_ok).await
    }

    /// As [`run`](Self::run), but work that returns false is rolled back too.
    ///
    /// Cheaper than a savepoint in the work: with one, SQLite keeps a copy of each page for the
    /// whole of it, and goes through the copies at the end of each statement.
    pub(super) async fn run_or_discard<E, F>(&self, work: F) -> StoreResult<bool>
    where
        E: Into<StoreError> + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<bool, E> + Send + 'static,
    {
        self.run_operation(work, |result| matches!(result, Ok(true)))
            .await
    }

    async fn run_operation<T, E, F>(
        &self,
        work: F,
        keep: fn(&StoreResult<T>) -> bool,
    ) -> StoreResult<T>
    where
        T: Send + 'static,
        E: Into<StoreError> + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    {
        let (answer, receive) = oneshot::channel();
        let job = Box::new(Operation {
            work: Some(work),
            keep,
            result: None,
            answer,
        });
        let queue = self.queue.as_ref().expect("the queue is open until drop");
        // The counter bounds the queue: a bounded channel reserves memory for its full capacity. It
        // is raised before the thread can lower it.
        let queued = if self.counts.enqueued() < QUEUE {
            let sent = queue.send(job);
            sent.map_err(|_| StoreError::failed("the writer has stopped"))
        } else {
            Err(StoreError::busy(format!(
                "the write queue of {QUEUE} operations is full"
            )))
        };
        if queued.is_err() {
            self.counts.dequeued(1);
        }
        queued?;
        receive
            .await
            .unwrap_or_else(|_| Err(StoreError::failed("the writer has stopped")))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // Queued operations are still written; a panic of the thread was already reported.
            let _ = thread.join();
        }
    }
}

fn run(
    source: &ConnectionSource,
    jobs: &Receiver<Box<dyn WriteJob>>,
    most: usize,
    (counts, sealer): (&WriteCounts, &SharedSealer),
) {
    while let Ok(first) = jobs.recv() {
        let mut batch = vec![first];
        batch.extend(jobs.try_iter().take(most - 1));
        let size = batch.len() as u64;
        counts.dequeued(size);
        let stopwatch = Stopwatch::start();
        let committed = source.with_writer(|connection| {
            let transaction = Transaction::new(connection, sealer);
            write_batch(connection, &transaction, source.files(), &mut batch)?;
            transaction.committed();
            Ok(())
        });
        match committed {
            Ok(()) => counts.committed(size, stopwatch.elapsed()),
            Err(_) => counts.failed(),
        }
        for job in batch {
            job.settle(committed.clone());
        }
    }
}

fn write_batch(
    connection: &Connection,
    transaction: &Transaction<'_>,
    files: Option<&OpenedFiles>,
    batch: &mut [Box<dyn WriteJob>],
) -> StoreResult<()> {
    execute(connection, "BEGIN IMMEDIATE").map_err(driver_error)?;
    let commit = || {
        // Writes to a file that was removed would be confirmed and lost.
        files
            .map_or(Ok(()), OpenedFiles::check)
            .map_err(StoreError::busy)?;
        execute(connection, "COMMIT").map_err(driver_error)
    };
    let written = match batch {
        // For one operation the transaction is enough.
        [job] => {
            if job.run(transaction) {
                commit()
            } else {
                execute(connection, "ROLLBACK").map_err(driver_error)
            }
        }
        jobs => jobs
            .iter_mut()
            .try_for_each(|job| run_under_savepoint(connection, transaction, job.as_mut()))
            .map_err(driver_error)
            .and_then(|()| commit()),
    };
    if written.is_err() && !connection.is_autocommit() {
        // A commit that fails on a full disk leaves the transaction open; the next batch needs a
        // new one.
        if let Err(e) = connection.execute_batch("ROLLBACK") {
            log::error!("a failed transaction could not be rolled back: {e}");
        }
    }
    written
}

fn run_under_savepoint(
    connection: &Connection,
    transaction: &Transaction<'_>,
    job: &mut dyn WriteJob,
) -> rusqlite::Result<()> {
    execute(connection, "SAVEPOINT operation")?;
    if !job.run(transaction) {
        execute(connection, "ROLLBACK TO operation")?;
    }
    execute(connection, "RELEASE operation")
}

fn execute(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute([]).map(drop)
}
