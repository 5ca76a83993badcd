//! Tries at an account's password: counting those that failed, and saying when the next one may come.
//!
//! What is counted outlives a restart. An account is named by a keyed hash of its address, so that an address which nobody
//! has is treated like any other, and so that the table tells nobody what was typed.

use std::time::Duration;

use async_trait::async_trait;

use super::{RequestContext, StoreResult};
use crate::domain::{Timestamp, UserId};

/// How many failed tries at one account's password are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordTryLimits {
    /// Failures from one source within a day that cost no pause.
    pub free: u32,
    /// The pause after the first failure beyond those; it doubles with each one more.
    pub first_pause: Duration,
    /// The longest pause.
    pub max_pause: Duration,
    /// The longest pause of a network from which the account has signed in before.
    pub max_pause_if_known: Duration,
    /// Failures within an hour, from everywhere, after which only networks are served from which the account has signed in
    /// before.
    pub an_hour: u32,
}

/// Where a try comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrySource {
    /// A client that signs in: its network, as [`crate::domain::ClientNetwork`] writes it.
    Network(String),
    /// A client that is signed in and has to show that it knows the password: its session, wherever it comes from. Others
    /// that try cannot keep it from trying.
    Session(String),
}

/// A try at the password of an account.
#[derive(Clone, Debug)]
pub struct PasswordTry {
    /// Keyed hash of the account's address, or of what was typed where there is no account.
    pub account: Vec<u8>,
    /// The account, if there is one.
    pub user_id: Option<UserId>,
    /// Where it comes from.
    pub source: TrySource,
    /// When.
    pub now: Timestamp,
    /// How many failures are taken; `None` does not count them.
    pub limits: Option<PasswordTryLimits>,
    /// Who and from where.
    pub context: RequestContext,
}

/// Operations on tries at passwords.
#[async_trait]
pub trait PasswordTryStore {
    /// When the next try may come from there; `None` when it may come now.
    ///
    /// For an early answer only: the operations that end a try decide the question again themselves.
    async fn find_password_pause(&self, tried: &PasswordTry) -> StoreResult<Option<Timestamp>>;

    /// Whether the owner of an account has signed in from a network, named as [`crate::domain::ClientNetwork`] writes it.
    async fn is_network_known(&self, user_id: UserId, network: &str) -> StoreResult<bool>;

    /// Counts a try that failed. Gives a moment when it came too early: it is not counted then, and must be answered as if
    /// the password had not been looked at.
    async fn count_failed_password(&self, tried: PasswordTry) -> StoreResult<Option<Timestamp>>;
}
