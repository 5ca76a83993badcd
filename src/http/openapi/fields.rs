//! The schema of a request body, from the fields that the operation reads.

use serde_json::{Map, Value, json};

use crate::accounts::forms::Form;
use crate::domain::{FieldKind, FieldRule, Gender, WebhookEventType, WebhookPayload};

/// The schema of a body: as JSON, or as a form that may contain a file.
pub(super) fn form_schema(form: &Form, with_files: bool) -> Value {
    let mut properties = Map::new();
    for rule in &form.rules {
        properties.insert(rule.name.to_owned(), field_schema(rule, with_files));
    }
    let mut required: Vec<&str> = form
        .rules
        .iter()
        .filter(|rule| rule.required)
        .map(|rule| rule.name)
        .collect();
    let mut schema = json!({ "type": "object", "properties": properties });
    let is_alternative = |rule: &FieldRule| rule.name == "token" && !rule.required;
    // The token of a link takes the place of the address and its code. Generators of clients make
    // models of `anyOf` that nobody can use, so the descriptions say which belong together.
    // So does the ticket of an identity.
    let has_ticket = form
        .rules
        .iter()
        .any(|rule| rule.name == "ephemeral_token" && !rule.required);
    required.retain(|name| !(has_ticket && ["code", "code_verifier"].contains(name)));
    let has_alternative = form.rules.iter().any(is_alternative);
    required.retain(|name| !(has_alternative && ["email", "otp"].contains(name)));
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
        // A form cannot express null: there an empty text removes the date.
        FieldKind::Birthday if with_files => json!({ "anyOf": [
            { "type": "string", "format": "date" },
            { "type": "string", "maxLength": 0 },
        ] }),
        FieldKind::Birthday => json!({ "type": ["string", "null"], "format": "date" }),
        FieldKind::Bool => json!({ "type": "boolean" }),
        FieldKind::Whole => json!({ "type": "integer", "minimum": 0 }),
        FieldKind::File if with_files => json!({ "type": "string", "format": "binary" }),
        FieldKind::File => json!({ "type": "null" }),
        FieldKind::Url => json!({ "type": "string", "format": "uri", "minLength": 1 }),
        FieldKind::Events => json!({
            "type": "array",
            "items": { "type": "string", "pattern": event_pattern() },
            "minItems": 1,
        }),
        FieldKind::Payload => {
            json!({ "type": "string", "enum": WebhookPayload::ALL.map(WebhookPayload::as_str) })
        }
        FieldKind::Moment => json!({ "type": "string", "format": "date-time" }),
        // A form carries it as text.
        FieldKind::Object if with_files => json!({ "type": "string", "format": "json" }),
        FieldKind::Object => json!({ "type": "object", "additionalProperties": true }),
        FieldKind::Other => json!({}),
    };
    if let Some(max) = rule.max {
        let limit = match rule.kind {
            FieldKind::Whole => "maximum",
            _ => "maxLength",
        };
        schema[limit] = json!(max);
    }
    if let Some(description) = field_description(rule, with_files) {
        schema["description"] = json!(description);
    }
    schema
}

/// The regular expression of an entry in a list of types of events.
fn event_pattern() -> String {
    let names = WebhookEventType::ALL.iter().map(|event| event.as_str());
    let mut groups: Vec<&str> = names
        .clone()
        .filter_map(|name| Some(name.split_once('.')?.0))
        .collect();
    groups.dedup();
    let groups = groups.iter().map(|group| format!("{group}\\.\\*"));
    let names = names.map(|name| name.replace('.', "\\."));
    let entries: Vec<String> = ["\\*".to_owned()]
        .into_iter()
        .chain(groups)
        .chain(names)
        .collect();
    format!("^({})$", entries.join("|"))
}

fn field_description(rule: &FieldRule, with_files: bool) -> Option<&'static str> {
    Some(match (rule.name, rule.kind) {
        ("otp", _) => "Six digits, as text.",
        ("credential", _) => {
            "The answer of the browser, as `toJSON()` of a `PublicKeyCredential` gives it."
        }
        ("session_id", _) => "That of `passkeys/login/begin/`.",
        ("code", _) if rule.max == Some(128) => {
            "A code of the authenticator app, or a recovery code."
        }
        ("password", FieldKind::Secret) if rule.max.is_some() => {
            "A new password. Django's four rules apply: not similar to address or name, long \
             enough, not common, not digits alone."
        }
        ("confirm_password", _) => "The same as `password`.",
        ("is_active" | "is_staff", _) => "For staff; ignored from everybody else.",
        (_, FieldKind::Url) => {
            "An https URL without user name and fragment. Its host has to have public addresses."
        }
        (_, FieldKind::Events) => {
            "Types of events, all of a group such as `user.*`, or `*` for everything."
        }
        (_, FieldKind::Payload) => {
            "`full` for the account as it was at that moment, `thin` for ids alone."
        }
        (_, FieldKind::Moment) => "RFC 3339; without an offset it is UTC.",
        (_, FieldKind::Phone) => {
            "A telephone number in E.164 form with its `+`; spaces, dots, dashes and brackets are \
             dropped. Empty for none."
        }
        (_, FieldKind::Country) => "ISO 3166-1 alpha-2 in upper case, or empty.",
        (_, FieldKind::Birthday) if with_files => "Not in the future; empty for none.",
        (_, FieldKind::Birthday) => "Not in the future; `null` for none.",
        (_, FieldKind::File) if with_files => {
            "JPEG, PNG, WebP or GIF. It is decoded and re-encoded without metadata."
        }
        (_, FieldKind::File) => {
            "`null` removes the photo. A new one is sent as a file in `multipart/form-data`."
        }
        _ => return None,
    })
}

/// The schema of errors about the fields of a form, and about the form as a whole.
pub(super) fn errors_schema(form: &Form) -> Value {
    let properties: Map<String, Value> = form
        .rules
        .iter()
        .map(|rule| rule.name)
        .chain(["non_field_errors"])
        .map(|name| (name.to_owned(), messages_schema()))
        .collect();
    json!({
        "type": "object",
        "description": "Every wrong field with all its errors.",
        "properties": properties,
        "additionalProperties": false,
    })
}

pub(super) fn messages_schema() -> Value {
    json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 })
}
