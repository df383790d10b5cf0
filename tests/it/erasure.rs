//! Erasures end to end: a person's address is erased wherever the history and waiting deliveries hold it, and nothing else is.

use postrider_testkit::engines::Scope;
use serde_json::{Value, json};

use crate::harness::{Answer, Cluster, Deployment, InForce, Message, Producer, Receiver, Tenant, Urls};

const VALUE: &str = "jo@example.com";

/// Starts an erasure and waits until it has ended.
async fn erase(tenant: &Tenant, request: Value) -> Value {
    let accepted = tenant.post("/v1/erasures", &request).await;
    let path = format!("/v1/erasures/{}", accepted["id"].as_str().expect("an id"));
    tenant.wait_for(&path, |erasure| erasure["finished_at"].is_string()).await
}

fn event(kind: &str, to: &str) -> Value {
    json!({"type": kind, "data": {"recipient": {"email": to}}})
}

async fn is_erased(tenant: &Tenant, event: &str) -> bool {
    tenant.get(&format!("/v1/events/{event}")).await["data"].is_null()
}

/// The only delivery of an event.
async fn delivery_of(tenant: &Tenant, event: &str) -> Value {
    tenant.get(&format!("/v1/deliveries/{}", tenant.only_delivery(event).await)).await
}

/// A tenant whose history holds the value in every way, and another tenant with an event that holds it.
struct Scene {
    deployment: Deployment,
    tenant: Tenant,
    other: Tenant,
    receiver: Receiver,
    /// The endpoint that is paused.
    paused: String,
    /// Events that hold the value: delivered, waiting for a retry, set aside, holding a line, and waiting in this line.
    held: Vec<String>,
    /// An event that does not hold the value. The answer to it does.
    echoed: String,
    /// The other tenant's event.
    theirs: String,
}

/// A message that is no valid JSON and becomes a dead letter.
fn broken(owner: &Tenant) -> String {
    format!(r#"{{"tenant":"{}","id":"broken","type":"a.b","data":{{"to":"{VALUE}""#, owner.id)
}

impl Scene {
    async fn new() -> Self {
        let deployment = Deployment::start("erasure").await;
        let (tenant, other) = (deployment.tenant("standard").await, deployment.tenant("standard").await);
        let receiver = Receiver::start().await;
        let endpoint = |name: &str, more: Value| {
            let mut endpoint = json!({"name": name, "url": receiver.url(&format!("/{name}")),
                "event_types": [format!("a.{name}")], "retry_schedule_seconds": [3600]});
            endpoint.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            endpoint
        };
        let ordered = json!({"ordering": {"key": null, "on_exhausted": "hold"}, "retry_schedule_seconds": []});
        for (name, more) in [("sent", json!({})), ("retried", json!({})), ("ordered", ordered)] {
            tenant.endpoint(endpoint(name, more)).await;
        }
        let paused = tenant.endpoint(endpoint("paused", json!({}))).await.id().to_owned();
        other.endpoint(endpoint("theirs", json!({}))).await;
        tenant.patch(&format!("/v1/endpoints/{paused}"), &json!({"status": "paused"})).await;
        deployment.configuration_in_force().await;

        receiver.answer_at("/sent", Answer::status(200).body(&format!("mailed {VALUE}")));
        receiver.answer_at("/retried", Answer::status(500).body(&format!("no mailbox {VALUE}")));
        receiver.answer_at("/ordered", Answer::status(500));
        let mut held = Vec::new();
        for kind in ["a.sent", "a.retried", "a.paused", "a.ordered", "a.ordered"] {
            held.push(tenant.publish(&event(kind, VALUE)).await);
        }
        let echoed = tenant.publish(&event("a.sent", "al@example.com")).await;
        let theirs = other.publish(&event("a.theirs", VALUE)).await;
        let producer = Producer::connect(&deployment.scope().amqp_url).await;
        for owner in [&tenant, &other] {
            producer.publish(Message::new(format!("{}.a.b", owner.id), broken(owner))).await;
        }
        let scene = Self { deployment, tenant, other, receiver, paused, held, echoed, theirs };
        scene.recorded().await;
        scene
    }

    /// Waits until everything is on record.
    async fn recorded(&self) {
        let Self { deployment, tenant, other, held, echoed, theirs, .. } = self;
        for (event, status) in [(&held[0], "delivered"), (echoed, "delivered"), (&held[3], "failed")] {
            tenant.wait_for_delivery(event, status).await;
        }
        tenant.wait_for_first_attempt(&held[1]).await;
        for event in [&held[2], &held[4]] {
            tenant.only_delivery(event).await;
        }
        other.wait_for_delivery(theirs, "delivered").await;
        let both = |page: &Value| page["data"].as_array().is_some_and(|letters| letters.len() == 2);
        deployment.operator().wait_for("/v1/dead-letters", both).await;
    }

    /// Checks that no event, delivery, answer or dead letter of the tenant holds the value.
    async fn check_erased(&self) {
        let Self { deployment, tenant, held, .. } = self;
        for event in held {
            assert!(is_erased(tenant, event).await, "{event}");
            let delivery = delivery_of(tenant, event).await;
            assert!(!delivery.to_string().contains(VALUE), "{delivery:#}");
        }
        for event in [&held[1], &held[2], &held[4]] {
            let delivery = delivery_of(tenant, event).await;
            let ended = (&delivery["status"], &delivery["discard_reason"]);
            assert_eq!(ended, (&json!("discarded"), &json!("expunged")), "{delivery:#}");
        }
        let echoed = delivery_of(tenant, &self.echoed).await;
        assert!(!echoed["attempts"].to_string().contains(VALUE), "{echoed:#}");
        let letters = deployment.operator().get("/v1/dead-letters").await;
        let bodies: Vec<&Value> = letters["data"].as_array().unwrap().iter().map(|row| &row["body_excerpt"]).collect();
        assert!(bodies.contains(&&json!("")) && bodies.contains(&&json!(broken(&self.other))), "{letters:#}");
    }

    /// Checks that the other tenant's data is untouched, and that it sees nothing of the erasure.
    async fn check_untouched(&self, erasure: &str) {
        assert!(!is_erased(&self.tenant, &self.echoed).await);
        assert!(!is_erased(&self.other, &self.theirs).await);
        assert_eq!(self.other.try_post(&format!("/v1/erasures/{erasure}/cancel"), &json!({})).await.0, 404);
        assert_eq!(self.other.get("/v1/erasures").await["data"], json!([]));
    }

    /// Checks that the paused endpoint and the held line go on without what was erased.
    async fn check_goes_on(&self) {
        let Self { deployment, tenant, receiver, paused, .. } = self;
        receiver.answer_at("/ordered", Answer::status(200));
        tenant.patch(&format!("/v1/endpoints/{paused}"), &json!({"status": "active"})).await;
        deployment.configuration_in_force().await;
        for kind in ["a.ordered", "a.paused"] {
            let event = tenant.publish(&event(kind, "al@example.com")).await;
            tenant.wait_for_delivery(&event, "delivered").await;
        }
        let posts = |path: &str| receiver.all().iter().filter(|request| request.target == path).count();
        assert_eq!((posts("/paused"), posts("/ordered")), (1, 2), "what waited is not sent");
    }
}

/// Guarantee (The log, and repairs): An erasure erases a value from events, waiting deliveries, answers and dead letters of its
/// tenant; a dry run changes nothing.
#[tokio::test]
async fn a_persons_address_is_erased_wherever_it_is_held_and_nothing_else_is() {
    let scene = Scene::new().await;
    let (tenant, operator) = (&scene.tenant, scene.deployment.operator());
    let request = |dry_run: bool| json!({"field": "data.recipient.email", "value": VALUE, "dry_run": dry_run});
    let counted = erase(tenant, request(true)).await;
    assert_eq!(counted["status"], json!("finished"), "{counted:#}");
    let found = &counted["found"];
    assert_eq!((&found["events"], &found["deliveries"]), (&json!(5), &json!(3)), "{counted:#}");
    assert_eq!((&found["attempts"], &found["dead_letters"]), (&json!(3), &json!(1)), "{counted:#}");
    assert_eq!(counted["example_events"].as_array().map(Vec::len), Some(5));
    for event in &scene.held {
        assert!(!is_erased(tenant, event).await, "a dry run erases nothing");
    }
    assert_eq!(delivery_of(tenant, &scene.held[2]).await["status"], json!("pending"));

    let done = erase(tenant, request(false)).await;
    assert_eq!((&done["status"], &done["found"]["events"]), (&json!("finished"), &json!(5)), "{done:#}");
    scene.check_erased().await;
    let id = done["id"].as_str().expect("an id");
    scene.check_untouched(id).await;
    let audit = operator.get(&format!("/v1/audit-log?target={id}")).await;
    let actions: Vec<&Value> = audit["data"].as_array().unwrap().iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, [&json!("erasure.finished"), &json!("erasure.created")]);
    let everything = operator.get("/v1/audit-log?limit=200").await.to_string();
    assert!(everything.contains(done["value_hash"].as_str().unwrap()) && !everything.contains(VALUE), "{everything}");
    scene.check_goes_on().await;
}

