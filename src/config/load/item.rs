//! Lists of tables in the configuration file, such as `[[webhooks.endpoints]]`.
//!
//! [`FileReader::items`] walks through such a list and [`Item`] reads one table of it key by key,
//! collecting what is wrong with its line. To add a list, describe it by a [`ListForm`], read its
//! items in a file of its own beside this one, and call that where the file is read.

use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::error::Problem;
use super::super::raw::{Mismatch, Raw, Shape};
use super::super::suggest::closest;
use super::super::values::Secret;
use super::file::FileReader;

/// A list of the file, and what its items have.
pub(super) struct ListForm {
    /// Its name in errors, such as `social.providers`.
    pub(super) name: &'static str,
    /// What an item is, such as "a webhook".
    pub(super) item: &'static str,
    /// What several of them are, such as "webhooks".
    pub(super) items: &'static str,
    /// The keys of an item.
    pub(super) keys: &'static [&'static str],
}

/// Problems with their positions in the file.
pub(super) type Problems = Vec<(usize, Problem)>;

impl<'t> FileReader<'t> {
    /// Gives each table of a list to `read`. Returns the problems that it found, and those of the
    /// list itself.
    pub(super) fn items(
        &self,
        form: &ListForm,
        list: &Spanned<DeValue<'_>>,
        mut read: impl FnMut(&mut Item<'_, 't>),
    ) -> Problems {
        let DeValue::Array(items) = list.get_ref() else {
            let text = format!("expected [[{}]], a list of {}", form.name, form.items);
            return vec![self.wrong(form, list.span().start, text)];
        };
        let mut problems = Vec::new();
        for item in items {
            let start = item.span().start;
            let DeValue::Table(table) = item.get_ref() else {
                let text = format!("expected {}, got a value", form.item);
                problems.push(self.wrong(form, start, text));
                continue;
            };
            let mut item = Item {
                reader: self,
                form,
                table,
                start,
                problems: Vec::new(),
            };
            item.refuse_unknown_keys();
            read(&mut item);
            problems.append(&mut item.problems);
        }
        problems
    }

    fn wrong(&self, form: &ListForm, position: usize, text: String) -> (usize, Problem) {
        let problem = Problem::Item {
            at: self.line(position),
            list: form.name,
            text,
        };
        (position, problem)
    }
}

/// One table of a list.
pub(super) struct Item<'r, 't> {
    reader: &'r FileReader<'t>,
    form: &'r ListForm,
    table: &'r DeTable<'r>,
    start: usize,
    problems: Problems,
}

impl Item<'_, '_> {
    /// The text of a key; empty when it is not set.
    pub(super) fn text(&mut self, key: &str) -> String {
        match self.read(key, Shape::Text, "a string", true) {
            Some(Raw::Text(text)) => text,
            _ => String::new(),
        }
    }

    /// The secret of a key; empty when it is not set. A wrong value is not shown.
    pub(super) fn secret(&mut self, key: &str) -> Secret<String> {
        Secret::new(match self.read(key, Shape::Text, "a string", false) {
            Some(Raw::Text(text)) => text,
            _ => String::new(),
        })
    }

    /// The path of a key; `None` when it is empty or not set.
    pub(super) fn path(&mut self, key: &str) -> Option<PathBuf> {
        Some(self.text(key))
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    }

    /// The list of a key; empty when it is not set.
    pub(super) fn list(&mut self, key: &str) -> Vec<String> {
        match self.read(key, Shape::List, "a list of strings", true) {
            Some(Raw::List(items)) => items,
            _ => Vec::new(),
        }
    }

    /// The switch of a key; `None` when it is not set.
    pub(super) fn switch(&mut self, key: &str) -> Option<bool> {
        match self.read(key, Shape::Switch, "true or false", true) {
            Some(Raw::Switch(on)) => Some(on),
            _ => None,
        }
    }

    /// The whole number of a key; `None` when it is not set.
    pub(super) fn number(&mut self, key: &str) -> Option<i64> {
        match self.read(key, Shape::Number, "a whole number", true) {
            Some(Raw::Number(number)) => Some(number),
            _ => None,
        }
    }

    /// Whether a key is set, to whatever value.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    /// Whether nothing is wrong so far.
    pub(super) fn is_right(&self) -> bool {
        self.problems.is_empty()
    }

    /// Adds a problem of the whole item.
    pub(super) fn wrong(&mut self, text: impl Into<String>) {
        let problem = self.reader.wrong(self.form, self.start, text.into());
        self.problems.push(problem);
    }

    /// Adds a problem of one key, at its line if it is set.
    pub(super) fn wrong_key(&mut self, key: &str, text: impl AsRef<str>) {
        let value = self.table.get(key);
        let start = value.map_or(self.start, |value| value.span().start);
        let text = format!("{key}: {}", text.as_ref());
        let problem = self.reader.wrong(self.form, start, text);
        self.problems.push(problem);
    }

    fn read(&mut self, key: &str, shape: Shape, expected: &str, is_shown: bool) -> Option<Raw> {
        let value = self.table.get(key)?;
        match Raw::from_toml(shape, value.get_ref()) {
            Ok(raw) => Some(raw),
            Err(Mismatch(got)) => {
                // A secret in the wrong place must not be shown.
                let got = if is_shown { &got } else { "something else" };
                self.wrong_key(key, format!("expected {expected}, got {got}"));
                None
            }
        }
    }

    fn refuse_unknown_keys(&mut self) {
        for (key, _) in self.table {
            let name = key.get_ref();
            if self.form.keys.contains(&name.as_ref()) {
                continue;
            }
            let hint = match closest(name, self.form.keys.iter().copied()) {
                Some(meant) => format!("did you mean {meant:?}?"),
                None => format!("known settings: {}", self.form.keys.join(", ")),
            };
            let text = format!("unknown setting {:?}; {hint}", name.as_ref());
            let problem = self.reader.wrong(self.form, key.span().start, text);
            self.problems.push(problem);
        }
    }
}
