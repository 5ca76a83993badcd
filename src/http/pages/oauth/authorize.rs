//! `/o/authorize/`: signing in to an application with the account (RFC 6749, section 3.1).

use http::StatusCode;
use minijinja::{Value, context};

use super::{answer, fault, parameters_of_body, parameters_of_query};
use crate::accounts::{
    self, Answered, AuthorizationRequest, BrowserSession, Issued, Purpose, Question, RequestError,
    RequestFault, Step, WaitingRequest,
};
use crate::app::SharedApp;
use crate::domain::Scope;
use crate::http::pages::access::SIGN_IN;
use crate::http::pages::account::{encoded, forget};
use crate::http::pages::cookies::Cookie;
use crate::http::pages::form::Form;
use crate::http::pages::render::{Detour, Page, PageResult, redirect};
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;
use crate::observability::metrics::ActionOutcome;

/// The path of a request that waits, up to its id.
pub(in crate::http::pages) const PATH: &str = "/o/authorize/";

/// A request as it came.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let mut visitor = Visitor::of(app, request).await?;
    let parameters = parameters_of_query(request);
    let wanted = match accounts::read_authorization_request(app, &parameters).await {
        Ok(wanted) => wanted,
        Err(error) => return fault::refuse(&visitor, error),
    };
    visitor.prefer(wanted.ui_locales.as_deref());
    let session = visitor.session.as_ref();
    let step = accounts::decide(app, &wanted, session, None, Answered::Nothing).await?;
    match step {
        Step::Refuse(_) | Step::Issue(_) => {
            proceed(app, &visitor, &wanted, None, (step, Answered::Nothing)).await
        }
        // The rest needs somebody, and so a place to come back to.
        _ => {
            let id = keep(app, &visitor, &wanted).await?;
            proceed(app, &visitor, &wanted, Some(&id), (step, Answered::Nothing)).await
        }
    }
}

/// A request by a form of the application, whose cookies do not count.
pub(in crate::http) async fn begin(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let parameters = parameters_of_body(app, request).await?;
    match accounts::read_authorization_request(app, &parameters).await {
        Ok(wanted) => {
            let id = keep(app, &visitor, &wanted).await?;
            redirect(&visitor, &path(&id), "")
        }
        Err(error) => fault::refuse(&visitor, error),
    }
}

/// A request that has waited.
pub(in crate::http) async fn resume(app: &SharedApp, request: &mut Request) -> PageResult {
    let mut visitor = Visitor::of(app, request).await?;
    let (waiting, wanted) = find(app, &mut visitor, request).await?;
    let (session, since) = (visitor.session.as_ref(), Some(waiting.received_at));
    let step = accounts::decide(app, &wanted, session, since, Answered::Nothing).await?;
    let at = (step, Answered::Nothing);
    proceed(app, &visitor, &wanted, Some(&waiting.id), at).await
}

/// What the user has answered.
pub(in crate::http) async fn submit(app: &SharedApp, request: &mut Request) -> PageResult {
    let mut visitor = Visitor::of(app, request).await?;
    let form = Form::read(&visitor, app, request).await?;
    let (waiting, wanted) = find(app, &mut visitor, request).await?;
    match form.text("action").as_str() {
        "allow" => {
            let (session, since) = (visitor.session.as_ref(), Some(waiting.received_at));
            let step = accounts::decide(app, &wanted, session, since, Answered::Allowed).await?;
            let at = (step, Answered::Allowed);
            proceed(app, &visitor, &wanted, Some(&waiting.id), at).await
        }
        "switch" => {
            if let Some(session) = &visitor.session {
                accounts::sign_out(app, &session.caller, &visitor.client).await?;
            }
            let mut response = sign_in(&visitor, &wanted, &waiting.id)?;
            forget(&visitor, &mut response);
            Ok(response)
        }
        "deny" => answer::send_after_form(&visitor, &wanted.answer_denied()),
        _ => redirect(&visitor, &path(&waiting.id), ""),
    }
}

/// The path of a request that waits.
fn path(id: &str) -> String {
    format!("{PATH}{id}/")
}

/// Whether the visitor is on the page with this path.
fn is_at(visitor: &Visitor<'_>, path: &str) -> bool {
    let (own, _) = visitor.path.split_once('?').unwrap_or((&visitor.path, ""));
    own == path
}

/// Where a browser continues that has started to sign in to an application, by its cookie: for the
/// pages that are reached by a link in a mail.
pub(in crate::http::pages) fn started(visitor: &Visitor<'_>, request: &Request) -> Option<String> {
    let id = Cookie::Application.read(&request.head.headers, visitor.is_secure)?;
    let is_id = id
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    is_id.then(|| path(id))
}

async fn find(
    app: &SharedApp,
    visitor: &mut Visitor<'_>,
    request: &Request,
) -> Result<(WaitingRequest, AuthorizationRequest), Detour> {
    let id = request.last_segment();
    let found = accounts::find_waiting_request(app, Purpose::Authorization, id).await;
    let waiting = found.map_err(|error| fault::detour(visitor, error))?;
    let read = accounts::read_authorization_request(app, &waiting.parameters).await;
    let wanted = read.map_err(|error| fault::detour(visitor, error))?;
    visitor.prefer(wanted.ui_locales.as_deref());
    Ok((waiting, wanted))
}

async fn keep(
    app: &SharedApp,
    visitor: &Visitor<'_>,
    wanted: &AuthorizationRequest,
) -> Result<String, Detour> {
    let (purpose, parameters) = (Purpose::Authorization, wanted.parameters());
    accounts::keep_request(app, purpose, parameters, &visitor.client)
        .await
        .map_err(|error| fault::detour(visitor, error))
}

