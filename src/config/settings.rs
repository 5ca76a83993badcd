//! The one table of settings. Everything follows from it: the structs with their documentation, the defaults, the keys of
//! the file, the environment variables, the flags, the help and the example file.
//!
//! To add a setting, add one entry to its section:
//!
//! ```text
//! /// One to three plain sentences: the unit and the effect. They are documentation, help and comment in one.
//! key: Type = default, dev default_under_dev, rule rule_for_the_value, common "VALUE_NAME";
//! ```
//!
//! `dev` may be left out. `common` settings are shown by `-h`, `rare` ones by `--help` only. A flag other than
//! `--section-key` follows as `, flag "name"`. Then write the example file anew; a test says what it has to be.
//!
//! Deliberately does not know where values come from; `load` does.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use super::rules::{
    KeySecret, Mismatch, Raw, Rule, SecretText, Shape, SmtpUrl, Switch, checked, listed, map,
    maybe, parsed, whole,
};
use super::values::{
    Interval, ListenAddr, LogFormat, MailTransportKind, Origin, ProxyNetwork, PublicUrl, Secret,
    is_fixed_otp, is_log_filter, is_mailbox, is_one_line, is_path,
};

/// What there is to know about one setting.
#[derive(Clone, Debug)]
pub struct SettingInfo {
    /// Section of the file, such as `tokens`.
    pub section: &'static str,
    /// Key in that section, such as `access_minutes`.
    pub key: &'static str,
    /// Both, such as `tokens.access_minutes`; also the id of its flag in clap.
    pub name: &'static str,
    /// What the section is about, in a few words.
    pub heading: &'static str,
    /// Long flag without its dashes, such as `tokens-access-minutes`.
    pub flag: String,
    /// Environment variable, such as `ACCOUNTS_TOKENS_ACCESS_MINUTES`.
    pub env: String,
    /// Unit and effect, in plain sentences.
    pub help: String,
    /// What a right value looks like, to follow the word "expected".
    pub expected: String,
    /// The default as a flag would give it; empty for an empty text or list.
    pub default_text: String,
    /// The default under `--dev` where it is another one.
    pub dev_default_text: Option<String>,
    /// Word that stands for the value in help.
    pub value_name: &'static str,
    /// The type in TOML.
    pub shape: Shape,
    /// Whether the value must never be shown.
    pub secret: bool,
    /// Whether only the long help lists the flag.
    pub rare: bool,
    pub(super) read: fn(&mut Config, Raw) -> Result<(), Mismatch>,
    pub(super) write: fn(&Config) -> Raw,
}

