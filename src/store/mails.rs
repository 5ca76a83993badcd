//! The mail queue.
//!
//! The operation that causes a mail enqueues it in its own transaction; [`NewMail`] is part of its
//! input. The store fills in the recipient and the language of the account.

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::{Timestamp, UserId};

/// A mail to enqueue.
#[derive(Clone)]
pub struct NewMail {
    /// Random id, used in its `Message-ID` too.
    pub message_id: [u8; 16],
    /// Its content, encrypted: the store cannot read it.
    pub content: Vec<u8>,
    /// When it expires and is no longer delivered.
    pub expires_at: Timestamp,
}

/// A mail in the queue.
#[derive(Clone)]
pub struct QueuedMail {
    /// Its number, in the order of arrival.
    pub id: i64,
    /// Its random id.
    pub message_id: [u8; 16],
    /// The account it is about; `None` when the account is deleted.
    pub user_id: Option<UserId>,
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
    /// The accounts whose mails expired undelivered and were deleted.
    pub expired: Vec<Option<UserId>>,
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
    /// Leases due mails to the caller. Expired mails are deleted.
    async fn claim_mails(&self, claim: MailClaim) -> StoreResult<ClaimedMails>;

    /// Deletes a mail that was delivered or given up.
    async fn delete_mail(&self, id: i64) -> StoreResult<()>;

    /// Postpones a claimed mail until `next_try_at`. `counts` is false when the attempt failed for
    /// reasons that have nothing to do with this mail.
    async fn postpone_mail(&self, id: i64, next_try_at: Timestamp, counts: bool)
    -> StoreResult<()>;

    /// Releases all leases: for a server that holds the store alone, after a crash of the last one.
    async fn release_mails(&self, now: Timestamp) -> StoreResult<usize>;

    /// Lists all mails in the order of arrival.
    async fn list_mails(&self) -> StoreResult<Vec<QueuedMail>>;

    /// Finds when the next mail is due.
    async fn find_next_mail(&self) -> StoreResult<Option<Timestamp>>;

    /// The state of the queue.
    async fn find_mail_queue(&self) -> StoreResult<MailQueue>;

    /// Purges deleted mails from disk.
    async fn purge_deleted_mails(&self);
}
