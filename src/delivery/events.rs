//! Events of webhooks as deliveries: sending one to its endpoint, recording the outcome.
//!
//! Each endpoint is a lane. An answer that says that the endpoint is overloaded, and no answer at all,
//! open its circuit breaker; every other failure delays its event only. An endpoint that is gone, or
//! that fails for days, is disabled.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::Outbox;
use super::backoff::event_pause_after;
use super::slots::Slots;
use super::worker::{self, Claimed, Reached, Sender, Signals, WaitingLane, noise};
use crate::clock::SharedClock;
use crate::domain::{Timestamp, WebhookDisabled};
use crate::mail::MailContent;
use crate::outbound::{EndpointUrl, FailureKind};
use crate::store::{
    DisableWebhook, EventOutcome, MailClaim, QueuedEvent, SettleEvent, SharedStore, StoreResult,
    Webhook,
};
use crate::webhooks::signature::SigningKeys;
use crate::webhooks::{EventBodies, WebhookMessage, WebhookSender, shown_host};

/// Attempts at once to one endpoint.
const PER_ENDPOINT: usize = 4;

/// Attempts at once in all.
const IN_ALL: usize = 32;

/// Claimed events of an endpoint: enough to keep its attempts busy while outcomes are recorded.
const CLAIMED: usize = 32;

/// How long an attempt is left alone while other endpoints wait.
const EVICT_AFTER: Duration = Duration::from_millis(800);

/// The longest pause that an endpoint may ask for.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// How long an endpoint may fail before it is disabled.
const FAILING: Duration = Duration::from_hours(5 * 24);

/// The parts of [`EventDelivery`].
pub struct EventParts {
    /// The queue.
    pub store: SharedStore,
    /// Decides when events are due.
    pub clock: SharedClock,
    /// Opens bodies and secrets, and is notified of new events.
    pub bodies: EventBodies,
    /// Takes the mails about disabled endpoints.
    pub outbox: Arc<Outbox>,
}

/// The worker that delivers events. Nothing is delivered before [`EventDelivery::start`].
pub struct EventDelivery {
    shared: Arc<Shared>,
    signals: Arc<Signals>,
    worker: Mutex<Option<JoinHandle<()>>>,
}

/// The state that callers and worker share.
struct Shared {
    parts: EventParts,
    sender: RwLock<WebhookSender>,
    signals: Arc<Signals>,
    slots: Slots,
    gates: Mutex<HashMap<i64, Arc<Gate>>>,
}

/// The attempts at one endpoint.
struct Gate {
    attempts: Semaphore,
    /// How often in a row the endpoint was not reached.
    failures: AtomicU32,
}

/// A claimed event with its endpoint.
struct ClaimedEvent {
    webhook: Arc<Webhook>,
    event: QueuedEvent,
    gate: Arc<Gate>,
    /// [`Gate::failures`] when it was claimed.
    failures: u32,
}

/// How an attempt ended.
struct Attempt {
    outcome: EventOutcome,
    reached: Reached,
    problem: String,
    status_code: Option<u16>,
    answer: Vec<u8>,
    paused_until: Option<Timestamp>,
}

impl EventDelivery {
    /// A worker that does not deliver yet.
    pub fn new(parts: EventParts, sender: WebhookSender) -> Self {
        let signals = Arc::new(Signals::new(parts.bodies.wake()));
        Self {
            shared: Arc::new(Shared {
                parts,
                sender: RwLock::new(sender),
                signals: Arc::clone(&signals),
                slots: Slots::new(IN_ALL, EVICT_AFTER),
                gates: Mutex::default(),
            }),
            signals,
            worker: Mutex::default(),
        }
    }

    /// Replaces what sends; attempts in flight keep the previous one.
    pub fn reload(&self, sender: WebhookSender) {
        let current = self.shared.sender.write();
        *current.unwrap_or_else(PoisonError::into_inner) = sender;
    }

