//! The end of a client's session by one of its tokens (RFC 7009).

use super::GrantError;
use super::issue::verify_own;
use crate::accounts::Client;
use crate::app::App;
use crate::domain::OAuthClient;

/// Ends the session of a token of this client, be it an access token or a refresh token, also one
/// that was used. A token that is foreign, expired or of another client changes nothing, and is not an
/// error.
///
/// # Errors
/// Only by a fault of the store.
pub async fn revoke_client_token(
    app: &App,
    client: &OAuthClient,
    token: &str,
    from: &Client,
) -> Result<(), GrantError> {
    let Some(token) = verify_own(app, client, token).await? else {
        return Ok(());
    };
    let (context, now) = (from.context(None), app.clock.now());
    let ended = app
        .store
        .delete_client_session(&token.session.id, &client.id, context, now)
        .await?;
    if ended {
        log::info!(
            "user {}: signed out of {}",
            token.session.user_id,
            client.id
        );
    }
    Ok(())
}
