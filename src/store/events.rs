//! The audit log: who did what to which account, when, and from where.
//!
//! An entry is written by the operation that it is about, in the same transaction: [`RequestContext`] is part of what such an operation
//! is given. No entry holds a secret or an address of mail. When an account is deleted its entries keep its number alone.

use async_trait::async_trait;

use super::{PageRequest, StoreResult};
use crate::domain::{EventKind, Timestamp, UserId};

/// Who causes something, and from where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestContext {
    /// The account that asks, if the request came with its token. An operation in which somebody proves to be the owner
    /// of an account (a sign-in) notes that account without being told.
    pub actor_id: Option<UserId>,
    /// The user of the machine who gave a command; empty for what came over the network.
    pub operator: String,
    /// Address of the client; empty for a command.
    pub ip: String,
    /// What the client calls itself.
    pub user_agent: String,
}

/// Something to be written down that no other operation writes.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// What happened.
    pub kind: EventKind,
    /// The account that it is about.
    pub user_id: Option<UserId>,
    /// Who and from where.
    pub context: RequestContext,
    /// More about it; never a secret.
    pub detail: String,
    /// When.
    pub now: Timestamp,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number, in the order of the commits.
    pub id: i64,
    /// When.
    pub happened_at: Timestamp,
    /// What happened.
    pub kind: EventKind,
    /// The account that it is about.
    pub user_id: Option<UserId>,
    /// Who and from where.
    pub context: RequestContext,
    /// More about it.
    pub detail: String,
}

/// Which entries are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Only those about this account.
    pub user_id: Option<UserId>,
    /// Only those of these kinds; none means all.
    pub kinds: Vec<EventKind>,
    /// Only those from then on.
    pub since: Option<Timestamp>,
    /// Only those with a higher number.
    pub after: i64,
    /// Most entries; of more the newest are given.
    pub limit: u32,
}

/// A page of the entries about one account, the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPage {
    /// How many there are in all.
    pub count: u64,
    /// The number of this page.
    pub number: u64,
    /// How many pages there are, at least one.
    pub pages: u64,
    /// The entries on it.
    pub events: Vec<Event>,
}

/// Operations on the audit log.
#[async_trait]
pub trait EventStore {
    /// Writes an entry that is about no other operation of the store.
    async fn record_event(&self, event: NewEvent) -> StoreResult<()>;

    /// A page of what happened to an account. `None` when there is no such page.
    async fn list_user_events(
        &self,
        user_id: UserId,
        page: PageRequest,
        page_size: u32,
    ) -> StoreResult<Option<EventPage>>;

    /// Entries in the order of their numbers. Names of kinds that this program does not know are left out.
    async fn list_events(&self, query: EventQuery) -> StoreResult<Vec<Event>>;

    /// How many failed tries since then were counted without being written down one by one.
    async fn count_unlisted_failures(&self, since: Option<Timestamp>) -> StoreResult<u64>;
}
