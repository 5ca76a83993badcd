//! Mails as deliveries: composing one, passing it to the transport, recording the outcome.
//!
//! All mails are one lane, since one transport delivers them. A failure of the transport does not
//! count for the mail; a failure of one mail delays that mail only.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::Shared;
use super::backoff::pause_after;
use super::worker::{self, Claimed, Reached, Sender, WaitingLane, noise};
use crate::domain::Timestamp;
use crate::mail::{Mail, MailError};
use crate::observability::metrics::MailOutcome;
use crate::store::{GiveUpMail, MailClaim, MailSubject, PostponeMail, QueuedMail, StoreResult};

/// Longest delivery; after it the mail is retried. Each step of an SMTP session may take half a minute.
const DELIVERY_TIMEOUT: Duration = Duration::from_mins(4);

/// The lane of all mails.
const LANE: i64 = 0;

impl Sender for Shared {
    type Item = QueuedMail;

    const NAME: &'static str = "mails";

    /// A server that stops tries new mails once and leaves retries for its next start.
    const DRAINS: bool = true;

    async fn release(&self, now: Timestamp) -> StoreResult<usize> {
        self.parts.store.release_mails(now).await
    }

    async fn waiting(&self) -> StoreResult<Vec<WaitingLane>> {
        let due_at = self.parts.store.find_next_mail().await?;
        // A claim also closes mails that have expired.
        Ok(vec![WaitingLane {
            id: LANE,
            due_at,
            is_always_claimed: true,
        }])
    }

    fn max_concurrent(&self) -> usize {
        self.sender().transport.max_concurrent()
    }

    async fn claim(&self, _lane: i64, claim: MailClaim) -> StoreResult<Claimed<QueuedMail>> {
        let claimed = self.parts.store.claim_mails(claim).await?;
        for subject in &claimed.expired {
            let about = about(*subject);
            log::warn!("{about}: a mail expired before it was delivered");
            self.parts.metrics.count_mail(MailOutcome::Expired);
        }
        Ok(Claimed {
            items: claimed.mails,
            has_erased: !claimed.expired.is_empty(),
        })
    }

    fn is_retry(mail: &QueuedMail) -> bool {
        mail.tries > 1
    }

    /// Composes a mail at once, so that the inbox keeps the order, and delivers it.
    fn deliver(
        self: Arc<Self>,
        _lane: i64,
        queued: QueuedMail,
    ) -> impl Future<Output = Reached> + Send {
        let mail = self.compose(&queued);
        if let (Ok(mail), Some(inbox)) = (&mail, &self.parts.inbox) {
            inbox.add(mail);
        }
        async move {
            let outcome = match mail {
                Ok(mail) => transfer(&self, mail).await,
                Err(error) => Err(error),
            };
            let is_reached = !matches!(outcome, Err(MailError::Unreachable { .. }));
            settle(&self, &queued, outcome).await;
            if is_reached {
                Reached::Yes
            } else {
                Reached::No
            }
        }
    }

    async fn close_idle(&self) {
        let transport = self.sender().transport;
        tokio::task::spawn_blocking(move || transport.close_idle());
    }

    async fn purge(&self) {
        self.parts.store.purge_deleted_mails().await;
    }

    fn started(self: &Arc<Self>) {
        probe(self);
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

/// Updates the queue.
async fn record(shared: &Shared, update: QueueUpdate) {
    let store = &shared.parts.store;
    worker::record(&shared.signals, || async {
        match update.clone() {
            QueueUpdate::Remove(id) => store.delete_mail(id).await,
            QueueUpdate::Postpone(request) => store.postpone_mail(request).await,
            QueueUpdate::GiveUp(request) => store.give_up_mail(request).await,
        }
    })
    .await;
}
