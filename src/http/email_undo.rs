//! `email/undo/<token>/`: the page behind the link that undoes an address change.
//!
//! Mail scanners open every link they see, so opening it changes nothing: the page asks, and its button sends a `POST`.

use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY};
use http::{HeaderMap, StatusCode};
use warp::reply::Response;

use super::error::ApiError;
use super::operation::{Operation, Outcome, Refusal, Tag, Token};
use super::reply::Message;
use super::request::Request;
use super::{HandlerResult, html, reply};
use crate::accounts::{self, AccountError};
use crate::app::SharedApp;

const DEAD: &str = "This link does not work any more";
const DEAD_TEXT: &str = "It was used already, or it is older than seven days.";
const TAKEN: &str = "The change cannot be undone";
const TAKEN_TEXT: &str = "By now another account uses the former address.";

const HTML: &str = "text/html";

/// `GET email/undo/<token>/`
pub(super) const ASK: Operation = Operation {
    id: "askToUndoEmailChange",
    tag: Tag::Users,
    summary: "Show the undo page",
    description: "The page behind the link in the notice of an address change. It changes nothing; its button sends a `POST`.",
    answers: &[
        Outcome::text(200, "a page with a button", HTML),
        Outcome::text(404, "a page that says that the link is dead", HTML),
    ],
    ..Operation::NEW
};

/// `POST email/undo/<token>/`
pub(super) const ACT: Operation = Operation {
    id: "undoEmailChange",
    tag: Tag::Users,
    summary: "Undo an address change",
    description: "Brings back the address before a change. The link works once, for 7 days. All sessions end, except the one \
                  whose access token came along. A body of the type `application/x-www-form-urlencoded`, as the button of the \
                  page sends it, is answered with a page.",
    token: Token::Welcome,
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
    ],
    ..Operation::NEW
};

/// `GET email/undo/<token>/`
pub(super) async fn ask(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let Some(email) = accounts::find_undo(app, request.last_segment()).await? else {
        return Ok(page(StatusCode::NOT_FOUND, DEAD, DEAD_TEXT, false));
    };
    let text = format!(
        "Your account will go by the address {} again, and every device that is signed in will be signed out.",
        html::escape(&email)
    );
    Ok(page(
        StatusCode::OK,
        "Undo the change of your address?",
        &text,
        true,
    ))
}

/// `POST email/undo/<token>/`: a page for the button, JSON for a program.
pub(super) async fn act(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.authenticate_if_possible(app).await?;
    let client = request.client(app);
    let outcome = accounts::undo(app, request.last_segment(), caller.as_ref(), &client).await;
    if !is_from_a_page(&request.head.headers) {
        outcome?;
        return Ok(reply::message("Email change undone."));
    }
    match outcome {
        Ok(()) => Ok(page(
            StatusCode::OK,
            "The change is undone",
            "Your account goes by its former address again, and every device was signed out. If you had not asked for the \
             change, somebody may know your password: choose a new one now.",
            false,
        )),
        Err(AccountError::InvalidLink) => Ok(page(StatusCode::BAD_REQUEST, DEAD, DEAD_TEXT, false)),
        Err(AccountError::EmailTaken) => {
            Ok(page(StatusCode::BAD_REQUEST, TAKEN, TAKEN_TEXT, false))
        }
        Err(other) => Err(ApiError::from(other)),
    }
}

/// The button sends an empty HTML form.
fn is_from_a_page(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        value
            .as_bytes()
            .starts_with(b"application/x-www-form-urlencoded")
    })
}

fn page(status: StatusCode, title: &str, text: &str, with_button: bool) -> Response {
    let button = if with_button {
        "<form method=\"post\"><button>Undo the change</button></form><p>If you made the change yourself, just close this \
         page.</p>"
    } else {
        ""
    };
    let body = format!("<h1>{title}</h1><p>{text}</p>{button}");
    let mut response = reply::with_type(
        status,
        "text/html; charset=utf-8",
        html::page(title, &body).into(),
    );
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
    );
    // The path is the secret: nothing that the page leads to may learn it.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
