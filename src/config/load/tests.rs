//! Tests of loading the configuration.

mod clients;
mod social;

use std::fs;

use super::super::values::MailTransportKind;
use super::*;

/// Sources for a test, with a temporary directory for the file.
struct Setup {
    directory: tempfile::TempDir,
    sources: Sources,
}

impl Setup {
    fn nothing() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            sources: Sources::default(),
        }
    }

    fn file(text: &str) -> Self {
        let mut setup = Self::nothing();
        let file = setup.path();
        fs::write(&file, text).unwrap();
        setup.sources.file = Some(file);
        setup
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

    /// The error without the temporary directory.
    fn error(&self) -> String {
        let directory = format!("{}/", self.directory.path().display());
        let error = load(&self.sources).unwrap_err();
        error.to_string().replace(&directory, "")
    }
}

#[test]
fn without_sources_the_defaults_apply() {
    assert_eq!(Setup::nothing().config(), Config::defaults(false));
    assert_eq!(Setup::nothing().dev().config(), Config::defaults(true));
    assert_eq!(Setup::file("").config(), Config::defaults(false));
    assert_eq!(Setup::file("[tokens]\n").config(), Config::defaults(false));
}

#[test]
fn flag_over_environment_over_file_over_default() {
    let setup = Setup::file("[tokens]\naccess_minutes = 6\nrefresh_days = 7\nissuer = \"f\"");
    let setup = setup
        .env("ACCOUNTS_TOKENS_REFRESH_DAYS", "8")
        .env("ACCOUNTS_TOKENS_ISSUER", "e")
        .flag("tokens.issuer", "c");
    let tokens = setup.config().tokens;
    assert_eq!(tokens.reuse_grace_seconds, 10);
    assert_eq!(tokens.access_minutes, 6);
    assert_eq!(tokens.refresh_days, 8);
    assert_eq!(tokens.issuer, "c");
}

#[test]
fn every_setting_is_read_from_every_layer() {
    let other = |setting: &SettingInfo| match setting.name {
        "server.public_url" => "https://a.example",
        "server.trusted_proxies" | "webhooks.allow_networks" | "social.allow_networks" => {
            "10.0.0.0/8,::1"
        }
        "server.cors_origins" => "https://b.example",
        "server.cors_headers" => "x-trace-id",
        "server.listen" => "[::1]:9000",
        "metrics.listen" => "127.0.0.1:9001",
        "log.level" => "warn,accounts_server=debug",
        "log.format" => "json",
        "mail.transport" => "file",
        "mail.smtp_url" => "smtp://localhost",
        "mail.from" | "mail.reply_to" => "a@b.example",
        "tokens.algorithm" => "RS256",
        "rate_limits.enabled" | "pages.enabled" | "console.enabled" | "mail.new_sign_in_notice" => {
            "false"
        }
        "branding.accent" => "#112233",
        "branding.support_url"
        | "branding.terms_url"
        | "branding.privacy_url"
        | "branding.imprint_url"
        | "mail.confirm_url"
        | "mail.reset_url"
        | "mail.invitation_url" => "https://example.com/",
        "dev.fixed_otp" => "a@b.example=123456,c@d.example=000000",
        "dev.ephemeral" | "dev.exit_with_parent" => "true",
        "accounts.unverified_days" => "30",
        "accounts.email_change" => "recent",
        "mfa.required_for" => "staff",
        "social.redirect_uris" => "https://app.example.com/signed-in",
        "passkeys.rp_id" => "example.com",
        "passkeys.origins" => "https://app.example.com",
        "passkeys.android_apps" => {
            "com.example.app=00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:\
             10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F"
        }
        "passkeys.apple_apps" => "ABCDE12345.com.example.app",
        "media.max_side_pixels" | "media.decode_memory_mib" => "640",
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
        let by_flag = Setup::nothing().flag(setting.name, value);
        let by_environment = Setup::nothing().env(&setting.env, value);
        for mut setup in [by_flag, by_environment, Setup::file(&toml)] {
            setup.sources.dev = is_dev;
            // A certificate and its key are set together.
            if setting.section == "tls" {
                setup = setup.flag("tls.cert", value).flag("tls.key", value);
                expected.tls.cert = Some(value.into());
                expected.tls.key = Some(value.into());
            }
            assert_eq!(setup.config(), expected, "{}", setting.name);
        }
    }
}

