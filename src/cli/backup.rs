//! `backup` and `restore`: copies the database and the photos, and restores them.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::output_file::{ProtectedFiles, is_special};
use super::{CommandResult, cannot_write, command_context, is_dash, printable, require_database};
use crate::backup::{CancelFlag, CancellableStream, Contents, DataFiles, Progress, Restore};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::crypto::tokens::generate_key;
use crate::domain::Timestamp;

/// Most characters of a path in the audit log.
const MAX_DETAIL: usize = 250;

const BACKUP_HELP: &str = "\
The backup is one tar file with the database and the photos as of one moment; the server keeps \
running. `tar -xf` unpacks it to users.db and users.db.media, which a server started with \
--db users.db uses, and `sha256sum --check SHA256SUMS` verifies them. It contains password hashes \
and signing keys: protect it like the database.

Examples:
  accounts-server --db users.db backup /var/backups/accounts.tar
  accounts-server --db users.db backup /var/backups/            a file named after the time
  accounts-server --db users.db backup - | gzip | ssh backup@example.com 'cat > accounts.tar.gz'";

const RESTORE_HELP: &str = "\
The backup is unpacked beside the database and verified first: checksums, database integrity and \
schema version. Only then it replaces the existing data, which is kept in files with \
`.before-restore-` and the time in their names. If a restore is interrupted, the server refuses to \
start until it is run again. A database file alone, such as users.db.before-v3, can be restored \
too; the photos stay unchanged.

A backup knows nothing of what happened after it, such as sessions that were ended. So all \
sessions end and the signing keys are replaced, unless --keep-sessions is given, and ids used since \
the backup are not assigned again. Run this as the user of the server, who must own the files.

Examples:
  accounts-server --db users.db restore /var/backups/accounts.tar --force
  ssh old.example.com accounts-server --db users.db backup - |
    accounts-server --db users.db restore - --keep-sessions";

#[derive(Args)]
#[command(after_help = BACKUP_HELP)]
pub(super) struct BackupArguments {
    /// Target file, folder for a new file, or `-` for standard output
    #[arg(value_name = "DEST")]
    target: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
}

#[derive(Args)]
#[command(after_help = RESTORE_HELP)]
pub(super) struct RestoreArguments {
    /// Backup to restore, or `-` for standard input
    #[arg(value_name = "SRC")]
    source: PathBuf,
    /// Replace the existing database, which is kept under another name
    #[arg(long)]
    force: bool,
    /// Keep the sessions and signing keys of the backup valid
    #[arg(long)]
    keep_sessions: bool,
}

pub(super) fn backup(arguments: BackupArguments, config: Config) -> CommandResult {
    let config = require_database(config)?;
    let files = DataFiles::of(&config).ok_or_else(|| refusal(&config))?;
    let now = SystemClock.now();
    let protected = ProtectedFiles::of(&config);
    let _signals = cancel_on_signal(files.cancel.clone())?;
    if is_dash(&arguments.target) {
        protected.check_stdout()?;
        if io::stdout().is_terminal() {
            return Err(
                "standard output is a terminal; name a file, or pipe the backup to a program"
                    .into(),
            );
        }
        let out = CancellableStream::output(files.cancel.clone())
            .map_err(|e| format!("cannot write to standard output: {e}"))?;
        return stream(&files, out, "standard output", now);
    }
    let target = match arguments.target.is_dir() {
        true => arguments.target.join(files.backup_name(now)),
        false => arguments.target,
    };
    protected.check(&target)?;
    if is_special(&target) {
        let out = OpenOptions::new()
            .write(true)
            .open(&target)
            .map_err(|e| format!("cannot write {}: {e}", target.display()))?;
        let out = CancellableStream::new(out, files.cancel.clone());
        return stream(&files, out, &target.to_string_lossy(), now);
    }
    if target.exists() && !arguments.force {
        return Err(format!(
            "{} exists already; name another file, or replace it with --force",
            target.display()
        ));
    }
    record_start(&files, &target.to_string_lossy(), now);
    let progress = Display::new();
    let contents = files
        .write_file(&target, now, &mut |step| progress.show(step))
        .map_err(|e| e.to_string())?;
    progress.finish();
    report("backed up", &contents, "in", &target)
}

/// Why a database that is not a file cannot be backed up here.
fn refusal(config: &Config) -> String {
    if config.is_postgres() {
        return "a PostgreSQL database is backed up by its own tools: pg_dump, or base backups with the \
                write-ahead log for recovery to any moment; see docs/SCALING.md"
            .to_owned();
    }
    "a database in memory cannot be backed up; name a file with --db".to_owned()
}

/// Writes a backup to a pipe or a device.
fn stream(
    files: &DataFiles,
    mut out: CancellableStream,
    name: &str,
    now: Timestamp,
) -> CommandResult {
    record_start(files, name, now);
    let progress = Display::new();
    let contents = files
        .stream(&mut out, now, &mut |step| progress.show(step))
        .map_err(|e| e.to_string())?;
    progress.finish();
    eprintln!("backed up {}", summary(&contents));
    Ok(())
}

