//! Where the values of settings come from, and the settings in effect with their sources.

use std::collections::BTreeMap;

use super::database::without_password;
use super::error::Place;
use super::raw::Raw;
use super::settings::{Config, SettingInfo, settings};

/// The places of the values that are not defaults.
///
/// They tell no two configurations apart: one that sets a default explicitly is the same.
#[derive(Clone, Debug, Default)]
pub struct Origins(BTreeMap<&'static str, Place>);

impl PartialEq for Origins {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Origins {
    /// Notes where a setting was set last.
    pub(super) fn note(&mut self, setting: &SettingInfo, place: Place) {
        self.0.insert(setting.name, place);
    }

    /// Where a setting was set; `None` for a default.
    pub fn of(&self, setting: &SettingInfo) -> Option<&Place> {
        self.0.get(setting.name)
    }

    /// Takes the place of one setting from another configuration.
    pub(super) fn copy(&mut self, setting: &SettingInfo, from: &Self) {
        match from.of(setting) {
            Some(place) => self.note(setting, place.clone()),
            None => drop(self.0.remove(setting.name)),
        }
    }
}

/// A setting with its value in effect.
#[derive(Clone, Debug)]
pub struct EffectiveSetting<'a> {
    /// The setting.
    pub setting: &'static SettingInfo,
    /// Its value as TOML; `None` for a secret that is set.
    pub value: Option<String>,
    /// Where it was set; `None` for a default.
    pub origin: Option<&'a Place>,
}

impl Config {
    /// All settings with their values in effect, in the order of the example file. Secrets are
    /// hidden.
    pub fn effective(&self) -> impl Iterator<Item = EffectiveSetting<'_>> {
        settings().iter().map(|setting| {
            let raw = match (setting.write)(self) {
                // The URL of a database may have a password.
                Raw::Text(url) if setting.name == "database.path" => {
                    Raw::Text(without_password(&url))
                }
                raw => raw,
            };
            let is_hidden = setting.secret && raw != Raw::Text(String::new());
            EffectiveSetting {
                setting,
                value: (!is_hidden).then(|| raw.to_toml()),
                origin: self.origins.of(setting),
            }
        })
    }
}
