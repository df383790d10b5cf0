//! No caller reaches another tenant's data. Every operation of `/openapi.json` is called without a key, with an unknown key, with
//! every insufficient scope, and with a valid key and another tenant's ids in path, query, body and cursor.
//!
//! Responses must not reveal existence either: a foreign id gets the same response as an unknown one.

mod cast;
mod document;
mod rules;

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::Deployment;
use cast::{MARK, Party, nobodys, path_of};
use document::{Operation, operations, plant};
use rules::{Access, Noun};

/// A walk over all operations, with its two parties.
struct Walk<'a> {
    base: &'a str,
    client: &'a reqwest::Client,
    victim: &'a Party,
    stranger: &'a Party,
}

/// A request with ids in it.
struct Call {
    path: String,
    body: Option<Value>,
}

impl Walk<'_> {
    /// Status and text of the response to a request with this `Authorization`.
    async fn call(&self, method: &Method, call: &Call, authorization: Option<&str>) -> (u16, String) {
        let mut request = self.client.request(method.clone(), format!("{}{}", self.base, call.path));
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        if let Some(body) = &call.body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    }

    /// Calls with the stranger's key, once with an id of the victim and once with an unknown id. Checks that the responses are the
    /// same and show nothing of the victim. Returns the response.
    async fn foreign(&self, operation: &Operation, noun: Noun, make: impl Fn(&str) -> Call) -> (u16, Value) {
        let (theirs, nobodys) = (&self.victim.ids[&noun], nobodys(&self.victim.ids[&noun]));
        let key = format!("Bearer {}", self.stranger.tenant.key);
        let (call, other) = (make(theirs), make(&nobodys));
        let what = format!("{} as {} {:?}", operation.name(), call.path, call.body.as_ref().map(Value::to_string));
        let (status, text) = self.call(&operation.method, &call, Some(&key)).await;
        let (other_status, other_text) = self.call(&operation.method, &other, Some(&key)).await;
        assert_eq!(
            status, other_status,
            "{what}: a foreign id is answered unlike an unknown one: {text} / {other_text}"
        );
        if status >= 400 || operation.method == Method::GET {
            assert_eq!(
                text,
                other_text.replace(&nobodys, theirs),
                "{what}: a foreign id is answered unlike an unknown one"
            );
        }
        assert!(status < 500, "{what}: {status} {text}");
        self.check_shows_nothing(&what, &call, &text);
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Checks that a response shows nothing of the victim except what the caller sent.
    #[track_caller]
    fn check_shows_nothing(&self, what: &str, call: &Call, text: &str) {
        let sent = format!("{}{}", call.path, call.body.as_ref().map(Value::to_string).unwrap_or_default());
        let theirs = self.victim.ids.iter().filter(|(noun, _)| !matches!(noun, Noun::DeadLetter | Noun::Attribute));
        for mine in theirs.map(|(_, id)| id.as_str()).chain([MARK]) {
            assert!(!text.contains(mine) || sent.contains(mine), "{what}: {mine} is the victim's: {text}");
        }
    }

    fn own(&self, operation: &Operation) -> Call {
        Call { path: self.stranger.path(operation), body: operation.body.clone() }
    }

    /// Checks that every call without a valid key gets 401.
    async fn without_a_key(&self, operation: &Operation) {
        let key = &self.stranger.tenant.key;
        for authorization in
            [None, Some("Bearer"), Some("Bearer "), Some("Bearer wrong"), Some(key), Some("Basic eDp5")]
        {
            for party in [self.stranger, self.victim] {
                let call = Call { path: party.path(operation), body: operation.body.clone() };
                let (status, text) = self.call(&operation.method, &call, authorization).await;
                assert_eq!(status, 401, "{} with {authorization:?}: {text}", operation.name());
                self.check_shows_nothing(&operation.name(), &call, &text);
            }
        }
    }

    /// Checks that a key with one scope may call the operations of this scope on its own tenant, and no others. Allowed operations
    /// are called with unknown ids.
    async fn with_a_scope(&self, operation: &Operation, scope: &str, key: &str) {
        let enough = operation.access.scope() == Some(scope);
        let mut call = self.own(operation);
        if enough {
            call.path = path_of(operation, |noun, _| nobodys(&self.stranger.ids[&noun]));
        }
        let (status, text) = self.call(&operation.method, &call, Some(&format!("Bearer {key}"))).await;
        let what = format!("{} with the scope {scope}", operation.name());
        if enough {
            assert!(status < 500 && !matches!(status, 401 | 403), "{what}: {status} {text}");
        } else {
            assert_eq!(status, 403, "{what}: {text}");
        }
    }

    /// Checks foreign ids in the path: each alone with own ids, and all of them.
    async fn in_the_path(&self, operation: &Operation) {
        for chosen in 1..(1_u32 << operation.in_path.len()) {
            let foreign = |place: usize| chosen & (1 << place) != 0;
            let nouns = operation.in_path.iter().enumerate().filter(|(place, _)| foreign(*place));
            // In one call this id is the victim's, in the other an unknown one. All other ids are the victim's in both calls.
            for (at, (_, noun)) in nouns {
                let answered = self.foreign(operation, *noun, |id| {
                    let path = path_of(operation, |noun, place| match place {
                        place if place == at => id.to_owned(),
                        place if foreign(place) => self.victim.ids[&noun].clone(),
                        _ => self.stranger.ids[&noun].clone(),
                    });
                    Call { path, body: operation.body.clone() }
                });
                let (status, answer) = answered.await;
                // Names of types and attributes are not secret; their content is.
                if !matches!(noun, Noun::EventType | Noun::Attribute) {
                    let expected = if operation.access == Access::Operator { 403 } else { 404 };
                    assert_eq!(status, expected, "{}: {answer:#}", operation.name());
                }
            }
        }
    }

    /// Checks foreign ids in the query. `?tenant=` is read by all operations, even if undocumented.
    async fn in_the_query(&self, operation: &Operation) {
        let own = self.own(operation);
        let tenant = ("tenant".to_owned(), Noun::Tenant);
        for (name, noun) in operation.in_query.iter().filter(|(name, _)| name != "tenant").chain([&tenant]) {
            let make = |id: &str| Call { path: format!("{}?{name}={id}", own.path), body: own.body.clone() };
            let (status, answer) = self.foreign(operation, *noun, make).await;
            match (operation.access, name.as_str()) {
                (Access::Operator, "tenant") => {
                    assert!(matches!(status, 403 | 404), "{}: {answer:#}", operation.name())
                }
                (_, "tenant") => assert_eq!(status, 404, "{}: {answer:#}", operation.name()),
                _ => assert!(
                    matches!(status, 403 | 404) || answer["data"] == json!([]),
                    "{}?{name}=: {status} {answer:#}",
                    operation.name()
                ),
            }
        }
    }

    /// Checks foreign ids in the body.
    async fn in_the_body(&self, operation: &Operation) {
        let own = self.own(operation);
        for (pointer, noun) in &operation.in_body {
            let make = |id: &str| {
                let mut body = own.body.clone().unwrap_or_else(|| json!({}));
                plant(&mut body, pointer, json!(id));
                Call { path: own.path.clone(), body: Some(body) }
            };
            self.foreign(operation, *noun, make).await;
        }
    }

    /// Checks that a foreign cursor returns only own rows or none.
    async fn with_a_cursor(&self, operation: &Operation) {
        if !operation.has_cursor || operation.access == Access::Operator {
            return;
        }
        let theirs = self.victim.tenant.get(&format!("{}?limit=1", self.victim.path(operation))).await;
        let Some(cursor) = theirs["next_cursor"].as_str() else {
            assert!(operation.path == "/v1/replays", "{}: the victim has no second page", operation.name());
            return;
        };
        let call = Call { path: format!("{}?limit=200&cursor={cursor}", self.stranger.path(operation)), body: None };
        let key = format!("Bearer {}", self.stranger.tenant.key);
        let (status, text) = self.call(&operation.method, &call, Some(&key)).await;
        assert!(matches!(status, 200 | 422), "{}: {status} {text}", operation.name());
        self.check_shows_nothing(&operation.name(), &call, &text);
    }
}

