//! The store boundary: what the rest of the program asks of its database.
//!
//! Each method is one whole operation in the terms of the domain, and one transaction: when it
//! returns, it is committed and durable, or nothing has changed. Nobody outside holds a connection
//! or an open transaction. Times, ids, hashes and random values come from the caller; a store has
//! neither a clock nor randomness of its own.
//!
//! Traits are grouped by resource; an engine implements each in a file of the same name. Methods
//! are `async` for remote engines; [`sqlite`] answers reads by key without suspending. Nothing in
//! this module names a driver type.

mod authorizations;
mod browser_sessions;
mod client_sessions;
mod client_tokens;
mod development;
mod events;
mod factors;
mod grants;
mod health;
mod housekeeping;
mod identities;
mod invitations;
mod keys;
mod mail_limits;
mod mails;
pub mod moving;
mod oauth_clients;
mod operations;
mod otps;
mod overview;
mod page;
mod passkeys;
mod password_tries;
mod passwords;
mod photos;
pub mod postgres;
mod provider_requests;
mod reauthentication;
mod schema_state;
mod sessions;
mod setup;
pub mod sqlite;
mod user_snapshot;
mod users;
mod webhooks;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

pub use authorizations::{
    AuthorizationStore, Consent, IssueCode, IssueOutcome, NewAuthorizationRequest,
};
pub use browser_sessions::{BrowserSessionRecord, BrowserSessionStore};
pub use client_sessions::{ClientSession, ClientSessionStore, RedeemCode, RedeemOutcome};
pub use client_tokens::{ClientRotation, ClientTokenStore, RotateClientToken};
pub use development::DevelopmentStore;
pub use events::{Event, EventFilter, EventQuery, EventStore, NewEvent, RequestContext};
pub use factors::{
    ActivateOutcome, ActivateTotp, CompleteOutcome, CompleteSignIn, DeactivateTotp,
    FactorEnrolment, FactorLimits, FactorProof, FactorRefusal, FactorStore, FactorTry, Factors,
    NewTicket, PasskeyUse, ReplaceRecoveryCodes, ResetFactors, Ticket, TotpDevice,
};
pub use grants::{Grant, GrantStore};
pub use health::{HealthStore, StoreSize};
pub use housekeeping::HousekeepingStore;
pub use identities::{
    ConnectIdentity, ConnectOutcome, ConnectionMails, DisconnectIdentity, DisconnectOutcome,
    Identity, IdentitySignIn, IdentitySignInOutcome, IdentityStore, Newcomer, ProvenIdentity,
    SiteWays, UsedIdToken,
};
pub use invitations::{
    AcceptInvitation, Invitation, InvitationOutcome, InvitationQuery, InvitationStore,
    NewInvitation, RevokeInvitation,
};
pub use keys::{KeyMaterial, KeyStore, RemoveKey, RotateKeys};
pub use mail_limits::{MailLimits, Requester, SentMail};
pub use mails::{
    ClaimedMails, GiveUpMail, MailChange, MailClaim, MailEntry, MailQuery, MailQueue, MailStore,
    MailSubject, NewMail, PostponeMail, QueuedMail, RetryOutcome,
};
pub use oauth_clients::{
    DeleteOAuthClient, NewOAuthClient, OAuthClientOutcome, OAuthClientStore, OAuthClientUpdate,
    RotateOAuthClientSecret,
};
pub use otps::{
    AccountOtp, ConfirmSignUp, ConfirmedSignUp, IdentityTicket, NewOtp, OtpAttempt, OtpCandidates,
    OtpStore, OtpToken, ReissueOtp, Reissued,
};
pub use overview::{DayCounts, Overview, OverviewStore};
pub use page::{Page, PageBounds};
pub use passkeys::{
    AccountPasskeys, AddPasskey, AddPasskeyOutcome, ChallengePurpose, ChallengeSubject,
    DeletePasskey, DeletePasskeyOutcome, NewChallenge, Passkey, PasskeyKey, PasskeyRegistration,
    PasskeySignIn, PasskeyStore, StartPasskey, StoredPasskey,
};
pub use password_tries::{PasswordTry, PasswordTryLimits, PasswordTryStore, TrySource};
pub use passwords::{NOTICES, PasswordStore, ReplacePassword, ResetRequest};
pub use photos::PhotoStore;
pub use provider_requests::{
    NewProviderRequest, ProviderClient, ProviderPurpose, ProviderRequest, ProviderRequestStore,
    ReleaseAnswer,
};
pub use reauthentication::{
    Reauthentication, ReauthenticationOtp, ReauthenticationOutcome, ReauthenticationStore,
    Reauthenticator,
};
pub use schema_state::SchemaState;
pub use sessions::{
    NewSession, RotateRefreshToken, Rotation, Session, SessionStore, SignIn, SignInOutcome,
};
pub use setup::{FirstStaff, FirstStaffOutcome, SetupState, SetupStore};
pub use user_snapshot::UserSnapshot;
pub use users::{
    Credentials, DeleteOutcome, DeleteUser, EmailChange, EmailUndo, IDENTITY_PASSWORD,
    ImportRefusal, ImportSource, ImportedTotp, ImportedUser, NewEmailUndo, NewSignUp, NewUser,
    PageRequest, RESTORED_REST, SealTotp, SignUpOutcome, StoredUser, UNDO_LIFETIME,
    UndoEmailChange, UndoOutcome, UpdateOutcome, UserOrder, UserQuery, UserStore, UserUpdate,
};
pub use webhooks::{
    ClaimedEvents, DeleteWebhook, DisableWebhook, EventOutcome, EventSealer, EventSubject,
    NewWebhook, QueuedEvent, ReplayOutcome, RotateWebhookSecrets, SealedEvent, SessionSubject,
    SettleEvent, WaitingWebhook, Webhook, WebhookChange, WebhookCounts, WebhookDelivery,
    WebhookDeliveryQuery, WebhookEvent, WebhookOutcome, WebhookStore, WebhookUpdate,
};

