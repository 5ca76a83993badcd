//! Requests of browsers on the account pages: started with a random cookie, and finished by the page to
//! which the callback leads, where that cookie counts.

use std::sync::Arc;
use std::time::Duration;

use super::find_provider;
use super::identities::connect;
use super::people::Person;
use super::requests::{exchange, open, start};
use super::sign_in::{ExternalSignedIn, sign_in};
use crate::accounts::browser_session::hash;
use crate::accounts::reauthenticate::reauthenticate_by_identity;
use crate::accounts::recent::require_recent;
use crate::accounts::{AccountError, BrowserSession, Caller, Client};
use crate::app::App;
use crate::crypto::random;
use crate::domain::Timestamp;
use crate::providers::Provider;
use crate::store::{Identity, ProviderClient, ProviderPurpose, ProviderRequest};

/// How far the clock of a provider may be behind ours.
const CLOCK_SKEW: Duration = Duration::from_mins(1);

/// What a browser goes to a provider for.
#[derive(Clone, Copy)]
pub enum BrowserPurpose<'a> {
    /// To sign in or sign up.
    SignIn,
    /// To connect an identity to the account of this session.
    Connection(&'a Caller),
    /// To authenticate again in this session.
    Reauthentication(&'a Caller),
}

/// A request that was started.
pub struct BrowserRequest {
    /// The URL to which to send the browser.
    pub authorization_url: String,
    /// The value of a cookie that the browser has to show in the end.
    pub cookie: String,
}

/// What came of a request.
pub enum BrowserOutcome {
    /// Somebody is signed in; the proof is the secret of the session.
    SignedIn(ExternalSignedIn),
    /// The identity belongs to the account now.
    Connected(Identity),
    /// The session knows that its owner has authenticated; it has this new secret.
    Reauthenticated(String),
}

/// A request that has come to its end.
pub struct FinishedBrowser {
    /// Where the browser wanted to go, as it was given when it began.
    pub next: String,
    /// What it was for.
    pub purpose: ProviderPurpose,
    /// What came of it. The errors that a page explains are
    /// [`AccountError::SecondFactorRequired`], [`AccountError::AccountExists`],
    /// [`AccountError::IdentityNotVerified`], [`AccountError::NoActiveAccount`],
    /// [`AccountError::IdentityTaken`], [`AccountError::TooManyIdentities`],
    /// [`AccountError::WrongIdentity`], [`AccountError::ProviderDenied`],
    /// [`AccountError::InvalidLink`] for an answer that the provider does not accept,
    /// [`AccountError::Overloaded`] for a provider that cannot be asked, [`AccountError::Fields`]
    /// about `email` for somebody new without an address, and [`AccountError::Throttled`].
    pub outcome: Result<BrowserOutcome, AccountError>,
}

/// Whether the owner of a session can authenticate again by a provider: it is one that asks people to
/// sign in again and says when they did, and the account wants no second factor.
pub fn can_reauthenticate(provider: &Provider, caller: &Caller) -> bool {
    provider.can_force_login() && !caller.user.has_factor
}

/// Starts what a browser goes to a provider for. `next` is a path of ours. The cookie that the browser
/// has from another tab stays the same, so that what began there can be finished too.
///
/// # Errors
/// [`AccountError::UnknownProvider`]; [`AccountError::ReauthenticationRequired`] for a connection;
/// [`AccountError::WrongIdentity`] when the provider cannot authenticate the session's owner again;
/// [`AccountError::Throttled`]; [`AccountError::Overloaded`] when the provider cannot be asked.
pub async fn start_in_browser(
    app: &App,
    provider: &str,
    purpose: BrowserPurpose<'_>,
    cookie: Option<&str>,
    (next, locale): (&str, &str),
    client: &Client,
) -> Result<BrowserRequest, AccountError> {
    let provider = find_provider(app, provider)?;
    let purpose = match purpose {
        BrowserPurpose::SignIn => ProviderPurpose::SignIn,
        BrowserPurpose::Connection(caller) => {
            require_recent(app, caller).await?;
            ProviderPurpose::Connection(caller.session_id().to_owned())
        }
        BrowserPurpose::Reauthentication(caller) => {
            if !can_reauthenticate(provider, caller) {
                return Err(AccountError::WrongIdentity);
            }
            ProviderPurpose::Reauthentication(caller.session_id().to_owned())
        }
    };
    let cookie = cookie.filter(|cookie| cookie.len() == random::secret().len());
    let cookie = cookie.map_or_else(random::secret, str::to_owned);
    let requester = ProviderClient::Browser {
        cookie_hash: hash(&cookie),
        next_path: next.to_owned(),
    };
    let locale = Some(locale).filter(|locale| !locale.is_empty());
    let url = start(app, provider, purpose, requester, locale, client).await?;
    Ok(BrowserRequest {
        authorization_url: url,
        cookie,
    })
}

/// Finishes what a browser with this cookie began: uses up its request, asks the provider who has
/// answered, and does what the request was for. `session` is the one that the browser has.
///
/// # Errors
/// [`AccountError::UnknownProvider`]; [`AccountError::InvalidLink`] when the browser has started no
/// such request, or has finished it, or ten minutes have passed.
pub async fn finish_in_browser(
    app: &Arc<App>,
    provider: &str,
    (state, cookie): (&str, &str),
    session: Option<&BrowserSession>,
    client: &Client,
) -> Result<FinishedBrowser, AccountError> {
    let provider = find_provider(app, provider)?;
    let (state_hash, now) = (app.codes.hash_provider_state(state), app.clock.now());
    // One of another provider is not used up.
    let found = app
        .store
        .find_provider_request(&state_hash, provider.id(), now);
    found.await?.ok_or(AccountError::InvalidLink)?;
    let cookie_hash = hash(cookie);
    let used = app
        .store
        .use_provider_request(&state_hash, Some(&cookie_hash), now);
    let request = used.await?.ok_or(AccountError::InvalidLink)?;
    let ProviderClient::Browser { next_path, .. } = &request.client else {
        return Err(AccountError::InvalidLink);
    };
    let next = next_path.clone();
    let outcome = finish(app, provider, &request, state, session, &client.browser()).await;
    Ok(FinishedBrowser {
        next,
        purpose: request.purpose,
        outcome,
    })
}

async fn finish(
    app: &Arc<App>,
    provider: &Provider,
    request: &ProviderRequest,
    state: &str,
    session: Option<&BrowserSession>,
    client: &Client,
) -> Result<BrowserOutcome, AccountError> {
    // The session that began it, or none: another one must not get the identity.
    let began = request.purpose.session_id();
    let session = session.filter(|session| began == Some(session.caller.session_id()));
    if began.is_some() && session.is_none() {
        return Err(AccountError::InvalidLink);
    }
    let answer = request.answer.as_ref();
    let answer = answer.and_then(|sealed| open(app, sealed, state));
    let answer = answer.ok_or(AccountError::InvalidLink)?;
    let user = exchange(app, provider, &answer, AccountError::InvalidLink).await?;
    let auth_time = user.auth_time;
    let person = Person::of(provider, user);
    Ok(match (&request.purpose, session) {
        (ProviderPurpose::Connection(_), Some(session)) => {
            let connected = connect(app, &session.caller, person.proven, None, client);
            BrowserOutcome::Connected(connected.await?)
        }
        (ProviderPurpose::Reauthentication(_), Some(session)) => {
            if !is_since(auth_time, request.created_at) {
                return Err(AccountError::WrongIdentity);
            }
            let renewed = reauthenticate_by_identity(app, session, person.proven, client);
            BrowserOutcome::Reauthenticated(renewed.await?)
        }
        _ => BrowserOutcome::SignedIn(sign_in(app, provider, person, None, client).await?),
    })
}

/// Whether somebody authenticated at the provider after a request was made.
fn is_since(auth_time: Option<Timestamp>, created_at: Timestamp) -> bool {
    auth_time.is_some_and(|at| at.plus(CLOCK_SKEW) >= created_at)
}
