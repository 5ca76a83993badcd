//! The resources of the API, one file each: a handler for each method, and beside it the
//! [`Operation`](super::operation::Operation) that documents it.
//!
//! A handler authenticates, parses, calls one function of `accounts` and builds the answer.

pub(super) mod audit_log;
pub(super) mod dev;
pub(super) mod dev_webhooks;
pub(super) mod discovery;
pub(super) mod email_undo;
pub(super) mod events;
pub(super) mod external;
pub(super) mod health;
pub(super) mod identities;
pub(super) mod invitations;
pub(super) mod mails;
pub(super) mod metrics;
pub(super) mod mfa;
pub(super) mod otp;
pub(super) mod pagination;
pub(super) mod passkeys;
pub(super) mod passwords;
pub(super) mod photos;
pub(super) mod reauthenticate;
pub(super) mod sessions;
pub(super) mod staff;
pub(super) mod tokens;
pub(super) mod users;
pub(super) mod webhook_deliveries;
pub(super) mod webhooks;
pub(super) mod well_known;