/// All operations of an engine.
pub trait Store:
    UserStore
    + OtpStore
    + PasswordStore
    + PasswordTryStore
    + SessionStore
    + BrowserSessionStore
    + AuthorizationStore
    + ClientSessionStore
    + ClientTokenStore
    + GrantStore
    + SetupStore
    + ReauthenticationStore
    + MailStore
    + InvitationStore
    + KeyStore
    + EventStore
    + OverviewStore
    + FactorStore
    + WebhookStore
    + PasskeyStore
    + OAuthClientStore
    + IdentityStore
    + ProviderRequestStore
    + HealthStore
    + HousekeepingStore
    + PhotoStore
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
        + BrowserSessionStore
        + AuthorizationStore
        + ClientSessionStore
        + ClientTokenStore
        + GrantStore
        + SetupStore
        + ReauthenticationStore
        + MailStore
        + InvitationStore
        + KeyStore
        + EventStore
        + OverviewStore
        + FactorStore
        + WebhookStore
        + PasskeyStore
        + OAuthClientStore
        + IdentityStore
        + ProviderRequestStore
        + HealthStore
        + HousekeepingStore
        + PhotoStore
        + DevelopmentStore
        + Send
        + Sync
{
}

/// A shared store.
pub type SharedStore = Arc<dyn Store>;

/// Limits on failed attempts at codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TryLimits {
    /// Failures of one network at one code.
    pub per_network: u32,
    /// Failures of all networks at one code.
    pub per_otp: u32,
    /// Failures at all codes of one account, or of one address, within 24 hours.
    pub per_account_per_day: u32,
}

impl TryLimits {
    /// The limits that the API documents.
    pub const DEFAULT: Self = Self {
        per_network: 5,
        per_otp: 25,
        per_account_per_day: 100,
    };
}

/// A value that must be unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The address of an account.
    Email,
    /// A live code for one address and purpose.
    Otp,
    /// A random id: of a session, a token, a key or a mail.
    Id,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Email => "email address",
            Self::Otp => "code",
            Self::Id => "id",
        })
    }
}

/// The cause of a [`StoreError`], shared by the operations of one transaction.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Why a store operation failed. The variants say what the caller can do about it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The value exists already; a random one can be drawn again.
    #[error("the {0} is taken")]
    Taken(Field),
    /// The database is locked, full or overloaded: retry later.
    #[error("the database is busy")]
    Busy(#[source] Cause),
    /// The session of the request has ended meanwhile.
    #[error("the session has ended")]
    SessionEnded,
    /// The account of the request has lost the right to act meanwhile.
    #[error("the account has no right to do this")]
    Forbidden,
    /// Anything else.
    #[error("the database operation failed")]
    Failed(#[source] Cause),
}

impl StoreError {
    /// A [`StoreError::Busy`] with this cause.
    pub fn busy(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Busy(Arc::from(cause.into()))
    }

    /// A [`StoreError::Failed`] with this cause.
    pub fn failed(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(Arc::from(cause.into()))
    }
}

/// The result of a store operation.
pub type StoreResult<T> = Result<T, StoreError>;
