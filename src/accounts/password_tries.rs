//! Slowing down who guesses the password of an account, and nobody else.
//!
//! Two counts stand side by side. That of the client's network is in memory and about all accounts. That of the account is in
//! the store: the more tries fail from one network, the longer that network waits, and when very many fail from everywhere,
//! only networks are served in which the owner has shown up before. An address that nobody has is counted like any other.

use std::time::Duration;

use super::{AccountError, Caller, Client};
use crate::app::App;
use crate::domain::{EmailAddress, UserId};
use crate::limits::Limited;
use crate::store::{Credentials, PasswordTry, PasswordTryLimits, RequestContext, TrySource};

/// The pause after the first failure beyond those that are free.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause of a network.
const LONGEST_PAUSE: Duration = Duration::from_mins(15);

/// The longest pause of a network that the owner uses, who may share it with the guesser.
const LONGEST_PAUSE_OF_KNOWN: Duration = Duration::from_mins(1);

/// The form in which addresses are compared. What has not the form of an address stands as it is, in lower case.
pub(super) fn key_of(email: &str) -> String {
    EmailAddress::parse(email).map_or_else(|_| email.to_lowercase(), |email| email.key().to_owned())
}

/// The tries of one client at the password of one account.
pub(super) struct PasswordTries<'a> {
    client: &'a Client,
    context: RequestContext,
    email_key: String,
    user_id: Option<UserId>,
    source: TrySource,
}

impl<'a> PasswordTries<'a> {
    /// Signing in with an address, in lower case, that belongs to the account `found` or to none.
    pub(super) fn of_sign_in(
        client: &'a Client,
        email_key: &str,
        found: Option<&Credentials>,
    ) -> Self {
        Self {
            client,
            context: client.context(None),
            // An account has one count, whichever of its addresses is typed.
            email_key: found.map_or(email_key, |found| &found.email_key).to_owned(),
            user_id: found.map(|found| found.user_id),
            source: TrySource::Network(client.network().to_string()),
        }
    }

    /// Somebody who is signed in and has to show the password once more.
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

    /// The next try, as the store takes it.
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

    /// Asks whether a try may be made now.
    ///
    /// # Errors
    /// [`AccountError::Throttled`] with the time to wait.
    pub(super) async fn may(&self, app: &App) -> Result<(), AccountError> {
        self.client.may(app, Limited::FailedSignIn)?;
        let tried = self.next(app);
        match app.store.find_password_pause(&tried).await? {
            Some(until) => Err(AccountError::Throttled(until.since(tried.now))),
            None => Ok(()),
        }
    }

    /// Counts a try that failed.
    ///
    /// # Errors
    /// [`AccountError::Throttled`] when by now so many have failed that this one is not answered.
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
