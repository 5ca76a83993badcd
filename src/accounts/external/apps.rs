//! Requests of apps: started with a redirect URI and a challenge, redeemed with a code and its verifier
//! (RFC 7636), or with the ID token of a provider's own library.

use std::sync::Arc;

use subtle::ConstantTimeEq;

use super::people::Person;
use super::requests::{exchange, open, start};
use super::sign_in::{ExternalSignedIn, sign_in};
use super::{find_provider, provider_error};
use crate::accounts::recent::require_recent;
use crate::accounts::refresh::recheck;
use crate::accounts::{AccountError, Caller, Client, unread};
use crate::app::App;
use crate::crypto::pkce::{challenge, is_challenge};
use crate::domain::{FieldErrors, FieldReader, Fields, messages};
use crate::limits::Limited;
use crate::providers::ProviderError;
use crate::store::{ProviderClient, ProviderPurpose, ProviderRequest, UsedIdToken};

const REDIRECT_URI: &str = "redirect_uri";
const CODE_CHALLENGE: &str = "code_challenge";
const STATE: &str = "state";
const LOCALE: &str = "locale";
const CODE: &str = "code";
const CODE_VERIFIER: &str = "code_verifier";
const ID_TOKEN: &str = "id_token";
const NONCE: &str = "nonce";

/// Longest redirect URI and state, in characters.
const URI_LENGTH: usize = 2048;

/// Longest language tag, in characters.
const LOCALE_LENGTH: usize = 35;

/// Longest code and nonce, in characters.
const CODE_LENGTH: usize = 256;

/// Longest verifier, in characters (RFC 7636, section 4.1).
const VERIFIER_LENGTH: usize = 128;

/// Longest ID token, in characters.
const TOKEN_LENGTH: usize = 16 * 1024;

/// What an app asks for.
pub(crate) struct AppRequest {
    redirect_uri: Option<String>,
    code_challenge: Option<String>,
}

/// What an app asks for to sign somebody in.
pub(crate) struct SignInRequest {
    app: AppRequest,
    state: Option<String>,
    locale: Option<String>,
}

/// Reads a redirect URI and a challenge.
pub(crate) fn read_link(reader: &mut FieldReader<'_>) -> AppRequest {
    AppRequest {
        redirect_uri: reader.required_text(REDIRECT_URI, Some(URI_LENGTH)),
        code_challenge: reader.required_text(CODE_CHALLENGE, None),
    }
}

/// Reads the parameters of a sign-in.
pub(crate) fn read_request(reader: &mut FieldReader<'_>) -> SignInRequest {
    SignInRequest {
        app: read_link(reader),
        state: reader.optional_text(STATE, URI_LENGTH),
        locale: reader.optional_text(LOCALE, LOCALE_LENGTH),
    }
}

/// Reads a code and its verifier.
pub(crate) fn read_code(reader: &mut FieldReader<'_>) -> (Option<String>, Option<String>) {
    (
        reader.required_text(CODE, Some(CODE_LENGTH)),
        reader.required_text(CODE_VERIFIER, Some(VERIFIER_LENGTH)),
    )
}

/// Reads an ID token and its nonce.
pub(crate) fn read_token(reader: &mut FieldReader<'_>) -> (Option<String>, Option<String>) {
    (
        reader.required_text(ID_TOKEN, Some(TOKEN_LENGTH)),
        reader.required_text(NONCE, Some(CODE_LENGTH)),
    )
}

/// What connects an identity.
pub(crate) enum Connection {
    /// The ticket of a sign-in.
    Ticket(String),
    /// A code and its verifier.
    Code(String, String),
}

/// Reads a ticket, or else a code and its verifier.
pub(crate) fn read_connection(reader: &mut FieldReader<'_>) -> Option<Connection> {
    let ticket = crate::accounts::factors::read_optional_ticket(reader);
    if let Some(ticket) = ticket {
        reader.pass(CODE);
        reader.pass(CODE_VERIFIER);
        return Some(Connection::Ticket(ticket));
    }
    let (code, verifier) = read_code(reader);
    Some(Connection::Code(code?, verifier?))
}

