//! Signing in with a passkey alone: it is two factors, so no code is asked for after it.

use schemars::JsonSchema;
use serde::Serialize;

use super::answers::{Checked, check, used};
use super::challenges::{self, TIMEOUT, begin};
use super::{SESSION_ID, SESSION_ID_LENGTH, read_answer};
use crate::accounts::{AccountError, Client, Signed, unread};
use crate::app::App;
use crate::crypto::random;
use crate::crypto::webauthn::RequestOptions;
use crate::domain::{AuthMethod, Authentication, FieldReader, Fields, SecondFactor, UserId};
use crate::limits::Limited;
use crate::observability::metrics::FactorEvent;
use crate::store::PasskeySignIn;

/// What a browser needs to ask for any passkey of the site.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PasskeyRequest {
    /// The options for the authenticator.
    #[serde(flatten)]
    pub options: RequestOptions,
    /// Returns with the answer.
    pub session_id: String,
}

/// Begins a sign-in, or another authentication, with a passkey. The answer is the same for
/// everybody.
///
/// # Errors
/// [`AccountError::Throttled`] when the client's network has started too many.
pub async fn start_passkey_sign_in(
    app: &App,
    client: &Client,
) -> Result<PasskeyRequest, AccountError> {
    let session_id = random::id() + &random::id();
    let subject = challenges::sign_in(app, &session_id);
    let challenge = begin(app, client, subject).await?;
    Ok(PasskeyRequest {
        options: RequestOptions::new(&app.relying_party, &challenge, Vec::new(), TIMEOUT),
        session_id,
    })
}

/// Starts a session by the answer of a passkey.
///
/// # Errors
/// [`AccountError::NoActiveAccount`] for every answer that is not accepted, whatever the reason;
/// [`AccountError::Throttled`] after too many of them.
pub async fn sign_in_with_passkey(
    app: &App,
    fields: &Fields,
    client: &Client,
) -> Result<Signed, AccountError> {
    let mut reader = FieldReader::new(fields);
    let (json, session_id) = read(&mut reader);
    reader.finish()?;
    let (json, session_id) = json.zip(session_id).ok_or_else(unread)?;
    client.check_limit(app, Limited::FailedSignIn)?;
    let subject = challenges::sign_in(app, &session_id);
    let (key, verified) = match check(app, &json, subject, false).await? {
        Checked::Right(key, verified) => (key, verified),
        Checked::Wrong(user_id) => return Err(failed(app, client, user_id).await?),
    };
    let (user_id, now) = (key.user_id, app.clock.now());
    let mut starting = client.new_session(app, now, AuthMethod::Swk);
    starting.session.authentication = Authentication::by_passkey(now);
    let sign_in = PasskeySignIn {
        user_id,
        used: used(key, verified),
        session: starting.session.clone(),
        notice: client.sign_in_notice(app, now),
        context: client.context(None),
    };
    let Some(user) = app.store.sign_in_with_passkey(sign_in).await? else {
        return Err(failed(app, client, Some(user_id)).await?);
    };
    app.metrics
        .count_factor(SecondFactor::Webauthn, FactorEvent::Verified);
    log::info!("user {user_id}: signed in with a passkey");
    if app.config.sends_sign_in_notices() {
        app.outbox.wake().await;
    }
    starting.signed(app, &user).await
}

/// Counts a failed sign-in. Returns its error.
async fn failed(
    app: &App,
    client: &Client,
    user_id: Option<UserId>,
) -> Result<AccountError, AccountError> {
    app.metrics
        .count_factor(SecondFactor::Webauthn, FactorEvent::Failed);
    client.count(app, Limited::FailedSignIn)?;
    let now = app.clock.now();
    app.store
        .note_failed_sign_in(user_id, client.context(None), now)
        .await?;
    Ok(AccountError::NoActiveAccount)
}

/// Reads an answer and the id of the sign-in that it belongs to.
pub(in crate::accounts) fn read(reader: &mut FieldReader<'_>) -> (Option<String>, Option<String>) {
    let json = read_answer(reader);
    let session_id = reader.required_text(SESSION_ID, Some(SESSION_ID_LENGTH));
    (json, session_id)
}
