//! The settings as command line flags.
//!
//! Owns how a setting looks to clap. Does not know the subcommands, nor `--dev` and `--config`, which
//! are not settings.

use clap::builder::PossibleValuesParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches};

use super::raw::Shape;
use super::settings::{SettingInfo, settings};

/// One long flag for each setting, valid before and after a subcommand.
///
/// Switches take `true` or `false` after a space or `=`, and mean `true` without a value. Lists are
/// separated by commas, and their flags can be repeated. Other values are checked when the
/// configuration is loaded, so flags, environment and file have the same error texts.
pub fn setting_args() -> Vec<Arg> {
    settings().iter().map(setting_arg).collect()
}

fn setting_arg(setting: &'static SettingInfo) -> Arg {
    let arg = Arg::new(setting.name)
        .long(setting.flag.as_str())
        .global(true)
        .value_name(setting.value_name)
        .help(help(setting))
        .help_heading(setting.heading)
        .hide_short_help(setting.rare);
    match setting.shape {
        Shape::Switch => arg
            .num_args(0..=1)
            .default_missing_value("true")
            .value_parser(PossibleValuesParser::new(["true", "false"]))
            .hide_possible_values(true),
        Shape::List | Shape::Map => arg.action(ArgAction::Append),
        Shape::Number | Shape::Text => arg,
    }
}

fn help(setting: &SettingInfo) -> String {
    let mut text = setting.help.clone();
    // The help of a setting says what an empty value means.
    if !setting.default_text.is_empty() {
        text.push_str(&format!(" [default: {}", setting.default_text));
        if let Some(dev) = &setting.dev_default_text {
            text.push_str(&format!(", with --dev {dev}"));
        }
        text.push(']');
    } else if let Some(dev) = &setting.dev_default_text {
        text.push_str(&format!(" [default with --dev: {dev}]"));
    }
    text.push_str(&format!(" [env: {}]", setting.env));
    text
}

/// The settings of the command line, for [`super::Sources`].
///
/// The value after a subcommand overrides the one before it.
pub fn flags_from(matches: &ArgMatches) -> Vec<(&'static str, String)> {
    let mut deepest = matches;
    while let Some((_, inner)) = deepest.subcommand() {
        deepest = inner;
    }
    settings()
        .iter()
        .filter_map(|setting| {
            // clap copies global arguments to every level, so the deepest one has them all.
            let values = deepest.try_get_many::<String>(setting.name).ok()??;
            let is_set = deepest.value_source(setting.name) == Some(ValueSource::CommandLine);
            is_set.then(|| {
                let values: Vec<&str> = values.map(String::as_str).collect();
                (setting.name, values.join(","))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;

    fn command() -> Command {
        let user = Command::new("user").subcommand(Command::new("list"));
        Command::new("accounts-server")
            .args(setting_args())
            .subcommand(Command::new("serve"))
            .subcommand(user)
    }

    fn flags(line: &str) -> Vec<(&'static str, String)> {
        let words = ["accounts-server"].into_iter().chain(line.split(' '));
        flags_from(&command().try_get_matches_from(words).expect(line))
    }

    fn flag(name: &'static str, value: &str) -> (&'static str, String) {
        (name, value.to_owned())
    }

    #[test]
    fn clap_accepts_the_definitions() {
        command().debug_assert();
    }

    #[test]
    fn flags_are_valid_before_and_after_the_subcommand() {
        let expected = [
            flag("server.listen", "[::1]:1"),
            flag("database.path", "a.db"),
        ];
        assert_eq!(flags("--db a.db --listen [::1]:1"), expected);
        assert_eq!(flags("--db a.db user list --listen [::1]:1"), expected);
        assert_eq!(flags("user --listen=[::1]:1 list --db=a.db"), expected);
        assert_eq!(flags("serve"), []);
        assert_eq!(
            flags("--db a.db serve --db b.db"),
            [flag("database.path", "b.db")]
        );
    }

    #[test]
    fn switches_accept_every_usual_notation() {
        for (line, value) in [
            ("--rate-limits-enabled", "true"),
            ("--rate-limits-enabled=false", "false"),
            ("--rate-limits-enabled false", "false"),
            ("--rate-limits-enabled --db=x serve", "true"),
        ] {
            assert!(
                flags(line).contains(&flag("rate_limits.enabled", value)),
                "{line}"
            );
        }
        let wrong = ["accounts-server", "--rate-limits-enabled=perhaps"];
        assert!(command().try_get_matches_from(wrong).is_err());
    }

    #[test]
    fn list_flags_can_be_repeated() {
        assert_eq!(
            flags("--server-trusted-proxies ::1,127.0.0.1 --server-trusted-proxies=10.0.0.0/8"),
            [flag("server.trusted_proxies", "::1,127.0.0.1,10.0.0.0/8")]
        );
    }

    #[test]
    fn an_empty_value_is_a_value() {
        assert_eq!(flags("--tokens-issuer="), [flag("tokens.issuer", "")]);
    }

    #[test]
    fn help_shows_defaults_and_variables() {
        let short = command().term_width(1000).render_help().to_string();
        let long = command().term_width(1000).render_long_help().to_string();
        assert!(
            long.contains("[default: 12, with --dev 4] [env: ACCOUNTS_PASSWORDS_BCRYPT_COST]"),
            "{long}"
        );
        assert!(long.contains("[default with --dev: stdout]"), "{long}");
        assert!(long.contains("--listen <ADDR:PORT>"), "{long}");
        assert!(short.contains("--tokens-access-minutes <MINUTES>"));
        assert!(long.contains("--passwords-hash-threads"));
        assert!(!short.contains("--passwords-hash-threads"));
    }
}