/// Records the start of the backup in the audit log: data leaves the machine even if it is
/// interrupted.
///
/// A database that cannot be written is backed up nevertheless.
fn record_start(files: &DataFiles, target: &str, now: Timestamp) {
    let detail = target.chars().take(MAX_DETAIL).collect();
    if let Err(e) = files.note(command_context(), detail, now) {
        log::warn!("this backup is not recorded in the audit log: {e}");
    }
}

pub(super) fn restore(arguments: RestoreArguments, config: &Config) -> CommandResult {
    let target = DataFiles::of(config).ok_or_else(|| {
        if config.is_postgres() {
            "a PostgreSQL database is restored by its own tools: pg_restore, or recovery to a moment; see \
             docs/SCALING.md"
        } else {
            "a database in memory cannot be restored; name a file with --db"
        }
    })?;
    let from = Some(arguments.source).filter(|file| !is_dash(file));
    let database = target.database.clone();
    let _signals = cancel_on_signal(target.cancel.clone())?;
    let restore = Restore {
        target,
        from,
        force: arguments.force,
        keep_sessions: arguments.keep_sessions,
        generate_key: |algorithm, now| generate_key(algorithm, now).map_err(|e| e.to_string()),
        context: command_context(),
    };
    let progress = Display::new();
    let restored = restore
        .run(SystemClock.now(), &mut |step| progress.show(step))
        .map_err(|e| e.to_string())?;
    progress.finish();
    for path in &restored.kept {
        eprintln!("the previous data is kept in {}", path.display());
    }
    report("restored", &restored.contents, "to", &database)
}

/// Cancels the work on a signal, so that temporary files are removed; a second signal exits at
/// once.
///
/// Signals are handled until the returned runtime is dropped.
fn cancel_on_signal(cancel: CancelFlag) -> Result<Runtime, String> {
    let failed = |e: io::Error| format!("cannot listen for signals: {e}");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_io()
        .build()
        .map_err(failed)?;
    let listen = || -> io::Result<(Signal, Signal, Option<Signal>)> {
        let _context = runtime.enter();
        // Under `nohup` the work continues when the terminal is closed.
        let hangup = (!ignores_hangup()).then(|| signal(SignalKind::hangup()));
        Ok((
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            hangup.transpose()?,
        ))
    };
    let (mut interrupt, mut terminate, mut hangup) = listen().map_err(failed)?;
    runtime.spawn(async move {
        for is_first in [true, false] {
            let hung_up = async {
                match &mut hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hung_up => {}
            }
            match is_first {
                true => cancel.set(),
                false => std::process::exit(1),
            }
        }
    });
    Ok(runtime)
}

/// Whether this process was started with SIGHUP (number 1) ignored. Only Linux says so without
/// `unsafe`.
fn ignores_hangup() -> bool {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let ignored = status
                .lines()
                .find_map(|line| line.strip_prefix("SigIgn:"))?;
            u64::from_str_radix(ignored.trim(), 16).ok()
        })
        .is_some_and(|signals| signals & 1 == 1)
}

fn report(done: &str, contents: &Contents, to: &str, path: &Path) -> CommandResult {
    writeln!(
        io::stdout(),
        "{done} {} {to} {}",
        summary(contents),
        path.display()
    )
    .map_err(cannot_write)
}

/// A short description of a backup. Missing photos are reported on standard error.
fn summary(contents: &Contents) -> String {
    if let Some(first) = contents.missing_photos.first() {
        eprintln!(
            "accounts-server: {} photos of accounts are missing, such as {}",
            contents.missing_photos.len(),
            printable(first)
        );
    }
    format!(
        "{} accounts and {} photos (schema version {})",
        contents.accounts, contents.photos, contents.schema_version
    )
}

/// Shows progress: a bar at a terminal, otherwise one line per part of the work.
struct Display {
    bar: Option<ProgressBar>,
}

impl Display {
    fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar }
    }

    fn show(&self, step: Progress) {
        let (template, done, total) = match step {
            Progress::Database { done, total } => (
                "{bar:40} {bytes} of {total_bytes} of the database",
                done,
                total,
            ),
            Progress::Photos { done, total: 0 } => ("{spinner} {pos} photos", done, 0),
            Progress::Photos { done, total } => ("{bar:40} {pos} of {len} photos", done, total),
        };
        if let Some(bar) = &self.bar {
            let style = ProgressStyle::with_template(template)
                .expect("the templates above are well-formed");
            bar.set_style(style);
            bar.set_length(total);
            bar.set_position(done);
        } else if done == total {
            match step {
                Progress::Database { .. } => eprintln!("database: {done} bytes"),
                Progress::Photos { .. } => eprintln!("photos: {done} files"),
            }
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
