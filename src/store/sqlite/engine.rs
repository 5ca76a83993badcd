//! SQLite as an engine: how reads and writes reach a connection.

use std::sync::Arc;

use rusqlite::{Connection as SqliteConnection, OpenFlags};

use super::search::Helper;
use super::{EMPTYING_TRIES, EMPTYING_WAIT, Reader, SqliteEngine, list, matching, wal_of};
use crate::domain::{SessionRef, User, UserId};
use crate::store::operations::connection::{Connection, params};
use crate::store::operations::engine::{Engine, UserCounts};
use crate::store::operations::lock::Keys;
use crate::store::operations::sessions::find_live_user;
use crate::store::operations::transaction::{SharedSealer, Transaction};
use crate::store::{Page, StoreError, StoreResult, StoreSize, UserQuery, UserSnapshot};

impl Engine for SqliteEngine {
    async fn read<T: Send + 'static>(
        &self,
        mut query: impl FnMut(&dyn Connection) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        // Inline: a look-up by key costs microseconds, less than a hop to another thread.
        query(&*self.reader()?)
    }

    async fn read_long<T: Send + 'static>(
        &self,
        mut query: impl FnMut(&dyn Connection) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        self.read_apart(move |connection, _| query(&*connection.unchecked_transaction()?))
            .await
    }

    async fn write_for<T: Send + 'static>(
        &self,
        _: Keys,
        mut work: impl FnMut(&Transaction<'_>) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        // There is one writer, whatever the keys.
        self.writer.run(move |transaction| work(transaction)).await
    }

    async fn write_or_discard(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> StoreResult<bool> + Send + 'static,
    ) -> StoreResult<bool> {
        self.writer.run_or_discard(work).await
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn sealer(&self) -> &SharedSealer {
        &self.sealer
    }

    async fn find_session_user(
        &self,
        session: &SessionRef,
    ) -> StoreResult<Option<Arc<UserSnapshot>>> {
        if let Some(session_cache) = &self.session_cache {
            return session_cache.find(session).await;
        }
        let user = find_live_user(&*self.reader()?, &session.id)?;
        Ok(user.map(|user| Arc::new(UserSnapshot::new(user))))
    }

    async fn list_users(&self, query: UserQuery) -> StoreResult<Option<Page<User>>> {
        self.read_apart(move |connection, helper| {
            let helper = helper.map(Helper::before_search).transpose()?;
            list::list_users(connection, helper, &query)
        })
        .await
    }

    async fn list_matching_users(
        &self,
        query: UserQuery,
        after: UserId,
        limit: u32,
    ) -> StoreResult<Vec<User>> {
        self.read_apart(move |connection, _| {
            matching::list_matching(connection, &query, after, limit)
        })
        .await
    }

    fn count_users(connection: &dyn Connection) -> StoreResult<UserCounts> {
        matching::count_users(connection)
    }

    /// Moves the write-ahead log into the file and truncates it.
    ///
    /// When a reader is in the way, this is put off until the next time: SQLite blocks all writers
    /// while it waits for readers, and a backup or a replication can read for long.
    async fn purge(&self) {
        let (Some(path), Some(files)) = (self.path.clone(), &self.files) else {
            return;
        };
        // The log of one file must not get into another.
        if let Err(e) = files.check() {
            return log::warn!("the write-ahead log was not emptied: {e}");
        }
        let emptied = tokio::task::spawn_blocking(move || {
            let connection = SqliteConnection::open_with_flags(
                path,
                OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
            )?;
            connection.busy_timeout(EMPTYING_WAIT)?;
            for _ in 0..EMPTYING_TRIES {
                let is_busy =
                    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                        row.get::<_, bool>(0)
                    })?;
                if !is_busy {
                    return Ok(true);
                }
            }
            Ok::<_, rusqlite::Error>(false)
        })
        .await;
        match emptied {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => log::info!("the write-ahead log is in use and will be emptied later"),
            Ok(Err(e)) => log::warn!("the write-ahead log was not emptied: {e}"),
            Err(e) => log::warn!("the write-ahead log was not emptied: {e}"),
        }
    }

    async fn size(&self) -> StoreSize {
        let path = self.path.as_deref();
        let size = path.and_then(|path| Some(path.metadata().ok()?.len()));
        // Without a log everything is in the file.
        let log = path.map(|path| wal_of(path).metadata().map_or(0, |data| data.len()));
        StoreSize {
            database_bytes: size,
            log_bytes: log,
        }
    }

    fn columns(connection: &dyn Connection, table: &str) -> StoreResult<Vec<String>> {
        connection.query_all(
            "SELECT name FROM pragma_table_info(:table) ORDER BY cid",
            params! { ":table": table },
            |row| row.get(0),
        )
    }

    fn last_ids(connection: &dyn Connection) -> StoreResult<Vec<(String, i64)>> {
        connection.query_all(
            "SELECT name, coalesce((SELECT seq FROM sqlite_sequence WHERE name = tables.name), 0) \
             FROM sqlite_master AS tables WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%' \
             ORDER BY name",
            &[],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    fn set_last_ids(connection: &dyn Connection, last_ids: &[(String, i64)]) -> StoreResult<()> {
        connection.run("DELETE FROM sqlite_sequence", &[])?;
        for (table, last) in last_ids {
            // Another engine may number more tables.
            connection.run(
                "INSERT INTO sqlite_sequence (name, seq) SELECT :table, :last WHERE EXISTS \
                 (SELECT 1 FROM sqlite_master WHERE name = :table AND sql LIKE '%AUTOINCREMENT%')",
                params! { ":table": table, ":last": last },
            )?;
        }
        Ok(())
    }
}

impl SqliteEngine {
    fn reader(&self) -> StoreResult<Reader> {
        self.readers.get().map_err(StoreError::busy)
    }

    /// Runs a long read on a blocking thread, with a second connection if one is free.
    async fn read_apart<T: Send + 'static>(
        &self,
        query: impl FnOnce(&SqliteConnection, Option<Reader>) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        let _turn = self
            .long_reads
            .acquire()
            .await
            .map_err(StoreError::failed)?;
        let second_turn = self.long_reads.try_acquire().ok();
        let may_have_help = second_turn.is_some();
        let readers = self.readers.clone();
        tokio::task::spawn_blocking(move || {
            let connection = readers.get().map_err(StoreError::busy)?;
            let helper = may_have_help.then(|| readers.try_get()).flatten();
            query(&connection, helper)
        })
        .await
        .map_err(StoreError::failed)?
    }
}
