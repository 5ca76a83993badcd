//! The text of `config.toml.example`: every setting with its default and description.

use super::raw::Shape;
use super::settings::{Config, SettingInfo, settings};

/// Longest line of a comment, in columns.
const COLUMNS: usize = 100;

const HEAD: &str = "\
All settings of accounts-server with their defaults. Your own file only needs the settings that \
differ; pass it with `--config FILE` or in the environment variable ACCOUNTS_CONFIG. Each setting \
can also be set by an environment variable (ACCOUNTS_TOKENS_ACCESS_MINUTES for `[tokens] \
access_minutes`) or a flag (`--tokens-access-minutes`; `[server] listen` and `[database] path` are \
`--listen` and `--db`). Flags override environment variables, which override the file. Lists are \
separated by commas there. Relative paths are relative to the working directory. `--dev` changes \
defaults only and overrides nothing that is set.";

const WEBHOOKS: &str = "\
Webhooks of the file, which can be changed nowhere else; the server follows the file at each start \
and reload. Each name has a secret, `whsec_` and the output of `openssl rand -base64 32`: in the \
file `secret_file`, or in the environment variable ACCOUNTS_WEBHOOKS_CRM_SECRET for the name `crm`. \
`payload` is `full` or `thin`. In a file without a section [webhooks], `[[webhooks]]` means the same.";

const WEBHOOK: &str = "\
# [[webhooks.endpoints]]
# name = \"crm\"
# url = \"https://crm.example.com/hooks\"
# events = [\"user.*\", \"session.reuse_detected\"]
# payload = \"full\"
# secret_file = \"/run/secrets/crm\"
";

const PROVIDERS: &str = "\
External identity providers that users sign in with. Each has an id that is part of its redirect URI, \
`https://…/api/v1/accounts/o/google/callback/`, and a kind: `google`, `github`, `apple`, `microsoft` or \
`oidc`. Its secret is in the file `client_secret_file`, or in the environment variable \
ACCOUNTS_SOCIAL_GOOGLE_CLIENT_SECRET for the id `google`. docs/SIGN_IN_WITH_OTHERS.md has a section for \
each kind.";

const PROVIDER: &str = "\
# [[social.providers]]
# id = \"google\"
# kind = \"google\"
# client_id = \"1234567890-abc.apps.googleusercontent.com\"
# client_secret_file = \"/run/secrets/google\"
#
# [[social.providers]]
# id = \"company\"
# kind = \"oidc\"
# name = \"Company account\"
# issuer = \"https://login.example.com\"
# client_id = \"accounts\"
# client_secret_file = \"/run/secrets/company\"
# trust_email = true
";

const CLIENTS: &str = "\
OAuth clients: applications in which users sign in with their account here. Those of the file can be \
changed nowhere else; the server follows the file at each start and reload. Without `secret_file` a \
client is public. docs/OPENID_PROVIDER.md explains the keys.";

const CLIENT: &str = "\
# [[clients]]
# id = \"grafana\"
# name = \"Grafana\"
# secret_file = \"/run/secrets/grafana\"
# redirect_uris = [\"https://grafana.example.com/login/generic_oauth\"]
# post_logout_redirect_uris = [\"https://grafana.example.com/login\"]
# scopes = [\"openid\", \"profile\", \"email\"]
# consent = false
# id_token_alg = \"RS256\"
# access_minutes = 5
# refresh_days = 30
# session_days = 365
# staff_only = true
# require_mfa = true
";

/// The example file. Loading it gives the defaults.
pub fn example() -> String {
    let defaults = Config::defaults(false);
    let mut text = comment(HEAD);
    for section in settings().chunk_by(|a, b| a.section == b.section) {
        text.push_str(&format!("\n[{}]\n", section[0].section));
        for (index, setting) in section.iter().enumerate() {
            if index > 0 {
                text.push('\n');
            }
            text.push_str(&comment(&description(setting)));
            let value = (setting.write)(&defaults).to_toml();
            text.push_str(&format!("{} = {value}\n", setting.key));
        }
    }
    text.push('\n');
    text.push_str(&comment(WEBHOOKS));
    text.push_str(WEBHOOK);
    text.push('\n');
    text.push_str(&comment(PROVIDERS));
    text.push_str(PROVIDER);
    text.push('\n');
    text.push_str(&comment(CLIENTS));
    text.push_str(CLIENT);
    text
}

fn description(setting: &SettingInfo) -> String {
    let mut text = setting.help.clone();
    if setting.shape == Shape::Number {
        let range = setting.expected.replacen('a', "A", 1);
        text.push_str(&format!(" {range}."));
    }
    if let Some(dev) = &setting.dev_default_text {
        text.push_str(&format!(" Default with `--dev`: {dev}."));
    }
    text
}

/// The words as comment lines, wrapped between words.
fn comment(words: &str) -> String {
    let mut lines = vec![String::from("#")];
    for word in words.split_whitespace() {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line + 1 + word.chars().count() > COLUMNS {
            lines.push(String::from("#"));
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{Sources, load};
    use super::*;

    /// The file in the repository.
    const FILE: &str = include_str!("../../config.toml.example");

    #[test]
    fn the_file_is_current() {
        assert!(
            FILE == example(),
            "config.toml.example should be:\n{}",
            example()
        );
    }

    #[test]
    fn the_file_loads_to_the_defaults() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.toml");
        std::fs::write(&file, FILE).unwrap();
        let sources = Sources {
            file: Some(file),
            ..Sources::default()
        };
        let (config, warnings) = load(&sources).unwrap();
        assert_eq!(config, Config::defaults(false));
        assert!(warnings.is_empty());
    }

    #[test]
    fn the_file_has_exactly_the_settings_of_the_table() {
        let table: toml::Table = FILE.parse().unwrap();
        let in_file: BTreeSet<String> = table
            .iter()
            .flat_map(|(section, keys)| {
                let keys = keys.as_table().unwrap().keys();
                keys.map(move |key| format!("{section}.{key}"))
            })
            .collect();
        let in_table: BTreeSet<String> = settings().iter().map(|s| s.name.to_owned()).collect();
        assert_eq!(in_file, in_table);
    }

    #[test]
    fn lines_are_not_too_long() {
        for line in FILE.lines() {
            assert!(line.chars().count() <= COLUMNS, "{line}");
        }
    }

    #[test]
    fn comments_wrap_between_words() {
        let long = "word ".repeat(30);
        let written = comment(&long);
        assert_eq!(written.lines().count(), 2);
        assert!(written.lines().all(|line| line.starts_with("# word")));
    }
}
