//! Stale edits: every operation with `If-Match` refuses another version than the current one with 412 and changes nothing.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::Deployment;

/// The object that a path of the document edits.
fn thing_of<'a>(path: &str, things: &'a [String; 3]) -> &'a str {
    match path.split('/').nth(2) {
        Some("tenants") => &things[0],
        Some("endpoints") => &things[1],
        Some("event-types") => &things[2],
        _ => panic!("{path} takes If-Match: say here what it edits"),
    }
}

/// Guarantee: as `pagination::pages_hold_still_while_rows_arrive`.
#[tokio::test]
async fn an_edit_with_a_stale_version_is_refused_and_changes_nothing() {
    let deployment = Deployment::start("edits").await;
    let (operator, tenant) = (deployment.operator(), deployment.tenant("standard").await);
    let endpoint = json!({"name": "hook", "url": "http://127.0.0.1:9999/", "event_types": ["*"]});
    let endpoint = tenant.endpoint(endpoint).await;
    let things = [
        format!("/v1/tenants/{}", tenant.id),
        format!("/v1/endpoints/{}", endpoint.id()),
        format!("/v1/event-types/order.paid?tenant={}", tenant.id),
    ];
    // Each object has an older version.
    for thing in &things[..2] {
        operator.patch(thing, &json!({"name": "second"})).await;
    }
    for description in ["first", "second"] {
        let body = json!({"description": description}).to_string();
        let (status, answer) = operator.send(Method::PUT, &things[2], Some(body), &[]).await;
        assert!(matches!(status, 200 | 201), "{answer:#}");
    }
    let state =
        async || [operator.get(&things[0]).await, operator.get(&things[1]).await, operator.get(&things[2]).await];
    let before = state().await;

    let document = operator.get("/openapi.json").await;
    let mut edits = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
            if !parameters.iter().any(|parameter| parameter["name"] == "If-Match") {
                continue;
            }
            edits += 1;
            let below = path.split_once('}').map_or("", |(_, below)| below);
            let path = format!("{}{below}", thing_of(path, &things));
            let method: Method = method.to_uppercase().parse().expect("a method");
            let body = match method {
                Method::PATCH => Some(json!({"name": "late"}).to_string()),
                Method::DELETE => None,
                _ => Some("{}".to_owned()),
            };
            for stale in ["\"v1\"", "\"v0\"", "\"v9223372036854775807\"", "\"v1", "v1", "nonsense", "W/\"v1\""] {
                let headers = [("if-match", stale)];
                let (status, answer) = operator.send(method.clone(), &path, body.clone(), &headers).await;
                assert_eq!(
                    (status, &answer["status"]),
                    (412, &Value::from(412)),
                    "{method} {path} {stale}: {answer:#}"
                );
            }
        }
    }
    assert!(edits >= 7, "{edits} operations take If-Match");
    assert_eq!(state().await, before);
}
