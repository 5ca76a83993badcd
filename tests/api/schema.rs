//! The OpenAPI document: it names what is served and nothing else, its examples are of its own schemas, and the API
//! reference says the same as it does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::openapi::{Described, Schema};
use crate::support::TestServer;

fn schema_of(server: &TestServer) -> Schema {
    let answer = server.request("GET", "/api/schema/", &[], "");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    Schema::parse(&answer.body)
}

/// A path that matches a pattern with braces.
fn filled_in(path: &str) -> String {
    path.replace("{pk}", "1")
        .replace("{id}", "x")
        .replace("{delivery}", "x")
}

#[test]
fn documented_methods_are_served() {
    let server = TestServer::start();
    let schema = schema_of(&server);
    assert!(schema.path_names().count() > 15);
    for path in schema.path_names() {
        let answer = server.request("OPTIONS", &filled_in(path), &[], "");
        assert_eq!(answer.status, 200, "{path}");
        let served: BTreeSet<String> = answer
            .header("allow")
            .unwrap()
            .split(", ")
            .filter(|method| !["HEAD", "OPTIONS"].contains(method))
            .map(str::to_owned)
            .collect();
        let described: BTreeSet<String> = schema.methods(path).into_iter().collect();
        assert_eq!(served, described, "{path}");
    }
}

#[test]
fn documented_security_is_enforced() {
    let server = TestServer::start();
    let schema = schema_of(&server);
    for Described {
        method,
        path,
        operation,
    } in schema.operations()
    {
        let answer = server.request(&method, &filled_in(&path), &[], "");
        let refusal = "Authentication credentials were not provided.";
        let is_needed = operation["security"]
            .as_array()
            .unwrap()
            .iter()
            .any(|scheme| scheme.get("bearer").is_some())
            && operation["security"].as_array().unwrap().len() == 1;
        assert_eq!(
            answer.status == 401 && answer.body.contains(refusal),
            is_needed,
            "{method} {path}"
        );
    }
}

#[test]
fn server_url_is_public_and_dev_paths_need_dev() {
    let server = TestServer::start_with(|config| config.dev = false);
    let schema = schema_of(&server);
    let document = schema.document();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["servers"][0]["url"], "http://localhost:8000");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(schema.path_names().all(|path| !path.starts_with("/dev/")));
    let server = TestServer::start();
    assert!(
        schema_of(&server)
            .path_names()
            .any(|path| path == "/dev/mail/")
    );
}

/// All values below a key anywhere in a value.
fn below<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if name == key {
                    found.push(member);
                }
                below(member, key, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| below(item, key, found)),
        _ => {}
    }
}

#[test]
fn examples_match_their_schemas() {
    let server = TestServer::start();
    let schema = schema_of(&server);
    let mut contents = Vec::new();
    below(&schema.document()["paths"], "content", &mut contents);
    let mut count = 0;
    for content in contents {
        for media in content.as_object().unwrap().values() {
            let several = media["examples"].as_object().into_iter().flatten();
            let examples = several
                .map(|(_, example)| &example["value"])
                .chain(media.get("example"));
            for example in examples {
                if let Err(why) = schema.validate(&media["schema"], example) {
                    panic!("{example}: {why}");
                }
                count += 1;
            }
        }
    }
    assert!(count > 100, "{count} examples");
}

#[test]
fn references_resolve_and_components_are_used() {
    let server = TestServer::start();
    let schema = schema_of(&server);
    let mut references = Vec::new();
    below(schema.document(), "$ref", &mut references);
    let used: BTreeSet<&str> = references
        .iter()
        .map(|reference| {
            let reference = reference.as_str().unwrap();
            reference.strip_prefix("#/components/schemas/").unwrap()
        })
        .collect();
    let components = &schema.document()["components"]["schemas"];
    let known: BTreeSet<&str> = components
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(used, known);
}

/// A section of the reference about an endpoint, or about several that belong together.
struct Section {
    /// Method and path, as the document has them.
    names: Vec<String>,
    statuses: BTreeSet<u16>,
}