#[test]
fn empty_variables_count_as_unset_and_empty_flags_do_not() {
    let setup = Setup::file("[tokens]\nissuer = \"f\"").env("ACCOUNTS_TOKENS_ISSUER", "");
    assert_eq!(setup.config().tokens.issuer, "f");
    assert_eq!(setup.flag("tokens.issuer", "").config().tokens.issuer, "");
}

#[test]
fn dev_does_not_override_settings() {
    let setup = Setup::file("[passwords]\nbcrypt_cost = 12\n[rate_limits]\nenabled = true")
        .env("ACCOUNTS_OTP_RESEND_SECONDS", "60")
        .flag("mail.transport", "sendmail")
        .dev();
    let config = setup.config();
    assert_eq!(config.passwords.bcrypt_cost, 12);
    assert!(config.rate_limits.enabled);
    assert_eq!(config.otp.resend_seconds, 60);
    assert_eq!(config.otp.mails_per_hour, 0);
    assert_eq!(config.mail.transport, Some(MailTransportKind::Sendmail));
}

#[test]
fn dev_and_the_file_can_be_named_in_the_environment() {
    let setup = Setup::nothing().env("ACCOUNTS_DEV", "true");
    assert_eq!(setup.config(), Config::defaults(true));
    let setup = Setup::nothing().env("ACCOUNTS_DEV", "false");
    assert_eq!(setup.config(), Config::defaults(false));
    assert_eq!(setup.dev().config(), Config::defaults(true));
    let setup = Setup::nothing().env("ACCOUNTS_DEV", "maybe");
    assert_eq!(
        setup.error(),
        "environment variable ACCOUNTS_DEV: expected true or false, got \"maybe\""
    );

    let mut setup = Setup::file("[otp]\nminutes = 3");
    let file = setup.sources.file.take().unwrap();
    let setup = setup.env("ACCOUNTS_CONFIG", file.to_str().unwrap());
    assert_eq!(setup.config().otp.minutes, 3);
}

