//! What pages say about signing in with other providers: the buttons, the way there, and what went
//! wrong.
//!
//! The form of a button is answered by a page that leads on to the provider. A redirect would not do:
//! browsers hold every redirect that follows a form to the `form-action` of its page, and a provider
//! may lead to further origins that nobody knows beforehand.

use std::time::Duration;

use http::StatusCode;
use minijinja::{Value, context};
use warp::reply::Response;

use super::access::SIGN_IN;
use super::cookies::Cookie;
use super::next_path::with_next;
use super::render::{Page, PageResult};
use super::visitor::Visitor;
use crate::accounts::{self, AccountError, BrowserPurpose, Caller};
use crate::app::App;
use crate::http::error::ApiError;
use crate::http::request::Request;
use crate::providers::Provider;

/// The page with what is connected to an account.
pub(super) const CONNECTIONS: &str = "/account/connections/";

/// How long a browser keeps what binds a request to it: longer than the request lives.
const BINDING_LIFE: Duration = Duration::from_hours(1);

/// How long a browser keeps a ticket: as long as a sign-up may wait for its code.
const TICKET_LIFE: Duration = Duration::from_hours(24);

/// The providers of the settings, for the buttons.
pub(super) fn providers(app: &App) -> Value {
    app.providers.list().iter().map(provider).collect()
}

/// The providers by which the owner of a session can authenticate again.
///
/// # Errors
/// Only by a fault of the store.
pub(super) async fn reauthentication_providers(
    app: &App,
    caller: &Caller,
) -> Result<Value, AccountError> {
    let identities = accounts::list_identities(app, caller).await?;
    let is_connected = |provider: &&Provider| {
        let mut identities = identities.iter();
        identities.any(|identity| identity.proven.provider == provider.id())
    };
    let all = app.providers.list().iter();
    Ok(all
        .filter(is_connected)
        .filter(|provider| accounts::can_reauthenticate(provider, caller))
        .map(provider)
        .collect())
}

fn provider(provider: &Provider) -> Value {
    context! {
        id => provider.id(),
        name => provider.name(),
        kind => provider.kind().as_str(),
    }
}

/// Leads to a provider, and from there back to `next`, a path of ours.
///
/// # Errors
/// Those that have a page of their own.
pub(super) async fn begin(
    visitor: &Visitor<'_>,
    request: &Request,
    (provider, next): (&str, &str),
    purpose: BrowserPurpose<'_>,
) -> PageResult {
    let (app, client) = (visitor.app, &visitor.client);
    let (cookie, details) = (binding(visitor, request), (next, visitor.language.tag()));
    let started = accounts::start_in_browser(app, provider, purpose, cookie, details, client).await;
    let started = match started {
        Ok(started) => started,
        Err(error) => return refusal(visitor, provider, next, error),
    };
    let name = context! { name => name_of(app, provider) };
    let title = visitor.text("page_external.leaving_title", name.clone());
    let mut response = Page::new(visitor, "message.html", "page_external.or")
        .title(&title)
        .with(context! {
            leads_on => true,
            text => visitor.text("page_external.leaving", name.clone()),
            link => started.authorization_url,
            link_text => visitor.text("page_external.continue_with", name),
        })
        .answer()?;
    let headers = response.headers_mut();
    let (is_secure, cookie) = (visitor.is_secure, &started.cookie);
    Cookie::Provider.set(headers, is_secure, cookie, Some(BINDING_LIFE));
    Ok(response)
}

/// The value of the cookie that binds a request to this browser.
pub(super) fn binding<'a>(visitor: &Visitor<'_>, request: &'a Request) -> Option<&'a str> {
    Cookie::Provider.read(&request.head.headers, visitor.is_secure)
}

/// The ticket of an identity that waits for its account.
pub(super) fn ticket(visitor: &Visitor<'_>, request: &Request) -> Option<String> {
    Cookie::Identity
        .read(&request.head.headers, visitor.is_secure)
        .map(str::to_owned)
}

/// Keeps such a ticket in the browser.
pub(super) fn keep_ticket(visitor: &Visitor<'_>, response: &mut Response, ticket: &str) {
    let headers = response.headers_mut();
    Cookie::Identity.set(headers, visitor.is_secure, ticket, Some(TICKET_LIFE));
}

/// Removes it.
pub(super) fn forget_ticket(visitor: &Visitor<'_>, response: &mut Response) {
    Cookie::Identity.remove(response.headers_mut(), visitor.is_secure);
}

/// A page that says why a provider led nowhere, and what to do about it.
///
/// # Errors
/// Errors that have nothing to do with providers have a page of their own.
pub(super) fn refusal(
    visitor: &Visitor<'_>,
    provider: &str,
    next: &str,
    error: AccountError,
) -> PageResult {
    let (key, status) = match &error {
        AccountError::ProviderDenied => ("denied", StatusCode::FORBIDDEN),
        AccountError::InvalidLink => ("refused", StatusCode::BAD_REQUEST),
        AccountError::Overloaded(_) => ("down", StatusCode::SERVICE_UNAVAILABLE),
        AccountError::NoActiveAccount => ("inactive", StatusCode::FORBIDDEN),
        AccountError::IdentityTaken => ("taken", StatusCode::BAD_REQUEST),
        AccountError::TooManyIdentities => ("too_many", StatusCode::BAD_REQUEST),
        AccountError::WrongIdentity => ("other", StatusCode::FORBIDDEN),
        AccountError::Fields(errors) if errors.has("email") => {
            ("no_email", StatusCode::BAD_REQUEST)
        }
        AccountError::Fields(errors) if errors.has("ephemeral_token") => {
            ("unconnected", StatusCode::BAD_REQUEST)
        }
        _ => return Err(error.into()),
    };
    let error = ApiError::from(error);
    error.log();
    visitor.note_failure(error.outcome());
    explained(visitor, provider, next, key)
        .status(status)
        .answer()
}

/// The page for a browser that comes back with something that is not its own, or too late.
pub(super) fn expired<'a>(visitor: &'a Visitor<'a>, provider: &str) -> Page<'a> {
    explained(visitor, provider, "", "expired").status(StatusCode::BAD_REQUEST)
}

/// Whether a page is the one to which providers send browsers back.
pub(super) fn is_callback(visitor: &Visitor<'_>) -> bool {
    visitor.path.starts_with("/api/v1/accounts/o/")
}

fn explained<'a>(visitor: &'a Visitor<'a>, provider: &str, next: &str, key: &str) -> Page<'a> {
    let name = context! { name => name_of(visitor.app, provider) };
    let title = visitor.text(&format!("page_external.{key}_title"), name.clone());
    let (link, link_text) = match (&visitor.session, key) {
        (None, _) => (with_next(SIGN_IN, next), "page_external.other_way"),
        (Some(_), "other") => (
            with_next("/account/reauthenticate/", next),
            "page_external.other_way",
        ),
        (Some(_), _) => (CONNECTIONS.to_owned(), "page_external.to_connections"),
    };
    Page::new(visitor, "message.html", "page_external.or")
        .title(&title)
        .with(context! {
            text => visitor.text(&format!("page_external.{key}"), name),
            link,
            link_text => visitor.text(link_text, Value::UNDEFINED),
        })
}

/// What people call a provider: its id, where the settings have it no more.
pub(super) fn name_of<'a>(app: &'a App, id: &'a str) -> &'a str {
    app.providers.get(id).map_or(id, Provider::name)
}
