//! HTML for a person at a browser: account pages and the inbox of `--dev`.
//!
//! A page is a template of [`crate::templates`] and its values. Handlers call the operations of
//! [`crate::accounts`], as those of the API do.
//!
//! ```text
//! account    one file a page            visitor   language, session, where a form comes from
//! form       a form that was sent       render    template to answer, redirects
//! problem    errors as pages            values    what templates show of accounts
//! cookies    names and attributes       assets    style, script, logo
//! ```

pub(crate) mod account;
pub(crate) mod assets;
mod complaints;
mod cookies;
mod countries;
mod device;
pub(crate) mod email_undo;
mod form;
pub(crate) mod inbox;
mod next_path;
mod problem;
mod render;
mod values;
mod visitor;

pub(crate) use problem::error;

use http::Method;
use http::header::ACCEPT;

use super::HandlerResult;
use super::reply;
use super::request::Head;
use crate::app::App;

/// Whether this server has pages.
pub(crate) fn are_enabled(app: &App) -> bool {
    app.config.pages.enabled
}

/// Whether passwords and cookies may travel to this public URL: by https, or on this machine.
pub(crate) fn are_safe_at(public_url: &str) -> bool {
    public_url.starts_with("https://") || visitor::is_loopback(public_url)
}

/// Leads a browser at `/` to the account pages. For programs nothing is there.
pub(crate) fn home(app: &App, head: &Head) -> Option<HandlerResult> {
    let accept = head.headers.get(ACCEPT)?.to_str().ok()?;
    let is_home = head.path() == "/" && matches!(head.method, Method::GET | Method::HEAD);
    (is_home && are_enabled(app) && !head.is_for_metrics && accept.contains("text/html"))
        .then(|| reply::see_other(next_path::HOME))
}
