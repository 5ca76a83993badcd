//! `/account/external/`: signing in with an account at another provider.

use http::StatusCode;
use minijinja::{Value, context};

use super::connections::completion;
use super::{SIGN_IN, encoded, query, remember, second_factor, with_next};
use crate::accounts::{self, AccountError, BrowserOutcome, BrowserPurpose, FinishedBrowser};
use crate::app::SharedApp;
use crate::http::pages::external;
use crate::http::pages::form::Form;
use crate::http::pages::next_path;
use crate::http::pages::render::{Page, PageResult, redirect};
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;
use crate::observability::metrics::{Action, ActionOutcome};
use crate::store::ProviderPurpose;

/// Leads to a provider, to sign in there.
pub(in crate::http) async fn begin(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let form = Form::read(&visitor, app, request).await?;
    let next = form.text("next");
    let next = next_path::or_home(&next);
    if visitor.session.is_some() {
        return redirect(&visitor, next, "");
    }
    let (provider, purpose) = (form.text("provider"), BrowserPurpose::SignIn);
    external::begin(&visitor, request, (&provider, next), purpose).await
}

/// Finishes what a browser went to a provider for.
///
/// Nothing happens again when the page is loaded again: what the browser comes back with counts once,
/// together with the cookie of the browser that was sent there.
pub(in crate::http) async fn finish(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let provider = request.last_segment().to_owned();
    let state = query(request, "state");
    let cookie = external::binding(&visitor, request).unwrap_or_default();
    let proof = (&*state, cookie);
    let session = visitor.session.as_ref();
    let finished =
        accounts::finish_in_browser(app, &provider, proof, session, &visitor.client).await;
    let finished = match finished {
        Ok(finished) => finished,
        Err(AccountError::InvalidLink) => {
            visitor.note_failure(ActionOutcome::BadToken);
            return external::expired(&visitor, &provider).answer();
        }
        Err(error) => return Err(error.into()),
    };
    let action = match finished.purpose {
        ProviderPurpose::SignIn => Some(Action::SignIn),
        ProviderPurpose::Reauthentication(_) => Some(Action::Reauthentication),
        ProviderPurpose::Connection(_) => None,
    };
    let answer = conclude(&visitor, &provider, finished);
    if let (Some(action), Ok(response)) = (action, &answer) {
        let failure = response.extensions().get::<ActionOutcome>();
        let outcome = failure.copied().unwrap_or(ActionOutcome::Done);
        app.metrics.count_action(action, outcome);
    }
    answer
}

/// Leads on after a provider has answered, or says why there is no way on.
fn conclude(visitor: &Visitor<'_>, provider: &str, finished: FinishedBrowser) -> PageResult {
    let next = next_path::or_home(&finished.next);
    match finished.outcome {
        Ok(BrowserOutcome::SignedIn(signed_in)) => {
            let secret = signed_in.signed.into_secret()?;
            let mut response = redirect(visitor, next, "")?;
            remember(visitor, &mut response, &secret);
            Ok(response)
        }
        Ok(BrowserOutcome::Connected(_)) => redirect(visitor, next, "page_external.connected"),
        Ok(BrowserOutcome::Reauthenticated(secret)) => {
            let mut response = redirect(visitor, next, "")?;
            remember(visitor, &mut response, &secret);
            Ok(response)
        }
        Err(AccountError::SecondFactorRequired { ticket, methods }) => {
            visitor.note_failure(ActionOutcome::Invalid);
            second_factor::begin(visitor, &ticket, &methods, next)
        }
        Err(AccountError::IdentityNotVerified { ticket, email }) => {
            visitor.note_failure(ActionOutcome::NotVerified);
            let path = format!("/account/confirm/?email={}", encoded(&email));
            let path = with_next(&path, next);
            let mut response = redirect(visitor, &path, "page_external.unverified")?;
            external::keep_ticket(visitor, &mut response, &ticket);
            Ok(response)
        }
        Err(AccountError::AccountExists { ticket, email }) => {
            visitor.note_failure(ActionOutcome::Invalid);
            exists(visitor, provider, (&ticket, &email), next)
        }
        Err(error) => external::refusal(visitor, provider, next, error),
    }
}

/// Says that there is an account already, and leads to it: signing in connects the identity.
fn exists(
    visitor: &Visitor<'_>,
    provider: &str,
    (ticket, email): (&str, &str),
    next: &str,
) -> PageResult {
    let name = external::name_of(visitor.app, provider);
    let link = format!("{SIGN_IN}?email={}", encoded(email));
    let mut response = Page::new(visitor, "message.html", "page_external.exists_title")
        .status(StatusCode::CONFLICT)
        .with(context! {
            text => visitor.text("page_external.exists", context! { name }),
            link => with_next(&link, &completion(next)),
            link_text => visitor.text("page_external.exists_button", Value::UNDEFINED),
        })
        .answer()?;
    external::keep_ticket(visitor, &mut response, ticket);
    Ok(response)
}
