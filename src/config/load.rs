//! Puts the configuration together: flag over environment over file over default, setting by setting.
//!
//! Owns the reading of the file and of the environment, the search for unknown names, and the check of settings against
//! each other. Deliberately does not know any setting by name except where two of them depend on each other.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, FileLine, Place, Problem};
use super::rules::{Mismatch, Raw, parse_switch};
use super::settings::{Config, SettingInfo, in_section, sections, setting, settings};
use super::suggest::closest;
use super::values::MailTransportKind;

/// What the names of all environment variables of the program begin with.
const PREFIX: &str = "ACCOUNTS_";
/// Does what `--dev` does.
const DEV_VARIABLE: &str = "ACCOUNTS_DEV";
/// Does what `--config` does.
const FILE_VARIABLE: &str = "ACCOUNTS_CONFIG";

/// Where settings come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Settings of the command line: their names such as `server.listen`, and the text.
    pub flags: Vec<(&'static str, String)>,
    /// Environment variables; those without the prefix `ACCOUNTS_` are not looked at, empty ones count as unset.
    pub environment: BTreeMap<String, String>,
    /// The file of `--config`. Without one the variable `ACCOUNTS_CONFIG` counts, and without that no file is read.
    pub file: Option<PathBuf>,
    /// Whether `--dev` was given. `ACCOUNTS_DEV=true` does the same.
    pub dev: bool,
}

/// The environment variables of this process that begin with `ACCOUNTS_`.
///
/// # Errors
/// When one of them is not UTF-8.
pub fn process_environment() -> Result<BTreeMap<String, String>, ConfigError> {
    let mut variables = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, value) in std::env::vars_os() {
        // A name that is not UTF-8 is none of ours.
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        match value.into_string() {
            Ok(value) => {
                variables.insert(name.to_owned(), value);
            }
            Err(_) => problems.push(Problem::NotUtf8 {
                variable: name.to_owned(),
            }),
        }
    }
    if problems.is_empty() {
        Ok(variables)
    } else {
        Err(ConfigError::new(problems))
    }
}

/// The configuration that the sources give, and warnings for the log: environment variables that look like settings and
/// are none.
///
/// # Errors
/// When the file cannot be read, has an unknown section or key, a value has the wrong form, or settings contradict each
/// other. What is wrong in file, environment and flags is reported all at once; a wrong value is an error also where a
/// right one overrides it.
///
/// # Panics
/// When `flags` names a setting that does not exist.
pub fn load(sources: &Sources) -> Result<(Config, Vec<String>), ConfigError> {
    let mut problems = Vec::new();
    let variable = |name: &str| {
        sources
            .environment
            .get(name)
            .filter(|value| !value.is_empty())
    };

    let dev_variable = variable(DEV_VARIABLE).map(|value| {
        parse_switch(value).unwrap_or_else(|| {
            problems.push(Problem::WrongValue {
                place: Place::Environment(DEV_VARIABLE.to_owned()),
                expected: "true or false".to_owned(),
                got: Some(Mismatch::text(value).0),
            });
            false
        })
    });
    let mut config = Config::defaults(sources.dev || dev_variable.unwrap_or(false));

    let file = sources
        .file
        .clone()
        .or_else(|| variable(FILE_VARIABLE).map(PathBuf::from));
    if let Some(file) = file {
        let text = read(&file)?;
        problems.extend(FileReader::new(&file, &text).apply(&mut config)?);
    }

    for setting in settings() {
        if let Some(value) = variable(&setting.env) {
            let place = || Place::Environment(setting.env.clone());
            let raw = Raw::from_text(setting.shape, value);
            problems.extend(apply(&mut config, setting, raw, place).err());
        }
    }

    for (name, value) in &sources.flags {
        let setting = setting(name).expect("flags are named after settings");
        let place = || Place::Flag(setting.flag.clone());
        let raw = Raw::from_text(setting.shape, value);
        problems.extend(apply(&mut config, setting, raw, place).err());
    }

    if problems.is_empty() {
        problems.extend(conflicts(&config));
    }
    if problems.is_empty() {
        Ok((config, unknown_variables(&sources.environment)))
    } else {
        Err(ConfigError::new(problems))
    }
}

