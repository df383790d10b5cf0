//! Replays end to end: what they deliver, how they are paused and cancelled, and what a crash repeats.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use postrider_testkit::engines::Scope;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::{Answer, Cluster, Deployment, FaultLine, Ledger, Receiver, Tenant, Urls};

const PATIENCE: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Publishes numbered events of a type as one batch. Returns their ids.
async fn publish_many(tenant: &Tenant, event_type: &str, count: usize) -> BTreeSet<String> {
    let events: Vec<_> = (0..count).map(|n| json!({"type": event_type, "data": {"n": n}})).collect();
    let answer = tenant.post("/v1/publish/batch", &json!({"events": events})).await;
    let results = answer["results"].as_array().expect("results");
    results.iter().map(|result| result["id"].as_str().expect("an id").to_owned()).collect()
}

/// Waits until `count` deliveries of an endpoint have this status.
async fn wait_for_count(tenant: &Tenant, filter: &str, count: usize) -> Vec<Value> {
    let path = format!("/v1/deliveries?limit=200&{filter}");
    let page = tenant.wait_for(&path, |page| page["data"].as_array().is_some_and(|data| data.len() == count)).await;
    page["data"].as_array().expect("deliveries").clone()
}

async fn replay(tenant: &Tenant, asked: &Value) -> String {
    tenant.post("/v1/replays", asked).await["id"].as_str().expect("an id").to_owned()
}

async fn dry_run(tenant: &Tenant, asked: &Value) -> Value {
    let mut asked = asked.clone();
    asked["dry_run"] = json!(true);
    let (status, answer) = tenant.try_post("/v1/replays", &asked).await;
    assert_eq!(status, 200, "{answer:#}");
    answer
}

async fn finished(tenant: &Tenant, id: &str) -> Value {
    tenant.wait_for(&format!("/v1/replays/{id}"), |replay| replay["status"] == "finished").await
}

/// Runs a replay to its end and compares it with its dry run.
async fn run_as_foreseen(tenant: &Tenant, asked: &Value, deliveries: u64) -> String {
    let foreseen = dry_run(tenant, asked).await;
    assert_eq!(foreseen["deliveries"], json!(deliveries), "{foreseen:#}");
    let id = replay(tenant, asked).await;
    let done = finished(tenant, &id).await;
    let progress = &done["progress"];
    let did = json!({"events": progress["events"], "deliveries": progress["deliveries"], "retrying": 0});
    assert_eq!(did, foreseen, "{done:#}");
    id
}

/// Guarantee (The log, and repairs): Replay of a filtered range with dry run; pause, resume, cancel; today's subscriptions.
#[tokio::test]
async fn a_replay_of_failed_deliveries_delivers_exactly_them() {
    let deployment = Deployment::start("replay-range").await;
    let tenant = deployment.tenant("standard").await;
    let receiver = Receiver::start().await;
    let hook = json!({"name": "h", "url": receiver.url("/"), "event_types": ["*"], "retry_schedule_seconds": []});
    let endpoint = tenant.endpoint(hook).await;
    // One failed event before the range and one after it; in the range two failed and two did not.
    let (mut events, mut accepted) = (Vec::new(), Vec::new());
    for (n, status) in [500, 200, 500, 200, 500, 500].into_iter().enumerate() {
        receiver.answer_next([Answer::status(status)]);
        let event = tenant.publish(&json!({"type": "a.b", "data": {"n": n}})).await;
        receiver.next().await;
        let ended = if status == 200 { "delivered" } else { "failed" };
        tenant.wait_for_delivery(&event, ended).await;
        let recorded = tenant.wait_for(&format!("/v1/events/{event}"), |event| event["id"].is_string()).await;
        accepted.push(recorded["accepted_at"].as_str().unwrap().to_owned());
        events.push(event);
    }
    let asked = json!({
        "endpoint_id": endpoint.id(), "from": accepted[1], "to": accepted[5], "event_types": ["a.*"], "only_failed": true,
    });
    let wider = json!({"from": accepted[1], "to": accepted[5]});
    assert_eq!(dry_run(&tenant, &wider).await, json!({"events": 4, "deliveries": 4, "retrying": 0}));

    let id = run_as_foreseen(&tenant, &asked, 2).await;
    let again = receiver.take(2).await;
    let ids: BTreeSet<_> = again.iter().map(|request| request.header("webhook-id").to_owned()).collect();
    assert_eq!(ids, BTreeSet::from([events[2].clone(), events[4].clone()]));
    for request in &again {
        let event = request.header("webhook-id");
        let path = format!("/v1/deliveries/{}", request.header("postrider-delivery"));
        let delivery = tenant.wait_for(&path, |delivery| delivery["status"] == "delivered").await;
        assert_eq!(delivery["generation"], json!(format!("replay:{id}")), "{delivery:#}");
        assert_eq!(delivery["attempts"][0]["trigger"], json!("replay"), "{delivery:#}");
        assert_eq!(delivery["body"].as_str(), Some(request.text()));
        let origin = tenant.get(&format!("/v1/deliveries/{}", delivery["origin_id"].as_str().unwrap())).await;
        assert_eq!((&origin["event_id"], &origin["status"]), (&json!(event), &json!("failed")), "{origin:#}");
    }
    // Every failed event has arrived now, so nothing is left to replay.
    assert_eq!(dry_run(&tenant, &asked).await, json!({"events": 0, "deliveries": 0, "retrying": 0}));
    assert_eq!(receiver.all().len(), 8, "and nothing else came");
}

