//! A migrated database, and messages to fill it with.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use postrider_model::attempt::Outcome;
use postrider_model::delivery::{DeliveryStatus, EndpointStatus, Lane, Trigger};
use postrider_model::event::{Attributes, Origin};
use postrider_model::ids::{DeliveryId, EndpointId, EventId, Generation, SendId, TenantId};
use postrider_model::time::UnixMillis;
use postrider_store::config::{EndpointDocument, EndpointDraft, EndpointPrivate, NewEndpoint, Tenant, TenantDraft};
use postrider_store::crypto::MasterKeys;
use postrider_store::feed::{Changes, FeedScope};
use postrider_store::record::RecordBatch;
use postrider_store::{Store, StoreConfig};
use postrider_testkit::engines::Scope;
use postrider_wire::headers::HeaderList;
use postrider_wire::messages::{AcceptedEvent, AttemptRecord, Decision, DeliveryRef, OutcomeReport};
use tokio_util::sync::CancellationToken;

/// Longest that dropping partitions waits for a lock.
pub(crate) const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// A store on a database of its own.
pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) scope: Scope,
}

impl Fixture {
    /// Migrated.
    pub(crate) async fn new(name: &str) -> Self {
        let fixture = Self::empty(name).await;
        fixture.store.migrate().await.unwrap();
        fixture
    }

    /// Not migrated.
    pub(crate) async fn empty(name: &str) -> Self {
        let scope = Scope::new(name).await;
        let keys = MasterKeys::parse(&MasterKeys::generate_text("k1")).unwrap();
        let store = Store::connect(StoreConfig::new(&scope.database_url), keys).unwrap();
        Self { store, scope }
    }

    /// A plain connection, to look behind the store's back.
    pub(crate) async fn sql(&self) -> tokio_postgres::Client {
        let (client, connection) =
            tokio_postgres::connect(&self.scope.database_url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// One number from one statement.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.sql().await.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Ends every other connection to this database, as a restart of the server would.
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
    AcceptedEvent {
        id: EventId::generate(),
        tenant,
        event_type: "email.bounced".parse().unwrap(),
        occurred_at: at,
        accepted_at: at,
        event_day: at.day(),
        origin: Origin::Api,
        attributes: Attributes(BTreeMap::new()),
        metadata: None,
        lane: Lane::Live,
        config_version: 1,
        instance: u64::MAX,
        sequence: 1,
        epoch: 0,
        content_hash: None,
        claimed: false,
        traceparent: None,
    }
}

pub(crate) fn decision(event: &AcceptedEvent, matched: Vec<EndpointId>, config_version: i64) -> Decision {
    Decision {
        event: event.id.clone(),
        event_day: event.event_day,
        tenant: event.tenant,
        event_type: event.event_type.clone(),
        accepted_at: event.accepted_at,
        decided_at: UnixMillis(event.accepted_at.0 + 1),
        config_version,
        epoch: 0,
        matched,
        expires_at: UnixMillis(event.accepted_at.0 + 604_800_000),
    }
}

pub(crate) fn delivery_ref(event: &AcceptedEvent, endpoint: EndpointId) -> DeliveryRef {
    DeliveryRef {
        id: DeliveryId::derive(event.tenant, &event.id, endpoint, &Generation::First),
        event: event.id.clone(),
        event_day: event.event_day,
        event_type: event.event_type.clone(),
        tenant: event.tenant,
        endpoint,
        delivery_day: event.event_day,
        created_at: UnixMillis(event.accepted_at.0 + 1),
        accepted_at: event.accepted_at,
        generation: Generation::First,
        origin: None,
    }
}

/// The report of attempt `number` that ended with `status` and `code`.
pub(crate) fn outcome(
    event: &AcceptedEvent,
    endpoint: EndpointId,
    number: u16,
    status: DeliveryStatus,
    code: Option<u16>,
) -> OutcomeReport {
    let started_at = UnixMillis(event.accepted_at.0 + i64::from(number) * 1_000);
    let ended = UnixMillis(started_at.0 + 5);
    let success = status == DeliveryStatus::Delivered;
    OutcomeReport {
        delivery: delivery_ref(event, endpoint),
        epoch: 0,
        attempt: Some(AttemptRecord {
            number,
            send_id: SendId::generate(),
            trigger: if number == 1 { Trigger::First } else { Trigger::Retry },
            started_at,
            duration_us: 5_000,
            first_byte_us: Some(4_000),
            held_ms: 0,
            held_reason: None,
            late_ms: None,
            url: "https://example.com/hook".into(),
            status_code: code,
            outcome: if success {
                Outcome::Success
            } else if code.is_some() {
                Outcome::HttpStatus
            } else {
                Outcome::Timeout
            },
            error: None,
            request_headers: [("content-type", "application/json")].into(),
            response_headers: HeaderList::default(),
        }),
        status,
        at: ended,
        next_attempt_at: (status == DeliveryStatus::Pending).then_some(UnixMillis(ended.0 + 1_000)),
        discard_reason: None,
        disable_endpoint: false,
        expires_at: UnixMillis(event.accepted_at.0 + 604_800_000),
        traceparent: None,
    }
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

/// The configuration as a service that starts now gets it.
pub(crate) async fn snapshot(store: &Store, scope: FeedScope) -> Changes {
    store.feed().follow(scope, CancellationToken::new()).recv().await.unwrap()
}
