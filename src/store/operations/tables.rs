//! All rows of a database: the order of the tables, and reading and writing their rows as they are.

use super::connection::{Connection, Row, Value};
use crate::store::StoreResult;

/// All tables that are the same in every engine, each after those that it refers to.
///
/// What an engine derives from them, such as counts and search records, is not here.
pub(in crate::store) const TABLES: &[&str] = &[
    "users",
    "unused_photos",
    "sign_ups",
    "otps",
    "otp_tokens",
    "otp_network_tries",
    "otp_failures",
    "password_failures",
    "known_networks",
    "decoys",
    "otp_mails",
    "email_undos",
    "invitations",
    "invitation_tokens",
    "webhooks",
    "deliveries",
    "oauth_clients",
    "sessions",
    "refresh_tokens",
    "signing_keys",
    "secrets",
    "events",
    "failure_counts",
    "daily_counts",
    "setup_links",
    "marks",
    "totp_devices",
    "recovery_codes",
    "factor_tickets",
    "factor_failures",
    "passkeys",
    "passkey_handles",
    "passkey_challenges",
    "oauth_grants",
    "authorization_requests",
    "authorization_codes",
    "identities",
    "provider_requests",
    "identity_tickets",
    "used_id_tokens",
];

/// The order in which rows are written: those of a table that others of it refer to come first.
fn order(table: &str) -> &'static str {
    match table {
        "sessions" => "ORDER BY parent_id IS NOT NULL",
        _ => "",
    }
}

/// Hands each row of a table to `each`.
///
/// # Errors
/// When the database fails, or `each` does.
pub(in crate::store) fn read_rows(
    connection: &dyn Connection,
    table: &str,
    columns: &str,
    each: &mut dyn FnMut(&Row<'_>) -> StoreResult<()>,
) -> StoreResult<()> {
    let sql = format!("SELECT {columns} FROM {table} {}", order(table));
    connection.query(&sql, &[], &mut |row| each(row).map(|()| true))
}

/// The statement that writes a row, with the parameters `:c0`, `:c1`, …
pub(in crate::store) fn insertion(table: &str, columns: &[String]) -> String {
    let values: Vec<String> = (0..columns.len()).map(|n| format!(":c{n}")).collect();
    format!(
        "INSERT INTO {table} ({}) VALUES ({})",
        columns.join(", "),
        values.join(", ")
    )
}

/// Writes a row by the statement of [`insertion`].
///
/// # Errors
/// When the database refuses it.
pub(in crate::store) fn write_row(
    connection: &dyn Connection,
    insertion: &str,
    row: &[Value<'_>],
) -> StoreResult<()> {
    let names: Vec<String> = (0..row.len()).map(|n| format!(":c{n}")).collect();
    let params: Vec<_> = names
        .iter()
        .map(String::as_str)
        .zip(row.iter().cloned())
        .collect();
    connection.run(insertion, &params)
}
