//! A virtual host for each test, and the calls of the management API that tests make.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use postrider_broker::{Broker, BrokerConfig, ConsumeOptions, Queue};
use postrider_wire::bundle::{self, Member};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Maximum time that a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Vhost {
    pub(crate) name: String,
    amqp: String,
    api: String,
    http: reqwest::Client,
    brokers: Mutex<Vec<Broker>>,
}

fn env(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} must name a RabbitMQ to test with; `cargo xtask test` sets it"))
}

impl Vhost {
    pub(crate) async fn new(test: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let name = format!("broker-{test}-{}", uuid::Uuid::new_v4().simple());
        let vhost = Self {
            name,
            amqp: env("POSTRIDER_TEST_AMQP_URL"),
            api: env("POSTRIDER_TEST_AMQP_API"),
            http: reqwest::Client::new(),
            brokers: Mutex::default(),
        };
        vhost.put(&format!("vhosts/{}", vhost.name), json!({})).await;
        let user = vhost.credentials().0;
        let all = json!({ "configure": ".*", "write": ".*", "read": ".*" });
        vhost.put(&format!("permissions/{}/{user}", vhost.name), all).await;
        vhost
    }

    fn credentials(&self) -> (String, String) {
        let user = self.api.split("//").nth(1).and_then(|rest| rest.split('@').next()).unwrap_or("guest:guest");
        let (user, password) = user.split_once(':').unwrap_or(("guest", "guest"));
        (user.to_owned(), password.to_owned())
    }

    fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let (user, password) = self.credentials();
        let base = self.api.rsplit_once('@').map_or(self.api.clone(), |(_, host)| format!("http://{host}"));
        self.http.request(method, format!("{base}/api/{path}")).basic_auth(user, Some(password))
    }

    pub(crate) async fn put(&self, path: &str, body: Value) {
        self.request(reqwest::Method::PUT, path).json(&body).send().await.unwrap().error_for_status().unwrap();
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.request(reqwest::Method::GET, path).send().await.unwrap().json().await.unwrap()
    }

    pub(crate) async fn delete(&self, path: &str) {
        let answer = self.request(reqwest::Method::DELETE, path).send().await.unwrap();
        assert!(answer.status().is_success() || answer.status() == 404, "{path}: {}", answer.status());
    }

    /// Publishes a message through the management API, without Postrider's headers.
    pub(crate) async fn publish_raw(&self, exchange: &str, routing_key: &str, body: &str) {
        let message =
            json!({ "properties": {}, "routing_key": routing_key, "payload": body, "payload_encoding": "string" });
        let path = format!("exchanges/{}/{exchange}/publish", self.name);
        let answer = self.request(reqwest::Method::POST, &path).json(&message).send().await.unwrap();
        assert_eq!(answer.json::<Value>().await.unwrap()["routed"], true);
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/{}", self.amqp, self.name)
    }

    pub(crate) async fn try_broker(&self) -> Result<Broker, postrider_broker::BrokerError> {
        let config = BrokerConfig::new(self.url(), format!("test {}", self.name));
        tokio::time::timeout(PATIENCE, Broker::connect(config, CancellationToken::new())).await.expect("no connection")
    }

    pub(crate) async fn broker(&self) -> Broker {
        let broker = self.try_broker().await.unwrap();
        self.brokers.lock().unwrap().push(broker.clone());
        broker
    }

    /// A broker client whose messages have this user id.
    pub(crate) async fn broker_as(&self, user: &str) -> Broker {
        let mut config = BrokerConfig::new(self.url(), format!("test {}", self.name));
        config.user_id = Some(user.to_owned());
        let connecting = Broker::connect(config, CancellationToken::new());
        let broker = tokio::time::timeout(PATIENCE, connecting).await.expect("no connection").unwrap();
        self.brokers.lock().unwrap().push(broker.clone());
        broker
    }

    /// Waits until the broker lists a connection with this role (`publish`, `consume`), then closes the connections with this
    /// role.
    pub(crate) async fn cut(&self, role: &str) {
        eventually("a connection to cut", async || {
            let mut cut = false;
            for connection in self.get(&format!("vhosts/{}/connections", self.name)).await.as_array().unwrap() {
                let name = connection["user_provided_name"]
                    .as_str()
                    .or(connection["client_properties"]["connection_name"].as_str());
                if name.is_some_and(|name| name.ends_with(role)) {
                    self.delete(&format!("connections/{}", percent(connection["name"].as_str().unwrap()))).await;
                    cut = true;
                }
            }
            cut
        })
        .await;
    }

    /// Closes the connections, then deletes the vhost. The other order breaks RabbitMQ 3.10: if a vhost is deleted while a
    /// queue with at-least-once dead-lettering is being declared in it, the node's dead-letter supervisor ends for good.
    pub(crate) async fn finish(self) {
        let brokers = std::mem::take(&mut *self.brokers.lock().unwrap());
        for broker in brokers {
            broker.close().await;
        }
        self.delete(&format!("vhosts/{}", self.name)).await;
    }
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// Repeats a check until it is true, for states of other processes that cause no event.
pub(crate) async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let until = tokio::time::Instant::now() + PATIENCE;
    while !check().await {
        assert!(tokio::time::Instant::now() < until, "timed out while waiting for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) fn member(n: u64) -> Member {
    Member::new(&json!({ "n": n }), Bytes::from(format!("body {n}"))).unwrap()
}

pub(crate) fn number(member: &Member) -> u64 {
    member.head::<Value>().unwrap()["n"].as_u64().unwrap()
}

/// The numbers of the members that arrived.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Vec<u64>>>);

impl Ledger {
    pub(crate) fn add(&self, n: u64) {
        self.0.lock().unwrap().push(n);
    }

    pub(crate) fn all(&self) -> Vec<u64> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn distinct(&self) -> BTreeSet<u64> {
        self.0.lock().unwrap().iter().copied().collect()
    }

    pub(crate) async fn wait_for(&self, numbers: impl IntoIterator<Item = u64>) {
        let wanted: BTreeSet<u64> = numbers.into_iter().collect();
        eventually("every number to arrive", async || self.distinct().is_superset(&wanted)).await;
    }
}

/// Takes messages from a queue until they have `members` members, acks them and returns the numbers of the members in each
/// bundle.
pub(crate) async fn take_bundles(broker: &Broker, queue: Queue, members: usize) -> Vec<Vec<u64>> {
    let stop = CancellationToken::new();
    let mut raw = broker.consume_raw(queue, ConsumeOptions::default(), stop.clone());
    let mut bundles = Vec::new();
    while bundles.iter().map(Vec::len).sum::<usize>() < members {
        let message = tokio::time::timeout(PATIENCE, raw.recv()).await.expect("too few messages").unwrap();
        bundles.push(bundle::decode(&message.body).unwrap().iter().map(number).collect());
        message.ack();
    }
    stop.cancel();
    raw.drained().await;
    bundles
}
