//! The built program from outside: started in a temporary folder, asked over HTTP, stopped by signals.

#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test ends where something is not as it should be, and nothing here is seen from outside"
)]

mod configuration;
mod database;
mod import;
mod mail;
mod serve;
mod support;
mod users;