/// Guarantee (Secrets and tenants): A tenant's key never sees or changes another tenant's data.
#[tokio::test]
async fn every_operation_keeps_strangers_out() {
    let deployment = Deployment::start("foreign").await;
    let operator = deployment.operator();
    let operations = operations(&operator.get("/openapi.json").await);
    assert!(operations.len() >= 26, "{} operations", operations.len());
    let victim = Party::new(&deployment, MARK, &operations).await;
    let stranger = Party::new(&deployment, "the-strangers-own", &operations).await;
    let (before, requests) = (victim.state_at_rest(&operations).await, victim.receiver.all().len());
    let walk = Walk { base: &operator.base, client: &operator.client, victim: &victim, stranger: &stranger };

    let mut keys = BTreeMap::new();
    for scope in ["publish", "read", "manage"] {
        keys.insert(scope, deployment.key(&stranger.tenant, &[scope]).await);
    }
    for operation in &operations {
        walk.without_a_key(operation).await;
        for (scope, key) in &keys {
            walk.with_a_scope(operation, scope, key).await;
        }
    }
    for operation in &operations {
        walk.in_the_path(operation).await;
        walk.in_the_query(operation).await;
        walk.in_the_body(operation).await;
        walk.with_a_cursor(operation).await;
    }
    assert_eq!(victim.state_at_rest(&operations).await, before);

    // Values of filters are not ids and return only own rows.
    for path in ["/v1/events?attributes.bridge=", "/v1/deliveries?type=a.b&attributes.bridge="] {
        let (status, answer) = stranger.tenant.send(Method::GET, &format!("{path}{MARK}"), None, &[]).await;
        assert!(status == 422 || answer["data"] == json!([]), "{path}: {status} {answer:#}");
    }
    // Caller-supplied ids are unique per tenant: with the victim's id the stranger gets another event.
    let event = json!({"type": "a.b", "data": {"is": "other"}, "id": victim.ids[&Noun::Event]});
    let (status, answer) = stranger.tenant.send(Method::POST, "/v1/publish", Some(event.to_string()), &[]).await;
    assert_eq!((status, &answer["duplicate"]), (202, &Value::Null), "{answer:#}");
    stranger
        .tenant
        .wait_for(&format!("/v1/events/{}", victim.ids[&Noun::Event]), |event| event["data"]["is"] == "other")
        .await;
    // A CloudEvent that names another tenant is refused, in both modes.
    let cloud_event =
        json!({"specversion": "1.0", "id": "1", "source": "/", "type": "a.b", "tenant": victim.tenant.id});
    let structured = [("content-type", "application/cloudevents+json")];
    assert_eq!(stranger.tenant.publish_as(&structured, &cloud_event.to_string()).await.0, 404);
    let binary = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/"),
        ("ce-type", "a.b"),
        ("ce-tenant", victim.tenant.id.as_str()),
    ];
    assert_eq!(stranger.tenant.publish_as(&binary, "{}").await.0, 404);

    assert_eq!(victim.state_at_rest(&operations).await, before);
    assert_eq!(victim.receiver.all().len(), requests, "a stranger made it send");
}
