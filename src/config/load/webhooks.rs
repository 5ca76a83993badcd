//! The list `[[webhooks]]` of the configuration file.

use toml::Spanned;
use toml::de::DeValue;

use super::super::error::Problem;
use super::super::settings::Config;
use super::super::values::Secret;
use super::super::webhooks::{FileWebhook, LIST, SECTION, is_name};
use super::file::FileReader;
use super::item::{Item, ListForm, Problems};

/// The list.
const FORM: ListForm = ListForm {
    name: SECTION,
    item: "a webhook",
    items: "webhooks",
    keys: &["name", "url", "events", "payload", "secret", "secret_file"],
};

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
    pub(super) fn webhooks(&self, config: &mut Config, list: &Spanned<DeValue<'_>>) -> Problems {
        self.items(&FORM, list, |item| {
            let webhook = webhook(item);
            if !item.is_right() {
                return;
            }
            let of_name =
                |other: &&FileWebhook| other.secret_variable() == webhook.secret_variable();
            if let Some(other) = config.webhook_list.iter().find(of_name) {
                item.wrong(format!(
                    "two webhooks are named {:?}: choose another name",
                    other.name
                ));
            }
            config.webhook_list.push(webhook);
        })
    }
}

fn webhook(item: &mut Item<'_, '_>) -> FileWebhook {
    let webhook = FileWebhook {
        name: item.text("name"),
        url: item.text("url"),
        payload: item.text("payload"),
        secret: item.secret("secret"),
        secret_file: item.path("secret_file"),
        events: item.list("events"),
    };
    if item.is_right() {
        if !is_name(&webhook.name) {
            item.wrong(
                "name: expected up to 40 letters, digits, hyphens and underscores, such as \"crm\"",
            );
        }
        if webhook.url.is_empty() {
            item.wrong("url is missing: where events are sent, such as https://example.com/hook");
        }
        if webhook.events.is_empty() {
            item.wrong("events is missing: which events are sent, such as [\"user.*\"]");
        }
    }
    webhook
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
