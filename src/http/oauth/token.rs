//! `/o/token/`: codes and refresh tokens for tokens (RFC 6749, section 3.2).

use http::StatusCode;

use super::error::OAuthError;
use super::{Answer, authenticated_form, json};
use crate::accounts::{self, CodeExchange};
use crate::app::SharedApp;
use crate::http::request::Request;

/// `POST /o/token/`
pub(in crate::http) async fn create(app: &SharedApp, request: &mut Request) -> Answer {
    let (parameters, client) = authenticated_form(app, request).await?;
    let from = request.client(app);
    let tokens = match parameters.require("grant_type")? {
        "authorization_code" => {
            let exchange = CodeExchange {
                code: parameters.require("code")?,
                redirect_uri: parameters.require("redirect_uri")?,
                code_verifier: parameters.require("code_verifier")?,
            };
            accounts::exchange_code(app, &client, exchange, &from).await?
        }
        "refresh_token" => {
            let token = parameters.require("refresh_token")?;
            let scope = parameters.find("scope");
            accounts::refresh_client_tokens(app, &client, token, scope, &from).await?
        }
        _ => return Err(OAuthError::UnsupportedGrantType),
    };
    Ok(json(StatusCode::OK, &tokens))
}
