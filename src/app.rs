//! What all operations share: the store, the mailer, the keys, the clock. The only shared state of the program.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::Semaphore;

use crate::accounts::{self, AccountError, Codes};
use crate::clock::SharedClock;
use crate::config::{Config, MailTransportKind, RateLimitsConfig, SHORTEST_KEY_SECRET};
use crate::crypto::keyring::{KeyRing, KeySealing};
use crate::crypto::random;
use crate::crypto::sealing::KEY_BYTES;
use crate::crypto::tokens::{TokenError, TokenOptions, generate_key};
use crate::delivery::{MailWay, Outbox, OutboxParts};
use crate::domain::{EmailAddress, OtpCode, Timestamp};
use crate::limits::{Allowance, NetworkLimits};
use crate::mail::{
    Composer, ComposerOptions, FileMailTransport, Inbox, SendmailMailTransport, SmtpMailTransport,
    SmtpOptions, StdoutMailTransport, Transport,
};
use crate::observability::metrics::Metrics;
use crate::observability::readiness::Readiness;
use crate::observability::request_id;
use crate::passwords::{BreachedList, PasswordOptions, Passwords};
use crate::photos::{PhotoOptions, Photos};
use crate::store::sqlite::{SqliteOptions, SqliteStore};
use crate::store::{MailLimits, RequestContext, SharedStore};

/// Why the program could not be put together. The text is for the person at the terminal.
#[derive(Debug)]
pub struct StartError(pub String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

fn start_error(context: &str) -> impl Fn(&dyn fmt::Display) -> StartError + '_ {
    move |error| StartError(format!("{context}: {error}"))
}

/// What all operations share. It does not change; other settings make another one, of the same store and queues.
#[derive(Clone)]
pub struct App {
    /// The settings.
    pub config: Config,
    /// The database.
    pub store: SharedStore,
    /// The clock.
    pub clock: SharedClock,
    /// Hashing and the rules for passwords.
    pub passwords: Arc<Passwords>,
    /// The keys that sign and check tokens.
    pub keys: Arc<KeyRing>,
    /// Hashes one-time passwords.
    pub codes: Arc<Codes>,
    /// Counts of what was answered.
    pub metrics: Arc<Metrics>,
    /// How often one network may do what an attacker does often.
    pub limits: Arc<NetworkLimits>,
    /// How long after its first use a refresh token may be shown again.
    pub reuse_grace: Duration,
    /// The address under which clients reach the server, without a trailing slash.
    pub public_url: Arc<str>,
    /// The files of photos.
    pub photos: Arc<Photos>,
    /// Keeps the memory and time that photos take within bounds: one of these is needed to decode one.
    pub photo_turns: Arc<Semaphore>,
    /// The mails of late, for tests; only in `--dev`.
    pub inbox: Option<Inbox>,
    /// The way out for mails.
    pub outbox: Arc<Outbox>,
    /// Attempts to write to the database.
    pub readiness: Arc<Readiness>,
    /// Who works with the accounts beside the API, for the audit log: the user of the machine who gave the command.
    pub operator: String,
    // The folder of photos whose database is in memory: it goes when the program ends.
    temporary: Option<Arc<TempDir>>,
}

impl App {
    /// Opens the database and prepares everything that the operations need.
    ///
    /// `port` is the one that the server listens on, for the public address where the settings name none.
    ///
    /// # Errors
    /// When the database, a key or the mail settings are unusable; the text says which and what to do.
    pub async fn open(config: Config, clock: SharedClock, port: u16) -> Result<Self, StartError> {
        let public_url = config.public_url(port);
        // Before the database: with settings that are wrong none is made, and none is migrated.
        let mail_way = open_mail_way(&config, &public_url)?;
        let sealing = open_sealing(&config)?;
        let store = open_store(&config)?;
        let codes = open_codes(&config, &store, &sealing).await?;
        let mail_key = find_mail_key(&store, &sealing).await?;
        let issuer = config.issuer(port);
        let keys = open_keys(&config, &store, sealing, issuer, clock.now()).await?;
        let passwords = start_passwords(&config)?;
        let metrics = Arc::new(Metrics::new(clock.now().unix_seconds()));
        let inbox = config.dev.then(Inbox::default);
        let parts = OutboxParts {
            store: store.clone(),
            clock: clock.clone(),
            inbox: inbox.clone(),
            metrics: metrics.clone(),
            key: mail_key,
        };
        let outbox = Outbox::new(parts, mail_way);
        let (media_dir, temporary) = if let Some(dir) = config.media_dir() {
            (dir, None)
        } else {
            let dir = tempfile::tempdir()
                .map_err(|e| start_error("cannot make a folder for photos")(&e))?;
            (dir.path().to_path_buf(), Some(Arc::new(dir)))
        };
        let photos = open_photos(&config, &media_dir)?;
        Ok(Self {
            metrics,
            limits: Arc::new(NetworkLimits::new(allowance(&config.rate_limits))),
            photo_turns: Arc::new(Semaphore::new(config.hash_threads())),
            photos: Arc::new(photos),
            temporary,
            reuse_grace: Duration::from_secs(config.tokens.reuse_grace_seconds.into()),
            config,
            store,
            clock,
            passwords: Arc::new(passwords),
            keys: Arc::new(keys),
            codes: Arc::new(codes),
            public_url: public_url.into(),
            inbox,
            outbox: Arc::new(outbox),
            readiness: Arc::default(),
            operator: "program".into(),
        })
    }

