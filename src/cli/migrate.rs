//! `migrate`: brings the schema of the database up to date, without serving.

use std::io::{self, Write};

use clap::Args;

use super::{CommandResult, require_database, unless_closed};
use crate::bootstrap::{migrate_database, schema_version};
use crate::config::Config;
use crate::observability::error_chain;
use crate::store::SchemaState;

const HELP: &str = "\
A server does the same when it starts, so this is needed only
- before a rolling upgrade, to see that the migration works while the servers of the version before \
still run: they work with the new schema too;
- where the user of the servers may not change tables of PostgreSQL: name their owner in --db.

A file is copied first, to a name such as users.db.before-v10 beside it; its server must be stopped. \
PostgreSQL creates the tables in an empty database too. One program at a time migrates, in one \
transaction: if it fails, nothing has changed.

Examples:
  accounts-server --db postgres://owner@db.example.org/accounts migrate
  accounts-server --db users.db migrate";

#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct MigrateArguments {}

pub(super) fn run(_: &MigrateArguments, config: Config) -> CommandResult {
    let config = require_database(config)?;
    let runtime = tokio::runtime::Runtime::new().map_err(|e| format!("cannot start: {e}"))?;
    let found = runtime
        .block_on(migrate_database(&config))
        .map_err(|e| error_chain(&e))?;
    let database = config.shown_database();
    let known = schema_version(&config);
    let text = match found {
        SchemaState::Missing => format!("{database} was empty and has schema version {known} now"),
        SchemaState::Older(version) => {
            format!("{database} was migrated from schema version {version} to {known}")
        }
        SchemaState::Current => format!("{database} is up to date: schema version {known}"),
        SchemaState::Newer(version) => format!(
            "{database} is newer than this program, which works with it: schema version {version}, known \
             is {known}"
        ),
    };
    unless_closed(writeln!(io::stdout(), "{text}"))
}
