//! Builds an [`App`] from a [`Config`]: opens the database, keys, password hashing and mail.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::accounts::{self, AccountError, FileEndpoint, RegisteredClient};
use crate::app::App;
use crate::backup::schedule::{Backups, Schedule};
use crate::clock::SharedClock;
use crate::config::{
    Config, FileClient, FileProvider, FileWebhook, IpNetwork, MIN_KEY_SECRET_CHARS,
    MailTransportKind, RateLimitsConfig,
};
use crate::crypto::factor_key::FactorKey;
use crate::crypto::keyring::{KeyRing, KeySealing};
use crate::crypto::random;
use crate::crypto::sealing::KEY_BYTES;
use crate::crypto::tokens::{AssertionKey, TokenError, TokenOptions};
use crate::crypto::webauthn::RelyingParty;
use crate::delivery::{EventDelivery, EventParts, MailSender, Outbox, OutboxParts};
use crate::domain::{
    EmailAddress, EventSelection, Fields, Input, OtpCode, SigningAlgorithm, Timestamp,
    WebhookPayload,
};
use crate::http::links as link_urls;
use crate::limits::{Allowance, NetworkLimits};
use crate::links::Links;
use crate::mail::{
    Composer, ComposerOptions, FileMailTransport, Inbox, SendmailMailTransport, SmtpMailTransport,
    SmtpOptions, StdoutMailTransport, Transport,
};
use crate::observability::metrics::{Metrics, WriteCounts};
use crate::otp_codes::OtpCodes;
use crate::outbound::tls::client_config;
use crate::outbound::{Client, ClientLimits, ClientOptions, EndpointUrl};
use crate::passwords::{BreachedList, PasswordOptions, Passwords};
use crate::photos::{PhotoOptions, Photos};
use crate::providers::{ClientCredential, Provider, ProviderOptions, ProviderTools, Providers};
use crate::store::moving::OpenedStore;
use crate::store::postgres::{self, PostgresOptions, PostgresStore, PostgresUrl};
use crate::store::sqlite::{self, ServerLock, SqliteOptions, SqliteStore};
use crate::store::{MailLimits, RequestContext, RotateKeys, SchemaState, SharedStore};
use crate::templates::{Branding, PageOptions, PageTemplates};
use crate::webhooks::signature::SigningKeys;
use crate::webhooks::{EventBodies, ReceivedEvents, WebhookSender};

/// A failed start. The message says what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StartError {
    message: String,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StartError {
    /// A failure without a deeper cause.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// A failure of the step named by `context`.
    pub fn caused_by(
        context: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            message: context.into(),
            source: Some(source.into()),
        }
    }

    /// For `map_err`: a failure of the step named by `context`.
    pub fn at<E: Into<Box<dyn Error + Send + Sync>>>(context: &str) -> impl Fn(E) -> Self + '_ {
        move |source| Self::caused_by(context, source)
    }
}