    /// The same application under other settings: what they are about is made anew, the rest is shared with this one. Those
    /// that concern the database and the folder of photos are not looked at. How mails are made and carried is given
    /// beside it, because the outbox is shared: it takes it over by [`Outbox::change`].
    ///
    /// # Errors
    /// As [`App::open`]. Nothing has changed then.
    pub async fn with_settings(
        &self,
        config: Config,
        port: u16,
    ) -> Result<(Self, MailWay), StartError> {
        let public_url = config.public_url(port);
        let way = open_mail_way(&config, &public_url)?;
        let mut app = self.clone();
        let sealing = open_sealing(&config)?;
        app.codes = Arc::new(open_codes(&config, &self.store, &sealing).await?);
        let issuer = config.issuer(port);
        let keys = open_keys(&config, &self.store, sealing, issuer, self.clock.now()).await?;
        app.keys = Arc::new(keys);
        // Threads and counts are not thrown away for nothing.
        if config.passwords != self.config.passwords {
            app.passwords = Arc::new(start_passwords(&config)?);
        }
        if config.rate_limits != self.config.rate_limits {
            app.limits = Arc::new(NetworkLimits::new(allowance(&config.rate_limits)));
        }
        if config.media != self.config.media {
            let dir = self.temporary.as_ref().map(|dir| dir.path().to_path_buf());
            if let Some(dir) = config.media_dir().or(dir) {
                app.photos = Arc::new(open_photos(&config, &dir)?);
            }
        }
        app.reuse_grace = Duration::from_secs(config.tokens.reuse_grace_seconds.into());
        if *app.public_url != *public_url {
            app.public_url = public_url.into();
        }
        app.config = config;
        Ok((app, way))
    }
}

/// The application of the moment: what every request takes up at its beginning.
pub struct CurrentApp(RwLock<SharedApp>);

impl CurrentApp {
    /// Begins with this one.
    pub fn new(app: SharedApp) -> Self {
        Self(RwLock::new(app))
    }

    /// The application as it is now.
    pub fn get(&self) -> SharedApp {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another one in its place, for requests that come from now on.
    pub fn set(&self, app: SharedApp) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = app;
    }
}

async fn open_codes(
    config: &Config,
    store: &SharedStore,
    sealing: &KeySealing,
) -> Result<Codes, StartError> {
    let limits = MailLimits {
        pause: Duration::from_secs(config.otp.resend_seconds.into()),
        per_hour: config.otp.mails_per_hour,
    };
    let key = find_secret(store, sealing, Codes::SECRET).await?;
    let life = Duration::from_secs(60 * u64::from(config.otp.minutes));
    Ok(Codes::new(key, life, limits).with_fixed(fixed_otps(config)?))
}

fn start_passwords(config: &Config) -> Result<Passwords, StartError> {
    Ok(Passwords::start(PasswordOptions {
        cost: config.passwords.bcrypt_cost,
        threads: config.hash_threads(),
        queue: config.passwords.hash_queue as usize,
        min_length: config.passwords.min_length as usize,
        breached: open_breached_list(config)?,
    }))
}

fn open_photos(config: &Config, media_dir: &Path) -> Result<Photos, StartError> {
    Photos::open(PhotoOptions {
        dir: media_dir.join("photos"),
        max_bytes: config.media.max_photo_mib as usize * 1024 * 1024,
        max_pixels: u64::from(config.media.max_megapixels) * 1_000_000,
        max_side: config.media.max_side_pixels,
    })
    .map_err(|e| start_error("[media] dir")(&e))
}