/// Starts the sign-in of somebody by a provider, for an app. Returns the URL to which to send the
/// browser.
///
/// # Errors
/// [`AccountError::UnknownProvider`]; [`AccountError::Fields`]; [`AccountError::Throttled`];
/// [`AccountError::Overloaded`] when the provider cannot be asked.
pub async fn start_external_sign_in(
    app: &App,
    provider: &str,
    fields: &Fields,
    client: &Client,
) -> Result<String, AccountError> {
    let provider = find_provider(app, provider)?;
    let mut reader = FieldReader::new(fields);
    let request = read_request(&mut reader);
    let requester = check(app, &mut reader, request.app, request.state);
    reader.finish()?;
    let requester = requester.ok_or_else(unread)?;
    let locale = request.locale.filter(|locale| !locale.is_empty());
    let purpose = ProviderPurpose::SignIn;
    start(app, provider, purpose, requester, locale.as_deref(), client).await
}

/// Starts the connection of an identity to the caller's account, for an app.
///
/// # Errors
/// [`AccountError::ReauthenticationRequired`]; otherwise as [`start_external_sign_in`].
pub async fn start_connection(
    app: &App,
    caller: &Caller,
    provider: &str,
    fields: &Fields,
    client: &Client,
) -> Result<String, AccountError> {
    let provider = find_provider(app, provider)?;
    let caller = &recheck(app, caller).await?;
    require_recent(app, caller).await?;
    let mut reader = FieldReader::new(fields);
    let request = read_link(&mut reader);
    let requester = check(app, &mut reader, request, None);
    reader.finish()?;
    let requester = requester.ok_or_else(unread)?;
    let purpose = ProviderPurpose::Connection(caller.session_id().to_owned());
    start(app, provider, purpose, requester, None, client).await
}

/// Checks that the redirect URI is one of the settings, and the form of the challenge.
fn check(
    app: &App,
    reader: &mut FieldReader<'_>,
    request: AppRequest,
    state: Option<String>,
) -> Option<ProviderClient> {
    let (redirect_uri, code_challenge) = (request.redirect_uri, request.code_challenge);
    let mut allowed = app.config.social.redirect_uris.iter();
    if let Some(uri) = &redirect_uri
        && !allowed.any(|allowed| allowed.as_str() == uri)
    {
        reader.reject(REDIRECT_URI, messages::FOREIGN_REDIRECT_URI);
    }
    if let Some(challenge) = &code_challenge
        && !is_challenge(challenge)
    {
        reader.reject(CODE_CHALLENGE, messages::INVALID_CHALLENGE);
    }
    Some(ProviderClient::App {
        redirect_uri: redirect_uri?,
        state: state.filter(|state| !state.is_empty()),
        code_challenge: code_challenge?,
    })
}

/// Signs in the user who answered the request of a code.
///
/// # Errors
/// [`AccountError::UnknownProvider`]; [`AccountError::Fields`] about the code, whatever is wrong with
/// it; [`AccountError::Overloaded`] when the provider cannot be asked; and as the sign-in says:
/// [`AccountError::SecondFactorRequired`], [`AccountError::AccountExists`],
/// [`AccountError::IdentityNotVerified`], [`AccountError::NoActiveAccount`],
/// [`AccountError::Throttled`].
pub async fn redeem_provider_code(
    app: &Arc<App>,
    provider: &str,
    fields: &Fields,
    client: &Client,
) -> Result<ExternalSignedIn, AccountError> {
    let provider = find_provider(app, provider)?;
    let mut reader = FieldReader::new(fields);
    let (code, verifier) = read_code(&mut reader);
    reader.finish()?;
    let shown = code.zip(verifier).ok_or_else(unread)?;
    let (_, person) = redeem(app, &shown, client, |request| {
        request.provider == provider.id() && request.purpose == ProviderPurpose::SignIn
    })
    .await?;
    sign_in(app, provider, person, None, client).await
}

