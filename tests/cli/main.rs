//! Tests of the built program: started in a temporary folder, used over HTTP, stopped by signals.

#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "tests fail by panicking, and nothing here is public"
)]

mod audit;
#[path = "../support/authenticator.rs"]
mod authenticator;
mod backup;
mod check;
mod client;
mod configuration;
mod database;
mod delivery;
mod development;
#[allow(dead_code, reason = "the tests of the API use the rest of it")]
#[path = "../support/device.rs"]
mod device;
mod durability;
#[path = "../support/provider.rs"]
mod fake_provider;
mod faults;
mod import;
mod import_identities;
mod import_passkeys;
mod keys;
mod lifecycle;
mod mail;
mod mail_queue;
mod mail_templates;
mod mail_tls;
mod oauth_clients;
mod photos;
mod postgres;
mod protected;
mod providers;
#[path = "../support/receiver.rs"]
mod receiver;
mod serve;
#[path = "../support/smtp.rs"]
mod smtp;
mod support;
mod systemd;
#[path = "../support/test_schema.rs"]
mod test_schema;
mod unread;
mod upgrades;
mod users;
mod webhook_crashes;
mod webhooks;
