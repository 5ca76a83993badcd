//! The configuration: the settings, their values and where these come from.
//!
//! The table in `settings` is the one list of settings; to add one, add an entry there. This module
//! owns the values, their checks and derived values. It does not know what the settings are used for,
//! and opens no database, socket or connection.
//!
//! ```text
//! settings   the table: structs, defaults, names, help    values     types of values
//! load       flag over environment over file              rules      checks of values
//! arguments  the settings as flags                        raw        values before their check
//! passkeys   their domain and origins       database   a file or a URL
//! origins    where values come from                       risks      valid but risky values
//! example    config.toml.example                          suggest    "did you mean"
//! webhooks   the list of webhooks in the file             error      error texts
//! social     the list of external identity providers      clients    the list of OAuth clients
//! ```

mod arguments;
mod clients;
mod database;
mod error;
mod example;
mod load;
mod origins;
mod passkeys;
mod raw;
mod risks;
mod rules;
mod settings;
mod social;
mod suggest;
mod values;
mod webhooks;

use std::path::{Path, PathBuf};
use std::thread;

pub use arguments::{flags_from, setting_args};
pub use clients::FileClient;
pub use error::{ConfigError, FileLine, Place, Problem};
pub use example::example;
pub use load::{Sources, load, process_environment};
pub use origins::{EffectiveSetting, Origins};
pub use raw::Shape;
pub use risks::{Risk, is_loopback_url};
pub use rules::MIN_KEY_SECRET_CHARS;
pub use settings::{
    BackupConfig, Config, DatabaseConfig, DevelopmentConfig, LogConfig, MailConfig, MediaConfig,
    MetricsConfig, OtpConfig, PasswordsConfig, RateLimitsConfig, ServerConfig, SettingInfo,
    SocialConfig, TlsConfig, TokensConfig, WebhooksConfig, setting, settings,
};
pub use social::FileProvider;
pub use values::{
    AndroidApp, AppRedirectUri, AppleApp, CorsOrigin, EmailChangeRule, FactorRequirement,
    HeaderName, Interval, InvalidValue, IpNetwork, ListenAddr, LogFormat, MailTransportKind,
    PasskeyOrigin, PublicUrl, Secret,
};
pub use webhooks::FileWebhook;

/// The values of settings that are empty or 0, and other derived values.
impl Config {
    /// The URL under which clients reach the server, without a trailing slash.
    ///
    /// Without a public URL it contains `bound_port`, the port that the server listens on.
    pub fn public_url(&self, bound_port: u16) -> String {
        match &self.server.public_url {
            Some(url) => url.as_str().to_owned(),
            None => self.server.listen.url(self.tls.scheme(), bound_port),
        }
    }

    /// The `iss` claim of tokens; `bound_port` as for the public URL.
    pub fn issuer(&self, bound_port: u16) -> String {
        if self.tokens.issuer.is_empty() {
            self.public_url(bound_port)
        } else {
            self.tokens.issuer.clone()
        }
    }

    /// Why `[tokens] issuer` is not that of OAuth clients' tokens, if it is not.
    ///
    /// Their issuer is the URL of the server, as OpenID Connect Discovery (section 4.3) requires.
    pub fn issuer_risk(&self) -> Option<String> {
        let public_url = self.public_url(self.server.listen.port());
        let issuer = &self.tokens.issuer;
        (!issuer.is_empty() && *issuer != public_url).then(|| {
            format!(
                "[tokens] issuer is {issuer}, but tokens of OAuth clients name {public_url}, where \
                 applications look for the configuration of OpenID Connect; remove [tokens] issuer \
                 unless services of yours expect it"
            )
        })
    }

    /// How mail is sent.
    pub fn mail_transport(&self) -> MailTransportKind {
        match self.mail.transport {
            Some(transport) => transport,
            None if self.mail.smtp_url.expose().is_empty() => MailTransportKind::Stdout,
            None => MailTransportKind::Smtp,
        }
    }

    /// Whether owners get a notice of sign-ins from new networks: on by setting, and only where mails
    /// leave the machine or a developer reads them.
    pub fn sends_sign_in_notices(&self) -> bool {
        let reaches = self.dev || self.mail_transport() != MailTransportKind::Stdout;
        self.mail.new_sign_in_notice && reaches
    }

