//! The behaviour of every store, through its traits alone: one file a trait, one test a behaviour,
//! on every engine.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it should be"
)]

#[path = "store/authorizations.rs"]
mod authorizations;
#[path = "store/browser_sessions.rs"]
mod browser_sessions;
#[path = "store/client_sessions.rs"]
mod client_sessions;
#[path = "store/client_tokens.rs"]
mod client_tokens;
#[path = "store/development.rs"]
mod development;
#[path = "store/events.rs"]
mod events;
#[path = "store/factors.rs"]
mod factors;
#[path = "store/grants.rs"]
mod grants;
#[path = "store/health.rs"]
mod health;
#[path = "store/housekeeping.rs"]
mod housekeeping;
#[path = "store/identities.rs"]
mod identities;
#[path = "store/imports.rs"]
mod imports;
#[path = "store/invitations.rs"]
mod invitations;
#[path = "store/keys.rs"]
mod keys;
#[path = "store/list.rs"]
mod list;
#[path = "store/mails.rs"]
mod mails;
#[path = "store/oauth_clients.rs"]
mod oauth_clients;
#[path = "store/overview.rs"]
mod overview;
#[path = "store/races.rs"]
mod races;
#[path = "store/same.rs"]
mod same;
#[path = "store/sqlite.rs"]
mod sqlite;
#[path = "store/stories.rs"]
mod stories;
#[path = "store/support.rs"]
mod support;
#[path = "support/test_schema.rs"]
mod test_schema;
