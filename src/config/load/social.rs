//! The list `[[social.providers]]` of the configuration file.

use toml::Spanned;
use toml::de::DeValue;

use super::super::error::Problem;
use super::super::settings::Config;
use super::super::social::{FileProvider, LIST, LIST_NAME, SECTION, is_id};
use super::super::suggest::closest;
use super::super::values::{PublicUrl, Secret};
use super::file::FileReader;
use super::item::{Item, ListForm, Problems};
use crate::domain::{IdTokenAlgorithm, ProviderKind};

/// The list.
const FORM: ListForm = ListForm {
    name: LIST_NAME,
    item: "a provider",
    items: "providers",
    keys: &[
        "id",
        "kind",
        "client_id",
        "name",
        "client_secret",
        "client_secret_file",
        "issuer",
        "scopes",
        "audiences",
        "id_token_alg",
        "trust_email",
        "auto_link",
        "team_id",
        "key_id",
        "private_key_file",
    ],
};

/// The keys that Apple alone has.
const APPLE_KEYS: [&str; 3] = ["team_id", "key_id", "private_key_file"];

/// Whether this is the list within the section.
pub(super) fn is_inner_list(section: &str, key: &str) -> bool {
    section == SECTION && key == LIST
}

impl FileReader<'_> {
    /// Adds the providers of a list to the configuration. Returns the problems with their positions.
    pub(super) fn providers(&self, config: &mut Config, list: &Spanned<DeValue<'_>>) -> Problems {
        self.items(&FORM, list, |item| {
            let Some(provider) = provider(item) else {
                return;
            };
            let of_id =
                |other: &&FileProvider| other.secret_variable() == provider.secret_variable();
            if let Some(other) = config.social_providers.iter().find(of_id) {
                item.wrong_key(
                    "id",
                    format!(
                        "there is already a provider {:?}: choose another id",
                        other.id
                    ),
                );
            }
            config.social_providers.push(provider);
        })
    }
}

/// One provider; `None` when something is wrong with it.
fn provider(item: &mut Item<'_, '_>) -> Option<FileProvider> {
    let id = item.text("id");
    if !is_id(&id) {
        item.wrong_key(
            "id",
            "expected up to 40 lower-case letters, digits, hyphens and underscores, such as \
             \"google\"; it is part of the redirect URI",
        );
    }
    let kind = kind(item)?;
    let client_id = item.text("client_id");
    let provider = FileProvider {
        name: item.text("name"),
        client_secret: item.secret("client_secret"),
        client_secret_file: item.path("client_secret_file"),
        issuer: item.text("issuer"),
        scopes: item.list("scopes"),
        audiences: item.list("audiences"),
        id_token_alg: algorithm(item),
        trust_email: item.switch("trust_email").unwrap_or(false),
        auto_link: item.switch("auto_link").unwrap_or(false),
        team_id: item.text("team_id"),
        key_id: item.text("key_id"),
        private_key_file: item.path("private_key_file"),
        ..FileProvider::new(&id, kind, &client_id)
    };
    check_texts(item, &provider);
    check_issuer(item, &provider);
    check_kind(item, &provider);
    item.is_right().then_some(provider)
}

fn kind(item: &mut Item<'_, '_>) -> Option<ProviderKind> {
    let name = item.text("kind");
    let kind = ProviderKind::parse(&name);
    if kind.is_none() && item.is_right() {
        let names = ProviderKind::ALL.map(ProviderKind::as_str);
        let hint = match closest(&name, names.into_iter()) {
            Some(meant) => format!("; did you mean {meant:?}?"),
            None => String::new(),
        };
        let expected = names.join(", ");
        let text = match item.is_set("kind") {
            true => format!("expected one of {expected}, got {name:?}{hint}"),
            false => format!("is missing: one of {expected}"),
        };
        item.wrong_key("kind", text);
    }
    kind
}

fn algorithm(item: &mut Item<'_, '_>) -> IdTokenAlgorithm {
    let name = item.text("id_token_alg");
    if name.is_empty() {
        return IdTokenAlgorithm::default();
    }
    IdTokenAlgorithm::parse(&name).unwrap_or_else(|| {
        let names = IdTokenAlgorithm::ALL.map(IdTokenAlgorithm::as_str);
        let text = format!("expected one of {}, got {name:?}", names.join(", "));
        item.wrong_key("id_token_alg", text);
        IdTokenAlgorithm::default()
    })
}

