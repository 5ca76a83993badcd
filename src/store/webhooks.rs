//! Webhooks: endpoints of other services, and their events.
//!
//! An operation that writes an audit log entry of such a kind enqueues the event for each endpoint
//! that selects it, in its own transaction. [`EventSealer`] composes and encrypts the data, so
//! the store knows neither its form nor the key. A disabled endpoint gets nothing.

use async_trait::async_trait;

use super::{MailClaim, NewMail, Page, PageRequest, RequestContext, StoreResult};
use crate::domain::{
    DeliveryStatus, EventSelection, Timestamp, User, UserId, WebhookDisabled, WebhookEventType,
    WebhookPayload,
};

/// What happened, for [`EventSealer`].
#[derive(Clone, Copy, Debug)]
pub struct WebhookEvent<'a> {
    /// What happened.
    pub event: WebhookEventType,
    /// The account it is about.
    pub user_id: UserId,
    /// Its data beside that id.
    pub subject: EventSubject<'a>,
}

/// The data of an event beside the id of the account.
#[derive(Clone, Copy, Debug)]
pub enum EventSubject<'a> {
    /// Nothing.
    Account,
    /// The account, as it is after the operation.
    User(&'a User),
    /// A session.
    Session(SessionSubject<'a>),
    /// An identity.
    Identity {
        /// Id of its provider.
        provider: &'a str,
    },
}

/// The session that an event is about.
#[derive(Clone, Copy, Debug)]
pub struct SessionSubject<'a> {
    /// Its id.
    pub id: &'a str,
    /// How its owner authenticated, as [`crate::domain::Authentication::amr`] writes it.
    pub amr: &'a str,
    /// IP address of the client that caused the event; empty for commands.
    pub ip: &'a str,
    /// `User-Agent` of that client.
    pub user_agent: &'a str,
}

/// The data of an event, ready to be stored.
pub struct SealedEvent {
    /// Random id of the delivery.
    pub message_id: [u8; 16],
    /// The data, encrypted; empty when the id of the account is all of it.
    pub content: Vec<u8>,
}

/// Composes and encrypts the data of events.
pub trait EventSealer: Send + Sync {
    /// The data of an event for an endpoint.
    fn seal(&self, event: &WebhookEvent<'_>, payload: WebhookPayload) -> SealedEvent;

    /// Called after the commit of events that are due.
    fn enqueued(&self);
}

/// An endpoint to add.
#[derive(Clone)]
pub struct NewWebhook {
    /// Where deliveries are sent.
    pub url: String,
    /// The events that it gets.
    pub events: EventSelection,
    /// What staff calls it.
    pub description: String,
    /// How much of the account it gets.
    pub payload: WebhookPayload,
    /// The secrets that sign deliveries, encrypted.
    pub secrets: Vec<u8>,
    /// Whether the configuration file has it.
    pub is_from_file: bool,
    /// The notice for staff: as many as [`WebhookStore::count_staff_mailboxes`].
    pub notices: Vec<NewMail>,
    /// The current time.
    pub now: Timestamp,
    /// Who made the request, and from where.
    pub context: RequestContext,
}

/// An endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its number.
    pub id: i64,
    /// Where deliveries are sent.
    pub url: String,
    /// The events that it gets.
    pub events: EventSelection,
    /// What staff calls it.
    pub description: String,
    /// How much of the account it gets.
    pub payload: WebhookPayload,
    /// The secrets that sign deliveries, encrypted.
    pub secrets: Vec<u8>,
    /// The secrets before a rotation, encrypted, and until when they sign too.
    pub former_secrets: Option<(Vec<u8>, Timestamp)>,
    /// Whether the configuration file has it; it can be changed nowhere else then.
    pub is_from_file: bool,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// Since when and why it gets no deliveries.
    pub disabled: Option<(Timestamp, WebhookDisabled)>,
    /// Since when no attempt has succeeded.
    pub failing_since: Option<Timestamp>,
    /// Until when nothing is attempted.
    pub paused_until: Option<Timestamp>,
}

/// A change of an endpoint; `None` leaves a value as it is.
#[derive(Clone)]
pub struct WebhookUpdate {
    /// The endpoint.
    pub id: i64,
    /// See [`Webhook::url`].
    pub url: Option<String>,
    /// See [`Webhook::events`].
    pub events: Option<EventSelection>,
    /// See [`Webhook::description`].
    pub description: Option<String>,
    /// See [`Webhook::payload`].
    pub payload: Option<WebhookPayload>,
    /// Enables or disables it. Enabling forgets failures and pauses; disabling ends what waits.
    pub is_enabled: Option<bool>,
    /// Whether the configuration file makes the change, which may change its own endpoints alone.
    pub is_from_file: bool,
    /// See [`NewWebhook::notices`].
    pub notices: Vec<NewMail>,
    /// The current time.
    pub now: Timestamp,
    /// Who made the request, and from where.
    pub context: RequestContext,
}