    /// What the service calls itself: `[branding] name`, else the sender of its mails.
    pub fn service_name(&self) -> String {
        if self.branding.name.is_empty() {
            sender_name(&self.mail.from)
        } else {
            self.branding.name.clone()
        }
    }

    /// The directory of photos: the configured one, or the path of the database plus `.media`.
    ///
    /// Two databases in one directory must not share photos. `None` for a database in memory, whose
    /// photos must not outlive it, and for PostgreSQL, which keeps them itself.
    pub fn media_dir(&self) -> Option<PathBuf> {
        if self.media.dir.is_some() && !self.is_postgres() {
            return self.media.dir.clone();
        }
        self.database_file()?;
        Some(PathBuf::from(format!("{}.media", self.database.path)))
    }

    /// The files that settings name, such as certificates and secrets.
    pub fn named_files(&self) -> Vec<PathBuf> {
        settings()
            .iter()
            .filter(|setting| setting.value_name == "FILE")
            .filter_map(|setting| match (setting.write)(self) {
                raw::Raw::Text(path) if !path.is_empty() => Some(PathBuf::from(path)),
                _ => None,
            })
            .chain(
                self.webhook_list
                    .iter()
                    .filter_map(|webhook| webhook.secret_file.clone()),
            )
            .chain(self.social_providers.iter().flat_map(FileProvider::files))
            .chain(
                self.clients
                    .iter()
                    .filter_map(|client| client.secret_file.clone()),
            )
            .collect()
    }

    /// Threads that hash passwords, at least one.
    pub fn hash_threads(&self) -> usize {
        match self.passwords.hash_threads {
            0 => cores(),
            count => to_usize(count),
        }
    }

    /// Connections for reading, at least one.
    pub fn read_connections(&self) -> usize {
        match self.database.read_connections {
            0 => cores() + 1,
            count => to_usize(count),
        }
    }

    /// The settings whose values differ in another configuration.
    pub fn differences(&self, other: &Self) -> Vec<&'static SettingInfo> {
        settings()
            .iter()
            .filter(|setting| (setting.write)(self) != (setting.write)(other))
            .collect()
    }

    /// Copies one setting from another configuration.
    pub fn copy_setting(&mut self, setting: &SettingInfo, from: &Self) {
        let copied = (setting.read)(self, (setting.write)(from));
        self.origins.copy(setting, &from.origins);
        debug_assert!(copied.is_ok(), "a checked value passes its check again");
    }

    /// Warnings to log when the server starts with these settings.
    pub fn serve_warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let is_mail_unset = self.mail.transport.is_none() && self.mail.smtp_url.expose().is_empty();
        if is_mail_unset && !self.dev {
            warnings.push(
                "no mail server is configured: mails are printed to standard output; set [mail] \
                 smtp_url or choose a [mail] transport"
                    .to_owned(),
            );
        }
        if self.server.public_url.is_none() && self.server.listen.is_unspecified() {
            warnings.push(format!(
                "links in responses and mails begin with {}://{}, which other machines cannot \
                 reach; set [server] public_url",
                self.tls.scheme(),
                self.server.listen
            ));
        }
        if self.is_postgres() && self.media.dir.is_some() {
            warnings.push(
                "[media] dir has no effect: with PostgreSQL photos are kept in the database"
                    .to_owned(),
            );
        }
        warnings
    }
}

impl TlsConfig {
    /// The files of certificate and private key; `None` without TLS.
    pub fn files(&self) -> Option<(&Path, &Path)> {
        self.cert.as_deref().zip(self.key.as_deref())
    }

    /// Whether connections are encrypted.
    pub fn is_on(&self) -> bool {
        self.cert.is_some()
    }

    /// The scheme of the URLs of this server.
    pub fn scheme(&self) -> &'static str {
        if self.is_on() { "https" } else { "http" }
    }
}

