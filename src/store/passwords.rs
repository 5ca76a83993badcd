//! Passwords: replacing them, with or without a code.

use async_trait::async_trait;

use super::{MailLimits, NewMail, NewOtp, OtpAttempt, Reissued, RequestContext, StoreResult};
use crate::domain::{Timestamp, User, UserId};

/// A new password for an account.
pub struct ReplacePassword {
    /// The account.
    pub user_id: UserId,
    /// The hash that the account must still have; `None` replaces any.
    pub old_hash: Option<String>,
    /// The new hash.
    pub new_hash: String,
    /// The session that asks, if one does; all others of the account end.
    pub keep_session: Option<String>,
    /// When.
    pub now: Timestamp,
    /// Tells the last confirmed address of it.
    pub notice: NewMail,
    /// Who and from where.
    pub context: RequestContext,
}

/// The wish to choose a new password without knowing the old one.
pub struct ResetRequest {
    /// The address, in lower case.
    pub email_key: String,
    /// The code to be mailed.
    pub otp: NewOtp,
    /// When.
    pub now: Timestamp,
    /// How many mails the address may get.
    pub limits: MailLimits,
    /// Who and from where.
    pub context: RequestContext,
}

/// Operations on passwords.
#[async_trait]
pub trait PasswordStore {
    /// The password hash of an account.
    async fn find_password_hash(&self, user_id: UserId) -> StoreResult<Option<String>>;

    /// Replaces a password; all sessions of the account but the one that asks end, and codes for choosing another one are
    /// dead. False when the account is gone or has another hash by now.
    async fn replace_password(&self, wish: ReplacePassword) -> StoreResult<bool>;

    /// Writes the same password down in a better form; nothing else changes. False when the account has another hash by
    /// now.
    async fn rehash_password(
        &self,
        user_id: UserId,
        old_hash: &str,
        new_hash: &str,
    ) -> StoreResult<bool>;

    /// Stores a code for choosing a new password, in place of any other. `None` when no active account has confirmed the
    /// address or was signed up with it, or the address had its share of mails.
    ///
    /// # Errors
    /// [`super::StoreError::Collision`] when the code is already out for this address: try with another.
    async fn create_password_reset(&self, wish: ResetRequest) -> StoreResult<Option<Reissued>>;

    /// Whose code this is, without using it up; a wrong one is counted.
    async fn check_password_reset(&self, attempt: OtpAttempt) -> StoreResult<Option<User>>;

    /// Uses the code: the account has the new password, counts as verified, and all its sessions end; `notice` tells the
    /// owner. `None`: wrong, used, expired, unknown or dead.
    async fn confirm_password_reset(
        &self,
        attempt: OtpAttempt,
        new_hash: &str,
        notice: NewMail,
    ) -> StoreResult<Option<User>>;
}
