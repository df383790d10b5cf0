//! A tenant, its dispatchers, and the outcomes that the dispatchers publish for the recorder.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_broker::{Broker, BrokerConfig, ConsumeOptions, Queue, QueueDepth, RawConsumer, Route};
use postrider_dispatcher::{Config, Deps, ServiceUrls};
use postrider_egress::{Egress, EgressConfig};
use postrider_model::delivery::{EndpointStatus, Lane, Trigger};
use postrider_model::ids::{DeliveryId, EndpointId, EventId, Generation, TenantId};
use postrider_model::limits::DELIVERY_LIFETIME;
use postrider_model::time::UnixMillis;
use postrider_profiles::Profiles;
use postrider_store::config::{Endpoint, EndpointDocument, EndpointDraft, EndpointPrivate, NewEndpoint, TenantDraft};
use postrider_store::crypto::MasterKeys;
use postrider_store::{Store, StoreConfig};
use postrider_telemetry::tasks::TaskFailed;
use postrider_testkit::engines::Scope;
use postrider_wire::bundle::{self, Member};
use postrider_wire::messages::{AcceptedEvent, DeliveryRef, DeliveryTask, OutcomeReport};
use postrider_wire::testing;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Maximum wait for something that a test expects.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) store: Store,
    pub(crate) tenant: TenantId,
    /// Interval at which a dispatcher counts the other dispatchers.
    pub(crate) count_dispatchers_every: Duration,
    outcomes: RawConsumer,
    pending: Vec<(OutcomeReport, Bytes)>,
    dispatchers: Vec<(CancellationToken, JoinHandle<Result<(), TaskFailed>>)>,
    scope: Scope,
}

impl World {
    /// Creates a tenant with this profile. Starts no dispatcher.
    pub(crate) async fn new(name: &str, profile: &str) -> Self {
        Self::on(Scope::new(name).await, profile).await
    }

    /// Creates a tenant like [`World::new`], with the broker at `amqp_url`.
    pub(crate) async fn on_broker(name: &str, profile: &str, amqp_url: String) -> Self {
        let mut scope = Scope::new(name).await;
        scope.amqp_url = amqp_url;
        Self::on(scope, profile).await
    }

    async fn on(scope: Scope, profile: &str) -> Self {
        let keys = MasterKeys::parse(&MasterKeys::generate_text("test")).unwrap();
        let store = Store::connect(StoreConfig::new(&scope.database_url), keys).unwrap();
        store.migrate().await.unwrap();
        let tenant = store.config().create_tenant(&TenantDraft::new("test", profile)).await.unwrap().id;
        let broker = broker(&scope.amqp_url, "test").await;
        let outcomes = broker.consume_raw(Queue::Outcomes, ConsumeOptions::default(), CancellationToken::new());
        let count_dispatchers_every = Duration::from_millis(200);
        Self {
            broker,
            store,
            tenant,
            count_dispatchers_every,
            outcomes,
            pending: Vec::new(),
            dispatchers: Vec::new(),
            scope,
        }
    }

    /// Starts a dispatcher.
    pub(crate) async fn dispatch(&mut self) -> CancellationToken {
        self.dispatch_at(self.scope.amqp_url.clone()).await
    }

    /// Starts a dispatcher with the broker at `amqp_url`.
    pub(crate) async fn dispatch_at(&mut self, amqp_url: String) -> CancellationToken {
        let allow = vec!["127.0.0.0/8".parse().unwrap()];
        let egress = Egress::new(EgressConfig { allow, allow_http: true, ..EgressConfig::default() }).unwrap();
        let deps = Deps {
            broker: broker(&amqp_url, "dispatcher").await,
            store: self.store.clone(),
            egress,
            mailer: None,
            profiles: Arc::new(Profiles::builtin()),
            services: ServiceUrls {
                pushover: "http://127.0.0.1:9".parse().unwrap(),
                telegram: "http://127.0.0.1:9".parse().unwrap(),
            },
            ready: None,
        };
        let config = Config { count_dispatchers_every: self.count_dispatchers_every, ..Config::default() };
        let stop = CancellationToken::new();
        let running = tokio::spawn(postrider_dispatcher::run(config, deps, stop.clone()));
        self.dispatchers.push((stop.clone(), running));
        stop
    }

    /// Creates an endpoint with this URL.
    pub(crate) async fn endpoint(&self, url: &str, edit: impl FnOnce(&mut EndpointDraft)) -> Endpoint {
        let document = EndpointDocument {
            name: "test".into(),
            url: Some(url.into()),
            event_types: vec!["*".into()],
            ..EndpointDocument::default()
        };
        let mut draft = EndpointDraft { document, status: EndpointStatus::Active, private: EndpointPrivate::default() };
        edit(&mut draft);
        let new = NewEndpoint { draft, secret: SECRET.into() };
        self.store.config().create_endpoint(self.tenant, &new).await.unwrap()
    }

    /// Creates a delivery for an endpoint, with its first attempt due.
    pub(crate) fn task(&self, endpoint: &Endpoint) -> DeliveryTask {
        self.task_for(endpoint.id, endpoint.version)
    }

