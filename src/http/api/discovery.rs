//! `/.well-known/`: what other services need to verify access tokens.

use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};

use crate::accounts;
use crate::app::SharedApp;
use crate::crypto::tokens::KeySet;
use crate::http::openapi::{Operation, Outcome, Tag};
use crate::http::request::Request;
use crate::http::{HandlerResult, reply};

/// Short, so that services which cache the keys soon see a new one.
const FIVE_MINUTES: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// `GET /.well-known/jwks.json`
pub(crate) const KEY_SET: Operation = Operation {
    id: "retrieveKeySet",
    tag: Tag::Service,
    summary: "Public keys",
    description: "The keys with which other services verify access tokens (RFC 7517, RFC 8037). \
                  Cache them for at most 300 seconds.",
    answers: &[Outcome::json::<KeySet>(
        200,
        "the keys",
        r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "YbkR_GWqAzMdQe34MESQs7ZYNnnQJEviQEmlp8jx5SA", "kid": "FDBDyCX0EX38oJdRXjERu3bJUPOyJe4FLqGW7Zk50TI", "alg": "EdDSA", "use": "sig"}]}"#,
    )],
    ..Operation::NEW
};

/// `GET /.well-known/jwks.json`
pub(crate) async fn key_set(app: &SharedApp, _: &mut Request) -> HandlerResult {
    let mut response = reply::json(StatusCode::OK, &accounts::published_keys(app).await?);
    response.headers_mut().insert(CACHE_CONTROL, FIVE_MINUTES);
    Ok(response)
}
