//! Recent authentication: what matters most wants that the owner authenticated minutes ago.
//!
//! A request is judged by what it shows: the `auth_time` of its access token, or the row of its
//! browser session. So an older token of a session gains nothing when the owner authenticates again.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::{AccountError, Caller, factors};
use crate::app::App;
use crate::domain::SecondFactor;
use crate::passwords;

/// A way to authenticate again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReauthenticationMethod {
    /// The password.
    Password,
    /// A code by mail, for accounts without a password.
    Otp,
    /// A second factor, for accounts that have one.
    Factor(SecondFactor),
}

impl ReauthenticationMethod {
    /// The name that clients see, which is that of the field in `reauthenticate/`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Otp => "otp",
            Self::Factor(factor) => factor.as_str(),
        }
    }
}

impl Serialize for ReauthenticationMethod {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How far ahead of our clock an authentication may be: more means that a clock was wrong.
const MAX_CLOCK_SKEW: Duration = Duration::from_mins(1);

/// Whether the caller has authenticated recently, by `[sessions] recent_minutes`. An account with a
/// second factor has to have used it.
pub fn is_recent(app: &App, caller: &Caller) -> bool {
    let minutes = app.config.sessions.recent_minutes;
    let life = Duration::from_secs(60 * u64::from(minutes));
    let now = app.clock.now();
    caller.authentication().is_some_and(|authentication| {
        let at = authentication.at;
        let is_recent = now.since(at) < life && at.since(now) <= MAX_CLOCK_SKEW;
        is_recent && (authentication.has_factor() || !caller.user.has_factor)
    })
}

/// Checks that the caller has authenticated recently.
///
/// # Errors
/// [`AccountError::ReauthenticationRequired`] with the ways to do so.
pub async fn require_recent(app: &App, caller: &Caller) -> Result<(), AccountError> {
    if is_recent(app, caller) {
        return Ok(());
    }
    let methods = reauthentication_methods(app, caller).await?;
    Err(AccountError::ReauthenticationRequired(methods))
}

/// As [`require_recent`], of callers whose account has a second factor; others pass.
///
/// # Errors
/// As [`require_recent`].
pub(super) async fn require_recent_factor(app: &App, caller: &Caller) -> Result<(), AccountError> {
    match caller.user.has_factor {
        true => require_recent(app, caller).await,
        false => Ok(()),
    }
}

/// The ways in which the caller can authenticate again.
///
/// # Errors
/// [`AccountError::SessionEnded`] when the account is gone.
pub async fn reauthentication_methods(
    app: &App,
    caller: &Caller,
) -> Result<Vec<ReauthenticationMethod>, AccountError> {
    let factors = app.store.find_factors(caller.user.id).await?;
    if factors.is_enabled() {
        let methods = factors::methods(app, &factors).into_iter();
        return Ok(methods.map(ReauthenticationMethod::Factor).collect());
    }
    let hash = app.store.find_password_hash(caller.user.id).await?;
    let hash = hash.ok_or(AccountError::SessionEnded)?;
    Ok(vec![match passwords::is_usable(&hash) {
        true => ReauthenticationMethod::Password,
        false => ReauthenticationMethod::Otp,
    }])
}
