//! What comes back from a provider with a browser: stored here, and redeemed by the client that began.

use std::time::Duration;

use super::find_provider;
use super::requests::{AnswerResult, StoredAnswer, open, seal};
use crate::accounts::AccountError;
use crate::app::App;
use crate::crypto::random;
use crate::domain::{FieldReader, Fields};
use crate::providers::{Provider, ProviderError};
use crate::store::{ProviderClient, ReleaseAnswer};

/// How long an app may take to redeem its code.
const CODE_LIFE: Duration = Duration::from_mins(1);

/// Longest state, code and the like, in characters. Codes of providers can be long.
const LENGTH: usize = 4096;

/// Where the browser goes from the callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callback {
    /// To the redirect URI of an app, with these parameters.
    App {
        /// The redirect URI.
        redirect_uri: String,
        /// Names and values to add to its query.
        parameters: Vec<(&'static str, String)>,
    },
    /// To the page of the provider that finishes what the browser began, with this state.
    Page {
        /// Identifies the request.
        state: String,
    },
}

/// An answer as it comes.
pub(in crate::accounts) struct Answer {
    state: Option<String>,
    code: Option<String>,
    iss: Option<String>,
    user: Option<String>,
    error: Option<String>,
    description: Option<String>,
}

/// Reads the answer of a provider (RFC 6749, section 4.1.2; RFC 9207; Apple's `user`).
pub(in crate::accounts) fn read_answer(reader: &mut FieldReader<'_>) -> Answer {
    let state = reader.required_text("state", Some(LENGTH));
    let mut optional = |name| {
        let text = reader.optional_text(name, LENGTH)?;
        (!text.is_empty()).then_some(text)
    };
    Answer {
        state,
        code: optional("code"),
        iss: optional("iss"),
        user: optional("user"),
        error: optional("error"),
        description: optional("error_description"),
    }
}

/// Stores what a provider has answered, and says where the browser goes next. Nothing else happens.
///
/// An answer that another site has posted is stored alone: then the browser comes back here without
/// one, by GET, so `is_complete` is false. Which request is answered depends on the state, which counts
/// once, and for the provider that it was sent to.
///
/// # Errors
/// [`AccountError::UnknownProvider`]; [`AccountError::InvalidLink`] when no request waits for it.
pub async fn receive_answer(
    app: &App,
    provider: &str,
    fields: &Fields,
    is_complete: bool,
) -> Result<Callback, AccountError> {
    let provider = find_provider(app, provider)?;
    let mut reader = FieldReader::new(fields);
    let answer = read_answer(&mut reader);
    let is_readable = reader.finish().is_ok();
    let state = answer.state.clone().filter(|_| is_readable);
    let state = state.ok_or(AccountError::InvalidLink)?;
    let state_hash = app.codes.hash_provider_state(&state);
    let now = app.clock.now();
    let found = app
        .store
        .find_provider_request(&state_hash, provider.id(), now);
    let request = found.await?.ok_or(AccountError::InvalidLink)?;
    let stored = match result(provider, answer) {
        Some(result) => store(app, &state, result).await?,
        // It was posted before.
        None => request
            .answer
            .and_then(|sealed| open(app, &sealed, &state))
            .ok_or(AccountError::InvalidLink)?,
    };
    match request.client {
        ProviderClient::App {
            redirect_uri,
            state: app_state,
            ..
        } if is_complete => {
            let first = release(app, stored).await?;
            let state = app_state.map(|state| ("state", state));
            Ok(Callback::App {
                redirect_uri,
                parameters: [Some(first), state].into_iter().flatten().collect(),
            })
        }
        _ => Ok(Callback::Page { state }),
    }
}

/// Stores an answer to the request with this state, which has none yet.
async fn store(app: &App, state: &str, result: AnswerResult) -> Result<StoredAnswer, AccountError> {
    let answer = StoredAnswer {
        state: state.to_owned(),
        result,
    };
    let state_hash = app.codes.hash_provider_state(state);
    let (sealed, now) = (seal(app, &answer, state), app.clock.now());
    let is_stored = app
        .store
        .answer_provider_request(&state_hash, sealed, now)
        .await?;
    is_stored.then_some(answer).ok_or(AccountError::InvalidLink)
}

/// Releases an answer to the app that made its request: under a code, or as the error that ends it.
async fn release(app: &App, answer: StoredAnswer) -> Result<(&'static str, String), AccountError> {
    let state_hash = app.codes.hash_provider_state(&answer.state);
    let now = app.clock.now();
    let error = match answer.result {
        AnswerResult::Denied => "access_denied",
        AnswerResult::Unavailable => "temporarily_unavailable",
        AnswerResult::Code { .. } => {
            let code = random::secret();
            let released = ReleaseAnswer {
                state_hash,
                code_hash: app.codes.hash_provider_code(&code),
                answer: seal(app, &answer, &code),
                expires_at: now.plus(CODE_LIFE),
                now,
            };
            let is_released = app.store.release_provider_answer(released).await?;
            return is_released
                .then_some(("code", code))
                .ok_or(AccountError::InvalidLink);
        }
    };
    let used = app.store.use_provider_request(&state_hash, None, now);
    used.await?.ok_or(AccountError::InvalidLink)?;
    Ok(("error", error.to_owned()))
}

/// What an answer says; `None` without a code and an error.
fn result(provider: &Provider, answer: Answer) -> Option<AnswerResult> {
    if let Some(error) = answer.error {
        let error = provider.callback_error(&error, answer.description.as_deref());
        return Some(match error {
            ProviderError::Unavailable { .. } => AnswerResult::Unavailable,
            ProviderError::Denied | ProviderError::Refused { .. } => AnswerResult::Denied,
        });
    }
    Some(AnswerResult::Code {
        code: answer.code?,
        iss: answer.iss,
        user: answer.user,
    })
}
