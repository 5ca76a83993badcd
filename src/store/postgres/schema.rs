//! The schema: it is created in an empty database, and what belongs to others is left alone.

use super::client::{Client, Commit};
use crate::observability::error_chain;
use crate::store::StoreError;
use crate::store::operations::connection::{Connection, params};

/// The version of the schema, which SQLite counts alike.
pub(super) const SCHEMA_VERSION: i64 = 10;

/// The name of this program in the schema.
const APPLICATION: &str = "accounts-server";

/// The whole schema.
const SCHEMA: &str = include_str!("schema.sql");

/// The lock under which one server at a time looks at the schema.
const SCHEMA_LOCK: i64 = 0x6163_6373_6368_656d;

/// The oldest server that is supported.
const OLDEST_SERVER: i64 = 130_000;

/// Creates the schema where the database is empty; `name` is that of one to create before.
///
/// # Errors
/// The text says why the database cannot be used.
pub(super) fn prepare(client: &Client, name: Option<&str>) -> Result<(), String> {
    client.begin(Some("BEGIN"));
    let prepared = prepare_in_transaction(client, name);
    match prepared {
        Ok(()) => match client.commit() {
            Commit::Done => Ok(()),
            Commit::Refused(error) => Err(explain(&error)),
            Commit::Unknown => Err("the connection was lost while the schema was created".into()),
        },
        Err(problem) => {
            client.roll_back();
            Err(problem)
        }
    }
}

fn prepare_in_transaction(client: &Client, name: Option<&str>) -> Result<(), String> {
    let failed = |error: StoreError| explain(&error);
    let connection: &dyn Connection = client;
    client
        .run(
            "SELECT pg_advisory_xact_lock(:lock)",
            params! { ":lock": SCHEMA_LOCK },
        )
        .map_err(failed)?;
    if let Some(name) = name {
        client
            .run(&format!("CREATE SCHEMA IF NOT EXISTS {name}"), &[])
            .map_err(failed)?;
    }
    let (version, encoding, schema, has_tables, is_ours): (
        i64,
        String,
        Option<String>,
        bool,
        bool,
    ) = connection
        .query_row(
            "SELECT CAST(current_setting('server_version_num') AS bigint), \
             current_setting('server_encoding'), CAST(current_schema() AS text), \
             EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = current_schema()), \
             EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = current_schema() \
             AND tablename = 'schema_version')",
            &[],
            |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                ))
            },
        )
        .map_err(failed)?;
    if version < OLDEST_SERVER {
        return Err(format!(
            "the server is PostgreSQL {}; at least version 13 is needed",
            version / 10_000
        ));
    }
    if encoding != "UTF8" {
        return Err(format!(
            "the database has the encoding {encoding}; create one with UTF8: \
             CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        ));
    }
    let Some(schema) = schema else {
        return Err(
            "no schema of the search_path exists or may be used; create it, or grant USAGE on it"
                .to_owned(),
        );
    };
    if !is_ours {
        if has_tables {
            return Err(format!(
                "the schema {schema} has tables of another program; create an empty database, or \
                 an empty schema and name it in the URL: options=-c%20search_path%3Daccounts"
            ));
        }
        log::info!("creating the schema in the database");
        return client.run_script(SCHEMA).map_err(|error| {
            format!(
                "the schema cannot be created: {}. The user needs CREATE on the schema {schema}",
                error_chain(&error)
            )
        });
    }
    let (version, application): (i64, String) = connection
        .query_row(
            "SELECT version, application FROM schema_version",
            &[],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .map_err(failed)?;
    if application != APPLICATION {
        return Err(format!(
            "the schema {schema} belongs to another program ({application})"
        ));
    }
    if version > SCHEMA_VERSION {
        return Err(format!(
            "the database has the schema version {version}, and this program knows {SCHEMA_VERSION}: \
             it was used by a newer version, which is needed again"
        ));
    }
    Ok(())
}

fn explain(error: &StoreError) -> String {
    error_chain(error)
}
