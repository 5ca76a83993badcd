//! The worker: claims due deliveries and brings each of them to its end.
//!
//! It is the same for mails and for events of webhooks; a [`Sender`] knows what is delivered. A
//! delivery is claimed before its attempt and settled after it, so a process that dies in between
//! leaves it claimed, and it is delivered again. Only then can it arrive twice: the receiver had
//! accepted it and this was not recorded yet. Both copies have the same id.
//!
//! What is delivered to one target is a lane. A lane has its own share of attempts, and its own circuit
//! breaker: after a failure of the target everything in the lane waits, one delivery is tried from time
//! to time, and once that works everything is delivered at once. Lanes do not wait for each other.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};
use tokio::time::{Sleep, sleep};

use super::backoff::outage_after;
use crate::clock::SharedClock;
use crate::crypto::random;
use crate::domain::Timestamp;
use crate::store::{MailClaim, StoreResult};

/// How long a delivery is claimed: longer than an attempt.
const LEASE: Duration = Duration::from_mins(5);

/// How often the queue is polled: commands in other processes add deliveries without a notification.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Shortest time between two polls.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The pause after a failure of the store.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// How often recording an outcome is tried once the server stops.
const LAST_ATTEMPTS: u32 = 3;

/// After how many idle polls (a minute) connections are closed and deleted rows wiped from the disk.
const POLLS_BEFORE_CLEANUP: u32 = 12;

/// A target with deliveries that wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitingLane {
    /// Its number.
    pub id: i64,
    /// When its next delivery is due, if there is one.
    pub due_at: Option<Timestamp>,
    /// Whether it is claimed from even if nothing is due.
    pub is_always_claimed: bool,
}

/// The outcome of a claim.
pub(super) struct Claimed<I> {
    /// What was claimed.
    pub items: Vec<I>,
    /// Whether it has erased something, which is to be wiped from the disk.
    pub has_erased: bool,
}

/// Whether an attempt has reached its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// The target works, whatever it said of this delivery.
    Yes,
    /// It does not, or asks for a pause.
    No,
    /// Nothing was attempted.
    NotTried,
}

/// One kind of delivery.
pub(super) trait Sender: Send + Sync + 'static {
    /// A claimed delivery.
    type Item: Send + 'static;

    /// What the log calls the deliveries.
    const NAME: &'static str;

    /// Whether a server that stops delivers what is new and due.
    const DRAINS: bool;

    /// Releases the claims of a server that died. Returns their number.
    fn release(&self, now: Timestamp) -> impl Future<Output = StoreResult<usize>> + Send;

    /// The lanes with deliveries that wait.
    fn waiting(&self) -> impl Future<Output = StoreResult<Vec<WaitingLane>>> + Send;

    /// Maximum number of claimed deliveries of a lane.
    fn max_concurrent(&self) -> usize;

    /// Claims deliveries of a lane.
    fn claim(
        &self,
        lane: i64,
        claim: MailClaim,
    ) -> impl Future<Output = StoreResult<Claimed<Self::Item>>> + Send;

    /// Whether a delivery was attempted before.
    fn is_retry(item: &Self::Item) -> bool;

    /// Attempts a delivery and records the outcome.
    fn deliver(
        self: Arc<Self>,
        lane: i64,
        item: Self::Item,
    ) -> impl Future<Output = Reached> + Send;

    /// Closes idle connections.
    fn close_idle(&self) -> impl Future<Output = ()> + Send;

    /// Wipes deleted rows from the disk.
    fn purge(&self) -> impl Future<Output = ()> + Send;

    /// Called once before the first claim.
    fn started(self: &Arc<Self>) {}
}

/// What callers and a worker share.
pub(super) struct Signals {
    /// Notified when a delivery may be due.
    pub wake: Arc<Notify>,
    /// True once the server stops.
    pub stopping: watch::Sender<bool>,
}

impl Signals {
    /// Signals of a worker that runs.
    pub(super) fn new(wake: Arc<Notify>) -> Self {
        Self {
            wake,
            stopping: watch::Sender::new(false),
        }
    }

    /// Whether the server stops.
    pub(super) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }
}

/// A circuit breaker around a target.
#[derive(Default)]
enum CircuitBreaker {
    /// Everything is delivered.
    #[default]
    Closed,
    /// The target failed this number of times in a row; nothing is tried until the pause is over.
    Open {
        failures: u32,
        pause: Pin<Box<Sleep>>,
    },
    /// One delivery is tried.
    HalfOpen { failures: u32 },
}

impl CircuitBreaker {
    /// Records that the target failed. Of concurrent failures only the first one counts.
    fn open(&mut self, name: &str) {
        let failures = match self {
            Self::Closed => 1,
            Self::HalfOpen { failures } => failures.saturating_add(1),
            Self::Open { .. } => return,
        };
        let pause = outage_after(failures, noise());
        log::warn!(
            "{name} wait; the next try is in {:.1} s",
            pause.as_secs_f64()
        );
        *self = Self::Open {
            failures,
            pause: Box::pin(sleep(pause)),
        };
    }

