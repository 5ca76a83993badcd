//! `/console/clients/`: the applications in which users sign in with their account, and a form for
//! another one.

use http::StatusCode;
use minijinja::{Value, context};

use super::{by, change, layout, staff};
use crate::accounts::{self, ClientWithSecret, OAUTH_CLIENT_FIELDS};
use crate::app::SharedApp;
use crate::domain::{
    ClientSettings, Fields, Input, OAuthClient, RedirectUri, Scope, SigningAlgorithm,
};
use crate::http::pages::form::{Form, Problems};
use crate::http::pages::render::{Page, PageResult};
use crate::http::pages::values;
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;

/// The section of the console.
pub(super) const SECTION: &str = "clients";

pub(super) const PATH: &str = "/console/clients/";

/// The fields that are boxes: one that is not checked is not sent.
const BOXES: [&str; 3] = ["consent", "staff_only", "require_mfa"];

/// The list.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = staff(&visitor).await?;
    let clients = accounts::list_oauth_clients(app, by(&visitor, session)).await?;
    let clients: Value = clients.iter().map(|one| shown(&visitor, one)).collect();
    layout::page(
        &visitor,
        SECTION,
        "console/clients.html",
        "console_clients.title",
    )
    .with(context! { clients })
    .answer()
}

/// The form for a client.
pub(in crate::http) async fn show_new(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    staff(&visitor).await?;
    let defaults = ClientSettings::new(String::new(), Vec::new());
    form(&visitor, typed(&defaults), &defaults.scopes.names()).answer()
}

/// Adds a client, and shows its secret.
pub(in crate::http) async fn create(app: &SharedApp, request: &mut Request) -> PageResult {
    let change = change(app, request).await?;
    let (visitor, by) = (&change.visitor, by(&change.visitor, &change.session));
    let mut fields = fields_of(&change.form);
    for name in ["id", "public"] {
        fields.insert(name.to_owned(), Input::Text(change.form.text(name)));
    }
    match accounts::create_oauth_client(app, by, &fields).await {
        Ok(created) => secret_page(visitor, &created),
        Err(error) => {
            let (problems, status): (Problems, StatusCode) = Problems::of_error(visitor, error)?;
            form(visitor, sent(&change.form), &change.form.all("scopes"))
                .status(status)
                .with(context! { errors => problems.to_value() })
                .answer()
        }
    }
}

fn form<'a>(visitor: &'a Visitor<'a>, typed: Value, scopes: &[&str]) -> Page<'a> {
    layout::page(
        visitor,
        SECTION,
        "console/client_new.html",
        "console_clients.add",
    )
    .with(context! { values => typed, ..choices(visitor, scopes) })
}

/// The fields of a form about a client, with those that a browser leaves out.
pub(super) fn fields_of(form: &Form) -> Fields {
    let mut fields = form.only(OAUTH_CLIENT_FIELDS);
    for name in BOXES {
        let is_checked = form.text(name) == "true";
        fields.insert(name.to_owned(), Input::Text(is_checked.to_string()));
    }
    if form.all("scopes").is_empty() {
        fields.insert("scopes".to_owned(), Input::Text(String::new()));
    }
    fields
}

/// What was typed, with an empty text for each field that a browser left out.
pub(super) fn sent(form: &Form) -> Value {
    let names = OAUTH_CLIENT_FIELDS.iter().chain(&["id", "public"]);
    Value::from_pairs(names.map(|name| (*name, Value::from(form.text(name)))))
}

/// The secret is shown by the answer to the form: it is stored nowhere in readable form.
pub(super) fn secret_page(visitor: &Visitor<'_>, made: &ClientWithSecret) -> PageResult {
    layout::page(
        visitor,
        SECTION,
        "console/client_secret.html",
        "console_clients.added_title",
    )
    .with(context! {
        id => &*made.client.id,
        secret => made.secret.as_deref(),
        issuer => &*visitor.app.public_url,
    })
    .answer()
}

/// What the form of a client offers, and the scopes that are selected.
pub(super) fn choices(visitor: &Visitor<'_>, selected: &[&str]) -> Value {
    let pair = |name: &str, text: String| Value::from(vec![name.to_owned(), text]);
    let text = |key: &str| visitor.text(&format!("console_clients.{key}"), Value::UNDEFINED);
    let algorithms: Value = [
        SigningAlgorithm::Rs256,
        SigningAlgorithm::Es256,
        SigningAlgorithm::EdDsa,
    ]
    .map(|algorithm| pair(algorithm.as_str(), algorithm.to_string()))
    .into_iter()
    .collect();
    let kinds: Value = [("false", "confidential"), ("true", "public")]
        .map(|(value, key)| pair(value, text(key)))
        .into_iter()
        .collect();
    let scopes: Value = Scope::ALL
        .map(|scope| pair(scope.as_str(), text(&format!("scope_{scope}"))))
        .into_iter()
        .collect();
    let selected: Value = selected.iter().map(|name| Value::from(*name)).collect();
    context! { algorithms, kinds, scopes, selected }
}

/// Settings as a form has them.
pub(super) fn typed(settings: &ClientSettings) -> Value {
    context! {
        name => &*settings.name,
        redirect_uris => lines(&settings.redirect_uris),
        post_logout_redirect_uris => lines(&settings.post_logout_redirect_uris),
        consent => settings.requires_consent.to_string(),
        id_token_alg => settings.id_token_alg.as_str(),
        access_minutes => settings.access_minutes,
        refresh_days => settings.refresh_days,
        session_days => settings.session_days,
        staff_only => settings.is_staff_only.to_string(),
        require_mfa => settings.requires_mfa.to_string(),
    }
}

fn lines(uris: &[RedirectUri]) -> String {
    let texts: Vec<&str> = uris.iter().map(RedirectUri::as_str).collect();
    texts.join("\n")
}

/// A client for the templates.
pub(super) fn shown(visitor: &Visitor<'_>, client: &OAuthClient) -> Value {
    let settings = &client.settings;
    let uris = settings.redirect_uris.iter();
    context! {
        id => &*client.id,
        name => &*settings.name,
        uris => uris.map(|uri| Value::from(uri.as_str())).collect::<Value>(),
        is_public => !client.is_confidential(),
        asks => settings.asks_for_consent(),
        always_asks => settings.asks_for_consent() && !settings.requires_consent,
        staff_only => settings.is_staff_only,
        require_mfa => settings.requires_mfa,
        is_from_file => client.is_from_file,
        created_at => values::time(visitor, client.created_at),
    }
}
