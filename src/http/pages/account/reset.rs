//! `/account/reset/` and `/account/reset/confirm/`: a new password by a code or link from a mail.

use minijinja::{Value, context};

use super::{SIGN_IN, encoded, forget, query, with_next};
use crate::accounts;
use crate::app::SharedApp;
use crate::http::pages::form::{Form, Problems};
use crate::http::pages::next_path;
use crate::http::pages::oauth;
use crate::http::pages::render::{Page, PageResult, redirect};
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;

/// The form that asks for a code.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let values = context! { email => query(request, "email") };
    request_page(&visitor, &query(request, "next"), values).answer()
}

/// Sends the code. The answer is the same for known and unknown addresses.
pub(in crate::http) async fn submit(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let form = Form::read(&visitor, app, request).await?;
    let next = form.text("next");
    match accounts::request_reset(app, &form.only(&["email"]), &visitor.client).await {
        Ok(()) => {
            let path = format!(
                "/account/reset/confirm/?email={}",
                encoded(&form.text("email"))
            );
            redirect(&visitor, &with_next(&path, &next), "")
        }
        Err(error) => {
            let (problems, status) = Problems::of_error(&visitor, error)?;
            request_page(&visitor, &next, form.values())
                .status(status)
                .with(context! { errors => problems.to_value() })
                .answer()
        }
    }
}

/// The form for the code and a new password. A link in a mail fills in its token.
pub(in crate::http) async fn show_confirm(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let values = context! { email => query(request, "email") };
    let (next, token) = (query(request, "next"), query(request, "token"));
    confirm_page(&visitor, &next, &token, values).answer()
}

/// Sets the new password.
pub(in crate::http) async fn confirm(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let form = Form::read(&visitor, app, request).await?;
    let next = form.text("next");
    let token = form.text("token");
    let mut fields = if token.is_empty() {
        form.only(&["email", "otp", "password"])
    } else {
        form.only(&["token", "password"])
    };
    if let Some(password) = form.fields().get("password") {
        fields.insert("confirm_password".into(), password.clone());
    }
    match accounts::confirm_reset(app, &fields, &visitor.client).await {
        Ok(()) => {
            let started = oauth::authorize::started(&visitor, request);
            let next = next_path::parse(&next).or(started.as_deref());
            let path = with_next(SIGN_IN, next.unwrap_or_default());
            let mut response = redirect(&visitor, &path, "page_reset_confirm.done")?;
            forget(&visitor, &mut response);
            Ok(response)
        }
        Err(error) => {
            let (problems, status) = Problems::of_error(&visitor, error)?;
            confirm_page(&visitor, &next, &token, form.values())
                .status(status)
                .with(context! { errors => problems.to_value() })
                .answer()
        }
    }
}

fn request_page<'a>(visitor: &'a Visitor<'a>, next: &str, values: Value) -> Page<'a> {
    Page::new(visitor, "account/reset.html", "page_reset.title")
        .with(context! { next => next_path::parse(next), values })
}

fn confirm_page<'a>(visitor: &'a Visitor<'a>, next: &str, token: &str, values: Value) -> Page<'a> {
    Page::new(
        visitor,
        "account/reset_confirm.html",
        "page_reset_confirm.title",
    )
    .with(context! {
        next => next_path::parse(next),
        token,
        values,
        min_length => visitor.app.config.passwords.min_length,
    })
}
