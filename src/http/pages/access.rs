//! Who may open a page and send its forms: people who are signed in, and who authenticated
//! recently where it matters.
//!
//! A form that comes too late is not lost. The page that asks for the password (or, of accounts
//! without one, for a mailed code) carries what was typed, except passwords and files, and its own
//! form goes where the first one went. So the change continues when the password is right.

use http::StatusCode;
use minijinja::context;

use super::form::{Form, Problems};
use super::next_path::encoded;
use super::render::{Detour, Page, PageResult, redirect};
use super::visitor::Visitor;
use crate::accounts::{self, BrowserSession, ReauthenticationMethod};
use crate::app::SharedApp;
use crate::domain::{Fields, Input, SecondFactor};
use crate::http::request::Request;
use crate::observability::metrics::ActionOutcome;

/// The page for signing in.
pub(super) const SIGN_IN: &str = "/account/sign-in/";

/// What somebody shows who has to authenticate again.
struct Proof {
    /// Its name, which operations and templates know.
    name: &'static str,
    /// Its field in a suspended form, which may have a field of that name itself.
    field: &'static str,
}

const BY_PASSWORD: Proof = Proof {
    name: "password",
    field: "reauthentication_password",
};

/// For accounts without a password.
const BY_CODE: Proof = Proof {
    name: "otp",
    field: "reauthentication_otp",
};

/// For accounts with a second factor.
const BY_FACTOR: Proof = Proof {
    name: "code",
    field: "reauthentication_code",
};

/// What the fields of a proof begin with in a suspended form.
const PREFIX: &str = "reauthentication_";

/// The answer of a passkey in a suspended form, and the id of the options that it answers.
const PASSKEY: [(&str, &str); 2] = [
    ("credential", "reauthentication_credential"),
    ("session_id", "reauthentication_session_id"),
];

/// The page that sets up second factors.
const SECURITY: &str = "/account/security/";

/// The button that mails a code.
const SEND: &str = "reauthentication_send";

/// The field that says that the form had more than the page carries.
const INCOMPLETE: &str = "reauthentication_incomplete";

/// The session of somebody who has to be signed in, and to have a second factor where the settings
/// ask for one.
///
/// # Errors
/// The way to the sign-in page, and from there back, or to the page that sets up a factor.
pub(super) fn session<'a>(visitor: &'a Visitor<'_>) -> Result<&'a BrowserSession, Detour> {
    let session = session_before_setup(visitor)?;
    if accounts::require_setup(visitor.app, &session.caller).is_err() {
        return Err(Detour::from(redirect(visitor, SECURITY, "")));
    }
    Ok(session)
}

/// As [`session`], also of somebody who still has to set up a second factor.
///
/// # Errors
/// The way to the sign-in page, and from there back.
pub(super) fn session_before_setup<'a>(
    visitor: &'a Visitor<'_>,
) -> Result<&'a BrowserSession, Detour> {
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
/// The way to the page that asks for a proof, and from there back.
pub(super) fn recent_session<'a>(visitor: &'a Visitor<'_>) -> Result<&'a BrowserSession, Detour> {
    session(visitor)?;
    recent_session_before_setup(visitor)
}

/// As [`recent_session`], also of somebody who still has to set up a second factor.
///
/// # Errors
/// As [`recent_session`].
pub(super) fn recent_session_before_setup<'a>(
    visitor: &'a Visitor<'_>,
) -> Result<&'a BrowserSession, Detour> {
    let session = session_before_setup(visitor)?;
    if accounts::is_recent(visitor.app, &session.caller) {
        return Ok(session);
    }
    Err(reauthentication(visitor))
}