/// Guarantee (The log, and repairs): An erasure continues after its process was killed.
#[tokio::test]
async fn a_killed_process_continues_an_erasure_at_its_last_step() {
    const EVENTS: usize = 1_000;
    let scope = Scope::new("erasure-killed").await;
    let urls = Urls { amqp: scope.amqp_url.clone(), database: scope.database_url.clone() };
    let mut cluster = Cluster::start(urls).await;
    let publisher = cluster.tenant(&[]).await;
    let client = reqwest::Client::new();
    let in_force = InForce::new(&scope, client.clone(), &cluster.base("ingest"), &cluster.base("fanout")).await;
    let tenant =
        Tenant { id: publisher.id.clone(), client, base: cluster.base("api"), key: publisher.key.clone(), in_force };
    let events: Vec<Value> = (0..EVENTS).map(|_| event("a.sent", VALUE)).collect();
    cluster.post_when_known("ingest", "/v1/publish/batch", &publisher.key, &json!({"events": events})).await;

    // The API knows the key once this is accepted.
    let nothing = json!({"value": "nobody", "until": "2026-01-01T00:00:00Z", "dry_run": true});
    cluster.post_when_known("api", "/v1/erasures", &publisher.key, &nothing).await;
    let accepted = tenant.post("/v1/erasures", &json!({"value": VALUE})).await;
    let path = format!("/v1/erasures/{}", accepted["id"].as_str().expect("an id"));
    tenant.wait_for(&path, |erasure| erasure["found"]["events"].as_u64() >= Some(50)).await;
    cluster.kill9("api").await;
    cluster.restart("api").await;
    let halfway = tenant.get(&path).await;
    assert_eq!(halfway["status"], json!("running"), "it was killed on the way: {halfway:#}");
    let done = tenant.wait_for(&path, |erasure| erasure["finished_at"].is_string()).await;
    let result = (&done["status"], &done["found"]["events"], &done["progress"]["events"]);
    assert_eq!(result, (&json!("finished"), &json!(EVENTS), &json!(EVENTS)), "each event once: {done:#}");
    let rest = tenant.get("/v1/events?payload=*=jo@example.com").await;
    assert_eq!(rest["data"], json!([]), "{rest:#}");
}
