//! The schema of a database: it is created where there is none, migrated where it is older, and what
//! belongs to others is left alone.
//!
//! One server at a time looks at it, under an advisory lock, and changes it in one transaction. A schema
//! that is newer is used where it says that this program works with it.

#[cfg(test)]
mod tests;

use std::thread;
use std::time::Duration;

use super::client::{Client, Commit, Patience};
use super::migrations::{Migration, Versions};
use crate::observability::error_chain;
use crate::store::operations::connection::{Connection, params};
use crate::store::{SchemaState, StoreError};

/// The name of this program in the schema.
const APPLICATION: &str = "accounts-server";

/// The lock under which one server at a time looks at the schema.
const SCHEMA_LOCK: i64 = 0x6163_6373_6368_656d;

/// The pause between two attempts to get it.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// The longest wait for a statement that changes the schema: an index of a large table takes minutes.
const CHANGE_PATIENCE: Patience = Patience::of(Duration::from_hours(12));

/// Who waits for the lock of a table has all others wait as well, so a migration does not wait long for
/// those that use the table, such as `pg_dump`.
const MIGRATION_SETTINGS: &str = "SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = 0;";

/// The oldest server that is supported.
const OLDEST_SERVER: i64 = 130_000;

/// Creates or migrates the schema as needed; `name` is that of one to create before. Returns what was
/// found.
///
/// # Errors
/// The text says why the database cannot be used; nothing has changed then.
pub(super) fn prepare(
    client: &Client,
    name: Option<&str>,
    versions: &Versions,
) -> Result<SchemaState, String> {
    client.begin(Some("BEGIN"));
    let prepared = prepare_in_transaction(client, name, versions);
    match prepared {
        Ok(found) => match client.commit() {
            Commit::Done => Ok(found),
            Commit::Refused(error) => Err(error_chain(&error)),
            Commit::Unknown => Err(
                "the connection was lost while the schema was prepared, so its state is not known; \
                 start again"
                    .to_owned(),
            ),
        },
        Err(problem) => {
            client.roll_back();
            Err(problem)
        }
    }
}

/// Says where the schema is, without changing anything; `name` is that of one that may be missing.
///
/// # Errors
/// The text says why the database cannot be used.
pub(super) fn examine(
    client: &Client,
    name: Option<&str>,
    versions: &Versions,
) -> Result<SchemaState, String> {
    client.begin(Some("BEGIN READ ONLY"));
    let found = match name {
        Some(name) => exists(client, name),
        None => Ok(true),
    };
    let found = match found {
        Ok(true) => find(client, versions),
        Ok(false) => Ok(SchemaState::Missing),
        Err(problem) => Err(problem),
    };
    client.roll_back();
    found
}

fn prepare_in_transaction(
    client: &Client,
    name: Option<&str>,
    versions: &Versions,
) -> Result<SchemaState, String> {
    wait_for_lock(client)?;
    if let Some(name) = name {
        client
            .run(&format!("CREATE SCHEMA IF NOT EXISTS {name}"), &[])
            .map_err(|e| error_chain(&e))?;
    }
    let found = find(client, versions)?;
    match found {
        SchemaState::Missing => create(client, versions)?,
        SchemaState::Older(version) => migrate(client, version, versions)?,
        SchemaState::Newer(version) => log::info!(
            "the database has the schema version {version}, which this program works with; it knows {}",
            versions.newest
        ),
        SchemaState::Current => {}
    }
    Ok(found)
}

/// Waits until no other server looks at the schema. The connection is asked again and again, so that one
/// that is lost is noticed.
fn wait_for_lock(client: &Client) -> Result<(), String> {
    let connection: &dyn Connection = client;
    let mut was_told = false;
    loop {
        let is_ours = connection.query_row(
            "SELECT pg_try_advisory_xact_lock(:lock)",
            params! { ":lock": SCHEMA_LOCK },
            |row| row.get(0),
        );
        if is_ours.map_err(|e| error_chain(&e))? {
            return Ok(());
        }
        if !was_told {
            log::info!("another server prepares the schema of the database; waiting for it");
            was_told = true;
        }
        thread::sleep(LOCK_PAUSE);
    }
}

fn exists(client: &Client, schema: &str) -> Result<bool, String> {
    let connection: &dyn Connection = client;
    connection
        .exists(
            "SELECT 1 FROM pg_namespace WHERE nspname = :schema",
            params! { ":schema": schema },
        )
        .map_err(|e| error_chain(&e))
}

/// Finds where the schema is, and refuses a server or a schema that cannot be used.
fn find(client: &Client, versions: &Versions) -> Result<SchemaState, String> {
    let failed = |error: StoreError| error_chain(&error);
    let connection: &dyn Connection = client;
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
        return Ok(SchemaState::Missing);
    }
    let (version, compatible_from, application): (i64, i64, String) = connection
        .query_row(
            "SELECT version, compatible_from, application FROM schema_version",
            &[],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .map_err(failed)?;
    if application != APPLICATION {
        return Err(format!(
            "the schema {schema} belongs to another program ({application})"
        ));
    }
    let newest = versions.newest;
    if version > newest && compatible_from > newest {
        return Err(format!(
            "the database has the schema version {version}, and this program knows {newest}: \
             it was used by a newer version, which is needed again"
        ));
    }
    Ok(match version {
        _ if version < newest => SchemaState::Older(version),
        _ if version > newest => SchemaState::Newer(version),
        _ => SchemaState::Current,
    })
}

fn create(client: &Client, versions: &Versions) -> Result<(), String> {
    log::info!("creating the schema in the database");
    client.set_patience(CHANGE_PATIENCE);
    client.run_script(versions.schema).map_err(|error| {
        format!(
            "the schema cannot be created: {}. The user needs CREATE on the schema; or run `migrate` \
             once as one who has it",
            error_chain(&error)
        )
    })
}

fn migrate(client: &Client, version: i64, versions: &Versions) -> Result<(), String> {
    let newest = versions.newest;
    let Some(migrations) = versions.after(version) else {
        return Err(format!(
            "the database has the schema version {version}, from which this program cannot migrate it \
             to {newest}; start a version in between first"
        ));
    };
    log::info!("migrating the database from schema version {version} to {newest}");
    client.set_patience(CHANGE_PATIENCE);
    let run = |script: &str| client.run_script(script);
    let apply = |migration: &Migration| {
        run(migration.statements)?;
        run(&format!(
            "UPDATE schema_version SET version = {}, compatible_from = {}",
            migration.version, migration.compatible_from
        ))
    };
    run(MIGRATION_SETTINGS)
        .and_then(|()| migrations.iter().try_for_each(apply))
        .map_err(|error| {
            format!(
                "the database cannot be migrated from schema version {version} to {newest}, and \
                 nothing was changed: {}. Where the user may not change the tables, run `migrate` as \
                 their owner; where something else uses a table, such as pg_dump, start again when it \
                 is done",
                error_chain(&error)
            )
        })
}
