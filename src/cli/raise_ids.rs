//! `raise-ids`: skips the ids that a restored database would assign again.

use std::io::{self, Write};

use clap::{Args, value_parser};

use super::{CommandResult, command_context, require_database, unless_closed};
use crate::bootstrap::open_database;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::domain::EventKind;
use crate::observability::error_chain;
use crate::store::NewEvent;

/// Largest number of ids that are skipped: ids stay exact in JavaScript (2^53) a thousand times over.
const MAX_STEP: i64 = 1_000_000_000_000;

const HELP: &str = "\
For PostgreSQL, after its own tools have restored the database to an earlier moment, before the first \
server starts. The restored database knows nothing of the ids that were assigned since that moment. \
They may still be known outside, by other services, in links and in tokens, and must not belong to \
another account some day. This skips a number of ids in every table that assigns them; gaps do no harm, so \
choose more than can have been assigned.

`restore` of a file skips the ids that the replaced file has assigned. Only where that file is lost, use \
this command after it.

Example:
  accounts-server --db postgres://accounts@db.example.org/accounts raise-ids --by 1000000";

#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct RaiseIdsArguments {
    /// How many ids to skip in each table
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(i64).range(1..=MAX_STEP))]
    by: i64,
}

pub(super) fn run(arguments: &RaiseIdsArguments, config: Config) -> CommandResult {
    let config = require_database(config)?;
    let runtime = tokio::runtime::Runtime::new().map_err(|e| format!("cannot start: {e}"))?;
    let event = NewEvent {
        kind: EventKind::IdsRaised,
        user_id: None,
        context: command_context(),
        detail: arguments.by.to_string(),
        now: SystemClock.now(),
    };
    let raised = runtime.block_on(async {
        let store = open_database(&config).await.map_err(|e| error_chain(&e))?;
        let raised = store.raise_ids(arguments.by, event).await;
        raised.map_err(|e| format!("no ids were skipped: {}", error_chain(&e)))
    })?;
    let mut out = io::stdout().lock();
    unless_closed(
        raised
            .iter()
            .try_for_each(|(table, last)| writeln!(out, "{table}: new ids are above {last}")),
    )
}