    /// Starts the worker. Call it once, in the server that holds the store.
    pub fn start(&self) {
        let clock = self.shared.parts.clock.clone();
        let signals = Arc::clone(&self.signals);
        let worker = tokio::spawn(worker::run(Arc::clone(&self.shared), clock, signals));
        *self.worker.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker);
    }

    /// Waits for attempts in flight for at most `timeout`; the rest stays in the queue.
    pub async fn stop(&self, timeout: Duration) {
        self.signals.stopping.send_replace(true);
        let worker = self
            .worker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(worker) = worker {
            worker::finish(worker, timeout).await;
        }
    }
}

impl Shared {
    fn gate(&self, webhook_id: i64) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let gate = gates.entry(webhook_id).or_insert_with(|| {
            Arc::new(Gate {
                attempts: Semaphore::new(PER_ENDPOINT),
                failures: AtomicU32::new(0),
            })
        });
        Arc::clone(gate)
    }

    /// The message of an event, or why there is none.
    fn message(&self, claimed: &ClaimedEvent) -> Result<WebhookMessage, &'static str> {
        const FOREIGN: &str = "It was encrypted under the key of another database.";
        let ClaimedEvent { webhook, event, .. } = claimed;
        let now = self.parts.clock.now();
        let bodies = &self.parts.bodies;
        let former = webhook.former_secrets.iter();
        let former = former.filter(|(_, until)| now < *until);
        let keys = std::iter::once(&webhook.secrets)
            .chain(former.map(|(secrets, _)| secrets))
            .map(|sealed| SigningKeys::from_bytes(&bodies.open_secrets(sealed)?))
            .collect::<Option<Vec<_>>>();
        Ok(WebhookMessage {
            url: EndpointUrl::parse(&webhook.url).map_err(|_| "Its URL is not valid any more.")?,
            id: message_id(event.message_id),
            body: Bytes::from(bodies.open(event).ok_or(FOREIGN)?),
            keys: keys.ok_or(FOREIGN)?,
            sent_at: now,
        })
    }

    /// Attempts an event, once there is a slot for it.
    async fn attempt(&self, claimed: &ClaimedEvent) -> Attempt {
        let now = self.parts.clock.now();
        let Ok(_attempt) = claimed.gate.attempts.acquire().await else {
            return Attempt::put_off(now, "");
        };
        let failures = claimed.gate.failures.load(Ordering::Relaxed);
        let _slot = self.slots.acquire(failures == 0).await;
        // Others have found out meanwhile that the endpoint does not work.
        if claimed.gate.failures.load(Ordering::Relaxed) > claimed.failures {
            return Attempt::put_off(now, &claimed.webhook_problem());
        }
        let message = match self.message(claimed) {
            Ok(message) => message,
            Err(problem) => return Attempt::dead(problem),
        };
        let sender = self
            .sender
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let answer = tokio::select! {
            answer = sender.send(&message) => answer,
            () = self.slots.evicted() => {
                let problem = "The endpoint did not answer while others were waiting.";
                return Attempt {
                    reached: Reached::No,
                    ..Attempt::put_off(self.parts.clock.now(), problem)
                };
            }
        };
        let (now, tries) = (self.parts.clock.now(), claimed.event.tries);
        match answer {
            Ok(answer) => Attempt::answered(
                (answer.status, answer.excerpt.into_bytes()),
                answer.retry_after,
                tries,
                now,
            ),
            Err(error) => {
                log::info!(
                    "webhook {}: event {} was not delivered: {error}",
                    claimed.webhook.id,
                    claimed.event.id
                );
                let problem = match error.kind() {
                    FailureKind::Unreachable => "The address is not reachable from here.",
                    FailureKind::Connection => "The endpoint closed or refused the connection.",
                    FailureKind::Tls => "The certificate or the encryption was not accepted.",
                    FailureKind::Timeout => "The endpoint did not answer in time.",
                    FailureKind::Protocol => "The answer was not valid HTTP.",
                };
                Attempt {
                    reached: Reached::No,
                    ..Attempt::failed(problem.to_owned(), tries, None, now)
                }
            }
        }
    }

    /// Records an attempt, and disables an endpoint that is gone or has failed for days.
    async fn settle(&self, claimed: &ClaimedEvent, attempt: Attempt) {
        let settlement = SettleEvent {
            id: claimed.event.id,
            webhook_id: claimed.webhook.id,
            outcome: attempt.outcome,
            problem: attempt.problem,
            status_code: attempt.status_code,
            answer: attempt.answer,
            paused_until: attempt.paused_until,
            now: self.parts.clock.now(),
        };
        let store = &self.parts.store;
        let recorded =
            worker::record(&self.signals, || store.settle_event(settlement.clone())).await;
        let Some(failing_since) = recorded else {
            return;
        };
        let reason = if attempt.status_code == Some(410) {
            WebhookDisabled::Gone
        } else if failing_since.is_some_and(|since| settlement.now.since(since) >= FAILING) {
            WebhookDisabled::Failing
        } else {
            return;
        };
        if let Err(e) = self.disable(&claimed.webhook, reason, settlement.now).await {
            log::warn!("webhook {} cannot be disabled yet: {e}", claimed.webhook.id);
        }
    }

    /// Disables an endpoint and mails staff.
    async fn disable(
        &self,
        webhook: &Webhook,
        reason: WebhookDisabled,
        now: Timestamp,
    ) -> StoreResult<()> {
        let outbox = &self.parts.outbox;
        let content = MailContent::WebhookDisabled {
            reason: reason.as_str().to_owned(),
            host: shown_host(&webhook.url),
        };
        let request = DisableWebhook {
            id: webhook.id,
            reason,
            notices: outbox.staff_notices(&content).await?,
            now,
        };
        if self.parts.store.disable_webhook(request).await? {
            log::warn!("webhook {} was disabled: {}", webhook.id, reason.as_str());
            outbox.wake().await;
        }
        Ok(())
    }
}

