//! Authorization requests, read and checked (RFC 6749, section 4.1.1; OpenID Connect Core, section
//! 3.1.2; RFC 7636; RFC 9700).
//!
//! The client and its redirect URI are checked before anything else: until then no error may be sent
//! there, and the user sees it instead.

use std::time::Duration;

use super::parameters::{MAX_LENGTH, Parameters};
use crate::accounts::{AccountError, keys};
use crate::app::App;
use crate::crypto::pkce::is_challenge;
use crate::crypto::tokens::IdTokenHint;
use crate::domain::{OAuthClient, Scopes, UserId};

/// The parameters that a request may have.
const NAMES: [&str; 17] = [
    "client_id",
    "redirect_uri",
    "response_type",
    "response_mode",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "prompt",
    "max_age",
    "login_hint",
    "ui_locales",
    "id_token_hint",
    "request",
    "request_uri",
    "registration",
];

/// An error that a client is notified of, with its code (RFC 6749, section 4.1.2.1; OpenID Connect
/// Core, section 3.1.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OAuthError {
    /// The code.
    pub code: &'static str,
    /// What is wrong, for the client's developer.
    pub description: &'static str,
}

impl OAuthError {
    pub(super) const fn new(code: &'static str, description: &'static str) -> Self {
        Self { code, description }
    }

    const fn invalid(description: &'static str) -> Self {
        Self::new("invalid_request", description)
    }
}

/// How an answer gets to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseMode {
    /// In the query of the redirect URI.
    Query,
    /// By a form that the browser posts there (OAuth 2.0 Form Post Response Mode).
    FormPost,
}

/// An answer to a client. The caller adds the issuer (RFC 9207).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAnswer {
    /// The name of the client.
    pub client_name: String,
    /// Where to.
    pub redirect_uri: String,
    /// How.
    pub mode: ResponseMode,
    /// What it says.
    pub parameters: Vec<(&'static str, String)>,
}

/// What is wrong with a request whose client or redirect URI is wrong. Only the user sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestFault {
    /// A parameter is missing that names the client.
    #[error("client_id is missing")]
    NoClient,
    /// There is no such client.
    #[error("client_id is that of no registered client")]
    UnknownClient,
    /// The redirect URI is missing.
    #[error("redirect_uri is missing")]
    NoRedirectUri,
    /// The redirect URI is not one of the client's.
    #[error("redirect_uri is not one that is registered for this client, character by character")]
    WrongRedirectUri,
    /// Client or redirect URI are there more than once.
    #[error("client_id or redirect_uri is repeated")]
    Repeated,
    /// The request is too long.
    #[error("the request is longer than 8192 bytes")]
    TooLong,
    /// The request has expired, or never was.
    #[error("the request has expired")]
    Expired,
    /// The hint of a sign-out does not belong to the client.
    #[error("id_token_hint is not an ID token of this client")]
    WrongHint,
    /// The URI is not one that browsers may be sent to after a sign-out.
    #[error("post_logout_redirect_uri is not one that is registered for this client")]
    WrongPostLogoutUri,
}

/// Why a request is not carried out.
#[derive(Debug)]
pub enum RequestError {
    /// The user is shown what is wrong.
    Fault(RequestFault),
    /// The client is notified.
    Answer(Box<ClientAnswer>),
    /// A fault of this server.
    Failed(AccountError),
}

impl<E: Into<AccountError>> From<E> for RequestError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// What the client asks of the user (OpenID Connect Core, section 3.1.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Prompt {
    pub(super) none: bool,
    pub(super) login: bool,
    pub(super) consent: bool,
    pub(super) select_account: bool,
}

impl Prompt {
    fn parse(text: &str) -> Result<Self, OAuthError> {
        let mut prompt = Self::default();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            match word {
                "none" => prompt.none = true,
                "login" => prompt.login = true,
                "consent" => prompt.consent = true,
                "select_account" => prompt.select_account = true,
                _ => return Err(OAuthError::invalid("prompt has an unknown value")),
            }
        }
        if prompt.none && (prompt.login || prompt.consent || prompt.select_account) {
            return Err(OAuthError::invalid("prompt=none excludes other values"));
        }
        Ok(prompt)
    }
}

/// Whom the client expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// It does not say.
    Nobody,
    /// This account.
    Account(UserId),
    /// A token that says nothing: of another server or client, or signed by a key that is gone.
    Unreadable,
}

/// A checked request.
#[derive(Clone, Debug)]
pub struct AuthorizationRequest {
    /// The client.
    pub client: OAuthClient,
    /// Where the answer goes.
    pub redirect_uri: String,
    /// What the client gets.
    pub scopes: Scopes,
    /// The address of the account that the client expects, as it likes to write it.
    pub login_hint: Option<String>,
    /// BCP 47 tags of the languages that the client prefers, separated by spaces.
    pub ui_locales: Option<String>,
    pub(super) mode: ResponseMode,
    pub(super) state: Option<String>,
    pub(super) nonce: Option<String>,
    pub(super) code_challenge: String,
    pub(super) prompt: Prompt,
    pub(super) max_age: Option<Duration>,
    pub(super) hint: Hint,
    parameters: Parameters,
}

