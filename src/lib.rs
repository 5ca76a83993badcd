//! User accounts in one binary: sign-up with confirmation by mail, sign-in, profiles and administration over an embedded
//! SQLite database.
//!
//! Most people run the `accounts-server` program. A Rust program or test can start the same server in its own process:
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
//! or mount [`http::routes`], a warp filter, beside its own. `docs/ARCHITECTURE.md` says what is where.

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
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod limits;
pub mod links;
pub mod mail;
pub mod observability;
pub mod otp_codes;
mod output;
pub mod passwords;
pub mod photos;
pub mod server;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;

pub use app::App;
pub use bootstrap::StartError;
pub use config::Config;
pub use server::Server;
