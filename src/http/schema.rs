//! `GET /api/schema/`: the OpenAPI 3.1 document, made from the table of resources.
//!
//! Where it could say something else than the program does, it asks the program: the fields of a body are those that the
//! operation reads, an answer has the type that the handler writes, and a refusal is the error itself, turned into status,
//! headers and body by the one map that there is. Only sentences and examples are written by hand.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderValue};
use http::{Method, StatusCode};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::operation::{Content, Operation, Outcome, Parameter, Refusal, Tag, Token};
use super::reply::JSON;
use super::request::Request;
use super::{Access, HandlerResult, RESOURCES, Resource, dev, reply};
use crate::accounts::forms::Form;
use crate::app::SharedApp;
use crate::domain::{BirthDate, FieldKind, FieldRule, Gender, Timestamp};

const DESCRIPTION: &str = "\
User accounts: sign-up with confirmation by mail, sign-in, profiles, administration.

- Every path works with and without its trailing slash. `HEAD` works wherever `GET` does; `OPTIONS` works everywhere and \
needs no token.
- Bodies are JSON here; `application/x-www-form-urlencoded` and `multipart/form-data` are taken everywhere too. An empty \
body is `{}`. Unknown and read-only fields are ignored. Texts are trimmed, passwords are not; a number is taken as text.
- An unset text is `\"\"`, an unset `photo` or `birthday` is `null`. Timestamps are RFC 3339 in UTC with whole seconds.
- Another method of a known path is answered `405 {\"detail\": \"Method \\\"PUT\\\" not allowed.\"}` with `Allow`, an unknown \
path `404 {\"detail\": \"Not found.\"}`.
- Checks come in this order: path (404), token (401), method (405), right (403), object (404), body (413, 415, 400), limits \
(429).
- Every answer has `X-Request-Id`, which is also in the log of the server.";

/// `GET /api/schema/`
pub(super) const RETRIEVE: Operation = Operation {
    id: "retrieveSchema",
    tag: Tag::Service,
    summary: "This document",
    description: "The OpenAPI 3.1 document of this server. With `--dev` it has the paths for development too.",
    answers: &[Outcome::json::<AnyObject>(
        200,
        "the document",
        r#"{"openapi": "3.1.0", "info": {"title": "accounts-server", "version": "0.1.0"}, "paths": {}}"#,
    )],
    ..Operation::NEW
};

/// `GET /api/schema/`
pub(super) async fn retrieve(app: &SharedApp, _: &mut Request) -> HandlerResult {
    let document: &Document = if app.config.dev {
        &WITH_DEVELOPMENT
    } else {
        &ORDINARY
    };
    let mut response = reply::json(StatusCode::OK, &document.at(&app.public_url));
    // It changes with the program only.
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

static ORDINARY: LazyLock<Document> = LazyLock::new(|| Document::new(false));
static WITH_DEVELOPMENT: LazyLock<Document> = LazyLock::new(|| Document::new(true));

/// Everything in the document that is the same at every address.
struct Document {
    tags: Value,
    paths: Value,
    components: Value,
}

/// The document as it is sent.
#[derive(Serialize)]
struct ServedDocument<'a> {
    openapi: &'static str,
    info: Value,
    servers: Value,
    tags: &'a Value,
    paths: &'a Value,
    components: &'a Value,
}

impl Document {
    fn new(with_development: bool) -> Self {
        let is_shown =
            |resource: &&Resource| with_development || !dev::is_development(resource.path);
        let mut writer = Writer::new();
        let mut paths = Map::new();
        for resource in RESOURCES.iter().filter(is_shown) {
            paths.insert(path(resource), writer.path_item(resource));
        }
        let tags = Tag::ALL
            .iter()
            .filter(|tag| with_development || **tag != Tag::Development)
            .map(|tag| json!({ "name": tag.name(), "description": tag.description() }))
            .collect();
        Self {
            tags,
            paths: paths.into(),
            components: writer.components(),
        }
    }

