//! `check`: looks at everything that the server needs and says what is wrong and what is merely unwise.
//!
//! Nothing is changed by it: no database is made or migrated, no mail is sent.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::{CommandResult, cannot_write};
use crate::backup::schedule::Schedule;
use crate::backup::{Source, folder_of};
use crate::bootstrap::{open_composer, open_transport};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, MailTransportKind};
use crate::dev::development_warning;
use crate::domain::Timestamp;
use crate::observability::error_chain;
use crate::server::check_certificate;
use crate::store::sqlite::{Examination, NEWEST_SCHEMA, ServerLock, examine_database, free_bytes};

const HELP: &str = "\
Each line begins with `ok`, `unwise` (the server works, but somebody will be sorry) or `wrong` (something does not work). The \
mail server is connected to and nothing is sent; nothing is changed, also while the server runs.
Exit status: 0 when nothing is wrong, 1 otherwise.";

/// Least cost of bcrypt that is not called unwise.
const LEAST_COST: u32 = 10;

/// Less free space than this is unwise, or than a sixteenth of it wrong; a database with room for two copies has enough.
const ROOM: u64 = 256 * MIB;

const MIB: u64 = 1024 * 1024;

/// How far ahead of the clock a row may be.
const CLOCK_SLACK: Duration = Duration::from_mins(5);

/// A moment when this program was already written, 2026-01-01: a clock that shows an earlier one is wrong.
const WRITTEN_AT: Timestamp = Timestamp::from_unix_millis(1_767_225_600_000);

#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct CheckArguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Unwise,
    Wrong,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unwise => "unwise",
            Self::Wrong => "wrong",
        }
    }
}

/// What was found about one thing.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    level: Level,
    subject: &'static str,
    text: String,
}

/// What was found about everything.
#[derive(Default)]
struct Report {
    findings: Vec<Finding>,
}

impl Report {
    fn add(&mut self, level: Level, subject: &'static str, text: impl Into<String>) {
        self.findings.push(Finding {
            level,
            subject,
            text: text.into(),
        });
    }

    fn count(&self, level: Level) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.level == level)
            .count()
    }

    /// Adds `text` as `ok` unless something worse was said of the subject.
    fn add_ok_unless_worse(&mut self, subject: &'static str, text: impl Into<String>) {
        if !self
            .findings
            .iter()
            .any(|finding| finding.subject == subject)
        {
            self.add(Level::Ok, subject, text);
        }
    }
}

pub(super) fn run(arguments: CheckArguments, config: &Config) -> CommandResult {
    let now = SystemClock.now();
    let mut report = Report::default();
    settings(config, &mut report);
    certificate(config, now, &mut report);
    clock(None, now, &mut report);
    if let Some(source) = Source::of(config) {
        let listed = names_in(&source.photos);
        let examination = database(&source, &mut report);
        if let Some(examination) = &examination {
            clock(examination.newest_at, now, &mut report);
            keys(examination, &mut report);
        }
        let again = || examine_database(&source.database, source.busy_timeout).ok();
        media(
            &source.photos,
            &listed,
            examination.as_ref(),
            again,
            &mut report,
        );
        room(&source, &mut report);
        backups(config, now, &mut report);
    } else {
        report.add(
            Level::Unwise,
            "database",
            "it is in memory and ends with the server; name a file with [database] path",
        );
    }
    mail(config, &mut report);
    report.add_ok_unless_worse("clock", format!("it shows {now}"));
    print(&report, arguments.json).map_err(cannot_write)?;
    match report.count(Level::Wrong) {
        0 => Ok(()),
        1 => Err("something is wrong".into()),
        count => Err(format!("{count} things are wrong")),
    }
}

fn print(report: &Report, as_json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if as_json {
        let all = serde_json::json!({
            "ok": report.count(Level::Wrong) == 0,
            "findings": report.findings,
        });
        return writeln!(out, "{all}");
    }
    for finding in &report.findings {
        writeln!(
            out,
            "{:7} {}: {}",
            finding.level.word(),
            finding.subject,
            finding.text
        )?;
    }
    out.flush()
}

