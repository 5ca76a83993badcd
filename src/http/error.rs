//! Maps errors to status and JSON body; no other file knows statuses. Texts and codes are those of
//! the `exceptions.py` of Django REST framework and of simplejwt.

use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde_json::{Value, json};
use warp::reply::Response;

use super::reply;
use crate::accounts::{AccountError, ReauthenticationMethod};
use crate::domain::{FieldErrors, SecondFactor, messages};
use crate::observability::error_chain;
use crate::observability::metrics::ActionOutcome;

/// Seconds after which a client may retry at an overloaded server.
const OVERLOAD_PAUSE: u64 = 5;

/// Why an expired mail is not retried.
pub(super) const MAIL_EXPIRED: &str = "The mail has expired and can no longer be sent.";

/// Why a webhook cannot be changed by the API.
pub(super) const WEBHOOK_FROM_FILE: &str =
    "This webhook is set in the configuration file. Change it there.";

/// Why an OAuth client cannot be changed in the console.
const CLIENT_FROM_FILE: &str = "This client is set in the configuration file. Change it there.";

/// Why an OAuth client gets no new secret.
const CLIENT_IS_PUBLIC: &str = "This client is public, so it has no secret.";

/// Why nothing is sent to a webhook.
pub(super) const WEBHOOK_DISABLED: &str = "This webhook is disabled. Enable it first.";

/// Why nobody can be invited.
pub(super) const NO_INVITATION_PAGE: &str =
    "Invitations need a page for their links: enable [pages], or set [mail] invitation_url.";

/// Why no further passkey is added.
pub(super) const TOO_MANY_PASSKEYS: &str =
    "An account can have at most 20 passkeys. Remove one first.";

/// Why a passkey is not removed.
pub(super) const LAST_WAY_IN: &str =
    "This is the only way to sign in. Set a password or add a passkey first.";

/// Why an identity is not connected.
pub(super) const IDENTITY_TAKEN: &str = "This account is connected to another user.";

/// Why no further identity is connected.
pub(super) const TOO_MANY_IDENTITIES: &str =
    "An account can be connected to at most 20 others. Disconnect one first.";

/// Why an identity does not authenticate its owner again.
pub(super) const WRONG_IDENTITY: &str =
    "The provider did not confirm the owner of this account. Confirm it in another way.";

/// Why nobody is signed in by a provider.
pub(super) const PROVIDER_DENIED: &str = "The sign-in at the provider was cancelled.";

/// Every error of the API.
#[derive(Debug)]
pub(super) enum ApiError {
    /// 400, field name to messages.
    Fields(FieldErrors),
    /// 400, a one-time password that does not count.
    InvalidOtp,
    /// 400, a re-entered password that is wrong.
    InvalidPassword(FieldErrors),
    /// 400, about the whole body.
    NonField(String),
    /// 400, a plain text.
    BadRequest(String),
    /// 401, no token came.
    NotAuthenticated,
    /// 401, the token of the `Authorization` header is invalid.
    BadToken,
    /// 401, a token in the body is invalid.
    InvalidToken,
    /// 401, no active account has these credentials.
    NoActiveAccount,
    /// 401, the address was never confirmed.
    EmailNotVerified,
    /// 401, a verified account has the address of an identity.
    AccountExists { ticket: String },
    /// 401, the address of an identity has to be confirmed.
    IdentityNotVerified { ticket: String },
    /// 404, the provider with this id is not configured.
    UnknownProvider(String),
    /// 403.
    Forbidden,
    /// 403, the caller has to authenticate again first, in one of these ways.
    ReauthenticationRequired(Vec<ReauthenticationMethod>),
    /// 401, the password is right, and a second factor is wanted.
    SecondFactorRequired {
        ticket: String,
        methods: Vec<SecondFactor>,
    },
    /// 403, the account has to set up a second factor first.
    FactorSetupRequired,
    /// 400, the account has an authenticator app already.
    FactorAlreadyEnabled,
    /// 400, the account has no second factor.
    FactorNotEnabled,
    /// 403, a form that does not come from a page of ours in this browser.
    ForeignForm,
    /// 403, pages would send passwords and cookies in the clear.
    InsecurePages,
    /// 404, the path or object does not exist.
    NotFound,
    /// 404, the account does not exist.
    UserNotFound,
    /// 404, the page does not exist.
    InvalidPage,
    /// 405, with the method. Every answer of a known path gets `Allow`.
    MethodNotAllowed(String),
    /// 408, the body did not arrive in time.
    Timeout,
    /// 413.
    TooLarge,
    /// 415, with the content type.
    UnsupportedMediaType(String),
    /// 429.
    Throttled(Duration),
    /// 503; the cause is for the log.
    Overloaded(String),
    /// 500; the cause is for the log.
    Internal(String),
}