/// Opens the database and everything else that operations need.
///
/// `port` is the port that the server listens on, for the public URL where the settings have none.
///
/// # Errors
/// When the database, a key or the mail settings are unusable.
pub async fn open_app(config: Config, clock: SharedClock, port: u16) -> Result<App, StartError> {
    let public_url = config.public_url(port);
    // Before the database: invalid settings must neither create nor migrate one.
    let mail_sender = open_mail_sender(&config, &public_url)?;
    let webhook_sender = open_webhook_sender(&config)?;
    let pages = open_pages(&config, &mail_sender.composer)?;
    let social = read_social(&config)?;
    let sealing = open_sealing(&config)?;
    let (store, writes) = open_store(&config).await?;
    refuse_moved(&store).await?;
    let links = Arc::new(link_urls(&public_url, &config));
    let codes = open_codes(&config, &store, &sealing, &links).await?;
    let mail_key = find_key(&store, &sealing, Outbox::SECRET).await?;
    let factor_key = FactorKey::new(find_key(&store, &sealing, FactorKey::SECRET).await?);
    let public_url: Arc<str> = public_url.into();
    let webhook_key = find_key(&store, &sealing, EventBodies::SECRET).await?;
    let webhooks = EventBodies::new(webhook_key, Arc::clone(&public_url));
    store.set_event_sealer(Arc::new(webhooks.clone()));
    let relying_party = Arc::new(relying_party(&config, &public_url));
    let issuer = config.issuer(port);
    let keys = open_keys(&config, &store, sealing, (issuer, &public_url), clock.now()).await?;
    let passwords = start_passwords(&config)?;
    let metrics = Arc::new(Metrics::new(clock.now().unix_seconds(), writes));
    let providers = social.open(&clock, &metrics)?;
    let inbox = config.dev.then(Inbox::default);
    let received = config.dev.then(ReceivedEvents::default);
    let parts = OutboxParts {
        store: store.clone(),
        clock: clock.clone(),
        inbox: inbox.clone(),
        metrics: metrics.clone(),
        key: mail_key,
    };
    let outbox = Arc::new(Outbox::new(parts, mail_sender));
    let parts = EventParts {
        store: store.clone(),
        clock: clock.clone(),
        bodies: webhooks.clone(),
        outbox: Arc::clone(&outbox),
    };
    let events = EventDelivery::new(parts, webhook_sender.clone());
    let (media_dir, temporary_media) = if let Some(dir) = config.media_dir() {
        (dir, None)
    } else {
        let dir =
            tempfile::tempdir().map_err(StartError::at("cannot create a folder for photos"))?;
        (dir.path().to_path_buf(), Some(Arc::new(dir)))
    };
    let photos = open_photos(&config, &media_dir)?;
    let backups = Schedule::of(&config)
        .map(|schedule| Arc::new(Backups::new(schedule, clock.clone(), metrics.clone())));
    Ok(App {
        backups,
        metrics,
        limits: Arc::new(NetworkLimits::new(allowance(&config.rate_limits))),
        buffers: Arc::default(),
        pages: Arc::new(pages),
        photos: Arc::new(photos),
        temporary_media,
        reuse_grace: Duration::from_secs(config.tokens.reuse_grace_seconds.into()),
        config,
        store,
        clock,
        passwords: Arc::new(passwords),
        keys: Arc::new(keys),
        codes: Arc::new(codes),
        factor_key,
        webhooks,
        relying_party,
        providers: Arc::new(providers),
        links,
        public_url,
        inbox,
        received,
        outbox,
        events: Arc::new(events),
        webhook_sender,
        readiness: Arc::default(),
        operator: "program".into(),
    })
}

/// Builds the application for changed settings; what they do not concern is shared with `app`.
///
/// Settings of the database and the photo folder are ignored. The mail settings come back beside
/// it, because the mail queue is shared: [`Outbox::reload`] applies them.
///
/// # Errors
/// As [`open_app`]. Nothing has changed then.
pub async fn apply_settings(
    app: &App,
    config: Config,
    port: u16,
) -> Result<(App, MailSender), StartError> {
    let public_url = config.public_url(port);
    let sender = open_mail_sender(&config, &public_url)?;
    let mut changed = app.clone();
    let sealing = open_sealing(&config)?;
    changed.links = Arc::new(link_urls(&public_url, &config));
    changed.relying_party = Arc::new(relying_party(&config, &public_url));
    changed.codes = Arc::new(open_codes(&config, &app.store, &sealing, &changed.links).await?);
    let issuer = config.issuer(port);
    let keys = open_keys(
        &config,
        &app.store,
        sealing,
        (issuer, &public_url),
        app.clock.now(),
    )
    .await?;
    changed.keys = Arc::new(keys);
    // The file with certificates may have changed.
    changed.webhook_sender = open_webhook_sender(&config)?;
    changed.providers = Arc::new(open_providers(&config, &app.clock, &app.metrics)?);
    // Threads and counters are kept unless their own settings change.
    if config.passwords != app.config.passwords {
        changed.passwords = Arc::new(start_passwords(&config)?);
    }
    if config.rate_limits != app.config.rate_limits {
        changed.limits = Arc::new(NetworkLimits::new(allowance(&config.rate_limits)));
    }
    if config.media != app.config.media || config.rate_limits != app.config.rate_limits {
        let dir = app.temporary_media.as_ref();
        let dir = dir.map(|dir| dir.path().to_path_buf());
        if let Some(dir) = config.media_dir().or(dir) {
            changed.photos = Arc::new(open_photos(&config, &dir)?);
        }
    }
    changed.reuse_grace = Duration::from_secs(config.tokens.reuse_grace_seconds.into());
    changed.pages = Arc::new(open_pages(&config, &sender.composer)?);
    if *changed.public_url != *public_url {
        changed.public_url = public_url.into();
        changed.webhooks = app
            .webhooks
            .with_public_url(Arc::clone(&changed.public_url));
        app.store
            .set_event_sealer(Arc::new(changed.webhooks.clone()));
    }
    changed.config = config;
    Ok((changed, sender))
}

