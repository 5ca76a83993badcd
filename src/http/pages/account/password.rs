//! `/account/password/`

use minijinja::context;

use super::{Change, recent_session, remember, session};
use crate::accounts;
use crate::app::SharedApp;
use crate::http::pages::form::Problems;
use crate::http::pages::render::{Detour, Page, PageResult, redirect};
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;

/// The form.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    recent_session(&visitor)?;
    page(&visitor).await?.answer()
}

/// Changes the password; this browser stays signed in, in a new session.
pub(in crate::http) async fn submit(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let change = Change::read(visitor, app, request).await?;
    let (visitor, form) = (&change.visitor, &change.form);
    if change.is_incomplete {
        return page(visitor).await?.answer();
    }
    let mut fields = form.only(&["current_password", "password"]);
    if let Some(password) = form.fields().get("password") {
        fields.insert("confirm_password".into(), password.clone());
    }
    let client = visitor.client.browser();
    match accounts::change_password(app, &change.session.caller, &fields, &client).await {
        Ok(signed) => {
            let secret = signed.into_secret()?;
            let mut response = redirect(visitor, "/account/password/", "page_password.done")?;
            remember(visitor, &mut response, &secret);
            Ok(response)
        }
        Err(error) => {
            let (problems, status) = Problems::of_error(visitor, error)?;
            page(visitor)
                .await?
                .status(status)
                .with(context! { errors => problems.to_value() })
                .answer()
        }
    }
}

async fn page<'a>(visitor: &'a Visitor<'a>) -> Result<Page<'a>, Detour> {
    let has_password = accounts::has_password(visitor.app, &session(visitor)?.caller).await?;
    let page = Page::new(visitor, "account/password.html", "page_password.title");
    Ok(page.with(context! {
        section => "password",
        has_password,
        min_length => visitor.app.config.passwords.min_length,
    }))
}
