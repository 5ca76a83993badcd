//! The worker behind the outbox: takes mails that are due off the queue and sees each of them to its end.
//!
//! A mail is claimed before it is handed over and removed after, so a process that dies in between leaves it claimed, and
//! it goes out again. That is the one case in which a mail can arrive twice, and no protocol closes it: the receiver had
//! taken the mail and nobody had noted it yet. Both copies have the same `Message-ID`.
//!
//! A failure of the transport as a whole counts against no mail: all wait, one of them tries the way from time to time,
//! and when it is free again everything goes out at once. A failure of one mail puts off that mail alone.

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
use crate::store::{MailClaim, QueuedMail};

/// How long one delivery may take in all; after it the mail is tried again. Longer than a conversation that makes
/// progress, each step of which may take half a minute.
const DELIVERY: Duration = Duration::from_mins(4);

/// How long a claim keeps others off a mail: longer than a delivery.
const LEASE: Duration = Duration::from_mins(5);

/// How often the queue is looked into when nobody calls: commands in other processes put mails in, too.
const LOOK: Duration = Duration::from_secs(5);

/// The least time between two looks.
const SHORTEST_LOOK: Duration = Duration::from_millis(100);

/// How long to wait when the database does not answer.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// How often the outcome of a delivery is tried to be noted once the server stops.
const LAST_NOTES: u32 = 3;

/// After how many looks without a mail connections are let go of, and what was deleted is wiped off the disk: a minute.
const LOOKS_BEFORE_REST: u32 = 12;

/// Whether mails can be handed over.
enum Way {
    /// They can.
    Free,
    /// They could not, so many times in a row, and wait until the time is over.
    Blocked {
        failures: u32,
        over: Pin<Box<Sleep>>,
    },
    /// They could not, and one of them is to try.
    Doubtful { failures: u32 },
}

impl Way {
    /// Notes that the transport could not be reached. Of several mails that found so together only the first counts.
    fn block(&mut self) {
        let failures = match self {
            Self::Free => 1,
            Self::Doubtful { failures } => failures.saturating_add(1),
            Self::Blocked { .. } => return,
        };
        let pause = outage_after(failures, noise());
        log::warn!(
            "mails wait; the next try is in {:.1} s",
            pause.as_secs_f64()
        );
        *self = Self::Blocked {
            failures,
            over: Box::pin(sleep(pause)),
        };
    }

    /// Notes that the transport answered.
    fn free(&mut self) {
        if !matches!(self, Self::Free) {
            log::info!("mails can be handed over again");
            *self = Self::Free;
        }
    }

    /// Waits until a blocked way may be tried; for ever when it is not blocked.
    async fn until_over(&mut self) {
        let Self::Blocked { failures, over } = self else {
            return std::future::pending().await;
        };
        over.await;
        *self = Self::Doubtful {
            failures: *failures,
        };
    }
}

/// What came of handing a mail over.
struct Handed {
    /// Whether the transport could be reached.
    reached: bool,
    /// Whether the mail had been tried before.
    was_retry: bool,
}

/// The worker while it runs.
struct Worker {
    shared: Arc<Shared>,
    way: Way,
    deliveries: JoinSet<Handed>,
    /// How many of the deliveries are of mails that were tried before: they leave room for others.
    retries: usize,
    /// Looks in a row without a mail.
    idle_looks: u32,
    /// Whether mails have left the queue since the disk was last wiped.
    is_dirty: bool,
}