/// The site that passkeys are made for.
fn relying_party(config: &Config, public_url: &str) -> RelyingParty {
    RelyingParty {
        id: config.passkey_rp_id(public_url),
        name: config.service_name(),
        origins: config.passkey_origins(public_url),
    }
}

async fn open_codes(
    config: &Config,
    store: &SharedStore,
    sealing: &KeySealing,
    links: &Arc<Links>,
) -> Result<OtpCodes, StartError> {
    let limits = MailLimits {
        pause: Duration::from_secs(config.otp.resend_seconds.into()),
        per_hour: config.otp.mails_per_hour,
    };
    let key = find_secret(store, sealing, OtpCodes::SECRET).await?;
    let lifetime = Duration::from_secs(60 * u64::from(config.otp.minutes));
    Ok(OtpCodes::new(key, lifetime, limits, Arc::clone(links)).with_fixed(fixed_otps(config)?))
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

/// Opens the templates of the pages in all languages.
///
/// # Errors
/// When a template or a picture is unusable.
pub fn open_pages(config: &Config, composer: &Composer) -> Result<PageTemplates, StartError> {
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    let settings = &config.branding;
    let branding = Branding {
        name: config.service_name(),
        accent: text(&settings.accent),
        logo: settings.logo.clone(),
        logo_dark: settings.logo_dark.clone(),
        support_url: text(&settings.support_url),
        terms_url: text(&settings.terms_url),
        privacy_url: text(&settings.privacy_url),
        imprint_url: text(&settings.imprint_url),
    };
    let options = PageOptions {
        templates_dir: config.pages.templates.as_deref(),
        branding: &branding,
    };
    PageTemplates::load(composer.shared_languages(), &options).map_err(StartError::at("[pages]"))
}

fn open_photos(config: &Config, media_dir: &Path) -> Result<Photos, StartError> {
    Photos::open(PhotoOptions {
        dir: media_dir.join("photos"),
        max_bytes: config.media.max_photo_mib as usize * 1024 * 1024,
        max_pixels: u64::from(config.media.max_megapixels) * 1_000_000,
        max_side: config.media.max_side_pixels,
        memory: u64::from(config.media.decode_memory_mib) * 1024 * 1024,
        threads: config.hash_threads(),
        uploads: config
            .rate_limits
            .enabled
            .then_some(config.rate_limits.photo_uploads),
    })
    .map_err(StartError::at("[media] dir"))
}

fn open_breached_list(config: &Config) -> Result<Option<BreachedList>, StartError> {
    let Some(path) = &config.passwords.breached_list else {
        return Ok(None);
    };
    BreachedList::open(path)
        .map(Some)
        .map_err(StartError::at("[passwords] breached_list"))
}

/// The rate limits per network, if they are on.
fn allowance(config: &RateLimitsConfig) -> Option<Allowance> {
    config.enabled.then_some(Allowance {
        failed_sign_ins: config.failed_sign_ins,
        sign_ups: config.sign_ups,
        otp_tries: config.otp_tries,
        resets: config.resets,
        resends: config.resends,
        passkey_challenges: config.passkey_challenges,
        authorization_requests: config.authorization_requests,
        external_sign_ins: config.external_sign_ins,
        client_failures: config.client_failures,
        new_address_mails: config.new_address_mails_an_hour,
        wrong_codes: config.wrong_codes_an_hour,
    })
}

/// The fixed one-time passwords of `[dev]`, by address key.
fn fixed_otps(config: &Config) -> Result<HashMap<String, OtpCode>, StartError> {
    let fixed = &config.development.fixed_otp;
    fixed
        .iter()
        .map(|(address, otp)| {
            let address = EmailAddress::parse(address).map_err(|_| {
                StartError::new(format!("[dev] fixed_otp: {address} is not an address"))
            })?;
            let otp = OtpCode::parse(otp)
                .ok_or_else(|| StartError::new("[dev] fixed_otp: a code has six digits"))?;
            Ok((address.key().to_owned(), otp))
        })
        .collect()
}

/// Opens the store that the settings name, with its counters of writes.
async fn open_store(config: &Config) -> Result<(SharedStore, Arc<WriteCounts>), StartError> {
    if config.is_postgres() {
        let store = open_postgres(config).await?;
        let writes = Arc::clone(store.write_counts());
        return Ok((SharedStore::from(store), writes));
    }
    let store = open_sqlite(config)?;
    let writes = Arc::clone(store.write_counts());
    Ok((SharedStore::from(store), writes))
}

async fn open_postgres(config: &Config) -> Result<PostgresStore, StartError> {
    with_postgres(config, PostgresStore::open).await
}

/// Does something with a PostgreSQL database that may have to be waited for.
async fn with_postgres<T: Send + 'static>(
    config: &Config,
    work: impl FnOnce(PostgresOptions) -> Result<T, String> + Send + 'static,
) -> Result<T, StartError> {
    let options = postgres_options(config)?;
    tokio::task::spawn_blocking(move || work(options))
        .await
        .map_err(StartError::at("cannot open the database"))?
        .map_err(|problem| {
            let database = config.shown_database();
            StartError::new(format!("cannot use the database {database}: {problem}"))
        })
}

