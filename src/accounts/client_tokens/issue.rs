//! Signing the tokens of clients, and verifying those that come back.

use serde::Serialize;

use super::GrantError;
use super::claims::{ClaimsFor, claims};
use crate::accounts::{AccountError, keys, session_lifetimes};
use crate::app::App;
use crate::crypto::random;
use crate::crypto::tokens::{
    ClientTokenSubject, ClientTokenType, IdTokenContent, VerifiedClientToken,
};
use crate::domain::{OAuthClient, Scope, Scopes, Timestamp};
use crate::store::ClientSession;

/// The answer to a grant (RFC 6749, section 5.1; OpenID Connect Core, section 3.1.3.3).
#[derive(Serialize)]
pub struct ClientTokens {
    access_token: String,
    token_type: &'static str,
    expires_in: i64,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
    refresh_token: String,
}

/// What tokens are issued for.
#[derive(Clone, Copy)]
pub(super) struct Grant<'a> {
    pub(super) client: &'a OAuthClient,
    pub(super) session: &'a ClientSession,
    /// The scopes of access and ID token, which may be fewer than those of the session.
    pub(super) scopes: &'a Scopes,
    /// The `nonce` of the authorization request.
    pub(super) nonce: Option<&'a str>,
    /// `jti` of the refresh token.
    pub(super) refresh_id: &'a str,
}

/// Signs access token, refresh token, and with the scope `openid` an ID token.
pub(super) async fn issue(
    app: &App,
    grant: Grant<'_>,
    now: Timestamp,
) -> Result<ClientTokens, GrantError> {
    let Grant {
        client, session, ..
    } = grant;
    let end = session.end(client.settings.session_lifetime(), session_lifetimes(app));
    let subject = ClientTokenSubject {
        client,
        user_id: session.user.id,
        session_id: &session.id,
        authentication: &session.authentication,
        scopes: grant.scopes,
        session_end: Some(end),
    };
    let tokens = keys::signing_for_client(app, client.settings.id_token_alg).await?;
    let access_token = tokens.issue_client_access(subject, &random::id(), now)?;
    // The refresh token keeps all scopes of the session (RFC 6749, section 6).
    let whole = ClientTokenSubject {
        scopes: &session.scopes,
        ..subject
    };
    let refresh_token = tokens.issue_client_refresh(whole, grant.refresh_id, now)?;
    let id_token = if grant.scopes.contains(Scope::Openid) {
        let claims = claims(app, session, grant.scopes, ClaimsFor::IdToken).await?;
        let content = IdTokenContent {
            nonce: grant.nonce,
            access: &access_token,
            claims: &claims,
        };
        Some(tokens.issue_id_token(subject, content, now)?)
    } else {
        None
    };
    let access_end = now.plus(client.settings.access_lifetime()).min(end);
    Ok(ClientTokens {
        access_token,
        token_type: "Bearer",
        expires_in: access_end.unix_seconds() - now.unix_seconds(),
        scope: grant.scopes.to_string(),
        id_token,
        refresh_token,
    })
}

/// Verifies a token of a client of either kind; `None` when it is not valid.
pub(super) async fn verify(
    app: &App,
    token: &str,
) -> Result<Option<VerifiedClientToken>, GrantError> {
    match keys::verify_client_token(app, token).await {
        Ok(verified) => Ok(Some(verified)),
        Err(AccountError::InvalidToken) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Verifies a token of this client of either kind.
pub(super) async fn verify_own(
    app: &App,
    client: &OAuthClient,
    token: &str,
) -> Result<Option<VerifiedClientToken>, GrantError> {
    let verified = verify(app, token).await?;
    Ok(verified.filter(|token| token.client_id == client.id))
}

/// Verifies a refresh token of this client.
pub(super) async fn verify_refresh_token(
    app: &App,
    client: &OAuthClient,
    token: &str,
) -> Result<Option<VerifiedClientToken>, GrantError> {
    let verified = verify_own(app, client, token).await?;
    Ok(verified.filter(|token| token.token_type == ClientTokenType::Refresh))
}
