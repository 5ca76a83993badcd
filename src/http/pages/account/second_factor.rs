//! `/account/second-factor/`: the second step of a sign-in, and the same with a recovery code.

use minijinja::context;

use super::{SIGN_IN, encoded, passkeys, query, remember};
use crate::accounts::{self, AccountError};
use crate::app::SharedApp;
use crate::domain::{Input, SecondFactor};
use crate::http::pages::cookies::Cookie;
use crate::http::pages::form::{Form, Problems};
use crate::http::pages::next_path;
use crate::http::pages::render::{Page, PageResult, redirect};
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;

const PATH: &str = "/account/second-factor/";

/// The form for a code of the authenticator app.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    show_form(app, request, false).await
}

/// The form for a recovery code.
pub(in crate::http) async fn show_recovery(app: &SharedApp, request: &mut Request) -> PageResult {
    show_form(app, request, true).await
}

async fn show_form(app: &SharedApp, request: &mut Request, is_recovery: bool) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let next = query(request, "next");
    if visitor.session.is_some() {
        return redirect(&visitor, next_path::or_home(&next), "");
    }
    if ticket(&visitor, request).is_none() {
        return expired(&visitor, &next);
    }
    let has_passkey = !query(request, "passkey").is_empty();
    page(&visitor, &next, is_recovery, has_passkey).answer()
}

/// Checks the code and signs in.
pub(in crate::http) async fn submit(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let form = Form::read(&visitor, app, request).await?;
    let next = form.text("next");
    let Some(ticket) = ticket(&visitor, request) else {
        return expired(&visitor, &next);
    };
    let mut fields = form.only(&["code", "credential"]);
    fields.insert("ephemeral_token".into(), Input::Text(ticket));
    match accounts::complete_sign_in(app, &fields, &visitor.client.browser()).await {
        Ok(signed) => {
            let secret = signed.into_secret()?;
            let path = passkeys::after_sign_in(&visitor, request, &form, &next);
            let mut response = redirect(&visitor, &path, "")?;
            Cookie::Ticket.remove(response.headers_mut(), visitor.is_secure);
            remember(&visitor, &mut response, &secret);
            Ok(response)
        }
        Err(AccountError::InvalidToken) => expired(&visitor, &next),
        Err(error) => {
            let (problems, status) = Problems::of_error(&visitor, error)?;
            let (is_recovery, has_passkey) =
                (form.text("kind") == "recovery", form.has("has_passkey"));
            page(&visitor, &next, is_recovery, has_passkey)
                .status(status)
                .with(context! { errors => problems.to_value() })
                .answer()
        }
    }
}

/// Sends a browser whose password was right to the second step, with its ticket in a cookie.
pub(super) fn begin(
    visitor: &Visitor<'_>,
    ticket: &str,
    methods: &[SecondFactor],
    next: &str,
) -> PageResult {
    let has_passkey = methods.contains(&SecondFactor::Webauthn);
    let path = format!("{PATH}?{}", same(next, has_passkey));
    let mut response = redirect(visitor, &path, "")?;
    Cookie::Ticket.set(response.headers_mut(), visitor.is_secure, ticket, None);
    Ok(response)
}

/// The query that leads to the same page, or the other one of the second step.
fn same(next: &str, has_passkey: bool) -> String {
    let passkey = if has_passkey { "&passkey=1" } else { "" };
    format!("next={}{passkey}", encoded(next))
}

/// The ticket in the cookie.
pub(super) fn ticket(visitor: &Visitor<'_>, request: &Request) -> Option<String> {
    Cookie::Ticket
        .read(&request.head.headers, visitor.is_secure)
        .map(str::to_owned)
}

/// The way back to the first step.
fn expired(visitor: &Visitor<'_>, next: &str) -> PageResult {
    let path = format!("{SIGN_IN}?next={}", encoded(next));
    let mut response = redirect(visitor, &path, "page_second_factor.expired")?;
    Cookie::Ticket.remove(response.headers_mut(), visitor.is_secure);
    Ok(response)
}

fn page<'a>(
    visitor: &'a Visitor<'a>,
    next: &str,
    is_recovery: bool,
    has_passkey: bool,
) -> Page<'a> {
    let title = match is_recovery {
        true => "page_second_factor.recovery_title",
        false => "page_second_factor.title",
    };
    Page::new(visitor, "account/second_factor.html", title).with(context! {
        next => next_path::parse(next),
        is_recovery,
        has_passkey,
        same => same(next, has_passkey),
    })
}
