//! Signing out on behalf of a client (OpenID Connect RP-Initiated Logout 1.0).

use super::parameters::{MAX_LENGTH, Parameters};
use super::request::{RequestError, RequestFault, read_hint};
use crate::accounts::{AccountError, BrowserSession, Client, sign_out};
use crate::app::App;
use crate::domain::{OAuthClient, SessionRef};

/// The parameters that a request may have.
const NAMES: [&str; 6] = [
    "id_token_hint",
    "client_id",
    "post_logout_redirect_uri",
    "state",
    "logout_hint",
    "ui_locales",
];

/// A checked request.
#[derive(Clone, Debug)]
pub struct SignOutRequest {
    /// The client, if the request names it.
    pub client: Option<OAuthClient>,
    /// Where the browser goes afterwards: one of the client's URIs.
    pub redirect_uri: Option<String>,
    /// What goes with it.
    pub state: Option<String>,
    /// BCP 47 tags of the languages that the client prefers, separated by spaces.
    pub ui_locales: Option<String>,
    /// The client's session that an ID token of ours names.
    hint: Option<SessionRef>,
    parameters: Parameters,
}

impl SignOutRequest {
    /// Its parameters, to be kept.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }
}

/// The next step of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignOutStep {
    /// The sessions end.
    SignOut,
    /// The user is asked: anybody could have sent the request.
    Ask,
    /// Nobody is signed in.
    Nothing,
}

/// Reads and checks a request.
///
/// # Errors
/// What is wrong with it, for the user: where the browser goes is unknown until all is right.
pub async fn read_sign_out_request(
    app: &App,
    parameters: &Parameters,
) -> Result<SignOutRequest, RequestError> {
    let parameters = parameters.only(&NAMES);
    if parameters.to_query().len() > MAX_LENGTH {
        return Err(RequestError::Fault(RequestFault::TooLong));
    }
    if NAMES.iter().any(|name| parameters.get(name).is_err()) {
        return Err(RequestError::Fault(RequestFault::Repeated));
    }
    let get = |name| parameters.get(name).unwrap_or_default().map(str::to_owned);
    let hint = match get("id_token_hint") {
        None => None,
        Some(token) => {
            let hint = read_hint(app, &token).await?;
            Some(hint.ok_or(RequestError::Fault(RequestFault::WrongHint))?)
        }
    };
    let named = get("client_id");
    if let (Some(hint), Some(named)) = (&hint, &named)
        && hint.client_id != *named
    {
        return Err(RequestError::Fault(RequestFault::WrongHint));
    }
    let id = hint.as_ref().map(|hint| hint.client_id.clone()).or(named);
    let client = match id {
        None => None,
        Some(id) => Some(
            app.store
                .find_oauth_client(&id)
                .await?
                .ok_or(RequestError::Fault(RequestFault::UnknownClient))?,
        ),
    };
    let redirect_uri = get("post_logout_redirect_uri");
    if let Some(uri) = &redirect_uri {
        let client = client.as_ref();
        let client = client.ok_or(RequestError::Fault(RequestFault::NoClient))?;
        if !client.settings.allows_post_logout(uri) {
            return Err(RequestError::Fault(RequestFault::WrongPostLogoutUri));
        }
    }
    Ok(SignOutRequest {
        client,
        redirect_uri,
        state: get("state"),
        ui_locales: get("ui_locales"),
        hint: hint.map(|hint| hint.session),
        parameters,
    })
}

/// Decides on the next step of a request.
pub fn decide_sign_out(request: &SignOutRequest, session: Option<&BrowserSession>) -> SignOutStep {
    match (&request.hint, session) {
        (Some(hint), Some(session)) if hint.user_id == session.user().id => SignOutStep::SignOut,
        (_, Some(_)) => SignOutStep::Ask,
        (Some(_), None) => SignOutStep::SignOut,
        (None, None) => SignOutStep::Nothing,
    }
}

/// Ends the browser session with the sessions of clients that depend on it, and the client's session
/// that the request names.
///
/// # Errors
/// Only store errors.
pub async fn sign_out_of_client(
    app: &App,
    request: &SignOutRequest,
    session: Option<&BrowserSession>,
    client: &Client,
) -> Result<(), AccountError> {
    // The hint of another account says nothing about that of this browser.
    let hint = request
        .hint
        .as_ref()
        .filter(|hint| session.is_none_or(|session| session.user().id == hint.user_id));
    if let (Some(hint), Some(registered)) = (hint, &request.client) {
        let (context, now) = (client.context(None), app.clock.now());
        let ended = app
            .store
            .delete_client_session(&hint.id, &registered.id, context, now)
            .await?;
        if ended {
            log::info!(
                "user {}: signed out of client {}",
                hint.user_id,
                registered.id
            );
        }
    }
    if let Some(session) = session {
        sign_out(app, &session.caller, client).await?;
    }
    Ok(())
}
