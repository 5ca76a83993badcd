//! The worker: claims due mails and delivers each of them to the end.
//!
//! A mail is claimed before its delivery and removed after it, so a process that dies in between leaves it
//! claimed, and it is delivered again. Only then can a mail arrive twice: the receiver had accepted it and
//! this was not recorded yet. Both copies have the same `Message-ID`.
//!
//! A circuit breaker handles failures of the transport: all mails wait, one of them is tried from time to
//! time, and once that works everything is delivered at once. Such a try does not count for a mail. A
//! failure of one mail delays that mail only.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};

use super::Shared;
use super::backoff::{outage_after, pause_after};
use crate::crypto::random;
use crate::domain::Timestamp;
use crate::mail::{Mail, MailError};
use crate::observability::metrics::MailOutcome;
use crate::store::{GiveUpMail, MailClaim, MailSubject, PostponeMail, QueuedMail};

/// Longest delivery; after it the mail is retried. Each step of an SMTP session may take half a minute.
const DELIVERY_TIMEOUT: Duration = Duration::from_mins(4);

/// How long a mail is claimed: longer than a delivery.
const LEASE: Duration = Duration::from_mins(5);

/// How often the queue is polled: commands in other processes add mails without a notification.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Shortest time between two polls.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The pause after a failure of the store.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// How often recording an outcome is tried once the server stops.
const LAST_ATTEMPTS: u32 = 3;

/// After how many idle polls (a minute) connections are closed and deleted mails wiped from the disk.
const POLLS_BEFORE_CLEANUP: u32 = 12;

/// A circuit breaker around the transport.
enum CircuitBreaker {
    /// Mails are delivered.
    Closed,
    /// The transport failed this number of times in a row; nothing is tried until the pause is over.
    Open {
        failures: u32,
        pause: Pin<Box<Sleep>>,
    },
    /// One mail is tried.
    HalfOpen { failures: u32 },
}

impl CircuitBreaker {
    /// Records that the transport failed. Of concurrent failures only the first one counts.
    fn open(&mut self) {
        let failures = match self {
            Self::Closed => 1,
            Self::HalfOpen { failures } => failures.saturating_add(1),
            Self::Open { .. } => return,
        };
        let pause = outage_after(failures, noise());
        log::warn!(
            "mails wait; the next try is in {:.1} s",
            pause.as_secs_f64()
        );
        *self = Self::Open {
            failures,
            pause: Box::pin(sleep(pause)),
        };
    }

    /// Records that the transport works.
    fn close(&mut self) {
        if !matches!(self, Self::Closed) {
            log::info!("mails are delivered again");
            *self = Self::Closed;
        }
    }

    /// Waits for the end of the pause, then allows one try; never returns unless open.
    async fn half_open(&mut self) {
        let Self::Open { failures, pause } = self else {
            return std::future::pending().await;
        };
        pause.await;
        *self = Self::HalfOpen {
            failures: *failures,
        };
    }
}

/// The outcome of a delivery for the worker.
struct Attempt {
    /// Whether the transport worked, whatever it said of the mail.
    reached: bool,
    /// Whether the mail had been tried before.
    was_retry: bool,
}

/// The state of the worker.
struct Worker {
    shared: Arc<Shared>,
    breaker: CircuitBreaker,
    deliveries: JoinSet<Attempt>,
    /// How many deliveries are retries; they leave room for new mails.
    retries: usize,
    /// Polls in a row without a mail.
    idle_polls: u32,
    /// Whether mails have left the queue since deleted ones were last wiped from the disk.
    is_dirty: bool,
}

/// Delivers until the server stops and no due mail is left.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut stopping = shared.stopping.subscribe();
    release_claims(&shared).await;
    probe(&shared);
    let mut worker = Worker {
        shared: Arc::clone(&shared),
        breaker: CircuitBreaker::Closed,
        deliveries: JoinSet::new(),
        retries: 0,
        idle_polls: 0,
        is_dirty: false,
    };
    loop {
        let is_stopping = *stopping.borrow_and_update();
        let pause = worker.claim_mails(is_stopping).await;
        if is_stopping && worker.deliveries.is_empty() {
            break;
        }
        tokio::select! {
            Some(attempt) = worker.deliveries.join_next() => worker.record(attempt.ok()),
            () = worker.breaker.half_open() => {}
            () = shared.wake.notified() => {}
            () = sleep(pause) => worker.clean_up_when_idle().await,
            _ = stopping.changed() => {}
        }
    }
    if worker.is_dirty {
        shared.parts.store.purge_deleted_mails().await;
    }
}

