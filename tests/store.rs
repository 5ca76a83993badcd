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
#[path = "store/email_changes.rs"]
mod email_changes;
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
#[path = "store/mail_limits.rs"]
mod mail_limits;
#[path = "store/mails.rs"]
mod mails;
#[path = "store/oauth_clients.rs"]
mod oauth_clients;
#[path = "store/otps.rs"]
mod otps;
#[path = "store/overview.rs"]
mod overview;
#[path = "store/passkeys.rs"]
mod passkeys;
#[path = "store/password_tries.rs"]
mod password_tries;
#[path = "store/passwords.rs"]
mod passwords;
#[path = "store/photos.rs"]
mod photos;
#[path = "store/provider_requests.rs"]
mod provider_requests;
#[path = "store/races.rs"]
mod races;
#[path = "store/reauthentication.rs"]
mod reauthentication;
#[path = "store/same.rs"]
mod same;
#[path = "store/sessions.rs"]
mod sessions;
#[path = "store/setup.rs"]
mod setup;
#[path = "store/sign_ups.rs"]
mod sign_ups;
#[path = "store/sqlite.rs"]
mod sqlite;
#[path = "store/support.rs"]
mod support;
#[path = "support/test_schema.rs"]
mod test_schema;
#[path = "store/user_lists.rs"]
mod user_lists;
#[path = "store/users.rs"]
mod users;
#[path = "store/webhooks.rs"]
mod webhooks;
