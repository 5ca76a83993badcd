//! What an application gets, by way of the browser.
//!
//! Chromium holds `form-action` against every redirect that follows a form, also those of the
//! application. So the answer to a form of ours is a page that leads on by itself, and the page that
//! posts a form to the application has no `form-action`: it has no other form.

use http::header::{HeaderValue, REFERRER_POLICY};
use minijinja::{Value, context};

use crate::accounts::{ClientAnswer, ResponseMode};
use crate::http::pages::cookies::Cookie;
use crate::http::pages::render::{Page, PageResult};
use crate::http::pages::visitor::Visitor;
use crate::http::reply;

/// Sends an answer after a GET.
pub(super) fn send(visitor: &Visitor<'_>, answer: &ClientAnswer) -> PageResult {
    match answer.mode {
        ResponseMode::FormPost => post(visitor, answer),
        ResponseMode::Query => {
            let mut response = reply::see_other(&url(visitor, answer))?;
            finish(visitor, response.headers_mut());
            visitor.mark_failure(&mut response);
            Ok(response)
        }
    }
}

/// Sends an answer after a form of ours.
pub(super) fn send_after_form(visitor: &Visitor<'_>, answer: &ClientAnswer) -> PageResult {
    match answer.mode {
        ResponseMode::FormPost => post(visitor, answer),
        ResponseMode::Query => lead_to(visitor, &answer.client_name, &url(visitor, answer)),
    }
}

/// A page that leads on to a URI of an application.
pub(super) fn lead_to(visitor: &Visitor<'_>, client_name: &str, url: &str) -> PageResult {
    let mut response = page(visitor, "oauth/leave.html", client_name)
        .with(context! { url })
        .answer()?;
    finish(visitor, response.headers_mut());
    Ok(response)
}

/// A page whose form posts the answer (OAuth 2.0 Form Post Response Mode).
fn post(visitor: &Visitor<'_>, answer: &ClientAnswer) -> PageResult {
    let fields: Value = parameters(visitor, answer)
        .map(|(name, value)| Value::from(vec![name.to_owned(), value]))
        .collect();
    let mut response = page(visitor, "oauth/form_post.html", &answer.client_name)
        .with(context! { url => &*answer.redirect_uri, fields })
        .posting_elsewhere()
        .answer()?;
    let headers = response.headers_mut();
    // By `same-origin` the form would come from the origin `null`.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("strict-origin"));
    finish(visitor, headers);
    Ok(response)
}

fn page<'a>(visitor: &'a Visitor<'a>, template: &'static str, client_name: &str) -> Page<'a> {
    let title = visitor.text("page_leave.title", context! { client => client_name });
    Page::new(visitor, template, "page_leave.button")
        .title(&title)
        .with(context! { client => client_name })
}

/// The request is done: the browser need not come back to it.
fn finish(visitor: &Visitor<'_>, headers: &mut http::HeaderMap) {
    Cookie::Application.remove(headers, visitor.is_secure);
}

/// The parameters of an answer, with the issuer against mix-up (RFC 9207).
fn parameters(
    visitor: &Visitor<'_>,
    answer: &ClientAnswer,
) -> impl Iterator<Item = (&'static str, String)> {
    let issuer = visitor.app.public_url.to_string();
    let own = answer.parameters.clone().into_iter();
    own.chain([("iss", issuer)])
}

fn url(visitor: &Visitor<'_>, answer: &ClientAnswer) -> String {
    with_query(&answer.redirect_uri, parameters(visitor, answer))
}

/// A URI with more parameters in its query (RFC 6749, section 3.1.2).
pub(super) fn with_query(
    uri: &str,
    parameters: impl Iterator<Item = (&'static str, String)>,
) -> String {
    let query: String = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish();
    if query.is_empty() {
        return uri.to_owned();
    }
    let separator = match uri.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    format!("{uri}{separator}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_added_to_the_query() {
        for (uri, expected) in [
            ("https://a.example/cb", "https://a.example/cb?a=1+2"),
            ("https://a.example/cb?x=y", "https://a.example/cb?x=y&a=1+2"),
            ("https://a.example/cb?", "https://a.example/cb?a=1+2"),
            ("com.example.app:/cb", "com.example.app:/cb?a=1+2"),
        ] {
            let parameters = [("a", "1 2".to_owned())];
            assert_eq!(with_query(uri, parameters.into_iter()), expected);
        }
        assert_eq!(
            with_query("https://a.example", [].into_iter()),
            "https://a.example"
        );
    }
}
