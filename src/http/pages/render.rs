//! From a template to an answer: context, headers, redirects.

use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, VARY};
use minijinja::{Value, context};
use warp::reply::Response;

use super::cookies::Cookie;
use super::visitor::Visitor;
use crate::accounts::AccountError;
use crate::http::HandlerResult;
use crate::http::error::ApiError;
use crate::http::reply;

/// What the handler of a page returns.
pub(in crate::http) type PageResult = Result<Response, Detour>;

/// An answer in place of the page that was asked for.
#[derive(Debug)]
pub(in crate::http) enum Detour {
    /// Another page, or the way to it.
    Answer(Box<Response>),
    /// An error, which has a page of its own.
    Error(ApiError),
}

impl From<PageResult> for Detour {
    fn from(answer: PageResult) -> Self {
        match answer {
            Ok(response) => Self::Answer(Box::new(response)),
            Err(detour) => detour,
        }
    }
}

impl From<ApiError> for Detour {
    fn from(error: ApiError) -> Self {
        Self::Error(error)
    }
}

impl From<AccountError> for Detour {
    fn from(error: AccountError) -> Self {
        Self::Error(error.into())
    }
}

impl From<Detour> for HandlerResult {
    fn from(detour: Detour) -> Self {
        match detour {
            Detour::Answer(response) => Ok(*response),
            Detour::Error(error) => Err(error),
        }
    }
}

/// Nothing runs, loads or is sent but from and to this origin. `blob:` is the preview of a photo
/// before its upload.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
                      img-src 'self' blob: data:; connect-src 'self'; form-action 'self'; \
                      frame-ancestors 'none'; base-uri 'none'";

/// As [`POLICY`], for a page whose only form goes to another origin. Without `form-action` all targets
/// are allowed, also those that the other origin redirects to.
const POLICY_TO_OTHERS: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
                                img-src 'self' blob: data:; connect-src 'self'; \
                                frame-ancestors 'none'; base-uri 'none'";

/// A page about to be rendered.
pub(super) struct Page<'a> {
    visitor: &'a Visitor<'a>,
    template: &'static str,
    policy: &'static str,
    status: StatusCode,
    title: String,
    values: Value,
}

impl<'a> Page<'a> {
    /// A page by its template, with the title of this sentence.
    pub(super) fn new(visitor: &'a Visitor<'a>, template: &'static str, title: &str) -> Self {
        Self {
            visitor,
            template,
            policy: POLICY,
            status: StatusCode::OK,
            title: visitor.text(title, Value::UNDEFINED),
            values: context! { values => context! {}, errors => Vec::<Value>::new() },
        }
    }

    /// Another title, which is not a sentence.
    pub(super) fn title(mut self, title: &str) -> Self {
        title.clone_into(&mut self.title);
        self
    }

    /// Another status than 200.
    pub(super) const fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Lets its form go to another origin.
    pub(super) const fn posting_elsewhere(mut self) -> Self {
        self.policy = POLICY_TO_OTHERS;
        self
    }

    /// Values for the template, beside those that every page has.
    pub(super) fn with(mut self, values: Value) -> Self {
        self.values = context! { ..values, ..self.values };
        self
    }

    /// The answer.
    ///
    /// # Errors
    /// When the template fails.
    pub(super) fn answer(self) -> PageResult {
        let visitor = self.visitor;
        let values = context! {
            title => self.title,
            path => &*visitor.path,
            form_token => visitor.form_token(),
            flash => visitor.flash(),
            has_console => visitor.app.config.console.enabled,
            user => visitor.session.as_ref().map(|session| super::values::user(visitor, session)),
            ..self.values
        };
        let html = visitor
            .app
            .pages
            .render(self.template, visitor.language, values)
            .map_err(|e| ApiError::internal(&e.to_string()))?;
        let mut response = reply::with_type(self.status, "text/html; charset=utf-8", html.into());
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(self.policy),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        headers.insert(VARY, HeaderValue::from_static("Cookie, Accept-Language"));
        visitor.update_cookies(headers);
        visitor.mark_failure(&mut response);
        Ok(response)
    }
}

/// Sends the browser to a path of ours by GET (RFC 9110, section 15.4.4), with a message for the
/// page there: the key of a sentence, or nothing. Up to two numbers for it follow after colons.
pub(super) fn redirect(visitor: &Visitor<'_>, path: &str, message: &str) -> PageResult {
    let mut response = reply::see_other(path)?;
    let headers = response.headers_mut();
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    if !message.is_empty() {
        Cookie::Flash.set(headers, visitor.is_secure, message, None);
    }
    visitor.mark_failure(&mut response);
    Ok(response)
}
