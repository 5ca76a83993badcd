//! `passkeys/`: the passkeys of the caller's account, and signing in with one. Names and bodies are
//! those of dj-rest-auth's app `passkeys`; options and credentials have the JSON form of Web
//! Authentication level 3.

use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::mfa::shown;
use super::reauthenticate::REQUIRED;
use crate::accounts::{self, PasskeyRequest, forms};
use crate::app::{App, SharedApp};
use crate::crypto::tokens::TokenPair;
use crate::crypto::webauthn::CreationOptions;
use crate::domain::{FieldErrors, Timestamp, messages};
use crate::http::body;
use crate::http::error::{ApiError, LAST_WAY_IN, TOO_MANY_PASSKEYS};
use crate::http::operation::{Body, Operation, Outcome, Refusal, THROTTLED, Tag};
use crate::http::reply;
use crate::http::request::Request;
use crate::http::route::HandlerResult;
use crate::store::Passkey;

pub(crate) const WRONG_CREDENTIAL: Refusal = Refusal {
    when: "the answer of the passkey is not accepted",
    error: || ApiError::Fields(FieldErrors::one("credential", messages::INVALID_CREDENTIAL)),
};

const UNKNOWN: Refusal = Refusal {
    when: "none of the caller's passkeys",
    error: || ApiError::NotFound,
};

/// An answer to request options, as an example.
const ASSERTION: &str = r#"{"credential": {"id": "Y3JlZA", "rawId": "Y3JlZA", "type": "public-key", "response": {"clientDataJSON": "e30", "authenticatorData": "AA", "signature": "AA", "userHandle": "AA"}, "clientExtensionResults": {}}, "session_id": "5b1f0c"}"#;

/// A passkey.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Passkey")]
struct PasskeyResponse<'a> {
    id: &'a str,
    name: &'a str,
    created_at: Timestamp,
    last_used_at: Option<Timestamp>,
    /// How clients reach the authenticator, such as `internal`, `hybrid` or `usb`.
    transports: &'a [String],
    /// Whether it has been copied to other devices.
    backed_up: bool,
    /// Whether it signs in under the server's present domain.
    current: bool,
}

impl<'a> PasskeyResponse<'a> {
    fn new(app: &App, passkey: &'a Passkey) -> Self {
        Self {
            id: &passkey.id,
            name: &passkey.name,
            created_at: passkey.created_at,
            last_used_at: passkey.last_used_at,
            transports: &passkey.transports,
            backed_up: passkey.is_backed_up,
            current: accounts::is_current(app, passkey),
        }
    }
}

/// A passkey that was added.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AddedPasskey")]
struct AddedResponse<'a> {
    #[serde(flatten)]
    passkey: PasskeyResponse<'a>,
    /// Ten, with a first factor only.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_codes: Option<Vec<String>>,
}

/// `POST passkeys/register/begin/`
pub(crate) const START: Operation = Operation {
    id: "startPasskey",
    tag: Tag::Passkeys,
    summary: "Start to add a passkey",
    description: "Options for `navigator.credentials.create()`, as \
                  `PublicKeyCredential.parseCreationOptionsFromJSON()` takes them. The challenge \
                  is for the session of the token, for 5 minutes and one answer. Wants recent \
                  authentication.",
    answers: &[Outcome::json::<CreationOptions>(
        200,
        "the options",
        r#"{"rp": {"id": "accounts.example.com", "name": "Example"}, "user": {"id": "aGFuZGxl", "name": "user@example.com", "displayName": "Ann Example"}, "challenge": "Y2hhbGxlbmdl", "pubKeyCredParams": [{"type": "public-key", "alg": -7}, {"type": "public-key", "alg": -8}, {"type": "public-key", "alg": -257}], "timeout": 300000, "excludeCredentials": [], "authenticatorSelection": {"residentKey": "required", "requireResidentKey": true, "userVerification": "required"}, "attestation": "none"}"#,
    )],
    refusals: &[
        Refusal {
            when: "the account has 20 passkeys",
            error: || ApiError::BadRequest(TOO_MANY_PASSKEYS.to_owned()),
        },
        REQUIRED,
        THROTTLED,
    ],
    ..Operation::NEW
};

