//! `/account/confirm/`: the code of a sign-up, or the link in its mail.
//!
//! A link only fills in the form: scanners of mails open every link they see, and use nothing up.

use minijinja::{Value, context};

use super::{encoded, query, remember, with_next};
use crate::accounts::{self, Confirmed};
use crate::app::SharedApp;
use crate::domain::Input;
use crate::http::pages::external;
use crate::http::pages::form::{Form, Problems};
use crate::http::pages::next_path;
use crate::http::pages::oauth;
use crate::http::pages::render::{Page, PageResult, redirect};
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;

/// The form.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let values = context! { email => query(request, "email") };
    page(
        &visitor,
        &query(request, "next"),
        &query(request, "token"),
        values,
    )
    .answer()
}

/// Confirms the address and signs in.
pub(in crate::http) async fn submit(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let form = Form::read(&visitor, app, request).await?;
    let next = form.text("next");
    let token = form.text("token");
    let mut fields = if token.is_empty() {
        form.only(&["email", "otp"])
    } else {
        form.only(&["token"])
    };
    // Without it the identity of a sign-up does not count.
    if let Some(ticket) = external::ticket(&visitor, request) {
        fields.insert("ephemeral_token".into(), Input::Text(ticket));
    }
    let caller = visitor.session.as_ref().map(|session| &session.caller);
    let client = visitor.client.browser();
    match accounts::confirm(app, caller, &fields, &client).await {
        Ok(Confirmed::SignUp {
            signed,
            needs_password,
        }) => {
            let secret = signed.into_secret()?;
            let mut response = if needs_password {
                let email = encoded(&form.text("email"));
                let path = format!("/account/reset/confirm/?email={email}");
                let path = with_next(&path, &next);
                redirect(&visitor, &path, "page_confirm.choose_password")?
            } else {
                let started = oauth::authorize::started(&visitor, request);
                let next = next_path::parse(&next).or(started.as_deref());
                let next = next.unwrap_or(next_path::HOME);
                redirect(&visitor, next, "page_confirm.done")?
            };
            external::forget_ticket(&visitor, &mut response);
            remember(&visitor, &mut response, &secret);
            Ok(response)
        }
        Ok(Confirmed::EmailChange) => redirect(&visitor, "/account/email/", "page_email.confirmed"),
        Err(error) => {
            let (problems, status) = Problems::of_error(&visitor, error)?;
            page(&visitor, &next, "", form.values())
                .status(status)
                .with(context! { errors => problems.to_value() })
                .answer()
        }
    }
}

/// Sends another code. The answer is the same for known and unknown addresses.
pub(in crate::http) async fn resend(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let form = Form::read(&visitor, app, request).await?;
    let next = form.text("next");
    let path = format!("/account/confirm/?email={}", encoded(&form.text("email")));
    match accounts::resend(app, &form.only(&["email"]), &visitor.client).await {
        Ok(()) => redirect(&visitor, &with_next(&path, &next), "page_confirm.resent"),
        Err(error) => {
            let (problems, status) = Problems::of_error(&visitor, error)?;
            page(&visitor, &next, "", form.values())
                .status(status)
                .with(context! { errors => problems.to_value() })
                .answer()
        }
    }
}

fn page<'a>(visitor: &'a Visitor<'a>, next: &str, token: &str, values: Value) -> Page<'a> {
    Page::new(visitor, "account/confirm.html", "page_confirm.title").with(context! {
        next => next_path::parse(next),
        token,
        values,
    })
}
