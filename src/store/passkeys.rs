//! Passkeys of accounts, and the challenges that they answer.

use async_trait::async_trait;

use super::{
    FactorEnrolment, NewMail, NewSession, PasskeyUse, RequestContext, SiteWays, StoreResult,
};
use crate::domain::{Timestamp, User, UserId};

/// A passkey of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passkey {
    /// Random id.
    pub id: String,
    /// The name that its owner gave it.
    pub name: String,
    /// The id that the authenticator gave it.
    pub credential_id: Vec<u8>,
    /// The domain that it is bound to.
    pub rp_id: String,
    /// How clients may reach the authenticator.
    pub transports: Vec<String>,
    /// Whether it has been copied to other devices.
    pub is_backed_up: bool,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it last signed in or confirmed something.
    pub last_used_at: Option<Timestamp>,
}

/// A passkey with what its answers are verified by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasskeyKey {
    /// Its id.
    pub id: String,
    /// Its account.
    pub user_id: UserId,
    /// The random handle of the account.
    pub user_handle: Vec<u8>,
    /// Its public key (COSE).
    pub public_key: Vec<u8>,
}

/// A passkey with all that is stored about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPasskey {
    /// What its owner sees.
    pub passkey: Passkey,
    /// Its public key (COSE).
    pub public_key: Vec<u8>,
    /// Its signature counter.
    pub sign_count: u32,
    /// The model of the authenticator.
    pub aaguid: [u8; 16],
    /// Whether it can be copied to other devices.
    pub is_backup_eligible: bool,
}

/// The passkeys of an account, with the handle that they know it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountPasskeys {
    /// The handle of the account.
    pub user_handle: Vec<u8>,
    /// Its passkeys, oldest first.
    pub passkeys: Vec<StoredPasskey>,
}

/// What a challenge is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengePurpose {
    /// A new passkey.
    Registration,
    /// A sign-in with a passkey, or another authentication.
    SignIn,
    /// The second step of a sign-in.
    SecondStep,
}

impl ChallengePurpose {
    /// The name that is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::SignIn => "sign_in",
            Self::SecondStep => "second_step",
        }
    }
}

/// Who may answer a challenge, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChallengeSubject {
    /// What it is for.
    pub purpose: ChallengePurpose,
    /// The id of the session, or the hash that names a sign-in or a ticket.
    pub subject: Vec<u8>,
}

/// A challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewChallenge {
    /// Keyed hash of its random bytes.
    pub challenge_hash: Vec<u8>,
    /// Who may answer it, and for what.
    pub subject: ChallengeSubject,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// The begin of a registration.
pub struct StartPasskey {
    /// The account.
    pub user_id: UserId,
    /// The handle of the account, if it has none yet.
    pub new_handle: Vec<u8>,
    /// The challenge.
    pub challenge: NewChallenge,
    /// The request.
    pub context: RequestContext,
    /// The current time.
    pub now: Timestamp,
}

/// What a registration has to know of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasskeyRegistration {
    /// Its random handle.
    pub handle: Vec<u8>,
    /// Its passkeys.
    pub passkeys: Vec<Passkey>,
}

/// A passkey to add, whose registration was verified.
pub struct AddPasskey {
    /// The passkey.
    pub passkey: StoredPasskey,
    /// Most passkeys of an account.
    pub max: usize,
    /// What goes with it.
    pub enrolment: FactorEnrolment,
}

/// The outcome of an addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddPasskeyOutcome {
    /// It is stored.
    Added {
        /// Whether it is the first factor; then the recovery codes count and other sessions ended.
        is_first: bool,
    },
    /// The authenticator has used its id before, for this account or another.
    Taken,
    /// The account has as many as it may have.
    TooMany,
}

/// A sign-in with a passkey alone.
pub struct PasskeySignIn {
    /// The account.
    pub user_id: UserId,
    /// The passkey.
    pub used: PasskeyUse,
    /// The session to create.
    pub session: NewSession,
    /// The notice of a sign-in from a new network.
    pub notice: Option<NewMail>,
    /// The request.
    pub context: RequestContext,
}

/// The removal of a passkey.
pub struct DeletePasskey {
    /// The account.
    pub user_id: UserId,
    /// The passkey.
    pub id: String,
    /// What else signs in.
    pub ways: SiteWays,
    /// The notices for the owner's addresses, by the name of the passkey.
    pub notices: Vec<NewMail>,
    /// The request.
    pub context: RequestContext,
    /// The current time.
    pub now: Timestamp,
}

/// The outcome of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletePasskeyOutcome {
    /// It is removed.
    Deleted,
    /// The account has no such passkey.
    NotFound,
    /// It is the only way to sign in.
    LastWayIn,
}

/// Operations on passkeys.
#[async_trait]
pub trait PasskeyStore {
    /// Stores a challenge.
    async fn create_challenge(&self, challenge: NewChallenge, now: Timestamp) -> StoreResult<()>;

    /// Uses up a challenge: true once, for the subject that it was made for, until it expires.
    async fn use_challenge(
        &self,
        challenge_hash: Vec<u8>,
        subject: ChallengeSubject,
        now: Timestamp,
    ) -> StoreResult<bool>;

    /// Stores the challenge of a registration, and gives the account a handle if it has none.
    async fn start_passkey(&self, start: StartPasskey) -> StoreResult<PasskeyRegistration>;

    /// Adds a passkey. With a first factor all other sessions end, because they were started without
    /// it, and the asking one counts as authenticated with it.
    async fn add_passkey(&self, addition: AddPasskey) -> StoreResult<AddPasskeyOutcome>;

    /// Finds a passkey by the id that its authenticator gave it.
    async fn find_passkey_key(&self, credential_id: &[u8]) -> StoreResult<Option<PasskeyKey>>;

    /// All that is stored about the passkeys of an account, for export; `None` without passkeys.
    async fn find_account_passkeys(&self, user_id: UserId) -> StoreResult<Option<AccountPasskeys>>;

    /// Creates a session after a verified answer of a passkey. `None` when its counter did not rise,
    /// or the account may not sign in.
    async fn sign_in_with_passkey(&self, sign_in: PasskeySignIn) -> StoreResult<Option<Box<User>>>;

    /// Renames a passkey; `None` when the account has no such passkey.
    async fn rename_passkey(
        &self,
        user_id: UserId,
        id: &str,
        name: &str,
        context: RequestContext,
    ) -> StoreResult<Option<Passkey>>;

    /// Removes a passkey, unless it is the only way to sign in. Recovery codes go with the last
    /// factor.
    async fn delete_passkey(&self, deletion: DeletePasskey) -> StoreResult<DeletePasskeyOutcome>;
}
