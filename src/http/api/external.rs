//! `providers/` and `o/<provider>/`: signing in by external providers. The paths are those of djoser;
//! a challenge of the app takes the place of its cookie.

use form_urlencoded::Serializer;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use warp::reply::Response;

use super::pagination::parameters;
use super::reauthenticate::REQUIRED;
use crate::accounts::{self, Callback, forms};
use crate::app::SharedApp;
use crate::crypto::tokens::TokenPair;
use crate::domain::{FieldErrors, Fields, Input, SecondFactor, messages};
use crate::http::body;
use crate::http::error::ApiError;
use crate::http::operation::{Body, Operation, Outcome, Parameter, Refusal, THROTTLED, Tag};
use crate::http::reply;
use crate::http::request::Request;
use crate::http::route::HandlerResult;

const HTML: &str = "text/html";

const UNKNOWN_PROVIDER: Refusal = Refusal {
    when: "no such provider is configured",
    error: || ApiError::UnknownProvider("x".to_owned()),
};

pub(super) const PROVIDER_DOWN: Refusal = Refusal {
    when: "the provider is down or wrongly configured; the log and `check` say why",
    error: || ApiError::Overloaded(String::new()),
};

const FOREIGN_REDIRECT_URI: Refusal = Refusal {
    when: "the app is not in the settings",
    error: || {
        let text = messages::FOREIGN_REDIRECT_URI;
        ApiError::Fields(FieldErrors::one("redirect_uri", text))
    },
};

pub(super) const INVALID_CODE: Refusal = Refusal {
    when: "the code is unknown, used or expired, its verifier is another, or the provider does not \
           accept what came back",
    error: || ApiError::Fields(FieldErrors::one("code", messages::INVALID_EXTERNAL_CODE)),
};

const SECOND_FACTOR: Refusal = Refusal {
    when: "the account has a second factor; `mfa/verify/` takes the ticket",
    error: || ApiError::SecondFactorRequired {
        ticket: "5b1f0c".to_owned(),
        methods: vec![SecondFactor::Totp],
    },
};

const ACCOUNT_EXISTS: Refusal = Refusal {
    when: "a verified account has the address; sign in to it, then `identities/` takes the ticket, \
           for 10 minutes and once",
    error: || ApiError::AccountExists {
        ticket: "5b1f0c".to_owned(),
    },
};

const NOT_VERIFIED: Refusal = Refusal {
    when: "nobody has the address, and the provider is not trusted for it: an OTP was mailed, and \
           `otp/verify/` takes the ticket along",
    error: || ApiError::IdentityNotVerified {
        ticket: "5b1f0c".to_owned(),
    },
};

const NO_ACCOUNT: Refusal = Refusal {
    when: "the account may not sign in",
    error: || ApiError::NoActiveAccount,
};

const NO_ADDRESS: Refusal = Refusal {
    when: "the provider has no address of somebody who has no account",
    error: || ApiError::Fields(FieldErrors::one("email", messages::NO_PROVIDER_EMAIL)),
};

/// A provider.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Provider")]
struct ProviderResponse<'a> {
    id: &'a str,
    name: &'a str,
}

/// Where to send the browser.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthorizationUrl")]
struct AuthorizationResponse {
    authorization_url: String,
}

const AUTHORIZATION: Outcome = Outcome::json::<AuthorizationResponse>(
    200,
    "send the browser there",
    r#"{"authorization_url": "https://accounts.google.com/o/oauth2/v2/auth?client_id=1"}"#,
);

const PAIR: Outcome = Outcome::json::<TokenPair>(
    200,
    "a session begins",
    r#"{"access": "eyJ0eXAiOiJhdCtqd3Qi.e30.c2ln", "refresh": "eyJ0eXAiOiJydCtqd3Qi.e30.c2ln"}"#,
);

/// `GET providers/`
pub(crate) const LIST: Operation = Operation {
    id: "listProviders",
    tag: Tag::External,
    summary: "List providers",
    description: "The external providers that people can sign in with, in the order of the settings.",
    answers: &[Outcome::json::<Vec<ProviderResponse<'static>>>(
        200,
        "the providers",
        r#"[{"id": "google", "name": "Google"}]"#,
    )],
    ..Operation::NEW
};

/// `GET providers/`
pub(crate) async fn list(app: &SharedApp, _: &mut Request) -> HandlerResult {
    let providers = app.providers.list().iter();
    let providers: Vec<_> = providers
        .map(|provider| ProviderResponse {
            id: provider.id(),
            name: provider.name(),
        })
        .collect();
    Ok(reply::json(StatusCode::OK, &providers))
}

