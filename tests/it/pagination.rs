//! Pages are stable: a row that arrives during pagination is on no later page, and no row is repeated or missing.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Deployment, Receiver, Tenant};

const MEMBERS: usize = 12;

fn ids(page: &Value) -> Vec<String> {
    let members = page["data"].as_array().expect("a page").iter();
    members.map(|member| member["id"].as_str().expect("an id").to_owned()).collect()
}

/// Reads a list in pages of 5. After each page another row is added and recorded before the next page is read.
async fn turn_pages(tenant: &Tenant, path: &str, add: impl AsyncFn()) {
    let all = async || ids(&tenant.get(&format!("{path}?limit=200")).await);
    let before = all().await;
    assert!(before.len() >= MEMBERS, "{path}: {before:?}");
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = tenant.get(&format!("{path}?limit=5&cursor={cursor}")).await;
        seen.extend(ids(&page));
        let count = all().await.len();
        add().await;
        tenant.wait_for(&format!("{path}?limit=200"), |page| ids(page).len() > count).await;
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(seen, before, "{path}: the members of before, in their order, each once");
    let after: BTreeSet<_> = all().await.into_iter().collect();
    assert!(after.len() > before.len() && before.iter().all(|id| after.contains(id)), "{path}");
}

/// Guarantee (The log, and repairs): Pages are stable while rows arrive; a late edit is refused.
#[tokio::test]
async fn pages_hold_still_while_rows_arrive() {
    let (deployment, receiver) = (Deployment::start("pages").await, Receiver::start().await);
    let tenant = deployment.tenant("standard").await;
    let endpoint = async |types: &str| {
        tenant.endpoint(json!({"name": "hook", "url": receiver.url("/"), "event_types": [types]})).await;
    };
    let event = async || {
        tenant.publish(&json!({"type": "a.b", "data": {}})).await;
    };
    endpoint("a.b").await;
    for _ in 1..MEMBERS {
        endpoint("none").await;
    }
    for _ in 0..MEMBERS {
        event().await;
    }
    let delivered = |page: &Value| page["data"].as_array().is_some_and(|data| data.len() == MEMBERS);
    tenant.wait_for("/v1/deliveries?status=delivered", delivered).await;
    turn_pages(&tenant, "/v1/events", event).await;
    turn_pages(&tenant, "/v1/deliveries", event).await;
    turn_pages(&tenant, "/v1/endpoints", async || endpoint("none").await).await;
}