/// `POST passkeys/register/begin/`
pub(crate) async fn start(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_caller()?;
    body::fields(app, request).await?;
    let options = accounts::start_passkey(app, &caller, &request.client(app)).await?;
    Ok(reply::json(StatusCode::OK, &options))
}

/// `POST passkeys/register/complete/`
pub(crate) const ADD: Operation = Operation {
    id: "addPasskey",
    tag: Tag::Passkeys,
    summary: "Add a passkey",
    description: "Stores the passkey that the browser has made for the options of \
                  `passkeys/register/begin/`. With a first factor all other sessions end, and the \
                  answer has ten recovery codes, which are not shown again.",
    body: Some(Body {
        form: forms::add_passkey,
        example: r#"{"credential": {"id": "Y3JlZA", "rawId": "Y3JlZA", "type": "public-key", "response": {"clientDataJSON": "e30", "attestationObject": "oA", "transports": ["internal"]}, "clientExtensionResults": {}}, "name": "Phone"}"#,
    }),
    answers: &[Outcome::json::<AddedResponse<'static>>(
        201,
        "the passkey is added; recovery codes with a first factor only",
        r#"{"id": "b2c3f1f0d1c94e1f8f5c3a9d8e7b6a50", "name": "Phone", "created_at": "2024-12-03T12:00:00Z", "last_used_at": null, "transports": ["internal"], "backed_up": true, "current": true, "recovery_codes": ["01AZ0-ZHJKM"]}"#,
    )],
    refusals: &[WRONG_CREDENTIAL],
    ..Operation::NEW
};

/// `POST passkeys/register/complete/`
pub(crate) async fn add(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_caller()?;
    let fields = body::fields(app, request).await?;
    let added = accounts::add_passkey(app, &caller, &fields, &request.client(app)).await?;
    let recovery_codes = added.recovery_codes.as_deref().map(shown);
    Ok(reply::json(
        StatusCode::CREATED,
        &AddedResponse {
            passkey: PasskeyResponse::new(app, &added.passkey),
            recovery_codes,
        },
    ))
}

/// `POST passkeys/login/begin/`
pub(crate) const START_SIGN_IN: Operation = Operation {
    id: "startPasskeySignIn",
    tag: Tag::Passkeys,
    summary: "Start a sign-in with a passkey",
    description: "Options for `navigator.credentials.get()`, as \
                  `PublicKeyCredential.parseRequestOptionsFromJSON()` takes them, also for \
                  autofill (`mediation: \"conditional\"`). `session_id` returns with the answer, \
                  in `passkeys/login/complete/` or in `reauthenticate/`, within 5 minutes and once. \
                  The answer is the same for everybody.",
    answers: &[Outcome::json::<PasskeyRequest>(
        200,
        "the options",
        r#"{"challenge": "Y2hhbGxlbmdl", "timeout": 300000, "rpId": "accounts.example.com", "allowCredentials": [], "userVerification": "required", "session_id": "5b1f0c"}"#,
    )],
    refusals: &[THROTTLED],
    ..Operation::NEW
};

/// `POST passkeys/login/begin/`
pub(crate) async fn start_sign_in(app: &SharedApp, request: &mut Request) -> HandlerResult {
    body::fields(app, request).await?;
    let options = accounts::start_passkey_sign_in(app, &request.client(app)).await?;
    Ok(reply::json(StatusCode::OK, &options))
}

/// `POST passkeys/login/complete/`
pub(crate) const SIGN_IN: Operation = Operation {
    id: "signInWithPasskey",
    tag: Tag::Passkeys,
    summary: "Sign in with a passkey",
    description: "Starts a session by the answer of a passkey, without address and password. A \
                  passkey is two factors, so no code is asked for.",
    body: Some(Body {
        form: forms::passkey_sign_in,
        example: ASSERTION,
    }),
    answers: &[Outcome::json::<TokenPair>(
        200,
        "a session begins",
        r#"{"access": "eyJ0eXAiOiJhdCtqd3Qi.e30.c2ln", "refresh": "eyJ0eXAiOiJydCtqd3Qi.e30.c2ln"}"#,
    )],
    refusals: &[
        Refusal {
            when: "the answer is not accepted, or the account may not sign in",
            error: || ApiError::NoActiveAccount,
        },
        THROTTLED,
    ],
    ..Operation::NEW
};

