//! The part of `/openapi.json` that a walk over its operations needs.

use reqwest::Method;
use serde_json::Value;

use super::rules::{Access, HARMLESS, IDS, MADE_UP, Noun, RULES, noun_of};

/// Maximum depth of members examined in a body.
const DEPTH_MAX: usize = 6;

/// An operation and its rule.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) method: Method,
    /// The path, with parameters in braces.
    pub(super) path: String,
    pub(super) access: Access,
    /// A valid body, if it takes one.
    pub(super) body: Option<Value>,
    /// Parameters of the path in order, with the kind of object.
    pub(super) in_path: Vec<(String, Noun)>,
    /// Query parameters with ids.
    pub(super) in_query: Vec<(String, Noun)>,
    /// Pointers to the body's members with ids.
    pub(super) in_body: Vec<(String, Noun)>,
    /// Whether it is a list with pages.
    pub(super) has_cursor: bool,
}

impl Operation {
    /// Method and path, for messages.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// Every operation of the document.
///
/// # Panics
/// If an operation has no rule, or a parameter looks like an id and has no rule.
pub(super) fn operations(document: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            operations.push(read(document, path, method, operation));
        }
    }
    operations
}

fn read(document: &Value, path: &str, method: &str, operation: &Value) -> Operation {
    let rule = RULES.iter().find(|(m, p, ..)| (*m, *p) == (method, path));
    let (_, _, access, body) =
        rule.unwrap_or_else(|| panic!("{method} {path} has no rule: say in RULES who may call it"));
    let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
    let named = |place: &str| {
        let there = parameters.iter().filter(move |parameter| parameter["in"] == place);
        there.map(|parameter| parameter["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    let mut in_query = Vec::new();
    for name in named("query") {
        match IDS.iter().find(|(id, _)| *id == name) {
            Some((_, noun)) => in_query.push((name, *noun)),
            None => assert!(
                HARMLESS.contains(&name.as_str()) || name.starts_with("attributes"),
                "{method} {path}: add ?{name}= to IDS or to HARMLESS"
            ),
        }
    }
    let mut in_path: Vec<_> = named("path").into_iter().map(|name| (noun_of(path, &name), name)).collect();
    in_path.sort_by_key(|(_, name)| path.find(&format!("{{{name}}}")));
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let mut in_body = Vec::new();
    ids_in(document, schema, "", DEPTH_MAX, &mut in_body);
    assert!(schema.is_null() || !body.is_empty(), "{method} {path} takes a body: put one into its rule");
    Operation {
        method: method.to_uppercase().parse().expect("a method"),
        path: path.to_owned(),
        access: *access,
        body: (!body.is_empty()).then(|| serde_json::from_str(body).expect("JSON")),
        in_path: in_path.into_iter().map(|(noun, name)| (name, noun)).collect(),
        has_cursor: named("query").iter().any(|name| name == "cursor"),
        in_query,
        in_body,
    }
}

/// Pointers to all members of a schema with ids.
fn ids_in(document: &Value, schema: &Value, at: &str, depth: usize, found: &mut Vec<(String, Noun)>) {
    if depth == 0 {
        return;
    }
    let mut deeper = |schema: &Value, at: &str| ids_in(document, schema, at, depth - 1, found);
    if let Some(reference) = schema["$ref"].as_str() {
        return deeper(document.pointer(&reference[1..]).expect("a schema"), at);
    }
    for alternative in ["allOf", "anyOf", "oneOf"].iter().filter_map(|name| schema[name].as_array()).flatten() {
        deeper(alternative, at);
    }
    deeper(&schema["items"], &format!("{at}/0"));
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let pointer = format!("{at}/{name}");
        deeper(member, &pointer);
    }
    for name in schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name) {
        let singular = name.strip_suffix('s').unwrap_or(name);
        if let Some((id, noun)) = IDS.iter().find(|(id, _)| id == name || *id == singular) {
            let list = if id == name { "" } else { "/0" };
            found.push((format!("{at}/{name}{list}"), *noun));
        } else {
            let like_an_id = singular == "id" || singular.ends_with("_id");
            assert!(!like_an_id || MADE_UP.contains(&name.as_str()), "{at}/{name}: add it to IDS or to MADE_UP");
        }
    }
}

/// Sets the member at a pointer and creates missing objects on the path.
pub(super) fn plant(body: &mut Value, pointer: &str, value: Value) {
    let mut place = body;
    for token in pointer.split('/').skip(1) {
        place = if token == "0" {
            if !place.is_array() {
                *place = Value::Array(vec![Value::Null]);
            }
            &mut place[0]
        } else {
            if !place.is_object() {
                *place = Value::Object(serde_json::Map::new());
            }
            &mut place[token]
        };
    }
    *place = value;
}
