//! `/console/setup/<token>/`: the first staff account, and where to look for the link to it.

use http::StatusCode;
use minijinja::{Value, context};

use super::HOME;
use crate::accounts::{self, AccountError};
use crate::app::{App, SharedApp};
use crate::http::pages::account::remember;
use crate::http::pages::form::{Form, Problems};
use crate::http::pages::render::{Page, PageResult, redirect};
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;

/// The fields of the form.
const FIELDS: [&str; 5] = [
    "email",
    "password",
    "confirm_password",
    "first_name",
    "last_name",
];

/// The address of the link with a token, on a server that has a console.
pub(crate) fn url(app: &App, token: &str) -> String {
    format!("{}{HOME}setup/{token}/", app.public_url)
}

/// The form, while the link is valid.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    if accounts::is_setup_open(app, request.last_segment()).await? {
        return page(&visitor, context! {}).answer();
    }
    refuse(&visitor).await
}

/// Makes the account and signs it in.
pub(in crate::http) async fn submit(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let form = Form::read(&visitor, app, request).await?;
    let client = visitor.client.browser();
    let fields = form.only(&FIELDS);
    match accounts::set_up(app, request.last_segment(), &fields, &client).await {
        Ok(signed) => {
            let secret = signed.into_secret()?;
            let mut response = redirect(&visitor, HOME, "page_setup.done")?;
            remember(&visitor, &mut response, &secret);
            Ok(response)
        }
        Err(AccountError::InvalidLink) => refuse(&visitor).await,
        Err(error) => {
            let (problems, status) = Problems::of_error(&visitor, error)?;
            page(&visitor, form.values())
                .status(status)
                .with(context! { errors => problems.to_value() })
                .answer()
        }
    }
}

/// Says where to look for the link, while there is no staff account.
pub(super) fn where_to_look(visitor: &Visitor<'_>) -> PageResult {
    say(visitor, "page_setup.where", StatusCode::OK)
}

/// The answer to a link that is not valid.
async fn refuse(visitor: &Visitor<'_>) -> PageResult {
    if accounts::find_setup_state(visitor.app).await?.has_staff {
        return redirect(visitor, HOME, "");
    }
    say(visitor, "page_setup.dead", StatusCode::NOT_FOUND)
}

fn say(visitor: &Visitor<'_>, key: &str, status: StatusCode) -> PageResult {
    Page::new(
        visitor,
        "console/setup_where.html",
        "page_setup.where_title",
    )
    .status(status)
    .with(context! { text => visitor.text(key, Value::UNDEFINED) })
    .answer()
}

fn page<'a>(visitor: &'a Visitor<'a>, values: Value) -> Page<'a> {
    Page::new(visitor, "console/setup.html", "page_setup.title").with(context! {
        values,
        min_length => visitor.app.config.passwords.min_length,
    })
}
