//! Brute-force protection: failed attempts at a password, and the back-off they cause.
//!
//! Counts survive a restart. An account is identified by the keyed hash of its address, so that
//! unknown addresses are treated like known ones and the table does not reveal what was typed.

use std::time::Duration;

use async_trait::async_trait;

use super::{RequestContext, StoreResult};
use crate::domain::{Timestamp, UserId};

/// Limits on failed attempts at the password of one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordTryLimits {
    /// Failures from one source within a day without a pause.
    pub free: u32,
    /// The pause after the first failure beyond those; it doubles with each further one.
    pub first_pause: Duration,
    /// The longest pause.
    pub max_pause: Duration,
    /// The longest pause of a network the account has signed in from.
    pub max_pause_if_known: Duration,
    /// Failures within an hour, from all networks together, after which only networks are served
    /// that the account has signed in from.
    pub an_hour: u32,
}

/// The source of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrySource {
    /// A client that signs in: its [`crate::domain::ClientNetwork`].
    Network(String),
    /// A signed-in client that confirms its password: its session, from any network. Failures of
    /// others do not lock it out.
    Session(String),
}

/// An attempt at the password of an account.
#[derive(Clone, Debug)]
pub struct PasswordTry {
    /// Keyed hash of the account's address, or of the input when there is no account.
    pub account: Vec<u8>,
    /// The account, if there is one.
    pub user_id: Option<UserId>,
    /// Its source.
    pub source: TrySource,
    /// The current time.
    pub now: Timestamp,
    /// The limits; `None` disables them.
    pub limits: Option<PasswordTryLimits>,
    /// Who made the request, and from where.
    pub context: RequestContext,
}

/// Operations on failed password attempts.
#[async_trait]
pub trait PasswordTryStore {
    /// Finds when the next attempt from this source is allowed; `None` when it is allowed now.
    ///
    /// For early answers only: the operations check it again.
    async fn find_password_pause(&self, tried: &PasswordTry) -> StoreResult<Option<Timestamp>>;

    /// Whether the account has signed in from this [`crate::domain::ClientNetwork`].
    async fn is_network_known(&self, user_id: UserId, network: &str) -> StoreResult<bool>;

    /// Counts a failed attempt. Returns the end of the pause when it came too early: then it is not
    /// counted and must be answered as if the password had not been checked.
    async fn count_failed_password(&self, tried: PasswordTry) -> StoreResult<Option<Timestamp>>;
}
