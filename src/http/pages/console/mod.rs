//! The console: what staff do with accounts and the server, in a browser.
//!
//! To add a subject: a file here, its templates (listed in `templates::page_templates`), its routes
//! in the table of routes, and a line in [`layout::SECTIONS`]. A page begins with [`staff`], a form
//! with [`change`]; the operations of [`crate::accounts`] check the rights themselves once more.

pub(in crate::http) mod keys;
pub(in crate::http) mod layout;
pub(in crate::http) mod overview;

use super::access::{self, Change};
use super::render::Detour;
use super::visitor::Visitor;
use crate::accounts::BrowserSession;
use crate::app::{App, SharedApp};
use crate::http::error::ApiError;
use crate::http::request::Request;

/// Where the console begins.
pub(super) const HOME: &str = "/console/";

/// Whether this server has a console.
pub(crate) fn is_enabled(app: &App) -> bool {
    app.config.console.enabled && super::are_enabled(app)
}

/// The session of somebody who may see the console.
///
/// The account is read from the store for each request, so somebody who is demoted is out at the
/// next click.
///
/// # Errors
/// The way to the sign-in page, or 403.
pub(super) fn staff<'a>(visitor: &'a Visitor<'_>) -> Result<&'a BrowserSession, Detour> {
    let session = access::session(visitor)?;
    if !session.user().is_staff {
        return Err(ApiError::Forbidden.into());
    }
    Ok(session)
}

/// The form of a staff member who has authenticated recently. Every change of the console begins
/// with it.
///
/// # Errors
/// As [`staff`] and [`Change::read`].
pub(super) async fn change<'a>(
    app: &'a SharedApp,
    request: &mut Request,
) -> Result<Change<'a>, Detour> {
    let visitor = Visitor::of(app, request).await?;
    staff(&visitor)?;
    let change = Change::read(visitor, app, request).await?;
    staff(&change.visitor)?;
    Ok(change)
}
