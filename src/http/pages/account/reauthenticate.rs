//! `/account/reauthenticate/`: the password or a second factor once more, before something that
//! matters, or a mailed code for accounts without either.

use minijinja::{Value, context};

use super::{encoded, has_passkey, query, remember, session_before_setup};
use crate::accounts::{self, BrowserPurpose, BrowserSession, ReauthenticationMethod};
use crate::app::SharedApp;
use crate::http::pages::external;
use crate::http::pages::form::{Form, Problems};
use crate::http::pages::next_path;
use crate::http::pages::render::{Detour, Page, PageResult, redirect};
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;

const PATH: &str = "/account/reauthenticate/";

/// The form.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = session_before_setup(&visitor)?;
    page(&visitor, session, &query(request, "next"))
        .await?
        .with(context! { is_sent => !query(request, "sent").is_empty() })
        .answer()
}

/// Checks the password or the code; the session gets a new secret.
pub(in crate::http) async fn submit(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = session_before_setup(&visitor)?;
    let form = Form::read(&visitor, app, request).await?;
    let next = form.text("next");
    let fields = form.only(&["password", "otp", "code", "credential", "session_id"]);
    match accounts::reauthenticate_browser(app, session, &fields, &visitor.client).await {
        Ok(secret) => {
            let mut response = redirect(&visitor, next_path::or_home(&next), "")?;
            remember(&visitor, &mut response, &secret);
            Ok(response)
        }
        Err(error) => {
            let (problems, status) = Problems::of_error(&visitor, error)?;
            page(&visitor, session, &next)
                .await?
                .status(status)
                .with(context! { errors => problems.to_value(), is_sent => true })
                .answer()
        }
    }
}

/// Mails a code.
pub(in crate::http) async fn send(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = session_before_setup(&visitor)?;
    let form = Form::read(&visitor, app, request).await?;
    accounts::request_reauthentication(app, &session.caller, &visitor.client).await?;
    let next = encoded(&form.text("next"));
    redirect(&visitor, &format!("{PATH}?sent=1&next={next}"), "")
}

/// Leads to a provider, to sign in there once more.
pub(in crate::http) async fn begin(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = session_before_setup(&visitor)?;
    let form = Form::read(&visitor, app, request).await?;
    let (provider, next) = (form.text("provider"), form.text("next"));
    let purpose = BrowserPurpose::Reauthentication(&session.caller);
    let (provider, next) = (&*provider, next_path::or_home(&next));
    external::begin(&visitor, request, (provider, next), purpose).await
}

async fn page<'a>(
    visitor: &'a Visitor<'a>,
    session: &BrowserSession,
    next: &str,
) -> Result<Page<'a>, Detour> {
    let methods = accounts::reauthentication_methods(visitor.app, &session.caller).await?;
    let providers = external::reauthentication_providers(visitor.app, &session.caller).await?;
    let page = Page::new(
        visitor,
        "account/reauthenticate.html",
        "page_reauthenticate.title",
    );
    let (method, field) = match methods.first() {
        Some(ReauthenticationMethod::Factor(_)) => ("code", "code"),
        Some(method) => (method.as_str(), method.as_str()),
        None => ("", ""),
    };
    Ok(page.with(context! {
        next => next_path::parse(next),
        method,
        field,
        prefix => "",
        has_passkey => has_passkey(&methods),
        providers,
        carried => Vec::<Value>::new(),
    }))
}
