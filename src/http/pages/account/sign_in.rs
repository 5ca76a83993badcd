//! `/account/sign-in/`

use http::StatusCode;
use minijinja::{Value, context};

use super::{encoded, passkeys, query, remember, second_factor, with_next};
use crate::accounts::{self, AccountError};
use crate::app::SharedApp;
use crate::http::pages::external;
use crate::http::pages::form::{Form, Problems};
use crate::http::pages::next_path;
use crate::http::pages::render::{Page, PageResult, redirect};
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;
use crate::observability::metrics::ActionOutcome;

/// The form.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let next = query(request, "next");
    if visitor.session.is_some() {
        return redirect(&visitor, next_path::or_home(&next), "");
    }
    page(
        &visitor,
        &next,
        context! { email => query(request, "email") },
    )
    .answer()
}

/// Signs in.
pub(in crate::http) async fn submit(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let form = Form::read(&visitor, app, request).await?;
    let next = form.text("next");
    let fields = form.only(&["email", "password"]);
    let client = visitor.client.browser();
    let again = |problems: Problems, status| {
        page(&visitor, &next, form.values())
            .status(status)
            .with(context! { errors => problems.to_value() })
            .answer()
    };
    if !form.text("credential").is_empty() {
        let answer = form.only(&passkeys::ANSWER);
        return match accounts::sign_in_with_passkey(app, &answer, &client).await {
            Ok(signed) => {
                let secret = signed.into_secret()?;
                let mut response = redirect(&visitor, next_path::or_home(&next), "")?;
                remember(&visitor, &mut response, &secret);
                Ok(response)
            }
            Err(AccountError::NoActiveAccount) => {
                visitor.note_failure(ActionOutcome::Invalid);
                let problems = Problems::one(&visitor, "", "page_sign_in.passkey_wrong");
                again(problems, StatusCode::BAD_REQUEST)
            }
            Err(error) => Err(error.into()),
        };
    }
    match accounts::sign_in(app, &fields, &client).await {
        Ok(signed) => {
            let secret = signed.into_secret()?;
            let path = passkeys::after_sign_in(&visitor, request, &form, &next);
            let mut response = redirect(&visitor, &path, "")?;
            remember(&visitor, &mut response, &secret);
            Ok(response)
        }
        Err(AccountError::SecondFactorRequired { ticket, methods }) => {
            visitor.note_failure(ActionOutcome::Invalid);
            second_factor::begin(&visitor, &ticket, &methods, &next)
        }
        Err(AccountError::EmailNotVerified) => {
            visitor.note_failure(ActionOutcome::NotVerified);
            let path = format!("/account/confirm/?email={}", encoded(&form.text("email")));
            redirect(
                &visitor,
                &with_next(&path, &next),
                "page_sign_in.unverified",
            )
        }
        Err(AccountError::NoActiveAccount) => {
            visitor.note_failure(ActionOutcome::WrongPassword);
            let problems = Problems::one(&visitor, "", "page_sign_in.wrong");
            again(problems, StatusCode::BAD_REQUEST)
        }
        Err(error) => {
            let (problems, status) = Problems::of_error(&visitor, error)?;
            again(problems, status)
        }
    }
}

fn page<'a>(visitor: &'a Visitor<'a>, next: &str, values: Value) -> Page<'a> {
    Page::new(visitor, "account/sign_in.html", "page_sign_in.title").with(context! {
        next => next_path::parse(next),
        values,
        can_sign_up => true,
        providers => external::providers(visitor.app),
    })
}