#[tokio::test]
async fn a_key_makes_one_replay_and_mistakes_are_named() {
    let deployment = Deployment::start("replay-key").await;
    let (tenant, other) = (deployment.tenant("standard").await, deployment.tenant("standard").await);
    let receiver = Receiver::start().await;
    let hook = json!({"name": "h", "url": receiver.url("/"), "event_types": ["*"]});
    let endpoint = tenant.endpoint(hook).await;
    let event = tenant.publish(&json!({"type": "a.b", "data": {}})).await;
    tenant.wait_for_delivery(&event, "delivered").await;
    let with_key = async |tenant: &Tenant, asked: Value| {
        let headers = [("idempotency-key", "once")];
        tenant.send(reqwest::Method::POST, "/v1/replays", Some(asked.to_string()), &headers).await
    };
    let (status, first) = with_key(&tenant, json!({"event_id": event})).await;
    assert_eq!(status, 202, "{first:#}");
    assert_eq!(with_key(&tenant, json!({"event_id": event})).await, (202, first.clone()));
    assert_eq!(with_key(&tenant, json!({"only_failed": true})).await.0, 409);
    let id = first["id"].as_str().unwrap().to_owned();
    finished(&tenant, &id).await;
    wait_for_count(&tenant, "status=delivered", 2).await;

    for (asked, pointer) in [
        (json!({}), ""),
        (json!({"form": "2026-01-01T00:00:00Z"}), "/form"),
        (json!({"from": "2999-01-01T00:00:00Z"}), "/from"),
        (json!({"mode": "again", "only_failed": true}), "/mode"),
        (json!({"event_id": "unknown"}), "/event_id"),
    ] {
        let (status, problem) = tenant.try_post("/v1/replays", &asked).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!(pointer)), "{problem:#}");
    }

    // Another tenant cannot see or change it.
    assert_eq!(other.get("/v1/replays").await["data"], json!([]));
    assert_eq!(tenant.get("/v1/replays").await["data"][0]["id"], json!(id));
    let (status, _) = other.send(reqwest::Method::GET, &format!("/v1/replays/{id}"), None, &[]).await;
    assert_eq!(status, 404);
    for verb in ["pause", "resume", "cancel"] {
        assert_eq!(other.try_post(&format!("/v1/replays/{id}/{verb}"), &json!({})).await.0, 404, "{verb}");
    }
    for asked in [json!({"endpoint_id": endpoint.id()}), json!({"event_id": event})] {
        assert_eq!(other.try_post("/v1/replays", &asked).await.0, 422, "{asked}");
    }
    assert_eq!(with_key(&other, json!({"only_failed": true})).await.0, 202, "keys are each tenant's own");
}

