//! Authenticating again within a session.

use async_trait::async_trait;

use super::{
    FactorRefusal, FactorTry, MailLimits, NewOtp, OtpAttempt, PasswordTry, ProvenIdentity,
    RequestContext, StoreResult,
};
use crate::domain::{Authentication, SessionRef, Timestamp, User, UserId};

/// What the owner of a session has shown.
pub enum Reauthenticator {
    /// The password, which was verified: the failures of the attempt's source are forgotten.
    Password(PasswordTry),
    /// A mailed code, which is still to be checked.
    Otp(OtpAttempt),
    /// The code of a second factor, which is still to be checked.
    Factor(FactorTry),
    /// An identity, which its provider has proven: the account still has to have it.
    Identity(ProvenIdentity),
}

/// Another authentication of the owner of a session.
pub struct Reauthentication {
    /// The session.
    pub session: SessionRef,
    /// When.
    pub now: Timestamp,
    /// What was shown.
    pub shown: Reauthenticator,
    /// Of a browser session: the hashes of its secret and of the one that replaces it.
    pub secret_hashes: Option<(Vec<u8>, Vec<u8>)>,
    /// Who made the request, and from where.
    pub context: RequestContext,
}

/// The outcome of a [`Reauthentication`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReauthenticationOutcome {
    /// The session knows it.
    Done {
        /// The account.
        user: Box<User>,
        /// When the session was created.
        created_at: Timestamp,
        /// What it knows of its owner now.
        authentication: Authentication,
    },
    /// The code is wrong, used, expired or unknown.
    InvalidOtp,
    /// The account does not have the identity, or wants a second factor.
    WrongIdentity,
    /// The code of the second factor was not accepted.
    FactorRefused(FactorRefusal),
    /// The session has ended, its account is inactive, or its secret was replaced already.
    Ended,
}

/// A request for a code to authenticate with again.
pub struct ReauthenticationOtp {
    /// The account.
    pub user_id: UserId,
    /// Its confirmed address, in lower case and as it was typed.
    pub email: (String, String),
    /// The code to mail.
    pub otp: NewOtp,
    /// The current time.
    pub now: Timestamp,
    /// How many mails are allowed.
    pub limits: MailLimits,
    /// Who made the request, and from where.
    pub context: RequestContext,
}

/// Operations for authenticating again.
#[async_trait]
pub trait ReauthenticationStore {
    /// Notes that the owner of a session authenticated again. A wrong code is counted.
    async fn reauthenticate(
        &self,
        request: Reauthentication,
    ) -> StoreResult<ReauthenticationOutcome>;

    /// Stores and mails a code, which replaces an earlier one. Returns when the next mail is
    /// allowed, if none was sent.
    ///
    /// # Errors
    /// [`super::StoreError::SessionEnded`]; [`super::StoreError::Taken`] when the same code is live
    /// for this address: retry with another.
    async fn create_reauthentication_otp(
        &self,
        request: ReauthenticationOtp,
    ) -> StoreResult<Option<Timestamp>>;
}