/// Delivers until the server stops and nothing more can be done at once.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut stopping = shared.stopping.subscribe();
    release_left_behind(&shared).await;
    probe(&shared);
    let mut worker = Worker {
        shared: Arc::clone(&shared),
        way: Way::Free,
        deliveries: JoinSet::new(),
        retries: 0,
        idle_looks: 0,
        is_dirty: false,
    };
    loop {
        let is_stopping = *stopping.borrow_and_update();
        let pause = worker.take_mails(is_stopping).await;
        if is_stopping && worker.deliveries.is_empty() {
            break;
        }
        tokio::select! {
            Some(handed) = worker.deliveries.join_next() => worker.note(handed.ok()),
            () = worker.way.until_over() => {}
            () = shared.wake.notified() => {}
            () = sleep(pause) => worker.look_idle().await,
            _ = stopping.changed() => {}
        }
    }
    if worker.is_dirty {
        shared.parts.store.purge_deleted_mails().await;
    }
}

impl Worker {
    /// Claims as many mails as there is room for and begins to deliver them. Gives the time until the next look.
    async fn take_mails(&mut self, is_stopping: bool) -> Duration {
        let lanes = match self.way {
            Way::Free => self.shared.way().transport.lanes(),
            Way::Doubtful { .. } if !is_stopping => 1,
            Way::Doubtful { .. } | Way::Blocked { .. } => return LOOK,
        };
        let room = lanes.saturating_sub(self.deliveries.len());
        if room == 0 {
            return LOOK;
        }
        // A server that stops gives new mails their first try, and leaves the others for its next start.
        let retries = match is_stopping {
            true => 0,
            false => lanes.div_ceil(2).saturating_sub(self.retries),
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
                log::warn!("mails cannot be taken off the queue: {e}");
                return STORE_PAUSE;
            }
        };
        for user_id in claimed.expired {
            log::warn!("user {user_id}: a mail had expired before it could be delivered");
            self.shared.parts.metrics.count_mail(MailOutcome::Expired);
            self.is_dirty = true;
        }
        for queued in claimed.mails {
            self.idle_looks = 0;
            self.begin(queued);
        }
        self.until_next(now).await
    }

    /// Composes a mail here and now, so that mails come into the inbox in their order, and delivers it apart.
    fn begin(&mut self, queued: QueuedMail) {
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
            Ok(Some(due)) => due.since(now).clamp(SHORTEST_LOOK, LOOK),
            Ok(None) => LOOK,
            Err(_) => STORE_PAUSE,
        }
    }

    /// Notes what came of a delivery; nothing is known of one that panicked outside the transport.
    fn note(&mut self, handed: Option<Handed>) {
        self.is_dirty = true;
        let Some(handed) = handed else {
            return;
        };
        if handed.was_retry {
            self.retries -= 1;
        }
        if handed.reached {
            self.way.free();
        } else {
            self.way.block();
        }
    }

    /// Tidies up when no mail has come for a while.
    async fn look_idle(&mut self) {
        if !self.deliveries.is_empty() {
            return;
        }
        self.idle_looks = self.idle_looks.saturating_add(1);
        if self.idle_looks != LOOKS_BEFORE_REST {
            return;
        }
        let transport = self.shared.way().transport;
        tokio::task::spawn_blocking(move || transport.rest());
        if std::mem::take(&mut self.is_dirty) {
            self.shared.parts.store.purge_deleted_mails().await;
        }
    }
}

/// Takes over what a server that died has left claimed.
async fn release_left_behind(shared: &Shared) {
    loop {
        let now = shared.parts.clock.now();
        match shared.parts.store.release_mails(now).await {
            Ok(0) => return,
            Ok(mails) => {
                log::info!(
                    "{mails} mails were in delivery when the server ended; they go out again"
                );
                return;
            }
            Err(e) => log::warn!("the queue of mails cannot be used: {e}"),
        }
        if *shared.stopping.borrow() {
            return;
        }
        sleep(STORE_PAUSE).await;
    }
}

/// Tries the transport once, beside everything else, so that wrong settings are known before the next mail.
pub(super) fn probe(shared: &Arc<Shared>) {
    let transport = shared.way().transport;
    tokio::task::spawn_blocking(move || {
        if let Err(e) = transport.probe() {
            log::warn!("mail cannot be sent at present: {e}; mails wait in the database");
        }
    });
}