    fn at(&self, public_url: &str) -> ServedDocument<'_> {
        ServedDocument {
            openapi: "3.1.0",
            info: json!({
                "title": "accounts-server",
                "version": env!("CARGO_PKG_VERSION"),
                "summary": "User accounts in one binary",
                "description": DESCRIPTION,
                "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
            }),
            servers: json!([{ "url": public_url }]),
            tags: &self.tags,
            paths: &self.paths,
            components: &self.components,
        }
    }
}

/// A path in the form of OpenAPI; below `/api/` and `/dev/` with the slash at its end that the documents show.
fn path(resource: &Resource) -> String {
    let end = match resource.path.first() {
        Some(&("api" | "dev")) => "/",
        _ => "",
    };
    format!("/{}{end}", resource.path.join("/"))
}

/// Writes operations, and collects the schemas that they share.
struct Writer {
    generator: SchemaGenerator,
    schemas: Map<String, Value>,
}

impl Writer {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12()
            .with(|settings| {
                settings.meta_schema = None;
                settings.definitions_path = "/components/schemas".into();
            })
            .for_serialize();
        let errors = json!({
            "Error": {
                "type": "object",
                "description": "What is in the way, as a sentence, and for some a code for programs.",
                "properties": {
                    "detail": { "type": "string" },
                    "code": { "type": "string" },
                    "request_id": { "type": "string", "description": "Leads to the cause in the log of the server." },
                },
                "required": ["detail"],
            },
            "FieldErrors": {
                "type": "object",
                "description": "Field names, each with all that is wrong with it.",
                "additionalProperties": messages_schema(),
            },
            "UserNotFound": {
                "type": "object",
                "properties": { "error": { "type": "string" } },
                "required": ["error"],
            },
        });
        Self {
            generator: settings.into_generator(),
            schemas: errors.as_object().cloned().unwrap_or_default(),
        }
    }

    fn components(mut self) -> Value {
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

    fn path_item(&mut self, resource: &Resource) -> Value {
        let mut item = Map::new();
        let parameters: Vec<Value> = resource
            .path
            .iter()
            .filter_map(|segment| path_parameter(segment))
            .collect();
        if !parameters.is_empty() {
            item.insert("parameters".into(), parameters.into());
        }
        for (method, _, operation) in resource.methods {
            item.insert(
                method.as_str().to_ascii_lowercase(),
                self.operation(resource, method, operation),
            );
        }
        item.into()
    }

    fn operation(&mut self, resource: &Resource, method: &Method, operation: &Operation) -> Value {
        let token = match resource.access {
            Access::Token => Token::Needed,
            Access::Open => operation.token,
        };
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
            // Staff needs no body to delete an account, so there what is required is required of some only.
            let is_for_all = *method != Method::DELETE;
            let mut schema = form_schema(form, false);
            if !is_for_all && let Some(schema) = schema.as_object_mut() {
                schema.remove("required");
            }
            let name = format!("{}Request", upper_first(operation.id));
            self.schemas.insert(name.clone(), schema);
            let mut content = json!({
                JSON: { "schema": reference(&name), "example": parsed(body.example) },
            });
            if form.rules.iter().any(|rule| rule.kind == FieldKind::File) {
                let name = format!("{}Form", upper_first(operation.id));
                self.schemas.insert(name.clone(), form_schema(form, true));
                content["multipart/form-data"] = json!({ "schema": reference(&name) });
            }
            let is_required = is_for_all && form.rules.iter().any(|rule| rule.required);
            written["requestBody"] = json!({ "required": is_required, "content": content });
        }
        written["responses"] = self.responses(resource, operation, token, form.as_ref());
        written["security"] = match token {
            Token::Ignored => json!([]),
            Token::Welcome => json!([{}, { "bearer": [] }]),
            Token::Needed => json!([{ "bearer": [] }]),
        };
        written
    }

    fn responses(
        &mut self,
        resource: &Resource,
        operation: &Operation,
        token: Token,
        form: Option<&Form>,
    ) -> Value {
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
        if let Some(form) = form {
            self.schemas
                .insert(errors_name.clone(), errors_schema(form));
            if !form.complaints.is_empty() {
                let error = ApiError::Fields(form.complaints.clone());
                responses.refuse(error, "fields are absent", &errors_name);
            }
        }
        let of_kind = [
            (token == Token::Needed, TOKEN_REFUSALS),
            (resource.path.contains(&"{pk}"), OBJECT_REFUSALS),
            (form.is_some(), BODY_REFUSALS),
            (dev::is_development(resource.path), DEVELOPMENT_REFUSALS),
        ];
        let of_kind = of_kind
            .into_iter()
            .filter_map(|(holds, refusals)| holds.then_some(refusals));
        for refusal in [operation.refusals]
            .into_iter()
            .chain(of_kind)
            .chain([ALL_REFUSALS])
            .flatten()
        {
            responses.refuse((refusal.error)(), refusal.when, &errors_name);
        }
        responses.into_value()
    }
}

