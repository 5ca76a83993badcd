//! `/console/`: the server at a glance.

use minijinja::context;

use super::{layout, staff};
use crate::app::SharedApp;
use crate::http::pages::render::PageResult;
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;

/// The page.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    staff(&visitor).await?;
    layout::page(
        &visitor,
        "overview",
        "console/overview.html",
        "console_overview.title",
    )
    .with(context! { version => env!("CARGO_PKG_VERSION") })
    .answer()
}
