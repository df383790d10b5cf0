//! One product's stage: a deployment, a tenant of its profile and a receiver; and what every product promises in one way
//! or another, as verbs.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::tenant::Endpoint;
use super::{Answer, Deployment, Received, Receiver, Tenant, instant};

/// Between the receiver's answer and the end of the attempt on a busy machine.
const SLACK: Duration = Duration::from_secs(10);

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

    /// The same on a deployment that runs already.
    pub(crate) async fn on(deployment: Deployment, profile: &str) -> Self {
        let tenant = deployment.tenant(profile).await;
        Self { profile: profile.into(), deployment, tenant, receiver: Receiver::start().await }
    }

    /// An endpoint at the receiver that takes every type, unless `members` say otherwise.
    pub(crate) async fn endpoint(&self, members: Value) -> Endpoint {
        self.tenant.endpoint(self.document(members)).await
    }

    /// Such an endpoint, not made yet.
    pub(crate) fn document(&self, members: Value) -> Value {
        let mut endpoint =
            json!({"name": "hook", "channel": "web", "url": self.receiver.url("/"), "event_types": ["*"]});
        for (name, value) in members.as_object().expect("members") {
            endpoint[name] = value.clone();
        }
        endpoint
    }

    /// Publishes these very bytes and returns the delivery as it came, with the event's id.
    pub(crate) async fn deliver(&self, event: &str) -> (String, Received) {
        let id = self.tenant.publish_text(event).await;
        let request = self.receiver.next().await;
        assert_eq!(request.header("webhook-id"), id);
        (id, request)
    }

    /// A test call that is answered 200; returns what came.
    pub(crate) async fn test_call(&self, endpoint: &Endpoint, request: &Value) -> Received {
        let attempt = self.tenant.post(&format!("/v1/endpoints/{}/test", endpoint.id()), request).await;
        assert_eq!((&attempt["outcome"], &attempt["trigger"]), (&json!("success"), &json!("test")), "{attempt:#}");
        self.receiver.next().await
    }

    /// The catalog has these types, in this order.
    pub(crate) async fn check_catalog<'a>(&self, types: impl IntoIterator<Item = &'a str>) {
        let profiles = self.tenant.get("/v1/profiles").await;
        let catalog = profiles["data"][0]["event_types"].as_array().expect("types");
        let names: Vec<_> = catalog.iter().filter_map(|info| info["name"].as_str()).collect();
        assert_eq!(names, types.into_iter().collect::<Vec<_>>());
    }

    /// A delivery that keeps failing waits these seconds before each retry, lengthened by at most the share `jitter`, and fails
    /// after the last. Exact delays are seen on their rungs. Nobody waits: each retry is asked for as soon as it is parked.
    pub(crate) async fn check_schedule(&self, event: &str, seconds: &[u64], jitter: f64) {
        self.receiver.answer_next(vec![Answer::status(500); seconds.len() + 1]);
        let id = self.tenant.publish_text(event).await;
        let delivery_id = self.tenant.only_delivery(&id).await;
        for attempt in 0..=seconds.len() {
            let request = self.receiver.next().await;
            assert_eq!(request.header("postrider-attempt"), (attempt + 1).to_string());
            let delivery = self.tenant.wait_for_attempts(&delivery_id, attempt + 1).await;
            let Some(scheduled) = seconds.get(attempt) else {
                assert_eq!(delivery["status"], json!("failed"), "no retry after the last: {delivery:#}");
                return;
            };
            assert_eq!(delivery["status"], json!("pending"), "{delivery:#}");
            let next = instant::parse(&delivery["next_attempt_at"]);
            let delay = next.duration_since(request.answered_at).unwrap_or_default();
            let shortest = Duration::from_secs(*scheduled);
            let longest = shortest.mul_f64(1.0 + jitter) + SLACK;
            // Timestamps have whole milliseconds.
            let rounded = delay + Duration::from_millis(2);
            assert!(rounded >= shortest && delay < longest, "retry {} after {delay:?}", attempt + 1);
            if jitter == 0.0 {
                self.deployment.wait_for_messages(&format!("postrider.delay.{}", scheduled * 1000), 1).await;
            }
            self.tenant.post(&format!("/v1/deliveries/{delivery_id}/retry"), &json!({})).await;
        }
    }

    /// What becomes of a delivery after its first attempt was answered so: `delivered`, `failed`, or `pending` for a retry.
    /// In a tenant of its own, with an endpoint for each status.
    pub(crate) async fn check_statuses(&self, event: &str, expected: &[(u16, &str)]) {
        let tenant = self.deployment.tenant(&self.profile).await;
        let mut statuses = HashMap::new();
        for (code, status) in expected {
            let path = format!("/{code}");
            // Where a redirect leads to, nobody may come.
            self.receiver.answer_at(&path, Answer::status(*code).header("location", "/followed"));
            let endpoint = tenant.endpoint(self.document(json!({"url": self.receiver.url(&path)}))).await;
            statuses.insert(endpoint.id().to_owned(), (*code, *status));
        }
        let id = tenant.publish_text(event).await;
        let attempted = |page: &Value| {
            let deliveries = page["data"].as_array().map_or(&[][..], Vec::as_slice);
            deliveries.iter().filter(|delivery| delivery["status_code"].is_u64()).count() == expected.len()
        };
        let page = tenant.wait_for(&format!("/v1/deliveries?event_id={id}"), attempted).await;
        for delivery in page["data"].as_array().expect("deliveries") {
            let (code, status) = statuses[delivery["endpoint_id"].as_str().expect("an id")];
            assert_eq!((&delivery["status_code"], &delivery["status"]), (&json!(code), &json!(status)), "{delivery:#}");
            assert_eq!(delivery["next_attempt_at"].is_string(), status == "pending", "{delivery:#}");
        }
        assert!(self.receiver.all().iter().all(|request| request.target != "/followed"));
    }
}
