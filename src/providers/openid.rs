//! Providers with ID tokens (OpenID Connect Core 1.0, authorization code flow).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use form_urlencoded::{Serializer, byte_serialize};
use serde_json::{Map, Value};

use super::cached::Cached;
use super::discovery::{Metadata, discover, document_url};
use super::error::ProviderError;
use super::requests::Requests;
use super::{
    AuthorizationAnswer, AuthorizationRequest, ClientCredential, ExternalUser, ProviderOptions,
    TokenUse,
};
use crate::clock::SharedClock;
use crate::crypto::tokens::external::{
    Claims, Expected, IdTokenProblem, ProviderKeys, UnverifiedIdToken,
};
use crate::domain::{Timestamp, printable};
use crate::outbound::EndpointUrl;

/// How long after it was issued an ID token of an app counts: five minutes with the tolerance of
/// clocks.
const MAX_APP_TOKEN_AGE: Duration = Duration::from_mins(4);

/// How long its use is remembered, longer than it counts.
const APP_TOKEN_MEMORY: Duration = Duration::from_mins(6);

/// Longest name in characters; longer ones are cut.
const NAME_LENGTH: usize = 150;

/// A code that no provider has given out, for `check`.
const NO_CODE: &str = "check-of-the-settings";

/// The verifier that belongs to it.
const NO_VERIFIER: &str = "accounts-server-checks-whether-it-is-a-client";

/// What the kinds of providers differ in.
#[derive(Clone, Copy)]
pub(super) struct Facts {
    /// The issuer, unless the settings name one.
    pub(super) issuer: &'static str,
    /// What is asked for, unless the settings say so.
    pub(super) scopes: &'static [&'static str],
    /// Further parameters of each authorization request.
    pub(super) parameters: &'static [(&'static str, &'static str)],
    /// Parameters that make users authenticate again, or at least choose an account.
    pub(super) force_login: &'static [(&'static str, &'static str)],
    /// Whether these are heeded, and the ID token says when the user authenticated.
    pub(super) can_force_login: bool,
    /// The parameter for the language of the user.
    pub(super) locale_parameter: Option<&'static str>,
    /// Whether a secret belongs into the body of a token request, whatever the metadata say.
    pub(super) wants_secret_in_body: bool,
    /// Whether claims that the ID token lacks are looked up at the userinfo endpoint.
    pub(super) uses_userinfo: bool,
    /// Whether metadata of this issuer (second) belong to the issuer of the settings (first).
    pub(super) is_document_issuer: fn(&str, &str) -> bool,
    /// The issuer that a token names, if the metadata allow it.
    pub(super) token_issuer: fn(&Metadata, &Claims) -> Option<String>,
    /// Whether the address of a user is verified, by `email_verified` and the like.
    pub(super) is_email_verified: fn(&UserClaims<'_>) -> bool,
    /// Whether that counts only where the settings trust the provider.
    pub(super) needs_trust: bool,
}

/// Exactly the issuer of the settings, as it has to be for all but Microsoft.
pub(super) fn is_same_issuer(configured: &str, found: &str) -> bool {
    configured == found
}

/// Exactly the issuer of the metadata.
pub(super) fn exact_issuer(metadata: &Metadata, claims: &Claims) -> Option<String> {
    let issuer = claims.text("iss")?;
    (issuer == metadata.issuer).then(|| issuer.to_owned())
}

/// What an ID token and, where it was asked, the userinfo endpoint say of a user.
pub(super) struct UserClaims<'a> {
    id_token: &'a Claims,
    userinfo: Map<String, Value>,
}

impl UserClaims<'_> {
    /// A claim, of the ID token if that has it. Verified is only the address of the same source.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        let is_of_email = matches!(name, "email" | "email_verified");
        if is_of_email && self.userinfo.contains_key("email") {
            return self.userinfo.get(name);
        }
        let other = self.userinfo.get(name).filter(|_| !is_of_email);
        self.id_token.value(name).or(other)
    }

    /// The address as it is: a part of it would be somebody else's.
    fn email(&self) -> Option<String> {
        let email = self.value("email")?.as_str()?;
        (!email.is_empty()).then(|| email.to_owned())
    }

    /// Whether a claim is `true`.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.value(name) == Some(&Value::Bool(true))
    }

    fn text(&self, name: &str) -> Option<String> {
        tidy(self.value(name)?.as_str()?)
    }
}

