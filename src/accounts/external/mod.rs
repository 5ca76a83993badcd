//! Signing in by an external provider, and the identities of an account.
//!
//! A request to a provider is a row ([`requests`]): an app begins it with a `code_challenge` of its
//! own, a browser with a random cookie. The provider's answer only arrives at [`callback`], which
//! stores it, encrypted. The client that began the request then redeems it ([`apps`], [`browsers`]): only then
//! is the provider asked who it is, and [`sign_in`] decides what that means for accounts. Issuer and
//! subject identify somebody, and nothing else does.

mod apps;
mod browsers;
mod callback;
mod identities;
mod people;
mod requests;
mod sign_in;

use super::AccountError;
use crate::app::App;
use crate::providers::{Provider, ProviderError};
use crate::store::SiteWays;

pub(super) use apps::{read_code, read_connection, read_link, read_token};
pub use apps::{redeem_id_token, redeem_provider_code, start_connection, start_external_sign_in};
pub use browsers::{
    BrowserOutcome, BrowserPurpose, BrowserRequest, FinishedBrowser, can_reauthenticate,
    finish_in_browser, start_in_browser,
};
pub(super) use callback::read_answer;
pub use callback::{Callback, receive_answer};
pub(super) use identities::MOST_IDENTITIES;
pub use identities::{
    connect_identity, disconnect_identity, list_identities, list_user_identities,
};
pub use sign_in::ExternalSignedIn;

/// A configured provider.
///
/// # Errors
/// [`AccountError::UnknownProvider`].
fn find_provider<'a>(app: &'a App, id: &str) -> Result<&'a Provider, AccountError> {
    let found = app.providers.get(id);
    found.ok_or_else(|| AccountError::UnknownProvider(id.to_owned()))
}

/// What signs in to this site besides passwords.
pub(super) fn site_ways(app: &App) -> SiteWays {
    let providers = app.providers.list().iter();
    SiteWays {
        rp_id: app.relying_party.id.clone(),
        providers: providers.map(|provider| provider.id().to_owned()).collect(),
    }
}

/// The error for a provider that cannot be asked, or has refused: then it is `otherwise`.
fn provider_error(error: ProviderError, otherwise: AccountError) -> AccountError {
    match error {
        ProviderError::Unavailable { .. } => AccountError::Overloaded(error.into()),
        ProviderError::Refused { .. } | ProviderError::Denied => otherwise,
    }
}
