//! Loads the configuration: flag over environment over file over default, for each setting.
//!
//! Does not know any setting by name, except in `conflicts`.

mod clients;
mod conflicts;
mod environment;
mod file;
mod item;
mod social;
#[cfg(test)]
mod tests;
mod webhooks;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::{ConfigError, Place, Problem};
use super::raw::{Mismatch, Raw, parse_switch};
use super::settings::{Config, SettingInfo, setting, settings};
use conflicts::conflicts;
pub use environment::process_environment;
use environment::{DEV_VARIABLE, FILE_VARIABLE, unknown_variables};
use file::{FileReader, read};

/// Where settings come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Settings of the command line: names such as `server.listen`, and their text.
    pub flags: Vec<(&'static str, String)>,
    /// Environment variables; only those with the prefix `ACCOUNTS_` count, and empty ones are unset.
    pub environment: BTreeMap<String, String>,
    /// The file of `--config`; without it that of `ACCOUNTS_CONFIG`; without both no file is read.
    pub file: Option<PathBuf>,
    /// Whether `--dev` was given; `ACCOUNTS_DEV=true` means the same.
    pub dev: bool,
}
/// Loads the configuration from its sources. Also returns warnings for the log: unknown environment
/// variables that have the prefix of settings.
///
/// # Errors
/// When the file cannot be read, a section or setting is unknown, a value is invalid, or settings
/// conflict. All problems are reported at once, and an invalid value is an error even if a valid one
/// overrides it.
///
/// # Panics
/// When `flags` contains an unknown setting.
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
            problems.push(Problem::InvalidValue {
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
        problems.extend(webhooks::take_secrets(&mut config, variable));
        problems.extend(social::take_secrets(&mut config, variable));
    }
    if problems.is_empty() {
        let warnings = unknown_variables(&sources.environment, &config);
        Ok((config, warnings))
    } else {
        Err(ConfigError::new(problems))
    }
}

/// Sets one setting, or returns what is wrong with its value.
fn apply(
    config: &mut Config,
    setting: &SettingInfo,
    raw: Result<Raw, Mismatch>,
    place: impl FnOnce() -> Place,
) -> Result<(), Problem> {
    match raw.and_then(|raw| (setting.read)(config, raw)) {
        Ok(()) => {
            config.origins.note(setting, place());
            Ok(())
        }
        Err(Mismatch(got)) => Err(Problem::InvalidValue {
            place: place(),
            expected: setting.expected.clone(),
            got: (!setting.secret).then_some(got),
        }),
    }
}