const TOKEN_REFUSALS: &[Refusal] = &[
    Refusal {
        when: "no `Authorization: Bearer` header",
        error: || ApiError::NotAuthenticated,
    },
    Refusal {
        when: "the token is no access token, expired, or of an ended session or account",
        error: || ApiError::BadToken,
    },
];

const OBJECT_REFUSALS: &[Refusal] = &[
    Refusal {
        when: "somebody else's number, existing or not, without staff rights",
        error: || ApiError::Forbidden,
    },
    Refusal {
        when: "staff names a number that does not exist",
        error: || ApiError::UserNotFound,
    },
    Refusal {
        when: "neither a number nor `me`",
        error: || ApiError::NotFound,
    },
];

const BODY_REFUSALS: &[Refusal] = &[
    Refusal {
        when: "the body is no JSON",
        error: || {
            ApiError::BadRequest(
                "JSON parse error - EOF while parsing an object at line 1 column 1".into(),
            )
        },
    },
    Refusal {
        when: "the body is JSON, but no object",
        error: || ApiError::NonField("Invalid data. Expected a dictionary, but got list.".into()),
    },
    Refusal {
        when: "the body did not arrive in time",
        error: || ApiError::Timeout,
    },
    Refusal {
        when: "the body is too large",
        error: || ApiError::TooLarge,
    },
    Refusal {
        when: "the body has another media type",
        error: || ApiError::UnsupportedMediaType("text/plain".into()),
    },
];

const DEVELOPMENT_REFUSALS: &[Refusal] = &[Refusal {
    when: "no `--dev`, a client on another machine, or a proxy in between",
    error: || ApiError::NotFound,
}];

const ALL_REFUSALS: &[Refusal] = &[
    Refusal {
        when: "a fault of the server",
        error: || ApiError::internal("an example"),
    },
    Refusal {
        when: "too much to do; try again after `Retry-After` seconds",
        error: || ApiError::Overloaded(String::new()),
    },
];

/// A refusal by a limit, for operations that have one.
pub(super) const THROTTLED: Refusal = Refusal {
    when: "too many requests of this kind; try again after `Retry-After` seconds",
    error: || ApiError::Throttled(Duration::from_secs(42)),
};

/// The answers of an operation by their status.
#[derive(Default)]
struct Responses(BTreeMap<u16, Response>);

#[derive(Default)]
struct Response {
    when: Vec<String>,
    headers: Map<String, Value>,
    content: Map<String, Value>,
}

impl Responses {
    fn of(&mut self, status: u16) -> &mut Response {
        self.0.entry(status).or_default()
    }

