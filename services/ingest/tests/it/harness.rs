//! A database and a virtual host for each test, the ingest processes that use them, and the events that these processes
//! publish.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt;
use postrider_broker::{Broker, BrokerConfig, BundleOutcome, ConsumeOptions, Queue};
use postrider_ingest::{Config, Deps};
use postrider_model::ids::TenantId;
use postrider_model::scope::Scope as KeyScope;
use postrider_profiles::{Mappings, Profiles};
use postrider_store::config::{NewKey, TenantDraft};
use postrider_store::crypto::MasterKeys;
use postrider_store::{Store, StoreConfig};
use postrider_telemetry::health::Health;
use postrider_testkit::engines::Scope;
use postrider_wire::messages::AcceptedEvent;
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt;

/// The services that ingest uses, and the events that ingest published.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) tenant: TenantId,
    key: String,
    broker: Broker,
    published: mpsc::UnboundedReceiver<(AcceptedEvent, Bytes)>,
    health: Health,
    _stop: DropGuard,
    scope: Scope,
}

/// One ingest process.
pub(crate) struct Ingest {
    router: Router,
    key: String,
    /// The tasks of the process. They end when this struct is dropped.
    _role: postrider_ingest::Role,
}

impl Drop for World {
    fn drop(&mut self) {
        // The connections are closed before the virtual host is deleted. The reason is in the harness of the recorder's tests.
        let broker = self.broker.clone();
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(broker.close()));
    }
}

impl World {
    pub(crate) async fn new(name: &str) -> Self {
        let scope = Scope::new(name).await;
        let store = store(&scope.database_url);
        store.migrate().await.unwrap();
        let tenant = store.config().create_tenant(&TenantDraft::new("Acme", "standard")).await.unwrap().id;
        let new = NewKey { name: "k".into(), scopes: [KeyScope::Publish].into_iter().collect() };
        let key = store.config().create_key(tenant, &new).await.unwrap().text.expose_secret().to_owned();
        let stop = CancellationToken::new();
        let broker = Broker::connect(BrokerConfig::new(&scope.amqp_url, "ingest test"), stop.clone()).await.unwrap();
        let (seen, published) = mpsc::unbounded_channel();
        let (consuming, ending) = (broker.clone(), stop.clone());
        let handler = move |members: Vec<postrider_wire::bundle::Member>, _context| {
            for member in members {
                let _ = seen.send((member.head().unwrap(), member.payload));
            }
            async { BundleOutcome::Settled { poisoned: Vec::new() } }
        };
        tokio::spawn(async move {
            consuming.consume_bundles(Queue::Fanout, ConsumeOptions::default(), handler, ending).await;
        });
        Self { store, tenant, key, broker, published, health: Health::new(), _stop: stop.drop_guard(), scope }
    }

    /// Starts another ingest process.
    pub(crate) async fn ingest(&self) -> Ingest {
        self.ingest_over(store(&self.scope.database_url)).await
    }

    /// Starts another ingest process, which uses the database of `store`.
    pub(crate) async fn ingest_over(&self, store: Store) -> Ingest {
        let profiles = Arc::new(Profiles::builtin());
        let deps = Deps {
            broker: self.broker.clone(),
            store,
            mappings: Arc::new(Mappings::load(None).unwrap()),
            profiles,
            ready: self.health.check("ingest"),
        };
        let (router, role) = postrider_ingest::start(&Config::default(), deps);
        let ingest = Ingest { router, key: self.key.clone(), _role: role };
        // Ingest answers 503 until the configuration is loaded.
        while ingest.publish("{}", &[]).await.0 == 503 {
            tokio::task::yield_now().await;
        }
        ingest
    }

    pub(crate) fn database_url(&self) -> &str {
        &self.scope.database_url
    }

    /// Returns the next event that fan-out would receive.
    pub(crate) async fn next_published(&mut self) -> (AcceptedEvent, Bytes) {
        let next = tokio::time::timeout(std::time::Duration::from_secs(60), self.published.recv()).await;
        next.expect("an event within 30 s").expect("the consumer runs")
    }

    /// Checks that fan-out would receive no other event: the next event must be one that this function publishes.
    pub(crate) async fn nothing_else_is_published(&mut self, ingest: &Ingest) {
        let (status, answer) = ingest.publish(r#"{"type":"last","data":0}"#, &[]).await;
        assert_eq!(status, 202, "{answer:#}");
        assert_eq!(self.next_published().await.0.event_type.as_str(), "last");
    }
}

pub(crate) fn store(database_url: &str) -> Store {
    let keys = MasterKeys::parse(&MasterKeys::generate_text("k1")).unwrap();
    Store::connect(StoreConfig::new(database_url), keys).unwrap()
}

impl Ingest {
    /// Publishes an event, and returns the status and the body of the response.
    pub(crate) async fn publish(&self, body: &str, headers: &[(&str, &str)]) -> (StatusCode, Value) {
        let mut request = Request::post("/v1/publish").header("authorization", format!("Bearer {}", self.key));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap())
    }
}
