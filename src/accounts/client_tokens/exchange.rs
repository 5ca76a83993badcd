//! Authorization codes for tokens (RFC 6749, section 4.1.3; RFC 7636).

use sha2::{Digest, Sha256};

use super::GrantError;
use super::authentication::failed_grant;
use super::issue::{ClientTokens, Grant, issue};
use crate::accounts::{Client, session_lifetimes};
use crate::app::App;
use crate::crypto::pkce::{challenge, is_verifier};
use crate::crypto::random;
use crate::domain::OAuthClient;
use crate::store::{RedeemCode, RedeemOutcome};

/// A code, and what proves that it is the client's.
#[derive(Clone, Copy)]
pub struct CodeExchange<'a> {
    /// The code.
    pub code: &'a str,
    /// The redirect URI that it was sent to.
    pub redirect_uri: &'a str,
    /// The PKCE verifier.
    pub code_verifier: &'a str,
}

/// Exchanges a code for the first tokens of a session.
///
/// # Errors
/// [`GrantError::InvalidCode`]; a code that comes a second time ends the session of the first.
pub async fn exchange_code(
    app: &App,
    client: &OAuthClient,
    exchange: CodeExchange<'_>,
    from: &Client,
) -> Result<ClientTokens, GrantError> {
    if !is_verifier(exchange.code_verifier) {
        return Err(failed_grant(app, client, from, GrantError::InvalidCode));
    }
    let now = app.clock.now();
    let refresh_id = random::id();
    let settings = &client.settings;
    let request = RedeemCode {
        code_hash: Sha256::digest(exchange.code.as_bytes()).to_vec(),
        client_id: client.id.clone(),
        redirect_uri: exchange.redirect_uri.to_owned(),
        code_challenge: challenge(exchange.code_verifier),
        refresh_id: refresh_id.clone(),
        refresh_lifetime: settings.refresh_lifetime(),
        session_lifetime: settings.session_lifetime(),
        lifetimes: session_lifetimes(app),
        now,
        context: from.context(None),
    };
    match app.store.redeem_code(request).await? {
        RedeemOutcome::Started { session, nonce, .. } => {
            log::info!("user {}: signed in to {}", session.user.id, client.id);
            let grant = Grant {
                client,
                session: &session,
                scopes: &session.scopes,
                nonce: nonce.as_deref(),
                refresh_id: &refresh_id,
            };
            Ok(issue(app, grant, now).await?)
        }
        RedeemOutcome::Reused => {
            log::warn!(
                "{}: an authorization code came twice, session revoked",
                client.id
            );
            Err(failed_grant(app, client, from, GrantError::InvalidCode))
        }
        RedeemOutcome::Invalid => Err(failed_grant(app, client, from, GrantError::InvalidCode)),
    }
}
