//! Subscriptions end to end: types, wildcards, the four filters, payload filters and the endpoint's status decide who
//! gets an event.
//! (The model's tests have tables of the rules; these tests show that they are in force.)

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::harness::{Deployment, Receiver, Tenant};

/// Publishes, and returns which endpoints got the event according to both the history and the receiver.
async fn reached(tenant: &Tenant, receiver: &Receiver, event: &Value) -> BTreeSet<String> {
    let event = tenant.publish(event).await;
    // One endpoint gets every event, so once a delivery is on record the decision and all deliveries are.
    let done = |event: &Value| {
        let deliveries = event["deliveries"].as_array().map_or(&[][..], Vec::as_slice);
        !deliveries.is_empty() && deliveries.iter().all(|delivery| delivery["status"] == "delivered")
    };
    let recorded = tenant.wait_for(&format!("/v1/events/{event}"), done).await;
    let recorded: BTreeSet<_> = recorded["deliveries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["endpoint_id"].as_str().unwrap().to_owned())
        .collect();
    let seen: BTreeSet<_> = receiver
        .all()
        .iter()
        .filter(|request| request.header("webhook-id") == event)
        .map(|request| request.target.trim_start_matches('/').to_owned())
        .collect();
    assert_eq!(recorded.len(), seen.len(), "recorded {recorded:?}, seen {seen:?}");
    seen
}

/// Guarantee (Who gets an event): Types and wildcards; attribute filters: OR within one, AND between them.
#[tokio::test]
async fn types_filters_and_status_select_the_endpoints() {
    let deployment = Deployment::start("filters").await;
    let tenant = deployment.tenant("standard").await;
    let receiver = Receiver::start().await;
    let mut ids = BTreeMap::new();
    for (name, types, filters) in [
        ("everything", json!(["*"]), json!({})),
        ("exact", json!(["email.sent"]), json!({})),
        ("below", json!(["email.*", "sms.sent"]), json!({})),
        ("domain", json!(["*"]), json!({"sending_domain": ["*.example.com", "example.org"]})),
        ("node", json!(["*"]), json!({"sending_node": ["smtp1", "smtp2"]})),
        ("bridge", json!(["*"]), json!({"bridge": ["b1"]})),
        ("ip", json!(["*"]), json!({"dedicated_ip": ["203.0.113.0/24", "2001:db8::/32"]})),
        ("across", json!(["email.*"]), json!({"sending_node": ["smtp1"], "bridge": ["b1"]})),
    ] {
        let endpoint =
            json!({"name": name, "url": receiver.url(&format!("/{name}")), "event_types": types, "filters": filters});
        ids.insert(name, tenant.endpoint(endpoint).await.id().to_owned());
    }
    let inactive =
        json!({"name": "inactive", "url": receiver.url("/inactive"), "event_types": ["*"], "status": "inactive"});
    tenant.endpoint(inactive).await;
    deployment.configuration_in_force().await;

    let check = async |event_type: &str, attributes: Value, expected: &[&str]| {
        let mut all: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
        all.insert("everything".into());
        let event = json!({"type": event_type, "data": {}, "attributes": attributes});
        assert_eq!(reached(&tenant, &receiver, &event).await, all, "{event}");
    };
    check("email.sent", json!({}), &["exact", "below"]).await;
    check("email.bounced.hard", json!({}), &["below"]).await;
    check("sms.sent", json!({}), &["below"]).await;
    check("emailing", json!({}), &[]).await;
    check("x", json!({"sending_domain": "Mail.Example.com"}), &["domain"]).await;
    check("x", json!({"sending_domain": "example.com"}), &[]).await;
    check("x", json!({"sending_node": "smtp2"}), &["node"]).await;
    check("x", json!({"sending_node": "smtp3"}), &[]).await;
    check("x", json!({"dedicated_ip": "203.0.113.200"}), &["ip"]).await;
    check("x", json!({"dedicated_ip": "2001:db8::7"}), &["ip"]).await;
    check("x", json!({"dedicated_ip": "203.0.114.1"}), &[]).await;
    check("email.opened", json!({"sending_node": "smtp1", "bridge": "b1"}), &["below", "node", "bridge", "across"])
        .await;
    check("email.opened", json!({"sending_node": "smtp1", "bridge": "b2"}), &["below", "node"]).await;
    check("sms.opened", json!({"sending_node": "smtp1", "bridge": "b1"}), &["node", "bridge"]).await;

    // An edit is in force everywhere within two seconds.
    let path = format!("/v1/endpoints/{}", ids["exact"]);
    tenant.patch(&path, &json!({"status": "inactive"})).await;
    tenant.patch(&format!("/v1/endpoints/{}", ids["bridge"]), &json!({"filters": {"bridge": ["b9"]}})).await;
    deployment.configuration_in_force().await;
    check("email.sent", json!({"bridge": "b9"}), &["below", "bridge"]).await;
    check("email.sent", json!({"bridge": "b1"}), &["below"]).await;
}

/// Guarantee (Who gets an event): Payload filters.
#[tokio::test]
async fn payload_filters_select_by_an_events_data() {
    let deployment = Deployment::start("payload-filters").await;
    let tenant = deployment.tenant("standard").await;
    let receiver = Receiver::start().await;
    let large = json!({"field": "data.amount", "op": "gt", "value": 9_007_199_254_740_992_u64});
    let mut ids = BTreeMap::new();
    for (name, filter) in [
        ("everything", json!(null)),
        ("large", large.clone()),
        ("not-large", json!({"not": large})),
        ("pro", json!({"field": "metadata.plan", "op": "in", "value": ["pro", "team"]})),
        (
            "own",
            json!({"all": [
                {"field": "attributes.bridge", "op": "prefix", "value": "own-"},
                {"any": [
                    {"field": "data.items.sku", "op": "eq", "value": "a.b"},
                    {"field": "data.items", "op": "exists", "value": false},
                ]},
            ]}),
        ),
    ] {
        let endpoint = json!({
            "name": name, "url": receiver.url(&format!("/{name}")), "event_types": ["order.*"], "payload_filter": filter,
        });
        let made = tenant.endpoint(endpoint).await;
        let shown = tenant.get(&format!("/v1/endpoints/{}", made.id())).await;
        assert_eq!(shown.get("payload_filter").cloned().unwrap_or_default(), filter);
        ids.insert(name, made.id().to_owned());
    }
    deployment.configuration_in_force().await;

    let check = async |event: Value, expected: &[&str]| {
        let mut all: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
        all.insert("everything".into());
        let mut event = event;
        event["type"] = "order.paid".into();
        assert_eq!(reached(&tenant, &receiver, &event).await, all, "{event}");
    };
    check(json!({"data": {"amount": 9_007_199_254_740_993_u64}}), &["large"]).await;
    check(json!({"data": {"amount": 9_007_199_254_740_992_u64}}), &["not-large"]).await;
    check(json!({"data": {"amount": "9007199254740993"}}), &["not-large"]).await;
    check(json!({"data": [1, "x"], "metadata": {"plan": "team"}}), &["not-large", "pro"]).await;
    let bridge = json!({"bridge": "own-7"});
    check(json!({"data": {"items": [{"sku": "x"}, {"sku": "a.b"}]}, "attributes": bridge}), &["not-large", "own"])
        .await;
    check(json!({"data": {"items": [{"sku": "x"}]}, "attributes": bridge}), &["not-large"]).await;
    check(json!({"data": {}, "attributes": bridge}), &["not-large", "own"]).await;

    // Replace the filter, then remove it.
    tenant.patch(&format!("/v1/endpoints/{}", ids["large"]), &json!({"payload_filter": null})).await;
    let other = json!({"field": "metadata.plan", "op": "eq", "value": "free"});
    tenant.patch(&format!("/v1/endpoints/{}", ids["pro"]), &json!({"payload_filter": other})).await;
    deployment.configuration_in_force().await;
    check(json!({"data": {"amount": 1}, "metadata": {"plan": "pro"}}), &["large", "not-large"]).await;
}

/// Guarantee (Who gets an event): Mistakes in a subscription are refused with a pointer.
#[tokio::test]
async fn a_subscription_that_cannot_be_is_refused_with_its_place() {
    let deployment = Deployment::start("refused-filters").await;
    let tenant = deployment.tenant("standard").await;
    let refused = async |member: &str, value: Value, pointer: &str| {
        let mut endpoint = json!({"name": "x", "channel": "web", "url": "https://example.com/", "event_types": ["*"]});
        endpoint[member] = value;
        let (status, problem) = tenant.try_post("/v1/endpoints", &endpoint).await;
        assert_eq!(status, 422, "{problem:#}");
        assert_eq!(problem["errors"][0]["pointer"], json!(pointer), "{problem:#}");
    };
    refused("event_types", json!([]), "/event_types").await;
    refused("event_types", json!(["a", "*.b"]), "/event_types/1").await;
    refused("filters", json!({"colour": ["red"]}), "/filters/colour").await;
    refused("filters", json!({"bridge": []}), "/filters/bridge").await;
    refused("filters", json!({"dedicated_ip": ["203.0.113.0/33"]}), "/filters/dedicated_ip/0").await;
    let nonsense = json!({"any": [{"field": "data.a", "op": "like", "value": "x"}]});
    refused("payload_filter", nonsense, "/payload_filter/any/0/op").await;
    refused("payload_filter", json!({"all": [{"field": "a", "op": "exists"}]}), "/payload_filter/all/0/field").await;
    refused("url", json!("ftp://example.com/"), "/url").await;
    refused("retry_schedule_seconds", json!([0]), "/retry_schedule_seconds/0").await;
}
