//! `check`: diagnoses the installation and reports errors and warnings.
//!
//! It changes nothing: no database is created or migrated, and no mail is sent.

mod data;
mod files;
mod settings;

use std::io::Write;
use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::{CommandResult, cannot_write, printable};
use crate::backup::DataFiles;
use crate::bootstrap::{
    examine_postgres, examine_schema, open_composer, open_transport, schema_version,
};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, MailTransportKind};
use crate::observability::error_chain;
use crate::store::SchemaState;
use crate::store::sqlite::{Examination, examine_database};

const HELP: &str = "\
Each line begins with `ok`, `warning` (the server works, but something is risky) or `error` \
(something does not work). \
The mail server is connected to, but nothing is sent; external identity providers are asked \
whether they know this server. Nothing is changed, so this is safe while \
the server runs.

Examples:
  accounts-server --config accounts.toml check
  accounts-server --config accounts.toml check --json | jq '.findings[] | select(.level != \"ok\")'

Exit status: 0 without errors, 1 otherwise.";

const MIB: u64 = 1024 * 1024;

#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct CheckArguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warning,
    Error,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One result about one subject.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    level: Level,
    subject: &'static str,
    text: String,
}

/// All findings, in the order of the checks.
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

    fn ok(&mut self, subject: &'static str, text: impl Into<String>) {
        self.add(Level::Ok, subject, text);
    }

    fn warning(&mut self, subject: &'static str, text: impl Into<String>) {
        self.add(Level::Warning, subject, text);
    }

    fn error(&mut self, subject: &'static str, text: impl Into<String>) {
        self.add(Level::Error, subject, text);
    }

    fn count(&self, level: Level) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.level == level)
            .count()
    }

    /// Adds `text` as `ok` if nothing was reported about the subject.
    fn ok_if_silent(&mut self, subject: &'static str, text: impl Into<String>) {
        if !self
            .findings
            .iter()
            .any(|finding| finding.subject == subject)
        {
            self.ok(subject, text);
        }
    }
}

pub(super) fn run(arguments: CheckArguments, config: &Config) -> CommandResult {
    let now = SystemClock.now();
    let mut report = Report::default();
    settings::check_settings(config, &mut report);
    settings::check_pages(config, &mut report);
    settings::check_webhooks(config, &mut report);
    settings::check_providers(config, &mut report);
    settings::check_clients(config, &mut report);
    settings::check_certificate(config, now, &mut report);
    data::check_clock(None, now, &mut report);
    if let Some(files) = DataFiles::of(config) {
        let listed = files::names_in(&files.photos);
        let examination = data::check_database(&files, now, &mut report);
        if let Some(examination) = &examination {
            data::check_clock(examination.newest_at, now, &mut report);
            data::check_staff(examination, config, &mut report);
            data::check_passkeys(examination, config, &mut report);
            data::check_keys(examination, &mut report);
            let has_clients = examination.oauth_clients > 0 || !config.clients.is_empty();
            settings::check_issuer(config, has_clients, &mut report);
            data::check_floods(config, examination, &mut report);
            check_mail_queue(examination, &mut report);
            check_troubled_webhooks(examination, &mut report);
        }
        let examine_again = || examine_database(&files.database, files.busy_timeout, now).ok();
        files::check_photos(
            &files.photos,
            &listed,
            examination.as_ref(),
            examine_again,
            &mut report,
        );
        files::check_disk(&files, &mut report);
        files::check_backups(config, now, &mut report);
    } else if config.is_postgres() {
        check_postgres(config, &mut report);
    } else {
        report.warning(
            "database",
            "it is in memory and is lost when the server stops; name a file with [database] path",
        );
    }
    check_mail(config, &mut report);
    report.ok_if_silent("clock", format!("it shows {now}"));
    print(&report, arguments.json).map_err(cannot_write)?;
    match report.count(Level::Error) {
        0 => Ok(()),
        1 => Err("1 error was found".into()),
        count => Err(format!("{count} errors were found")),
    }
}