impl AuthorizationRequest {
    /// Its parameters, to be kept.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Whether the redirect URI leads to a program on the user's device, where others could listen.
    pub fn is_native(&self) -> bool {
        let uri = self.client.settings.find_redirect_uri(&self.redirect_uri);
        uri.is_none_or(crate::domain::RedirectUri::is_native)
    }

    /// The answer with a code.
    pub(super) fn answer_code(&self, code: String) -> ClientAnswer {
        self.target().answer(vec![("code", code)])
    }

    /// The answer with an error.
    pub fn answer_error(&self, error: OAuthError) -> ClientAnswer {
        self.target().answer_error(error)
    }

    /// The answer of a user who does not allow it.
    pub fn answer_denied(&self) -> ClientAnswer {
        let denied = OAuthError::new("access_denied", "the user did not allow it");
        self.answer_error(denied)
    }

    fn target(&self) -> Target<'_> {
        Target {
            client: &self.client,
            redirect_uri: &self.redirect_uri,
            mode: self.mode,
            state: self.state.as_deref(),
        }
    }
}

/// Where an answer goes.
#[derive(Clone, Copy)]
struct Target<'a> {
    client: &'a OAuthClient,
    redirect_uri: &'a str,
    mode: ResponseMode,
    state: Option<&'a str>,
}

impl Target<'_> {
    fn answer(self, mut parameters: Vec<(&'static str, String)>) -> ClientAnswer {
        let state = self.state.map(|state| ("state", state.to_owned()));
        parameters.extend(state);
        ClientAnswer {
            client_name: self.client.settings.name.clone(),
            redirect_uri: self.redirect_uri.to_owned(),
            mode: self.mode,
            parameters,
        }
    }

    fn answer_error(self, error: OAuthError) -> ClientAnswer {
        self.answer(vec![
            ("error", error.code.to_owned()),
            ("error_description", error.description.to_owned()),
        ])
    }
}

/// Reads and checks a request.
///
/// # Errors
/// What is wrong with it, and who is notified.
pub async fn read_authorization_request(
    app: &App,
    parameters: &Parameters,
) -> Result<AuthorizationRequest, RequestError> {
    let parameters = parameters.only(&NAMES);
    if parameters.to_query().len() > MAX_LENGTH {
        return Err(RequestError::Fault(RequestFault::TooLong));
    }
    let (client, redirect_uri) = read_client(app, &parameters).await?;
    // A mode that is wrong itself is answered in the usual one.
    let mode = read_mode(&parameters);
    let target = Target {
        client: &client,
        redirect_uri: &redirect_uri,
        mode: mode.unwrap_or(ResponseMode::Query),
        state: parameters.get("state").ok().flatten(),
    };
    let refuse = |error| RequestError::Answer(Box::new(target.answer_error(error)));
    mode.map_err(refuse)?;
    let rest = Rest::read(&parameters, &client).map_err(refuse)?;
    let hint = match rest.id_token_hint {
        None => Hint::Nobody,
        Some(token) => match read_hint(app, token).await? {
            Some(hint) if hint.client_id == client.id => Hint::Account(hint.session.user_id),
            _ => Hint::Unreadable,
        },
    };
    let text = |text: Option<&str>| text.map(str::to_owned);
    Ok(AuthorizationRequest {
        mode: target.mode,
        state: text(target.state),
        scopes: rest.scopes,
        login_hint: text(rest.login_hint),
        ui_locales: text(rest.ui_locales),
        nonce: text(rest.nonce),
        code_challenge: rest.code_challenge.to_owned(),
        prompt: rest.prompt,
        max_age: rest.max_age,
        hint,
        redirect_uri,
        client,
        parameters,
    })
}

