//! The command line: its arguments, and one file per command.
//!
//! A command that fails says why in one line on standard error and ends with 1; wrong usage ends with 2.

mod audit;
mod backup;
mod check;
mod completions;
mod export;
mod healthcheck;
mod import;
mod keys;
mod mail;
mod serve;
mod systemd;
mod user;

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::accounts::AccountError;
use crate::app::App;
use crate::bootstrap::open_app;
use crate::clock::SystemClock;
use crate::config::{self, Config, Sources};
use crate::domain::printable;
use crate::observability::{error_chain, logging};
use crate::store::RequestContext;
pub(crate) use export::export_line;

/// Outcome of a command: nothing to say, or a line that says what went wrong.
type CommandResult = Result<(), String>;

/// How many accounts a command that goes through all of them has in memory at a time.
const CHUNK: u32 = 1000;

const ABOUT: &str =
    "User accounts in one binary: sign-up, mail confirmation, sign-in, profiles, administration";

const EXAMPLES: &str = "\
Examples:
  accounts-server --db users.db                            serve; mails are printed to standard output
  accounts-server --db users.db --dev                      for development: fast hashes, and an inbox at /dev/mail/
  accounts-server --config accounts.toml                   for production, see config.toml.example
  accounts-server --db users.db user create ada@example.com --staff
                                                           make a staff account, also while the server runs
  accounts-server --db users.db backup /var/backups/       copy database and photos, also while the server runs
  accounts-server --db users.db import django_users.csv --dry-run
                                                           what would come of taking over the users of a Django project

Every setting can be given as a flag (see --help), as an environment variable (ACCOUNTS_SECTION_KEY) or in the file \
named by --config; a flag wins over the environment, the environment over the file.
Exit status: 0 done, 1 failed, 2 wrong usage.";

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

    /// Choose defaults for development: mails on standard output and at /dev/mail/, fast hashes, no rate limits
    /// (environment: ACCOUNTS_DEV=true)
    #[arg(long, global = true, help_heading = "Common settings")]
    dev: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API (what happens without a command, too)
    Serve,
    /// Manage accounts, also while a server runs on the same file
    #[command(subcommand)]
    User(user::UserCommand),
    /// Try out how mails leave
    #[command(subcommand)]
    Mail(mail::MailCommand),
    /// Look after the keys that sign tokens, also while a server runs
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Show who did what, when and from where
    Audit(audit::AuditArguments),
    /// Make a whole copy of database and photos, also while a server runs on them
    Backup(backup::BackupArguments),
    /// Put a backup in the place of the database, which no server may hold
    Restore(backup::RestoreArguments),
    /// Look at everything that the server needs: what is wrong, and what is merely unwise
    Check(check::CheckArguments),
    /// Ask the server that these settings are for whether it is well, at each of its addresses: exit status 0 or 1
    Healthcheck,
    /// Print what makes a shell complete arguments
    Completions(completions::CompletionsArguments),
    /// Print the manual page, or write all of them into a folder
    Man(completions::ManArguments),
    /// Write all accounts as JSON, one a line
    Export(export::ExportArguments),
    /// Take over accounts from JSON lines or CSV, with their password hashes
    Import(import::ImportArguments),
}

/// Runs the program with these arguments, the first of which is its name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let matches = match command_line().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => {
            let error = match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                    let again = help_line().try_get_matches_from(&arguments);
                    again.err().unwrap_or(error)
                }
                _ => error,
            };
            // Help and version go to standard output and are no failure.
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
            complain(&error);
            return ExitCode::from(2);
        }
    };
    let outcome = match arguments.command {
        None | Some(Command::Serve) => serve::serve(config, &sources),
        Some(Command::User(command)) => user::run(command, config),
        Some(Command::Mail(command)) => mail::run(command, &config),
        Some(Command::Keys(command)) => keys::run(command, config),
        Some(Command::Audit(arguments)) => audit::run(arguments, config),
        Some(Command::Backup(arguments)) => backup::backup(arguments, config),
        Some(Command::Restore(arguments)) => backup::restore(arguments, &config),
        Some(Command::Check(arguments)) => check::run(arguments, &config),
        Some(Command::Healthcheck) => healthcheck::run(&config),
        Some(Command::Completions(arguments)) => {
            completions::completions(&arguments, command_line())
        }
        Some(Command::Man(arguments)) => completions::man(arguments, help_line()),
        Some(Command::Export(arguments)) => export::run(arguments, config),
        Some(Command::Import(arguments)) => import::run(arguments, config),
    };
    log::logger().flush();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::from(1)
        }
    }
}

/// All arguments, those of the settings included.
fn command_line() -> clap::Command {
    Arguments::command().args(config::setting_args())
}

/// The arguments as help and manual show them: the settings, which every command takes, are explained where one serves, and
/// elsewhere only those that say which database it is about. Making it takes longer than starting does.
fn help_line() -> clap::Command {
    let mut command = command_line();
    // Only then each command has its share of the settings.
    command.build();
    for below in command.get_subcommands_mut() {
        if below.get_name() != "serve" {
            hide_settings(below);
        }
    }
    command
}