/// All settings, in the order of the example file; those of one section follow each other.
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
            /// Whether `--dev` was given, which also opens the inbox for developers.
            pub dev: bool,
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
            /// The settings when nothing is set, with `--dev` or without.
            pub fn defaults(dev: bool) -> Self {
                Self {
                    dev,
                    $( $section: $Section {
                        $( $key: or_under_dev!(dev, $default $(, $dev)?), )+
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

macro_rules! or_under_dev {
    ($is_dev:ident, $default:expr) => {
        $default
    };
    ($is_dev:ident, $default:expr, $dev:expr) => {
        if $is_dev { $dev } else { $default }
    };
}

/// The name of a section in the file: that of its field, but for `[dev]`, as `Config` has a `dev` already.
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

/// The part of a `SettingInfo` that stands in the table itself.
struct Entry {
    section: &'static str,
    key: &'static str,
    name: &'static str,
    heading: &'static str,
    help: &'static str,
    value_name: &'static str,
    rare: bool,
    /// The flag, if it is not made of section and key.
    flag: &'static [&'static str],
    read: fn(&mut Config, Raw) -> Result<(), Mismatch>,
    write: fn(&Config) -> Raw,
}

impl Entry {
    /// Adds what follows from the names, the rule and the defaults.
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

/// Most that a limit can be set to: the moments of all that is counted are remembered.
const MOST_COUNTED: u32 = 10_000;

/// Most seconds that a timeout of the server can be set to, one hour: longer ones no longer protect it.
const MAX_TIMEOUT_SECONDS: u32 = 3600;

settings! {
    /// The HTTP server.
    server: ServerConfig, "HTTP server" {
        /// Address and port to accept connections on. Port 0 picks a free one.
        listen: ListenAddr = ListenAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000),
            rule parsed::<ListenAddr>(), common "ADDR:PORT", flag "listen";
        /// URL under which clients reach the server, a path before `/api` included. Links in answers and mails begin with
        /// it, whatever the request says. Empty stands for the address that the server listens on, with
        /// `https://` before it where there is a certificate and `http://` where there is none.
        public_url: Option<PublicUrl> = None, rule maybe::<PublicUrl>(), common "URL";
        /// Addresses or CIDR networks of the reverse proxies in front. Only their forwarding headers are believed when the
        /// server works out a client's address.
        trusted_proxies: Vec<ProxyNetwork> = Vec::new(), rule listed::<ProxyNetwork>(), common "NETWORKS";
        /// Origins of web pages on other hosts that may use the API from a browser (CORS), each exactly as the browser
        /// sends it.
        cors_origins: Vec<Origin> = Vec::new(), rule listed::<Origin>(), common "ORIGINS";
        /// Largest request body in KiB; beyond it the answer is 413. Photo uploads go by `max_photo_mib` instead.
        max_body_kib: u32 = 1024, rule whole(1, 1_048_576), rare "KIB";
        /// Largest header of a request in KiB, its first line included; beyond it the answer is 431, as it is for more than
        /// 100 fields.
        max_header_kib: u32 = 16, rule whole(4, 1024), rare "KIB";
        /// Seconds that a client may take to send the header of a request, and to begin with its first one.
        header_timeout_seconds: u32 = 15, rule whole(1, MAX_TIMEOUT_SECONDS), rare "SECONDS";
        /// Seconds that a client may take to send the body of a request, and on top of them as long as it takes at 16 KB a
        /// second.
        body_timeout_seconds: u32 = 30, rule whole(1, MAX_TIMEOUT_SECONDS), rare "SECONDS";
        /// Seconds that a client may pause within a body.
        body_pause_seconds: u32 = 10, rule whole(1, MAX_TIMEOUT_SECONDS), rare "SECONDS";
        /// Seconds that a client may leave an answer unread before its connection is cut off.
        send_timeout_seconds: u32 = 30, rule whole(1, MAX_TIMEOUT_SECONDS), rare "SECONDS";
        /// Seconds that a connection may be quiet between two requests.
        keep_alive_seconds: u32 = 75, rule whole(1, MAX_TIMEOUT_SECONDS), rare "SECONDS";
        /// Most connections at a time. When all are taken, those whose clients have been silent for longest make room. 0 means
        /// as many as the limit on open files allows, and 20000 at most.
        max_connections: u32 = 0, rule whole(0, 1_000_000), rare "COUNT";
        /// Most connections at a time of one client network (IPv4 address, IPv6 /64), in the same way. 0 means no limit. Trusted
        /// proxies and programs on the same machine are not counted.
        max_connections_per_network: u32 = 512, rule whole(0, 1_000_000), rare "COUNT";
        /// Seconds that requests under way and queued mails get to finish when the server is told to stop.
        shutdown_seconds: u32 = 30, rule whole(0, MAX_TIMEOUT_SECONDS), rare "SECONDS";
    }

    /// Encryption of connections, without a proxy in front.
    tls: TlsConfig, "Encryption" {
        /// PEM file with the server's certificate, and after it those that lead to its authority (`fullchain.pem`). With it
        /// the server speaks HTTPS, HTTP/2 included, and nothing else. New files are taken over while it runs.
        cert: String = String::new(), rule checked("the path of a file, or nothing", |text| !text.contains('\0')), common "FILE";
        /// PEM file with the certificate's private key (`privkey.pem`).
        key: String = String::new(), rule checked("the path of a file, or nothing", |text| !text.contains('\0')), common "FILE";
    }

    /// Watching the server.
    metrics: MetricsConfig, "Watching" {
        /// Address and port of their own for `/metrics`, `/healthz` and `/readyz`, without encryption: then `/metrics` is
        /// there for whoever can reach it, and nowhere else. Empty leaves it on the main address, for programs on the same machine.
        listen: Option<ListenAddr> = None, rule maybe::<ListenAddr>(), common "ADDR:PORT";
    }

    /// The log on standard error.
    log: LogConfig, "Log" {
        /// What is logged: `error`, `warn`, `info`, `debug` or `trace`, also by module as in
        /// `warn,accounts_server::delivery=debug`. The variable RUST_LOG overrides it.
        level: String = "info".to_owned(), rule checked("a level such as info or a list such as warn,accounts_server::delivery=debug", is_log_filter),
            common "LEVEL";
        /// `text` for people, or `json` for programs: one object a line with `time`, `level`, `target`, `message` and, where
        /// there is one, `request_id`.
        format: LogFormat = LogFormat::Text, rule parsed::<LogFormat>(), common "FORMAT";
    }

    /// The SQLite database.
    database: DatabaseConfig, "Database" {
        /// File of the database, created when missing. `:memory:` keeps everything in memory and loses it at the end.
        path: String = "users.db".to_owned(), rule checked("the path of a file, or :memory:", is_path),
            common "PATH", flag "db";
        /// Milliseconds to wait for another process that is writing to the file.
        busy_timeout_ms: u32 = 5000, rule whole(0, 600_000), rare "MILLISECONDS";
        /// Connections for reading. 0 means one more than the machine has cores.
        read_connections: u32 = 0, rule whole(0, 1024), rare "COUNT";
        /// Most changes that are committed together when many come at once. 1 commits each alone.
        writes_per_commit: u32 = 128, rule whole(1, 4096), rare "COUNT";
        /// Most memory in which a connection keeps pages of the file, in MiB. There is one connection that writes and two for
        /// each that reads. What is not kept here comes from the system's own cache, which takes a little longer. An import
        /// takes 64 at least.
        cache_mib: u32 = 2, rule whole(1, 65_536), rare "MIB";
    }

    /// Outgoing mail.
    mail: MailConfig, "Mail" {
        /// How mails leave: `smtp`, `stdout` (printed), `sendmail` (the local program) or `file` (one file each into
        /// `dir`). Empty means `smtp` when `smtp_url` is set and `stdout` otherwise.
        transport: Option<MailTransportKind> = None, dev Some(MailTransportKind::Stdout),
            rule maybe::<MailTransportKind>(), common "TRANSPORT";
        /// Sender of all mails, an address with or without a name.
        from: String = "accounts-server <accounts@localhost>".to_owned(),
            rule checked("a mailbox such as Accounts <accounts@example.com>", is_mailbox), common "MAILBOX";
        /// Where answers to mails go, as in `from`. Empty means to the sender.
        reply_to: String = String::new(),
            rule checked("a mailbox such as Help <help@example.com>, or nothing", |text| text.is_empty() || is_mailbox(text)),
            common "MAILBOX";
        /// Mail server with user and password, as `smtps://user:password@host:465` or `smtp://host:587`. Better set it in
        /// the environment or the file: other users of the machine can see the flags of a process.
        smtp_url: Secret<String> = Secret::new(String::new()), rule SmtpUrl, common "URL";
        /// User and password for the mail server, where `smtp_url` names none.
        smtp_user: String = String::new(), rule checked("text on one line", is_one_line), rare "USER";
        /// Password of `smtp_user`. Better set it in the environment, or name a file that holds it.
        smtp_password: Secret<String> = Secret::new(String::new()), rule SecretText, rare "PASSWORD";
        /// File with the password of `smtp_user`, read at start: a secret that systemd or Docker provides.
        smtp_password_file: String = String::new(), rule checked("the path of a file, or nothing", |text| !text.contains('\0')),
            rare "FILE";
        /// PEM file with certificates that the mail server's own is trusted by, beside those of the public authorities.
        smtp_ca_file: String = String::new(), rule checked("the path of a file, or nothing", |text| !text.contains('\0')),
            rare "FILE";
        /// Program of the `sendmail` transport, which takes a mail as sendmail does. Empty means `/usr/sbin/sendmail`, or where
        /// there is none the `sendmail` in `PATH`.
        sendmail_program: String = String::new(), rule checked("the path of a program, or nothing", |text| !text.contains('\0')),
            rare "PROGRAM";
        /// Directory for the `file` transport, created when missing.
        dir: String = "mail".to_owned(), rule checked("the path of a directory", is_path), rare "DIR";
        /// Directory with templates and language files that override the built-in ones, which `accounts-server mail templates`
        /// writes out to start from. Read at start. Empty means none.
        templates_dir: String = String::new(), rule checked("the path of a directory, or nothing", |text| !text.contains('\0')),
            common "DIR";
        /// Whether the owner is told by mail when somebody signs in from a network that is new to the account. Who moves between
        /// mobile networks a lot gets many of these.
        new_sign_in_notice: bool = false, rule Switch, common "true|false";
        /// Language of mails to people whose `Accept-Language` at sign-up named none that there is, as a tag such as `de`.
        language: String = "en".to_owned(), rule checked("a language tag such as de or pt-BR", is_one_line), common "TAG";
    }

    /// Access and refresh tokens.
    tokens: TokensConfig, "Tokens" {
        /// Minutes that an access token is good for.
        access_minutes: u32 = 5, rule whole(1, 1440), common "MINUTES";
        /// Days that a refresh token is good for, and so a session that nobody uses.
        refresh_days: u32 = 30, rule whole(1, 3650), common "DAYS";
        /// Seconds in which a used refresh token may be shown again, for a client whose answer was lost. Later it counts as
        /// stolen and ends the session. 0 allows no second use.
        reuse_grace_seconds: u32 = 10, rule whole(0, 300), rare "SECONDS";
        /// Secret that the keys in the database are encrypted with, so that a copy of the file is of no use to a thief. What
        /// starts with it encrypts them. Better set it in the environment, or name a file that holds it.
        key_encryption_secret: Secret<String> = Secret::new(String::new()), rule KeySecret, rare "SECRET";
        /// File with that secret, read at start: a secret that systemd or Docker provides.
        key_encryption_secret_file: String = String::new(),
            rule checked("the path of a file, or nothing", |text| !text.contains('\0')), rare "FILE";
        /// Claim `iss` of the tokens. Empty stands for the public URL.
        issuer: String = String::new(), rule checked("text on one line", is_one_line), rare "TEXT";
        /// Claim `aud` of the tokens. Empty leaves it out.
        audience: String = String::new(), rule checked("text on one line", is_one_line), rare "TEXT";
    }

    /// Passwords and how they are hashed.
    passwords: PasswordsConfig, "Passwords" {
        /// Cost of bcrypt for new hashes: each step up doubles the time of a sign-in and of guessing.
        bcrypt_cost: u32 = 12, dev 4, rule whole(4, 16), common "COST";
        /// Least number of characters in a new password.
        min_length: u32 = 8, rule whole(1, 128), common "CHARACTERS";
        /// File with leaked passwords that nobody may choose, as haveibeenpwned.com gives it out: SHA-1 hashes, sorted. It is
        /// looked up where it lies, however large it is. Empty means the built-in 20,000 most common passwords alone.
        breached_list: String = String::new(),
            rule checked("the path of a file, or nothing", |text| !text.contains('\0')), common "FILE";
        /// Threads that hash passwords; as many more, of lower priority, are for networks that send very many. 0 means one for
        /// each core.
        hash_threads: u32 = 0, rule whole(0, 1024), rare "COUNT";
        /// Passwords that may wait to be hashed; beyond that the answer is 503. 0 means as many as are done within about
        /// ten seconds.
        hash_queue: u32 = 0, rule whole(0, 10_000), rare "COUNT";
    }

    /// One-time passwords that are sent by mail.
    otp: OtpConfig, "One-time passwords" {
        /// Minutes that a one-time password is good for.
        minutes: u32 = 10, rule whole(1, 1440), common "MINUTES";
        /// Least seconds between two mails for one purpose to one address. 0 means no pause.
        resend_seconds: u32 = 60, dev 0, rule whole(0, 3600), common "SECONDS";
        /// Most mails an hour for one purpose to one address. 0 means no limit.
        mails_per_hour: u32 = 10, dev 0, rule whole(0, 10_000), rare "COUNT";
    }

    /// Limits on how often one network or account may try.
    rate_limits: RateLimitsConfig, "Rate limits" {
        /// Whether sign-ins, sign-ups, one-time passwords and resets are limited by network and account. The limits on mails
        /// and on wrong one-time passwords stay on without it.
        enabled: bool = true, dev false, rule Switch, common "true|false";
        /// Failed sign-ins that one network may have in 5 minutes.
        failed_sign_ins: u32 = 20, rule whole(1, MOST_COUNTED), rare "COUNT";
        /// Sign-ups that one network may make in an hour, and as many changes to another address.
        sign_ups: u32 = 20, rule whole(1, MOST_COUNTED), rare "COUNT";
        /// One-time passwords that one network may try in 10 minutes.
        otp_tries: u32 = 30, rule whole(1, MOST_COUNTED), rare "COUNT";
        /// Password resets that one network may ask for in 10 minutes.
        resets: u32 = 20, rule whole(1, MOST_COUNTED), rare "COUNT";
        /// One-time passwords that one network may ask for again in 10 minutes.
        resends: u32 = 60, rule whole(1, MOST_COUNTED), rare "COUNT";
        /// Failed sign-ins to one account from one network before it has to wait between them: a second, then twice as long
        /// each time, up to a quarter of an hour.
        account_failures: u32 = 5, rule whole(1, MOST_COUNTED), rare "COUNT";
        /// Failed sign-ins to one account in an hour, from everywhere, after which only networks are served from which it
        /// was signed in to before.
        account_failures_an_hour: u32 = 100, rule whole(1, MOST_COUNTED), rare "COUNT";
    }

    /// The log of who did what, in the database.
    audit: AuditConfig, "Audit log" {
        /// Days that entries are kept. 0 keeps them for good.
        retention_days: u32 = 180, rule whole(0, 36_500), rare "DAYS";
    }

    /// Profile photos.
    media: MediaConfig, "Photos" {
        /// Directory of the photos, created when missing. Empty means the one beside the database file that has its name and
        /// `.media`.
        dir: String = String::new(), rule checked("the path of a directory, or nothing", |text| !text.contains('\0')),
            common "DIR";
        /// Largest photo that may be uploaded, in MiB.
        max_photo_mib: u32 = 5, rule whole(1, 50), common "MIB";
        /// Most pixels that an uploaded photo may have, in millions. A larger one is refused before it is decoded.
        max_megapixels: u32 = 50, rule whole(1, 500), rare "MILLIONS";
        /// Longer side of a stored photo, in pixels. A larger one is scaled down.
        max_side_pixels: u32 = 1024, rule whole(16, 16_384), rare "PIXELS";
    }

    /// Backups that the server makes by itself.
    backup: BackupConfig, "Backups" {
        /// Directory into which the server backs up database and photos, one file each time, created when missing. Empty
        /// means that it makes none. Better on another disk than the database.
        dir: String = String::new(), rule checked("the path of a directory, or nothing", |text| !text.contains('\0')),
            common "DIR";
        /// Time between two backups, such as `6h` or `1d`. The newest file in the directory says when the next is due.
        every: Interval = Interval::days(1), rule parsed::<Interval>(), common "INTERVAL";
        /// How many backups to keep; older ones of this server are removed. 0 keeps all.
        keep: u32 = 7, rule whole(0, 10_000), common "COUNT";
    }

    /// Development and end-to-end tests: all of it goes with `--dev` only.
    development: DevelopmentConfig, "Development (with --dev only)" {
        /// One-time passwords for chosen addresses, as `{ "alice@example.com" = "123456" }`, or `alice@example.com=123456`
        /// in a flag. Everybody else gets random ones.
        fixed_otp: BTreeMap<String, String> = BTreeMap::new(),
            rule map("addresses with six digits each, such as { \"alice@example.com\" = \"123456\" }", is_fixed_otp),
            common "ADDR=OTP", flag "fixed-otp";
        /// File of accounts to begin with, in the format of `import`; here a password may also be plain text. It is read when
        /// the database has no accounts yet. `POST /dev/reset/` goes back to the state after it.
        seed: String = String::new(), rule checked("the path of a file, or nothing", |text| !text.contains('\0')),
            common "FILE", flag "seed";
        /// Whether to keep the database and the photos in a temporary folder that goes when the server ends, instead of at
        /// `[database] path`.
        ephemeral: bool = false, rule Switch, common "true|false", flag "ephemeral";
        /// Whether to end when the process that started the server does.
        exit_with_parent: bool = false, rule Switch, common "true|false", flag "exit-with-parent";
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_follow_from_section_and_key() {
        let access = setting("tokens.access_minutes").unwrap();
        assert_eq!(access.flag, "tokens-access-minutes");
        assert_eq!(access.env, "ACCOUNTS_TOKENS_ACCESS_MINUTES");
        assert_eq!(access.default_text, "5");
        assert_eq!(access.dev_default_text, None);
        assert_eq!(access.help, "Minutes that an access token is good for.");
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
    fn helps_are_whole_sentences_on_one_line() {
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
