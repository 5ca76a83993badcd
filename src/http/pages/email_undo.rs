//! The pages behind the link that undoes an address change.

use http::StatusCode;
use warp::reply::Response;

use super::layout::{Page, escape};
use crate::accounts::AccountError;

/// Asks whether to go back to this address.
pub(crate) fn confirm(email: &str) -> Response {
    let text = format!(
        "Your account will go back to the address {}, and every device that is signed in will be \
         signed out.",
        escape(email)
    );
    Page::new(StatusCode::OK, "Undo the change of your address?", &text)
        .with(
            "<form method=\"post\"><button>Undo the change</button></form>\
             <p>If you made the change yourself, just close this page.</p>",
        )
        .into_response()
}

/// Says that the change is undone.
pub(crate) fn done() -> Response {
    Page::new(
        StatusCode::OK,
        "The change is undone",
        "Your account has its former address again, and every device was signed out. If you had \
         not asked for the change, somebody may know your password: choose a new one now.",
    )
    .into_response()
}

/// Says that the link is used or expired.
pub(crate) fn dead_link(status: StatusCode) -> Response {
    Page::new(
        status,
        "This link does not work any more",
        "It was used already, or it is older than seven days.",
    )
    .into_response()
}

/// Says why the change cannot be undone; `None` when the error is not about the link.
pub(crate) fn refusal(error: &AccountError) -> Option<Response> {
    match error {
        AccountError::InvalidLink => Some(dead_link(StatusCode::BAD_REQUEST)),
        AccountError::EmailTaken => Some(
            Page::new(
                StatusCode::BAD_REQUEST,
                "The change cannot be undone",
                "By now another account uses the former address.",
            )
            .into_response(),
        ),
        _ => None,
    }
}