/// Sets one setting, or says what is wrong with the value.
fn apply(
    config: &mut Config,
    setting: &SettingInfo,
    raw: Result<Raw, Mismatch>,
    place: impl FnOnce() -> Place,
) -> Result<(), Problem> {
    raw.and_then(|raw| (setting.read)(config, raw))
        .map_err(|Mismatch(got)| Problem::WrongValue {
            place: place(),
            expected: setting.expected.clone(),
            got: (!setting.secret).then_some(got),
        })
}

/// What is wrong with settings that are right one by one.
fn conflicts(config: &Config) -> Vec<Problem> {
    let mut sentences = Vec::new();
    let transport = config.mail.transport;
    if transport == Some(MailTransportKind::Smtp) && config.mail.smtp_url.expose().is_empty() {
        sentences.push(
            "[mail] transport is \"smtp\", but no server is set: set [mail] smtp_url in the file, \
             ACCOUNTS_MAIL_SMTP_URL or --mail-smtp-url, or choose another transport"
                .to_owned(),
        );
    }
    let mail = &config.mail;
    let has_password = !mail.smtp_password.expose().is_empty();
    let has_file = !mail.smtp_password_file.is_empty();
    let uses_smtp = config.mail_transport() == MailTransportKind::Smtp;
    if uses_smtp && has_password && has_file {
        sentences.push(
            "[mail] smtp_password and smtp_password_file are both set: keep one of them".to_owned(),
        );
    }
    if uses_smtp && mail.smtp_user.is_empty() == (has_password || has_file) {
        sentences.push(
            "[mail] smtp_user and its password (smtp_password or smtp_password_file) are set together or not at all"
                .to_owned(),
        );
    }
    if config.tls.cert.is_empty() != config.tls.key.is_empty() {
        sentences.push(
            "[tls] cert and key are set together or not at all: the certificate and its private key"
                .to_owned(),
        );
    }
    let tokens = &config.tokens;
    if !tokens.key_encryption_secret.expose().is_empty()
        && !tokens.key_encryption_secret_file.is_empty()
    {
        sentences.push(
            "[tokens] key_encryption_secret and key_encryption_secret_file are both set: keep one of them"
                .to_owned(),
        );
    }
    sentences.extend(development_conflicts(config));
    sentences.into_iter().map(Problem::Conflict).collect()
}

/// What is for development has no place where the world comes in.
fn development_conflicts(config: &Config) -> Option<String> {
    if config.dev {
        let is_loopback = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
        let listen = &config.server.listen;
        return (!listen.socket_addrs().iter().all(is_loopback)).then(|| {
            format!(
                "--dev shows mails and lets anybody reset the database, so it listens on this machine only: {listen} is \
                 refused; choose a loopback address such as 127.0.0.1:8000, or leave --dev out"
            )
        });
    }
    let usual = Config::defaults(false);
    let set: Vec<String> = in_section("dev")
        .filter(|setting| (setting.write)(config) != (setting.write)(&usual))
        .map(|setting| format!("--{} ([dev] {})", setting.flag, setting.key))
        .collect();
    (!set.is_empty()).then(|| {
        format!(
            "{} is for development and tests: it needs --dev, and must not stand where real users sign in",
            set.join(", ")
        )
    })
}

/// Warnings for variables that have our prefix and name no setting. They are no errors, because other programs may have
/// chosen the same prefix. Their values are not shown.
fn unknown_variables(environment: &BTreeMap<String, String>) -> Vec<String> {
    let known = || {
        let settings = settings().iter().map(|setting| setting.env.as_str());
        settings.chain([DEV_VARIABLE, FILE_VARIABLE])
    };
    environment
        .iter()
        .filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty())
        .filter(|(name, _)| known().all(|known| known != *name))
        .map(|(name, _)| {
            let bare = |name: &'static str| name.strip_prefix(PREFIX).unwrap_or(name);
            let meant = closest(&name[PREFIX.len()..], known().map(bare));
            let hint = meant.map(|meant| format!("; did you mean {PREFIX}{meant}?"));
            format!(
                "environment variable {name} is no setting and is ignored{}",
                hint.unwrap_or_default()
            )
        })
        .collect()
}

fn read(file: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(file).map_err(|source| {
        Problem::Unreadable {
            file: file.to_owned(),
            source,
        }
        .into()
    })
}

