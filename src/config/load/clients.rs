//! The list `[[clients]]` of the configuration file.

use toml::Spanned;
use toml::de::DeValue;

use super::super::clients::{FileClient, LIST};
use super::super::settings::Config;
use super::file::FileReader;
use super::item::{Item, ListForm, Problems};

/// The list.
const FORM: ListForm = ListForm {
    name: LIST,
    item: "a client",
    items: "clients",
    keys: &[
        "id",
        "name",
        "secret_file",
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
    ],
};

/// Whether this is the list.
pub(super) fn is_list(name: &str) -> bool {
    name == LIST
}

impl FileReader<'_> {
    /// Adds the clients of a list to the configuration. Returns the problems with their positions.
    pub(super) fn clients(&self, config: &mut Config, list: &Spanned<DeValue<'_>>) -> Problems {
        self.items(&FORM, list, |item| {
            let client = client(item);
            if !item.is_right() {
                return;
            }
            if config.clients.iter().any(|other| other.id == client.id) {
                let text = format!(
                    "there is already a client {:?}: choose another id",
                    client.id
                );
                item.wrong_key("id", text);
            }
            config.clients.push(client);
        })
    }
}

fn client(item: &mut Item<'_, '_>) -> FileClient {
    let mut client = FileClient {
        id: item.text("id"),
        secret_file: item.path("secret_file"),
        values: Vec::new(),
    };
    for key in ["name", "id_token_alg"] {
        if item.is_set(key) {
            client.values.push((key, vec![item.text(key)]));
        }
    }
    for key in ["redirect_uris", "post_logout_redirect_uris", "scopes"] {
        if item.is_set(key) {
            client.values.push((key, item.list(key)));
        }
    }
    for key in ["consent", "staff_only", "require_mfa"] {
        let value = item.switch(key).map(|on| vec![on.to_string()]);
        client.values.extend(value.map(|value| (key, value)));
    }
    for key in ["access_minutes", "refresh_days", "session_days"] {
        let value = item.number(key).map(|number| vec![number.to_string()]);
        client.values.extend(value.map(|value| (key, value)));
    }
    if item.is_right() {
        for (key, what) in [
            ("id", "the client_id that the application is given"),
            ("name", "what users see"),
            (
                "redirect_uris",
                "where answers may be sent, such as [\"https://app.example.com/callback\"]",
            ),
        ] {
            if !item.is_set(key) {
                item.wrong_key(key, format!("is missing: {what}"));
            }
        }
    }
    client
}
