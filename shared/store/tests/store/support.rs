//! A migrated database for a test, and messages to write into it.

use std::time::Duration;

use bytes::Bytes;
use postrider_model::delivery::{DeliveryStatus, EndpointStatus};
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::time::UnixMillis;
use postrider_store::config::{EndpointDocument, EndpointDraft, EndpointPrivate, NewEndpoint, Tenant, TenantDraft};
use postrider_store::crypto::MasterKeys;
use postrider_store::feed::{Changes, FeedScope};
use postrider_store::record::RecordBatch;
use postrider_store::{Store, StoreConfig};
use postrider_testkit::engines::Scope;
use postrider_wire::messages::{AcceptedEvent, Decision, DeliveryRef, OutcomeReport};
use postrider_wire::testing;
use tokio_util::sync::CancellationToken;

/// Lock timeout for dropping partitions.
pub(crate) const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// A store with a separate database.
pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) scope: Scope,
}

impl Fixture {
    /// A fixture whose database is migrated.
    pub(crate) async fn new(name: &str) -> Self {
        let fixture = Self::empty(name).await;
        fixture.store.migrate().await.unwrap();
        fixture
    }

    /// A fixture whose database is not migrated.
    pub(crate) async fn empty(name: &str) -> Self {
        let scope = Scope::new(name).await;
        let keys = MasterKeys::parse(&MasterKeys::generate_text("k1")).unwrap();
        let store = Store::connect(StoreConfig::new(&scope.database_url), keys).unwrap();
        Self { store, scope }
    }

    /// Opens a direct connection that bypasses the store.
    pub(crate) async fn sql(&self) -> tokio_postgres::Client {
        let (client, connection) =
            tokio_postgres::connect(&self.scope.database_url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Runs a statement that returns one number.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.sql().await.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Closes every other connection to this database, like a restart of the server.
    pub(crate) async fn terminate_all(&self) {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        self.sql().await.query(sql, &[]).await.unwrap();
    }

    pub(crate) async fn tenant(&self) -> Tenant {
        self.store.config().create_tenant(&TenantDraft::new("Acme", "standard")).await.unwrap()
    }
}

pub(crate) fn new_endpoint(name: &str) -> NewEndpoint {
    let document = EndpointDocument {
        name: name.to_owned(),
        url: Some("https://example.com/hook".into()),
        event_types: vec!["*".into()],
        ..EndpointDocument::default()
    };
    NewEndpoint {
        draft: EndpointDraft { document, status: EndpointStatus::Active, private: EndpointPrivate::default() },
        secret: "whsec_c2VjcmV0".into(),
    }
}

pub(crate) fn event(tenant: TenantId, at: UnixMillis) -> AcceptedEvent {
    AcceptedEvent { instance: u64::MAX, ..testing::accepted(tenant, "email.bounced".parse().unwrap(), at) }
}

pub(crate) fn decision(event: &AcceptedEvent, matched: Vec<EndpointId>, config_version: i64) -> Decision {
    let decided_at = UnixMillis(event.accepted_at.0 + 1);
    Decision { decided_at, ..testing::decision(event, matched, config_version) }
}

pub(crate) fn delivery_ref(event: &AcceptedEvent, endpoint: EndpointId) -> DeliveryRef {
    let created_at = UnixMillis(event.accepted_at.0 + 1);
    DeliveryRef { created_at, ..testing::first_delivery(event, endpoint) }
}

/// The report of attempt `number`, which ended with `status` and `code`.
pub(crate) fn outcome(
    event: &AcceptedEvent,
    endpoint: EndpointId,
    number: u16,
    status: DeliveryStatus,
    code: Option<u16>,
) -> OutcomeReport {
    let started_at = UnixMillis(event.accepted_at.0 + i64::from(number) * 1_000);
    let report = testing::attempted(event, endpoint, number, started_at, status, code);
    OutcomeReport { delivery: delivery_ref(event, endpoint), disable_endpoint: false, ..report }
}

pub(crate) fn batch(events: Vec<AcceptedEvent>, decisions: Vec<Decision>, outcomes: Vec<OutcomeReport>) -> RecordBatch {
    RecordBatch {
        events: events.into_iter().map(|event| (event, Bytes::from_static(b"{\"a\":1}"))).collect(),
        decisions,
        outcomes: outcomes.into_iter().map(|outcome| (outcome, Bytes::from_static(b"ok"))).collect(),
        dead_letters: vec![],
        numbers: vec![],
    }
}

/// The snapshot of the configuration that a starting service receives.
pub(crate) async fn snapshot(store: &Store, scope: FeedScope) -> Changes {
    store.feed().follow(scope, CancellationToken::new()).recv().await.unwrap()
}