/// Uses up a code, and asks the provider who has answered. A code that is shown wrongly is used up as
/// well: somebody has it who should not.
///
/// # Errors
/// [`AccountError::Fields`] about the code; [`AccountError::Overloaded`]; [`AccountError::Throttled`].
pub(super) async fn redeem(
    app: &App,
    (code, verifier): &(String, String),
    client: &Client,
    is_expected: impl FnOnce(&ProviderRequest) -> bool,
) -> Result<(ProviderRequest, Person), AccountError> {
    client.check_limit(app, Limited::FailedSignIn)?;
    let code_hash = app.codes.hash_provider_code(code);
    let now = app.clock.now();
    let used = app.store.use_provider_code(&code_hash, now).await?;
    let answered = used.filter(|request| is_expected(request) && has_verifier(request, verifier));
    let answered = answered.and_then(|request| {
        let provider = app.providers.get(&request.provider)?;
        let answer = open(app, request.answer.as_ref()?, code)?;
        Some((request, provider, answer))
    });
    let Some((request, provider, answer)) = answered else {
        client.count(app, Limited::FailedSignIn)?;
        return Err(invalid_code());
    };
    let user = exchange(app, provider, &answer, invalid_code()).await;
    let user = user.inspect_err(|error| {
        if matches!(error, AccountError::Fields(_)) {
            client.count(app, Limited::FailedSignIn).ok();
        }
    })?;
    Ok((request, Person::of(provider, user)))
}

/// Whether a verifier belongs to the challenge of the app that made a request.
fn has_verifier(request: &ProviderRequest, verifier: &str) -> bool {
    match &request.client {
        ProviderClient::App { code_challenge, .. } => {
            let shown = challenge(verifier);
            shown.as_bytes().ct_eq(code_challenge.as_bytes()).into()
        }
        ProviderClient::Browser { .. } => false,
    }
}

/// The error for a code that does not count.
fn invalid_code() -> AccountError {
    FieldErrors::one(CODE, messages::INVALID_EXTERNAL_CODE).into()
}

/// Signs in by an ID token that an app has got from a provider's own library. It counts once.
///
/// # Errors
/// As [`redeem_provider_code`], about the `id_token` in place of the code.
pub async fn redeem_id_token(
    app: &Arc<App>,
    provider: &str,
    fields: &Fields,
    client: &Client,
) -> Result<ExternalSignedIn, AccountError> {
    let provider = find_provider(app, provider)?;
    let mut reader = FieldReader::new(fields);
    let (token, nonce) = read_token(&mut reader);
    reader.finish()?;
    let (token, nonce) = token.zip(nonce).ok_or_else(unread)?;
    client.check_limit(app, Limited::FailedSignIn)?;
    client.count(app, Limited::ExternalSignIn)?;
    let verified = provider.verify_id_token(&token, &nonce).await;
    let (user, token_use) = match verified {
        Ok(verified) => verified,
        Err(error) => {
            if !matches!(error, ProviderError::Unavailable { .. }) {
                client.count(app, Limited::FailedSignIn)?;
            }
            return Err(provider_error(error, invalid_token()));
        }
    };
    let used = UsedIdToken {
        token_hash: token_use.hash.to_vec(),
        expires_at: token_use.expires_at,
    };
    let person = Person::of(provider, user);
    match sign_in(app, provider, person, Some(used), client).await {
        Err(AccountError::InvalidToken) => {
            client.count(app, Limited::FailedSignIn)?;
            Err(invalid_token())
        }
        outcome => outcome,
    }
}

/// The error for an ID token that does not count.
fn invalid_token() -> AccountError {
    FieldErrors::one(ID_TOKEN, messages::INVALID_TOKEN).into()
}
