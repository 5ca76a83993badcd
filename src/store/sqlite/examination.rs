//! Read-only diagnosis of a database that may be in use.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, named_params};

use super::file::{self, OpenError};
use crate::domain::Timestamp;
use crate::store::operations::development::DEVELOPMENT_MARK;
use crate::store::operations::overview::FAILING_TRIES;

/// Queued mails whose delivery failed several times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailingMails {
    /// Number of such mails.
    pub count: u64,
    /// When the oldest was queued.
    pub oldest_at: Option<Timestamp>,
    /// Why the latest attempt failed; empty where that is not known.
    pub problem: String,
}

/// What is counted over all networks, within the last hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HourlyCounts {
    /// Mails to addresses without an account: of sign-ups and address changes.
    pub new_address_mails: u64,
    /// Wrong one-time passwords.
    pub wrong_codes: u64,
}

/// The result of examining a database in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examination {
    /// Version of its schema.
    pub schema_version: i32,
    /// The damage that SQLite reports.
    pub fault: Option<String>,
    /// Size of the file in bytes, without the log.
    pub bytes: u64,
    /// Number of accounts.
    pub accounts: u64,
    /// Number of active staff accounts.
    pub staff: u64,
    /// How many of them have no second factor.
    pub staff_without_factor: u64,
    /// The domains that passkeys are bound to, each with their number, sorted.
    pub passkey_domains: Vec<(String, u64)>,
    /// Names of the photos of the accounts, sorted.
    pub photos: Vec<String>,
    /// Names of the photos that no account has and whose files may still exist.
    pub unused_photos: Vec<String>,
    /// Number of keys that sign tokens of the account API.
    pub signing_keys: u64,
    /// Time of the latest activity of any account, as far as the rows show.
    pub newest_at: Option<Timestamp>,
    /// Since when the database is marked as used in development mode.
    pub development_since: Option<Timestamp>,
    /// Mails whose delivery failed several times.
    pub failing_mails: FailingMails,
    /// Webhooks that do not get their events.
    pub troubled_webhooks: TroubledWebhooks,
    /// Number of OAuth clients.
    pub oauth_clients: u64,
    /// What is counted over all networks.
    pub last_hour: HourlyCounts,
}

/// Webhooks that do not get their events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TroubledWebhooks {
    /// Those at which every attempt fails.
    pub failing: u64,
    /// Those that the server has disabled.
    pub disabled: u64,
}

/// Examines a database, which is neither created nor migrated.
///
/// # Errors
/// When it cannot be read, belongs to another program, or has a newer schema.
pub fn examine_database(
    path: &Path,
    busy_timeout: Duration,
    now: Timestamp,
) -> Result<Examination, OpenError> {
    file::refuse_unfinished_restore(path)?;
    file::inspect(path)?;
    let failed = |e: rusqlite::Error| OpenError(format!("cannot read {}: {e}", path.display()));
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(busy_timeout).map_err(failed)?;
    connection
        .execute_batch("PRAGMA query_only = ON; BEGIN;")
        .map_err(failed)?;
    let (id, schema_version) = file::identity(&connection).map_err(failed)?;
    file::check_identity(path, id, schema_version)?;
    let bytes: i64 = connection
        .query_row(
            "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
            [],
            |row| row.get(0),
        )
        .map_err(failed)?;
    examine(&connection, schema_version, bytes.unsigned_abs(), now).or_else(|e| {
        // An unreadable page is damage, too.
        let damaged = e.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt);
        match damaged {
            true => Ok(Examination {
                schema_version,
                fault: Some(e.to_string()),
                bytes: bytes.unsigned_abs(),
                accounts: 0,
                staff: 0,
                staff_without_factor: 0,
                passkey_domains: Vec::new(),
                photos: Vec::new(),
                unused_photos: Vec::new(),
                signing_keys: 0,
                newest_at: None,
                development_since: None,
                failing_mails: FailingMails::default(),
                troubled_webhooks: TroubledWebhooks::default(),
                oauth_clients: 0,
                last_hour: HourlyCounts::default(),
            }),
            false => Err(failed(e)),
        }
    })
}

