//! External identity providers: the protocol towards them (OAuth 2.0, OpenID Connect Core 1.0).
//!
//! A [`Provider`] makes the URL to which a browser is sent, exchanges the code that comes back, and
//! verifies the ID tokens that apps get from a provider's own library. The result is an
//! [`ExternalUser`]: who it is, and whether the provider is trusted for the address. State, nonces,
//! verifiers and what an identity means for accounts belong to the caller.
//!
//! ```text
//! openid     providers with ID tokens          discovery  their endpoints (metadata)
//! github     OAuth 2.0 alone                   cached     what is kept for an hour
//! google, apple, microsoft, generic: facts     requests   what is sent, within limits
//! ```
//!
//! To add a kind with ID tokens, add it to [`ProviderKind`], and a file with its [`openid::Facts`].
//! No token of a provider is kept or logged.

mod apple;
mod cached;
mod discovery;
mod error;
mod generic;
mod github;
mod google;
mod microsoft;
mod openid;
mod requests;

use std::sync::Arc;

use crate::clock::SharedClock;
use crate::crypto::tokens::AssertionKey;
use crate::domain::{IdTokenAlgorithm, ProviderKind, Timestamp};
use crate::observability::metrics::Metrics;
use crate::outbound::Client;
pub use error::ProviderError;
use github::Github;
use openid::OpenId;
use requests::Requests;

/// What is known about a provider from the settings.
pub struct ProviderOptions {
    /// Its id, part of URLs.
    pub id: String,
    /// Its kind.
    pub kind: ProviderKind,
    /// What users see.
    pub name: String,
    /// The id that it has given to this server.
    pub client_id: String,
    /// How this server proves to be that client.
    pub credential: ClientCredential,
    /// The issuer, or the base URL of a GitHub Enterprise server; `None` for the one of the kind.
    pub issuer: Option<String>,
    /// What is asked for; empty for the scopes of the kind.
    pub scopes: Vec<String>,
    /// Who the ID tokens of apps may be issued for.
    pub audiences: Vec<String>,
    /// The algorithm of its ID tokens.
    pub algorithm: IdTokenAlgorithm,
    /// Whether `email_verified` of a generic provider is believed.
    pub trust_email: bool,
    /// Whether an identity is connected to the account of its trusted address without asking.
    pub auto_link: bool,
}

/// How this server proves to a provider that it is its client.
pub enum ClientCredential {
    /// Not at all: a public client (RFC 6749, section 2.1). PKCE protects its codes.
    Public,
    /// By a secret.
    Secret(String),
    /// By an assertion in place of the secret, as Apple wants it.
    Assertion {
        /// The issuer of the assertion: the team of the developer.
        team_id: String,
        /// The key that signs it.
        key: AssertionKey,
    },
}

/// A request for an authorization code (RFC 6749, section 4.1.1).
#[derive(Clone, Copy, Debug)]
pub struct AuthorizationRequest<'a> {
    /// This server's callback of the provider.
    pub redirect_uri: &'a str,
    /// Identifies the request; random.
    pub state: &'a str,
    /// Binds the ID token to the request; random. Providers without ID tokens do not get it.
    pub nonce: &'a str,
    /// `S256` challenge of the verifier (RFC 7636).
    pub code_challenge: &'a str,
    /// Language of the user, such as `pt-BR`.
    pub locale: Option<&'a str>,
    /// Whether the user has to authenticate again there. [`Provider::can_force_login`] says whether
    /// the provider heeds it, and [`ExternalUser::auth_time`] whether it did.
    pub force_login: bool,
}

/// What came back with a browser, and what belongs to the request that it answers.
#[derive(Clone, Copy, Debug)]
pub struct AuthorizationAnswer<'a> {
    /// The authorization code.
    pub code: &'a str,
    /// The issuer that the answer names (RFC 9207).
    pub iss: Option<&'a str>,
    /// The field `user` of Apple's form, which has the name at the first sign-in only.
    pub user: Option<&'a str>,
    /// As in the request.
    pub redirect_uri: &'a str,
    /// The verifier of the challenge in the request.
    pub code_verifier: &'a str,
    /// As in the request.
    pub nonce: &'a str,
}

/// Somebody who has signed in with a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalUser {
    /// Whose account it is: the issuer of the ID token, or the base URL of GitHub.
    pub issuer: String,
    /// The account at the issuer. It and the issuer identify an identity, nothing else does.
    pub subject: String,
    /// Address as the provider has it, not normalised.
    pub email: Option<String>,
    /// Whether the provider is trusted to have verified that the address is the user's.
    pub is_email_trusted: bool,
    /// Name in one piece.
    pub name: Option<String>,
    /// First name.
    pub given_name: Option<String>,
    /// Last name.
    pub family_name: Option<String>,
    /// When the user authenticated at the provider; `None` where it does not say.
    pub auth_time: Option<Timestamp>,
}

/// Identifies an ID token, so that it can be used once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenUse {
    /// SHA-256 of what the token signs.
    pub hash: [u8; 32],
    /// When the token is refused for its age, so that its hash can be forgotten.
    pub expires_at: Timestamp,
}

/// A provider.
pub struct Provider {
    id: String,
    name: String,
    kind: ProviderKind,
    auto_link: bool,
    protocol: Protocol,
}

enum Protocol {
    OpenId(Box<OpenId>),
    Github(Box<Github>),
}