    /// Adds what an error comes to. `errors` is the schema of complaints about fields.
    fn refuse(&mut self, error: ApiError, when: &str, errors: &str) {
        let header = error.header();
        let (status, body) = error.status_and_body("9f86d081884c7d65");
        let response = self.of(status.as_u16());
        response.when(when);
        if let Some((name, value)) = header {
            let is_number = value
                .to_str()
                .is_ok_and(|value| value.parse::<u64>().is_ok());
            let schema = if is_number {
                json!({ "type": "integer", "minimum": 1, "description": "Seconds." })
            } else {
                json!({ "type": "string" })
            };
            let name = match name.as_str() {
                "www-authenticate" => "WWW-Authenticate".to_owned(),
                "retry-after" => "Retry-After".to_owned(),
                other => other.to_owned(),
            };
            response
                .headers
                .insert(name, json!({ "required": true, "schema": schema }));
        }
        let schema = if body.get("detail").is_some() {
            "Error"
        } else if body.get("error").is_some() {
            "UserNotFound"
        } else {
            errors
        };
        response.add(JSON, reference(schema), Some((when, body)));
    }

    fn into_value(self) -> Value {
        let responses: Map<String, Value> = self
            .0
            .into_iter()
            .map(|(status, response)| {
                let mut written = json!({ "description": response.description() });
                if !response.headers.is_empty() {
                    written["headers"] = response.headers.into();
                }
                if !response.content.is_empty() {
                    written["content"] = response.content.into();
                }
                (status.to_string(), written)
            })
            .collect();
        responses.into()
    }
}

impl Response {
    fn when(&mut self, when: &str) {
        self.when.push(when.to_owned());
    }

    fn description(&self) -> String {
        upper_first(&self.when.join("; "))
    }

    /// Adds a kind of content beside those that there are.
    fn add(&mut self, media_type: &str, schema: Value, example: Option<(&str, Value)>) {
        let content = self
            .content
            .entry(media_type)
            .or_insert_with(|| json!({ "schema": schema }));
        if content["schema"] != schema {
            if content["schema"].get("anyOf").is_none() {
                content["schema"] = json!({ "anyOf": [content["schema"]] });
            }
            let choices = content["schema"]["anyOf"]
                .as_array_mut()
                .expect("the lines above see to it");
            if !choices.contains(&schema) {
                choices.push(schema);
            }
        }
        if let Some((when, value)) = example {
            content["examples"][example_name(when)] = json!({ "summary": when, "value": value });
        }
    }
}

/// A sentence as the key of an example: its words with dashes.
fn example_name(when: &str) -> String {
    when.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .take(6)
        .collect::<Vec<_>>()
        .join("-")
        .to_ascii_lowercase()
}