fn open_breached_list(config: &Config) -> Result<Option<BreachedList>, StartError> {
    let path = &config.passwords.breached_list;
    if path.is_empty() {
        return Ok(None);
    }
    BreachedList::open(Path::new(path))
        .map(Some)
        .map_err(|e| start_error("[passwords] breached_list")(&e))
}

/// What one network may do, if that is limited.
fn allowance(config: &RateLimitsConfig) -> Option<Allowance> {
    config.enabled.then_some(Allowance {
        failed_sign_ins: config.failed_sign_ins,
        sign_ups: config.sign_ups,
        otp_tries: config.otp_tries,
        resets: config.resets,
        resends: config.resends,
    })
}

/// Runs a task that goes on when the request that began it is given up.
///
/// # Errors
/// When the task panicked.
pub async fn detached<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> Result<T, AccountError> {
    tokio::spawn(request_id::carried(task))
        .await
        .map_err(|e| AccountError::Internal(format!("a task failed: {e}")))
}

/// The codes that are the same every time, by address.
fn fixed_otps(config: &Config) -> Result<HashMap<String, OtpCode>, StartError> {
    let fixed = &config.development.fixed_otp;
    fixed
        .iter()
        .map(|(address, otp)| {
            let address = EmailAddress::parse(address)
                .map_err(|_| StartError(format!("[dev] fixed_otp: {address} is no address")))?;
            let otp = OtpCode::parse(otp)
                .ok_or_else(|| StartError("[dev] fixed_otp: a code has six digits".into()))?;
            Ok((address.key().to_owned(), otp))
        })
        .collect()
}

/// Opens the store that the settings name. Another engine is chosen here.
fn open_store(config: &Config) -> Result<SharedStore, StartError> {
    let options = SqliteOptions {
        path: config.database.path.clone(),
        busy_timeout: Duration::from_millis(config.database.busy_timeout_ms.into()),
        read_connections: u32::try_from(config.read_connections()).unwrap_or(u32::MAX),
        writes_per_commit: config.database.writes_per_commit as usize,
        cache_mib: config.database.cache_mib,
        durable: !config.development.ephemeral,
    };
    SqliteStore::open(&options)
        .map(SharedStore::from)
        .map_err(|e| StartError(e.to_string()))
}

/// How secrets rest in the database, as the settings say.
fn open_sealing(config: &Config) -> Result<KeySealing, StartError> {
    let tokens = &config.tokens;
    let path = &tokens.key_encryption_secret_file;
    if path.is_empty() {
        return Ok(KeySealing::new(tokens.key_encryption_secret.expose()));
    }
    let setting = "[tokens] key_encryption_secret_file";
    let secret = read_secret(setting, path)?;
    if secret.chars().count() < SHORTEST_KEY_SECRET {
        return Err(start_error(setting)(&format!(
            "{path} holds no secret of at least {SHORTEST_KEY_SECRET} characters"
        )));
    }
    Ok(KeySealing::new(&secret))
}

