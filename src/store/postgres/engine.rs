//! PostgreSQL as an engine.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_rustls::rustls::ClientConfig;

use super::client::Client;
use super::migrations::VERSIONS;
use super::servers::Servers;
use super::sessions::SessionLookUps;
use super::worker::{Worker, Workers};
use super::{PostgresUrl, list, schema};
use crate::clock::Stopwatch;
use crate::domain::{SessionRef, User, UserId};
use crate::observability::metrics::WriteCounts;
use crate::store::operations::Database;
use crate::store::operations::connection::{Connection, params};
use crate::store::operations::engine::{Engine, UserCounts};
use crate::store::operations::lock::Keys;
use crate::store::operations::transaction::{SharedSealer, Transaction};
use crate::store::{
    Page, SchemaState, SharedStore, StoreError, StoreResult, StoreSize, UserQuery, UserSnapshot,
};

/// How long a start waits for the database.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// The pause between two attempts.
const START_PAUSE: Duration = Duration::from_secs(1);

/// Why a pooler is refused that gives one connection to several clients.
const POOLER: &str = "the URL leads to a pooler in transaction mode, such as PgBouncer; give the \
                      address of the server itself, or a pool in session mode";

/// Options for opening a database.
#[derive(Clone)]
pub struct PostgresOptions {
    /// Where it is.
    pub url: PostgresUrl,
    /// How its certificates are verified; `None` without TLS.
    pub tls: Option<Arc<ClientConfig>>,
    /// Number of connections for operations, beside three for sessions and the check of the primary.
    pub connections: usize,
    /// A random id of this server.
    pub server_id: [u8; 16],
}

/// The store on PostgreSQL.
pub type PostgresStore = Database<PostgresEngine>;

/// The PostgreSQL engine.
pub struct PostgresEngine {
    servers: Arc<Servers>,
    workers: Workers,
    sessions: SessionLookUps,
    sealer: SharedSealer,
    // Fewer than the workers, so that long reads leave some for the others.
    long_reads: Semaphore,
    watch: Option<JoinHandle<()>>,
}

impl PostgresStore {
    /// Opens the database, and creates or migrates its schema as needed. Waits a while for a database that
    /// cannot be reached.
    ///
    /// # Errors
    /// The text says why it cannot be used.
    pub fn open(options: PostgresOptions) -> Result<Self, String> {
        PostgresEngine::open(options).map(Self::new)
    }

    /// Creates or migrates the schema as needed. Returns what was found.
    ///
    /// # Errors
    /// As [`PostgresStore::open`]; nothing has changed then.
    pub fn migrate(options: PostgresOptions) -> Result<SchemaState, String> {
        let schema = options.url.schema.clone();
        let (_, client) = connect(options)?;
        schema::prepare(&client, schema.as_deref(), &VERSIONS)
    }

    /// Says where the schema is, without changing anything.
    ///
    /// # Errors
    /// The text says why the database cannot be used.
    pub fn examine_schema(options: PostgresOptions) -> Result<SchemaState, String> {
        let schema = options.url.schema.clone();
        let (_, client) = connect(options)?;
        schema::examine(&client, schema.as_deref(), &VERSIONS)
    }

    /// Counters of its writes, for the metrics.
    pub fn write_counts(&self) -> &Arc<WriteCounts> {
        self.engine.workers.counts()
    }
}

impl From<PostgresStore> for SharedStore {
    fn from(store: PostgresStore) -> Self {
        Arc::new(store)
    }
}

impl PostgresEngine {
    fn open(options: PostgresOptions) -> Result<Self, String> {
        let (connections, schema) = (options.connections, options.url.schema.clone());
        let (servers, first) = connect(options)?;
        schema::prepare(&first, schema.as_deref(), &VERSIONS)?;
        refuse_pooler(&servers, first)?;
        let sealer = SharedSealer::default();
        let watched = Arc::clone(&servers);
        let watch = thread::Builder::new()
            .name("db-primary".into())
            .spawn(move || watched.watch())
            .map_err(|e| e.to_string())?;
        Ok(Self {
            workers: Workers::start(connections, &servers, &sealer),
            sessions: SessionLookUps::start(&servers),
            long_reads: Semaphore::new((connections / 2).max(1)),
            servers,
            sealer,
            watch: Some(watch),
        })
    }
}

impl Drop for PostgresEngine {
    fn drop(&mut self) {
        self.servers.stop();
        if let Some(watch) = self.watch.take() {
            // A panic of the thread was already reported.
            let _ = watch.join();
        }
    }
}

/// Finds the primary and connects to it.
fn connect(options: PostgresOptions) -> Result<(Arc<Servers>, Client), String> {
    let PostgresOptions {
        url,
        tls,
        server_id,
        ..
    } = options;
    let servers = Arc::new(Servers::new(url.servers, tls, server_id));
    wait_until_found(&servers, START_PATIENCE)?;
    let client = servers
        .wait_for_primary()
        .and_then(|(server, _)| servers.connect(server))
        .map_err(|error| error.to_string())?;
    Ok((servers, client))
}

