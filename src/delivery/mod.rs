//! Delivery of mails and of events for webhooks, from one queue in the store (a transactional outbox).
//!
//! The [`worker`] is the same for both; [`mails`] and [`events`] know what is delivered, and how. For a
//! mail, an operation creates a [`NewMail`] ([`Outbox::new_mail`]) and passes it to the store operation that causes
//! it, so that both are stored or neither; then it calls [`Outbox::wake`]. Events are enqueued by the store
//! itself, which notifies [`EventDelivery`]. A worker claims deliveries until each is delivered, given up or
//! expired, whatever happens to the target or this process. Queued content is sealed under keys of its own.

mod backoff;
mod events;
mod mails;
mod slots;
mod worker;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::clock::SharedClock;
use crate::crypto::random;
use crate::crypto::sealing::{self, KEY_BYTES};
use crate::domain::{EmailAddress, Timestamp};
use crate::mail::{Composer, Inbox, Mail, MailContent, MailError, Transport};
use crate::observability::metrics::Metrics;
use crate::store::{NewMail, QueuedMail, SharedStore, StoreResult};
pub use events::{EventDelivery, EventParts, message_id};
use worker::Signals;

/// How long a notice is retried before it expires.
pub const NOTICE_LIFETIME: Duration = Duration::from_hours(72);

/// The parts of an [`Outbox`].
pub struct OutboxParts {
    /// The queue.
    pub store: SharedStore,
    /// Decides when mails are due.
    pub clock: SharedClock,
    /// The development inbox, if any.
    pub inbox: Option<Inbox>,
    /// Counts outcomes.
    pub metrics: Arc<Metrics>,
    /// Seals queued content.
    pub key: [u8; KEY_BYTES],
}

/// Composes and delivers mails.
#[derive(Clone)]
pub struct MailSender {
    /// Composes them.
    pub composer: Arc<Composer>,
    /// Delivers them.
    pub transport: Arc<dyn Transport>,
}

/// The queue of outgoing mails and its worker. Nothing is delivered before [`Outbox::start`].
pub struct Outbox {
    shared: Arc<Shared>,
    worker: Mutex<Option<JoinHandle<()>>>,
}

/// The state that callers and worker share.
struct Shared {
    parts: OutboxParts,
    sender: RwLock<MailSender>,
    /// What the operator has to fix before mails are delivered.
    problem: Mutex<Option<&'static str>>,
    signals: Arc<Signals>,
}

impl Outbox {
    /// The name of the key in the store.
    pub const SECRET: &str = "mail_key";

    /// An outbox that does not deliver yet.
    pub fn new(parts: OutboxParts, sender: MailSender) -> Self {
        Self {
            shared: Arc::new(Shared {
                parts,
                sender: RwLock::new(sender),
                problem: Mutex::default(),
                signals: Arc::new(Signals::new(Arc::new(Notify::new()))),
            }),
            worker: Mutex::default(),
        }
    }

    /// The composer, which knows the languages.
    pub fn composer(&self) -> Arc<Composer> {
        self.shared.sender().composer
    }

    /// Replaces composer and transport; deliveries in flight keep the previous ones.
    pub fn reload(&self, sender: MailSender) {
        *self
            .shared
            .sender
            .write()
            .unwrap_or_else(PoisonError::into_inner) = sender;
        self.shared.set_problem(None);
        mails::probe(&self.shared);
    }

    /// What the operator has to fix before mails are delivered, as the last outcomes show it.
    ///
    /// The text has no replies, addresses or host names and is fit for anyone.
    pub fn problem(&self) -> Option<&'static str> {
        *self.shared.problem()
    }

    /// Creates a mail for the operation that causes it.
    pub fn new_mail(&self, content: &MailContent, expires_at: Timestamp) -> NewMail {
        let message_id = random::bytes();
        NewMail {
            message_id,
            kind: content.kind(),
            content: self.shared.seal(content, message_id),
            expires_at,
        }
    }

    /// Creates a notice for each member of the staff.
    ///
    /// # Errors
    /// Only store errors.
    pub async fn staff_notices(&self, content: &MailContent) -> StoreResult<Vec<NewMail>> {
        let OutboxParts { store, clock, .. } = &self.shared.parts;
        let count = store.count_staff_mailboxes().await?;
        let expires_at = clock.now().plus(NOTICE_LIFETIME);
        let notices = (0..count).map(|_| self.new_mail(content, expires_at));
        Ok(notices.collect())
    }

    /// Notifies the worker of new mails. They are in the development inbox, if any, when this returns.
    pub async fn wake(&self) {
        self.shared.signals.wake.notify_one();
        let Some(inbox) = &self.shared.parts.inbox else {
            return;
        };
        match self.shared.parts.store.list_mails().await {
            // Delivered mails are in the inbox already: they are added before they leave the queue.
            Ok(mails) => {
                for mail in mails
                    .iter()
                    .filter_map(|mail| self.shared.compose(mail).ok())
                {
                    inbox.add(&mail);
                }
            }
            Err(e) => log::warn!("the inbox may lack a mail: {e}"),
        }
    }

    /// Starts the worker. Call it once, in the server that holds the store.
    pub fn start(&self) {
        let clock = self.shared.parts.clock.clone();
        let signals = Arc::clone(&self.shared.signals);
        let worker = tokio::spawn(worker::run(Arc::clone(&self.shared), clock, signals));
        *self.worker() = Some(worker);
    }

    /// Delivers due mails for at most `timeout`; the rest stays in the queue for the next start.
    pub async fn stop(&self, timeout: Duration) {
        self.shared.signals.stopping.send_replace(true);
        let Some(worker) = self.worker().take() else {
            return;
        };
        worker::finish(worker, timeout).await;
        match self.shared.parts.store.find_mail_queue().await {
            Ok(queue) if queue.waiting > 0 => log::info!(
                "{} mails wait in the queue for the next start",
                queue.waiting
            ),
            Ok(_) => {}
            Err(e) => log::warn!("the mail queue cannot be read: {e}"),
        }
    }

    fn worker(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn problem(&self) -> MutexGuard<'_, Option<&'static str>> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_problem(&self, problem: Option<&'static str>) {
        *self.problem() = problem;
    }

    fn sender(&self) -> MailSender {
        self.sender
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn seal(&self, content: &MailContent, message_id: [u8; 16]) -> Vec<u8> {
        let plaintext = serde_json::to_vec(content).expect("mail content can be written as JSON");
        sealing::seal(&self.parts.key, &message_id, &plaintext, random::bytes())
    }

    fn unseal(&self, queued: &QueuedMail) -> Result<MailContent, MailError> {
        let plaintext = sealing::open(&self.parts.key, &queued.message_id, &queued.content)
            .ok_or_else(|| MailError::Permanent {
                message: "it is sealed under the key of another database".to_owned(),
                source: None,
            })?;
        // Not final: the version that understands it may return before the mail expires.
        serde_json::from_slice(&plaintext).map_err(|_| MailError::Compose {
            message: "it was queued by another version with more kinds of mail".to_owned(),
            source: None,
        })
    }

    fn compose(&self, queued: &QueuedMail) -> Result<Mail, MailError> {
        let left = queued.expires_at.since(self.parts.clock.now());
        let content = self.unseal(queued)?.with_time_left(left);
        let to = EmailAddress::parse(&queued.email).map_err(|_| MailError::Address {
            message: "the stored address is invalid".to_owned(),
            source: None,
        })?;
        self.sender().composer.compose(
            &content,
            &to,
            &queued.language,
            queued.created_at,
            queued.message_id,
        )
    }
}