/// Takes the next step of a request. What needs a place to come back to has an `id`.
async fn proceed(
    app: &SharedApp,
    visitor: &Visitor<'_>,
    wanted: &AuthorizationRequest,
    id: Option<&str>,
    (step, answered): (Step, Answered),
) -> PageResult {
    let send = match answered {
        Answered::Nothing => answer::send,
        Answered::Allowed => answer::send_after_form,
    };
    let step = match (step, &visitor.session) {
        (Step::Issue(consent), Some(session)) => {
            let client = &visitor.client;
            match accounts::issue_code(app, wanted, id, session, consent, client).await? {
                Issued::Answer(found) => return send(visitor, &found),
                Issued::Not(step) => step,
                Issued::Used => {
                    let expired = RequestError::Fault(RequestFault::Expired);
                    return Err(fault::detour(visitor, expired));
                }
            }
        }
        (step, _) => step,
    };
    if let Step::Refuse(error) = step {
        visitor.note_failure(ActionOutcome::Invalid);
        return send(visitor, &wanted.answer_error(error));
    }
    let id = match id {
        Some(id) => id.to_owned(),
        None => keep(app, visitor, wanted).await?,
    };
    let mut response = match step {
        Step::SignIn => sign_in(visitor, wanted, &id)?,
        Step::Reauthenticate => {
            let next = encoded(&path(&id));
            redirect(
                visitor,
                &format!("/account/reauthenticate/?next={next}"),
                "",
            )?
        }
        // A page of its own address, whose form goes to the same.
        Step::Ask(_) | Step::SetUpFactor if !is_at(visitor, &path(&id)) => {
            redirect(visitor, &path(&id), "")?
        }
        Step::SetUpFactor => factor_page(visitor, wanted)?,
        Step::Ask(question) => match &visitor.session {
            Some(session) => question_page(visitor, wanted, session, question)?,
            None => sign_in(visitor, wanted, &id)?,
        },
        // The account changed at this very moment.
        Step::Issue(_) | Step::Refuse(_) => redirect(visitor, &path(&id), "")?,
    };
    let headers = response.headers_mut();
    Cookie::Application.set(headers, visitor.is_secure, &id, None);
    Ok(response)
}

/// The way to the sign-in page, and from there back.
fn sign_in(visitor: &Visitor<'_>, wanted: &AuthorizationRequest, id: &str) -> PageResult {
    let mut to = format!("{SIGN_IN}?next={}", encoded(&path(id)));
    if let Some(hint) = wanted.login_hint.as_deref().filter(|hint| is_address(hint)) {
        to.push_str("&email=");
        to.push_str(&encoded(hint));
    }
    if wanted.ui_locales.is_some() {
        to.push_str("&lang=");
        to.push_str(visitor.language.tag());
    }
    redirect(visitor, &to, "")
}

/// Whether a hint looks like an address, which the sign-in page fills in.
fn is_address(hint: &str) -> bool {
    hint.len() <= 254 && hint.contains('@') && !hint.contains(char::is_whitespace)
}

/// The page that asks whether to go on, and with which account.
fn question_page(
    visitor: &Visitor<'_>,
    wanted: &AuthorizationRequest,
    session: &BrowserSession,
    question: Question,
) -> PageResult {
    let client = wanted.client.settings.name.as_str();
    let question = match question {
        Question::Consent => "consent",
        Question::Account => "account",
        Question::OtherAccount => "other",
    };
    let sees: Vec<String> = wanted
        .scopes
        .iter()
        .filter_map(sentence)
        .map(|key| visitor.text(key, Value::UNDEFINED))
        .collect();
    let title = visitor.text("page_consent.title", context! { client });
    Page::new(visitor, "oauth/consent.html", "page_consent.continue")
        .title(&title)
        .with(context! {
            client,
            host => host(&wanted.redirect_uri),
            is_native => wanted.is_native(),
            question,
            sees,
            account => session.user().email.as_str(),
        })
        .answer()
}

/// What a scope lets a client see, in plain words.
const fn sentence(scope: Scope) -> Option<&'static str> {
    match scope {
        Scope::Openid => None,
        Scope::Profile => Some("page_consent.profile"),
        Scope::Email => Some("page_consent.email"),
        Scope::Phone => Some("page_consent.phone"),
        Scope::Address => Some("page_consent.address"),
        Scope::OfflineAccess => Some("page_consent.offline_access"),
    }
}

/// Where a redirect URI leads, as people know it: the host of a website, the scheme of an app.
fn host(uri: &str) -> &str {
    let (scheme, rest) = uri.split_once(':').unwrap_or((uri, ""));
    match (scheme, rest.strip_prefix("//")) {
        ("http" | "https", Some(rest)) => rest.split(['/', '?']).next().unwrap_or_default(),
        _ => scheme,
    }
}

/// The page that says that the application wants a second factor, and where to get one.
fn factor_page(visitor: &Visitor<'_>, wanted: &AuthorizationRequest) -> PageResult {
    visitor.note_failure(ActionOutcome::Invalid);
    let client = wanted.client.settings.name.as_str();
    Page::new(visitor, "message.html", "page_consent.factor_title")
        .status(StatusCode::FORBIDDEN)
        .with(context! {
            text => visitor.text("page_consent.factor", context! { client }),
            link => "/account/security/",
            link_text => visitor.text("page_consent.factor_button", Value::UNDEFINED),
        })
        .answer()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_shown_as_people_know_them() {
        for (uri, shown) in [
            ("https://app.example.com/cb?x=1", "app.example.com"),
            ("http://127.0.0.1:4711/cb", "127.0.0.1:4711"),
            ("https://app.example.com", "app.example.com"),
            ("com.example.app:/cb", "com.example.app"),
            ("com.example.app://cb", "com.example.app"),
        ] {
            assert_eq!(host(uri), shown);
        }
    }
}
