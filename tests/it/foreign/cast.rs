//! The parties of the walk: tenants with one of everything.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use super::document::Operation;
use super::rules::{Access, CHANGES_BY_ITSELF, Noun};
use crate::harness::{Deployment, Receiver, Tenant};

/// A marker in every name, URL, body and attribute of the victim.
pub(super) const MARK: &str = "belongs-to-the-victim";

/// A tenant with one of everything, and their ids.
pub(super) struct Party {
    pub(super) tenant: Tenant,
    pub(super) ids: BTreeMap<Noun, String>,
    pub(super) receiver: Receiver,
}

impl Party {
    /// Creates a tenant with two endpoints, two events delivered to them, a spare key, and one of everything else that has
    /// operations. All of it contains `mark`.
    pub(super) async fn new(deployment: &Deployment, mark: &str, operations: &[Operation]) -> Self {
        let tenant = deployment.tenant("standard").await;
        let receiver = Receiver::start().await;
        let mut endpoint = String::new();
        for number in 1..=2 {
            let made = tenant.endpoint(json!({
                "name": format!("{mark} {number}"), "description": mark, "metadata": {"is": mark}, "headers": {"X-Mark": mark},
                "url": receiver.url(&format!("/{mark}/{number}")), "event_types": ["*"],
            }));
            endpoint = made.await.id().to_owned();
        }
        let mut event = String::new();
        for _ in 1..=2 {
            // An attribute that both parties have, and one that only this party has.
            let attributes = json!({"bridge": mark, mark: mark});
            let published =
                json!({"type": "a.b", "data": {"is": mark}, "metadata": {"is": mark}, "attributes": attributes});
            event = tenant.publish(&published).await;
        }
        receiver.take(4).await;
        let all_delivered = |page: &Value| page["data"].as_array().is_some_and(|data| data.len() == 4);
        let page = tenant.wait_for("/v1/deliveries?status=delivered", all_delivered).await;
        // Values of attributes are counted in memory and written at intervals.
        let counted = |page: &Value| page["data"][0]["events"].as_u64() >= Some(2);
        tenant.wait_for(&format!("/v1/attributes/{mark}"), counted).await;
        let delivery = page["data"][0]["id"].as_str().expect("an id").to_owned();
        let spare = json!({"name": mark, "scopes": ["read"]});
        let spare = tenant.post(&format!("/v1/tenants/{}/keys", tenant.id), &spare).await;
        let mut ids = BTreeMap::from([
            (Noun::Tenant, tenant.id.clone()),
            (Noun::Key, spare["id"].as_str().expect("an id").to_owned()),
            (Noun::Endpoint, endpoint),
            (Noun::Event, event.clone()),
            (Noun::Delivery, delivery),
            (Noun::Replay, "rpl_0197e7a1b2c37d4e8f90a1b2c3d4e5f6".to_owned()),
            (Noun::Erasure, "ers_0197e7a1b2c37d4e8f90a1b2c3d4e5f6".to_owned()),
            (Noun::DeadLetter, "1".to_owned()),
            (Noun::EventType, format!("{mark}.type")),
            (Noun::Attribute, mark.to_owned()),
        ]);
        let exists = |method: Method, path: &str| operations.iter().any(|o| o.method == method && o.path == path);
        if exists(Method::POST, "/v1/replays") {
            let replay = tenant.post("/v1/replays", &json!({"event_id": event})).await;
            ids.insert(Noun::Replay, replay["id"].as_str().expect("an id").to_owned());
            receiver.take(2).await;
        }
        if exists(Method::POST, "/v1/erasures") {
            // Two, for a second page of the list. They find nothing.
            for _ in 1..=2 {
                // Events of the past are searched without a wait.
                let body = json!({"value": "a-person", "until": "2026-01-01T00:00:00Z", "dry_run": true});
                let made = tenant.post("/v1/erasures", &body).await;
                let id = made["id"].as_str().expect("an id").to_owned();
                tenant.wait_for(&format!("/v1/erasures/{id}"), |erasure| erasure["status"] == "finished").await;
                ids.insert(Noun::Erasure, id);
            }
        }
        if exists(Method::PUT, "/v1/event-types/{name}") {
            // A second type, for a second page of the list.
            for name in [ids[&Noun::EventType].clone(), format!("{mark}.other")] {
                let path = format!("/v1/event-types/{name}");
                let (status, answer) =
                    tenant.send(Method::PUT, &path, Some(json!({"description": mark}).to_string()), &[]).await;
                assert!((200..300).contains(&status), "PUT {path}: {status} {answer:#}");
            }
        }
        tenant.wait_for("/v1/deliveries?status=pending", |page| page["data"] == json!([])).await;
        Self { tenant, ids, receiver }
    }

    /// The path of an operation with this party's ids.
    pub(super) fn path(&self, operation: &Operation) -> String {
        path_of(operation, |noun, _| self.ids[&noun].clone())
    }

    /// Everything readable of the party.
    pub(super) async fn state(&self, operations: &[Operation]) -> BTreeMap<String, Value> {
        let mut state = BTreeMap::new();
        for operation in operations {
            let reads = operation.method == Method::GET && operation.access == Access::Read;
            if reads && !CHANGES_BY_ITSELF.contains(&operation.path.as_str()) {
                let path = self.path(operation);
                let mut page = self.tenant.get(&path).await;
                // Reading uses a key.
                for row in page.get_mut("data").and_then(Value::as_array_mut).into_iter().flatten() {
                    if let Some(row) = row.as_object_mut() {
                        row.remove("last_used_at");
                    }
                }
                state.insert(path, page);
            }
        }
        state
    }

    /// The state of the party, once it no longer changes.
    pub(super) async fn state_at_rest(&self, operations: &[Operation]) -> BTreeMap<String, Value> {
        let mut before = self.state(operations).await;
        for _ in 0..100 {
            let now = self.state(operations).await;
            if now == before {
                return now;
            }
            before = now;
        }
        panic!("its state does not come to rest: {before:#?}");
    }
}

/// The path of an operation; `id_of` returns the value of each parameter by noun and position.
pub(super) fn path_of(operation: &Operation, id_of: impl Fn(Noun, usize) -> String) -> String {
    let parameters = operation.in_path.iter().enumerate();
    parameters.fold(operation.path.clone(), |path, (place, (name, noun))| {
        path.replace(&format!("{{{name}}}"), &id_of(*noun, place))
    })
}

/// An id of the same form that does not exist.
pub(super) fn nobodys(id: &str) -> String {
    let kept = &id[..id.len() - 1];
    let last = if id.ends_with('7') { '8' } else { '7' };
    format!("{kept}{last}")
}
