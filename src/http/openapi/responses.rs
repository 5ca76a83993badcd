//! The answers and refusals of an operation, by their status.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Map, Value, json};

use super::{reference, upper_first};
use crate::http::error::ApiError;
use crate::http::operation::Refusal;
use crate::http::reply::JSON;
use crate::http::route::{Auth, Exposure, Route};

/// The refusals that a route shares with all routes of its kind.
pub(super) fn general_refusals(route: &Route) -> impl Iterator<Item = &'static Refusal> {
    let has_body = route.docs.is_some_and(|docs| docs.body.is_some());
    [
        (route.auth == Auth::Bearer, TOKEN_REFUSALS),
        (route.path.contains("{pk}"), OBJECT_REFUSALS),
        (has_body, BODY_REFUSALS),
        (
            route.exposure == Exposure::Public && route.method != Method::GET,
            CROSS_SITE_REFUSALS,
        ),
        (
            route.exposure == Exposure::Development,
            DEVELOPMENT_REFUSALS,
        ),
        (true, ALL_REFUSALS),
    ]
    .into_iter()
    .filter_map(|(holds, refusals)| holds.then_some(refusals))
    .flatten()
}

const TOKEN_REFUSALS: &[Refusal] = &[
    Refusal {
        when: "no `Authorization: Bearer` header",
        error: || ApiError::NotAuthenticated,
    },
    Refusal {
        when: "the token is not an access token, is expired, or belongs to an ended session or account",
        error: || ApiError::BadToken,
    },
];

const OBJECT_REFUSALS: &[Refusal] = &[
    Refusal {
        when: "somebody else's id, existing or not, without staff rights",
        error: || ApiError::Forbidden,
    },
    Refusal {
        when: "staff names an id that does not exist",
        error: || ApiError::UserNotFound,
    },
    Refusal {
        when: "neither an integer nor `me`",
        error: || ApiError::NotFound,
    },
];

const BODY_REFUSALS: &[Refusal] = &[
    Refusal {
        when: "the body is not JSON",
        error: || {
            ApiError::BadRequest(
                "JSON parse error - EOF while parsing an object at line 1 column 1".into(),
            )
        },
    },
    Refusal {
        when: "the body is JSON, but not an object",
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

const CROSS_SITE_REFUSALS: &[Refusal] = &[Refusal {
    when: "a page of an origin that is not configured",
    error: || ApiError::Forbidden,
}];

const DEVELOPMENT_REFUSALS: &[Refusal] = &[Refusal {
    when: "no `--dev`, a client on another machine, or a proxy in between",
    error: || ApiError::NotFound,
}];

const ALL_REFUSALS: &[Refusal] = &[
    Refusal {
        when: "an internal error",
        error: || ApiError::internal("an example"),
    },
    Refusal {
        when: "the server is overloaded; retry after `Retry-After` seconds",
        error: || ApiError::Overloaded(String::new()),
    },
];

/// The answers of an operation by their status.
#[derive(Default)]
pub(super) struct Responses(BTreeMap<u16, Response>);

/// The answers of one status.
#[derive(Default)]
pub(super) struct Response {
    when: Vec<String>,
    headers: Map<String, Value>,
    content: Map<String, Value>,
}

impl Responses {
    pub(super) fn of(&mut self, status: u16) -> &mut Response {
        self.0.entry(status).or_default()
    }

    /// Adds an error. `errors` is the schema of field errors.
    pub(super) fn refuse(&mut self, error: ApiError, when: &str, errors: &str, is_page: bool) {
        let header = error.header();
        let (status, body) = (error.status(), error.body("9f86d081884c7d65"));
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
        if is_page {
            response.add("text/html", json!({ "type": "string" }), None);
            return;
        }
        let schema = if body.get("mfa_required").is_some() {
            "SecondFactorRequired"
        } else if body.get("ephemeral_token").is_some_and(Value::is_string) {
            "IdentityRefused"
        } else if body.get("methods").is_some() {
            "ReauthenticationRequired"
        } else if body.get("detail").is_some() {
            "Error"
        } else if body.get("error").is_some() {
            "UserNotFound"
        } else {
            errors
        };
        response.add(JSON, reference(schema), Some((when, body)));
    }

    pub(super) fn into_value(self) -> Value {
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
    pub(super) fn when(&mut self, when: &str) {
        self.when.push(when.to_owned());
    }

    fn description(&self) -> String {
        upper_first(&self.when.join("; "))
    }

    /// Adds a media type, or a choice to the schema of one.
    pub(super) fn add(&mut self, media_type: &str, schema: Value, example: Option<(&str, Value)>) {
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
                .expect("the lines above make it an array");
            if !choices.contains(&schema) {
                choices.push(schema);
            }
        }
        if let Some((when, value)) = example {
            content["examples"][example_name(when)] = json!({ "summary": when, "value": value });
        }
    }
}

/// The key of an example: its words with dashes.
fn example_name(when: &str) -> String {
    when.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .take(6)
        .collect::<Vec<_>>()
        .join("-")
        .to_ascii_lowercase()
}
