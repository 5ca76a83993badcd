//! HTML for a person at a browser: account pages, the console and the inbox of `--dev`.
//!
//! A page is a template of [`crate::templates`] and its values. Handlers call the operations of
//! [`crate::accounts`], as those of the API do.
//!
//! ```text
//! account    one file a page            visitor   language, session, where a form comes from
//! oauth      signing in to applications
//! console    one file a subject         access    who may open a page and send its forms
//! form       a form that was sent       render    template to answer, redirects
//! problem    errors as pages            values    what templates show of accounts
//! external   other providers
//! cookies    names and attributes       assets    style, script, logo
//! ```

mod access;
pub(crate) mod account;
pub(crate) mod assets;
mod complaints;
pub(crate) mod console;
mod cookies;
mod countries;
mod device;
pub(crate) mod email_undo;
mod external;
mod form;
pub(crate) mod inbox;
mod next_path;
pub(crate) mod oauth;
mod problem;
mod render;
mod values;
mod visitor;

pub(crate) use problem::error;

use http::Method;
use http::header::ACCEPT;
use warp::reply::Response;

use super::HandlerResult;
use super::reply;
use super::request::{Head, Request};
use crate::accounts;
use crate::app::App;
use crate::config::is_loopback_url;
use cookies::Cookie;

/// Whether this server has pages.
pub(crate) fn are_enabled(app: &App) -> bool {
    app.config.pages.enabled
}

/// Whether passwords and cookies may travel to this public URL: by https, or on this machine.
pub(crate) fn are_safe_at(public_url: &str) -> bool {
    public_url.starts_with("https://") || is_loopback_url(public_url)
}

/// Leads a browser at `/` to the account pages, or to the console while there are no accounts.
/// For programs nothing is there.
pub(crate) async fn home(app: &App, head: &Head) -> Option<HandlerResult> {
    let is_home = head.path() == "/" && matches!(head.method, Method::GET | Method::HEAD);
    if !is_home || !are_enabled(app) || head.is_for_metrics || !wants_page(head) {
        return None;
    }
    if !console::is_enabled(app) {
        return Some(reply::see_other(next_path::HOME));
    }
    Some(match accounts::find_setup_state(app).await {
        Ok(state) if !state.has_accounts => reply::see_other(console::HOME),
        Ok(_) => reply::see_other(next_path::HOME),
        Err(error) => Err(error.into()),
    })
}

/// Whether a path that does not exist is that of a page: below those of pages, for a browser.
pub(crate) fn may_be_meant(app: &App, head: &Head) -> bool {
    let path = head.path();
    let is_below = (are_enabled(app) && (path.starts_with("/account/") || path.starts_with("/o/")))
        || (console::is_enabled(app) && path.starts_with("/console/"));
    is_below && !head.is_for_metrics && wants_page(head)
}

fn wants_page(head: &Head) -> bool {
    let accept = head.headers.get(ACCEPT);
    accept
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

/// Gives the browser the new secret of its session, unless the answer has another one.
pub(crate) fn hand_over_session(app: &App, request: &Request, response: &mut Response) {
    if let Some(secret) = &request.renewed_session {
        let is_secure = app.public_url.starts_with("https://");
        if !Cookie::Session.is_set(response.headers(), is_secure) {
            let life = app.keys.refresh_life();
            Cookie::Session.set(response.headers_mut(), is_secure, secret, Some(life));
        }
    }
}
