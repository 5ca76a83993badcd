//! The mail queue.
//!
//! The operation that causes a mail enqueues it in its own transaction; [`NewMail`] is part of its
//! input. The store fills in the recipient and the language of the account.

use async_trait::async_trait;

use super::{Page, PageRequest, RequestContext, StoreResult};
use crate::domain::{MailState, Timestamp, UserId};

/// A mail to enqueue.
#[derive(Clone)]
pub struct NewMail {
    /// Random id, used in its `Message-ID` too.
    pub message_id: [u8; 16],
    /// What kind of mail it is.
    pub kind: &'static str,
    /// Its content, encrypted: the store cannot read it.
    pub content: Vec<u8>,
    /// When it expires and is no longer delivered.
    pub expires_at: Timestamp,
}

/// What a mail is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailSubject {
    /// This account.
    User(UserId),
    /// An account that is deleted: nothing of it is kept, not even the address.
    DeletedUser,
    /// This invitation.
    Invitation(i64),
}

/// A mail to deliver.
#[derive(Clone)]
pub struct QueuedMail {
    /// Its number, in the order of arrival.
    pub id: i64,
    /// Its random id.
    pub message_id: [u8; 16],
    /// What it is about.
    pub subject: MailSubject,
    /// The recipient, as the address was typed.
    pub email: String,
    /// BCP 47 tag of its language; empty for the default.
    pub language: String,
    /// Its content, encrypted.
    pub content: Vec<u8>,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// How often delivery was attempted, including this time.
    pub tries: u32,
}

/// Claims due mails for delivery.
#[derive(Clone, Copy, Debug)]
pub struct MailClaim {
    /// The current time.
    pub now: Timestamp,
    /// When the lease of the claimed mails expires.
    pub until: Timestamp,
    /// The maximum number of mails.
    pub limit: u32,
    /// The maximum number of retries among them.
    pub retries: u32,
}

/// The outcome of a claim.
#[derive(Clone)]
pub struct ClaimedMails {
    /// The mails: first attempts before retries, each in the order of arrival.
    pub mails: Vec<QueuedMail>,
    /// What the mails were about that have expired undelivered.
    pub expired: Vec<MailSubject>,
}

/// Postpones a claimed mail after a failed attempt.
#[derive(Clone, Debug)]
pub struct PostponeMail {
    /// The mail.
    pub id: i64,
    /// When it is tried again.
    pub next_try_at: Timestamp,
    /// False when the attempt failed for reasons that have nothing to do with this mail.
    pub counts: bool,
    /// Why it failed, without addresses and codes.
    pub problem: String,
}

/// Gives up a mail that was refused for good.
#[derive(Clone, Debug)]
pub struct GiveUpMail {
    /// The mail.
    pub id: i64,
    /// Why it was refused, without addresses and codes.
    pub problem: String,
    /// The current time.
    pub now: Timestamp,
}

/// A mail of the queue as it is shown: never its text, code or link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailEntry {
    /// Its number, in the order of arrival.
    pub id: i64,
    /// The account it is about, if there is one.
    pub user_id: Option<UserId>,
    /// The recipient, as the address was typed.
    pub email: String,
    /// What kind of mail it is; empty when an earlier version of the program queued it.
    pub kind: String,
    /// What has become of it so far.
    pub state: MailState,
    /// Why the last attempt failed; empty without a failure.
    pub problem: String,
    /// How often delivery was attempted.
    pub tries: u32,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// When the last attempt began.
    pub last_try_at: Option<Timestamp>,
    /// When the next attempt is due, if there will be one.
    pub next_try_at: Option<Timestamp>,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// A query of the mail queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailQuery {
    /// Only mails in this state.
    pub state: Option<MailState>,
    /// Only mails about this account.
    pub user_id: Option<UserId>,
    /// Only mails whose recipient contains this text, ignoring ASCII case.
    pub search: String,
    /// The page.
    pub page: PageRequest,
    /// Mails on a page, at least one.
    pub page_size: u32,
}

/// A change of a mail by staff or an administrator.
#[derive(Clone, Debug)]
pub struct MailChange {
    /// The mail.
    pub id: i64,
    /// The current time.
    pub now: Timestamp,
    /// Who made the request, and from where.
    pub context: RequestContext,
}

/// The outcome of a retry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetryOutcome {
    /// It is due now, unless an attempt is under way.
    Due(MailEntry),
    /// No such mail.
    NotFound,
    /// It has expired, and its content is gone.
    Expired,
}

/// The state of the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MailQueue {
    /// Pending mails, including those in flight.
    pub waiting: u64,
    /// When the oldest of them was enqueued.
    pub oldest_at: Option<Timestamp>,
}

/// Operations on the mail queue.
#[async_trait]
pub trait MailStore {
    /// Leases due mails to the caller. Expired mails are closed, and keep no content.
    async fn claim_mails(&self, claim: MailClaim) -> StoreResult<ClaimedMails>;

    /// Deletes a mail that was delivered.
    async fn delete_mail(&self, id: i64) -> StoreResult<()>;

    /// Gives up a mail: it is kept for a while, so that staff can look it up and retry it. One about
    /// a deleted account is deleted.
    async fn give_up_mail(&self, request: GiveUpMail) -> StoreResult<()>;

    /// Postpones a claimed mail.
    async fn postpone_mail(&self, request: PostponeMail) -> StoreResult<()>;

    /// Lists a page of the queue, newest mail first. `None` when there is no such page.
    async fn list_mail_entries(&self, query: MailQuery) -> StoreResult<Option<Page<MailEntry>>>;

    /// Makes a mail due at once, also one that was given up.
    async fn retry_mail(&self, change: MailChange) -> StoreResult<RetryOutcome>;

    /// Discards a mail. False when there is none. An attempt that is under way goes on.
    async fn discard_mail(&self, change: MailChange) -> StoreResult<bool>;

    /// Releases all leases: for a server that holds the store alone, after a crash of the last one.
    async fn release_mails(&self, now: Timestamp) -> StoreResult<usize>;

    /// Lists all pending mails in the order of arrival.
    async fn list_mails(&self) -> StoreResult<Vec<QueuedMail>>;

    /// Finds when the next mail is due.
    async fn find_next_mail(&self) -> StoreResult<Option<Timestamp>>;

    /// The state of the queue.
    async fn find_mail_queue(&self) -> StoreResult<MailQueue>;

    /// Purges deleted mails from disk.
    async fn purge_deleted_mails(&self);
}
