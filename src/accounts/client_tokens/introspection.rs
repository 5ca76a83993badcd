//! Whether a token of a client is live (RFC 7662).

use serde::Serialize;

use super::GrantError;
use super::issue::verify_own;
use crate::accounts::session_lifetimes;
use crate::app::App;
use crate::crypto::tokens::ClientTokenType;
use crate::domain::OAuthClient;

/// What is said of a token (RFC 7662, section 2.2).
#[derive(Serialize)]
pub struct Introspection {
    active: bool,
    #[serde(flatten)]
    live: Option<LiveToken>,
}

/// What is said of a live token.
#[derive(Serialize)]
struct LiveToken {
    scope: String,
    client_id: String,
    username: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    exp: i64,
    iat: i64,
    sub: String,
    aud: String,
    iss: String,
    jti: String,
    sid: String,
}

impl Introspection {
    /// Of a token that is not live, whatever the reason.
    const INACTIVE: Self = Self {
        active: false,
        live: None,
    };
}

/// Says whether a token of this client would be accepted now. Those of others are not live for it.
///
/// # Errors
/// Only by a fault of the store.
pub async fn introspect_client_token(
    app: &App,
    client: &OAuthClient,
    token: &str,
) -> Result<Introspection, GrantError> {
    let Some(token) = verify_own(app, client, token).await? else {
        return Ok(Introspection::INACTIVE);
    };
    let (now, lifetimes) = (app.clock.now(), session_lifetimes(app));
    let session = app
        .store
        .find_client_session(&token.session.id, lifetimes, now)
        .await?
        .filter(|session| session.client_id == client.id);
    let Some(session) = session else {
        return Ok(Introspection::INACTIVE);
    };
    let is_access = token.token_type == ClientTokenType::Access;
    if !is_access
        && !app
            .store
            .is_client_token_live(&session.id, &token.id, now, app.reuse_grace)
            .await?
    {
        return Ok(Introspection::INACTIVE);
    }
    let issuer = app.keys.tokens().client_issuer().to_owned();
    Ok(Introspection {
        active: true,
        live: Some(LiveToken {
            scope: token.scopes.within(&session.scopes).to_string(),
            client_id: token.client_id.clone(),
            username: session.user.email,
            token_type: is_access.then_some("Bearer"),
            exp: token.expires,
            iat: token.issued,
            sub: session.user.id.to_string(),
            aud: if is_access {
                token.client_id
            } else {
                issuer.clone()
            },
            iss: issuer,
            jti: token.id,
            sid: session.id,
        }),
    })
}
