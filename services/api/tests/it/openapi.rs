//! The OpenAPI document: a snapshot, and the parts that every operation must have.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::World;

#[test]
fn the_document_equals_its_snapshot() {
    let document = postrider_api::openapi();
    assert_eq!(document["openapi"], "3.1.0");
    insta::assert_json_snapshot!("openapi", document);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_is_served_without_a_key() {
    let world = World::new("api_openapi").await;
    let request = axum::http::Request::get("/openapi.json").body(axum::body::Body::empty()).unwrap();
    let served = world.send(request).await.ok(200);
    assert_eq!(served, postrider_api::openapi());
}

/// Every operation, as "method path" and its part of the document.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let of = |(path, item): (&String, _)| {
        let item: &Value = item;
        let methods = item.as_object().unwrap().iter();
        methods.map(|(method, operation)| (format!("{method} {path}"), operation)).collect::<Vec<_>>()
    };
    paths.flat_map(of).collect()
}

/// The missing and wrong parts of an operation.
fn faults(document: &Value, name: &str, operation: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let mut want = |there: bool, what: String| {
        if !there {
            faults.push(format!("{name}: {what}"));
        }
    };
    let says = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    want(says(&operation["operationId"]), "no operationId".into());
    want(says(&operation["summary"]), "no summary".into());
    want(operation["security"] == json!([{"key": []}]), "no security scheme".into());
    let tags = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect::<Vec<_>>();
    want(tags.contains(&&operation["tags"][0]), format!("no known tag: {}", operation["tags"]));
    let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
    for parameter in parameters {
        want(says(&parameter["description"]), format!("no description of {}", parameter["name"]));
    }
    let takes = |name: &str| parameters.iter().any(|parameter| parameter["name"] == name);
    for in_path in name.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
        want(takes(in_path), format!("{{{in_path}}} is not described"));
    }
    want(!name.starts_with("patch ") || takes("If-Match"), "an edit takes If-Match".into());
    want(operation["requestBody"].is_null() || operation["requestBody"]["content"].is_object(), "no body".into());
    for (kind, content) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
        want(content.get("example").is_some_and(|example| !hollow(example)), format!("no example of {kind}"));
    }

    let responses = operation["responses"].as_object().unwrap();
    let mut expected: Vec<&str> = vec!["401", "403", "422", "503"];
    expected.extend(takes("If-Match").then_some("412"));
    expected.extend(operation["requestBody"].is_object().then_some(["400", "413", "415"]).into_iter().flatten());
    for status in expected {
        want(responses.contains_key(status), format!("no {status}"));
    }
    want(responses.keys().any(|status| status.starts_with('2')), "no success".into());
    want(responses.keys().all(|status| status.parse::<u16>().is_ok()), "a range of statuses".into());
    for (status, answer) in responses {
        let reference = answer["$ref"].as_str().map(|reference| &reference[1..]);
        let answer = reference.map_or(answer, |reference| document.pointer(reference).unwrap());
        want(says(&answer["description"]), format!("no description of {status}"));
        let refused = !status.starts_with('2');
        for (kind, content) in answer["content"].as_object().into_iter().flatten() {
            let example = content.get("example");
            want(example.is_some_and(|example| !hollow(example)), format!("{status} has no example: {example:?}"));
            want(refused == (kind == "application/problem+json"), format!("{status} is {kind}"));
            if refused {
                let fits = example.is_some_and(|example| example["status"].as_u64() == status.parse().ok());
                want(fits, format!("the example of {status} is another status's"));
            }
        }
        want(!refused || answer["content"].is_object(), format!("{status} has no problem"));
        want(status != "422" || answer.pointer(POINTER).is_some(), "no pointer in the example of 422".into());
        let reads_version = matches!(status.as_str(), "200" | "201") && takes("If-Match");
        want(!reads_version || answer["headers"]["ETag"].is_object(), format!("{status} has no ETag"));
    }
    faults
}

const POINTER: &str = "/content/application~1problem+json/example/errors/0/pointer";

/// Whether an example contains an empty text, which shows that a member has no example.
fn hollow(example: &Value) -> bool {
    match example {
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().any(hollow),
        Value::Object(members) => members.values().any(hollow),
        _ => false,
    }
}

#[test]
fn every_operation_documents_its_callers_requests_answers_and_errors() {
    let document = postrider_api::openapi();
    let operations = operations(&document);
    let faults: Vec<String> = operations.iter().flat_map(|(name, one)| faults(&document, name, one)).collect();
    assert!(faults.is_empty(), "give a member an example by #[schema(example = …)]:\n{faults:#?}");
    let names: BTreeSet<_> = operations.iter().map(|(_, one)| one["operationId"].as_str()).collect();
    assert_eq!(names.len(), operations.len(), "two operations have the same operationId");
}
