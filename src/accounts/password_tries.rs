//! Brute-force protection of passwords, without locking out owners.
//!
//! There are two limits. The one per client network is in memory and covers all accounts. The one
//! per account is in the store: each failure from a network lengthens that network's back-off, and
//! after very many failures only networks are served that the owner signed in from before. Unknown
//! addresses are counted like known ones.

use std::time::Duration;

use super::{AccountError, Caller, Client};
use crate::app::App;
use crate::domain::{EmailAddress, UserId};
use crate::limits::Limited;
use crate::store::{Credentials, PasswordTry, PasswordTryLimits, RequestContext, TrySource};

/// Back-off after the first failure beyond the free ones.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Longest back-off of a network.
const LONGEST_PAUSE: Duration = Duration::from_mins(15);

/// Longest back-off of a network that the owner uses and may share with an attacker.
const LONGEST_PAUSE_OF_KNOWN: Duration = Duration::from_mins(1);

/// The key under which an address is compared. A text of another form keeps its form, in lower
/// case (ASCII only, as local parts are).
pub(super) fn key_of(email: &str) -> String {
    EmailAddress::parse(email).map_or_else(
        |_| email.to_ascii_lowercase(),
        |email| email.key().to_owned(),
    )
}

/// The password tries of one client at one account.
pub(super) struct PasswordTries<'a> {
    client: &'a Client,
    context: RequestContext,
    email_key: String,
    user_id: Option<UserId>,
    source: TrySource,
}

impl<'a> PasswordTries<'a> {
    /// Tries at signing in with an address, which belongs to the account `found` or to none.
    pub(super) fn of_sign_in(
        client: &'a Client,
        email_key: &str,
        found: Option<&Credentials>,
    ) -> Self {
        Self {
            client,
            context: client.context(None),
            // An account has one counter for all its addresses.
            email_key: found.map_or(email_key, |found| &found.email_key).to_owned(),
            user_id: found.map(|found| found.user_id),
            source: TrySource::Network(client.network().to_string()),
        }
    }

    /// Tries of a signed-in caller at the current password.
    pub(super) fn of_caller(client: &'a Client, caller: &Caller) -> Self {
        Self {
            client,
            context: client.context(Some(caller)),
            email_key: key_of(&caller.user.email),
            user_id: Some(caller.user.id),
            source: TrySource::Session(caller.session_id().to_owned()),
        }
    }

    pub(super) fn client(&self) -> &Client {
        self.client
    }

    /// The next try, for the store.
    pub(super) fn next(&self, app: &App) -> PasswordTry {
        let limits = &app.config.rate_limits;
        PasswordTry {
            account: app.codes.hash_address(&self.email_key),
            user_id: self.user_id,
            source: self.source.clone(),
            context: self.context.clone(),
            now: app.clock.now(),
            limits: limits.enabled.then_some(PasswordTryLimits {
                free: limits.account_failures,
                first_pause: FIRST_PAUSE,
                max_pause: LONGEST_PAUSE,
                max_pause_if_known: LONGEST_PAUSE_OF_KNOWN,
                an_hour: limits.account_failures_an_hour,
            }),
        }
    }

    /// Checks that a try is allowed now.
    ///
    /// # Errors
    /// [`AccountError::Throttled`] with the time to wait.
    pub(super) async fn check(&self, app: &App) -> Result<(), AccountError> {
        self.client.check_limit(app, Limited::FailedSignIn)?;
        let tried = self.next(app);
        match app.store.find_password_pause(&tried).await? {
            Some(until) => Err(AccountError::Throttled(until.since(tried.now))),
            None => Ok(()),
        }
    }

    /// Counts a failed try.
    ///
    /// # Errors
    /// [`AccountError::Throttled`] when too many have failed by now.
    pub(super) async fn failed(&self, app: &App) -> Result<(), AccountError> {
        self.client.count(app, Limited::FailedSignIn)?;
        let tried = self.next(app);
        let now = tried.now;
        match app.store.count_failed_password(tried).await? {
            Some(until) => Err(AccountError::Throttled(until.since(now))),
            None => Ok(()),
        }
    }
}
