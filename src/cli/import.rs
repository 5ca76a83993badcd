//! `import`: accounts of an export, or of the users of another system.
//!
//! Reads row by row and hands good rows to the store in transactions of bounded size. Each is read
//! before its transaction begins, so a running server never waits for our input.
//! `--one-transaction` and `--dry-run` need one transaction for everything; rows then go straight
//! from the file into it. Either way at most one batch is in memory.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use super::{CommandResult, cannot_write, describe, is_dash, printable, with_app};
use crate::accounts::import::rows::{Format, Rows};
use crate::accounts::import::{Mapping, drop_unknown_hash};
use crate::accounts::{self, read_imported_user, refused};
use crate::app::App;
use crate::config::Config;
use crate::domain::{FieldErrors, Fields, Timestamp, UserId};
use crate::store::{ImportRefusal, ImportSource, ImportedUser};

/// Longest reason that is printed whole, in characters.
const LONGEST_MESSAGE: usize = 300;

const LONG_HELP: &str = "\
Fields (JSON keys or CSV columns; only email is required): id, email, password, first_name, \
last_name, phone, gender, country, address, birthday, is_active, is_staff, is_verified (or \
email_verified), verified_at, last_login, language, external_id, created_at (or date_joined), updated_at, \
totp_secret (or totp_secret_hex), totp_created_at, totp_last_used_at, passkeys, passkey_user_handle, identities. Others are ignored with a \
warning. A file with a flag of another program (such as emailVerified or disabled) and none of ours \
is refused until --map says what the flag means.

password is a hash: of Django (pbkdf2_sha256$, pbkdf2_sha1$, bcrypt_sha256$, bcrypt$, argon2$, \
scrypt$, and !, which is none), bcrypt ($2a$, $2b$, $2y$), Argon2 ($argon2id$, ...), PBKDF2 \
($pbkdf2-sha256$, ..., and those of ASP.NET Identity), Firebase ($fbscrypt$), WordPress ($wp$, $P$), \
crypt ($5$, $6$), LDAP ({SSHA}, ...) or better-auth. Passwords keep working and are rehashed at the \
first sign-in. Without a hash the owner chooses a password by a password reset.

totp_secret is the secret of an authenticator app in base 32 or as an otpauth:// URL, \
totp_secret_hex in hexadecimal digits: people keep their app. passkeys is a list of JSON objects (in CSV as JSON \
text), passkey_user_handle what they know the account by, as export --with-secrets writes both; \
passkeys sign in at the domain that they were made for only. Recovery codes do not move.

identities is a list of JSON objects (in CSV as JSON text) with provider (an id of [[social.providers]]), \
issuer and subject, and optionally email, name, created_at and last_used_at: people keep signing in with \
Google and others. Only accounts with a confirmed address have identities.

is_verified and verified_at mean \"no\" when they are empty; an account with neither counts as \
verified. Timestamps without a zone are UTC. Ids are kept where they were never used here.

Each refused row is reported on standard error as \"line N: field: reason\". Exit status 0: every row \
was imported; 1: some were not.

Examples:
  accounts-server import users.jsonl --dry-run
  accounts-server import users.csv --map emailVerified=is_verified --map disabled='!is_active'";