impl ClaimedEvent {
    /// What the last attempt found; an event that was never attempted has no problem of its own.
    fn webhook_problem(&self) -> String {
        match self.event.tries {
            0 | 1 => String::new(),
            _ => "The endpoint does not work at present.".to_owned(),
        }
    }
}

impl Attempt {
    /// Nothing was attempted; it is due again at once.
    fn put_off(now: Timestamp, problem: &str) -> Self {
        Self {
            outcome: EventOutcome::Postponed {
                next_try_at: now,
                counts: false,
            },
            reached: Reached::NotTried,
            problem: problem.to_owned(),
            status_code: None,
            answer: Vec::new(),
            paused_until: None,
        }
    }

    fn dead(problem: &str) -> Self {
        Self {
            outcome: EventOutcome::Dead,
            ..Self::put_off(Timestamp::MAX, problem)
        }
    }

    /// It failed, and is tried again unless it was the last time.
    fn failed(
        problem: String,
        tries: u32,
        paused_until: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        let outcome = event_pause_after(tries, noise()).map_or(EventOutcome::Dead, |pause| {
            EventOutcome::Postponed {
                next_try_at: now.plus(pause).max(paused_until.unwrap_or(now)),
                counts: true,
            }
        });
        Self {
            outcome,
            reached: Reached::Yes,
            paused_until,
            ..Self::put_off(now, &problem)
        }
    }

    /// What an answer means.
    fn answered(
        (status, answer): (u16, Vec<u8>),
        retry_after: Option<Duration>,
        tries: u32,
        now: Timestamp,
    ) -> Self {
        let attempt = match status {
            200..=299 => Self {
                outcome: EventOutcome::Delivered,
                reached: Reached::Yes,
                ..Self::put_off(now, "")
            },
            410 => Self {
                reached: Reached::Yes,
                ..Self::dead("The endpoint answered 410 Gone.")
            },
            _ => {
                let problem = format!("The endpoint answered {status}.");
                let pause = retry_after.map(|pause| now.plus(pause.min(LONGEST_PAUSE)));
                let failed = Self::failed(problem, tries, pause, now);
                let is_overloaded = pause.is_some() || matches!(status, 429 | 502..=504);
                match is_overloaded {
                    true => Self {
                        reached: Reached::No,
                        ..failed
                    },
                    false => failed,
                }
            }
        };
        Self {
            status_code: Some(status),
            answer,
            ..attempt
        }
    }
}

