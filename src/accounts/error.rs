//! Why an operation on accounts failed.

use std::time::Duration;

use super::ReauthenticationMethod;
use crate::crypto::tokens::TokenError;
use crate::domain::{FieldErrors, SecondFactor};
use crate::mail::MailError;
use crate::passwords::PasswordError;
use crate::store::StoreError;

/// The error behind an [`AccountError`].
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why an operation failed. The variants say what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Some fields are invalid.
    #[error("{}", serde_json::to_string(.0).unwrap_or_default())]
    Fields(FieldErrors),
    /// The one-time password is wrong, used, expired or unknown.
    #[error("the one-time password is invalid or expired")]
    InvalidOtp,
    /// The re-entered password is wrong; other fields may be invalid too.
    #[error("{}", serde_json::to_string(.0).unwrap_or_default())]
    InvalidPassword(FieldErrors),
    /// No active account has these credentials.
    #[error("no active account has these credentials")]
    NoActiveAccount,
    /// The credentials are right, but the address was never confirmed.
    #[error("the address was never confirmed")]
    EmailNotVerified,
    /// A verified account has the address of an identity that no account has.
    #[error("an account with the address exists")]
    AccountExists {
        /// The ticket that connects the identity to that account.
        ticket: String,
        /// The address.
        email: String,
    },
    /// The provider of an identity is not trusted for the address: its code was mailed.
    #[error("the address of the identity is not confirmed")]
    IdentityNotVerified {
        /// The ticket that makes the identity count when the address is confirmed.
        ticket: String,
        /// The address.
        email: String,
    },
    /// Another account has the identity.
    #[error("another account has the identity")]
    IdentityTaken,
    /// The account has as many identities as it may have.
    #[error("the account has too many identities")]
    TooManyIdentities,
    /// The identity does not authenticate this account again.
    #[error("the identity does not authenticate the account")]
    WrongIdentity,
    /// The provider is not configured.
    #[error("the provider is unknown")]
    UnknownProvider(String),
    /// Somebody did not want to sign in at the provider.
    #[error("the sign-in at the provider was cancelled")]
    ProviderDenied,
    /// The token is foreign, revoked or expired.
    #[error("the token is invalid or expired")]
    InvalidToken,
    /// The caller's session ended while the request was in flight.
    #[error("the session has ended")]
    SessionEnded,
    /// The caller lacks the permission.
    #[error("the caller lacks the permission")]
    Forbidden,
    /// The caller has to authenticate again first, in one of these ways.
    #[error("the caller has to authenticate again")]
    ReauthenticationRequired(Vec<ReauthenticationMethod>),
    /// The password is right, and the account has a second factor.
    #[error("a second factor is required")]
    SecondFactorRequired {
        /// The ticket for the second step.
        ticket: String,
        /// The ways to prove a factor.
        methods: Vec<SecondFactor>,
    },
    /// The account has to set up a second factor first.
    #[error("a second factor has to be set up first")]
    FactorSetupRequired,
    /// The account has an authenticator app already.
    #[error("the account has an authenticator app already")]
    FactorAlreadyEnabled,
    /// The account has no second factor.
    #[error("the account has no second factor")]
    FactorNotEnabled,
    /// The account has as many passkeys as it may have.
    #[error("the account has too many passkeys")]
    TooManyPasskeys,
    /// The account could not sign in any more.
    #[error("it is the only way to sign in")]
    LastWayIn,
    /// The account does not exist.
    #[error("user not found")]
    UserNotFound,
    /// The object does not exist.
    #[error("not found")]
    NotFound,
    /// The list has no such page.
    #[error("the list has no such page")]
    InvalidPage,
    /// No active staff account would remain.
    #[error("no active staff account would remain")]
    LastStaffMember,
    /// The link is unknown, used or expired.
    #[error("the link is unknown, used or expired")]
    InvalidLink,
    /// The mail has expired and can no longer be sent.
    #[error("the mail has expired")]
    MailExpired,
    /// The configuration file has the webhook, and it can be changed there alone.
    #[error("the webhook is set in the configuration file")]
    WebhookFromFile,
    /// The webhook is disabled.
    #[error("the webhook is disabled")]
    WebhookDisabled,
    /// The configuration file has the OAuth client, and it can be changed there alone.
    #[error("the client is set in the configuration file")]
    ClientFromFile,
    /// The OAuth client is public, so it has no secret.
    #[error("the client is public, so it has no secret")]
    ClientIsPublic,
    /// The configuration file has an OAuth client whose id, this one, another client has.
    #[error(
        "there is a client {0:?} that the file has not added: choose another id, or remove that \
         client with `client remove {0}`"
    )]
    ClientExists(String),
    /// There is no page for the link of an invitation.
    #[error("there is no page for the link of an invitation")]
    NoInvitationPage,
    /// Another account has confirmed the address.
    #[error("another account has the address")]
    EmailTaken,
    /// The photo has more bytes than allowed.
    #[error("the photo is too large")]
    PhotoTooLarge,
    /// A rate limit was reached; a retry is allowed after this time.
    #[error("throttled for {} s", .0.as_secs())]
    Throttled(Duration),
    /// The server is overloaded; the cause is for the log.
    #[error(transparent)]
    Overloaded(Cause),
    /// An internal error; the cause is for the log.
    #[error(transparent)]
    Internal(Cause),
}

impl From<FieldErrors> for AccountError {
    fn from(errors: FieldErrors) -> Self {
        Self::Fields(errors)
    }
}

impl From<StoreError> for AccountError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy(_) => Self::Overloaded(error.into()),
            StoreError::SessionEnded => Self::SessionEnded,
            StoreError::Forbidden => Self::Forbidden,
            StoreError::Taken(_) | StoreError::Failed(_) => Self::Internal(error.into()),
        }
    }
}

impl From<PasswordError> for AccountError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Overloaded => Self::Overloaded(error.into()),
            PasswordError::Failed(_) => Self::Internal(error.into()),
        }
    }
}

impl From<TokenError> for AccountError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Invalid => Self::InvalidToken,
            TokenError::Failed(_) => Self::Internal(error.into()),
        }
    }
}

impl From<MailError> for AccountError {
    fn from(error: MailError) -> Self {
        Self::Internal(error.into())
    }
}
