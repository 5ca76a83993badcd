//! The store boundary: what the rest of the program may ask of its database.
//!
//! Every method is one whole operation in the words of the domain and one transaction of its own: it either happened
//! and is durable when the answer arrives, or it did not happen. Nobody outside gets hold of a connection or an open
//! transaction. Times, identifiers, hashes and random values come in from the caller, so an operation carried out
//! twice on two replicas gives the same rows twice; a store has neither a clock nor randomness of its own.
//!
//! The traits are grouped by resource, and an implementation keeps one file per resource under the same name. The
//! methods are `async` because a replicated or remote engine answers that way; [`sqlite`] answers reads by key without
//! ever suspending. To add another engine, write a folder beside `sqlite` and name it where [`crate::bootstrap`] opens
//! the store: nothing in this module names a driver type.

mod development;
mod events;
mod health;
mod keys;
mod mails;
mod named_session;
mod otps;
mod password_tries;
mod passwords;
mod sessions;
pub mod sqlite;
mod user_snapshot;
mod users;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use development::DevelopmentStore;
pub use events::{Event, EventPage, EventQuery, EventStore, NewEvent, RequestContext};
pub use health::HealthStore;
pub use keys::{KeyMaterial, KeyStore, RemoveKey, RotateKeys, StoredKey, StoredSecret};
pub use mails::{ClaimedMails, MailClaim, MailQueue, MailStore, NewMail, QueuedMail};
pub use named_session::SessionRef;
pub use otps::{
    AccountOtp, Confirmation, NewOtp, OtpAttempt, OtpCandidates, OtpStore, ReissueOtp, Reissued,
};
pub use password_tries::{PasswordTry, PasswordTryLimits, PasswordTryStore, TrySource};
pub use passwords::{PasswordStore, ReplacePassword, ResetRequest};
pub use sessions::{
    NewSession, RotateRefreshToken, Rotation, Session, SessionStore, SignIn, SignInOutcome,
};
pub use user_snapshot::UserSnapshot;
pub use users::{
    Credentials, DeleteOutcome, DeleteUser, EmailChange, ImportRefusal, ImportSource, ImportedUser,
    NewEmailUndo, NewSignUp, NewUser, PageRequest, SignUpOutcome, StoredUser, UndoEmailChange,
    UndoOutcome, UpdateOutcome, UserOrder, UserPage, UserQuery, UserStore, UserUpdate,
};

/// Everything one engine has to offer.
pub trait Store:
    UserStore
    + OtpStore
    + PasswordStore
    + PasswordTryStore
    + SessionStore
    + MailStore
    + KeyStore
    + EventStore
    + HealthStore
    + DevelopmentStore
    + Send
    + Sync
{
}

impl<T> Store for T where
    T: UserStore
        + OtpStore
        + PasswordStore
        + PasswordTryStore
        + SessionStore
        + MailStore
        + KeyStore
        + EventStore
        + HealthStore
        + DevelopmentStore
        + Send
        + Sync
{
}

/// The store as the program passes it around.
pub type SharedStore = Arc<dyn Store>;

/// How many mails with a code one address may get for one purpose (contract: one a minute, ten an hour).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailLimits {
    /// Shortest pause between two mails; zero means none.
    pub pause: Duration,
    /// Most mails within an hour; zero means no limit.
    pub per_hour: u32,
}

/// How many wrong codes are taken before a code is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TryLimits {
    /// Wrong tries by one network at one code.
    pub per_network: u32,
    /// Wrong tries by everybody at one code.
    pub per_otp: u32,
    /// Wrong tries at all codes of one account, or of one address, within 24 hours.
    pub per_account_per_day: u32,
}

impl TryLimits {
    /// The numbers the API promises to its users.
    pub const DEFAULT: Self = Self {
        per_network: 5,
        per_otp: 25,
        per_account_per_day: 100,
    };
}

/// Why a store operation did not happen. The variants say what the caller can do about it.
#[derive(Clone, Debug)]
pub enum StoreError {
    /// A value that has to be unique exists already; a fresh random one may be tried.
    Collision,
    /// The database is held by somebody else or has more work than it takes: try again later.
    Busy(String),
    /// Anything else; the text is for the log, never for a client.
    Failed(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Collision => f.write_str("a value that has to be unique exists already"),
            Self::Busy(cause) => write!(f, "the database is busy: {cause}"),
            Self::Failed(cause) => write!(f, "the database failed: {cause}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// What every store operation gives back.
pub type StoreResult<T> = Result<T, StoreError>;
