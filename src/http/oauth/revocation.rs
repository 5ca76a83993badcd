//! `/o/revoke_token/`: the end of a session by one of its tokens (RFC 7009).

use http::StatusCode;
use serde_json::json;

use super::{Answer, authenticated_form, json};
use crate::accounts;
use crate::app::SharedApp;
use crate::http::request::Request;

/// `POST /o/revoke_token/`
///
/// The answer is the same for unknown tokens (RFC 7009, section 2.2). The hint is not needed.
pub(in crate::http) async fn create(app: &SharedApp, request: &mut Request) -> Answer {
    let (parameters, client) = authenticated_form(app, request).await?;
    let token = parameters.require("token")?;
    accounts::revoke_client_token(app, &client, token, &request.client(app)).await?;
    Ok(json(StatusCode::OK, &json!({})))
}
