//! Identities of accounts at other providers: signing in by one, connecting and disconnecting it.

use async_trait::async_trait;

use super::{
    Factors, NewEmailUndo, NewMail, NewSession, NewSignUp, NewTicket, RequestContext, StoreResult,
};
use crate::domain::{Timestamp, User, UserId};

/// What a provider has proven about a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenIdentity {
    /// Id of the provider in the settings.
    pub provider: String,
    /// The issuer, which names the provider to the world.
    pub issuer: String,
    /// What the issuer calls the person. Nothing else identifies one.
    pub subject: String,
    /// The address that the provider has of it; empty without one.
    pub email: String,
    /// The name that the provider has of it; empty without one.
    pub name: String,
}

/// An identity of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Random id.
    pub id: String,
    /// What the provider says of it.
    pub proven: ProvenIdentity,
    /// When it was connected.
    pub created_at: Timestamp,
    /// When it last signed in or authenticated again.
    pub last_used_at: Option<Timestamp>,
}

/// An ID token that an app has sent. It counts once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedIdToken {
    /// Its hash.
    pub token_hash: Vec<u8>,
    /// When it counts no more anyway.
    pub expires_at: Timestamp,
}

/// A sign-in by an identity.
pub struct IdentitySignIn {
    /// The identity.
    pub proven: ProvenIdentity,
    /// The ID token that proves it, where an app has sent one.
    pub used_token: Option<UsedIdToken>,
    /// Random id, if it becomes an identity of an account.
    pub new_id: String,
    /// The session to create.
    pub session: NewSession,
    /// The notice of a sign-in from a new network.
    pub notice: Option<NewMail>,
    /// For the second step, when the account has a second factor.
    pub ticket: NewTicket,
    /// What to do when no account has the identity.
    pub newcomer: Option<Newcomer>,
    /// The request.
    pub context: RequestContext,
}

/// Somebody whose identity no account has.
pub struct Newcomer {
    /// The sign-up with the address that the provider has of the person. Its password hash is
    /// unusable and differs from identity to identity.
    pub sign_up: NewSignUp,
    /// Whether the provider is trusted to have verified the address.
    pub is_trusted: bool,
    /// How to connect the identity to the account that has the address, without asking; only of a
    /// provider that is trusted.
    pub connection: Option<ConnectionMails>,
    /// Keyed hash of a new ticket.
    pub ticket_hash: Vec<u8>,
    /// When the ticket expires, if a verified account has the address. Another one expires with the
    /// sign-up.
    pub ticket_expires_at: Timestamp,
}

/// The mails about a new identity.
pub struct ConnectionMails {
    /// The notices for the owner's addresses.
    pub notices: Vec<NewMail>,
    /// The undo link that goes with the one to the confirmed address.
    pub undo: NewEmailUndo,
}

/// The outcome of a sign-in by an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentitySignInOutcome {
    /// The session was created.
    Started {
        /// The account.
        user: Box<User>,
        /// Whether the account was created for it.
        is_new: bool,
    },
    /// The account has a second factor; the ticket of the second step is stored.
    SecondFactorRequired {
        /// The factors of the account.
        factors: Box<Factors>,
    },
    /// A verified account has the address; the ticket to connect the identity to it is stored.
    AccountExists,
    /// A sign-up is pending, whose code was mailed; the ticket is stored.
    NotVerified {
        /// Id of the account that the code will activate.
        user_id: UserId,
    },
    /// The account may not sign in, or the identity was disconnected meanwhile.
    Refused,
    /// The ID token was used before.
    Replayed,
    /// Mails to the address are throttled; nothing was stored.
    Throttled {
        /// When the next mail is allowed.
        until: Timestamp,
    },
}

/// The connection of an identity to an account.
pub struct ConnectIdentity {
    /// The account.
    pub user_id: UserId,
    /// The identity.
    pub proven: ProvenIdentity,
    /// Random id.
    pub new_id: String,
    /// The ticket that it came with: it is used up, and has to be that of this account and identity.
    pub ticket_hash: Option<Vec<u8>>,
    /// Most identities of an account.
    pub max: usize,
    /// The mails about it.
    pub mails: ConnectionMails,
    /// The request.
    pub context: RequestContext,
    /// The current time.
    pub now: Timestamp,
}

/// The outcome of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectOutcome {
    /// The account has it, now or already before.
    Connected(Box<Identity>),
    /// Another account has it.
    Taken,
    /// The ticket is unknown, used, expired, or that of another account.
    InvalidTicket,
    /// The account has as many as it may have.
    TooMany,
}

/// What signs in to the site besides passwords: a passkey of its domain, an identity of one of its
/// providers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteWays {
    /// The domain that passkeys are bound to.
    pub rp_id: String,
    /// The ids of the configured providers.
    pub providers: Vec<String>,
}

/// The removal of an identity from an account.
pub struct DisconnectIdentity {
    /// The account.
    pub user_id: UserId,
    /// The identity.
    pub id: String,
    /// What else signs in.
    pub ways: SiteWays,
    /// The notices for the owner's addresses.
    pub notices: Vec<NewMail>,
    /// The request.
    pub context: RequestContext,
    /// The current time.
    pub now: Timestamp,
}

/// The outcome of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisconnectOutcome {
    /// It is removed.
    Disconnected,
    /// The account has no such identity.
    NotFound,
    /// It is the only way to sign in.
    LastWayIn,
}

/// Operations on identities.
#[async_trait]
pub trait IdentityStore {
    /// The identities of an account, oldest first.
    async fn list_identities(&self, user_id: UserId) -> StoreResult<Vec<Identity>>;

    /// The account that has an identity.
    async fn find_identity_user(&self, issuer: &str, subject: &str) -> StoreResult<Option<UserId>>;

    /// Creates a session for the account that has an identity. Somebody new gets an account if the
    /// provider is trusted for the address, otherwise a pending sign-up; where a verified account has
    /// the address, nothing is connected unless the connection's mails come along.
    ///
    /// # Errors
    /// [`super::StoreError::Taken`] when the same code is live for this address: retry with another.
    async fn sign_in_with_identity(
        &self,
        sign_in: IdentitySignIn,
    ) -> StoreResult<IdentitySignInOutcome>;

    /// The identity of a live ticket that belongs to an account.
    async fn find_identity_ticket(
        &self,
        token_hash: &[u8],
        user_id: UserId,
        now: Timestamp,
    ) -> StoreResult<Option<ProvenIdentity>>;

    /// Connects an identity to an account.
    async fn connect_identity(&self, connection: ConnectIdentity) -> StoreResult<ConnectOutcome>;

    /// Removes an identity, unless it is the only way to sign in.
    async fn disconnect_identity(
        &self,
        removal: DisconnectIdentity,
    ) -> StoreResult<DisconnectOutcome>;
}
