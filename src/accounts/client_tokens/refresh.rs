//! The next tokens of a client's session (RFC 6749, section 6).

use super::GrantError;
use super::authentication::failed_grant;
use super::issue::{ClientTokens, Grant, issue, verify_refresh_token};
use crate::accounts::{Client, session_lifetimes};
use crate::app::App;
use crate::crypto::random;
use crate::domain::{OAuthClient, Scopes};
use crate::store::{ClientRotation, RotateClientToken, RotateRefreshToken};

/// Rotates a refresh token of a client: returns the next tokens, if account, client and consent still
/// allow it.
///
/// With a `scope` the access token has these scopes alone; the refresh token keeps all of the session.
///
/// # Errors
/// [`GrantError::InvalidRefreshToken`]; reuse ends the session. [`GrantError::InvalidScope`] when
/// more is asked for than was granted; the token stays valid then.
pub async fn refresh_client_tokens(
    app: &App,
    client: &OAuthClient,
    refresh_token: &str,
    scope: Option<&str>,
    from: &Client,
) -> Result<ClientTokens, GrantError> {
    let invalid = || failed_grant(app, client, from, GrantError::InvalidRefreshToken);
    let now = app.clock.now();
    let lifetimes = session_lifetimes(app);
    let Some(token) = verify_refresh_token(app, client, refresh_token).await? else {
        return Err(invalid());
    };
    let session = app
        .store
        .find_client_session(&token.session.id, lifetimes, now)
        .await?;
    let Some(session) = session.filter(|session| session.client_id == client.id) else {
        return Err(invalid());
    };
    let narrowed = scope.map(|scope| narrow(scope, &session.scopes));
    let narrowed = narrowed.transpose()?;
    let context = from.context(None);
    let rotation = RotateClientToken {
        rotation: RotateRefreshToken {
            session_id: token.session.id,
            refresh_id: token.id,
            new_refresh_id: random::id(),
            new_expires_at: now.plus(client.settings.refresh_lifetime()),
            lifetimes,
            now,
            grace: app.reuse_grace,
            ip: context.ip,
            user_agent: context.user_agent,
        },
        client_id: client.id.clone(),
        session_lifetime: client.settings.session_lifetime(),
        needs_factor: app.config.mfa.required_for.concerns(session.user.is_staff),
    };
    match app.store.rotate_client_token(rotation).await? {
        ClientRotation::Rotated {
            session,
            refresh_id,
        } => {
            let scopes = match narrowed {
                Some(narrowed) => narrowed.within(&session.scopes),
                None => session.scopes.clone(),
            };
            let grant = Grant {
                client,
                session: &session,
                scopes: &scopes,
                // Of the first ID token alone (OpenID Connect Core, section 12.2).
                nonce: None,
                refresh_id: &refresh_id,
            };
            Ok(issue(app, grant, now).await?)
        }
        ClientRotation::Reused => {
            log::warn!(
                "user {}: reuse of a refresh token of {} detected, session revoked",
                session.user.id,
                client.id
            );
            Err(invalid())
        }
        ClientRotation::Invalid => Err(invalid()),
    }
}

/// The scopes that are asked for, which must have been granted.
fn narrow(scope: &str, granted: &Scopes) -> Result<Scopes, GrantError> {
    let names = scope.split(' ').filter(|name| !name.is_empty());
    Scopes::parse_all(names)
        .ok()
        .filter(|scopes| !scopes.is_empty() && scopes.is_within(granted))
        .ok_or(GrantError::InvalidScope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_narrowed_but_not_widened() {
        let granted = Scopes::parse_known("openid profile email");
        for (scope, expected) in [
            ("openid", Some("openid")),
            ("email openid", Some("openid email")),
            ("openid profile email", Some("openid profile email")),
            ("openid phone", None),
            ("openid groups", None),
            (" ", None),
        ] {
            let narrowed = narrow(scope, &granted)
                .ok()
                .map(|scopes| scopes.to_string());
            assert_eq!(narrowed.as_deref(), expected, "{scope}");
        }
    }
}
