//! The audit log: who did what to which account, when, and from where.
//!
//! Each operation writes its own entry in its own transaction; [`RequestContext`] is part of its
//! input. No entry contains a secret or an email address. The entries of a deleted account keep
//! its id only.

use async_trait::async_trait;

use super::{Page, PageRequest, StoreResult};
use crate::domain::{EventKind, Timestamp, UserId};

/// Who makes a request, and from where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestContext {
    /// The authenticated account. Operations that authenticate an account themselves (a sign-in)
    /// record that account instead.
    pub actor_id: Option<UserId>,
    /// The session of the access token. Operations check in their transaction that it is live and
    /// that its account still has the right to act. Entries read from the log have none.
    pub session_id: Option<String>,
    /// The system user who ran a command; empty for network requests.
    pub operator: String,
    /// IP address of the client; empty for commands.
    pub ip: String,
    /// `User-Agent` of the client.
    pub user_agent: String,
    /// Why, in the words of the staff member or administrator who acts; empty when they gave none.
    pub reason: String,
}

/// An entry that is part of no other store operation.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// What happened.
    pub kind: EventKind,
    /// The account it is about.
    pub user_id: Option<UserId>,
    /// Who made the request, and from where.
    pub context: RequestContext,
    /// Details; never a secret.
    pub detail: String,
    /// The current time.
    pub now: Timestamp,
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number; ascending in commit order.
    pub id: i64,
    /// When it happened.
    pub happened_at: Timestamp,
    /// What happened.
    pub kind: EventKind,
    /// The account it is about.
    pub user_id: Option<UserId>,
    /// Who made the request, and from where.
    pub context: RequestContext,
    /// Details.
    pub detail: String,
    /// How often it happened: repeats of one client within an hour share an entry.
    pub count: u64,
    /// When it happened last.
    pub last_at: Timestamp,
}

/// Selects entries of the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only entries about this account.
    pub user_id: Option<UserId>,
    /// Only entries that this account caused.
    pub actor_id: Option<UserId>,
    /// Only entries of these kinds; empty means all.
    pub kinds: Vec<EventKind>,
    /// Only entries since then.
    pub since: Option<Timestamp>,
    /// Only entries before then.
    pub before: Option<Timestamp>,
}

/// The newest entries that a filter selects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Which entries.
    pub filter: EventFilter,
    /// Only entries with a higher number.
    pub after: i64,
    /// Only entries with a lower number, if set.
    pub below: Option<i64>,
    /// The maximum number of entries; the newest are returned.
    pub limit: u32,
}

/// Operations on the audit log.
#[async_trait]
pub trait EventStore {
    /// Records an entry that is part of no other store operation.
    async fn record_event(&self, event: NewEvent) -> StoreResult<()>;

    /// Lists a page of the entries about an account. `None` when there is no such page.
    async fn list_user_events(
        &self,
        user_id: UserId,
        page: PageRequest,
        page_size: u32,
    ) -> StoreResult<Option<Page<Event>>>;

    /// Lists entries in ascending order. Unknown kinds are left out.
    async fn list_events(&self, query: EventQuery) -> StoreResult<Vec<Event>>;

    /// Lists a page of the audit log, newest entry first. `None` when there is no such page.
    async fn list_event_page(
        &self,
        filter: EventFilter,
        page: PageRequest,
        page_size: u32,
    ) -> StoreResult<Option<Page<Event>>>;

    /// Counts failed attempts since then that were counted without an entry of their own.
    async fn count_unlisted_failures(&self, since: Option<Timestamp>) -> StoreResult<u64>;
}