/// Guarantee: as `replays::a_replay_of_failed_deliveries_delivers_exactly_them`.
#[tokio::test]
async fn a_replay_can_be_paused_resumed_and_cancelled() {
    let deployment = Deployment::start("replay-steered").await;
    let tenant = deployment.tenant("standard").await;
    let receiver = Receiver::start().await;
    let hook = json!({"name": "h", "url": receiver.url("/"), "event_types": ["*"], "retry_schedule_seconds": [3600]});
    tenant.endpoint(hook).await;
    let events = publish_many(&tenant, "a.b", 150).await;
    wait_for_count(&tenant, "status=delivered", 150).await;
    receiver.take(150).await;

    // 150 events are two pages.
    let id = replay(&tenant, &json!({"event_types": ["a.b"]})).await;
    let path = format!("/v1/replays/{id}");
    tenant.post(&format!("{path}/pause"), &json!({})).await;
    let paused = tenant.get(&path).await;
    assert_eq!(paused["status"], json!("paused"), "{paused:#}");
    let one = events.first().unwrap();
    let other = replay(&tenant, &json!({"event_id": one, "mode": "rematch"})).await;
    let beside = finished(&tenant, &other).await["progress"]["deliveries"].as_u64().unwrap();
    assert_eq!(tenant.get(&path).await["progress"], paused["progress"], "the replayer went past it");
    tenant.post(&format!("{path}/resume"), &json!({})).await;
    let done = finished(&tenant, &id).await;
    assert_eq!(done["progress"]["walked"], json!(150), "{done:#}");
    assert!(done["finished_at"].is_string(), "{done:#}");
    let made = done["progress"]["deliveries"].as_u64().unwrap();
    assert!((149..=150).contains(&made), "the one of the other replay may be on its way: {done:#}");
    let (status, problem) = tenant.try_post(&format!("{path}/pause"), &json!({})).await;
    assert_eq!(status, 409, "{problem:#}");
    receiver.take(usize::try_from(made + beside).unwrap()).await;

    receiver.answer_at("/", Answer::status(500));
    let id = replay(&tenant, &json!({"event_types": ["a.b"]})).await;
    let path = format!("/v1/replays/{id}");
    receiver.take(2).await;
    tenant.post(&format!("{path}/cancel"), &json!({})).await;
    let cancelled = tenant.get(&path).await;
    assert_eq!(cancelled["status"], json!("cancelled"), "{cancelled:#}");
    // A delivery that waits for its retry ends at once; one in a lane ends when a dispatcher gets it.
    wait_for_count(&tenant, "status=pending", 0).await;
    let ended = tenant.get("/v1/deliveries?limit=200&status=cancelled").await;
    let ended = ended["data"].as_array().unwrap().clone();
    assert!(!ended.is_empty());
    assert!(ended.iter().all(|delivery| delivery["generation"] == json!(format!("replay:{id}"))));
    assert_eq!(tenant.try_post(&format!("{path}/resume"), &json!({})).await.0, 409);
    tenant.post(&format!("{path}/cancel"), &json!({})).await;
}

