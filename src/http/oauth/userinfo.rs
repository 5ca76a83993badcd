//! `/o/userinfo/`: claims about the user (OpenID Connect Core, section 5.3).

use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::error::OAuthError;
use super::parameters::Parameters;
use super::{Answer, json};
use crate::accounts;
use crate::app::SharedApp;
use crate::domain::Scope;
use crate::http::error::ApiError;
use crate::http::request::Request;

/// `GET /o/userinfo/`
pub(in crate::http) async fn retrieve(app: &SharedApp, request: &mut Request) -> Answer {
    let token = header_token(request)?.ok_or(OAuthError::NoToken)?;
    answer(app, request, &token).await
}

/// `POST /o/userinfo/`, with the token in the header or in a form (RFC 6750, section 2.2).
pub(in crate::http) async fn create(app: &SharedApp, request: &mut Request) -> Answer {
    let header = header_token(request)?;
    // Clients that post with the header alone send no form, whatever they call their empty body.
    let is_form = request.head.headers.get(CONTENT_TYPE).is_some_and(|kind| {
        header.is_none()
            || kind
                .as_bytes()
                .starts_with(b"application/x-www-form-urlencoded")
    });
    let form = if is_form {
        let parameters = Parameters::read(app, request).await?;
        parameters.find("access_token").map(str::to_owned)
    } else {
        None
    };
    let token = match (header, form) {
        (Some(_), Some(_)) => {
            return Err(OAuthError::invalid_request(
                "The access token came twice; send it in the header Authorization.",
            ));
        }
        (None, None) => return Err(OAuthError::NoToken),
        (Some(token), None) | (None, Some(token)) => token,
    };
    answer(app, request, &token).await
}

/// The token of the header `Authorization`.
fn header_token(request: &Request) -> Result<Option<String>, OAuthError> {
    match request.bearer() {
        Ok(token) => Ok(token.map(str::to_owned)),
        Err(ApiError::BadToken) => Err(OAuthError::InvalidToken),
        Err(error) => Err(error.into()),
    }
}

async fn answer(app: &SharedApp, request: &mut Request, token: &str) -> Answer {
    let access = accounts::find_client_access(app, token).await?;
    request.oauth_client = accounts::identify_client(app, &access.client_id).await?;
    if !access.scopes.contains(Scope::Openid) {
        return Err(OAuthError::InsufficientScope(Scope::Openid.as_str()));
    }
    Ok(json(
        StatusCode::OK,
        &accounts::user_info(app, &access).await?,
    ))
}