fn wait_until_found(servers: &Arc<Servers>, patience: Duration) -> Result<(), String> {
    let stopwatch = Stopwatch::start();
    let mut was_told = false;
    loop {
        let problems = match servers.find_primary() {
            Ok(()) => return Ok(()),
            Err(problems) => problems.join("; "),
        };
        if problems.contains("prepared statement") {
            // That of another client of ours: they share a connection.
            return Err(POOLER.to_owned());
        }
        // What no waiting mends.
        let is_final = [
            "password",
            "authentication",
            "does not exist",
            "permission denied",
            "certificate",
            "does not support TLS",
            "unsupported startup parameter",
        ]
        .iter()
        .any(|word| problems.contains(word));
        if is_final || stopwatch.elapsed() > patience {
            return Err(problems);
        }
        if !was_told {
            log::warn!(
                "the database cannot be reached, trying for {} s: {problems}",
                patience.as_secs()
            );
            was_told = true;
        }
        thread::sleep(START_PAUSE);
    }
}

/// Refuses a pooler that gives one connection of the server to several of ours in turn: locks, prepared
/// statements and the order of what is sent would be lost.
fn refuse_pooler(servers: &Servers, first: Client) -> Result<(), String> {
    let process = |client: &Client| {
        client.begin(None);
        let connection: &dyn Connection = client;
        connection.query_row("SELECT CAST(pg_backend_pid() AS bigint)", &[], |row| {
            row.get::<i64>(0)
        })
    };
    let second = servers
        .wait_for_primary()
        .and_then(|(server, _)| servers.connect(server));
    let pids = second.and_then(|second| Ok((process(&first)?, process(&second)?)));
    let (one, other) = pids.map_err(|error| error.to_string())?;
    if one == other {
        return Err(POOLER.to_owned());
    }
    Ok(())
}

impl Engine for PostgresEngine {
    async fn read<T: Send + 'static>(
        &self,
        mut query: impl FnMut(&dyn Connection) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        self.workers
            .run(move |worker| worker.read(&mut query))
            .await
    }

    async fn read_long<T: Send + 'static>(
        &self,
        mut query: impl FnMut(&dyn Connection) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        let _turn = self
            .long_reads
            .acquire()
            .await
            .map_err(StoreError::failed)?;
        self.workers
            .run(move |worker| worker.read_long(&mut query))
            .await
    }

    async fn write_for<T: Send + 'static>(
        &self,
        keys: Keys,
        mut work: impl FnMut(&Transaction<'_>) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        self.workers
            .run(move |worker: &mut Worker| worker.write(&keys, &mut work))
            .await
    }

    async fn write_or_discard(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> StoreResult<bool> + Send + 'static,
    ) -> StoreResult<bool> {
        self.workers
            .run(move |worker: &mut Worker| worker.write_or_discard(work))
            .await
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn sealer(&self) -> &SharedSealer {
        &self.sealer
    }

    fn check(&self) -> StoreResult<()> {
        self.servers.check_clock()
    }

    fn clock_offset(&self) -> Option<i64> {
        Some(self.servers.clock_offset())
    }

    async fn find_session_user(
        &self,
        session: &SessionRef,
    ) -> StoreResult<Option<Arc<UserSnapshot>>> {
        self.sessions.find(session).await
    }

    async fn list_users(&self, query: UserQuery) -> StoreResult<Option<Page<User>>> {
        self.read_long(move |connection| list::list_users(connection, &query))
            .await
    }

    async fn list_matching_users(
        &self,
        query: UserQuery,
        after: UserId,
        limit: u32,
    ) -> StoreResult<Vec<User>> {
        self.read_long(move |connection| list::list_matching(connection, &query, after, limit))
            .await
    }

    fn count_users(connection: &dyn Connection) -> StoreResult<UserCounts> {
        list::count_users(connection)
    }

    async fn purge(&self) {
        // Vacuum and the log of the server are the database's own.
    }

    async fn size(&self) -> StoreSize {
        StoreSize::default()
    }

    fn columns(connection: &dyn Connection, table: &str) -> StoreResult<Vec<String>> {
        connection.query_all(
            "SELECT CAST(column_name AS text) FROM information_schema.columns \
             WHERE table_schema = current_schema() AND table_name = :table \
             ORDER BY ordinal_position",
            params! { ":table": table },
            |row| row.get(0),
        )
    }

    fn last_ids(connection: &dyn Connection) -> StoreResult<Vec<(String, i64)>> {
        connection.query_all(
            "SELECT CAST(replace(sequencename, '_id_seq', '') AS text), coalesce(last_value, 0) \
             FROM pg_sequences WHERE schemaname = current_schema() ORDER BY sequencename",
            &[],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    fn set_last_ids(connection: &dyn Connection, last_ids: &[(String, i64)]) -> StoreResult<()> {
        let own = Self::last_ids(connection)?;
        for (table, _) in own {
            let given = last_ids.iter().find(|(name, _)| *name == table);
            let last = given.map_or(0, |(_, last)| *last);
            connection.run(
                &format!(
                    "SELECT setval('{table}_id_seq', greatest(used, 1), used > 0) \
                     FROM (SELECT greatest(CAST(:last AS bigint), \
                     (SELECT coalesce(max(id), 0) FROM {table})) AS used) AS ids"
                ),
                params! { ":last": last },
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn unreachable_database_is_given_up_in_the_end() {
        // Nobody listens on a port that was just given back.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let url = PostgresUrl::parse(&format!("postgres://u@{address}/db"), None).unwrap();
        let servers = Arc::new(Servers::new(url.servers, None, [0; 16]));
        let problem = wait_until_found(&servers, Duration::ZERO).unwrap_err();
        assert!(problem.starts_with(&address.to_string()), "{problem}");
        assert!(problem.contains("refused"), "{problem}");
    }
}