impl Provider {
    /// A provider with these settings. Nothing is requested before it is used.
    ///
    /// # Errors
    /// When its issuer is not a URL; the text may be shown.
    pub fn new(options: ProviderOptions, tools: &ProviderTools) -> Result<Self, String> {
        let kind = options.kind;
        let requests = Requests::new(kind, tools);
        let (id, name, auto_link) = (options.id.clone(), options.name.clone(), options.auto_link);
        let facts = match kind {
            ProviderKind::Google => Some(google::FACTS),
            ProviderKind::Apple => Some(apple::FACTS),
            ProviderKind::Microsoft => Some(microsoft::FACTS),
            ProviderKind::Oidc => Some(generic::FACTS),
            ProviderKind::Github => None,
        };
        let protocol = match facts {
            Some(facts) => {
                let clock = Arc::clone(&tools.clock);
                let openid = OpenId::new(facts, options, requests, clock)?;
                Protocol::OpenId(Box::new(openid))
            }
            None => Protocol::Github(Box::new(Github::new(options, requests)?)),
        };
        Ok(Self {
            id,
            name,
            kind,
            auto_link,
            protocol,
        })
    }

    /// Its id, part of URLs.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What users see.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its kind.
    pub fn kind(&self) -> ProviderKind {
        self.kind
    }

    /// Whether an identity is connected to the account of its trusted address without asking.
    pub fn links_automatically(&self) -> bool {
        self.auto_link
    }

    /// Whether the answer comes as a form that another site posts, without cookies of ours
    /// (`response_mode=form_post`).
    pub fn posts_answers(&self) -> bool {
        self.kind == ProviderKind::Apple
    }

    /// Whether it lets users authenticate again on demand, and says when they did.
    pub fn can_force_login(&self) -> bool {
        match &self.protocol {
            Protocol::OpenId(openid) => openid.can_force_login(),
            Protocol::Github(_) => false,
        }
    }

    /// The URL to which the browser is sent.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`] when the provider's endpoints cannot be found.
    pub async fn authorization_url(
        &self,
        request: &AuthorizationRequest<'_>,
    ) -> Result<String, ProviderError> {
        self.logged(match &self.protocol {
            Protocol::OpenId(openid) => openid.authorization_url(request).await,
            Protocol::Github(github) => Ok(github.authorization_url(request)),
        })
    }

    /// Exchanges the code of an answer for the user.
    ///
    /// # Errors
    /// [`ProviderError`]. Its reason has been logged.
    pub async fn exchange(
        &self,
        answer: &AuthorizationAnswer<'_>,
    ) -> Result<ExternalUser, ProviderError> {
        self.logged(match &self.protocol {
            Protocol::OpenId(openid) => openid.exchange(answer).await,
            Protocol::Github(github) => github.exchange(answer).await,
        })
    }

    /// Verifies an ID token that an app has got from the provider's own library, for one of the
    /// audiences of the settings, at most five minutes after it was issued. The token may have the
    /// nonce itself or its SHA-256 in hexadecimal.
    ///
    /// The caller has to refuse a second use of the token by its [`TokenUse`].
    ///
    /// # Errors
    /// [`ProviderError`]. Its reason has been logged.
    pub async fn verify_id_token(
        &self,
        id_token: &str,
        nonce: &str,
    ) -> Result<(ExternalUser, TokenUse), ProviderError> {
        self.logged(match &self.protocol {
            Protocol::OpenId(openid) => openid.verify_id_token(id_token, nonce).await,
            Protocol::Github(_) => Err(ProviderError::refused("GitHub has no ID tokens")),
        })
    }

    /// What an answer with `error` instead of a code means (RFC 6749, section 4.1.2.1). The
    /// description comes with the browser and is logged only.
    pub fn callback_error(&self, error: &str, description: Option<&str>) -> ProviderError {
        let error = ProviderError::of_callback(error, description);
        self.log(&error);
        error
    }

    /// Checks that the provider can be used: its endpoints, its keys, and whether it accepts this
    /// client. Nothing is cached or changed.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`] with what is wrong.
    pub async fn check(&self, redirect_uri: &str) -> Result<(), ProviderError> {
        match &self.protocol {
            Protocol::OpenId(openid) => openid.check(redirect_uri).await,
            Protocol::Github(github) => github.check(redirect_uri).await,
        }
    }

    fn logged<T>(&self, result: Result<T, ProviderError>) -> Result<T, ProviderError> {
        result.inspect_err(|error| self.log(error))
    }

    fn log(&self, error: &ProviderError) {
        let level = match error {
            ProviderError::Unavailable { .. } => log::Level::Warn,
            ProviderError::Refused { .. } | ProviderError::Denied => log::Level::Info,
        };
        log::log!(level, "provider {}: {error}", self.id);
    }
}

/// What providers share.
pub struct ProviderTools {
    /// Sends the requests.
    pub client: Arc<Client>,
    /// Tells how old what is kept and what is signed is.
    pub clock: SharedClock,
    /// Counts the requests.
    pub metrics: Arc<Metrics>,
}

/// The providers of the settings.
#[derive(Default)]
pub struct Providers(Vec<Provider>);

impl Providers {
    /// These providers, whose ids differ.
    pub fn new(providers: Vec<Provider>) -> Self {
        Self(providers)
    }

    /// All of them, in the order of the settings.
    pub fn list(&self) -> &[Provider] {
        &self.0
    }

    /// The provider with this id.
    pub fn get(&self, id: &str) -> Option<&Provider> {
        self.0.iter().find(|provider| provider.id == id)
    }
}