/// `GET o/<provider>/`
pub(crate) const START: Operation = Operation {
    id: "startExternalSignIn",
    tag: Tag::External,
    summary: "Start a sign-in by a provider",
    description: "The URL at the provider to which the app sends a browser. It comes back to \
                  `redirect_uri`, within 10 minutes, with `code` and `state`, or with `error`: \
                  `access_denied`, or `temporarily_unavailable` when the provider is down. No token \
                  is ever in a URL.",
    query: &[
        Parameter {
            name: "redirect_uri",
            description: "Where the browser comes back to; one of `[social] redirect_uris`, exactly.",
            schema: r#"{"type": "string"}"#,
        },
        Parameter {
            name: "code_challenge",
            description: "SHA-256 of a random verifier that the app keeps, in base64url (RFC 7636, \
                          `S256`).",
            schema: r#"{"type": "string"}"#,
        },
        Parameter {
            name: "state",
            description: "Comes back to the app unchanged.",
            schema: r#"{"type": "string"}"#,
        },
        Parameter {
            name: "locale",
            description: "The language of the provider's pages, such as `pt-BR`.",
            schema: r#"{"type": "string"}"#,
        },
    ],
    answers: &[AUTHORIZATION],
    refusals: &[
        UNKNOWN_PROVIDER,
        FOREIGN_REDIRECT_URI,
        THROTTLED,
        PROVIDER_DOWN,
    ],
    ..Operation::NEW
};

/// `GET o/<provider>/`
pub(crate) async fn start(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = query(request);
    let (provider, client) = (request.last_segment(), request.client(app));
    let url = accounts::start_external_sign_in(app, provider, &fields, &client).await?;
    Ok(authorization(url))
}

fn authorization(authorization_url: String) -> Response {
    reply::json(StatusCode::OK, &AuthorizationResponse { authorization_url })
}

/// The parameters of a query as fields.
fn query(request: &Request) -> Fields {
    let mut fields = Fields::form();
    for (name, value) in parameters(request.head.query()) {
        fields.insert(name, Input::Text(value));
    }
    fields
}

/// `GET o/<provider>/callback/`
pub(crate) const CALLBACK: Operation = Operation {
    id: "finishAtProvider",
    tag: Tag::External,
    summary: "Come back from a provider",
    description: "Where a provider sends the browser back. It leads on to the app with a `code`, \
                  which counts for 60 seconds and once, and its `state`; or with `error`.",
    answers: &[
        Outcome::nothing(303, "on to the app, or to a page of the account"),
        Outcome::text(400, "a page that says that nobody waits for it", HTML),
        Outcome::text(404, "a page that says that there is no such provider", HTML),
    ],
    ..Operation::NEW
};

/// `GET o/<provider>/callback/`
pub(crate) async fn callback(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = query(request);
    let provider = request.segment_before(1).to_owned();
    let answer = accounts::receive_answer(app, &provider, &fields, true).await?;
    match answer {
        Callback::App {
            redirect_uri,
            parameters,
        } => reply::see_other(&with_parameters(&redirect_uri, &parameters)),
        Callback::Page { state } => {
            let query = encoded(&[("state", state)]);
            reply::see_other(&format!("/account/external/{provider}/?{query}"))
        }
    }
}

/// `POST o/<provider>/callback/`
pub(crate) const POSTED: Operation = Operation {
    id: "postFromProvider",
    tag: Tag::External,
    summary: "Come back from a provider by a form",
    description: "The same for providers that post their answer (`response_mode=form_post`). It only \
                  stores what came, and leads to the same path by `GET`.",
    body: Some(Body {
        form: forms::provider_answer,
        example: r#"{"state": "5b1f0c", "code": "c0de"}"#,
    }),
    answers: &[
        Outcome::nothing(303, "on to the same path by `GET`"),
        Outcome::text(400, "a page that says that nobody waits for it", HTML),
        Outcome::text(404, "a page that says that there is no such provider", HTML),
    ],
    ..Operation::NEW
};

/// `POST o/<provider>/callback/`
pub(crate) async fn posted(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = body::fields(app, request).await?;
    let provider = request.segment_before(1).to_owned();
    match accounts::receive_answer(app, &provider, &fields, false).await? {
        Callback::Page { state } => {
            let query = encoded(&[("state", state)]);
            let path = request.head.path();
            reply::see_other(&format!("{}/?{query}", path.trim_end_matches('/')))
        }
        Callback::App { .. } => Err(ApiError::internal("a posted answer was released at once")),
    }
}

fn encoded(parameters: &[(&str, String)]) -> String {
    Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish()
}

/// A redirect URI with more parameters in its query (RFC 6749, section 4.1.2).
fn with_parameters(redirect_uri: &str, parameters: &[(&str, String)]) -> String {
    let separator = match redirect_uri.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    format!("{redirect_uri}{separator}{}", encoded(parameters))
}