fn sqlite_options(config: &Config) -> SqliteOptions {
    SqliteOptions {
        path: config.database.path.clone(),
        busy_timeout: Duration::from_millis(config.database.busy_timeout_ms.into()),
        read_connections: u32::try_from(config.read_connections()).unwrap_or(u32::MAX),
        writes_per_commit: config.database.writes_per_commit as usize,
        cache_mib: config.database.cache_mib,
        durable: !config.development.ephemeral,
    }
}

fn open_sqlite(config: &Config) -> Result<SqliteStore, StartError> {
    SqliteStore::open(&sqlite_options(config)).map_err(StartError::at("cannot open the database"))
}

/// Refuses a database whose accounts have moved: what is written to it would be lost.
async fn refuse_moved(store: &SharedStore) -> Result<(), StartError> {
    let moved = store.find_moved().await;
    match moved.map_err(StartError::at("cannot read the database"))? {
        None => Ok(()),
        Some(target) => Err(StartError::new(format!(
            "the accounts of this database have moved to {target}; start the server with that --db"
        ))),
    }
}

/// The version of the schema that this program knows, on the engine that the settings name.
pub fn schema_version(config: &Config) -> i64 {
    match config.is_postgres() {
        true => postgres::NEWEST_SCHEMA,
        false => sqlite::NEWEST_SCHEMA.into(),
    }
}

/// Creates or migrates the schema of the database as needed. Returns what was found.
///
/// # Errors
/// The text says why; nothing has changed then. A file must not be served meanwhile.
pub async fn migrate_database(config: &Config) -> Result<SchemaState, StartError> {
    if config.is_postgres() {
        return with_postgres(config, PostgresStore::migrate).await;
    }
    let _lock = match config.database_file() {
        Some(file) => Some(ServerLock::acquire(&file).map_err(|e| StartError::new(e.to_string()))?),
        None => None,
    };
    SqliteStore::migrate(&sqlite_options(config))
        .map_err(StartError::at("cannot open the database"))
}

/// Says where the schema of a PostgreSQL database is, without changing anything.
///
/// # Errors
/// The text says why the database cannot be used.
pub async fn examine_schema(config: &Config) -> Result<SchemaState, StartError> {
    with_postgres(config, PostgresStore::examine_schema).await
}

/// Opens the database alone.
///
/// # Errors
/// The text says why it cannot be used.
pub async fn open_database(config: &Config) -> Result<SharedStore, StartError> {
    let (store, _) = open_store(config).await?;
    refuse_moved(&store).await?;
    Ok(store)
}

