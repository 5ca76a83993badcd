//! Development mode: the mark of a database that was served in it, and its snapshot.

use std::sync::{Arc, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::connection::params;
use super::engine::{Database, Engine};
use super::rows::timestamp;
use super::snapshot::Snapshot;
use crate::domain::Timestamp;
use crate::store::{DevelopmentStore, StoreResult};

/// The name of the mark in the database.
pub(in crate::store) const DEVELOPMENT_MARK: &str = "served_in_dev";

#[async_trait]
impl<E: Engine> DevelopmentStore for Database<E> {
    async fn mark_development(&self, now: Timestamp) -> StoreResult<()> {
        self.engine
            .write(move |connection| {
                connection.run(
                    "INSERT INTO marks (name, noted_at) VALUES (:name, :now) ON CONFLICT (name) DO \
                     NOTHING",
                    params! { ":name": DEVELOPMENT_MARK, ":now": now.unix_millis() },
                )
            })
            .await
    }

    async fn find_development_mark(&self) -> StoreResult<Option<Timestamp>> {
        self.engine
            .read(|connection| {
                connection.query_optional(
                    "SELECT noted_at FROM marks WHERE name = :name",
                    params! { ":name": DEVELOPMENT_MARK },
                    |row| timestamp(row, 0),
                )
            })
            .await
    }

    async fn take_snapshot(&self, most_users: u32) -> StoreResult<bool> {
        let snapshot = self
            .engine
            .read_long(move |connection| Snapshot::take::<E>(connection, most_users))
            .await?;
        let is_kept = snapshot.is_some();
        *self.lock_snapshot() = snapshot.map(Arc::new);
        Ok(is_kept)
    }

    async fn restore_snapshot(&self) -> StoreResult<Option<Vec<String>>> {
        let Some(snapshot) = self.lock_snapshot().clone() else {
            return Ok(None);
        };
        self.engine
            .write(move |transaction| snapshot.restore::<E>(&**transaction))
            .await
            .map(Some)
    }
}

impl<E> Database<E> {
    fn lock_snapshot(&self) -> MutexGuard<'_, Option<Arc<Snapshot>>> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