fn hide_settings(command: &mut clap::Command) {
    let mut shown = std::mem::take(command).mut_args(|arg| {
        let id = arg.get_id().as_str();
        let hide = id != "database.path" && config::setting(id).is_some();
        if hide { arg.hide(true) } else { arg }
    });
    let note = "Every setting of the server is an option here, too: `accounts-server --help` explains them.";
    let text = match shown.get_after_help() {
        Some(text) => format!("{text}\n\n{note}"),
        None => note.to_owned(),
    };
    shown = shown.after_help(text);
    for below in shown.get_subcommands_mut() {
        hide_settings(below);
    }
    *command = shown;
}

fn complain(error: &str) {
    // There is nobody left to tell when standard error is closed.
    let _ = writeln!(io::stderr().lock(), "accounts-server: {error}");
}

/// Where the settings of this call come from.
fn sources_of(arguments: &Arguments, matches: &ArgMatches) -> Result<Sources, String> {
    Ok(Sources {
        flags: config::flags_from(matches),
        environment: config::process_environment().map_err(|e| e.to_string())?,
        file: arguments.config.clone(),
        dev: arguments.dev,
    })
}

/// Reads the settings, and has the log follow them.
fn load_config(sources: &Sources) -> Result<Config, String> {
    let (config, warnings) = config::load(sources).map_err(|e| e.to_string())?;
    logging::configure(&config.log);
    for warning in warnings {
        log::warn!("{warning}");
    }
    Ok(config)
}

/// Runs a command's operations against the database, without serving.
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

/// The user of this machine who gives the command: with `sudo` the one behind it. Only for the audit log.
fn operator() -> String {
    ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|name| !name.is_empty())
        .map_or_else(|| "unknown".into(), |name| name.chars().take(64).collect())
}

/// Where what a command does comes from, for the audit log.
fn command_context() -> RequestContext {
    RequestContext {
        operator: operator(),
        ..RequestContext::default()
    }
}

/// The rows of a file of accounts that can be read, up to the first thing that ends the reading.
pub(crate) fn read_rows(file: &[u8]) -> Vec<crate::domain::Fields> {
    let Ok(mut rows) = crate::accounts::import::rows::Rows::open(file, None) else {
        return Vec::new();
    };
    let mut read = Vec::new();
    while let Ok(Some(row)) = rows.next() {
        read.extend(row.fields.ok());
    }
    read
}

/// For commands that need a database with something in it: a mistyped path must not make a new one.
fn existing(config: Config) -> Result<Config, String> {
    let path = &config.database.path;
    if path != ":memory:" && !Path::new(path).exists() {
        return Err(format!("there is no database {path}"));
    }
    Ok(config)
}

/// Whether a file name stands for standard input or output.
fn is_standard(file: &Path) -> bool {
    file.as_os_str() == OsStr::new("-")
}

fn cannot_write(error: impl std::fmt::Display) -> String {
    format!("cannot write: {error}")
}

/// Puts a refusal into lines for a person: the field, then what is wrong with it.
fn explain(error: AccountError) -> String {
    match error {
        AccountError::Fields(errors) => errors
            .iter()
            .map(|(field, messages)| format!("{field}: {}", messages.join(" ")))
            .collect::<Vec<_>>()
            .join("\n"),
        other => error_chain(&other),
    }
}

/// Reads a secret from the first line of standard input, or asks for it at the terminal without showing it.
fn read_secret(prompt: &str) -> Result<String, String> {
    if io::stdin().is_terminal() {
        return rpassword::prompt_password(prompt)
            .map_err(|e| format!("cannot read the secret: {e}"));
    }
    let mut line = String::new();
    io::stdin()
        .read_line(&mut line)
        .map_err(|e| format!("cannot read the secret from standard input: {e}"))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Asks for a password at the terminal without showing it, or reads one line from standard input.
fn read_password(from_stdin: bool) -> Result<String, String> {
    if from_stdin {
        let mut line = String::new();
        io::stdin()
            .read_line(&mut line)
            .map_err(|e| format!("cannot read the password from standard input: {e}"))?;
        let password = line.strip_suffix('\n').unwrap_or(&line);
        let password = password.strip_suffix('\r').unwrap_or(password);
        if password.is_empty() {
            return Err("standard input held no password".into());
        }
        return Ok(password.to_owned());
    }
    if !io::stdin().is_terminal() {
        return Err(
            "there is no terminal to ask for the password at; pipe it in with --password-stdin"
                .into(),
        );
    }
    let ask = |prompt: &str| {
        rpassword::prompt_password(prompt).map_err(|e| format!("cannot read the password: {e}"))
    };
    let password = ask("Password: ")?;
    if ask("Password (again): ")? != password {
        return Err("the two passwords are not the same; nothing was done".into());
    }
    Ok(password)
}
