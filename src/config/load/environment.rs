//! Environment variables: reading them, and warning of unknown ones.

use std::collections::BTreeMap;

use super::super::error::{ConfigError, Problem};
use super::super::settings::{Config, settings};
use super::super::social::FileProvider;
use super::super::suggest::closest;
use super::super::webhooks::FileWebhook;

/// The prefix of all environment variables of the program.
const PREFIX: &str = "ACCOUNTS_";
/// The same as `--dev`.
pub(super) const DEV_VARIABLE: &str = "ACCOUNTS_DEV";
/// The same as `--config`.
pub(super) const FILE_VARIABLE: &str = "ACCOUNTS_CONFIG";

/// The environment variables of this process that begin with `ACCOUNTS_`.
///
/// # Errors
/// When one of them is not UTF-8.
pub fn process_environment() -> Result<BTreeMap<String, String>, ConfigError> {
    let mut variables = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, value) in std::env::vars_os() {
        // A name that is not UTF-8 is not a setting.
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

/// Warnings for variables that have the prefix but are not settings. Their values are not shown.
///
/// They are not errors, because another program may use the same prefix.
pub(super) fn unknown_variables(
    environment: &BTreeMap<String, String>,
    config: &Config,
) -> Vec<String> {
    let webhooks = config.webhook_list.iter();
    let providers = config.social_providers.iter();
    let secrets: Vec<String> = webhooks
        .map(FileWebhook::secret_variable)
        .chain(providers.map(FileProvider::secret_variable))
        .collect();
    let known = || {
        let settings = settings().iter().map(|setting| setting.env.as_str());
        settings.chain([DEV_VARIABLE, FILE_VARIABLE])
    };
    environment
        .iter()
        .filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty())
        .filter(|(name, _)| known().all(|known| known != *name) && !secrets.contains(name))
        .map(|(name, _)| {
            let bare = |name: &'static str| name.strip_prefix(PREFIX).unwrap_or(name);
            let meant = closest(&name[PREFIX.len()..], known().map(bare));
            let hint = meant.map(|meant| format!("; did you mean {PREFIX}{meant}?"));
            format!(
                "environment variable {name} is not a setting and is ignored{}",
                hint.unwrap_or_default()
            )
        })
        .collect()
}