/// Guarantee: as `replays::a_replay_of_failed_deliveries_delivers_exactly_them`.
#[tokio::test]
async fn a_rematch_brings_past_events_to_an_endpoint_that_was_made_later() {
    let deployment = Deployment::start("replay-rematch").await;
    let tenant = deployment.tenant("standard").await;
    let receiver = Receiver::start().await;
    let hook = |name: &str| json!({"name": name, "url": receiver.url(&format!("/{name}")), "event_types": ["email.*"]});
    tenant.endpoint(hook("old")).await;
    let mut events = Vec::new();
    for (event_type, amount, bridge) in [
        ("email.sent", 6, "b1"),
        ("email.sent", 4, "b1"),
        ("email.sent", 7, "b2"),
        ("sms.sent", 8, "b1"),
        ("email.sent", 9, "b1"),
    ] {
        let event = json!({"type": event_type, "data": {"amount": amount}, "attributes": {"bridge": bridge}});
        events.push(tenant.publish(&event).await);
    }
    wait_for_count(&tenant, "status=delivered", 4).await;
    receiver.take(4).await;
    // Expunged events cannot be replayed.
    tenant.delete(&format!("/v1/events/{}/payload", events[4])).await;
    let mut young = hook("young");
    young["filters"] = json!({"bridge": ["b1"]});
    young["payload_filter"] = json!({"field": "data.amount", "op": "gt", "value": 5});
    let young = tenant.endpoint(young).await;

    let asked = json!({"endpoint_id": young.id(), "from": "2026-01-01T00:00:00Z", "mode": "redeliver"});
    assert_eq!(
        dry_run(&tenant, &asked).await,
        json!({"events": 0, "deliveries": 0, "retrying": 0}),
        "it was not decided then"
    );
    let asked = json!({"endpoint_id": young.id(), "from": "2026-01-01T00:00:00Z", "mode": "rematch"});
    run_as_foreseen(&tenant, &asked, 1).await;
    let request = receiver.next().await;
    assert_eq!((request.target.as_str(), request.header("webhook-id")), ("/young", events[0].as_str()));
    let path = format!("/v1/deliveries/{}", request.header("postrider-delivery"));
    let delivery = tenant.wait_for(&path, |delivery| delivery["status"] == "delivered").await;
    assert!(delivery.get("origin_id").is_none(), "there is none that it repeats: {delivery:#}");
    assert_eq!(delivery["body"].as_str(), Some(request.text()));

    let both = json!({"attributes": {"bridge": "b1"}, "mode": "rematch"});
    run_as_foreseen(&tenant, &both, 3).await;
    let targets: Vec<_> = receiver.take(3).await.into_iter().map(|request| request.target).collect();
    assert_eq!(targets.iter().filter(|target| *target == "/old").count(), 2, "{targets:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_replayer_goes_on_without_a_second_delivery_id() {
    const EVENTS: usize = 1_000;
    let scope = Scope::new("replay-killed").await;
    let urls = Urls { amqp: scope.amqp_url.clone(), database: scope.database_url.clone() };
    let (database, connection) =
        tokio_postgres::connect(&urls.database, tokio_postgres::NoTls).await.expect("the database");
    tokio::spawn(connection);
    let count = async |sql: &str| database.query_one(sql, &[]).await.expect("a count").get::<_, i64>(0);
    let reach = async |sql: &str, least: i64| {
        let started = Instant::now();
        while count(sql).await < least {
            assert!(started.elapsed() < PATIENCE, "{sql} does not reach {least}");
            sleep(LOOK_EVERY).await;
        }
    };
    let mut cluster = Cluster::start(urls).await;
    let ledger = Ledger::start(Duration::ZERO).await;
    let publisher = cluster.tenant(&[(&ledger.url("hook"), json!({}))]).await;
    // The endpoint is in force once a probe event has reached it.
    let started = Instant::now();
    while ledger.posts() == 0 {
        assert!(started.elapsed() < PATIENCE, "the endpoint is not in force");
        cluster.post_when_known("ingest", "/v1/publish", &publisher.key, &json!({"type": "a.probe", "data": {}})).await;
        sleep(LOOK_EVERY).await;
    }
    let event = |n| json!({"type": "a.b", "id": format!("replayed-{n}"), "data": {"n": n}});
    let events: Vec<_> = (0..EVENTS).map(event).collect();
    cluster.post("ingest", "/v1/publish/batch", &publisher.key, &json!({"events": events})).await;
    reach("SELECT count(*) FROM deliveries WHERE type = 'a.b' AND status = 4", EVENTS as i64).await;

    cluster.post("api", "/v1/replays", &publisher.key, &json!({"event_types": ["a.b"]})).await;
    reach("SELECT coalesce(max(deliveries), 0) FROM replays", 200).await;
    cluster.kill9("recorder").await;
    let at_kill = count("SELECT max(deliveries) FROM replays").await;
    assert!(at_kill < EVENTS as i64, "it was killed on the way");
    cluster.restart("recorder").await;
    reach("SELECT count(*) FROM replays WHERE status = 2", 1).await;
    let replayed = "SELECT count(*) FROM deliveries WHERE generation LIKE 'replay:%'";
    reach(&format!("{replayed} AND status = 4"), EVENTS as i64).await;
    assert_eq!(count(replayed).await, EVENTS as i64);
    assert_eq!(count("SELECT max(deliveries) FROM replays").await, EVENTS as i64);
    let entries = ledger.entries();
    let got: Vec<_> =
        entries.iter().filter(|((_, event), _)| event.starts_with("replayed-")).map(|(_, got)| got).collect();
    assert_eq!(got.len(), EVENTS);
    assert!(got.iter().all(|got| got.deliveries.len() == 2), "the event's own, and one of the replay");
    let repeated: usize = got.iter().map(|got| got.posts - 2).sum();
    let fault = format!("kill -9 of the replayer, after {at_kill} of {EVENTS} deliveries");
    let line = FaultLine { fault, accepted: EVENTS, delivered: EVENTS, duplicates: repeated, ..FaultLine::default() };
    line.emit();
}
