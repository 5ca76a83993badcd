//! The console: what staff do with accounts and the server, in a browser.
//!
//! To add a subject: a file here, its templates (listed in `templates::page_templates`), its routes
//! in the table of routes, and a line in [`layout::SECTIONS`]. A page begins with [`staff`], a form
//! with [`change`]; the operations of [`crate::accounts`] check the rights themselves once more.

pub(in crate::http) mod backups;
pub(in crate::http) mod bulk;
pub(in crate::http) mod client;
pub(in crate::http) mod clients;
pub(in crate::http) mod events;
pub(in crate::http) mod export;
pub(in crate::http) mod invitations;
pub(in crate::http) mod keys;
pub(in crate::http) mod layout;
pub(in crate::http) mod mails;
pub(in crate::http) mod new_user;
pub(in crate::http) mod overview;
pub(in crate::http) mod settings;
pub(crate) mod setup;
pub(in crate::http) mod user;
pub(in crate::http) mod users;
pub(in crate::http) mod webhook;
pub(in crate::http) mod webhooks;

use super::access::{self, Change};
use super::render::Detour;
use super::visitor::Visitor;
use crate::accounts::{self, Administrator, BrowserSession};
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
/// The way to the sign-in page, to a second factor that has to be set up, or 403; where to look for
/// the setup link, while nobody is staff.
pub(super) async fn staff<'a>(visitor: &'a Visitor<'_>) -> Result<&'a BrowserSession, Detour> {
    if let Some(session) = &visitor.session
        && session.user().is_staff
    {
        return access::session(visitor);
    }
    if !accounts::find_setup_state(visitor.app).await?.has_staff {
        return Err(setup::where_to_look(visitor).into());
    }
    access::session(visitor)?;
    Err(ApiError::Forbidden.into())
}

/// The staff member as operations take one.
pub(super) fn by<'a>(visitor: &'a Visitor<'_>, session: &'a BrowserSession) -> Administrator<'a> {
    Administrator::Staff(&session.caller, &visitor.client)
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
    staff(&visitor).await?;
    let change = Change::read(visitor, app, request).await?;
    staff(&change.visitor).await?;
    Ok(change)
}
