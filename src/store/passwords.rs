//! Passwords: changing and resetting them.

use async_trait::async_trait;

use super::{
    MailLimits, NewMail, NewOtp, NewSession, OtpAttempt, Reissued, RequestContext, StoreResult,
};
use crate::domain::{Timestamp, User, UserId};

/// A new password for an account.
pub struct ReplacePassword {
    /// The account.
    pub user_id: UserId,
    /// The hash the account must still have; `None` replaces any.
    pub old_hash: Option<String>,
    /// The new hash.
    pub new_hash: String,
    /// The session to create; all earlier ones are revoked.
    pub session: Option<NewSession>,
    /// The current time.
    pub now: Timestamp,
    /// The notice to the owner, once for each of its addresses; see [`NOTICES`].
    pub notices: Vec<NewMail>,
    /// Who made the request, and from where.
    pub context: RequestContext,
}

/// A request to reset a forgotten password.
pub struct ResetRequest {
    /// The address, in lower case.
    pub email_key: String,
    /// The code to mail.
    pub otp: NewOtp,
    /// The current time.
    pub now: Timestamp,
    /// How many mails are allowed.
    pub limits: MailLimits,
    /// Who made the request, and from where.
    pub context: RequestContext,
}

/// Most addresses that get a notice: the confirmed one and those with a valid undo link.
pub const NOTICES: usize = 5;

/// Operations on passwords.
#[async_trait]
pub trait PasswordStore {
    /// Finds the password hash of an account.
    async fn find_password_hash(&self, user_id: UserId) -> StoreResult<Option<String>>;

    /// Replaces a password, revokes all sessions, creates the new one, and deletes reset codes.
    /// `None` when the account is gone or its hash has changed.
    ///
    /// # Errors
    /// [`super::StoreError::SessionEnded`], [`super::StoreError::Forbidden`].
    async fn replace_password(&self, request: ReplacePassword) -> StoreResult<Option<User>>;

    /// Replaces the hash by one of the same password in the current form. False when the hash has
    /// changed.
    async fn rehash_password(
        &self,
        user_id: UserId,
        old_hash: &str,
        new_hash: &str,
    ) -> StoreResult<bool>;

    /// Stores and mails a reset code, which replaces an earlier one. `None` when no active account
    /// has the address, or its mails are throttled.
    ///
    /// # Errors
    /// [`super::StoreError::Taken`] when the same code is live for this address: retry with another;
    /// [`super::StoreError::SessionEnded`] and [`super::StoreError::Forbidden`] for a session that is
    /// not that of staff.
    async fn create_password_reset(&self, request: ResetRequest) -> StoreResult<Option<Reissued>>;

    /// Finds the account of a code without using it up; a failed attempt is counted.
    async fn check_password_reset(&self, attempt: OtpAttempt) -> StoreResult<Option<User>>;

    /// Uses a code: sets the new password, marks the account as verified, revokes all its sessions
    /// and enqueues the notices. `None` for an invalid code.
    async fn confirm_password_reset(
        &self,
        attempt: OtpAttempt,
        new_hash: &str,
        notices: Vec<NewMail>,
    ) -> StoreResult<Option<User>>;
}
