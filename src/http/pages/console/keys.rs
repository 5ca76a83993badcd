//! `/console/keys/`: the keys that sign tokens.

use minijinja::{Value, context};

use super::{by, change, layout, staff};
use crate::accounts::{self, BrowserSession, KeyInfo};
use crate::app::SharedApp;
use crate::http::pages::form::Problems;
use crate::http::pages::render::{Page, PageResult, redirect};
use crate::http::pages::values;
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;

pub(super) const PATH: &str = "/console/keys/";

/// The list.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = staff(&visitor).await?;
    page(&visitor, session).await?.answer()
}

/// Makes a new key for signing.
pub(in crate::http) async fn rotate(app: &SharedApp, request: &mut Request) -> PageResult {
    let change = change(app, request).await?;
    let (visitor, session) = (&change.visitor, &change.session);
    let fields = change.form.only(&["reason"]);
    match accounts::rotate_keys(app, by(visitor, session), None, &fields).await {
        Ok(_) => redirect(visitor, PATH, "console_keys.rotated"),
        Err(error) => {
            let (problems, status) = Problems::of_error(visitor, error)?;
            page(visitor, session)
                .await?
                .status(status)
                .with(context! { errors => problems.to_value(), values => change.form.values() })
                .answer()
        }
    }
}

async fn page<'a>(
    visitor: &'a Visitor<'a>,
    session: &BrowserSession,
) -> Result<Page<'a>, accounts::AccountError> {
    let keys = accounts::list_keys(visitor.app, by(visitor, session)).await?;
    let keys: Value = keys.iter().map(|key| value(visitor, key)).collect();
    let page = layout::page(visitor, "keys", "console/keys.html", "console_keys.title");
    Ok(page.with(context! { keys }))
}

fn value(visitor: &Visitor<'_>, key: &KeyInfo) -> Value {
    context! {
        kid => &*key.kid,
        algorithm => &*key.algorithm,
        is_for_clients => key.is_for_clients,
        signs => key.retired_at.is_none(),
        is_encrypted => key.is_encrypted,
        created_at => values::time(visitor, key.created_at),
        retired_at => key.retired_at.map(|at| values::time(visitor, at)),
        needed_until => key.needed_until.map(|at| values::time(visitor, at)),
    }
}
