//! The built program from outside: started in a temporary folder, asked over HTTP, stopped by signals.

#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test ends where something is not as it should be, and nothing here is seen from outside"
)]

mod audit;
mod backup;
mod check;
mod client;
mod configuration;
mod database;
mod delivery;
mod development;
mod durability;
mod faults;
mod import;
mod keys;
mod lifecycle;
mod mail;
mod mail_templates;
mod mail_tls;
mod serve;
#[path = "../support/smtp.rs"]
mod smtp;
mod support;
mod systemd;
mod unread;
mod upgrades;
mod users;
