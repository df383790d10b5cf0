//! A database and a virtual host for each test, a recorder that uses them, and messages as the other services publish them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_broker::{Broker, BrokerConfig, MessagePublisher, MessageRoute, Queue};
use postrider_model::dead_letter::DeadLetterFilter;
use postrider_model::delivery::DeliveryStatus;
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::time::UnixMillis;
use postrider_profiles::Profiles;
use postrider_recorder::{Config, Deps, ReconcileConfig};
use postrider_store::config::{Endpoint, EndpointDocument, EndpointDraft, EndpointPrivate, NewEndpoint, TenantDraft};
use postrider_store::crypto::MasterKeys;
use postrider_store::history::{DeadLetterRow, PageRequest};
use postrider_store::{Store, StoreConfig};
use postrider_telemetry::health::Health;
use postrider_telemetry::tasks::TaskFailed;
use postrider_testkit::engines::Scope;
use postrider_wire::bundle::Member;
use postrider_wire::messages::{AcceptedEvent, Decision, OutcomeReport};
use postrider_wire::testing;
use secrecy::SecretString;
use tokio::task::JoinHandle;
use tokio_postgres::NoTls;
use tokio_util::sync::CancellationToken;

/// Timeout of the waits in tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) broker: Broker,
    pub(crate) singles: MessagePublisher,
    pub(crate) health: Health,
    pub(crate) scope: Scope,
}

/// A running recorder.
pub(crate) struct Recorder {
    stop: CancellationToken,
    task: JoinHandle<Result<(), TaskFailed>>,
}

impl Recorder {
    /// Stops the recorder, as SIGTERM does, and waits until it has ended.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("it ends")
            .expect("it does not panic")
            .expect("no task fails");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The connections are closed before the virtual host is deleted. A connection that finds the virtual host missing would
        // declare its queues again, and the dead-letter workers of RabbitMQ 3.10.8 crash if the virtual host is deleted at that
        // moment.
        let broker = self.broker.clone();
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(broker.close()));
    }
}

impl World {
    pub(crate) async fn new(name: &str) -> Self {
        let world = Self::bare(name).await;
        world.store.migrate().await.unwrap();
        world
    }

    /// Creates a world with a database that is not migrated.
    pub(crate) async fn bare(name: &str) -> Self {
        let scope = Scope::new(name).await;
        let keys = MasterKeys::parse(&MasterKeys::generate_text("k1")).unwrap();
        let store = Store::connect(StoreConfig::new(&scope.database_url), keys).unwrap();
        let config = BrokerConfig::new(&scope.amqp_url, "recorder test");
        let broker = Broker::connect(config, CancellationToken::new()).await.unwrap();
        let singles = broker.message_publisher();
        Self { store, broker, singles, health: Health::new(), scope }
    }

    pub(crate) fn recorder(&self) -> Recorder {
        self.reconciling_recorder(ReconcileConfig::default())
    }

    /// Starts a recorder with these settings of its reconciler.
    pub(crate) fn reconciling_recorder(&self, reconcile: ReconcileConfig) -> Recorder {
        let stop = CancellationToken::new();
        let deps = Deps {
            broker: self.broker.clone(),
            store: self.store.clone(),
            profiles: Arc::new(Profiles::builtin()),
            ready: self.health.check("recorder"),
        };
        let config = Config {
            relay_every: Duration::from_millis(50),
            relay_after: Duration::ZERO,
            reconcile,
            ..Config::default()
        };
        let task = tokio::spawn(postrider_recorder::run(config, deps, stop.clone()));
        Recorder { stop, task }
    }

    /// Publishes a message directly to a queue.
    pub(crate) async fn publish(&self, queue: Queue, members: &[Member]) {
        self.singles.publish(MessageRoute::Queue(queue.name()), members).await.unwrap();
    }

    /// Runs SQL as the owner of the database.
    pub(crate) async fn sql(&self, url: &str, sql: &str) -> Vec<tokio_postgres::SimpleQueryMessage> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        let driver = tokio::spawn(connection);
        let rows = client.simple_query(sql).await.unwrap();
        drop(client);
        driver.await.unwrap().unwrap();
        rows
    }

    /// Returns the number of rows in a table.
    pub(crate) async fn count(&self, table: &str) -> u64 {
        let rows = self.sql(&self.scope.database_url, &format!("SELECT count(*) FROM {table}")).await;
        let row = rows.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        row.unwrap().parse().unwrap()
    }

    /// Waits until a table contains exactly `rows` rows. The test fails if the table contains more rows.
    pub(crate) async fn wait_for_rows(&self, table: &str, rows: u64) {
        let started = std::time::Instant::now();
        loop {
            let there = self.count(table).await;
            if there == rows {
                return;
            }
            assert!(there < rows && started.elapsed() < PATIENCE, "{table} has {there} rows, wanted {rows}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a table is empty.
    pub(crate) async fn wait_for_none(&self, table: &str) {
        let started = std::time::Instant::now();
        while self.count(table).await > 0 {
            assert!(started.elapsed() < PATIENCE, "{table} is not empty");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns the first page of the dead letters, newest first.
    pub(crate) async fn dead_letters(&self) -> Vec<DeadLetterRow> {
        let all = DeadLetterFilter::default();
        self.store.history().list_dead_letters(&all, &PageRequest::default()).await.unwrap().items
    }

    /// Creates a tenant with the profile `standard` and with one endpoint.
    pub(crate) async fn endpoint(&self) -> Endpoint {
        let tenant = self.store.config().create_tenant(&TenantDraft::new("Acme", "standard")).await.unwrap();
        let document = EndpointDocument {
            name: "hook".into(),
            url: Some("https://example.com/".into()),
            event_types: vec!["*".into()],
            ..EndpointDocument::default()
        };
        let draft = EndpointDraft { document, status: Default::default(), private: EndpointPrivate::default() };
        let new = NewEndpoint { draft, secret: SecretString::from("secret") };
        self.store.config().create_endpoint(tenant.id, &new).await.unwrap()
    }
}

/// Creates an event as ingest publishes it.
pub(crate) fn event(tenant: TenantId) -> AcceptedEvent {
    testing::accepted(tenant, "user.created".parse().unwrap(), UnixMillis::now())
}

/// Creates the decision about `event` as fan-out publishes it.
pub(crate) fn decision(event: &AcceptedEvent, config_version: i64, matched: Vec<EndpointId>) -> Decision {
    testing::decision(event, matched, config_version)
}

/// Creates the outcome of one attempt as a dispatcher publishes it.
pub(crate) fn outcome(event: &AcceptedEvent, endpoint: EndpointId, code: u16) -> OutcomeReport {
    let status = if (200..300).contains(&code) { DeliveryStatus::Delivered } else { DeliveryStatus::Failed };
    testing::attempted(event, endpoint, 1, UnixMillis::now(), status, Some(code))
}

/// Creates a member with this head and payload.
pub(crate) fn member(head: &impl serde::Serialize, payload: &'static [u8]) -> Member {
    Member::new(head, Bytes::from_static(payload)).unwrap()
}