    /// Records that the target works.
    fn close(&mut self, name: &str) {
        if !matches!(self, Self::Closed) {
            log::info!("{name} are delivered again");
            *self = Self::Closed;
        }
    }
}

/// The state of a lane.
#[derive(Default)]
struct Lane {
    breaker: CircuitBreaker,
    /// Claimed deliveries that are not settled.
    deliveries: usize,
    /// How many of them are retries; they leave room for new ones.
    retries: usize,
}

impl Lane {
    /// How many deliveries and how many retries may be claimed now.
    fn room(&self, max_concurrent: usize, is_stopping: bool) -> Option<(usize, usize)> {
        let max_concurrent = match self.breaker {
            CircuitBreaker::Closed => max_concurrent,
            CircuitBreaker::HalfOpen { .. } if !is_stopping => 1,
            CircuitBreaker::HalfOpen { .. } | CircuitBreaker::Open { .. } => return None,
        };
        let room = max_concurrent.saturating_sub(self.deliveries);
        let retries = match is_stopping {
            true => 0,
            false => max_concurrent.div_ceil(2).saturating_sub(self.retries),
        };
        (room > 0).then_some((room, retries))
    }

    fn is_idle(&self) -> bool {
        self.deliveries == 0 && matches!(self.breaker, CircuitBreaker::Closed)
    }
}

/// The state of a worker.
struct Worker<S: Sender> {
    sender: Arc<S>,
    clock: SharedClock,
    lanes: HashMap<i64, Lane>,
    deliveries: JoinSet<Reached>,
    /// The lane of each delivery, and whether it is a retry.
    tasks: HashMap<Id, (i64, bool)>,
    /// Polls in a row without a delivery.
    idle_polls: u32,
    /// Whether deliveries were settled since deleted rows were last wiped from the disk.
    is_dirty: bool,
}

/// Delivers until the server stops.
pub(super) async fn run<S: Sender>(sender: Arc<S>, clock: SharedClock, signals: Arc<Signals>) {
    let mut stopping = signals.stopping.subscribe();
    release_claims(&*sender, &clock, &signals).await;
    sender.started();
    let mut worker = Worker {
        sender,
        clock,
        lanes: HashMap::new(),
        deliveries: JoinSet::new(),
        tasks: HashMap::new(),
        idle_polls: 0,
        is_dirty: false,
    };
    loop {
        let is_stopping = *stopping.borrow_and_update();
        let pause = if is_stopping && !S::DRAINS {
            POLL_INTERVAL
        } else {
            worker.claim(is_stopping).await
        };
        if is_stopping && worker.deliveries.is_empty() {
            break;
        }
        tokio::select! {
            Some(ended) = worker.deliveries.join_next_with_id() => worker.record_all(ended),
            () = half_open(&mut worker.lanes) => {}
            () = signals.wake.notified() => {}
            () = sleep(pause) => worker.clean_up_when_idle().await,
            _ = stopping.changed() => {}
        }
    }
    if worker.is_dirty {
        worker.sender.purge().await;
    }
}

/// Waits for the end of the first pause, then allows one try; never returns if no breaker is open.
async fn half_open(lanes: &mut HashMap<i64, Lane>) {
    poll_fn(|context| {
        for lane in lanes.values_mut() {
            if let CircuitBreaker::Open { failures, pause } = &mut lane.breaker
                && pause.as_mut().poll(context).is_ready()
            {
                lane.breaker = CircuitBreaker::HalfOpen {
                    failures: *failures,
                };
                return Poll::Ready(());
            }
        }
        Poll::Pending
    })
    .await;
}

impl<S: Sender> Worker<S> {
    /// Claims what there is room for and starts its delivery. Returns the time of the next poll.
    async fn claim(&mut self, is_stopping: bool) -> Duration {
        let now = self.clock.now();
        let waiting = match self.sender.waiting().await {
            Ok(waiting) => waiting,
            Err(e) => return report(S::NAME, &e),
        };
        let mut has_claimed = false;
        for lane in &waiting {
            let is_due = lane.due_at.is_some_and(|due| due <= now);
            if is_due || lane.is_always_claimed {
                match self.claim_from(lane.id, now, is_stopping).await {
                    Ok(claimed) => has_claimed |= claimed > 0,
                    Err(e) => return report(S::NAME, &e),
                }
            }
        }
        let waiting = match has_claimed {
            true => self.sender.waiting().await.unwrap_or_default(),
            false => waiting,
        };
        let max_concurrent = self.sender.max_concurrent();
        let next = waiting.iter().filter_map(|waiting| {
            // A lane without room is claimed from when a delivery of it ends, or its pause.
            let lane = self.lanes.get(&waiting.id);
            let has_room = lane.is_none_or(|lane| lane.room(max_concurrent, is_stopping).is_some());
            waiting.due_at.filter(|_| has_room)
        });
        next.min().map_or(POLL_INTERVAL, |due| {
            due.since(now).clamp(MIN_POLL_INTERVAL, POLL_INTERVAL)
        })
    }