impl ApiError {
    pub(super) fn internal(cause: &str) -> Self {
        Self::Internal(cause.to_owned())
    }

    /// An error of [`crate::accounts::authenticate`]: about the token of the header, not of the
    /// body.
    pub(super) fn of_header_token(error: AccountError) -> Self {
        match Self::from(error) {
            Self::InvalidToken => Self::BadToken,
            other => other,
        }
    }

    /// Whether a rate limit or overload refused the request.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Throttled(_) | Self::Overloaded(_))
    }

    /// Logs the cause, which the client must not see.
    pub(super) fn log(&self) {
        match self {
            Self::Internal(cause) => log::error!("{cause}"),
            Self::Overloaded(cause) => log::warn!("{cause}"),
            _ => {}
        }
    }

    /// What the metrics count an action as that failed with this.
    pub(super) fn outcome(&self) -> ActionOutcome {
        match self {
            Self::InvalidOtp => ActionOutcome::WrongCode,
            Self::NoActiveAccount | Self::InvalidPassword(_) => ActionOutcome::WrongPassword,
            Self::EmailNotVerified | Self::IdentityNotVerified { .. } => ActionOutcome::NotVerified,
            Self::NotAuthenticated | Self::BadToken | Self::InvalidToken => ActionOutcome::BadToken,
            Self::Throttled(_) => ActionOutcome::Throttled,
            Self::Overloaded(_) => ActionOutcome::Unavailable,
            Self::Internal(_) => ActionOutcome::Failed,
            _ => ActionOutcome::Invalid,
        }
    }

    pub(super) fn into_response(self, request_id: &str) -> Response {
        let header = self.header();
        let status = self.status();
        let body = self.body(request_id);
        let mut response = reply::json(status, &body);
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, value);
        }
        response
    }

    pub(super) fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::NotAuthenticated
            | Self::BadToken
            | Self::InvalidToken
            | Self::NoActiveAccount
            | Self::SecondFactorRequired { .. }
            | Self::AccountExists { .. }
            | Self::IdentityNotVerified { .. }
            | Self::EmailNotVerified => Some((
                WWW_AUTHENTICATE,
                HeaderValue::from_static(r#"Bearer realm="api""#),
            )),
            Self::Throttled(wait) => Some((RETRY_AFTER, seconds(*wait).into())),
            Self::Overloaded(_) => Some((RETRY_AFTER, OVERLOAD_PAUSE.into())),
            _ => None,
        }
    }

    /// Its status.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Fields(_)
            | Self::InvalidPassword(_)
            | Self::InvalidOtp
            | Self::NonField(_)
            | Self::BadRequest(_)
            | Self::FactorAlreadyEnabled
            | Self::FactorNotEnabled => StatusCode::BAD_REQUEST,
            Self::NotAuthenticated
            | Self::BadToken
            | Self::InvalidToken
            | Self::NoActiveAccount
            | Self::SecondFactorRequired { .. }
            | Self::AccountExists { .. }
            | Self::IdentityNotVerified { .. }
            | Self::EmailNotVerified => StatusCode::UNAUTHORIZED,
            Self::Forbidden
            | Self::ReauthenticationRequired(_)
            | Self::FactorSetupRequired
            | Self::ForeignForm
            | Self::InsecurePages => StatusCode::FORBIDDEN,
            Self::NotFound | Self::UserNotFound | Self::UnknownProvider(_) | Self::InvalidPage => {
                StatusCode::NOT_FOUND
            }
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Throttled(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Overloaded(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Its JSON body.
    pub(super) fn body(self, request_id: &str) -> Value {
        let detail = |text: &str| json!({ "detail": text });
        let coded = |text: &str, code: &str| json!({ "detail": text, "code": code });
        match self {
            Self::Fields(errors) | Self::InvalidPassword(errors) => json!(errors),
            Self::InvalidOtp => json!({ "otp": [messages::INVALID_OTP] }),
            Self::NonField(text) => json!({ "non_field_errors": [text] }),
            Self::BadRequest(text) => detail(&text),
            Self::NotAuthenticated => detail("Authentication credentials were not provided."),
            Self::BadToken => coded(
                "Given token not valid for any token type",
                "token_not_valid",
            ),
            Self::InvalidToken => coded("Token is invalid or expired", "token_not_valid"),
            Self::NoActiveAccount => detail("No active account found with the given credentials"),
            Self::EmailNotVerified => coded("Email address is not verified.", "email_not_verified"),
            Self::AccountExists { ticket } => json!({
                "detail": "An account with this email address exists. Sign in to connect it.",
                "code": "account_exists",
                "ephemeral_token": ticket,
            }),
            Self::IdentityNotVerified { ticket } => json!({
                "detail": "Email address is not verified.",
                "code": "email_not_verified",
                "ephemeral_token": ticket,
            }),
            Self::UnknownProvider(id) => detail(&format!("Provider '{id}' not supported")),
            Self::Forbidden | Self::ForeignForm | Self::InsecurePages => {
                detail("You do not have permission to perform this action.")
            }
            Self::ReauthenticationRequired(methods) => json!({
                "detail": "Please sign in again to do this.",
                "code": "reauthentication_required",
                "methods": methods,
            }),
            Self::SecondFactorRequired { ticket, methods } => {
                let methods: Vec<_> = methods.iter().map(|method| method.as_str()).collect();
                json!({
                    "detail": "Two-factor authentication is required.",
                    "code": "mfa_required",
                    "mfa_required": true,
                    "ephemeral_token": ticket,
                    "methods": methods,
                })
            }
            Self::FactorSetupRequired => coded(
                "Set up two-factor authentication first.",
                "mfa_setup_required",
            ),
            Self::FactorAlreadyEnabled => {
                detail("MFA is already enabled. Deactivate it before activating again.")
            }
            Self::FactorNotEnabled => detail("MFA is not enabled."),
            Self::NotFound => detail("Not found."),
            Self::InvalidPage => detail("Invalid page."),
            Self::UserNotFound => json!({ "error": "User not found" }),
            Self::MethodNotAllowed(method) => detail(&format!("Method \"{method}\" not allowed.")),
            Self::Timeout => detail("The request body did not arrive in time."),
            Self::TooLarge => detail("Request body too large."),
            Self::UnsupportedMediaType(media_type) => detail(&format!(
                "Unsupported media type \"{media_type}\" in request."
            )),
            Self::Throttled(wait) => {
                let wait = seconds(wait);
                let unit = if wait == 1 { "second" } else { "seconds" };
                detail(&format!(
                    "Request was throttled. Expected available in {wait} {unit}."
                ))
            }
            Self::Overloaded(_) => detail("Service temporarily unavailable, try again later."),
            Self::Internal(_) => {
                json!({ "detail": "Internal server error.", "request_id": request_id })
            }
        }
    }
}

/// Whole seconds, rounded up: a client that waits for them is not refused again.
fn seconds(wait: Duration) -> u64 {
    wait.as_millis()
        .div_ceil(1000)
        .try_into()
        .unwrap_or(u64::MAX)
        .max(1)
}

impl From<AccountError> for ApiError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Fields(errors) => Self::Fields(errors),
            AccountError::InvalidOtp => Self::InvalidOtp,
            AccountError::InvalidPassword(errors) => Self::InvalidPassword(errors),
            AccountError::NoActiveAccount => Self::NoActiveAccount,
            AccountError::EmailNotVerified => Self::EmailNotVerified,
            AccountError::InvalidToken => Self::InvalidToken,
            AccountError::SessionEnded => Self::BadToken,
            AccountError::Forbidden => Self::Forbidden,
            AccountError::ReauthenticationRequired(methods) => {
                Self::ReauthenticationRequired(methods)
            }
            AccountError::SecondFactorRequired { ticket, methods } => {
                Self::SecondFactorRequired { ticket, methods }
            }
            AccountError::FactorSetupRequired => Self::FactorSetupRequired,
            AccountError::FactorAlreadyEnabled => Self::FactorAlreadyEnabled,
            AccountError::FactorNotEnabled => Self::FactorNotEnabled,
            AccountError::TooManyPasskeys => Self::BadRequest(TOO_MANY_PASSKEYS.to_owned()),
            AccountError::LastWayIn => Self::BadRequest(LAST_WAY_IN.to_owned()),
            AccountError::AccountExists { ticket, .. } => Self::AccountExists { ticket },
            AccountError::IdentityNotVerified { ticket, .. } => {
                Self::IdentityNotVerified { ticket }
            }
            AccountError::IdentityTaken => Self::BadRequest(IDENTITY_TAKEN.to_owned()),
            AccountError::TooManyIdentities => Self::BadRequest(TOO_MANY_IDENTITIES.to_owned()),
            AccountError::WrongIdentity => Self::BadRequest(WRONG_IDENTITY.to_owned()),
            AccountError::UnknownProvider(id) => Self::UnknownProvider(id),
            AccountError::ProviderDenied => Self::BadRequest(PROVIDER_DENIED.to_owned()),
            AccountError::UserNotFound => Self::UserNotFound,
            AccountError::NotFound => Self::NotFound,
            AccountError::InvalidPage => Self::InvalidPage,
            AccountError::LastStaffMember => Self::BadRequest(
                "The last active staff member cannot be demoted, deactivated or deleted.".into(),
            ),
            AccountError::InvalidLink => Self::BadRequest("Invalid or expired link.".into()),
            AccountError::MailExpired => Self::BadRequest(MAIL_EXPIRED.to_owned()),
            AccountError::WebhookFromFile => Self::BadRequest(WEBHOOK_FROM_FILE.to_owned()),
            AccountError::WebhookDisabled => Self::BadRequest(WEBHOOK_DISABLED.to_owned()),
            AccountError::ClientFromFile => Self::BadRequest(CLIENT_FROM_FILE.to_owned()),
            AccountError::ClientIsPublic => Self::BadRequest(CLIENT_IS_PUBLIC.to_owned()),
            AccountError::ClientExists(_) => {
                Self::Fields(FieldErrors::one("id", messages::CLIENT_EXISTS))
            }
            AccountError::NoInvitationPage => Self::BadRequest(NO_INVITATION_PAGE.to_owned()),
            AccountError::EmailTaken => {
                Self::Fields(FieldErrors::one("email", messages::EMAIL_TAKEN))
            }
            AccountError::PhotoTooLarge => Self::TooLarge,
            AccountError::Throttled(wait) => Self::Throttled(wait),
            AccountError::Overloaded(cause) => Self::Overloaded(error_chain(cause.as_ref())),
            AccountError::Internal(cause) => Self::Internal(error_chain(cause.as_ref())),
        }
    }
}