/// A secret from the file that a setting names.
fn read_secret(setting: &str, path: &str) -> Result<String, StartError> {
    let text =
        fs::read_to_string(path).map_err(|e| start_error(setting)(&format!("{path}: {e}")))?;
    // An editor ends the file with a line break, which is no part of the secret.
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// A secret of the database, made if there is none yet.
async fn find_secret(
    store: &SharedStore,
    sealing: &KeySealing,
    name: &str,
) -> Result<Vec<u8>, StartError> {
    let fresh = sealing.seal_secret(name, random::bytes::<KEY_BYTES>().to_vec());
    let secret = store
        .find_or_create_secret(name, fresh)
        .await
        .map_err(|e| start_error("cannot read the database")(&e))?;
    sealing
        .open_secret(name, secret)
        .map_err(|e| StartError(e.to_string()))
}

/// The keys of the store, the first of which is made here. What is not encrypted yet and is to be is encrypted.
async fn open_keys(
    config: &Config,
    store: &SharedStore,
    sealing: KeySealing,
    issuer: String,
    now: Timestamp,
) -> Result<KeyRing, StartError> {
    let failed = start_error("cannot prepare the signing keys");
    let mut keys = store.list_signing_keys().await.map_err(|e| failed(&e))?;
    if keys.is_empty() {
        let key = generate_key(random::bytes(), now).map_err(|e| failed(&e))?;
        keys = store
            .create_first_signing_key(sealing.seal_key(key))
            .await
            .map_err(|e| failed(&e))?;
    }
    if sealing.is_on() {
        let secrets = store.list_secrets().await.map_err(|e| failed(&e))?;
        let are_sealed = keys.iter().all(|key| key.is_sealed)
            && secrets.iter().all(|(_, secret)| secret.is_sealed);
        if !are_sealed {
            let context = RequestContext {
                operator: "program".into(),
                ..RequestContext::default()
            };
            accounts::reseal(store.as_ref(), &sealing, &sealing, context, now)
                .await
                .map_err(|e| StartError(e.to_string()))?;
            keys = store.list_signing_keys().await.map_err(|e| failed(&e))?;
        }
    }
    let options = TokenOptions {
        issuer,
        audience: Some(config.tokens.audience.clone()).filter(|audience| !audience.is_empty()),
        access_life: Duration::from_secs(60 * u64::from(config.tokens.access_minutes)),
        refresh_life: Duration::from_secs(86_400 * u64::from(config.tokens.refresh_days)),
    };
    KeyRing::new(options, sealing, keys, now).map_err(|e| match e {
        // What is encrypted and cannot be read has said what to do.
        TokenError::Failed(cause) => StartError(cause),
        TokenError::Invalid => failed(&e),
    })
}

fn open_mail_way(config: &Config, public_url: &str) -> Result<MailWay, StartError> {
    Ok(MailWay {
        composer: Arc::new(open_composer(config, public_url)?),
        transport: Arc::from(open_transport(config)?),
    })
}

/// What puts mails into words, in the languages that there are.
///
/// # Errors
/// When a setting or a template is unusable; the text says which and what to do.
pub fn open_composer(config: &Config, public_url: &str) -> Result<Composer, StartError> {
    let options = ComposerOptions {
        from: &config.mail.from,
        reply_to: Some(config.mail.reply_to.as_str()).filter(|mailbox| !mailbox.is_empty()),
        public_url,
        default_language: &config.mail.language,
        templates_dir: Some(Path::new(&config.mail.templates_dir))
            .filter(|dir| !dir.as_os_str().is_empty()),
    };
    Composer::new(&options).map_err(|e| start_error("[mail]")(&e))
}

/// Makes what carries mails on, as the settings say; nothing is connected yet.
///
/// # Errors
/// When a setting is unusable; the text says which and what to do.
pub fn open_transport(config: &Config) -> Result<Box<dyn Transport>, StartError> {
    let failed = start_error("[mail]");
    Ok(match config.mail_transport() {
        MailTransportKind::Smtp => {
            let options = SmtpOptions {
                url: config.mail.smtp_url.expose(),
                login: smtp_login(config)?,
                ca_file: Some(&config.mail.smtp_ca_file)
                    .filter(|path| !path.is_empty())
                    .map(PathBuf::from),
            };
            Box::new(SmtpMailTransport::new(&options).map_err(|e| failed(&e))?)
        }
        MailTransportKind::Sendmail => Box::new(match config.mail.sendmail_program.as_str() {
            "" => SendmailMailTransport::default(),
            program => SendmailMailTransport::new(program),
        }),
        MailTransportKind::File => {
            Box::new(FileMailTransport::new(&config.mail.dir).map_err(|e| failed(&e))?)
        }
        MailTransportKind::Stdout => Box::new(StdoutMailTransport::default()),
    })
}

/// User and password for the mail server, where they are not in its URL.
fn smtp_login(config: &Config) -> Result<Option<(String, String)>, StartError> {
    let mail = &config.mail;
    if mail.smtp_user.is_empty() {
        return Ok(None);
    }
    let password = if mail.smtp_password_file.is_empty() {
        mail.smtp_password.expose().clone()
    } else {
        read_secret("[mail] smtp_password_file", &mail.smtp_password_file)?
    };
    Ok(Some((mail.smtp_user.clone(), password)))
}

async fn find_mail_key(
    store: &SharedStore,
    sealing: &KeySealing,
) -> Result<[u8; KEY_BYTES], StartError> {
    find_secret(store, sealing, Outbox::SECRET)
        .await?
        .try_into()
        .map_err(|_| StartError("the database holds a key for mails of the wrong length".into()))
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
