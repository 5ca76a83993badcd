//! The external identity providers of the configuration file, which are a list rather than settings.
//!
//! Owns their form and the variables of their secrets. How a provider is spoken to is not known here.

use std::path::PathBuf;

use super::values::Secret;
use crate::domain::{IdTokenAlgorithm, ProviderKind};

/// The name of the section.
pub(super) const SECTION: &str = "social";

/// The list within the section.
pub(super) const LIST: &str = "providers";

/// The list in error texts.
pub(super) const LIST_NAME: &str = "social.providers";

/// Longest id of a provider, in characters.
const ID_LENGTH: usize = 40;

/// An external identity provider of the configuration file.
#[derive(Clone, Debug, PartialEq)]
pub struct FileProvider {
    /// Names it in URLs, in stored identities, and in the variable of its secret. The provider of an
    /// id has to remain the same service.
    pub id: String,
    /// Its kind.
    pub kind: ProviderKind,
    /// What users see; empty for the name of the kind.
    pub name: String,
    /// The id that the provider has given to this server.
    pub client_id: String,
    /// The secret that belongs to it; empty when there is none or a file has it.
    pub client_secret: Secret<String>,
    /// File with that secret.
    pub client_secret_file: Option<PathBuf>,
    /// The issuer of its ID tokens, or the base URL of a GitHub Enterprise server; empty for the one
    /// of the kind.
    pub issuer: String,
    /// What is asked for; empty for the scopes of the kind.
    pub scopes: Vec<String>,
    /// Who ID tokens of apps may be issued for: the client ids of one's own apps. Empty accepts none.
    pub audiences: Vec<String>,
    /// The algorithm of its ID tokens.
    pub id_token_alg: IdTokenAlgorithm,
    /// Whether `email_verified` of a provider of the kind `oidc` is believed.
    pub trust_email: bool,
    /// Whether an identity is connected to the account of its trusted address without asking.
    pub auto_link: bool,
    /// The team of an Apple developer.
    pub team_id: String,
    /// The id of the key that signs for Apple.
    pub key_id: String,
    /// File with that key, PKCS #8 in PEM (`.p8`).
    pub private_key_file: Option<PathBuf>,
}

impl FileProvider {
    /// A provider that has nothing but what every one has.
    pub fn new(id: &str, kind: ProviderKind, client_id: &str) -> Self {
        Self {
            id: id.to_owned(),
            kind,
            name: String::new(),
            client_id: client_id.to_owned(),
            client_secret: Secret::default(),
            client_secret_file: None,
            issuer: String::new(),
            scopes: Vec::new(),
            audiences: Vec::new(),
            id_token_alg: IdTokenAlgorithm::default(),
            trust_email: false,
            auto_link: false,
            team_id: String::new(),
            key_id: String::new(),
            private_key_file: None,
        }
    }

    /// The environment variable with its secret.
    pub fn secret_variable(&self) -> String {
        format!("ACCOUNTS_SOCIAL_{}_CLIENT_SECRET", self.id)
            .replace('-', "_")
            .to_ascii_uppercase()
    }

    /// The files that it names.
    pub(super) fn files(&self) -> impl Iterator<Item = PathBuf> {
        [&self.client_secret_file, &self.private_key_file]
            .into_iter()
            .flatten()
            .cloned()
    }
}

/// Whether a text can name a provider: it is part of URLs.
pub(super) fn is_id(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    !text.is_empty() && text.len() <= ID_LENGTH && text.bytes().all(is_plain)
}