/// The id of a message as its receiver sees it.
pub fn message_id(id: [u8; 16]) -> String {
    format!("msg_{}", HEXLOWER.encode(&id))
}

impl Sender for Shared {
    type Item = ClaimedEvent;

    const NAME: &'static str = "events";

    const DRAINS: bool = false;

    async fn release(&self, now: Timestamp) -> StoreResult<usize> {
        self.parts.store.release_events(now).await
    }

    async fn waiting(&self) -> StoreResult<Vec<WaitingLane>> {
        let waiting = self.parts.store.list_waiting_webhooks().await?;
        Ok(waiting
            .into_iter()
            .map(|webhook| WaitingLane {
                id: webhook.id,
                due_at: Some(webhook.due_at),
                is_always_claimed: false,
            })
            .collect())
    }

    fn max_concurrent(&self) -> usize {
        CLAIMED
    }

    async fn claim(&self, lane: i64, claim: MailClaim) -> StoreResult<Claimed<ClaimedEvent>> {
        let claimed = self.parts.store.claim_events(lane, claim).await?;
        let gate = self.gate(lane);
        let failures = gate.failures.load(Ordering::Relaxed);
        let items = claimed.map_or_else(Vec::new, |claimed| {
            let webhook = Arc::new(claimed.webhook);
            let event = |event| ClaimedEvent {
                webhook: Arc::clone(&webhook),
                event,
                gate: Arc::clone(&gate),
                failures,
            };
            claimed.events.into_iter().map(event).collect()
        });
        Ok(Claimed {
            items,
            has_erased: false,
        })
    }

    fn is_retry(claimed: &ClaimedEvent) -> bool {
        claimed.event.tries > 1
    }

    async fn deliver(self: Arc<Self>, _lane: i64, claimed: ClaimedEvent) -> Reached {
        let attempt = self.attempt(&claimed).await;
        let reached = attempt.reached;
        match reached {
            Reached::Yes => claimed.gate.failures.store(0, Ordering::Relaxed),
            Reached::No => {
                claimed.gate.failures.fetch_add(1, Ordering::Relaxed);
            }
            Reached::NotTried => {}
        }
        self.settle(&claimed, attempt).await;
        reached
    }

    async fn close_idle(&self) {}

    async fn purge(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_millis(0);

    #[test]
    fn answers_decide_what_follows() {
        let answered = |status, retry_after: Option<u64>| {
            let retry_after = retry_after.map(Duration::from_secs);
            Attempt::answered((status, Vec::new()), retry_after, 1, NOW)
        };
        for status in [200, 202, 204, 299] {
            let attempt = answered(status, Some(60));
            assert_eq!(attempt.outcome, EventOutcome::Delivered, "{status}");
            assert_eq!(attempt.paused_until, None);
        }
        for (status, retry_after, reached) in [
            (301, None, Reached::Yes),
            (400, None, Reached::Yes),
            (500, None, Reached::Yes),
            (500, Some(10), Reached::No),
            (429, None, Reached::No),
            (502, None, Reached::No),
            (503, None, Reached::No),
            (504, None, Reached::No),
        ] {
            let attempt = answered(status, retry_after);
            assert_eq!(attempt.reached, reached, "{status}");
            assert!(matches!(
                attempt.outcome,
                EventOutcome::Postponed { counts: true, .. }
            ));
        }
        assert_eq!(answered(410, None).outcome, EventOutcome::Dead);
        // Nobody stops deliveries for years.
        let absurd = answered(429, Some(u64::MAX / 2));
        assert_eq!(absurd.paused_until, Some(NOW.plus(LONGEST_PAUSE)));
        let last = Attempt::answered((500, Vec::new()), None, 10, NOW);
        assert_eq!(last.outcome, EventOutcome::Dead);
    }

    #[test]
    fn message_ids_are_hexadecimal() {
        assert_eq!(message_id([255; 16]), format!("msg_{}", "f".repeat(32)));
    }
}
