//! Adds the missing parts of every operation to the document: the key, a description of each answer, and an example of each body.
//!
//! An example consists of the examples of the types in it (`#[schema(example = …)]`). A test fails for a body without an example.

use serde_json::{Map, Value, json};

/// Maximum depth of an example.
const DEPTH_MAX: usize = 12;

/// Adds the missing parts to a document.
pub(super) fn complete(mut document: Value) -> Value {
    // A copy, because examples read the schemas while the operations are edited.
    let schemas = document["components"]["schemas"].clone();
    let items = document["paths"].as_object_mut().into_iter().flatten();
    let operations = items.flat_map(|(_, item)| item.as_object_mut().into_iter().flatten());
    for (_, operation) in operations {
        operation["security"] = json!([{"key": []}]);
        for content in contents(operation) {
            example(&schemas, content);
        }
        describe_successes(&schemas, operation);
    }
    document
}

/// The contents of an operation's request body and of its answers.
fn contents(operation: &mut Value) -> impl Iterator<Item = &mut Value> {
    let Value::Object(operation) = operation else { return Vec::new().into_iter() };
    let mut found = Vec::new();
    for (name, part) in operation.iter_mut() {
        let bodies: Vec<&mut Value> = match (name.as_str(), part) {
            ("requestBody", body) => vec![body],
            ("responses", Value::Object(responses)) => responses.values_mut().collect(),
            _ => continue,
        };
        for body in bodies {
            if let Some(content) = body.get_mut("content").and_then(Value::as_object_mut) {
                found.extend(content.values_mut());
            }
        }
    }
    found.into_iter()
}

fn example(schemas: &Value, content: &mut Value) {
    if content["example"].is_null() && content["examples"].is_null() {
        content["example"] = sample(schemas, &content["schema"], DEPTH_MAX);
    }
}

/// An example of a schema: the schema's own example, or an object with its required members and with every member that has an
/// example.
fn sample(schemas: &Value, schema: &Value, depth: usize) -> Value {
    if depth == 0 {
        return Value::Null;
    }
    let deeper = |schema: &Value| sample(schemas, schema, depth - 1);
    if let Some(example) = schema.get("example").or_else(|| schema["examples"].get(0)) {
        return example.clone();
    }
    if let Some(reference) = schema["$ref"].as_str() {
        return deeper(&schemas[reference.rsplit('/').next().unwrap_or_default()]);
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let objects = parts.iter().filter_map(|part| deeper(part).as_object().cloned());
        return objects.flatten().collect::<Map<_, _>>().into();
    }
    if let Some(first) = ["oneOf", "anyOf"].iter().find_map(|form| {
        let alternatives = schema[form].as_array()?;
        alternatives.iter().find(|alternative| alternative["type"] != "null")
    }) {
        return deeper(first);
    }
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    let kind = schema["type"].to_string();
    let is = |name: &str| kind.contains(name);
    if is("object") {
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let members = schema["properties"].as_object().into_iter().flatten();
        let shown =
            members.filter(|(name, member)| required.contains(&name.as_str()) || member.get("example").is_some());
        return shown.map(|(name, member)| (name.clone(), deeper(member))).collect::<Map<_, _>>().into();
    }
    match () {
        () if is("array") => json!([deeper(&schema["items"])]),
        () if schema["format"] == "date-time" => json!("2026-01-02T03:04:05.006Z"),
        () if is("integer") => schema["minimum"].as_u64().map_or(json!(1), |least| json!(least.max(1))),
        () if is("number") => json!(1.5),
        () if is("boolean") => json!(false),
        () if is("string") => json!(""),
        () => Value::Null,
    }
}

/// Adds a description to each answer that has none: the description of its schema. Also describes the ETag of such an answer.
fn describe_successes(schemas: &Value, operation: &mut Value) {
    for (status, answer) in operation["responses"].as_object_mut().into_iter().flatten() {
        if answer["$ref"].is_string() || answer["description"].as_str().is_some_and(|words| !words.is_empty()) {
            continue;
        }
        let schema = &answer["content"]["application/json"]["schema"];
        let named = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
        let words = named.and_then(|name| schemas[name]["description"].as_str());
        let words = words.or_else(|| schema["description"].as_str());
        answer["description"] = json!(words.unwrap_or(if status == "204" { "Done." } else { "Accepted." }));
        if let Some(tag) = answer.pointer_mut("/headers/ETag") {
            *tag = json!({
                "description": "The version, for `If-Match` of an edit.", "schema": {"type": "string"}, "example": "\"v7\"",
            });
        }
    }
}
