//! User accounts in one binary: sign-up, confirmation by mail, sign-in, profiles, administration.
//!
//! Run the program `accounts-server`, or start the same server within a Rust program or test:
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use accounts_server::{Config, Server};
//!
//! let mut config = Config::defaults(true);
//! config.server.listen = "127.0.0.1:0".parse()?;
//! config.database.path = ":memory:".into();
//! let server = Server::start(config).await?;
//! println!("accounts at http://{}", server.address());
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! A program that uses warp can also mount [`http::routes`] beside its own routes.
//! `docs/ARCHITECTURE.md` describes the modules.

#![forbid(unsafe_code)]

pub mod accounts;
pub mod app;
pub mod backup;
pub mod bootstrap;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod delivery;
pub mod dev;
pub mod domain;
mod fair_queue;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod limits;
pub mod links;
pub mod mail;
pub mod observability;
pub mod otp_codes;
pub mod outbound;
mod output;
pub mod passwords;
pub mod photos;
pub mod providers;
pub mod server;
pub mod store;
pub mod templates;
#[cfg(feature = "testing")]
pub mod testing;
pub mod webhooks;

pub use app::App;
pub use bootstrap::StartError;
pub use config::Config;
pub use server::Server;
