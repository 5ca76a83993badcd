//! The account pages: signing up and in, and what people do with their own account.
//!
//! A handler reads the visitor, calls one operation of [`crate::accounts`], and renders a page or
//! redirects to one. Every change is a POST that ends in a redirect, so that reloading and going
//! back repeat nothing.

pub(in crate::http) mod activity;
pub(in crate::http) mod confirm;
pub(in crate::http) mod connections;
pub(in crate::http) mod data;
pub(in crate::http) mod delete;
pub(in crate::http) mod email;
pub(in crate::http) mod external;
pub(in crate::http) mod invitation;
pub(in crate::http) mod language;
pub(in crate::http) mod overview;
pub(in crate::http) mod passkeys;
pub(in crate::http) mod password;
pub(in crate::http) mod profile;
pub(in crate::http) mod reauthenticate;
pub(in crate::http) mod reset;
pub(in crate::http) mod second_factor;
pub(in crate::http) mod security;
pub(in crate::http) mod sessions;
pub(in crate::http) mod sign_in;
pub(in crate::http) mod sign_out;
pub(in crate::http) mod sign_up;

use warp::reply::Response;

pub(super) use super::access::{
    Change, SIGN_IN, has_passkey, recent_session, recent_session_before_setup, session,
    session_before_setup,
};
use super::cookies::Cookie;
pub(super) use super::next_path::{encoded, with_next};
use super::visitor::Visitor;
pub(super) use super::visitor::query;
use crate::accounts::AccountError;
use crate::domain::Fields;

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

/// Fields that are there already, for an operation that waits for a body.
pub(super) fn ready(fields: Fields) -> impl Future<Output = Result<Fields, AccountError>> {
    std::future::ready(Ok(fields))
}
