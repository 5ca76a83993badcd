//! The settings as command line flags.
//!
//! Owns how a setting looks to clap. Deliberately does not know the subcommands that the flags may follow, nor `--dev` and
//! `--config`, which are no settings.

use clap::builder::PossibleValuesParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches};

use super::rules::Shape;
use super::settings::{SettingInfo, settings};

/// One long flag for each setting, to be given before or after a subcommand.
///
/// Switches take `true` or `false` after a space or `=` and mean `true` without. Lists are separated by commas, and the flag
/// may be repeated. Other values are checked when the configuration is loaded, so that flag, environment and file complain in
/// the same words.
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
    // The help of a text already says what empty means.
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

/// The settings that were given on the command line, as [`super::Sources`] takes them.
///
/// A flag that was given both before and after a subcommand has the value that stands after it.
pub fn flags_from(matches: &ArgMatches) -> Vec<(&'static str, String)> {
    let mut deepest = matches;
    while let Some((_, below)) = deepest.subcommand() {
        deepest = below;
    }
    settings()
        .iter()
        .filter_map(|setting| {
            // clap copies global arguments to the matches of every level, so the deepest has them all.
            let values = deepest.try_get_many::<String>(setting.name).ok()??;
            let is_given = deepest.value_source(setting.name) == Some(ValueSource::CommandLine);
            is_given.then(|| {
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

    fn given(name: &'static str, value: &str) -> (&'static str, String) {
        (name, value.to_owned())
    }

    #[test]
    fn clap_accepts_the_definitions() {
        command().debug_assert();
    }

    #[test]
    fn flags_stand_before_or_after_the_subcommand() {
        let expected = [
            given("server.listen", "[::1]:1"),
            given("database.path", "a.db"),
        ];
        assert_eq!(flags("--db a.db --listen [::1]:1"), expected);
        assert_eq!(flags("--db a.db user list --listen [::1]:1"), expected);
        assert_eq!(flags("user --listen=[::1]:1 list --db=a.db"), expected);
        assert_eq!(flags("serve"), []);
        assert_eq!(
            flags("--db a.db serve --db b.db"),
            [given("database.path", "b.db")]
        );
    }

    #[test]
    fn switches_take_their_value_in_every_usual_way() {
        for (line, value) in [
            ("--rate-limits-enabled", "true"),
            ("--rate-limits-enabled=false", "false"),
            ("--rate-limits-enabled false", "false"),
            ("--rate-limits-enabled --db=x serve", "true"),
        ] {
            assert!(
                flags(line).contains(&given("rate_limits.enabled", value)),
                "{line}"
            );
        }
        let wrong = ["accounts-server", "--rate-limits-enabled=perhaps"];
        assert!(command().try_get_matches_from(wrong).is_err());
    }

    #[test]
    fn lists_can_be_given_in_parts() {
        assert_eq!(
            flags("--server-trusted-proxies ::1,127.0.0.1 --server-trusted-proxies=10.0.0.0/8"),
            [given("server.trusted_proxies", "::1,127.0.0.1,10.0.0.0/8")]
        );
    }

    #[test]
    fn an_empty_value_is_given_too() {
        assert_eq!(flags("--tokens-issuer="), [given("tokens.issuer", "")]);
    }

    #[test]
    fn help_shows_default_and_variable_and_hides_the_rare_in_short() {
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
