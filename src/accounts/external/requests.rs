//! Requests to providers: the URL to which a browser is sent, and the row that waits for its return.
//!
//! State, nonce and verifier are random for each request. Only a keyed hash of the state is stored, and
//! the others follow from the state by keyed hashes, so that the database reveals none of them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::provider_error;
use crate::accounts::{AccountError, Client};
use crate::app::App;
use crate::crypto::pkce::challenge;
use crate::crypto::{random, sealing};
use crate::limits::Limited;
use crate::providers::{AuthorizationAnswer, AuthorizationRequest, ExternalUser, Provider};
use crate::store::{NewProviderRequest, ProviderClient, ProviderPurpose};

/// How long somebody may take to sign in at a provider.
const REQUEST_LIFE: Duration = Duration::from_mins(10);

/// What the encrypted answers are bound to.
const SEALED_AS: &[u8] = b"provider answer";

/// What a provider has sent back, and the state that it belongs to.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredAnswer {
    pub(super) state: String,
    pub(super) result: AnswerResult,
}

/// What a provider has sent back.
#[derive(Serialize, Deserialize)]
pub(super) enum AnswerResult {
    /// A code, with what came along.
    Code {
        code: String,
        iss: Option<String>,
        user: Option<String>,
    },
    /// The user has refused, or the provider has.
    Denied,
    /// The provider cannot sign anybody in at the moment.
    Unavailable,
}

/// Stores a request. Returns the URL to which to send the browser.
///
/// # Errors
/// [`AccountError::Throttled`] when the client's network has started too many;
/// [`AccountError::Overloaded`] when the provider cannot be asked.
pub(super) async fn start(
    app: &App,
    provider: &Provider,
    purpose: ProviderPurpose,
    requester: ProviderClient,
    locale: Option<&str>,
    client: &Client,
) -> Result<String, AccountError> {
    client.count(app, Limited::ExternalSignIn)?;
    let state = random::secret();
    let verifier = app.codes.provider_verifier(&state);
    let request = AuthorizationRequest {
        redirect_uri: &app.links.provider_callback(provider.id()),
        state: &state,
        nonce: &app.codes.provider_nonce(&state),
        code_challenge: &challenge(&verifier),
        locale,
        force_login: matches!(purpose, ProviderPurpose::Reauthentication(_)),
    };
    let url = provider.authorization_url(&request).await;
    let refused = || AccountError::Internal("a provider refuses to be asked".into());
    let url = url.map_err(|error| provider_error(error, refused()))?;
    let now = app.clock.now();
    let row = NewProviderRequest {
        state_hash: app.codes.hash_provider_state(&state),
        provider: provider.id().to_owned(),
        purpose,
        client: requester,
        created_at: now,
        expires_at: now.plus(REQUEST_LIFE),
    };
    app.store.create_provider_request(row).await?;
    Ok(url)
}

/// Encrypts an answer for the holder of `secret`.
pub(super) fn seal(app: &App, answer: &StoredAnswer, secret: &str) -> Vec<u8> {
    let json = serde_json::to_vec(answer).expect("an answer consists of texts");
    let key = app.codes.provider_answer_key(secret);
    sealing::seal(&key, SEALED_AS, &json, random::bytes())
}

/// Decrypts an answer; `None` with another secret.
pub(super) fn open(app: &App, sealed: &[u8], secret: &str) -> Option<StoredAnswer> {
    let key = app.codes.provider_answer_key(secret);
    serde_json::from_slice(&sealing::open(&key, SEALED_AS, sealed)?).ok()
}

/// Asks a provider who has answered. `refused` is the error for an answer that it does not accept.
///
/// # Errors
/// `refused`; [`AccountError::ProviderDenied`]; [`AccountError::Overloaded`] when the provider cannot
/// be asked.
pub(super) async fn exchange(
    app: &App,
    provider: &Provider,
    answer: &StoredAnswer,
    refused: AccountError,
) -> Result<ExternalUser, AccountError> {
    let (code, iss, user) = match &answer.result {
        AnswerResult::Code { code, iss, user } => (code, iss.as_deref(), user.as_deref()),
        AnswerResult::Denied => return Err(AccountError::ProviderDenied),
        AnswerResult::Unavailable => {
            let text = format!(
                "provider {} answers that it is not available",
                provider.id()
            );
            return Err(AccountError::Overloaded(text.into()));
        }
    };
    let request = AuthorizationAnswer {
        code,
        iss,
        user,
        redirect_uri: &app.links.provider_callback(provider.id()),
        code_verifier: &app.codes.provider_verifier(&answer.state),
        nonce: &app.codes.provider_nonce(&answer.state),
    };
    let user = provider.exchange(&request).await;
    user.map_err(|error| provider_error(error, refused))
}
