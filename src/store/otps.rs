//! One-time passwords (codes): using them, counting failed attempts, resending them.

use async_trait::async_trait;

use super::{MailLimits, NewMail, NewSession, RequestContext, StoreResult, TryLimits};
use crate::domain::{ClientNetwork, EmailAddress, OtpPurpose, Timestamp, User, UserId};

/// A code to store.
#[derive(Clone)]
pub struct NewOtp {
    /// Keyed hash of the code, bound to its purpose and address.
    pub code_hash: Vec<u8>,
    /// Keyed hash of the address: its mail counts outlive the account.
    pub address_hash: Vec<u8>,
    /// Keyed hash of the mailbox: one network's share covers all addresses of a mailbox.
    pub mailbox_hash: Vec<u8>,
    /// Hash of the token of the link that does the same as the code, if the mail has one.
    pub token_hash: Option<Vec<u8>>,
    /// The network that requests it; `None` for commands.
    pub requester: Option<ClientNetwork>,
    /// When code and link expire.
    pub expires_at: Timestamp,
    /// The mail that contains it.
    pub mail: NewMail,
    /// Whether it replaces a live code with the same digits for the address. Otherwise it is
    /// refused ([`super::StoreError::Taken`]), and other digits can be drawn.
    pub replaces_equal: bool,
}

/// An attempt to use a code.
pub struct OtpAttempt {
    /// The address the code was mailed to, in lower case.
    pub email_key: String,
    /// Keyed hash of that address: its failure counts outlive the account.
    pub address_hash: Vec<u8>,
    /// Keyed hash of the input; `None` when it cannot be a code, which counts as a failure.
    pub code_hash: Option<Vec<u8>>,
    /// Hash of a link's token, used instead of a code. It cannot be guessed, so failures do not
    /// count.
    pub token_hash: Option<Vec<u8>>,
    /// The client's [`crate::domain::ClientNetwork`].
    pub network: String,
    /// The current time.
    pub now: Timestamp,
    /// How many failures are allowed.
    pub limits: TryLimits,
    /// Who made the request, and from where.
    pub context: RequestContext,
}

/// The use of a sign-up code.
pub struct ConfirmSignUp {
    /// The try.
    pub attempt: OtpAttempt,
    /// The session that starts.
    pub session: NewSession,
    /// The hash that a password beside the code was found to match, from
    /// [`OtpStore::find_contested_password`].
    pub proven_hash: Option<String>,
    /// The ticket of the sign-up's identity, if it came along.
    pub identity: Option<IdentityTicket>,
    /// A password reset, for an account that is left without a password and an identity.
    pub reset: NewOtp,
}

/// The ticket of an identity that made a sign-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityTicket {
    /// Keyed hash of its token.
    pub token_hash: Vec<u8>,
    /// Random id of the identity, if the ticket is right.
    pub new_id: String,
}

/// A confirmed sign-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfirmedSignUp {
    /// The account.
    pub user: User,
    /// Whether it has neither password nor identity, because its address was contested, or the
    /// ticket of its identity did not come along.
    pub needs_password: bool,
}

/// An attempt to confirm an address change.
pub struct AccountOtp {
    /// The authenticated account.
    pub user_id: UserId,
    /// The attempt.
    pub attempt: OtpAttempt,
    /// The notice to the former address, once for each of the owner's addresses.
    pub notices: Vec<NewMail>,
}

/// A code for each purpose that a resent mail can have; only one of them is used.
pub struct OtpCandidates {
    /// For the newest pending sign-up.
    pub sign_up: NewOtp,
    /// For the pending new address of an account.
    pub email_change: NewOtp,
}

/// A request to resend a code.
pub struct ReissueOtp {
    /// The address, in lower case.
    pub email_key: String,
    /// The requesting network: of several pending sign-ups its own is repeated, else the newest.
    pub network: String,
    /// The codes to choose from.
    pub codes: OtpCandidates,
    /// The current time.
    pub now: Timestamp,
    /// How many mails are allowed.
    pub limits: MailLimits,
}

/// A code that was enqueued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reissued {
    /// The account.
    pub user_id: UserId,
    /// Its purpose.
    pub purpose: OtpPurpose,
    /// The address as typed.
    pub email: EmailAddress,
}

/// What a link in a mail is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtpToken {
    /// Its purpose.
    pub purpose: OtpPurpose,
    /// The account.
    pub user_id: UserId,
    /// The address it was mailed to, in lower case.
    pub email_key: String,
}

/// Operations on codes. A failed attempt is counted in the same transaction.
#[async_trait]
pub trait OtpStore {
    /// Uses the code of a sign-up: its account becomes verified with the password and the fields of
    /// that sign-up, all other sign-ups for the address are removed, and the session starts. `None`:
    /// wrong, used, expired, unknown or dead.
    ///
    /// A contested account keeps no password and no field of any sign-up, and a password reset is
    /// mailed, unless the password of the code's own sign-up was proven, or the ticket of its
    /// identity came along. The identity is connected with that ticket only.
    async fn confirm_sign_up(
        &self,
        confirmation: ConfirmSignUp,
    ) -> StoreResult<Option<ConfirmedSignUp>>;

    /// The password hash of the sign-up that a code belongs to, without using the code up; inner
    /// `None` unless the account is contested. A wrong code is counted.
    async fn find_contested_password(
        &self,
        attempt: OtpAttempt,
    ) -> StoreResult<Option<Option<String>>>;

    /// The pending sign-up whose code a resend repeats, if there is one for the address: when it was
    /// made, and the client's address.
    async fn find_resent_sign_up(
        &self,
        email_key: &str,
        network: &str,
        now: Timestamp,
    ) -> StoreResult<Option<(Timestamp, String)>>;

    /// Uses the code of an address change, which counts for its own account only: the new address becomes the
    /// confirmed one. `None`: wrong, used, expired, unknown or dead.
    async fn confirm_email_change(&self, otp: AccountOtp) -> StoreResult<Option<User>>;

    /// Resends the code of the newest pending sign-up or of a pending new address; it replaces the
    /// former code. `None` when nothing is pending for the address or its mails are throttled:
    /// then live codes stay valid.
    ///
    /// # Errors
    /// [`super::StoreError::Taken`] when the same code is live for this address: retry with another.
    async fn reissue_otp(&self, reissue: ReissueOtp) -> StoreResult<Option<Reissued>>;

    /// Finds what a valid link is for, by the hash of its token.
    async fn find_otp_token(
        &self,
        token_hash: &[u8],
        now: Timestamp,
    ) -> StoreResult<Option<OtpToken>>;

    /// Finds when the next mail for `purpose` is allowed; `None` when it is allowed now.
    ///
    /// For early answers only: the operations check it again.
    async fn find_mail_pause(
        &self,
        address_hash: &[u8],
        mailbox_hash: &[u8],
        purpose: OtpPurpose,
        requester: ClientNetwork,
        now: Timestamp,
        limits: MailLimits,
    ) -> StoreResult<Option<Timestamp>>;
}
