//! `/.well-known/`: what other services need to verify access tokens.

use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use schemars::JsonSchema;
use serde::Serialize;

use crate::accounts;
use crate::app::SharedApp;
use crate::crypto::tokens::KeySet;
use crate::http::operation::{Operation, Outcome, Tag};
use crate::http::reply;
use crate::http::request::Request;
use crate::http::route::HandlerResult;

/// Short, so that services which cache the keys soon see a new one.
const FIVE_MINUTES: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// `GET /.well-known/jwks.json`
pub(crate) const KEY_SET: Operation = Operation {
    id: "retrieveKeySet",
    tag: Tag::Service,
    summary: "Public keys",
    description: "The keys with which other services verify access tokens (RFC 7517). \
                  Cache them for at most 300 seconds.",
    answers: &[Outcome::json::<KeySet>(
        200,
        "the keys",
        r#"{"keys": [{"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM", "kid": "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s", "alg": "ES256", "use": "sig"}]}"#,
    )],
    ..Operation::NEW
};

/// `GET /.well-known/jwks.json`
pub(crate) async fn key_set(app: &SharedApp, _: &mut Request) -> HandlerResult {
    let mut response = reply::json(StatusCode::OK, &accounts::published_keys(app).await?);
    response.headers_mut().insert(CACHE_CONTROL, FIVE_MINUTES);
    Ok(response)
}

/// What is true so far of the metadata of OpenID Connect Discovery 1.0 and RFC 8414.
#[derive(Serialize, JsonSchema)]
struct Metadata<'a> {
    issuer: &'a str,
    jwks_uri: String,
}

/// `GET /.well-known/openid-configuration`
pub(crate) const METADATA: Operation = Operation {
    id: "retrieveMetadata",
    tag: Tag::Service,
    summary: "Discovery",
    description: "The issuer of tokens and the address of its public keys (OpenID Connect Discovery). \
                  Cache them for at most 300 seconds.",
    answers: &[Outcome::json::<Metadata<'_>>(
        200,
        "the metadata",
        r#"{"issuer": "https://accounts.example.com", "jwks_uri": "https://accounts.example.com/.well-known/jwks.json"}"#,
    )],
    ..Operation::NEW
};

/// `GET /.well-known/openid-configuration`
pub(crate) async fn metadata(app: &SharedApp, _: &mut Request) -> HandlerResult {
    let metadata = Metadata {
        issuer: app.keys.issuer(),
        jwks_uri: format!("{}/.well-known/jwks.json", app.public_url),
    };
    let mut response = reply::json(StatusCode::OK, &metadata);
    response.headers_mut().insert(CACHE_CONTROL, FIVE_MINUTES);
    Ok(response)
}
