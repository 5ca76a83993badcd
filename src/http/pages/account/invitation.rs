//! `/account/invitation/`: the link of an invitation, which leads to an account.
//!
//! The link only fills in the form: scanners of mails open every link they see, and use nothing up.

use http::StatusCode;
use minijinja::{Value, context};

use super::{SIGN_IN, query, remember};
use crate::accounts::{self, AccountError};
use crate::app::SharedApp;
use crate::domain::{Fields, Input};
use crate::http::pages::form::{Form, Problems};
use crate::http::pages::next_path::HOME;
use crate::http::pages::render::{Page, PageResult, redirect};
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;

/// The form, for the address of the invitation.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let token = query(request, "token");
    match find(app, &token).await? {
        Some(email) => page(&visitor, &token, &email, context! {}).answer(),
        None => dead(&visitor),
    }
}

/// Creates the account and signs in.
pub(in crate::http) async fn submit(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let form = Form::read(&visitor, app, request).await?;
    let token = form.text("token");
    let mut fields = form.only(&["token", "password", "first_name", "last_name"]);
    // One field with a button that shows it serves better than a second one (WCAG 3.3.8).
    if let Some(password) = form.fields().get("password") {
        fields.insert("confirm_password".into(), password.clone());
    }
    match accounts::accept_invitation(app, &fields, &visitor.client.browser()).await {
        Ok((_, signed)) => {
            let secret = signed.into_secret()?;
            let mut response = redirect(&visitor, HOME, "page_invitation.done")?;
            remember(&visitor, &mut response, &secret);
            Ok(response)
        }
        Err(error) => {
            let Some(email) = find(app, &token).await? else {
                return dead(&visitor);
            };
            let (problems, status) = Problems::of_error(&visitor, error)?;
            page(&visitor, &token, &email, form.values())
                .status(status)
                .with(context! { errors => problems.to_value() })
                .answer()
        }
    }
}

/// The address that a token invites; `None` when its invitation is not open.
async fn find(app: &SharedApp, token: &str) -> Result<Option<String>, AccountError> {
    let mut fields = Fields::form();
    fields.insert("token".into(), Input::Text(token.to_owned()));
    match accounts::find_invitation(app, &fields).await {
        Ok(invitation) => Ok(Some(invitation.email)),
        Err(AccountError::Fields(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn page<'a>(visitor: &'a Visitor<'a>, token: &str, email: &str, values: Value) -> Page<'a> {
    Page::new(visitor, "account/invitation.html", "page_invitation.title").with(context! {
        token,
        email,
        values,
        min_length => visitor.app.config.passwords.min_length,
    })
}

/// Says that the invitation was used, revoked or has expired.
fn dead(visitor: &Visitor<'_>) -> PageResult {
    Page::new(visitor, "message.html", "page_invitation.dead_title")
        .status(StatusCode::NOT_FOUND)
        .with(context! {
            text => visitor.text("page_invitation.dead", Value::UNDEFINED),
            link => SIGN_IN,
            link_text => visitor.text("page_invitation.sign_in", Value::UNDEFINED),
        })
        .answer()
}
