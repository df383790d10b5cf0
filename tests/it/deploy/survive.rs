//! The content of the compose file, and its services under load: one of three dispatchers is killed, and nothing is lost.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::stack::{Stack, compose_file};
use crate::harness::Ledger;

const EVENTS: usize = 3_000;
const BATCH: usize = 50;
/// Events of about 500 bytes, as in the benchmark.
const PAD: &str = "0123456789";
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[tokio::test]
async fn the_compose_file_is_clean_bounded_and_scales_its_dispatchers() {
    let file = compose_file().await;
    let services = file["services"].as_object().expect("services");
    for (name, service) in services {
        let image = service["image"].as_str().expect("an image");
        let tag = image.rsplit_once(':').map(|(_, tag)| tag);
        assert!(tag.is_some_and(|tag| tag != "latest"), "{name}: {image} has no version");
        assert!(service.get("container_name").is_none(), "{name} can have no second replica");
        let outside = service["ports"].as_array().into_iter().flatten().filter(|port| port["host_ip"] != "127.0.0.1");
        assert_eq!(outside.count(), 0, "{name} is published beyond this machine by default");
    }
    for name in ["migrate", "ingest", "fanout", "dispatcher", "recorder", "api"] {
        let service = &services[name];
        assert_eq!((&service["read_only"], &service["cap_drop"]), (&json!(true), &json!(["ALL"])), "{name}");
        assert!(
            service["ports"].is_null() && service["user"].is_null(),
            "{name}: the image's user, no port of the host's"
        );
        let outer = service["networks"].get("outer").is_some();
        assert_eq!(outer, name == "dispatcher", "{name}: only dispatchers have a way out");
        let after: &Value = &service["depends_on"];
        let waits = if name == "migrate" { &after["postgres"] } else { &after["migrate"] };
        assert!(!waits.is_null(), "{name} does not wait for the schema: {after}");
    }
    for engine in ["rabbitmq", "postgres"] {
        assert!(!services[engine]["healthcheck"].is_null() && !services[engine]["volumes"].is_null(), "{engine}");
    }
    assert!(file["networks"]["inner"]["internal"] == json!(true), "{}", file["networks"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_dispatchers_as_compose_runs_them_lose_nothing_when_one_is_killed() {
    let mut stack = Stack::start("compose", 3).await;
    let ledger = Ledger::start(Duration::from_millis(20)).await;
    let key = stack.tenant().await;
    let endpoint = json!({"name": "hook", "channel": "web", "url": ledger.url("hook"), "event_types": ["*"], "retry_schedule_seconds": [1, 1, 2]});
    stack.post("/v1/endpoints", &key, &endpoint).await;
    let started = Instant::now();
    while ledger.posts() == 0 {
        assert!(started.elapsed() < PATIENCE, "the endpoint is not in force");
        stack.post("/v1/publish", &key, &json!({"type": "a.b", "data": {}})).await;
        sleep(LOOK_EVERY).await;
    }
    // The proxy does not expose probes and metrics.
    for path in ["/metrics", "/readyz"] {
        let answer = stack.client.get(format!("{}{path}", stack.base)).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 404, "{path} through the proxy");
    }

    let at = stack.replicas.iter().position(|replica| replica.service == "dispatcher").expect("it runs");
    let mut victim = stack.replicas.remove(at);
    let publish = async {
        for from in (0..EVENTS).step_by(BATCH) {
            let event =
                |n| json!({"type": "a.b", "id": format!("compose-{n}"), "data": {"n": n, "pad": PAD.repeat(48)}});
            let events: Vec<_> = (from..from + BATCH).map(event).collect();
            stack.post("/v1/publish/batch", &key, &json!({"events": events})).await;
        }
    };
    let kill = async {
        ledger.wait_for_posts(EVENTS / 4, PATIENCE).await;
        ledger.wait_for_unanswered(PATIENCE).await;
        victim.kill9().await;
        ledger.entries().len()
    };
    let ((), delivered_before) = tokio::join!(publish, kill);
    assert!(delivered_before < EVENTS, "everything was delivered before the kill");
    stack.replicas.push(victim);

    let ours = || ledger.entries().into_iter().filter(|((_, event), _)| event.starts_with("compose-"));
    while ours().count() < EVENTS {
        assert!(started.elapsed() < PATIENCE, "{} of {EVENTS} deliveries after {PATIENCE:?}", ours().count());
        sleep(LOOK_EVERY).await;
    }
    assert!(ours().all(|(_, got)| got.deliveries.len() == 1), "a repeat carries the same delivery id");
    let (posts, bound) = (ours().map(|(_, got)| got.posts).sum::<usize>(), EVENTS + 2_048);
    assert!(posts <= bound, "{posts} POSTs of {EVENTS} deliveries");
    println!(
        "{EVENTS} delivered by three dispatchers, one killed after {delivered_before}; {} sent twice",
        posts - EVENTS
    );

    let (database, connection) =
        tokio_postgres::connect(stack.database_url(), tokio_postgres::NoTls).await.expect("the database");
    tokio::spawn(connection);
    let count = "SELECT count(*) FROM deliveries WHERE event_id LIKE 'compose-%' AND status = 4";
    loop {
        let delivered: i64 = database.query_one(count, &[]).await.expect("a count").get(0);
        if usize::try_from(delivered) == Ok(EVENTS) {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{delivered} of {EVENTS} are recorded as delivered");
        sleep(LOOK_EVERY).await;
    }
    let size = "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
                WHERE relname ~ '^(events|decisions|deliveries|attempts)_[0-9]{8}$'";
    let bytes: i64 = database.query_one(size, &[]).await.expect("a sum").get(0);
    println!("{} bytes a delivery in PostgreSQL, indexes included", bytes / i64::try_from(EVENTS).expect("few"));
    let graces: Vec<_> = stack.replicas.iter().map(|replica| stack.grace(replica.service)).collect();
    for (replica, grace) in stack.replicas.iter_mut().zip(graces).filter(|(replica, _)| replica.service != "dispatcher")
    {
        let ended = replica.stop(grace).await;
        assert!(ended.success(), "{}: {ended}", replica.service);
    }
    assert_eq!(stack.of("dispatcher").len(), 3);
    let healthy =
        futures::future::join_all(stack.of("dispatcher").into_iter().map(|replica| replica.is_healthy())).await;
    assert_eq!(healthy, [true, true, false], "what HEALTHCHECK says of the killed one and of the others");
}
