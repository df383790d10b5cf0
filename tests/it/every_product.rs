//! Promises with different values for each of the six products: timeout, success, rate, secrets. (The format of deliveries is
//! tested in the file of each product.)

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::{Answer, Deployment, Receiver, Tenant};

/// Profile, one of its types, its timeout in seconds.
const PRODUCTS: [(&str, &str, f64); 6] = [
    ("migma", "subscriber.added", 10.0),
    ("migomail", "email.sent", 10.0),
    ("metigan", "email.delivered", 30.0),
    ("magnetite", "lead.created", 30.0),
    ("mumara", "Delivered", 30.0),
    ("standard", "user.created", 15.0),
];

/// An event that every product accepts.
fn event(event_type: &str) -> Value {
    json!({
        "type": event_type, "data": {"email": "jane@example.com", "message_id": "m-1"},
        "metadata": {"organization_id": "o", "project_id": "p", "lead_id": "l"},
    })
}

fn hook(url: &str) -> Value {
    json!({"name": "hook", "url": url, "event_types": ["*"]})
}

/// Accepts connections and never responds.
async fn black_hole() -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    let task = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    (url, task)
}

fn check_timed_out(attempt: &Value, seconds: f64, of: &str) {
    let took = attempt["duration_ms"].as_f64().expect("a duration") / 1_000.0;
    assert!(took >= seconds, "{of} waited {took} s: {attempt:#}");
    let expected = (&json!("timeout"), &json!(format!("no answer within {seconds} s")));
    assert_eq!((&attempt["outcome"], &attempt["error"]), expected, "{of}: {attempt:#}");
}

/// Guarantee (Attempts and retries): Each product's timeout, or the endpoint's own timeout and schedule.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_times_out_after_the_products_or_the_endpoints_timeout() {
    let deployment = Deployment::start("timeouts").await;
    let (url, _hole) = black_hole().await;
    let checks = PRODUCTS.map(|(profile, event_type, seconds)| {
        let (deployment, url) = (&deployment, &url);
        async move {
            let tenant = deployment.tenant(profile).await;
            tenant.endpoint(hook(url)).await;
            let event = tenant.publish(&event(event_type)).await;
            let delivery = tenant.wait_for_first_attempt(&event).await;
            check_timed_out(&delivery["attempts"][0], seconds, profile);
        }
    });
    let own = async {
        let tenant = deployment.tenant("metigan").await;
        let mut hook = hook(&url);
        hook["timeout_seconds"] = json!(1);
        hook["retry_schedule_seconds"] = json!([1]);
        tenant.endpoint(hook).await;
        let event = tenant.publish(&event("email.delivered")).await;
        let delivery = tenant.wait_for_delivery(&event, "failed").await;
        let attempts = delivery["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), 2, "{delivery:#}");
        attempts.iter().for_each(|attempt| check_timed_out(attempt, 1.0, "an endpoint of its own mind"));
    };
    futures::join!(join_all(checks), own);
}

/// Guarantee (Attempts and retries): 2xx is success; redirects fail and are not followed.
#[tokio::test]
async fn any_2xx_is_success_and_a_redirect_fails_and_is_not_followed() {
    let deployment = Deployment::start("successes").await;
    let receiver = Receiver::start().await;
    for code in [200, 201, 204, 299, 301, 302, 303, 307, 308] {
        let answer = Answer::status(code).header("location", &receiver.url("/followed"));
        receiver.answer_at(&format!("/{code}"), answer);
    }
    for (profile, event_type, _) in PRODUCTS {
        let tenant = deployment.tenant(profile).await;
        for code in [200, 201, 204, 299, 301, 302, 303, 307, 308] {
            tenant.post("/v1/endpoints", &hook(&receiver.url(&format!("/{code}")))).await;
        }
        deployment.configuration_in_force().await;
        let event = tenant.publish(&event(event_type)).await;
        let answered = |page: &Value| {
            let deliveries = page["data"].as_array().map_or(&[][..], Vec::as_slice);
            deliveries.iter().filter(|delivery| delivery["status_code"].is_u64()).count() == 9
        };
        let page = tenant.wait_for(&format!("/v1/deliveries?event_id={event}"), answered).await;
        for delivery in page["data"].as_array().unwrap() {
            let succeeded = delivery["status_code"].as_u64().unwrap() < 300;
            assert_eq!(delivery["status"] == "delivered", succeeded, "{profile}: {delivery:#}");
        }
    }
    assert!(receiver.all().iter().all(|request| request.target != "/followed"));
}

/// Publishes `count` events at once and checks that they arrive no faster than `per_second`. A busy machine only delays them.
async fn check_rate(tenant: &Tenant, receiver: &Receiver, event: &Value, count: usize, per_second: usize) {
    let batch = json!({"events": vec![event.clone(); count]});
    let published = Instant::now();
    tenant.post("/v1/publish/batch", &batch).await;
    receiver.take(count).await;
    let took = published.elapsed();
    let least = Duration::from_secs(1) * u32::try_from(count - 1).unwrap() / u32::try_from(per_second).unwrap();
    assert!(took >= least.mul_f64(0.9), "{count} events in {took:?}");
}

/// Guarantee (Attempts and retries): Migma's 100/s and an endpoint's own rate; held time is on record.
#[tokio::test]
async fn migmas_100_per_second_and_an_endpoints_own_rate_are_kept() {
    let deployment = Deployment::start("rates").await;
    let tenant = deployment.tenant("migma").await;
    let receiver = Receiver::start().await;
    tenant.endpoint(hook(&receiver.url("/"))).await;
    let event = event("subscriber.added");
    check_rate(&tenant, &receiver, &event, 250, 100).await;

    let slow = deployment.tenant("standard").await;
    let mut own = hook(&receiver.url("/"));
    own["rate_per_second"] = json!(10);
    slow.endpoint(own).await;
    check_rate(&slow, &receiver, &event, 25, 10).await;
    // Attempts that the rate delayed are on record as held.
    let all_there = |page: &Value| page["data"].as_array().is_some_and(|data| data.len() == 25);
    let page = slow.wait_for("/v1/deliveries?status=delivered", all_there).await;
    let mut held = 0;
    for delivery in page["data"].as_array().unwrap() {
        let path = format!("/v1/deliveries/{}", delivery["id"].as_str().unwrap());
        let attempt = slow.get(&path).await["attempts"][0].clone();
        held += usize::from(attempt["held_reason"] == "rate" && attempt["held_ms"].as_u64() > Some(0));
    }
    assert!(held > 0, "no delivery was held on record");
}

/// Guarantee (Secrets and tenants): A secret is shown once, by every product.
#[tokio::test]
async fn a_secret_is_shown_only_at_creation_and_rotation() {
    let deployment = Deployment::start("shown-once").await;
    for (profile, ..) in PRODUCTS {
        let tenant = deployment.tenant(profile).await;
        let made = tenant.post("/v1/endpoints", &hook("https://example.com/")).await;
        let path = format!("/v1/endpoints/{}", made["id"].as_str().unwrap());
        let rotated = tenant.post(&format!("{path}/rotate-secret"), &json!({})).await;
        let secrets = [&made["secret"], &rotated["secret"]].map(|secret| secret.as_str().expect(profile).to_owned());
        assert_ne!(secrets[0], secrets[1]);
        let edited = tenant.patch(&path, &json!({"name": "renamed"})).await;
        for answer in [tenant.get(&path).await, tenant.get("/v1/endpoints").await, edited] {
            assert!(secrets.iter().all(|secret| !answer.to_string().contains(secret)), "{profile}: {answer:#}");
        }
    }
}
