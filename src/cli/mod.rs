//! The command line: its arguments, and one file per command.
//!
//! A command that fails prints the reason on standard error and exits with 1; wrong usage exits
//! with 2.

mod audit;
mod backup;
mod check;
mod client;
mod completions;
mod config;
mod copy;
pub(crate) mod export;
mod healthcheck;
mod import;
mod invitations;
mod keys;
mod mail;
mod mail_queue;
mod migrate;
mod output_file;
mod pages;
mod prompt;
mod raise_ids;
mod serve;
mod systemd;
mod user;
mod webhook;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::accounts::AccountError;
use crate::app::App;
use crate::bootstrap::open_app;
use crate::clock::SystemClock;
use crate::config::{self as settings, Config, Sources};
use crate::domain::printable;
use crate::observability::{error_chain, logging};
use crate::store::RequestContext;

/// Outcome of a command: the error is the text for standard error.
type CommandResult = Result<(), String>;

/// Accounts that a command which reads all of them keeps in memory at a time.
const PAGE_SIZE: u32 = 1000;

const ABOUT: &str =
    "User accounts in one binary: sign-up, email confirmation, sign-in, profiles, administration";

const EXAMPLES: &str = "\
Examples:
  accounts-server --db users.db                       serve; emails are printed on standard output
  accounts-server --db users.db --dev                 development: fast hashes, inbox at /dev/mail/
  accounts-server --config accounts.toml              production; see config.toml.example
  accounts-server --db users.db user create ada@example.com --staff
                                                      create a staff account
  accounts-server --db users.db check                 diagnose the installation
  accounts-server --db users.db backup /var/backups/  back up the database and the photos
  accounts-server --db users.db import django_users.csv --dry-run
                                                      preview the import of a Django project's users

  accounts-server copy --from users.db --to postgres://accounts@db.example.org/accounts
                                                      move to PostgreSQL, for several servers

Commands other than `serve`, `restore`, `copy` and, on a file, `migrate` also work while a server runs on \
the same database.
Every setting is an option (see --help), an environment variable (ACCOUNTS_SECTION_KEY) and a key \
of the file \
named by --config. Options win over the environment, and the environment over the file.
Exit status: 0 success, 1 failure, 2 wrong usage.";

#[derive(Parser)]
#[command(name = "accounts-server", version, about = ABOUT, after_help = EXAMPLES)]
struct Arguments {
    /// Read settings from this TOML file (environment: ACCOUNTS_CONFIG)
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        help_heading = "Common settings"
    )]
    config: Option<PathBuf>,

    /// Use defaults for development: emails on standard output and at /dev/mail/, fast hashes, no
    /// rate limits (environment: ACCOUNTS_DEV=true)
    #[arg(long, global = true, help_heading = "Common settings")]
    dev: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server (the default command)
    Serve,
    /// Manage accounts
    #[command(subcommand)]
    User(user::UserCommand),
    /// Test mail delivery, manage the queue, and customise templates
    #[command(subcommand)]
    Mail(mail::MailCommand),
    /// Export the templates of the account pages
    #[command(subcommand)]
    Pages(pages::PagesCommand),
    /// Show the settings in effect
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Manage signing keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Manage OAuth clients: applications in which users sign in with their account here
    #[command(subcommand, visible_alias = "clients")]
    Client(client::ClientCommand),
    /// Manage webhooks: where events about accounts are sent
    #[command(subcommand, visible_alias = "webhooks")]
    Webhook(webhook::WebhookCommand),
    /// Show the audit log: who did what, when and from where
    #[command(visible_alias = "events")]
    Audit(audit::AuditArguments),
    /// Back up the database and the photos
    Backup(backup::BackupArguments),
    /// Restore a backup (the server must be stopped)
    Restore(backup::RestoreArguments),
    /// Diagnose the installation: settings, database, mail, photos, backups, disk, clock
    Check(check::CheckArguments),
    /// Ask the running server for its readiness (exit status 0 or 1)
    Healthcheck,
    /// Print a completion script for a shell
    Completions(completions::CompletionsArguments),
    /// Print the manual page, or write one page per command
    Man(completions::ManArguments),
    /// Move all accounts between a file and PostgreSQL (the servers must be stopped)
    Copy(copy::CopyArguments),
    /// Bring the schema of the database up to date (a server does so when it starts)
    Migrate(migrate::MigrateArguments),
    /// Skip ids that a restored database would assign again
    RaiseIds(raise_ids::RaiseIdsArguments),
    /// Export all accounts as JSON Lines
    Export(export::ExportArguments),
    /// Import accounts from JSON Lines or CSV, with their password hashes
    Import(import::ImportArguments),
}