    pub(crate) fn task_for(&self, endpoint: EndpointId, config_version: i64) -> DeliveryTask {
        let (event, now) = (EventId::generate(), UnixMillis::now());
        DeliveryTask {
            delivery: DeliveryRef {
                id: DeliveryId::derive(self.tenant, &event, endpoint, &Generation::First),
                event,
                event_day: now.day(),
                event_type: "lead.created".parse().unwrap(),
                tenant: self.tenant,
                endpoint,
                delivery_day: now.day(),
                created_at: now,
                accepted_at: now,
                generation: Generation::First,
                repeats: None,
            },
            occurred_at: now,
            number: 1,
            extra: 0,
            trigger: Trigger::First,
            epoch: 0,
            lane: Lane::Live,
            config_version,
            expires_at: now.plus(DELIVERY_LIFETIME),
            due_at: None,
            slot_at: None,
            slot_terms: None,
            held_since: None,
            held_reason: None,
            moves: 0,
            traceparent: None,
            turn: None,
        }
    }

    /// Publishes deliveries to the live lane.
    pub(crate) async fn publish(&self, tasks: &[DeliveryTask]) {
        self.publish_members(tasks.iter().map(member).collect()).await;
    }

    pub(crate) async fn publish_members(&self, members: Vec<Member>) {
        let publisher = self.broker.batch_publisher(Route::Lane(Lane::Live), Default::default());
        publisher.publish(members).await.unwrap();
    }

    /// Returns the next report for which `wanted` returns `true`. The other reports remain available for later calls.
    pub(crate) async fn report(&mut self, wanted: impl Fn(&OutcomeReport) -> bool) -> (OutcomeReport, Bytes) {
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(at) = self.pending.iter().position(|(report, _)| wanted(report)) {
                    return self.pending.remove(at);
                }
                let message = self.outcomes.recv().await.expect("the outcomes end");
                for member in bundle::decode(&message.body).unwrap() {
                    self.pending.push((member.head().unwrap(), member.payload));
                }
                message.ack();
            }
        });
        found.await.expect("no such outcome")
    }

    /// Returns the next report of one delivery.
    pub(crate) async fn report_of(&mut self, task: &DeliveryTask) -> OutcomeReport {
        let id = task.delivery.id;
        self.report(|report| report.delivery.id == id).await.0
    }

    /// Makes the database refuse every connection, or accept connections again.
    pub(crate) async fn database_away(&self, away: bool) {
        let admin = self.scope.database_url.replace(&self.scope.database, "postgres");
        let (client, connection) = tokio_postgres::connect(&admin, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let database = &self.scope.database;
        client.batch_execute(&format!("ALTER DATABASE {database} ALLOW_CONNECTIONS {}", !away)).await.unwrap();
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
        client.execute(kill, &[database]).await.unwrap();
    }

    /// Waits until a queue has this many messages.
    pub(crate) async fn wait_for_depth(&self, queue: &str, messages: u32) {
        self.wait_for_queue(queue, |depth| depth.messages == messages).await;
    }

    /// Waits until a queue has this many consumers.
    pub(crate) async fn wait_for_consumers(&self, queue: &str, consumers: u32) {
        self.wait_for_queue(queue, |depth| depth.consumers == consumers).await;
    }

    async fn wait_for_queue(&self, queue: &str, wanted: impl Fn(QueueDepth) -> bool) {
        let wait = async {
            // A rung is declared at its first use, so the queue may not exist yet.
            while !self.broker.queue_depth(queue).await.is_ok_and(&wanted) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("{queue} does not reach the expected state"));
    }

    /// Stops the dispatchers and waits until they have drained.
    pub(crate) async fn finish_dispatchers(&mut self) {
        for (stop, running) in self.dispatchers.drain(..) {
            stop.cancel();
            tokio::time::timeout(PATIENCE, running).await.expect("the dispatcher does not stop").unwrap().unwrap();
        }
    }

    /// Stops the dispatchers and closes the broker connection.
    pub(crate) async fn finish(mut self) {
        self.finish_dispatchers().await;
        self.broker.close().await;
    }
}

pub(crate) const BODY: &[u8] = br#"{"type":"lead.created","data":{"n":1}}"#;

/// Returns the event of a delivery, as ingest accepted it.
pub(crate) fn event_of(task: &DeliveryTask) -> AcceptedEvent {
    let DeliveryRef { event, tenant, event_type, accepted_at, .. } = task.delivery.clone();
    let accepted = testing::accepted(tenant, event_type, accepted_at);
    AcceptedEvent { id: event, occurred_at: task.occurred_at, config_version: task.config_version, ..accepted }
}

pub(crate) fn member(task: &DeliveryTask) -> Member {
    Member::new(task, Bytes::from_static(BODY)).unwrap()
}

async fn broker(amqp_url: &str, name: &str) -> Broker {
    let config = BrokerConfig::new(amqp_url, name);
    Broker::connect(config, CancellationToken::new()).await.unwrap()
}
