//! Why an operation on accounts was refused, in the words of the domain.

use std::fmt;
use std::time::Duration;

use crate::crypto::tokens::TokenError;
use crate::domain::FieldErrors;
use crate::mail::MailError;
use crate::passwords::PasswordError;
use crate::store::StoreError;

/// Why an operation was refused. The variants say what the caller can do about it.
#[derive(Debug)]
pub enum AccountError {
    /// Some of the fields are wrong.
    Fields(FieldErrors),
    /// Nobody signs in with these credentials.
    NoActiveAccount,
    /// The credentials are right, but the address was never confirmed.
    EmailNotVerified,
    /// The token is none of ours, or over.
    InvalidToken,
    /// The session of the caller has ended while the request was on its way.
    SessionEnded,
    /// The caller may not do this.
    Forbidden,
    /// There is no such account.
    UserNotFound,
    /// There is no such thing.
    NotFound,
    /// The list has no such page.
    InvalidPage,
    /// It would leave no active staff account.
    LastStaffMember,
    /// The link is unknown, used or expired.
    InvalidLink,
    /// Another account has confirmed the address.
    EmailTaken,
    /// The photo has more bytes than allowed.
    PhotoTooLarge,
    /// Too much of it; it may be tried again after this time.
    Throttled(Duration),
    /// The server has more to do than it can; the text is for the log.
    Overloaded(String),
    /// A fault of ours; the text is for the log.
    Internal(String),
}

impl fmt::Display for AccountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fields(errors) => {
                let text = serde_json::to_string(errors).map_err(|_| fmt::Error)?;
                f.write_str(&text)
            }
            Self::NoActiveAccount => f.write_str("no active account has these credentials"),
            Self::EmailNotVerified => f.write_str("the address was never confirmed"),
            Self::InvalidToken => f.write_str("the token is invalid or expired"),
            Self::SessionEnded => f.write_str("the session has ended"),
            Self::Forbidden => f.write_str("the caller has no right to do this"),
            Self::UserNotFound => f.write_str("user not found"),
            Self::NotFound => f.write_str("not found"),
            Self::InvalidPage => f.write_str("there is no such page"),
            Self::LastStaffMember => f.write_str("it would leave no active staff member"),
            Self::InvalidLink => f.write_str("the link is unknown, used or expired"),
            Self::EmailTaken => f.write_str("another account has the address"),
            Self::PhotoTooLarge => f.write_str("the photo is too large"),
            Self::Throttled(wait) => write!(f, "throttled for {} s", wait.as_secs()),
            Self::Overloaded(cause) | Self::Internal(cause) => f.write_str(cause),
        }
    }
}

impl std::error::Error for AccountError {}

impl From<FieldErrors> for AccountError {
    fn from(errors: FieldErrors) -> Self {
        Self::Fields(errors)
    }
}

impl From<StoreError> for AccountError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy(_) => Self::Overloaded(error.to_string()),
            StoreError::Collision | StoreError::Failed(_) => Self::Internal(error.to_string()),
        }
    }
}

impl From<PasswordError> for AccountError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Overloaded => Self::Overloaded(error.to_string()),
            PasswordError::Failed(_) => Self::Internal(error.to_string()),
        }
    }
}

impl From<TokenError> for AccountError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Invalid => Self::InvalidToken,
            TokenError::Failed(_) => Self::Internal(error.to_string()),
        }
    }
}

impl From<MailError> for AccountError {
    fn from(error: MailError) -> Self {
        Self::Internal(error.to_string())
    }
}
