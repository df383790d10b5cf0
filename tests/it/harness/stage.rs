//! The stage for one product: a deployment, a tenant of its profile and a receiver, with checks of what every product promises.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::tenant::Endpoint;
use super::{Answer, Deployment, Received, Receiver, Tenant, instant};

/// A retry that is due later than this is still parked when a test checks it, even on a busy machine.
const PARKED_FOR_LONG_SECONDS: u64 = 60;

/// Everything that a scenario of one product needs.
pub(crate) struct Stage {
    profile: String,
    pub(crate) deployment: Deployment,
    pub(crate) tenant: Tenant,
    pub(crate) receiver: Receiver,
}

impl Stage {
    /// A deployment with a tenant of this profile, and a receiver.
    pub(crate) async fn of(profile: &str) -> Self {
        Self::on(Deployment::start(profile).await, profile).await
    }

    /// The same on a running deployment.
    pub(crate) async fn on(deployment: Deployment, profile: &str) -> Self {
        let tenant = deployment.tenant(profile).await;
        Self { profile: profile.into(), deployment, tenant, receiver: Receiver::start().await }
    }

    /// Creates an endpoint at the receiver that gets every type, unless `members` override that.
    pub(crate) async fn endpoint(&self, members: Value) -> Endpoint {
        self.tenant.endpoint(self.document(members)).await
    }

    /// The request for such an endpoint.
    pub(crate) fn document(&self, members: Value) -> Value {
        let mut endpoint =
            json!({"name": "hook", "channel": "web", "url": self.receiver.url("/"), "event_types": ["*"]});
        for (name, value) in members.as_object().expect("members") {
            endpoint[name] = value.clone();
        }
        endpoint
    }

    /// Publishes these bytes and returns the event's id and the delivery.
    pub(crate) async fn deliver(&self, event: &str) -> (String, Received) {
        let id = self.tenant.publish_text(event).await;
        let request = self.receiver.next().await;
        assert_eq!(request.header("webhook-id"), id);
        (id, request)
    }

    /// Makes a test call with the response 200, and returns the received request.
    pub(crate) async fn test_call(&self, endpoint: &Endpoint, request: &Value) -> Received {
        let attempt = self.tenant.post(&format!("/v1/endpoints/{}/test", endpoint.id()), request).await;
        assert_eq!((&attempt["outcome"], &attempt["trigger"]), (&json!("success"), &json!("test")), "{attempt:#}");
        self.receiver.next().await
    }

