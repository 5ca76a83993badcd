//! The configuration file.

use std::fs;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::error::{ConfigError, FileLine, Place, Problem};
use super::super::raw::Raw;
use super::super::settings::{Config, SettingInfo, in_section, sections, settings};
use super::super::suggest::closest;
use super::apply;
use super::{clients, social, webhooks};

/// The text of the file.
pub(super) fn read(file: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(file).map_err(|source| {
        Problem::Unreadable {
            file: file.to_owned(),
            source,
        }
        .into()
    })
}

/// Applies the settings of a file to a configuration.
pub(super) struct FileReader<'t> {
    file: &'t Path,
    text: &'t str,
}

impl<'t> FileReader<'t> {
    pub(super) fn new(file: &'t Path, text: &'t str) -> Self {
        Self { file, text }
    }

    /// Applies all settings and returns the problems, in the order of the file.
    ///
    /// # Errors
    /// When the text is not valid TOML.
    pub(super) fn apply(&self, config: &mut Config) -> Result<Vec<Problem>, ConfigError> {
        let document = DeTable::parse(self.text).map_err(|error| self.syntax(&error))?;
        let mut problems = Vec::new();
        for (name, value) in document.get_ref() {
            let start = name.span().start;
            if clients::is_list(name.get_ref()) {
                problems.extend(self.clients(config, value));
                continue;
            }
            if webhooks::is_list(name.get_ref(), value.get_ref()) {
                problems.extend(self.webhooks(config, value));
                continue;
            }
            match self.section(name, value) {
                Ok((section, table)) => {
                    for (key, value) in table {
                        let start = key.span().start;
                        if social::is_inner_list(section, key.get_ref()) {
                            problems.extend(self.providers(config, value));
                            continue;
                        }
                        if webhooks::is_inner_list(section, key.get_ref()) {
                            problems.extend(self.webhooks(config, value));
                            continue;
                        }
                        let done = self.key(config, section, key, value);
                        problems.extend(done.err().map(|problem| (start, problem)));
                    }
                }
                Err(problem) => problems.push((start, problem)),
            }
        }
        // The parser sorts tables by name.
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
            return Err(Problem::UnknownSetting {
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
        // The error's own `Display` quotes the line, which may contain a secret.
        let message: Vec<_> = error.message().lines().collect();
        Problem::Syntax {
            at: self.line(start),
            column: before[line_start..].chars().count() + 1,
            message: message.join("; "),
        }
    }

    pub(super) fn line(&self, position: usize) -> FileLine {
        FileLine {
            file: self.file.to_owned(),
            line: self.before(position).matches('\n').count() + 1,
        }
    }

    fn before(&self, position: usize) -> &'t str {
        self.text.get(..position).unwrap_or(self.text)
    }
}

/// Section and key of the setting, if it is the only one.
fn only<'s>(
    mut settings: impl Iterator<Item = &'s SettingInfo>,
) -> Option<(&'static str, &'static str)> {
    let first = settings.next()?;
    let is_only = settings.next().is_none();
    is_only.then_some((first.section, first.key))
}
