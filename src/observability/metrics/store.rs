//! What a store tells of its work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::histogram::Histogram;
use super::page::Page;

/// Figures of a store at one moment.
#[derive(Clone, Debug, Default)]
pub struct StoreMetrics {
    /// Bytes that the database takes on disk; `None` where it takes none.
    pub size_bytes: Option<u64>,
    /// Bytes of what is committed and not yet part of the database itself; `None` where there is no such thing.
    pub log_bytes: Option<u64>,
    /// What was written.
    pub writes: Arc<WriteCounts>,
}

/// What a store counts while it writes.
#[derive(Debug, Default)]
pub struct WriteCounts {
    waiting: AtomicU64,
    operations: AtomicU64,
    commits: Histogram,
    failures: AtomicU64,
}

impl WriteCounts {
    /// One more operation waits to be written. Gives how many waited before it.
    pub fn enqueued(&self) -> u64 {
        self.waiting.fetch_add(1, Ordering::Relaxed)
    }

    /// So many operations wait no longer.
    pub fn dequeued(&self, operations: u64) {
        self.waiting.fetch_sub(operations, Ordering::Relaxed);
    }

    /// A transaction of so many operations has been made durable; it took so long from its beginning.
    pub fn committed(&self, operations: u64, took: Duration) {
        self.operations.fetch_add(operations, Ordering::Relaxed);
        self.commits.count(took);
    }

    /// A transaction could not be begun or made durable.
    pub fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

/// Adds the figures of a store.
pub(super) fn write(page: &mut Page, store: &StoreMetrics) {
    if let Some(bytes) = store.size_bytes {
        page.single(
            "accounts_database_size_bytes",
            "gauge",
            "Size of the database on disk.",
            bytes,
        );
    }
    if let Some(bytes) = store.log_bytes {
        page.single(
            "accounts_database_log_size_bytes",
            "gauge",
            "Size of the write-ahead log, which has what is committed and not yet in the database itself.",
            bytes,
        );
    }
    let writes = &store.writes;
    page.single(
        "accounts_database_queue_length",
        "gauge",
        "Operations that wait to be written.",
        writes.waiting.load(Ordering::Relaxed),
    );
    page.single(
        "accounts_database_writes_total",
        "counter",
        "Operations that were written; many may share a commit.",
        writes.operations.load(Ordering::Relaxed),
    );
    let name = "accounts_database_commit_duration_seconds";
    page.family(
        name,
        "histogram",
        "Time from the beginning of a transaction until it is on disk.",
    );
    page.histogram(name, "", &writes.commits);
    page.single(
        "accounts_database_commit_failures_total",
        "counter",
        "Transactions that could not be begun or committed.",
        writes.failures.load(Ordering::Relaxed),
    );
}