#[test]
fn unknown_settings_are_errors_with_a_suggestion() {
    for (text, expected) in [
        (
            "\n[tokens]\n# A comment.\nacess_minutes = 5",
            "config.toml:4: unknown setting \"acess_minutes\" in [tokens]; did you mean \
             \"access_minutes\"?",
        ),
        (
            "[audit]\nzebra = 5",
            "config.toml:2: unknown setting \"zebra\" in [audit]; known settings: retention_days",
        ),
        (
            "[rate_limits]\nbcrypt_cost = 5",
            "config.toml:2: unknown setting \"bcrypt_cost\" in [rate_limits]; did you mean \
             \"bcrypt_cost\" in [passwords]?",
        ),
        (
            "[token]\naccess_minutes = 5",
            "config.toml:1: unknown section [token]; did you mean [tokens]?",
        ),
        (
            "[[zebra]]\n[zebra2]",
            "config.toml:1: setting \"zebra\" is outside any section\n\
             config.toml:2: unknown section [zebra2]; known sections: [server], [tls], [metrics], \
             [log], [database], [mail], [webhooks], [social], [tokens], [passwords], [accounts], [sessions], [mfa], [passkeys], [otp], [rate_limits], [audit], \
             [media], [backup], [pages], [console], [branding], [dev]",
        ),
        (
            "path = \"x\"",
            "config.toml:1: setting \"path\" is outside any section; did you mean \"path\" in \
             [database]?",
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
        assert_eq!(Setup::file(text).error(), expected);
    }
}

#[test]
fn invalid_values_are_errors() {
    for (text, expected) in [
        (
            "[tokens]\naccess_minutes = \"soon\"",
            "config.toml:2: [tokens] access_minutes: expected a whole number from 1 to 1440, got \"soon\"",
        ),
        (
            "[tokens]\naccess_minutes = \"5\"",
            "config.toml:2: [tokens] access_minutes: expected a whole number from 1 to 1440, got \"5\" in \
             quotes",
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
             10.0.0.0/8, got \"::1\" without list brackets",
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
        assert_eq!(Setup::file(text).error(), expected);
    }
}

#[test]
fn variables_and_flags_are_named_in_errors() {
    let setup = Setup::nothing()
        .env("ACCOUNTS_TOKENS_ACCESS_MINUTES", "soon")
        .flag("database.path", "")
        .flag("otp.minutes", "-1");
    assert_eq!(
        setup.error(),
        "environment variable ACCOUNTS_TOKENS_ACCESS_MINUTES: expected a whole number from 1 to 1440, got \"soon\"\n\
         --db: expected the path of a file, a postgres:// URL, or :memory:, got \"\"\n\
         --otp-minutes: expected a whole number from 1 to 1440, got -1"
    );
}

#[test]
fn all_problems_of_a_file_are_reported_in_its_order() {
    let setup = Setup::file("[tokens]\nx1 = 1\n[server]\nlisten = 'x'\n[otp]\nminutes = 0");
    let lines: Vec<String> = setup
        .error()
        .lines()
        .map(|line| line.split(": ").next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(lines, ["config.toml:2", "config.toml:4", "config.toml:6"]);
}

#[test]
fn bad_toml_is_reported_with_its_position() {
    let error = Setup::file("[tokens]\nissuer = \"ä\" x").error();
    assert!(
        error.starts_with("config.toml:2:14: not valid TOML: "),
        "{error}"
    );
    let error = Setup::file("[otp]\nminutes = 1\nminutes = 2").error();
    assert_eq!(error, "config.toml:3:1: not valid TOML: duplicate key");
}

#[test]
fn a_missing_file_is_an_error() {
    let mut setup = Setup::nothing();
    setup.sources.file = Some(setup.path());
    let error = setup.error();
    assert!(
        error.starts_with("config.toml: cannot be read: "),
        "{error}"
    );
    let error = load(&setup.sources).unwrap_err();
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn secrets_do_not_appear_in_errors_and_warnings() {
    let url = "smtp//user:hunter2@localhost";
    let errors = [
        Setup::file(&format!("[mail]\nsmtp_url = \"{url}\"")).error(),
        Setup::file(&format!("[mail]\nsmtp_url = [\"{url}\"]")).error(),
        Setup::nothing().env("ACCOUNTS_MAIL_SMTP_URL", url).error(),
        Setup::nothing().flag("mail.smtp_url", url).error(),
    ];
    for error in errors {
        assert!(
            error.ends_with("got something else (not shown, as it may contain a secret)"),
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
        let error = Setup::file(&broken).error();
        assert!(!error.contains("hunter2"), "{error}");
    }
    let warnings = Setup::nothing().env("ACCOUNTS_SMTP_URL", url).warnings();
    assert!(!warnings[0].contains("hunter2"), "{}", warnings[0]);
}

#[test]
fn unknown_variables_are_warned_about() {
    let setup = Setup::nothing()
        .env("ACCOUNTS_TOKEN_ACCESS_MINUTES", "5")
        .env("ACCOUNTS_ZEBRA", "5")
        .env("ACCOUNTS_EMPTY", "")
        .env("OTHER_VARIABLE", "5");
    assert_eq!(
        setup.warnings(),
        [
            "environment variable ACCOUNTS_TOKEN_ACCESS_MINUTES is not a setting and is ignored; did you mean \
             ACCOUNTS_TOKENS_ACCESS_MINUTES?",
            "environment variable ACCOUNTS_ZEBRA is not a setting and is ignored",
        ]
    );
}

#[test]
fn conflicting_settings_are_errors() {
    let setup = Setup::file("[mail]\ntransport = 'smtp'");
    assert_eq!(
        setup.error(),
        "[mail] transport is \"smtp\", but no server is set: set [mail] smtp_url in the file, \
         ACCOUNTS_MAIL_SMTP_URL or --mail-smtp-url, or choose another transport"
    );
    setup
        .env("ACCOUNTS_MAIL_SMTP_URL", "smtp://localhost")
        .config();
}

#[test]
fn development_settings_require_dev() {
    let setup = Setup::file("[dev]\nephemeral = true").flag("dev.seed", "users.jsonl");
    assert_eq!(
        setup.error(),
        "--seed ([dev] seed), --ephemeral ([dev] ephemeral) requires --dev: \
         development settings must not be used in production"
    );
    let config = setup.dev().config().development;
    assert!(config.ephemeral && config.seed == Some("users.jsonl".into()));
    let error = Setup::file("[dev]\nfixed_otp = { \"a@b.example\" = \"12345\" }").error();
    assert_eq!(
        error,
        "config.toml:2: [dev] fixed_otp: expected addresses with six digits each, such as { \"alice@example.com\" = \
         \"123456\" }, got \"12345\" for \"a@b.example\""
    );
}

#[test]
fn dev_listens_on_loopback_only() {
    for listen in ["0.0.0.0:8000", "192.0.2.1:8000", "[::]:8000"] {
        let setup = Setup::nothing().flag("server.listen", listen).dev();
        let error = setup.error();
        assert!(error.contains(listen) && error.contains("--dev"), "{error}");
    }
    for listen in ["127.0.0.2:0", "[::1]:8000", "localhost:8000"] {
        Setup::nothing()
            .flag("server.listen", listen)
            .dev()
            .config();
    }
}

/// A file with one complete webhook.
const WEBHOOK: &str = r#"
[[webhooks]]
name = "my-crm"
url = "https://crm.example.com/hooks"
events = ["user.*"]
"#;

#[test]
fn webhooks_are_a_list_of_the_file() {
    let setup = Setup::file(WEBHOOK).env("ACCOUNTS_WEBHOOKS_MY_CRM_SECRET", "whsec_c2VjcmV0");
    let config = setup.config();
    let [webhook] = &*config.webhook_list else {
        panic!("one webhook: {:?}", config.webhook_list);
    };
    assert_eq!(webhook.name, "my-crm");
    assert_eq!(webhook.events, ["user.*"]);
    assert_eq!(webhook.secret.expose(), "whsec_c2VjcmV0");
    assert!(!format!("{config:?}").contains("c2VjcmV0"));
    let file = format!("{WEBHOOK}secret_file = \"/run/secrets/crm\"\npayload = \"thin\"\n");
    let config = Setup::file(&file).config();
    assert_eq!(config.named_files(), [PathBuf::from("/run/secrets/crm")]);
    assert_eq!(config.webhook_list[0].payload, "thin");
}

#[test]
fn wrong_webhooks_are_errors_with_their_line() {
    for (file, expected) in [
        (
            "[[webhooks]]\n",
            "config.toml:1: [[webhooks]]: name: expected up to 40 letters",
        ),
        (
            "[[webhooks]]\nname = \"a b\"\n",
            "config.toml:1: [[webhooks]]: name: expected",
        ),
        (
            "[[webhooks]]\nname = \"a\"\n",
            "config.toml:1: [[webhooks]]: url is missing",
        ),
        (
            "[[webhooks]]\nname = \"a\"\nurl = \"https://a.example\"\n",
            "config.toml:1: [[webhooks]]: events is missing",
        ),
        (
            "[[webhooks]]\nevent = [\"user.*\"]\n",
            "config.toml:2: [[webhooks]]: unknown setting \"event\"; did you mean \"events\"?",
        ),
        (
            "[[webhooks]]\nevents = \"user.*\"\n",
            "config.toml:2: [[webhooks]]: events: expected a list of strings, got \"user.*\"",
        ),
        (
            "[[webhooks]]\nsecret = [\"hunter2\"]\n",
            "config.toml:2: [[webhooks]]: secret: expected a string, got something else",
        ),
        (
            "webhooks = [1]\n",
            "config.toml:1: [[webhooks]]: expected a webhook, got a value",
        ),
        (
            WEBHOOK,
            "[[webhooks]] \"my-crm\" has no secret: set ACCOUNTS_WEBHOOKS_MY_CRM_SECRET",
        ),
        (
            &format!("{WEBHOOK}secret = \"a\"\nsecret_file = \"b\"\n"),
            "[[webhooks]] \"my-crm\" has two secrets: remove secret_file",
        ),
        (
            &format!(
                "{WEBHOOK}secret = \"a\"\n{}secret = \"b\"\n",
                WEBHOOK.replace("my-crm", "MY_CRM")
            ),
            "config.toml:8: [[webhooks]]: two webhooks are named \"my-crm\": choose another name",
        ),
    ] {
        let error = Setup::file(file).error();
        assert!(error.contains(expected), "{file}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