/// A name from outside: without control characters, of bounded length, not empty.
pub(super) fn tidy(text: &str) -> Option<String> {
    let text: String = printable(text).trim().chars().take(NAME_LENGTH).collect();
    (!text.is_empty()).then_some(text)
}

/// A provider with ID tokens.
pub(super) struct OpenId {
    facts: Facts,
    options: ProviderOptions,
    issuer: String,
    document: EndpointUrl,
    requests: Requests,
    clock: SharedClock,
    metadata: Cached<Metadata>,
    keys: Cached<ProviderKeys>,
}

impl OpenId {
    pub(super) fn new(
        facts: Facts,
        options: ProviderOptions,
        requests: Requests,
        clock: SharedClock,
    ) -> Result<Self, String> {
        let issuer = options.issuer.as_deref().unwrap_or(facts.issuer).to_owned();
        Ok(Self {
            facts,
            document: document_url(&issuer)?,
            issuer,
            options,
            requests,
            clock,
            metadata: Cached::default(),
            keys: Cached::default(),
        })
    }

    pub(super) fn can_force_login(&self) -> bool {
        self.facts.can_force_login
    }

    pub(super) async fn authorization_url(
        &self,
        request: &AuthorizationRequest<'_>,
    ) -> Result<String, ProviderError> {
        let metadata = self.metadata().await?;
        let scopes = match self.options.scopes.is_empty() {
            true => self.facts.scopes.join(" "),
            false => self.options.scopes.join(" "),
        };
        let mut fields = vec![
            ("response_type", "code"),
            ("client_id", &*self.options.client_id),
            ("redirect_uri", request.redirect_uri),
            ("scope", &*scopes),
            ("state", request.state),
            ("nonce", request.nonce),
            ("code_challenge", request.code_challenge),
            ("code_challenge_method", "S256"),
        ];
        fields.extend(self.facts.parameters);
        if let (Some(parameter), Some(locale)) = (self.facts.locale_parameter, request.locale) {
            fields.push((parameter, locale));
        }
        if request.force_login {
            fields.extend(self.facts.force_login);
        }
        Ok(with_query(
            metadata.authorization_endpoint.as_str(),
            &fields,
        ))
    }