/// Texts that have to be there or to have a form.
fn check_texts(item: &mut Item<'_, '_>, provider: &FileProvider) {
    let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
    if provider.client_id.is_empty() {
        item.wrong_key("client_id", "is missing: the provider's console shows it");
    } else if !is_plain(&provider.client_id) {
        item.wrong_key("client_id", "expected characters without blanks");
    }
    if provider.name.is_empty() && provider.kind.brand().is_none() {
        item.wrong_key("name", "is missing: what the button calls the provider");
    }
    if provider.name.chars().any(char::is_control) || provider.name.chars().count() > 60 {
        item.wrong_key("name", "expected at most 60 characters on one line");
    }
    for (key, texts) in [
        ("scopes", &provider.scopes),
        ("audiences", &provider.audiences),
    ] {
        if let Some(text) = texts.iter().find(|t| t.is_empty() || !is_plain(t)) {
            item.wrong_key(key, format!("expected texts without blanks, got {text:?}"));
        }
    }
    let needs_openid = provider.kind != ProviderKind::Github && !provider.scopes.is_empty();
    if needs_openid && !provider.scopes.iter().any(|scope| scope == "openid") {
        item.wrong_key(
            "scopes",
            "expected \"openid\" among them, or there is no ID token",
        );
    }
}

fn check_issuer(item: &mut Item<'_, '_>, provider: &FileProvider) {
    let issuer = &provider.issuer;
    if issuer.is_empty() {
        if provider.kind == ProviderKind::Oidc {
            item.wrong_key(
                "issuer",
                "is missing: the provider's URL, exactly as in its \
                 /.well-known/openid-configuration",
            );
        }
        return;
    }
    // A trailing slash is part of an issuer, and a public URL has none.
    if PublicUrl::parse(issuer).is_none() {
        item.wrong_key(
            "issuer",
            format!(
                "expected a URL without query and fragment such as https://login.example.com, got \
                 {issuer:?}"
            ),
        );
    }
}

/// Settings that only some kinds have.
fn check_kind(item: &mut Item<'_, '_>, provider: &FileProvider) {
    let kind = provider.kind;
    if kind == ProviderKind::Apple {
        for (key, is_there, what) in [
            ("team_id", !provider.team_id.is_empty(), "ten characters"),
            ("key_id", !provider.key_id.is_empty(), "ten characters"),
            (
                "private_key_file",
                provider.private_key_file.is_some(),
                "the path of the AuthKey_….p8 file",
            ),
        ] {
            if !is_there {
                item.wrong_key(
                    key,
                    format!("is missing: {what}, from Apple's developer site"),
                );
            }
        }
        for key in ["client_secret", "client_secret_file"] {
            if item.is_set(key) {
                item.wrong_key(
                    key,
                    "Apple has none: the server makes it with private_key_file",
                );
            }
        }
    } else {
        for key in APPLE_KEYS {
            if item.is_set(key) {
                item.wrong_key(key, "only a provider of the kind \"apple\" has it");
            }
        }
    }
    if kind == ProviderKind::Github {
        for key in ["audiences", "id_token_alg"] {
            if item.is_set(key) {
                item.wrong_key(key, "GitHub has no ID tokens: remove it");
            }
        }
    }
    if provider.trust_email && kind != ProviderKind::Oidc {
        item.wrong_key(
            "trust_email",
            "only a provider of the kind \"oidc\" has it; what others say of addresses is judged \
             by what they document",
        );
    }
    if provider.auto_link && kind == ProviderKind::Oidc && !provider.trust_email {
        item.wrong_key(
            "auto_link",
            "needs trust_email = true: without it, the provider could name the address of any \
             account",
        );
    }
}

/// Takes the secrets of providers from the environment. Returns what is wrong with secrets.
pub(super) fn take_secrets<'e>(
    config: &mut Config,
    variable: impl Fn(&str) -> Option<&'e String>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for provider in &mut config.social_providers {
        let name = provider.secret_variable();
        let has_secret = provider.kind != ProviderKind::Apple;
        if has_secret && let Some(value) = variable(&name) {
            provider.client_secret = Secret::new(value.clone());
        }
        // A public client of a provider has no secret (RFC 6749, section 2.1).
        let needs_secret = has_secret && provider.kind != ProviderKind::Oidc;
        let is_empty = provider.client_secret.expose().is_empty();
        let problem = match (is_empty, &provider.client_secret_file) {
            (true, None) if needs_secret => format!(
                "[[{LIST_NAME}]] {:?} has no secret: set client_secret_file or {name} to the one \
                 from the provider's console",
                provider.id
            ),
            (false, Some(_)) => format!(
                "[[{LIST_NAME}]] {:?} has two secrets: remove client_secret_file, or \
                 client_secret and {name}",
                provider.id
            ),
            _ => continue,
        };
        problems.push(Problem::Conflict(problem));
    }
    problems
}
