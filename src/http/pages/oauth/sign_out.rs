//! `/o/logout/`: signing out on behalf of an application (OpenID Connect RP-Initiated Logout 1.0).

use minijinja::context;

use super::{answer, fault, parameters_of_body, parameters_of_query};
use crate::accounts::{self, Purpose, SignOutRequest, SignOutStep};
use crate::app::SharedApp;
use crate::http::pages::access::SIGN_IN;
use crate::http::pages::account::forget;
use crate::http::pages::form::Form;
use crate::http::pages::next_path::HOME;
use crate::http::pages::render::{Detour, Page, PageResult, redirect};
use crate::http::pages::visitor::Visitor;
use crate::http::reply;
use crate::http::request::Request;

/// The path of a request that waits, up to its id.
const PATH: &str = "/o/logout/";

/// A request as it came.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let mut visitor = Visitor::of(app, request).await?;
    let parameters = parameters_of_query(request);
    let wanted = match accounts::read_sign_out_request(app, &parameters).await {
        Ok(wanted) => wanted,
        Err(error) => return fault::refuse(&visitor, error),
    };
    visitor.prefer(wanted.ui_locales.as_deref());
    match accounts::decide_sign_out(&wanted, visitor.session.as_ref()) {
        SignOutStep::Ask => wait(app, &visitor, &wanted).await,
        step => carry_out(app, &visitor, &wanted, step).await,
    }
}

/// A request by a form of the application, whose cookies do not count.
pub(in crate::http) async fn begin(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let parameters = parameters_of_body(app, request).await?;
    match accounts::read_sign_out_request(app, &parameters).await {
        Ok(wanted) => wait(app, &visitor, &wanted).await,
        Err(error) => fault::refuse(&visitor, error),
    }
}

/// A request that has waited.
pub(in crate::http) async fn resume(app: &SharedApp, request: &mut Request) -> PageResult {
    let mut visitor = Visitor::of(app, request).await?;
    let wanted = find(app, &mut visitor, request).await?;
    match accounts::decide_sign_out(&wanted, visitor.session.as_ref()) {
        SignOutStep::Ask => page(&visitor, &wanted),
        step => carry_out(app, &visitor, &wanted, step).await,
    }
}

/// What the user has answered.
pub(in crate::http) async fn submit(app: &SharedApp, request: &mut Request) -> PageResult {
    let mut visitor = Visitor::of(app, request).await?;
    let form = Form::read(&visitor, app, request).await?;
    let wanted = find(app, &mut visitor, request).await?;
    if form.text("action") != "sign_out" {
        return redirect(&visitor, HOME, "");
    }
    let session = visitor.session.as_ref();
    accounts::sign_out_of_client(app, &wanted, session, &visitor.client).await?;
    let mut response = match target(&wanted) {
        Some((client, url)) => answer::lead_to(&visitor, client, &url)?,
        None => redirect(&visitor, SIGN_IN, "page_sign_out.done")?,
    };
    forget(&visitor, &mut response);
    Ok(response)
}

async fn find(
    app: &SharedApp,
    visitor: &mut Visitor<'_>,
    request: &Request,
) -> Result<SignOutRequest, Detour> {
    let id = request.last_segment();
    let found = accounts::find_waiting_request(app, Purpose::SignOut, id).await;
    let waiting = found.map_err(|error| fault::detour(visitor, error))?;
    let read = accounts::read_sign_out_request(app, &waiting.parameters).await;
    let wanted = read.map_err(|error| fault::detour(visitor, error))?;
    visitor.prefer(wanted.ui_locales.as_deref());
    Ok(wanted)
}

/// Keeps a request, and leads to it.
async fn wait(app: &SharedApp, visitor: &Visitor<'_>, wanted: &SignOutRequest) -> PageResult {
    let (purpose, parameters) = (Purpose::SignOut, wanted.parameters());
    let kept = accounts::keep_request(app, purpose, parameters, &visitor.client).await;
    match kept {
        Ok(id) => redirect(visitor, &format!("{PATH}{id}/"), ""),
        Err(error) => fault::refuse(visitor, error),
    }
}

/// Signs out, and sends the browser on.
async fn carry_out(
    app: &SharedApp,
    visitor: &Visitor<'_>,
    wanted: &SignOutRequest,
    step: SignOutStep,
) -> PageResult {
    if step == SignOutStep::SignOut {
        let session = visitor.session.as_ref();
        accounts::sign_out_of_client(app, wanted, session, &visitor.client).await?;
    }
    let mut response = match target(wanted) {
        Some((_, url)) => reply::see_other(&url)?,
        None => redirect(visitor, SIGN_IN, "page_sign_out.done")?,
    };
    forget(visitor, &mut response);
    Ok(response)
}

/// The name of the client, and where the browser goes.
fn target(wanted: &SignOutRequest) -> Option<(&str, String)> {
    let (client, uri) = (wanted.client.as_ref()?, wanted.redirect_uri.as_ref()?);
    let state = wanted.state.iter().map(|state| ("state", state.clone()));
    let url = answer::with_query(uri, state);
    Some((&client.settings.name, url))
}

/// The page that asks.
fn page(visitor: &Visitor<'_>, wanted: &SignOutRequest) -> PageResult {
    let client = wanted.client.as_ref();
    Page::new(visitor, "oauth/sign_out.html", "page_client_sign_out.title")
        .with(context! { client => client.map(|client| client.settings.name.as_str()) })
        .answer()
}
