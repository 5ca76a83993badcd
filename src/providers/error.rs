//! Why somebody cannot sign in with a provider.

use thiserror::Error;

use crate::crypto::tokens::external::IdTokenProblem;
use crate::domain::printable;

/// Longest text of a provider in a reason, in characters.
const SHOWN_CHARS: usize = 200;

/// Why somebody cannot sign in with a provider.
///
/// The texts are for the log and for `check`: they name addresses and settings.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProviderError {
    /// The code or token is not right: clients get 400 or 401.
    #[error("refused: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// The user, or the provider in their place, does not want to sign in.
    #[error("the user did not sign in")]
    Denied,
    /// The provider does not answer as it should, or the settings are wrong: clients get 503.
    #[error("{reason}")]
    Unavailable {
        /// Why, and what to do where that is known.
        reason: String,
    },
}

impl From<IdTokenProblem> for ProviderError {
    fn from(problem: IdTokenProblem) -> Self {
        Self::refused(format!("ID token: {problem}"))
    }
}

impl ProviderError {
    pub(super) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused {
            reason: reason.into(),
        }
    }

    pub(super) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable {
            reason: reason.into(),
        }
    }

    /// What an `error` of the authorization endpoint means (RFC 6749, section 4.1.2.1; OpenID Connect
    /// Core 1.0, section 3.1.2.6).
    pub(super) fn of_callback(error: &str, description: Option<&str>) -> Self {
        let reason = described("the provider answers", error, description);
        match error {
            "access_denied"
            | "user_cancelled_authorize"
            | "user_cancelled_login"
            | "login_required"
            | "interaction_required"
            | "consent_required"
            | "account_selection_required" => Self::Denied,
            "server_error"
            | "temporarily_unavailable"
            | "unauthorized_client"
            | "unsupported_response_type"
            | "invalid_scope"
            | "invalid_client" => Self::unavailable(reason),
            _ => Self::refused(reason),
        }
    }

    /// What an `error` of the token endpoint means (RFC 6749, section 5.2, and GitHub's own).
    pub(super) fn of_token_endpoint(error: &str, description: Option<&str>) -> Self {
        let reason = described("the token endpoint answers", error, description);
        match error {
            "access_denied" => Self::Denied,
            // The code is wrong, expired, used, or for another client; it comes with the browser.
            "invalid_grant" | "bad_verification_code" | "invalid_request" => Self::refused(reason),
            "invalid_client" | "incorrect_client_credentials" => {
                Self::unavailable(format!("{reason}; check client_id, and the secret or key"))
            }
            "redirect_uri_mismatch" => Self::unavailable(format!(
                "{reason}; register this server's redirect URI at the provider"
            )),
            _ => Self::unavailable(reason),
        }
    }
}

/// Names an error and its description, which come from outside.
fn described(who: &str, error: &str, description: Option<&str>) -> String {
    let error = shown(error);
    match description {
        Some(description) => format!("{who} {error} ({})", shown(description)),
        None => format!("{who} {error}"),
    }
}

/// A text from outside for the log, on one line.
pub(super) fn shown(text: &str) -> String {
    printable(text).chars().take(SHOWN_CHARS).collect()
}
