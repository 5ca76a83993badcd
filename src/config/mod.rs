//! The configuration: which settings there are, and where their values come from.
//!
//! The table in `settings` is the one place that lists them; adding a setting is adding an entry there. This module owns
//! the values, their checks and what follows from a setting that was left to the program. It deliberately does not know
//! what the settings do, and nothing here opens a database, a socket or a connection.
//!
//! ```text
//! settings   the table: structs, defaults, names, help       values     types with a form of their own
//! load       flag over environment over file over default    rules      how a value is checked, read and written
//! arguments  the settings as flags                           suggest    "did you mean"
//! example    config.toml.example                             error      what can be wrong, in words
//! ```

mod arguments;
mod error;
mod example;
mod load;
mod rules;
mod settings;
mod suggest;
mod values;

use std::path::PathBuf;
use std::thread;

pub use arguments::{flags_from, setting_args};
pub use error::{ConfigError, FileLine, Place, Problem};
pub use example::example;
pub use load::{Sources, load, process_environment};
pub use rules::{SHORTEST_KEY_SECRET, Shape};
pub use settings::{
    BackupConfig, Config, DatabaseConfig, DevelopmentConfig, LogConfig, MailConfig, MediaConfig,
    MetricsConfig, OtpConfig, PasswordsConfig, RateLimitsConfig, ServerConfig, SettingInfo,
    TlsConfig, TokensConfig, setting, settings,
};
pub use values::{
    Interval, InvalidValue, ListenAddr, LogFormat, MailTransportKind, Origin, ProxyNetwork,
    PublicUrl, Secret,
};

/// The path that stands for a database without a file.
const IN_MEMORY: &str = ":memory:";

/// What the settings that were left empty or 0 come to.
impl Config {
    /// The URL under which clients reach the server, without a slash at the end. `bound_port` is the port that the server
    /// listens on, which counts when no public URL is set; it differs from the configured one where that is 0.
    pub fn public_url(&self, bound_port: u16) -> String {
        match &self.server.public_url {
            Some(url) => url.as_str().to_owned(),
            None => self.server.listen.url(self.tls.scheme(), bound_port),
        }
    }

    /// The claim `iss` of the tokens; `bound_port` as for the public URL.
    pub fn issuer(&self, bound_port: u16) -> String {
        if self.tokens.issuer.is_empty() {
            self.public_url(bound_port)
        } else {
            self.tokens.issuer.clone()
        }
    }

    /// How mails leave.
    pub fn mail_transport(&self) -> MailTransportKind {
        match self.mail.transport {
            Some(transport) => transport,
            None if self.mail.smtp_url.expose().is_empty() => MailTransportKind::Stdout,
            None => MailTransportKind::Smtp,
        }
    }

    /// Whether the database lives in memory and ends with the process.
    pub fn is_in_memory(&self) -> bool {
        self.database.path == IN_MEMORY
    }

    /// Directory of the photos: the configured one, or the one beside the database file that has its name and `.media`:
    /// two databases in one directory must not share their photos. `None` when the database has no
    /// file to be beside of: its photos should not outlive it.
    pub fn media_dir(&self) -> Option<PathBuf> {
        if !self.media.dir.is_empty() {
            return Some(PathBuf::from(&self.media.dir));
        }
        (!self.is_in_memory()).then(|| PathBuf::from(format!("{}.media", self.database.path)))
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

    /// The settings in which this configuration differs from another.
    pub fn differences(&self, other: &Self) -> Vec<&'static SettingInfo> {
        settings()
            .iter()
            .filter(|setting| (setting.write)(self) != (setting.write)(other))
            .collect()
    }

    /// Takes one setting over from another configuration.
    pub fn take_over(&mut self, setting: &SettingInfo, from: &Self) {
        let taken = (setting.read)(self, (setting.write)(from));
        debug_assert!(taken.is_ok(), "a value that was read can be read again");
    }

    /// What the log should say when the server starts with these settings. None of it keeps the server from working.
    pub fn serve_warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let is_mail_unset = self.mail.transport.is_none() && self.mail.smtp_url.expose().is_empty();
        if is_mail_unset && !self.dev {
            warnings.push(
                "no mail server is configured: mails are printed to standard output; set [mail] smtp_url \
                 or choose a [mail] transport"
                    .to_owned(),
            );
        }
        if self.server.public_url.is_none() && self.server.listen.is_unspecified() {
            warnings.push(format!(
                "links in answers and mails begin with {}://{}, which other machines cannot reach; set \
                 [server] public_url",
                self.tls.scheme(),
                self.server.listen
            ));
        }
        warnings
    }
}

impl TlsConfig {
    /// Whether connections are encrypted.
    pub fn is_on(&self) -> bool {
        !self.cert.is_empty()
    }

    /// How the URLs of this server begin.
    pub fn scheme(&self) -> &'static str {
        if self.is_on() { "https" } else { "http" }
    }
}

/// Cores that this process may use; one where the system does not tell.
fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Saturates where `usize` has 16 bits.
fn to_usize(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_url_and_issuer_follow_the_address_that_was_bound() {
        let mut config = Config::defaults(false);
        assert_eq!(config.public_url(4711), "http://127.0.0.1:4711");
        assert_eq!(config.issuer(4711), "http://127.0.0.1:4711");
        config.tls.cert = "cert.pem".to_owned();
        assert_eq!(config.public_url(4711), "https://127.0.0.1:4711");
        config.server.public_url = PublicUrl::parse("https://a.example/x/");
        assert_eq!(config.public_url(4711), "https://a.example/x");
        assert_eq!(config.issuer(4711), "https://a.example/x");
        config.tokens.issuer = "accounts".to_owned();
        assert_eq!(config.issuer(4711), "accounts");
    }

    #[test]
    fn mail_goes_to_the_server_when_there_is_one() {
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
    fn printing_mails_is_no_surprise_under_dev() {
        let mut config = Config::defaults(true);
        assert_eq!(config.mail_transport(), MailTransportKind::Stdout);
        assert!(config.serve_warnings().is_empty());
        // The example file sets the transport to nothing.
        config.mail.transport = None;
        assert_eq!(config.mail_transport(), MailTransportKind::Stdout);
        assert!(config.serve_warnings().is_empty());
    }

    #[test]
    fn listening_everywhere_without_a_public_url_is_warned_about() {
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
    fn photos_are_kept_beside_the_database() {
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
        config.media.dir = "photos".to_owned();
        assert_eq!(config.media_dir(), Some(PathBuf::from("photos")));
    }

    #[test]
    fn counts_of_zero_follow_the_machine() {
        let mut config = Config::defaults(false);
        assert!(config.hash_threads() >= 1);
        assert_eq!(config.read_connections(), config.hash_threads() + 1);
        config.passwords.hash_threads = 3;
        config.database.read_connections = 7;
        assert_eq!((config.hash_threads(), config.read_connections()), (3, 7));
    }

    #[test]
    fn printing_the_configuration_hides_secrets() {
        let mut config = Config::defaults(false);
        config.mail.smtp_url = Secret::new("smtp://user:hunter2@localhost".to_owned());
        let printed = format!("{config:?}");
        assert!(printed.contains("smtp_url: ***"), "{printed}");
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}
