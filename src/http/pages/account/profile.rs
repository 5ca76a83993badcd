//! `/account/profile/` and the photo below it.

use std::borrow::Cow;

use http::StatusCode;
use minijinja::{Value, context};

use super::{ready, session};
use crate::accounts;
use crate::app::SharedApp;
use crate::domain::{Fields, Gender, Input};
use crate::http::pages::form::{Form, Problems};
use crate::http::pages::render::{Page, PageResult, redirect};
use crate::http::pages::visitor::Visitor;
use crate::http::pages::{countries, values};
use crate::http::request::Request;

/// The fields of the form, in its order.
const FIELDS: [&str; 7] = [
    "first_name",
    "last_name",
    "phone",
    "birthday",
    "gender",
    "country",
    "address",
];

/// The forms.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = session(&visitor)?;
    page(&visitor, values::profile(session.user())).answer()
}

/// Saves the profile.
pub(in crate::http) async fn submit(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = session(&visitor)?;
    let form = Form::read(&visitor, app, request).await?;
    let fields = form.only(&FIELDS);
    save(&visitor, app, fields, session, "page_profile.saved", || {
        form.values()
    })
    .await
}

/// Saves a photo.
pub(in crate::http) async fn photo(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = session(&visitor)?;
    let form = Form::read_with_photo(&visitor, app, request).await?;
    let fields = form.only(&["photo"]);
    let typed = || values::profile(session.user());
    save(
        &visitor,
        app,
        fields,
        session,
        "page_profile.photo_saved",
        typed,
    )
    .await
}

/// Removes the photo.
pub(in crate::http) async fn remove_photo(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = session(&visitor)?;
    Form::read(&visitor, app, request).await?;
    let mut fields = Fields::json();
    fields.insert("photo".into(), Input::Null);
    let typed = || values::profile(session.user());
    save(
        &visitor,
        app,
        fields,
        session,
        "page_profile.photo_removed",
        typed,
    )
    .await
}

async fn save(
    visitor: &Visitor<'_>,
    app: &SharedApp,
    fields: Fields,
    session: &accounts::BrowserSession,
    done: &str,
    typed: impl Fn() -> Value,
) -> PageResult {
    let id = session.user().id;
    match accounts::update(app, &session.caller, id, &visitor.client, ready(fields)).await {
        Ok(_) => redirect(visitor, "/account/profile/", done),
        Err(error) => {
            let (problems, status) = Problems::of_error(visitor, error)?;
            page(visitor, typed())
                .status(status)
                .with(context! { errors => problems.to_value() })
                .answer()
        }
    }
}

fn page<'a>(visitor: &'a Visitor<'a>, typed: Value) -> Page<'a> {
    Page::new(visitor, "account/profile.html", "page_profile.title")
        .status(StatusCode::OK)
        .with(context! {
            section => "profile",
            values => typed,
            genders => genders(visitor),
            countries => country_choices(visitor),
            max_photo_mib => visitor.app.config.media.max_photo_mib,
        })
}

/// The choices of a gender, the unset one first.
pub(in crate::http::pages) fn genders(visitor: &Visitor<'_>) -> Vec<(String, String)> {
    let text = |key: &str| visitor.text(&format!("fields.{key}"), Value::UNDEFINED);
    let mut choices = vec![(String::new(), text("none"))];
    for gender in Gender::ALL {
        let code = gender.as_str();
        choices.push((
            code.to_owned(),
            text(&format!("gender_{}", code.to_ascii_lowercase())),
        ));
    }
    choices
}

/// The choices of a country, the unset one first.
pub(in crate::http::pages) fn country_choices(
    visitor: &Visitor<'_>,
) -> Vec<(&'static str, Cow<'static, str>)> {
    let none = ("", visitor.text("fields.none", Value::UNDEFINED).into());
    let countries = countries::in_language(visitor.language.tag()).iter();
    let countries = countries.map(|(code, name)| (*code, Cow::Borrowed(*name)));
    std::iter::once(none).chain(countries).collect()
}
