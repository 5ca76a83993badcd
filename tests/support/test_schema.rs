//! A schema of its own for each test, in the PostgreSQL database that `ACCOUNTS_TEST_POSTGRES` names.

use std::sync::atomic::{AtomicU64, Ordering};

use postgres::{Client, NoTls};

/// The variable with the URL of the database.
const VARIABLE: &str = "ACCOUNTS_TEST_POSTGRES";

/// A schema, which is dropped with this.
pub(crate) struct TestSchema {
    base: String,
    name: String,
}

impl TestSchema {
    /// A new schema, where the variable names a database.
    pub(crate) fn new() -> Option<Self> {
        static SCHEMAS: AtomicU64 = AtomicU64::new(0);
        let base = std::env::var(VARIABLE).ok()?;
        let number = SCHEMAS.fetch_add(1, Ordering::Relaxed);
        let schema = Self {
            base,
            name: format!("test_{}_{number}", std::process::id()),
        };
        schema.run(&format!("CREATE SCHEMA {}", schema.name));
        Some(schema)
    }

    /// Runs a statement in the schema.
    #[allow(dead_code, reason = "not every suite needs it")]
    pub(crate) fn execute(&self, statement: &str) {
        self.run(&format!(
            "SET search_path = {}, public; {statement}",
            self.name
        ));
    }

    /// Runs a statement beside the schema, on a thread where a runtime may be started.
    fn run(&self, statement: &str) {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut client = Client::connect(&self.base, NoTls).unwrap();
                client.batch_execute(statement).unwrap();
            });
        });
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
            "{}{separator}options=-c%20search_path%3D{name}%2Cpublic%20-c%20synchronous_commit%3Doff",
            self.base
        )
    }
}

impl Drop for TestSchema {
    fn drop(&mut self) {
        self.run(&format!("DROP SCHEMA {} CASCADE", self.name));
    }
}
