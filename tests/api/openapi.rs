//! Checks answers against the OpenAPI document, with as much of JSON Schema as it uses. Every
//! answer in these tests is checked, so the document cannot differ from the server.

use serde_json::{Map, Value};

use crate::support::Answer;

/// An OpenAPI document.
pub struct Schema(Value);

/// One method of one path.
#[derive(Debug, Clone)]
pub struct Described {
    /// In upper case.
    pub method: String,
    /// With its parameters in braces.
    pub path: String,
    pub operation: Value,
}

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

impl Schema {
    pub fn parse(text: &str) -> Self {
        Self(serde_json::from_str(text).unwrap())
    }

    pub fn document(&self) -> &Value {
        &self.0
    }

    fn paths(&self) -> &Map<String, Value> {
        self.0["paths"].as_object().unwrap()
    }

    /// The paths that are described, with their parameters in braces.
    pub fn path_names(&self) -> impl Iterator<Item = &str> {
        self.paths().keys().map(String::as_str)
    }

    /// The methods that a path has, in upper case.
    pub fn methods(&self, path: &str) -> Vec<String> {
        let item = &self.paths()[path];
        METHODS
            .iter()
            .filter(|method| item.get(**method).is_some())
            .map(|method| method.to_ascii_uppercase())
            .collect()
    }

    /// All that can be done.
    pub fn operations(&self) -> Vec<Described> {
        self.path_names()
            .flat_map(|path| {
                self.methods(path).into_iter().map(|method| Described {
                    operation: self.paths()[path][method.to_ascii_lowercase()].clone(),
                    method,
                    path: path.to_owned(),
                })
            })
            .collect()
    }

    /// Whether the document has an answer like this.
    ///
    /// # Errors
    /// When it has not: why.
    pub fn check(&self, method: &str, path: &str, answer: &Answer) -> Result<(), String> {
        let path = path.split('?').next().unwrap_or_default();
        // Pages are for people and have no entry.
        if path == "/"
            || path == "/.well-known/change-password"
            || path.starts_with("/account/")
            || path.starts_with("/console/")
            // What OAuth clients ask is described by RFCs and by discovery.
            || path.starts_with("/o/")
        {
            return Ok(());
        }
        let Some(name) = self.path_names().find(|name| fits(name, path)) else {
            return (answer.status == 404)
                .then_some(())
                .ok_or("no such path".into());
        };
        let is_hidden = name.starts_with("/dev/") && answer.status == 404;
        if is_hidden {
            return Ok(());
        }
        let is_head = method == "HEAD";
        let method = if is_head { "GET" } else { method };
        let known = METHODS
            .iter()
            .find(|known| known.to_ascii_uppercase() == method);
        let Some(operation) = known.and_then(|known| self.paths()[name].get(*known)) else {
            // The description of the document says so of all paths; what is not a number, or not a token, comes first.
            let is_no_number = name.contains("{pk}") && answer.status == 404;
            return (is_no_number
                || matches!((method, answer.status), ("OPTIONS", 200) | (_, 401 | 405)))
            .then_some(())
            .ok_or("no such method".into());
        };
        let response = operation["responses"]
            .get(answer.status.to_string())
            .ok_or("no such status")?;
        for (header, described) in response["headers"].as_object().into_iter().flatten() {
            if described["required"] == true
                && !answer.headers.contains_key(&header.to_ascii_lowercase())
            {
                return Err(format!("{header} is missing"));
            }
        }
        if is_head {
            return Ok(());
        }
        let Some(content) = response["content"].as_object() else {
            return answer
                .body
                .is_empty()
                .then_some(())
                .ok_or("a body where there is none".into());
        };
        let media_type = answer.headers.get("content-type").map_or("", |value| {
            value.split(';').next().unwrap_or_default().trim()
        });
        let described = content
            .get(media_type)
            .ok_or_else(|| format!("no such content as {media_type:?}"))?;
        if media_type == "application/json" {
            let body = serde_json::from_str(&answer.body).map_err(|e| e.to_string())?;
            self.validate(&described["schema"], &body)
                .map_err(|why| format!("the body: {why}"))?;
        }
        Ok(())
    }

    /// Whether a value is of a schema. A property that the schema does not know is wrong, unless it allows any.
    ///
    /// # Errors
    /// When it is not: what is wrong and where.
    pub fn validate(&self, schema: &Value, value: &Value) -> Result<(), String> {
        if let Some(reference) = schema["$ref"].as_str() {
            let pointer = reference.strip_prefix('#').unwrap();
            let schema = self.0.pointer(pointer).ok_or(format!("no {reference}"))?;
            return self.validate(schema, value);
        }
        if let Some(choices) = schema["anyOf"].as_array() {
            // The keywords beside the choices hold for each of them.
            let mut shared = schema.as_object().cloned().unwrap_or_default();
            shared.remove("anyOf");
            let refusals: Vec<String> = choices
                .iter()
                .filter_map(|choice| {
                    let mut whole = shared.clone();
                    whole.extend(choice.as_object().cloned().unwrap_or_default());
                    self.validate(&whole.into(), value).err()
                })
                .collect();
            return (refusals.len() < choices.len())
                .then_some(())
                .ok_or(refusals.join(", "));
        }
        if let Some(known) = schema["enum"].as_array()
            && !known.contains(value)
        {
            return Err(format!("{value} is not one of {known:?}"));
        }
        if let Some(known) = schema.get("const")
            && known != value
        {
            return Err(format!("{value} is not {known}"));
        }
        let types = match &schema["type"] {
            Value::String(one) => vec![one.as_str()],
            Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if !types.is_empty() && !types.iter().any(|name| is_of_type(value, name)) {
            return Err(format!("{value} is not of the type {types:?}"));
        }
        match value {
            Value::Object(members) => self.validate_object(schema, members),
            Value::Array(items) => items
                .iter()
                .try_for_each(|item| self.validate(&schema["items"], item)),
            _ => Ok(()),
        }
    }

    fn validate_object(&self, schema: &Value, members: &Map<String, Value>) -> Result<(), String> {
        for name in schema["required"].as_array().into_iter().flatten() {
            let name = name.as_str().unwrap_or_default();
            if !members.contains_key(name) {
                return Err(format!("{name} is missing"));
            }
        }
        for (name, value) in members {
            match schema["properties"].get(name) {
                Some(property) => self
                    .validate(property, value)
                    .map_err(|why| format!("{name}: {why}"))?,
                None if schema["additionalProperties"] == true => {}
                None if schema["additionalProperties"].is_object() => {
                    self.validate(&schema["additionalProperties"], value)?;
                }
                None => return Err(format!("{name} is not described")),
            }
        }
        Ok(())
    }
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

/// Whether a path matches a pattern with braces.
fn fits(name: &str, path: &str) -> bool {
    let segments = |path: &str| -> Vec<String> {
        let path = path.strip_suffix('/').unwrap_or(path);
        path.split('/').map(str::to_owned).collect()
    };
    let (name, path) = (segments(name), segments(path));
    name.len() == path.len()
        && name.iter().zip(&path).all(|(known, segment)| {
            known == segment || (known.starts_with('{') && !segment.is_empty())
        })
}