/// Cores that this process may use; one where the system does not report it.
fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Converts a count; saturates where `usize` has 16 bits.
fn to_usize(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// The name in a mailbox such as `Accounts <accounts@example.com>`, else its domain.
fn sender_name(mailbox: &str) -> String {
    let (name, address) = mailbox.split_once('<').unwrap_or(("", mailbox));
    let name = name.trim().trim_matches('"').trim();
    if !name.is_empty() {
        return name.to_owned();
    }
    let domain = address.rsplit('@').next().unwrap_or(address);
    domain.trim_end_matches('>').trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_url_and_issuer_contain_the_bound_port() {
        let mut config = Config::defaults(false);
        assert_eq!(config.public_url(4711), "http://127.0.0.1:4711");
        assert_eq!(config.issuer(4711), "http://127.0.0.1:4711");
        config.tls.cert = Some("cert.pem".into());
        assert_eq!(config.public_url(4711), "https://127.0.0.1:4711");
        config.server.public_url = PublicUrl::parse("https://a.example/x/");
        assert_eq!(config.public_url(4711), "https://a.example/x");
        assert_eq!(config.issuer(4711), "https://a.example/x");
        config.tokens.issuer = "accounts".to_owned();
        assert_eq!(config.issuer(4711), "accounts");
    }

    #[test]
    fn mail_is_sent_by_smtp_when_a_server_is_set() {
        let mut config = Config::defaults(false);
        assert_eq!(config.mail_transport(), MailTransportKind::Stdout);
        assert_eq!(config.serve_warnings().len(), 1);
        config.mail.smtp_url = Secret::new("smtp://localhost".to_owned());
        assert_eq!(config.mail_transport(), MailTransportKind::Smtp);
        assert!(config.serve_warnings().is_empty());
        config.mail.transport = Some(MailTransportKind::File);
        assert_eq!(config.mail_transport(), MailTransportKind::File);
    }

    #[test]
    fn dev_prints_mails_without_a_warning() {
        let mut config = Config::defaults(true);
        assert_eq!(config.mail_transport(), MailTransportKind::Stdout);
        assert!(config.serve_warnings().is_empty());
        // The example file sets the transport to nothing.
        config.mail.transport = None;
        assert_eq!(config.mail_transport(), MailTransportKind::Stdout);
        assert!(config.serve_warnings().is_empty());
    }

    #[test]
    fn listening_everywhere_without_a_public_url_gives_a_warning() {
        let mut config = Config::defaults(true);
        config.server.listen = ListenAddr::parse("0.0.0.0:8000").unwrap();
        let warnings = config.serve_warnings();
        assert!(
            warnings[0].contains("http://0.0.0.0:8000"),
            "{}",
            warnings[0]
        );
        config.server.public_url = PublicUrl::parse("https://a.example");
        assert!(config.serve_warnings().is_empty());
    }

    #[test]
    fn folder_of_photos_without_effect_gives_a_warning() {
        let mut config = Config::defaults(true);
        config.media.dir = Some("photos".into());
        assert!(config.serve_warnings().is_empty());
        config.database.path = "postgres://accounts@db/accounts".to_owned();
        assert_eq!(config.media_dir(), None);
        let warnings = config.serve_warnings();
        assert!(
            warnings[0].contains("[media] dir has no effect"),
            "{warnings:?}"
        );
    }

    #[test]
    fn media_directory_is_beside_the_database() {
        let mut config = Config::defaults(false);
        assert_eq!(config.media_dir(), Some(PathBuf::from("users.db.media")));
        config.database.path = "/var/lib/accounts/users.db".to_owned();
        assert_eq!(
            config.media_dir(),
            Some(PathBuf::from("/var/lib/accounts/users.db.media"))
        );
        config.database.path = ":memory:".to_owned();
        assert!(config.is_in_memory());
        assert_eq!(config.media_dir(), None);
        config.media.dir = Some("photos".into());
        assert_eq!(config.media_dir(), Some(PathBuf::from("photos")));
    }

    #[test]
    fn zero_counts_depend_on_the_cores() {
        let mut config = Config::defaults(false);
        assert!(config.hash_threads() >= 1);
        assert_eq!(config.read_connections(), config.hash_threads() + 1);
        config.passwords.hash_threads = 3;
        config.database.read_connections = 7;
        assert_eq!((config.hash_threads(), config.read_connections()), (3, 7));
    }

    #[test]
    fn debug_output_hides_secrets() {
        let mut config = Config::defaults(false);
        config.mail.smtp_url = Secret::new("smtp://user:hunter2@localhost".to_owned());
        let printed = format!("{config:?}");
        assert!(printed.contains("smtp_url: ***"), "{printed}");
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}
