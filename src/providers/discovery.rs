//! The endpoints of a provider (OpenID Connect Discovery 1.0; RFC 8414).

use serde::Deserialize;

use super::error::{ProviderError, shown};
use super::openid::Facts;
use super::requests::Requests;
use crate::outbound::EndpointUrl;

/// The path below the issuer.
const PATH: &str = "/.well-known/openid-configuration";

/// The document as it is sent.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    userinfo_endpoint: Option<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// What is used of it, checked.
#[derive(Debug)]
pub(super) struct Metadata {
    /// Its issuer; that of Microsoft can have a place for the tenant.
    pub(super) issuer: String,
    pub(super) authorization_endpoint: EndpointUrl,
    pub(super) token_endpoint: EndpointUrl,
    pub(super) jwks_uri: EndpointUrl,
    pub(super) userinfo_endpoint: Option<EndpointUrl>,
    /// Whether a secret belongs into the body rather than into a header.
    pub(super) wants_secret_in_body: bool,
    /// Whether each answer names its issuer (RFC 9207, section 3).
    pub(super) names_issuer: bool,
}

/// The URL of the document of an issuer.
///
/// # Errors
/// When the issuer is not the URL of a server.
pub(super) fn document_url(issuer: &str) -> Result<EndpointUrl, String> {
    EndpointUrl::parse(&format!("{}{PATH}", issuer.trim_end_matches('/')))
        .map_err(|problem| format!("issuer {issuer:?}: {problem}"))
}

/// Requests and checks the document.
pub(super) async fn discover(
    requests: &Requests,
    url: &EndpointUrl,
    issuer: &str,
    facts: &Facts,
) -> Result<Metadata, ProviderError> {
    let reply = requests.get(url).await?;
    let document: Document = reply.json()?;
    // Another issuer could speak for this one (OpenID Connect Discovery 1.0, section 4.3).
    if !(facts.is_document_issuer)(issuer, &document.issuer) {
        let found = shown(&document.issuer);
        let problem = format!("names the issuer {found:?}, but the settings name {issuer:?}");
        return Err(reply.wrong(&problem));
    }
    let endpoint = |name: &str, text: &str| {
        let endpoint = EndpointUrl::parse(text)
            .map_err(|problem| reply.wrong(&format!("has a wrong {name}: {problem}")))?;
        match url.is_https() && !endpoint.is_https() {
            true => Err(reply.wrong(&format!("has a {name} without https"))),
            false => Ok(endpoint),
        }
    };
    let methods = document.token_endpoint_auth_methods_supported;
    // Without the list it is `client_secret_basic` (OpenID Connect Discovery 1.0, section 3).
    let wants_secret_in_body = methods.is_some_and(|methods| {
        let has = |name: &str| methods.iter().any(|method| method == name);
        has("client_secret_post") && !has("client_secret_basic")
    });
    Ok(Metadata {
        authorization_endpoint: endpoint(
            "authorization_endpoint",
            &document.authorization_endpoint,
        )?,
        token_endpoint: endpoint("token_endpoint", &document.token_endpoint)?,
        jwks_uri: endpoint("jwks_uri", &document.jwks_uri)?,
        userinfo_endpoint: document
            .userinfo_endpoint
            .map(|text| endpoint("userinfo_endpoint", &text))
            .transpose()?,
        wants_secret_in_body: wants_secret_in_body || facts.wants_secret_in_body,
        names_issuer: document.authorization_response_iss_parameter_supported,
        issuer: document.issuer,
    })
}