/// What the settings alone tell.
fn settings(config: &Config, report: &mut Report) {
    let server = &config.server;
    if config.dev {
        report.add(
            Level::Unwise,
            "settings",
            "--dev is for development: weak hashes, no rate limits, and an inbox that shows every code to this machine",
        );
    }
    if config.passwords.bcrypt_cost < LEAST_COST {
        report.add(
            Level::Unwise,
            "settings",
            format!(
                "[passwords] bcrypt_cost is {}: whoever steals the database guesses passwords fast; use 12",
                config.passwords.bcrypt_cost
            ),
        );
    }
    if !config.rate_limits.enabled {
        report.add(
            Level::Unwise,
            "settings",
            "[rate_limits] enabled is false: anybody may guess passwords as fast as the server hashes",
        );
    }
    report.add_ok_unless_worse("settings", "nothing stands out");

    let url = config.public_url(server.listen.port());
    let is_local = is_loopback_url(&url);
    if server.public_url.is_none() && server.listen.is_unspecified() {
        report.add(
            Level::Wrong,
            "public_url",
            format!("links begin with {url}, which nobody can reach; set [server] public_url"),
        );
    } else if !is_local && url.starts_with("http://") {
        report.add(
            Level::Unwise,
            "public_url",
            format!("{url} is not encrypted: everybody on the way can read passwords and tokens; use https"),
        );
    } else if is_local && config.mail_transport() == MailTransportKind::Smtp {
        report.add(
            Level::Unwise,
            "public_url",
            format!("mails go out to the world, and their links begin with {url}, which only this machine can reach"),
        );
    }
    report.add_ok_unless_worse("public_url", url.clone());
    let is_behind_proxy = url.starts_with("https://") && server.listen.is_loopback();
    if is_behind_proxy && server.trusted_proxies.is_empty() {
        report.add(
            Level::Unwise,
            "trusted_proxies",
            "a proxy seems to stand in front, and all its clients share one set of rate limits, because it is not named; set \
             [server] trusted_proxies to 127.0.0.1",
        );
    }
}

fn certificate(config: &Config, now: Timestamp, report: &mut Report) {
    match check_certificate(&config.tls, now) {
        Ok(true) => report.add(Level::Ok, "tls", format!("{} can be used", config.tls.cert)),
        Ok(false) => {}
        Err(e) => report.add(Level::Wrong, "tls", e),
    }
}