impl Worker {
    /// Claims as many mails as there is room for and starts their delivery. Returns the time of the next poll.
    async fn claim_mails(&mut self, is_stopping: bool) -> Duration {
        let max_concurrent = match self.breaker {
            CircuitBreaker::Closed => self.shared.sender().transport.max_concurrent(),
            CircuitBreaker::HalfOpen { .. } if !is_stopping => 1,
            CircuitBreaker::HalfOpen { .. } | CircuitBreaker::Open { .. } => return POLL_INTERVAL,
        };
        let room = max_concurrent.saturating_sub(self.deliveries.len());
        if room == 0 {
            return POLL_INTERVAL;
        }
        // A server that stops tries new mails once and leaves retries for its next start.
        let retries = match is_stopping {
            true => 0,
            false => max_concurrent.div_ceil(2).saturating_sub(self.retries),
        };
        let now = self.shared.parts.clock.now();
        let claim = MailClaim {
            now,
            until: now.plus(LEASE),
            limit: u32::try_from(room).unwrap_or(u32::MAX),
            retries: u32::try_from(retries).unwrap_or(u32::MAX),
        };
        let claimed = match self.shared.parts.store.claim_mails(claim).await {
            Ok(claimed) => claimed,
            Err(e) => {
                log::warn!("mails cannot be claimed: {e}");
                return STORE_PAUSE;
            }
        };
        for subject in claimed.expired {
            let about = about(subject);
            log::warn!("{about}: a mail expired before it was delivered");
            self.shared.parts.metrics.count_mail(MailOutcome::Expired);
            self.is_dirty = true;
        }
        for queued in claimed.mails {
            self.idle_polls = 0;
            self.start(queued);
        }
        self.until_next(now).await
    }

    /// Composes a mail at once, so that the inbox keeps the order, and delivers it in a task.
    fn start(&mut self, queued: QueuedMail) {
        let mail = self.shared.compose(&queued);
        if let (Ok(mail), Some(inbox)) = (&mail, &self.shared.parts.inbox) {
            inbox.add(mail);
        }
        if queued.tries > 1 {
            self.retries += 1;
        }
        self.deliveries
            .spawn(deliver(Arc::clone(&self.shared), queued, mail));
    }

    async fn until_next(&self, now: Timestamp) -> Duration {
        match self.shared.parts.store.find_next_mail().await {
            Ok(Some(due)) => due.since(now).clamp(MIN_POLL_INTERVAL, POLL_INTERVAL),
            Ok(None) => POLL_INTERVAL,
            Err(_) => STORE_PAUSE,
        }
    }

    /// Records the outcome of a delivery; `None` when the task panicked.
    fn record(&mut self, attempt: Option<Attempt>) {
        self.is_dirty = true;
        let Some(attempt) = attempt else {
            return;
        };
        if attempt.was_retry {
            self.retries -= 1;
        }
        if attempt.reached {
            self.breaker.close();
        } else {
            self.breaker.open();
        }
    }

    /// Closes idle connections and wipes deleted mails after a minute without a mail.
    async fn clean_up_when_idle(&mut self) {
        if !self.deliveries.is_empty() {
            return;
        }
        self.idle_polls = self.idle_polls.saturating_add(1);
        if self.idle_polls != POLLS_BEFORE_CLEANUP {
            return;
        }
        let transport = self.shared.sender().transport;
        tokio::task::spawn_blocking(move || transport.close_idle());
        if std::mem::take(&mut self.is_dirty) {
            self.shared.parts.store.purge_deleted_mails().await;
        }
    }
}

/// Releases the claims of a server that died.
async fn release_claims(shared: &Shared) {
    loop {
        let now = shared.parts.clock.now();
        match shared.parts.store.release_mails(now).await {
            Ok(0) => return,
            Ok(mails) => {
                log::info!(
                    "{mails} mails were in delivery when the server ended; they are delivered again"
                );
                return;
            }
            Err(e) => log::warn!("the mail queue cannot be used: {e}"),
        }
        if *shared.stopping.borrow() {
            return;
        }
        sleep(STORE_PAUSE).await;
    }
}

/// Checks the transport once in the background, so that wrong settings show before the next mail.
pub(super) fn probe(shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    tokio::task::spawn_blocking(move || {
        if let Err(e) = shared.sender().transport.probe() {
            shared.set_problem(e.operator_problem());
            log::warn!("mail cannot be delivered at present: {e}; mails wait in the queue");
        }
    });
}

/// Delivers a mail and records the outcome in the queue.
async fn deliver(
    shared: Arc<Shared>,
    queued: QueuedMail,
    mail: Result<Mail, MailError>,
) -> Attempt {
    let was_retry = queued.tries > 1;
    let outcome = match mail {
        Ok(mail) => transfer(&shared, mail).await,
        Err(error) => Err(error),
    };
    let reached = !matches!(outcome, Err(MailError::Unreachable { .. }));
    settle(&shared, &queued, outcome).await;
    Attempt { reached, was_retry }
}

