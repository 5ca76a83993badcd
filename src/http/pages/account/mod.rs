//! The account pages: signing up and in, and what people do with their own account.
//!
//! A handler reads the visitor, calls one operation of [`crate::accounts`], and renders a page or
//! redirects to one. Every change is a POST that ends in a redirect, so that reloading and going
//! back repeat nothing.

pub(in crate::http) mod activity;
pub(in crate::http) mod confirm;
pub(in crate::http) mod data;
pub(in crate::http) mod delete;
pub(in crate::http) mod email;
pub(in crate::http) mod invitation;
pub(in crate::http) mod language;
pub(in crate::http) mod overview;
pub(in crate::http) mod password;
pub(in crate::http) mod profile;
pub(in crate::http) mod reauthenticate;
pub(in crate::http) mod reset;
pub(in crate::http) mod sessions;
pub(in crate::http) mod sign_in;
pub(in crate::http) mod sign_out;
pub(in crate::http) mod sign_up;

use std::time::Duration;

use http::StatusCode;
use minijinja::{Value, context};
use warp::reply::Response;

use super::cookies::Cookie;
use super::form::Problems;
use super::render::redirect;
use super::visitor::Visitor;
use crate::accounts::{AccountError, BrowserSession};
use crate::domain::Fields;
use crate::http::HandlerResult;
use crate::http::error::ApiError;
use crate::http::request::Request;

/// The page for signing in.
pub(super) const SIGN_IN: &str = "/account/sign-in/";

/// Somebody who has to be signed in: the session, or the answer that leads to the sign-in page.
pub(super) fn session<'a>(
    visitor: &'a Visitor<'_>,
    request: &Request,
) -> Result<&'a BrowserSession, Box<HandlerResult>> {
    visitor
        .session
        .as_ref()
        .ok_or_else(|| Box::new(to_sign_in(visitor, request)))
}

/// As [`session`], of somebody who has signed in recently; otherwise the answer asks for the
/// password.
pub(super) fn recent_session<'a>(
    visitor: &'a Visitor<'_>,
    request: &Request,
) -> Result<&'a BrowserSession, Box<HandlerResult>> {
    let session = session(visitor, request)?;
    if session.is_recent(visitor.app) {
        return Ok(session);
    }
    let path = format!(
        "/account/reauthenticate/?next={}",
        encoded(next(visitor, request))
    );
    Err(Box::new(redirect(visitor, &path, "")))
}

fn to_sign_in(visitor: &Visitor<'_>, request: &Request) -> HandlerResult {
    let path = format!("{SIGN_IN}?next={}", encoded(next(visitor, request)));
    redirect(visitor, &path, "")
}

/// Where to return to: the page that was asked for, or the one whose form was sent.
fn next<'a>(visitor: &'a Visitor<'_>, request: &Request) -> &'a str {
    if request.head.method == http::Method::GET {
        return &visitor.path;
    }
    let path = visitor.path.split('?').next().unwrap_or_default();
    // The path of a form below a page leads to nothing by GET.
    [
        "/account/profile/",
        "/account/email/",
        "/account/sessions/",
        "/account/data/",
    ]
    .into_iter()
    .find(|page| path.starts_with(page))
    .unwrap_or(path)
}

/// A text as part of a query.
pub(super) fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// What is wrong with a form, where the page can show it, and the status of the page. Other errors
/// have a page of their own.
pub(super) fn problems(
    visitor: &Visitor<'_>,
    error: AccountError,
) -> Result<(Problems, StatusCode), ApiError> {
    match error {
        AccountError::Fields(errors) | AccountError::InvalidPassword(errors) => {
            Ok((Problems::of(visitor, &errors), StatusCode::BAD_REQUEST))
        }
        AccountError::InvalidOtp => Ok((
            Problems::one(visitor, "otp", "complaint.wrong_code"),
            StatusCode::BAD_REQUEST,
        )),
        other => Err(ApiError::from(other)),
    }
}

/// Gives the browser the secret of its new session.
pub(super) fn remember(visitor: &Visitor<'_>, response: &mut Response, secret: &str) {
    let life = visitor.app.keys.refresh_life();
    let headers = response.headers_mut();
    Cookie::Session.set(headers, visitor.is_secure, secret, Some(life));
    Cookie::Form.remove(headers, visitor.is_secure);
}

/// Takes the secret from the browser.
pub(super) fn forget(visitor: &Visitor<'_>, response: &mut Response) {
    Cookie::Session.remove(response.headers_mut(), visitor.is_secure);
}

/// A value of the query; empty when it is not there.
pub(super) fn query(request: &Request, name: &str) -> String {
    form_urlencoded::parse(request.head.query().as_bytes())
        .find_map(|(known, value)| (known == name).then(|| value.into_owned()))
        .unwrap_or_default()
}

/// Seconds and minutes of a wait, for the sentence about it.
pub(super) fn wait(duration: Duration) -> Value {
    let seconds = duration.as_secs().max(1);
    context! { seconds, minutes => seconds.div_ceil(60) }
}

/// Fields that are there already, for an operation that waits for a body.
pub(super) fn ready(fields: Fields) -> impl Future<Output = Result<Fields, AccountError>> {
    std::future::ready(Ok(fields))
}