#[derive(Args)]
#[command(after_long_help = LONG_HELP)]
pub(super) struct ImportArguments {
    /// File to import; `-` or nothing is standard input
    file: Option<PathBuf>,
    /// Format: one JSON object per line, as `export` writes it, or CSV with a header
    #[arg(long, value_enum, default_value_t = FormatChoice::Auto)]
    format: FormatChoice,
    /// Import a column or key THEIRS as the field OURS; `!OURS` is the opposite of a yes or no, and
    /// nothing ignores it
    #[arg(long, value_name = "THEIRS=OURS")]
    map: Vec<Mapping>,
    /// Import staff rights too; without this nobody in the file becomes staff
    #[arg(long)]
    staff_from_file: bool,
    /// What happens to an account whose password hash has an unknown form
    #[arg(long, value_enum, default_value_t = UnknownHash::Refuse)]
    unknown_hash: UnknownHash,
    /// Report what would happen and change nothing; a running server cannot write meanwhile
    #[arg(long)]
    dry_run: bool,
    /// Import N rows per transaction; refused rows do not stop the others
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch: u32,
    /// Do not notify webhooks; otherwise each account is an event `user.created`
    #[arg(long)]
    no_webhooks: bool,
    /// Import all rows or none; a running server cannot write meanwhile
    #[arg(long, conflicts_with = "batch")]
    one_transaction: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum UnknownHash {
    /// The row is refused
    Refuse,
    /// It is imported without a password; its owner chooses one by a password reset
    NoPassword,
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatChoice {
    /// By the extension of the file, or else its first character
    Auto,
    /// One JSON object per line
    Jsonl,
    /// CSV with a header
    Csv,
}

impl FormatChoice {
    fn format(self, file: Option<&Path>) -> Option<Format> {
        match self {
            Self::Jsonl => Some(Format::JsonLines),
            Self::Csv => Some(Format::Csv),
            Self::Auto => {
                let extension = file?.extension()?.to_str()?.to_ascii_lowercase();
                match extension.as_str() {
                    "jsonl" | "ndjson" | "json" => Some(Format::JsonLines),
                    "csv" => Some(Format::Csv),
                    _ => None,
                }
            }
        }
    }
}

/// How rows become transactions.
#[derive(Clone, Copy)]
enum Mode {
    Batches(u32),
    AllOrNothing,
    DryRun,
}

/// Smallest page cache of an import, in MiB: accounts come in any order of their addresses, so a
/// small cache writes and reads the same pages again and again.
const CACHE_MIB: u32 = 64;

pub(super) fn run(arguments: ImportArguments, mut config: Config) -> CommandResult {
    config.database.cache_mib = config.database.cache_mib.max(CACHE_MIB);
    let file = arguments.file.as_deref().filter(|file| !is_dash(file));
    let (input, size) = open(file)?;
    let progress = progress(size);
    let reader = BufReader::new(progress.wrap_read(input));
    let rows = Rows::open(reader, arguments.format.format(file), arguments.map)?;
    let mode = if arguments.dry_run {
        Mode::DryRun
    } else if arguments.one_transaction {
        Mode::AllOrNothing
    } else {
        Mode::Batches(arguments.batch)
    };
    with_app(config, async |app| {
        let mut import = Import {
            rows,
            now: app.clock.now(),
            takes_staff: arguments.staff_from_file,
            takes_unknown_hashes: arguments.unknown_hash == UnknownHash::NoPassword,
            notifies_webhooks: !arguments.no_webhooks,
            former_staff: 0,
            unknown_hashes: 0,
            with_factors: 0,
            foreign_passkeys: 0,
            rp_id: app.relying_party.id.clone(),
            progress,
            imported: 0,
            refused: 0,
            broken: None,
        };
        match mode {
            Mode::Batches(size) => import_batches(&app, &mut import, size).await?,
            Mode::AllOrNothing => {
                import = import_whole(&app, import, Import::is_sound).await?;
            }
            Mode::DryRun => import = import_whole(&app, import, |_| false).await?,
        }
        import.finish(mode)
    })
}

/// The file and its size, where that is known.
fn open(file: Option<&Path>) -> Result<(Box<dyn Read + Send>, Option<u64>), String> {
    let Some(path) = file else {
        return Ok((Box::new(io::stdin()), None));
    };
    let failed = |e: io::Error| format!("cannot read {}: {e}", path.display());
    let file = File::open(path).map_err(failed)?;
    let data = file.metadata().map_err(failed)?;
    if data.is_dir() {
        return Err(format!("cannot read {}: it is a directory", path.display()));
    }
    let size = data.is_file().then_some(data.len());
    Ok((Box::new(file), size))
}

/// A progress bar, if standard error is a terminal.
fn progress(size: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match size {
        Some(size) => (
            ProgressBar::new(size),
            "{bar:40} {bytes} of {total_bytes}, {eta} left",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{spinner} {bytes} read in {elapsed}",
        ),
    };
    bar.enable_steady_tick(Duration::from_millis(200));
    bar.with_style(
        ProgressStyle::with_template(template).expect("the templates above are well-formed"),
    )
}

type Input = BufReader<indicatif::ProgressBarIter<Box<dyn Read + Send>>>;

/// The state of an import.
struct Import {
    rows: Rows<Input>,
    now: Timestamp,
    /// Whether staff rights are imported.
    takes_staff: bool,
    /// Whether accounts with unknown hashes are imported without a password.
    takes_unknown_hashes: bool,
    /// Whether webhooks are notified of each account.
    notifies_webhooks: bool,
    /// Accounts that are staff in the file and not here.
    former_staff: u64,
    /// Accounts whose hashes were dropped.
    unknown_hashes: u64,
    /// Accounts with an authenticator app or passkeys.
    with_factors: u64,
    /// Passkeys that are bound to another domain.
    foreign_passkeys: usize,
    /// The domain of the site.
    rp_id: String,
    progress: ProgressBar,
    imported: u64,
    refused: u64,
    /// Why the rest of the file could not be read.
    broken: Option<String>,
}

impl Import {
    /// The next row: its line, and its account or the reasons for its refusal.
    fn next_row(&mut self) -> Option<(u64, Result<ImportedUser, Vec<String>>)> {
        // Rows after an unreadable place would be read wrongly.
        if self.broken.is_some() {
            return None;
        }
        match self.rows.next() {
            Ok(row) => row.map(|row| (row.line, self.read_user(row.fields))),
            Err(reason) => {
                self.broken = Some(reason);
                None
            }
        }
    }

    fn read_user(&mut self, fields: Result<Fields, String>) -> Result<ImportedUser, Vec<String>> {
        let mut fields = fields.map_err(|reason| vec![reason])?;
        if self.takes_unknown_hashes && drop_unknown_hash(&mut fields) {
            self.unknown_hashes += 1;
        }
        let mut user = read_imported_user(&fields, self.now).map_err(|e| complaints(&e))?;
        if user.is_staff && !self.takes_staff {
            user.is_staff = false;
            self.former_staff += 1;
        }
        self.with_factors += u64::from(user.totp.is_some() || user.passkeys.is_some());
        let passkeys = user.passkeys.iter().flat_map(|owned| &owned.passkeys);
        self.foreign_passkeys += passkeys
            .filter(|stored| stored.passkey.rp_id != self.rp_id)
            .count();
        Ok(user)
    }

    /// Records the outcome of a row.
    fn settle(&mut self, line: u64, outcome: Result<(), Vec<String>>) {
        match outcome {
            Ok(()) => self.imported += 1,
            Err(complaints) => {
                self.refused += 1;
                for complaint in complaints {
                    self.report(&format!("line {line}: {complaint}"));
                }
            }
        }
    }

    /// Prints a line on standard error, above the progress bar.
    fn report(&self, text: &str) {
        self.progress.suspend(|| {
            // A closed standard error is not a reason to stop.
            let _ = writeln!(io::stderr().lock(), "{}", printable(text));
        });
    }

    fn is_sound(&self) -> bool {
        self.refused == 0 && self.broken.is_none()
    }

    /// Prints the summary.
    fn finish(self, mode: Mode) -> CommandResult {
        self.progress.finish_and_clear();
        let unknown = self.rows.unknown();
        if !unknown.is_empty() {
            let names: Vec<_> = unknown.iter().map(|name| printable(name)).collect();
            log::warn!("these fields were ignored: {}", names.join(", "));
        }
        if self.former_staff > 0 {
            log::warn!(
                "{} accounts are staff in the file and not here; --staff-from-file imports the \
                 right too",
                self.former_staff
            );
        }
        if self.unknown_hashes > 0 {
            log::warn!(
                "{} accounts have a password hash of an unknown form and are without a password; \
                 their owners need a password reset",
                self.unknown_hashes
            );
        }
        if self.with_factors > 0 {
            log::warn!(
                "{} accounts keep their authenticator app or passkeys and are without recovery \
                 codes, which do not move; their owners can create some on the security page",
                self.with_factors
            );
        }
        if self.foreign_passkeys > 0 {
            log::warn!(
                "{} passkeys are of another domain than {} and do not sign in here; `check` says \
                 what to do",
                self.foreign_passkeys,
                self.rp_id
            );
        }
        let Self {
            imported, refused, ..
        } = self;
        let (summary, lost) = match mode {
            Mode::DryRun => (
                format!("would import {imported}, refuse {refused}"),
                String::new(),
            ),
            Mode::AllOrNothing if refused > 0 || self.broken.is_some() => (
                format!("imported 0, refused {refused}"),
                "; nothing was imported".to_owned(),
            ),
            Mode::AllOrNothing | Mode::Batches(_) => (
                format!("imported {imported}, refused {refused}"),
                String::new(),
            ),
        };
        writeln!(io::stdout(), "{summary}").map_err(cannot_write)?;
        match (self.broken, refused) {
            (Some(reason), _) => Err(format!("{reason}{lost}")),
            (None, 0) => Ok(()),
            (None, 1) => Err(format!("one row was refused, see its line above{lost}")),
            (None, refused) => Err(format!(
                "{refused} rows were refused, see their lines above{lost}"
            )),
        }
    }
}

/// The reasons for a refusal, by field. Long messages are cut, so a batch of them stays small.
fn complaints(errors: &FieldErrors) -> Vec<String> {
    errors
        .iter()
        .flat_map(|(field, messages)| {
            messages
                .iter()
                .map(move |message| format!("{field}: {}", shortened(message)))
        })
        .collect()
}

fn shortened(message: &str) -> Cow<'_, str> {
    match message.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => Cow::Owned(format!("{}…", &message[..end])),
        None => Cow::Borrowed(message),
    }
}