    pub(super) async fn exchange(
        &self,
        answer: &AuthorizationAnswer<'_>,
    ) -> Result<ExternalUser, ProviderError> {
        let metadata = self.metadata().await?;
        self.check_answer_issuer(&metadata, answer.iss)?;
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", answer.code),
            ("redirect_uri", answer.redirect_uri),
            ("code_verifier", answer.code_verifier),
        ];
        let tokens = self.request_tokens(&metadata, &fields).await?;
        let id_token = tokens.get("id_token").and_then(Value::as_str);
        let id_token = id_token.ok_or_else(|| {
            ProviderError::unavailable(
                "the token endpoint sends no id_token; is \"openid\" among the scopes?",
            )
        })?;
        let token = UnverifiedIdToken::parse(id_token, self.options.algorithm)?;
        let expected = Expected {
            audiences: &[&self.options.client_id],
            nonce: answer.nonce,
            may_hash_nonce: false,
            // It was issued for this very request.
            max_age: Duration::ZERO,
        };
        let (issuer, claims) = self.verify(&metadata, &token, &expected).await?;
        let access_token = tokens.get("access_token").and_then(Value::as_str);
        let userinfo = self.userinfo(&metadata, &claims, access_token).await?;
        let claims = UserClaims {
            id_token: &claims,
            userinfo,
        };
        let mut user = self.user(issuer, &claims)?;
        if let Some(form) = answer.user {
            add_posted_name(&mut user, form);
        }
        Ok(user)
    }

    pub(super) async fn verify_id_token(
        &self,
        id_token: &str,
        nonce: &str,
    ) -> Result<(ExternalUser, TokenUse), ProviderError> {
        let audiences: Vec<&str> = self.options.audiences.iter().map(String::as_str).collect();
        if audiences.is_empty() {
            return Err(ProviderError::refused(
                "ID tokens of apps are not accepted, as the provider has no audiences in the \
                 settings",
            ));
        }
        // Its form first: nothing is requested for a text that cannot be a token.
        let token = UnverifiedIdToken::parse(id_token, self.options.algorithm)?;
        let metadata = self.metadata().await?;
        let expected = Expected {
            audiences: &audiences,
            nonce,
            may_hash_nonce: true,
            max_age: MAX_APP_TOKEN_AGE,
        };
        let (issuer, claims) = self.verify(&metadata, &token, &expected).await?;
        let issued_at = claims.seconds("iat").ok_or(IdTokenProblem::IssuedAt)?;
        let claims = UserClaims {
            id_token: &claims,
            userinfo: Map::new(),
        };
        let user = self.user(issuer, &claims)?;
        let token_use = TokenUse {
            hash: token.digest(),
            expires_at: Timestamp::from_unix_seconds(issued_at).plus(APP_TOKEN_MEMORY),
        };
        Ok((user, token_use))
    }

    pub(super) async fn check(&self, redirect_uri: &str) -> Result<(), ProviderError> {
        let metadata = self.discover().await?;
        self.request_keys(&metadata).await?;
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", NO_CODE),
            ("redirect_uri", redirect_uri),
            ("code_verifier", NO_VERIFIER),
        ];
        // That the code is unknown is what it says to a client that it knows.
        match self.request_tokens(&metadata, &fields).await {
            Err(error @ ProviderError::Unavailable { .. }) => Err(error),
            _ => Ok(()),
        }
    }

    async fn discover(&self) -> Result<Metadata, ProviderError> {
        discover(&self.requests, &self.document, &self.issuer, &self.facts).await
    }

    async fn metadata(&self) -> Result<Arc<Metadata>, ProviderError> {
        self.metadata.get(self.clock.now(), self.discover()).await
    }

    async fn request_keys(&self, metadata: &Metadata) -> Result<ProviderKeys, ProviderError> {
        let reply = self.requests.get(&metadata.jwks_uri).await?;
        ProviderKeys::parse(reply.ok()?, self.options.algorithm)
            .map_err(|problem| reply.wrong(&format!("has an unusable key set: {problem}")))
    }

    /// An answer that names another issuer was meant for another provider (RFC 9207, section 2.4).
    fn check_answer_issuer(
        &self,
        metadata: &Metadata,
        iss: Option<&str>,
    ) -> Result<(), ProviderError> {
        let is_right = match iss {
            Some(iss) => {
                iss == metadata.issuer || (self.facts.is_document_issuer)(&self.issuer, iss)
            }
            None => !metadata.names_issuer,
        };
        is_right.then_some(()).ok_or_else(|| {
            ProviderError::refused("the answer names another issuer, or none where it has to")
        })
    }

    async fn request_tokens(
        &self,
        metadata: &Metadata,
        fields: &[(&str, &str)],
    ) -> Result<Value, ProviderError> {
        let client_id = &*self.options.client_id;
        let assertion;
        let secret = match &self.options.credential {
            ClientCredential::Public => None,
            ClientCredential::Secret(secret) => Some(&**secret),
            ClientCredential::Assertion { team_id, key } => {
                assertion = key
                    .sign(team_id, client_id, &metadata.issuer, self.clock.now())
                    .map_err(|e| ProviderError::unavailable(format!("private_key_file: {e}")))?;
                Some(&*assertion)
            }
        };
        let mut fields = fields.to_vec();
        let mut authorization = None;
        match secret {
            Some(secret) if !metadata.wants_secret_in_body => {
                authorization = Some(basic(client_id, secret));
            }
            Some(secret) => fields.extend([("client_id", client_id), ("client_secret", secret)]),
            None => fields.push(("client_id", client_id)),
        }
        let endpoint = &metadata.token_endpoint;
        let reply = self.requests.post(endpoint, &fields, authorization).await?;
        reply.tokens()
    }

    async fn verify(
        &self,
        metadata: &Metadata,
        token: &UnverifiedIdToken<'_>,
        expected: &Expected<'_>,
    ) -> Result<(String, Claims), ProviderError> {
        let now = self.clock.now();
        let keys = self.keys.get(now, self.request_keys(metadata)).await?;
        let mut verified = keys.verify(token);
        // A new key may have the name of the former one, or none.
        let may_be_new =
            !keys.has_key_of(token) || matches!(verified, Err(IdTokenProblem::Signature));
        if may_be_new
            && let Some(newer) = self.keys.look_again(now, self.request_keys(metadata)).await
        {
            verified = newer?.verify(token);
        }
        let claims = verified?;
        let issuer = (self.facts.token_issuer)(metadata, &claims).ok_or_else(|| {
            IdTokenProblem::Issuer(claims.text("iss").unwrap_or_default().to_owned())
        })?;
        claims.check(expected, self.clock.now())?;
        Ok((issuer, claims))
    }

    /// What the userinfo endpoint says, where it is needed: providers may leave the address out of
    /// the ID token when there is an access token (OpenID Connect Core 1.0, section 5.4).
    async fn userinfo(
        &self,
        metadata: &Metadata,
        claims: &Claims,
        access_token: Option<&str>,
    ) -> Result<Map<String, Value>, ProviderError> {
        let (Some(endpoint), Some(access_token)) = (&metadata.userinfo_endpoint, access_token)
        else {
            return Ok(Map::new());
        };
        let is_complete =
            claims.value("email").is_some() && claims.value("email_verified").is_some();
        if !self.facts.uses_userinfo || is_complete {
            return Ok(Map::new());
        }
        let reply = self.requests.get_as(endpoint, access_token).await?;
        let found: Map<String, Value> = reply.json()?;
        // It could speak of somebody else (OpenID Connect Core 1.0, section 5.3.2).
        match found.get("sub").and_then(Value::as_str) == claims.text("sub") {
            true => Ok(found),
            false => Err(ProviderError::refused(
                "the userinfo endpoint speaks of another user than the ID token",
            )),
        }
    }

    fn user(&self, issuer: String, claims: &UserClaims<'_>) -> Result<ExternalUser, ProviderError> {
        let email = claims.email();
        let is_trusted = self.options.trust_email || !self.facts.needs_trust;
        Ok(ExternalUser {
            issuer,
            subject: claims.id_token.subject()?.to_owned(),
            is_email_trusted: email.is_some()
                && is_trusted
                && (self.facts.is_email_verified)(claims),
            email,
            name: claims.text("name"),
            given_name: claims.text("given_name"),
            family_name: claims.text("family_name"),
            auth_time: claims
                .id_token
                .seconds("auth_time")
                .map(Timestamp::from_unix_seconds),
        })
    }
}

/// The name in the form that Apple posts at the first sign-in. Nothing signs it, so it is taken for a
/// name and nothing else.
fn add_posted_name(user: &mut ExternalUser, form: &str) {
    let Ok(form) = serde_json::from_str::<Value>(form) else {
        return;
    };
    let part = |name: &str| tidy(form.get("name")?.get(name)?.as_str()?);
    user.given_name = user.given_name.take().or_else(|| part("firstName"));
    user.family_name = user.family_name.take().or_else(|| part("lastName"));
}

/// `Authorization: Basic` of a client, whose parts are encoded as in a form (RFC 6749, section 2.3.1).
fn basic(client_id: &str, secret: &str) -> String {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encoded(client_id), encoded(secret));
    format!("Basic {}", STANDARD.encode(pair))
}

/// A URL with further parameters.
pub(super) fn with_query(url: &str, fields: &[(&str, &str)]) -> String {
    let query = Serializer::new(String::new()).extend_pairs(fields).finish();
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{query}")
}
