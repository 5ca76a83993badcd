//! A request that must not be answered to its client: the user sees what is wrong.

use http::StatusCode;
use minijinja::{Value, context};

use super::answer;
use crate::accounts::{RequestError, RequestFault};
use crate::http::pages::next_path::HOME;
use crate::http::pages::render::{Detour, Page, PageResult};
use crate::http::pages::visitor::Visitor;
use crate::observability::metrics::ActionOutcome;

/// What becomes of a request that is not carried out.
pub(super) fn refuse(visitor: &Visitor<'_>, error: RequestError) -> PageResult {
    match error {
        RequestError::Fault(fault) => page(visitor, fault),
        RequestError::Answer(answer) => {
            visitor.note_failure(ActionOutcome::Invalid);
            answer::send(visitor, &answer)
        }
        RequestError::Failed(error) => Err(error.into()),
    }
}

/// The page that says what is wrong: to the user in plain words, and to the developer of the client.
pub(super) fn page(visitor: &Visitor<'_>, fault: RequestFault) -> PageResult {
    visitor.note_failure(ActionOutcome::Invalid);
    let key = match fault {
        RequestFault::Expired => "client_expired",
        RequestFault::WrongHint | RequestFault::WrongPostLogoutUri => "client_sign_out",
        _ => "client",
    };
    let detail = (fault != RequestFault::Expired).then(|| fault.to_string());
    Page::new(visitor, "oauth/fault.html", &format!("problem.{key}_title"))
        .status(StatusCode::BAD_REQUEST)
        .with(context! {
            text => visitor.text(&format!("problem.{key}"), Value::UNDEFINED),
            detail,
            link => HOME,
            link_text => visitor.text("problem.home", Value::UNDEFINED),
        })
        .answer()
}

/// As [`refuse`], in place of the page that was asked for.
pub(super) fn detour(visitor: &Visitor<'_>, error: RequestError) -> Detour {
    refuse(visitor, error).into()
}