/// A rotation of the secrets of an endpoint.
#[derive(Clone)]
pub struct RotateWebhookSecrets {
    /// The endpoint.
    pub id: i64,
    /// The new secrets, encrypted.
    pub secrets: Vec<u8>,
    /// Until when the present ones sign too.
    pub former_until: Timestamp,
    /// See [`WebhookUpdate::is_from_file`].
    pub is_from_file: bool,
    /// See [`NewWebhook::notices`].
    pub notices: Vec<NewMail>,
    /// The current time.
    pub now: Timestamp,
    /// Who made the request, and from where.
    pub context: RequestContext,
}

/// The removal of an endpoint, with its deliveries.
#[derive(Clone)]
pub struct DeleteWebhook {
    /// The endpoint.
    pub id: i64,
    /// See [`WebhookUpdate::is_from_file`].
    pub is_from_file: bool,
    /// See [`NewWebhook::notices`].
    pub notices: Vec<NewMail>,
    /// The current time.
    pub now: Timestamp,
    /// Who made the request, and from where.
    pub context: RequestContext,
}

/// The outcome of a change of an endpoint.
#[derive(Clone, PartialEq, Eq)]
pub enum WebhookOutcome {
    /// The endpoint after it, or before its removal.
    Done(Box<Webhook>),
    /// No such endpoint.
    NotFound,
    /// The configuration file has it, or has not when the file makes the change.
    NotYours,
}

/// Disables an endpoint that is gone or failed for days.
#[derive(Clone)]
pub struct DisableWebhook {
    /// The endpoint.
    pub id: i64,
    /// Why.
    pub reason: WebhookDisabled,
    /// See [`NewWebhook::notices`].
    pub notices: Vec<NewMail>,
    /// The current time.
    pub now: Timestamp,
}

/// A delivery as it is shown: never its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookDelivery {
    /// Its number.
    pub id: i64,
    /// Its random id, which the endpoint sees.
    pub message_id: [u8; 16],
    /// The event type; a newer program may know more of them.
    pub event: String,
    /// The account it is about.
    pub user_id: Option<UserId>,
    /// What has become of it so far.
    pub status: DeliveryStatus,
    /// How often it was attempted.
    pub tries: u32,
    /// Why the last attempt failed; empty without a failure.
    pub problem: String,
    /// The status of the last answer.
    pub status_code: Option<u16>,
    /// The first bytes of the last answer.
    pub answer: Vec<u8>,
    /// When it happened.
    pub created_at: Timestamp,
    /// When the last attempt began.
    pub last_try_at: Option<Timestamp>,
    /// When the next attempt is due, if there will be one.
    pub next_try_at: Option<Timestamp>,
    /// When it was delivered or given up.
    pub closed_at: Option<Timestamp>,
}

/// A query of the deliveries of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookDeliveryQuery {
    /// The endpoint.
    pub webhook_id: i64,
    /// Only deliveries in this state.
    pub status: Option<DeliveryStatus>,
    /// The page.
    pub page: PageRequest,
    /// Deliveries on a page, at least one.
    pub page_size: u32,
}

/// A change of deliveries of an endpoint by staff or an administrator.
#[derive(Clone, Debug)]
pub struct WebhookChange {
    /// The endpoint.
    pub webhook_id: i64,
    /// The current time.
    pub now: Timestamp,
    /// Who made the request, and from where.
    pub context: RequestContext,
}

/// The outcome of a replay or recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayOutcome {
    /// This number of deliveries is due.
    Due(u64),
    /// No such endpoint or delivery.
    NotFound,
    /// The endpoint is disabled.
    Disabled,
}

/// An event to deliver.
#[derive(Clone)]
pub struct QueuedEvent {
    /// Its number, in the order of arrival.
    pub id: i64,
    /// Its random id.
    pub message_id: [u8; 16],
    /// The event type.
    pub event: String,
    /// The account it is about.
    pub user_id: Option<UserId>,
    /// Grows from event to event.
    pub sequence: i64,
    /// Its data, encrypted; empty when the id is all of it.
    pub content: Vec<u8>,
    /// When it happened.
    pub created_at: Timestamp,
    /// How often it was attempted, including this time.
    pub tries: u32,
}

/// Events that were claimed for an endpoint.
#[derive(Clone)]
pub struct ClaimedEvents {
    /// The endpoint as it is now.
    pub webhook: Webhook,
    /// First attempts before retries, each in the order of arrival.
    pub events: Vec<QueuedEvent>,
}

