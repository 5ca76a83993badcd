//! `GET /api/schema/`: the OpenAPI 3.1 document, made from the table of routes.
//!
//! Whatever could drift from the program is taken from it: the fields of a body are those that the
//! operation reads, an answer has the type that the handler writes, and a refusal is the error
//! itself, turned into status, headers and body by the map in `error`. Only sentences and
//! examples are written by hand.
//!
//! ```text
//! writer      from operations to the document      fields    the schema of a request body
//! responses   answers and refusals by status       types     schemas of types from elsewhere
//! docs        the document as a page
//! ```

pub(crate) mod docs;
mod fields;
mod responses;
mod types;
mod writer;

use std::sync::OnceLock;

use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::operation::{Operation, Outcome, Tag};
use super::reply;
use super::route::{Exposure, Path};
use crate::app::SharedApp;
use types::AnyObject;
use warp::reply::Response;
use writer::Writer;

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
    description: "The OpenAPI 3.1 document of this server. With `--dev` it has the paths for \
                  development too.",
    answers: &[Outcome::json::<AnyObject>(
        200,
        "the document",
        r#"{"openapi": "3.1.0", "info": {"title": "accounts-server", "version": "0.1.0"}, "paths": {}}"#,
    )],
    ..Operation::NEW
};

/// `GET /api/schema/`: describes these paths.
pub(super) fn retrieve(app: &SharedApp, paths: &[Path]) -> Response {
    static PRODUCTION: OnceLock<Document> = OnceLock::new();
    static DEVELOPMENT: OnceLock<Document> = OnceLock::new();
    let document = if app.config.dev {
        &DEVELOPMENT
    } else {
        &PRODUCTION
    };
    let document = document.get_or_init(|| Document::new(paths, app.config.dev));
    let mut response = reply::json(StatusCode::OK, &document.at(&app.public_url));
    // It changes with the program only.
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// What is the same at every address.
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
    /// Describes every route that has documentation.
    fn new(all: &[Path], with_development: bool) -> Self {
        let mut writer = Writer::new();
        let mut paths = Map::new();
        for path in all {
            let is_shown = with_development || path.exposure() != Exposure::Development;
            if is_shown && let Some(item) = writer.path_item(path) {
                paths.insert(path.pattern().to_owned(), item);
            }
        }
        Self {
            tags: writer.tags(),
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

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

/// Parses JSON from the source.
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::router::{ROUTES, paths};

    fn operations() -> impl Iterator<Item = &'static Operation> {
        ROUTES.iter().filter_map(|route| route.docs)
    }

    #[test]
    fn every_documented_route_is_in_the_document() {
        let document = Document::new(paths(), true);
        for route in ROUTES {
            let Some(operation) = route.docs else {
                continue;
            };
            let method = route.method.as_str().to_ascii_lowercase();
            let id = &document.paths[route.path][method]["operationId"];
            assert_eq!(id, operation.id, "{}", route.path);
        }
    }

    #[test]
    fn every_operation_is_described() {
        for operation in operations() {
            assert!(!operation.id.is_empty());
            for text in [operation.summary, operation.description] {
                assert!(!text.is_empty(), "{}", operation.id);
            }
            assert!(!operation.answers.is_empty(), "{}", operation.id);
        }
        let ids: BTreeSet<&str> = operations().map(|operation| operation.id).collect();
        assert_eq!(ids.len(), operations().count(), "an id is used twice");
    }

    #[test]
    fn development_is_documented_in_development_only() {
        let document = Document::new(paths(), false);
        assert!(!document.paths.to_string().contains("/dev/"));
        assert!(!document.tags.to_string().contains(Tag::Development.name()));
    }
}