fn reference() -> Vec<Section> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/API.md");
    let text = fs::read_to_string(file).unwrap();
    let (_, endpoints) = text.split_once("\n## Endpoints\n").unwrap();
    endpoints.split("\n### ").skip(1).map(section).collect()
}

fn section(text: &str) -> Section {
    let (heading, body) = text.split_once('\n').unwrap();
    let (_, names) = heading.split_once(": ").unwrap();
    let names = names.replace('`', "").replace(" and ", ", ");
    let (methods, path) = names.rsplit_once(' ').unwrap();
    // Statuses are in backticks: alone, or at the beginning of a text such as an answer.
    let statuses = body.split('`').skip(1).step_by(2).filter_map(|code| {
        let status = code.split(' ').next()?;
        (status.len() == 3).then(|| status.parse().ok())?
    });
    Section {
        names: methods
            .split(", ")
            .map(|method| format!("{method} {}", full(path)))
            .collect(),
        statuses: statuses.collect(),
    }
}

/// The path of the document for one of the reference, which leaves out what most begin with.
fn full(path: &str) -> String {
    let path = path
        .replace("<pk>", "{pk}")
        .replace("<id>", "{id}")
        .replace("<provider>", "{id}")
        .replace("<delivery>", "{delivery}")
        .replace("<token>", "{id}")
        .replace("<name>", "{id}");
    if path.starts_with('/') {
        path
    } else {
        format!("/api/v1/accounts/{path}")
    }
}

/// What the reference says once for all endpoints of a kind, above those of single ones.
fn of_kind(name: &str, operation: &Value) -> BTreeSet<u16> {
    let mut statuses = BTreeSet::from([500, 503]);
    if !name.starts_with("GET ") {
        // A page of another origin.
        statuses.insert(403);
    }
    if operation.get("requestBody").is_some() {
        statuses.extend([400, 408, 413, 415]);
    }
    if operation["security"].to_string().contains("bearer") {
        statuses.insert(401);
    }
    statuses
}

fn statuses_of(operation: &Value) -> BTreeSet<u16> {
    let responses = operation["responses"].as_object().unwrap();
    responses
        .keys()
        .map(|status| status.parse().unwrap())
        .collect()
}

#[test]
fn api_reference_agrees_with_the_schema() {
    let server = TestServer::start();
    let mut operations: BTreeMap<String, Value> = schema_of(&server)
        .operations()
        .into_iter()
        .map(|described| {
            let name = format!("{} {}", described.method, described.path);
            (name, described.operation)
        })
        .collect();
    let mut differences = Vec::new();
    for Section { names, statuses } in reference() {
        let mut unknown = statuses.clone();
        for name in &names {
            let Some(operation) = operations.remove(name) else {
                differences.push(format!("{name} is in docs/API.md and not in the document"));
                continue;
            };
            for status in statuses_of(&operation) {
                if !unknown.remove(&status)
                    && !statuses.contains(&status)
                    && !of_kind(name, &operation).contains(&status)
                {
                    differences.push(format!("{name}: docs/API.md does not tell of {status}"));
                }
            }
        }
        for status in unknown {
            differences.push(format!("{names:?}: the document does not know {status}"));
        }
    }
    for name in operations.keys() {
        differences.push(format!("{name} has no section in docs/API.md"));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn request_bodies_are_described_with_their_limits() {
    let server = TestServer::start();
    let schema = schema_of(&server);
    let schemas = &schema.document()["components"]["schemas"];
    let seconds = &schemas["AdvanceClockRequest"]["properties"]["advance_seconds"];
    assert_eq!(
        (&seconds["minimum"], &seconds["maximum"]),
        (&json!(0), &json!(3_155_760_000_u64))
    );
    // JSON removes a birthday with null, a form with an empty text.
    let json = &schemas["UpdateUserRequest"]["properties"]["birthday"]["type"];
    assert_eq!(*json, json!(["string", "null"]));
    let form = &schemas["UpdateUserForm"]["properties"]["birthday"]["anyOf"];
    assert_eq!(
        *form,
        json!([{"type": "string", "format": "date"}, {"type": "string", "maxLength": 0}])
    );
}