/// `POST o/<provider>/`
pub(crate) const REDEEM: Operation = Operation {
    id: "signInWithProvider",
    tag: Tag::External,
    summary: "Sign in by a provider",
    description: "Exchanges the code that came back to the app, and the verifier of its challenge, for \
                  a pair of tokens. Who it is depends on issuer and subject alone. Somebody new gets a \
                  confirmed account without a password if the provider is trusted for the address.",
    body: Some(Body {
        form: forms::provider_code,
        example: r#"{"code": "5b1f0c", "code_verifier": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"}"#,
    }),
    answers: &[PAIR],
    refusals: &[
        UNKNOWN_PROVIDER,
        INVALID_CODE,
        NO_ADDRESS,
        SECOND_FACTOR,
        ACCOUNT_EXISTS,
        NOT_VERIFIED,
        NO_ACCOUNT,
        THROTTLED,
        PROVIDER_DOWN,
    ],
    ..Operation::NEW
};

/// `POST o/<provider>/`
pub(crate) async fn redeem(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = body::fields(app, request).await?;
    let (provider, client) = (request.last_segment(), request.client(app));
    let signed_in = accounts::redeem_provider_code(app, provider, &fields, &client).await?;
    Ok(reply::json(
        StatusCode::OK,
        &signed_in.signed.into_tokens()?,
    ))
}

/// `POST o/<provider>/token/`
pub(crate) const TOKEN: Operation = Operation {
    id: "signInWithIdToken",
    tag: Tag::External,
    summary: "Sign in by an ID token",
    description: "For apps with a library of the provider: exchanges the ID token that it gave for a \
                  pair of tokens. The token is for one of the provider's `audiences` in the settings, \
                  counts once and for 5 minutes from its `iat`, and has the nonce or its SHA-256 in \
                  hexadecimal digits.",
    body: Some(Body {
        form: forms::provider_token,
        example: r#"{"id_token": "eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "nonce": "n-0S6_WzA2Mj"}"#,
    }),
    answers: &[PAIR],
    refusals: &[
        UNKNOWN_PROVIDER,
        Refusal {
            when: "the token is not accepted, or was used before",
            error: || ApiError::Fields(FieldErrors::one("id_token", messages::INVALID_TOKEN)),
        },
        NO_ADDRESS,
        SECOND_FACTOR,
        ACCOUNT_EXISTS,
        NOT_VERIFIED,
        NO_ACCOUNT,
        THROTTLED,
        PROVIDER_DOWN,
    ],
    ..Operation::NEW
};

/// `POST o/<provider>/token/`
pub(crate) async fn redeem_token(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = body::fields(app, request).await?;
    let (provider, client) = (request.segment_before(1), request.client(app));
    let signed_in = accounts::redeem_id_token(app, provider, &fields, &client).await?;
    Ok(reply::json(
        StatusCode::OK,
        &signed_in.signed.into_tokens()?,
    ))
}

/// `POST o/<provider>/link/`
pub(crate) const LINK: Operation = Operation {
    id: "startConnection",
    tag: Tag::External,
    summary: "Start to connect an identity",
    description: "As `GET o/<provider>/`, to connect an identity to the caller's account: \
                  `identities/` takes the code that comes back. Wants recent authentication.",
    body: Some(Body {
        form: forms::provider_link,
        example: r#"{"redirect_uri": "https://app.example.com/connected", "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}"#,
    }),
    answers: &[AUTHORIZATION],
    refusals: &[
        UNKNOWN_PROVIDER,
        FOREIGN_REDIRECT_URI,
        REQUIRED,
        THROTTLED,
        PROVIDER_DOWN,
    ],
    ..Operation::NEW
};

/// `POST o/<provider>/link/`
pub(crate) async fn link(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_caller()?;
    let fields = body::fields(app, request).await?;
    let (provider, client) = (request.segment_before(1), request.client(app));
    let url = accounts::start_connection(app, &caller, provider, &fields, &client).await?;
    Ok(authorization(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_added_to_the_query_of_a_redirect_uri() {
        let parameters = [("code", "a b".to_owned()), ("state", "x&y".to_owned())];
        for (uri, expected) in [
            (
                "https://app.example/cb",
                "https://app.example/cb?code=a+b&state=x%26y",
            ),
            (
                "https://app.example/cb?a=1",
                "https://app.example/cb?a=1&code=a+b&state=x%26y",
            ),
            (
                "com.example.app:/cb?",
                "com.example.app:/cb?code=a+b&state=x%26y",
            ),
        ] {
            assert_eq!(with_parameters(uri, &parameters), expected);
        }
    }
}
