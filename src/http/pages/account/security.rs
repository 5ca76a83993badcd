//! `/account/security/`: the second factors of the account.

use minijinja::{Value, context};

use super::{Change, recent_session_before_setup, session_before_setup};
use crate::accounts::{self, AccountError, Enrolment};
use crate::app::SharedApp;
use crate::domain::RecoveryCode;
use crate::http::error::ApiError;
use crate::http::pages::form::Problems;
use crate::http::pages::next_path;
use crate::http::pages::oauth;
use crate::http::pages::render::{Detour, Page, PageResult, redirect};
use crate::http::pages::values;
use crate::http::pages::visitor::Visitor;
use crate::http::qr_code;
use crate::http::request::Request;

/// The page.
pub(super) const PATH: &str = "/account/security/";

/// What protects the account.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    overview(&visitor, &Problems::default()).await?.answer()
}

/// The page, with problems of one of its forms.
pub(super) async fn overview<'a>(
    visitor: &'a Visitor<'a>,
    problems: &Problems,
) -> Result<Page<'a>, Detour> {
    let caller = &session_before_setup(visitor)?.caller;
    let status = accounts::factor_status(visitor.app, caller).await?;
    let passkeys = accounts::list_passkeys(visitor.app, caller).await?;
    let has_password = accounts::has_password(visitor.app, caller).await?;
    let passkeys: Value = passkeys
        .iter()
        .map(|passkey| values::passkey(visitor, passkey))
        .collect();
    Ok(
        Page::new(visitor, "account/security.html", "page_security.title").with(context! {
            section => "security",
            has_password,
            passkeys,
            errors => problems.to_value(),
            ..values::factors(visitor, &status),
        }),
    )
}

/// The secret for a new authenticator app, as picture and text.
pub(in crate::http) async fn show_totp(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let caller = &recent_session_before_setup(&visitor)?.caller;
    match accounts::start_totp(app, caller).await {
        Ok(enrolment) => totp_page(&visitor, &enrolment)?.answer(),
        Err(AccountError::FactorAlreadyEnabled) => redirect(&visitor, PATH, ""),
        Err(error) => Err(error.into()),
    }
}

/// Enrolls the app, and shows the recovery codes of a first factor.
pub(in crate::http) async fn activate_totp(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let change = Change::read_before_setup(visitor, app, request).await?;
    let (visitor, caller) = (&change.visitor, &change.session.caller);
    let fields = change.form.only(&["activation_token", "code"]);
    match accounts::activate_totp(app, caller, &fields, &visitor.client).await {
        Ok(codes) if codes.is_empty() => redirect(visitor, PATH, "page_recovery_codes.turned_on"),
        Ok(codes) => {
            let started = oauth::authorize::started(visitor, request);
            codes_page(
                visitor,
                &codes,
                true,
                started.as_deref().unwrap_or_default(),
            )
        }
        Err(AccountError::FactorAlreadyEnabled) => redirect(visitor, PATH, ""),
        Err(error) => {
            let token = change.form.text("activation_token");
            let Some(enrolment) = accounts::resume_totp(app, caller, &token) else {
                return redirect(visitor, "/account/security/totp/", "page_totp.expired");
            };
            let (problems, status) = Problems::of_error(visitor, error)?;
            totp_page(visitor, &enrolment)?
                .status(status)
                .with(context! { errors => problems.to_value() })
                .answer()
        }
    }
}

/// Removes the app.
pub(in crate::http) async fn deactivate_totp(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let change = Change::read_before_setup(visitor, app, request).await?;
    let (visitor, caller) = (&change.visitor, &change.session.caller);
    let fields = change.form.only(&["code"]);
    match accounts::deactivate_totp(app, caller, &fields, &visitor.client).await {
        Ok(()) => redirect(visitor, PATH, "page_security.removed"),
        Err(AccountError::FactorNotEnabled) => redirect(visitor, PATH, ""),
        Err(error) => {
            let (problems, status) = Problems::of_error(visitor, error)?;
            overview(visitor, &problems).await?.status(status).answer()
        }
    }
}

/// Replaces the recovery codes, and shows the new ones.
pub(in crate::http) async fn regenerate_codes(
    app: &SharedApp,
    request: &mut Request,
) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let change = Change::read_before_setup(visitor, app, request).await?;
    let (visitor, caller) = (&change.visitor, &change.session.caller);
    match accounts::regenerate_recovery_codes(app, caller, &visitor.client).await {
        Ok(codes) => codes_page(visitor, &codes, false, ""),
        Err(AccountError::FactorNotEnabled) => redirect(visitor, PATH, ""),
        Err(error) => Err(error.into()),
    }
}

fn totp_page<'a>(visitor: &'a Visitor<'a>, enrolment: &Enrolment) -> Result<Page<'a>, ApiError> {
    let picture = Value::from_safe_string(qr_code::svg(&enrolment.url)?);
    Ok(
        Page::new(visitor, "account/totp.html", "page_totp.title").with(context! {
            section => "security",
            picture,
            url => &*enrolment.url,
            secret => groups_of_four(&enrolment.secret),
            activation_token => &*enrolment.activation_token,
        }),
    )
}

/// The codes are shown by the answer to the form: they are stored nowhere in readable form.
pub(super) fn codes_page(
    visitor: &Visitor<'_>,
    codes: &[RecoveryCode],
    is_new: bool,
    next: &str,
) -> PageResult {
    let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
    let title = "page_recovery_codes.title";
    Page::new(visitor, "account/recovery_codes.html", title)
        .with(context! { section => "security", codes, is_new, next => next_path::parse(next) })
        .answer()
}

/// A secret as people read it.
fn groups_of_four(secret: &str) -> String {
    let letters: Vec<char> = secret.chars().collect();
    let groups: Vec<String> = letters
        .chunks(4)
        .map(|group| group.iter().collect())
        .collect();
    groups.join(" ")
}
