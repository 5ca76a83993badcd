//! `/account/password/`

use minijinja::context;

use super::{problems, recent_session, remember};
use crate::accounts::{self};
use crate::app::SharedApp;
use crate::http::HandlerResult;
use crate::http::pages::form::Form;
use crate::http::pages::render::{Page, redirect};
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;

/// The form.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let visitor = Visitor::of(app, request).await?;
    match recent_session(&visitor, request) {
        Ok(_) => page(&visitor).answer(),
        Err(answer) => *answer,
    }
}

/// Changes the password; this browser stays signed in, in a new session.
pub(in crate::http) async fn submit(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let visitor = Visitor::of(app, request).await?;
    let session = match recent_session(&visitor, request) {
        Ok(session) => session,
        Err(answer) => return *answer,
    };
    let form = Form::read(&visitor, app, request).await?;
    let mut fields = form.only(&["current_password", "password"]);
    if let Some(password) = form.fields().get("password") {
        fields.insert("confirm_password".into(), password.clone());
    }
    let client = visitor.client.browser();
    match accounts::change_password(app, &session.caller, &fields, &client).await {
        Ok(signed) => {
            let secret = signed.into_secret()?;
            let mut response = redirect(&visitor, "/account/password/", "page_password.done")?;
            remember(&visitor, &mut response, &secret);
            Ok(response)
        }
        Err(error) => {
            let (problems, status) = problems(&visitor, error)?;
            page(&visitor)
                .status(status)
                .with(context! { errors => problems.to_value() })
                .answer()
        }
    }
}

fn page<'a>(visitor: &'a Visitor<'a>) -> Page<'a> {
    Page::new(visitor, "account/password.html", "page_password.title").with(context! {
        section => "password",
        min_length => visitor.app.config.passwords.min_length,
    })
}