/// How an attempt at an event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventOutcome {
    /// The endpoint has accepted it.
    Delivered,
    /// It is tried again.
    Postponed {
        /// When.
        next_try_at: Timestamp,
        /// False when it was not attempted after all.
        counts: bool,
    },
    /// It is not tried any more.
    Dead,
}

/// Records how an attempt ended.
#[derive(Clone, Debug)]
pub struct SettleEvent {
    /// The delivery.
    pub id: i64,
    /// Its endpoint.
    pub webhook_id: i64,
    /// How it ended.
    pub outcome: EventOutcome,
    /// Why it failed; empty if it did not.
    pub problem: String,
    /// The status of the answer.
    pub status_code: Option<u16>,
    /// The first bytes of the answer.
    pub answer: Vec<u8>,
    /// Until when the endpoint asks for nothing more.
    pub paused_until: Option<Timestamp>,
    /// The current time.
    pub now: Timestamp,
}

/// An endpoint with events that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingWebhook {
    /// The endpoint.
    pub id: i64,
    /// When its next event is due, not before the end of its pause.
    pub due_at: Timestamp,
}

/// The state of an endpoint, for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebhookCounts {
    /// The endpoint.
    pub id: i64,
    /// Events that wait, including those in flight.
    pub waiting: u64,
    /// When the oldest of them happened.
    pub oldest_at: Option<Timestamp>,
    /// Deliveries that it accepted since it was added.
    pub delivered: u64,
    /// Attempts that failed since it was added.
    pub failed: u64,
    /// Deliveries that were given up since it was added.
    pub dead: u64,
}

/// Operations on webhooks.
#[async_trait]
pub trait WebhookStore {
    /// Sets what composes and encrypts events: once the keys are open, and again after a reload.
    fn set_event_sealer(&self, sealer: std::sync::Arc<dyn EventSealer>);

    /// Adds an endpoint.
    async fn create_webhook(&self, webhook: NewWebhook) -> StoreResult<Webhook>;

    /// Lists all endpoints in the order of their numbers.
    async fn list_webhooks(&self) -> StoreResult<Vec<Webhook>>;

    /// Finds an endpoint.
    async fn find_webhook(&self, id: i64) -> StoreResult<Option<Webhook>>;

    /// Changes an endpoint.
    async fn update_webhook(&self, update: WebhookUpdate) -> StoreResult<WebhookOutcome>;

    /// Replaces the secrets of an endpoint; the present ones sign too for a while.
    async fn rotate_webhook_secrets(
        &self,
        rotation: RotateWebhookSecrets,
    ) -> StoreResult<WebhookOutcome>;

    /// Removes an endpoint with its deliveries.
    async fn delete_webhook(&self, removal: DeleteWebhook) -> StoreResult<WebhookOutcome>;

    /// How many active staff accounts get a notice of a change.
    async fn count_staff_mailboxes(&self) -> StoreResult<u32>;

    /// Enqueues a test event for an endpoint, and returns its number. `None` without such an endpoint.
    async fn create_test_event(
        &self,
        message_id: [u8; 16],
        change: WebhookChange,
    ) -> StoreResult<Option<i64>>;

    /// Lists a page of the deliveries of an endpoint, newest first. `None` when there is no such page.
    async fn list_webhook_deliveries(
        &self,
        query: WebhookDeliveryQuery,
    ) -> StoreResult<Option<Page<WebhookDelivery>>>;

    /// Makes a delivery due at once, also one that was accepted or given up. Its tries start again.
    async fn replay_delivery(&self, id: i64, change: WebhookChange) -> StoreResult<ReplayOutcome>;

    /// Makes all events since a time due that the endpoint has not accepted.
    async fn recover_deliveries(
        &self,
        since: Timestamp,
        change: WebhookChange,
    ) -> StoreResult<ReplayOutcome>;

    /// Lists the endpoints with events that wait, unless they are disabled.
    async fn list_waiting_webhooks(&self) -> StoreResult<Vec<WaitingWebhook>>;

    /// Leases due events of an endpoint to the caller. `None` when it is disabled or gone.
    async fn claim_events(
        &self,
        webhook_id: i64,
        claim: MailClaim,
    ) -> StoreResult<Option<ClaimedEvents>>;

    /// Records how an attempt ended. Returns since when the endpoint fails.
    async fn settle_event(&self, settlement: SettleEvent) -> StoreResult<Option<Timestamp>>;

    /// Releases all leases of events, after a crash of the last server.
    async fn release_events(&self, now: Timestamp) -> StoreResult<usize>;

    /// Disables an endpoint and gives up what waits for it. False when it is disabled already.
    async fn disable_webhook(&self, request: DisableWebhook) -> StoreResult<bool>;

    /// The state of every endpoint.
    async fn count_webhook_deliveries(&self) -> StoreResult<Vec<WebhookCounts>>;
}
