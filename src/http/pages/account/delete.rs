//! `/account/delete/`

use http::StatusCode;
use minijinja::context;

use super::{Change, SIGN_IN, forget, ready, recent_session, session};
use crate::accounts::{self, AccountError};
use crate::app::SharedApp;
use crate::http::pages::form::Problems;
use crate::http::pages::render::{Detour, Page, PageResult, redirect};
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;
use crate::observability::metrics::ActionOutcome;

/// The form.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    recent_session(&visitor)?;
    page(&visitor).await?.answer()
}

/// Deletes the account.
pub(in crate::http) async fn submit(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let change = Change::read(visitor, app, request).await?;
    let (visitor, session) = (&change.visitor, &change.session);
    if change.is_incomplete {
        return page(visitor).await?.answer();
    }
    let id = session.user().id;
    let fields = change.form.only(&["password"]);
    match accounts::delete(app, &session.caller, id, &visitor.client, ready(fields)).await {
        Ok(()) => {
            let mut response = redirect(visitor, SIGN_IN, "page_delete.done")?;
            forget(visitor, &mut response);
            Ok(response)
        }
        Err(AccountError::LastStaffMember) => {
            visitor.note_failure(ActionOutcome::Invalid);
            let problems = Problems::one(visitor, "", "console_user.last_staff");
            page(visitor)
                .await?
                .status(StatusCode::BAD_REQUEST)
                .with(context! { errors => problems.to_value() })
                .answer()
        }
        Err(error) => {
            let (problems, status) = Problems::of_error(visitor, error)?;
            page(visitor)
                .await?
                .status(status)
                .with(context! { errors => problems.to_value() })
                .answer()
        }
    }
}

async fn page<'a>(visitor: &'a Visitor<'a>) -> Result<Page<'a>, Detour> {
    let has_password = accounts::has_password(visitor.app, &session(visitor)?.caller).await?;
    let page = Page::new(visitor, "account/delete.html", "page_delete.title");
    Ok(page.with(context! { section => "data", has_password }))
}