/// Runs the program with these arguments; the first is its name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let matches = match command_line().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => {
            let error = match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                    let with_help = help_command_line().try_get_matches_from(&arguments);
                    with_help.err().unwrap_or(error)
                }
                _ => error,
            };
            // Help and version go to standard output and are not failures.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(2)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let arguments = match Arguments::from_arg_matches(&matches) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(2);
        }
    };
    logging::start();
    let loaded = sources_of(&arguments, &matches).and_then(|sources| {
        let config = load_config(&sources)?;
        Ok((config, sources))
    });
    let (config, sources) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            print_error(&error);
            return ExitCode::from(2);
        }
    };
    let outcome = match arguments.command {
        None | Some(Command::Serve) => serve::serve(config, &sources),
        Some(Command::User(command)) => user::run(command, config),
        Some(Command::Mail(command)) => mail::run(command, config),
        Some(Command::Pages(command)) => pages::run(command, &config),
        Some(Command::Config(command)) => config::run(command, &config),
        Some(Command::Keys(command)) => keys::run(command, config),
        Some(Command::Client(command)) => client::run(command, config),
        Some(Command::Webhook(command)) => webhook::run(command, config),
        Some(Command::Audit(arguments)) => audit::run(arguments, config),
        Some(Command::Backup(arguments)) => backup::backup(arguments, config),
        Some(Command::Restore(arguments)) => backup::restore(arguments, &config),
        Some(Command::Check(arguments)) => check::run(arguments, &config),
        Some(Command::Healthcheck) => healthcheck::run(&config),
        Some(Command::Completions(arguments)) => {
            completions::completions(&arguments, command_line())
        }
        Some(Command::Man(arguments)) => completions::man(arguments, help_command_line(), &config),
        Some(Command::Copy(arguments)) => copy::run(arguments, &config),
        Some(Command::Migrate(arguments)) => migrate::run(&arguments, config),
        Some(Command::RaiseIds(arguments)) => raise_ids::run(&arguments, config),
        Some(Command::Export(arguments)) => export::run(arguments, config),
        Some(Command::Import(arguments)) => import::run(arguments, config),
    };
    log::logger().flush();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error);
            ExitCode::from(1)
        }
    }
}

/// The whole command line, including one option per setting.
fn command_line() -> clap::Command {
    Arguments::command().args(settings::setting_args())
}

/// The command line as help and manual pages show it.
///
/// Every command accepts all settings; only `serve` lists them, other commands list `--db` alone.
/// Building this is slower than starting the server, so it happens only for help.
fn help_command_line() -> clap::Command {
    let mut command = command_line();
    // Propagates the global options to the subcommands.
    command.build();
    for subcommand in command.get_subcommands_mut() {
        if subcommand.get_name() != "serve" {
            hide_settings(subcommand);
        }
    }
    command
}

fn hide_settings(command: &mut clap::Command) {
    let mut shown = std::mem::take(command).mut_args(|arg| {
        let id = arg.get_id().as_str();
        let hide = id != "database.path" && settings::setting(id).is_some();
        if hide { arg.hide(true) } else { arg }
    });
    let note = "Every setting of the server is an option here too; `accounts-server --help` \
        explains them.";
    let text = match shown.get_after_help() {
        Some(text) => format!("{text}\n\n{note}"),
        None => note.to_owned(),
    };
    shown = shown.after_help(text);
    for subcommand in shown.get_subcommands_mut() {
        hide_settings(subcommand);
    }
    *command = shown;
}

fn print_error(error: &str) {
    // Errors may quote files and databases; their control characters must not reach the terminal.
    let lines: Vec<_> = error.lines().map(printable).collect();
    // Standard error may be closed; there is no other place to report to.
    let _ = writeln!(io::stderr().lock(), "accounts-server: {}", lines.join("\n"));
}

/// The sources of settings for this invocation.
fn sources_of(arguments: &Arguments, matches: &ArgMatches) -> Result<Sources, String> {
    Ok(Sources {
        flags: settings::flags_from(matches),
        environment: settings::process_environment().map_err(|e| e.to_string())?,
        file: arguments.config.clone(),
        dev: arguments.dev,
    })
}

/// Loads the settings and applies those of the log.
fn load_config(sources: &Sources) -> Result<Config, String> {
    let (config, warnings) = settings::load(sources).map_err(|e| e.to_string())?;
    logging::configure(&config.log);
    for warning in warnings {
        log::warn!("{warning}");
    }
    Ok(config)
}

/// Runs an operation on an opened [`App`], without serving.
fn with_app<T>(
    config: Config,
    operation: impl AsyncFnOnce(Arc<App>) -> Result<T, String>,
) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("cannot start: {e}"))?;
    let port = config.server.listen.port();
    runtime.block_on(async {
        let mut app = open_app(config, Arc::new(SystemClock), port)
            .await
            .map_err(|e| error_chain(&e))?;
        app.operator = operator();
        operation(Arc::new(app)).await
    })
}

/// The operating system user who runs the command, for the audit log; with `sudo`, the one behind
/// it.
fn operator() -> String {
    ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|name| !name.is_empty())
        .map_or_else(|| "unknown".into(), |name| name.chars().take(64).collect())
}

/// The context of a command's actions, for the audit log.
fn command_context() -> RequestContext {
    RequestContext {
        operator: operator(),
        ..RequestContext::default()
    }
}

/// Refuses a database that does not exist: a mistyped path must not create one.
fn require_database(config: Config) -> Result<Config, String> {
    if let Some(file) = config.database_file()
        && !file.exists()
    {
        return Err(format!(
            "there is no database {}; check --db",
            file.display()
        ));
    }
    Ok(config)
}

/// Whether a file argument is `-`, for standard input or output.
fn is_dash(file: &Path) -> bool {
    file.as_os_str() == OsStr::new("-")
}

fn cannot_write(error: impl std::fmt::Display) -> String {
    format!("cannot write: {error}")
}

/// What a command returns that has written its output. The reader may have closed the pipe, as `head`
/// does.
fn unless_closed(written: std::io::Result<()>) -> CommandResult {
    match written {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(cannot_write),
    }
}

/// Formats an error for the terminal; field errors are one line each.
fn describe(error: AccountError) -> String {
    match error {
        AccountError::Fields(errors) => errors
            .iter()
            .map(|(field, messages)| format!("{field}: {}", messages.join(" ")))
            .collect::<Vec<_>>()
            .join("\n"),
        other => error_chain(&other),
    }
}
