//! What every operation of the document has, whoever wrote it: the key it takes, its error answers with examples, words and
//! examples for parameters that are the same everywhere, and an example of every body.
//!
//! It is done to the finished document, so that a new route has it without a word; a test finds what is still missing.

use serde_json::{Map, Value, json};

use super::words::{PARAMETERS, REFUSALS, Refusal, VALUES};

/// How deep an example goes.
const DEPTH_MAX: usize = 12;

/// Completes a document.
pub(super) fn complete(mut document: Value) -> Value {
    // Examples look schemas up while operations are edited.
    let schemas = document["components"]["schemas"].clone();
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (path, item) in paths {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            operation["security"] = json!([{"key": []}]);
            if method == "post" && !path.starts_with("/v1/publish") {
                idempotency_key(operation);
            }
            parameters(operation);
            refusals(method, operation);
            for content in contents(operation) {
                example(&schemas, content);
            }
            describe_successes(&schemas, operation);
        }
    }
    document["components"]["responses"] =
        REFUSALS.iter().map(|refusal| (name_of(refusal), answer_of(refusal))).collect();
    document
}

/// Every POST takes one; publishing says so itself, where it does.
fn idempotency_key(operation: &mut Value) {
    let Some(operation) = operation.as_object_mut() else { return };
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    let Some(parameters) = parameters.as_array_mut() else { return };
    if parameters.iter().all(|parameter| parameter["name"] != "Idempotency-Key") {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false, "schema": {"type": "string"},
            "description": "1 to 256 visible characters of your own: for 24 hours the request acts once, and a repeat under the key has \
                            its answer, with `Idempotency-Replayed: true`. 409 while it is worked on, 422 for another request.",
        }));
    }
}

fn parameters(operation: &mut Value) {
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap_or_default().to_owned();
        let Some((_, words, value)) = PARAMETERS.iter().find(|(known, ..)| *known == name) else { continue };
        if parameter["description"].as_str().is_none_or(str::is_empty) {
            parameter["description"] = json!(words);
        }
        if parameter["example"].is_null() && !value.is_empty() {
            parameter["example"] = typed(&parameter["schema"], value);
        }
        // An absent parameter is left out; there is no null in a query, a path or a header.
        if let Some(types) = parameter["schema"]["type"].as_array() {
            let without: Vec<Value> = types.iter().filter(|kind| *kind != "null").cloned().collect();
            parameter["schema"]["type"] = if let [kind] = &without[..] { kind.clone() } else { Value::Array(without) };
        }
    }
}

/// A parameter's text as its schema's type.
fn typed(schema: &Value, text: &str) -> Value {
    let kind = schema["type"].to_string();
    if kind.contains("string") { json!(text) } else { serde_json::from_str(text).unwrap_or_else(|_| json!(text)) }
}

/// Puts the answers that an operation of this shape can give in the place of "4XX".
fn refusals(method: &str, operation: &mut Value) {
    let has_body = !operation["requestBody"].is_null();
    let takes =
        |name: &str| operation["parameters"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == name));
    let (edits, keyed) = (takes("If-Match"), takes("Idempotency-Key"));
    let possible = |status: u16| match status {
        409 => method != "get",
        400 | 413 => has_body || keyed,
        415 => has_body,
        412 => edits,
        _ => true,
    };
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    responses.remove("4XX");
    for refusal in REFUSALS.iter().filter(|(status, ..)| possible(*status)) {
        let reference = json!({"$ref": format!("#/components/responses/{}", name_of(refusal))});
        responses.insert(refusal.0.to_string(), reference);
    }
}

/// What a refusal is called among the document's components: its phrase in one word.
fn name_of((_, title, ..): &Refusal) -> String {
    title.replace(' ', "")
}

fn answer_of((status, title, words, detail): &Refusal) -> Value {
    let mut problem = json!({"type": "about:blank", "title": title, "status": status, "detail": detail});
    if *status == 422 {
        let (pointer, wrong) = detail.split_once(": ").unwrap_or_default();
        problem["errors"] = json!([{"pointer": pointer, "detail": wrong}]);
    }
    let content = json!({"schema": {"$ref": "#/components/schemas/Problem"}, "example": problem});
    let mut answer = json!({"description": words, "content": {"application/problem+json": content}});
    if matches!(status, 429 | 503) {
        let after = json!({"description": "Seconds after which a repeat makes sense.", "schema": {"type": "integer"}});
        answer["headers"] = json!({"Retry-After": after});
    }
    answer
}

/// Every JSON content of requests and answers.
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
        content["example"] = sample(schemas, "", &content["schema"], DEPTH_MAX);
    }
}

/// Something that a schema takes: what it says itself, else members that must be there or say an example themselves.
fn sample(schemas: &Value, name: &str, schema: &Value, depth: usize) -> Value {
    if depth == 0 {
        return Value::Null;
    }
    let deeper = |name: &str, schema: &Value| sample(schemas, name, schema, depth - 1);
    if let Some(example) = schema.get("example") {
        return example.clone();
    }
    if let Some(reference) = schema["$ref"].as_str() {
        return deeper(name, &schemas[reference.rsplit('/').next().unwrap_or_default()]);
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let mut whole = Map::new();
        for part in parts {
            if let Value::Object(members) = deeper(name, part) {
                whole.extend(members);
            }
        }
        return Value::Object(whole);
    }
    if let Some(first) = ["oneOf", "anyOf"].iter().find_map(|form| {
        let alternatives = schema[form].as_array()?;
        alternatives.iter().find(|alternative| alternative["type"] != "null")
    }) {
        return deeper(name, first);
    }
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    let kind = schema["type"].to_string();
    let counted = ["integer", "number", "boolean"].iter().any(|word| kind.contains(word));
    if let Some((_, value)) = VALUES.iter().find(|(known, _)| !counted && *known == name) {
        return serde_json::from_str(value).unwrap_or_else(|_| json!(value));
    }
    if kind.contains("object") {
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let members = schema["properties"].as_object().into_iter().flatten();
        let told =
            members.filter(|(name, member)| required.contains(&name.as_str()) || member.get("example").is_some());
        return told.map(|(name, member)| (name.clone(), deeper(name, member))).collect::<Map<_, _>>().into();
    }
    if kind.contains("array") {
        return json!([deeper(name, &schema["items"])]);
    }
    match kind.as_str() {
        _ if schema["format"] == "date-time" => json!("2026-01-02T03:04:05Z"),
        kind if kind.contains("integer") => schema["minimum"].as_u64().map_or(json!(1), |least| json!(least.max(1))),
        kind if kind.contains("number") => json!(1.5),
        kind if kind.contains("boolean") => json!(false),
        // A text of which nobody said what it looks like, or anything at all.
        kind if kind.contains("string") => json!(""),
        _ => Value::Null,
    }
}

/// An answer is described by its schema, unless it is by itself.
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
