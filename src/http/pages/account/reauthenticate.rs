//! `/account/reauthenticate/`: the password once more, before something that matters.

use minijinja::{Value, context};

use super::{query, remember, session};
use crate::accounts;
use crate::app::SharedApp;
use crate::http::pages::form::{Form, Problems};
use crate::http::pages::next_path;
use crate::http::pages::render::{Page, PageResult, redirect};
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;

/// The form.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    session(&visitor)?;
    page(&visitor, &query(request, "next")).answer()
}

/// Checks the password; the session gets a new secret.
pub(in crate::http) async fn submit(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = session(&visitor)?;
    let form = Form::read(&visitor, app, request).await?;
    let next = form.text("next");
    let fields = form.only(&["password"]);
    match accounts::reauthenticate_browser(app, session, &fields, &visitor.client).await {
        Ok(secret) => {
            let mut response = redirect(&visitor, next_path::or_home(&next), "")?;
            remember(&visitor, &mut response, &secret);
            Ok(response)
        }
        Err(error) => {
            let (problems, status) = Problems::of_error(&visitor, error)?;
            page(&visitor, &next)
                .status(status)
                .with(context! { errors => problems.to_value() })
                .answer()
        }
    }
}

fn page<'a>(visitor: &'a Visitor<'a>, next: &str) -> Page<'a> {
    Page::new(
        visitor,
        "account/reauthenticate.html",
        "page_reauthenticate.title",
    )
    .with(context! {
        next => next_path::parse(next),
        method => "password",
        field => "password",
        carried => Vec::<Value>::new(),
    })
}