/// What an ID token says that comes back as a hint; `None` when it is not one of this server.
pub(super) async fn read_hint(app: &App, token: &str) -> Result<Option<IdTokenHint>, AccountError> {
    match keys::verify_id_token_hint(app, token).await {
        Ok(hint) => Ok(Some(hint)),
        Err(AccountError::InvalidToken) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The client and the redirect URI, which is one of its own.
async fn read_client(
    app: &App,
    parameters: &Parameters,
) -> Result<(OAuthClient, String), RequestError> {
    let fault = RequestError::Fault;
    let repeated = |_| fault(RequestFault::Repeated);
    let id = parameters.get("client_id").map_err(repeated)?;
    let uri = parameters.get("redirect_uri").map_err(repeated)?;
    let id = id.ok_or(fault(RequestFault::NoClient))?;
    let client = app.store.find_oauth_client(id).await?;
    let client = client.ok_or(fault(RequestFault::UnknownClient))?;
    let uri = uri.ok_or(fault(RequestFault::NoRedirectUri))?;
    if client.settings.find_redirect_uri(uri).is_none() {
        return Err(fault(RequestFault::WrongRedirectUri));
    }
    Ok((client, uri.to_owned()))
}

fn read_mode(parameters: &Parameters) -> Result<ResponseMode, OAuthError> {
    let unknown = OAuthError::invalid("response_mode has to be query or form_post, once");
    match parameters.get("response_mode").map_err(|_| unknown)? {
        None | Some("query") => Ok(ResponseMode::Query),
        Some("form_post") => Ok(ResponseMode::FormPost),
        Some(_) => Err(unknown),
    }
}

/// What of a request is read once its client and redirect URI are known.
struct Rest<'a> {
    scopes: Scopes,
    nonce: Option<&'a str>,
    code_challenge: &'a str,
    prompt: Prompt,
    max_age: Option<Duration>,
    login_hint: Option<&'a str>,
    ui_locales: Option<&'a str>,
    id_token_hint: Option<&'a str>,
}

impl<'a> Rest<'a> {
    fn read(parameters: &'a Parameters, client: &OAuthClient) -> Result<Self, OAuthError> {
        if NAMES.iter().any(|name| parameters.get(name).is_err()) {
            return Err(OAuthError::invalid("a parameter is repeated"));
        }
        let get = |name| parameters.get(name).unwrap_or_default();
        for (name, code) in [
            ("request", "request_not_supported"),
            ("request_uri", "request_uri_not_supported"),
            ("registration", "registration_not_supported"),
        ] {
            if get(name).is_some() {
                let description = "requests consist of plain parameters";
                return Err(OAuthError::new(code, description));
            }
        }
        match get("response_type") {
            Some("code") => {}
            Some(_) => {
                let description = "response_type has to be code";
                return Err(OAuthError::new("unsupported_response_type", description));
            }
            None => return Err(OAuthError::invalid("response_type is missing")),
        }
        let scopes = Scopes::parse_known(get("scope").unwrap_or_default());
        let scopes = scopes.within(&client.settings.scopes);
        if scopes.is_empty() {
            let description = "scope has none that is registered for this client";
            return Err(OAuthError::new("invalid_scope", description));
        }
        Ok(Self {
            code_challenge: read_challenge(get("code_challenge"), get("code_challenge_method"))?,
            prompt: Prompt::parse(get("prompt").unwrap_or_default())?,
            max_age: get("max_age").map(read_max_age).transpose()?,
            scopes,
            nonce: get("nonce"),
            login_hint: get("login_hint"),
            ui_locales: get("ui_locales"),
            id_token_hint: get("id_token_hint"),
        })
    }
}

/// PKCE is required, and its method is S256: `plain` protects nothing once the request is known (RFC
/// 9700, section 2.1.1).
fn read_challenge<'a>(
    challenge: Option<&'a str>,
    method: Option<&str>,
) -> Result<&'a str, OAuthError> {
    let challenge = challenge.ok_or(OAuthError::invalid("code_challenge is missing (PKCE)"))?;
    if method != Some("S256") {
        return Err(OAuthError::invalid("code_challenge_method has to be S256"));
    }
    if is_challenge(challenge) {
        Ok(challenge)
    } else {
        let description = "code_challenge has to be SHA-256 of the verifier in base64url";
        Err(OAuthError::invalid(description))
    }
}

fn read_max_age(text: &str) -> Result<Duration, OAuthError> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    let seconds = text.parse::<u32>().ok().filter(|_| is_number);
    let seconds = seconds.ok_or(OAuthError::invalid("max_age has to be a number of seconds"))?;
    Ok(Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn challenges_are_hashes() {
        assert_eq!(read_challenge(Some(CHALLENGE), Some("S256")), Ok(CHALLENGE));
        for (challenge, method) in [
            (None, Some("S256")),
            (Some(CHALLENGE), None),
            (Some(CHALLENGE), Some("plain")),
            (Some(CHALLENGE), Some("s256")),
            (Some(&CHALLENGE[1..]), Some("S256")),
            (
                Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw+cM"),
                Some("S256"),
            ),
            (
                Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-c="),
                Some("S256"),
            ),
        ] {
            assert!(
                read_challenge(challenge, method).is_err(),
                "{challenge:?} {method:?}"
            );
        }
    }

    #[test]
    fn prompts_are_words() {
        let prompt = Prompt::parse("login  consent").unwrap();
        assert!(prompt.login && prompt.consent && !prompt.select_account && !prompt.none);
        assert_eq!(Prompt::parse(""), Ok(Prompt::default()));
        for wrong in ["none login", "create", "Login", "none consent"] {
            assert!(Prompt::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ages_are_seconds() {
        assert_eq!(read_max_age("0"), Ok(Duration::ZERO));
        assert_eq!(read_max_age("60"), Ok(Duration::from_mins(1)));
        for wrong in ["-1", "+1", "1.5", "x", "99999999999"] {
            assert!(read_max_age(wrong).is_err(), "{wrong}");
        }
    }
}
