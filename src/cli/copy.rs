//! `copy`: move all accounts between a file and PostgreSQL.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::CommandResult;
use crate::bootstrap::open_for_move;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::observability::error_chain;
use crate::store::moving::{CopyProgress, move_store};

const HELP: &str = "\
All rows and photos are copied in one transaction: accounts keep their ids, and sessions, tokens, \
codes and keys stay valid. Afterwards the number of rows and a checksum of every table are compared. \
If anything fails, the target is left empty. Stop the servers before: what is written to the source \
during the copy would be lost. When it is done, the source is marked as moved and is not served any \
more.

Examples:
  accounts-server copy --from users.db --to postgres://accounts@db.example.org/accounts
                                             move from a file to PostgreSQL
  accounts-server copy --from postgres://accounts@db.example.org/accounts --to users.db
                                             and back";

#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct CopyArguments {
    /// Database to copy: a file or a postgres:// URL
    #[arg(long, value_name = "DB")]
    from: String,
    /// Empty database to copy it to: a new file or a postgres:// URL
    #[arg(long, value_name = "DB")]
    to: String,
}

pub(super) fn run(arguments: CopyArguments, config: &Config) -> CommandResult {
    let with = |path: &str| {
        let mut config = config.clone();
        path.clone_into(&mut config.database.path);
        config
    };
    let (source, target) = (with(&arguments.from), with(&arguments.to));
    if let Some(file) = source.database_file()
        && !file.exists()
    {
        return Err(format!(
            "there is no database {}; check --from",
            file.display()
        ));
    }
    if source.is_postgres() == target.is_postgres() {
        return Err(
            "one of --from and --to has to be a file, and the other one a postgres:// URL; copy a file \
             by `backup` and `restore`, and a PostgreSQL database by pg_dump"
                .to_owned(),
        );
    }
    let runtime = tokio::runtime::Runtime::new().map_err(|e| format!("cannot start: {e}"))?;
    runtime.block_on(async {
        let (from, _lock) = open_for_move(&source).await.map_err(|e| error_chain(&e))?;
        let (to, _other_lock) = open_for_move(&target).await.map_err(|e| error_chain(&e))?;
        let bar = bar();
        let progress = progress(bar.clone());
        let moved = move_store(
            &from,
            &to,
            &target.shown_database(),
            SystemClock.now(),
            progress,
        )
        .await;
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        let (tables, photos) =
            moved.map_err(|e| format!("nothing was copied: {}", error_chain(&e)))?;
        let rows: u64 = tables.iter().map(|table| table.rows).sum();
        let accounts = tables.iter().find(|table| table.name == "users");
        eprintln!(
            "copied {} accounts, {rows} rows in {} tables and {photos} photos; all of them were compared",
            accounts.map_or(0, |table| table.rows),
            tables.len(),
        );
        eprintln!(
            "{} is marked as moved; start the servers with --db {}",
            source.shown_database(),
            target.shown_database()
        );
        Ok(())
    })
}

/// A bar at a terminal.
fn bar() -> Option<ProgressBar> {
    io::stderr().is_terminal().then(|| {
        let bar = ProgressBar::new_spinner();
        let style = ProgressStyle::with_template("{spinner} {msg}: {pos} rows, {elapsed}");
        bar.set_style(style.expect("the template is well-formed"));
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    })
}

fn progress(bar: Option<ProgressBar>) -> CopyProgress {
    Arc::new(move |table, rows| {
        if let Some(bar) = &bar {
            bar.set_message(table);
            bar.set_position(rows);
        }
    })
}