fn examine(
    connection: &Connection,
    schema_version: i32,
    bytes: u64,
    now: Timestamp,
) -> rusqlite::Result<Examination> {
    let fault: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    let count = |query: &str| -> rusqlite::Result<u64> {
        connection.query_row(query, [], |row| row.get::<_, i64>(0).map(i64::unsigned_abs))
    };
    let names = |query: &str| -> rusqlite::Result<Vec<String>> {
        connection
            .prepare(query)?
            .query_map([], |row| row.get(0))?
            .collect()
    };
    let newest: Option<i64> = connection.query_row(
        "SELECT max(at) FROM (SELECT max(updated_at) AS at FROM users \
         UNION ALL SELECT max(last_used_at) FROM sessions)",
        [],
        |row| row.get(0),
    )?;
    // The table exists since version 2.
    let unused_photos = match schema_version {
        1 => Vec::new(),
        _ => names("SELECT name FROM unused_photos")?,
    };
    // The marks exist since version 8.
    let development_since: Option<i64> = match schema_version {
        ..8 => None,
        _ => connection.query_row(
            "SELECT max(noted_at) FROM marks WHERE name = :name",
            named_params! { ":name": DEVELOPMENT_MARK },
            |row| row.get(0),
        )?,
    };
    Ok(Examination {
        schema_version,
        fault: Some(fault).filter(|fault| fault != "ok"),
        bytes,
        accounts: count("SELECT count(*) FROM users")?,
        staff: count("SELECT count(*) FROM users WHERE is_staff AND is_active")?,
        // Factors exist since version 10.
        staff_without_factor: match schema_version {
            ..10 => 0,
            _ => count(
                "SELECT count(*) FROM users WHERE is_staff AND is_active AND NOT EXISTS \
                 (SELECT 1 FROM totp_devices WHERE user_id = users.id) AND NOT EXISTS \
                 (SELECT 1 FROM passkeys WHERE user_id = users.id)",
            )?,
        },
        passkey_domains: passkey_domains(connection, schema_version)?,
        photos: names("SELECT photo FROM users WHERE photo IS NOT NULL ORDER BY photo")?,
        unused_photos,
        // There are keys and clients of OAuth since version 10.
        signing_keys: count(match schema_version {
            ..10 => "SELECT count(*) FROM signing_keys WHERE retired_at IS NULL",
            _ => {
                "SELECT count(*) FROM signing_keys WHERE retired_at IS NULL AND is_for_clients = 0"
            }
        })?,
        oauth_clients: match schema_version {
            ..10 => 0,
            _ => count("SELECT count(*) FROM oauth_clients")?,
        },
        newest_at: newest.map(Timestamp::from_unix_millis),
        development_since: development_since.map(Timestamp::from_unix_millis),
        failing_mails: failing_mails(connection, schema_version)?,
        troubled_webhooks: troubled_webhooks(connection, schema_version)?,
        last_hour: hourly_counts(connection, schema_version, now)?,
    })
}

fn passkey_domains(
    connection: &Connection,
    schema_version: i32,
) -> rusqlite::Result<Vec<(String, u64)>> {
    // Passkeys exist since version 10.
    if schema_version < 10 {
        return Ok(Vec::new());
    }
    connection
        .prepare("SELECT rp_id, count(*) FROM passkeys GROUP BY rp_id ORDER BY rp_id")?
        .query_map([], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
        })?
        .collect()
}

fn hourly_counts(
    connection: &Connection,
    schema_version: i32,
    now: Timestamp,
) -> rusqlite::Result<HourlyCounts> {
    // The tables have their columns since version 9.
    if schema_version < 9 {
        return Ok(HourlyCounts::default());
    }
    let hour_ago = now.minus(Duration::from_hours(1)).unix_millis();
    let count = |query: &str| {
        connection.query_row(query, named_params! { ":hour_ago": hour_ago }, |row| {
            row.get::<_, i64>(0).map(i64::unsigned_abs)
        })
    };
    Ok(HourlyCounts {
        new_address_mails: count(
            "SELECT count(*) FROM otp_mails WHERE sent_at > :hour_ago \
             AND purpose IN ('sign_up', 'email_change')",
        )?,
        wrong_codes: count("SELECT count(*) FROM otp_failures WHERE failed_at > :hour_ago")?,
    })
}

fn troubled_webhooks(
    connection: &Connection,
    schema_version: i32,
) -> rusqlite::Result<TroubledWebhooks> {
    // There are webhooks since version 10.
    if schema_version < 10 {
        return Ok(TroubledWebhooks::default());
    }
    connection.query_row(
        "SELECT count(*) FILTER (WHERE disabled_at IS NULL AND failing_since IS NOT NULL), \
         count(*) FILTER (WHERE disabled_reason IN ('gone', 'failing')) FROM webhooks",
        [],
        |row| {
            let number = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
            Ok(TroubledWebhooks {
                failing: number(0)?,
                disabled: number(1)?,
            })
        },
    )
}

fn failing_mails(connection: &Connection, schema_version: i32) -> rusqlite::Result<FailingMails> {
    // The queue exists since version 3, the reasons since version 10.
    let (queue, condition, problem) = match schema_version {
        ..3 => return Ok(FailingMails::default()),
        3..10 => ("mails", "TRUE", "''"),
        _ => (
            "deliveries",
            "webhook_id IS NULL AND closed_at IS NULL",
            "coalesce((SELECT problem FROM deliveries WHERE webhook_id IS NULL \
             AND closed_at IS NULL AND tries >= :tries ORDER BY last_try_at DESC LIMIT 1), '')",
        ),
    };
    connection.query_row(
        &format!(
            "SELECT count(*), min(created_at), {problem} FROM {queue} \
             WHERE tries >= :tries AND {condition}"
        ),
        named_params! { ":tries": FAILING_TRIES },
        |row| {
            let oldest: Option<i64> = row.get(1)?;
            Ok(FailingMails {
                count: row.get::<_, i64>(0)?.unsigned_abs(),
                oldest_at: oldest.map(Timestamp::from_unix_millis),
                problem: row.get(2)?,
            })
        },
    )
}
