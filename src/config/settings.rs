//! The table of settings.
//!
//! Everything else is generated from it: the structs and their documentation, the defaults, the keys
//! of the file, the environment variables, the flags, their help and the example file.
//!
//! To add a setting, add one entry to its section:
//!
//! ```text
//! /// One to three sentences: unit and effect. They are the documentation, help and file comment.
//! key: Type = default, dev default_with_dev, rule rule_for_the_value, common "VALUE_NAME";
//! ```
//!
//! `dev` is optional. `-h` shows `common` settings only, `--help` the `rare` ones as well. A flag
//! other than `--section-key` follows as `, flag "name"`. Then update `config.toml.example`; a test
//! prints what it should contain.
//!
//! Does not know where values come from; `load` does.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::LazyLock;

use super::clients::FileClient;
use super::origins::Origins;
use super::raw::{Mismatch, Raw, Shape};
use super::rules::{
    KeySecret, Rule, SecretText, SmtpUrl, Switch, checked, listed, map, maybe, optional_path,
    parsed, whole,
};
use super::social::FileProvider;
use super::values::{
    AndroidApp, AppRedirectUri, AppleApp, CorsOrigin, EmailChangeRule, FactorRequirement,
    HeaderName, Interval, IpNetwork, ListenAddr, LogFormat, MailTransportKind, PasskeyOrigin,
    PublicUrl, Secret, is_colour, is_fixed_otp, is_link, is_log_filter, is_mailbox, is_one_line,
    is_path, is_rp_id, is_web_link,
};
use super::webhooks::FileWebhook;
use crate::domain::SigningAlgorithm;

/// The description of one setting.
#[derive(Clone, Debug)]
pub struct SettingInfo {
    /// Section of the file, such as `tokens`.
    pub section: &'static str,
    /// Key in that section, such as `access_minutes`.
    pub key: &'static str,
    /// Section and key, such as `tokens.access_minutes`; also the id of its flag in clap.
    pub name: &'static str,
    /// Title of the section.
    pub heading: &'static str,
    /// Long flag without its dashes, such as `tokens-access-minutes`.
    pub flag: String,
    /// Environment variable, such as `ACCOUNTS_TOKENS_ACCESS_MINUTES`.
    pub env: String,
    /// Unit and effect, in sentences.
    pub help: String,
    /// What a valid value looks like, to follow the word "expected".
    pub expected: String,
    /// The default as the value of a flag; empty for an empty text or list.
    pub default_text: String,
    /// The default with `--dev`, where it differs.
    pub dev_default_text: Option<String>,
    /// Placeholder of the value in help.
    pub value_name: &'static str,
    /// The type in TOML.
    pub shape: Shape,
    /// Whether the value must never be shown.
    pub secret: bool,
    /// Whether only `--help` shows the flag.
    pub rare: bool,
    pub(super) read: fn(&mut Config, Raw) -> Result<(), Mismatch>,
    pub(super) write: fn(&Config) -> Raw,
}

/// All settings, section by section, in the order of the example file.
pub fn settings() -> &'static [SettingInfo] {
    static SETTINGS: LazyLock<Vec<SettingInfo>> = LazyLock::new(table);
    &SETTINGS
}

/// The setting with a name such as `tokens.access_minutes`.
pub fn setting(name: &str) -> Option<&'static SettingInfo> {
    settings().iter().find(|setting| setting.name == name)
}

/// The names of all sections, in the order of the table.
pub(super) fn sections() -> impl Iterator<Item = &'static str> {
    settings()
        .chunk_by(|a, b| a.section == b.section)
        .map(|chunk| chunk[0].section)
}

/// The settings of one section.
pub(super) fn in_section(section: &str) -> impl Iterator<Item = &'static SettingInfo> {
    settings()
        .iter()
        .filter(move |setting| setting.section == section)
}