/// Opens a PostgreSQL database and has it confirm a write. Returns how far its clock is ahead, in
/// milliseconds.
///
/// # Errors
/// The text says why it cannot be used.
pub async fn examine_postgres(config: &Config) -> Result<i64, StartError> {
    let store = SharedStore::from(open_postgres(config).await?);
    store
        .check_writable()
        .await
        .map_err(StartError::at("the database cannot be written"))?;
    Ok(store.clock_offset().unwrap_or_default())
}

/// Opens the two databases of a move; neither may be served meanwhile.
///
/// # Errors
/// The text says which one cannot be used, and why.
pub async fn open_for_move(
    config: &Config,
) -> Result<(OpenedStore, Option<ServerLock>), StartError> {
    let Some(file) = config.database_file() else {
        if !config.is_postgres() {
            return Err(StartError::new("a database in memory cannot be moved"));
        }
        return Ok((OpenedStore::Postgres(open_postgres(config).await?), None));
    };
    let lock = ServerLock::acquire(&file).map_err(|e| StartError::new(e.to_string()))?;
    let photos = config.media_dir().unwrap_or_default().join("photos");
    let store = open_sqlite(config)?;
    Ok((OpenedStore::Sqlite(Box::new(store), photos), Some(lock)))
}

/// How a PostgreSQL database is reached.
fn postgres_options(config: &Config) -> Result<PostgresOptions, StartError> {
    let password = match &config.database.password_file {
        Some(path) => Some(read_secret("[database] password_file", path)?),
        None => None,
    };
    let mut url = PostgresUrl::parse(&config.database.path, password.as_deref())
        .map_err(|problem| StartError::new(format!("[database] path: {problem}")))?;
    if config.dev {
        // What is tried out stays apart from real accounts.
        url.use_schema("accounts_dev");
    }
    let tls = match url.has_tls() {
        true => Some(
            client_config(url.ca_file.as_deref())
                .map_err(StartError::at("[database] path: sslrootcert"))?,
        ),
        false => None,
    };
    Ok(PostgresOptions {
        url,
        tls,
        connections: config.database.connections as usize,
        server_id: random::bytes(),
    })
}

/// How secrets are encrypted in the database, as the settings say.
fn open_sealing(config: &Config) -> Result<KeySealing, StartError> {
    let tokens = &config.tokens;
    let Some(path) = &tokens.key_encryption_secret_file else {
        return Ok(KeySealing::new(tokens.key_encryption_secret.expose()));
    };
    let setting = "[tokens] key_encryption_secret_file";
    let secret = read_secret(setting, path)?;
    if secret.chars().count() < MIN_KEY_SECRET_CHARS {
        return Err(StartError::new(format!(
            "{setting}: {} contains no secret of at least {MIN_KEY_SECRET_CHARS} characters",
            path.display()
        )));
    }
    Ok(KeySealing::new(&secret))
}

