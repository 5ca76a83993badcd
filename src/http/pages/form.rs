//! A form that was sent: read, checked to be ours, and its fields.

use minijinja::{Value, context};

use super::complaints::Complaint;
use super::visitor::Visitor;
use crate::app::SharedApp;
use crate::domain::{FieldErrors, Fields, Input};
use crate::http::body;
use crate::http::error::ApiError;
use crate::http::request::Request;

/// The field that proves where a form comes from.
const TOKEN: &str = "form_token";

/// The fields of a form.
pub(super) struct Form(Fields);

/// What is wrong with a form, in the reader's language.
#[derive(Default)]
pub(super) struct Problems(Vec<Problem>);

struct Problem {
    field: String,
    label: String,
    text: String,
}

impl Form {
    /// Reads the form of a request.
    ///
    /// # Errors
    /// [`ApiError::ForeignForm`] when it does not come from a page of ours; those of a body.
    pub(super) async fn read(
        visitor: &Visitor<'_>,
        app: &SharedApp,
        request: &mut Request,
    ) -> Result<Self, ApiError> {
        let fields = body::fields(app, request).await?;
        Self::checked(visitor, request, fields)
    }

    /// As [`Form::read`], of a form that uploads a photo.
    pub(super) async fn read_with_photo(
        visitor: &Visitor<'_>,
        app: &SharedApp,
        request: &mut Request,
    ) -> Result<Self, ApiError> {
        let fields = body::fields_with_photo(app, request).await?;
        Self::checked(visitor, request, fields)
    }

    fn checked(visitor: &Visitor<'_>, request: &Request, fields: Fields) -> Result<Self, ApiError> {
        let form = Self(fields);
        if visitor.is_own_form(&request.head.headers, &form.text(TOKEN)) {
            Ok(form)
        } else {
            Err(ApiError::ForeignForm)
        }
    }

    /// The text of a field; empty when it is not there.
    pub(super) fn text(&self, name: &str) -> String {
        match self.0.get(name) {
            Some(Input::Text(text)) => text.clone(),
            _ => String::new(),
        }
    }

    /// All fields, for an operation of `accounts`.
    pub(super) fn fields(&self) -> &Fields {
        &self.0
    }

    /// These fields alone, under the same names.
    pub(super) fn only(&self, names: &[&'static str]) -> Fields {
        let mut fields = Fields::form();
        for name in names {
            if let Some(value) = self.0.get(name) {
                fields.insert((*name).to_owned(), value.clone());
            }
        }
        fields
    }

    /// What was typed, to be shown again; passwords are not.
    pub(super) fn values(&self) -> Value {
        let shown = self.0.names().filter_map(|name| match self.0.get(name) {
            Some(Input::Text(text)) if !name.contains("password") && name != TOKEN => {
                Some((name.to_owned(), Value::from(text.as_str())))
            }
            _ => None,
        });
        Value::from_pairs(shown)
    }
}

impl Problems {
    /// The complaints of an operation.
    pub(super) fn of(visitor: &Visitor<'_>, errors: &FieldErrors) -> Self {
        let mut problems = Self::default();
        for (field, complaints) in errors.iter() {
            for complaint in complaints {
                let Complaint { key, number } = Complaint::of(complaint);
                problems.add(
                    visitor,
                    field,
                    &format!("complaint.{key}"),
                    context! { n => number },
                );
            }
        }
        problems
    }

    /// One problem: of a field, or of the whole form where `field` is empty.
    pub(super) fn one(visitor: &Visitor<'_>, field: &str, key: &str) -> Self {
        let mut problems = Self::default();
        problems.add(visitor, field, key, Value::UNDEFINED);
        problems
    }

    fn add(&mut self, visitor: &Visitor<'_>, field: &str, key: &str, values: Value) {
        let (label, field) = match field {
            "" => (String::new(), ""),
            "otp" => (visitor.text("fields.code", Value::UNDEFINED), "otp"),
            "confirm_password" => (
                visitor.text("fields.password", Value::UNDEFINED),
                "password",
            ),
            name if visitor.language.sentence("fields", name).is_some() => (
                visitor.text(&format!("fields.{name}"), Value::UNDEFINED),
                name,
            ),
            _ => (String::new(), ""),
        };
        self.0.push(Problem {
            field: field.to_owned(),
            label,
            text: visitor.text(key, values),
        });
    }

    /// For the templates.
    pub(super) fn to_value(&self) -> Value {
        self.0
            .iter()
            .map(|problem| {
                context! {
                    field => &*problem.field,
                    label => &*problem.label,
                    text => &*problem.text,
                }
            })
            .collect()
    }
}
