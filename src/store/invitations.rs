//! Invitations: staff invites an address, whose owner creates an account by the link in the mail.

use async_trait::async_trait;

use super::{MailLimits, NewMail, NewSession, Page, PageRequest, RequestContext, StoreResult};
use crate::domain::{EmailAddress, Profile, Timestamp, User, UserId};

/// An invitation to store and mail.
#[derive(Clone)]
pub struct NewInvitation {
    /// The address as typed.
    pub email: EmailAddress,
    /// BCP 47 tag of the language of the mail and of the account; empty for the default.
    pub language: String,
    /// Hash of the token in the link.
    pub token_hash: Vec<u8>,
    /// Keyed hash of the address, under which mails are counted.
    pub address_hash: Vec<u8>,
    /// Keyed hash of the mailbox, under which mails are counted.
    pub mailbox_hash: Vec<u8>,
    /// The mail with the link.
    pub mail: NewMail,
    /// When it expires.
    pub expires_at: Timestamp,
    /// The current time.
    pub now: Timestamp,
    /// How many mails are allowed.
    pub limits: MailLimits,
    /// Who made the request, and from where.
    pub context: RequestContext,
}

/// An invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Its number.
    pub id: i64,
    /// The address as typed.
    pub email: String,
    /// BCP 47 tag of its language; empty for the default.
    pub language: String,
    /// The staff member who invited last; `None` for commands and deleted accounts.
    pub inviter_id: Option<UserId>,
    /// The system user who ran the command; empty for staff.
    pub operator: String,
    /// When it was made or last repeated.
    pub created_at: Timestamp,
    /// When it expires or has expired.
    pub expires_at: Timestamp,
}

impl Invitation {
    /// Whether its links are dead.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at <= now
    }
}

/// The outcome of an invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvitationOutcome {
    /// It is stored and its mail is queued.
    Created(Invitation),
    /// A verified account has the address.
    EmailTaken,
    /// Mails to the address are throttled; nothing has changed.
    Throttled {
        /// When the next mail is allowed.
        until: Timestamp,
    },
}

/// A query of the invitations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvitationQuery {
    /// Only addresses that contain this text, ignoring ASCII case.
    pub search: String,
    /// The page.
    pub page: PageRequest,
    /// Invitations on a page, at least one.
    pub page_size: u32,
}

/// The acceptance of an invitation.
#[derive(Clone)]
pub struct AcceptInvitation {
    /// Hash of the token in its link.
    pub token_hash: Vec<u8>,
    /// Hash of the password of the new account.
    pub password_hash: String,
    /// The profile of the new account.
    pub profile: Profile,
    /// The session that starts.
    pub session: NewSession,
    /// The current time.
    pub now: Timestamp,
    /// Who made the request, and from where.
    pub context: RequestContext,
}

/// The revocation of an invitation.
#[derive(Clone, Debug)]
pub struct RevokeInvitation {
    /// Its number.
    pub id: i64,
    /// The current time.
    pub now: Timestamp,
    /// Who made the request, and from where.
    pub context: RequestContext,
}

/// Operations on invitations. One whose address has an account counts as accepted, however it got it.
#[async_trait]
pub trait InvitationStore {
    /// Stores an invitation and queues its mail. One for the same address is extended; the links in
    /// its earlier mails stay valid.
    async fn create_invitation(&self, new: NewInvitation) -> StoreResult<InvitationOutcome>;

    /// Lists a page of open and expired invitations, newest first. `None` when there is no such page.
    async fn list_invitations(
        &self,
        query: InvitationQuery,
    ) -> StoreResult<Option<Page<Invitation>>>;

    /// Finds the open invitation of a link.
    async fn find_invitation(
        &self,
        token_hash: &[u8],
        now: Timestamp,
    ) -> StoreResult<Option<Invitation>>;

    /// Creates the verified account of an invitation and starts its session; the invitation is used
    /// up. `None` when the link is unknown, used, revoked or expired.
    async fn accept_invitation(&self, acceptance: AcceptInvitation) -> StoreResult<Option<User>>;

    /// Deletes an invitation, with its links and a mail that is still queued. False when there is
    /// none.
    async fn revoke_invitation(&self, revocation: RevokeInvitation) -> StoreResult<bool>;
}
