//! Errors as RFC 6749, section 5.2, and RFC 6750, section 3, have them.

use std::borrow::Cow;

use http::StatusCode;
use http::header::{HeaderName, HeaderValue, WWW_AUTHENTICATE};
use serde_json::json;
use warp::reply::Response;

use crate::accounts::{AccountError, GrantError};
use crate::http::error::ApiError;
use crate::observability::metrics::ActionOutcome;

/// An error of an endpoint below `/o/`.
#[derive(Debug)]
pub(in crate::http) enum OAuthError {
    /// 400, a parameter is missing, malformed or repeated.
    InvalidRequest(Cow<'static, str>),
    /// 401, the client is unknown or has not authenticated.
    InvalidClient(&'static str),
    /// 400, the code or the refresh token is not valid.
    InvalidGrant(&'static str),
    /// 400, another grant than the supported ones.
    UnsupportedGrantType,
    /// 400, the client may not do this.
    UnauthorizedClient(&'static str),
    /// 400, a scope that was not granted.
    InvalidScope,
    /// 401, no access token came.
    NoToken,
    /// 401, the access token is not valid.
    InvalidToken,
    /// 403, the access token has not the scope.
    InsufficientScope(&'static str),
    /// Any other error of the server.
    Other(ApiError),
}

impl OAuthError {
    pub(super) fn invalid_request(description: impl Into<Cow<'static, str>>) -> Self {
        Self::InvalidRequest(description.into())
    }

    pub(super) const fn invalid_client(description: &'static str) -> Self {
        Self::InvalidClient(description)
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::InvalidRequest(_)
            | Self::InvalidGrant(_)
            | Self::UnsupportedGrantType
            | Self::UnauthorizedClient(_)
            | Self::InvalidScope => StatusCode::BAD_REQUEST,
            Self::InvalidClient(_) | Self::NoToken | Self::InvalidToken => StatusCode::UNAUTHORIZED,
            Self::InsufficientScope(_) => StatusCode::FORBIDDEN,
            Self::Other(error) => error.status(),
        }
    }

    /// The value of `error` in the body.
    fn code(&self) -> &'static str {
        match self {
            Self::InvalidClient(_) => "invalid_client",
            Self::InvalidGrant(_) => "invalid_grant",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnauthorizedClient(_) => "unauthorized_client",
            Self::InvalidScope => "invalid_scope",
            Self::NoToken | Self::InvalidToken => "invalid_token",
            Self::InsufficientScope(_) => "insufficient_scope",
            // The codes of the authorization endpoint (RFC 6749, section 4.1.2.1).
            Self::Other(ApiError::Throttled(_) | ApiError::Overloaded(_)) => {
                "temporarily_unavailable"
            }
            Self::Other(ApiError::Internal(_)) => "server_error",
            Self::InvalidRequest(_) | Self::Other(_) => "invalid_request",
        }
    }

    /// The challenge that goes with it.
    fn challenge(&self) -> Option<HeaderValue> {
        let challenge = match self {
            Self::InvalidClient(_) => r#"Basic realm="oauth", charset="UTF-8""#,
            // Without an error, since the client may not have known (RFC 6750, section 3.1).
            Self::NoToken => r#"Bearer realm="oauth""#,
            Self::InvalidToken => {
                r#"Bearer realm="oauth", error="invalid_token", error_description="The access token is invalid or expired.""#
            }
            Self::InsufficientScope(scope) => {
                let challenge =
                    format!(r#"Bearer realm="oauth", error="insufficient_scope", scope="{scope}""#);
                return HeaderValue::try_from(challenge).ok();
            }
            _ => return None,
        };
        Some(HeaderValue::from_static(challenge))
    }

    /// What the metrics count an action as that failed with this.
    fn outcome(&self) -> ActionOutcome {
        match self {
            Self::InvalidClient(_) => ActionOutcome::WrongClient,
            Self::InvalidGrant(_) | Self::NoToken | Self::InvalidToken => ActionOutcome::BadToken,
            Self::Other(error) => error.outcome(),
            _ => ActionOutcome::Invalid,
        }
    }

    /// The answer. The id of the request is for internal errors.
    pub(in crate::http) fn into_response(self, request_id: &str) -> Response {
        let (status, code, outcome) = (self.status(), self.code(), self.outcome());
        let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
        headers.extend(self.challenge().map(|value| (WWW_AUTHENTICATE, value)));
        let description = match self {
            Self::InvalidRequest(text) => text,
            Self::InvalidClient(text)
            | Self::InvalidGrant(text)
            | Self::UnauthorizedClient(text) => text.into(),
            Self::UnsupportedGrantType => {
                "Supported are authorization_code and refresh_token.".into()
            }
            Self::InvalidScope => "The scope goes beyond what was granted.".into(),
            Self::NoToken => "Send an access token in the header Authorization.".into(),
            Self::InvalidToken => "The access token is invalid or expired.".into(),
            Self::InsufficientScope(scope) => {
                format!("The access token needs the scope {scope}.").into()
            }
            Self::Other(error) => {
                headers.extend(error.header().filter(|(name, _)| *name != WWW_AUTHENTICATE));
                match error {
                    ApiError::Internal(_) => {
                        format!("Internal server error. Request id: {request_id}.").into()
                    }
                    error => detail(&error.body(request_id)).into(),
                }
            }
        };
        let body = json!({ "error": code, "error_description": described(&description) });
        let mut response = super::json(status, &body);
        response.headers_mut().extend(headers);
        response.extensions_mut().insert(outcome);
        response
    }
}

/// The text of an error of the API.
fn detail(body: &serde_json::Value) -> String {
    match body["detail"].as_str() {
        Some(detail) => detail.to_owned(),
        None => body.to_string(),
    }
}

/// A description in the characters that it may have: printable ASCII without `"` and `\` (RFC 6749,
/// section 5.2).
fn described(text: &str) -> String {
    let allowed = |c: char| match c {
        '"' | '\\' => '\'',
        ' '..='~' => c,
        _ => '?',
    };
    text.chars().map(allowed).collect()
}

impl From<ApiError> for OAuthError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::UnsupportedMediaType(_) => {
                Self::invalid_request("The body has to be application/x-www-form-urlencoded.")
            }
            other => Self::Other(other),
        }
    }
}

impl From<AccountError> for OAuthError {
    fn from(error: AccountError) -> Self {
        Self::Other(error.into())
    }
}

impl From<GrantError> for OAuthError {
    fn from(error: GrantError) -> Self {
        match error {
            GrantError::InvalidClient => {
                Self::InvalidClient("The client is unknown, or its secret is wrong or missing.")
            }
            GrantError::InvalidCode => Self::InvalidGrant(
                "The code is invalid, expired or used, or belongs to another client, redirect_uri \
                 or code_verifier.",
            ),
            GrantError::InvalidRefreshToken => Self::InvalidGrant(
                "The refresh token is invalid, expired or used, or its session has ended.",
            ),
            GrantError::InvalidToken => Self::InvalidToken,
            GrantError::InvalidScope => Self::InvalidScope,
            GrantError::Account(error) => Self::Other(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_have_the_characters_of_the_rfc() {
        assert_eq!(described("a \"b\" \\ c\nd\u{e9}"), "a 'b' ' c?d?");
    }
}
