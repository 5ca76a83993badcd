//! Metrics of the store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Gauges;
use super::histogram::Histogram;
use super::page::Page;

/// Counters of writes.
#[derive(Debug, Default)]
pub struct WriteCounts {
    waiting: AtomicU64,
    operations: AtomicU64,
    commits: Histogram,
    failures: AtomicU64,
}

impl WriteCounts {
    /// Counts a queued operation and returns how many were queued before it.
    pub fn enqueued(&self) -> u64 {
        self.waiting.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts operations that leave the queue.
    pub fn dequeued(&self, operations: u64) {
        self.waiting.fetch_sub(operations, Ordering::Relaxed);
    }

    /// Counts a committed transaction, its operations and its duration.
    pub fn committed(&self, operations: u64, took: Duration) {
        self.operations.fetch_add(operations, Ordering::Relaxed);
        self.commits.count(took);
    }

    /// Counts a transaction that could not be started or committed.
    pub fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

/// Adds the metrics of a store.
pub(super) fn write(page: &mut Page, gauges: &Gauges, writes: &WriteCounts) {
    if let Some(bytes) = gauges.database_bytes {
        page.single(
            "accounts_database_size_bytes",
            "gauge",
            "Size of the database on disk in bytes.",
            bytes,
        );
    }
    if let Some(millis) = gauges.clock_offset {
        page.single(
            "accounts_database_clock_offset_milliseconds",
            "gauge",
            "How far the clock of the database is ahead of this machine's, in milliseconds.",
            millis,
        );
    }
    if let Some(bytes) = gauges.log_bytes {
        page.single(
            "accounts_database_log_size_bytes",
            "gauge",
            "Size of the write-ahead log in bytes.",
            bytes,
        );
    }
    page.single(
        "accounts_database_queue_length",
        "gauge",
        "Operations in the queue of the writer.",
        writes.waiting.load(Ordering::Relaxed),
    );
    page.single(
        "accounts_database_writes_total",
        "counter",
        "Operations written; many can share a commit.",
        writes.operations.load(Ordering::Relaxed),
    );
    let name = "accounts_database_commit_duration_seconds";
    page.family(
        name,
        "histogram",
        "Time from the beginning of a transaction to its commit.",
    );
    page.histogram(name, "", &writes.commits);
    page.single(
        "accounts_database_commit_failures_total",
        "counter",
        "Transactions that could not be started or committed.",
        writes.failures.load(Ordering::Relaxed),
    );
}
