//! A tenant's view of a deployment, through the HTTP API with its own key.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;
use tokio::time::sleep;

/// Timeout of waits in scenarios.
const PATIENCE: Duration = Duration::from_secs(120);
/// The interval between checks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A tenant and a key of it with every scope.
pub(crate) struct Tenant {
    pub(crate) id: String,
    pub(crate) client: reqwest::Client,
    pub(crate) base: String,
    pub(crate) key: String,
    /// Waits until edits are in force in ingest and fan-out.
    pub(crate) in_force: super::deployment::InForce,
}

/// The response to creating an endpoint.
pub(crate) struct Endpoint(Value);

impl Endpoint {
    /// Its id.
    pub(crate) fn id(&self) -> &str {
        self.0["id"].as_str().expect("an id")
    }

    /// Its secret, shown this once.
    pub(crate) fn secret(&self) -> &str {
        self.0["secret"].as_str().expect("a secret")
    }
}

impl Tenant {
    /// Creates an endpoint of the channel `web` and waits until it is in force.
    pub(crate) async fn endpoint(&self, mut endpoint: Value) -> Endpoint {
        endpoint["channel"] = "web".into();
        let made = self.post("/v1/endpoints", &endpoint).await;
        self.in_force.wait().await;
        Endpoint(made)
    }

    /// Publishes an event and returns its id.
    pub(crate) async fn publish(&self, event: &Value) -> String {
        self.publish_text(&event.to_string()).await
    }

    /// Publishes these exact bytes and returns the event's id.
    pub(crate) async fn publish_text(&self, event: &str) -> String {
        let (status, answer) = self.send(Method::POST, "/v1/publish", Some(event.to_owned()), &[]).await;
        assert_eq!(status, 202, "{answer:#}");
        answer["id"].as_str().expect("an id").to_owned()
    }

    /// Publishes with an idempotency key and returns the response.
    pub(crate) async fn publish_with_key(&self, event: &Value, key: &str) -> Value {
        let headers = [("idempotency-key", key)];
        let (status, answer) = self.send(Method::POST, "/v1/publish", Some(event.to_string()), &headers).await;
        assert_eq!(status, 202, "{answer:#}");
        answer
    }

    /// Waits until the only delivery of an event has this status. Returns it with its attempts.
    pub(crate) async fn wait_for_delivery(&self, event: &str, status: &str) -> Value {
        let id = self.only_delivery(event).await;
        self.wait_for(&format!("/v1/deliveries/{id}"), |delivery| delivery["status"] == status).await
    }

    /// Waits until the first attempt of an event's only delivery is on record. Returns the delivery.
    pub(crate) async fn wait_for_first_attempt(&self, event: &str) -> Value {
        self.wait_for_attempts(&self.only_delivery(event).await, 1).await
    }

    /// Waits until at least `count` attempts of a delivery are on record. Checks that the last one names the delivery's next
    /// attempt.
    pub(crate) async fn wait_for_attempts(&self, delivery: &str, count: usize) -> Value {
        let made = |delivery: &Value| delivery["attempts"].as_array().is_some_and(|attempts| attempts.len() >= count);
        let delivery = self.wait_for(&format!("/v1/deliveries/{delivery}"), made).await;
        let last = delivery["attempts"].as_array().and_then(|attempts| attempts.last());
        assert_eq!(last.map(|last| &last["next_attempt_at"]), Some(&delivery["next_attempt_at"]), "{delivery:#}");
        delivery
    }

    /// Waits for an event's only delivery, and returns its id.
    pub(crate) async fn only_delivery(&self, event: &str) -> String {
        let path = format!("/v1/deliveries?event_id={event}");
        let page = self.wait_for(&path, |page| page["data"].as_array().is_some_and(|data| !data.is_empty())).await;
        assert_eq!(page["data"].as_array().map(Vec::len), Some(1), "{page:#}");
        page["data"][0]["id"].as_str().expect("an id").to_owned()
    }

    /// Repeats a GET until the response meets a condition, and returns it.
    pub(crate) async fn wait_for(&self, path: &str, fulfils: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let (status, answer) = self.send(Method::GET, path, None, &[]).await;
            if status == 200 && fulfils(&answer) {
                return answer;
            }
            assert!(started.elapsed() < PATIENCE, "GET {path} still answers {status} after {PATIENCE:?}: {answer:#}");
            sleep(LOOK_EVERY).await;
        }
    }

    /// Publishes this body with these headers and returns status and response.
    pub(crate) async fn publish_as(&self, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
        let mut request = self.client.post(self.base.clone() + "/v1/publish").bearer_auth(&self.key);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.body(body.to_owned()).send().await.expect("an answer");
        let (status, bytes) = (answer.status().as_u16(), answer.bytes().await.expect("a body"));
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.succeed(Method::GET, path, None).await
    }

    /// Posts and expects success.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        self.succeed(Method::POST, path, Some(body)).await
    }

    /// Posts and returns status and response.
    pub(crate) async fn try_post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(Method::POST, path, Some(body.to_string()), &[]).await
    }

    pub(crate) async fn delete(&self, path: &str) {
        self.succeed(Method::DELETE, path, None).await;
    }

    /// Edits the object at `path` with its current ETag.
    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Value {
        let read = self.client.get(self.base.clone() + path).bearer_auth(&self.key).send().await.expect("an answer");
        let etag = read.headers().get("etag").expect("an ETag").to_str().expect("text").to_owned();
        let headers = [("if-match", etag.as_str())];
        let (status, answer) = self.send(Method::PATCH, path, Some(body.to_string()), &headers).await;
        assert_eq!(status, 200, "PATCH {path}: {answer:#}");
        answer
    }

    /// Sends a request, and again while it is answered with 503: engines that all tests share can be unavailable for a moment.
    async fn succeed(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let started = Instant::now();
        loop {
            let (status, answer) = self.send(method.clone(), path, body.map(Value::to_string), &[]).await;
            if (200..300).contains(&status) {
                return answer;
            }
            assert!(status == 503 && started.elapsed() < PATIENCE, "{method} {path} answered {status}: {answer:#}");
            sleep(LOOK_EVERY).await;
        }
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        headers: &[(&str, &str)],
    ) -> (u16, Value) {
        let mut request = self.client.request(method.clone(), self.base.clone() + path).bearer_auth(&self.key);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let answer = request.send().await.unwrap_or_else(|error| panic!("{method} {path}: {error:?}"));
        let (status, bytes) = (answer.status().as_u16(), answer.bytes().await.expect("a body"));
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }
}