fn outcome_of(stored: Result<UserId, ImportRefusal>) -> Result<(), Vec<String>> {
    stored
        .map(drop)
        .map_err(|refusal| complaints(&refused(refusal)))
}

/// Imports in transactions of up to `size` rows.
async fn import_batches(app: &App, import: &mut Import, size: u32) -> CommandResult {
    // Asked once, so rows need not be in the order of their ids.
    let free_from = accounts::next_user_id(app).await.map_err(describe)?;
    loop {
        let mut users = Vec::new();
        let mut rows = Vec::new();
        while rows.len() < size as usize
            && let Some((line, row)) = import.next_row()
        {
            rows.push((line, row.map(|user| users.push(user))));
        }
        if rows.is_empty() {
            return Ok(());
        }
        let outcomes = Arc::default();
        let batch = Batch {
            users: users.into_iter(),
            outcomes: Arc::clone(&outcomes),
            notifies_webhooks: import.notifies_webhooks,
        };
        accounts::import_users(app, Box::new(batch), free_from)
            .await
            .map_err(|e| {
                import.progress.finish_and_clear();
                format!(
                    "{}\n{} accounts were imported before; import the same file again to go on: they \
                     are refused as existing",
                    describe(e),
                    import.imported
                )
            })?;
        // The outcomes of good rows come in the same order.
        let mut outcomes = std::mem::take(&mut *lock(&outcomes)).into_iter();
        for (line, row) in rows {
            let outcome = row.and_then(|()| {
                outcome_of(outcomes.next().expect("the store reports on every account"))
            });
            import.settle(line, outcome);
        }
    }
}