fn path_parameter(segment: &str) -> Option<Value> {
    let (name, description, schema) = match segment {
        "{pk}" => (
            "pk",
            "The number of an account, or `me` for one's own.",
            json!({ "anyOf": [
                { "type": "integer", "format": "int64" },
                { "type": "string", "const": "me" },
            ] }),
        ),
        "{id}" => (
            "id",
            "The name of the object.",
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

/// The object that a form is read from: as JSON, or as a form that may have a file in it.
fn form_schema(form: &Form, with_files: bool) -> Value {
    let mut properties = Map::new();
    for rule in &form.rules {
        properties.insert(rule.name.to_owned(), field_schema(rule, with_files));
    }
    let required: Vec<&str> = form
        .rules
        .iter()
        .filter(|rule| rule.required)
        .map(|rule| rule.name)
        .collect();
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn field_schema(rule: &FieldRule, with_files: bool) -> Value {
    let mut schema = match rule.kind {
        FieldKind::Email => json!({ "type": "string", "format": "email" }),
        FieldKind::Secret => json!({ "type": "string", "format": "password", "minLength": 1 }),
        FieldKind::Login | FieldKind::Text if rule.required => {
            json!({ "type": "string", "minLength": 1 })
        }
        FieldKind::Login | FieldKind::Text | FieldKind::Phone | FieldKind::Country => {
            json!({ "type": "string" })
        }
        FieldKind::Gender => {
            let mut choices: Vec<&str> = Gender::ALL.iter().map(|gender| gender.as_str()).collect();
            choices.push("");
            json!({ "type": "string", "enum": choices })
        }
        FieldKind::Birthday => json!({ "type": ["string", "null"], "format": "date" }),
        FieldKind::Bool => json!({ "type": "boolean" }),
        FieldKind::Whole => json!({ "type": "integer", "minimum": 0 }),
        FieldKind::File if with_files => json!({ "type": "string", "format": "binary" }),
        FieldKind::File => json!({ "type": "null" }),
        FieldKind::Other => json!({}),
    };
    if let Some(max) = rule.max {
        schema["maxLength"] = json!(max);
    }
    if let Some(description) = field_description(rule, with_files) {
        schema["description"] = json!(description);
    }
    schema
}

fn field_description(rule: &FieldRule, with_files: bool) -> Option<&'static str> {
    Some(match (rule.name, rule.kind) {
        ("otp", _) => "Six digits, as text.",
        ("password", FieldKind::Secret) if rule.max.is_some() => {
            "A new password; it has to pass Django's four rules: not similar to address or name, long enough, not common, \
             not digits alone."
        }
        ("confirm_password", _) => "The same as `password`.",
        ("is_active" | "is_staff", _) => "For staff; ignored from everybody else.",
        (_, FieldKind::Phone) => {
            "A telephone number in the form of E.164 with its `+`; spaces, dots, dashes and brackets are dropped. Empty for \
             none."
        }
        (_, FieldKind::Country) => "ISO 3166-1 alpha-2 in upper case, or empty.",
        (_, FieldKind::Birthday) => "Not in the future; `null` for none.",
        (_, FieldKind::File) if with_files => {
            "JPEG, PNG, WebP or GIF. It is decoded, and stored anew without metadata."
        }
        (_, FieldKind::File) => {
            "`null` removes the photo. A new one is sent as a file in `multipart/form-data`."
        }
        _ => return None,
    })
}

/// Complaints about the fields of a form, and about the form as a whole.
fn errors_schema(form: &Form) -> Value {
    let properties: Map<String, Value> = form
        .rules
        .iter()
        .map(|rule| rule.name)
        .chain(["non_field_errors"])
        .map(|name| (name.to_owned(), messages_schema()))
        .collect();
    json!({
        "type": "object",
        "description": "Every wrong field with all that is wrong with it.",
        "properties": properties,
        "additionalProperties": false,
    })
}

fn messages_schema() -> Value {
    json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 })
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

/// JSON that stands in the source.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e} in {text}"))
}

fn upper_first(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}

/// A JSON object of any kind.
pub(super) struct AnyObject;

impl JsonSchema for AnyObject {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "AnyObject".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "object", "additionalProperties": true })
    }
}

impl JsonSchema for Timestamp {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

impl JsonSchema for BirthDate {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "BirthDate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "format": "date" })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_resource_and_method_is_in_the_document() {
        let document = Document::new(true);
        let paths = document.paths.as_object().unwrap();
        assert_eq!(paths.len(), RESOURCES.len());
        for resource in RESOURCES {
            let item = &paths[&path(resource)];
            for (method, _, operation) in resource.methods {
                let written = &item[method.as_str().to_ascii_lowercase()];
                assert_eq!(written["operationId"], operation.id, "{}", resource.name);
            }
        }
    }

    #[test]
    fn every_operation_says_what_it_is() {
        let operations = || {
            RESOURCES
                .iter()
                .flat_map(|resource| resource.methods)
                .map(|(_, _, operation)| operation)
        };
        for operation in operations() {
            assert!(!operation.id.is_empty());
            for text in [operation.summary, operation.description] {
                assert!(!text.is_empty(), "{}", operation.id);
            }
            assert!(!operation.answers.is_empty(), "{}", operation.id);
        }
        let ids: BTreeSet<&str> = operations().map(|operation| operation.id).collect();
        assert_eq!(ids.len(), operations().count(), "an id stands twice");
    }

    #[test]
    fn what_is_for_development_is_in_no_other_document() {
        let document = Document::new(false);
        let text = document.paths.to_string();
        assert!(!text.contains("/dev/") && !text.contains(Tag::Development.name()));
    }
}
