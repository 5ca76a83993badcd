//! Second factors of accounts, and the sign-ins that wait for one.

use async_trait::async_trait;

use super::{
    NewEmailUndo, NewMail, NewOtp, NewSession, Passkey, RequestContext, SiteWays, StoreResult,
};
use crate::domain::{
    AuthMethod, Authentication, SecondFactor, SessionRef, Timestamp, User, UserId,
};

/// The factors of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Factors {
    /// Its authenticator app.
    pub totp: Option<TotpDevice>,
    /// Its passkeys, oldest first.
    pub passkeys: Vec<Passkey>,
    /// Recovery codes that are not used up.
    pub recovery_codes_left: u32,
}

impl Factors {
    /// Whether signing in wants a second factor.
    pub fn is_enabled(&self) -> bool {
        self.totp.is_some() || !self.passkeys.is_empty()
    }

    /// The ways to prove a factor at the site with this domain, in the order in which the API lists
    /// them.
    pub fn methods(&self, rp_id: &str) -> Vec<SecondFactor> {
        let totp = self.totp.as_ref().map(|_| SecondFactor::Totp);
        let codes = (self.recovery_codes_left > 0).then_some(SecondFactor::RecoveryCode);
        let mut passkeys = self.passkeys.iter();
        let passkeys = passkeys.any(|passkey| passkey.rp_id == rp_id);
        let passkeys = passkeys.then_some(SecondFactor::Webauthn);
        totp.into_iter().chain(codes).chain(passkeys).collect()
    }

    /// When the oldest factor was enrolled.
    pub fn created_at(&self) -> Option<Timestamp> {
        let totp = self.totp.iter().map(|device| device.created_at);
        totp.chain(self.passkeys.iter().map(|passkey| passkey.created_at))
            .min()
    }

    /// When a factor was last used, besides recovery codes.
    pub fn last_used_at(&self) -> Option<Timestamp> {
        let totp = self.totp.iter().filter_map(|device| device.last_used_at);
        totp.chain(
            self.passkeys
                .iter()
                .filter_map(|passkey| passkey.last_used_at),
        )
        .max()
    }
}

/// An authenticator app (RFC 6238).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TotpDevice {
    /// Random id: a code counts for the device that it was checked against only.
    pub id: String,
    /// The encrypted secret.
    pub secret: Vec<u8>,
    /// When it was enrolled.
    pub created_at: Timestamp,
    /// When one of its codes last signed in or confirmed something.
    pub last_used_at: Option<Timestamp>,
}

/// A proof of a factor, as far as it can be judged without the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FactorProof {
    /// A code of this device and time step. The store accepts each step once, and none before it.
    Totp {
        /// The device.
        device_id: String,
        /// The step whose code it is.
        step: i64,
    },
    /// The keyed hash of a recovery code, which may or may not be one of the account's.
    Recovery(Vec<u8>),
    /// A passkey of the account, whose signature was verified.
    Passkey(PasskeyUse),
    /// A code that is neither.
    WrongCode,
    /// The answer of a passkey that is not accepted.
    WrongPasskey,
}

impl FactorProof {
    /// The factor that it is a proof of, if it is right.
    pub fn factor(&self) -> SecondFactor {
        match self {
            Self::Totp { .. } | Self::WrongCode => SecondFactor::Totp,
            Self::Recovery(_) => SecondFactor::RecoveryCode,
            Self::Passkey(_) | Self::WrongPasskey => SecondFactor::Webauthn,
        }
    }
}

/// The use of a passkey, whose challenge was used up and whose signature was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasskeyUse {
    /// The passkey.
    pub id: String,
    /// Its signature counter. Unless it is without one, the number has to rise.
    pub sign_count: u32,
    /// Whether it has been copied to other devices.
    pub is_backed_up: bool,
}

/// A try at a second factor.
#[derive(Clone, Debug)]
pub struct FactorTry {
    /// What was shown.
    pub proof: FactorProof,
    /// The client's network.
    pub network: String,
    /// The request.
    pub context: RequestContext,
    /// The current time.
    pub now: Timestamp,
    /// Limits on wrong codes.
    pub limits: FactorLimits,
}

/// Limits on wrong codes of an account. They hold with and without rate limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactorLimits {
    /// Wrong codes of all unknown networks together within 24 hours.
    pub unknown_a_day: u32,
    /// Wrong codes at one ticket.
    pub per_ticket: u32,
}

impl FactorLimits {
    /// The limits that the API documents.
    pub const DEFAULT: Self = Self {
        unknown_a_day: 20,
        per_ticket: 5,
    };
}

/// Why a try was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactorRefusal {
    /// The code or passkey is wrong, or was used before.
    Wrong,
    /// Too many were wrong; the answer does not reveal whether this one was.
    Throttled {
        /// When the next try is allowed.
        until: Timestamp,
    },
}