/// Hands a mail over and notes the outcome in the queue.
async fn deliver(shared: Arc<Shared>, queued: QueuedMail, mail: Result<Mail, MailError>) -> Handed {
    let was_retry = queued.tries > 1;
    let outcome = match mail {
        Ok(mail) => hand_over(&shared, mail).await,
        Err(error) => Err(error),
    };
    let reached = !matches!(outcome, Err(MailError::Unreachable { .. }));
    settle(&shared, &queued, outcome).await;
    Handed { reached, was_retry }
}

async fn hand_over(shared: &Shared, mail: Mail) -> Result<(), MailError> {
    let transport = shared.way().transport;
    let delivery = tokio::task::spawn_blocking(move || transport.deliver(&mail, &mut |_| {}));
    match timeout(DELIVERY, delivery).await {
        Ok(Ok(outcome)) => outcome,
        // One mail that makes a transport panic must not be the end of mail for everybody, nor be tried for ever.
        Ok(Err(_)) => Err(MailError::Permanent {
            message: "the transport panicked".to_owned(),
            source: None,
        }),
        Err(_) => Err(MailError::Temporary {
            message: format!("the delivery did not end within {DELIVERY:?}"),
            source: None,
        }),
    }
}

/// Notes what came of a delivery: in the log, in the figures, and in the queue.
async fn settle(shared: &Shared, queued: &QueuedMail, outcome: Result<(), MailError>) {
    let QueuedMail {
        id, user_id, tries, ..
    } = *queued;
    let name = shared.way().transport.name();
    let now = shared.parts.clock.now();
    let (fate, entry) = match outcome {
        Ok(()) => {
            log::info!("user {user_id}: mail {id} handed to {name}");
            (MailOutcome::Delivered, Entry::Remove)
        }
        Err(error @ MailError::Unreachable { .. }) => {
            log::warn!("user {user_id}: mail {id} waits: {name}: {error}");
            let put_back = Entry::PutBack {
                next_try_at: now,
                counts: false,
            };
            return persist(shared, id, put_back).await;
        }
        Err(error) if error.is_final() => {
            log::error!("user {user_id}: mail {id} given up: {name}: {error}");
            (MailOutcome::GivenUp, Entry::Remove)
        }
        Err(error) => {
            let pause = pause_after(tries, noise());
            log::warn!(
                "user {user_id}: mail {id} is tried again in {} s: {name}: {error}",
                pause.as_secs()
            );
            let put_back = Entry::PutBack {
                next_try_at: now.plus(pause),
                counts: true,
            };
            (MailOutcome::Postponed, put_back)
        }
    };
    shared.parts.metrics.count_mail(fate);
    persist(shared, id, entry).await;
}

/// What is to be noted of a mail in the queue.
#[derive(Clone, Copy)]
enum Entry {
    /// It leaves the queue.
    Remove,
    /// It goes back until then; `counts` is false when the try said nothing about the mail.
    PutBack {
        next_try_at: Timestamp,
        counts: bool,
    },
}

/// Notes it, as often as it takes until the store does: a mail whose delivery is not noted would go out again.
async fn persist(shared: &Shared, id: i64, entry: Entry) {
    let store = &shared.parts.store;
    let mut last_notes = 0;
    loop {
        let noted = match entry {
            Entry::Remove => store.delete_mail(id).await,
            Entry::PutBack {
                next_try_at,
                counts,
            } => store.postpone_mail(id, next_try_at, counts).await,
        };
        let Err(e) = noted else { return };
        log::warn!("what came of a mail cannot be noted yet: {e}");
        if *shared.stopping.borrow() {
            last_notes += 1;
            if last_notes == LAST_NOTES {
                return;
            }
        }
        sleep(STORE_PAUSE).await;
    }
}

fn noise() -> u32 {
    u32::from_le_bytes(random::bytes())
}
