//! `/console/users/new/`: an account that staff creates, confirmed right away.

use http::StatusCode;
use minijinja::{Value, context};

use super::users::SECTION;
use super::{change, layout, staff, user};
use crate::accounts;
use crate::app::SharedApp;
use crate::http::pages::form::Problems;
use crate::http::pages::render::{PageResult, redirect};
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;

/// The form.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    staff(&visitor).await?;
    page(&visitor, context! {}, &Problems::default(), StatusCode::OK)
}

/// Creates the account.
pub(in crate::http) async fn submit(app: &SharedApp, request: &mut Request) -> PageResult {
    let change = change(app, request).await?;
    let visitor = &change.visitor;
    if change.is_incomplete {
        // The password was not carried over the re-authentication.
        let (values, none) = (change.form.values(), Problems::default());
        return page(visitor, values, &none, StatusCode::OK);
    }
    let names = ["email", "password", "first_name", "last_name", "is_staff"];
    let (caller, fields) = (&change.session.caller, change.form.only(&names));
    match accounts::create_user_as_staff(app, caller, &visitor.client, &fields).await {
        Ok(id) => redirect(visitor, &user::path(id), "console_user_new.done"),
        Err(error) => {
            let (problems, status) = Problems::of_error(visitor, error)?;
            page(visitor, change.form.values(), &problems, status)
        }
    }
}

fn page(
    visitor: &Visitor<'_>,
    values: Value,
    problems: &Problems,
    status: StatusCode,
) -> PageResult {
    let (template, title) = ("console/user_new.html", "console_user_new.title");
    layout::page(visitor, SECTION, template, title)
        .status(status)
        .with(context! {
            values,
            min_length => visitor.app.config.passwords.min_length,
            errors => problems.to_value(),
        })
        .answer()
}