/// Reads a secret from the file that a setting names.
///
/// # Errors
/// When the file cannot be read.
pub fn read_secret(setting: &str, path: &Path) -> Result<String, StartError> {
    let text = fs::read_to_string(path)
        .map_err(|e| StartError::caused_by(format!("{setting}: {}", path.display()), e))?;
    // Editors add a byte order mark before the secret, and a line break after it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Reads a secret from the database, creating it if there is none yet.
async fn find_secret(
    store: &SharedStore,
    sealing: &KeySealing,
    name: &str,
) -> Result<Vec<u8>, StartError> {
    let fresh = sealing.seal_secret(name, random::bytes::<KEY_BYTES>().to_vec());
    let secret = store
        .find_or_create_secret(name, fresh)
        .await
        .map_err(StartError::at("cannot read the database"))?;
    sealing
        .open_secret(name, secret)
        .map_err(|e| StartError::new(e.to_string()))
}

/// The algorithm of the first signing key of a database: practically every JOSE library verifies it.
const DEFAULT_ALGORITHM: SigningAlgorithm = SigningAlgorithm::Es256;

/// The program itself as the source of a change.
fn program() -> RequestContext {
    RequestContext {
        operator: "program".into(),
        ..RequestContext::default()
    }
}

/// Opens the signing keys: creates the first one, rotates them to the configured algorithm, and
/// encrypts them if they should be.
async fn open_keys(
    config: &Config,
    store: &SharedStore,
    sealing: KeySealing,
    (issuer, public_url): (String, &str),
    now: Timestamp,
) -> Result<KeyRing, StartError> {
    const CONTEXT: &str = "cannot prepare the signing keys";
    let failed = StartError::at(CONTEXT);
    let mut keys = store.list_signing_keys().await.map_err(&failed)?;
    let algorithm = config.tokens.algorithm;
    if !keys.iter().any(|key| !key.is_for_clients) {
        let key = accounts::create_key(algorithm.unwrap_or(DEFAULT_ALGORITHM), now)
            .await
            .map_err(StartError::at(CONTEXT))?;
        let first = store.create_first_signing_key(sealing.seal_key(key));
        keys = first.await.map_err(&failed)?;
    }
    if let Some(algorithm) = algorithm
        && let Some(current) = keys
            .iter()
            .find(|key| key.retired_at.is_none() && !key.is_for_clients)
        && current.algorithm != algorithm.as_str()
    {
        log::info!(
            "[tokens] algorithm is {algorithm}: rotating the signing keys, {} is retired",
            current.algorithm
        );
        let key = accounts::create_key(algorithm, now)
            .await
            .map_err(StartError::at(CONTEXT))?;
        let rotation = RotateKeys {
            keys: vec![sealing.seal_key(key)],
            context: program(),
            now,
        };
        store.rotate_keys(rotation).await.map_err(&failed)?;
        keys = store.list_signing_keys().await.map_err(&failed)?;
    }
    if sealing.is_on() {
        let secrets = store.list_secrets().await.map_err(&failed)?;
        let are_sealed = keys.iter().all(|key| key.is_sealed)
            && secrets.iter().all(|(_, secret)| secret.is_sealed);
        if !are_sealed {
            accounts::reseal(store.as_ref(), &sealing, &sealing, program(), now)
                .await
                .map_err(StartError::at(CONTEXT))?;
            keys = store.list_signing_keys().await.map_err(&failed)?;
        }
    }
    let options = TokenOptions {
        issuer,
        client_issuer: public_url.to_owned(),
        audience: Some(config.tokens.audience.clone()).filter(|audience| !audience.is_empty()),
        access_life: Duration::from_secs(60 * u64::from(config.tokens.access_minutes)),
        refresh_life: Duration::from_secs(86_400 * u64::from(config.tokens.refresh_days)),
    };
    KeyRing::new(options, sealing, keys, now).map_err(|e| match e {
        // An encrypted key that cannot be decrypted already says what to do.
        TokenError::Failed(cause) => StartError::new(cause),
        TokenError::Invalid => StartError::caused_by(CONTEXT, e),
    })
}

fn open_mail_sender(config: &Config, public_url: &str) -> Result<MailSender, StartError> {
    Ok(MailSender {
        composer: Arc::new(open_composer(config, public_url)?),
        transport: Arc::from(open_transport(config, public_url)?),
    })
}

/// Creates what sends webhooks, without connecting.
///
/// # Errors
/// When a file cannot be used.
pub fn open_webhook_sender(config: &Config) -> Result<WebhookSender, StartError> {
    let allowed = config.webhooks.allow_networks.iter();
    let client = Client::new(ClientOptions {
        allow_networks: allowed.map(IpNetwork::network).collect(),
        ca_file: config.webhooks.ca_file.clone(),
        ..ClientOptions::default()
    });
    let client = client.map_err(StartError::at("[webhooks] ca_file"))?;
    Ok(WebhookSender::new(Arc::new(client)))
}

/// How long a provider may take to answer, and how much it may send.
const PROVIDER_LIMITS: ClientLimits = ClientLimits {
    time: Duration::from_secs(5),
    body_bytes: 64 * 1024,
};

/// The external identity providers of the settings, whose files have been read.
struct Social {
    client: Arc<Client>,
    options: Vec<ProviderOptions>,
}

fn read_social(config: &Config) -> Result<Social, StartError> {
    let allowed = config.social.allow_networks.iter();
    let client = Client::new(ClientOptions {
        allow_networks: allowed.map(IpNetwork::network).collect(),
        ca_file: config.social.ca_file.clone(),
        limits: PROVIDER_LIMITS,
        ..ClientOptions::default()
    });
    let providers = config.social_providers.iter();
    Ok(Social {
        client: Arc::new(client.map_err(StartError::at("[social] ca_file"))?),
        options: providers.map(read_provider).collect::<Result<_, _>>()?,
    })
}

impl Social {
    fn open(self, clock: &SharedClock, metrics: &Arc<Metrics>) -> Result<Providers, StartError> {
        let tools = ProviderTools {
            client: self.client,
            clock: clock.clone(),
            metrics: Arc::clone(metrics),
        };
        let open = |options: ProviderOptions| {
            let setting = provider_setting(&options.id);
            Provider::new(options, &tools)
                .map_err(|problem| StartError::new(format!("{setting}: {problem}")))
        };
        let opened: Result<_, _> = self.options.into_iter().map(open).collect();
        opened.map(Providers::new)
    }
}

/// Creates the external identity providers of the settings, without connecting.
///
/// # Errors
/// When a file cannot be used or a setting is wrong; the text names it.
pub fn open_providers(
    config: &Config,
    clock: &SharedClock,
    metrics: &Arc<Metrics>,
) -> Result<Providers, StartError> {
    read_social(config)?.open(clock, metrics)
}

/// Names a provider in errors.
fn provider_setting(id: &str) -> String {
    format!("[[social.providers]] {id:?}")
}

fn read_provider(provider: &FileProvider) -> Result<ProviderOptions, StartError> {
    let setting = |key: &str| format!("{}: {key}", provider_setting(&provider.id));
    let credential = match (&provider.private_key_file, &provider.client_secret_file) {
        (Some(path), _) => {
            let pem = read_secret(&setting("private_key_file"), path)?;
            let key = AssertionKey::from_pem(&provider.key_id, pem.as_bytes())
                .map_err(StartError::at(&setting("private_key_file")))?;
            ClientCredential::Assertion {
                team_id: provider.team_id.clone(),
                key,
            }
        }
        (None, Some(path)) => {
            ClientCredential::Secret(read_secret(&setting("client_secret_file"), path)?)
        }
        (None, None) => match provider.client_secret.expose() {
            secret if secret.is_empty() => ClientCredential::Public,
            secret => ClientCredential::Secret(secret.clone()),
        },
    };
    let name = match provider.kind.brand() {
        Some(brand) if provider.name.is_empty() => brand.to_owned(),
        _ => provider.name.clone(),
    };
    Ok(ProviderOptions {
        id: provider.id.clone(),
        kind: provider.kind,
        name,
        client_id: provider.client_id.clone(),
        credential,
        issuer: Some(provider.issuer.clone()).filter(|issuer| !issuer.is_empty()),
        scopes: provider.scopes.clone(),
        audiences: provider.audiences.clone(),
        algorithm: provider.id_token_alg,
        trust_email: provider.trust_email,
        auto_link: provider.auto_link,
    })
}

/// Checks the OAuth clients of the configuration file and reads their secrets.
///
/// # Errors
/// When one of them is wrong; the text names it.
pub fn open_file_clients(config: &Config) -> Result<Vec<RegisteredClient>, StartError> {
    config.clients.iter().map(open_file_client).collect()
}

fn open_file_client(client: &FileClient) -> Result<RegisteredClient, StartError> {
    let setting = format!("[[clients]] {:?}", client.id);
    // A form has a list as a repeated field.
    let mut fields = Fields::form();
    let mut insert = |key: &str, text: &str| fields.insert(key.into(), Input::Text(text.into()));
    insert("id", &client.id);
    for (key, texts) in &client.values {
        for text in texts {
            insert(key, text);
        }
        if texts.is_empty() {
            insert(key, "");
        }
    }
    if let Some(path) = &client.secret_file {
        let secret = read_secret(&format!("{setting}: secret_file"), path)?;
        insert("secret", &secret);
    }
    accounts::read_file_client(&fields).map_err(|e| match e {
        AccountError::Fields(errors) => {
            let problems: Vec<String> = errors
                .iter()
                .map(|(field, messages)| {
                    let key = if field == "secret" {
                        "secret_file"
                    } else {
                        field
                    };
                    format!("{key}: {}", messages.join(" "))
                })
                .collect();
            StartError::new(format!("{setting}: {}", problems.join("; ")))
        }
        other => StartError::caused_by(setting, other),
    })
}

/// Checks the webhooks of the configuration file and reads their secrets.
///
/// # Errors
/// When one of them is wrong; the text names it.
pub fn open_file_webhooks(config: &Config) -> Result<Vec<FileEndpoint>, StartError> {
    config.webhook_list.iter().map(open_file_webhook).collect()
}

fn open_file_webhook(webhook: &FileWebhook) -> Result<FileEndpoint, StartError> {
    let setting = |key: &str| format!("[[webhooks]] {:?}: {key}", webhook.name);
    let wrong = |key: &str, problem: &dyn fmt::Display| {
        StartError::new(format!("{}: {problem}", setting(key)))
    };
    let url = EndpointUrl::parse(&webhook.url).map_err(|problem| wrong("url", &problem))?;
    let events = EventSelection::parse(&webhook.events).map_err(|unknown| {
        let text = format!("{unknown:?} is not a type of events such as user.created or user.*");
        wrong("events", &text)
    })?;
    let payload = match &*webhook.payload {
        "" => WebhookPayload::default(),
        name => WebhookPayload::parse(name)
            .ok_or_else(|| wrong("payload", &format!("expected full or thin, got {name:?}")))?,
    };
    let secret = match &webhook.secret_file {
        None => webhook.secret.expose().clone(),
        Some(path) => read_secret(&setting("secret_file"), path)?,
    };
    let keys = SigningKeys::with_secret(secret.trim()).ok_or_else(|| {
        let text = "expected `whsec_` and 24 to 64 bytes in base64, such as the output of `openssl \
                    rand -base64 32`";
        wrong("secret", &text)
    })?;
    Ok(FileEndpoint {
        name: webhook.name.clone(),
        url,
        events,
        payload,
        keys,
    })
}

/// Opens the mail templates in all languages.
///
/// # Errors
/// When a setting or a template is unusable.
pub fn open_composer(config: &Config, public_url: &str) -> Result<Composer, StartError> {
    let options = ComposerOptions {
        from: &config.mail.from,
        reply_to: Some(config.mail.reply_to.as_str()).filter(|mailbox| !mailbox.is_empty()),
        public_url,
        default_language: &config.mail.language,
        templates_dir: config.mail.templates_dir.as_deref(),
    };
    Composer::new(&options).map_err(StartError::at("[mail]"))
}

/// Creates the mail transport of the settings, without connecting.
///
/// # Errors
/// When a setting is unusable.
pub fn open_transport(config: &Config, public_url: &str) -> Result<Box<dyn Transport>, StartError> {
    let failed = StartError::at("[mail]");
    Ok(match config.mail_transport() {
        MailTransportKind::Smtp => {
            let options = SmtpOptions {
                url: config.mail.smtp_url.expose(),
                login: smtp_login(config)?,
                ca_file: config.mail.smtp_ca_file.as_deref(),
                public_url,
            };
            Box::new(SmtpMailTransport::new(&options).map_err(&failed)?)
        }
        MailTransportKind::Sendmail => Box::new(match &config.mail.sendmail_program {
            None => SendmailMailTransport::default(),
            Some(program) => SendmailMailTransport::new(program),
        }),
        MailTransportKind::File => {
            Box::new(FileMailTransport::new(&config.mail.dir).map_err(&failed)?)
        }
        MailTransportKind::Stdout => Box::new(StdoutMailTransport::default()),
    })
}

/// User and password for the mail server, where its URL has none.
fn smtp_login(config: &Config) -> Result<Option<(String, String)>, StartError> {
    let mail = &config.mail;
    if mail.smtp_user.is_empty() {
        return Ok(None);
    }
    let password = match &mail.smtp_password_file {
        None => mail.smtp_password.expose().clone(),
        Some(path) => read_secret("[mail] smtp_password_file", path)?,
    };
    Ok(Some((mail.smtp_user.clone(), password)))
}

async fn find_key(
    store: &SharedStore,
    sealing: &KeySealing,
    name: &'static str,
) -> Result<[u8; KEY_BYTES], StartError> {
    find_secret(store, sealing, name)
        .await?
        .try_into()
        .map_err(|_| StartError::new(format!("the database has a {name} of the wrong length")))
}
