//! The queue of mails: what has to be delivered, and what became of it.
//!
//! A mail is put into the queue by the operation that causes it, in the same transaction: [`NewMail`] is part of what
//! such an operation is given. The recipient and the language are the account's, so the store fills them in.

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::{Timestamp, UserId};

/// A mail that an operation causes.
#[derive(Clone)]
pub struct NewMail {
    /// Random bytes that name the mail, here and in its `Message-ID`.
    pub message_id: [u8; 16],
    /// What it says, sealed: the store cannot read it.
    pub content: Vec<u8>,
    /// When it is of no use any more and is not delivered late.
    pub expires_at: Timestamp,
}

/// A mail in the queue.
#[derive(Clone)]
pub struct QueuedMail {
    /// Its number, in the order of arrival.
    pub id: i64,
    /// Random bytes that name it.
    pub message_id: [u8; 16],
    /// The account that it is about.
    pub user_id: UserId,
    /// The recipient, as the address was typed.
    pub email: String,
    /// BCP 47 tag of the language of the account; empty when nothing is known of it.
    pub language: String,
    /// What it says, sealed.
    pub content: Vec<u8>,
    /// When it was caused.
    pub created_at: Timestamp,
    /// Until when it is of use.
    pub expires_at: Timestamp,
    /// How often it was claimed for delivery, this time included.
    pub tries: u32,
}

/// A wish for mails to deliver.
#[derive(Clone, Copy, Debug)]
pub struct MailClaim {
    /// When.
    pub now: Timestamp,
    /// Until when the mails are delivered, given up or postponed; after that others take them for left behind.
    pub until: Timestamp,
    /// Most mails in all.
    pub limit: u32,
    /// Most mails among them that were tried before.
    pub retries: u32,
}

/// What a claim comes to.
#[derive(Clone)]
pub struct ClaimedMails {
    /// The mails, those never tried before first, each in the order of arrival.
    pub mails: Vec<QueuedMail>,
    /// The accounts whose mails had expired without being delivered; those mails are gone.
    pub expired: Vec<UserId>,
}

/// How the queue stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MailQueue {
    /// Mails that are not delivered yet, those in delivery included.
    pub waiting: u64,
    /// When the oldest of them was caused.
    pub oldest_at: Option<Timestamp>,
}

/// Operations on the queue of mails.
#[async_trait]
pub trait MailStore {
    /// Takes mails that are due out of the hands of others. Mails that have expired are removed.
    async fn claim_mails(&self, claim: MailClaim) -> StoreResult<ClaimedMails>;

    /// Removes a mail that was delivered or given up.
    async fn delete_mail(&self, id: i64) -> StoreResult<()>;

    /// Puts a claimed mail back until `next_try_at`. `counts` is false when the try said nothing about the mail.
    async fn postpone_mail(&self, id: i64, next_try_at: Timestamp, counts: bool)
    -> StoreResult<()>;

    /// Makes claimed mails due again: those that a server left behind which held this store alone and is no more.
    async fn release_mails(&self, now: Timestamp) -> StoreResult<usize>;

    /// All mails in the queue, in the order of arrival.
    async fn list_mails(&self) -> StoreResult<Vec<QueuedMail>>;

    /// When the next mail is due, or was.
    async fn find_next_mail(&self) -> StoreResult<Option<Timestamp>>;

    /// How the queue stands.
    async fn find_mail_queue(&self) -> StoreResult<MailQueue>;

    /// Sees to it that of mails that have left the queue nothing stays on disk.
    async fn forget_delivered_mails(&self);
}
