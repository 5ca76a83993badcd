//! `email/undo/<token>/`: the link that undoes an address change.
//!
//! Mail scanners open every link they see, so `GET` changes nothing: its page asks, and its button
//! sends a `POST`.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::mfa::WRONG_CODE;
use crate::accounts::{self, AccountError, forms};
use crate::app::SharedApp;
use crate::domain::Fields;
use crate::http::body;
use crate::http::operation::{Body, Operation, Outcome, Refusal, THROTTLED, Tag};
use crate::http::pages::email_undo as pages;
use crate::http::reply::{self, Message};
use crate::http::request::Request;
use crate::http::route::HandlerResult;

const HTML: &str = "text/html";

/// `GET email/undo/<token>/`
pub(crate) const CONFIRM: Operation = Operation {
    id: "askToUndoEmailChange",
    tag: Tag::Users,
    summary: "Show the undo page",
    description: "The page behind the link in the notice of an address change. It changes nothing; \
                  its button sends a `POST`.",
    answers: &[
        Outcome::text(200, "a page with a button", HTML),
        Outcome::text(404, "a page that says that the link is dead", HTML),
    ],
    ..Operation::NEW
};

/// `GET email/undo/<token>/`
pub(crate) async fn confirm(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let found = accounts::find_undo(app, request.last_segment()).await?;
    pages::confirm(app, request, found.as_ref()).or_else(HandlerResult::from)
}

/// `POST email/undo/<token>/`
pub(crate) const UNDO: Operation = Operation {
    id: "undoEmailChange",
    tag: Tag::Users,
    summary: "Undo an address change",
    description: "Restores the account as it was before a change of its address. The link works \
                  once, for 7 days. All sessions end, the asking one too; a password that was set \
                  since is void, and so are factors; a password reset is mailed. An account with a \
                  second factor that is older than the link wants its `code`. A body of the type \
                  `application/x-www-form-urlencoded`, as the button of the page sends it, is \
                  answered with a page.",
    body: Some(Body {
        form: forms::undo,
        example: "{}",
    }),
    answers: &[
        Outcome::json::<Message>(
            200,
            "the former address is back",
            r#"{"msg": "Email change undone."}"#,
        ),
        Outcome::text(200, "the same as a page", HTML),
        Outcome::text(400, "a page that says why not", HTML),
    ],
    refusals: &[
        Refusal {
            when: "the link is unknown, used or expired",
            error: || AccountError::InvalidLink.into(),
        },
        Refusal {
            when: "another account has confirmed the former address by now",
            error: || AccountError::EmailTaken.into(),
        },
        WRONG_CODE,
        THROTTLED,
    ],
    ..Operation::NEW
};

/// `POST email/undo/<token>/`: answers a page to the button, JSON to a program.
pub(crate) async fn undo(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.caller.take();
    let client = request.client(app);
    // Programs send whatever they like, where nothing is asked for.
    let link = accounts::find_undo(app, request.last_segment()).await?;
    let fields = match link.is_some_and(|link| link.factors.is_enabled()) {
        true => body::fields(app, request).await?,
        false => Fields::json(),
    };
    let token = request.last_segment();
    let outcome = accounts::undo(app, token, &fields, caller.as_ref(), &client).await;
    if !is_from_a_page(&request.head.headers) {
        outcome?;
        return Ok(reply::message("Email change undone."));
    }
    let page = pages::outcome(app, request, outcome).await;
    page.or_else(HandlerResult::from)
}

/// Whether the body is an HTML form, as the button of the page sends it.
fn is_from_a_page(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        value
            .as_bytes()
            .starts_with(b"application/x-www-form-urlencoded")
    })
}