/// Opens a PostgreSQL database as the server does, unless that would change it.
fn check_postgres(config: &Config, report: &mut Report) {
    if config.media.dir.is_some() {
        report.error(
            "photos",
            "[media] dir is a folder of this machine, which other servers do not have: with PostgreSQL \
             photos are kept in the database; leave the setting out",
        );
    }
    let database = config.shown_database();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(e) => return report.error("database", format!("cannot start: {e}")),
    };
    // A database that the next start changes is left as it is.
    let known = schema_version(config);
    let schema = match runtime.block_on(examine_schema(config)) {
        Ok(SchemaState::Missing) => {
            return report.ok(
                "database",
                format!("{database} is empty; the first start creates its tables"),
            );
        }
        Ok(SchemaState::Older(version)) => {
            let text = format!(
                "{database} has schema version {version}; the next start migrates it to {known}"
            );
            return report.ok("database", text);
        }
        Ok(SchemaState::Newer(version)) => {
            format!("schema version {version}, with which this program works")
        }
        Ok(SchemaState::Current) => format!("schema version {known}"),
        Err(e) => return report.error("database", error_chain(&e)),
    };
    match runtime.block_on(examine_postgres(config)) {
        Ok(offset) if offset.abs() > CLOCK_TOLERANCE => report.error(
            "clock",
            format!(
                "the clock of {database} is {offset} ms ahead of this machine's; set both by NTP"
            ),
        ),
        Ok(_) => report.ok("database", format!("{database} takes writes: {schema}")),
        Err(e) => report.error("database", error_chain(&e)),
    }
}

/// Difference of the clocks that is reported, in milliseconds.
const CLOCK_TOLERANCE: i64 = 2_000;

fn print(report: &Report, as_json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if as_json {
        let all = serde_json::json!({
            "ok": report.count(Level::Error) == 0,
            "findings": report.findings,
        });
        return writeln!(out, "{all}");
    }
    for finding in &report.findings {
        writeln!(
            out,
            "{:7} {}: {}",
            finding.level.as_str(),
            finding.subject,
            finding.text
        )?;
    }
    out.flush()
}

fn check_mail(config: &Config, report: &mut Report) {
    let kind = config.mail_transport();
    let public_url = config.public_url(config.server.listen.port());
    let sender = match open_composer(config, &public_url) {
        Ok(composer) => Some(composer.sender()),
        Err(e) => {
            report.error("mail", error_chain(&e));
            None
        }
    };
    let probed = open_transport(config, &public_url)
        .map_err(|e| error_chain(&e))
        .and_then(|transport| {
            match &sender {
                Some(sender) => transport.probe_sender(sender),
                None => transport.probe(),
            }
            .map_err(|e| e.to_string())
        });
    if let Err(e) = probed {
        report.error("mail", e);
    }
    if kind == MailTransportKind::Stdout && !config.dev {
        let text = "emails are printed and reach nobody; set [mail] smtp_url";
        report.warning("mail", text);
    }
    if kind == MailTransportKind::Smtp && config.mail.from.contains("@localhost") {
        let text = format!(
            "emails are sent from {}, which other mail servers reject; set [mail] from",
            config.mail.from
        );
        report.warning("mail", text);
    }
    let ok = match kind {
        MailTransportKind::Smtp => "the mail server answers; try `mail test ADDRESS`",
        MailTransportKind::Stdout => "emails are printed on standard output",
        MailTransportKind::Sendmail => {
            "emails go through the local sendmail; try `mail test ADDRESS`"
        }
        MailTransportKind::File => "emails are written to a folder",
    };
    report.ok_if_silent("mail", ok);
}

/// Reports mails that the server could not deliver.
fn check_mail_queue(examination: &Examination, report: &mut Report) {
    let failing = &examination.failing_mails;
    if let Some(oldest) = failing.oldest_at {
        let reason = match failing.problem.as_str() {
            "" => "the log of the server says why".to_owned(),
            problem => format!("the last attempt failed because: {}", printable(problem)),
        };
        let text = format!(
            "{} emails could not be delivered yet, the oldest is from {oldest}; {reason}. `mail list` \
             shows them",
            failing.count
        );
        report.warning("mail", text);
    }
}

/// Reports webhooks that do not get their events.
fn check_troubled_webhooks(examination: &Examination, report: &mut Report) {
    let troubled = examination.troubled_webhooks;
    for (count, what) in [
        (troubled.failing, "fails at every attempt"),
        (troubled.disabled, "was disabled by the server"),
    ] {
        if count > 0 {
            let text = format!("{count}, each of which {what}; `webhook list` shows them");
            report.warning("webhooks", text);
        }
    }
}

/// Whether a file can be created in a folder. The file is removed at once.
fn check_writable(dir: &Path) -> std::io::Result<()> {
    tempfile::tempfile_in(dir).map(drop)
}