/// A ticket for the second step of a sign-in.
#[derive(Clone, Debug)]
pub struct NewTicket {
    /// Keyed hash of its random token.
    pub token_hash: Vec<u8>,
    /// What was checked.
    pub method: AuthMethod,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// A live ticket.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// The account.
    pub user_id: UserId,
    /// Its factors.
    pub factors: Factors,
}

/// The second step of a sign-in.
pub struct CompleteSignIn {
    /// Keyed hash of the ticket's token.
    pub token_hash: Vec<u8>,
    /// The try.
    pub tried: FactorTry,
    /// The session to create. Its methods become that of the ticket and the proven factor.
    pub session: NewSession,
    /// The notice of a sign-in from a new network.
    pub notice: Option<NewMail>,
}

/// The outcome of the second step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompleteOutcome {
    /// The session was created.
    Started {
        /// The account.
        user: Box<User>,
        /// What the session was started with.
        authentication: Authentication,
    },
    /// The ticket is unknown, used, expired, or void by a change of the account.
    InvalidTicket,
    /// The code was not accepted.
    Refused(FactorRefusal),
}

/// A device to enroll, whose first code was checked.
pub struct ActivateTotp {
    /// The device.
    pub device: TotpDevice,
    /// The step of the first code, which is used up.
    pub step: i64,
    /// What goes with it.
    pub enrolment: FactorEnrolment,
}

/// What goes with a new factor of any kind.
pub struct FactorEnrolment {
    /// The asking session, which stays.
    pub session: SessionRef,
    /// Keyed hashes of the recovery codes that a first factor brings.
    pub recovery_codes: Vec<Vec<u8>>,
    /// The notices for the owner's addresses.
    pub notices: Vec<NewMail>,
    /// The undo link that goes with the notice of a first factor, or of a way to sign in.
    pub undo: NewEmailUndo,
    /// The request.
    pub context: RequestContext,
    /// The current time.
    pub now: Timestamp,
}

/// The outcome of an enrolment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivateOutcome {
    /// The device is enrolled.
    Activated {
        /// Whether it is the first factor; then the recovery codes count and other sessions ended.
        is_first: bool,
    },
    /// The account has a device already.
    AlreadyActive,
}

/// A removal of a device.
pub struct DeactivateTotp {
    /// The account.
    pub user_id: UserId,
    /// The proof.
    pub tried: FactorTry,
    /// The notices for the owner's addresses.
    pub notices: Vec<NewMail>,
}

/// New recovery codes in the place of the old ones.
pub struct ReplaceRecoveryCodes {
    /// The account.
    pub user_id: UserId,
    /// Keyed hashes of the new codes.
    pub recovery_codes: Vec<Vec<u8>>,
    /// The notices for the owner's addresses.
    pub notices: Vec<NewMail>,
    /// The request.
    pub context: RequestContext,
    /// The current time.
    pub now: Timestamp,
}

/// The removal of all factors of an account, by staff or an administrator.
pub struct ResetFactors {
    /// The account.
    pub user_id: UserId,
    /// Its confirmed address, in lower case and as it was typed.
    pub email: (String, String),
    /// A password reset, which is mailed when no way to sign in is left.
    pub reset: NewOtp,
    /// What signs in besides passwords.
    pub ways: SiteWays,
    /// The notices for the owner's addresses.
    pub notices: Vec<NewMail>,
    /// The request.
    pub context: RequestContext,
    /// The current time.
    pub now: Timestamp,
}

/// Operations on second factors.
#[async_trait]
pub trait FactorStore {
    /// The factors of an account.
    async fn find_factors(&self, user_id: UserId) -> StoreResult<Factors>;

    /// Finds the live ticket with this token hash.
    async fn find_ticket(&self, token_hash: &[u8], now: Timestamp) -> StoreResult<Option<Ticket>>;

    /// Checks and uses up the code of a ticket, and creates the session.
    ///
    /// A wrong code counts against the ticket and the account; a ticket takes a limited number.
    async fn complete_sign_in(&self, sign_in: CompleteSignIn) -> StoreResult<CompleteOutcome>;

    /// Enrolls a device. With a first factor all other sessions end, because they were started
    /// without it, and the asking one counts as authenticated with it.
    async fn activate_totp(&self, activation: ActivateTotp) -> StoreResult<ActivateOutcome>;

    /// Removes the device after a proof of a factor. Recovery codes go with the last factor.
    ///
    /// `None` when the account has no device.
    async fn deactivate_totp(
        &self,
        deactivation: DeactivateTotp,
    ) -> StoreResult<Option<Result<(), FactorRefusal>>>;

    /// Replaces the recovery codes; false when the account has no factor.
    async fn replace_recovery_codes(&self, codes: ReplaceRecoveryCodes) -> StoreResult<bool>;

    /// Removes all factors of an account and revokes its sessions; false when it does not exist.
    ///
    /// # Errors
    /// [`super::StoreError::Taken`] when the same code is live for this address: retry with another.
    async fn reset_factors(&self, reset: ResetFactors) -> StoreResult<bool>;
}