fn is_loopback_url(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or_default();
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => host,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

fn clock(newest: Option<Timestamp>, now: Timestamp, report: &mut Report) {
    if let Some(newest) = newest {
        if newest.since(now) > CLOCK_SLACK {
            report.add(
                Level::Wrong,
                "clock",
                format!("it shows {now}, and the database has a row of {newest}: the clock was or is wrong"),
            );
        }
    } else if now < WRITTEN_AT {
        report.add(
            Level::Wrong,
            "clock",
            format!(
                "it shows {now}; codes and tokens expire at the wrong time. Set it, best by NTP"
            ),
        );
    }
}

/// Looks at the file; gives what is in it, as far as that can be told.
fn database(source: &Source, report: &mut Report) -> Option<Examination> {
    let path = &source.database;
    let shown = path.display();
    if !path.exists() {
        match can_write_into(folder_of(path)) {
            Ok(()) => report.add(
                Level::Ok,
                "database",
                format!("there is no {shown} yet; the server makes it"),
            ),
            Err(e) => report.add(
                Level::Wrong,
                "database",
                format!("there is no {shown}, and it cannot be made: {e}"),
            ),
        }
        return None;
    }
    if let Err(e) = OpenOptions::new().write(true).open(path) {
        report.add(
            Level::Wrong,
            "database",
            format!("{shown} cannot be written: {e}. Run this as the user that the server runs as"),
        );
        return None;
    }
    if let Err(e) = can_write_into(folder_of(path)) {
        report.add(
            Level::Wrong,
            "database",
            format!("the folder of {shown} cannot be written, which SQLite needs for its log: {e}"),
        );
        return None;
    }
    permissions(path, report);
    let examination = match examine_database(path, source.busy_timeout) {
        Ok(examination) => examination,
        Err(e) => {
            report.add(Level::Wrong, "database", e.to_string());
            return None;
        }
    };
    if let Some(fault) = &examination.fault {
        report.add(
            Level::Wrong,
            "database",
            format!("{shown} is damaged ({fault}); stop the server and restore a backup"),
        );
        return Some(examination);
    }
    let held = match ServerLock::is_held(path) {
        true => "a server holds it",
        false => "no server holds it",
    };
    let version = examination.schema_version;
    let migration = match version < NEWEST_SCHEMA {
        true => format!(", to be migrated to {NEWEST_SCHEMA} at the next start"),
        false => String::new(),
    };
    report.add(
        Level::Ok,
        "database",
        format!(
            "{shown} is whole: schema version {version}{migration}, {} accounts, {} MiB; {held}",
            examination.accounts,
            examination.bytes.div_ceil(MIB)
        ),
    );
    if let Some(since) = examination.development_since {
        report.add(
            Level::Unwise,
            "database",
            format!("{shown}: {}", development_warning(since)),
        );
    }
    Some(examination)
}

fn permissions(path: &Path, report: &mut Report) {
    use std::os::unix::fs::PermissionsExt;
    if let Ok(data) = path.metadata()
        && data.permissions().mode() & 0o077 != 0
    {
        report.add(
            Level::Unwise,
            "permissions",
            format!(
                "{} can be read by other users of this machine; `chmod 600` it",
                path.display()
            ),
        );
    }
}

fn keys(examination: &Examination, report: &mut Report) {
    match examination.signing_keys {
        0 if examination.accounts > 0 => report.add(
            Level::Unwise,
            "keys",
            "there is none that signs tokens; the server makes one when it starts, and everybody has to sign in anew",
        ),
        0 => report.add(Level::Ok, "keys", "the server makes one when it starts"),
        1 => report.add(Level::Ok, "keys", "one key signs tokens"),
        count => report.add(Level::Ok, "keys", format!("{count} keys check tokens, the newest signs")),
    }
}

fn media(
    photos: &Path,
    listed: &[String],
    examination: Option<&Examination>,
    again: impl Fn() -> Option<Examination>,
    report: &mut Report,
) {
    let shown = photos.display();
    let named = examination.map_or(&[][..], |examination| &examination.photos);
    if !photos.exists() {
        if named.is_empty() {
            let text = format!("there are none yet; they will be in {shown}");
            report.add(Level::Ok, "photos", text);
        } else {
            let text = format!(
                "{} accounts have one, and there is no folder {shown}",
                named.len()
            );
            report.add(Level::Wrong, "photos", text);
        }
        return;
    }
    if let Err(e) = can_write_into(photos) {
        let text = format!("{shown} cannot be written: {e}");
        report.add(Level::Wrong, "photos", text);
        return;
    }
    let Some(examination) = examination else {
        return;
    };
    let mut missing: Vec<&String> = named
        .iter()
        .filter(|name| !photos.join(name).is_file())
        .collect();
    if !missing.is_empty()
        && let Some(now) = again()
    {
        // An account may have got another photo since its row was read.
        missing.retain(|name| now.photos.contains(name));
    }
    if let Some(first) = missing.first() {
        let text = format!(
            "{} of {} are missing in {shown}, such as {first}",
            missing.len(),
            named.len()
        );
        report.add(Level::Wrong, "photos", text);
    }
    let known: BTreeSet<&str> = named
        .iter()
        .chain(&examination.unused_photos)
        .map(String::as_str)
        .collect();
    // The files were listed before the rows were read, and each is noted before it is there; one that was removed in
    // between is there no more.
    let strays = listed
        .iter()
        .filter(|name| !known.contains(photo_in(name)) && photos.join(name).exists())
        .count();
    if strays > 0 {
        let text = format!("{strays} files in {shown} belong to no account");
        report.add(Level::Unwise, "photos", text);
    }
    report.add_ok_unless_worse("photos", format!("{} in {shown}", named.len()));
}

/// The name of the photo that a file is of, unfinished and put out of sight ones included.
fn photo_in(file: &str) -> &str {
    let name = file.strip_prefix('.').unwrap_or(file);
    name.strip_suffix(".part")
        .or_else(|| name.strip_suffix(".old"))
        .unwrap_or(name)
}

fn names_in(dir: &Path) -> Vec<String> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect()
}

