//! `/.well-known/`: what OAuth clients and other services look up about this server.

use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use schemars::JsonSchema;
use serde::Serialize;

use crate::accounts;
use crate::app::SharedApp;
use crate::crypto::tokens::KeySet;
use crate::domain::{Scope, SigningAlgorithm};
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
    description: "The keys with which other services verify access tokens, and OAuth clients theirs (RFC 7517). \
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

/// How clients authenticate at the endpoint for tokens.
const CLIENT_AUTHENTICATION: [&str; 3] = ["client_secret_basic", "client_secret_post", "none"];

/// How clients authenticate where public ones may not ask.
const CONFIDENTIAL_AUTHENTICATION: [&str; 2] = ["client_secret_basic", "client_secret_post"];

/// The claims that ID tokens and the user info may have.
const CLAIMS: [&str; 23] = [
    "iss",
    "sub",
    "aud",
    "azp",
    "exp",
    "iat",
    "auth_time",
    "nonce",
    "amr",
    "at_hash",
    "sid",
    "name",
    "given_name",
    "family_name",
    "gender",
    "birthdate",
    "locale",
    "picture",
    "updated_at",
    "email",
    "email_verified",
    "phone_number",
    "address",
];

/// The metadata of OpenID Connect Discovery 1.0, section 3, and RFC 8414, section 2.
#[derive(Serialize, JsonSchema)]
struct Metadata<'a> {
    issuer: &'a str,
    authorization_endpoint: String,
    token_endpoint: String,
    userinfo_endpoint: String,
    jwks_uri: String,
    revocation_endpoint: String,
    introspection_endpoint: String,
    end_session_endpoint: String,
    scopes_supported: Vec<&'static str>,
    response_types_supported: [&'static str; 1],
    response_modes_supported: [&'static str; 2],
    grant_types_supported: [&'static str; 2],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: Vec<&'static str>,
    token_endpoint_auth_methods_supported: [&'static str; 3],
    revocation_endpoint_auth_methods_supported: [&'static str; 3],
    introspection_endpoint_auth_methods_supported: [&'static str; 2],
    code_challenge_methods_supported: [&'static str; 1],
    prompt_values_supported: [&'static str; 4],
    claims_supported: Vec<&'static str>,
    claim_types_supported: [&'static str; 1],
    ui_locales_supported: Vec<&'a str>,
    authorization_response_iss_parameter_supported: bool,
    claims_parameter_supported: bool,
    request_parameter_supported: bool,
    request_uri_parameter_supported: bool,
}

/// An example of the metadata.
const EXAMPLE: &str = r#"{"issuer": "https://accounts.example.com", "authorization_endpoint": "https://accounts.example.com/o/authorize/", "token_endpoint": "https://accounts.example.com/o/token/", "userinfo_endpoint": "https://accounts.example.com/o/userinfo/", "jwks_uri": "https://accounts.example.com/.well-known/jwks.json", "revocation_endpoint": "https://accounts.example.com/o/revoke_token/", "introspection_endpoint": "https://accounts.example.com/o/introspect/", "end_session_endpoint": "https://accounts.example.com/o/logout/", "scopes_supported": ["openid"], "response_types_supported": ["code"], "response_modes_supported": ["query", "form_post"], "grant_types_supported": ["authorization_code", "refresh_token"], "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256", "ES256", "EdDSA"], "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"], "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"], "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"], "code_challenge_methods_supported": ["S256"], "prompt_values_supported": ["none", "login", "consent", "select_account"], "claims_supported": ["sub"], "claim_types_supported": ["normal"], "ui_locales_supported": ["en"], "authorization_response_iss_parameter_supported": true, "claims_parameter_supported": false, "request_parameter_supported": false, "request_uri_parameter_supported": false}"#;

/// `GET /.well-known/openid-configuration`
pub(crate) const METADATA: Operation = Operation {
    id: "retrieveMetadata",
    tag: Tag::Service,
    summary: "Discovery",
    description: "The endpoints for OAuth clients and what they support (OpenID Connect Discovery). The issuer \
                  is the public URL. Cache the answer for at most 300 seconds.",
    answers: &[Outcome::json::<Metadata<'_>>(200, "the metadata", EXAMPLE)],
    ..Operation::NEW
};

/// `GET /.well-known/oauth-authorization-server`
pub(crate) const OAUTH_METADATA: Operation = Operation {
    id: "retrieveAuthorizationServerMetadata",
    tag: Tag::Service,
    summary: "Discovery for OAuth",
    description: "The same as `/.well-known/openid-configuration`, for clients that know OAuth alone (RFC 8414).",
    answers: &[Outcome::json::<Metadata<'_>>(200, "the metadata", EXAMPLE)],
    ..Operation::NEW
};

/// `GET /.well-known/openid-configuration`, `GET /.well-known/oauth-authorization-server`
pub(crate) async fn metadata(app: &SharedApp, _: &mut Request) -> HandlerResult {
    let at = |path: &str| format!("{}{path}", app.public_url);
    let algorithms = [
        SigningAlgorithm::Rs256,
        SigningAlgorithm::Es256,
        SigningAlgorithm::EdDsa,
    ];
    let languages = app.pages.languages();
    let metadata = Metadata {
        issuer: &app.public_url,
        authorization_endpoint: at("/o/authorize/"),
        token_endpoint: at("/o/token/"),
        userinfo_endpoint: at("/o/userinfo/"),
        jwks_uri: at("/.well-known/jwks.json"),
        revocation_endpoint: at("/o/revoke_token/"),
        introspection_endpoint: at("/o/introspect/"),
        end_session_endpoint: at("/o/logout/"),
        scopes_supported: Scope::ALL.map(Scope::as_str).to_vec(),
        response_types_supported: ["code"],
        response_modes_supported: ["query", "form_post"],
        grant_types_supported: ["authorization_code", "refresh_token"],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: algorithms.map(SigningAlgorithm::as_str).to_vec(),
        token_endpoint_auth_methods_supported: CLIENT_AUTHENTICATION,
        revocation_endpoint_auth_methods_supported: CLIENT_AUTHENTICATION,
        introspection_endpoint_auth_methods_supported: CONFIDENTIAL_AUTHENTICATION,
        code_challenge_methods_supported: ["S256"],
        prompt_values_supported: ["none", "login", "consent", "select_account"],
        claims_supported: CLAIMS.to_vec(),
        claim_types_supported: ["normal"],
        ui_locales_supported: languages.tags().collect(),
        authorization_response_iss_parameter_supported: true,
        claims_parameter_supported: false,
        request_parameter_supported: false,
        request_uri_parameter_supported: false,
    };
    let mut response = reply::json(StatusCode::OK, &metadata);
    response.headers_mut().insert(CACHE_CONTROL, FIVE_MINUTES);
    Ok(response)
}
