//! A form that was sent: read, checked to be ours, and its fields.

use http::StatusCode;
use minijinja::{Value, context};

use super::complaints::Complaint;
use super::visitor::Visitor;
use crate::accounts::AccountError;
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

    /// The texts of a repeated field.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.shown()
            .filter_map(|(known, text)| (known == name && !text.is_empty()).then_some(text))
            .collect()
    }

    /// Whether there is a field of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// All fields, for an operation of `accounts`.
    pub(super) fn fields(&self) -> &Fields {
        &self.0
    }

    /// These fields alone, under the same names.
    pub(super) fn only(&self, names: &[&'static str]) -> Fields {
        let mut fields = Fields::form();
        for name in names {
            for value in self.0.all(name) {
                fields.insert((*name).to_owned(), value.clone());
            }
        }
        fields
    }

    /// What was typed, to be shown again; passwords are not.
    pub(super) fn values(&self) -> Value {
        Value::from_pairs(self.shown().map(|(name, text)| (name, Value::from(text))))
    }

    /// What was typed, as pairs of name and value for hidden fields, without those named `except`.
    pub(super) fn carried(&self, except: &[&str]) -> Value {
        self.shown()
            .filter(|(name, _)| !except.contains(name))
            .map(|(name, text)| Value::from(vec![Value::from(name), Value::from(text)]))
            .collect()
    }

    /// Whether there are passwords or files, beside those named `except`.
    pub(super) fn has_secrets(&self, except: &[&str]) -> bool {
        let mut names = self.0.names().filter(|name| !except.contains(name));
        names.any(|name| is_secret(name) || matches!(self.0.get(name), Some(Input::File(_))))
    }

    /// Names and texts of all fields but passwords.
    pub(super) fn texts(&self) -> Vec<(&str, &str)> {
        self.shown().collect()
    }

    /// Names and texts of the fields that a page may repeat.
    fn shown(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|(name, input)| match input {
            Input::Text(text) if !is_secret(name) && name != TOKEN => Some((name, text.as_str())),
            _ => None,
        })
    }
}

/// Whether a field holds a password, which no page repeats.
fn is_secret(name: &str) -> bool {
    name.contains("password")
}

impl Problems {
    /// What is wrong with a form, where its page can show it, and the status of the page.
    ///
    /// # Errors
    /// Other errors, which have a page of their own.
    pub(super) fn of_error(
        visitor: &Visitor<'_>,
        error: AccountError,
    ) -> Result<(Self, StatusCode), ApiError> {
        let error = ApiError::from(error);
        visitor.note_failure(error.outcome());
        let problems = match error {
            ApiError::Fields(errors) | ApiError::InvalidPassword(errors) => {
                Self::of(visitor, &errors)
            }
            ApiError::InvalidOtp => Self::one(visitor, "otp", "complaint.wrong_code"),
            other => return Err(other),
        };
        Ok((problems, StatusCode::BAD_REQUEST))
    }

    /// The same about the field `to` where they are about the field `from`.
    pub(super) fn about(mut self, from: &str, to: &str) -> Self {
        for problem in self.0.iter_mut().filter(|problem| problem.field == from) {
            to.clone_into(&mut problem.field);
        }
        self
    }

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
        Self::with(visitor, field, key, Value::UNDEFINED)
    }

    /// As [`Problems::one`], with values in the sentence.
    pub(super) fn with(visitor: &Visitor<'_>, field: &str, key: &str, values: Value) -> Self {
        let mut problems = Self::default();
        problems.add(visitor, field, key, values);
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

    /// Whether nothing is wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
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
