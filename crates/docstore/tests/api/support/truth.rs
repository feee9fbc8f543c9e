//! Whether answers are what the OpenAPI document says.
//!
//! Every answer to a [`crate::support::Transcript`] and to the driver of the module `openapi` goes through [`check`]:
//! its status, media type, headers and body must be documented for its operation. Objects may not have a key that is
//! not documented, so a forgotten one fails too.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    sync::{Arc, Mutex, OnceLock},
};

use http::{HeaderMap, Method, header};
use jsonschema::Validator;
use serde_json::{Value, json};

use super::terminal::words;

/// One operation of the document.
pub(crate) struct Operation {
    pub(crate) id: String,
    pub(crate) method: Method,
    pub(crate) template: String,
    pub(crate) value: Value,
}

impl Operation {
    /// The documented statuses with what is said about each.
    pub(crate) fn responses(&self) -> BTreeMap<u16, &Value> {
        let responses = self.value["responses"].as_object().unwrap();
        responses.iter().map(|(status, response)| (status.parse().unwrap(), response)).collect()
    }

    /// Whether it takes a parameter of this name in this place.
    pub(crate) fn has_parameter(&self, place: &str, name: &str) -> bool {
        let parameters = self.value["parameters"].as_array();
        parameters.is_some_and(|all| all.iter().any(|one| one["in"] == place && one["name"] == name))
    }
}

/// The document, taken apart.
pub(crate) struct Document {
    pub(crate) operations: Vec<Operation>,
    components: Value,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

/// The document of this build.
pub(crate) fn document() -> &'static Document {
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let mut document: Value = serde_json::from_str(docstore::openapi_json()).unwrap();
        let mut operations = Vec::new();
        for (template, item) in document["paths"].as_object().unwrap() {
            for (method, value) in item.as_object().unwrap() {
                operations.push(Operation {
                    id: value["operationId"].as_str().unwrap().to_owned(),
                    method: method.to_uppercase().parse().unwrap(),
                    template: template.clone(),
                    value: value.clone(),
                });
            }
        }
        let mut components = document["components"].take();
        let schemas = components["schemas"].as_object_mut().unwrap();
        let open: Vec<(String, Value)> =
            schemas.iter().map(|(name, schema)| (format!("{OPEN}{name}"), schema.clone())).collect();
        schemas.values_mut().for_each(forbid_other_keys);
        schemas.extend(open);
        Document { operations, components, validators: Mutex::default() }
    })
}

/// Before the names of schemas as they are in the document, for those that are only a part of another one.
const OPEN: &str = "Open";

/// Makes a schema refuse keys that it does not name.
fn forbid_other_keys(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    // Each part of a whole sees the keys of the others, so they are closed together.
    if let Some(parts) = object.get_mut("allOf").and_then(Value::as_array_mut) {
        for part in parts {
            if let Some(reference) = part["$ref"].as_str() {
                part["$ref"] = reference.replace("/schemas/", &format!("/schemas/{OPEN}")).into();
            }
        }
        object.insert("unevaluatedProperties".to_owned(), json!(false));
        return;
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(parts) = object.get_mut(key).and_then(Value::as_array_mut) {
            parts.iter_mut().for_each(forbid_other_keys);
        }
    }
    if object.contains_key("properties") {
        object.insert("unevaluatedProperties".to_owned(), json!(false));
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = object.get_mut(key) {
            forbid_other_keys(inner);
        }
    }
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(forbid_other_keys);
    }
}

impl Document {
    /// The operation that a request goes to.
    pub(crate) fn operation(&self, method: &Method, path: &str) -> Option<&Operation> {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
        let path = path.strip_suffix("/-/").unwrap_or(&path);
        self.operations
            .iter()
            .filter(|operation| operation.method == *method && matches(&operation.template, path))
            .max_by_key(|operation| literal_bytes(&operation.template))
    }

    /// The properties of a schema by name.
    pub(crate) fn properties(&self, name: &str) -> Vec<String> {
        let properties = self.components["schemas"][name]["properties"].as_object();
        properties.into_iter().flatten().map(|(key, _)| key.clone()).collect()
    }

    /// Whether a body is what a schema of the document says.
    pub(crate) fn validate(&self, schema: &Value, body: &Value) -> Result<(), String> {
        let key = schema.to_string();
        let known = self.validators.lock().unwrap().get(&key).cloned();
        let validator = known.unwrap_or_else(|| {
            let mut closed = schema.clone();
            forbid_other_keys(&mut closed);
            let whole = json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "components": self.components,
                "allOf": [closed],
            });
            let made = jsonschema::options().should_validate_formats(true).build(&whole);
            let made = Arc::new(made.unwrap_or_else(|error| panic!("a schema of the document is none: {error}")));
            self.validators.lock().unwrap().insert(key, made.clone());
            made
        });
        let errors: Vec<String> =
            validator.iter_errors(body).map(|error| format!("{} at '{}'", error, error.instance_path())).collect();
        if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
    }
}

/// Whether a decoded path fits a template. What stands for a repo, a branch or a file may hold slashes.
fn matches(template: &str, path: &str) -> bool {
    let Some((before, rest)) = template.split_once('{') else { return template == path };
    let Some(path) = path.strip_prefix(before) else { return false };
    let (name, template) = rest.split_once('}').unwrap();
    (1..=path.len()).filter(|end| path.is_char_boundary(*end)).any(|end| {
        let (value, path) = path.split_at(end);
        let fits = match name {
            "repo" => !value.contains("/-/") && !value.ends_with("/-"),
            "org" | "sequence" => !value.contains('/'),
            _ => true,
        };
        fits && matches(template, path)
    })
}

