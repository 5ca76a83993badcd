//! `/account/activity/`: the account's own part of the audit log, in plain words.

use minijinja::{Value, context};

use super::{query, session};
use crate::accounts;
use crate::app::SharedApp;
use crate::http::pages::render::{Page, PageResult};
use crate::http::pages::values;
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;
use crate::store::PageRequest;

/// Entries on a page.
const PAGE_SIZE: u32 = 30;

/// The list.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = session(&visitor)?;
    let number = query(request, "page").parse().unwrap_or(1);
    let page = Some(PageRequest::Number(number));
    let id = session.user().id;
    let page = accounts::list_user_events(app, &session.caller, id, page, PAGE_SIZE).await?;
    let events: Value = page
        .items
        .iter()
        .map(|event| values::event(&visitor, event))
        .collect();
    Page::new(&visitor, "account/activity.html", "page_activity.title")
        .with(context! {
            section => "activity",
            events,
            newer => (page.number > 1).then(|| page.number - 1),
            older => (page.number < page.pages).then(|| page.number + 1),
        })
        .answer()
}
