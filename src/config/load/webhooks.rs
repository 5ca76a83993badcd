//! The list `[[webhooks]]` of the configuration file.

use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::error::Problem;
use super::super::raw::{Mismatch, Raw, Shape};
use super::super::settings::Config;
use super::super::suggest::closest;
use super::super::values::Secret;
use super::super::webhooks::{FileWebhook, LIST, SECTION, is_name};
use super::file::FileReader;

/// The keys of a webhook.
const KEYS: [&str; 6] = ["name", "url", "events", "payload", "secret", "secret_file"];

/// Whether this is the list itself, and not the section of that name.
pub(super) fn is_list(name: &str, value: &DeValue<'_>) -> bool {
    name == SECTION && matches!(value, DeValue::Array(_))
}

/// Whether this is the list within the section.
pub(super) fn is_inner_list(section: &str, key: &str) -> bool {
    section == SECTION && key == LIST
}

impl FileReader<'_> {
    /// Adds the webhooks of a list to the configuration. Returns the problems with their positions.
    pub(super) fn webhooks(
        &self,
        config: &mut Config,
        list: &Spanned<DeValue<'_>>,
    ) -> Vec<(usize, Problem)> {
        let DeValue::Array(items) = list.get_ref() else {
            let start = list.span().start;
            return vec![(
                start,
                self.wrong(start, "expected [[webhooks]], a list of webhooks"),
            )];
        };
        let mut problems = Vec::new();
        for item in items {
            let start = item.span().start;
            let DeValue::Table(table) = item.get_ref() else {
                problems.push((start, self.wrong(start, "expected a webhook, got a value")));
                continue;
            };
            match self.webhook(start, table) {
                Ok(webhook) => {
                    let of_name =
                        |other: &&FileWebhook| other.secret_variable() == webhook.secret_variable();
                    if let Some(other) = config.webhook_list.iter().find(of_name) {
                        let text = format!(
                            "two webhooks are named {:?}: choose another name",
                            other.name
                        );
                        problems.push((start, self.wrong(start, &text)));
                    }
                    config.webhook_list.push(webhook);
                }
                Err(wrong) => problems.extend(wrong),
            }
        }
        problems
    }

    fn webhook(
        &self,
        start: usize,
        table: &DeTable<'_>,
    ) -> Result<FileWebhook, Vec<(usize, Problem)>> {
        let mut problems = Vec::new();
        for (key, _) in table {
            let name = key.get_ref();
            if !KEYS.contains(&name.as_ref()) {
                let start = key.span().start;
                let hint = match closest(name, KEYS.into_iter()) {
                    Some(meant) => format!("did you mean {meant:?}?"),
                    None => format!("known settings: {}", KEYS.join(", ")),
                };
                let text = format!("unknown setting {:?}; {hint}", name.as_ref());
                problems.push((start, self.wrong(start, &text)));
            }
        }
        let mut read = |key: &str, shape: Shape| -> Option<Raw> {
            let value = table.get(key)?;
            Raw::from_toml(shape, value.get_ref())
                .map_err(|Mismatch(got)| {
                    let start = value.span().start;
                    let expected = match shape {
                        Shape::List => "a list of strings",
                        _ => "a string",
                    };
                    // A secret in the wrong place must not be shown.
                    let got = match key {
                        "secret" => "something else",
                        _ => &got,
                    };
                    let text = format!("{key}: expected {expected}, got {got}");
                    problems.push((start, self.wrong(start, &text)));
                })
                .ok()
        };
        let mut text = |key: &str| match read(key, Shape::Text) {
            Some(Raw::Text(text)) => text,
            _ => String::new(),
        };
        let webhook = FileWebhook {
            name: text("name"),
            url: text("url"),
            payload: text("payload"),
            secret: Secret::new(text("secret")),
            secret_file: Some(text("secret_file"))
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
            events: match read("events", Shape::List) {
                Some(Raw::List(events)) => events,
                _ => Vec::new(),
            },
        };
        if problems.is_empty() {
            let mut missing = |text: &str| problems.push((start, self.wrong(start, text)));
            if !is_name(&webhook.name) {
                missing(
                    "name: expected up to 40 letters, digits, hyphens and underscores, such as \
                     \"crm\"",
                );
            }
            if webhook.url.is_empty() {
                missing("url is missing: where events are sent, such as https://example.com/hook");
            }
            if webhook.events.is_empty() {
                missing("events is missing: which events are sent, such as [\"user.*\"]");
            }
        }
        match problems.is_empty() {
            true => Ok(webhook),
            false => Err(problems),
        }
    }

    fn wrong(&self, position: usize, text: &str) -> Problem {
        Problem::Webhook {
            at: self.line(position),
            text: text.to_owned(),
        }
    }
}

/// Takes the secrets of webhooks from the environment. Returns what is wrong with secrets.
pub(super) fn take_secrets<'e>(
    config: &mut Config,
    variable: impl Fn(&str) -> Option<&'e String>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for webhook in &mut config.webhook_list {
        let name = webhook.secret_variable();
        if let Some(value) = variable(&name) {
            webhook.secret = Secret::new(value.clone());
        }
        let problem = match (webhook.secret.expose().is_empty(), &webhook.secret_file) {
            (true, None) => format!(
                "[[webhooks]] {:?} has no secret: set {name} or secret_file to `whsec_` and the \
                 output of `openssl rand -base64 32`",
                webhook.name
            ),
            (false, Some(_)) => format!(
                "[[webhooks]] {:?} has two secrets: remove secret_file, or secret and {name}",
                webhook.name
            ),
            _ => continue,
        };
        problems.push(Problem::Conflict(problem));
    }
    problems
}
