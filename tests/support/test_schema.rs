//! A schema for each test, in the PostgreSQL database that `ACCOUNTS_TEST_POSTGRES` names.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use postgres::{Client, NoTls};

/// The variable with the URL of the database.
const VARIABLE: &str = "ACCOUNTS_TEST_POSTGRES";

/// What the tables of a schema follow from.
const SCHEMA: &str = include_str!("../../src/store/postgres/schema.sql");

/// The first number of the locks on reused schemas; the second one is that of the schema.
const REUSED_LOCK: i32 = 0x7465_7374;

/// A schema that no other test uses meanwhile.
pub(crate) struct TestSchema {
    base: String,
    name: String,
    is_reused: bool,
    // Holds the lock on a reused schema; `None` while this is dropped.
    client: Mutex<Option<Box<Client>>>,
}

impl TestSchema {
    /// A new and empty schema, where the variable names a database. It is dropped with this.
    #[allow(dead_code, reason = "not every suite needs it")]
    pub(crate) fn new() -> Option<Self> {
        static SCHEMAS: AtomicU64 = AtomicU64::new(0);
        let base = std::env::var(VARIABLE).ok()?;
        let number = SCHEMAS.fetch_add(1, Ordering::Relaxed);
        let schema = Self {
            name: format!("test_{}_{number}", std::process::id()),
            is_reused: false,
            client: Mutex::new(Some(Box::new(connect(&base)))),
            base,
        };
        let statement = format!("CREATE SCHEMA {}", schema.name);
        schema.run(move |client| client.batch_execute(&statement).unwrap());
        Some(schema)
    }

    /// A schema with the tables of the program, all of them empty, where the variable names a database.
    ///
    /// It is kept for further tests, in this process or another: to create and drop the tables takes
    /// longer than most tests. The first user finds it without tables, which the program creates.
    #[allow(dead_code, reason = "not every suite needs it")]
    pub(crate) fn reused() -> Option<Self> {
        let base = std::env::var(VARIABLE).ok()?;
        let mut schema = Self {
            name: String::new(),
            is_reused: true,
            client: Mutex::new(Some(Box::new(connect(&base)))),
            base,
        };
        let number = schema.run(|client| {
            let mut numbers = 0..;
            let is_free = |number: &i32| {
                let lock = "SELECT pg_try_advisory_lock($1, $2)";
                let row = client.query_one(lock, &[&REUSED_LOCK, number]).unwrap();
                row.get::<_, bool>(0)
            };
            numbers.find(is_free).unwrap()
        });
        schema.name = format!("test_reused_{number}");
        let name = schema.name.clone();
        schema.run(move |client| empty(client, &name));
        Some(schema)
    }

    /// Runs a statement in the schema.
    #[allow(dead_code, reason = "not every suite needs it")]
    pub(crate) fn execute(&self, statement: &str) {
        let statement = format!("SET search_path = {}, public; {statement}", self.name);
        self.run(move |client| client.batch_execute(&statement).unwrap());
    }

    /// The number that a query gives in the schema.
    #[allow(dead_code, reason = "not every suite needs it")]
    pub(crate) fn count(&self, query: &str) -> i64 {
        self.execute("");
        let query = query.to_owned();
        self.run(move |client| client.query_one(&query, &[]).unwrap().get(0))
    }

    /// Uses the connection, on a thread where the driver may start its runtime.
    fn run<T: Send>(&self, work: impl FnOnce(&mut Client) -> T + Send) -> T {
        let mut client = self.client.lock().unwrap();
        let client = client.as_mut().unwrap();
        thread::scope(|scope| scope.spawn(|| work(client)).join().unwrap())
    }

    /// The name of the schema.
    #[allow(dead_code, reason = "not every suite needs it")]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The URL that leads into the schema.
    pub(crate) fn url(&self) -> String {
        let separator = if self.base.contains('?') { '&' } else { '?' };
        let name = &self.name;
        format!(
            "{}{separator}application_name={name}&\
             options=-c%20search_path%3D{name}%2Cpublic%20-c%20synchronous_commit%3Doff",
            self.base
        )
    }
}

impl Drop for TestSchema {
    fn drop(&mut self) {
        if !self.is_reused && !thread::panicking() {
            let statement = format!("DROP SCHEMA {} CASCADE", self.name);
            self.run(move |client| client.batch_execute(&statement).unwrap());
        }
        // The driver ends its runtime, which no other runtime may do.
        let client = self.client.get_mut();
        let client = client.unwrap_or_else(PoisonError::into_inner).take();
        thread::scope(|scope| scope.spawn(|| drop(client)).join().unwrap());
    }
}

fn connect(base: &str) -> Client {
    thread::scope(|scope| {
        let connecting = scope.spawn(|| Client::connect(base, NoTls).unwrap());
        connecting.join().unwrap()
    })
}

/// Empties a schema that other tests have used, or creates it.
fn empty(client: &mut Client, name: &str) {
    // What the last user has not finished.
    let others = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
                  WHERE application_name = $1";
    client.query(others, &[&name]).unwrap();
    let version = fingerprint(SCHEMA).to_string();
    let comment =
        "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = $1";
    let found = client.query_opt(comment, &[&name]).unwrap();
    let is_current =
        found.is_some_and(|row| row.get::<_, Option<&str>>(0) == Some(version.as_str()));
    let statement = if is_current {
        // Each account that goes is counted, so the counts go after the accounts.
        format!(
            "SET search_path = {name}, public; DO $$ DECLARE found regclass; BEGIN \
             FOR found IN SELECT oid FROM pg_class WHERE relnamespace = '{name}'::regnamespace \
             AND relkind = 'r' AND relname <> 'schema_version' ORDER BY relname <> 'users' \
             LOOP EXECUTE format('DELETE FROM %s', found); END LOOP; \
             PERFORM setval(oid, 1, false) FROM pg_class \
             WHERE relnamespace = '{name}'::regnamespace AND relkind = 'S'; \
             END $$"
        )
    } else {
        format!(
            "DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}; \
             COMMENT ON SCHEMA {name} IS '{version}'"
        )
    };
    client.batch_execute(&statement).unwrap();
}

/// A number that differs for different texts (FNV-1a).
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