/// How much of a template is text: of two that fit, the one with more of it is meant.
fn literal_bytes(template: &str) -> usize {
    template.split('{').map(|part| part.split_once('}').map_or(part, |(_, text)| text).len()).sum()
}

/// Panics unless an answer is as documented. Requests that go to no operation must be told so.
#[track_caller]
pub(crate) fn check(method: &Method, path: &str, status: u16, headers: &HeaderMap, body: &[u8]) {
    let Some(operation) = document().operation(method, path) else {
        assert!(
            matches!(status, 400 | 404 | 405 | 307)
                || path == "/"
                || path.starts_with("/docs")
                || *method == Method::HEAD,
            "{method} {path} is answered with {status} and not in the document"
        );
        return;
    };
    if let Err(why) = judge(operation, status, headers, body) {
        panic!("{method} {path}: {} {status}: {why}\n{}", operation.id, String::from_utf8_lossy(body));
    }
}

/// Compares one answer with what is documented.
pub(crate) fn judge(operation: &Operation, status: u16, headers: &HeaderMap, body: &[u8]) -> Result<(), String> {
    let responses = operation.responses();
    let response = responses.get(&status).ok_or("the status is not documented")?;
    for told in ["etag", "allow", "location", "retry-after", "content-range", "accept-ranges"] {
        let documented =
            response["headers"].as_object().is_some_and(|all| all.keys().any(|name| name.eq_ignore_ascii_case(told)));
        if headers.contains_key(told) && !documented {
            return Err(format!("the header {told} is not documented"));
        }
    }
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap());
    let Some(content) = response["content"].as_object() else {
        return match content_type {
            None if body.is_empty() => Ok(()),
            other => Err(format!("a body of type {other:?} is not documented")),
        };
    };
    let content_type = content_type.ok_or("the content type is missing")?;
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let media = content
        .get(essence)
        .or_else(|| content.get("*/*"))
        .ok_or_else(|| format!("the content type {content_type} is not documented"))?;
    if essence == "application/json" && content.contains_key(essence) {
        let json: Value = serde_json::from_slice(body).map_err(|error| format!("the body is not JSON: {error}"))?;
        document().validate(&media["schema"], &json)?;
        if body.last() != Some(&b'\n') && operation.id != "openapi" {
            return Err("the body does not end in a line break".to_owned());
        }
        if status >= 400 && json["code"].as_str().is_none() {
            return Err("a refusal without a code".to_owned());
        }
        commands_can_be_typed(&json)?;
    }
    Ok(())
}

/// Whether `ds` understands every command that an answer tells people to type.
fn commands_can_be_typed(json: &Value) -> Result<(), String> {
    match json {
        Value::Array(all) => all.iter().try_for_each(commands_can_be_typed),
        Value::Object(all) => {
            for requirement in all.get("requirements").and_then(Value::as_array).into_iter().flatten() {
                for command in requirement["command"].as_str().unwrap_or_default().split(" && ") {
                    let words = words(command).into_iter().map(OsString::from);
                    if !command.is_empty() && (!command.starts_with("ds ") || ds::check_usage(words).is_err()) {
                        return Err(format!("it tells to type {command:?}, which ds does not understand"));
                    }
                }
            }
            all.values().try_for_each(commands_can_be_typed)
        }
        _ => Ok(()),
    }
}

#[test]
fn a_command_that_nobody_can_type_is_noticed() {
    let told = |command: &str| json!({"events": [{"requirements": [{"what": "x", "command": command}]}]});
    for command in ["ds ready topic", "ds checkout -- -x && ds rebase", "ds retry --branch=-x --check 'it'\\''s (1)'"] {
        assert_eq!(commands_can_be_typed(&told(command)), Ok(()), "{command}");
    }
    for command in ["ds ready --now", "rm -r x", "ds review --status approved -x"] {
        assert!(commands_can_be_typed(&told(command)).is_err(), "{command}");
    }
}

#[test]
fn paths_find_their_operations() {
    let id = |method: Method, path: &str| document().operation(&method, path).map(|found| found.id.as_str());
    for (method, path, expected) in [
        (Method::GET, "/repos/a/b", Some("get_repo")),
        (Method::GET, "/repos/a/b/-/", Some("get_repo")),
        (Method::GET, "/repos/a%2Fb/c/-/tree?x=y", Some("tree")),
        (Method::GET, "/repos/a/b/-/file/x/-/y/history", Some("file_history")),
        (Method::POST, "/repos/a/b/-/branch/x/y/auto-merge", Some("enable_auto_merge")),
        (Method::GET, "/repos/a/b/-/commit/7", Some("get_commit")),
        (Method::GET, "/orgs/a/repos", Some("list_org_repos")),
        (Method::GET, "/orgs/a/b", None),
        (Method::PUT, "/repos/a/b", None),
    ] {
        assert_eq!(id(method, path), expected, "{path}");
    }
}

#[test]
fn a_key_too_many_and_a_wrong_word_are_noticed() {
    let schema = json!({"$ref": "#/components/schemas/Branch"});
    let good = json!({"repo": "a/b", "name": "x", "head_sequence": 1, "base_sequence": 0, "status": "active",
        "draft": false, "auto_merge": false});
    assert_eq!(document().validate(&schema, &good), Ok(()));
    let with = |key: &str, value: Value| {
        let mut other = good.clone();
        other[key] = value;
        document().validate(&schema, &other)
    };
    assert!(with("more", json!(1)).is_err());
    assert!(with("status", json!("asleep")).is_err());
    assert!(with("head_sequence", json!("1")).is_err());
}