/// The text of the file on its way into the configuration.
struct FileReader<'t> {
    file: &'t Path,
    text: &'t str,
}

impl<'t> FileReader<'t> {
    fn new(file: &'t Path, text: &'t str) -> Self {
        Self { file, text }
    }

    /// Sets everything that the file gives and returns what is wrong with it, in the order of the file.
    ///
    /// # Errors
    /// When the text is no TOML, so that nothing in it can be trusted.
    fn apply(&self, config: &mut Config) -> Result<Vec<Problem>, ConfigError> {
        let document = DeTable::parse(self.text).map_err(|error| self.syntax(&error))?;
        let mut problems = Vec::new();
        for (name, value) in document.get_ref() {
            let start = name.span().start;
            match self.section(name, value) {
                Ok((section, table)) => {
                    for (key, value) in table {
                        let start = key.span().start;
                        let done = self.key(config, section, key, value);
                        problems.extend(done.err().map(|problem| (start, problem)));
                    }
                }
                Err(problem) => problems.push((start, problem)),
            }
        }
        // The parser hands out tables sorted by name.
        problems.sort_by_key(|(start, _)| *start);
        Ok(problems.into_iter().map(|(_, problem)| problem).collect())
    }

    fn section<'v>(
        &self,
        name: &Spanned<toml::de::DeString<'_>>,
        value: &'v Spanned<DeValue<'t>>,
    ) -> Result<(&'static str, &'v DeTable<'t>), Problem> {
        let at = self.line(name.span().start);
        let known = sections().find(|section| section == name.get_ref());
        match (known, value.get_ref()) {
            (Some(section), DeValue::Table(table)) => Ok((section, table)),
            (Some(section), _) => Err(Problem::NotASection { at, section }),
            (None, DeValue::Table(_)) => Err(Problem::UnknownSection {
                at,
                section: name.get_ref().to_string(),
                meant: closest(name.get_ref(), sections()),
            }),
            (None, _) => Err(Problem::NoSection {
                at,
                key: name.get_ref().to_string(),
                meant: only(settings().iter().filter(|s| s.key == name.get_ref())),
            }),
        }
    }

    fn key(
        &self,
        config: &mut Config,
        section: &'static str,
        key: &Spanned<toml::de::DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(), Problem> {
        let at = self.line(key.span().start);
        let name = key.get_ref();
        let Some(setting) = in_section(section).find(|setting| setting.key == name) else {
            let elsewhere = only(settings().iter().filter(|s| s.key == name));
            let meant = elsewhere.or_else(|| {
                let near = closest(name, in_section(section).map(|s| s.key))?;
                Some((section, near))
            });
            return Err(Problem::UnknownKey {
                at,
                section,
                key: name.to_string(),
                meant,
            });
        };
        let place = || Place::File {
            at,
            section,
            key: setting.key,
        };
        let raw = Raw::from_toml(setting.shape, value.get_ref());
        apply(config, setting, raw, place)
    }

    fn syntax(&self, error: &toml::de::Error) -> Problem {
        let start = error.span().map_or(0, |span| span.start);
        let before = self.before(start);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        // Only the complaint is taken over: the error's own `Display` quotes the line, which may hold a secret.
        let message: Vec<_> = error.message().lines().collect();
        Problem::Syntax {
            at: self.line(start),
            column: before[line_start..].chars().count() + 1,
            message: message.join("; "),
        }
    }

    fn line(&self, position: usize) -> FileLine {
        FileLine {
            file: self.file.to_owned(),
            line: self.before(position).matches('\n').count() + 1,
        }
    }

    fn before(&self, position: usize) -> &'t str {
        self.text.get(..position).unwrap_or(self.text)
    }
}

