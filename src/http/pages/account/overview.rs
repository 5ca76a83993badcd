//! `/account/`

use minijinja::{Value, context};

use super::session_before_setup;
use crate::accounts;
use crate::app::SharedApp;
use crate::http::pages::render::{Page, PageResult};
use crate::http::pages::values;
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;

/// What the account is like at a glance.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = session_before_setup(&visitor)?;
    let sessions = accounts::list_sessions(app, &session.caller).await?;
    let grants = accounts::list_grants(app, &session.caller).await?;
    let applications: Value = grants
        .iter()
        .map(|grant| values::application(&visitor, grant))
        .collect();
    Page::new(&visitor, "account/overview.html", "page_overview.title")
        .with(context! {
            section => "overview",
            applications,
            session_count => sessions.len(),
        })
        .answer()
}
