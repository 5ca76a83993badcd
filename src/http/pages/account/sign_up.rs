//! `/account/sign-up/`

use http::StatusCode;
use minijinja::{Value, context};

use super::{encoded, query, with_next};
use crate::accounts;
use crate::app::SharedApp;
use crate::http::pages::external;
use crate::http::pages::form::{Form, Problems};
use crate::http::pages::next_path;
use crate::http::pages::render::{Page, PageResult, redirect};
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;

/// The form.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let next = query(request, "next");
    if visitor.session.is_some() {
        return redirect(&visitor, next_path::or_home(&next), "");
    }
    page(
        &visitor,
        &next,
        context! { email => query(request, "email") },
    )
    .answer()
}

/// Signs up, and leads to the page for the code.
pub(in crate::http) async fn submit(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let form = Form::read(&visitor, app, request).await?;
    let next = form.text("next");
    let mut fields = form.only(&["email", "password", "first_name", "last_name"]);
    // One field with a button that shows it serves better than a second one (WCAG 3.3.8).
    if let Some(password) = form.fields().get("password") {
        fields.insert("confirm_password".into(), password.clone());
    }
    match accounts::sign_up(app, &fields, &visitor.client).await {
        Ok(account) => {
            let path = format!(
                "/account/confirm/?email={}",
                encoded(account.email.as_str())
            );
            redirect(&visitor, &with_next(&path, &next), "")
        }
        Err(error) => {
            let (problems, status) = Problems::of_error(&visitor, error)?;
            page(&visitor, &next, form.values())
                .status(status)
                .with(context! { errors => problems.to_value() })
                .answer()
        }
    }
}

fn page<'a>(visitor: &'a Visitor<'a>, next: &str, values: Value) -> Page<'a> {
    Page::new(visitor, "account/sign_up.html", "page_sign_up.title")
        .status(StatusCode::OK)
        .with(context! {
            next => next_path::parse(next),
            values,
            providers => external::providers(visitor.app),
            min_length => visitor.app.config.passwords.min_length,
        })
}
