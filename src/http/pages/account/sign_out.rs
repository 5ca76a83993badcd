//! `/account/sign-out/`

use super::{SIGN_IN, forget};
use crate::accounts;
use crate::app::SharedApp;
use crate::http::pages::form::Form;
use crate::http::pages::render::{PageResult, redirect};
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;

/// Ends the session of this browser.
pub(in crate::http) async fn submit(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    Form::read(&visitor, app, request).await?;
    if let Some(session) = &visitor.session {
        accounts::sign_out(app, &session.caller, &visitor.client).await?;
    }
    let mut response = redirect(&visitor, SIGN_IN, "page_sign_out.done")?;
    forget(&visitor, &mut response);
    Ok(response)
}
