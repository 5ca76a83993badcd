//! The webhooks of the configuration file, which are a list rather than settings.
//!
//! Owns their form and their secrets' variables. Whether an address may be called and what events
//! there are is not known here.

use std::path::PathBuf;

use super::values::Secret;

/// The name of the section, and of the list.
pub(super) const SECTION: &str = "webhooks";

/// The list within the section, for files that have settings in it too.
pub(super) const LIST: &str = "endpoints";

/// Longest name of a webhook, in characters.
const NAME_LENGTH: usize = 40;

/// A webhook of the configuration file.
#[derive(Clone, Debug, PartialEq)]
pub struct FileWebhook {
    /// Names it in logs and lists, and in the variable of its secret. The webhook of a name stays the
    /// same when its URL changes.
    pub name: String,
    /// Where events are sent.
    pub url: String,
    /// Types of events, also as `user.*`.
    pub events: Vec<String>,
    /// What a body contains: `full` or `thin`; empty for the default.
    pub payload: String,
    /// The secret that signs, `whsec_…`; empty when a file has it.
    pub secret: Secret<String>,
    /// File with that secret.
    pub secret_file: Option<PathBuf>,
}

impl FileWebhook {
    /// The environment variable with its secret.
    pub fn secret_variable(&self) -> String {
        format!("ACCOUNTS_WEBHOOKS_{}_SECRET", self.name)
            .replace('-', "_")
            .to_ascii_uppercase()
    }
}

/// Whether a text can name a webhook.
pub(super) fn is_name(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !text.is_empty() && text.len() <= NAME_LENGTH && text.bytes().all(is_plain)
}
