//! From the table of routes to the paths and components of the document.

use std::collections::BTreeSet;

use http::Method;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::fields::{errors_schema, form_schema, messages_schema};
use super::responses::{Responses, general_refusals};
use super::{parsed, reference, upper_first};
use crate::accounts::forms::Form;
use crate::domain::FieldKind;
use crate::http::error::ApiError;
use crate::http::operation::{Content, Operation, Parameter, Tag};
use crate::http::reply::JSON;
use crate::http::route::{Auth, ErrorFormat, Path, Route};

/// Writes operations, and collects the tags and schemas that they use.
pub(super) struct Writer {
    generator: SchemaGenerator,
    schemas: Map<String, Value>,
    tags: BTreeSet<&'static str>,
}

impl Writer {
    pub(super) fn new() -> Self {
        let settings = SchemaSettings::draft2020_12()
            .with(|settings| {
                settings.meta_schema = None;
                settings.definitions_path = "/components/schemas".into();
            })
            .for_serialize();
        let errors = json!({
            "Error": {
                "type": "object",
                "description": "The error as a sentence, some with a code for programs.",
                "properties": {
                    "detail": { "type": "string" },
                    "code": { "type": "string" },
                    "request_id": { "type": "string", "description": "Finds the cause in the log." },
                },
                "required": ["detail"],
            },
            "FieldErrors": {
                "type": "object",
                "description": "Field names, each with all its errors.",
                "additionalProperties": messages_schema(),
            },
            "ReauthenticationRequired": {
                "type": "object",
                "description": "The change wants recent authentication.",
                "properties": {
                    "detail": { "type": "string" },
                    "code": { "const": "reauthentication_required" },
                    "methods": {
                        "type": "array",
                        "description": "What `reauthenticate/` accepts: `password` and `otp` are fields, `totp` and `recovery_code` go into `code`, `webauthn` into `credential`.",
                        "items": { "type": "string", "enum": ["password", "otp", "totp", "recovery_code", "webauthn"] },
                    },
                },
                "required": ["detail", "code", "methods"],
            },
            "SecondFactorRequired": {
                "type": "object",
                "description": "The password is right, and the account has a second factor.",
                "properties": {
                    "detail": { "type": "string" },
                    "code": { "const": "mfa_required" },
                    "mfa_required": { "const": true },
                    "ephemeral_token": {
                        "type": "string",
                        "description": "The ticket for `mfa/verify/`.",
                    },
                    "methods": {
                        "type": "array",
                        "items": { "type": "string", "enum": ["totp", "recovery_code", "webauthn"] },
                    },
                },
                "required": ["detail", "code", "mfa_required", "ephemeral_token", "methods"],
            },
            "IdentityRefused": {
                "type": "object",
                "description": "An identity that no account has, with a ticket to make it one of an account.",
                "properties": {
                    "detail": { "type": "string" },
                    "code": { "type": "string", "enum": ["account_exists", "email_not_verified"] },
                    "ephemeral_token": {
                        "type": "string",
                        "description": "The ticket for `identities/`, or for `otp/verify/`.",
                    },
                },
                "required": ["detail", "code", "ephemeral_token"],
            },
            "UserNotFound": {
                "type": "object",
                "properties": { "error": { "type": "string" } },
                "required": ["error"],
            },
        });
        Self {
            generator: settings.into_generator(),
            tags: BTreeSet::new(),
            schemas: errors.as_object().cloned().unwrap_or_default(),
        }
    }

