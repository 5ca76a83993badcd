//! Who may open a page and send its forms: people who are signed in, and who authenticated
//! recently where it matters.
//!
//! A form that comes too late is not lost. The page that asks for the password carries what was
//! typed, except passwords and files, and its own form goes where the first one went. So the change
//! continues when the password is right.

use http::StatusCode;
use minijinja::context;

use super::form::{Form, Problems};
use super::next_path::encoded;
use super::render::{Detour, Page, PageResult, redirect};
use super::visitor::Visitor;
use crate::accounts::{self, BrowserSession, ReauthenticationMethod};
use crate::app::SharedApp;
use crate::domain::{Fields, Input};
use crate::http::request::Request;
use crate::observability::metrics::ActionOutcome;

/// The page for signing in.
pub(super) const SIGN_IN: &str = "/account/sign-in/";

/// The field for the password of somebody who has to authenticate again.
const PASSWORD: &str = "reauthentication_password";

/// The field that says that the form had more than the page carries.
const INCOMPLETE: &str = "reauthentication_incomplete";

/// The session of somebody who has to be signed in.
///
/// # Errors
/// The way to the sign-in page, and from there back.
pub(super) fn session<'a>(visitor: &'a Visitor<'_>) -> Result<&'a BrowserSession, Detour> {
    let Some(session) = &visitor.session else {
        visitor.note_failure(ActionOutcome::BadToken);
        let path = format!("{SIGN_IN}?next={}", encoded(&visitor.path));
        return Err(Detour::from(redirect(visitor, &path, "")));
    };
    Ok(session)
}

/// As [`session`], of somebody who has authenticated recently.
///
/// # Errors
/// The way to the page that asks for the password, and from there back.
pub(super) fn recent_session<'a>(visitor: &'a Visitor<'_>) -> Result<&'a BrowserSession, Detour> {
    let session = session(visitor)?;
    if accounts::is_recent(visitor.app, &session.caller) {
        return Ok(session);
    }
    let path = format!("/account/reauthenticate/?next={}", encoded(&visitor.path));
    Err(Detour::from(redirect(visitor, &path, "")))
}

/// A form that changes something that matters, of somebody who has authenticated recently.
pub(super) struct Change<'a> {
    pub(super) visitor: Visitor<'a>,
    pub(super) session: BrowserSession,
    pub(super) form: Form,
    /// Whether the form had passwords or files before its sender authenticated again. They are
    /// gone, so the form has to be shown once more, with the rest filled in.
    pub(super) is_incomplete: bool,
}

impl<'a> Change<'a> {
    /// Reads the form of a request, and asks for the password where it has been too long.
    ///
    /// # Errors
    /// The page that asks, the way to the sign-in page, or those of [`Form::read`].
    pub(super) async fn read(
        visitor: Visitor<'a>,
        app: &'a SharedApp,
        request: &mut Request,
    ) -> Result<Self, Detour> {
        let signed_in = session(&visitor)?.clone();
        let form = Form::read(&visitor, app, request).await?;
        if accounts::is_recent(app, &signed_in.caller) {
            return Ok(Self {
                is_incomplete: form.has(INCOMPLETE),
                session: signed_in,
                visitor,
                form,
            });
        }
        if asks_for_code(&visitor, &signed_in).await? {
            let path = format!("/account/reauthenticate/?next={}", encoded(&visitor.path));
            return Err(Detour::from(redirect(&visitor, &path, "")));
        }
        if !form.has(PASSWORD) {
            let status = StatusCode::FORBIDDEN;
            visitor.note_failure(ActionOutcome::Invalid);
            return Err(ask(&visitor, &form, &Problems::default(), status).into());
        }
        let mut fields = Fields::form();
        fields.insert("password".into(), Input::Text(form.text(PASSWORD)));
        let client = &visitor.client;
        match accounts::reauthenticate_browser(app, &signed_in, &fields, client).await {
            Ok(secret) => {
                request.renewed_session = Some(secret);
                let visitor = Visitor::of(app, request).await?;
                Ok(Self {
                    session: session(&visitor)?.clone(),
                    is_incomplete: form.has(INCOMPLETE),
                    visitor,
                    form,
                })
            }
            Err(error) => {
                let (problems, status) = Problems::of_error(&visitor, error)?;
                let problems = problems.about("password", PASSWORD);
                Err(ask(&visitor, &form, &problems, status).into())
            }
        }
    }
}

/// Whether the account has no password, so that a page of its own mails a code. The form is lost.
async fn asks_for_code(visitor: &Visitor<'_>, session: &BrowserSession) -> Result<bool, Detour> {
    let methods = accounts::reauthentication_methods(visitor.app, &session.caller).await?;
    Ok(!methods.contains(&ReauthenticationMethod::Password))
}

/// The page that asks for the password, with the form that it suspends.
fn ask(visitor: &Visitor<'_>, form: &Form, problems: &Problems, status: StatusCode) -> PageResult {
    // The form of this page has a hidden address, for password managers.
    let own = [PASSWORD, INCOMPLETE, "username"];
    Page::new(visitor, "account/reauthenticate.html", TITLE)
        .status(status)
        .with(context! {
            method => "password",
            field => PASSWORD,
            carried => form.carried(&own),
            incomplete => (form.has(INCOMPLETE) || form.has_secrets(&own)).then_some(INCOMPLETE),
            errors => problems.to_value(),
            back => &*visitor.path,
        })
        .answer()
}

const TITLE: &str = "page_reauthenticate.title";