fn room(source: &Source, report: &mut Report) {
    let size = source.database.metadata().map_or(0, |data| data.len());
    let wanted = ROOM.max(2 * size);
    let database = folder_of(&source.database);
    let mut folders = vec![database];
    if source.photos.exists() && disk_of(&source.photos) != disk_of(database) {
        folders.push(&source.photos);
    }
    for folder in folders {
        let Some(free) = free_bytes(folder) else {
            continue;
        };
        let level = match free {
            free if free < wanted / 16 => Level::Wrong,
            free if free < wanted => Level::Unwise,
            _ => continue,
        };
        let text = format!(
            "{} MiB are left on the disk of {}; {} MiB would be enough for a copy of the database and some time",
            free / MIB,
            folder.canonicalize().unwrap_or_default().display(),
            wanted.div_ceil(MIB)
        );
        report.add(level, "disk", text);
    }
    report.add_ok_unless_worse("disk", "there is room");
}

/// The disk that a folder is on, where it exists.
fn disk_of(folder: &Path) -> Option<u64> {
    folder.metadata().ok().map(|data| data.dev())
}

fn backups(config: &Config, now: Timestamp, report: &mut Report) {
    let Some(schedule) = Schedule::of(config) else {
        let text = "the server makes none; set [backup] dir, unless something else does";
        report.add(Level::Unwise, "backups", text);
        return;
    };
    let dir = &config.backup.dir;
    if Path::new(dir).exists()
        && let Err(e) = can_write_into(Path::new(dir))
    {
        report.add(
            Level::Wrong,
            "backups",
            format!("{dir} cannot be written: {e}"),
        );
        return;
    }
    match schedule.newest(now) {
        Ok(Some(newest)) if now.since(newest) > 2 * schedule.every() => {
            let text = format!("the newest in {dir} is of {newest}: look into the server's log");
            report.add(Level::Wrong, "backups", text);
        }
        Ok(Some(newest)) => {
            report.add(
                Level::Ok,
                "backups",
                format!("the newest in {dir} is of {newest}"),
            );
        }
        _ => {
            let text = format!("there is none in {dir} yet; the server makes one when it starts");
            report.add(Level::Ok, "backups", text);
        }
    }
}

fn mail(config: &Config, report: &mut Report) {
    let kind = config.mail_transport();
    let public_url = config.public_url(config.server.listen.port());
    if let Err(e) = open_composer(config, &public_url) {
        report.add(Level::Wrong, "mail", error_chain(&e));
    }
    let probed = open_transport(config)
        .map_err(|e| error_chain(&e))
        .and_then(|transport| transport.probe().map_err(|e| e.to_string()));
    if let Err(e) = probed {
        report.add(Level::Wrong, "mail", e);
    }
    if kind == MailTransportKind::Stdout && !config.dev {
        let text = "mails are printed and reach nobody; set [mail] smtp_url";
        report.add(Level::Unwise, "mail", text);
    }
    if kind == MailTransportKind::Smtp && config.mail.from.contains("@localhost") {
        let text = format!(
            "mails are from {}, which other mail servers refuse; set [mail] from",
            config.mail.from
        );
        report.add(Level::Unwise, "mail", text);
    }
    let ok = match kind {
        MailTransportKind::Smtp => "the mail server answers; try `mail test ADDRESS`",
        MailTransportKind::Stdout => "they are printed",
        MailTransportKind::Sendmail => "they go by the local sendmail; try `mail test ADDRESS`",
        MailTransportKind::File => "they are written into a folder",
    };
    report.add_ok_unless_worse("mail", ok);
}

/// Whether a file can be made in a folder; it is removed at once.
fn can_write_into(dir: &Path) -> std::io::Result<()> {
    tempfile::tempfile_in(dir).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_urls_are_known() {
        for url in [
            "http://localhost:8000",
            "http://127.0.0.1",
            "http://[::1]:8000/x",
            "https://app.localhost",
        ] {
            assert!(is_loopback_url(url), "{url}");
        }
        for url in [
            "https://a.example",
            "http://10.0.0.1:80",
            "http://localhost.example",
        ] {
            assert!(!is_loopback_url(url), "{url}");
        }
    }

    #[test]
    fn files_are_known_by_their_photo() {
        for file in ["a.jpg", ".a.jpg.part", ".a.jpg.old"] {
            assert_eq!(photo_in(file), "a.jpg");
        }
    }
}
