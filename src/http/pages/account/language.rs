//! `/account/language/`: the language of the pages in this browser.

use std::time::Duration;

use minijinja::{Value, context};

use super::query;
use crate::app::SharedApp;
use crate::http::pages::cookies::Cookie;
use crate::http::pages::form::Form;
use crate::http::pages::next_path;
use crate::http::pages::render::{Page, PageResult, redirect};
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;

/// How long the choice is remembered.
const A_YEAR: Duration = Duration::from_hours(365 * 24);

/// The form.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    Page::new(&visitor, "account/language.html", "page_language.title")
        .with(context! {
            next => next_path::parse(&query(request, "next")),
            languages => choices(&visitor),
        })
        .answer()
}

/// Remembers the choice.
pub(in crate::http) async fn submit(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let form = Form::read(&visitor, app, request).await?;
    let mut response = redirect(&visitor, next_path::or_home(&form.text("next")), "")?;
    let language = app.pages.languages().nearest(&form.text("language"));
    let headers = response.headers_mut();
    Cookie::Language.set(headers, visitor.is_secure, language.tag(), Some(A_YEAR));
    Ok(response)
}

/// Tags and names of all languages, each in its own language.
pub(in crate::http::pages) fn choices(visitor: &Visitor<'_>) -> Vec<(String, String)> {
    let pages = &visitor.app.pages;
    let languages = pages.languages();
    languages
        .tags()
        .map(|tag| {
            let language = languages.nearest(tag);
            let name = pages.sentence(language, "pages.language", Value::UNDEFINED);
            (tag.to_owned(), name)
        })
        .collect()
}
