//! The state that all operations share: store, keys, mail queue, clock, settings.
//!
//! [`crate::bootstrap`] builds it from a [`Config`].

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tempfile::TempDir;

use crate::backup::schedule::Backups;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::crypto::factor_key::FactorKey;
use crate::crypto::keyring::KeyRing;
use crate::crypto::webauthn::RelyingParty;
use crate::delivery::{EventDelivery, Outbox};
use crate::limits::{Buffers, NetworkLimits};
use crate::links::Links;
use crate::mail::Inbox;
use crate::observability::metrics::Metrics;
use crate::observability::readiness::Readiness;
use crate::otp_codes::OtpCodes;
use crate::passwords::Passwords;
use crate::photos::Photos;
use crate::providers::Providers;
use crate::store::SharedStore;
use crate::templates::PageTemplates;
use crate::webhooks::{EventBodies, ReceivedEvents, WebhookSender};

/// The state that all operations share.
///
/// It is immutable. A reload builds another one on top of the same store, queues and metrics.
#[derive(Clone)]
pub struct App {
    /// The settings.
    pub config: Config,
    /// The database.
    pub store: SharedStore,
    /// The clock.
    pub clock: SharedClock,
    /// Hashes passwords and checks the password rules.
    pub passwords: Arc<Passwords>,
    /// The keys that sign and verify tokens.
    pub keys: Arc<KeyRing>,
    /// Makes and hashes one-time passwords.
    pub codes: Arc<OtpCodes>,
    /// Encrypts what belongs to second factors.
    pub factor_key: FactorKey,
    /// Composes and encrypts the events of webhooks, and encrypts their secrets.
    pub webhooks: EventBodies,
    /// The site that passkeys are made for.
    pub relying_party: Arc<RelyingParty>,
    /// The external identity providers.
    pub providers: Arc<Providers>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Rate limits per client network.
    pub limits: Arc<NetworkLimits>,
    /// The memory that request bodies and unsent answers take.
    pub buffers: Arc<Buffers>,
    /// How long after its first use a refresh token is accepted again.
    pub reuse_grace: Duration,
    /// The public URL of the server, without a trailing slash.
    pub public_url: Arc<str>,
    /// Builds the links in mails.
    pub links: Arc<Links>,
    /// The templates of the pages, and the sentences of all languages.
    pub pages: Arc<PageTemplates>,
    /// The photo files.
    pub photos: Arc<Photos>,
    /// The recent mails, with `--dev` only.
    pub inbox: Option<Inbox>,
    /// What the receiver of webhooks got, with `--dev` only.
    pub received: Option<ReceivedEvents>,
    /// The mail queue.
    pub outbox: Arc<Outbox>,
    /// Delivers the events of webhooks.
    pub events: Arc<EventDelivery>,
    /// Sends webhooks, and checks the URLs of receivers.
    pub webhook_sender: WebhookSender,
    /// The backups, where a folder for them is configured.
    pub backups: Option<Arc<Backups>>,
    /// Probes whether the database is writable.
    pub readiness: Arc<Readiness>,
    /// Who runs a command on this machine, for the audit log.
    pub operator: String,
    /// The photo folder of an in-memory database; removed with the last reference.
    pub(crate) temporary_media: Option<Arc<TempDir>>,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// The application as handlers hold it.
pub type SharedApp = Arc<App>;

/// The application that new requests use; a reload replaces it.
pub struct CurrentApp(RwLock<SharedApp>);

impl CurrentApp {
    /// Starts with this application.
    pub fn new(app: SharedApp) -> Self {
        Self(RwLock::new(app))
    }

    /// The current application.
    pub fn get(&self) -> SharedApp {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the application for new requests.
    pub fn set(&self, app: SharedApp) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = app;
    }
}
