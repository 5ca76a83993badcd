//! Passkeys on the account pages: the options that a browser answers with one, adding, naming and
//! removing them, and the offer to add one after signing in.
//!
//! A script asks for the options, and the answer goes with an ordinary form, so every change is a
//! POST that ends in a redirect as everywhere.

use std::time::Duration;

use http::StatusCode;
use minijinja::context;

use super::security::{self, codes_page};
use super::{
    Change, connections, encoded, query, recent_session_before_setup, second_factor,
    session_before_setup,
};
use crate::accounts::{self, AccountError};
use crate::app::SharedApp;
use crate::domain::{Fields, Input};
use crate::http::error::ApiError;
use crate::http::pages::cookies::Cookie;
use crate::http::pages::form::{Form, Problems};
use crate::http::pages::next_path;
use crate::http::pages::oauth;
use crate::http::pages::render::{Page, PageResult, redirect};
use crate::http::pages::values;
use crate::http::pages::visitor::Visitor;
use crate::http::reply;
use crate::http::request::Request;

/// How long a browser is not asked again.
const OFFERED_LIFE: Duration = Duration::from_hours(400 * 24);

/// Longest name that is suggested, in characters.
const NAME_LENGTH: usize = 64;

/// The fields that a browser answers options in.
pub(super) const ANSWER: [&str; 2] = ["credential", "session_id"];

/// Options for the authenticator, for what the field `for` names.
pub(in crate::http) async fn options(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let form = Form::read(&visitor, app, request).await?;
    let client = &visitor.client;
    let response = match form.text("for").as_str() {
        "sign-in" => {
            let options = accounts::start_passkey_sign_in(app, client).await?;
            reply::json(StatusCode::OK, &options)
        }
        "second-step" => {
            let ticket = second_factor::ticket(&visitor, request);
            let ticket = ticket.ok_or(AccountError::InvalidToken)?;
            let mut fields = Fields::form();
            fields.insert("ephemeral_token".into(), Input::Text(ticket));
            let options = accounts::start_second_step(app, &fields, client).await?;
            reply::json(StatusCode::OK, &options)
        }
        "register" => {
            let caller = &session_before_setup(&visitor)?.caller;
            let options = accounts::start_passkey(app, caller, client).await?;
            reply::json(StatusCode::OK, &options)
        }
        _ => return Err(ApiError::NotFound.into()),
    };
    Ok(response)
}

/// The form for a new passkey.
pub(in crate::http) async fn show_new(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    recent_session_before_setup(&visitor)?;
    let template = "account/passkey_new.html";
    new_page(
        &visitor,
        template,
        "page_passkey.title",
        "",
        &Problems::default(),
    )
    .answer()
}

/// Adds a passkey, and shows the recovery codes of a first factor.
pub(in crate::http) async fn add(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let change = Change::read_before_setup(visitor, app, request).await?;
    let (visitor, caller) = (&change.visitor, &change.session.caller);
    let fields = change.form.only(&["credential", "name"]);
    let mut next = change.form.text("next");
    if next.is_empty() {
        next = oauth::authorize::started(visitor, request).unwrap_or_default();
    }
    match accounts::add_passkey(app, caller, &fields, &visitor.client).await {
        Ok(added) => {
            if let Some(codes) = added.recovery_codes {
                return codes_page(visitor, &codes, true, &next);
            }
            let next = next_path::parse(&next).unwrap_or(security::PATH);
            redirect(visitor, next, "page_passkey.added")
        }
        Err(error) => {
            let (problems, status) = Problems::of_error(visitor, error)?;
            let template = "account/passkey_new.html";
            new_page(visitor, template, "page_passkey.title", &next, &problems)
                .status(status)
                .answer()
        }
    }
}

/// Names a passkey.
pub(in crate::http) async fn rename(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let caller = &session_before_setup(&visitor)?.caller;
    let form = Form::read(&visitor, app, request).await?;
    let (id, fields) = (form.text("id"), form.only(&["name"]));
    match accounts::rename_passkey(app, caller, &id, &fields, &visitor.client).await {
        Ok(_) => redirect(&visitor, security::PATH, "page_passkey.renamed"),
        // It may have been removed in another tab.
        Err(AccountError::NotFound) => redirect(&visitor, security::PATH, ""),
        Err(error) => {
            let (problems, status) = Problems::of_error(&visitor, error)?;
            let page = security::overview(&visitor, &problems).await?;
            page.status(status).answer()
        }
    }
}

/// Removes a passkey.
pub(in crate::http) async fn remove(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let change = Change::read_before_setup(visitor, app, request).await?;
    let (visitor, caller) = (&change.visitor, &change.session.caller);
    let id = change.form.text("id");
    match accounts::delete_passkey(app, caller, &id, &visitor.client).await {
        Ok(()) => redirect(visitor, security::PATH, "page_passkey.removed"),
        Err(AccountError::NotFound) => redirect(visitor, security::PATH, ""),
        Err(AccountError::LastWayIn) => {
            let problems = Problems::one(visitor, "", "page_passkey.last_way_in");
            let page = security::overview(visitor, &problems).await?;
            page.status(StatusCode::BAD_REQUEST).answer()
        }
        Err(error) => Err(error.into()),
    }
}

/// Where a sign-in leads: to the offer of a passkey, once in a browser that could keep one, or on.
pub(super) fn after_sign_in(
    visitor: &Visitor<'_>,
    request: &Request,
    form: &Form,
    next: &str,
) -> String {
    let next = next_path::or_home(next);
    let can_keep = form.text("can_keep_passkey") == "yes";
    let was_asked = Cookie::PasskeyOffered
        .read(&request.head.headers, visitor.is_secure)
        .is_some();
    // Who signs in to an application, or to connect an identity, is on the way there.
    let is_under_way = next.starts_with("/o/") || next.starts_with(connections::COMPLETE);
    match can_keep && !was_asked && !is_under_way {
        true => format!("/account/passkeys/offer/?next={}", encoded(next)),
        false => next.to_owned(),
    }
}

/// Offers a passkey to somebody who has none.
pub(in crate::http) async fn show_offer(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = session_before_setup(&visitor)?;
    let next = query(request, "next");
    let next = next_path::or_home(&next);
    let passkeys = accounts::list_passkeys(app, &session.caller).await?;
    if !passkeys.is_empty() || !accounts::is_recent(app, &session.caller) {
        return redirect(&visitor, next, "");
    }
    let (template, title) = ("account/passkey_offer.html", "page_passkey.offer_title");
    let mut response = new_page(&visitor, template, title, next, &Problems::default()).answer()?;
    let headers = response.headers_mut();
    Cookie::PasskeyOffered.set(headers, visitor.is_secure, "yes", Some(OFFERED_LIFE));
    Ok(response)
}

fn new_page<'a>(
    visitor: &'a Visitor<'a>,
    template: &'static str,
    title: &'static str,
    next: &str,
    problems: &Problems,
) -> Page<'a> {
    let name = values::device(visitor, &visitor.client.user_agent);
    let name: String = name.chars().take(NAME_LENGTH).collect();
    Page::new(visitor, template, title).with(context! {
        section => "security",
        next => next_path::parse(next),
        name,
        errors => problems.to_value(),
    })
}