    /// Claims from a lane. Returns the number of claimed deliveries.
    async fn claim_from(
        &mut self,
        id: i64,
        now: Timestamp,
        is_stopping: bool,
    ) -> StoreResult<usize> {
        let lane = self.lanes.entry(id).or_default();
        let Some((room, retries)) = lane.room(self.sender.max_concurrent(), is_stopping) else {
            return Ok(0);
        };
        let claim = MailClaim {
            now,
            until: now.plus(LEASE),
            limit: u32::try_from(room).unwrap_or(u32::MAX),
            retries: u32::try_from(retries).unwrap_or(u32::MAX),
        };
        let Claimed { items, has_erased } = self.sender.claim(id, claim).await?;
        self.is_dirty |= has_erased;
        let count = items.len();
        for item in items {
            self.idle_polls = 0;
            let is_retry = S::is_retry(&item);
            lane.deliveries += 1;
            lane.retries += usize::from(is_retry);
            let delivery = Arc::clone(&self.sender).deliver(id, item);
            let task = self.deliveries.spawn(delivery);
            self.tasks.insert(task.id(), (id, is_retry));
        }
        Ok(count)
    }

    /// Records the outcome of a delivery, and of all others that have ended too.
    fn record_all(&mut self, ended: Result<(Id, Reached), JoinError>) {
        self.record(ended);
        while let Some(ended) = self.deliveries.try_join_next_with_id() {
            self.record(ended);
        }
    }

    fn record(&mut self, ended: Result<(Id, Reached), JoinError>) {
        self.is_dirty = true;
        // A delivery that panicked says nothing of its target; its claim expires.
        let (id, reached) = match ended {
            Ok(ended) => ended,
            Err(e) => (e.id(), Reached::NotTried),
        };
        let Some((id, is_retry)) = self.tasks.remove(&id) else {
            return;
        };
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        lane.deliveries -= 1;
        lane.retries -= usize::from(is_retry);
        match reached {
            Reached::Yes => lane.breaker.close(S::NAME),
            Reached::No => lane.breaker.open(S::NAME),
            Reached::NotTried => {}
        }
        if lane.is_idle() {
            self.lanes.remove(&id);
        }
    }

    /// Closes idle connections and wipes deleted rows after a minute without a delivery.
    async fn clean_up_when_idle(&mut self) {
        if !self.deliveries.is_empty() {
            return;
        }
        self.idle_polls = self.idle_polls.saturating_add(1);
        if self.idle_polls != POLLS_BEFORE_CLEANUP {
            return;
        }
        self.sender.close_idle().await;
        if std::mem::take(&mut self.is_dirty) {
            self.sender.purge().await;
        }
    }
}

fn report(name: &str, error: &crate::store::StoreError) -> Duration {
    log::warn!("{name} cannot be claimed: {error}");
    STORE_PAUSE
}

/// Releases the claims of a server that died.
async fn release_claims<S: Sender>(sender: &S, clock: &SharedClock, signals: &Signals) {
    loop {
        match sender.release(clock.now()).await {
            Ok(0) => return,
            Ok(count) => {
                let name = S::NAME;
                log::info!(
                    "{count} {name} were in delivery when the server ended; they are delivered again"
                );
                return;
            }
            Err(e) => log::warn!("the queue of {} cannot be used: {e}", S::NAME),
        }
        if signals.is_stopping() {
            return;
        }
        sleep(STORE_PAUSE).await;
    }
}

/// Records the outcome of a delivery, trying until the store answers: an unrecorded delivery would be
/// repeated. `None` when the server stops before.
pub(super) async fn record<T, F>(signals: &Signals, mut update: impl FnMut() -> F) -> Option<T>
where
    F: Future<Output = StoreResult<T>> + Send,
{
    let mut last_attempts = 0;
    loop {
        match update().await {
            Ok(recorded) => return Some(recorded),
            Err(e) => log::warn!("the outcome of a delivery cannot be recorded yet: {e}"),
        }
        if signals.is_stopping() {
            last_attempts += 1;
            if last_attempts == LAST_ATTEMPTS {
                return None;
            }
        }
        sleep(STORE_PAUSE).await;
    }
}

/// Waits for a worker that was asked to stop, for at most `timeout`.
pub(super) async fn finish(worker: JoinHandle<()>, timeout: Duration) {
    let abort = worker.abort_handle();
    if tokio::time::timeout(timeout, worker).await.is_err() {
        abort.abort();
        log::warn!("a delivery did not end within {timeout:?}; it is retried at the next start");
    }
}

/// A random number, for pauses.
pub(super) fn noise() -> u32 {
    u32::from_le_bytes(random::bytes())
}
