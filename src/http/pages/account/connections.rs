//! `/account/connections/`: the identities at other providers that sign in to the account, and the
//! applications that it signs in to.

use http::StatusCode;
use minijinja::{Value, context};

use super::{Change, encoded, query, recent_session, session};
use crate::accounts::{self, AccountError, BrowserPurpose};
use crate::app::SharedApp;
use crate::domain::{Fields, Input};
use crate::http::pages::external::{self, CONNECTIONS};
use crate::http::pages::form::{Form, Problems};
use crate::http::pages::next_path;
use crate::http::pages::render::{Detour, Page, PageResult, redirect};
use crate::http::pages::values;
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;

/// The page that a sign-in leads to which is to connect an identity.
pub(super) const COMPLETE: &str = "/account/connections/complete/";

/// What is connected.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    page(&visitor, &Problems::default()).await?.answer()
}

/// Leads to a provider, to connect an identity there.
pub(in crate::http) async fn connect(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let change = Change::read(visitor, app, request).await?;
    let (visitor, session) = (&change.visitor, &change.session);
    let purpose = BrowserPurpose::Connection(&session.caller);
    let provider = change.form.text("provider");
    external::begin(visitor, request, (&provider, CONNECTIONS), purpose).await
}

/// Connects the identity that had to wait for its account to sign in.
///
/// The ticket in the cookie counts once, for the account that has the identity's address; so nothing
/// happens again when the page is loaded again.
pub(in crate::http) async fn complete(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = recent_session(&visitor)?;
    let next = query(request, "next");
    let next = next_path::parse(&next).unwrap_or(CONNECTIONS);
    let Some(ticket) = external::ticket(&visitor, request) else {
        return redirect(&visitor, next, "");
    };
    let mut fields = Fields::form();
    fields.insert("ephemeral_token".into(), Input::Text(ticket));
    let mut response =
        match accounts::connect_identity(app, &session.caller, &fields, &visitor.client).await {
            Ok(_) => redirect(&visitor, next, "page_external.connected")?,
            Err(error) => external::refusal(&visitor, "", next, error)?,
        };
    external::forget_ticket(&visitor, &mut response);
    Ok(response)
}

/// Where signing in continues, to connect the identity of a ticket and then go on.
pub(in crate::http::pages) fn completion(next: &str) -> String {
    match next_path::parse(next) {
        Some(next) => format!("{COMPLETE}?next={}", encoded(next)),
        None => COMPLETE.to_owned(),
    }
}

/// Disconnects an identity.
pub(in crate::http) async fn disconnect(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let change = Change::read(visitor, app, request).await?;
    let (visitor, caller) = (&change.visitor, &change.session.caller);
    let id = change.form.text("id");
    match accounts::disconnect_identity(app, caller, &id, &visitor.client).await {
        // It may have been disconnected in another tab.
        Ok(()) | Err(AccountError::NotFound) => {
            redirect(visitor, CONNECTIONS, "page_connections.disconnected")
        }
        Err(AccountError::LastWayIn) => {
            let problems = Problems::one(visitor, "", "page_connections.last_way_in");
            let page = page(visitor, &problems).await?;
            page.status(StatusCode::BAD_REQUEST).answer()
        }
        Err(error) => Err(error.into()),
    }
}

/// Revokes what an application may see, and signs it out.
pub(in crate::http) async fn revoke(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let caller = &session(&visitor)?.caller;
    let form = Form::read(&visitor, app, request).await?;
    match accounts::revoke_grant(app, caller, &form.text("application"), &visitor.client).await {
        // It may have been revoked in another tab.
        Ok(()) | Err(AccountError::NotFound) => {
            redirect(&visitor, CONNECTIONS, "page_connections.revoked")
        }
        Err(error) => Err(error.into()),
    }
}

/// The page, with problems of one of its forms.
async fn page<'a>(visitor: &'a Visitor<'a>, problems: &Problems) -> Result<Page<'a>, Detour> {
    let caller = &session(visitor)?.caller;
    let identities = accounts::list_identities(visitor.app, caller).await?;
    let identities: Value = identities
        .iter()
        .map(|identity| values::identity(visitor, identity))
        .collect();
    let grants = accounts::list_grants(visitor.app, caller).await?;
    let applications: Value = grants
        .iter()
        .map(|grant| values::application(visitor, grant))
        .collect();
    let template = "account/connections.html";
    let page = Page::new(visitor, template, "page_connections.title");
    Ok(page.with(context! {
        section => "connections",
        identities,
        applications,
        providers => external::providers(visitor.app),
        errors => problems.to_value(),
    }))
}