/// Turns `settings! { … }` into the structs, `Config::defaults` and `table`.
macro_rules! settings {
    ($(
        $(#[doc = $about:literal])+
        $section:ident: $Section:ident, $heading:literal {
            $(
                $(#[doc = $help:literal])+
                $key:ident: $Value:ty = $default:expr $(, dev $dev:expr)?, rule $rule:expr,
                    $often:ident $value_name:literal $(, flag $flag:literal)?;
            )+
        }
    )+) => {
        /// The settings of the server, checked and complete.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            /// Whether `--dev` was given, which also enables the inbox for developers.
            pub dev: bool,
            /// Where the values come from that are not defaults.
            pub origins: Origins,
            /// The webhooks of the file.
            pub webhook_list: Vec<FileWebhook>,
            /// The OAuth clients of the file.
            pub clients: Vec<FileClient>,
            /// The external identity providers of the file.
            pub social_providers: Vec<FileProvider>,
            $( $(#[doc = $about])+ pub $section: $Section, )+
        }

        $(
            $(#[doc = $about])+
            #[derive(Clone, Debug, PartialEq)]
            pub struct $Section {
                $( $(#[doc = $help])+ pub $key: $Value, )+
            }
        )+

        impl Config {
            /// The defaults, with or without `--dev`.
            pub fn defaults(dev: bool) -> Self {
                Self {
                    dev,
                    origins: Origins::default(),
                    webhook_list: Vec::new(),
                    clients: Vec::new(),
                    social_providers: Vec::new(),
                    $( $section: $Section {
                        $( $key: default_for!(dev, $default $(, $dev)?), )+
                    }, )+
                }
            }
        }

        fn table() -> Vec<SettingInfo> {
            let usual = Config::defaults(false);
            let dev = Config::defaults(true);
            vec![ $( $(
                Entry {
                    section: section_name!($section),
                    key: stringify!($key),
                    name: concat!(section_name!($section), ".", stringify!($key)),
                    heading: $heading,
                    help: concat!($($help),+),
                    value_name: $value_name,
                    rare: is_rare!($often),
                    flag: &[$($flag)?],
                    read: |config, raw| {
                        config.$section.$key = $rule.read(raw)?;
                        Ok(())
                    },
                    write: |config| $rule.write(&config.$section.$key),
                }
                .describe(&$rule, &usual, &dev),
            )+ )+ ]
        }
    };
}

/// The addresses of this machine alone.
fn loopback() -> Vec<IpNetwork> {
    ["127.0.0.0/8", "::1"]
        .into_iter()
        .filter_map(IpNetwork::parse)
        .collect()
}

macro_rules! default_for {
    ($is_dev:ident, $default:expr) => {
        $default
    };
    ($is_dev:ident, $default:expr, $dev:expr) => {
        if $is_dev { $dev } else { $default }
    };
}

/// The name of a section in the file: that of its field, except `[dev]`, as `Config` has a field
/// `dev` already.
macro_rules! section_name {
    (development) => {
        "dev"
    };
    ($section:ident) => {
        stringify!($section)
    };
}

macro_rules! is_rare {
    (common) => {
        false
    };
    (rare) => {
        true
    };
}

/// The part of a `SettingInfo` that the table contains.
struct Entry {
    section: &'static str,
    key: &'static str,
    name: &'static str,
    heading: &'static str,
    help: &'static str,
    value_name: &'static str,
    rare: bool,
    /// The flag, if it does not consist of section and key.
    flag: &'static [&'static str],
    read: fn(&mut Config, Raw) -> Result<(), Mismatch>,
    write: fn(&Config) -> Raw,
}

impl Entry {
    /// Adds what is derived from the names, the rule and the defaults.
    fn describe<R: Rule>(self, rule: &R, usual: &Config, dev: &Config) -> SettingInfo {
        let Self { section, key, .. } = self;
        let flag = match self.flag.first() {
            Some(flag) => (*flag).to_owned(),
            None => format!("{section}-{key}").replace('_', "-"),
        };
        let default_text = (self.write)(usual).to_text();
        let dev_default_text =
            Some((self.write)(dev).to_text()).filter(|text| *text != default_text);
        SettingInfo {
            section,
            key,
            name: self.name,
            heading: self.heading,
            flag,
            env: format!("ACCOUNTS_{section}_{key}").to_ascii_uppercase(),
            help: self.help.trim().to_owned(),
            expected: rule.expected(),
            default_text,
            dev_default_text,
            value_name: self.value_name,
            shape: R::SHAPE,
            secret: R::SECRET,
            rare: self.rare,
            read: self.read,
            write: self.write,
        }
    }
}

/// Largest value of a rate limit: the time of every counted event is kept in memory.
const MAX_RATE_LIMIT: u32 = 10_000;

/// Largest timeout of the server in seconds, one hour: longer ones protect against nothing.
const MAX_TIMEOUT_SECONDS: u32 = 3600;

settings! {
    /// The HTTP server.
    server: ServerConfig, "HTTP server" {
        /// Address and port to listen on. Port 0 means any free port.
        listen: ListenAddr = ListenAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000),
            rule parsed::<ListenAddr>(), common "ADDR:PORT", flag "listen";
        /// URL under which clients reach the server, including any path before `/api`. Links in
        /// responses and mails begin with it. Empty means the address that the server listens on.
        public_url: Option<PublicUrl> = None, rule maybe::<PublicUrl>(), common "URL";
        /// Addresses or CIDR networks of trusted reverse proxies. The client's address is taken from
        /// forwarding headers of these only.
        trusted_proxies: Vec<IpNetwork> = Vec::new(), rule listed::<IpNetwork>(), common "NETWORKS";
        /// Origins of web pages that may use the API from a browser (CORS), exactly as the browser
        /// sends them.
        cors_origins: Vec<CorsOrigin> = Vec::new(), rule listed::<CorsOrigin>(), common "ORIGINS";
        /// Request headers that these pages may send beside `Authorization` and `Content-Type`, such as
        /// those of a tracing library.
        cors_headers: Vec<HeaderName> = Vec::new(), rule listed::<HeaderName>(), rare "HEADERS";
        /// Largest request body in KiB; larger ones are refused with 413. For photo uploads see
        /// `max_photo_mib`.
        max_body_kib: u32 = 1024, rule whole(1, 1_048_576), rare "KIB";
        /// Largest request header in KiB, including the request line; larger ones, and those with
        /// more than 100 fields, are refused with 431.
        max_header_kib: u32 = 16, rule whole(4, 1024), rare "KIB";
        /// Most MiB of request bodies and unsent answers in memory at a time; requests beyond it are
        /// refused with 503.
        max_buffered_mib: u32 = 256, rule whole(1, 1_048_576), rare "MIB";
        /// Most of them for one client network (IPv4 address, IPv6 /64; four times as many for a /56,
        /// sixteen times for a /48). 0 means no limit. Trusted proxies and programs on the same
        /// machine are not limited.
        max_buffered_mib_per_network: u32 = 64, rule whole(0, 1_048_576), rare "MIB";
        /// Seconds in which a client has to send the header of a request. For the first one they
        /// begin with the connection.
        header_timeout_seconds: u32 = 15, rule whole(1, MAX_TIMEOUT_SECONDS), rare "SECONDS";
        /// Seconds in which a client has to send the body of a request, plus the time that its size
        /// takes at 16 KB per second.
        body_timeout_seconds: u32 = 30, rule whole(1, MAX_TIMEOUT_SECONDS), rare "SECONDS";
        /// Longest pause of a client within a request body, in seconds.
        body_pause_seconds: u32 = 10, rule whole(1, MAX_TIMEOUT_SECONDS), rare "SECONDS";
        /// Seconds after which a connection is closed whose client does not read a response.
        send_timeout_seconds: u32 = 30, rule whole(1, MAX_TIMEOUT_SECONDS), rare "SECONDS";
        /// Seconds that a connection may be idle between two requests.
        keep_alive_seconds: u32 = 75, rule whole(1, MAX_TIMEOUT_SECONDS), rare "SECONDS";
        /// Maximum number of open connections. When it is reached, the connections that are idle for
        /// longest are closed. 0 means as many as the limit on open files allows, up to 20000.
        max_connections: u32 = 0, rule whole(0, 1_000_000), rare "COUNT";
        /// Maximum number of open connections of one client network (IPv4 address, IPv6 /64; four times
        /// as many for a /56, sixteen times for a /48). 0 means no limit. Trusted proxies and programs
        /// on the same machine are exempt.
        max_connections_per_network: u32 = 512, rule whole(0, 1_000_000), rare "COUNT";
        /// Seconds that requests in flight and queued mails get to finish at a graceful shutdown.
        shutdown_seconds: u32 = 30, rule whole(0, MAX_TIMEOUT_SECONDS), rare "SECONDS";
    }

    /// TLS without a reverse proxy.
    tls: TlsConfig, "TLS" {
        /// PEM file with the server's certificate and the chain of its authority
        /// (`fullchain.pem`). When set, the server speaks HTTPS only, with HTTP/1.1 and HTTP/2. A
        /// renewed certificate is reloaded while the server runs.
        cert: Option<PathBuf> = None, rule optional_path("a file"), common "FILE";
        /// PEM file with the private key of the certificate (`privkey.pem`).
        key: Option<PathBuf> = None, rule optional_path("a file"), common "FILE";
    }

    /// Metrics and health checks.
    metrics: MetricsConfig, "Metrics" {
        /// Separate address and port for `/metrics`, `/healthz` and `/readyz`, without TLS. When set,
        /// anybody who can connect there can read `/metrics`, and the main address does not serve it.
        /// Empty means the main address, for programs on the same machine only.
        listen: Option<ListenAddr> = None, rule maybe::<ListenAddr>(), common "ADDR:PORT";
    }

    /// The log on standard error.
    log: LogConfig, "Log" {
        /// Log level: `error`, `warn`, `info`, `debug` or `trace`, also by module as in
        /// `warn,accounts_server::delivery=debug`. The variable RUST_LOG overrides it.
        level: String = "info".to_owned(),
            rule checked("a level such as info or a list such as warn,accounts_server::delivery=debug", is_log_filter),
            common "LEVEL";
        /// `text` for people, or `json` for programs: one object per line with `time`, `level`,
        /// `target`, `message` and, within a request, `request_id`.
        format: LogFormat = LogFormat::Text, rule parsed::<LogFormat>(), common "FORMAT";
    }

    /// The SQLite database.
    database: DatabaseConfig, "Database" {
        /// Path of the database file, which is created if missing, or the URL of a PostgreSQL database
        /// for several servers: `postgres://user@host/name`. `:memory:` keeps the database in memory and
        /// loses it when the server stops.
        path: String = "users.db".to_owned(),
            rule checked("the path of a file, a postgres:// URL, or :memory:", is_path),
            common "PATH", flag "db";
        /// File with the password of the PostgreSQL user, for a URL without one.
        password_file: Option<PathBuf> = None, rule optional_path("a file"), rare "FILE";
        /// Connections to PostgreSQL for operations. Three more find sessions and watch the primary.
        connections: u32 = 8, rule whole(1, 1024), rare "COUNT";
        /// Milliseconds to wait for another process that writes to the database.
        busy_timeout_ms: u32 = 5000, rule whole(0, 600_000), rare "MILLISECONDS";
        /// Connections for reading. 0 means one more than there are CPU cores.
        read_connections: u32 = 0, rule whole(0, 1024), rare "COUNT";
        /// Maximum number of changes in one commit. 1 commits each change on its own.
        writes_per_commit: u32 = 128, rule whole(1, 4096), rare "COUNT";
        /// Page cache of each connection in MiB. There are one connection for writing and two for
        /// each of `read_connections`. The operating system caches the file as well, a little slower.
        /// An import uses at least 64.
        cache_mib: u32 = 2, rule whole(1, 65_536), rare "MIB";
    }

    /// Outgoing mail.
    mail: MailConfig, "Mail" {
        /// How mail is sent: `smtp`, `stdout` (printed), `sendmail` (the local program) or `file` (one
        /// file per mail in `dir`). Empty means `smtp` if `smtp_url` is set and `stdout` otherwise.
        transport: Option<MailTransportKind> = None, dev Some(MailTransportKind::Stdout),
            rule maybe::<MailTransportKind>(), common "TRANSPORT";
        /// Sender of all mails, an address with or without a name.
        from: String = "accounts-server <accounts@localhost>".to_owned(),
            rule checked("a mailbox such as Accounts <accounts@example.com>", is_mailbox), common "MAILBOX";
        /// `Reply-To` of all mails, as in `from`. Empty means the sender.
        reply_to: String = String::new(),
            rule checked("a mailbox such as Help <help@example.com>, or nothing", |text| text.is_empty() || is_mailbox(text)),
            common "MAILBOX";
        /// SMTP server with user and password, such as `smtps://user:password@host:465` or
        /// `smtp://host:587`. Set it in the environment or the file: other users of the machine can
        /// see the flags of a process.
        smtp_url: Secret<String> = Secret::new(String::new()), rule SmtpUrl, common "URL";
        /// User name for the SMTP server, if `smtp_url` contains none.
        smtp_user: String = String::new(), rule checked("text on one line", is_one_line), rare "USER";
        /// Password of `smtp_user`. Set it in the environment, or use `smtp_password_file`.
        smtp_password: Secret<String> = Secret::new(String::new()), rule SecretText, rare "PASSWORD";
        /// File with the password of `smtp_user`, read at start, such as a secret of systemd or Docker.
        smtp_password_file: Option<PathBuf> = None, rule optional_path("a file"), rare "FILE";
        /// PEM file with additional certificate authorities for the SMTP server.
        smtp_ca_file: Option<PathBuf> = None, rule optional_path("a file"), rare "FILE";
        /// Program of the `sendmail` transport. Empty means `/usr/sbin/sendmail`, or else the
        /// `sendmail` in `PATH`.
        sendmail_program: Option<PathBuf> = None, rule optional_path("a program"), rare "PROGRAM";
        /// Directory of the `file` transport, which is created if missing.
        dir: String = "mail".to_owned(), rule checked("the path of a directory", is_path), rare "DIR";
        /// Directory with templates and language files that override the built-in ones;
        /// `accounts-server mail templates` writes these. Read at start.
        templates_dir: Option<PathBuf> = None, rule optional_path("a directory"), common "DIR";
        /// Page of your own that confirms an address, to which mails with a code link as well. Its
        /// `{token}` is replaced; without one, `?token=` is appended. The page sends the token to
        /// `otp/verify/`. Empty means the account pages; without those a mail has its code alone.
        confirm_url: String = String::new(),
            rule checked("a URL such as https://example.com/confirm, or nothing", |text| text.is_empty() || is_link(text)),
            common "URL";
        /// The same for a password reset; the page sends the token to `password/reset/confirm/`.
        reset_url: String = String::new(),
            rule checked("a URL such as https://example.com/reset, or nothing", |text| text.is_empty() || is_link(text)),
            common "URL";
        /// The same for an invitation; the page sends the token to `invitations/accept/`.
        invitation_url: String = String::new(),
            rule checked("a URL such as https://example.com/welcome, or nothing", |text| text.is_empty() || is_link(text)),
            common "URL";
        /// Whether a mail tells the owner of a sign-in from a new network. People who often change
        /// mobile networks get many of these.
        new_sign_in_notice: bool = true, rule Switch, common "true|false";
        /// Default language of mails, as a tag such as `de`, when `Accept-Language` at sign-up
        /// contains no available language.
        language: String = "en".to_owned(), rule checked("a language tag such as de or pt-BR", is_one_line), common "TAG";
    }

    /// Deliveries to other services.
    webhooks: WebhooksConfig, "Webhooks" {
        /// Networks that webhooks may reach although they are not public, over `http` too: IP
        /// addresses or networks such as `10.1.2.0/24`. All other addresses have to be public.
        allow_networks: Vec<IpNetwork> = Vec::new(), dev loopback(),
            rule listed::<IpNetwork>(), common "NETWORKS";
        /// PEM file with additional certificate authorities for receivers.
        ca_file: Option<PathBuf> = None, rule optional_path("a file"), rare "FILE";
    }

    /// Signing in with external identity providers.
    social: SocialConfig, "Sign-in with others" {
        /// Redirect URIs of one's own apps that may begin a sign-in with a provider through the API,
        /// exactly as they send them: `https`, `http` on this machine, or a scheme of the app such as
        /// `com.example.app:/callback`. The account pages need none.
        redirect_uris: Vec<AppRedirectUri> = Vec::new(), rule listed::<AppRedirectUri>(), common "URIS";
        /// Networks that providers may be in although they are not public, over `http` too: IP
        /// addresses or networks such as `10.1.2.0/24`. All other addresses have to be public.
        allow_networks: Vec<IpNetwork> = Vec::new(), dev loopback(),
            rule listed::<IpNetwork>(), rare "NETWORKS";
        /// PEM file with additional certificate authorities for providers.
        ca_file: Option<PathBuf> = None, rule optional_path("a file"), rare "FILE";
    }

    /// Access and refresh tokens.
    tokens: TokensConfig, "Tokens" {
        /// Lifetime of an access token in minutes.
        access_minutes: u32 = 5, rule whole(1, 1440), common "MINUTES";
        /// Lifetime of a refresh token in days, and so of an unused session.
        refresh_days: u32 = 30, rule whole(1, 3650), common "DAYS";
        /// Days after which a session ends, however often it was refreshed. 0 means never.
        session_days: u32 = 90, rule whole(0, 3650), common "DAYS";
        /// Hours after which a session of a staff account ends, however often it was refreshed. 0
        /// means never.
        staff_session_hours: u32 = 24, rule whole(0, 8760), common "HOURS";
        /// Seconds in which a used refresh token is accepted again, for clients that lost the
        /// response. Later use counts as theft and ends the session. 0 disables reuse.
        reuse_grace_seconds: u32 = 10, rule whole(0, 300), rare "SECONDS";
        /// Secret that encrypts the keys in the database, so that a stolen copy of the file does not
        /// reveal them. Existing keys are encrypted at the next start. Set it in the environment, or
        /// use `key_encryption_secret_file`.
        key_encryption_secret: Secret<String> = Secret::new(String::new()), rule KeySecret, rare "SECRET";
        /// File with that secret, read at start, such as a secret of systemd or Docker.
        key_encryption_secret_file: Option<PathBuf> = None, rule optional_path("a file"), rare "FILE";
        /// Algorithm that signs tokens: `ES256`, `EdDSA` or `RS256`. When it differs from that of the
        /// current key, the next start rotates the keys; tokens of earlier keys stay valid. Empty
        /// means `ES256` for a new database and no change for an existing one.
        algorithm: Option<SigningAlgorithm> = None, rule maybe::<SigningAlgorithm>(), common "ALGORITHM";
        /// Claim `iss` of tokens. Empty means the public URL.
        issuer: String = String::new(), rule checked("text on one line", is_one_line), rare "TEXT";
        /// Claim `aud` of access tokens. Empty means none.
        audience: String = String::new(), rule checked("text on one line", is_one_line), rare "TEXT";
    }

    /// Passwords and their hashes.
    passwords: PasswordsConfig, "Passwords" {
        /// Cost of bcrypt for new hashes: each step doubles the time of a sign-in and of a guess.
        bcrypt_cost: u32 = 12, dev 4, rule whole(4, 16), common "COST";
        /// Minimum number of characters of a new password.
        min_length: u32 = 8, rule whole(1, 128), common "CHARACTERS";
        /// File with breached passwords that are refused: the sorted SHA-1 hashes of
        /// haveibeenpwned.com. It is searched on disk, so its size does not matter. The 20,000 most
        /// common passwords are always refused.
        breached_list: Option<PathBuf> = None, rule optional_path("a file"), common "FILE";
        /// Threads that hash passwords. As many more, of lower priority, serve networks that send very
        /// many. 0 means one per CPU core.
        hash_threads: u32 = 0, rule whole(0, 1024), rare "COUNT";
        /// Maximum number of passwords that wait to be hashed; further requests are answered with 503.
        /// 0 means as many as are hashed in about ten seconds.
        hash_queue: u32 = 0, rule whole(0, 10_000), rare "COUNT";
    }

    /// Accounts.
    accounts: AccountsConfig, "Accounts" {
        /// Days after which a never-verified account without a valid code is deleted, unless it is
        /// staff or imported. 0 keeps them.
        unverified_days: u32 = 7, rule whole(0, 36_500), rare "DAYS";
        /// What a change of one's own address by the API needs: `token`, any access token, or
        /// `recent`, authentication within `[sessions] recent_minutes`. The account pages always
        /// ask for the latter.
        email_change: EmailChangeRule = EmailChangeRule::Token, rule parsed::<EmailChangeRule>(), rare "token|recent";
    }

    /// Sessions of both kinds: with tokens, and of browsers.
    sessions: SessionsConfig, "Sessions" {
        /// Minutes after signing in, or after `reauthenticate/`, in which changes are allowed that
        /// want recent authentication.
        recent_minutes: u32 = 10, rule whole(1, 1440), rare "MINUTES";
    }

    /// Second factors.
    mfa: MfaConfig, "Two-factor authentication" {
        /// Who has to have a second factor: `nobody`, `staff` or `everyone`. Accounts without one
        /// can sign in, and have to set one up before they can do more.
        required_for: FactorRequirement = FactorRequirement::Nobody, rule parsed::<FactorRequirement>(), common "WHO";
    }

    /// Passkeys.
    passkeys: PasskeysConfig, "Passkeys" {
        /// Domain that passkeys are bound to. Empty means the host of the public URL; a domain above
        /// it serves other hosts as well. With another domain the passkeys of before sign in no
        /// more.
        rp_id: String = String::new(), rule checked("a domain such as example.com, or nothing", is_rp_id), common "DOMAIN";
        /// Origins that may use passkeys, beside that of the public URL: of other websites, and
        /// `android:apk-key-hash:…`.
        origins: Vec<PasskeyOrigin> = Vec::new(), rule listed::<PasskeyOrigin>(), rare "ORIGINS";
        /// Android apps that may use passkeys, as package and SHA-256 fingerprint of the certificate:
        /// `com.example.app=14:6D:…`. They are published at `/.well-known/assetlinks.json`.
        android_apps: Vec<AndroidApp> = Vec::new(), rule listed::<AndroidApp>(), rare "APPS";
        /// Apps of Apple's systems that may use passkeys, as team and bundle:
        /// `ABCDE12345.com.example.app`. They are published at
        /// `/.well-known/apple-app-site-association`.
        apple_apps: Vec<AppleApp> = Vec::new(), rule listed::<AppleApp>(), rare "APPS";
    }

    /// One-time passwords sent by mail.
    otp: OtpConfig, "One-time passwords" {
        /// Lifetime of a one-time password in minutes.
        minutes: u32 = 10, rule whole(1, 1440), common "MINUTES";
        /// Minimum seconds between two mails to one address for one purpose. 0 means no limit.
        resend_seconds: u32 = 60, dev 0, rule whole(0, 3600), common "SECONDS";
        /// Maximum number of mails per hour to one address for one purpose. 0 means no limit.
        mails_per_hour: u32 = 10, dev 0, rule whole(0, 10_000), rare "COUNT";
    }

    /// Rate limits by network and account.
    rate_limits: RateLimitsConfig, "Rate limits" {
        /// Whether sign-ins, sign-ups, one-time passwords and resets are rate limited by network and
        /// account. The limits on mails and wrong one-time passwords always apply.
        enabled: bool = true, dev false, rule Switch, common "true|false";
        /// Failed sign-ins per network in 5 minutes.
        failed_sign_ins: u32 = 20, rule whole(1, MAX_RATE_LIMIT), rare "COUNT";
        /// Sign-ups per network and hour, and as many changes of an address.
        sign_ups: u32 = 20, rule whole(1, MAX_RATE_LIMIT), rare "COUNT";
        /// Tries of one-time passwords per network in 10 minutes.
        otp_tries: u32 = 30, rule whole(1, MAX_RATE_LIMIT), rare "COUNT";
        /// Password reset requests per network in 10 minutes.
        resets: u32 = 20, rule whole(1, MAX_RATE_LIMIT), rare "COUNT";
        /// Requests to resend a one-time password per network in 10 minutes.
        resends: u32 = 60, rule whole(1, MAX_RATE_LIMIT), rare "COUNT";
        /// Challenges for passkeys per network in 5 minutes. A sign-in page that offers passkeys asks
        /// for one each time it is opened.
        passkey_challenges: u32 = 300, rule whole(1, MAX_RATE_LIMIT), rare "COUNT";
        /// Requests of applications that wait for somebody to sign in, per network in 5 minutes.
        authorization_requests: u32 = 600, rule whole(1, MAX_RATE_LIMIT), rare "COUNT";
        /// Sign-ins by external providers that are started per network in 5 minutes, and ID tokens that
        /// apps send.
        external_sign_ins: u32 = 300, rule whole(1, MAX_RATE_LIMIT), rare "COUNT";
        /// Failures of OAuth clients per network in 5 minutes: wrong secrets, codes and tokens. Beyond
        /// it failures are answered with 429; what is right is always served.
        client_failures: u32 = 100, rule whole(1, MAX_RATE_LIMIT), rare "COUNT";
        /// Mails to addresses without an account in an hour, from all networks together. Beyond it the
        /// sign-ups and address changes that each network has shrink in proportion, to no less than
        /// 2. 0 means no ceiling.
        new_address_mails_an_hour: u32 = 1000, rule whole(0, 1_000_000), rare "COUNT";
        /// Wrong one-time passwords in an hour, from all networks together. Beyond it the tries that
        /// each network has shrink in proportion, to no less than 5. 0 means no ceiling.
        wrong_codes_an_hour: u32 = 500, rule whole(0, 1_000_000), rare "COUNT";
        /// Photo uploads per account in 10 minutes.
        photo_uploads: u32 = 30, rule whole(1, MAX_RATE_LIMIT), rare "COUNT";
        /// Failed sign-ins to one account from one network before it has to wait between them: one
        /// second, then twice as long each time, up to 15 minutes.
        account_failures: u32 = 5, rule whole(1, MAX_RATE_LIMIT), rare "COUNT";
        /// Failed sign-ins to one account per hour, from all networks, after which only networks of
        /// earlier sign-ins are served.
        account_failures_an_hour: u32 = 100, rule whole(1, MAX_RATE_LIMIT), rare "COUNT";
    }

    /// The audit log in the database.
    audit: AuditConfig, "Audit log" {
        /// Days after which entries are deleted. 0 keeps them forever.
        retention_days: u32 = 180, rule whole(0, 36_500), rare "DAYS";
    }

    /// Profile photos.
    media: MediaConfig, "Photos" {
        /// Directory of the photos, which is created if missing. Empty means the path of the database
        /// plus `.media`.
        dir: Option<PathBuf> = None, rule optional_path("a directory"), common "DIR";
        /// Largest photo upload in MiB.
        max_photo_mib: u32 = 5, rule whole(1, 50), common "MIB";
        /// Maximum number of pixels of an uploaded photo, in millions. A JPEG may have four times as
        /// many: it is decoded at reduced size.
        max_megapixels: u32 = 24, rule whole(1, 500), rare "MILLIONS";
        /// Memory for decoding photos, in MiB, shared by all uploads. A photo that needs more alone is
        /// refused, others wait.
        decode_memory_mib: u32 = 100, rule whole(16, 16_384), rare "MIB";
        /// Longer side of a stored photo in pixels. Larger photos are scaled down.
        max_side_pixels: u32 = 1024, rule whole(16, 16_384), rare "PIXELS";
    }

    /// Scheduled backups.
    backup: BackupConfig, "Backups" {
        /// Directory for scheduled backups of database and photos, one file each, created if missing.
        /// Empty disables them. Another disk than that of the database is better.
        dir: Option<PathBuf> = None, rule optional_path("a directory"), common "DIR";
        /// Time between two backups, such as `6h` or `1d`, counted from the newest file in the
        /// directory.
        every: Interval = Interval::days(1), rule parsed::<Interval>(), common "INTERVAL";
        /// Number of backups to keep; older ones of this server are deleted. 0 keeps all.
        keep: u32 = 7, rule whole(0, 10_000), common "COUNT";
    }

    /// Account pages for browsers.
    pages: PagesConfig, "Pages" {
        /// Whether browsers get pages for sign-up, sign-in and the own account below `/account/`.
        enabled: bool = true, rule Switch, common "true|false";
        /// Directory with HTML templates and an `override.css` that replace the built-in ones of the
        /// same name; `accounts-server pages export` writes these. Read at start.
        templates: Option<PathBuf> = None, rule optional_path("a directory"), common "DIR";
    }

    /// Console for staff in the browser.
    console: ConsoleConfig, "Console" {
        /// Whether staff manage accounts and the server in the browser, below `/console/`. It needs
        /// the account pages, where they sign in.
        enabled: bool = true, rule Switch, common "true|false";
    }

    /// Name, logo and links on pages.
    branding: BrandingConfig, "Branding" {
        /// Name of the service. Empty means the name in `[mail] from`.
        name: String = String::new(), rule checked("text on one line", is_one_line), common "TEXT";
        /// Logo: an SVG, PNG, JPEG or WebP file. Read at start.
        logo: Option<PathBuf> = None, rule optional_path("a file"), common "FILE";
        /// Logo in dark mode, if it differs.
        logo_dark: Option<PathBuf> = None, rule optional_path("a file"), rare "FILE";
        /// Colour of buttons and links, such as `#3538cd`. `check` tells whether it is readable.
        accent: String = String::new(), rule checked("a colour such as #3538cd, or nothing", is_colour), common "COLOUR";
        /// Where people get help.
        support_url: String = String::new(), rule checked("an http, https or mailto address, or nothing", is_web_link), common "URL";
        /// Terms of use.
        terms_url: String = String::new(), rule checked("an http, https or mailto address, or nothing", is_web_link), common "URL";
        /// Privacy policy.
        privacy_url: String = String::new(), rule checked("an http, https or mailto address, or nothing", is_web_link), common "URL";
        /// Who runs the service, where the law asks for it.
        imprint_url: String = String::new(), rule checked("an http, https or mailto address, or nothing", is_web_link), rare "URL";
    }

    /// Development and end-to-end tests; requires `--dev`.
    development: DevelopmentConfig, "Development (requires --dev)" {
        /// Fixed one-time passwords by address, as `{ "alice@example.com" = "123456" }`, or
        /// `alice@example.com=123456` in a flag. Other addresses get random ones.
        fixed_otp: BTreeMap<String, String> = BTreeMap::new(),
            rule map("addresses with six digits each, such as { \"alice@example.com\" = \"123456\" }", is_fixed_otp),
            common "ADDR=OTP", flag "fixed-otp";
        /// File with seed data in the format of `import`; passwords may be plain text here. It is
        /// loaded when the database has no accounts, and again by `POST /dev/reset/`.
        seed: Option<PathBuf> = None, rule optional_path("a file"), common "FILE", flag "seed";
        /// Whether to keep database and photos in a temporary directory that is deleted when the
        /// server stops, instead of `[database] path`.
        ephemeral: bool = false, rule Switch, common "true|false", flag "ephemeral";
        /// Whether to stop when the process that started the server ends.
        exit_with_parent: bool = false, rule Switch, common "true|false", flag "exit-with-parent";
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_consist_of_section_and_key() {
        let access = setting("tokens.access_minutes").unwrap();
        assert_eq!(access.flag, "tokens-access-minutes");
        assert_eq!(access.env, "ACCOUNTS_TOKENS_ACCESS_MINUTES");
        assert_eq!(access.default_text, "5");
        assert_eq!(access.dev_default_text, None);
        assert_eq!(access.help, "Lifetime of an access token in minutes.");
        assert_eq!(
            setting("rate_limits.enabled").unwrap().env,
            "ACCOUNTS_RATE_LIMITS_ENABLED"
        );
        assert_eq!(setting("server.listen").unwrap().flag, "listen");
        assert_eq!(setting("database.path").unwrap().flag, "db");
        assert!(setting("tokens.minutes").is_none());
    }

    #[test]
    fn flags_and_variables_are_distinct() {
        let flags: BTreeSet<_> = settings().iter().map(|s| &s.flag).collect();
        let variables: BTreeSet<_> = settings().iter().map(|s| &s.env).collect();
        assert_eq!(flags.len(), settings().len());
        assert_eq!(variables.len(), settings().len());
    }

    #[test]
    fn help_texts_are_sentences_on_one_line() {
        for setting in settings() {
            let help = &setting.help;
            assert!(help.ends_with('.') && !help.contains('\n'), "{help}");
            assert!(!help.contains("  "), "{help}");
        }
    }

    #[test]
    fn defaults_pass_their_own_rules() {
        for dev in [false, true] {
            let defaults = Config::defaults(dev);
            let mut again = defaults.clone();
            for setting in settings() {
                let raw = (setting.write)(&defaults);
                (setting.read)(&mut again, raw).expect(setting.name);
            }
            assert_eq!(again, defaults);
        }
    }

    #[test]
    fn dev_changes_these_defaults_and_no_others() {
        let changed: Vec<_> = settings()
            .iter()
            .filter_map(|s| Some((s.name, s.dev_default_text.as_deref()?)))
            .collect();
        assert_eq!(
            changed,
            [
                ("mail.transport", "stdout"),
                ("webhooks.allow_networks", "127.0.0.0/8,::1"),
                ("social.allow_networks", "127.0.0.0/8,::1"),
                ("passwords.bcrypt_cost", "4"),
                ("otp.resend_seconds", "0"),
                ("otp.mails_per_hour", "0"),
                ("rate_limits.enabled", "false"),
            ]
        );
    }

    #[test]
    fn passwords_are_secrets() {
        let secrets: Vec<_> = settings()
            .iter()
            .filter(|setting| setting.secret)
            .map(|setting| setting.name)
            .collect();
        assert_eq!(
            secrets,
            [
                "mail.smtp_url",
                "mail.smtp_password",
                "tokens.key_encryption_secret"
            ]
        );
    }
}
