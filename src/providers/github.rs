//! GitHub and GitHub Enterprise: OAuth 2.0 without ID tokens
//! (<https://docs.github.com/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps>).

use serde::Deserialize;
use serde_json::Value;

use super::error::ProviderError;
use super::openid::{tidy, with_query};
use super::requests::Requests;
use super::{
    AuthorizationAnswer, AuthorizationRequest, ClientCredential, ExternalUser, ProviderOptions,
};
use crate::outbound::EndpointUrl;

/// The base, unless the settings name an Enterprise server.
const BASE: &str = "https://github.com";

/// The domain of GitHub Enterprise Cloud with data residency, whose API has a host of its own.
const CLOUD_DOMAIN: &str = ".ghe.com";

const SCOPES: &[&str] = &["read:user", "user:email"];

/// What `/user` says.
#[derive(Deserialize)]
struct Account {
    /// It stays the same when the login is renamed, and is never given out again.
    id: u64,
    #[serde(default)]
    name: Option<String>,
}

/// An item of `/user/emails`.
#[derive(Deserialize)]
struct Email {
    #[serde(rename = "email")]
    address: String,
    #[serde(default)]
    primary: bool,
    #[serde(default)]
    verified: bool,
}

/// GitHub.
pub(super) struct Github {
    options: ProviderOptions,
    requests: Requests,
    base: String,
    token_endpoint: EndpointUrl,
    user: EndpointUrl,
    emails: EndpointUrl,
}

impl Github {
    pub(super) fn new(options: ProviderOptions, requests: Requests) -> Result<Self, String> {
        let base = options.issuer.as_deref().unwrap_or(BASE);
        let base = base.trim_end_matches('/').to_owned();
        let url = |text: String| {
            EndpointUrl::parse(&text).map_err(|problem| format!("issuer {base:?}: {problem}"))
        };
        let api = api_of(&base);
        Ok(Self {
            token_endpoint: url(format!("{base}/login/oauth/access_token"))?,
            user: url(format!("{api}/user"))?,
            emails: url(format!("{api}/user/emails"))?,
            options,
            requests,
            base,
        })
    }

    pub(super) fn authorization_url(&self, request: &AuthorizationRequest<'_>) -> String {
        let scopes = match self.options.scopes.is_empty() {
            true => SCOPES.join(" "),
            false => self.options.scopes.join(" "),
        };
        let mut fields = vec![
            ("response_type", "code"),
            ("client_id", &*self.options.client_id),
            ("redirect_uri", request.redirect_uri),
            ("scope", &*scopes),
            ("state", request.state),
            ("code_challenge", request.code_challenge),
            ("code_challenge_method", "S256"),
        ];
        if request.force_login {
            fields.push(("prompt", "select_account"));
        }
        with_query(&format!("{}/login/oauth/authorize", self.base), &fields)
    }

    pub(super) async fn exchange(
        &self,
        answer: &AuthorizationAnswer<'_>,
    ) -> Result<ExternalUser, ProviderError> {
        // RFC 9207, section 2.4.
        let is_issuer = |iss: &str| iss == self.base || iss == format!("{}/login/oauth", self.base);
        if !answer.iss.is_none_or(is_issuer) {
            return Err(ProviderError::refused("the answer names another issuer"));
        }
        let tokens = self
            .request_tokens(answer.code, answer.redirect_uri, answer.code_verifier)
            .await?;
        let access_token = tokens.get("access_token").and_then(Value::as_str);
        let access_token = access_token.ok_or_else(|| {
            ProviderError::unavailable("the token endpoint sends no access_token")
        })?;
        let account: Account = self
            .requests
            .get_as(&self.user, access_token)
            .await?
            .json()?;
        let primary = self.primary_email(access_token).await?;
        Ok(ExternalUser {
            issuer: self.base.clone(),
            subject: account.id.to_string(),
            is_email_trusted: primary.as_ref().is_some_and(|email| email.verified),
            email: primary.map(|email| email.address),
            name: account.name.as_deref().and_then(tidy),
            given_name: None,
            family_name: None,
            auth_time: None,
        })
    }

    pub(super) async fn check(&self, redirect_uri: &str) -> Result<(), ProviderError> {
        const NO_CODE: &str = "check-of-the-settings";
        // That the code is unknown is what it says to a client that it knows.
        match self.request_tokens(NO_CODE, redirect_uri, NO_CODE).await {
            Err(error @ ProviderError::Unavailable { .. }) => Err(error),
            _ => Ok(()),
        }
    }

    async fn request_tokens(
        &self,
        code: &str,
        redirect_uri: &str,
        code_verifier: &str,
    ) -> Result<Value, ProviderError> {
        let mut fields = vec![
            ("client_id", &*self.options.client_id),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", code_verifier),
        ];
        if let ClientCredential::Secret(secret) = &self.options.credential {
            fields.push(("client_secret", secret));
        }
        let reply = self.requests.post(&self.token_endpoint, &fields, None);
        reply.await?.tokens()
    }

    /// The primary address; `None` when the user did not grant its scope.
    async fn primary_email(&self, access_token: &str) -> Result<Option<Email>, ProviderError> {
        let reply = self.requests.get_as(&self.emails, access_token).await?;
        if matches!(reply.status, 403 | 404) {
            return Ok(None);
        }
        let emails: Vec<Email> = reply.json()?;
        Ok(emails.into_iter().find(|email| email.primary))
    }
}

/// The base of the REST API.
fn api_of(base: &str) -> String {
    let host = base.split_once("://").map(|(_, host)| host);
    match host {
        Some("github.com") => "https://api.github.com".to_owned(),
        Some(host) if host.ends_with(CLOUD_DOMAIN) => format!("https://api.{host}"),
        _ => format!("{base}/api/v3"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_is_beside_or_below_the_base() {
        for (base, api) in [
            ("https://github.com", "https://api.github.com"),
            ("https://octo.ghe.com", "https://api.octo.ghe.com"),
            ("https://git.example.com", "https://git.example.com/api/v3"),
        ] {
            assert_eq!(api_of(base), api);
        }
    }
}
