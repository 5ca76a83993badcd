//! The endpoints below `/o/` that clients ask themselves (RFC 6749, OpenID Connect Core): JSON with
//! the errors of RFC 6749, since client libraries read those. They read forms, no cookies and no
//! queries.
//!
//! ```text
//! credentials   who the client is        token          codes and refresh tokens for tokens
//! error         errors as JSON           userinfo       claims about the user
//! parameters    forms                    revocation, introspection
//! ```

mod credentials;
pub(super) mod error;
pub(super) mod introspection;
mod parameters;
pub(super) mod revocation;
pub(super) mod token;
pub(super) mod userinfo;

use http::header::{CACHE_CONTROL, HeaderValue, ORIGIN, PRAGMA};
use http::{Method, StatusCode};
use serde::Serialize;
use warp::reply::Response;

use self::error::OAuthError;
use self::parameters::Parameters;
use super::reply;
use super::request::Request;
use super::route::HandlerResult;
use crate::accounts;
use crate::app::{App, SharedApp};
use crate::domain::OAuthClient;
use crate::observability::error_chain;

/// What a handler of these endpoints returns.
type Answer = Result<Response, OAuthError>;

/// The answer of a handler. Errors that concern the server and not the client are left to those who
/// log and delay them.
///
/// # Errors
/// Those.
pub(super) fn answer(answer: Answer, request: &Request) -> HandlerResult {
    match answer {
        Ok(response) => Ok(response),
        Err(OAuthError::Other(error)) => Err(error),
        Err(error) => Ok(error.into_response(request.id.as_str())),
    }
}

/// An answer that no cache may keep (RFC 6749, section 5.1).
fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let mut response = reply::json(status, body);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// Reads the form of a request, and authenticates its client.
///
/// # Errors
/// `invalid_request` and `invalid_client`; 413, 408 and 503 as for every body.
async fn authenticated_form(
    app: &SharedApp,
    request: &mut Request,
) -> Result<(Parameters, OAuthClient), OAuthError> {
    let parameters = Parameters::read(app, request).await?;
    let credentials = credentials::read(&request.head.headers, &parameters)?;
    let client = accounts::identify_client(app, &credentials.id).await?;
    // Known from here on: pages of other clients do not read the answer.
    request.oauth_client.clone_from(&client);
    let secrets = credentials.secrets();
    let client = accounts::authenticate_client(app, client, &secrets, &request.client(app))?;
    Ok((parameters, client))
}

/// Whether a page of the request's origin may read the answer: one of the client's own, or while the
/// client is unknown, one of any client.
pub(super) async fn is_for_origin(app: &App, request: &Request) -> bool {
    let origin = request.head.headers.get(ORIGIN);
    let Some(origin) = origin.and_then(|origin| origin.to_str().ok()) else {
        return false;
    };
    if let Some(client) = &request.oauth_client
        && request.head.method != Method::OPTIONS
    {
        return client.settings.allows_origin(origin);
    }
    match accounts::is_client_origin(app, origin).await {
        Ok(is_one) => is_one,
        Err(e) => {
            log::error!("cannot look up the origins of clients: {}", error_chain(&e));
            false
        }
    }
}
