//! Accounts: signing up, looking up, changing.

use async_trait::async_trait;

use super::{MailLimits, NewOtp, StoreResult};
use crate::domain::{EmailAddress, Profile, Timestamp, User, UserChanges, UserId};

/// What a sign-in attempt is checked against.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The account.
    pub user_id: UserId,
    /// Its password hash; for a never-verified account that of its newest sign-up.
    pub password_hash: String,
    /// Whether the account may sign in at all.
    pub is_active: bool,
    /// Whether an address of it was ever confirmed.
    pub is_verified: bool,
}

/// A sign-up together with the code that is about to be mailed.
pub struct NewSignUp {
    /// The address as it was typed.
    pub email: EmailAddress,
    /// Hash of the chosen password.
    pub password_hash: String,
    /// The other fields.
    pub profile: Profile,
    /// The code that confirms this sign-up and no other.
    pub otp: NewOtp,
    /// When it happened.
    pub now: Timestamp,
    /// How many mails the address may get.
    pub limits: MailLimits,
}

/// What became of a sign-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignUpOutcome {
    /// It stands, under the number of the account that its code would activate.
    Created(UserId),
    /// A verified account has the address.
    EmailTaken,
    /// The address had its share of mails; nothing was stored.
    Throttled {
        /// When the next one may go out.
        until: Timestamp,
    },
}

/// An account that needs no confirmation, as an administrator makes it.
pub struct NewUser {
    /// The address as it was typed.
    pub email: EmailAddress,
    /// Hash of its password.
    pub password_hash: String,
    /// The other fields.
    pub profile: Profile,
    /// Whether it is a staff account.
    pub is_staff: bool,
    /// When it is made; it counts as verified from then on.
    pub now: Timestamp,
}

/// The code that an address change may need. Which purpose it gets depends on the state of the account.
pub struct EmailChange {
    /// For a verified account: the code that confirms the new address.
    pub change_otp: NewOtp,
    /// For a never-verified account: the code that confirms its newest sign-up under the new address.
    pub sign_up_otp: NewOtp,
    /// How many mails the new address may get.
    pub limits: MailLimits,
}

/// A change of an account.
pub struct UserUpdate {
    /// The account.
    pub user_id: UserId,
    /// What changes.
    pub changes: UserChanges,
    /// Needed when [`UserChanges::email`] is set, not looked at otherwise.
    pub email_change: Option<EmailChange>,
    /// When it happens.
    pub now: Timestamp,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpdateOutcome {
    /// It was made.
    Updated {
        /// The account after it.
        user: Box<User>,
        /// What the code is for that now has to go to the address which the account shows; `None` when no mail is due.
        mail: Option<crate::domain::OtpPurpose>,
    },
    /// No such account.
    Missing,
    /// Another verified account has the address; nothing was changed.
    EmailTaken,
    /// The new address had its share of mails; nothing was changed.
    Throttled {
        /// When the next one may go out.
        until: Timestamp,
    },
}

/// Operations on accounts.
#[async_trait]
pub trait UserStore {
    /// The account with this number.
    async fn find_user(&self, id: UserId) -> StoreResult<Option<User>>;

    /// What a sign-in with this address is checked against: the account that confirmed it, was signed up with it, or
    /// has it as its unconfirmed new address. `email_key` is the address in lower case.
    async fn find_credentials(&self, email_key: &str) -> StoreResult<Option<Credentials>>;

    /// Whether a verified account other than `except` has confirmed this address.
    ///
    /// For an early answer only: the operations below decide the question again themselves.
    async fn is_email_taken(&self, email_key: &str, except: Option<UserId>) -> StoreResult<bool>;

    /// Stores a sign-up beside those already pending for the address.
    ///
    /// An account that had the address as its unconfirmed new one falls back to its last confirmed one.
    ///
    /// # Errors
    /// [`super::StoreError::Collision`] when the code is already out for this address: try with another.
    async fn create_sign_up(&self, sign_up: NewSignUp) -> StoreResult<SignUpOutcome>;

    /// Creates a verified account. `None` when a verified account has the address already; a never-verified one is
    /// taken over under its number.
    async fn create_verified_user(&self, user: NewUser) -> StoreResult<Option<UserId>>;

    /// Changes an account. A new address counts as unverified until its code comes back; a never-verified account that
    /// had it is removed, and an account that had it as its own unconfirmed new one falls back.
    ///
    /// # Errors
    /// [`super::StoreError::Collision`] when the code is already out for this address: try with another.
    async fn update_user(&self, update: UserUpdate) -> StoreResult<UpdateOutcome>;
}
