//! `identities/`: what the caller is at external providers.

use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::external::{INVALID_CODE, PROVIDER_DOWN};
use super::reauthenticate::REQUIRED;
use crate::accounts::{self, AccountError, forms};
use crate::app::SharedApp;
use crate::domain::{FieldErrors, Timestamp, messages};
use crate::http::body;
use crate::http::error::{ApiError, LAST_WAY_IN};
use crate::http::operation::{Body, Operation, Outcome, Refusal, THROTTLED, Tag};
use crate::http::reply;
use crate::http::request::Request;
use crate::http::route::HandlerResult;
use crate::store::Identity;

/// An identity.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Identity")]
pub(crate) struct IdentityResponse<'a> {
    id: &'a str,
    /// The id of the provider.
    provider: &'a str,
    /// The address that the provider has; it may differ from that of the account, or be empty.
    email: &'a str,
    /// The name that the provider has; it may be empty.
    name: &'a str,
    created_at: Timestamp,
    last_used_at: Option<Timestamp>,
}

impl<'a> From<&'a Identity> for IdentityResponse<'a> {
    fn from(identity: &'a Identity) -> Self {
        let proven = &identity.proven;
        Self {
            id: &identity.id,
            provider: &proven.provider,
            email: &proven.email,
            name: &proven.name,
            created_at: identity.created_at,
            last_used_at: identity.last_used_at,
        }
    }
}

/// `GET identities/`
pub(crate) const LIST: Operation = Operation {
    id: "listIdentities",
    tag: Tag::External,
    summary: "List identities",
    description: "The identities of the caller at external providers, oldest first.",
    answers: &[Outcome::json::<Vec<IdentityResponse<'static>>>(
        200,
        "the identities",
        r#"[{"id": "b2c3f1f0d1c94e1f8f5c3a9d8e7b6a50", "provider": "google", "email": "ann@example.com", "name": "Ann Example", "created_at": "2024-12-03T12:00:00Z", "last_used_at": null}]"#,
    )],
    refusals: &[Refusal {
        when: "the account has to set up a second factor first",
        error: || ApiError::FactorSetupRequired,
    }],
    ..Operation::NEW
};

/// `GET identities/`
pub(crate) async fn list(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_caller()?;
    let identities = accounts::list_identities(app, &caller).await?;
    let identities: Vec<_> = identities.iter().map(IdentityResponse::from).collect();
    Ok(reply::json(StatusCode::OK, &identities))
}

/// `POST identities/`
pub(crate) const CREATE: Operation = Operation {
    id: "connectIdentity",
    tag: Tag::External,
    summary: "Connect an identity",
    description: "Connects an identity to the caller's account: that of the `ephemeral_token` of a \
                  sign-in that found the account by its address, or that of the `code` which \
                  `o/<provider>/link/` brought, with its `code_verifier`. The owner gets a mail with a \
                  link that undoes it. Wants recent authentication.",
    body: Some(Body {
        form: forms::identity_connection,
        example: r#"{"ephemeral_token": "5b1f0c"}"#,
    }),
    answers: &[Outcome::json::<IdentityResponse<'static>>(
        201,
        "the identity is connected",
        r#"{"id": "b2c3f1f0d1c94e1f8f5c3a9d8e7b6a50", "provider": "google", "email": "ann@example.com", "name": "Ann Example", "created_at": "2024-12-03T12:00:00Z", "last_used_at": null}"#,
    )],
    refusals: &[
        Refusal {
            when: "the ticket is unknown, used or expired, or that of another account",
            error: || {
                let text = messages::INVALID_TOKEN;
                ApiError::Fields(FieldErrors::one("ephemeral_token", text))
            },
        },
        INVALID_CODE,
        Refusal {
            when: "the identity belongs to another account",
            error: || AccountError::IdentityTaken.into(),
        },
        Refusal {
            when: "the account has 20 identities",
            error: || AccountError::TooManyIdentities.into(),
        },
        REQUIRED,
        THROTTLED,
        PROVIDER_DOWN,
    ],
    ..Operation::NEW
};

/// `POST identities/`
pub(crate) async fn create(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_caller()?;
    let fields = body::fields(app, request).await?;
    let client = request.client(app);
    let identity = accounts::connect_identity(app, &caller, &fields, &client).await?;
    Ok(reply::json(
        StatusCode::CREATED,
        &IdentityResponse::from(&identity),
    ))
}

/// `DELETE identities/<id>/`
pub(crate) const DESTROY: Operation = Operation {
    id: "disconnectIdentity",
    tag: Tag::External,
    summary: "Disconnect an identity",
    description: "Removes an identity from the caller's account, unless the account could not sign in \
                  any more. The owner gets a mail. Wants recent authentication.",
    answers: &[Outcome::nothing(204, "the identity is disconnected")],
    refusals: &[
        Refusal {
            when: "none of the caller's identities",
            error: || ApiError::NotFound,
        },
        Refusal {
            when: "the account has no password, passkey or other identity",
            error: || ApiError::BadRequest(LAST_WAY_IN.to_owned()),
        },
        REQUIRED,
    ],
    ..Operation::NEW
};

/// `DELETE identities/<id>/`
pub(crate) async fn destroy(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_caller()?;
    let (client, id) = (request.client(app), request.last_segment());
    accounts::disconnect_identity(app, &caller, id, &client).await?;
    Ok(reply::no_content())
}