    /// The schemas that were used.
    pub(super) fn components(mut self) -> Value {
        self.schemas.extend(self.generator.take_definitions(true));
        self.schemas.sort_keys();
        json!({
            "schemas": self.schemas,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The access token of a sign-in.",
                },
            },
        })
    }

    /// The tags that were used, in their order.
    pub(super) fn tags(&self) -> Value {
        Tag::ALL
            .iter()
            .filter(|tag| self.tags.contains(tag.name()))
            .map(|tag| json!({ "name": tag.name(), "description": tag.description() }))
            .collect()
    }

    /// The methods of a path; `None` when none of them is documented.
    pub(super) fn path_item(&mut self, path: &Path) -> Option<Value> {
        let mut item = Map::new();
        let parameters: Vec<Value> = path
            .pattern()
            .split('/')
            .filter_map(path_parameter)
            .collect();
        if !parameters.is_empty() {
            item.insert("parameters".into(), parameters.into());
        }
        let mut is_documented = false;
        for route in path.routes() {
            if let Some(operation) = route.docs {
                is_documented = true;
                let method = route.method.as_str().to_ascii_lowercase();
                item.insert(method, self.operation(route, operation));
            }
        }
        is_documented.then(|| item.into())
    }

    fn operation(&mut self, route: &Route, operation: &Operation) -> Value {
        self.tags.insert(operation.tag.name());
        let mut written = json!({
            "operationId": operation.id,
            "tags": [operation.tag.name()],
            "summary": operation.summary,
            "description": operation.description,
        });
        let form = operation.body.as_ref().map(|body| (body.form)());
        if !operation.query.is_empty() {
            written["parameters"] = operation.query.iter().map(query_parameter).collect();
        }
        if let (Some(form), Some(body)) = (&form, &operation.body) {
            written["requestBody"] = self.request_body(route, operation, form, body.example);
        }
        written["responses"] = self.responses(route, operation, form.as_ref());
        written["security"] = match route.auth {
            Auth::None => json!([]),
            Auth::OptionalBearer => json!([{}, { "bearer": [] }]),
            Auth::Bearer => json!([{ "bearer": [] }]),
        };
        written
    }

    fn request_body(
        &mut self,
        route: &Route,
        operation: &Operation,
        form: &Form,
        example: &str,
    ) -> Value {
        // Staff needs no body to delete an account, so a field required there is required of some.
        let is_for_all = route.method != Method::DELETE;
        let mut schema = form_schema(form, false);
        if !is_for_all && let Some(schema) = schema.as_object_mut() {
            schema.remove("required");
        }
        let name = format!("{}Request", upper_first(operation.id));
        self.schemas.insert(name.clone(), schema);
        let mut content = json!({
            JSON: { "schema": reference(&name), "example": parsed(example) },
        });
        if form.rules.iter().any(|rule| rule.kind == FieldKind::File) {
            let name = format!("{}Form", upper_first(operation.id));
            self.schemas.insert(name.clone(), form_schema(form, true));
            content["multipart/form-data"] = json!({ "schema": reference(&name) });
        }
        let is_required = is_for_all && form.rules.iter().any(|rule| rule.required);
        json!({ "required": is_required, "content": content })
    }

    fn responses(&mut self, route: &Route, operation: &Operation, form: Option<&Form>) -> Value {
        let mut responses = Responses::default();
        for answer in operation.answers {
            let response = responses.of(answer.status);
            response.when(answer.when);
            match &answer.content {
                Content::Nothing => {}
                Content::Json { schema, example } => {
                    let schema = schema(&mut self.generator).to_value();
                    response.add(JSON, schema, Some((answer.when, parsed(example))));
                }
                Content::Text(media_type) => {
                    response.add(media_type, json!({ "type": "string" }), None);
                }
                Content::Bytes(media_types) => {
                    for media_type in *media_types {
                        let bytes = json!({ "type": "string", "format": "binary" });
                        response.add(media_type, bytes, None);
                    }
                }
            }
        }
        let errors_name = match form {
            Some(_) => format!("{}Errors", upper_first(operation.id)),
            None => "FieldErrors".to_owned(),
        };
        let is_page = route.errors == ErrorFormat::Page;
        if let Some(form) = form {
            if !is_page {
                let schema = errors_schema(form);
                self.schemas.insert(errors_name.clone(), schema);
            }
            if !form.complaints.is_empty() {
                let error = ApiError::Fields(form.complaints.clone());
                responses.refuse(error, "fields are absent", &errors_name, is_page);
            }
        }
        for refusal in operation.refusals.iter().chain(general_refusals(route)) {
            let error = (refusal.error)();
            let is_of_form = form.is_none_or(|form| is_about(&error, form));
            let errors = if is_of_form {
                &*errors_name
            } else {
                "FieldErrors"
            };
            responses.refuse(error, refusal.when, errors, is_page);
        }
        responses.into_value()
    }
}

fn path_parameter(segment: &str) -> Option<Value> {
    let (name, description, schema) = match segment {
        "{pk}" => (
            "pk",
            "The id of an account, or `me` for one's own.",
            json!({ "anyOf": [
                { "type": "integer", "format": "int64" },
                { "type": "string", "const": "me" },
            ] }),
        ),
        "{id}" => (
            "id",
            "The id of the object.",
            json!({ "type": "string", "minLength": 1 }),
        ),
        "{delivery}" => (
            "delivery",
            "The id of the delivery.",
            json!({ "type": "string", "minLength": 1 }),
        ),
        _ => return None,
    };
    Some(json!({
        "name": name, "in": "path", "required": true, "description": description, "schema": schema,
    }))
}

fn query_parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name, "in": "query", "description": parameter.description,
        "schema": parsed(parameter.schema),
    })
}

/// Whether an error is about fields of a form, or about none.
fn is_about(error: &ApiError, form: &Form) -> bool {
    let ApiError::Fields(errors) = error else {
        return true;
    };
    errors
        .iter()
        .all(|(field, _)| form.rules.iter().any(|rule| rule.name == field))
}
