//! Recorded events, deliveries, retries and dead letters, read through the routes.

use std::time::Duration;

use bytes::Bytes;
use postrider_broker::{ConsumeOptions, Queue};
use postrider_model::delivery::{DeliveryStatus, Lane, Trigger};
use postrider_model::event::Attributes;
use postrider_model::ids::EndpointId;
use postrider_model::time::UnixMillis;
use postrider_store::attributes::AttributeTally;
use postrider_wire::bundle;
use postrider_wire::messages::{AcceptedEvent, DeliveryTask};
use postrider_wire::testing;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::harness::{OPERATOR, World};
use crate::recorded::recorded;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_explanation_shows_the_decision_then_and_the_match_now() {
    let world = World::new("api_explain").await;
    let tenant = world.tenant("standard").await;
    let endpoint = world.endpoint(&tenant).await;
    let (event, _) = recorded(&world, &tenant, &endpoint, DeliveryStatus::Pending).await;
    let path = format!("/v1/events/{event}/explain");
    let edit = json!({"payload_filter": {"field": "data.n", "op": "gt", "value": 1}});
    let endpoint_path = format!("/v1/endpoints/{}", endpoint["id"].as_str().unwrap());
    world.call(&tenant.key, "PATCH", &endpoint_path, Some(&edit)).await.ok(200);
    let later = world.endpoint(&tenant).await;

    let explained = world.get(&tenant.key, &path).await.ok(200);
    let [newer, older] = explained["data"].as_array().unwrap().as_slice() else { panic!("{explained:#}") };
    assert_eq!((&newer["endpoint_id"], &older["endpoint_id"]), (&later["id"], &endpoint["id"]));
    let status = |actual: &str, passed: bool| json!({"check": "status", "expected": "active", "actual": actual, "passed": passed});
    assert_eq!((&newer["matched"], &newer["reasons"]), (&json!(false), &json!([status("not made yet", false)])));
    assert_eq!(newer["now"]["matched"], json!(true), "{newer:#}");
    assert_eq!(older["matched"], json!(true), "{older:#}");
    let then = json!([
        status("active", true),
        {"check": "origin", "expected": ["api", "dashboard"], "actual": "api", "passed": true},
        {"check": "event_types", "expected": endpoint["event_types"], "actual": "user.created", "passed": true},
    ]);
    assert_eq!(older["reasons"], then);
    assert_eq!((&older["delivery"]["status"], &newer["delivery"]), (&json!("pending"), &Value::Null), "{older:#}");
    assert!(older["delivery_standing"].as_str().is_some_and(|words| words.contains("attempt")), "{older:#}");
    let filter = json!({
        "check": "payload_filter", "expected": edit["payload_filter"], "actual": {"data.n": [1.0]}, "passed": false,
    });
    assert_eq!((&older["now"]["matched"], &older["now"]["reasons"][3]), (&json!(false), &filter));

    world.call(&tenant.key, "DELETE", &endpoint_path, None).await.ok(204);
    let gone = &world.get(&tenant.key, &path).await.ok(200)["data"][1];
    assert_eq!((&gone["matched"], &gone["now"]["reasons"]), (&json!(true), &json!([status("deleted", false)])));

    let other = world.tenant("standard").await;
    world.get(&other.key, &path).await.problem(404, "");
    world.get(OPERATOR, &path).await.problem(422, "tenant");
    world.get(&tenant.key, "/v1/events/evt_none/explain").await.problem(404, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_and_its_delivery_read_as_they_were_recorded() {
    let world = World::new("api_log").await;
    let tenant = world.tenant("standard").await;
    let endpoint = world.endpoint(&tenant).await;
    let (event, delivery) = recorded(&world, &tenant, &endpoint, DeliveryStatus::Pending).await;

    let path = format!("/v1/events/{event}");
    let read = world.get(&tenant.key, &path).await.ok(200);
    assert_eq!((&read["type"], &read["timestamp"]), (&json!("user.created"), &json!("2023-11-14T22:13:20.123Z")));
    assert_eq!(read["attributes"], json!({"bridge": "b1"}));
    assert_eq!(read["data"], json!({"n": 1.0}));
    assert_eq!(read["deliveries"][0]["id"], json!(delivery.to_string()));
    world.get(OPERATOR, &path).await.problem(422, "tenant");
    world.get(OPERATOR, &format!("{path}?tenant={}", tenant.id)).await.ok(200);

    let read = world.get(&tenant.key, &format!("/v1/deliveries/{delivery}")).await.ok(200);
    assert_eq!(
        (&read["status"], &read["generation"], &read["test"]),
        (&json!("pending"), &json!("first"), &json!(false))
    );
    assert_eq!((&read["event_id"], &read["endpoint_id"]), (&json!(event.as_str()), &endpoint["id"]));
    assert!(read["next_attempt_at"].is_string());
    assert_eq!(
        read["body"],
        json!(r#"{"type":"user.created","timestamp":"2023-11-14T22:13:20.123Z","data":{ "n": 1.00 }}"#)
    );
    let attempt = &read["attempts"][0];
    assert_eq!((&attempt["number"], &attempt["trigger"]), (&json!(1), &json!("first")));
    assert_eq!((&attempt["duration_ms"], &attempt["timing"]["first_byte_ms"]), (&json!(2.0), &json!(1.0)));
    assert_eq!((&attempt["held_ms"], &attempt["held_reason"]), (&json!(40), &json!("rate")));
    assert_eq!((&attempt["status_code"], &attempt["response_excerpt"]), (&json!(503), &json!("busy")));
    assert_eq!(attempt["request_headers"], json!([{"name": "webhook-id", "value": event.as_str()}]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_accept_every_documented_filter() {
    let world = World::new("api_lists").await;
    let (tenant, other) = (world.tenant("standard").await, world.tenant("standard").await);
    let endpoint = world.endpoint(&tenant).await;
    let (event, failed) = recorded(&world, &tenant, &endpoint, DeliveryStatus::Failed).await;
    let (_, delivered) = recorded(&world, &tenant, &endpoint, DeliveryStatus::Delivered).await;
    let ids = |list: Value| -> Vec<String> {
        list["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    let both = [delivered.to_string(), failed.to_string()];
    let reversed = [failed.to_string(), delivered.to_string()];
    let cases: [(String, &[String]); 15] = [
        (String::new(), &both),
        ("status=failed".into(), &both[1..]),
        ("status=pending".into(), &[]),
        ("status_code=200".into(), &both[..1]),
        ("status_code=5xx".into(), &both[1..]),
        ("outcome=http_status".into(), &both[1..]),
        ("outcome=timeout".into(), &[]),
        ("order=oldest".into(), &reversed),
        (format!("event_id={event}"), &both[1..]),
        (format!("endpoint_id={}", endpoint["id"].as_str().unwrap()), &both),
        (format!("endpoint_id={}", EndpointId::generate()), &[]),
        ("type=user.created".into(), &both),
        ("type=user.deleted".into(), &[]),
        ("test=true".into(), &[]),
        ("from=2020-01-01T00:00:00Z&to=2999-01-01T00:00:00Z&test=false".into(), &both),
    ];
    for (query, expected) in cases {
        let list = world.get(&tenant.key, &format!("/v1/deliveries?{query}")).await.ok(200);
        assert_eq!(ids(list), expected, "{query}");
    }
    for (query, pointer) in [
        ("status=done", "status"),
        ("status_code=x", "status_code"),
        ("status_code=7xx", "status_code"),
        ("outcome=late", "outcome"),
        ("order=status", "order"),
        ("endpoint_id=x", "endpoint_id"),
        ("from=x", "from"),
        ("test=1", "test"),
        ("colour=red", "colour"),
        ("cursor=%00", "cursor"),
    ] {
        world.get(&tenant.key, &format!("/v1/deliveries?{query}")).await.problem(422, pointer);
    }
    let path = format!("/v1/deliveries/{failed}");
    assert_eq!(ids(world.get(&other.key, "/v1/deliveries").await.ok(200)).len(), 0);
    world.get(&other.key, &path).await.problem(404, "");
    world.post(&other.key, &format!("{path}/retry"), json!({})).await.problem(404, "");
    assert_eq!(ids(world.get(OPERATOR, "/v1/deliveries").await.ok(200)).len(), 2);

    let events = |query: &str| format!("/v1/events?{query}");
    let all = world.get(&tenant.key, &events("limit=1")).await.ok(200);
    let next = all["next_cursor"].as_str().unwrap();
    let rest = world.get(&tenant.key, &events(&format!("limit=1&cursor={next}"))).await.ok(200);
    assert_eq!((ids(rest.clone()), &rest["next_cursor"]), (vec![event.to_string()], &json!(null)));
    assert_eq!(ids(world.get(&tenant.key, &events("attributes.bridge=b1&type=user.created")).await.ok(200)).len(), 2);
    let oldest = ids(world.get(&tenant.key, &events("order=oldest")).await.ok(200));
    assert_eq!((oldest.len(), oldest.first()), (2, Some(&event.to_string())));
    assert_eq!(ids(world.get(&tenant.key, &events("attributes.bridge=b2")).await.ok(200)).len(), 0);
    world.get(&tenant.key, &events("attributes.B=1")).await.problem(422, "attributes.B");
    world.get(&tenant.key, &events("type=a..b")).await.problem(422, "type");
    assert_eq!(ids(world.get(&other.key, "/v1/events").await.ok(200)).len(), 0);
    world.get(&other.key, &format!("/v1/events/{event}")).await.problem(404, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stats_count_attempts_by_minute_hour_and_day() {
    let world = World::new("api_stats").await;
    let (tenant, other) = (world.tenant("standard").await, world.tenant("standard").await);
    let (one, two) = (world.endpoint(&tenant).await, world.endpoint(&tenant).await);
    recorded(&world, &tenant, &one, DeliveryStatus::Delivered).await;
    recorded(&world, &tenant, &one, DeliveryStatus::Failed).await;
    recorded(&world, &tenant, &two, DeliveryStatus::Delivered).await;
    let own = format!("/v1/endpoints/{}/stats", one["id"].as_str().unwrap());

    let stats = world.get(&tenant.key, &own).await.ok(200);
    let total = &stats["total"];
    assert_eq!((&total["attempts"], &total["successes"], &total["failures"]), (&json!(2), &json!(1), &json!(1)));
    assert_eq!(
        (&total["success_rate"], &total["retries"], &total["retry_rate"]),
        (&json!(0.5), &json!(0), &json!(0.0))
    );
    let classes = json!({"2xx": 1, "3xx": 0, "4xx": 0, "5xx": 1, "other": 0, "none": 0});
    assert_eq!(total["status_classes"], classes);
    assert_eq!(total["promise"], json!({"first_attempts": 2, "within_5s": 1.0, "within_30s": 1.0}));
    let latency = &total["latency_ms"];
    assert_eq!(latency["mean"], json!(2.0));
    for percentile in ["p50", "p90", "p95", "p99"] {
        let ms = latency[percentile].as_f64().unwrap();
        assert!((2.0..=3.0).contains(&ms), "{percentile}: {ms}");
    }
    assert_eq!(stats["by"], json!("hour"));
    let sum = |stats: &Value| -> u64 {
        stats["data"].as_array().unwrap().iter().map(|interval| interval["attempts"].as_u64().unwrap()).sum()
    };
    assert_eq!(sum(&stats), 2);
    let minutes = world.get(&tenant.key, "/v1/stats?by=minute").await.ok(200);
    assert_eq!((sum(&minutes), &minutes["total"]["attempts"]), (3, &json!(3)), "the tenant's are both endpoints'");
    assert!(minutes["data"][0]["at"].as_str().unwrap().ends_with(":00.000Z"));
    let days = world.get(&tenant.key, "/v1/stats?by=day").await.ok(200);
    assert_eq!((&days["by"], sum(&days)), (&json!("day"), 3));
    assert!(days["data"][0]["at"].as_str().unwrap().ends_with("T00:00:00.000Z"));
    let (from, to) = (days["from"].as_str().unwrap(), days["to"].as_str().unwrap());
    assert!(from.ends_with("T00:00:00.000Z") && to.ends_with("T00:00:00.000Z"), "whole days: {from} {to}");
    let before = world.get(&tenant.key, "/v1/stats?from=2020-01-01T00:30:00Z&to=2020-01-01T01:30:00Z").await.ok(200);
    assert_eq!(
        (&before["from"], &before["to"], &before["data"]),
        (&json!("2020-01-01T00:00:00.000Z"), &json!("2020-01-01T02:00:00.000Z"), &json!([]))
    );
    assert_eq!((&before["total"]["success_rate"], &before["total"]["latency_ms"]), (&json!(null), &json!(null)));

    for (query, pointer) in [
        ("by=week", "by"),
        ("from=x", "from"),
        ("from=2020-01-02T00:00:00Z&to=2020-01-01T00:00:00Z", "from"),
        ("by=minute&from=2020-01-01T00:00:00Z&to=2020-01-02T00:01:00Z", "from"),
        ("from=2020-01-01T00:00:00Z", "from"),
        ("limit=5", "limit"),
    ] {
        world.get(&tenant.key, &format!("/v1/stats?{query}")).await.problem(422, pointer);
        world.get(&tenant.key, &format!("{own}?{query}")).await.problem(422, pointer);
    }
    let by_week = world.get(&tenant.key, "/v1/stats?by=week").await;
    let detail = &by_week.problem(422, "by")["detail"];
    assert_eq!(detail, "by: unknown value `week`, expected one of `minute`, `hour`, `day`");
    assert_eq!(sum(&world.get(&other.key, "/v1/stats").await.ok(200)), 0);
    world.get(&other.key, &own).await.problem(404, "");
    world.get(OPERATOR, "/v1/stats").await.problem(422, "tenant");
    assert_eq!(sum(&world.get(OPERATOR, &format!("/v1/stats?tenant={}", tenant.id)).await.ok(200)), 3);
    assert_eq!(sum(&world.get(OPERATOR, &own).await.ok(200)), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_counted_by_cause_for_an_endpoint_and_a_tenant() {
    let world = World::new("api_failures").await;
    let (tenant, other) = (world.tenant("standard").await, world.tenant("standard").await);
    let (one, two) = (world.endpoint(&tenant).await, world.endpoint(&tenant).await);
    recorded(&world, &tenant, &one, DeliveryStatus::Delivered).await;
    recorded(&world, &tenant, &one, DeliveryStatus::Failed).await;
    recorded(&world, &tenant, &one, DeliveryStatus::Pending).await;
    recorded(&world, &tenant, &two, DeliveryStatus::Failed).await;
    let own = format!("/v1/endpoints/{}/stats/failures", one["id"].as_str().unwrap());

    let failures = world.get(&tenant.key, "/v1/stats/failures").await.ok(200);
    let cause = &failures["causes"][0];
    assert_eq!((&failures["attempts"], &failures["other"], &failures["by"]), (&json!(3), &json!(0), &json!("hour")));
    assert_eq!((&cause["outcome"], &cause["status_code"]), (&json!("http_status"), &json!(503)));
    assert_eq!((&cause["attempts"], &cause["share"], &cause["endpoints"]), (&json!(3), &json!(1.0), &json!(2)));
    assert!(cause["first_at"].as_str() <= cause["last_at"].as_str(), "{cause:#}");
    assert!(failures["from"].as_str() < cause["first_at"].as_str(), "{failures:#}");
    let sum = |failures: &Value| -> u64 {
        let hours = failures["data"].as_array().unwrap();
        hours.iter().map(|hour| hour["causes"][0]["attempts"].as_u64().unwrap()).sum()
    };
    assert_eq!(sum(&failures), 3);
    let days = world.get(&tenant.key, &format!("{own}?by=day")).await.ok(200);
    assert_eq!((sum(&days), &days["causes"][0]["endpoints"]), (2, &json!(1)));
    let none = world.get(&other.key, "/v1/stats/failures").await.ok(200);
    assert_eq!((&none["attempts"], &none["causes"], &none["data"]), (&json!(0), &json!([]), &json!([])));

    let refused = world.get(&tenant.key, "/v1/stats/failures?by=minute").await;
    assert_eq!(refused.problem(422, "by")["errors"][0]["detail"], "failures are counted by `hour` or `day`");
    world.get(&tenant.key, &format!("{own}?from=2020-01-01T00:00:00Z")).await.problem(422, "from");
    world.get(&other.key, &own).await.problem(404, "");
    world.get(OPERATOR, "/v1/stats/failures").await.problem(422, "tenant");
    assert_eq!(sum(&world.get(OPERATOR, &own).await.ok(200)), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_an_attribute_are_listed_with_counts_for_their_tenant() {
    let world = World::new("api_attributes").await;
    let (tenant, other) = (world.tenant("standard").await, world.tenant("standard").await);
    let now = UnixMillis::now();
    let event = |bridge: &str| AcceptedEvent {
        attributes: Attributes([("bridge".into(), bridge.into())].into()),
        ..testing::accepted(tenant.id.parse().unwrap(), "user.created".parse().unwrap(), now)
    };
    let events = ["b1", "b2", "b1"].map(|bridge| (event(bridge), Bytes::new()));
    world.store.record().add_attribute_values(&AttributeTally::of(&events)).await.unwrap();

    let seen = |bridge: &str, events: u64| json!({"value": bridge, "events": events, "last_seen_at": now.to_string()});
    let values = world.get(&tenant.key, "/v1/attributes/bridge").await.ok(200);
    assert_eq!(values, json!({"data": [seen("b1", 2), seen("b2", 1)], "next_cursor": null}));
    let first = world.get(&tenant.key, "/v1/attributes/bridge?limit=1").await.ok(200);
    assert_eq!(first["data"], json!([seen("b1", 2)]));
    let nothing = json!([]);
    assert_eq!(world.get(&tenant.key, "/v1/attributes/sending_node").await.ok(200)["data"], nothing);
    assert_eq!(world.get(&other.key, "/v1/attributes/bridge").await.ok(200)["data"], nothing);
    world.get(&tenant.key, "/v1/attributes/Bridge").await.problem(422, "name");
    world.get(&tenant.key, "/v1/attributes/bridge?limit=0").await.problem(422, "limit");
    world.get(OPERATOR, "/v1/attributes/bridge").await.problem(422, "tenant");
}

/// The next task in the live lane.
async fn next_task(world: &World) -> (DeliveryTask, Bytes) {
    let stop = CancellationToken::new();
    let mut lane = world.broker.consume_raw(Queue::Lane(Lane::Live), ConsumeOptions::default(), stop.clone());
    let message = tokio::time::timeout(Duration::from_secs(60), lane.recv()).await.unwrap().unwrap();
    let member = bundle::decode(&message.body).unwrap().remove(0);
    message.ack();
    stop.cancel();
    lane.drained().await;
    (member.head().unwrap(), member.payload)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_creates_a_delivery_or_sends_the_pending_one_at_once() {
    let world = World::new("api_retry").await;
    let tenant = world.tenant("standard").await;
    let endpoint = world.endpoint(&tenant).await;
    let (_, ended) = recorded(&world, &tenant, &endpoint, DeliveryStatus::Failed).await;
    let answer = world.post(&tenant.key, &format!("/v1/deliveries/{ended}/retry"), json!({})).await.ok(202);
    let (task, body) = next_task(&world).await;
    assert_eq!(answer["id"], json!(task.delivery.id.to_string()));
    assert_ne!(task.delivery.id, ended);
    assert_eq!((task.delivery.repeats, task.trigger, task.number), (Some(ended), Trigger::Manual, 1));
    assert_eq!(&body[..], br#"{"type":"user.created","timestamp":"2023-11-14T22:13:20.123Z","data":{ "n": 1.00 }}"#);
    let made = world.get(&tenant.key, &format!("/v1/deliveries/{}", task.delivery.id)).await.ok(200);
    assert_eq!((&made["status"], &made["origin_id"]), (&json!("pending"), &json!(ended.to_string())));
    assert!(made["generation"].as_str().unwrap().starts_with("retry:"));

    let (_, pending) = recorded(&world, &tenant, &endpoint, DeliveryStatus::Pending).await;
    let answer = world.call(&tenant.key, "POST", &format!("/v1/deliveries/{pending}/retry"), None).await.ok(202);
    assert_eq!(answer["id"], json!(pending.to_string()));
    let (task, _) = next_task(&world).await;
    assert_eq!((task.delivery.id, task.epoch, task.number), (pending, 1, 2));

    // A second retry while the first is in flight publishes nothing.
    let again = world.call(&tenant.key, "POST", &format!("/v1/deliveries/{pending}/retry"), None).await.ok(202);
    assert_eq!(again, answer);
    assert_eq!(world.get(&tenant.key, &format!("/v1/deliveries/{pending}")).await.ok(200)["status"], json!("pending"));

    // A delivery to an inactive endpoint cannot be retried.
    let path = format!("/v1/endpoints/{}", endpoint["id"].as_str().unwrap());
    world.call(&tenant.key, "PATCH", &path, Some(&json!({"status": "inactive"}))).await.ok(200);
    let off = world.post(&tenant.key, &format!("/v1/deliveries/{ended}/retry"), json!({})).await.problem(409, "");
    assert_eq!(off["detail"], json!("the endpoint is inactive: activate it first"));

    // A delivery without its event or endpoint cannot be retried.
    world.call(&tenant.key, "DELETE", &path, None).await.ok(204);
    world.post(&tenant.key, &format!("/v1/deliveries/{ended}/retry"), json!({})).await.problem(409, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_read_every_profile_and_tenants_their_own() {
    let world = World::new("api_profiles").await;
    let tenant = world.tenant("magnetite").await;
    let own = world.get(&tenant.key, "/v1/profiles").await.ok(200);
    assert_eq!(own["data"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&own["data"][0]["name"], &own["data"][0]["retry_schedule_seconds"]),
        (&json!("magnetite"), &json!([1, 2, 4]))
    );
    assert_eq!(own["data"][0]["event_types"].as_array().unwrap().len(), 8);
    let all = world.get(OPERATOR, "/v1/profiles").await.ok(200);
    assert!(all["data"].as_array().unwrap().len() >= 2);
}