/// `POST passkeys/login/complete/`
pub(crate) async fn sign_in(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = body::fields(app, request).await?;
    let signed = accounts::sign_in_with_passkey(app, &fields, &request.client(app)).await?;
    Ok(reply::json(StatusCode::OK, &signed.into_tokens()?))
}

/// `GET passkeys/`
pub(crate) const LIST: Operation = Operation {
    id: "listPasskeys",
    tag: Tag::Passkeys,
    summary: "List passkeys",
    description: "Lists the passkeys of the caller, oldest first. One that is not `current` was \
                  made for another domain, where it can be removed only.",
    answers: &[Outcome::json::<Vec<PasskeyResponse<'static>>>(
        200,
        "the passkeys",
        r#"[{"id": "b2c3f1f0d1c94e1f8f5c3a9d8e7b6a50", "name": "Phone", "created_at": "2024-12-03T12:00:00Z", "last_used_at": null, "transports": ["internal"], "backed_up": true, "current": true}]"#,
    )],
    ..Operation::NEW
};

/// `GET passkeys/`
pub(crate) async fn list(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_caller()?;
    let passkeys = accounts::list_passkeys(app, &caller).await?;
    let passkeys: Vec<_> = passkeys
        .iter()
        .map(|passkey| PasskeyResponse::new(app, passkey))
        .collect();
    Ok(reply::json(StatusCode::OK, &passkeys))
}

/// A passkey, as an example.
const PASSKEY: &str = r#"{"id": "b2c3f1f0d1c94e1f8f5c3a9d8e7b6a50", "name": "Phone", "created_at": "2024-12-03T12:00:00Z", "last_used_at": null, "transports": ["internal"], "backed_up": true, "current": true}"#;

/// `GET passkeys/<id>/`
pub(crate) const RETRIEVE: Operation = Operation {
    id: "retrievePasskey",
    tag: Tag::Passkeys,
    summary: "Retrieve a passkey",
    description: "One passkey of the caller.",
    answers: &[Outcome::json::<PasskeyResponse<'static>>(
        200,
        "the passkey",
        PASSKEY,
    )],
    refusals: &[UNKNOWN],
    ..Operation::NEW
};

/// `GET passkeys/<id>/`
pub(crate) async fn retrieve(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_caller()?;
    let passkey = accounts::find_passkey(app, &caller, request.last_segment()).await?;
    Ok(reply::json(
        StatusCode::OK,
        &PasskeyResponse::new(app, &passkey),
    ))
}

/// `PATCH passkeys/<id>/`
pub(crate) const RENAME: Operation = Operation {
    id: "renamePasskey",
    tag: Tag::Passkeys,
    summary: "Rename a passkey",
    description: "Changes the name that the owner gave a passkey.",
    body: Some(Body {
        form: forms::rename_passkey,
        example: r#"{"name": "Phone"}"#,
    }),
    answers: &[Outcome::json::<PasskeyResponse<'static>>(
        200,
        "the passkey",
        PASSKEY,
    )],
    refusals: &[UNKNOWN],
    ..Operation::NEW
};

/// `PATCH passkeys/<id>/`
pub(crate) async fn rename(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_caller()?;
    let fields = body::fields(app, request).await?;
    let (client, id) = (request.client(app), request.last_segment());
    let passkey = accounts::rename_passkey(app, &caller, id, &fields, &client).await?;
    Ok(reply::json(
        StatusCode::OK,
        &PasskeyResponse::new(app, &passkey),
    ))
}

/// `DELETE passkeys/<id>/`
pub(crate) const DESTROY: Operation = Operation {
    id: "removePasskey",
    tag: Tag::Passkeys,
    summary: "Remove a passkey",
    description: "Removes a passkey of the caller, unless the account could not sign in any more; \
                  recovery codes go with the last factor. Wants recent authentication.",
    answers: &[Outcome::nothing(204, "the passkey is removed")],
    refusals: &[
        UNKNOWN,
        Refusal {
            when: "the account has neither a password nor another passkey",
            error: || ApiError::BadRequest(LAST_WAY_IN.to_owned()),
        },
        REQUIRED,
    ],
    ..Operation::NEW
};

/// `DELETE passkeys/<id>/`
pub(crate) async fn destroy(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_caller()?;
    let (client, id) = (request.client(app), request.last_segment());
    accounts::delete_passkey(app, &caller, id, &client).await?;
    Ok(reply::no_content())
}