    /// Checks that the catalog has these types, in this order.
    pub(crate) async fn check_catalog<'a>(&self, types: impl IntoIterator<Item = &'a str>) {
        let profiles = self.tenant.get("/v1/profiles").await;
        let catalog = profiles["data"][0]["event_types"].as_array().expect("types");
        let names: Vec<_> = catalog.iter().filter_map(|info| info["name"].as_str()).collect();
        assert_eq!(names, types.into_iter().collect::<Vec<_>>());
    }

    /// Checks the profile's schedule in seconds: a failed delivery waits each delay before its retry, lengthened by at most the
    /// share `jitter`, and fails after the last. To avoid waiting, each retry is checked on an endpoint whose own schedule is the
    /// rest of the profile's.
    pub(crate) async fn check_schedule(&self, event: &str, seconds: &[u64], jitter: f64) {
        let profiles = self.tenant.get("/v1/profiles").await;
        assert_eq!(profiles["data"][0]["retry_schedule_seconds"], json!(seconds));
        let tenant = self.deployment.tenant(&self.profile).await;
        let mut expected = HashMap::new();
        for retries in 0..=seconds.len() {
            let path = format!("/after/{retries}");
            self.receiver.answer_at(&path, Answer::status(500));
            let mut members = json!({"url": self.receiver.url(&path)});
            if retries > 0 {
                members["retry_schedule_seconds"] = json!(&seconds[retries..]);
            }
            let endpoint = tenant.endpoint(self.document(members)).await;
            expected.insert(endpoint.id().to_owned(), seconds.get(retries).copied());
        }
        let id = tenant.publish_text(event).await;
        let mut first = None;
        for delivery in attempted(&tenant, &id, expected.len()).await {
            let id = delivery["id"].as_str().expect("an id").to_owned();
            let delivery = tenant.wait_for_attempts(&id, 1).await;
            let Some(scheduled) = expected[delivery["endpoint_id"].as_str().expect("an id")] else {
                assert_eq!(delivery["status"], json!("failed"), "no retry after the last: {delivery:#}");
                continue;
            };
            check_delay(&delivery, 0, scheduled, jitter);
            if scheduled < PARKED_FOR_LONG_SECONDS {
                continue;
            }
            if jitter == 0.0 {
                self.deployment.wait_for_messages(&format!("postrider.delay.{}", scheduled * 1000), 1).await;
            }
            first.get_or_insert((id, scheduled));
        }
        // A manual attempt uses up no retry: the next delay is still the first one of the endpoint's schedule.
        let (first, scheduled) = first.expect("a retry that is parked for long");
        tenant.post(&format!("/v1/deliveries/{first}/retry"), &json!({})).await;
        check_delay(&tenant.wait_for_attempts(&first, 2).await, 1, scheduled, jitter);
    }

    /// Checks the status of a delivery after its first attempt got each response: `delivered`, `failed`, or `pending` for a retry.
    /// Uses a new tenant with an endpoint for each response.
    pub(crate) async fn check_statuses(&self, event: &str, expected: &[(u16, &str)]) {
        let tenant = self.deployment.tenant(&self.profile).await;
        let mut statuses = HashMap::new();
        for (code, status) in expected {
            let path = format!("/{code}");
            // The target of the redirect must get no request.
            self.receiver.answer_at(&path, Answer::status(*code).header("location", "/followed"));
            let endpoint = tenant.endpoint(self.document(json!({"url": self.receiver.url(&path)}))).await;
            statuses.insert(endpoint.id().to_owned(), (*code, *status));
        }
        let id = tenant.publish_text(event).await;
        for delivery in attempted(&tenant, &id, expected.len()).await {
            let (code, status) = statuses[delivery["endpoint_id"].as_str().expect("an id")];
            assert_eq!((&delivery["status_code"], &delivery["status"]), (&json!(code), &json!(status)), "{delivery:#}");
            assert_eq!(delivery["next_attempt_at"].is_string(), status == "pending", "{delivery:#}");
        }
        assert!(self.receiver.all().iter().all(|request| request.target != "/followed"));
    }
}

/// Waits until `count` deliveries of an event have a response, and returns all its deliveries.
async fn attempted(tenant: &Tenant, event: &str, count: usize) -> Vec<Value> {
    let all = |page: &Value| {
        let deliveries = page["data"].as_array().map_or(&[][..], Vec::as_slice);
        deliveries.iter().filter(|delivery| delivery["status_code"].is_u64()).count() == count
    };
    let page = tenant.wait_for(&format!("/v1/deliveries?event_id={event}"), all).await;
    page["data"].as_array().expect("deliveries").clone()
}

/// Checks that the delivery waits these seconds after the attempt with this index, lengthened by at most the share `jitter`.
fn check_delay(delivery: &Value, attempt: usize, seconds: u64, jitter: f64) {
    assert_eq!(delivery["status"], json!("pending"), "{delivery:#}");
    let attempt = &delivery["attempts"][attempt];
    let took = Duration::from_secs_f64(attempt["duration_ms"].as_f64().expect("a duration") / 1_000.0);
    let ended = instant::parse(&attempt["started_at"]) + took;
    let next = instant::parse(&attempt["next_attempt_at"]);
    let shortest = Duration::from_secs(seconds);
    // Timestamps have whole milliseconds.
    assert!(next + Duration::from_millis(2) >= ended + shortest, "less than {seconds} s: {delivery:#}");
    assert!(next <= SystemTime::now() + shortest.mul_f64(1.0 + jitter), "more than {seconds} s: {delivery:#}");
}
