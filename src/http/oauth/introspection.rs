//! `/o/introspect/`: whether a token is live (RFC 7662).

use http::StatusCode;

use super::error::OAuthError;
use super::{Answer, authenticated_form, json};
use crate::accounts;
use crate::app::SharedApp;
use crate::http::request::Request;

/// `POST /o/introspect/`
pub(in crate::http) async fn create(app: &SharedApp, request: &mut Request) -> Answer {
    let (parameters, client) = authenticated_form(app, request).await?;
    // Nobody proves to be a public client, and what a token says is not for everybody.
    if !client.is_confidential() {
        return Err(OAuthError::UnauthorizedClient(
            "Clients without a secret cannot introspect tokens.",
        ));
    }
    let token = parameters.require("token")?;
    let said = accounts::introspect_client_token(app, &client, token).await?;
    Ok(json(StatusCode::OK, &said))
}
