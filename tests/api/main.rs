//! The API from outside: a real server on a free port, asked over HTTP. One module per capability.

#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test ends where something is not as it should be, and nothing here is seen from outside"
)]
#![allow(
    clippy::too_many_lines,
    reason = "a table of cases is best read in one piece"
)]

mod address_change;
mod ambiguity;
mod application_pages;
mod applications;
mod audit_log;
#[path = "../support/authenticator.rs"]
mod authenticator;
mod authorize;
mod bodies;
mod browser;
mod client_endpoints;
mod client_sign_out;
mod client_tokens;
mod clock;
mod connections;
mod console;
mod console_clients;
mod console_queue;
mod console_users;
mod console_webhooks;
mod contract;
mod cors;
mod deletion;
mod delivery;
mod development;
#[path = "../support/device.rs"]
mod device;
mod docs;
mod email_undo;
mod enumeration;
mod events;
mod external;
mod external_pages;
mod factor_pages;
mod factors;
#[path = "../support/provider.rs"]
mod fake_provider;
mod hardening;
mod health;
mod invitations;
mod mail_content;
mod mail_queue;
mod memory;
mod messages;
mod metrics;
mod openapi;
mod otp;
mod outbound;
mod pages;
mod passkey_pages;
mod passkeys;
mod passwords;
mod photos;
mod profile;
mod protocol;
mod provider_protocol;
mod providers;
mod rate_limits;
mod reauthentication;
#[path = "../support/receiver.rs"]
mod receiver;
mod relying_party;
mod schema;
mod sessions;
mod sign_up;
#[path = "../support/smtp.rs"]
mod smtp;
mod staff;
mod support;
#[path = "../support/test_schema.rs"]
mod test_schema;
mod tls;
mod tokens;
mod webhook_events;
mod webhook_management;
mod webhook_requests;
