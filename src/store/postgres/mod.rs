//! The store on PostgreSQL, for several servers over one database.
//!
//! ```text
//! url        the URL of a database         client     a connection: prepared, pipelined statements
//! servers    which server is the primary   statement  named parameters become numbered ones
//! worker     threads for operations        values     types of values
//! sessions   look-ups of sessions          tls        encryption
//! link       a thread's connection         search     the searched texts
//! list       the user list                 filter     which accounts it shows
//! schema     created or migrated           migrations from older schemas
//! engine     what the operations see       upkeep     tables of the engine's own
//! ```
//!
//! Operations that decide by what is stored hold advisory locks on their keys, so that there is one
//! writer for each account, as on SQLite. A commit whose answer is lost is looked up by the id of its
//! transaction.

mod client;
mod engine;
mod filter;
mod link;
mod list;
mod migrations;
mod schema;
mod search;
mod servers;
mod sessions;
mod statement;
mod tls;
mod upkeep;
mod url;
mod values;
mod worker;

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::{Field, StoreError};
pub use engine::{PostgresOptions, PostgresStore};
pub use url::PostgresUrl;

/// The newest schema that this program knows.
pub const NEWEST_SCHEMA: i64 = migrations::VERSIONS.newest;

/// Converts an error of the driver.
fn driver_error(error: Error) -> StoreError {
    let Some(database) = error.as_db_error() else {
        return StoreError::busy(error);
    };
    let code = database.code();
    if *code == SqlState::UNIQUE_VIOLATION {
        return StoreError::Taken(taken_field(database.constraint().unwrap_or_default()));
    }
    // Operator intervention, insufficient resources, connections, conflicts, locks, read-only servers.
    let is_busy = ["57", "53", "08", "40", "55", "25"]
        .iter()
        .any(|class| code.code().starts_with(class));
    match is_busy {
        true => StoreError::busy(error),
        false => StoreError::failed(error),
    }
}

/// The field of a violated constraint.
fn taken_field(constraint: &str) -> Field {
    match constraint {
        "users_email_key_unique" | "users_new_email_key_unique" => Field::Email,
        _ if constraint.starts_with("otps_") => Field::Otp,
        _ => Field::Id,
    }
}
