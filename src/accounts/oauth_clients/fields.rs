//! The fields of a client, named alike in the console, on the command line and in the file.

use super::{RegisteredClient, SECRET, hash};
use crate::accounts::{AccountError, unread};
use crate::domain::{
    CLIENT_NAME_LENGTH, ClientSettings, FieldReader, Fields, MAX_ACCESS_MINUTES,
    MAX_CLIENT_REFRESH_DAYS, MAX_CLIENT_SESSION_DAYS, MAX_REDIRECT_URIS, RedirectUri, Scope,
    Scopes, SigningAlgorithm, is_client_id, is_client_secret, messages,
};

/// The fields of what is registered about a client, beside its id and secret.
pub const OAUTH_CLIENT_FIELDS: &[&str] = &[
    "name",
    "redirect_uris",
    "post_logout_redirect_uris",
    "scopes",
    "consent",
    "id_token_alg",
    "access_minutes",
    "refresh_days",
    "session_days",
    "staff_only",
    "require_mfa",
];

/// What was given about a client; `None` for what is absent.
#[derive(Default)]
pub(super) struct SettingsFields {
    name: Option<String>,
    redirect_uris: Option<Vec<RedirectUri>>,
    post_logout_redirect_uris: Option<Vec<RedirectUri>>,
    scopes: Option<Scopes>,
    consent: Option<bool>,
    id_token_alg: Option<SigningAlgorithm>,
    access_minutes: Option<u32>,
    refresh_days: Option<u32>,
    session_days: Option<u32>,
    staff_only: Option<bool>,
    require_mfa: Option<bool>,
}

impl SettingsFields {
    /// Reads the fields of a new client.
    pub(super) fn read_new(reader: &mut FieldReader<'_>) -> Self {
        Self {
            name: reader.required_text("name", Some(CLIENT_NAME_LENGTH)),
            redirect_uris: read_required_uris(reader),
            ..Self::read_optional(reader)
        }
    }

    /// Reads the fields of a change.
    pub(super) fn read_changes(reader: &mut FieldReader<'_>) -> Self {
        let name = match reader.contains("name") {
            true => reader.required_text("name", Some(CLIENT_NAME_LENGTH)),
            false => None,
        };
        let redirect_uris = match reader.contains("redirect_uris") {
            true => read_required_uris(reader),
            false => None,
        };
        Self {
            name,
            redirect_uris,
            ..Self::read_optional(reader)
        }
    }

    fn read_optional(reader: &mut FieldReader<'_>) -> Self {
        Self {
            post_logout_redirect_uris: read_uris(reader, "post_logout_redirect_uris"),
            scopes: reader.optional_choices("scopes", Scope::parse),
            consent: reader.optional_bool("consent"),
            id_token_alg: reader
                .optional_choice("id_token_alg", SigningAlgorithm::parse)
                .flatten(),
            access_minutes: reader.optional_whole("access_minutes", 1, MAX_ACCESS_MINUTES),
            refresh_days: reader.optional_whole("refresh_days", 1, MAX_CLIENT_REFRESH_DAYS),
            session_days: reader.optional_whole("session_days", 1, MAX_CLIENT_SESSION_DAYS),
            staff_only: reader.optional_bool("staff_only"),
            require_mfa: reader.optional_bool("require_mfa"),
            ..Self::default()
        }
    }

    /// The settings of a new client; `None` when a required field was not read.
    pub(super) fn new_settings(self) -> Option<ClientSettings> {
        let name = self.name.clone()?;
        let uris = self.redirect_uris.clone()?;
        Some(self.applied_to(ClientSettings::new(name, uris)))
    }

    /// These settings, changed by the fields that are there.
    pub(super) fn applied_to(self, before: ClientSettings) -> ClientSettings {
        ClientSettings {
            name: self.name.unwrap_or(before.name),
            redirect_uris: self.redirect_uris.unwrap_or(before.redirect_uris),
            post_logout_redirect_uris: self
                .post_logout_redirect_uris
                .unwrap_or(before.post_logout_redirect_uris),
            scopes: self.scopes.unwrap_or(before.scopes),
            requires_consent: self.consent.unwrap_or(before.requires_consent),
            id_token_alg: self.id_token_alg.unwrap_or(before.id_token_alg),
            access_minutes: self.access_minutes.unwrap_or(before.access_minutes),
            refresh_days: self.refresh_days.unwrap_or(before.refresh_days),
            session_days: self.session_days.unwrap_or(before.session_days),
            is_staff_only: self.staff_only.unwrap_or(before.is_staff_only),
            requires_mfa: self.require_mfa.unwrap_or(before.requires_mfa),
        }
    }
}

/// Reads the id of a new client, if one was chosen.
pub(super) fn read_id(reader: &mut FieldReader<'_>) -> Option<String> {
    let id = reader.optional_text("id", usize::MAX)?;
    if id.is_empty() {
        return None;
    }
    if !is_client_id(&id) {
        reader.reject("id", messages::invalid_client_id());
        return None;
    }
    Some(id)
}

/// Reads a secret that somebody chose.
pub(super) fn read_secret(reader: &mut FieldReader<'_>, field: &'static str) -> Option<String> {
    let secret = reader.optional_secret(field, None)?;
    if !is_client_secret(&secret) {
        reader.reject(field, messages::invalid_client_secret());
        return None;
    }
    Some(secret)
}

fn read_required_uris(reader: &mut FieldReader<'_>) -> Option<Vec<RedirectUri>> {
    const FIELD: &str = "redirect_uris";
    if !reader.contains(FIELD) {
        reader.pass(FIELD);
        reader.reject(FIELD, messages::REQUIRED);
        return None;
    }
    let uris = read_uris(reader, FIELD)?;
    if uris.is_empty() {
        reader.reject(FIELD, messages::BLANK);
        return None;
    }
    Some(uris)
}

/// Reads redirect URIs, separated by blanks or line breaks, or as a repeated field.
fn read_uris(reader: &mut FieldReader<'_>, field: &'static str) -> Option<Vec<RedirectUri>> {
    let mut uris: Vec<RedirectUri> = Vec::new();
    let mut is_valid = true;
    for text in reader.optional_words(field)? {
        match RedirectUri::parse(&text) {
            Ok(uri) if uris.contains(&uri) => {}
            Ok(uri) => uris.push(uri),
            Err(problem) => {
                reader.reject(field, messages::invalid_redirect_uri(&text, problem));
                is_valid = false;
            }
        }
    }
    if uris.len() > MAX_REDIRECT_URIS {
        reader.reject(field, messages::too_many_uris(MAX_REDIRECT_URIS));
        return None;
    }
    is_valid.then_some(uris)
}

/// Checks a client of the configuration file, whose fields are named as elsewhere.
///
/// # Errors
/// [`AccountError::Fields`].
pub fn read_file_client(fields: &Fields) -> Result<RegisteredClient, AccountError> {
    let mut reader = FieldReader::new(fields);
    let id = read_id(&mut reader);
    if id.is_none() && !reader.contains("id") {
        reader.reject("id", messages::REQUIRED);
    }
    let read = SettingsFields::read_new(&mut reader);
    let secret = read_secret(&mut reader, SECRET);
    reader.finish()?;
    let (id, settings) = id.zip(read.new_settings()).ok_or_else(unread)?;
    Ok(RegisteredClient {
        id,
        secret_hash: secret.as_deref().map(hash),
        settings,
    })
}
