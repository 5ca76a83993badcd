//! One-time passwords: using them, counting wrong tries, sending them again.

use async_trait::async_trait;

use super::{MailLimits, NewMail, NewSession, RequestContext, StoreResult, TryLimits};
use crate::domain::{EmailAddress, OtpPurpose, Timestamp, User, UserId};

/// A code as it is stored.
#[derive(Clone)]
pub struct NewOtp {
    /// Keyed hash of the code, bound to its purpose and address.
    pub code_hash: Vec<u8>,
    /// Keyed hash of the address, under which its mails are counted also when accounts that had it are removed.
    pub address_hash: Vec<u8>,
    /// Until when it counts.
    pub expires_at: Timestamp,
    /// The mail that carries it.
    pub mail: NewMail,
    /// Whether one with the same digits that is out for the address gives way. Otherwise the new one is refused
    /// ([`super::StoreError::Collision`]), and other digits can be drawn.
    pub replaces_equal: bool,
}

/// A try at a code.
pub struct OtpAttempt {
    /// The address that the code is said to belong to, in lower case.
    pub email_key: String,
    /// Keyed hash of that address, under which wrong tries are counted also when an account is removed and made anew.
    pub address_hash: Vec<u8>,
    /// Keyed hash of what was typed; `None` when it cannot be a code. It is a wrong try then.
    pub code_hash: Option<Vec<u8>>,
    /// Where the try comes from, as [`crate::domain::ClientNetwork`] writes it.
    pub network: String,
    /// When.
    pub now: Timestamp,
    /// How many wrong tries are taken.
    pub limits: TryLimits,
    /// Who and from where.
    pub context: RequestContext,
}

/// What became of a try at a sign-up code.
pub type Confirmation = Option<User>;

/// An account's own code for an address change.
pub struct AccountOtp {
    /// The account whose token came with the code.
    pub user_id: UserId,
    /// The try.
    pub attempt: OtpAttempt,
}

/// A code for each purpose that a repeated mail can have; only one of them is used.
pub struct OtpCandidates {
    /// For the newest pending sign-up.
    pub sign_up: NewOtp,
    /// For the unconfirmed new address of an account.
    pub email_change: NewOtp,
}

/// The wish to get a code once more.
pub struct ReissueOtp {
    /// The address, in lower case.
    pub email_key: String,
    /// The codes to choose from.
    pub codes: OtpCandidates,
    /// When.
    pub now: Timestamp,
    /// How many mails the address may get.
    pub limits: MailLimits,
}

/// A code that is in the queue of mails now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reissued {
    /// The account.
    pub user_id: UserId,
    /// What the code is for, and so which of the candidates it is.
    pub purpose: OtpPurpose,
    /// The address as it was typed when it was given.
    pub email: EmailAddress,
}

/// Operations on one-time passwords. A wrong try is counted in the same transaction that finds it wrong.
#[async_trait]
pub trait OtpStore {
    /// Uses the code of a sign-up: its account becomes verified with the password and the fields of that sign-up, all
    /// other sign-ups for the address die, and `session` begins. `None`: wrong, used, expired, unknown or dead.
    async fn confirm_sign_up(
        &self,
        attempt: OtpAttempt,
        session: NewSession,
    ) -> StoreResult<Confirmation>;

    /// Uses the code of an address change, which counts for its own account only: the new address becomes the
    /// confirmed one. `None`: wrong, used, expired, unknown or dead.
    async fn confirm_email_change(&self, otp: AccountOtp) -> StoreResult<Confirmation>;

    /// Replaces the code of the newest pending sign-up, or of an unconfirmed new address, by a fresh one and mails that. `None` when
    /// there is nothing to confirm for the address or it had its share of mails; codes that are out stay good then.
    ///
    /// # Errors
    /// [`super::StoreError::Collision`] when the code is already out for this address: try with another.
    async fn reissue_otp(&self, wish: ReissueOtp) -> StoreResult<Option<Reissued>>;

    /// Removes what has expired: codes, counts, sessions, refresh tokens; and entries of the audit log from before
    /// `events_before`. Gives the number of rows removed.
    async fn delete_expired(
        &self,
        now: Timestamp,
        events_before: Option<Timestamp>,
    ) -> StoreResult<usize>;

    /// When the next mail with a code for `purpose` may go to the address with this keyed hash; `None` when it may go now.
    ///
    /// For an early answer only: the operations decide the question again themselves.
    async fn find_mail_pause(
        &self,
        address_hash: &[u8],
        purpose: OtpPurpose,
        now: Timestamp,
        limits: MailLimits,
    ) -> StoreResult<Option<Timestamp>>;
}
