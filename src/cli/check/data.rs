//! Checks of the database, its signing keys and the clock.

use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use super::{MIB, Report, check_writable, printable};
use crate::backup::{DataFiles, folder_of};
use crate::config::Config;
use crate::dev::development_warning;
use crate::domain::Timestamp;
use crate::store::sqlite::{Examination, NEWEST_SCHEMA, ServerLock, examine_database};

/// How far ahead of the clock a row may be.
const CLOCK_TOLERANCE: Duration = Duration::from_mins(5);

/// A time in the past of every working clock, 2026-01-01.
const MIN_TIME: Timestamp = Timestamp::from_unix_millis(1_767_225_600_000);

/// Compares the clock with the newest row, or with the age of this program.
pub(super) fn check_clock(newest: Option<Timestamp>, now: Timestamp, report: &mut Report) {
    if let Some(newest) = newest {
        if newest.since(now) > CLOCK_TOLERANCE {
            report.error(
                "clock",
                format!(
                    "it shows {now}, but the database has a row from {newest}: the clock is or \
                     was wrong"
                ),
            );
        }
    } else if now < MIN_TIME {
        report.error(
            "clock",
            format!("it shows {now}, so codes and tokens expire at the wrong time; use NTP"),
        );
    }
}

/// Checks the database file and returns what was read from it, if it could be read.
pub(super) fn check_database(
    files: &DataFiles,
    now: Timestamp,
    report: &mut Report,
) -> Option<Examination> {
    let path = &files.database;
    let shown = path.display();
    if !path.exists() {
        match check_writable(folder_of(path)) {
            Ok(()) => report.ok(
                "database",
                format!("{shown} does not exist yet; the server creates it"),
            ),
            Err(e) => report.error(
                "database",
                format!("{shown} does not exist and cannot be created: {e}"),
            ),
        }
        return None;
    }
    if let Err(e) = OpenOptions::new().write(true).open(path) {
        let text = format!("{shown} is not writable: {e}. Run this as the user of the server");
        report.error("database", text);
        return None;
    }
    if let Err(e) = check_writable(folder_of(path)) {
        report.error(
            "database",
            format!("the folder of {shown} is not writable, but SQLite creates its log there: {e}"),
        );
        return None;
    }
    check_permissions(path, report);
    let examination = match examine_database(path, files.busy_timeout, now) {
        Ok(examination) => examination,
        Err(e) => {
            report.error("database", e.to_string());
            return None;
        }
    };
    if let Some(fault) = &examination.fault {
        report.error(
            "database",
            format!("{shown} is damaged ({fault}); stop the server and restore a backup"),
        );
        return Some(examination);
    }
    let lock = match ServerLock::is_held(path) {
        true => "in use by a server",
        false => "not in use by a server",
    };
    let version = examination.schema_version;
    let migration = match version < NEWEST_SCHEMA {
        true => format!(" (the next start migrates it to {NEWEST_SCHEMA})"),
        false => String::new(),
    };
    report.ok(
        "database",
        format!(
            "{shown} is intact: schema version {version}{migration}, {} accounts, {} MiB, {lock}",
            examination.accounts,
            examination.bytes.div_ceil(MIB)
        ),
    );
    if let Some(since) = examination.development_since {
        report.warning(
            "database",
            format!("{shown}: {}", development_warning(since)),
        );
    }
    Some(examination)
}

fn check_permissions(path: &Path, report: &mut Report) {
    use std::os::unix::fs::PermissionsExt;
    if let Ok(data) = path.metadata()
        && data.permissions().mode() & 0o077 != 0
    {
        let text = format!(
            "other users of this machine can read {}; run `chmod 600` on it",
            path.display()
        );
        report.warning("permissions", text);
    }
}

/// Checks that somebody can administrate the server in the browser, where it has a console, and
/// that staff has second factors.
pub(super) fn check_staff(examination: &Examination, config: &Config, report: &mut Report) {
    let staff = examination.staff;
    if staff == 0 && config.console.enabled && config.pages.enabled {
        report.warning(
            "staff",
            "there is no staff account, so nobody can use the console; open the setup link that \
             the server prints when it starts, or run `user create EMAIL --staff`",
        );
    }
    if staff == 0 {
        return;
    }
    let accounts = match staff {
        1 => "one staff account".to_owned(),
        count => format!("{count} staff accounts"),
    };
    match examination.staff_without_factor {
        0 => report.ok("staff", format!("{accounts}, with second factors")),
        without => {
            let lack = match without == staff {
                true => "without a second factor".to_owned(),
                false => format!("{without} of them without a second factor"),
            };
            let text = format!(
                "{accounts}, {lack}; set one up on /account/security/, and [mfa] required_for to \
                 \"staff\""
            );
            report.warning("staff", text);
        }
    }
}

/// Reports passkeys that do not sign in, because they are bound to another domain than today's.
pub(super) fn check_passkeys(examination: &Examination, config: &Config, report: &mut Report) {
    let public_url = config.public_url(config.server.listen.port());
    let rp_id = config.passkey_rp_id(&public_url);
    for (domain, count) in &examination.passkey_domains {
        if *domain == rp_id {
            continue;
        }
        let passkeys = match count {
            1 => "1 passkey is".to_owned(),
            count => format!("{count} passkeys are"),
        };
        let domain = printable(domain);
        let text = format!(
            "{passkeys} bound to {domain} and cannot sign in at {rp_id}: set [passkeys] rp_id to \
             {domain} if the pages are still there or below it; else their owners have to sign in \
             otherwise and add new ones on /account/security/"
        );
        report.warning("passkeys", text);
    }
}

/// Reports floods from many networks, for which the allowance of each network shrinks.
pub(super) fn check_floods(config: &Config, examination: &Examination, report: &mut Report) {
    let limits = &config.rate_limits;
    if !limits.enabled {
        return;
    }
    let counts = examination.last_hour;
    for (count, ceiling, what, setting) in [
        (
            counts.new_address_mails,
            limits.new_address_mails_an_hour,
            "mails to addresses without an account were sent",
            "new_address_mails_an_hour",
        ),
        (
            counts.wrong_codes,
            limits.wrong_codes_an_hour,
            "wrong one-time passwords were entered",
            "wrong_codes_an_hour",
        ),
    ] {
        if ceiling > 0 && count > u64::from(ceiling) {
            report.warning(
                "rate_limits",
                format!(
                    "{count} {what} within the last hour, so each network is allowed less; if these \
                     are your users, raise [rate_limits] {setting} ({ceiling})"
                ),
            );
        }
    }
}

/// Checks that a key signs tokens.
pub(super) fn check_keys(examination: &Examination, report: &mut Report) {
    match examination.signing_keys {
        0 if examination.accounts > 0 => report.warning(
            "keys",
            "there is no signing key; the server creates one when it starts, and all users sign \
             in again",
        ),
        0 => report.ok("keys", "the server creates a signing key when it starts"),
        1 => report.ok("keys", "one key signs tokens"),
        count => report.ok(
            "keys",
            format!("{count} keys verify tokens, and the newest signs them"),
        ),
    }
}
