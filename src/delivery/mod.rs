//! The outbox: mails leave by way of a queue in the store.
//!
//! An operation asks for a [`NewMail`] ([`Outbox::new_mail`]) and gives it to the store operation that causes the mail, so
//! that both are stored or neither; then it calls [`Outbox::wake`]. A worker ([`worker`]) takes mails off the queue and
//! hands them to a transport until each is delivered, given up or of no use any more, whatever happens to the mail server
//! or to this process in the meantime. What a mail says lies in the queue sealed under a key of its own.

mod backoff;
mod worker;

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::clock::SharedClock;
use crate::crypto::random;
use crate::crypto::sealing::{self, KEY_BYTES};
use crate::domain::{EmailAddress, Timestamp};
use crate::mail::{Composer, Inbox, Mail, MailContent, MailError, Transport};
use crate::observability::metrics::Metrics;
use crate::store::{NewMail, QueuedMail, SharedStore};

/// What an outbox is put together from.
pub struct OutboxParts {
    /// The queue.
    pub store: SharedStore,
    /// Tells when mails are due.
    pub clock: SharedClock,
    /// Shows them to developers, where there is one.
    pub inbox: Option<Inbox>,
    /// Counts what becomes of them.
    pub metrics: Arc<Metrics>,
    /// Seals what they say.
    pub key: [u8; KEY_BYTES],
}

/// How mails are made and carried on.
#[derive(Clone)]
pub struct MailWay {
    /// Makes mails of what they are to say.
    pub composer: Arc<Composer>,
    /// Carries them on.
    pub transport: Arc<dyn Transport>,
}

/// The way out for mails. Nothing is delivered before [`Outbox::start`].
pub struct Outbox {
    shared: Arc<Shared>,
    worker: Mutex<Option<JoinHandle<()>>>,
}

/// What the callers and the worker share.
struct Shared {
    parts: OutboxParts,
    way: RwLock<MailWay>,
    /// Told when there may be something to do.
    wake: Notify,
    /// True once the server stops: what is due is still delivered, then the worker ends.
    stopping: watch::Sender<bool>,
}

impl Outbox {
    /// The name of the key in the store.
    pub const SECRET: &str = "mail_key";

    /// An outbox that does not deliver yet.
    pub fn new(parts: OutboxParts, way: MailWay) -> Self {
        Self {
            shared: Arc::new(Shared {
                parts,
                way: RwLock::new(way),
                wake: Notify::new(),
                stopping: watch::Sender::new(false),
            }),
            worker: Mutex::default(),
        }
    }

    /// Makes the mails, for the languages that it has.
    pub fn composer(&self) -> Arc<Composer> {
        self.shared.way().composer
    }

    /// Makes and carries mails in another way from now on. Those that are on their way end as they began.
    pub fn change(&self, way: MailWay) {
        *self
            .shared
            .way
            .write()
            .unwrap_or_else(PoisonError::into_inner) = way;
        worker::probe(&self.shared);
    }

    /// A mail for the operation that causes it.
    pub fn new_mail(&self, content: &MailContent, expires_at: Timestamp) -> NewMail {
        let message_id = random::bytes();
        NewMail {
            message_id,
            content: self.shared.seal(content, message_id),
            expires_at,
        }
    }

    /// Says that mails were put into the queue. Where there is an inbox, they are in it when this returns.
    pub async fn wake(&self) {
        self.shared.wake.notify_one();
        let Some(inbox) = &self.shared.parts.inbox else {
            return;
        };
        match self.shared.parts.store.list_mails().await {
            // Delivered ones are there already: they go into the inbox before they leave the queue.
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

    /// Begins to deliver. To be called once, by the one server that holds the store.
    pub fn start(&self) {
        let worker = tokio::spawn(worker::run(Arc::clone(&self.shared)));
        *self.worker() = Some(worker);
    }

    /// Delivers what is due, for at most `patience`. What is left stays in the queue for the next start.
    pub async fn stop(&self, patience: Duration) {
        self.shared.stopping.send_replace(true);
        let Some(worker) = self.worker().take() else {
            return;
        };
        let abort = worker.abort_handle();
        if tokio::time::timeout(patience, worker).await.is_err() {
            abort.abort();
            log::warn!(
                "a delivery had not ended after {patience:?}; it is tried again at the next start"
            );
        }
        match self.shared.parts.store.find_mail_queue().await {
            Ok(queue) if queue.waiting > 0 => log::info!(
                "{} mails wait in the database for the next start",
                queue.waiting
            ),
            Ok(_) => {}
            Err(e) => log::warn!("the queue of mails cannot be looked into: {e}"),
        }
    }

    fn worker(&self) -> std::sync::MutexGuard<'_, Option<JoinHandle<()>>> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn way(&self) -> MailWay {
        self.way
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn seal(&self, content: &MailContent, message_id: [u8; 16]) -> Vec<u8> {
        let plaintext =
            serde_json::to_vec(content).expect("what a mail says can be written as JSON");
        sealing::seal(&self.parts.key, &message_id, &plaintext, random::bytes())
    }

    fn unseal(&self, queued: &QueuedMail) -> Result<MailContent, MailError> {
        let plaintext = sealing::open(&self.parts.key, &queued.message_id, &queued.content)
            .ok_or_else(|| MailError::Permanent {
                message: "it was sealed under another key than that of this database".to_owned(),
                source: None,
            })?;
        // No final failure: the version that understands it may be back before the mail expires.
        serde_json::from_slice(&plaintext).map_err(|_| MailError::Compose {
            message: "another version of the program has queued it, which knows more kinds of mail"
                .to_owned(),
            source: None,
        })
    }

    fn compose(&self, queued: &QueuedMail) -> Result<Mail, MailError> {
        let left = queued.expires_at.since(self.parts.clock.now());
        let content = self.unseal(queued)?.with_time_left(left);
        let to = EmailAddress::parse(&queued.email).map_err(|_| MailError::Address {
            message: "the stored address is none".to_owned(),
            source: None,
        })?;
        self.way().composer.compose(
            &content,
            &to,
            &queued.language,
            queued.created_at,
            queued.message_id,
        )
    }
}
