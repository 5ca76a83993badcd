//! The rules of the store: every operation, written once for all engines.
//!
//! A file has the operations and the statements of one subject. Operations work on a
//! [`connection::Connection`] or, where they write the audit log, on a [`transaction::Transaction`];
//! what differs between databases is an [`engine::Engine`].

mod audit_log;
mod authorizations;
mod browser_sessions;
mod client_sessions;
mod client_tokens;
pub(in crate::store) mod connection;
pub(in crate::store) mod copying;
mod deliveries;
pub(in crate::store) mod development;
mod differences;
mod email_change;
pub(in crate::store) mod engine;
pub(in crate::store) mod events;
mod factor_tries;
mod factors;
mod grants;
mod health;
mod housekeeping;
mod identities;
mod identity_sign_in;
mod identity_tickets;
pub(in crate::store) mod import;
mod invitations;
mod keys;
pub(in crate::store) mod lock;
mod mails;
mod new_address;
mod notices;
mod oauth_clients;
mod otps;
pub(in crate::store) mod overview;
pub(in crate::store) mod paging;
mod passkey_challenges;
mod passkeys;
mod password_tries;
mod passwords;
mod photos;
mod provider_requests;
mod reauthentication;
mod refresh_tokens;
pub(in crate::store) mod rows;
pub(in crate::store) mod sessions;
mod setup;
mod sign_ups;
mod snapshot;
pub(in crate::store) mod tables;
pub(in crate::store) mod transaction;
pub(in crate::store) mod users;
mod ways_in;
mod webhook_deliveries;
mod webhooks;

pub(in crate::store) use engine::Database;
