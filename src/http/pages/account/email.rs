//! `/account/email/`: another address, and its code.

use minijinja::{Value, context};

use super::{Change, ready, recent_session, session};
use crate::accounts::{self, Confirmed};
use crate::app::SharedApp;
use crate::domain::{Fields, Input};
use crate::http::error::ApiError;
use crate::http::pages::form::{Form, Problems};
use crate::http::pages::render::{Page, PageResult, redirect};
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;

const PATH: &str = "/account/email/";

/// The forms.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    recent_session(&visitor)?;
    page(&visitor, context! {}).answer()
}

/// Asks for another address, which gets a code.
pub(in crate::http) async fn submit(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let change = Change::read(visitor, app, request).await?;
    let (visitor, session) = (&change.visitor, &change.session);
    let id = session.user().id;
    let fields = change.form.only(&["email"]);
    match accounts::update(app, &session.caller, id, &visitor.client, ready(fields)).await {
        Ok(_) => redirect(visitor, PATH, "page_email.changed"),
        Err(error) => again(visitor, error, change.form.values()),
    }
}

/// Confirms the new address by its code.
pub(in crate::http) async fn confirm(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = session(&visitor)?;
    let form = Form::read(&visitor, app, request).await?;
    let mut fields = form.only(&["otp"]);
    if let Some(email) = &session.user().new_email {
        fields.insert("email".into(), Input::Text(email.clone()));
    }
    let caller = Some(&session.caller);
    match accounts::confirm(app, caller, &fields, &visitor.client.browser()).await {
        Ok(Confirmed::EmailChange) => redirect(&visitor, PATH, "page_email.confirmed"),
        Ok(Confirmed::SignUp { .. }) => {
            Err(ApiError::internal("a sign-up was confirmed by a caller").into())
        }
        Err(error) => again(&visitor, error, context! {}),
    }
}

/// Sends another code to the new address.
pub(in crate::http) async fn resend(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = session(&visitor)?;
    Form::read(&visitor, app, request).await?;
    let mut fields = Fields::json();
    if let Some(email) = &session.user().new_email {
        fields.insert("email".into(), Input::Text(email.clone()));
        match accounts::resend(app, &fields, &visitor.client).await {
            Ok(()) => {}
            Err(error) => return again(&visitor, error, context! {}),
        }
    }
    redirect(&visitor, PATH, "page_email.changed")
}

/// Keeps the confirmed address.
pub(in crate::http) async fn cancel(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let change = Change::read(visitor, app, request).await?;
    let (visitor, session) = (&change.visitor, &change.session);
    let mut fields = Fields::json();
    fields.insert("email".into(), Input::Text(session.user().email.clone()));
    let id = session.user().id;
    match accounts::update(app, &session.caller, id, &visitor.client, ready(fields)).await {
        Ok(_) => redirect(visitor, PATH, "page_email.cancelled"),
        Err(error) => again(visitor, error, context! {}),
    }
}

fn again(visitor: &Visitor<'_>, error: accounts::AccountError, typed: Value) -> PageResult {
    let (problems, status) = Problems::of_error(visitor, error)?;
    page(visitor, typed)
        .status(status)
        .with(context! { errors => problems.to_value() })
        .answer()
}

fn page<'a>(visitor: &'a Visitor<'a>, typed: Value) -> Page<'a> {
    Page::new(visitor, "account/email.html", "page_email.title")
        .with(context! { section => "email", values => typed })
}
