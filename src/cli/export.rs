//! `export`: all accounts, one JSON object a line; and the form in which the command line shows an account to scripts.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use tempfile::NamedTempFile;

use super::{
    CommandResult, PAGE_SIZE, cannot_write, describe, is_dash, require_database, with_app,
};
use crate::accounts;
use crate::app::App;
use crate::config::Config;
use crate::domain::{BirthDate, EventKind, Timestamp, User, UserId};
use crate::store::StoredUser;

#[derive(Args)]
pub(super) struct ExportArguments {
    /// Where to; `-` or nothing is standard output. A file appears under its name once it is complete, readable for its
    /// owner alone
    file: Option<PathBuf>,
    /// Export the password hashes, too: `import` then takes the accounts over with their passwords
    #[arg(long)]
    with_password_hashes: bool,
}

/// An account as scripts get it; the keys are those that `import` reads.
#[derive(Serialize)]
pub(crate) struct UserRecord<'a> {
    id: UserId,
    /// The last confirmed address.
    email: &'a str,
    /// An address that waits for its code; not a part of an export, because nothing of it could be imported.
    #[serde(skip_serializing_if = "Option::is_none")]
    new_email: Option<Option<&'a str>>,
    first_name: &'a str,
    last_name: &'a str,
    phone: &'a str,
    address: &'a str,
    gender: &'a str,
    country: &'a str,
    birthday: Option<BirthDate>,
    is_active: bool,
    is_staff: bool,
    verified_at: Option<Timestamp>,
    last_login: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
    #[serde(skip_serializing_if = "str::is_empty")]
    language: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
}

impl<'a> UserRecord<'a> {
    fn new(user: &'a User) -> Self {
        let profile = &user.profile;
        Self {
            id: user.id,
            email: &user.email,
            new_email: None,
            first_name: &profile.first_name,
            last_name: &profile.last_name,
            phone: &profile.phone,
            address: &profile.address,
            gender: &profile.gender,
            country: &profile.country,
            birthday: profile.birthday,
            is_active: user.is_active,
            is_staff: user.is_staff,
            verified_at: user.verified_at,
            last_login: user.last_login_at,
            created_at: user.created_at,
            updated_at: user.updated_at,
            language: "",
            password: None,
        }
    }

    /// The record in an export.
    pub(crate) fn exported(stored: &'a StoredUser, with_hashes: bool) -> Self {
        Self {
            language: &stored.language,
            password: with_hashes.then_some(&stored.password_hash),
            ..Self::new(&stored.user)
        }
    }

    /// As `user list` and `user show` give it.
    pub(super) fn shown(user: &'a User) -> Self {
        Self {
            new_email: Some(user.new_email.as_deref()),
            ..Self::new(user)
        }
    }

    /// Writes it as one line.
    pub(crate) fn write_line(&self, out: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        out.write_all(b"\n")
    }
}

pub(super) fn run(arguments: ExportArguments, config: Config) -> CommandResult {
    let config = require_database(config)?;
    let with_hashes = arguments.with_password_hashes;
    let file = arguments.file.filter(|file| !is_dash(file));
    let target = file
        .as_deref()
        .map(|file| Target::open(file, &config.database.path))
        .transpose()?;
    with_app(config, async |app| match target {
        None => write_all(&app, io::stdout(), with_hashes).await,
        Some(Target::Special(file)) => write_all(&app, file, with_hashes).await,
        Some(Target::Regular { mut file, path }) => {
            write_all(&app, file.as_file_mut(), with_hashes).await?;
            file.as_file().sync_all().map_err(cannot_write)?;
            file.persist(&path)
                .map_err(|e| format!("cannot write {}: {}", path.display(), e.error))?;
            Ok(())
        }
    })
}

/// Where an export goes if not to standard output.
enum Target {
    /// A file, under a temporary name until it is complete. Nobody but its owner can read it.
    Regular { file: NamedTempFile, path: PathBuf },
    /// Something that is no file, such as a pipe or a device: it is written to and not replaced.
    Special(File),
}

impl Target {
    fn open(path: &Path, database: &str) -> Result<Self, String> {
        let failed = |e: io::Error| format!("cannot write {}: {e}", path.display());
        let found = fs::canonicalize(path).ok();
        if found.is_some() && found == fs::canonicalize(database).ok() {
            return Err(format!(
                "{} is the database itself; nothing was exported",
                path.display()
            ));
        }
        if path.metadata().is_ok_and(|data| !data.is_file()) {
            let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
            return Ok(Self::Special(file));
        }
        // A link stays one; what it points to is replaced.
        let path = found.unwrap_or_else(|| path.to_path_buf());
        let folder = path
            .parent()
            .filter(|folder| *folder != OsStr::new(""))
            .unwrap_or(Path::new("."));
        let file = NamedTempFile::new_in(folder).map_err(failed)?;
        Ok(Self::Regular { file, path })
    }
}

/// Writes all accounts in the order of their numbers, a bounded number of them in memory at a time.
async fn write_all(app: &App, out: impl Write, with_hashes: bool) -> CommandResult {
    // Before anything is written: whoever interrupts the export has seen something already.
    let detail = if with_hashes {
        "with password hashes"
    } else {
        ""
    };
    accounts::record_command(app, EventKind::UsersExported, detail)
        .await
        .map_err(describe)?;
    let mut out = BufWriter::new(out);
    let mut after = 0;
    loop {
        let users = accounts::list_users_after(app, after, PAGE_SIZE)
            .await
            .map_err(describe)?;
        let Some(last) = users.last() else { break };
        after = last.user.id;
        for stored in &users {
            UserRecord::exported(stored, with_hashes)
                .write_line(&mut out)
                .map_err(cannot_write)?;
        }
    }
    out.flush().map_err(cannot_write)
}
