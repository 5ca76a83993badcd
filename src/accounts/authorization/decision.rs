//! What has to happen before a client gets its code.

use super::request::{AuthorizationRequest, Hint, OAuthError};
use crate::accounts::{AccountError, BrowserSession, require_setup};
use crate::app::App;
use crate::domain::Timestamp;
use crate::store::Consent;

/// What the user is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether the client may see what it asks for, with this account.
    Consent,
    /// Whether to go on with this account.
    Account,
    /// To sign in with another account, which the client expects.
    OtherAccount,
}

/// The next step of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The code is issued.
    Issue(Consent),
    /// The client gets an error.
    Refuse(OAuthError),
    /// Somebody has to sign in.
    SignIn,
    /// The user has to authenticate again.
    Reauthenticate,
    /// The user has to set up a second factor.
    SetUpFactor,
    /// The user is asked.
    Ask(Question),
}

/// What the user has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// Nothing yet.
    Nothing,
    /// That it may go on, with this account.
    Allowed,
}

const LOGIN_REQUIRED: OAuthError =
    OAuthError::new("login_required", "the user has to authenticate");
const INTERACTION_REQUIRED: OAuthError = OAuthError::new(
    "interaction_required",
    "the user has to set up a second factor",
);
const CONSENT_REQUIRED: OAuthError =
    OAuthError::new("consent_required", "the user has not allowed this");
pub(super) const CLIENT_GONE: OAuthError =
    OAuthError::new("unauthorized_client", "this client has been removed");
pub(super) const STAFF_ONLY: OAuthError =
    OAuthError::new("access_denied", "this client is for staff accounts alone");

/// Decides on the next step of a request. `received_at` is when it came, if it has waited since: who
/// authenticated after that did so for this request.
///
/// # Errors
/// Only store errors.
pub async fn decide(
    app: &App,
    request: &AuthorizationRequest,
    session: Option<&BrowserSession>,
    received_at: Option<Timestamp>,
    answered: Answered,
) -> Result<Step, AccountError> {
    let step = decide_interactively(app, request, session, received_at, answered).await?;
    Ok(match step {
        _ if !request.prompt.none => step,
        // Nobody may be asked: the client is notified of what would have to be.
        Step::SignIn
        | Step::Reauthenticate
        | Step::Ask(Question::OtherAccount | Question::Account) => Step::Refuse(LOGIN_REQUIRED),
        Step::Ask(Question::Consent) => Step::Refuse(CONSENT_REQUIRED),
        Step::SetUpFactor => Step::Refuse(INTERACTION_REQUIRED),
        Step::Issue(_) | Step::Refuse(_) => step,
    })
}

async fn decide_interactively(
    app: &App,
    request: &AuthorizationRequest,
    session: Option<&BrowserSession>,
    received_at: Option<Timestamp>,
    answered: Answered,
) -> Result<Step, AccountError> {
    let Some(session) = session else {
        return Ok(Step::SignIn);
    };
    let (user, settings) = (session.user(), &request.client.settings);
    let Some(authentication) = session.caller.authentication() else {
        return Ok(Step::SignIn);
    };
    match request.hint {
        Hint::Account(expected) if expected != user.id => {
            return Ok(Step::Ask(Question::OtherAccount));
        }
        Hint::Unreadable if request.prompt.none => {
            return Ok(Step::Ask(Question::OtherAccount));
        }
        Hint::Account(_) | Hint::Nobody | Hint::Unreadable => {}
    }
    let is_fresh = received_at.is_some_and(|received_at| authentication.at >= received_at);
    let consent = consent(app, request, session, answered).await?;
    if request.prompt.select_account && !is_fresh && answered == Answered::Nothing {
        return Ok(Step::Ask(match consent {
            None => Question::Consent,
            Some(_) => Question::Account,
        }));
    }
    let age = app.clock.now().since(authentication.at);
    let is_too_old = request
        .max_age
        .is_some_and(|most| most.is_zero() || age > most);
    if (request.prompt.login || is_too_old) && !is_fresh {
        return Ok(Step::Reauthenticate);
    }
    if settings.is_staff_only && !user.is_staff {
        return Ok(Step::Refuse(STAFF_ONLY));
    }
    if require_setup(app, &session.caller).is_err() {
        return Ok(Step::SetUpFactor);
    }
    if settings.requires_mfa {
        if !user.has_factor {
            return Ok(Step::SetUpFactor);
        }
        if !authentication.has_factor() {
            return Ok(Step::Reauthenticate);
        }
    }
    Ok(match consent {
        Some(consent) => Step::Issue(consent),
        None => Step::Ask(Question::Consent),
    })
}

/// Why the client may have what it asks for; `None` when the user has to be asked.
async fn consent(
    app: &App,
    request: &AuthorizationRequest,
    session: &BrowserSession,
    answered: Answered,
) -> Result<Option<Consent>, AccountError> {
    // Another program could have sent the request in the client's name (RFC 8252, section 8.6).
    if request.prompt.consent || request.is_native() {
        return Ok(given(answered));
    }
    if !request.client.settings.requires_consent {
        return Ok(Some(Consent::NotRequired));
    }
    let (user_id, client_id) = (session.user().id, &request.client.id);
    let allowed = app.store.find_allowed_scopes(user_id, client_id).await?;
    Ok(match allowed {
        Some(allowed) if request.scopes.is_within(&allowed) => Some(Consent::Remembered),
        _ => given(answered),
    })
}

fn given(answered: Answered) -> Option<Consent> {
    match answered {
        Answered::Nothing => None,
        Answered::Allowed => Some(Consent::Given),
    }
}
