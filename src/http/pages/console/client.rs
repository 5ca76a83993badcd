//! `/console/clients/<id>/`: one client, and what can be done with it.

use http::StatusCode;
use minijinja::context;

use super::clients::{PATH, SECTION, choices, fields_of, secret_page, sent, shown, typed};
use super::{by, change, layout, staff};
use crate::accounts::{self, AccountError, BrowserSession};
use crate::app::SharedApp;
use crate::domain::Fields;
use crate::http::pages::access::Change;
use crate::http::pages::form::Problems;
use crate::http::pages::render::{Page, PageResult, redirect};
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;

/// The client.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let id = request.segment_from_end(0).to_owned();
    let visitor = Visitor::of(app, request).await?;
    let session = staff(&visitor).await?;
    page(&visitor, session, &id).await?.answer()
}

/// Changes it.
pub(in crate::http) async fn update(app: &SharedApp, request: &mut Request) -> PageResult {
    let id = request.segment_from_end(0).to_owned();
    let change = change(app, request).await?;
    let by = by(&change.visitor, &change.session);
    match accounts::update_oauth_client(app, by, &id, &fields_of(&change.form)).await {
        Ok(_) => redirect(&change.visitor, &path(&id), "console.saved"),
        Err(error) => {
            let (page, problems) = refused(&change, &id, error).await?;
            // What was typed stays.
            page.with(context! {
                values => sent(&change.form),
                errors => problems.to_value(),
                ..choices(&change.visitor, &change.form.all("scopes"))
            })
            .answer()
        }
    }
}

/// Replaces the secret, and shows the new one.
pub(in crate::http) async fn rotate(app: &SharedApp, request: &mut Request) -> PageResult {
    let id = request.segment_from_end(1).to_owned();
    let change = change(app, request).await?;
    let by = by(&change.visitor, &change.session);
    match accounts::rotate_oauth_client_secret(app, by, &id, &Fields::form()).await {
        Ok(rotated) => secret_page(&change.visitor, &rotated),
        Err(error) => {
            let (page, problems) = refused(&change, &id, error).await?;
            page.with(context! { errors => problems.to_value() })
                .answer()
        }
    }
}

/// Asks whether to remove it, and why.
pub(in crate::http) async fn show_remove(app: &SharedApp, request: &mut Request) -> PageResult {
    let id = request.segment_from_end(1).to_owned();
    let visitor = Visitor::of(app, request).await?;
    let session = staff(&visitor).await?;
    remove_page(&visitor, session, &id).await?.answer()
}

/// Removes it.
pub(in crate::http) async fn remove(app: &SharedApp, request: &mut Request) -> PageResult {
    let id = request.segment_from_end(1).to_owned();
    let change = change(app, request).await?;
    let (visitor, session) = (&change.visitor, &change.session);
    let fields = change.form.only(&["reason"]);
    match accounts::delete_oauth_client(app, by(visitor, session), &id, &fields).await {
        Ok(()) => redirect(visitor, PATH, "console_clients.removed"),
        Err(error @ AccountError::ClientFromFile) => {
            let (page, problems) = refused(&change, &id, error).await?;
            page.with(context! { errors => problems.to_value() })
                .answer()
        }
        Err(error) => {
            let (problems, status) = Problems::of_error(visitor, error)?;
            remove_page(visitor, session, &id)
                .await?
                .status(status)
                .with(context! { errors => problems.to_value(), values => change.form.values() })
                .answer()
        }
    }
}

fn path(id: &str) -> String {
    format!("{PATH}{id}/")
}

/// The page of a client whose change was refused, and why.
async fn refused<'a>(
    change: &'a Change<'_>,
    id: &str,
    error: AccountError,
) -> Result<(Page<'a>, Problems), crate::http::error::ApiError> {
    let visitor = &change.visitor;
    let (problems, status) = match error {
        AccountError::ClientFromFile => (
            Problems::one(visitor, "", "console_clients.file_hint"),
            StatusCode::BAD_REQUEST,
        ),
        AccountError::ClientIsPublic => (
            Problems::one(visitor, "", "console_clients.public_hint"),
            StatusCode::BAD_REQUEST,
        ),
        error => Problems::of_error(visitor, error)?,
    };
    let page = page(visitor, &change.session, id).await?.status(status);
    Ok((page, problems))
}

async fn page<'a>(
    visitor: &'a Visitor<'a>,
    session: &BrowserSession,
    id: &str,
) -> Result<Page<'a>, AccountError> {
    let by = by(visitor, session);
    let client = accounts::find_oauth_client(visitor.app, by, id).await?;
    let sessions = accounts::count_oauth_client_sessions(visitor.app, by, id).await?;
    let page = layout::page(
        visitor,
        SECTION,
        "console/client.html",
        "console_clients.title",
    );
    Ok(page.title(&client.settings.name).with(context! {
        client => shown(visitor, &client),
        issuer => &*visitor.app.public_url,
        sessions,
        values => typed(&client.settings),
        ..choices(visitor, &client.settings.scopes.names())
    }))
}

async fn remove_page<'a>(
    visitor: &'a Visitor<'a>,
    session: &BrowserSession,
    id: &str,
) -> Result<Page<'a>, AccountError> {
    let by = by(visitor, session);
    let client = accounts::find_oauth_client(visitor.app, by, id).await?;
    let sessions = accounts::count_oauth_client_sessions(visitor.app, by, id).await?;
    let title = "console_clients.remove_title";
    let page = layout::page(visitor, SECTION, "console/client_remove.html", title);
    Ok(page.with(context! { client => shown(visitor, &client), sessions }))
}