type Outcomes = Vec<Result<UserId, ImportRefusal>>;

/// Accounts that are read before their transaction.
struct Batch {
    users: std::vec::IntoIter<ImportedUser>,
    outcomes: Arc<Mutex<Outcomes>>,
    notifies_webhooks: bool,
}

impl ImportSource for Batch {
    fn next_user(&mut self) -> Option<ImportedUser> {
        self.users.next()
    }

    fn imported(&mut self, outcome: Result<UserId, ImportRefusal>) {
        lock(&self.outcomes).push(outcome);
    }

    fn notifies_webhooks(&self) -> bool {
        self.notifies_webhooks
    }

    fn keep(&mut self) -> bool {
        true
    }
}

/// Imports everything in one transaction, and decides at its end whether it is kept.
async fn import_whole(
    app: &App,
    import: Import,
    keep: fn(&Import) -> bool,
) -> Result<Import, String> {
    let free_from = accounts::next_user_id(app).await.map_err(describe)?;
    let back = Arc::default();
    let whole = Whole {
        import: Some(import),
        back: Arc::clone(&back),
        line: 0,
        keep,
    };
    accounts::import_users(app, Box::new(whole), free_from)
        .await
        .map_err(|e| format!("{}\nnothing was imported", describe(e)))?;
    let import = lock(&back).take();
    import.ok_or_else(|| "the import ended unexpectedly; nothing was imported".into())
}

/// Accounts that are read while their transaction runs.
struct Whole {
    import: Option<Import>,
    /// Receives `import` when this is dropped, for the summary.
    back: Arc<Mutex<Option<Import>>>,
    line: u64,
    keep: fn(&Import) -> bool,
}

impl ImportSource for Whole {
    fn next_user(&mut self) -> Option<ImportedUser> {
        let import = self.import.as_mut()?;
        loop {
            match import.next_row()? {
                (line, Ok(user)) => {
                    self.line = line;
                    return Some(user);
                }
                (line, Err(complaints)) => import.settle(line, Err(complaints)),
            }
        }
    }

    fn imported(&mut self, outcome: Result<UserId, ImportRefusal>) {
        if let Some(import) = &mut self.import {
            import.settle(self.line, outcome_of(outcome));
        }
    }

    fn notifies_webhooks(&self) -> bool {
        self.import
            .as_ref()
            .is_some_and(|import| import.notifies_webhooks)
    }

    fn keep(&mut self) -> bool {
        self.import.as_ref().is_some_and(self.keep)
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        *lock(&self.back) = self.import.take();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
