//! What one can do with accounts: one file per operation, each a function that reads like a sentence.
//!
//! An operation takes raw fields ([`crate::domain::Fields`]), checks them, calls one store operation and says what came
//! of it. It knows the rules and nothing of HTTP, warp or SQL, so the command line calls the same functions.

mod codes;
mod confirm;
mod create_user;
mod error;
mod login;
mod profile;
mod refresh;
mod register;

use std::net::IpAddr;

pub use codes::Codes;
pub use confirm::{Confirmed, confirm, resend};
pub use create_user::create_user;
pub use error::AccountError;
pub use login::login;
pub use profile::{Updated, retrieve, update};
pub use refresh::{Caller, authenticate, blacklist, check_token, refresh};
pub use register::{Registered, register};

use crate::domain::{ClientNetwork, Timestamp};
use crate::random;
use crate::store::NewSession;
use crate::tokens::Tokens;

/// Where a request comes from.
#[derive(Clone, Debug)]
pub struct Client {
    /// Address of the client itself, behind any trusted proxy.
    pub ip: IpAddr,
    /// What the client calls itself; empty when it does not say.
    pub user_agent: String,
}

/// Longest part of a `User-Agent` that is kept, in characters.
const USER_AGENT_LENGTH: usize = 256;

impl Client {
    /// The network by which tries are counted.
    pub fn network(&self) -> ClientNetwork {
        ClientNetwork::from(self.ip)
    }

    fn short_user_agent(&self) -> String {
        self.user_agent.chars().take(USER_AGENT_LENGTH).collect()
    }

    /// A session of this client that is about to begin.
    fn new_session(&self, tokens: &Tokens, now: Timestamp) -> NewSession {
        NewSession {
            id: random::id(),
            refresh_id: random::id(),
            now,
            expires_at: now.plus(tokens.refresh_life()),
            ip: self.ip.to_canonical().to_string(),
            user_agent: self.short_user_agent(),
        }
    }
}