/// Section and key of the only setting of the iterator.
fn only<'s>(
    mut settings: impl Iterator<Item = &'s SettingInfo>,
) -> Option<(&'static str, &'static str)> {
    let first = settings.next()?;
    let is_only = settings.next().is_none();
    is_only.then_some((first.section, first.key))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sources with a file of the given text in a directory that lives as long as the test.
    struct Given {
        directory: tempfile::TempDir,
        sources: Sources,
    }

    impl Given {
        fn nothing() -> Self {
            Self {
                directory: tempfile::tempdir().unwrap(),
                sources: Sources::default(),
            }
        }

        fn file(text: &str) -> Self {
            let mut given = Self::nothing();
            let file = given.path();
            fs::write(&file, text).unwrap();
            given.sources.file = Some(file);
            given
        }

        fn path(&self) -> PathBuf {
            self.directory.path().join("config.toml")
        }

        fn env(mut self, name: &str, value: &str) -> Self {
            self.sources
                .environment
                .insert(name.to_owned(), value.to_owned());
            self
        }

        fn flag(mut self, name: &'static str, value: &str) -> Self {
            self.sources.flags.push((name, value.to_owned()));
            self
        }

        fn dev(mut self) -> Self {
            self.sources.dev = true;
            self
        }

        fn config(&self) -> Config {
            let (config, warnings) = load(&self.sources).unwrap();
            assert_eq!(warnings, [""; 0]);
            config
        }

        fn warnings(&self) -> Vec<String> {
            load(&self.sources).unwrap().1
        }

        /// The complaint, with the directory of the test left out.
        fn error(&self) -> String {
            let directory = format!("{}/", self.directory.path().display());
            let error = load(&self.sources).unwrap_err();
            error.to_string().replace(&directory, "")
        }
    }

    #[test]
    fn nothing_given_means_the_defaults() {
        assert_eq!(Given::nothing().config(), Config::defaults(false));
        assert_eq!(Given::nothing().dev().config(), Config::defaults(true));
        assert_eq!(Given::file("").config(), Config::defaults(false));
        assert_eq!(Given::file("[tokens]\n").config(), Config::defaults(false));
    }

    #[test]
    fn flag_over_environment_over_file_over_default() {
        let given = Given::file("[tokens]\naccess_minutes = 6\nrefresh_days = 7\nissuer = \"f\"");
        let given = given
            .env("ACCOUNTS_TOKENS_REFRESH_DAYS", "8")
            .env("ACCOUNTS_TOKENS_ISSUER", "e")
            .flag("tokens.issuer", "c");
        let tokens = given.config().tokens;
        assert_eq!(tokens.reuse_grace_seconds, 10);
        assert_eq!(tokens.access_minutes, 6);
        assert_eq!(tokens.refresh_days, 8);
        assert_eq!(tokens.issuer, "c");
    }

    #[test]
    fn every_setting_is_read_from_every_layer() {
        let other = |setting: &SettingInfo| match setting.name {
            "server.public_url" => "https://a.example",
            "server.trusted_proxies" => "10.0.0.0/8,::1",
            "server.cors_origins" => "https://b.example",
            "server.listen" => "[::1]:9000",
            "metrics.listen" => "127.0.0.1:9001",
            "log.level" => "warn,accounts_server=debug",
            "log.format" => "json",
            "mail.transport" => "file",
            "mail.smtp_url" => "smtp://localhost",
            "mail.from" | "mail.reply_to" => "a@b.example",
            "rate_limits.enabled" => "false",
            "dev.fixed_otp" => "a@b.example=123456,c@d.example=000000",
            "dev.ephemeral" | "dev.exit_with_parent" | "mail.new_sign_in_notice" => "true",
            "media.max_side_pixels" => "640",
            "tokens.key_encryption_secret" => "0123456789abcdef0123456789abcdef",
            "backup.every" => "12h",
            "backup.keep" => "3",
            _ if setting.default_text.parse::<u32>().is_ok() => "7",
            _ => "other",
        };
        for setting in settings() {
            let value = other(setting);
            let is_dev = setting.section == "dev";
            let mut expected = Config::defaults(is_dev);
            let raw = Raw::from_text(setting.shape, value).unwrap();
            let toml = format!("[{}]\n{} = {}", setting.section, setting.key, raw.to_toml());
            (setting.read)(&mut expected, raw).unwrap();
            assert_ne!(expected, Config::defaults(is_dev), "{}", setting.name);
            let by_flag = Given::nothing().flag(setting.name, value);
            let by_environment = Given::nothing().env(&setting.env, value);
            for mut given in [by_flag, by_environment, Given::file(&toml)] {
                given.sources.dev = is_dev;
                // A certificate and its key are set together.
                if setting.section == "tls" {
                    given = given.flag("tls.cert", value).flag("tls.key", value);
                    expected.tls.cert = value.to_owned();
                    expected.tls.key = value.to_owned();
                }
                assert_eq!(given.config(), expected, "{}", setting.name);
            }
        }
    }

    #[test]
    fn empty_variables_count_as_unset_and_empty_flags_do_not() {
        let given = Given::file("[tokens]\nissuer = \"f\"").env("ACCOUNTS_TOKENS_ISSUER", "");
        assert_eq!(given.config().tokens.issuer, "f");
        assert_eq!(given.flag("tokens.issuer", "").config().tokens.issuer, "");
    }

    #[test]
    fn dev_leaves_alone_what_is_set() {
        let given = Given::file("[passwords]\nbcrypt_cost = 12\n[rate_limits]\nenabled = true")
            .env("ACCOUNTS_OTP_RESEND_SECONDS", "60")
            .flag("mail.transport", "sendmail")
            .dev();
        let config = given.config();
        assert_eq!(config.passwords.bcrypt_cost, 12);
        assert!(config.rate_limits.enabled);
        assert_eq!(config.otp.resend_seconds, 60);
        assert_eq!(config.otp.mails_per_hour, 0);
        assert_eq!(config.mail.transport, Some(MailTransportKind::Sendmail));
    }

    #[test]
    fn dev_and_the_file_can_be_named_in_the_environment() {
        let given = Given::nothing().env("ACCOUNTS_DEV", "true");
        assert_eq!(given.config(), Config::defaults(true));
        let given = Given::nothing().env("ACCOUNTS_DEV", "false");
        assert_eq!(given.config(), Config::defaults(false));
        assert_eq!(given.dev().config(), Config::defaults(true));
        let given = Given::nothing().env("ACCOUNTS_DEV", "maybe");
        assert_eq!(
            given.error(),
            "environment variable ACCOUNTS_DEV: expected true or false, got \"maybe\""
        );

        let mut given = Given::file("[otp]\nminutes = 3");
        let file = given.sources.file.take().unwrap();
        let given = given.env("ACCOUNTS_CONFIG", file.to_str().unwrap());
        assert_eq!(given.config().otp.minutes, 3);
    }

    #[test]
    fn unknown_keys_are_errors_with_a_guess() {
        for (text, expected) in [
            (
                "\n[tokens]\n# A comment.\nacess_minutes = 5",
                "config.toml:4: unknown key \"acess_minutes\" in [tokens]; did you mean \"access_minutes\"? \
                 Keys of [tokens]: access_minutes, refresh_days, reuse_grace_seconds, \
                 key_encryption_secret, key_encryption_secret_file, issuer, audience",
            ),
            (
                "[rate_limits]\nzebra = 5",
                "config.toml:2: unknown key \"zebra\" in [rate_limits]. Keys of [rate_limits]: enabled, failed_sign_ins, sign_ups, otp_tries, \
                 resets, resends, account_failures, account_failures_an_hour",
            ),
            (
                "[rate_limits]\nbcrypt_cost = 5",
                "config.toml:2: unknown key \"bcrypt_cost\" in [rate_limits]; did you mean \"bcrypt_cost\" in \
                 [passwords]? Keys of [rate_limits]: \
                 enabled, failed_sign_ins, sign_ups, otp_tries, resets, resends, account_failures, account_failures_an_hour",
            ),
            (
                "[token]\naccess_minutes = 5",
                "config.toml:1: unknown section [token]; did you mean [tokens]? Sections: [server], [tls], [metrics], [log], [database], \
                 [mail], [tokens], [passwords], [otp], [rate_limits], [audit], [media], [backup], [dev]",
            ),
            (
                "[[zebra]]\n[zebra2]",
                "config.toml:1: key \"zebra\" outside any section\n\
                 config.toml:2: unknown section [zebra2]. Sections: [server], [tls], [metrics], [log], [database], [mail], [tokens], \
                 [passwords], [otp], [rate_limits], [audit], [media], [backup], [dev]",
            ),
            (
                "path = \"x\"",
                "config.toml:1: key \"path\" outside any section; did you mean \"path\" in [database]?",
            ),
            (
                "dev = true",
                "config.toml:1: dev: expected the section [dev], got a value",
            ),
            (
                "server = 1",
                "config.toml:1: server: expected the section [server], got a value",
            ),
        ] {
            assert_eq!(Given::file(text).error(), expected);
        }
    }

    #[test]
    fn values_of_the_wrong_form_are_errors() {
        for (text, expected) in [
            (
                "[tokens]\naccess_minutes = \"soon\"",
                "config.toml:2: [tokens] access_minutes: expected a whole number from 1 to 1440, got \"soon\"",
            ),
            (
                "[tokens]\naccess_minutes = \"5\"",
                "config.toml:2: [tokens] access_minutes: expected a whole number from 1 to 1440, got \"5\", which \
                 needs no quotes",
            ),
            (
                "[tokens]\naccess_minutes = 0",
                "config.toml:2: [tokens] access_minutes: expected a whole number from 1 to 1440, got 0",
            ),
            (
                "[tokens]\naccess_minutes = 99999999999999999999",
                "config.toml:2: [tokens] access_minutes: expected a whole number from 1 to 1440, got \
                 99999999999999999999",
            ),
            (
                "[tokens]\naccess_minutes = 1.5",
                "config.toml:2: [tokens] access_minutes: expected a whole number from 1 to 1440, got 1.5",
            ),
            (
                "tokens.issuer = 5",
                "config.toml:1: [tokens] issuer: expected text on one line, got 5",
            ),
            (
                "[rate_limits]\nenabled = 1",
                "config.toml:2: [rate_limits] enabled: expected true or false, got 1",
            ),
            (
                "[server.listen]\nport = 1",
                "config.toml:1: [server] listen: expected an address and a port such as 127.0.0.1:8000, \
                 [::1]:8000 or localhost:8000, got a table",
            ),
            (
                "[server]\ntrusted_proxies = [\"::1\", 5]",
                "config.toml:2: [server] trusted_proxies: expected a list of IP addresses or networks such as \
                 10.0.0.0/8, got 5 in the list",
            ),
            (
                "[server]\ntrusted_proxies = \"::1\"",
                "config.toml:2: [server] trusted_proxies: expected a list of IP addresses or networks such as \
                 10.0.0.0/8, got \"::1\" without the brackets of a list",
            ),
            (
                "[mail]\ntransport = 'pigeon'",
                "config.toml:2: [mail] transport: expected one of smtp, stdout, sendmail and file, or nothing, got \
                 \"pigeon\"",
            ),
            (
                "[mail]\nfrom = 2024-12-03",
                "config.toml:2: [mail] from: expected a mailbox such as Accounts <accounts@example.com>, got a date \
                 or time",
            ),
        ] {
            assert_eq!(Given::file(text).error(), expected);
        }
    }

    #[test]
    fn variables_and_flags_are_named_in_errors() {
        let given = Given::nothing()
            .env("ACCOUNTS_TOKENS_ACCESS_MINUTES", "soon")
            .flag("database.path", "")
            .flag("otp.minutes", "-1");
        assert_eq!(
            given.error(),
            "environment variable ACCOUNTS_TOKENS_ACCESS_MINUTES: expected a whole number from 1 to 1440, got \"soon\"\n\
             --db: expected the path of a file, or :memory:, got \"\"\n\
             --otp-minutes: expected a whole number from 1 to 1440, got -1"
        );
    }

    #[test]
    fn all_problems_of_a_file_come_at_once_and_in_its_order() {
        let given = Given::file("[tokens]\nx1 = 1\n[server]\nlisten = 'x'\n[otp]\nminutes = 0");
        let lines: Vec<String> = given
            .error()
            .lines()
            .map(|line| line.split(": ").next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(lines, ["config.toml:2", "config.toml:4", "config.toml:6"]);
    }

    #[test]
    fn bad_toml_is_reported_with_its_position() {
        let error = Given::file("[tokens]\nissuer = \"ä\" x").error();
        assert!(
            error.starts_with("config.toml:2:14: no valid TOML: "),
            "{error}"
        );
        let error = Given::file("[otp]\nminutes = 1\nminutes = 2").error();
        assert_eq!(error, "config.toml:3:1: no valid TOML: duplicate key");
    }

    #[test]
    fn a_missing_file_is_an_error() {
        let mut given = Given::nothing();
        given.sources.file = Some(given.path());
        let error = given.error();
        assert!(
            error.starts_with("config.toml: cannot be read: "),
            "{error}"
        );
        let error = load(&given.sources).unwrap_err();
        assert!(std::error::Error::source(&error).is_some());
    }

    #[test]
    fn secrets_are_in_no_error_and_in_no_warning() {
        let url = "smtp//user:hunter2@localhost";
        let errors = [
            Given::file(&format!("[mail]\nsmtp_url = \"{url}\"")).error(),
            Given::file(&format!("[mail]\nsmtp_url = [\"{url}\"]")).error(),
            Given::nothing().env("ACCOUNTS_MAIL_SMTP_URL", url).error(),
            Given::nothing().flag("mail.smtp_url", url).error(),
        ];
        for error in errors {
            assert!(
                error.ends_with("got something else (not shown, as it may hold a secret)"),
                "{error}"
            );
            assert!(!error.contains("hunter2"), "{error}");
        }
        for broken in [
            format!("[mail]\nsmtp_url = \"{url}"),
            format!("[mail]\nsmtp_url = {url}"),
            format!("[mail]\nsmtp_url = \"{url}\" \"{url}\""),
            format!("[mail]\nsmtp_url = \"\\q{url}\""),
        ] {
            let error = Given::file(&broken).error();
            assert!(!error.contains("hunter2"), "{error}");
        }
        let warnings = Given::nothing().env("ACCOUNTS_SMTP_URL", url).warnings();
        assert!(!warnings[0].contains("hunter2"), "{}", warnings[0]);
    }

    #[test]
    fn unknown_variables_are_warned_about() {
        let given = Given::nothing()
            .env("ACCOUNTS_TOKEN_ACCESS_MINUTES", "5")
            .env("ACCOUNTS_ZEBRA", "5")
            .env("ACCOUNTS_EMPTY", "")
            .env("OTHER_VARIABLE", "5");
        assert_eq!(
            given.warnings(),
            [
                "environment variable ACCOUNTS_TOKEN_ACCESS_MINUTES is no setting and is ignored; did you mean \
                 ACCOUNTS_TOKENS_ACCESS_MINUTES?",
                "environment variable ACCOUNTS_ZEBRA is no setting and is ignored",
            ]
        );
    }

    #[test]
    fn settings_that_contradict_each_other_are_errors() {
        let given = Given::file("[mail]\ntransport = 'smtp'");
        assert_eq!(
            given.error(),
            "[mail] transport is \"smtp\", but no server is set: set [mail] smtp_url in the file, \
             ACCOUNTS_MAIL_SMTP_URL or --mail-smtp-url, or choose another transport"
        );
        given
            .env("ACCOUNTS_MAIL_SMTP_URL", "smtp://localhost")
            .config();
    }

    #[test]
    fn what_is_for_development_needs_dev() {
        let given = Given::file("[dev]\nephemeral = true").flag("dev.seed", "users.jsonl");
        assert_eq!(
            given.error(),
            "--seed ([dev] seed), --ephemeral ([dev] ephemeral) is for development and tests: it needs --dev, and must not \
             stand where real users sign in"
        );
        let config = given.dev().config().development;
        assert!(config.ephemeral && config.seed == "users.jsonl");
        let error = Given::file("[dev]\nfixed_otp = { \"a@b.example\" = \"12345\" }").error();
        assert_eq!(
            error,
            "config.toml:2: [dev] fixed_otp: expected addresses with six digits each, such as { \"alice@example.com\" = \
             \"123456\" }, got \"12345\" for \"a@b.example\""
        );
    }

    #[test]
    fn dev_listens_on_this_machine_only() {
        for listen in ["0.0.0.0:8000", "192.0.2.1:8000", "[::]:8000"] {
            let given = Given::nothing().flag("server.listen", listen).dev();
            let error = given.error();
            assert!(error.contains(listen) && error.contains("--dev"), "{error}");
        }
        for listen in ["127.0.0.2:0", "[::1]:8000", "localhost:8000"] {
            Given::nothing()
                .flag("server.listen", listen)
                .dev()
                .config();
        }
    }
}