/// The way to the page that asks for a proof, and from there back.
fn reauthentication(visitor: &Visitor<'_>) -> Detour {
    let path = format!("/account/reauthenticate/?next={}", encoded(&visitor.path));
    Detour::from(redirect(visitor, &path, ""))
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
    /// Reads the form of a request, and asks for a proof where it has been too long.
    ///
    /// # Errors
    /// The page that asks, the way to the sign-in page, or those of [`Form::read`].
    pub(super) async fn read(
        visitor: Visitor<'a>,
        app: &'a SharedApp,
        request: &mut Request,
    ) -> Result<Self, Detour> {
        session(&visitor)?;
        Self::read_before_setup(visitor, app, request).await
    }

    /// As [`Change::read`], also of somebody who still has to set up a second factor.
    ///
    /// # Errors
    /// As [`Change::read`].
    pub(super) async fn read_before_setup(
        visitor: Visitor<'a>,
        app: &'a SharedApp,
        request: &mut Request,
    ) -> Result<Self, Detour> {
        let signed_in = session_before_setup(&visitor)?.clone();
        let form = Form::read(&visitor, app, request).await?;
        if accounts::is_recent(app, &signed_in.caller) {
            return Ok(Self {
                is_incomplete: form.has(INCOMPLETE),
                session: signed_in,
                visitor,
                form,
            });
        }
        let methods = accounts::reauthentication_methods(app, &signed_in.caller).await?;
        let proof = match methods.first() {
            Some(ReauthenticationMethod::Password) => &BY_PASSWORD,
            Some(ReauthenticationMethod::Factor(_)) => &BY_FACTOR,
            _ => &BY_CODE,
        };
        if form.has(SEND) {
            accounts::request_reauthentication(app, &signed_in.caller, &visitor.client).await?;
        }
        if !form.has(proof.field) {
            let status = StatusCode::FORBIDDEN;
            visitor.note_failure(ActionOutcome::Invalid);
            return Err(ask(
                &visitor,
                &form,
                (proof, &methods),
                &Problems::default(),
                status,
            )
            .into());
        }
        let mut fields = Fields::form();
        if form.text(PASSKEY[0].1).is_empty() {
            fields.insert(proof.name.into(), Input::Text(form.text(proof.field)));
        } else {
            for (name, field) in PASSKEY {
                fields.insert(name.into(), Input::Text(form.text(field)));
            }
        }
        let client = &visitor.client;
        match accounts::reauthenticate_browser(app, &signed_in, &fields, client).await {
            Ok(secret) => {
                request.renewed_session = Some(secret);
                let visitor = Visitor::of(app, request).await?;
                Ok(Self {
                    session: session_before_setup(&visitor)?.clone(),
                    is_incomplete: form.has(INCOMPLETE),
                    visitor,
                    form,
                })
            }
            Err(error) => {
                let (problems, status) = Problems::of_error(&visitor, error)?;
                let problems = problems.about(proof.name, proof.field);
                Err(ask(&visitor, &form, (proof, &methods), &problems, status).into())
            }
        }
    }
}

/// Whether one of the ways to authenticate again is a passkey.
pub(super) fn has_passkey(methods: &[ReauthenticationMethod]) -> bool {
    methods.contains(&ReauthenticationMethod::Factor(SecondFactor::Webauthn))
}

/// The page that asks for a proof, with the form that it suspends.
fn ask(
    visitor: &Visitor<'_>,
    form: &Form,
    (proof, methods): (&Proof, &[ReauthenticationMethod]),
    problems: &Problems,
    status: StatusCode,
) -> PageResult {
    // The form of this page has a hidden address, for password managers.
    let own = [
        BY_PASSWORD.field,
        BY_CODE.field,
        BY_FACTOR.field,
        PASSKEY[0].1,
        PASSKEY[1].1,
        INCOMPLETE,
        SEND,
        "username",
    ];
    Page::new(visitor, "account/reauthenticate.html", TITLE)
        .status(status)
        .with(context! {
            method => proof.name,
            field => proof.field,
            prefix => PREFIX,
            has_passkey => has_passkey(methods),
            is_sent => form.has(SEND) || form.has(proof.field),
            send => SEND,
            carried => form.carried(&own),
            incomplete => (form.has(INCOMPLETE) || form.has_secrets(&own)).then_some(INCOMPLETE),
            errors => problems.to_value(),
            back => &*visitor.path,
        })
        .answer()
}

const TITLE: &str = "page_reauthenticate.title";