/// Passes a mail to the transport on a blocking thread.
async fn transfer(shared: &Shared, mail: Mail) -> Result<(), MailError> {
    let transport = shared.sender().transport;
    let delivery = tokio::task::spawn_blocking(move || transport.deliver(&mail, &mut |_| {}));
    match timeout(DELIVERY_TIMEOUT, delivery).await {
        Ok(Ok(outcome)) => outcome,
        // A mail that makes a transport panic must neither stop all mail nor be retried for ever.
        Ok(Err(_)) => Err(MailError::Permanent {
            message: "the transport panicked".to_owned(),
            source: None,
        }),
        Err(_) => Err(MailError::Temporary {
            message: format!("the delivery did not end within {DELIVERY_TIMEOUT:?}"),
            source: None,
        }),
    }
}

/// Records the outcome of a delivery in log, metrics and queue.
async fn settle(shared: &Shared, queued: &QueuedMail, outcome: Result<(), MailError>) {
    let QueuedMail {
        id, subject, tries, ..
    } = *queued;
    let about = about(subject);
    let name = shared.sender().transport.name();
    let now = shared.parts.clock.now();
    match &outcome {
        Ok(()) => shared.set_problem(None),
        Err(error) => {
            if let Some(problem) = error.operator_problem() {
                shared.set_problem(Some(problem));
            }
        }
    }
    let (kind, update) = match outcome {
        Ok(()) => {
            log::info!("{about}: mail {id} delivered by {name}");
            (MailOutcome::Delivered, QueueUpdate::Remove(id))
        }
        Err(error @ MailError::Unreachable { .. }) => {
            log::warn!("{about}: mail {id} waits: {name}: {error}");
            let postpone = QueueUpdate::Postpone(PostponeMail {
                id,
                next_try_at: now,
                counts: false,
                problem: error.reason(),
            });
            return record(shared, postpone).await;
        }
        Err(error) if error.is_final() => {
            log::error!("{about}: mail {id} given up: {name}: {error}");
            let give_up = GiveUpMail {
                id,
                problem: error.reason(),
                now,
            };
            (MailOutcome::GivenUp, QueueUpdate::GiveUp(give_up))
        }
        Err(error) => {
            let pause = pause_after(tries, noise());
            log::warn!(
                "{about}: mail {id} is retried in {} s: {name}: {error}",
                pause.as_secs()
            );
            let postpone = PostponeMail {
                id,
                next_try_at: now.plus(pause),
                counts: true,
                problem: error.reason(),
            };
            (MailOutcome::Postponed, QueueUpdate::Postpone(postpone))
        }
    };
    shared.parts.metrics.count_mail(kind);
    let is_over = !matches!(update, QueueUpdate::Postpone(_));
    record(shared, update).await;
    if subject == MailSubject::DeletedUser && is_over {
        // Nothing of a deleted account stays in the files, not even its address.
        shared.parts.store.purge_deleted_mails().await;
    }
}

/// What a mail is about, as the log names it.
fn about(subject: MailSubject) -> String {
    match subject {
        MailSubject::User(user_id) => format!("user {user_id}"),
        MailSubject::DeletedUser => "deleted account".to_owned(),
        MailSubject::Invitation(id) => format!("invitation {id}"),
    }
}

/// A change of a mail in the queue.
#[derive(Clone)]
enum QueueUpdate {
    /// It was delivered.
    Remove(i64),
    /// It is due again later.
    Postpone(PostponeMail),
    /// It was refused for good.
    GiveUp(GiveUpMail),
}

/// Updates the queue, retrying until the store answers: an unrecorded delivery would be repeated.
async fn record(shared: &Shared, update: QueueUpdate) {
    let store = &shared.parts.store;
    let mut last_attempts = 0;
    loop {
        let recorded = match update.clone() {
            QueueUpdate::Remove(id) => store.delete_mail(id).await,
            QueueUpdate::Postpone(request) => store.postpone_mail(request).await,
            QueueUpdate::GiveUp(request) => store.give_up_mail(request).await,
        };
        let Err(e) = recorded else { return };
        log::warn!("the outcome of a delivery cannot be recorded yet: {e}");
        if *shared.stopping.borrow() {
            last_attempts += 1;
            if last_attempts == LAST_ATTEMPTS {
                return;
            }
        }
        sleep(STORE_PAUSE).await;
    }
}

fn noise() -> u32 {
    u32::from_le_bytes(random::bytes())
}
